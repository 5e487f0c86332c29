"""Training objectives: one published objective a file, listed in ``OBJECTIVES``."""

from collections.abc import Mapping
from difflib import get_close_matches

from betascvi.objectives._beta_vae import BetaVAE
from betascvi.objectives._contract import Draws, LossTerms, Objective, Step, Term

OBJECTIVES: Mapping[str, type[Objective]] = {
    "beta_vae": BetaVAE,
}

__all__ = [
    "OBJECTIVES",
    "BetaVAE",
    "Draws",
    "LossTerms",
    "Objective",
    "Step",
    "Term",
    "resolve",
]


def resolve(objective: "str | Objective | None") -> Objective:
    """An objective by name, as given, or the plain VAE's for ``None``."""
    if objective is None:
        return BetaVAE()
    if isinstance(objective, Objective):
        return objective
    if isinstance(objective, type) and issubclass(objective, Objective):
        raise ValueError(
            f"objective is the class {objective.__name__}; call it: {objective.__name__}(...)."
        )
    if not isinstance(objective, str) or objective not in OBJECTIVES:
        close = get_close_matches(str(objective), OBJECTIVES, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise ValueError(f"no objective {objective!r}; known are {sorted(OBJECTIVES)}{hint}")
    return OBJECTIVES[objective]()


# saved models remember an objective by this path, so that its file may move
for _public in (*OBJECTIVES.values(), Draws, LossTerms, Objective, Step, Term):
    _public.__module__ = "betascvi.objectives"

"""Training objectives: one published objective a file, listed in ``OBJECTIVES``."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches

from betascvi.objectives._beta_tc_vae import BetaTCVAE
from betascvi.objectives._beta_vae import BetaVAE
from betascvi.objectives._capacity_vae import CapacityVAE
from betascvi.objectives._contract import Draws, LossTerms, Objective, Step, Term
from betascvi.objectives._critic import critic_loss
from betascvi.objectives._dip_vae import DIPVAE
from betascvi.objectives._factor_vae import FactorVAE
from betascvi.objectives._iwae import IWAE
from betascvi.objectives._l_vae import LVAE
from betascvi.objectives._target_rate import TargetRate
from betascvi.schedules import Weight

OBJECTIVES: Mapping[str, type[Objective]] = {
    "beta_vae": BetaVAE,
    "beta_tc_vae": BetaTCVAE,
    "capacity_vae": CapacityVAE,
    "dip_vae": DIPVAE,
    "factor_vae": FactorVAE,
    "iwae": IWAE,
    "l_vae": LVAE,
    "target_rate": TargetRate,
}

__all__ = [
    "DIPVAE",
    "IWAE",
    "LVAE",
    "OBJECTIVES",
    "BetaTCVAE",
    "BetaVAE",
    "CapacityVAE",
    "Draws",
    "FactorVAE",
    "LossTerms",
    "Objective",
    "Step",
    "TargetRate",
    "Term",
    "critic_loss",
    "resolve",
    "with_beta",
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


def with_beta(objective: Objective, beta: Weight) -> Objective:
    """The same objective at another beta; refused where it has none."""
    if not is_dataclass(objective) or "beta" not in {f.name for f in fields(objective)}:
        raise ValueError(f"{type(objective).__name__} has no beta to set; it has {objective!r}.")
    return replace(objective, beta=beta)


# saved models remember an objective by this path, so that its file may move
for _public in (*OBJECTIVES.values(), Draws, LossTerms, Objective, Step, Term):
    _public.__module__ = "betascvi.objectives"

"""Is it the learned weight that helps, or its value, or one more parameter?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData
from scipy import stats

from betascvi.objectives import LVAE, BetaVAE, Objective
from betascvi.schedules import Staged, Weight, target_of
from betascvi.sweep._engines import Engine
from betascvi.sweep._run import engine_of, fingerprint, run
from betascvi.sweep._spec import Spec
from betascvi.sweep._store import read_history

if TYPE_CHECKING:
    import pandas as pd

_LEARNED = "learned"
_NOT_SCORES = (
    "arm",
    "objective",
    "beta",
    "seed",
    "n_epochs",
    "n_axes",
    "n_scored",
    "realised_beta",
)
Course = np.ndarray
"""(epochs,) realised beta."""


@dataclass(frozen=True, slots=True)
class LearnedBeta:
    """A learned beta beside the same beta fixed, replayed and shuffled; ``print`` says it in words."""

    runs: pd.DataFrame
    """One row a run, as of :func:`betascvi.sweep.run`, with its ``arm``."""
    differences: pd.DataFrame
    """One row an arm and score: mean over seeds of (learned - arm) and its 95 % interval."""

    def to_frame(self) -> pd.DataFrame:
        """The differences."""
        return self.differences.copy()

    def __str__(self) -> str:
        of_elbo = self.differences[self.differences["score"] == "elbo"]
        words = [
            f"{row.arm}: ELBO of the learned one {row.mean_:+.2f} nats a cell "
            f"({row.low:+.2f} to {row.high:+.2f}, {row.n_seeds} seeds)"
            for row in of_elbo.rename(columns={"mean": "mean_"}).itertuples()
        ]
        return "learned beta against\n  " + "\n  ".join(words)


def learned_beta(
    adata: AnnData,
    objective: LVAE | None = None,
    *,
    engine: str | Engine = "sequential",
    out: str | Path | None = None,
    **spec: Any,
) -> LearnedBeta:
    r"""Train with a learned :math:`\beta`, then again with what it learned, and compare by seed.

    Three arms beside the learned one, all with the same seeds, cells and epochs: ``"fixed"`` at
    the weight (``realised_beta``) that training ended with, ``"replayed"``, the same course epoch by epoch
    with nothing learned, and ``"shuffled"``, the values of that course in another order. What
    ``"fixed"`` and ``"replayed"`` have as well is due to the value and its course, not to a
    parameter that is learned.

    Parameters
    ----------
    adata
        Cells, set up with ``BetaSCVI.setup_anndata``; scores are of the registered factors.
    objective
        An :class:`~betascvi.objectives.LVAE` with one :math:`\beta`.
    engine, out
        As in :func:`betascvi.sweep.run`; with ``out`` a run that is there is not repeated.
    **spec
        ``seeds``, ``model``, ``train``, ``held_out``, ``metrics`` and ``score_on`` of
        :class:`betascvi.sweep.Spec`.

    Examples
    --------
    >>> found = bs.sweep.learned_beta(adata, seeds=range(5), train={"max_epochs": 200})
    >>> print(found)
    """
    import pandas as pd

    objective = LVAE() if objective is None else objective
    if not isinstance(objective, LVAE) or objective.per_axis:
        raise ValueError(f"objective is an LVAE with one beta (per_axis=False), got {objective!r}.")
    clash = sorted({"objectives", "betas"} & set(spec))
    if clash:
        raise ValueError(f"{clash} belong to the comparison; give objective= alone.")
    folder = None if out is None else Path(out)
    rows = []
    for seed in Spec(**spec).seeds:
        for arm, asked, row in _of_seed(
            adata, objective, engine_of(engine), folder, {**spec, "seeds": [seed]}
        ):
            rows.append({"arm": arm, **row, "beta": asked})
    frame = pd.DataFrame(rows)
    return LearnedBeta(frame, _differences(frame))


def _of_seed(
    adata: AnnData, objective: LVAE, engine: Engine, out: Path | None, spec: Mapping[str, Any]
) -> Iterator[tuple[str, float, dict[str, Any]]]:
    """Name, beta at the end and row of each arm."""
    row, course = _carried_out(adata, objective, engine, out, spec)
    yield _LEARNED, float(course[-1]), row
    shuffled = np.random.default_rng(spec["seeds"][0]).permutation(course)
    arms: dict[str, Weight] = {
        "fixed": float(course[-1]),
        "replayed": _replayed(course),
        "shuffled": _replayed(shuffled),
    }
    for arm, beta in arms.items():
        row, _ = _carried_out(adata, BetaVAE(beta=beta), engine, out, _of_length(spec, len(course)))
        yield arm, target_of(beta), row


def _of_length(spec: Mapping[str, Any], n_epochs: int) -> dict[str, Any]:
    """As many epochs as the learned run had, where its length was not fixed beforehand."""
    train = spec.get("train") or {}
    if not train.get("early_stopping"):
        return {**spec}
    return {**spec, "train": {**train, "early_stopping": False, "max_epochs": n_epochs}}


def _replayed(course: Course) -> Staged:
    at = np.arange(len(course)) / len(course)
    return Staged(tuple(zip(at.tolist(), course.tolist(), strict=True)))


def _carried_out(
    adata: AnnData,
    objective: Objective,
    engine: Engine,
    out: Path | None,
    spec: Mapping[str, Any],
) -> tuple[dict[str, Any], Course]:
    """The row of one run, and its course of beta."""
    asked = Spec(objectives=[objective], **spec)
    courses: list[Course] = []
    frame = run(asked, adata, _watched(engine, courses), out=out)
    row = {str(k): v for k, v in frame.iloc[0].to_dict().items()}
    if isinstance(row.get("error"), str):
        raise RuntimeError(f"{row['objective']}, seed {row['seed']}: {row['error']}")
    if not courses and out is not None:  # the run was there
        history = read_history(out / asked.runs()[0].folder(fingerprint(adata)))
        courses.append(_course_of(history))
    return row, courses[0]


def _watched(engine: Engine, courses: list[Course]) -> Engine:
    """The same engine, whose models leave their course of beta behind."""

    def watched(runs: Any, adata: AnnData, split: Any) -> Iterator[Any]:
        for one, outcome in engine(runs, adata, split):
            if hasattr(outcome, "history"):
                courses.append(_course_of(outcome.history))
            yield one, outcome

    return watched


def _course_of(history: Mapping[str, Any]) -> Course:
    if "realised_beta" not in history:
        return np.zeros(0)
    values = history["realised_beta"]
    return np.asarray(values, dtype=float).ravel()


def _differences(frame: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    numbers = frame.select_dtypes("number").columns
    scores = [str(name) for name in numbers if name not in _NOT_SCORES]
    wide = frame.pivot(index="seed", columns="arm", values=scores)
    found = []
    for arm in [name for name in frame["arm"].unique() if name != _LEARNED]:
        for score in scores:
            gain = (wide[score][_LEARNED] - wide[score][arm]).dropna().to_numpy()
            low, high = _interval(gain)
            mean = float(gain.mean()) if len(gain) else float("nan")
            found.append({"arm": arm, "score": score, "mean": mean, "low": low, "high": high,
                          "n_seeds": len(gain)})  # fmt: skip
    return pd.DataFrame(found)


def _interval(gain: np.ndarray) -> tuple[float, float]:
    """Student's 95 % interval of the mean; empty below two seeds."""
    if len(gain) < 2:
        return float("nan"), float("nan")
    reach = float(stats.t.ppf(0.975, len(gain) - 1) * stats.sem(gain))
    return float(gain.mean() - reach), float(gain.mean() + reach)

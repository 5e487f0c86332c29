"""What a sweep consists of: a grid of values, expanded by a pure function."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from numbers import Real
from types import MappingProxyType
from typing import Any, Literal

from betascvi._whole_numbers import is_whole
from betascvi.objectives import Objective, resolve, with_beta
from betascvi.schedules import Weight, target_of
from betascvi.tl import METRICS

_LONGEST = 80
"""Characters of a folder's name that say what is in it; a digest tells it from others."""
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class RunSpec:
    """One training of a sweep."""

    label: str
    """The objective, without its beta."""
    beta: float | None
    """Weight the objective's beta ends at; None where the objective has none."""
    objective: Objective
    seed: int
    model: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    train: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    settings: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    """What else the row depends on: how cells are held out and scored."""

    def folder(self, data: str) -> str:
        """Name of the run's folder: readable, and different for anything that differs.

        ``data`` stands for the cells trained on.
        """
        words = [self.label, "" if self.beta is None else f"beta-{self.beta:g}"]
        name = "_".join([re.sub(r"[^\w.+-]+", "-", w).strip("-")[:_LONGEST] for w in words if w])
        everything = (self.objective, self.seed, self.model, self.train, self.settings, data)
        digest = hashlib.sha256(repr([_plain(part) for part in everything]).encode()).hexdigest()
        return f"{name}_seed-{self.seed}_{digest[:10]}"


@dataclass(frozen=True)
class Spec:
    """A grid of trainings: every objective at every beta with every seed.

    Parameters
    ----------
    objectives
        Names (:data:`betascvi.objectives.OBJECTIVES`) or objectives.
    betas
        Values, or schedules, that replace the beta of each objective that has one; objectives
        without a beta (such as L-VAE, which learns its own) are run once a seed. ``None`` takes
        every objective as it is.
    seeds
        Of weights and minibatches; all runs share one split of the cells.
    model
        Arguments of :class:`betascvi.BetaSCVI`, such as ``{"n_latent": 10}``.
    train
        Arguments of its ``train``, such as ``{"max_epochs": 100}``.
    held_out
        Share of the cells held out, the same cells in every run; 0 holds none out.
    metrics
        Metrics of :func:`betascvi.tl.score_disentanglement` for the factors registered by
        ``setup_anndata(factor_keys=...)``; without factors no metric is computed.
    score_on
        Cells the metrics are computed on: ``"held_out"`` or ``"all"``.

    Examples
    --------
    >>> spec = Spec(objectives=["beta_vae", "l_vae"], betas=[1.0, 4.0], seeds=range(3))
    >>> len(spec.runs())
    9
    """

    objectives: Sequence[str | Objective] = ("beta_vae",)
    betas: Sequence[Weight] | None = None
    seeds: Sequence[int] = tuple(range(5))
    model: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    train: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    held_out: float = 0.1
    metrics: Sequence[str] = ("mig", "dci", "sap", "modularity")
    score_on: Literal["held_out", "all"] = "held_out"

    def __post_init__(self) -> None:
        _refuse_no_list("objectives", self.objectives)
        _refuse_no_list("seeds", self.seeds)
        if self.betas is not None:
            _refuse_no_list("betas", self.betas)
        if isinstance(self.metrics, str) or not set(self.metrics) <= set(METRICS):
            raise ValueError(f"metrics is a list of some of {METRICS}, got {self.metrics!r}.")
        if not all(is_whole(seed) and seed >= 0 for seed in self.seeds):
            raise ValueError(f"seeds are whole numbers from 0 up, got {list(self.seeds)!r}.")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds hold one value twice: {list(self.seeds)!r}.")
        if not 0.0 <= self.held_out < 1.0:
            raise ValueError(f"held_out is a share from 0 up to 1, got {self.held_out!r}.")
        if self.score_on not in {"held_out", "all"}:
            raise ValueError(f"score_on is 'held_out' or 'all', got {self.score_on!r}.")
        clash = {"objective"} & set(self.model) | {"train_size", "datasplitter_kwargs"} & set(
            self.train
        )
        if clash:
            raise ValueError(
                f"{sorted(clash)} belong to the sweep: use objectives= and held_out= instead."
            )
        self.runs()

    def runs(self) -> tuple[RunSpec, ...]:
        """All trainings, in the order of objectives, betas, seeds."""
        settings = {
            "held_out": self.held_out,
            "metrics": tuple(self.metrics),
            "score_on": self.score_on,
        }
        return tuple(
            RunSpec(
                _label(objective), _final_beta(objective), objective, int(seed),
                self.model, self.train, settings,
            )
            for objective in self._expanded()
            for seed in self.seeds
        )  # fmt: skip

    def _expanded(self) -> list[Objective]:
        found = []
        for objective in map(resolve, self.objectives):
            if self.betas is None or not _has_beta(objective):
                found.append(objective)
            else:
                found += [with_beta(objective, _as_float(beta)) for beta in self.betas]
        twice = [o for i, o in enumerate(found) if o in found[:i]]
        if twice:
            raise ValueError(f"{twice[0]!r} stands twice in the sweep; name each setting once.")
        return found


def _refuse_no_list(name: str, value: Any) -> None:
    if isinstance(value, str) or not hasattr(value, "__len__") or not len(value):
        raise ValueError(f"{name} is a list of at least one value, got {value!r}.")


def _as_float(beta: Weight) -> Weight:
    """A whole number is the same weight, and the same run, as the float."""
    return float(beta) if isinstance(beta, Real) else beta


def _has_beta(objective: Objective) -> bool:
    # a rate controller's beta is where it starts, not where it ends
    return "beta" in _settings_of(objective) and type(objective).__name__ != "TargetRate"


def _final_beta(objective: Objective) -> float | None:
    return target_of(_settings_of(objective)["beta"]) if _has_beta(objective) else None


def _settings_of(objective: Objective) -> dict[str, Any]:
    own = fields(objective)  # type: ignore[arg-type]  # objectives are dataclasses
    return {f.name: getattr(objective, f.name) for f in own}


def _label(objective: Objective) -> str:
    """Name and what differs from the defaults, but for a fixed beta."""
    name = type(objective).__name__
    usual, shown = _usual_settings(type(objective)), []
    for setting, value in _settings_of(objective).items():
        is_fixed_beta = setting == "beta" and isinstance(value, int | float)
        is_usual = setting in usual and value == usual[setting]
        if not (is_usual or (is_fixed_beta and _has_beta(objective))):
            shown.append(f"{setting}={value!r}")
    return f"{name}({', '.join(shown)})" if shown else name


def _usual_settings(kind: type[Objective]) -> dict[str, Any]:
    """What is set where nothing is asked for; an objective may choose that when it is made."""
    try:
        return _settings_of(kind())
    except TypeError:  # some settings have to be given
        return {f.name: f.default for f in fields(kind)}  # type: ignore[arg-type]


def _plain(part: Any) -> Any:
    return sorted((k, repr(v)) for k, v in part.items()) if isinstance(part, Mapping) else part

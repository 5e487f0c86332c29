from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from typing_extensions import override

from betascvi.objectives._aggregate import Estimator, aggregate_density
from betascvi.objectives._contract import LossTerms, Objective, Step, Term
from betascvi.objectives._estimators import axes_of, free_axes, log_density
from betascvi.schedules import Weight, check_weight, weight_at


@dataclass(frozen=True)
class BetaTCVAE(Objective):
    r"""The :math:`\beta`-TCVAE (Chen et al., 2018, eq. 4): the KL in three parts, each weighted.

    .. math::
        -\log p(x \mid z)
        + \alpha \underbrace{\log \tfrac{q(z \mid x)}{q(z)}}_{\text{index-code MI}}
        + \beta \underbrace{\log \tfrac{q(z)}{\prod_j q(z_j)}}_{\text{total correlation}}
        + \gamma \underbrace{\log \tfrac{\prod_j q(z_j)}{p(z)}}_{\text{dimension-wise KL}}

    at one posterior sample of each cell. The three parts sum to
    :math:`\log q(z \mid x) - \log p(z)`, whatever the estimator.

    Parameters
    ----------
    beta
        Weight of the total correlation.
    alpha
        Weight of the index-code mutual information, I(x; z) over the training set.
    gamma
        Weight of the dimension-wise KL.
    estimator
        Of log q(z): ``"mss"`` (minibatch-stratified) or ``"mws"`` (minibatch-weighted).

    Notes
    -----
    **Departure.** The published code of the stratified estimator puts the weight 1/N of a
    sample's own cell into the first column instead of the diagonal. Here it stands on the
    diagonal and all other cells share the rest, so that the rows sum to one and a minibatch of
    all cells gives the exact value. ``"mws"`` is as published: its parts are off by constants
    (the total correlation by (D - 1) log N), which have no gradient.

    A minibatch biases the total correlation downwards, more so for narrow posteriors: larger
    minibatches, truer figures. Anchored blocks take no part: a model charges each its own KL
    (``<factor>_kl``). In a step of one's own with other blocks they are charged their closed-form
    KL as ``anchored_kl``. A minibatch needs two cells.
    """

    beta: Weight = 4.0
    alpha: Weight = 1.0
    gamma: Weight = 1.0
    estimator: Estimator = "mss"

    def __post_init__(self) -> None:
        for name in ("beta", "alpha", "gamma"):
            check_weight(name, getattr(self, name))
        if self.estimator not in ("mss", "mws"):
            raise ValueError(f"estimator is 'mss' or 'mws', got {self.estimator!r}.")

    @property
    @override
    def weights(self) -> Mapping[str, Weight]:
        return {
            "index_code_mi": self.alpha,
            "total_correlation": self.beta,
            "dimension_wise_kl": self.gamma,
        }

    @override
    def __call__(self, step: Step) -> LossTerms:
        free = free_axes(step)
        z, qz, pz = step.z[:, free], axes_of(step.qz, free), axes_of(step.pz, free)
        density = aggregate_density(qz, z, step.n_cells, self.estimator)
        parts = {
            "index_code_mi": density.posterior - density.joint,
            "total_correlation": density.joint - density.marginals,
            "dimension_wise_kl": density.marginals - log_density(pz, z),
        }
        weights = {name: weight_at(w, step.progress) for name, w in self.weights.items()}
        penalties = {name: Term(value, weights[name]) for name, value in parts.items()}
        if z.shape[-1] < step.z.shape[-1]:
            kl = step.kl
            penalties["anchored_kl"] = Term(kl.sum(-1) - kl[:, free].sum(-1))
        return LossTerms(Term(step.reconstruction), penalties)

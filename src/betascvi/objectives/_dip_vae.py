from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.distributions import Normal
from typing_extensions import override

from betascvi.objectives._contract import LossTerms, Objective, Step, Term
from betascvi.objectives._estimators import axes_of, charged_kl, free_axes
from betascvi.objectives._settings import check_free_bits
from betascvi.schedules import Weight, check_weight, weight_at


@dataclass(frozen=True)
class DIPVAE(Objective):
    r"""DIP-VAE (Kumar et al., 2018, eq. 6 and 7): the covariance of q(z) pulled to the identity.

    .. math::
        -\log p(x \mid z) + \beta \, \mathrm{KL}(q(z \mid x) \,\|\, p(z))
        + \lambda_{od} \sum_{i \ne j} C_{ij}^2 + \lambda_d \sum_i (C_{ii} - 1)^2

    DIP-VAE-I takes :math:`C = \mathrm{Cov}[\mu(x)]`, the covariance of the posterior means;
    DIP-VAE-II :math:`C = \mathrm{Cov}[\mu(x)] + \mathrm{E}[\Sigma(x)]`, that of the samples.

    Parameters
    ----------
    kind
        ``"i"`` or ``"ii"``.
    off_diagonal
        :math:`\lambda_{od}`, weight of the squared covariances between axes.
    diagonal
        :math:`\lambda_d`, weight of the squared distances of the variances from one. The paper
        takes 10 :math:`\lambda_{od}` for I and :math:`\lambda_{od}` for II.
    beta
        Weight of the KL; 1 in the paper.
    free_bits
        Nats an axis may carry without charge, as in :class:`BetaVAE`.

    Notes
    -----
    The covariance is the biased one (divided by the number of cells), over the minibatch, as
    published. Under ``"i"`` the diagonal part asks every axis to vary, so it revives dead axes.
    The penalty knows second moments only: axes can be uncorrelated and dependent.
    """

    kind: Literal["i", "ii"] = "ii"
    off_diagonal: Weight = 10.0
    diagonal: Weight = 10.0
    beta: Weight = 1.0
    free_bits: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in ("i", "ii"):
            raise ValueError(f"kind is 'i' or 'ii', got {self.kind!r}.")
        for name in ("off_diagonal", "diagonal", "beta"):
            check_weight(name, getattr(self, name))
        check_free_bits(self.free_bits)

    @property
    @override
    def weights(self) -> Mapping[str, Weight]:
        return {"kl": self.beta, "off_diagonal": self.off_diagonal, "diagonal": self.diagonal}

    @override
    def __call__(self, step: Step) -> LossTerms:
        covariance = aggregate_covariance(axes_of(step.qz, free_axes(step)), self.kind)
        variances = covariance.diagonal()
        values = {
            "kl": charged_kl(step, self.free_bits),
            "off_diagonal": covariance.square().sum() - variances.square().sum(),
            "diagonal": (variances - 1.0).square().sum(),
        }
        weights = {name: weight_at(w, step.progress) for name, w in self.weights.items()}
        penalties = {name: Term(value, weights[name]) for name, value in values.items()}
        return LossTerms(Term(step.reconstruction), penalties)


def aggregate_covariance(q: Normal, kind: Literal["i", "ii"]) -> Tensor:
    """Covariance (axes, axes) over cells of posterior means, or of posterior samples."""
    centred = q.loc - q.loc.mean(0)
    covariance = centred.T @ centred / len(centred)
    return covariance if kind == "i" else covariance + q.scale.square().mean(0).diag()

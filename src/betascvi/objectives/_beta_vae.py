from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from typing_extensions import override

from betascvi.objectives._contract import LossTerms, Objective, Step, Term
from betascvi.objectives._estimators import charged_kl
from betascvi.objectives._settings import check_free_bits
from betascvi.schedules import Weight, check_weight, weight_at


@dataclass(frozen=True)
class BetaVAE(Objective):
    r"""The :math:`\beta`-VAE (Higgins et al., 2017, eq. 4): the KL to the prior, weighted.

    .. math::
        -\log p(x \mid z) + \beta \, \mathrm{KL}(q(z \mid x) \,\|\, p(z))

    ``beta = 1`` is the evidence lower bound of a plain VAE; larger values ask for axes that are
    cheaper and closer to independent, smaller ones for sharper reconstructions.

    Parameters
    ----------
    beta
        Weight of the KL, from 0 up; a number or a schedule.
    free_bits
        :math:`\lambda`, nats an axis may carry without charge: the KL becomes
        :math:`\sum_j \max(\lambda, \overline{\mathrm{KL}}_j)` with the mean over the cells of the
        minibatch (Kingma et al., 2016, eq. 15). Below :math:`\lambda` an axis has no KL gradient.

    Notes
    -----
    With ``free_bits`` the reported ``kl`` is the floored one; ``kl_local`` in the history
    always is the raw KL.
    """

    beta: Weight = 1.0
    free_bits: float = 0.0

    def __post_init__(self) -> None:
        check_weight("beta", self.beta)
        check_free_bits(self.free_bits)

    @property
    @override
    def weights(self) -> Mapping[str, Weight]:
        return {"kl": self.beta}

    @override
    def __call__(self, step: Step) -> LossTerms:
        kl = Term(charged_kl(step, self.free_bits), weight_at(self.beta, step.progress))
        return LossTerms(Term(step.reconstruction), {"kl": kl})

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from typing_extensions import override

from betascvi._whole_numbers import refuse_count
from betascvi.objectives._contract import LossTerms, Objective, Step, Term
from betascvi.objectives._critic import Critic
from betascvi.objectives._estimators import charged_kl, free_axes
from betascvi.objectives._settings import check_free_bits
from betascvi.schedules import Weight, check_weight, weight_at


@dataclass(frozen=True)
class FactorVAE(Objective):
    r"""FactorVAE (Kim and Mnih, 2018, eq. 2): a critic estimates the total correlation.

    .. math::
        -\log p(x \mid z) + \beta \, \mathrm{KL}(q(z \mid x) \,\|\, p(z))
        + \gamma \, \log \tfrac{D(z)}{1 - D(z)}

    where :math:`D(z)` is the critic's probability that a position comes from :math:`q(z)` rather
    than from :math:`\prod_j q(z_j)`, whose samples are a minibatch with every axis permuted over
    the cells by itself.

    Parameters
    ----------
    gamma
        Weight of the total correlation.
    beta
        Weight of the KL; 1 in the paper.
    free_bits
        Nats an axis may carry without charge, as in :class:`BetaVAE`.
    critic_hidden, critic_layers
        Width and number of the critic's hidden layers.

    Notes
    -----
    **Departures.** The paper's critic has six layers of 1000 units and sees a second minibatch;
    ours is small (a step must stay a step) and sees the samples the encoder just gave, detached.
    It gives log odds directly instead of two logits.

    The critic lives in the training plan with an optimiser of its own
    (``plan_kwargs={"critic_lr": ...}``); its accuracy and loss are in the history as
    ``critic_accuracy`` and ``critic_loss``. It is not saved with the model, so an evaluation
    without it reports the other terms and leaves ``total_correlation`` out.
    """

    gamma: Weight = 10.0
    beta: Weight = 1.0
    free_bits: float = 0.0
    critic_hidden: int = 128
    critic_layers: int = 3

    def __post_init__(self) -> None:
        check_weight("gamma", self.gamma)
        check_weight("beta", self.beta)
        check_free_bits(self.free_bits)
        refuse_count("critic_hidden", self.critic_hidden)
        refuse_count("critic_layers", self.critic_layers)

    @property
    @override
    def weights(self) -> Mapping[str, Weight]:
        return {"kl": self.beta, "total_correlation": self.gamma}

    @override
    def make_critic(self, n_latent: int) -> nn.Module:
        return Critic(n_latent, self.critic_hidden, self.critic_layers)

    @override
    def __call__(self, step: Step) -> LossTerms:
        kl = Term(charged_kl(step, self.free_bits), weight_at(self.beta, step.progress))
        if step.critic is None:
            return LossTerms(Term(step.reconstruction), {"kl": kl})
        gamma = weight_at(self.gamma, step.progress)
        tc = Term(self.total_correlation(step), gamma)
        return LossTerms(Term(step.reconstruction), {"kl": kl, "total_correlation": tc})

    def total_correlation(self, step: Step) -> Tensor:
        """The critic's estimate, (cells,); its mean is the total correlation."""
        if step.critic is None:
            raise ValueError(
                "FactorVAE's total correlation needs its critic, which exists only while "
                "training. For a trained model use bs.metrics.total_correlation on its latent."
            )
        log_odds: Tensor = step.critic(step.z[:, free_axes(step)])
        return log_odds

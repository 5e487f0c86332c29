"""What every objective keeps to; a new one is tested by being listed in ``OBJECTIVES``."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from betascvi.module import BetaVAEModule
from betascvi.objectives import OBJECTIVES, Draws, LossTerms, Objective, Step, Term

N_CELLS, N_GENES, N_LATENT = 12, 15, 4
every_objective = pytest.mark.parametrize(
    "objective", [pytest.param(cls(), id=name) for name, cls in OBJECTIVES.items()]
)


def minibatch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "X": torch.poisson(torch.full((N_CELLS, N_GENES), 2.0), generator=generator) + 1.0,
        "batch": torch.arange(N_CELLS)[:, None] % 2,
        "labels": torch.zeros(N_CELLS, 1, dtype=torch.long),
    }


def module_with(objective: Objective) -> BetaVAEModule:
    torch.manual_seed(0)
    return BetaVAEModule(
        N_GENES, n_batch=2, n_labels=1, n_hidden=8, n_latent=N_LATENT, objective=objective
    )


def make_step(objective: Objective, cells: Tensor) -> Step:
    """A step whose randomness belongs to each cell, so that cells can change places."""
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    loc, log_scale = draw(N_CELLS, N_LATENT)[cells], 0.3 * draw(N_CELLS, N_LATENT)[cells]
    noise = draw(64, N_CELLS, N_LATENT)[:, cells]
    loading = draw(N_LATENT)

    def reconstruct(z: Tensor) -> Tensor:
        return 100.0 + (z @ loading).square()

    qz = Normal(loc, log_scale.exp())
    z = loc + qz.scale * noise[0]

    def resample(k: int) -> Draws:
        draws = loc + qz.scale * noise[1 : k + 1]
        return Draws(draws, reconstruct(draws))

    torch.manual_seed(1)
    state = objective.make_state(N_LATENT)
    return Step(
        reconstruct(z), qz, Normal(torch.zeros_like(loc), torch.ones_like(loc)), z,
        progress=0.7, n_cells=500, resample=resample,
        blocks={"free": slice(0, N_LATENT)},
        # a controller moves while it trains; here it stands still
        state=None if state is None else state.double().eval(),
    )  # fmt: skip


def loss_of(module: BetaVAEModule, **loss_kwargs: float) -> Tensor:
    torch.manual_seed(2)
    _, _, output = module(minibatch(), loss_kwargs={"n_obs": 500, **loss_kwargs})
    return output.loss


@every_objective
@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_every_weight_of_the_encoder_gets_a_finite_gradient(
    objective: Objective, progress: float
) -> None:
    module = module_with(objective).train()

    loss_of(module, progress=progress).backward()

    gradients = {name: p.grad for name, p in module.z_encoder.named_parameters()}
    assert [name for name, g in gradients.items() if g is None] == []
    assert [name for name, g in gradients.items() if not torch.isfinite(g).all()] == []


@every_objective
def test_no_parameter_of_the_module_is_left_without_a_gradient(objective: Objective) -> None:
    module = module_with(objective).train()

    loss_of(module, progress=1.0).backward()

    assert [name for name, p in module.named_parameters() if p.grad is None] == []


@every_objective
def test_terms_do_not_depend_on_the_order_of_the_cells(objective: Objective) -> None:
    in_order = objective(make_step(objective, torch.arange(N_CELLS)))

    reversed_ = objective(make_step(objective, torch.arange(N_CELLS).flip(0)))

    assert list(in_order.named()) == list(reversed_.named())
    torch.testing.assert_close(
        {name: term.value.mean() for name, term in reversed_.named().items()},
        {name: term.value.mean() for name, term in in_order.named().items()},
        rtol=1e-9,
        atol=1e-9,
    )


@every_objective
def test_an_evaluation_without_clock_or_critic_gives_a_finite_loss(objective: Objective) -> None:
    module = module_with(objective).eval()

    with torch.inference_mode():
        _, _, output = module(minibatch())

    assert torch.isfinite(output.loss)


@every_objective
def test_kl_local_is_the_raw_kl_whatever_the_objective(objective: Objective) -> None:
    module = module_with(objective).eval()

    with torch.inference_mode():
        inference, _, output = module(minibatch(), loss_kwargs={"progress": 0.1, "n_obs": 500})

    prior = Normal(torch.zeros(N_CELLS, N_LATENT), torch.ones(N_CELLS, N_LATENT))
    raw = torch.distributions.kl_divergence(inference["qz"], prior).sum(-1)
    torch.testing.assert_close(output.kl_local_sum, raw.sum())


@every_objective
def test_the_loss_is_the_weighted_sum_of_the_terms_reported(objective: Objective) -> None:
    terms = objective(make_step(objective, torch.arange(N_CELLS)))

    by_hand = sum(
        torch.as_tensor(term.weight) * term.value.mean() for term in terms.named().values()
    )

    torch.testing.assert_close(terms.total(), by_hand, rtol=1e-12, atol=1e-12)


@every_objective
def test_a_loss_is_a_scalar_and_its_terms_are_scalars_or_one_a_cell(objective: Objective) -> None:
    terms = objective(make_step(objective, torch.arange(N_CELLS)))

    assert terms.total().shape == ()
    assert {tuple(term.value.shape) for term in terms.named().values()} <= {(), (N_CELLS,)}


@every_objective
def test_every_declared_weight_belongs_to_something_reported(objective: Objective) -> None:
    step = make_step(objective, torch.arange(N_CELLS))
    critic = objective.make_critic(N_LATENT)
    step = dataclasses.replace(step, critic=None if critic is None else critic.double())

    terms = objective(step)

    assert set(objective.weights) <= {*terms.penalties, *terms.reports}


@every_objective
def test_an_objective_is_equal_to_itself_after_save_and_load(objective: Objective) -> None:
    again = pickle.loads(pickle.dumps(objective))

    assert again == objective
    assert hash(again) == hash(objective)
    assert repr(again) == repr(objective)


@every_objective
def test_an_objective_is_frozen_data(objective: Objective) -> None:
    assert dataclasses.is_dataclass(objective)
    assert objective.__dataclass_params__.frozen  # type: ignore[attr-defined]


@every_objective
def test_an_objective_gives_the_same_terms_when_asked_twice(objective: Objective) -> None:
    step = make_step(objective, torch.arange(N_CELLS))

    assert torch.equal(objective(step).total(), objective(step).total())


@pytest.mark.parametrize(
    "objective",
    [pytest.param(cls(), id=name) for name, cls in OBJECTIVES.items()],
)
def test_what_an_objective_learns_is_a_module_of_its_own_each_time(objective: Objective) -> None:
    makers: list[Callable[[int], nn.Module | None]] = [objective.make_state, objective.make_critic]

    pairs = [(make(N_LATENT), make(N_LATENT)) for make in makers]

    assert all(a is None or (isinstance(a, nn.Module) and a is not b) for a, b in pairs)


@dataclasses.dataclass(frozen=True)
class FlooredLatents(Objective):
    """The example of the extension guide: a user's own objective in ten lines."""

    floor: float = 0.1

    def __call__(self, step: Step) -> LossTerms:
        x = step.x
        assert x is not None
        kl = torch.distributions.kl_divergence(step.qz, step.pz)
        return LossTerms(
            Term(-step.px.log_prob(x).sum(-1)),
            {"floored_kl": Term(kl.mean(0).clamp(min=self.floor).sum())},
        )


def test_a_users_own_objective_on_the_dense_likelihood_trains_the_same_weights() -> None:
    module = module_with(FlooredLatents()).train()

    loss_of(module).backward()

    assert [name for name, p in module.named_parameters() if p.grad is None] == []


def test_the_dense_likelihood_of_a_step_is_the_one_the_fast_sum_computes() -> None:
    fast = loss_of(module_with(FlooredLatents(floor=0.0)).eval())
    dense = loss_of(module_with(OBJECTIVES["beta_vae"]()).eval())

    torch.testing.assert_close(fast, dense, rtol=1e-5, atol=1e-4)


def test_a_step_without_a_decoder_says_what_to_use_instead_of_the_dense_likelihood() -> None:
    loc = torch.zeros(2, 1)
    step = Step(torch.zeros(2), Normal(loc, loc + 1), Normal(loc, loc + 1), loc)

    with pytest.raises(ValueError, match=r"step\.reconstruction"):
        _ = step.px

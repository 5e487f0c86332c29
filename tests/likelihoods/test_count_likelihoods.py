"""What every likelihood of counts must satisfy."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from betascvi import likelihoods

DENSITIES = [pytest.param(d, id=f"{d:.1%}") for d in (0.002, 0.02, 0.065, 0.15, 0.4, 5.0)]


def _assert_same(mine, reference, tolerance):
    for name, value in mine.items():
        expected = reference[name]
        scale = expected.abs() if name == "nll" else expected.abs().amax().clamp(min=1e-6)
        worst = ((value.double() - expected).abs() / scale).amax()
        assert worst <= tolerance, f"{name} is off by {float(worst):.1e}"


@pytest.mark.parametrize("density", DENSITIES)
def test_single_precision_equals_the_dense_double_within_1e_5(minibatch, kind, density):
    batch = minibatch(0, density, (32, 300))

    mine = batch.evaluate(kind)

    _assert_same(mine, batch.to(torch.float64).evaluate(kind, "naive"), 1e-5)


@pytest.mark.parametrize("density", DENSITIES)
def test_double_precision_equals_the_dense_double_within_1e_10(minibatch, kind, density):
    batch = minibatch(1, density, (32, 300)).to(torch.float64)

    _assert_same(batch.evaluate(kind), batch.evaluate(kind, "naive"), 1e-10)


@given(seed=st.integers(0, 2**16), density=st.floats(0.001, 10.0), spread=st.floats(0.0, 4.0))
def test_any_minibatch_equals_the_dense_double(minibatch, kind, seed, density, spread):
    batch = minibatch(seed, density, (5, 21), spread)

    _assert_same(batch.evaluate(kind), batch.to(torch.float64).evaluate(kind, "naive"), 2e-5)


def test_gradients_are_those_of_finite_differences(minibatch, kind):
    batch = minibatch(2, 0.5, (3, 7)).to(torch.float64)
    rows = batch.rows
    names = _arguments(kind)

    def value(*tensors):
        return getattr(likelihoods, kind)(rows, **dict(zip(names, tensors, strict=True)))

    assert torch.autograd.gradcheck(value, [getattr(batch, n).requires_grad_() for n in names])


@pytest.mark.parametrize("normalise", ["softplus", "exp"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
def test_other_normalisations_give_the_likelihood_of_their_rate(minibatch, kind, normalise, dtype):
    batch = minibatch(3, 0.5).to(dtype)
    share = (
        torch.nn.functional.softplus(batch.logits)
        if normalise == "softplus"
        else batch.logits.exp()
    )
    rest = {name: getattr(batch, name) for name in _arguments(kind)[2:]}
    total = share.sum(1, keepdim=True)  # a softmax of log share, with the total put back

    mine = getattr(likelihoods, kind)(
        batch.rows, batch.logits, batch.log_library, **rest, normalise=normalise
    )

    by_softmax = getattr(likelihoods, kind)(
        batch.rows, share.log(), batch.log_library + total.log(), **rest
    )
    torch.testing.assert_close(mine, by_softmax, rtol=2e-6, atol=0.0)


@pytest.mark.parametrize("normalise", ["softplus", "exp"])
def test_gradients_of_other_normalisations_are_those_of_finite_differences(
    minibatch, kind, normalise
):
    batch = minibatch(4, 0.5, (3, 7)).to(torch.float64)
    rows = batch.rows
    names = _arguments(kind)

    def value(*tensors):
        arguments = dict(zip(names, tensors, strict=True))
        return getattr(likelihoods, kind)(rows, **arguments, normalise=normalise)

    assert torch.autograd.gradcheck(value, [getattr(batch, n).requires_grad_() for n in names])


@pytest.mark.parametrize("normalise", ["softmax", "softplus", "exp"])
@pytest.mark.parametrize("far", [30.0, 90.0, 1e3, 1e6], ids=lambda far: f"{far:g}")
def test_nothing_is_non_finite_however_far_the_arguments_lie(minibatch, kind, normalise, far):
    batch = minibatch(5, 0.5, (8, 30), spread=far)
    batch = replace(batch, log_library=batch.log_library.clamp(max=8.0))
    far_logits = batch.logits.clamp(max=60.0) if normalise == "exp" else batch.logits
    arguments = {name: getattr(batch, name).clone() for name in _arguments(kind)}
    arguments["logits"] = far_logits.clone()
    leaves = [tensor.requires_grad_() for tensor in arguments.values()]

    nll = getattr(likelihoods, kind)(batch.rows, **arguments, normalise=normalise)
    gradients = torch.autograd.grad(nll.sum(), leaves)

    assert torch.isfinite(nll).all()
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@given(seed=st.integers(0, 2**16))
def test_single_precision_agrees_with_double_at_adversarial_arguments(minibatch, kind, seed):
    batch = minibatch(seed, 2.0, (16, 40), spread=3.0)
    theta = torch.empty(40).uniform_(-9.2, 18.4, generator=torch.Generator().manual_seed(seed))
    batch = replace(batch, log_dispersion=theta)

    _assert_same(batch.evaluate(kind), batch.to(torch.float64).evaluate(kind), 1e-5)


def test_cells_without_counts_cost_what_their_zeros_cost(minibatch, kind):
    batch = minibatch(6, 0.3)
    batch = replace(batch, x=torch.zeros_like(batch.x))

    mine = batch.evaluate(kind)

    _assert_same(mine, batch.to(torch.float64).evaluate(kind, "naive"), 1e-5)


def test_empty_rows_among_full_ones_keep_their_place(minibatch, kind):
    batch = minibatch(7, 0.3)
    batch.x[[0, 5, -1]] = 0.0

    mine = batch.evaluate(kind)

    _assert_same(mine, batch.to(torch.float64).evaluate(kind, "naive"), 1e-5)


def test_counts_of_a_hundred_thousand_are_finite_and_close(minibatch, kind):
    batch = minibatch(8, 0.3, (12, 200))
    batch.x[3, 7] = 100_000.0
    batch = replace(batch, log_library=torch.log(1.3 * batch.x.sum(1, keepdim=True)))

    mine = batch.evaluate(kind)

    _assert_same(mine, batch.to(torch.float64).evaluate(kind), 1e-5)


@pytest.mark.parametrize("theta", [1e-4, 0.3, 100.0, 1e4, 1e6, 1e8], ids="theta {:g}".format)
@pytest.mark.parametrize("normalise", ["softmax", "softplus", "exp"])
def test_large_counts_at_their_mean_keep_the_few_nats_they_cost(minibatch, kind, normalise, theta):
    """Cost and gain are of the count's size and cancel: rounding either shows."""
    x, part = torch.cartesian_prod(
        torch.tensor([13.0, 20.0, 31.0, 33.0, 100.0, 1e3, 1e4, 1e5]),
        torch.tensor([0.5, 0.9, 0.99, 1.0, 1.01, 1.1, 2.0]),
    ).T[:, :, None]
    none = torch.zeros_like(x)
    log_mu = (x * part).log()
    offset = none.exp().expm1().log() if normalise == "softplus" else none  # softplus of it is one
    batch = replace(
        minibatch(0, 1.0, (len(x), 1)),
        x=x,
        logits=log_mu if normalise == "exp" else offset,
        log_library=none if normalise == "exp" else log_mu,
        log_dispersion=torch.tensor([theta]).log(),
    )

    mine, exact = (
        _nll(batch.to(dtype), kind, normalise) for dtype in (torch.float32, torch.float64)
    )

    torch.testing.assert_close(mine.double(), exact, rtol=1e-5, atol=0.0)


@pytest.mark.parametrize("normalise", ["softmax", "softplus", "exp"])
def test_cells_of_a_million_counts_keep_their_digits(minibatch, kind, normalise):
    batch = minibatch(9, 150.0, (16, 2000), spread=0.1)
    assert batch.x.sum(1).min() > 5e5

    mine, exact = (
        _nll(batch.to(dtype), kind, normalise) for dtype in (torch.float32, torch.float64)
    )

    torch.testing.assert_close(mine.double(), exact, rtol=1e-6, atol=0.0)


def _nll(batch, kind, normalise):
    arguments = {name: getattr(batch, name) for name in _arguments(kind)}
    return getattr(likelihoods, kind)(batch.rows, **arguments, normalise=normalise)


def test_fractional_counts_are_evaluated_as_they_are(minibatch, kind):
    batch = minibatch(9, 0.3)
    batch = replace(batch, x=batch.x * 1.37)

    mine = batch.evaluate(kind)

    _assert_same(mine, batch.to(torch.float64).evaluate(kind, "naive"), 1e-5)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64, torch.float64], ids=str)
def test_counts_may_be_stored_in_any_dtype(minibatch, kind, dtype):
    batch = minibatch(10, 0.3)

    mine = replace(batch, x=batch.x.to(dtype)).evaluate(kind)

    _assert_same(mine, batch.evaluate(kind), 0.0)


def test_samples_of_the_logits_are_evaluated_one_by_one(minibatch, kind):
    batch = minibatch(11, 0.3)
    logits = batch.logits + torch.randn(4, *batch.logits.shape)
    arguments = {name: getattr(batch, name) for name in _arguments(kind)}
    per_sample = {"logits": logits}
    per_sample |= {n: a.expand_as(logits) for n, a in arguments.items() if n == "dropout_logits"}

    together = getattr(likelihoods, kind)(batch.rows, **(arguments | per_sample))

    third = getattr(likelihoods, kind)(batch.rows, **(arguments | {"logits": logits[2]}))
    assert together.shape == (4, batch.x.shape[0])
    torch.testing.assert_close(together[2], third, rtol=1e-6, atol=0.0)


def test_nothing_is_differentiated_when_nobody_asks(minibatch, kind):
    batch = minibatch(12)
    arguments = {name: getattr(batch, name).requires_grad_() for name in _arguments(kind)}

    with torch.no_grad():
        nll = getattr(likelihoods, kind)(batch.rows, **arguments)

    assert nll.grad_fn is None


def test_only_what_needs_a_gradient_gets_one(minibatch, kind):
    batch = minibatch(13)
    arguments = {name: getattr(batch, name) for name in _arguments(kind)}
    arguments["logits"].requires_grad_()

    getattr(likelihoods, kind)(batch.rows, **arguments).sum().backward()

    assert arguments.pop("logits").grad is not None
    assert [tensor.grad for tensor in arguments.values()] == [None] * len(arguments)


def test_a_graph_that_is_retained_gives_the_same_gradient_twice(minibatch, kind):
    batch = minibatch(14)
    batch.logits.requires_grad_()
    arguments = {name: getattr(batch, name) for name in _arguments(kind)}
    loss = getattr(likelihoods, kind)(batch.rows, **arguments).mean()

    first = torch.autograd.grad(loss, batch.logits, retain_graph=True)
    second = torch.autograd.grad(loss, batch.logits)

    assert torch.equal(first[0], second[0])


def test_second_derivatives_are_refused(minibatch, kind):
    batch = minibatch(15)
    batch.logits.requires_grad_()
    arguments = {name: getattr(batch, name) for name in _arguments(kind)}
    nll = getattr(likelihoods, kind)(batch.rows, **arguments)
    loss = (nll * batch.weight.requires_grad_()).sum()
    (gradient,) = torch.autograd.grad(loss, batch.logits, create_graph=True)

    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_half_precision_logits_are_evaluated_in_single(minibatch, kind):
    batch = minibatch(16)
    halves = batch.to(torch.bfloat16)
    rounded = halves.to(torch.float32)

    nll = getattr(likelihoods, kind)(
        batch.rows, **{n: getattr(halves, n) for n in _arguments(kind)}
    )

    assert nll.dtype == torch.float32
    assert torch.equal(nll, rounded.evaluate(kind)["nll"])


@pytest.mark.gpu
def test_a_gpu_gives_the_figures_of_the_cpu(minibatch, kind):
    batch = minibatch(17, 0.1, (64, 500))
    names = _arguments(kind)
    leaves = {n: getattr(batch, n).cuda().requires_grad_() for n in names}

    nll = getattr(likelihoods, kind)(batch.rows.to("cuda"), **leaves)
    gradients = torch.autograd.grad((nll * batch.weight.cuda()).sum(), list(leaves.values()))

    on_gpu = {"nll": nll.detach().cpu()}
    on_gpu |= {n: g.cpu() for n, g in zip(names, gradients, strict=True)}
    _assert_same(on_gpu, batch.to(torch.float64).evaluate(kind, "naive"), 1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"logits": torch.zeros(12, 59)}, "logits must end in", id="genes"),
        pytest.param({"log_library": torch.zeros(12)}, "log_library must be", id="library"),
        pytest.param({"log_dispersion": torch.zeros(12, 1)}, "log_dispersion must be", id="theta"),
        pytest.param({"dropout_logits": torch.zeros(60)}, "dropout_logits must have", id="dropout"),
        pytest.param({"normalise": "sigmoid"}, "normalise must be one of", id="normalise"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_by_name(minibatch, change, message):
    batch = minibatch(18)
    fitting = {name: getattr(batch, name) for name in _arguments("zero_inflated_negative_binomial")}

    with pytest.raises(ValueError, match=message):
        likelihoods.zero_inflated_negative_binomial(batch.rows, **(fitting | change))


def _arguments(kind):
    common = ("logits", "log_library")
    more = {
        "negative_binomial": ("log_dispersion",),
        "zero_inflated_negative_binomial": ("log_dispersion", "dropout_logits"),
        "poisson": (),
    }
    return common + more[kind]

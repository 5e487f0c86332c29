"""One clock: the fraction of the training done, exact at every minibatch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from betascvi import BetaSCVI
from betascvi.objectives import BetaVAE
from betascvi.schedules import Cyclical, Linear, Staged


def clock(n_epochs: int, n_minibatches: int) -> list[float]:
    """What the clock is to say before each minibatch."""
    return [
        (epoch + i / n_minibatches) / n_epochs
        for epoch in range(n_epochs)
        for i in range(n_minibatches)
    ]


@pytest.mark.parametrize(
    ("n_epochs", "batch_size", "n_minibatches"),
    [(1, 120, 1), (3, 40, 3), (2, 50, 3), (2, 3, 40)],
    ids=["one of one", "three of three", "the last one short", "more than a chunk"],
)
def test_the_clock_is_exact_at_every_minibatch(
    make_model: Callable[..., BetaSCVI],
    make_watch: Callable[..., Any],
    path: dict[str, Any],
    quick: dict[str, Any],
    n_epochs: int,
    batch_size: int,
    n_minibatches: int,
) -> None:
    watch = make_watch()
    model = make_model(objective=watch)

    model.train(**quick | path | {"batch_size": batch_size}, max_epochs=n_epochs, train_size=1.0)

    assert watch.seen == pytest.approx(clock(n_epochs, n_minibatches), abs=1e-12)


@pytest.mark.parametrize(("n_cells", "n_epochs"), [(10, 1), (41, 1), (120, 2), (10, 5)])
def test_a_warm_up_completes_whatever_the_number_of_cells_and_epochs(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any], n_cells: int, n_epochs: int
) -> None:
    model = make_model(n_cells, objective=BetaVAE(beta=Linear(0.0, 3.0, end=0.25)))

    model.train(**quick | {"batch_size": 5}, max_epochs=n_epochs, train_size=0.8)

    assert model.training_summary_.weights == {"kl": 3.0}


def test_the_weight_in_the_history_is_the_mean_of_its_epoch(
    make_model: Callable[..., BetaSCVI], path: dict[str, Any], quick: dict[str, Any]
) -> None:
    schedule = Linear(0.0, 3.0, end=1.0)
    model = make_model(objective=BetaVAE(beta=schedule))

    model.train(**quick | path, max_epochs=2, train_size=1.0)

    wanted = [sum(schedule((e + i / 3) / 2) for i in range(3)) / 3 for e in range(2)]
    assert list(model.history["kl_weight"].iloc[:, 0]) == pytest.approx(wanted, rel=1e-5)


def test_a_second_training_holds_the_final_weights(
    make_model: Callable[..., BetaSCVI],
    make_watch: Callable[..., Any],
    path: dict[str, Any],
    quick: dict[str, Any],
) -> None:
    watch = make_watch(BetaVAE(beta=Cyclical(Linear(0.0, 4.0, end=0.5), cycles=2)))
    model = make_model(objective=watch)
    model.train(**quick | path, max_epochs=2)
    watch.seen.clear()

    model.train(**quick | path, max_epochs=2)

    assert set(watch.seen) == {1.0}
    assert list(model.history["kl_weight"].iloc[-2:, 0]) == [4.0, 4.0]


def test_a_second_training_starts_its_schedules_again_when_asked(
    make_model: Callable[..., BetaSCVI],
    make_watch: Callable[..., Any],
    path: dict[str, Any],
    quick: dict[str, Any],
) -> None:
    watch = make_watch()
    model = make_model(objective=watch)
    model.train(**quick | path, max_epochs=1, train_size=1.0)
    watch.seen.clear()

    model.train(**quick | path, max_epochs=2, train_size=1.0, restart_schedules=True)

    assert watch.seen == pytest.approx(clock(2, 3), abs=1e-12)


def test_a_training_counted_in_steps_still_runs_its_schedules_to_the_end(
    make_model: Callable[..., BetaSCVI], make_watch: Callable[..., Any], quick: dict[str, Any]
) -> None:
    watch = make_watch(BetaVAE(beta=Linear(0.0, 2.0, end=0.5)))
    model = make_model(objective=watch)

    model.train(**quick, max_epochs=1000, max_steps=6, train_size=1.0)

    assert watch.seen == pytest.approx([i / 6 for i in range(6)])
    assert model.training_summary_.weights == {"kl": 2.0}


def test_an_objective_with_a_critic_has_the_same_clock(
    make_model: Callable[..., BetaSCVI], make_watch: Callable[..., Any], quick: dict[str, Any]
) -> None:
    from betascvi.objectives import FactorVAE

    watch = make_watch(FactorVAE())
    model = make_model(objective=watch)

    model.train(**quick, max_epochs=2, train_size=1.0)

    assert watch.seen == pytest.approx(clock(2, 3), abs=1e-12)


def test_evaluation_after_training_stands_at_the_end_of_the_clock(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any]
) -> None:
    model = make_model(objective=BetaVAE(beta=Staged(((0.0, 0.0), (0.9, 5.0)))))
    model.train(**quick, max_epochs=1)

    tensors = next(iter(model._make_data_loader(model.adata)))
    _, _, output = model.module(tensors)

    assert float(output.extra_metrics["kl_weight"]) == 5.0

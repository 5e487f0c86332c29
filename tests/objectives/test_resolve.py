"""Objectives by name, as values, and by mistake."""

from __future__ import annotations

import pytest

from betascvi.objectives import OBJECTIVES, BetaVAE, Objective, resolve


def test_without_a_wish_the_objective_is_the_plain_vae() -> None:
    assert resolve(None) == BetaVAE(beta=1.0)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_name_gives_the_objective_with_its_defaults(name: str) -> None:
    assert resolve(name) == OBJECTIVES[name]()


def test_an_objective_is_taken_as_it_is() -> None:
    objective = BetaVAE(beta=3.0)

    assert resolve(objective) is objective


def test_an_unknown_name_is_refused_with_the_closest() -> None:
    with pytest.raises(ValueError, match=r"'beta_vea'.*did you mean 'beta_vae'"):
        resolve("beta_vea")


def test_a_class_is_refused_with_the_call_that_was_meant() -> None:
    with pytest.raises(ValueError, match=r"BetaVAE\(\.\.\.\)"):
        resolve(BetaVAE)  # type: ignore[arg-type]


@pytest.mark.parametrize("wish", [4.0, ["beta_vae"], {}], ids=repr)
def test_what_is_no_objective_is_refused(wish: object) -> None:
    with pytest.raises(ValueError, match="objective"):
        resolve(wish)  # type: ignore[arg-type]


@pytest.mark.parametrize("cls", OBJECTIVES.values())
def test_objectives_are_saved_under_the_public_path(cls: type[Objective]) -> None:
    assert cls.__module__ == "betascvi.objectives"

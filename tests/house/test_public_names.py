"""What is public is what is exported, and nothing else."""

from __future__ import annotations

import importlib
import inspect

import pytest

import betascvi as bs

FOLDERS = ["datasets", "factors", "likelihoods", "metrics", "objectives", "pl", "schedules", "tl"]


def test_the_face_of_the_package_is_the_one_of_the_design() -> None:
    promised = {"BetaSCVI", "Factor", "datasets", "metrics", "objectives", "schedules", "tl", "pl"}

    assert promised <= set(bs.__all__)


@pytest.mark.parametrize("name", bs.__all__)
def test_every_public_name_loads_when_it_is_asked_for(name: str) -> None:
    assert getattr(bs, name) is not None
    assert name in dir(bs)


def test_an_unknown_name_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(AttributeError, match=r"'BetaVI'.*BetaSCVI"):
        _ = bs.BetaVI


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_name_a_folder_exports_is_there(folder: str) -> None:
    module = importlib.import_module(f"betascvi.{folder}")

    assert [name for name in getattr(module, "__all__", []) if not hasattr(module, name)] == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_public_thing_has_a_docstring(folder: str) -> None:
    module = importlib.import_module(f"betascvi.{folder}")
    things = {name: getattr(module, name) for name in getattr(module, "__all__", [])}
    defined = {n: t for n, t in things.items() if inspect.isclass(t) or inspect.isfunction(t)}

    assert [n for n, thing in defined.items() if not thing.__doc__] == []


@pytest.mark.parametrize(
    "name",
    [
        "train", "setup_anndata", "get_latent_representation", "decode", "from_scvi", "to_scvi",
        "blocks",
        "axis_names", "save", "load", "load_query_data", "minify_adata",
        "get_normalized_expression", "differential_expression", "posterior_predictive_sample",
        "get_elbo", "get_reconstruction_error", "get_marginal_ll", "view_anndata_setup",
    ],
)  # fmt: skip
def test_the_model_has_the_methods_of_the_contract(name: str) -> None:
    assert hasattr(bs.BetaSCVI, name)

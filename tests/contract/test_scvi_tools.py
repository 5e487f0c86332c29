"""Every private name of scvi-tools that we lean on exists; each failure names it."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
from scvi.model import SCVI
from scvi.module import VAE
from scvi.train import TrainingPlan

import betascvi
from betascvi.model import BetaSCVI
from betascvi.module import BetaVAEModule

SOURCE = Path(betascvi.__file__).parent
ROOMS = ("data", "module", "train", "model")

IMPORTED = {
    "scvi.data._utils._get_adata_minify_type",
    "scvi.data._utils.registry_key_to_default_dtype",
    "scvi.module._constants.MODULE_KEYS",
    "scvi.train._config.merge_kwargs",
}
INHERITED = {
    "scvi.model.SCVI._validate_anndata",
    "scvi.model.SCVI._check_if_trained",
    "scvi.model.SCVI._get_fields_for_adata_minification",
    "scvi.model.SCVI._get_init_params",
    "scvi.model.SCVI._get_most_recent_anndata_manager",
    "scvi.model.SCVI._get_setup_method_args",
    "scvi.model.SCVI._make_data_loader",
    "scvi.module.VAE._get_generative_input",
    "scvi.module.VAE._get_inference_input",
    "scvi.module.VAE._regular_inference",
}
SET_BY_US_AND_READ_BY_SCVI = {
    "scvi.model.SCVI._module_cls",
    "scvi.model.SCVI._training_plan_cls",
    "scvi.model.SCVI._data_splitter_cls",
    "scvi.model.SCVI._train_runner_cls",
}
# attributes of instances: looked for in the source, for a class does not have them
OF_TORCH = {
    "torch._foreach_add_", "torch._fused_adam_", "torch.nn.modules.module._has_any_global_hook",
}  # fmt: skip
ON_INSTANCES = {"_model_summary_string": SCVI}


def resolve(path: str) -> object:
    """The object at a dotted path: as much of it as is a module, then attributes."""
    parts = path.split(".")
    for n in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:n]))
        except ModuleNotFoundError:
            continue
        for name in parts[n:]:
            found = getattr(found, name)
        return found
    raise ModuleNotFoundError(path)


def trees() -> Iterator[ast.Module]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield ast.parse(path.read_text())


def private_imports() -> set[str]:
    """Names of scvi-tools imported from a private module, or private themselves."""
    return {
        f"{node.module}.{alias.name}"
        for tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "scvi"
        for alias in node.names
        if any(part.startswith("_") for part in f"{node.module}.{alias.name}".split("."))
    }


def private_attributes() -> set[str]:
    """Private attributes our host rooms read or write and do not define themselves."""
    used, defined = set(), set()
    for path in (p for room in ROOMS for p in sorted((SOURCE / room).rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
                (defined if isinstance(node.ctx, ast.Store) else used).add(node.attr)
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                defined.add(node.name)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                defined.add(node.target.id)
    return {name for name in used - defined if not name.startswith("__")}


@pytest.mark.parametrize(
    "path", sorted(IMPORTED | INHERITED | SET_BY_US_AND_READ_BY_SCVI | OF_TORCH)
)
def test_a_private_name_of_scvi_tools_is_there(path: str) -> None:
    try:
        resolve(path)
    except (AttributeError, ModuleNotFoundError) as error:
        pytest.fail(f"scvi-tools no longer has {path}: {error}")


@pytest.mark.parametrize("name", ON_INSTANCES)
def test_a_private_attribute_of_scvi_tools_is_still_set(name: str) -> None:
    source = inspect.getsource(inspect.getmodule(ON_INSTANCES[name]))  # type: ignore[arg-type]

    assert f"self.{name}" in source, f"{ON_INSTANCES[name]} no longer sets {name}"


def test_every_private_import_from_scvi_tools_is_listed_here() -> None:
    assert private_imports() <= IMPORTED


def test_every_private_attribute_of_scvi_tools_is_listed_here() -> None:
    listed = {path.rpartition(".")[2] for path in INHERITED | SET_BY_US_AND_READ_BY_SCVI | OF_TORCH}

    assert private_attributes() <= listed | set(ON_INSTANCES)


def arguments_of(function: object) -> list[str]:
    return [
        p.name
        for p in inspect.signature(function).parameters.values()  # type: ignore[arg-type]
        if p.kind is not inspect.Parameter.VAR_KEYWORD and p.name != "self"
    ]


def test_our_model_takes_every_argument_of_scvi_tools_model_and_module() -> None:
    from_data = {"n_input", "n_batch", "n_labels", "n_continuous_cov", "n_cats_per_cov",
                 "use_size_factor_key", "library_log_means", "library_log_vars"}  # fmt: skip

    wanted = {*arguments_of(SCVI.__init__), *arguments_of(VAE.__init__)} - from_data

    assert wanted - set(arguments_of(BetaSCVI.__init__)) == set()


def test_our_module_takes_every_argument_of_scvi_tools_module_in_its_order() -> None:
    theirs = arguments_of(VAE.__init__)

    assert arguments_of(BetaVAEModule.__init__)[: len(theirs)] == theirs


@pytest.mark.parametrize("name", ["train", "setup_anndata", "get_latent_representation"])
def test_an_overridden_method_begins_with_the_arguments_of_scvi_tools(name: str) -> None:
    theirs = arguments_of(getattr(SCVI, name))

    assert arguments_of(getattr(BetaSCVI, name))[: len(theirs)] == theirs


def test_our_generative_begins_with_the_arguments_of_scvi_tools() -> None:
    theirs = arguments_of(VAE.generative)

    assert arguments_of(BetaVAEModule.generative)[: len(theirs)] == theirs


def test_scvi_tools_plan_still_has_the_warm_up_we_refuse() -> None:
    from betascvi.train._plan_arguments import _SCVI_WARMUP

    assert set(_SCVI_WARMUP) <= set(arguments_of(TrainingPlan.__init__))


def test_no_constructor_of_ours_hides_arguments_in_kwargs() -> None:
    kinds = [
        parameter.kind
        for cls in (BetaSCVI, BetaVAEModule)
        for parameter in inspect.signature(cls.__init__).parameters.values()
    ]

    assert inspect.Parameter.VAR_KEYWORD not in kinds

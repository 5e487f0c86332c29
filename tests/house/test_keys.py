"""Keys of an AnnData stand in ``_keys.py`` and nowhere else."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import betascvi
from betascvi import _keys

ROOT = Path(betascvi.__file__).parent
FILES = sorted(path for path in ROOT.rglob("*.py") if path.name != "_keys.py")
OURS = {value for name, value in vars(_keys).items() if name.isupper()}
STORES = {"obsm", "uns", "varm", "layers", "obsp"}


def keys_written_out(path: Path) -> set[str]:
    """Constant keys by which a store of an AnnData is indexed, such as ``uns["..."]``."""
    return {
        node.slice.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Attribute)
        and node.value.attr in STORES
        and isinstance(node.slice, ast.Constant)
        and isinstance(node.slice.value, str)
    }


def docstrings_of(tree: ast.Module) -> set[str]:
    nodes = [
        n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef | ast.Module)
    ]
    return {doc for node in nodes if (doc := ast.get_docstring(node, clean=False)) is not None}


def our_keys_written_out(path: Path) -> set[str]:
    """Our own keys, as whole strings outside docstrings; plain words of English are not meant."""
    tree = ast.parse(path.read_text())
    strings = {
        n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)
    }
    return {key for key in OURS if "_" in key} & (strings - docstrings_of(tree))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_anndata_key_is_written_out_where_it_is_used(path: Path) -> None:
    assert keys_written_out(path) | our_keys_written_out(path) == set()

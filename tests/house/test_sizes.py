"""Files, functions and argument lists stay small enough to read."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import betascvi

ROOT = Path(betascvi.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
MAX_LINES_OF_FILE, MAX_LINES_OF_FUNCTION, MAX_ARGUMENTS = 300, 40, 8

Function = ast.FunctionDef | ast.AsyncFunctionDef
every_file = pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))


def functions_in(path: Path) -> Iterator[Function]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, Function):
            yield node


def length_of(function: Function) -> int:
    """Lines from the end of the signature on, without the docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return 0 if not body else (body[-1].end_lineno or 0) - body[0].lineno + 1


def n_arguments_of(function: Function) -> int:
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return len([a for a in named if a.arg not in {"self", "cls"}])


def is_excused(path: Path, function: Function) -> bool:
    """Whether scvi-tools fixes the signature: an override, or a ``noqa`` with its reason."""
    decorators = {getattr(d, "id", "") for d in function.decorator_list}
    lines = path.read_text().splitlines()[function.lineno - 1 : function.body[0].lineno]
    return "override" in decorators or any("noqa: PLR0913" in line for line in lines)


@every_file
def test_a_file_has_fewer_than_300_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) < MAX_LINES_OF_FILE


@every_file
def test_a_function_has_fewer_than_40_lines(path: Path) -> None:
    long = {f.name: length_of(f) for f in functions_in(path)}

    assert {k: v for k, v in long.items() if v >= MAX_LINES_OF_FUNCTION} == {}


@every_file
def test_a_function_takes_at_most_8_arguments(path: Path) -> None:
    counts = {f.name: n_arguments_of(f) for f in functions_in(path) if not is_excused(path, f)}

    assert {k: v for k, v in counts.items() if v > MAX_ARGUMENTS} == {}


@pytest.mark.parametrize("name", ["utils.py", "helpers.py", "misc.py", "_utils.py", "_helpers.py"])
def test_no_file_is_a_drawer_for_odds_and_ends(name: str) -> None:
    assert [path for path in FILES if path.name == name] == []

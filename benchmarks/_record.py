"""Results of benchmarks: written whole, with the versions and the code they were made with."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
RUNS = Path(__file__).parents[1] / ".benchmark_runs"
_CODE = Path(__file__).parents[1] / "src" / "betascvi"
_NO_FIT = ("pl", "report", "cli.py")
"""Parts of the package that no figure of a run depends on."""
_PACKAGES = ("betascvi", "torch", "scvi-tools", "anndata", "numpy", "scikit-learn", "lightgbm")


def write(name: str, rows: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> Path:
    """Write ``benchmarks/results/<name>.json``; returns its path."""
    RESULTS.mkdir(exist_ok=True)
    for method, states in mixed(rows).items():
        print(f"{method}: its rows were made by {len(states)} states of the code: {states}")
    return write_json(
        RESULTS / f"{name}.json",
        {
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "versions": {"python": platform.python_version(), **_versions()},
            "machine": {"processor": platform.machine(), "cores": os.cpu_count()},
            "settings": dict(settings),
            "mixed": mixed(rows),
            "rows": [dict(row) for row in rows],
        },
    )


def write_json(path: Path, content: Mapping[str, Any]) -> Path:
    """A json file that is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, suffix=".draft") as draft:
        json.dump(content, draft, indent=1, default=float)
        draft.write("\n")
    Path(draft.name).chmod(0o644)
    Path(draft.name).replace(path)
    return path


def keep(path: Path, row: Mapping[str, Any]) -> dict[str, Any]:
    """Write the row of one run, with the day and the state of the code that made it."""
    kept = {**row, "day": datetime.now(UTC).strftime("%Y-%m-%d"), "code": state_of_the_code()}
    write_json(path, kept)
    return kept


def recall(name: str, path_of: Callable[[Mapping[str, Any]], Path], **settings: Any) -> None:
    """Lay out the rows of the committed table as finished runs, where no newer file is there.

    Rows of a table made with other ``settings`` are left. A study of many sittings goes on wherever the repository is cloned. To repeat a run, delete
    its row from the table and its file.
    """
    table = RESULTS / f"{name}.json"
    known = json.loads(table.read_text()) if table.exists() else {"settings": {}, "rows": []}
    if any(known["settings"].get(key) != value for key, value in settings.items()):
        return
    found = 0
    for row in known["rows"]:
        if not row.get("skipped") and not path_of(row).exists():
            write_json(path_of(row), row)
            found += 1
    if found:
        print(f"{found} finished runs are taken from {table.name}")


@cache
def state_of_the_code() -> str:
    """A name for what the package does: text, comments and layout do not change it."""
    found = hashlib.sha256()
    for path in sorted(_CODE.rglob("*.py")):
        where = path.relative_to(_CODE)
        if where.parts[0] not in _NO_FIT:
            found.update(f"{where}\n{_without_text(path.read_text())}".encode())
    return found.hexdigest()[:12]


def _without_text(code: str) -> str:
    """The syntax tree less every string that stands by itself."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = [
                line for line in node.body
                if not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
            ]  # fmt: skip
    return ast.dump(tree)


def mixed(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Method -> states of the code that its rows come from, if more than one."""
    found: dict[str, set[str]] = {}
    for row in rows:
        if "method" in row and not row.get("skipped"):
            state = row.get("code") or "before rows were marked"
            found.setdefault(str(row["method"]), set()).add(str(state))
    return {method: sorted(states) for method, states in found.items() if len(states) > 1}


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def memory(field: str = "VmHWM") -> float:
    """MiB of this process: the most so far, or now (``"VmRSS"``).

    getrusage would count the process that this one was started from.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith(field)).split()[1]) / 1024

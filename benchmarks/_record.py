"""Results of benchmarks: written whole, with the versions they were made with."""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
RUNS = Path(__file__).parents[1] / ".benchmark_runs"
_PACKAGES = ("betascvi", "torch", "scvi-tools", "anndata", "numpy", "scikit-learn", "lightgbm")


def write(name: str, rows: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> Path:
    """Write ``benchmarks/results/<name>.json``; returns its path."""
    RESULTS.mkdir(exist_ok=True)
    return write_json(
        RESULTS / f"{name}.json",
        {
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "versions": {"python": platform.python_version(), **_versions()},
            "machine": {"processor": platform.machine(), "cores": os.cpu_count()},
            "settings": dict(settings),
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

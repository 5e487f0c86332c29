"""A fresh interpreter starts fast and loads no more than it was asked for."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

HEAVY = {
    "torch",
    "scvi",
    "anndata",
    "scanpy",
    "lightning",
    "pyro",
    "matplotlib",
    "sklearn",
    "pandas",
}


def run_fresh(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout


def fastest_of(n: int, code: str) -> float:
    """Seconds of the fastest of n fresh interpreters: other processes only add to a time."""
    times = []
    for _ in range(n):
        start = time.perf_counter()
        run_fresh(code)
        times.append(time.perf_counter() - start)
    return min(times)


def test_import_loads_nothing_heavy() -> None:
    loaded = run_fresh("import sys, betascvi; print(*{m.partition('.')[0] for m in sys.modules})")

    assert set(loaded.split()) & HEAVY == set()


def test_the_public_names_of_arithmetic_load_without_torch() -> None:
    loaded = run_fresh(
        "import sys, betascvi as bs; bs.Factor('batch'); bs.schedules.Linear(0, 1); bs.metrics.mig;"
        "print(*{m.partition('.')[0] for m in sys.modules})"
    )

    assert set(loaded.split()) & {"torch", "scvi", "anndata", "scanpy", "lightning"} == set()


def test_import_takes_less_than_a_second() -> None:
    assert fastest_of(3, "import betascvi") < 1.0


def test_the_shell_command_says_its_help_in_less_than_a_second() -> None:
    pytest.importorskip("betascvi.cli", reason="the shell comes with its own issue")

    code = "import sys; from betascvi.cli import main; sys.argv = ['betascvi', '--help']; main()"

    assert (
        fastest_of(3, f"try:\n    exec({code!r})\nexcept SystemExit as e:\n    assert not e.code")
        < 1.0
    )

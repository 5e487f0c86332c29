"""Long benchmarks go on where the committed table stands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import _record


def test_rows_of_the_table_are_finished_runs_unless_a_newer_file_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"seed": 0, "score": 1.0, "nll": None},
        {"seed": 1, "score": 2.0},
        {"skipped": "no peer"},
    ]
    monkeypatch.setattr(_record, "RESULTS", tmp_path / "results")
    _record.write_json(tmp_path / "results" / "some.json", {"settings": {}, "rows": rows})
    _record.write_json(tmp_path / "runs" / "1.json", {"seed": 1, "score": 3.0})

    _record.recall("some", lambda row: tmp_path / "runs" / f"{row.get('seed')}.json")

    kept = {path.name: json.loads(path.read_text()) for path in (tmp_path / "runs").iterdir()}
    assert kept == {"0.json": rows[0], "1.json": {"seed": 1, "score": 3.0}}
    assert capsys.readouterr().out == "1 finished runs are taken from some.json\n"


def test_a_table_made_with_other_settings_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_record, "RESULTS", tmp_path)
    table = {"settings": {"epochs": 150}, "rows": [{"seed": 0}]}
    _record.write_json(tmp_path / "some.json", table)

    _record.recall("some", lambda _row: tmp_path / "run.json", epochs=50)
    assert not (tmp_path / "run.json").exists()

    _record.recall("some", lambda _row: tmp_path / "run.json", epochs=150)
    assert (tmp_path / "run.json").exists()


def test_without_a_table_nothing_is_recalled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_record, "RESULTS", tmp_path)

    _record.recall("none", lambda _row: tmp_path / "never.json")

    assert not list(tmp_path.iterdir())
    assert not capsys.readouterr().out

"""Results of runs on disk: a folder a run, there whole or not at all."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from betascvi._written_whole import Folder, file_written_whole
from betascvi.model import BetaSCVI

if TYPE_CHECKING:
    import pandas as pd

_ROW = "row.json"
_HISTORY = "history.csv"
_MODEL = "model"
_TABLE = "runs.csv"


def write_run(folder: Path, row: Mapping[str, Any], model: BetaSCVI, *, keep_models: bool) -> None:
    """Write beside the final place, then move there in one step."""
    place = Folder(folder, True, (_ROW,), "folder of a run", "another name")
    with (
        place.written_whole() as draft
    ):  # over one of somebody else at the same time, or without its model
        (draft / _ROW).write_text(json.dumps(_for_json(row), indent=1) + "\n")
        history_frame(model).to_csv(draft / _HISTORY)
        if keep_models:
            model.save(str(draft / _MODEL), save_anndata=False)


def read_row(folder: Path, *, needs_model: bool) -> dict[str, Any] | None:
    """The row of a finished run; None where there is none (or it lacks the model asked for)."""
    path = folder / _ROW
    if not path.exists() or (needs_model and not (folder / _MODEL).exists()):
        return None
    row: dict[str, Any] = json.loads(path.read_text())
    return row


def read_history(folder: Path) -> dict[str, list[float]]:
    """What the training of a finished run logged, to the last digit: column -> values by epoch."""
    with (folder / _HISTORY).open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name] or "nan") for row in rows] for name in rows[0]}


def write_table(folder: Path, frame: pd.DataFrame) -> None:
    """All rows as one file, replaced in one step."""
    with file_written_whole(folder / _TABLE) as draft:
        frame.to_csv(draft, index=False)


def history_frame(model: BetaSCVI) -> pd.DataFrame:
    """Everything logged in training, one row an epoch."""
    import pandas as pd

    return pd.concat(list(model.history.values()), axis=1)


def _for_json(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _plain(value) for key, value in row.items()}


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    is_missing = isinstance(value, float) and not math.isfinite(value)
    return None if is_missing else value

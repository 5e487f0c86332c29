"""Folders that appear whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from betascvi.tl import ScoreTable


@contextmanager
def written_whole(out: Path, *, overwrite: bool, marker: str = "settings.json") -> Iterator[Path]:
    """A folder to write into, which takes the name ``out`` once everything in it is written.

    A folder that is there is replaced only when asked and only where ``marker`` lies in it.
    """
    if out.exists() and not overwrite:
        raise FileExistsError(f"{out} is there already; choose another folder, or --overwrite.")
    if out.exists() and not (out / marker).exists():
        raise FileExistsError(f"{out} was not written by us (no {marker} in it) and is left alone.")
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield draft
        if out.exists():
            _set_aside_and_replace(out, draft)
        else:
            draft.rename(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    out.chmod(0o755)


def _set_aside_and_replace(out: Path, draft: Path) -> None:
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}-old-", dir=out.parent))
    out.rename(old / out.name)
    draft.rename(out)
    shutil.rmtree(old)


def write_csv(table: ScoreTable, out: Path) -> None:
    """A score table as a csv file, whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", dir=out.parent, prefix=f".{out.name}-", delete=False
    ) as draft:
        table.to_frame().to_csv(draft, index=False)
    Path(draft.name).replace(out)

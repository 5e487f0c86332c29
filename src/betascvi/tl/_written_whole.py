"""Folders that appear whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def folder_written_whole(out: Path, *, overwrite: bool, markers: tuple[str, ...]) -> Iterator[Path]:
    """A folder to write into, which takes the name ``out`` once everything in it is written.

    A folder that is there is replaced only when asked and only where a marker lies in it.
    """
    refuse_existing(out, overwrite=overwrite, markers=markers)
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    old = draft.with_name(f"{draft.name}-old")
    try:
        yield draft
        draft.chmod(0o755)
        if out.exists():
            out.rename(old)
        draft.rename(out)
    finally:
        if old.exists() and not out.exists():
            old.rename(out)
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def refuse_existing(out: Path, *, overwrite: bool, markers: tuple[str, ...]) -> None:
    """Refuse a path that is there, unless it may be replaced and is one of ours."""
    if not out.exists():
        return
    if not overwrite:
        raise FileExistsError(
            f"{out} is there already; choose another path, or bs.tl.Store({str(out)!r}, "
            "overwrite=True)."
        )
    if not any((out / marker).exists() for marker in markers):
        raise FileExistsError(f"{out} is no zarr store, and is left alone.")

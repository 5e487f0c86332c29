"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder to be written, and what may be replaced by it."""

    path: Path
    overwrite: bool
    """One that is there may be replaced, if a marker lies in it."""
    markers: tuple[str, ...]
    """Files of which a folder of this kind has one at least."""
    kind: str
    """What it is called."""
    how: str
    """What allows to overwrite it, in the words of the caller's interface."""

    def refuse_existing(self) -> None:
        """Refuse a path that is there, unless it may be replaced and is one of ours."""
        if not self.path.exists():
            return
        if not self.overwrite:
            raise FileExistsError(
                f"{self.path} is there already; choose another path, or {self.how}."
            )
        if not any((self.path / marker).exists() for marker in self.markers):
            lacks = " or ".join(self.markers)
            raise FileExistsError(
                f"{self.path} is no {self.kind} (no {lacks} in it), and is left alone."
            )

    @contextmanager
    def written_whole(self) -> Iterator[Path]:
        """A folder to write into, which takes its place once everything in it is written."""
        self.refuse_existing()
        out = self.path.resolve()  # what a link points to is replaced, not the link
        out.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        old = draft.with_name(f"{draft.name}-old")
        try:
            yield draft
            draft.chmod(0o755)  # mkdtemp makes folders for the owner alone
            if out.exists():
                out.rename(old)
            draft.rename(out)
        finally:
            if old.exists() and not out.exists():
                old.rename(out)
            shutil.rmtree(draft, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


@contextmanager
def file_written_whole(path: Path) -> Iterator[Path]:
    """A file to write, which takes the place of ``path`` once it is written."""
    out = path.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as folder:
        draft = Path(folder) / out.name
        yield draft
        draft.replace(out)

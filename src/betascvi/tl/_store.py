"""Where matrices of cells and genes go while they are made, a chunk at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Protocol

import anndata
import numpy as np
import zarr
from anndata import AnnData
from anndata.io import sparse_dataset, write_elem
from scipy import sparse

from betascvi._whole_numbers import refuse_count
from betascvi._written_whole import Folder

_IN_MEMORY = ("memory", "sparse")
_MARKERS = (".zgroup", "zarr.json")
_ELEMENTS = ("obs", "var", "uns", "obsm", "varm", "obsp", "varp", "layers")


@dataclass(frozen=True, slots=True)
class Store:
    """Where the result of a tool is kept, and how much of it is in memory at once.

    Parameters
    ----------
    where
        ``"memory"``, ``"sparse"`` (compressed rows in memory, for drawn counts), or the path of a
        zarr store, which anndata reads (:func:`anndata.read_zarr`).
    overwrite
        Replace a zarr store that is there. It is written beside it and takes its place when it is
        whole, so an interrupted run leaves the old one, and no half of a new one.
    chunk_size
        Cells decoded and written at a time; drawn counts are those of a chunk, so that another
        size draws others.
    factual
        Keep the reconstruction too, as ``layers["factual"]``; without it half of the work and of
        the space is saved.
    """

    where: str | Path = "memory"
    overwrite: bool = False
    chunk_size: int = 1024
    factual: bool = True

    def __post_init__(self) -> None:
        refuse_count("chunk_size", self.chunk_size)
        if not isinstance(self.where, str | Path):
            raise TypeError(
                f"a store is 'memory', 'sparse' or the path of a zarr store, got {self.where!r}."
            )
        is_path = bool(Path(self.where).suffix)
        meant = get_close_matches(str(self.where), _IN_MEMORY, n=1, cutoff=0.7)
        if meant and not is_path and self.where not in _IN_MEMORY:
            raise ValueError(
                f"store={str(self.where)!r}: did you mean {meant[0]!r}? The path of a zarr store "
                f"would be {str(self.where) + '.zarr'!r}."
            )

    @property
    def path(self) -> Path | None:
        """Of the zarr store; None in memory."""
        return None if self.where in _IN_MEMORY else Path(self.where).expanduser()

    def refuse_existing(self) -> None:
        """Refuse early what could not be written at the end."""
        if self.path is not None:
            _folder(self.path, overwrite=self.overwrite).refuse_existing()


def _folder(path: Path, *, overwrite: bool) -> Folder:
    how = f"bs.tl.Store({str(path)!r}, overwrite=True)"
    return Folder(path, overwrite, _MARKERS, "zarr store", how)


class Sink(Protocol):
    """Takes chunks of named matrices; ``X`` is one of the names, others are layers."""

    def put(self, rows: slice, matrices: Mapping[str, np.ndarray]) -> None:
        """Keep these rows."""


def as_store(store: str | Path | Store) -> Store:
    """A store as given, or one for a path or a word."""
    return store if isinstance(store, Store) else Store(store)


def chunks(n_cells: int, size: int) -> Iterator[slice]:
    """Rows, a chunk at a time."""
    for start in range(0, n_cells, size):
        yield slice(start, min(start + size, n_cells))


@contextmanager
def opened(store: Store, skeleton: AnnData, *, is_counts: bool) -> Iterator[Sink]:
    """A sink for matrices of the skeleton's shape; the skeleton itself gets those in memory."""
    if store.path is not None:
        with _folder(store.path, overwrite=store.overwrite).written_whole() as draft:
            yield _ZarrSink(draft, skeleton, is_counts=is_counts)
        return
    sink: _SparseSink | _DenseSink = _DenseSink(skeleton.shape)
    if store.where == "sparse":
        sink = _SparseSink()
    yield sink
    for name, matrix in sink.finished().items():
        if name == "X":
            skeleton.X = matrix
        else:
            skeleton.layers[name] = matrix


class _DenseSink:
    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape = shape
        self._matrices: dict[str, np.ndarray] = {}

    def put(self, rows: slice, matrices: Mapping[str, np.ndarray]) -> None:
        for name, values in matrices.items():
            if name not in self._matrices:
                self._matrices[name] = np.empty(self._shape, dtype=np.float32)
            self._matrices[name][rows] = values

    def finished(self) -> dict[str, Any]:
        return dict(self._matrices)


class _SparseSink:
    def __init__(self) -> None:
        self._parts: dict[str, list[sparse.csr_matrix]] = {}

    def put(self, rows: slice, matrices: Mapping[str, np.ndarray]) -> None:  # noqa: ARG002
        for name, values in matrices.items():
            self._parts.setdefault(name, []).append(sparse.csr_matrix(values))

    def finished(self) -> dict[str, Any]:
        return {name: sparse.vstack(parts, format="csr") for name, parts in self._parts.items()}


class _ZarrSink:
    def __init__(self, path: Path, skeleton: AnnData, *, is_counts: bool) -> None:
        skeleton.strings_to_categoricals()
        # not write_zarr: it seals the store's metadata, and X is still to come
        self._group: Any = zarr.open_group(str(path), mode="w", zarr_format=2)
        self._group.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        for name in _ELEMENTS:
            element = getattr(skeleton, name)
            is_table = name in ("obs", "var")
            write_elem(self._group, name, element if is_table else dict(element))
        self._shape, self._is_counts = skeleton.shape, is_counts
        self._started: set[str] = set()

    def put(self, rows: slice, matrices: Mapping[str, np.ndarray]) -> None:
        for name, values in matrices.items():
            key = name if name == "X" else f"layers/{name}"
            if self._is_counts:
                self._append(key, sparse.csr_matrix(values))
            else:
                self._fill(key, rows, values)

    def _append(self, key: str, part: sparse.csr_matrix) -> None:
        if key in self._started:
            sparse_dataset(self._group[key]).append(part)
            return
        self._started.add(key)
        folder, _, name = key.rpartition("/")
        write_elem(self._group[folder] if folder else self._group, name, part)

    def _fill(self, key: str, rows: slice, values: np.ndarray) -> None:
        if key not in self._started:
            self._started.add(key)
            array = self._group.create_array(
                key, shape=self._shape, dtype="float32", chunks=(len(values), self._shape[1])
            )
            array.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        self._group[key][rows] = values


def read(path: Path) -> AnnData:
    """What was written."""
    return anndata.read_zarr(path)

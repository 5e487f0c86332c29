"""What the tools on an embedding read from an AnnData, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import MappingProxyType

import numpy as np
from anndata import AnnData
from scipy import sparse

from betascvi import _keys
from betascvi._errors import UndefinedScoreError, UnknownFactorError
from betascvi.factors import CodedFactor, Factor, as_factors, code_factor


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """Positions of cells, with the names of their axes and blocks."""

    key: str
    z: np.ndarray
    axes: tuple[str, ...]
    blocks: Mapping[str, slice] = field(default_factory=lambda: MappingProxyType({}))


def factors_of(adata: AnnData, factor_keys: Sequence[str | Factor]) -> list[CodedFactor]:
    """Columns of ``obs`` as numbers; a factor that tells no cells apart is refused by name."""
    factors = as_factors(factor_keys)
    if not factors:
        raise UnknownFactorError("factor_keys is empty; name at least one column of adata.obs.")
    for factor in factors:
        if factor.name not in adata.obs:
            raise UnknownFactorError(_not_there("factor", factor.name, "adata.obs", adata.obs))
    return [code_factor(adata.obs[f.name], f, training=True) for f in factors]


def embedding_of(adata: AnnData, key: str) -> Embedding:
    """The positions in ``obsm[key]``, with what ``tl.embed`` wrote about them."""
    if key not in adata.obsm:
        raise UnknownFactorError(_not_there("embedding", key, "adata.obsm", adata.obsm))
    z = adata.obsm[key]
    if sparse.issparse(z):
        raise UndefinedScoreError(
            f"adata.obsm[{key!r}] is sparse; an embedding is dense: .toarray()."
        )
    z = np.asarray(z, dtype=np.float64)
    if z.ndim != 2:
        raise UndefinedScoreError(f"adata.obsm[{key!r}] has shape {z.shape}; need (cells, axes).")
    bad = ~np.isfinite(z)
    if bad.any():
        raise UndefinedScoreError(
            f"adata.obsm[{key!r}] holds {int(bad.sum())} missing or infinite values in "
            f"{int(bad.any(1).sum())} cells; leave these cells out: "
            f"adata[np.isfinite(adata.obsm[{key!r}]).all(1)]."
        )
    written = adata.uns.get(_keys.UNS, {})
    about = written.get(key, {}) if isinstance(written, Mapping) else {}
    return Embedding(key, z, _axis_names(about, key, z.shape[1]), _block_slices(about, z.shape[1]))


def column_of(adata: AnnData, key: str, role: str) -> np.ndarray:
    """Codes of an ``obs`` column that groups cells (strata, donors); none may be missing."""
    if key not in adata.obs:
        raise UnknownFactorError(_not_there(role, key, "adata.obs", adata.obs))
    coded = code_factor(adata.obs[key], Factor(key, kind="categorical"))
    n_missing = int((~coded.known).sum())
    if n_missing:
        raise UnknownFactorError(
            f"{role} {key!r} is missing for {n_missing} cells; fill it in or leave them out."
        )
    return coded.values


def _axis_names(about: Mapping[str, object], key: str, n_axes: int) -> tuple[str, ...]:
    names = about.get("axes")
    if names is not None and len(np.atleast_1d(np.asarray(names))) == n_axes:
        return tuple(str(name) for name in np.atleast_1d(np.asarray(names)))
    return tuple(f"{key}_{i}" for i in range(n_axes))


def _block_slices(about: Mapping[str, object], n_axes: int) -> Mapping[str, slice]:
    blocks = about.get("blocks")
    if not isinstance(blocks, Mapping):
        return MappingProxyType({})
    slices = {name: slice(int(span[0]), int(span[1])) for name, span in blocks.items()}
    return MappingProxyType({k: s for k, s in slices.items() if s.stop <= n_axes})


def _not_there(what: str, name: str, where: str, known: object) -> str:
    names = [str(item) for item in known]  # type: ignore[attr-defined]  # obs, obsm: iterate names
    close = get_close_matches(str(name), names, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(repr(c) for c in close)}? " if close else ""
    return f"{what} {name!r} is not in {where}; {hint}There are: {names[:20] or 'none'}."

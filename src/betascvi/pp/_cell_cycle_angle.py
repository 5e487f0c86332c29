"""``pp.cell_cycle_angle``: where in the cell cycle a cell stands, from its expression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import scanpy as sc
from anndata import AnnData
from scipy import sparse

from betascvi._errors import CountsError, UnknownFactorError
from betascvi._random_state import numpy_state_kept
from betascvi._whole_numbers import refuse_count
from betascvi.factors import Factor
from betascvi.pp._cell_cycle_genes import EARLIER_NAMES, G2M_GENES, S_GENES, mouse

Organism = Literal["human", "mouse"]
_FEWEST_GENES = 5
_FEWEST_SEEN = 5
"""Genes of both lists that a cell must express for its angle to mean anything."""
_CHUNK = 4096


@dataclass(frozen=True, slots=True)
class _Found:
    s: list[str]
    g2m: list[str]

    def __len__(self) -> int:
        return len(self.s) + len(self.g2m)


def cell_cycle_angle(
    adata: AnnData,
    organism: Organism | None = None,
    layer: str | None = None,
    gene_symbols: str | None = None,
    key_added: str = "cell_cycle_angle",
    n_resamples: int = 50,
    max_sd: float | None = None,
    seed: int = 0,
) -> Factor:
    r"""Write the angle of each cell on the cell cycle, and how uncertain it is.

    With scanpy's scores of the S and the G2/M genes, each divided by its standard deviation over
    cells and centred,

    .. math:: \phi_c = \operatorname{atan2}(\mathrm{G2M}_c, \mathrm{S}_c) \bmod 2\pi

    so that S is near 0, G2/M near :math:`\pi/2` and cells that express neither (G1, G0) near
    :math:`5\pi/4`; the angle grows as the cycle proceeds.

    Parameters
    ----------
    adata
        Cells whose genes are named by symbols.
    organism
        ``"human"`` or ``"mouse"``; by default whichever has more of the genes in the data.
    layer
        Where the expression is; ``None`` is ``X``. Counts are normalised to 10,000 a cell and
        logged, anything else is taken as it is.
    gene_symbols
        Column of ``adata.var`` with the symbols, where ``var_names`` are something else.
    key_added
        Column of ``adata.obs`` for the angle (radians, 0 to 2π). ``<key_added>_sd``, ``S_score``
        and ``G2M_score`` are written beside it.
    n_resamples
        Resamples of the genes of both lists behind the uncertainty.
    max_sd
        Cells whose angle is less certain than this (radians, above 0) get a missing angle.
    seed
        Of the resamples, and of scanpy's control genes.

    Returns
    -------
    The factor, to be handed to ``setup_anndata(factor_keys=[...])``.

    Notes
    -----
    Most cells of a tissue do not divide: their scores are noise around one point, their angle
    means nothing, and the uncertainty is large (up to about 2 radians); ``max_sd=0.8`` leaves
    them unlabelled, which a circular factor may be. Where about half of the cells divide and
    counts are deep, the others stand together near :math:`5\pi/4` and keep that angle.

    The uncertainty is the circular standard deviation
    :math:`\sqrt{-2 \ln |\overline{e^{i\phi}}|}` over resampled genes, so it covers which genes
    happened to be seen and not whether the lists fit the tissue. A cell that expresses fewer than
    five genes of both lists has no angle, however the genes are resampled: its uncertainty is that
    of angles drawn from anywhere on the circle, :math:`\sqrt{\ln n}` over ``n_resamples`` of them.

    References
    ----------
    :cite:p:`Tirosh2016`

    Examples
    --------
    >>> phase = bs.pp.cell_cycle_angle(adata)
    >>> BetaSCVI.setup_anndata(adata, layer="counts", factor_keys=["condition", phase])
    """
    if organism is not None and organism not in get_args(Organism):
        raise ValueError(f"organism is one of {get_args(Organism)}, got {organism!r}.")
    refuse_count("n_resamples", n_resamples, least=2)
    if max_sd is not None and not max_sd > 0:
        raise ValueError(
            f"max_sd is above 0 (radians), or None for no limit, got {max_sd}: no angle would be "
            "left. 0.8 leaves cells that do not divide unlabelled."
        )
    names = _names_of(adata, gene_symbols)
    found = _genes_of(names, organism)
    logged = AnnData(_log_normalised(adata, layer), var=pd.DataFrame(index=names))
    scores = np.stack(
        [_score(logged, found.s, seed), _score(logged, found.g2m, seed)], axis=1
    )  # (cells, S and G2/M)
    centre, spread = scores.mean(0), scores.std(0)
    if not (spread > 0).all():
        raise CountsError(
            "all cells have the same S or G2/M score, so none is anywhere on the cycle; check "
            f"that {layer or 'X'} holds expression."
        )
    sd = _angle_sd(logged, found, scores, n_resamples, np.random.default_rng(seed))
    angle = _angle(scores, centre, spread)
    if max_sd is not None:
        angle = np.where(sd <= max_sd, angle, np.nan)
    written = {
        key_added: angle, f"{key_added}_sd": sd, "S_score": scores[:, 0], "G2M_score": scores[:, 1],
    }  # fmt: skip
    for column, values in written.items():
        adata.obs[column] = values
    return Factor(key_added, kind="circular")


def _names_of(adata: AnnData, gene_symbols: str | None) -> pd.Index:
    if gene_symbols is not None and gene_symbols not in adata.var:
        raise UnknownFactorError(
            f"gene_symbols {gene_symbols!r} is no column of adata.var; there are {list(adata.var)}."
        )
    given = adata.var_names if gene_symbols is None else adata.var[gene_symbols]
    symbols = pd.Index(given.astype(str))
    if symbols.is_unique:
        return symbols
    repeats = symbols.to_series().groupby(symbols.to_numpy()).cumcount()  # the first keeps its name
    pairs = zip(symbols, repeats, strict=True)
    return pd.Index([name if not n else f"{name} (repeat {n})" for name, n in pairs])


def _genes_of(names: pd.Index, organism: Organism | None) -> _Found:
    """The genes of both lists that are there, under the names they have there."""
    there = set(names)
    asked: Sequence[Organism] = get_args(Organism) if organism is None else (organism,)
    each = {o: _Found(_there(S_GENES, o, there), _there(G2M_GENES, o, there)) for o in asked}
    best: Organism = max(each, key=lambda o: len(each[o]))
    found = each[best]
    if min(len(found.s), len(found.g2m)) < _FEWEST_GENES:
        raise UnknownFactorError(
            f"of the {best} cell-cycle genes {len(found.s)} of {len(S_GENES)} (S) and "
            f"{len(found.g2m)} of {len(G2M_GENES)} (G2/M) are in the data, and {_FEWEST_GENES} of "
            f"each are needed; genes are named {list(names[:3])}. Give gene_symbols= (a column of "
            "adata.var) where they are not symbols, or the data before genes were selected."
        )
    return found


def _there(genes: Sequence[str], organism: Organism, there: set[str]) -> list[str]:
    found = []
    for gene in genes:
        spellings = [gene, *([EARLIER_NAMES[gene]] if gene in EARLIER_NAMES else [])]
        spelled = [name if organism == "human" else mouse(name) for name in spellings]
        found += [name for name in spelled if name in there][:1]
    return found


def _log_normalised(adata: AnnData, layer: str | None) -> Any:
    if layer is not None and layer not in adata.layers:
        raise UnknownFactorError(f"no layer {layer!r}; there are {list(adata.layers)}.")
    x = adata.X if layer is None else adata.layers[layer]
    if x is None:
        raise CountsError(
            f"adata.X is None; name the layer= of the counts, of {list(adata.layers)}."
        )
    if not adata.n_obs:
        raise CountsError("the AnnData has no cells, so there is no angle to find.")
    x = x.to_memory() if hasattr(x, "to_memory") else x[:]  # it may be on disk
    x = sparse.csr_matrix(x, dtype=np.float32)
    if not np.isfinite(x.data).all():
        raise CountsError(f"{layer or 'X'} holds missing or infinite values.")
    if (x.data != np.round(x.data)).any() or (x.data < 0).any():
        return x
    totals = np.asarray(x.sum(1)).ravel()
    x = sparse.diags_array(1e4 / np.maximum(totals, 1.0).astype(np.float32)) @ x
    return sparse.csr_matrix(x).log1p()


def _score(logged: AnnData, genes: list[str], seed: int) -> np.ndarray:
    column = "score"
    with numpy_state_kept():
        sc.tl.score_genes(
            logged, genes, score_name=column, random_state=seed, ctrl_size=min(len(genes), 50)
        )
    return logged.obs.pop(column).to_numpy(dtype=float)


def _angle(scores: np.ndarray, centre: np.ndarray, spread: np.ndarray) -> np.ndarray:
    at = (scores - centre) / spread
    return np.asarray(np.mod(np.arctan2(at[..., 1], at[..., 0]), 2 * np.pi))


def _angle_sd(
    logged: AnnData, found: _Found, scores: np.ndarray, n: int, rng: np.random.Generator
) -> np.ndarray:
    """Circular standard deviation of each cell's angle over resampled genes.

    Resampling zeros gives zeros, which would look certain: cells that express too few of the genes
    get the deviation of ``n`` angles drawn from the whole circle.
    """
    centre, spread = scores.mean(0), scores.std(0)
    sd = np.empty(len(scores))
    lists = [logged.var_names.get_indexer(genes) for genes in (found.s, found.g2m)]
    weights = [rng.multinomial(len(g), np.full(len(g), 1 / len(g)), n).T / len(g) for g in lists]
    for start in range(0, len(scores), _CHUNK):
        rows = slice(start, start + _CHUNK)
        moved = np.empty((len(scores[rows]), n, 2))
        seen = np.zeros(len(moved), dtype=int)
        for k, (genes, weight) in enumerate(zip(lists, weights, strict=True)):
            own = logged.X[rows][:, genes].toarray()  # scanpy's score less the control's mean
            seen += (own != 0).sum(1)
            moved[..., k] = scores[rows, k][:, None] + own @ weight - own.mean(1, keepdims=True)
        around = np.exp(1j * _angle(moved, centre, spread)).mean(1)
        of_genes = np.sqrt(-2.0 * np.log(np.clip(np.abs(around), 1e-12, 1.0)))
        sd[rows] = np.where(seen < _FEWEST_SEEN, np.sqrt(np.log(n)), of_genes)
    return sd

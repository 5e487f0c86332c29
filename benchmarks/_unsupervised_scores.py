"""What the unsupervised benchmark asks of a latent: scores, true programs, copies of axes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData

import betascvi as bs
from benchmarks._unsupervised_methods import HAS_DRVI
from betascvi.metrics._axis_sides import sides
from betascvi.metrics._programs import correlation_of, marker_effects

SCORES = ["LMS-SMI", "LMS-SPN", "MSGS-SMI", "MSAS-SMI"]


def scores_of(z: np.ndarray, labels: pd.DataFrame) -> dict[str, float]:
    """Mean over label columns of drvi-py's scores, or of ours."""
    each = [_drvi_scores(z, labels[c]) if HAS_DRVI else _own_scores(z, labels[c]) for c in labels]
    found = {name: float(np.mean([row[name] for row in each])) for name in each[0]}
    if labels.shape[1] > 1:
        codes = np.stack([labels[c].cat.codes for c in labels], axis=1)
        dci = bs.metrics.dci(z, codes)
        found |= {f"DCI-{part[0].upper()}": float(v) for part, v in dci.parts.items()}
        found |= {"MIG": float(bs.metrics.mig(z, codes)), "SAP": float(bs.metrics.sap(z, codes))}
    return found


def _drvi_scores(z: np.ndarray, label: pd.Series) -> dict[str, float]:
    from drvi.utils.metrics import DiscreteDisentanglementBenchmark

    # it shuffles by numpy's global generator
    np.random.seed(0)  # noqa: NPY002
    benchmark = DiscreteDisentanglementBenchmark(z, discrete_target=label.reset_index(drop=True))
    benchmark.evaluate()
    results = benchmark.get_results()
    return {name: float(results[name]) for name in SCORES}


def _own_scores(z: np.ndarray, label: pd.Series) -> dict[str, float]:
    codes = label.cat.codes.to_numpy()[:, None]
    metrics = bs.metrics
    return {
        "LMS-SMI": float(metrics.latent_matching(z, codes)),
        "LMS-SPN": float(metrics.latent_matching(z, codes, similarity="spn")),
        "MSGS-SMI": float(metrics.most_similar_gap(z, codes)),
        "MSAS-SMI": float(metrics.most_similar_averaging(z, codes)),
    }


def known_programs(adata: AnnData, found: np.ndarray | None, z: np.ndarray) -> dict[str, float]:
    """How many of the true programs (centred within a factor) an axis matches.

    ``program``: what a decoder says an axis does; ``marker``: what tells the cells that it is on in.
    """
    truth = bs.datasets.Truth.of(adata).to_frame()
    truth = truth.loc[:, ~truth.columns.str.contains(":")]
    factor = truth.columns.str.split("=").str[0]
    true = truth.to_numpy().T.copy()
    for name in factor.unique():
        if (factor == name).sum() > 2:
            true[factor == name] -= true[factor == name].mean(0)
    rows = {}
    for name, programs in (("program", found), ("marker", markers_of(adata, z))):
        if programs is not None and len(programs):
            best = correlation_of(np.vstack([true, programs]))[: len(true), len(true) :].max(1)
            rows[f"{name}s_matched"] = float((best >= 0.9).mean())
            rows[f"{name}_r"] = float(np.median(best))
    return rows


def markers_of(adata: AnnData, z: np.ndarray) -> np.ndarray:
    """What ``attribute_genes(by="cells")`` says of axes, here of any embedding's."""
    on = sides(z[:, living(z)]).reshape(len(z), -1)
    return marker_effects(on, [(slice(None), adata.layers["counts"])])


def living(z: np.ndarray, least_spread: float = 0.1) -> np.ndarray:
    """Axes that move by a tenth of the widest one or more, the widest first."""
    spread = z.std(0)
    order = np.argsort(-spread)
    return order[spread[order] >= least_spread * spread.max()]


def distinct(z: np.ndarray, alike: float = 0.9) -> np.ndarray:
    """Living axes less those whose rank correlation with a wider one kept is ``alike`` or more.

    A matching of labels to axes takes each axis once, which copies of one axis evade: a latent
    of one axis written thirty times would score as if thirty told a label each.
    """
    axes = living(z)
    close = np.abs(correlation_of(np.argsort(np.argsort(z[:, axes], axis=0), axis=0).T)) >= alike
    kept: list[int] = []
    for i in range(len(axes)):
        if not close[i, kept].any():
            kept.append(i)
    return axes[kept]

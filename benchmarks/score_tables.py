"""One call on three embeddings of three data sets: ``python -m benchmarks.score_tables``.

PCA, scVI and BetaSCVI (defaults, 10 axes each) are fitted on one half of the cells; the other
half is embedded and scored. Needs the folder that BETASCVI_DATA names. Writes
``results/score_tables.json``; ``--markdown`` prints the tables of ``docs/concepts/metrics.md``;
``--quick`` scores the PCA of some cells with few permutations and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import scvi
from anndata import AnnData
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

import betascvi as bs
from benchmarks._record import RESULTS, write
from betascvi.tl import Budget

RESULT = RESULTS / "score_tables.json"
N_AXES = 10
FACTORS: dict[str, list[str]] = {
    "kang_pbmc_annotated": ["condition", "donor", "cell_type", "n_counts"],
    "mixology_rnamix": ["protocol", "prop_H2228", "prop_H1975", "mRNA_amount"],
    "onek1k_subset": ["batch", "donor", "cell_type", "sex", "age"],
}
STRATIFIED_BY = {
    "kang_pbmc_annotated": ["sample", "cell_type"],
    "mixology_rnamix": ["protocol", "mixture"],
    "onek1k_subset": ["donor"],
}
N_GENES = 2000
SHOWN = ("mig", "dci disentanglement", "dci completeness", "sap", "condition prediction")
"""Figures of the printed tables; the file holds all."""


def halves(adata: AnnData, name: str) -> tuple[AnnData, AnnData]:
    """Cells to fit on and cells to score, every stratum in both; most variable genes of the first."""
    strata = adata.obs[STRATIFIED_BY[name]].astype(str).agg("|".join, axis=1)
    fitted, scored = train_test_split(
        np.arange(adata.n_obs), test_size=0.5, random_state=0, stratify=strata
    )
    if adata.n_vars > N_GENES:
        log = expression(adata[fitted])
        genes = np.sort(np.argsort(-log.var(0))[:N_GENES])
        adata = adata[:, genes]
    return adata[fitted].copy(), adata[scored].copy()


def expression(adata: AnnData) -> np.ndarray:
    """Log counts per 10,000."""
    counts = adata.X.toarray()
    return np.log1p(counts / counts.sum(1, keepdims=True) * 1e4)


def by_pca(fitted: AnnData, scored: AnnData) -> np.ndarray:
    """Principal components of the fitted half."""
    model = PCA(N_AXES, random_state=0).fit(expression(fitted))
    return np.asarray(model.transform(expression(scored)))


def by_scvi(fitted: AnnData, scored: AnnData) -> np.ndarray:
    """Posterior means of scVI."""
    scvi.settings.seed = 0
    scvi.model.SCVI.setup_anndata(fitted)
    model = scvi.model.SCVI(fitted, n_latent=N_AXES, gene_likelihood="nb")
    model.train(max_epochs=epochs(fitted), accelerator="cpu", enable_progress_bar=False)
    return np.asarray(model.get_latent_representation(scored))


def by_betascvi(fitted: AnnData, scored: AnnData) -> np.ndarray:
    """Posterior means of BetaSCVI as it comes."""
    scvi.settings.seed = 0
    bs.BetaSCVI.setup_anndata(fitted)
    model = bs.BetaSCVI(fitted, n_latent=N_AXES)
    model.train(max_epochs=epochs(fitted), accelerator="cpu", enable_progress_bar=False)
    return np.asarray(model.get_latent_representation(scored))


def epochs(adata: AnnData) -> int:
    """At least 1,500 steps of 128 cells, and 60 epochs."""
    return max(60, int(np.ceil(1500 * 128 / adata.n_obs)))


EMBEDDINGS: dict[str, Callable[[AnnData, AnnData], np.ndarray]] = {
    "X_pca": by_pca,
    "X_scVI": by_scvi,
    "X_betascvi": by_betascvi,
}


def score(name: str, keys: list[str], budget: Budget, n_cells: int | None = None) -> pd.DataFrame:
    """Score tables of every embedding of a data set."""
    adata = bs.datasets.load(name)
    fitted, scored = halves(adata[:: adata.n_obs // n_cells] if n_cells else adata, name)
    tables = []
    for key in keys:
        scored.obsm[key] = EMBEDDINGS[key](fitted, scored)
        table = bs.tl.score_disentanglement(scored, key, FACTORS[name], budget=budget)
        tables.append(table.to_frame().assign(data=name, n_scored=scored.n_obs))
    return pd.concat(tables, ignore_index=True)


def markdown(frame: pd.DataFrame) -> str:
    """One table a data set; figures that chance explains stand in brackets."""
    frame = frame[frame["value"].notna()]
    figure = frame["metric"].str.replace("_", " ") + frame["part"].map(
        lambda part: "" if part == "headline" else f" {part}"
    )
    factor = frame["factor"] + frame["given"].map(lambda given: f" in {given}" if given else "")
    half = (frame["high"] - frame["low"]) / 2
    by_chance = frame["p_value"] > 0.05
    value = frame["value"].map("{:.2f}".format) + half.map(" ± {:.2f}".format)
    frame = frame.assign(
        figure=figure, factor=factor, cell=value.where(~by_chance, "(" + value + ")")
    )
    frame = frame[frame["figure"].isin(SHOWN)]
    parts = []
    for name, of_data in frame.groupby("data", sort=False):
        rows = of_data.groupby(["figure", "factor"], sort=False)
        wide = of_data.pivot_table(
            index=["figure", "factor"], columns="key", values="cell", aggfunc="first", sort=False
        )
        wide["null"] = rows["null_mean"].mean().map("{:.2f}".format)
        wide["ceiling"] = rows["ceiling"].first().map(lambda c: f"{c:.2f}" if c == c else "")
        parts.append(f"`{name}`, {of_data['n_scored'].iloc[0]} held-out cells\n\n{_as_text(wide)}")
    return "\n\n".join(parts)


def _as_text(wide: pd.DataFrame) -> str:
    head = ["metric", "factor", *wide.columns]
    rows = [
        [*index, *(str(v) for v in values)]
        for index, values in zip(wide.index, wide.to_numpy(), strict=True)
    ]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Score what was asked for; keep the rest of the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", choices=list(FACTORS), default=list(FACTORS))
    parser.add_argument("--keys", nargs="+", choices=list(EMBEDDINGS), default=list(EMBEDDINGS))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--markdown", action="store_true", help="print what the file holds")
    parser.add_argument("--quick", action="store_true", help="PCA of some cells; writes nothing")
    options = parser.parse_args()
    if options.markdown:
        print(markdown(kept()))
        return
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*num_workers.*")
    if options.quick:
        few = Budget(n_null=20, n_resamples=20, n_null_fitted=2, n_resamples_fitted=2, n_jobs=1)
        print(markdown(score("kang_pbmc_annotated", ["X_pca"], few, n_cells=800)))
        return
    for name in options.data:
        found = score(name, options.keys, Budget(n_jobs=options.jobs))
        before = kept()
        if len(before):
            again = (before["data"] == name) & before["key"].isin(options.keys)
            found = pd.concat([before[~again], found], ignore_index=True)
        rows = json.loads(found.round(5).to_json(orient="records"))
        write("score_tables", rows, {"n_axes": N_AXES, "n_genes": N_GENES, "held_out": 0.5})


def kept() -> pd.DataFrame:
    """What the result file holds."""
    rows = json.loads(RESULT.read_text())["rows"] if RESULT.exists() else []
    return pd.DataFrame(rows)


if __name__ == "__main__":
    main()

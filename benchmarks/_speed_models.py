"""The two models of the speed table, made alike, and one epoch of each on the clock."""

from __future__ import annotations

import time
import warnings
from typing import Any

import anndata
import numpy as np
import torch
from scipy import sparse
from scvi.model import SCVI

from betascvi.model import BetaSCVI

MODELS: dict[str, type[SCVI]] = {"betascvi": BetaSCVI, "scvi-tools": SCVI}
WIDTHS: dict[str, Any] = {"n_hidden": 128, "n_latent": 10, "n_layers": 1, "gene_likelihood": "nb"}


def counts(n_cells: int, n_genes: int, density: float, seed: int = 0) -> anndata.AnnData:
    """Overdispersed counts of a given share of non-zeros; every cell has some."""
    rng = np.random.default_rng(seed)
    rows = []
    for start in range(0, n_cells, 2048):
        shape = (min(2048, n_cells - start), n_genes)
        values = 1 + rng.negative_binomial(0.5, 0.4, shape)
        kept = rng.random(shape, dtype=np.float32) < density
        kept[:, 0] = True
        rows.append(sparse.csr_matrix((values * kept).astype(np.float32)))
    return anndata.AnnData(sparse.vstack(rows, format="csr"))


def made(name: str, adata: anndata.AnnData, seed: int = 0) -> SCVI:
    """A model that has not been trained."""
    model = MODELS[name]
    model.setup_anndata(adata)
    torch.manual_seed(seed)
    return model(adata, **WIDTHS)


def clock(device: str) -> float:
    """Seconds: the processor's on one thread, which other programs leave as they are."""
    is_alone = device == "cpu" and torch.get_num_threads() == 1
    return time.process_time() if is_alone else time.perf_counter()


def train(
    name: str,
    adata: anndata.AnnData,
    epochs: int,
    batch_size: int,
    device: str,
    seed: int = 0,
    **more: Any,
) -> tuple[SCVI, float]:
    """The public ``train``, all cells unless told otherwise; the model and seconds."""
    model = made(name, adata, seed)
    settings: dict[str, Any] = {
        "train_size": 1.0, "accelerator": device, "devices": 1, "enable_progress_bar": False,
        "enable_model_summary": False,
    }  # fmt: skip
    start = clock(device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.train(max_epochs=epochs, batch_size=batch_size, **{**settings, **more})
    if device == "cuda":
        torch.cuda.synchronize()
    return model, clock(device) - start


def floor(batch_size: int, n_genes: int, device: str, seconds: float = 0.5) -> list[float]:
    """Seconds of the dense products of one step, many times over."""
    hidden = WIDTHS["n_hidden"]
    x, g = (torch.randn(batch_size, n_genes, device=device) for _ in range(2))
    w_in, w_out = (torch.randn(hidden, n_genes, device=device) for _ in range(2))
    h = torch.randn(batch_size, hidden, device=device)
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = clock(device)
        for a, b in ((x, w_in.t()), (h.t(), x), (h, w_out), (g, w_out.t()), (h.t(), g)):
            torch.mm(a, b)
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(clock(device) - start)
    return times

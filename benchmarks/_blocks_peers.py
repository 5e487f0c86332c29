"""What ``benchmarks.blocks`` stands beside: methods without blocks, and classifiers.

Of a method without blocks a factor is read by a linear probe on all of its axes, fitted to the
training cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scvi
from anndata import AnnData
from scvi.model import SCANVI, SCVI
from sklearn.decomposition import PCA, FastICA

import betascvi as bs
from benchmarks._blocks_methods import (
    Encoded,
    Method,
    both_scaled,
    labels_of,
    log_counts,
    n_axes,
    nll_of,
    probed,
    trained,
)
from benchmarks._blocks_sets import DataSet, Split, factor_of
from benchmarks._blocks_supervised import supervised


def ceiling(asked: DataSet, split: Split, seed: int, epochs: int) -> Encoded:  # noqa: ARG001 (nothing is trained twice)
    """The best supervised classifier's predictions alone, a block each."""
    x, held = both_scaled(split)
    said = {n: supervised(x, labels_of(split.training, n), held) for n in asked.anchored}
    return Encoded(np.empty((len(held), 0)), {}, {name: s.values for name, s in said.items()})


def scvi_and_logits(asked: DataSet, split: Split, seed: int, epochs: int) -> Encoded:
    """The trivial way to a block: a classifier's scores, glued to scVI's latent."""
    plain = scvi_vae(asked, split, seed, epochs)
    x, held = both_scaled(split)
    said = {n: supervised(x, labels_of(split.training, n), held) for n in asked.anchored}
    parts = [*(s.scores for s in said.values()), plain.mean]
    ends = np.cumsum([part.shape[1] for part in parts])
    names = [*said, "free"]
    slices = {
        n: slice(int(e - p.shape[1]), int(e)) for n, e, p in zip(names, ends, parts, strict=True)
    }
    own = {name: s.values for name, s in said.items()}
    return Encoded(np.hstack(parts), slices, own, None, plain.nll, plain.cpu_seconds)


def scvi_vae(asked: DataSet, split: Split, seed: int, epochs: int) -> Encoded:
    """A negative binomial scVI with as many axes as ours has in all."""
    training = split.training.copy()
    model, seconds = _fitted_scvi(asked, split, training, seed, epochs)
    return _placed(asked, split, model, training, seconds)


def scanvi(asked: DataSet, split: Split, seed: int, epochs: int) -> Encoded:
    """ScANVI told the first anchored factor with levels, which is its own classifier's to say."""
    name = next(n for n in asked.anchored if isinstance(factor_of(n), str))
    training = split.training.copy()
    before, seconds = _fitted_scvi(asked, split, training, seed, epochs)
    model = SCANVI.from_scvi_model(before, "unknown", labels_key=name)
    seconds += trained(model, max(epochs // 10, 1))
    said = {name: np.asarray(model.predict(split.held_out.copy()), str)}
    return _placed(asked, split, model, training, seconds, said)


def drvi(asked: DataSet, split: Split, seed: int, epochs: int) -> Encoded:
    """DRVI as it documents itself: KL annealed over all epochs."""
    from drvi.model import DRVI

    training = split.training.copy()
    DRVI.setup_anndata(training, layer="counts", is_count_data=True)
    scvi.settings.seed = seed
    dims = {"encoder_dims": [128, 128], "decoder_dims": [128, 128]}
    model = DRVI(training, n_latent=n_axes(asked, split), **dims)
    plan = {"n_epochs_kl_warmup": epochs}
    seconds = trained(model, epochs, early_stopping=False, plan_kwargs=plan)
    return _placed(asked, split, model, training, seconds)


def preset(asked: DataSet, split: Split, seed: int, epochs: int) -> Encoded:
    """Our own axes without labels: the additive decoder's preset."""
    training, settings = split.training.copy(), bs.presets.unsupervised(n_axes(asked, split))
    bs.BetaSCVI.setup_anndata(training, layer="counts")
    scvi.settings.seed = seed
    model = bs.BetaSCVI(training, **settings.model)
    seconds = trained(model, epochs, plan_kwargs=settings.train["plan_kwargs"])
    return _placed(asked, split, model, training, seconds)


def pca(asked: DataSet, split: Split, seed: int, epochs: int) -> Encoded:  # noqa: ARG001 (it has no epochs)
    """Principal components of log counts, as many as ours has axes."""
    return _unblocked(asked, split, *_components(asked, split, seed))


def ica(asked: DataSet, split: Split, seed: int, epochs: int) -> Encoded:  # noqa: ARG001 (it has no epochs)
    """The same components, turned by ICA."""
    z, held = _components(asked, split, seed)
    turn = FastICA(random_state=seed, max_iter=1000).fit(z)
    return _unblocked(asked, split, turn.transform(z), turn.transform(held))


def _components(asked: DataSet, split: Split, seed: int) -> tuple[np.ndarray, np.ndarray]:
    x, held = log_counts(split.training), log_counts(split.held_out)
    model = PCA(n_axes(asked, split), random_state=seed).fit(x)
    return model.transform(x), model.transform(held)


def _fitted_scvi(
    asked: DataSet, split: Split, training: AnnData, seed: int, epochs: int
) -> tuple[SCVI, float]:
    SCVI.setup_anndata(training, layer="counts")
    scvi.settings.seed = seed
    model = SCVI(training, n_latent=n_axes(asked, split), gene_likelihood="nb")
    return model, trained(model, epochs, plan_kwargs={"n_epochs_kl_warmup": max(1, epochs // 2)})


def _placed(
    asked: DataSet, split: Split, model: Any, training: AnnData, seconds: float,
    said: Mapping[str, np.ndarray] | None = None,
) -> Encoded:  # fmt: skip
    """Held-out cells in a network's latent."""
    held = split.held_out.copy()
    z, mean = (np.asarray(model.get_latent_representation(cells)) for cells in (training, held))
    sample = np.asarray(model.get_latent_representation(held, give_mean=False))
    own = {**probed(asked, split, z, mean), **(said or {})}
    free = {"free": slice(0, mean.shape[1])}
    return Encoded(mean, free, own, sample, nll_of(model, held), seconds)


def _unblocked(asked: DataSet, split: Split, z: np.ndarray, held: np.ndarray) -> Encoded:
    free = {"free": slice(0, held.shape[1])}
    return Encoded(held, free, probed(asked, split, z, held))


PEERS: dict[str, Method] = {
    "ceiling": ceiling,
    "scVI": scvi_vae,
    "scANVI": scanvi,
    "scVI + logits": scvi_and_logits,
    "DRVI": drvi,
    "additive preset": preset,
    "PCA": pca,
    "ICA": ica,
}
NEED_DRVI = ("DRVI",)

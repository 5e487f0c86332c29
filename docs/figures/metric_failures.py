"""How metrics of an embedding and its factors can mislead: ``python docs/figures/metric_failures.py``.

Writes one picture a metric into ``docs/concepts/figures``; every number in a picture is
computed while it is drawn.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from panels import CLAY, INK, SAND, TEAL, N, draw_all, levels, panels, titled

import betascvi as bs
from betascvi.pl._palette import FAINT, GOOD


def mig() -> Figure:
    """Two factors in one axis are not seen; one factor in two axes is all that is seen."""
    c, noise = levels(), np.random.default_rng(1).normal(size=N)
    codes = {
        "one axis each": c.astype(float),
        "both in axis 0, noise in 1": np.column_stack([4 * c[:, 0] + c[:, 1], noise]),
        "each in two axes": np.column_stack([c, c]).astype(float),
    }
    figure, axes = panels(3)
    for ax, (name, z) in zip(axes, codes.items(), strict=True):
        score = bs.metrics.mig(z, c)
        share = score.evidence / np.log(4)
        ax.imshow(share, cmap=GOOD, vmin=0, vmax=1, aspect="auto")
        for (i, j), value in np.ndenumerate(share):
            ax.text(
                j,
                i,
                f"{value:.2f}",
                ha="center",
                va="center",
                size=9,
                color="white" if value > 0.6 else INK,
            )
        ax.set_xticks([0, 1], ["factor a", "factor b"])
        ax.set_yticks(range(len(share)), [f"axis {i}" for i in range(len(share))])
        titled(ax, f"{name}: MIG {float(score):.2f}")
    return figure


def dci() -> Figure:
    """The same code scores higher with more cells."""
    sizes = (100, 200, 400, 800, 1600, 3200, 6400)
    figure, (ax,) = panels(1, 4.4)
    for name, noise, colour in (("noisy code", 0.7, TEAL), ("nothing but noise", None, CLAY)):
        scores = [np.mean([_dci_of(n, noise, seed) for seed in range(3)]) for n in sizes]
        ax.plot(sizes, scores, "o-", color=colour, ms=4, label=name)
    ax.set_xscale("log")
    ax.set_ylim(0, 1)
    ax.legend(frameon=False, fontsize=8)
    titled(ax, "three factors, one axis each, and three idle axes", "cells", "disentanglement D")
    return figure


def _dci_of(n_cells: int, noise: float | None, seed: int) -> float:
    c = levels(seed, n_cells, 3, 4)
    z = np.random.default_rng(seed + 99).normal(size=(n_cells, 6))
    if noise is not None:
        z[:, :3] = c + noise * z[:, :3]
    return float(bs.metrics.dci(z, c, informativeness=False))


def sap() -> Figure:
    """A line on one axis cannot cut out a level in the middle."""
    counts = range(2, 13)
    scores = {
        n: float(bs.metrics.sap(levels(0, N, 2, n).astype(float), levels(0, N, 2, n)))
        for n in counts
    }
    figure, (ax,) = panels(1, 4.4)
    ax.plot(list(scores), list(scores.values()), "o-", color=CLAY, ms=4, label="SAP")
    perfect = [
        float(bs.metrics.mig(levels(0, N, 2, n).astype(float), levels(0, N, 2, n))) for n in counts
    ]
    ax.plot(list(scores), perfect, "o-", color=TEAL, ms=4, label="MIG")
    ax.set_ylim(0, 1.05)
    ax.legend(frameon=False, fontsize=8)
    titled(ax, "a perfect code: one axis holds one factor", "levels of each factor", "score")
    return figure


def modularity() -> Figure:
    """Squared noise has a largest entry too."""
    figure, (ax,) = panels(1, 4.4)
    bins = np.linspace(0, 1, 51)
    for n_factors, colour in ((2, TEAL), (8, SAND)):
        scores = [_modularity_of_noise(seed, n_factors) for seed in range(100)]
        ax.hist(
            scores, bins=bins, color=colour, alpha=0.8, label=f"{n_factors} factors of 4 levels"
        )
    scores = [_modularity_of_noise(seed, 2, with_number=True) for seed in range(100)]
    ax.hist(scores, bins=bins, color=CLAY, alpha=0.8, label="2 of 4 levels and a number")
    ax.set_xlim(0, 1)
    ax.legend(frameon=False, fontsize=8)
    titled(ax, "modularity of embeddings that know nothing", "modularity", "embeddings")
    return figure


def _modularity_of_noise(seed: int, n_factors: int, *, with_number: bool = False) -> float:
    rng = np.random.default_rng(seed)
    factors = list(levels(seed + 77, 500, n_factors).T)
    if with_number:
        factors.append(rng.normal(size=500))
    return float(bs.metrics.modularity(rng.normal(size=(500, 6)), factors))


def explicitness() -> Figure:
    """A rotation changes nothing."""
    c = levels(2, N, 2, 3)
    z = c + 0.12 * np.random.default_rng(3).normal(size=c.shape)
    turn = np.array([[1, -1], [1, 1]]) / np.sqrt(2)
    figure, axes = panels(2)
    for ax, (name, shown) in zip(
        axes, {"as it is": z, "turned by 45°": z @ turn}.items(), strict=True
    ):
        ax.scatter(*shown.T, c=np.array([TEAL, SAND, CLAY])[c[:, 0]], s=3)
        both = float(bs.metrics.explicitness(shown, c)), float(bs.metrics.mig(shown, c))
        scores = f"explicitness {both[0]:.2f}, MIG {both[1]:.2f}"
        titled(ax, f"{name}\n{scores}", "axis 0", "axis 1")
    return figure


def condition_prediction() -> Figure:
    """The best axis is all that the headline shows."""
    treated = np.random.default_rng(4).integers(2, size=N)
    noise = np.random.default_rng(5).normal(size=(N, 5))
    alone = noise.copy()
    alone[:, 0] += 4 * treated
    figure, axes = panels(2)
    for ax, (name, z) in zip(
        axes,
        {"one axis knows": alone, "every axis knows": noise + 4 * treated[:, None]}.items(),
        strict=True,
    ):
        score = bs.metrics.condition_prediction(z, treated)
        ax.bar(range(5), score.evidence[:, 0], color=TEAL)
        ax.axhline(score.parts["chance"], color=FAINT, lw=1, ls="--")
        ax.set_ylim(0, 1.05)
        titled(ax, f"{name}: {float(score):.2f}", "axis", "balanced accuracy")
    return figure


def rotation() -> Figure:
    """Scores of the first generation stay high under rotation."""
    c = np.random.default_rng(6).normal(size=(N, 2))
    angles = np.linspace(0, 45, 7)
    lines: dict[str, list[float]] = {
        "beta-VAE score": [],
        "FactorVAE score": [],
        "MIG": [],
        "DCI-D": [],
    }
    for degrees in np.deg2rad(angles):
        turn = np.array([[np.cos(degrees), -np.sin(degrees)], [np.sin(degrees), np.cos(degrees)]])
        z = c @ turn
        lines["beta-VAE score"].append(float(bs.metrics.beta_vae_score(z, c, n_train=600)))
        lines["FactorVAE score"].append(float(bs.metrics.factor_vae_score(z, c, n_train=600)))
        lines["MIG"].append(float(bs.metrics.mig(z, c)))
        lines["DCI-D"].append(float(bs.metrics.dci(z, c, informativeness=False)))
    figure, (ax,) = panels(1, 4.4)
    for (name, scores), colour in zip(lines.items(), (CLAY, SAND, TEAL, INK), strict=True):
        ax.plot(angles, scores, "o-", ms=4, color=colour, label=name)
    ax.set_ylim(0, 1.05)
    ax.legend(frameon=False, fontsize=8)
    titled(ax, "two factors, one axis each, then turned", "rotation (degrees)", "score")
    return figure


if __name__ == "__main__":
    draw_all([mig, dci, sap, modularity, explicitness, condition_prediction, rotation])

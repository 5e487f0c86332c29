"""How metrics of axes, runs and blocks can mislead: ``python docs/figures/block_failures.py``.

Writes one picture a metric into ``docs/concepts/figures``; every number in a picture is
computed while it is drawn.
"""

from __future__ import annotations

import numpy as np
from anndata import AnnData
from matplotlib.figure import Figure
from panels import CLAY, TEAL, N, draw_all, levels, panels, titled

import betascvi as bs
from betascvi.pl._palette import FAINT


def total_correlation() -> Figure:
    """No linear dependence, no figure."""
    rng = np.random.default_rng(7)
    angle = rng.uniform(0, 2 * np.pi, N)
    ring = np.column_stack([np.cos(angle), np.sin(angle)]) + 0.05 * rng.normal(size=(N, 2))
    cloud = rng.normal(size=(N, 2))
    figure, axes = panels(2, 2.6)
    for ax, (name, z) in zip(
        axes, {"independent": cloud, "one decides the other": ring}.items(), strict=True
    ):
        ax.scatter(*z.T, s=2, color=TEAL)
        titled(ax, f"{name}: TC {float(bs.metrics.total_correlation(z)):.3f}", "axis 0", "axis 1")
    return figure


def active_units() -> Figure:
    """Samples of dead axes look alive, and so does noise."""
    rng = np.random.default_rng(8)
    means = rng.normal(size=(N, 8)) * ([0.9] * 3 + [0.02] * 5)
    samples = means + rng.normal(size=means.shape) * np.sqrt(1 - means.var(0))
    figure, axes = panels(2)
    for ax, (name, z) in zip(
        axes, {"posterior means": means, "posterior samples": samples}.items(), strict=True
    ):
        score = bs.metrics.active_units(z)
        ax.bar(range(8), score.details["variance"], color=TEAL)
        ax.axhline(0.01, color=CLAY, lw=1, ls="--")
        ax.set_yscale("log")
        titled(ax, f"{name}: {float(score):.0f} active", "axis", "variance over cells")
    return figure


def udr() -> Figure:
    """Runs can agree on the wrong axes."""
    c = np.random.default_rng(9).normal(size=(N, 2)) * [1.0, 0.8]
    turn = np.array([[1, -1], [1, 1]]) / np.sqrt(2)
    runs = [c @ turn + 0.05 * np.random.default_rng(s).normal(size=c.shape) for s in (1, 2)]
    agree, gap = float(bs.metrics.udr(runs, method="spearman")), float(bs.metrics.mig(runs[0], c))
    figure, axes = panels(2, 2.6)
    for i, (ax, z) in enumerate(zip(axes, runs, strict=True)):
        ax.scatter(*z.T, s=3, c=c[:, 0], cmap="BrBG")
        titled(ax, f"run {i + 1}", "axis 0", "axis 1")
    figure.suptitle(f"colour: a factor. UDR {agree:.2f}, MIG {gap:.2f}", size=9, x=0.02, ha="left")
    return figure


def leakage() -> Figure:
    """A line sees nothing where other probes see all."""
    rng = np.random.default_rng(10)
    z = rng.normal(size=(N, 2))
    known = (z[:, 0] > 0) ^ (z[:, 1] > 0)
    adata = AnnData(obs={"stim": np.where(known, "yes", "no")}, obsm={"X": z})
    adata.obs_names = [f"cell {i}" for i in range(N)]
    read = {
        name: bs.tl.leakage(
            adata, "X", ["stim"], probing=bs.tl.Probing(probes=probes, null="logistic")
        ).leaks[0]
        for name, probes in {
            "logistic alone": ("logistic",),
            "best of four": bs.tl.Probing().probes,
        }.items()
    }
    figure, axes = panels(2, 3.0)
    axes[0].scatter(*z.T, s=4, c=np.where(known, CLAY, TEAL))
    titled(axes[0], "colour: condition", "axis 0", "axis 1")
    axes[1].bar(list(read), [leak.reading.leak for leak in read.values()], color=[TEAL, CLAY])
    axes[1].axhline(0, color=FAINT, lw=1)
    axes[1].set_ylim(-0.15, 1.05)
    titled(axes[1], "leak about the condition", "", "leak")
    return figure


def block_mig() -> Figure:
    """A block that shifts the odds, but not the likeliest level."""
    rng = np.random.default_rng(11)
    stim = rng.random(N) < 0.2
    own, shifted = stim * 4 + rng.normal(size=N), 0.8 * stim + rng.normal(size=N)
    z = np.column_stack([own, shifted])
    score = bs.metrics.block_mig(z, stim.astype(int), {"own": [0], "free": [1]}, ["own"])
    adata = AnnData(obs={"stim": stim.astype(str)}, obsm={"X": z})
    adata.obs_names = [f"cell {i}" for i in range(N)]
    leak = bs.tl.leakage(
        adata, "X", ["stim"], blocks={"free": [1]}, probing=bs.tl.Probing(null="logistic")
    ).leaks[0].reading.leak  # fmt: skip
    figure, (ax,) = panels(1, 4.4)
    bins = np.linspace(-4, 5, 46)
    ax.hist(shifted[~stim], bins, color=TEAL, alpha=0.8, label="control (80 %)")
    ax.hist(shifted[stim], bins, color=CLAY, alpha=0.8, label="stimulated (20 %)")
    ax.legend(frameon=False, fontsize=8)
    best = score.parts["best_other"]
    titled(ax, f"free block: {best:.2f} in block MIG, leak {leak:.2f}", "free axis", "cells")
    return figure


def pairwise() -> Figure:
    """One far cell empties the bins."""
    c = levels(12, 900, 1, 3)[:, 0]
    z = c + 0.15 * np.random.default_rng(13).normal(size=900)
    figure, axes = panels(2)
    for ax, far in zip(axes, (False, True), strict=True):
        shown = np.append(z[1:], 60.0 if far else z[0])[:, None]
        labels = np.append(c[1:], c[0])
        smi = bs.metrics.pairwise_mutual_information(shown, labels).mean()
        spn = bs.metrics.pairwise_neighbours(shown, labels).mean()
        ax.scatter(
            shown[:, 0], labels + np.random.default_rng(1).uniform(-0.3, 0.3, 900), s=3, c=TEAL
        )
        ax.set_yticks([0, 1, 2])
        name = "and one far cell" if far else "three levels on an axis"
        titled(ax, f"{name}: SMI {smi:.2f}, SPN {spn:.2f}", "axis", "level")
    return figure


if __name__ == "__main__":
    draw_all([total_correlation, active_units, udr, leakage, block_mig, pairwise])

"""A sweep from AnnData to a folder: runs, table, rate-distortion figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from anndata import AnnData

from betascvi._written_whole import file_written_whole
from betascvi.factors import Factor
from betascvi.pl import rate_distortion as draw_curve

if TYPE_CHECKING:
    from betascvi.sweep import Spec
    from betascvi.tl import RateDistortion


def sweep_into(
    adata: AnnData,
    spec: Spec,
    out: Path,
    *,
    layer: str | None = None,
    batch_key: str | None = None,
    factors: Sequence[str | Factor] = (),
) -> RateDistortion:
    """Carry out what is missing of a sweep and draw what there is.

    Writes a folder a run, ``runs.csv`` and ``rate_distortion.png`` into ``out``; runs that are
    there already are not repeated. Returns means over seeds.
    """
    from betascvi import sweep
    from betascvi.model import BetaSCVI
    from betascvi.tl import rate_distortion

    BetaSCVI.setup_anndata(adata, layer=layer, batch_key=batch_key, factor_keys=list(factors))
    curve = rate_distortion(sweep.run(spec, adata, out=out))
    figure = draw_curve(curve).get_figure(root=True)
    assert figure is not None
    with file_written_whole(out / "rate_distortion.png") as draft:
        figure.savefig(draft, dpi=150)
    return curve

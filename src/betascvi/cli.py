"""``betascvi``: parse, call, print; no logic. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from betascvi import _keys

if TYPE_CHECKING:
    from betascvi.factors import Factor
    from betascvi.tl import ScoreTable

_DEMO = """
example:
  betascvi demo --out demo/
"""
_FIT = """
example:
  betascvi fit atlas.h5ad --layer counts --batch-key batch --factors cell_type condition donor --out run/

writes run/latents.h5ad (obs and the latent), run/model/ (BetaSCVI.load), run/scores.csv (on cells the
model was not trained on), run/axes.png and run/report.html, which a browser opens.
"""
_SCORE = """
example:
  betascvi score atlas.h5ad --key X_scVI --factors cell_type donor batch --out scores.csv

Any embedding in obsm can be scored; nothing is trained.
"""
_REPORT = """
example:
  betascvi report atlas.h5ad --model run/model --out report.html

One page to open in a browser: what each axis tells and the genes it moves, cells to colour and to walk from.
Nothing in it is fetched from elsewhere. `betascvi fit` writes one, too.
"""
_SWEEP = """
example:
  betascvi sweep atlas.h5ad --layer counts --objectives beta_vae l_vae --betas 0.5 1 4 --n-seeds 3 --out sweep/

writes a folder a run, sweep/runs.csv (one row a run) and sweep/rate_distortion.png. Interrupted? The same
command goes on where it was.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 2
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("betascvi").setLevel(logging.INFO)
    warnings.filterwarnings("ignore", module="lightning")  # advice on loaders and loggers
    try:
        options.command(options)
    except (ValueError, KeyError, OSError, RuntimeError) as error:
        print(f"betascvi: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="betascvi",
        description="Latent axes that mean something: fit beta-VAEs on single-cell counts, score axes.",
    )
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands")
    demo = _command(commands, "demo", "simulate a small atlas, fit it, score it", _DEMO, _demo)
    demo.add_argument("--out", type=Path, default=Path("demo"), help="folder to write (demo/)")
    demo.add_argument("--cells", type=int, default=3000, help="cells to simulate (3000)")
    demo.add_argument("--epochs", type=_epochs, default=100, help="epochs of training (100)")
    demo.add_argument("--seed", type=int, default=0, help="of simulation and fit (0)")
    _add_fit(_command(commands, "fit", "fit a model to the counts of an h5ad file", _FIT, _fit))
    _add_score(_command(commands, "score", "score an embedding of an h5ad file", _SCORE, _score))
    report = "write a page about a fitted model and its cells"
    _add_report(_command(commands, "report", report, _REPORT, _report))
    _add_sweep(_command(commands, "sweep", "fit objectives x betas x seeds", _SWEEP, _sweep))
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    summary: str,
    epilog: str,
    run: Callable[[argparse.Namespace], None],
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name, help=summary, description=summary + ".", epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.set_defaults(command=run)
    return parser


def _add_fit(parser: argparse.ArgumentParser) -> None:
    _add_cells(parser)
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the folder if it is there"
    )
    parser.add_argument("--objective", default="beta_vae", help="name of an objective (beta_vae)")
    parser.add_argument("--beta", type=float, help="weight of the KL, where the objective has one")
    parser.add_argument("--seed", type=int, default=0, help="(0)")


def _add_sweep(parser: argparse.ArgumentParser) -> None:
    _add_cells(parser)
    parser.add_argument(
        "--objectives", nargs="+", default=["beta_vae"], help="names of objectives (beta_vae)"
    )
    parser.add_argument(
        "--betas", nargs="+", type=float, help="weights of the KL (each objective's own)"
    )
    parser.add_argument("--n-seeds", type=int, default=5, help="seeds 0, 1, ... (5 of them)")


def _add_cells(parser: argparse.ArgumentParser) -> None:
    """What every training from a file is asked."""
    parser.add_argument("h5ad", type=Path, help="cells with raw counts")
    parser.add_argument("--layer", help="layer with counts (X by default)")
    parser.add_argument("--batch-key", help="obs column of the batch the decoder is conditioned on")
    parser.add_argument("--factors", nargs="+", default=(), help="obs columns to score the axes on")
    _add_kinds(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--n-latent", type=int, default=10, help="number of axes (10)")
    parser.add_argument(
        "--epochs", type=_epochs, help="epochs of training (by the number of cells)"
    )


def _add_kinds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--circular", nargs="+", default=(), help="those of them that are angles")
    parser.add_argument(
        "--categorical",
        nargs="+",
        default=(),
        help="those of them that are levels coded as numbers",
    )


def _epochs(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"a whole number from 1 up, got {text!r}")
    return int(text)


def _add_score(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("h5ad", type=Path, help="cells with an embedding in obsm")
    parser.add_argument(
        "--key", default=_keys.LATENT, help=f"obsm key of the embedding ({_keys.LATENT})"
    )
    parser.add_argument("--factors", nargs="+", required=True, help="obs columns to score against")
    _add_kinds(parser)
    parser.add_argument("--metrics", nargs="+", help="which (all by default)")
    parser.add_argument("--strata", help="obs column within whose levels the null permutes labels")
    parser.add_argument("--out", type=Path, required=True, help="csv file to write")
    parser.add_argument("--seed", type=int, default=0, help="(0)")


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("h5ad", type=Path, help="the cells the model was trained on, with counts")
    parser.add_argument("--model", type=Path, required=True, help="folder of a saved BetaSCVI")
    parser.add_argument(
        "--factors", nargs="+", default=(), help="obs columns to read the axes by (the model's own)"
    )
    _add_kinds(parser)
    parser.add_argument("--out", type=Path, required=True, help="html file to write")
    parser.add_argument("--seed", type=int, default=0, help="(0)")


def _demo(options: argparse.Namespace) -> None:
    from betascvi import datasets
    from betascvi.factors import Factor
    from betascvi.report import FitSettings, fit_into
    from betascvi.tl import Budget

    adata = datasets.simulated_atlas(n_cells=options.cells, n_genes=800, seed=options.seed)
    factors = ("cell_type", "condition", "batch", "donor", Factor("phase_angle", "circular"))
    settings = FitSettings(
        layer="counts",
        factors=factors,
        max_epochs=options.epochs,
        seed=options.seed,
        budget=Budget(n_null=20, n_resamples=20, n_null_fitted=3, n_resamples_fitted=0),
    )
    scores = fit_into(adata, settings, options.out, overwrite=True)
    _print_scores(scores)
    print(f"\nwrote {options.out}/latents.h5ad, model/, scores.csv, axes.png and report.html")


def _fit(options: argparse.Namespace) -> None:
    import anndata

    from betascvi.report import FitSettings, fit_into

    settings = FitSettings(
        layer=options.layer,
        batch_key=options.batch_key,
        factors=_factors(options),
        n_latent=options.n_latent,
        objective=options.objective,
        beta=options.beta,
        max_epochs=options.epochs,
        seed=options.seed,
    )
    adata = anndata.read_h5ad(options.h5ad)
    _print_scores(fit_into(adata, settings, options.out, overwrite=options.overwrite))
    print(f"\nwrote {options.out}")


def _score(options: argparse.Namespace) -> None:
    import anndata

    from betascvi._written_whole import file_written_whole
    from betascvi.tl import METRICS, score_disentanglement

    adata = anndata.read_h5ad(options.h5ad)
    table = score_disentanglement(
        adata,
        options.key,
        _factors(options),
        metrics=options.metrics or METRICS,
        strata=options.strata,
        seed=options.seed,
    )
    with file_written_whole(options.out) as draft:
        table.to_frame().to_csv(draft, index=False)
    _print_scores(table)
    print(f"\nwrote {options.out}")


def _report(options: argparse.Namespace) -> None:
    import anndata

    from betascvi.report import report_of_saved

    adata = anndata.read_h5ad(options.h5ad)
    scores = report_of_saved(
        adata, options.model, _factors(options), options.out, seed=options.seed
    )
    _print_scores(scores)
    print(f"\nwrote {options.out}")


def _sweep(options: argparse.Namespace) -> None:
    import anndata

    from betascvi.report import sweep_into
    from betascvi.sweep import Spec

    spec = Spec(
        objectives=options.objectives,
        betas=options.betas,
        seeds=range(options.n_seeds),
        model={"n_latent": options.n_latent},
        train={"max_epochs": options.epochs, "enable_progress_bar": False},
    )
    adata = anndata.read_h5ad(options.h5ad)
    curve = sweep_into(
        adata, spec, options.out,
        layer=options.layer, batch_key=options.batch_key, factors=_factors(options),
    )  # fmt: skip
    shown = ["objective", "beta", "n_seeds", "rate", "distortion", "elbo", "gap", "n_active"]
    frame = curve.to_frame()
    print(frame[shown].to_string(index=False, float_format="{:.1f}".format))
    print(f"\n{curve}\nwrote {options.out}")


def _factors(options: argparse.Namespace) -> tuple[Factor, ...]:
    from betascvi.factors import Factor

    kinds = dict.fromkeys(options.factors)
    kinds |= dict.fromkeys(options.circular, "circular")
    kinds |= dict.fromkeys(options.categorical, "categorical")
    both = sorted(set(options.circular) & set(options.categorical))
    if both:
        raise ValueError(f"{both} cannot be angles and levels at once.")
    return tuple(
        Factor(name) if kind is None else Factor(name, kind) for name, kind in kinds.items()
    )


def _print_scores(scores: ScoreTable | None) -> None:
    if scores is None:
        print("nothing was scored: no factor is named (--factors), or no cell was held out.")
        return
    print(
        "\nhow well the axes tell the factors, on held-out cells (in brackets: labels permuted)\n"
    )
    print(scores)

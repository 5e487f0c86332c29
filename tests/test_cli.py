import csv
import subprocess
import sys
from pathlib import Path

import anndata
import numpy as np
import pytest

from betascvi.cli import main


def test_help_loads_no_torch() -> None:
    code = (
        "import sys; from betascvi.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print('torch' in sys.modules, 'anndata' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "False False"


@pytest.mark.parametrize("command", ["demo", "fit", "score", "report", "sweep"])
def test_each_command_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])

    assert f"betascvi {command} " in capsys.readouterr().out.split("example:")[1]


def test_no_command_prints_the_help_and_fails() -> None:
    assert main([]) == 2


def test_fit_writes_latents_model_scores_and_a_figure(
    tiny_adata: anndata.AnnData, tmp_path: Path
) -> None:
    tiny_adata.write_h5ad(tmp_path / "in.h5ad")
    out = tmp_path / "run"

    status = main(
        [
            *("fit", str(tmp_path / "in.h5ad"), "--layer", "counts", "--batch-key", "batch"),
            *("--out", str(out), "--epochs", "1", "--n-latent", "3", "--beta", "2"),
        ]
    )

    latents = anndata.read_h5ad(out / "latents.h5ad")
    assert status == 0
    assert latents.obsm["X_betascvi"].shape == (tiny_adata.n_obs, 3)
    assert list(latents.uns["betascvi"]["X_betascvi"]["axes"]) == ["free_1", "free_2", "free_3"]
    assert {p.name for p in out.iterdir()} == {
        "latents.h5ad",
        "model",
        "axes.png",
        "report.html",
        "settings.json",
    }


def test_sweep_writes_runs_a_table_and_a_figure_and_goes_on_where_it_was(
    tiny_adata: anndata.AnnData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_adata.write_h5ad(tmp_path / "in.h5ad")
    out = tmp_path / "sweep"
    command = [
        *("sweep", str(tmp_path / "in.h5ad"), "--layer", "counts", "--betas", "1", "4"),
        *("--epochs", "1", "--n-latent", "3", "--out", str(out), "--n-seeds"),
    ]

    first = main([*command, "1"])
    before = {p: p.stat().st_mtime_ns for p in out.glob("*/row.json")}
    second = main([*command, "2"])

    assert (first, second) == (0, 0)
    with (out / "runs.csv").open() as file:
        rows = [(row["beta"], row["seed"]) for row in csv.DictReader(file)]
    assert rows == [("1.0", "0"), ("1.0", "1"), ("4.0", "0"), ("4.0", "1")]
    assert len(before) == 2
    assert all(p.stat().st_mtime_ns == when for p, when in before.items())
    assert (out / "rate_distortion.png").stat().st_size > 0
    assert "best ELBO" in capsys.readouterr().out


def test_score_writes_a_table_for_any_embedding(
    tiny_adata: anndata.AnnData, tmp_path: Path
) -> None:
    tiny_adata.obsm["X_mine"] = np.random.default_rng(0).normal(size=(tiny_adata.n_obs, 3))
    tiny_adata.write_h5ad(tmp_path / "in.h5ad")

    status = main(
        [
            *("score", str(tmp_path / "in.h5ad"), "--key", "X_mine", "--metrics", "mig"),
            *("--factors", "cell_type", "batch", "--out", str(tmp_path / "scores.csv")),
        ]
    )

    with open(tmp_path / "scores.csv") as file:
        rows = list(csv.DictReader(file))
    assert status == 0
    assert {row["factor"] for row in rows} == {"all", "cell_type", "batch"}


def test_bad_input_is_one_line_and_a_failing_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["fit", str(tmp_path / "absent.h5ad"), "--out", str(tmp_path / "run")])

    said = capsys.readouterr().err.strip()
    assert status == 1
    assert said.startswith("betascvi: ")
    assert len(said.splitlines()) == 1


def test_numbers_that_stand_for_levels_are_declared(
    tiny_adata: anndata.AnnData, tmp_path: Path
) -> None:
    tiny_adata.obs["donor_id"] = np.arange(tiny_adata.n_obs) % 3
    tiny_adata.obsm["Z"] = np.random.default_rng(0).normal(size=(tiny_adata.n_obs, 3))
    tiny_adata.write_h5ad(tmp_path / "in.h5ad")
    out = tmp_path / "scores.csv"

    status = main(
        [
            *("score", str(tmp_path / "in.h5ad"), "--key", "Z", "--factors", "condition"),
            *("--categorical", "donor_id", "--metrics", "condition_prediction", "--out", str(out)),
        ]
    )

    assert status == 0
    table = {(row["factor"], row["metric"]) for row in csv.DictReader(out.read_text().splitlines())}
    assert ("donor_id", "condition_prediction") in table


def test_no_epochs_are_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "in.h5ad", "--out", str(tmp_path / "run"), "--epochs", "0"])

    assert "whole number from 1 up, got '0'" in capsys.readouterr().err


def test_report_makes_the_page_of_a_saved_fit(
    tiny_adata: anndata.AnnData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_adata.write_h5ad(tmp_path / "in.h5ad")
    cells, run, page = (str(tmp_path / name) for name in ("in.h5ad", "run", "page.html"))
    main(["fit", cells, "--layer", "counts", "--epochs", "2", "--n-latent", "3", "--out", run])

    status = main(["report", cells, "--model", f"{run}/model", "--out", page])

    assert status == 0
    assert f"wrote {page}" in capsys.readouterr().out
    beside_the_fit = Path(f"{run}/report.html").read_text()
    renamed = beside_the_fit.replace(">run<", ">page<").replace('"title":"run"', '"title":"page"')
    assert Path(page).read_text() == renamed


def test_report_says_which_folder_holds_no_model(
    tiny_adata: anndata.AnnData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_adata.write_h5ad(tmp_path / "in.h5ad")

    status = main(
        ["report", str(tmp_path / "in.h5ad"), "--model", "nowhere", "--out", str(tmp_path / "p")]
    )

    assert status == 1
    assert "nowhere" in capsys.readouterr().err
    assert not (tmp_path / "p").exists()

"""The page as a reader meets it: opened in Debian's Chromium."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc

from betascvi import BetaSCVI, Factor
from betascvi._errors import UnknownFactorError
from betascvi.factors import as_factors
from betascvi.report import _page_axes, _page_cells, report_into, report_of_saved
from betascvi.report._figure import draw_axes
from betascvi.report._held_out import latents_of, score_held_out
from betascvi.report._page_cells import drawn_cells
from betascvi.tl import Budget

FACTORS = ["cell_type", "condition", "batch", Factor("phase_angle", "circular")]
HOSTILE = "</script><script>document.body.dataset.hacked = 'yes'</script>"
_QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars", "--window-size=1200,1000", "--virtual-time-budget=5000",
)  # fmt: skip


class Browser:
    """Debian's Chromium, without a screen."""

    def __init__(self, profile: Path) -> None:
        self.profile = profile

    def run(self, page: Path, *options: str, link: str = "") -> str:
        command = ["chromium", *_QUIET, f"--user-data-dir={self.profile}", *options]
        done = subprocess.run(
            [*command, f"file://{page}{link}"], capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def dom(self, page: Path, link: str = "") -> str:
        """The page once its script has run."""
        return self.run(page, "--dump-dom", link=link)

    def after(self, page: Path, script: str) -> dict:
        """What a script finds that does what a reader would, on the page once it is drawn."""
        acted = page.with_name(f"acted-{page.name}")
        ending = f"<script>document.body.append(Object.assign(document.createElement('pre'), \
{{id: 'found', textContent: JSON.stringify((() => {{{script}}})())}}));</script></body>"
        acted.write_text(page.read_text().replace("</body>", ending))
        found = re.search(r'<pre id="found">(.*?)</pre>', self.dom(acted), re.DOTALL)
        assert found is not None
        return json.loads(unescape(found[1]))


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    if shutil.which("chromium") is None:
        pytest.skip("needs Debian's chromium")
    return Browser(tmp_path / "profile")


@pytest.fixture(scope="module")
def cells(tiny_source: anndata.AnnData) -> anndata.AnnData:
    adata = tiny_source.copy()
    adata.var_names = [HOSTILE, *adata.var_names[1:]]
    adata.obs["condition"] = adata.obs["condition"].cat.rename_categories({"ctrl": "<b>ctrl"})
    adata.obs.loc[adata.obs_names[:30], "phase_angle"] = np.nan
    adata.obsm["X_umap"] = np.random.default_rng(0).normal(size=(adata.n_obs, 2))
    BetaSCVI.setup_anndata(adata, layer="counts", factor_keys=FACTORS)
    return adata


@pytest.fixture(scope="module")
def model(cells: anndata.AnnData) -> BetaSCVI:
    model = BetaSCVI(cells, n_latent=3, anchors=["batch"])
    model.train(max_epochs=25, train_size=0.6, enable_progress_bar=False)
    return model


@pytest.fixture(scope="module")
def page(model: BetaSCVI, cells: anndata.AnnData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "report.html"
    latents = latents_of(model, cells)
    quick = Budget(n_null=3, n_resamples=3, n_null_fitted=1, n_resamples_fitted=0)
    scores = score_held_out(latents, FACTORS, quick, 0)
    report_into(model, cells, latents, FACTORS, out, scores=scores, title="tiny & small")
    return out


def data_of(page: Path) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text())
    assert found is not None
    return json.loads(found[1])


def test_the_page_draws_itself_and_fetches_nothing(browser: Browser, page: Path) -> None:
    dom = browser.dom(page)

    assert 'data-ready="yes"' in dom
    assert "data-error" not in dom
    assert "<title>tiny &amp; small</title>" in dom
    assert re.findall(r'(?:src|href)="(?!#)[^"]*"', page.read_text()) == []
    assert "@import" not in page.read_text()


def test_a_name_is_shown_as_text_whatever_is_in_it(browser: Browser, page: Path) -> None:
    dom = browser.dom(page)

    assert "data-hacked" not in dom
    assert "&lt;b&gt;ctrl" in browser.dom(page, "#colour=condition")


def test_tables_have_a_row_an_axis_and_a_column_a_factor(browser: Browser, page: Path) -> None:
    found = browser.after(
        page,
        "const texts = (rows) => [...rows].map((row) => [...row.cells].map((c) => c.textContent));"
        "return {axes: texts(document.querySelectorAll('#axes tr')),"
        "        scores: texts(document.querySelectorAll('#scores tr'))};",
    )

    assert found["axes"][0][2:6] == ["cell_type", "condition", "batch", "phase_angle"]
    assert {row[0] for row in found["axes"][1:]} == {
        "batch_1", "batch_2", "free_1", "free_2", "free_3"
    }  # fmt: skip
    by_name = {row[0]: row for row in found["axes"]}
    assert int(by_name["batch_1"][4].rstrip(" %")) > 20
    assert found["scores"][0] == ["", "all", "cell_type", "condition", "batch", "phase_angle"]
    assert re.fullmatch(r"\d\.\d\d \(\d\.\d\d\)", found["scores"][1][1])


def test_a_link_opens_the_page_as_it_was(browser: Browser, page: Path) -> None:
    walk = next(w for w in data_of(page)["walks"] if w["name"] == "free_2")

    found = browser.dom(page, "#walk=free_2&step=20&x=UMAP+1&y=batch_1&colour=phase_angle")

    assert f'<span id="at">{walk["labels"][20]} prior standard deviations</span>' in found
    assert "<span>0</span>" in found  # the legend of an angle
    assert "2π" in found


def test_a_reader_moves_the_slider_picks_a_cell_and_takes_another_colour(
    browser: Browser, page: Path
) -> None:
    found = browser.after(
        page,
        """
        const byId = (id) => document.getElementById(id);
        const say = (id, type) => byId(id).dispatchEvent(new Event(type));
        const values = () => [...byId("bars").rows].map((row) => row.cells[2].textContent);
        byId("walk").value = [...byId("walk").options].find((o) => o.text === "free_1").value;
        say("walk", "change");
        byId("step").value = "24"; say("step", "input");
        const last = {at: byId("at").textContent, values: values()};
        byId("step").value = "0"; say("step", "input");
        const first = {at: byId("at").textContent, values: values()};
        const box = byId("cells").getBoundingClientRect();
        byId("cells").dispatchEvent(new MouseEvent("click",
          {clientX: box.left + box.width / 2, clientY: box.top + box.height / 2}));
        byId("colour").value = "1"; say("colour", "change");
        return {last, first, picked: byId("picked").textContent, step: Number(byId("step").value),
                legend: byId("legend").textContent, link: location.hash};
        """,
    )

    data = data_of(page)
    walk = next(w for w in data["walks"] if w["name"] == "free_1")
    assert (found["first"]["at"], found["last"]["at"]) == (
        "-3 prior standard deviations", "+3 prior standard deviations",
    )  # fmt: skip
    for side, step in (("first", 0), ("last", -1)):
        np.testing.assert_allclose(
            np.array(found[side]["values"], float), walk["expression"][step], rtol=0.01
        )
    name = found["picked"].split(" · ")[0]
    place = data["cells"]["names"].index(name)
    own = next(c for c in data["cells"]["coordinates"] if c["name"] == "free_1")["values"][place]
    assert found["step"] == np.argmin(np.abs(np.array(walk["steps"]) - own))
    assert "stim" in found["legend"]
    assert "colour=condition" in found["link"]


def test_cells_are_drawn_in_the_colours_of_the_legend(
    browser: Browser, page: Path, tmp_path: Path
) -> None:
    from matplotlib.image import imread

    shot = tmp_path / "shot.png"
    browser.run(page, f"--screenshot={shot}", link="#x=UMAP+1&y=UMAP+2&colour=condition")

    pixels = np.round(imread(shot)[..., :3] * 255).astype(int)
    for colour in ((0, 114, 178), (213, 94, 0)):
        assert (np.abs(pixels - colour).sum(-1) < 8).sum() > 500


def test_walks_go_through_blocks_and_along_living_axes(page: Path) -> None:
    walks = {walk["name"]: walk for walk in data_of(page)["walks"]}

    assert next(iter(walks)) == "batch"
    assert [label for label in walks["batch"]["labels"] if label] == ["b0", "b1", "b2"]
    assert walks["batch"]["extent"] is None
    assert set(walks) - {"batch"} <= {"free_1", "free_2", "free_3"}
    assert all(low < high for low, high in (w["extent"] for n, w in walks.items() if n != "batch"))


def test_columns_hold_missing_labels_as_such_and_held_out_cells_are_told(
    page: Path, model: BetaSCVI
) -> None:
    columns = {column["name"]: column for column in data_of(page)["cells"]["columns"]}

    assert columns["phase_angle"]["values"][:30] == [None] * 30
    assert columns["phase_angle"]["kind"] == "angle"
    held_out = columns["held_out"]
    is_held_out = [held_out["levels"][code] == "True" for code in held_out["values"]]
    np.testing.assert_array_equal(np.flatnonzero(is_held_out), np.sort(model.validation_indices))


def test_a_saved_model_is_read_by_its_own_factors(
    model: BetaSCVI, cells: anndata.AnnData, tmp_path: Path
) -> None:
    model.save(str(tmp_path / "run"))
    others = cells[::-1].copy()  # nobody knows which of these were trained on
    others.obs["held_out"] = True  # a column of the user's own tells nothing about it

    scores = report_of_saved(others, tmp_path / "run", (), tmp_path / "page.html")

    data = data_of(tmp_path / "page.html")
    assert scores is None
    assert data["scores"] == []
    assert data["factors"] == ["cell_type", "condition", "batch", "phase_angle"]
    assert any("not known" in note for note in data["notes"])
    assert data["title"] == "run"


def test_a_large_data_set_is_sampled_and_a_block_of_many_levels_is_not_walked(
    browser: Browser,
    model: BetaSCVI,
    cells: anndata.AnnData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_page_cells, "_MOST_CELLS", 100)
    monkeypatch.setattr(_page_axes, "_MOST_LEVELS", 2)

    out = tmp_path / "page.html"
    report_into(model, cells, latents_of(model, cells), ["batch"], out, title="{{data}}")

    data = data_of(out)
    assert data["title"] == "{{data}}"
    assert "<h1>{{data}}</h1>" in out.read_text()
    assert "batch" not in [walk["name"] for walk in data["walks"]]
    assert any(note.startswith("batch has too many levels") for note in data["notes"])
    assert {len(one["values"]) for one in data["cells"]["coordinates"]} == {100}
    assert "100 of 400 cells are drawn" in browser.dom(tmp_path / "page.html")


def test_a_model_of_an_embedding_shows_expected_values(
    browser: Browser, tiny_adata: anndata.AnnData, tmp_path: Path
) -> None:
    tiny_adata.X = np.log1p(tiny_adata.layers["counts"].toarray())
    sc.pp.pca(tiny_adata, n_comps=6)
    BetaSCVI.setup_anndata(tiny_adata, obsm_key="X_pca")
    model = BetaSCVI(tiny_adata, n_latent=2)
    model.train(max_epochs=3, enable_progress_bar=False)

    report_into(model, tiny_adata, latents_of(model, tiny_adata), [], tmp_path / "page.html")

    dom = browser.dom(tmp_path / "page.html")
    assert 'data-ready="yes"' in dom
    assert "follow most, expected values:" in dom
    assert "<dd>normal, of an embedding</dd>" in dom


def test_notes_name_factors_that_cannot_be_told_apart(
    model: BetaSCVI, cells: anndata.AnnData, tmp_path: Path
) -> None:
    latents = latents_of(model, cells)
    latents.obs["site"] = latents.obs["batch"].astype(str)

    report_into(model, cells, latents, ["batch", "site"], tmp_path / "page.html")

    assert any(
        "site" in note and "batch" in note for note in data_of(tmp_path / "page.html")["notes"]
    )


def test_a_factor_that_held_out_cells_do_not_differ_in_is_left_out_in_words(
    model: BetaSCVI, cells: anndata.AnnData, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    latents = latents_of(model, cells)
    rare = np.where(latents.obs["held_out"], "no", "yes")
    latents.obs["rare"] = np.where(np.arange(len(rare)) % 3 == 0, rare, "no")
    quick = Budget(n_null=2, n_resamples=2, n_null_fitted=1, n_resamples_fitted=0)

    scores = score_held_out(latents, ["batch", "rare"], quick, 0)
    report_into(
        model, cells, latents, ["batch", "rare"], tmp_path / "page.html", scores=scores, seed=0
    )

    assert scores is not None
    assert "rare" not in set(scores.to_frame()["factor"])
    assert "do not differ in 'rare'" in caplog.text
    notes = data_of(tmp_path / "page.html")["notes"]
    assert "The cells that were not trained on do not differ in rare: not scored." in notes
    assert score_held_out(latents, ["rare"], quick, 0) is None


def test_columns_of_mixed_types_are_shown_as_text(cells: anndata.AnnData, model: BetaSCVI) -> None:
    latents = latents_of(model, cells)
    latents.obs["note"] = pd.Series([1, "two"] * 200, index=latents.obs_names, dtype=object)

    shown = {c["name"]: c for c in drawn_cells(cells, latents, as_factors(["batch"]), 0)["columns"]}

    assert set(shown["note"]["levels"]) == {"1", "two"}


def test_the_figure_of_a_fit_shows_factors_with_missing_labels(
    cells: anndata.AnnData, model: BetaSCVI
) -> None:
    latents = latents_of(model, cells)
    latents.obs["some"] = latents.obs["cell_type"].where(np.arange(cells.n_obs) % 2 == 0)

    figure = draw_axes(latents, ["cell_type", "some"])

    titles = [ax.get_title() for ax in figure.axes]
    assert "some" in titles


def test_a_factor_that_is_no_column_is_refused_with_the_closest(
    model: BetaSCVI, cells: anndata.AnnData
) -> None:
    with pytest.raises(UnknownFactorError, match="did you mean 'batch'"):
        score_held_out(latents_of(model, cells), ["batches"], None, 0)

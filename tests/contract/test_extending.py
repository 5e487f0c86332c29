"""The code of ``docs/extending.md`` runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from anndata import AnnData

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def reader(tiny_source: AnnData) -> dict[str, Any]:
    """What a reader has after running every block of the page in order."""
    from betascvi import BetaSCVI
    from betascvi.objectives import BetaVAE

    adata = tiny_source[:100].copy()
    BetaSCVI.setup_anndata(adata, layer="counts", batch_key="batch")
    names: dict[str, Any] = {"BetaSCVI": BetaSCVI, "BetaVAE": BetaVAE, "adata": adata}
    for block in BLOCKS:
        exec(block, names)
    return names


def test_the_first_example_is_ten_lines_of_code() -> None:
    lines = [line for line in BLOCKS[0].splitlines() if line.strip()]

    assert len(lines) <= 10


def test_the_users_objective_trains_and_its_raw_terms_are_in_the_history(
    reader: dict[str, Any],
) -> None:
    history = reader["model"].history

    assert float(history["l1_weight"].iloc[-1, 0]) == 3.0
    assert float(history["l1_train"].iloc[-1, 0]) > 0.0
    assert repr(reader["model"].module.objective) == "SparseVAE(weight=3.0)"


def test_the_users_schedule_moves_the_weight_of_ours(reader: dict[str, Any]) -> None:
    beta = reader["objective"].beta

    np.testing.assert_allclose([beta(0.0), beta(0.5), beta(1.0)], [0.0, 2.0, 4.0])


def test_the_users_learning_objective_moves_what_it_learns(reader: dict[str, Any]) -> None:
    from betascvi import BetaSCVI

    model = BetaSCVI(reader["adata"], n_hidden=8, n_latent=3, objective=reader["Uncertainty"]())

    model.train(
        max_epochs=2, accelerator="cpu", enable_progress_bar=False, plan_kwargs={"state_lr": 0.1}
    )

    learned = model.history["learned"].iloc[:, 0].astype(float)
    assert learned.iloc[-1] != pytest.approx(1.0, abs=1e-3)

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import betascvi as bs
from betascvi._errors import FactorError, UnknownFactorError


@pytest.fixture
def adata():
    rng = np.random.default_rng(0)
    donor = rng.integers(0, 4, 60)
    obs = pd.DataFrame(
        {
            "donor": pd.Categorical(donor.astype(str)),
            "batch": pd.Categorical((donor // 2).astype(str)),
            "phase": rng.random(60) * 6,
            "only": "one",
        },
        index=[f"c{i}" for i in range(60)],
    )
    return AnnData(obs=obs)


def test_nested_donors_are_found_in_obs(adata):
    assert bs.tl.overlap(adata, ["batch", "donor"]).nested == (("donor", "batch"),)


def test_declared_kinds_are_honoured(adata):
    found = bs.tl.overlap(adata, ["batch", bs.Factor("phase", kind="circular")])

    assert found.levels["phase"][-1].endswith("6.28")


def test_unknown_factor_is_refused_with_the_closest_name(adata):
    with pytest.raises(UnknownFactorError, match="did you mean 'donor'"):
        bs.tl.overlap(adata, ["batch", "donors"])


def test_factor_with_one_level_is_refused_by_name(adata):
    with pytest.raises(FactorError, match="'only' has a single level"):
        bs.tl.overlap(adata, ["batch", "only"])


def test_call_leaves_the_data_as_it_was(adata):
    before = adata.obs.copy()

    bs.tl.overlap(adata, ["batch", "donor"])

    pd.testing.assert_frame_equal(adata.obs, before)
    assert not adata.uns

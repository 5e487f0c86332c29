"""How sure a mean over data sets or splits is, each of which was run with several seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def interval_of_mean(groups: Sequence[np.ndarray], n: int = 2000) -> tuple[float, float]:
    """95 % of the means over groups drawn anew, and over runs drawn anew within them."""
    rng = np.random.default_rng(0)
    drawn = [
        np.mean([rng.choice(groups[i], len(groups[i])).mean() for i in chosen])
        for chosen in rng.integers(len(groups), size=(n, len(groups)))
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)

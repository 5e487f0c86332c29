"""What the spread of a sweep's scores is due to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from betascvi._errors import UndefinedScoreError

if TYPE_CHECKING:
    import pandas as pd

_NAMES = ("objective", "beta", "seed")


def variance_shares(frame: pd.DataFrame, scores: Sequence[str] | None = None) -> pd.DataFrame:
    r"""Shares of a score's variance over runs that are due to objective, beta and seed.

    .. math::
        \sum (x - \bar x)^2 = \underbrace{\sum (\bar x_o - \bar x)^2}_{\text{objective}}
        + \underbrace{\sum (\bar x_{o\beta} - \bar x_o)^2}_{\beta}
        + \underbrace{\sum (x - \bar x_{o\beta})^2}_{\text{seed}}

    Parameters
    ----------
    frame
        Rows of :func:`betascvi.sweep.run`, two seeds a setting or more.
    scores
        Columns to look at; all that are numbers and vary by default.

    Returns
    -------
    A row a score: ``objective``, ``beta``, ``seed`` (they sum to one) and ``n_runs``. Where the
    share of the seed is large, one run of a setting says little about the setting (Locatello et
    al., 2019, found it larger than that of the objective).

    Notes
    -----
    An objective without a beta has a single setting. With k seeds a setting, chance alone gives
    objective and beta a share of about (settings - 1) / (runs - 1).

    Examples
    --------
    >>> bs.sweep.variance_shares(bs.sweep.run(spec, adata))
    """
    import pandas as pd

    missing = [name for name in _NAMES if name not in frame]
    if missing:
        raise UndefinedScoreError(f"the frame has no column {missing}; give bs.sweep.run's table.")
    numbers = [str(c) for c in frame.select_dtypes("number") if c not in _NAMES]
    unknown = [name for name in scores or () if name not in numbers]
    if unknown:
        raise UndefinedScoreError(f"{unknown} are no scores of the frame; it has {numbers}.")
    asked = list(scores) if scores is not None else numbers
    rows = {name: shares for name in asked if (shares := _shares(frame, name)) is not None}
    return pd.DataFrame.from_dict(rows, orient="index", columns=[*_NAMES, "n_runs"])


def _shares(frame: pd.DataFrame, score: str) -> list[float] | None:
    """None where a score does not vary, or no setting was run twice."""
    runs = frame[[*_NAMES, score]].dropna(subset=[score])
    settings = runs.groupby(["objective", runs["beta"].fillna(-1.0)])[score]
    if len(runs) < 2 or settings.size().max() < 2:
        return None
    of_setting = settings.transform("mean")
    of_objective = runs.groupby("objective")[score].transform("mean")
    parts = (of_objective - runs[score].mean(), of_setting - of_objective, runs[score] - of_setting)
    squares = np.array([float((part**2).sum()) for part in parts])
    if squares.sum() <= 1e-24 * float((runs[score] ** 2).sum()):
        return None
    return [*(squares / squares.sum()).tolist(), len(runs)]

"""Which axes of a latent tell a factor, one axis at a time."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import chi2

from betascvi.factors import (
    CodedFactor,
    Factor,
    as_text,
    bin_codes,
    code_factor,
    contingency,
    entropy,
    mutual_information,
)

_N_BINS = 20
_LEAST_SHARE = 0.05
_FALSE_ALARM = 1e-3
_MOST_LEVELS = 50


def axis_shares(z: np.ndarray, factor: CodedFactor) -> tuple[np.ndarray, np.ndarray]:
    r"""(axes,) share of a factor's entropy that each axis tells, and whether it is beyond chance.

    :math:`(I(z_j; c) - I_{\mathrm{chance}}) / H(c)`, from 20 bins of equal width; beyond chance
    where :math:`2 n I` passes the :math:`\chi^2` quantile of 0.1 % over all axes.
    """
    known = factor.known
    codes, n_levels = factor.values[known].astype(int), len(factor.levels)
    shares, is_beyond = np.zeros(z.shape[1]), np.zeros(z.shape[1], dtype=bool)
    for axis in range(z.shape[1]):
        table = contingency(bin_codes(z[known, axis], _N_BINS), codes, (_N_BINS, n_levels))
        n_used = [int((table.sum(k) > 0).sum()) for k in (1, 0)]
        freedom = max((n_used[0] - 1) * (n_used[1] - 1), 1)
        information, n = mutual_information(table), table.sum()
        of_factor = entropy(table.sum(0))
        if of_factor > 0:
            shares[axis] = max(0.0, information - freedom / (2.0 * n)) / of_factor
        limit = chi2.ppf(1.0 - _FALSE_ALARM / z.shape[1], freedom)
        is_beyond[axis] = 2.0 * n * information > limit
    return shares, is_beyond


def axes_that_carry(z: np.ndarray, factor: CodedFactor) -> np.ndarray:
    """Positions of the axes that tell more than 5 % of a factor, and more than chance."""
    shares, is_beyond = axis_shares(z, factor)
    return np.flatnonzero(is_beyond & (shares > _LEAST_SHARE))


def has_few_whole_values(column: pd.Series) -> bool:
    """Whether a column of numbers holds few enough whole ones to be names of levels."""
    if not pd.api.types.is_numeric_dtype(column):
        return False
    values = column.dropna().to_numpy(dtype=float)
    return len(np.unique(values)) <= _MOST_LEVELS and bool((values == np.round(values)).all())


def carried_by_axes(
    z: np.ndarray, obs: pd.DataFrame, axes: np.ndarray, names: list[str], factor: CodedFactor
) -> pd.DataFrame:
    """Share of every labelled column's entropy that each of these axes tells: axes x columns.

    The factor itself stands first, whatever its column holds.
    """
    columns = {factor.name: axis_shares(z[:, axes], factor)[0]}
    for name in obs.columns.drop(factor.name):
        column = obs[name]
        if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
            continue
        coded = code_factor(as_text(column), Factor(str(name), "categorical"))
        if 2 <= len(coded.levels) <= _MOST_LEVELS:
            columns[str(name)] = axis_shares(z[:, axes], coded)[0]
    return pd.DataFrame(columns, index=[names[axis] for axis in axes])

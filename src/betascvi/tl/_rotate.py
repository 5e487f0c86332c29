"""``tl.rotate``: the trivial baseline every disentangled embedding should be compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float, Num
from sklearn.decomposition import FastICA

from betascvi._errors import UndefinedScoreError

if TYPE_CHECKING:
    import pandas as pd

_MOST_ITERATIONS = 1000
_TOLERANCE = 1e-8


@dataclass(frozen=True, slots=True, eq=False)
class Rotation:
    """Positions on new axes, and the way there and back."""

    method: str
    z: np.ndarray
    """(cells, axes): the positions on the new axes."""
    matrix: np.ndarray
    """(axes, axes): ``z = (original - centre) @ matrix``; orthogonal for ``"varimax"``."""
    inverse: np.ndarray
    """(axes, axes): ``original = z @ inverse + centre``."""
    centre: np.ndarray
    """(axes,): mean of the original positions."""
    n_iterations: int

    def back(self, z: Num[np.ndarray, "cells axes"] | None = None) -> np.ndarray:
        """Original positions of ``z`` (of the rotated cells, where none are given)."""
        return (self.z if z is None else z) @ self.inverse + self.centre

    def to_frame(self, index: Sequence[str] | None = None) -> pd.DataFrame:
        """One row for each cell, one column for each new axis."""
        import pandas as pd

        columns = [f"{self.method}_{i + 1}" for i in range(self.z.shape[1])]
        return pd.DataFrame(self.z, index=index, columns=columns)


def rotate(
    z: Num[np.ndarray, "cells axes"],
    method: Literal["varimax", "ica"] = "varimax",
    *,
    seed: int = 0,
) -> Rotation:
    r"""Turn the axes of an embedding without a model or a label.

    ``"varimax"`` looks for the orthogonal :math:`R` that makes each axis strong in few cells,

    .. math::
        \max_{R^\top R = I} \sum_j \Bigl[ \tfrac1n \sum_i y_{ij}^4
        - \bigl( \tfrac1n \sum_i y_{ij}^2 \bigr)^2 \Bigr], \qquad y = (z - \bar z) R

    (Kaiser, 1958, on the centred positions in place of loadings); ``"ica"`` for the linear map
    to axes of unit variance that are as independent as can be (FastICA).

    Parameters
    ----------
    z
        Positions of cells, (cells, axes): posterior means, principal components, any embedding.
    method
        ``"varimax"`` or ``"ica"``.
    seed
        Start of the ICA; varimax starts from the axes as they are.

    Returns
    -------
    The record: ``.z`` on the new axes, ``.matrix``, ``.inverse``, ``.back()``.

    Notes
    -----
    Under a standard normal prior a rotation of z, with the decoder's input turned back, is the
    same model of the data (Locatello et al., 2019, theorem 1): no likelihood can prefer the
    model's own axes to these. A method whose axes do not score above these has disentangled
    nothing that a rotation would not.

    Axes that do not vary are left as they are by varimax and refused by ICA.

    Examples
    --------
    >>> import betascvi as bs
    >>> z = np.random.default_rng(0).laplace(size=(500, 3))
    >>> turned = bs.tl.rotate(z, method="ica")
    >>> np.allclose(turned.back(), z)
    True
    """
    z = _checked(z)
    if method == "varimax":
        return _varimax(z)
    if method == "ica":
        return _ica(z, seed)
    raise ValueError(f"method is 'varimax' or 'ica', got {method!r}.")


def _checked(z: np.ndarray) -> np.ndarray:
    if not hasattr(z, "__array__"):
        raise TypeError(
            f"rotate takes a (cells, axes) array, got {type(z).__name__}; of a model that is "
            "model.get_latent_representation(), of an AnnData adata.obsm[key]."
        )
    z = np.asarray(z, dtype=np.float64)
    if z.ndim != 2 or z.shape[1] < 2:
        raise UndefinedScoreError(
            f"rotate takes (cells, axes) with two axes or more, got {z.shape}."
        )
    if len(z) <= z.shape[1]:
        raise UndefinedScoreError(f"rotate needs more cells than axes, got {z.shape}.")
    if not np.isfinite(z).all():
        raise UndefinedScoreError(
            f"z holds {int((~np.isfinite(z)).sum())} missing or infinite positions."
        )
    return z


def _varimax(z: Float[np.ndarray, "cells axes"]) -> Rotation:
    centre = z.mean(0)
    centred = z - centre
    matrix = np.eye(z.shape[1])
    criterion, n_iterations = 0.0, 0
    while n_iterations < _MOST_ITERATIONS:
        n_iterations += 1
        turned = centred @ matrix
        gradient = centred.T @ (turned**3 - turned * (turned**2).mean(0))
        left, singular, right = np.linalg.svd(gradient)
        matrix = left @ right
        before, criterion = criterion, float(singular.sum())
        if criterion <= before * (1 + _TOLERANCE):
            break
    return Rotation("varimax", centred @ matrix, matrix, matrix.T, centre, n_iterations)


def _ica(z: Float[np.ndarray, "cells axes"], seed: int) -> Rotation:
    is_flat = z.std(0) <= 1e-12
    if is_flat.any():
        raise UndefinedScoreError(
            f"axes {np.flatnonzero(is_flat).tolist()} do not vary; ICA needs them left out: "
            "z[:, z.std(0) > 0]."
        )
    rank = int(np.linalg.matrix_rank(z - z.mean(0)))
    if rank < z.shape[1]:
        raise UndefinedScoreError(
            f"{z.shape[1]} axes vary in {rank} directions only (shares that sum to one, or a copy "
            "of an axis); ICA has no way back from there. Leave axes out until none is a sum of "
            "others."
        )
    ica = FastICA(
        whiten="unit-variance", random_state=seed, max_iter=_MOST_ITERATIONS, tol=1e-5
    ).fit(z)
    turned = ica.transform(z)
    return Rotation("ica", turned, ica.components_.T, ica.mixing_.T, ica.mean_, int(ica.n_iter_))

"""What a simulated atlas knows about itself, and what its cells would be otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from betascvi._errors import UnknownFactorError
from betascvi._keys import TRUTH
from betascvi.datasets._designs import FACTORS
from betascvi.datasets._programs import RESPONSE
from betascvi.factors import aligned

CHUNK = 1024
"""Cells computed at a time."""
CONTINUOUS = ("phase_angle", "library_size")


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    r"""The parameters and factors that made the counts of a simulated atlas.

    .. math:: x_{cg} \sim \mathrm{NB}(\ell_c\, \rho_{cg}, \theta_g), \quad
              \rho_{cg} \propto \exp\Big(b_g + \sum_k w^{(k)}_{c_k g}
              + w^{(rt)}_{c_t c_r g} + a_g \cos\phi_c + d_g \sin\phi_c\Big)

    with library size :math:`\ell_c`, baseline :math:`b`, one program :math:`w^{(k)}` a level of
    each factor, the cell-type-specific response :math:`w^{(rt)}` and the phase :math:`\phi_c`.
    Cells and genes are those of the AnnData that :meth:`of` was given, in its order.
    """

    design: str
    levels: Mapping[str, tuple[str, ...]]
    """Factor to level names, in the order of their codes."""
    codes: Mapping[str, np.ndarray]
    """(cells,) level codes by factor; radians for ``phase_angle``; counts for ``library_size``."""
    programs: Mapping[str, np.ndarray]
    """Log-fold changes over all simulated genes by factor: (levels, genes); (2, genes) for the
    phase's cosine and sine; (cell types, conditions, genes) for ``cell_type:condition``."""
    baseline: np.ndarray
    dispersion: np.ndarray
    cells: np.ndarray
    genes: np.ndarray
    """Names of all simulated genes."""
    kept: np.ndarray
    """Positions in ``genes`` of the genes at hand."""

    @classmethod
    def of(cls, adata: AnnData) -> Truth:
        """The truth of a simulated atlas, or of any selection of its cells and genes."""
        if TRUTH not in adata.uns:
            raise UnknownFactorError(
                f"no uns[{TRUTH!r}] in this AnnData; only data made by "
                "bs.datasets.simulated_atlas or bs.datasets.draw_cells has a known truth."
            )
        stored = adata.uns[TRUTH]
        cells = _positions(adata.obs_names, stored["cells"], "cells")
        arrays = ("baseline", "dispersion", "genes")
        return cls(
            design=str(stored["design"]),
            levels={name: tuple(map(str, stored["levels"][name])) for name in FACTORS},
            codes={name: np.asarray(values)[cells] for name, values in stored["codes"].items()},
            programs={name: np.asarray(values) for name, values in stored["programs"].items()},
            cells=np.asarray(stored["cells"])[cells],
            kept=_positions(adata.var_names, stored["genes"], "genes"),
            **{name: np.asarray(stored[name]) for name in arrays},
        )

    def to_uns(self) -> dict[str, Any]:
        """Arrays, strings and mappings only, so that h5ad and zarr can hold it."""
        record = {field.name: getattr(self, field.name) for field in fields(self)}
        record["levels"] = {name: np.array(names) for name, names in self.levels.items()}
        return record | {"codes": dict(self.codes), "programs": dict(self.programs)}

    def rates(
        self,
        changes: Mapping[str, Any] | None = None,
        *,
        library_size: float | Sequence[float] | np.ndarray | None = None,
    ) -> np.ndarray:
        """Noise-free expression (cells, genes), float32, with some factors changed.

        Parameters
        ----------
        changes
            Factor to the level (or the angle, or one value a cell) that the cells are given;
            ``None`` leaves them as they are.
        library_size
            Expected counts over all simulated genes, for example ``1e4``; ``None`` is each
            cell's own.
        """
        changed = self.changed(changes or {})
        if library_size is not None:
            changed = changed.changed({"library_size": library_size})
        out = np.empty((len(self.cells), len(self.kept)), dtype=np.float32)
        for rows, rates in changed.stream():
            out[rows] = rates.take(self.kept, axis=1)
        return out

    def changed(self, changes: Mapping[str, Any]) -> Truth:
        """The same cells with some factors set to given levels."""
        codes = {name: self.encode(name, value) for name, value in changes.items()}
        return replace(self, codes={**self.codes, **codes})

    def encode(self, factor: str, value: Any) -> np.ndarray:
        """(cells,) codes of a level name, an angle or a size, or of one of them a cell."""
        if factor not in self.codes:
            raise UnknownFactorError(
                f"no factor {factor!r} in the simulated atlas{_closest(factor, self.codes)}; "
                f"it has {sorted(self.codes)}."
            )
        values = np.asarray(value)
        if values.shape not in ((), (len(self.cells),)):
            raise ValueError(
                f"factor {factor!r}: one value, or one for each of the {len(self.cells)} cells; "
                f"got shape {values.shape}."
            )
        codes = self._sizes(factor, value) if factor in CONTINUOUS else self._levels(factor, values)
        return np.broadcast_to(codes, (len(self.cells),)).copy()

    def _levels(self, factor: str, values: np.ndarray) -> np.ndarray:
        code_of = {level: code for code, level in enumerate(self.levels[factor])}
        named = values.astype(str)
        unknown = sorted(set(np.unique(named)) - set(code_of))
        if unknown:
            raise UnknownFactorError(
                f"factor {factor!r} has no level {unknown[0]!r}{_closest(unknown[0], code_of)}; "
                f"it has {list(code_of)}."
            )
        names, inverse = np.unique(named, return_inverse=True)
        codes = np.array([code_of[name] for name in names], dtype=np.int64)[inverse]
        return codes.reshape(named.shape)

    def _sizes(self, factor: str, value: Any) -> np.ndarray:
        try:
            sizes = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"{factor} is a number, got {value!r}.") from None
        if not np.all(np.isfinite(sizes)):
            raise ValueError(f"{factor} is finite, got {value!r}.")
        if factor == "phase_angle":
            return np.asarray(np.mod(sizes, 2 * np.pi))
        if np.any(sizes <= 0):
            raise ValueError(f"{factor} is positive, got {value!r}.")
        return sizes

    def stream(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Chunks of cells with their expected counts over all simulated genes."""
        programs = self.programs
        biology = self.baseline + programs["cell_type"][:, None] + programs["condition"]
        biology = biology + programs[RESPONSE]  # (cell types, conditions, genes)
        origin = programs["batch"][:, None] + programs["donor"]  # (batches, donors, genes)
        for start in range(0, len(self.cells), CHUNK):
            rows = slice(start, start + CHUNK)
            code = {name: values[rows] for name, values in self.codes.items()}
            circle = np.stack([np.cos(code["phase_angle"]), np.sin(code["phase_angle"])], axis=1)
            log_rates = circle @ programs["phase_angle"]
            log_rates += biology[code["cell_type"], code["condition"]]
            log_rates += origin[code["batch"], code["donor"]]
            rates = np.exp(log_rates, out=log_rates)
            rates *= (code["library_size"] / rates.sum(1))[:, None]
            yield rows, rates

    def to_frame(self) -> pd.DataFrame:
        """The true gene programs: genes at hand x programs, log-fold changes.

        Columns read ``condition=stim``, ``cell_type=type_0:condition=stim``,
        ``phase_angle=cos``; programs that are zero by definition (the control) are left out.
        """
        columns = {}
        for factor, names in self.levels.items():
            for code, level in enumerate(names):
                columns[f"{factor}={level}"] = self.programs[factor][code]
        for t, cell_type in enumerate(self.levels["cell_type"]):
            for c, condition in enumerate(self.levels["condition"]):
                name = f"cell_type={cell_type}:condition={condition}"
                columns[name] = self.programs[RESPONSE][t, c]
        for name, program in zip(("cos", "sin"), self.programs["phase_angle"], strict=True):
            columns[f"phase_angle={name}"] = program
        frame = pd.DataFrame({n: p[self.kept] for n, p in columns.items() if np.any(p)})
        return frame.set_index(pd.Index(self.genes[self.kept], name="gene"))


def counterfactual_truth(
    adata: AnnData,
    changes: Mapping[str, Any],
    *,
    library_size: float | Sequence[float] | np.ndarray | None = None,
) -> np.ndarray:
    """Noise-free expression (cells, genes) of the same cells with some factors changed.

    Everything else about a cell stays: its other factors and, unless told, its library size.

    Parameters
    ----------
    adata
        A simulated atlas, or a selection of its cells and genes.
    changes
        Factor to target: a level name, an angle in radians for ``phase_angle``, a number for
        ``library_size``, or an array with one of them a cell (a Series: by the cells' names).
        Empty: the cells as they are.
    library_size
        Expected counts over all simulated genes; ``None`` keeps each cell's own.

    Examples
    --------
    >>> import betascvi as bs
    >>> adata = bs.datasets.simulated_atlas(n_cells=100, n_genes=50)
    >>> bs.datasets.counterfactual_truth(adata, {"condition": "stim"}).shape
    (100, 50)
    """
    return Truth.of(adata).rates(aligned(changes, adata.obs_names), library_size=library_size)


def _positions(names: pd.Index, known: Sequence[str] | np.ndarray, what: str) -> np.ndarray:
    positions = pd.Index(np.asarray(known, dtype=object)).get_indexer(names)
    unknown = names[positions < 0]
    if len(unknown):
        raise UnknownFactorError(
            f"{len(unknown)} {what} are not in the simulated truth, for example {unknown[0]!r}; "
            "take the truth before renaming or joining, or keep the simulated names."
        )
    return np.asarray(positions)


def _closest(name: str, known: Mapping[str, Any]) -> str:
    close = get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""

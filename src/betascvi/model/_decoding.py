"""From latent positions to expected expression, a chunk of cells at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

import numpy as np
import torch
from scvi import REGISTRY_KEYS, settings

from betascvi._errors import UnknownFactorError
from betascvi.data import LEVELS_SEEN
from betascvi.factors import name_of_level
from betascvi.module import DECODED_KEY, BetaVAEModule

_MOST_SETTINGS = 64


@dataclass(frozen=True, slots=True)
class Covariate:
    """One thing the decoder is conditioned on."""

    name: str
    role: Literal["batch", "categorical", "continuous"]
    levels: tuple[str, ...] = ()
    """Of batch and categorical covariates, in the order of their codes."""
    seen: tuple[str, ...] | None = None
    """Levels that training cells had; None where nobody knows of any that had none."""

    @property
    def is_categorical(self) -> bool:
        """Whether it has levels."""
        return self.role != "continuous"

    @property
    def places(self) -> tuple[str, ...]:
        """Levels that the decoder has learned."""
        return self.levels if self.seen is None else self.seen

    def code(self, value: Any, n_cells: int) -> np.ndarray:
        """(cells,) codes or values from one setting, or one for each cell."""
        values = np.asarray(value, dtype=object).ravel()
        if values.size not in {1, n_cells}:
            raise ValueError(
                f"covariates[{self.name!r}] has {values.size} values for {n_cells} cells; give one "
                "for all or one for each."
            )
        if not self.is_categorical:
            return self._numbers(np.broadcast_to(values, n_cells))
        code_of = {level: code for code, level in enumerate(self.levels)}
        names = np.array([name_of_level(v, code_of) for v in values], dtype=object)
        values = np.broadcast_to(names, n_cells)
        unknown = [v for v in dict.fromkeys(values) if v not in code_of]
        if unknown:
            close = get_close_matches(unknown[0], self.levels, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else "."
            raise UnknownFactorError(
                f"{self.name!r} has no level {unknown[0]!r}; there are {list(self.places)}{hint}"
            )
        unseen = [v for v in dict.fromkeys(values) if v not in self.places]
        if unseen:
            raise UnknownFactorError(
                f"no training cell has {self.name}={unseen[0]!r}, a declared category, so that "
                f"the decoder has learned nothing of it; there are {list(self.places)}."
            )
        return np.array([code_of[v] for v in values], dtype=np.int64)

    def _numbers(self, values: np.ndarray) -> np.ndarray:
        try:
            numbers = values.astype(np.float32)
        except (TypeError, ValueError):
            raise ValueError(
                f"covariates[{self.name!r}] is continuous and takes numbers, got {values[0]!r}."
            ) from None
        n_bad = int((~np.isfinite(numbers)).sum())
        if n_bad:
            raise ValueError(
                f"covariates[{self.name!r}] holds {n_bad} missing or infinite values; every cell "
                "needs a number."
            )
        return numbers


def decode(
    module: BetaVAEModule,
    registry: Mapping[str, Any],
    z: np.ndarray,
    wanted: Mapping[str, Any],
    library_size: float | np.ndarray,
    batch_size: int | None,
) -> np.ndarray:
    """(cells, genes) expected expression, averaged over the levels left open, in genes' units."""
    states = {key: r["state_registry"] for key, r in registry["field_registries"].items()}
    positions = check_positions(z, module.n_latent)
    sizes = check_sizes(library_size, len(positions))
    known = decoder_covariates(states)
    module.eval()
    mean = np.zeros((len(positions), module.n_input), dtype=np.float32)
    each = list(settings_of(known, wanted, len(positions)))
    for setting in each:
        part = decode_means(
            module, positions, sizes, known, setting, batch_size or settings.batch_size
        )
        mean += part / np.float32(len(each))
    loadings = states[REGISTRY_KEYS.X_KEY].get("loadings")
    return mean if loadings is None else loadings.to_genes(mean)


def decoder_covariates(state_registries: Mapping[str, Mapping[str, Any]]) -> list[Covariate]:
    """What a decoder is conditioned on: batch first, then covariates, as scvi-tools orders them."""
    batch = state_registries.get(REGISTRY_KEYS.BATCH_KEY) or {}
    found = []
    levels = tuple(map(str, batch.get("categorical_mapping", ())))
    if len(levels) > 1:
        name = batch.get("original_key", "batch")
        found.append(Covariate(name, "batch", levels, _names(batch.get(LEVELS_SEEN))))
    categorical = state_registries.get(REGISTRY_KEYS.CAT_COVS_KEY) or {}
    seen = categorical.get(LEVELS_SEEN) or {}
    found += [
        Covariate(
            key, "categorical", tuple(map(str, categorical["mappings"][key])), _names(seen.get(key))
        )
        for key in categorical.get("field_keys", ())
    ]
    continuous = state_registries.get(REGISTRY_KEYS.CONT_COVS_KEY) or {}
    found += [Covariate(str(key), "continuous") for key in continuous.get("columns", ())]
    return found


def _names(levels: Sequence[Any] | None) -> tuple[str, ...] | None:
    return None if levels is None else tuple(map(str, levels))


def settings_of(
    known: Sequence[Covariate], wanted: Mapping[str, Any], n_cells: int
) -> Iterator[dict[str, np.ndarray]]:
    """Settings to decode under: one, or all levels of the categorical covariates left open."""
    names = [covariate.name for covariate in known]
    for name in wanted:
        if name not in names:
            raise UnknownFactorError(
                f"the decoder is not conditioned on {name!r}; it is on {names or 'nothing'}. "
                "batch_key and covariate keys of setup_anndata condition it."
            )
    unset = [c for c in known if c.name not in wanted]
    continuous = [c.name for c in unset if not c.is_categorical]
    if continuous:
        raise ValueError(f"covariates needs values for the continuous {continuous}.")
    n_settings = int(np.prod([len(c.places) for c in unset])) if unset else 1
    if n_settings > _MOST_SETTINGS:
        raise ValueError(
            f"covariates left open have {n_settings} combinations to average over; "
            f"set some of {[c.name for c in unset]}."
        )
    fixed = {c.name: c.code(wanted[c.name], n_cells) for c in known if c.name in wanted}
    for levels in itertools.product(*(c.places for c in unset)):
        free = {c.name: c.code(v, n_cells) for c, v in zip(unset, levels, strict=True)}
        yield {**fixed, **free}


def check_positions(z: np.ndarray, n_axes: int) -> np.ndarray:
    """(cells, axes) finite positions, or an error that says what came."""
    positions = np.asarray(z, dtype=np.float32)
    if positions.ndim != 2 or positions.shape[1] != n_axes:
        raise ValueError(
            f"z has shape {positions.shape}; the decoder takes (cells, {n_axes}), all axes of the "
            "model (a latent with blocks dropped cannot be decoded)."
        )
    n_bad = int((~np.isfinite(positions)).sum())
    if n_bad:
        raise ValueError(f"z holds {n_bad} missing or infinite positions.")
    return positions


def check_sizes(library_size: float | np.ndarray, n_cells: int) -> np.ndarray:
    """(cells,) positive library sizes."""
    sizes = np.asarray(library_size, dtype=np.float64).ravel()
    if sizes.size not in {1, n_cells}:
        raise ValueError(f"library_size has {sizes.size} values for {n_cells} cells.")
    if not (np.isfinite(sizes).all() and (sizes > 0).all()):
        raise ValueError("library_size must be positive and finite.")
    return np.broadcast_to(sizes, n_cells)


@torch.inference_mode()
def decode_means(
    module: BetaVAEModule,
    z: np.ndarray,
    library_size: np.ndarray,
    known: Sequence[Covariate],
    setting: Mapping[str, np.ndarray],
    batch_size: int,
) -> np.ndarray:
    """(cells, genes) expected expression under one setting of the covariates."""
    device = next(module.parameters()).device
    out = np.empty((len(z), module.n_input), dtype=np.float32)
    for start in range(0, len(z), batch_size):
        rows = slice(start, start + batch_size)
        inputs = generative_inputs(z[rows], library_size[rows], known, setting, rows)
        inputs = {k: None if v is None else v.to(device) for k, v in inputs.items()}
        decoded = module.generative(**inputs, as_distribution=False)[DECODED_KEY]
        out[rows] = module.likelihood.mean(decoded).cpu().numpy()
    return out


def generative_inputs(
    z: np.ndarray,
    library_size: np.ndarray,
    known: Sequence[Covariate],
    setting: Mapping[str, np.ndarray],
    rows: slice,
) -> dict[str, torch.Tensor | None]:
    """Arguments of the module's ``generative`` for some of the cells."""
    by_role: dict[str, list[torch.Tensor]] = {"batch": [], "categorical": [], "continuous": []}
    for covariate in known:
        by_role[covariate.role].append(torch.as_tensor(setting[covariate.name][rows]))
    log_size = torch.as_tensor(np.log(library_size), dtype=torch.float32)[:, None]
    batch = by_role["batch"][0] if by_role["batch"] else torch.zeros(len(z), dtype=torch.long)
    categorical, continuous = by_role["categorical"], by_role["continuous"]
    return {
        "z": torch.as_tensor(z, dtype=torch.float32),
        "library": log_size,
        "size_factor": log_size,
        "batch_index": batch[:, None],
        "cat_covs": torch.stack(categorical, dim=1) if categorical else None,
        "cont_covs": torch.stack(continuous, dim=1) if continuous else None,
    }

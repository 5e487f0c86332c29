"""What of a model can be set to another value: decoder covariates, and blocks of factors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np

from betascvi._errors import FactorError, UnknownFactorError
from betascvi.data import FACTORS_KEY
from betascvi.factors import Kind
from betascvi.model._block_moves import BlockMove, block_moves
from betascvi.model._decoding import Covariate, decoder_covariates

if TYPE_CHECKING:
    from betascvi.model._beta_scvi import BetaSCVI


@dataclass(frozen=True, slots=True)
class Handle:
    """By what a factor is moved: a covariate of the decoder, a block of the latent, or both."""

    name: str
    kind: Kind
    levels: tuple[str, ...]
    covariate: Covariate | None
    block: BlockMove | None

    @property
    def via(self) -> str:
        """In a word."""
        return "block" if self.covariate is None else "covariate"

    def code(self, value: Any, n_cells: int) -> np.ndarray:
        """(cells,) codes, numbers or radians of one target, or of one a cell."""
        seen = None if self.covariate is None else self.covariate.seen
        as_covariate = Covariate(self.name, _ROLE[self.kind], self.levels, seen)
        codes = as_covariate.code(value, n_cells)
        if self.block is not None and self.kind == "categorical":
            lacking = np.unique(codes[np.isnan(self.block.anchors[codes, 0])])
            if lacking.size:
                raise UnknownFactorError(
                    f"no training cell has {self.name}={self.levels[lacking[0]]!r}, so that it "
                    f"has no anchor; there are {list(self.places)}."
                )
        return codes

    @property
    def places(self) -> tuple[str, ...]:
        """Levels that cells can be moved to: of a block those that have an anchor."""
        if self.kind != "categorical":
            return self.levels
        if self.block is None:
            return self.levels if self.covariate is None else self.covariate.places
        known = ~np.isnan(self.block.anchors[:, 0])
        return tuple(level for level, is_there in zip(self.levels, known, strict=True) if is_there)


_ROLE: Mapping[str, Any] = {
    "categorical": "categorical", "continuous": "continuous", "circular": "continuous",
}  # fmt: skip


def handles_of(model: BetaSCVI) -> dict[str, Handle]:
    """Factor name -> handle; covariates of the decoder first.

    A factor that is both has one code: the covariate's, in whose order its anchors stand.
    """
    found = {
        c.name: Handle(c.name, "categorical" if c.is_categorical else "continuous", c.levels, c, None)
        for c in covariates_of(model)
    }  # fmt: skip
    registered = levels_registered(model)
    order = {c.name: c.levels for c in covariates_of(model) if c.is_categorical}
    for name, block in block_moves(model).items():
        given = found[name].covariate if name in found else None
        if block.parent in order:
            of_parent = registered[block.parent]
            codes = [order[block.parent].index(of_parent[p]) for p in block.parent_of]
            block = replace(block, parent_of=tuple(codes))
        if name in order:
            block = block.recoded(order[name])
        found[name] = Handle(name, block.kind, block.levels, given, block)
    return found


def handle_on(model: BetaSCVI, name: str) -> Handle:
    """The handle on a factor, or an error that says what would give the model one."""
    handles = handles_of(model)
    if name in handles:
        return handles[name]
    if name in labels_registered(model):
        raise FactorError(
            f"the model has no handle on {name!r}: it is registered, and no part of the model is "
            f"its own. Anchor it (BetaSCVI(adata, anchors=[{name!r}])), or condition the decoder "
            "on it (batch_key or categorical_covariate_keys of setup_anndata), and train again; "
            f"there are handles on {list(handles) or 'nothing'}."
        )
    close = get_close_matches(name, [*handles, *labels_registered(model)], n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    raise UnknownFactorError(
        f"{name!r} is no factor of this model, which can move {list(handles) or 'nothing'}{hint} "
        "A factor is anchored (factor_keys and anchors=), or the decoder is conditioned on it "
        "(batch_key or covariate keys)."
    )


def covariates_of(model: BetaSCVI) -> list[Covariate]:
    """What the decoder is conditioned on."""
    registries = model.registry["field_registries"]
    return decoder_covariates({key: r["state_registry"] for key, r in registries.items()})


def levels_registered(model: BetaSCVI) -> dict[str, tuple[str, ...]]:
    """Levels of the registered factors that have some, in the order of their codes."""
    field = model.registry["field_registries"].get(FACTORS_KEY) or {}
    given = (field.get("state_registry") or {}).get("levels") or {}
    return {name: tuple(map(str, levels)) for name, levels in given.items() if len(levels)}


def labels_registered(model: BetaSCVI) -> dict[str, Kind]:
    """Factors that were registered with ``factor_keys``, with their kinds."""
    field = model.registry["field_registries"].get(FACTORS_KEY) or {}
    state = field.get("state_registry") or {}
    return dict(zip(state.get("names", ()), state.get("kinds", ()), strict=True))

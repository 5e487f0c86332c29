"""Which factors get axes of their own in the latent, and how firmly they are held there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from betascvi._errors import FactorError

Effect = Literal["joint", "linear", "added"]
_FROM_ZERO = ("beta", "cross_entropy", "mmd", "swap")


@dataclass(frozen=True, slots=True)
class Anchor:
    r"""A factor that gets a block of axes of its own.

    Each level has a frozen anchor :math:`m_c` in the block, and cells of that level the prior
    :math:`\mathcal{N}(m_c, s^2 I)`; a cell without a label has the mixture of all of them.

    Parameters
    ----------
    name
        A factor named in ``setup_anndata(factor_keys=...)``.
    within
        Parent of a nested factor (``Anchor("donor", within="batch")``): anchors then tell the
        levels of one parent apart, and the parent is left to its own block.
    variance
        :math:`s^2`, the prior's spread around an anchor; anchors are 2 apart, so at most 0.25.
    beta
        Weight of the block's KL to its conditional prior.
    cross_entropy
        Weight of the anchor cross-entropy (levels only); more where labels are missing or may be
        wrong, as nothing else holds the block then.
    mmd
        Weight of the maximum mean discrepancy between levels in the free block.
    swap
        Weight of swap consistency: with the cell's counts carried over to another level and encoded
        again, the free axes must not move. One minibatch in four pays it in full, so on average it
        weighs a quarter of this.
    label_noise
        Share of labels that may be wrong: the prior of a labelled cell is mixed with that of an
        unlabelled one.
    accept_confounding
        Train although the design cannot tell this factor from another one.
    effect
        How the block moves expression (joint decoder): ``"joint"``, through the network with all
        other axes, so that each kind of cell may respond in its own way; ``"added"``, a shift of
        the logits that is the same in every cell; ``"linear"``, a shift that changes in proportion
        to the free axes. The fewer ways there are to respond, the more is carried to kinds of
        cells that were never seen at a level.
    """

    name: str
    within: str | None = None
    variance: float = 0.02
    beta: float = 1.0
    cross_entropy: float = 1.0
    mmd: float = 100.0
    swap: float = 4.0
    label_noise: float = 0.0
    accept_confounding: bool = False
    effect: Effect = "joint"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise FactorError(f"an anchor names a factor, got {self.name!r}.")
        if self.within == self.name:
            raise FactorError(f"anchor {self.name!r} cannot lie within itself.")
        if not 0.0 < self.variance <= 0.25:
            raise FactorError(
                f"anchor {self.name!r}: anchors stand 2 apart and need a gap of 4 standard "
                f"deviations, so variance is above 0 and at most 0.25, got {self.variance!r}."
            )
        if self.effect not in get_args(Effect):
            raise FactorError(
                f"anchor {self.name!r}: effect is one of {list(get_args(Effect))}, "
                f"got {self.effect!r}."
            )
        for field in _FROM_ZERO:
            value = getattr(self, field)
            if not 0.0 <= value < math.inf:
                raise FactorError(f"anchor {self.name!r}: {field} is from 0 up, got {value!r}.")
        if not 0.0 <= self.label_noise < 1.0:
            raise FactorError(
                f"anchor {self.name!r}: label_noise is a share from 0 up to 1, got "
                f"{self.label_noise!r}."
            )


# saved models remember their anchors by this path, so that the file may move
Anchor.__module__ = "betascvi.factors"


def as_anchors(anchors: Sequence[str | Anchor] | str | Anchor | None) -> tuple[Anchor, ...]:
    """Names and anchors alike, as anchors; a factor anchored twice is refused."""
    if anchors is None:
        return ()
    if isinstance(anchors, str | Anchor):
        anchors = [anchors]
    found = tuple(a if isinstance(a, Anchor) else Anchor(a) for a in anchors)
    names = [anchor.name for anchor in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise FactorError(f"factors {twice} are anchored twice; name each one once.")
    if "free" in names:
        raise FactorError("'free' is the name of the block without a factor; rename the column.")
    return found

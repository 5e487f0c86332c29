"""Tools: an embedding or a fitted model in, a record out."""

from betascvi.tl._embed import embed
from betascvi.tl._leak import Probing
from betascvi.tl._leakage import Leak, Leakage, leakage
from betascvi.tl._overlap import overlap
from betascvi.tl._rotate import Rotation, rotate

__all__ = ["Leak", "Leakage", "Probing", "Rotation", "embed", "leakage", "overlap", "rotate"]

"""Tools: an embedding or a fitted model in, a record out."""

from betascvi.tl._overlap import overlap

__all__ = ["overlap"]

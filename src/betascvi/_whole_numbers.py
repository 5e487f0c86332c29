"""Whole numbers: of cells, axes, genes, draws."""

from __future__ import annotations

from numbers import Integral
from typing import Any


def is_whole(value: Any) -> bool:
    """Whether it is a whole number, of Python's or numpy's; True and False are not."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def refuse_count(name: str, value: Any, *, least: int = 1, hint: str = "") -> None:
    """Refuse what is not a whole number, or too small a one."""
    if not is_whole(value) or value < least:
        raise ValueError(
            f"{name} is a whole number from {least} up, got {value!r}. {hint}".rstrip()
        )

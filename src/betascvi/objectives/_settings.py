"""Checks of an objective's settings that several objectives share."""

from __future__ import annotations

import math


def check_free_bits(free_bits: float) -> None:
    """Refuse free bits that are not nats from 0 up."""
    if not 0.0 <= free_bits < math.inf:
        raise ValueError(f"free_bits is nats per axis from 0 up, got {free_bits!r}.")


def check_positive(name: str, value: float) -> None:
    """Refuse what is not a finite number above 0."""
    if not 0.0 < value < math.inf:
        raise ValueError(f"{name} is a number above 0, got {value!r}.")

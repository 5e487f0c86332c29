"""Beta-VAEs on single-cell counts whose latent axes mean something.

Public names load when they are first used, so that ``import betascvi`` stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from betascvi._messages import show_messages

if TYPE_CHECKING:
    from betascvi import datasets, metrics, objectives, pl, pp, presets, pyro, schedules, sweep, tl
    from betascvi.factors import Anchor, Factor
    from betascvi.model import BetaSCVI

__version__ = version("betascvi")
show_messages()

_NAMESPACES = (
    "datasets",
    "metrics",
    "objectives",
    "pl",
    "pp",
    "presets",
    "pyro",
    "schedules",
    "sweep",
    "tl",
)
_CLASSES = {
    "Anchor": "betascvi.factors",
    "BetaSCVI": "betascvi.model",
    "Factor": "betascvi.factors",
}

__all__ = [
    "Anchor",
    "BetaSCVI",
    "Factor",
    "datasets",
    "metrics",
    "objectives",
    "pl",
    "pp",
    "presets",
    "pyro",
    "schedules",
    "sweep",
    "tl",
]


def __getattr__(name: str) -> Any:
    if name in _NAMESPACES:
        return import_module(f"betascvi.{name}")
    if name in _CLASSES:
        return getattr(import_module(_CLASSES[name]), name)
    raise AttributeError(f"module 'betascvi' has no attribute {name!r}; it has {__all__}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

"""Plots: records in, matplotlib Axes out; saving and showing are the caller's."""

from betascvi.pl._correction import correction
from betascvi.pl._counterfactual import counterfactual
from betascvi.pl._diagnosis import diagnosis
from betascvi.pl._latent import latent
from betascvi.pl._leakage import leakage
from betascvi.pl._overlap import overlap
from betascvi.pl._programs import programs
from betascvi.pl._rate_distortion import rate_distortion
from betascvi.pl._schedule import schedule
from betascvi.pl._scores import scores
from betascvi.pl._training import training
from betascvi.pl._traversal import traversal

__all__ = [
    "correction",
    "counterfactual",
    "diagnosis",
    "latent",
    "leakage",
    "overlap",
    "programs",
    "rate_distortion",
    "schedule",
    "scores",
    "training",
    "traversal",
]

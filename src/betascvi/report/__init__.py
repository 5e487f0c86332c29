"""What is written out for a person: the folder of a fit, of a sweep."""

from betascvi.report._fit_run import FitSettings, fit_into
from betascvi.report._sweep_run import sweep_into

__all__ = ["FitSettings", "fit_into", "sweep_into"]

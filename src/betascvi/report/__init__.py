"""What is written out for a person: the folder of a fit, of a sweep, a page."""

from betascvi.report._fit_run import FitSettings, fit_into
from betascvi.report._report_run import report_into, report_of_saved
from betascvi.report._sweep_run import sweep_into

__all__ = ["FitSettings", "fit_into", "report_into", "report_of_saved", "sweep_into"]

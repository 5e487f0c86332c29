"""Many trainings, one tidy table: objectives x betas x seeds, resumable run by run."""

from betascvi.sweep._engines import ENGINES, Engine
from betascvi.sweep._learned_beta import LearnedBeta, learned_beta
from betascvi.sweep._run import fingerprint, run
from betascvi.sweep._spec import RunSpec, Spec
from betascvi.sweep._variance_shares import variance_shares

__all__ = [
    "ENGINES",
    "Engine",
    "LearnedBeta",
    "RunSpec",
    "Spec",
    "fingerprint",
    "learned_beta",
    "run",
    "variance_shares",
]

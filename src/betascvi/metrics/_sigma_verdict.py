"""What became of the sigmas an L-VAE learns: converged, or one of four ways to fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

State = Literal["converged", "moving", "oscillating", "diverging", "too short"]
Signature = Literal["sigma_vanishes", "sigma_explodes", "sigma1_stuck", "poor_reconstruction"]

SENTENCES: dict[str, str] = {
    "sigma_vanishes": "a sigma shrinks towards zero: its term outweighs all else. Give LVAE "
    "bounds= or a larger epsilon (a negative reconstruction loss needs bounds)",
    "sigma_explodes": "a sigma grows beyond its stationary value and goes on growing: its term is "
    "no longer trained. Keep sum_of_squares=True or give bounds=",
    "sigma1_stuck": "sigma1 never left its initial value although the KL asks for another: raise "
    "plan_kwargs={'state_lr': ...}",
    "poor_reconstruction": "the reconstruction is no better than the mean profile of the genes: "
    "however tidy the axes are, they say nothing of the cells. Raise LVAE's scale",
}

_MIN_EPOCHS = 4
_TAIL = 0.25  # share of the epochs that is called the end
_STEADY = 0.05  # relative change of sigma squared over the tail that still is noise
_LAW = 0.05  # relative distance of beta_hat from its law that still is converged
_SWING = 0.10  # half range of log beta_hat around its trend that is an oscillation
_FAR = 2.0  # factor from the stationary value
_NEARLY_ZERO = 0.05  # of sigma squared; a dead axis under epsilon = 0.01 rests at 0.1


@dataclass(frozen=True, slots=True)
class SigmaVerdict:
    """How the sigmas of a run ended."""

    state: State
    signatures: tuple[Signature, ...]
    """Ways to fail that were seen, by name; none in a healthy run."""
    beta_hat: float
    """sigma0 squared over sigma1 squared, mean over the last quarter of the epochs."""
    expected_beta_hat: float
    """What the law asks for: the root of scale * reconstruction / (KL + epsilon)."""

    def __str__(self) -> str:
        said = [
            f"sigmas {self.state}: beta_hat {self.beta_hat:.3g}, by its law "
            f"{self.expected_beta_hat:.3g}",
            *(f"{name}: {SENTENCES[name]}" for name in self.signatures),
        ]
        return "; ".join(said)


def sigma_verdict(
    sigma0: npt.ArrayLike,
    sigma1: npt.ArrayLike,
    reconstruction: npt.ArrayLike,
    kl: npt.ArrayLike,
    *,
    scale: float = 1.0,
    epsilon: float = 0.0,
    baseline: float | None = None,
) -> SigmaVerdict:
    r"""Judge the course of learned sigmas, one value per epoch.

    At the stationary point of :math:`a L_R / \sigma_0^2 + (K + \varepsilon) / \sigma_1^2 +
    \sigma_0^2 + \sigma_1^2` stand :math:`\sigma_0^2 = \sqrt{a L_R}` and
    :math:`\sigma_1^2 = \sqrt{K + \varepsilon}`.

    Parameters
    ----------
    sigma0, reconstruction
        (epochs,): sigma 0 and the reconstruction loss, nats per cell.
    sigma1, kl
        (epochs,), or (epochs, axes) where every axis has a sigma of its own; KL in nats per cell.
    scale, epsilon
        The objective's a and epsilon.
    baseline
        Reconstruction loss of the mean profile of the genes; without it ``poor_reconstruction``
        is not judged.

    Notes
    -----
    Short and unfinished runs read ``moving``; with fewer than four epochs nothing is judged.
    """
    variances = [np.square(_column(sigma0)), np.square(_column(sigma1))]
    losses = [_column(reconstruction), _column(kl)]
    targets = [_stationary(scale * losses[0]), _stationary(losses[1] + epsilon)]
    if not all(np.isfinite(v).all() for v in (*variances, *losses)):
        raise ValueError("sigma_verdict takes finite histories; a value is missing or infinite.")
    tail = slice(-max(2, int(np.ceil(_TAIL * len(losses[0])))), None)
    beta_hat, expected = _beta_hat(variances, losses[1]), _beta_hat(targets, losses[1])
    means = float(beta_hat[tail].mean()), float(expected[tail].mean())
    if len(losses[0]) < _MIN_EPOCHS:
        return SigmaVerdict("too short", (), *means)
    seen = {
        "sigma_vanishes": _vanishes(variances, losses[0], tail),
        "sigma_explodes": _explodes(variances, targets, tail),
        "sigma1_stuck": _is_stuck(variances[1], targets[1], tail),
        "poor_reconstruction": _is_poor(losses, baseline, tail),
    }
    signatures: tuple[Signature, ...] = tuple(name for name, is_seen in seen.items() if is_seen)  # type: ignore[misc]  # the keys above
    if seen["sigma_vanishes"] or seen["sigma_explodes"]:
        return SigmaVerdict("diverging", signatures, *means)
    return SigmaVerdict(_course(beta_hat[tail], expected[tail]), signatures, *means)


def _column(values: npt.ArrayLike) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    return array[:, None] if array.ndim == 1 else array


def _stationary(loss: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(loss, 1e-12))


def _beta_hat(variances: list[np.ndarray], kl: np.ndarray) -> np.ndarray:
    """Ratio of the variances; over axes, each weighs as much as its KL."""
    shares = np.maximum(kl, 1e-12)
    weight = (shares / variances[1]).sum(1) / shares.sum(1)
    return variances[0][:, 0] * weight


def _growth(variance: np.ndarray, tail: slice) -> np.ndarray:
    """Relative growth over the tail, per column."""
    return variance[tail][-1] / variance[tail][0] - 1.0


def _vanishes(variances: list[np.ndarray], reconstruction: np.ndarray, tail: slice) -> bool:
    shrinks = [_growth(v, tail) < -_STEADY for v in variances]
    is_small = [v[-1] < _NEARLY_ZERO for v in variances]
    by_size = any(bool((s & t).any()) for s, t in zip(shrinks, is_small, strict=True))
    return by_size or bool(shrinks[0].any() and reconstruction[tail].mean() <= 0.0)


def _explodes(variances: list[np.ndarray], targets: list[np.ndarray], tail: slice) -> bool:
    pairs = zip(variances, targets, strict=True)
    return any(
        bool(((v[-1] > _FAR * t[-1]) & (_growth(v, tail) > _STEADY)).any()) for v, t in pairs
    )


def _is_stuck(variance: np.ndarray, target: np.ndarray, tail: slice) -> bool:
    has_moved = np.abs(np.log(variance / variance[0])).max(0) > 1e-3
    is_asked = np.abs(np.log(target[tail].mean(0) / variance[0])) > 2 * _STEADY
    return bool((~has_moved & is_asked).any())


def _is_poor(losses: list[np.ndarray], baseline: float | None, tail: slice) -> bool:
    if baseline is None:
        return False
    reconstruction = losses[0][:, 0]
    # a run that still learns is not judged by where it stands
    before = reconstruction[2 * (tail.start or 0) : tail.start].mean()
    is_level = abs(before / reconstruction[tail].mean() - 1.0) < 0.1 * _STEADY
    return bool(is_level and reconstruction[tail].mean() >= baseline)


def _course(beta_hat: np.ndarray, expected: np.ndarray) -> State:
    log_beta = np.log(beta_hat)
    epochs = np.arange(len(log_beta))
    trend = np.polyval(np.polyfit(epochs, log_beta, 1), epochs) if len(epochs) > 2 else log_beta
    around = log_beta - trend
    n_turns = int((np.diff(np.sign(around)) != 0).sum())
    if np.ptp(around) / 2 > _SWING and n_turns >= 3:
        return "oscillating"
    is_level = abs(trend[-1] - trend[0]) <= 2 * _STEADY
    obeys = abs(log_beta.mean() - np.log(expected).mean()) <= _LAW
    return "converged" if is_level and obeys else "moving"

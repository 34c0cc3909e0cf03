"""One number that makes scores only as sure as they are right: temperature scaling."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from eyeground.evaluate.confidence import Estimate, bootstrap, estimates
from eyeground.evaluate.wording import listed

LOWEST, HIGHEST = 0.05, 20.0
# Networks compute in float32: a score of 0 is one below its smallest normal number, so its logarithm is taken there.
_FLOOR = float(np.finfo(np.float32).tiny)
_GRID = 400  # inverse temperatures at which resamples are looked at; between them it is linear to 1e-4


def tempered(scores: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Divide the logits by a temperature; which class comes first does not change.

    Args:
        scores: Probabilities, shape (N, K), rows add up to 1. A row of NaN stays NaN.
        temperature: Above 1 makes scores less sure, below 1 more sure; positive.

    Returns:
        softmax(log(scores) / temperature), shape (N, K). The logarithm of a probability is its logit up to a constant
        of the row, which softmax takes out. A score of 0 counts as 1e-38.

    Raises:
        ValueError: If the temperature is not positive.

    Example:
        >>> tempered(np.array([[0.1, 0.9], [0.5, 0.5]]), 2.0).round(2).tolist()
        [[0.25, 0.75], [0.5, 0.5]]

    References:
        Guo et al., "On calibration of modern neural networks", ICML 2017.
    """
    if not temperature > 0:
        raise ValueError(f"a temperature is positive, got {temperature}")
    return _softmax(_logits(scores) / temperature)


def fit_temperature(
    truth: NDArray[np.int64],
    scores: NDArray[np.float64],
    patients: Sequence[str],
    *,
    classes: Sequence[str],
    resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Find the temperature with the least log loss.

    The log loss is convex in 1 / temperature, so its slope crosses zero once at most, and there it is least.

    Args:
        truth: Index of the true class, shape (N,), each in 0..K-1.
        scores: Probabilities, shape (N, K), rows add up to 1.
        patients: Patient of each row, N names, for the interval.
        classes: Names of the classes, K.
        resamples: Number of bootstrap resamples of the interval.
        seed: Seed of the draws.

    Returns:
        The temperature, from 0.05 to 20, with its interval. It is 1, which leaves scores as they are, without interval
        and with the reason, where these rows show one class only or nothing in this range is best.

    Raises:
        ValueError: If there is no row.

    Example:
        >>> scores = np.array([[0.9, 0.1]] * 6 + [[0.1, 0.9]] * 6)
        >>> truth = np.array([0, 0, 0, 0, 1, 1] + [1, 1, 1, 1, 0, 0])  # right in two of three, but sure to 0.9
        >>> round(fit_temperature(truth, scores, list("abcdefghijkl"), classes=["a", "b"], resamples=20).value, 2)
        3.17

    References:
        Guo et al., "On calibration of modern neural networks", ICML 2017.
    """
    if not len(truth):
        raise ValueError("a temperature needs an image whose class is known")
    logits = _logits(scores)
    apart = logits - logits[np.arange(len(truth)), truth][:, None]  # (N, K): 0 for the true class

    def slopes(inverse: float) -> NDArray[np.float64]:
        """Derivative of each row's log loss by 1 / temperature, shape (N,)."""
        slope: NDArray[np.float64] = (_softmax(logits * inverse) * apart).sum(axis=1)
        return slope

    if len(only := np.unique(truth)) == 1:
        return _unfitted(f"only one class is shown, {listed([classes[only[0]]])}")
    if slopes(1 / LOWEST).mean() <= 0:
        return _unfitted(f"the log loss is least at {LOWEST} or below, as when nearly every image is named rightly")
    if slopes(1 / HIGHEST).mean() >= 0:
        return _unfitted(f"the log loss is least at {HIGHEST:g} or above, as when scores say nothing of the class")
    best = math.exp(-brentq(lambda power: float(slopes(math.exp(power)).mean()), *np.log([1 / HIGHEST, 1 / LOWEST])))

    powers = np.linspace(math.log(1 / HIGHEST), math.log(1 / LOWEST), _GRID)
    table = np.stack([slopes(math.exp(power)) for power in powers.tolist()], axis=1)  # (N, _GRID)

    def refitted(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        found = weights @ table  # (b, _GRID), rising along each row
        # A resample without an optimum in the range takes the end it tends to.
        above = np.where((found > 0).any(axis=1), (found > 0).argmax(axis=1), _GRID - 1)
        below = np.maximum(above - 1, 0)
        left, right = (np.take_along_axis(found, place[:, None], axis=1)[:, 0] for place in (below, above))
        crosses = (left <= 0) & (right > 0)
        part = np.where(crosses, -left / np.where(crosses, right - left, 1.0), 1.0)
        answer: NDArray[np.float64] = np.exp(-(powers[below] + part * (powers[above] - powers[below])))[:, None]
        return answer

    samples = bootstrap(refitted, patients, resamples=resamples, seed=seed)
    return estimates(np.array([best]), samples, [""], len(set(patients)))[0]


def _logits(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logits up to a constant of each row; NaN stays NaN."""
    answer: NDArray[np.float64] = np.log(np.maximum(scores, _FLOOR))
    return answer


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities whose logarithms are these, up to a constant of each row."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    answer: NDArray[np.float64] = raised / raised.sum(axis=1, keepdims=True)
    return answer


def _unfitted(why: str) -> Estimate:
    """Scores stay as they are."""
    return Estimate(1.0, reason=f"scores are left as they are: {why}")

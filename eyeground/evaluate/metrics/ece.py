"""Expected calibration error."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eyeground.evaluate.adding import sums
from eyeground.evaluate.confusion import share

BINS = 15

# Rows drawn twice widen chance gaps between confidence and accuracy, so resamples lie above the data's own value.
# The interval is moved down by the bootstrap's own estimate of that bias (scorecard.py).
BIASED_UPWARD = True


def value(truth: NDArray[np.int64], scores: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean distance between how sure the model is and how often it is right, in 15 equal bins of the top score.

    Args:
        truth: Index of the true class, shape (N,), each in 0..K-1.
        scores: Probabilities, shape (N, K), rows add up to 1.
        weights: How often each row counts, shape (B, N), not negative: ones for the data itself, or bootstrap draws.

    Returns:
        Shape (B,); NaN where no row counts.

    Example:
        >>> p = np.array([0.1, 0.4, 0.35, 0.8])
        >>> value(np.array([0, 0, 1, 1]), np.stack([1 - p, p], axis=1), np.ones((1, 4))).round(4)
        array([0.3375])

    References:
        Guo et al., "On calibration of modern neural networks", ICML 2017.
    """
    sure = scores.max(axis=1)
    right = (scores.argmax(axis=1) == truth).astype(np.float64)
    gaps = sums(weights, bins(sure), places=BINS, values=right - sure)  # (B, BINS)
    return share(np.abs(gaps).sum(axis=1), weights.sum(axis=1))


def bins(sure: NDArray[np.float64]) -> NDArray[np.int64]:
    """Put top scores into bins (0, 1/15], (1/15, 2/15], ..., (14/15, 1].

    Args:
        sure: Largest score of each row, shape (N,), each in [0, 1].

    Returns:
        Index of the bin, shape (N,), each in 0..14.

    Example:
        >>> bins(np.array([1 / 15, 0.5, 1.0])).tolist()
        [0, 7, 14]

    References:
        Guo et al., "On calibration of modern neural networks", ICML 2017.
    """
    return np.clip(np.ceil(sure * BINS).astype(np.int64) - 1, 0, BINS - 1)


def reason(truth: NDArray[np.int64], scores: NDArray[np.float64], classes: Sequence[str] = ()) -> str | None:
    """Say why the value on the data itself is undefined.

    Args:
        truth: Index of the true class, shape (N,), each in 0..K-1.
        scores: Probabilities, shape (N, K).
        classes: Names of the classes for the sentence; without them the index is named.

    Returns:
        A sentence, or None when the value is defined.

    Example:
        >>> reason(np.zeros(0, np.int64), np.zeros((0, 2)))
        'there is no row'

    References:
        Our own.
    """
    return None if len(truth) else "there is no row"

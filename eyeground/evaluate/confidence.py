"""How sure a number is: the bootstrap over patients."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# A chunk of (resamples, rows) weights of this many entries, 2 MiB, stays in a core's cache.
_CHUNK_ENTRIES = 2**18


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval, or the reason why there is none.

    Args:
        value: The number on the data itself; NaN when undefined.
        low: Lower end of the interval; NaN when there is none.
        high: Upper end of the interval; NaN when there is none.
        reason: Why the value or the interval is missing; empty when both are there.

    Example:
        >>> Estimate(0.9, 0.8, 0.95).to_json()
        {'value': 0.9, 'low': 0.8, 'high': 0.95}
        >>> Estimate(float("nan"), reason="class 'drusen' is absent").to_json()
        {'value': None, 'reason': "class 'drusen' is absent"}

    References:
        Our own.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    reason: str = ""

    @property
    def defined(self) -> bool:
        """Whether there is a value."""
        return math.isfinite(self.value)

    @property
    def has_interval(self) -> bool:
        """Whether both ends of the interval are known."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def to_json(self) -> dict[str, float | str | None]:
        """Plain values for strict JSON: None, never NaN."""
        if not self.defined:
            return {"value": None, "reason": self.reason}
        if not self.has_interval:
            return {"value": self.value, "low": None, "high": None, "reason": self.reason}
        return {"value": self.value, "low": self.low, "high": self.high}


def weights(patients: Sequence[str], resamples: int = 2000, seed: int = 0) -> NDArray[np.float64]:
    """Draw patients with replacement; every image of a patient comes as often as the patient.

    Images of one patient resemble each other. Drawing images one by one would count them as independent and make every
    interval too narrow.

    Args:
        patients: Patient of each row, N names.
        resamples: Number of draws B.
        seed: Seed of the draws; equal seeds give equal draws.

    Returns:
        How often each row was drawn, shape (B, N).

    Example:
        >>> drawn = weights(["a", "a", "b"], resamples=4)
        >>> drawn.shape, bool((drawn[:, 0] == drawn[:, 1]).all())
        ((4, 3), True)

    References:
        Field & Welsh, "Bootstrapping clustered data", J R Stat Soc B 2007;69:369.
    """
    return np.concatenate(list(chunks(patients, resamples, seed)) or [np.zeros((0, len(patients)))])


def chunks(patients: Sequence[str], resamples: int = 2000, seed: int = 0) -> Iterator[NDArray[np.float64]]:
    """Draw the same weights as ``weights``, a few resamples at a time, so that memory stays flat.

    Args:
        patients: Patient of each row, N names.
        resamples: Number of draws B in all.
        seed: Seed of the draws.

    Yields:
        Weights, shape (b, N); the b add up to B.

    Example:
        >>> sum(len(chunk) for chunk in chunks(["a", "b"], resamples=600))
        600

    References:
        Our own.
    """
    groups, group_of_row = np.unique(np.asarray(patients, dtype=object), return_inverse=True)
    count = len(groups)
    size = max(8, min(256, _CHUNK_ENTRIES // max(1, len(patients))))
    draws = np.random.default_rng(seed)
    for start in range(0, resamples if count else 0, size):
        rows = min(size, resamples - start)
        # Cells are filled row by row from one stream, so the chunk size does not change a draw.
        drawn = draws.integers(0, count, size=(rows, count)) + np.arange(rows)[:, None] * count
        times = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        yield times[:, group_of_row].astype(np.float64)


def bootstrap(
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    patients: Sequence[str],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Compute statistics on every resample.

    Args:
        statistic: Takes weights (b, N), gives M numbers per resample, shape (b, M), NaN where undefined.
        patients: Patient of each row, N names, at least one.
        resamples: Number of draws B, at least 1.
        seed: Seed of the draws.

    Returns:
        Shape (B, M).

    Raises:
        ValueError: If there is no row or no resample.

    Example:
        >>> bootstrap(lambda w: w @ np.array([[0.0], [1.0]]), ["a", "b"], resamples=5).shape
        (5, 1)

    References:
        Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    if not len(patients) or resamples < 1:
        raise ValueError(f"a bootstrap needs a row and a resample, got {len(patients)} rows and {resamples} resamples")
    return np.concatenate([statistic(chunk) for chunk in chunks(patients, resamples, seed)])


def interval(samples: NDArray[np.float64], level: float = 0.95) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cut equal tails off the resampled values (percentile interval).

    Resamples in which a statistic is undefined are left out; with fewer than half of them left there is no interval.

    Args:
        samples: Resampled values, shape (B, M), NaN where undefined.
        level: Share of resamples inside. Unit: fraction, (0, 1).

    Returns:
        Lower and upper ends, shape (M,) each; NaN where there is no interval.

    Example:
        >>> low, high = interval(np.linspace(0, 1, 101)[:, None], level=0.9)
        >>> low.round(3), high.round(3)
        (array([0.05]), array([0.95]))

    References:
        Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    ordered = np.sort(samples, axis=0)  # NaN goes last
    known = np.isfinite(samples).sum(axis=0)
    enough = known * 2 >= max(2, len(samples))
    ends = []
    for tail in ((1 - level) / 2, (1 + level) / 2):
        place = tail * np.maximum(known - 1, 0)
        below = np.floor(place).astype(np.int64)
        above = np.minimum(below + 1, np.maximum(known - 1, 0))
        left = np.take_along_axis(ordered, below[None], axis=0)[0]
        right = np.take_along_axis(ordered, above[None], axis=0)[0]
        ends.append(np.where(enough, left + (place - below) * (right - left), np.nan))
    return ends[0], ends[1]


def partial(truth: NDArray[np.int64], matrices: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Find the resamples that leave out a class which the data has; macro averages run over fewer classes there.

    Args:
        truth: Index of the true class, shape (N,), each in 0..K-1.
        matrices: Confusion matrices of the resamples, shape (B, K, K): [b, true class, predicted class].

    Returns:
        Shape (B,).

    Example:
        >>> partial(np.array([0, 1]), np.array([[[1.0, 0.0], [0.0, 1.0]], [[2.0, 0.0], [0.0, 0.0]]]))
        array([False,  True])

    References:
        Our own.
    """
    there = np.bincount(truth, minlength=matrices.shape[1]) > 0
    return np.asarray((matrices.sum(axis=2) == 0)[:, there].any(axis=1))


def estimates(
    point: NDArray[np.float64], samples: NDArray[np.float64], reasons: Sequence[str], patients: int
) -> list[Estimate]:
    """Join values, intervals and reasons.

    Args:
        point: Values on the data itself, shape (M,).
        samples: Resampled values, shape (B, M).
        reasons: Why each value is undefined, M sentences; used only where it is.
        patients: Number of distinct patients; below 2 there is nothing to resample, hence no interval.

    Returns:
        M estimates.

    Example:
        >>> estimates(np.array([0.5]), np.full((4, 1), 0.5), [""], patients=1)[0].reason
        'no interval: only 1 patient'

    References:
        Our own.
    """
    low, high = interval(samples) if patients > 1 else (np.full(len(point), np.nan), np.full(len(point), np.nan))
    answers = []
    for value, start, end, reason in zip(point.tolist(), low.tolist(), high.tolist(), reasons, strict=True):
        if not math.isfinite(value):
            answers.append(Estimate(math.nan, reason=reason or "undefined on these rows"))
        elif patients < 2:
            answers.append(Estimate(value, reason=f"no interval: only {patients} patient"))
        elif not math.isfinite(start):
            answers.append(Estimate(value, reason="no interval: undefined in most resamples"))
        else:
            answers.append(Estimate(value, start, end))
    return answers

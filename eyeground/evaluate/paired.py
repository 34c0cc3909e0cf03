"""Is one model better than another on the same images? Paired tests, and their correction for many pairs."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eyeground.evaluate import resampled
from eyeground.evaluate.confidence import bootstrap, interval
from eyeground.evaluate.predictions import Predictions
from eyeground.pick import pick


class PairedTest(NamedTuple):
    """A difference between two models with what a test says of it.

    Args:
        difference: First model minus second; NaN when undefined.
        low: Lower end of the 95% interval; NaN when there is none.
        high: Upper end; NaN when there is none.
        p: Two-sided p value; NaN when there is none, never 0 where it is estimated by resampling.
        patients: Number of distinct patients, or of rows where patients were not given.
        reason: Why something is missing; empty when all is there.

    Example:
        >>> PairedTest(0.03, 0.01, 0.05, 0.004, 120).p
        0.004

    References:
        Our own.
    """

    difference: float
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    patients: int = 0
    reason: str = ""


class McNemar(NamedTuple):
    """What McNemar's test finds.

    Args:
        b: Rows that only the first model gets right.
        c: Rows that only the second model gets right.
        difference: Accuracy of the first minus accuracy of the second; NaN without rows.
        p: Exact two-sided p value; NaN without rows.

    Example:
        >>> McNemar(5, 1, 0.04, 0.21875).b
        5

    References:
        McNemar, Psychometrika 1947;12:153.
    """

    b: int
    c: int
    difference: float
    p: float


def paired_bootstrap(
    a: Sequence[Predictions],
    b: Sequence[Predictions],
    *,
    metric: str = "auroc_macro",
    resamples: int = 2000,
    seed: int = 0,
) -> PairedTest:
    """Compare two models by drawing the same patients for both, again and again.

    The metric is averaged over the seeds of a model within each resample. The interval is the percentile interval of
    the differences d*; p = 2 (min(#{d* <= 0}, #{d* >= 0}) + 1) / (B + 1), at most 1, over the B resamples in which the
    difference is defined: it falls below 0.05 where the interval leaves 0 out, and is never below 2 / (B + 1).

    Args:
        a: Predictions of the first model, one table per seed.
        b: Predictions of the second, on the same rows; it may have another number of seeds.
        metric: File in ``evaluate/metrics``.
        resamples: Number of draws B, at least 1.
        seed: Seed of the draws.

    Returns:
        The difference a - b; NaN with the reason where a value, the interval or p is undefined.

    Raises:
        ValueError: If a list is empty, or the tables are not about the same labelled rows in the same order.
        LookupError: If the shelf has no such metric.

    Example:
        >>> p = np.array([0.1, 0.4, 0.35, 0.8])
        >>> table = Predictions(("a", "b", "c", "d"), ("a", "b", "c", "d"), ("",) * 4, ("",) * 4, ("",) * 4,
        ...                     np.array([0, 0, 1, 1]), np.stack([1 - p, p], axis=1), ("normal", "cataract"), False,
        ...                     True, ("",) * 4)
        >>> paired_bootstrap([table], [table], resamples=50)
        PairedTest(difference=0.0, low=0.0, high=0.0, p=1.0, patients=4, reason='')

    References:
        Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 and 15; Davison & Hinkley, Bootstrap
        Methods and their Application, 1997, chapter 4 (the added ones).
    """
    if not a or not b:
        raise ValueError("each model needs the predictions of at least one seed")
    first, tables = a[0], [*a, *b]
    same_rows(tables)

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([resampled.value(metric, table, weights) for table in tables], axis=1)

    once = statistic(np.ones((1, len(first))))[0]
    samples = bootstrap(statistic, first.patients, resamples=resamples, seed=seed)
    samples = centered(metric, once, samples)
    cut = len(a)
    reason = next((why for why in (resampled.reason(metric, table) for table in tables) if why), "")
    return paired_difference(
        float(once[:cut].mean() - once[cut:].mean()),
        samples[:, :cut].mean(axis=1) - samples[:, cut:].mean(axis=1),
        patients=len(set(first.patients)),
        reason=reason,
    )


def paired_difference(
    difference: float, samples: NDArray[np.float64], *, patients: int, reason: str = ""
) -> PairedTest:
    """Judge a difference by its resampled values, as ``paired_bootstrap`` does.

    Args:
        difference: On the data itself; NaN when undefined.
        samples: Resampled differences, shape (B,), NaN where undefined.
        patients: Number of distinct patients; below 2 there is nothing to resample.
        reason: Why the difference would be undefined.

    Returns:
        The test.

    Example:
        >>> paired_difference(0.1, np.full(99, 0.1), patients=5).p
        0.02

    References:
        Davison & Hinkley, Bootstrap Methods and their Application, 1997, chapter 4.
    """
    if not math.isfinite(difference):
        return PairedTest(math.nan, patients=patients, reason=reason or "undefined on these rows")
    if patients < 2:
        return PairedTest(difference, patients=patients, reason=f"no test: only {patients} patient")
    low, high = interval(samples[:, None])
    if not np.isfinite(low[0]):
        return PairedTest(difference, patients=patients, reason="no test: undefined in most resamples")
    known = samples[np.isfinite(samples)]
    fewer = min(int((known <= 0).sum()), int((known >= 0).sum()))
    p = min(1.0, 2 * (fewer + 1) / (len(known) + 1))
    return PairedTest(difference, float(low[0]), float(high[0]), p, patients)


def centered(metric: str, once: NDArray[np.float64], samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take the bias of resampling out of a metric that has one (the calibration error), as the scorecard does.

    Args:
        metric: File in ``evaluate/metrics``.
        once: Values on the data itself, shape (M,).
        samples: Resampled values, shape (B, M).

    Returns:
        Shape (B, M): the samples themselves, or moved so that their medians are the values.

    Example:
        >>> centered("ece", np.array([0.1]), np.array([[0.2], [0.3]])).round(2).tolist()
        [[0.05], [0.15]]

    References:
        Our own.
    """
    if not getattr(pick("evaluate.metrics", metric), "BIASED_UPWARD", False):
        return samples
    return np.maximum(samples - (np.median(samples, axis=0) - once), 0)


def mcnemar(truth: NDArray[np.int64], said_a: NDArray[np.int64], said_b: NDArray[np.int64]) -> McNemar:
    """Compare two accuracies by the rows on which only one model is right (exact binomial test).

    Rows count as independent: where patients have several, p is too small.

    Args:
        truth: Index of the true class, shape (N,).
        said_a: Class that the first model says, shape (N,).
        said_b: Class that the second says, shape (N,).

    Returns:
        Counts, difference and p; p is 1 where the models are right on the same rows.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> mcnemar(np.array([0, 1, 1, 0]), np.array([0, 1, 1, 1]), np.array([1, 1, 0, 1]))
        McNemar(b=2, c=0, difference=0.5, p=0.5)

    References:
        McNemar, Psychometrika 1947;12:153.
    """
    if not truth.shape == said_a.shape == said_b.shape:
        raise ValueError(f"shapes differ: truth {truth.shape}, said {said_a.shape} and {said_b.shape}")
    if not len(truth):
        return McNemar(0, 0, math.nan, math.nan)
    right_a, right_b = said_a == truth, said_b == truth
    b, c = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    ways = tail = 1  # how many of the 2^(b + c) outcomes have k on the rarer side; whole numbers, so nothing is rounded
    for k in range(1, min(b, c) + 1):
        ways = ways * (b + c - k + 1) // k
        tail += ways
    return McNemar(b, c, (b - c) / len(truth), min(1.0, 2 * tail / 2 ** (b + c)))


def majority(tables: Sequence[Predictions]) -> NDArray[np.int64]:
    """Let the seeds of a model vote on the class of each row.

    Args:
        tables: Predictions, one table per seed, on the same rows.

    Returns:
        The class that most seeds say, shape (N,); of equally many votes, the larger mean score wins.

    Example:
        >>> tables = [Predictions(("a",), ("p",), ("",), ("",), ("",), np.array([0]), np.array([[p, 1 - p]]),
        ...                       ("normal", "cataract"), False, True, ("",)) for p in (0.1, 0.6, 0.7)]
        >>> majority(tables).tolist(), majority(tables[:2]).tolist()
        ([0], [1])

    References:
        Our own.
    """
    votes = np.sum([np.eye(len(table.classes))[table.said] for table in tables], axis=0)  # (N, K)
    # Mean scores are hardly above 1 and votes are whole: half a mean score never outweighs a vote.
    best: NDArray[np.int64] = (votes + np.mean([table.scores for table in tables], axis=0) / 2).argmax(axis=1)
    return best


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p values so that the chance of any false finding among them stays below the level (Holm's step-down).

    Args:
        p_values: Each in [0, 1], or NaN where there is no test; a NaN is not counted.

    Returns:
        Adjusted values in the same order; NaN stays NaN.

    Raises:
        ValueError: If a value is outside [0, 1].

    Example:
        >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03, float("nan")])]
        [0.03, 0.06, 0.06, nan]

    References:
        Holm, "A simple sequentially rejective multiple test procedure", Scand J Stat 1979;6:65.
    """
    given = np.asarray(p_values, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(given))
    if ((given[known] < 0) | (given[known] > 1)).any():
        raise ValueError("a p value is outside [0, 1]")
    order = known[np.argsort(given[known], kind="stable")]
    steps = given[order] * np.arange(len(order), 0, -1)
    adjusted = np.full(len(given), np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    answer: list[float] = adjusted.tolist()
    return answer


def same_rows(tables: Sequence[Predictions]) -> None:
    """Refuse tables that are not about the same labelled rows in the same order.

    Args:
        tables: At least one table.

    Raises:
        ValueError: If files, patients, truth or classes differ, or a truth is not known.

    Example:
        >>> table = Predictions(("a",), ("p",), ("",), ("",), ("",), np.array([0]), np.array([[0.9, 0.1]]),
        ...                     ("normal", "cataract"), False, True, ("",))
        >>> same_rows([table, table])

    References:
        Our own.
    """
    first = tables[0]
    wrong = {
        name
        for table in tables
        for name in ("files", "patients", "classes")
        if getattr(table, name) != getattr(first, name)
    }
    wrong |= {"truth" for table in tables if not np.array_equal(table.truth, first.truth)}
    if wrong:
        raise ValueError(f"a paired test needs the same rows in the same order, but {', '.join(sorted(wrong))} differ")
    if not first.labelled.all():
        raise ValueError("a row has no known truth; leave such rows out before comparing")

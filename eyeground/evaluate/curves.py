"""The points behind the pictures: ROC, precision-recall and reliability, with their bands."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eyeground.evaluate.confidence import bootstrap, interval
from eyeground.evaluate.confusion import share
from eyeground.evaluate.metrics import ece

_GRID = np.linspace(0, 1, 51)


@dataclass(frozen=True, eq=False)
class Curve:
    """A curve with its 95% band.

    Args:
        x: Shape (P,): 1 - specificity of a ROC curve, recall of a precision-recall curve. Not decreasing.
        y: Shape (P,): sensitivity, or precision.
        grid: Where the band is known, shape (G,).
        low: Lower edge of the band, shape (G,); NaN where there is none.
        high: Upper edge of the band, shape (G,); NaN where there is none.

    Example:
        >>> Curve(np.array([0.0, 1.0]), np.array([0.0, 1.0]), _GRID, _GRID, _GRID).y.max()
        np.float64(1.0)

    References:
        Our own.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    grid: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Reliability:
    """How often the model is right when it is so sure.

    Args:
        edges: Edges of the bins, shape (BINS + 1,).
        count: Images in each bin, shape (BINS,).
        confidence: Mean top score in each bin, shape (BINS,), NaN where empty.
        accuracy: Share of right answers in each bin, shape (BINS,), NaN where empty.
        low: Lower end of the 95% interval of the accuracy, shape (BINS,), NaN where there is none.
        high: Upper end, shape (BINS,), NaN where there is none.

    Example:
        >>> sure = np.array([[0.9, 0.1], [0.2, 0.8]])
        >>> reliability(np.array([0, 1]), sure, ["a", "b"], resamples=20).count.sum()
        np.int64(2)

    References:
        Guo et al., "On calibration of modern neural networks", ICML 2017.
    """

    edges: NDArray[np.float64]
    count: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def roc(
    positive: NDArray[np.bool_],
    score: NDArray[np.float64],
    patients: Sequence[str],
    *,
    resamples: int = 500,
    seed: int = 0,
) -> Curve | None:
    """Draw the ROC curve of one class against the rest.

    The band is pointwise: the 95% interval of the sensitivity at each false-positive rate.

    Args:
        positive: Truth, shape (N,).
        score: Score of the class, shape (N,).
        patients: Patient of each row, N names, for the band.
        resamples: Number of bootstrap resamples of the band; fewer than for numbers, since it is only looked at.
        seed: Seed of the draws.

    Returns:
        The curve from (0, 0) to (1, 1), or None when the class, or everything else, is absent.

    Example:
        >>> curve = roc(np.array([False, True]), np.array([0.1, 0.9]), ["a", "b"], resamples=20)
        >>> curve.x.tolist(), curve.y.tolist()
        ([0.0, 0.0, 1.0], [0.0, 1.0, 1.0])

    References:
        Hanley & McNeil, "The meaning and use of the area under a ROC curve", Radiology 1982;143:29.
    """
    if not positive.any() or positive.all():
        return None
    order, last = _thresholds(score)
    hit = positive[order].astype(np.float64)

    def points(weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        ordered = weights[:, order]
        start = np.zeros((len(weights), 1))
        found = np.hstack([start, np.cumsum(ordered * hit, axis=1)[:, last]])
        alarms = np.hstack([start, np.cumsum(ordered * (1 - hit), axis=1)[:, last]])
        return alarms, found

    def along(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        answer = np.full((len(weights), len(_GRID)), np.nan)
        for row, (alarms, found) in enumerate(zip(*points(weights), strict=True)):
            if alarms[-1] > 0 and found[-1] > 0:
                # The last of equal alarms is the top of a vertical step.
                top = np.append(alarms[1:] != alarms[:-1], True)
                answer[row] = np.interp(_GRID, alarms[top] / alarms[-1], found[top] / found[-1])
        return answer

    alarms, found = (line[0] for line in points(np.ones((1, len(score)))))
    low, high = _band(along, patients, resamples, seed)
    return Curve(alarms / alarms[-1], found / found[-1], _GRID, low, high)


def precision_recall(
    positive: NDArray[np.bool_],
    score: NDArray[np.float64],
    patients: Sequence[str],
    *,
    resamples: int = 500,
    seed: int = 0,
) -> Curve | None:
    """Draw the precision-recall curve of one class against the rest.

    The band is pointwise: the 95% interval of the precision at the threshold that reaches each recall.

    Args:
        positive: Truth, shape (N,).
        score: Score of the class, shape (N,).
        patients: Patient of each row, N names, for the band.
        resamples: Number of bootstrap resamples of the band.
        seed: Seed of the draws.

    Returns:
        The curve by rising recall, or None when the class, or everything else, is absent.

    Example:
        >>> curve = precision_recall(np.array([False, True]), np.array([0.1, 0.9]), ["a", "b"], resamples=20)
        >>> curve.x.tolist(), curve.y.tolist()
        ([0.0, 1.0, 1.0], [1.0, 1.0, 0.5])

    References:
        Davis & Goadrich, "The relationship between precision-recall and ROC curves", ICML 2006.
    """
    if not positive.any() or positive.all():
        return None
    order, last = _thresholds(score)
    hit = positive[order].astype(np.float64)

    def points(weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        ordered = weights[:, order]
        found = np.cumsum(ordered * hit, axis=1)[:, last]
        return found, share(found, np.cumsum(ordered, axis=1)[:, last])

    def along(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        answer = np.full((len(weights), len(_GRID)), np.nan)
        for row, (found, precision) in enumerate(zip(*points(weights), strict=True)):
            if found[-1] > 0:
                answer[row] = precision[np.searchsorted(found, np.maximum(_GRID * found[-1], 1e-9))]
        return answer

    found, precision = (line[0] for line in points(np.ones((1, len(score)))))
    low, high = _band(along, patients, resamples, seed)
    recall = np.append(0.0, found / found[-1])
    return Curve(recall, np.append(precision[0], precision), _GRID, low, high)


def reliability(
    truth: NDArray[np.int64],
    scores: NDArray[np.float64],
    patients: Sequence[str],
    *,
    resamples: int = 500,
    seed: int = 0,
) -> Reliability:
    """Compare how sure the model is with how often it is right, in the bins of ``metrics.ece``.

    Args:
        truth: Index of the true class, shape (N,).
        scores: Probabilities, shape (N, K).
        patients: Patient of each row, N names, for the intervals.
        resamples: Number of bootstrap resamples of the intervals.
        seed: Seed of the draws.

    Returns:
        The bins.

    Example:
        >>> found = reliability(np.array([0, 0]), np.array([[0.99, 0.01], [0.99, 0.01]]), ["a", "b"], resamples=20)
        >>> found.count[-1], found.accuracy[-1]
        (np.int64(2), np.float64(1.0))

    References:
        Guo et al., "On calibration of modern neural networks", ICML 2017.
    """
    sure = scores.max(axis=1)
    inside = (ece.bins(sure)[:, None] == np.arange(ece.BINS)).astype(np.float64)  # (N, BINS)
    right = inside * (scores.argmax(axis=1) == truth)[:, None]

    def accuracy(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return share(weights @ right, weights @ inside)

    low, high = _band(accuracy, patients, resamples, seed)
    once = np.ones((1, len(truth)))
    return Reliability(
        np.linspace(0, 1, ece.BINS + 1),
        inside.sum(axis=0).astype(np.int64),
        share(sure @ inside, inside.sum(axis=0)),
        accuracy(once)[0],
        low,
        high,
    )


def _thresholds(score: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Order from the highest score down, and the last row of each tie."""
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    return order, np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))


def _band(
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]], patients: Sequence[str], resamples: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pointwise 95% interval; none with a single patient."""
    low, high = interval(bootstrap(statistic, patients, resamples=resamples, seed=seed))
    if len(set(patients)) < 2:
        return np.full_like(low, np.nan), np.full_like(high, np.nan)
    return low, high

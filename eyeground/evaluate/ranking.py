"""How well scores order the rows: AUROC and average precision of every class in every resample at once."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eyeground.evaluate.confusion import share


class Ranking(NamedTuple):
    """Weights at the thresholds where a class gains positives, from the highest score down.

    Args:
        positive_here: Weight of the positives whose score equals the threshold, shape (G, B).
        positive_above: Weight of the positives at or above the threshold, shape (G, B).
        all_here: Weight of all rows whose score equals the threshold, shape (G, B).
        all_above: Weight of all rows at or above the threshold, shape (G, B).
        total: Weight of all rows, shape (B,).

    Example:
        >>> rank(np.array([True, False]), np.array([0.9, 0.4]), np.ones((2, 1))).all_above
        array([[1.]])

    References:
        Our own.
    """

    positive_here: NDArray[np.float64]
    positive_above: NDArray[np.float64]
    all_here: NDArray[np.float64]
    all_above: NDArray[np.float64]
    total: NDArray[np.float64]


def rank(positive: NDArray[np.bool_], score: NDArray[np.float64], columns: NDArray[np.float64]) -> Ranking:
    """Sum weights from the highest score down; rows with equal scores enter together.

    Args:
        positive: Truth, shape (N,).
        score: Score of the class, shape (N,), no NaN.
        columns: Weights with the resamples last, shape (N, B): each row is then one contiguous vector.

    Returns:
        The sums at the G thresholds that hold a positive; at the others neither AUROC nor average precision changes.

    Example:
        >>> rank(np.array([True, False]), np.array([0.4, 0.4]), np.ones((2, 1))).all_here
        array([[2.]])

    References:
        Our own.
    """
    order = np.argsort(-score, kind="stable")
    ordered, hit = score[order], positive[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)) if len(order) else np.zeros(0, np.int64)
    group = np.searchsorted(last, np.arange(len(order)))  # (N,) which tie each row belongs to
    held, first = np.unique(group[hit], return_index=True)
    if not len(held):
        empty = np.zeros((0, columns.shape[1]))
        return Ranking(empty, empty, empty, empty, columns.sum(axis=0))
    positive_here = np.add.reduceat(columns[order[hit]], first, axis=0)  # (G, B)
    # Segments between thresholds: the tie itself, and the stretch of negatives before it.
    starts = np.where(held > 0, last[held - 1] + 1, 0)
    cuts = np.unique(np.concatenate([[0], starts, last[held] + 1]))
    cuts = cuts[cuts < len(order)]
    segments = np.add.reduceat(columns[order], cuts, axis=0)
    above = np.cumsum(segments, axis=0)
    tie = np.searchsorted(cuts, starts)
    return Ranking(positive_here, np.cumsum(positive_here, axis=0), segments[tie], above[tie], columns.sum(axis=0))


def auroc(truth: NDArray[np.int64], scores: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area under the ROC curve of each class against all others.

    The chance that a row of the class scores above a row of another, a tie counting one half.

    Args:
        truth: Index of the true class, shape (N,), each in 0..K-1.
        scores: Probabilities, shape (N, K), no NaN.
        weights: How often each row counts, shape (B, N), not negative.

    Returns:
        Shape (B, K); NaN where the class, or everything else, is absent.

    Example:
        >>> p = np.array([0.1, 0.4, 0.35, 0.8])
        >>> auroc(np.array([0, 0, 1, 1]), np.stack([1 - p, p], axis=1), np.ones((1, 4)))
        array([[0.75, 0.75]])

    References:
        Hanley & McNeil, "The meaning and use of the area under a ROC curve", Radiology 1982;143:29.
    """
    columns = np.ascontiguousarray(weights.T)
    areas = np.full((len(weights), scores.shape[1]), np.nan)
    for label in range(scores.shape[1]):
        ranked = rank(truth == label, scores[:, label], columns)
        if not len(ranked.positive_here):
            continue
        positives = ranked.positive_above[-1]
        negatives = ranked.total - positives
        negative_here = ranked.all_here - ranked.positive_here
        below = negatives - (ranked.all_above - ranked.positive_above)  # (G, B) negatives with a lower score
        wins = (ranked.positive_here * (below + negative_here / 2)).sum(axis=0)
        areas[:, label] = share(wins, positives * negatives)
    return areas


def average_precision(
    truth: NDArray[np.int64], scores: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Average precision of each class against all others: precision at every threshold, weighted by the recall it adds.

    Nothing is interpolated between thresholds.

    Args:
        truth: Index of the true class, shape (N,), each in 0..K-1.
        scores: Probabilities, shape (N, K), no NaN.
        weights: How often each row counts, shape (B, N), not negative.

    Returns:
        Shape (B, K); NaN where the class is absent.

    Example:
        >>> p = np.array([0.1, 0.4, 0.35, 0.8])
        >>> average_precision(np.array([0, 0, 1, 1]), np.stack([1 - p, p], axis=1), np.ones((1, 4))).round(4)
        array([[0.8333, 0.8333]])

    References:
        Davis & Goadrich, "The relationship between precision-recall and ROC curves", ICML 2006.
    """
    columns = np.ascontiguousarray(weights.T)
    areas = np.full((len(weights), scores.shape[1]), np.nan)
    for label in range(scores.shape[1]):
        ranked = rank(truth == label, scores[:, label], columns)
        if not len(ranked.positive_here):
            continue
        precision = np.nan_to_num(share(ranked.positive_above, ranked.all_above))  # no weight yet: nothing is added
        areas[:, label] = share((ranked.positive_here * precision).sum(axis=0), ranked.positive_above[-1])
    return areas

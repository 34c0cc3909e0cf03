"""How well scores order the rows: AUROC and average precision of every class in every resample at once."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from eyeground.evaluate.adding import adder
from eyeground.evaluate.confusion import share


class Ranks:
    """The order in which each class ranks the rows: found once, it serves any number of resamples.

    A threshold is a score that a row of the class has; at the others neither AUROC nor average precision changes. What
    each threshold adds is a sum over rows, hence one product of a sparse matrix of zeros and ones with the weights.

    Args:
        truth: Index of the true class, shape (N,).
        scores: Scores of the classes 0..K-1, shape (N, K), no NaN.

    Example:
        >>> p = np.array([0.1, 0.4, 0.35, 0.8])
        >>> ranks = Ranks(np.array([0, 0, 1, 1]), np.stack([1 - p, p], axis=1))
        >>> [area.round(4).tolist() for area in ranks.areas(np.ones((1, 4)))]
        [[[0.75, 0.75]], [[0.8333, 0.8333]]]

    References:
        Our own.
    """

    def __init__(self, truth: NDArray[np.int64], scores: NDArray[np.float64]) -> None:
        rows, steps, hits, ties, self._parts = [], [], [], [], [0]
        for label, score in enumerate(scores.T):
            order = np.argsort(-score, kind="stable")
            ordered, hit = score[order], truth[order] == label
            # Thresholds from the highest down; rows with equal scores enter together.
            levels = ordered[hit][np.append(True, np.diff(ordered[hit]) != 0)] if hit.any() else ordered[:0]
            step = np.searchsorted(-levels, -ordered, side="left")  # (N,) at which threshold each row has entered
            level = np.append(levels, np.nan)[step]
            rows.append(order)
            steps.append(np.where(step < len(levels), step + self._parts[-1], -1))
            hits.append(hit)
            ties.append((ordered == level) & ~hit)
            self._parts.append(self._parts[-1] + len(levels))
        place, row = np.concatenate([*steps, [-1]]), np.concatenate([*rows, [0]])
        hit, tie = np.concatenate([*hits, [False]]), np.concatenate([*ties, [False]])
        self._all, self._positive, self._tied = (
            adder(place[some], row[some], shape=(self._parts[-1], len(truth))) for some in (place >= 0, hit, tie)
        )

    def areas(self, weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Compute ``auroc`` and ``average_precision`` together.

        Args:
            weights: How often each row counts, shape (B, N), not negative.

        Returns:
            Both of shape (B, K), as the two functions give them.
        """
        columns = np.ascontiguousarray(weights.T)  # the resamples last: each row is then one contiguous vector
        total = columns.sum(axis=0)
        entered, positive = self._all @ columns, self._positive @ columns  # (thresholds of all classes, B)
        tied = self._tied @ columns if self._tied.nnz else None
        areas, averages = (np.full((len(self._parts) - 1, len(weights)), np.nan) for _ in range(2))
        for label, (start, end) in enumerate(pairwise(self._parts)):
            if start == end:
                continue
            here = positive[start:end]
            positive_above, all_above = np.cumsum(here, axis=0), np.cumsum(entered[start:end], axis=0)  # (G, B)
            positives = positive_above[-1]
            negatives = total - positives
            below = negatives - all_above + positive_above  # negatives with a lower score
            if tied is not None:
                below += tied[start:end] / 2
            areas[label] = share(np.einsum("gb,gb->b", here, below), positives * negatives)
            # No weight yet: nothing is added.
            precision = np.divide(positive_above, all_above, out=np.zeros(here.shape), where=all_above > 0)
            averages[label] = share(np.einsum("gb,gb->b", here, precision), positives)
        return areas.T, averages.T


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
    return Ranks(truth, scores).areas(weights)[0]


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
    return Ranks(truth, scores).areas(weights)[1]

"""Several yes/no answers taken as one: exact match, Hamming loss, micro F1, label ranking, and which go together."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eyeground.evaluate import averaging
from eyeground.evaluate.confusion import share
from eyeground.evaluate.wording import listed

METRICS = ("exact_match", "hamming_loss", "f1_micro", "f1_macro", "f1_macro_present", "lrap")


def values(truth: NDArray[np.bool_], scores: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Measure rows whose labels are all known, on every resample at once.

    A label is said where its score is above 0.5. The label ranking average precision runs over the rows with a
    positive label: without one there is nothing to rank first, and counting such a row as right would flatter.

    Args:
        truth: Labels, shape (N, H), all known.
        scores: Probability of each label, shape (N, H).
        weights: How often each row counts, shape (B, N), not negative.

    Returns:
        Shape (B, 6) in the order of ``METRICS``; NaN where undefined.

    Example:
        >>> truth = np.array([[True, False], [False, False]])
        >>> scores = np.array([[0.9, 0.2], [0.1, 0.7]])
        >>> dict(zip(METRICS, values(truth, scores, np.ones((1, 2)))[0].round(3).tolist()))["hamming_loss"]
        0.25

    References:
        Tsoumakas et al., "Mining multi-label data", in Data Mining and Knowledge Discovery Handbook, 2010.
    """
    said = scores > 0.5
    wrong = said != truth
    total = weights.sum(axis=1)
    hits = weights @ (said & truth)  # (B, H)
    either = weights @ (said.astype(np.float64) + truth)
    positives = weights @ truth
    alone = np.where(positives > 0, share(2 * hits, either), np.nan)
    ranked = truth.any(axis=1)
    anywhere = positives.sum(axis=1) > 0
    return np.stack(
        [
            share(weights @ ~wrong.any(axis=1), total),
            share(weights @ wrong.mean(axis=1), total),
            np.where(anywhere, share(2 * hits.sum(axis=1), either.sum(axis=1)), np.nan),
            averaging.macro(alone, np.any(truth, axis=0)),
            averaging.present(alone),
            share(weights @ np.where(ranked, _ranking(truth, scores), 0.0), weights @ ranked),
        ],
        axis=1,
    )


def reasons_undefined(truth: NDArray[np.bool_], names: Sequence[str]) -> list[str]:
    """Say why each measure would be undefined on the data itself.

    Args:
        truth: Labels, shape (N, H), all known.
        names: Name of each label, H.

    Returns:
        A sentence per key of ``METRICS``, empty where the measure is defined.

    Example:
        >>> reasons_undefined(np.array([[True, False]]), ("AMD", "DR"))[3]
        "no image with all labels known shows 'DR'"

    References:
        Our own.
    """
    if not len(truth):
        return ["no image has all labels known"] * len(METRICS)
    missing = [names[label] for label in np.flatnonzero(~np.any(truth, axis=0)).tolist()]
    lacking = f"no image with all labels known shows {listed(missing)}" if missing else ""
    nothing = lacking if len(missing) == len(names) else ""
    return ["", "", nothing, lacking, nothing, nothing]


def together(truth: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count which labels are seen in the same images.

    Args:
        truth: Labels, shape (N, H): 1 = yes, 0 = no, -1 = not known.

    Returns:
        Images with both labels, shape (H, H), the diagonal holding each label alone; and for each pair the images with
        the row's label in which the column's is known, shape (H, H): what a share is taken of.

    Example:
        >>> both, of = together(np.array([[1, 1], [1, 0], [1, -1]]))
        >>> both.tolist(), of.tolist()
        ([[3, 1], [1, 1]], [[3, 2], [1, 1]])

    References:
        Our own.
    """
    yes, known = (truth == 1).astype(np.int64), (truth >= 0).astype(np.int64)
    return yes.T @ yes, yes.T @ known


def _ranking(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each row the mean over its labels of the share of labels among those scored at least as high, shape (N,)."""
    quality = np.zeros(len(truth))
    for label in range(truth.shape[1]):
        high = scores >= scores[:, [label]]  # (N, H)
        quality += np.where(truth[:, label], (high & truth).sum(axis=1) / high.sum(axis=1), 0.0)
    return share(quality, truth.sum(axis=1).astype(np.float64))

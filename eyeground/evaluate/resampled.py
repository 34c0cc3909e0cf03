"""The metrics of every profile in all resamples at once, fast enough for a grid of runs."""

from collections.abc import Sequence
from functools import cache
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from eyeground.evaluate import averaging, ranking
from eyeground.evaluate.confusion import confusion, share
from eyeground.evaluate.predictions import Predictions
from eyeground.evaluate.profiles import retfound2023, standard
from eyeground.pick import pick

# Above this many (row, positive row) pairs the table of comparisons leaves the cache, and sorting is as fast.
_MOST_PAIRS = 2**22

# What a prediction table cannot tell: the loss is not among its columns.
_NOT_IN_A_TABLE = frozenset({"val_loss"})


def auroc(truth: NDArray[np.int64], scores: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the AUROC of each class against the rest by comparing every positive row with every negative one.

    The numbers are those of ``ranking.auroc``; for some hundred rows and thousands of resamples the matrix products
    here take a tenth of the time of its sums along a sorted table.

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
    if _many(truth):
        return ranking.auroc(truth, scores, weights)
    columns, areas = np.ascontiguousarray(weights.T), np.full((len(weights), scores.shape[1]), np.nan)
    for label, score in enumerate(scores.T):
        positive = truth == label
        bar, other = score[positive][:, None], score[~positive]
        above = ((bar > other) + (bar >= other).astype(np.float64)) / 2  # (P, M): 1, or one half for a tie
        here, rest = columns[positive], columns[~positive]  # (P, B), (M, B)
        areas[:, label] = share(np.einsum("pb,pb->b", here, above @ rest), here.sum(axis=0) * rest.sum(axis=0))
    return areas


def average_precision(
    truth: NDArray[np.int64], scores: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Compute the average precision of each class, as ``auroc`` computes areas: the numbers are those of ``ranking``.

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
    if _many(truth):
        return ranking.average_precision(truth, scores, weights)
    columns, areas = np.ascontiguousarray(weights.T), np.full((len(weights), scores.shape[1]), np.nan)
    for label, score in enumerate(scores.T):
        positive = truth == label
        here, reached = columns[positive], (score >= score[positive][:, None]).astype(np.float64)  # (P, B), (P, N)
        precision = share(reached[:, positive] @ here, reached @ columns)  # at the threshold of each positive row
        # Without weight at a threshold nothing is added there.
        areas[:, label] = share(np.einsum("pb,pb->b", here, np.nan_to_num(precision)), here.sum(axis=0))
    return areas


def value(metric: str, predictions: Predictions, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute one metric of the shelf in all resamples.

    Args:
        metric: File in ``evaluate/metrics``.
        predictions: The table; every truth is known.
        weights: How often each row counts, shape (B, N).

    Returns:
        Shape (B,); NaN where undefined, for quadratic-weighted kappa also where classes are not ordered.

    Raises:
        LookupError: If the shelf has no such metric.

    Example:
        >>> p = np.array([0.1, 0.4, 0.35, 0.8])
        >>> table = Predictions(("a", "b", "c", "d"), ("a", "b", "c", "d"), ("",) * 4, ("",) * 4, ("",) * 4,
        ...                     np.array([0, 0, 1, 1]), np.stack([1 - p, p], axis=1), ("normal", "cataract"), False,
        ...                     True, ("",) * 4)
        >>> value("auroc_macro", table, np.ones((1, 4)))
        array([0.75])

    References:
        Our own.
    """
    truth, scores = predictions.truth, predictions.scores
    if metric == "kappa_quadratic" and not predictions.ordered:
        return np.full(len(weights), np.nan)
    if metric == "auroc_macro":
        return _macro(auroc(truth, scores, weights), truth)
    if metric == "ap_macro":
        return _macro(average_precision(truth, scores, weights), truth)
    answer: NDArray[np.float64] = _metric(metric).value(truth, scores, weights)
    return answer


def reason(metric: str, predictions: Predictions) -> str:
    """Say why a metric of the shelf is undefined on the data itself.

    Args:
        metric: File in ``evaluate/metrics``.
        predictions: The table; every truth is known.

    Returns:
        A sentence, empty when the metric is defined.

    Raises:
        LookupError: If the shelf has no such metric.

    Example:
        >>> table = Predictions(("a",), ("a",), ("",), ("",), ("",), np.array([0]), np.array([[0.9, 0.1]]),
        ...                     ("normal", "cataract"), False, True, ("",))
        >>> reason("auroc_macro", table), reason("accuracy", table)
        ("class 'cataract' is absent", '')

    References:
        Our own.
    """
    if metric == "kappa_quadratic" and not predictions.ordered:
        return standard.UNORDERED
    said = _metric(metric).reason(predictions.truth, predictions.scores, predictions.classes)
    return said or ""


def keys(profiles: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """List the metrics of some profiles.

    Args:
        profiles: Files in ``evaluate/profiles``.

    Returns:
        Profile and metric of each column of ``measured``. The validation loss of RETFound's table is left out: a
        prediction table does not hold it.

    Raises:
        LookupError: If the shelf has no such profile.

    Example:
        >>> keys(["retfound2023"])[4]
        ('retfound2023', 'auc_roc')

    References:
        Our own.
    """
    return tuple(
        (profile, metric)
        for profile in profiles
        for metric in pick("evaluate.profiles", profile).COLUMNS
        if metric not in _NOT_IN_A_TABLE
    )


def measured(predictions: Predictions, profiles: Sequence[str], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute all metrics of some profiles in all resamples.

    Args:
        predictions: The table; every truth is known.
        profiles: Files in ``evaluate/profiles``.
        weights: How often each row counts, shape (B, N).

    Returns:
        Shape (B, M), the columns in the order of ``keys``; NaN where undefined by the profile's own rules.

    Raises:
        LookupError: If the shelf has no such profile.

    Example:
        >>> p = np.array([0.1, 0.4, 0.35, 0.8])
        >>> table = Predictions(("a", "b", "c", "d"), ("a", "b", "c", "d"), ("",) * 4, ("",) * 4, ("",) * 4,
        ...                     np.array([0, 0, 1, 1]), np.stack([1 - p, p], axis=1), ("normal", "cataract"), False,
        ...                     True, ("",) * 4)
        >>> measured(table, ["retfound2023"], np.ones((3, 4))).shape
        (3, 8)

    References:
        Zhou et al., "A foundation model for generalizable disease detection from retinal images", Nature 2023;622:156.
    """
    truth, scores = predictions.truth, predictions.scores
    area, average = auroc(truth, scores, weights), average_precision(truth, scores, weights)
    counts = confusion(truth, scores, weights)
    found: dict[tuple[str, str], NDArray[np.float64]] = {}
    if "standard" in profiles:
        swift = {"auroc_macro": _macro(area, truth), "ap_macro": _macro(average, truth)}
        for metric in standard.COLUMNS:
            found["standard", metric] = swift[metric] if metric in swift else value(metric, predictions, weights)
    for metric, numbers in retfound2023.from_counts(counts).items() if "retfound2023" in profiles else ():
        found["retfound2023", metric] = numbers
    found["retfound2023", "auc_roc"] = found["retfound2025", "roc_auc"] = area.mean(axis=1)
    found["retfound2023", "auc_pr"] = found["retfound2025", "average_precision"] = average.mean(axis=1)
    if "retfound2025" in profiles:
        hit, true, said = np.einsum("bkk->bk", counts), counts.sum(axis=2), counts.sum(axis=1)
        for metric, part, whole in (
            ("f1", 2 * hit, true + said),
            ("jaccard", hit, true + said - hit),
            ("precision", hit, said),
            ("recall", hit, true),
        ):
            # Undefined counts as 0 here, because it does in the published tables.
            found["retfound2025", metric] = np.nan_to_num(share(part, whole)).mean(axis=1)
        for metric in ("accuracy", "hamming", "kappa"):
            found["retfound2025", metric] = value(metric, predictions, weights)
    return np.stack([found[key] for key in keys(profiles)], axis=1)


def reasons(predictions: Predictions, profiles: Sequence[str]) -> tuple[str, ...]:
    """Say why each metric of some profiles would be undefined on the data itself.

    Args:
        predictions: The table; every truth is known.
        profiles: Files in ``evaluate/profiles``.

    Returns:
        M sentences in the order of ``keys``, empty where there is nothing to say.

    Raises:
        LookupError: If the shelf has no such profile.

    Example:
        >>> table = Predictions(("a",), ("a",), ("",), ("",), ("",), np.array([0]), np.array([[0.9, 0.1]]),
        ...                     ("normal", "cataract"), False, True, ("",))
        >>> reasons(table, ["retfound2025"])[2]
        "class 'cataract' is absent"

    References:
        Our own.
    """
    absent = averaging.absent(predictions.truth, len(predictions.classes), predictions.classes) or ""
    unpredicted = averaging.unpredicted(predictions.scores, predictions.classes) or ""
    other = {
        ("retfound2025", "kappa"): reason("kappa", predictions),
        **{("retfound2023", name): unpredicted or absent for name in ("precision", "f1", "mcc")},
    }
    return tuple(
        reason(metric, predictions) if profile == "standard" else other.get((profile, metric), absent)
        for profile, metric in keys(profiles)
    )


@cache
def _metric(name: str) -> ModuleType:
    """A metric of the shelf, found once: looking through its folder takes longer than most metrics."""
    return pick("evaluate.metrics", name)


def _many(truth: NDArray[np.int64]) -> bool:
    """Whether some class has too many rows for a table of comparisons."""
    return len(truth) * int(np.bincount(truth, minlength=1).max()) > _MOST_PAIRS


def _macro(table: NDArray[np.float64], truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """Macro average by the standard rule: an area has a value where its class has a row and is not all."""
    counts = np.bincount(truth, minlength=table.shape[1])
    return averaging.macro(table, (counts > 0) & (counts < len(truth)))

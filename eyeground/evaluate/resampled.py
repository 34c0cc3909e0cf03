"""The metrics of every profile in all resamples at once, fast enough for a grid of runs."""

from collections.abc import Mapping, Sequence
from functools import cache
from types import ModuleType
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from eyeground.evaluate import averaging
from eyeground.evaluate.confusion import confusion, share
from eyeground.evaluate.predictions import Predictions
from eyeground.evaluate.profiles import retfound2023, standard
from eyeground.evaluate.ranking import Ranks
from eyeground.pick import pick

# What a prediction table cannot tell: the loss is not among its columns.
_NOT_IN_A_TABLE = frozenset({"val_loss"})


# Of tables that are measured chunk by chunk; one that is gone takes its ranks along.
_RANKS: WeakKeyDictionary[Predictions, Ranks] = WeakKeyDictionary()


def ranks(predictions: Predictions) -> Ranks:
    """Rank the rows of a table, once for all its resamples.

    Args:
        predictions: The table; every truth is known. It does not change.

    Returns:
        The ranks, kept as long as the table.

    Example:
        >>> table = Predictions(("a",), ("a",), ("",), ("",), ("",), np.array([0]), np.array([[0.9, 0.1]]),
        ...                     ("normal", "cataract"), False, True, ("",))
        >>> ranks(table) is ranks(table)
        True

    References:
        Our own.
    """
    if predictions not in _RANKS:
        _RANKS[predictions] = Ranks(predictions.truth, predictions.scores)
    return _RANKS[predictions]


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
    if metric in ("auroc_macro", "ap_macro"):
        area, average = ranks(predictions).areas(weights)
        return averaging.macro(area if metric == "auroc_macro" else average, _both_sides(predictions))
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
    tables, counts = per_class(predictions, weights)
    area, average = tables["auroc_macro"], tables["ap_macro"]
    found: dict[tuple[str, str], NDArray[np.float64]] = {}
    if "standard" in profiles:
        numbers_of = standard_values(predictions, weights, tables, counts)
        found |= {("standard", metric): numbers for metric, numbers in numbers_of.items()}
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


def per_class(
    predictions: Predictions, weights: NDArray[np.float64]
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64]]:
    """Compute the per-class values of every macro metric of profile ``standard``, sharing what they have in common.

    Args:
        predictions: The table; every truth is known.
        weights: How often each row counts, shape (B, N).

    Returns:
        Metric -> values, shape (B, K) each, as the shelf's ``per_class`` gives them; and the confusion matrices,
        shape (B, K, K).

    Example:
        >>> table = Predictions(("a", "b"), ("a", "b"), ("",) * 2, ("",) * 2, ("",) * 2, np.array([0, 1]),
        ...                     np.array([[0.9, 0.1], [0.2, 0.8]]), ("normal", "cataract"), False, True, ("",) * 2)
        >>> tables, counts = per_class(table, np.ones((1, 2)))
        >>> tables["f1_macro"].tolist(), counts.tolist()
        ([[1.0, 1.0]], [[[1.0, 0.0], [0.0, 1.0]]])

    References:
        Our own.
    """
    area, average = ranks(predictions).areas(weights)
    counts = confusion(predictions.truth, predictions.scores, weights)
    found = {"auroc_macro": area, "ap_macro": average}
    for name in standard.PER_CLASS:
        if name not in found:
            metric = _metric(name)
            shared = hasattr(metric, "from_counts")
            found[name] = metric.from_counts(counts) if shared else metric.per_class(
                predictions.truth, predictions.scores, weights
            )  # fmt: skip
    return found, counts


def standard_values(
    predictions: Predictions,
    weights: NDArray[np.float64],
    tables: Mapping[str, NDArray[np.float64]],
    counts: NDArray[np.float64],
) -> dict[str, NDArray[np.float64]]:
    """Compute all metrics of profile ``standard`` from what ``per_class`` gave.

    Args:
        predictions: The table; every truth is known.
        weights: How often each row counts, shape (B, N).
        tables: Metric -> per-class values, shape (B, K).
        counts: Confusion matrices, shape (B, K, K).

    Returns:
        Metric -> values, shape (B,) each, as ``value`` gives them one by one.

    Example:
        >>> table = Predictions(("a", "b"), ("a", "b"), ("",) * 2, ("",) * 2, ("",) * 2, np.array([0, 1]),
        ...                     np.array([[0.9, 0.1], [0.2, 0.8]]), ("normal", "cataract"), False, True, ("",) * 2)
        >>> once = np.ones((1, 2))
        >>> standard_values(table, once, *per_class(table, once))["mcc"].tolist()
        [1.0]

    References:
        Our own.
    """
    there, said = (np.bincount(each, minlength=len(predictions.classes)) > 0
                   for each in (predictions.truth, predictions.said))  # fmt: skip
    defined = dict.fromkeys(standard.PER_CLASS, there)
    defined |= {"auroc_macro": _both_sides(predictions), "precision_macro": there & said}
    found = {name: averaging.macro(table, defined[name]) for name, table in tables.items()}
    for name in standard.COLUMNS:
        metric = _metric(name)
        if name == "kappa_quadratic" and not predictions.ordered:
            found[name] = np.full(len(weights), np.nan)
        elif name == "balanced_accuracy":
            found[name] = found["recall_macro"]
        elif name not in found:
            shared = hasattr(metric, "from_counts")
            found[name] = metric.from_counts(counts) if shared else metric.value(
                predictions.truth, predictions.scores, weights
            )  # fmt: skip
    return found


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


def _both_sides(predictions: Predictions) -> NDArray[np.bool_]:
    """Which classes have a row and are not all, shape (K,): those whose area is defined."""
    counts = np.bincount(predictions.truth, minlength=len(predictions.classes))
    return (counts > 0) & (counts < len(predictions))

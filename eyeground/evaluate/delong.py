"""DeLong's test of two AUROCs on the same rows, for two classes or many, with patients that have several rows."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eyeground.evaluate.averaging import absent
from eyeground.evaluate.paired import PairedTest
from eyeground.evaluate.wording import listed

_NORMAL_95 = 1.959963984540054  # 97.5% point of the normal distribution

# A variance this small is rounding: one swapped pair among 10,000 rows gives 1e-16.
_NO_VARIANCE = 1e-24


class DeLong(NamedTuple):
    """What DeLong's test finds.

    Args:
        auroc_a: Area of the first model, for several classes the macro average.
        auroc_b: Area of the second.
        variance_a: Estimated variance of the first area.
        variance_b: Estimated variance of the second.
        covariance: Estimated covariance of the two.
        z: Difference in standard errors; NaN when undefined.
        test: The difference, its 95% interval and its p value.

    Example:
        >>> delong(np.array([False, False, True, True]), np.array([0.1, 0.4, 0.3, 0.8]),
        ...        np.array([0.1, 0.2, 0.3, 0.8])).auroc_a
        0.75

    References:
        DeLong, DeLong & Clarke-Pearson, Biometrics 1988;44:837.
    """

    auroc_a: float
    auroc_b: float
    variance_a: float
    variance_b: float
    covariance: float
    z: float
    test: PairedTest


class Influence(NamedTuple):
    """An AUROC and how much each row pulls at it.

    Args:
        auroc: The area, for several classes the macro average; NaN when undefined.
        pull: Influence of each row, shape (N,); the variance of the area is that of their sum.

    Example:
        >>> auroc_influence(np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]])).auroc
        1.0

    References:
        DeLong, DeLong & Clarke-Pearson, Biometrics 1988;44:837.
    """

    auroc: float
    pull: NDArray[np.float64]


def delong(
    truth: NDArray[np.bool_],
    scores_a: NDArray[np.float64],
    scores_b: NDArray[np.float64],
    *,
    patients: Sequence[str] | None = None,
) -> DeLong:
    """Compare two correlated AUROCs by DeLong's two-sided test.

    Ties count one half, by midranks. With patients, rows of one patient may depend on each other in any way:
    Obuchowski's variance, which is DeLong's own where every patient has one row.

    Args:
        truth: True means disease, shape (N,).
        scores_a: Scores of the first model, shape (N,), any scale.
        scores_b: Scores of the second, shape (N,).
        patients: Patient of each row, N; None counts every row as its own.

    Returns:
        Areas, variances, covariance and the test; NaN with the reason where a class is absent, has one patient only,
        or the difference has no variance.

    Raises:
        ValueError: If lengths differ or a score is NaN.

    Example:
        >>> truth = np.array([False, False, False, True, True, True])
        >>> found = delong(truth, np.array([1, 2, 3, 2, 4, 5.0]), np.array([2, 1, 4, 3, 3, 5.0]))
        >>> round(found.test.difference, 4), round(found.z, 4), round(found.test.p, 4)
        (0.0556, 0.2673, 0.7893)

    References:
        DeLong, DeLong & Clarke-Pearson, Biometrics 1988;44:837; Sun & Xu, IEEE Signal Process Lett 2014;21:1389 (the
        midranks); Obuchowski, "Nonparametric analysis of clustered ROC curve data", Biometrics 1997;53:567.
    """
    known = truth.astype(np.int64)
    names = ("negative", "positive")
    reason = absent(known, 2, names) or ""
    pair = []
    for scores in (scores_a, scores_b):
        _check_scores(known, scores[:, None])
        area, pull = _components(truth, scores)
        pair.append(Influence(area, pull))
    return influence_test(known, pair[0], pair[1], patients=patients, classes=names, reason=reason)


def auroc_influence(truth: NDArray[np.int64], scores: NDArray[np.float64]) -> Influence:
    """Compute a macro AUROC, one class against the rest, and the influence of each row on it.

    The mean over classes of DeLong's structural components, each centered and divided by the number of its kind.
    Influences of several seeds may be averaged: that is the influence on the mean of their AUROCs.

    Args:
        truth: Index of the true class, shape (N,), each in 0..K-1.
        scores: Probabilities, shape (N, K).

    Returns:
        The area and the influences; NaN where a class is absent.

    Raises:
        ValueError: If lengths differ or a score is NaN.

    Example:
        >>> found = auroc_influence(np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.3, 0.7], [0.6, 0.4]]))
        >>> found.auroc, found.pull.tolist()
        (0.5, [0.25, -0.25, 0.0])

    References:
        DeLong, DeLong & Clarke-Pearson, Biometrics 1988;44:837; van der Vaart, Asymptotic Statistics, 1998, chapter 20.
    """
    _check_scores(truth, scores)
    parts = [_components(truth == label, scores[:, label]) for label in range(scores.shape[1])]
    return Influence(float(np.mean([area for area, _ in parts])), np.mean([pull for _, pull in parts], axis=0))


def influence_test(
    truth: NDArray[np.int64],
    a: Influence,
    b: Influence,
    *,
    patients: Sequence[str] | None = None,
    classes: Sequence[str] = (),
    reason: str = "",
) -> DeLong:
    """Compare two AUROCs, binary or macro, by the influences of the rows.

    Influences are summed within each patient and true class, D. With I patients, I_k of them with class k, the
    covariance is the sum over k of I_k / (I_k - 1) sum D_k D_k', and over pairs of classes of I / (I - 1) sum D_k D_l'.
    For two classes this is Obuchowski's variance, and DeLong's where every patient has one row.

    Args:
        truth: Index of the true class, shape (N,).
        a: Of the first model.
        b: Of the second.
        patients: Patient of each row, N; None counts every row as its own.
        classes: Names of the classes, K; without them the index is named.
        reason: Why the areas are undefined, where they are.

    Returns:
        What ``delong`` gives.

    Raises:
        ValueError: If the number of patients is not that of the rows.

    Example:
        >>> scores = np.array([[0.9, 0.1], [0.3, 0.7], [0.6, 0.4], [0.2, 0.8]])
        >>> one, two = (auroc_influence(np.array([0, 0, 1, 1]), each) for each in (scores, scores[::-1]))
        >>> influence_test(np.array([0, 0, 1, 1]), one, two).test.difference
        0.5

    References:
        Obuchowski, "Nonparametric analysis of clustered ROC curve data", Biometrics 1997;53:567; more than two classes:
        our own.
    """
    rows = np.arange(len(truth)) if patients is None else np.asarray(patients, dtype=object)
    if len(rows) != len(truth):
        raise ValueError(f"there are {len(rows)} patients for {len(truth)} rows")
    names, group = np.unique(rows, return_inverse=True)
    present = np.zeros((int(truth.max(initial=0)) + 1, max(1, len(names))), dtype=bool)
    present[truth, group] = True
    alone = np.flatnonzero(present.sum(axis=1) == 1).tolist()
    noun = "row" if patients is None else "patient"
    if not (math.isfinite(a.auroc) and math.isfinite(b.auroc)):
        reason = reason or absent(truth, len(classes), classes) or "an AUROC is undefined"
    elif alone:
        named = listed([classes[k] if classes else str(k) for k in alone])
        reason = f"no test: class {named} has" if len(alone) == 1 else f"no test: classes {named} have"
        reason += f" one {noun} only"
    difference = a.auroc - b.auroc
    if reason:
        nan = math.nan
        lone = PairedTest(difference, patients=len(names), reason=reason)
        return DeLong(a.auroc, b.auroc, nan, nan, nan, nan, lone)

    def covariance(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
        sums = []
        for pull in (x, y):
            table = np.zeros(present.shape)
            np.add.at(table, (truth, group), pull)
            sums.append(table)  # (K, I)
        within, kinds = (sums[0] * sums[1]).sum(axis=1), present.sum(axis=1)
        across = float(sums[0].sum(axis=0) @ sums[1].sum(axis=0) - within.sum())
        many = kinds > 1  # a class that no row has adds nothing
        return float((within[many] * kinds[many] / (kinds[many] - 1)).sum()) + across * len(names) / (len(names) - 1)

    variances = covariance(a.pull, a.pull), covariance(b.pull, b.pull), covariance(a.pull, b.pull)
    spread = covariance(a.pull - b.pull, a.pull - b.pull)
    if spread <= _NO_VARIANCE:
        reason = "no test: the difference has no variance"
        return DeLong(
            a.auroc, b.auroc, *variances, math.nan, PairedTest(difference, patients=len(names), reason=reason)
        )
    error = math.sqrt(spread)
    z = difference / error
    test = PairedTest(
        difference,
        difference - _NORMAL_95 * error,
        difference + _NORMAL_95 * error,
        math.erfc(abs(z) / math.sqrt(2)),
        len(names),
    )
    return DeLong(a.auroc, b.auroc, *variances, z, test)


def _check_scores(truth: NDArray[np.int64], scores: NDArray[np.float64]) -> None:
    """Refuse scores that do not fit or cannot be ordered."""
    if len(scores) != len(truth):
        raise ValueError(f"there are {len(scores)} scores for {len(truth)} rows")
    if np.isnan(scores).any():
        raise ValueError("a score is NaN and cannot be ordered")


def _components(positive: NDArray[np.bool_], score: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """AUROC of one class and the centered structural components, divided by the number of rows of their kind."""
    above, below = int(positive.sum()), int((~positive).sum())
    if not above or not below:
        return math.nan, np.full(len(score), np.nan)
    ranks, share = _midranks(score), np.empty(len(score))
    share[positive] = (ranks[positive] - _midranks(score[positive])) / below  # share of negatives below each positive
    share[~positive] = 1 - (ranks[~positive] - _midranks(score[~positive])) / above  # of positives above each negative
    area = float(share[positive].mean())
    return area, (share - area) / np.where(positive, above, below)


def _midranks(score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1; equal scores share the middle of theirs."""
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    middle: NDArray[np.float64] = (last - (count - 1) / 2)[place]
    return middle

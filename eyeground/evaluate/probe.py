"""How much frozen features know: a linear and a nearest-neighbor probe, and fractions of the labels to try them on."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeground.evaluate import averaging
from eyeground.evaluate.ranking import auroc
from eyeground.evaluate.wording import counted

# Weakest to strongest fit: each fit starts from the one before, and of equal ones the first, the simplest, is chosen.
GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2)
_MOST_ITERATIONS = 1000
_CHUNK_ENTRIES = 2**24  # similarities held at once, 128 MiB


@dataclass(frozen=True, eq=False)
class ProbeResult:
    """What a probe says of the test images.

    Args:
        scores: Probabilities, shape (N, K), rows add up to 1.
        c: Inverse strength of the penalty that validation chose, None where nothing was fitted.
        notes: What a reader of the scores should know, sentences.

    Example:
        >>> ProbeResult(np.array([[0.2, 0.8]]), 1.0, ()).c
        1.0

    References:
        Our own.
    """

    scores: NDArray[np.float64]
    c: float | None
    notes: tuple[str, ...]


def logistic_probe(
    train_x: NDArray[np.floating[Any]],
    train_y: NDArray[np.int64],
    val_x: NDArray[np.floating[Any]],
    val_y: NDArray[np.int64],
    test_x: NDArray[np.floating[Any]],
    *,
    classes: int,
    seed: int,
) -> ProbeResult:
    """Fit a multinomial logistic regression on frozen features; validation chooses the penalty by macro AUROC.

    Features are standardized by the training rows. A class without a training row gets the probability 0. Validation
    rows only choose among ``GRID``; nothing is fitted to them.

    Args:
        train_x: Training features, shape (N, D).
        train_y: Their classes, shape (N,), each in 0..K-1.
        val_x: Validation features, shape (V, D); V may be 0.
        val_y: Their classes, shape (V,).
        test_x: Features to judge, shape (T, D).
        classes: Number of classes K, at least 2.
        seed: Handed to scikit-learn; its lbfgs solver draws nothing, so equal data gives equal scores for every seed.

    Returns:
        Scores of shape (T, K), the chosen C, and notes: absent classes, what the choice fell back to, fits that did
        not converge.

    Raises:
        ValueError: If shapes do not fit together, a feature is NaN or infinite, a class is outside 0..K-1, or there is
            no training row.

    Example:
        >>> x, y = np.array([[0.0], [0.1], [1.0], [1.1]]), np.array([0, 0, 1, 1])
        >>> found = logistic_probe(x, y, x, y, np.array([[-1.0], [2.0]]), classes=2, seed=0)
        >>> found.scores.argmax(axis=1).tolist(), found.c
        ([0, 1], 0.0001)

    References:
        Alain & Bengio, "Understanding intermediate layers using linear classifier probes", ICLR workshop 2017;
        Kornblith et al., "Do better ImageNet models transfer better?", CVPR 2019, for the penalty chosen on validation.
    """
    _check(classes, train=(train_x, train_y), val=(val_x, val_y), test=(test_x, None))
    present = np.unique(train_y)
    notes = _absent(present, classes)
    if len(present) == 1:
        scores = np.zeros((len(test_x), classes))
        scores[:, present[0]] = 1.0
        return ProbeResult(scores, None, (*notes, "the training rows hold one class: nothing was fitted"))
    mean = train_x.mean(axis=0, dtype=np.float64)
    spread = train_x.std(axis=0, dtype=np.float64)
    spread[spread == 0] = 1.0  # a constant feature becomes 0, not NaN
    train_z, val_z, test_z = ((x.astype(np.float64) - mean) / spread for x in (train_x, val_x, test_x))

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    judge, words = _judge(val_y, classes)
    notes += words
    # Where nothing can be compared, one fit in the middle of the grid.
    grid = GRID if judge else (1.0,)
    model = LogisticRegression(C=grid[0], max_iter=_MOST_ITERATIONS, warm_start=True, random_state=seed)
    best, chosen, unfinished = -math.inf, math.nan, []
    scores = np.zeros((len(test_x), classes))
    for c in grid:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.set_params(C=c).fit(train_z, train_y)
        for warning in caught:
            if issubclass(warning.category, ConvergenceWarning):
                unfinished.append(c)
            else:
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        value = judge(_spread(model.predict_proba(val_z), present, classes)) if judge else 0.0
        if value > best:
            best, chosen = value, c
            scores = _spread(model.predict_proba(test_z), present, classes)
    if unfinished:
        ours = ", the chosen one among them" if chosen in unfinished else ", not the chosen one"
        notes.append(
            f"{len(unfinished)} of {counted(len(grid), 'fit')} did not converge in {_MOST_ITERATIONS} steps{ours}"
        )
    return ProbeResult(scores, chosen, tuple(notes))


def knn_probe(
    train_x: NDArray[np.floating[Any]],
    train_y: NDArray[np.int64],
    test_x: NDArray[np.floating[Any]],
    *,
    classes: int,
    k: int = 20,
    temperature: float = 0.07,
) -> ProbeResult:
    """Let the nearest training rows vote, each with the weight exp(cosine similarity / temperature).

    Of equally near rows the earlier ones vote. A class without a row among the voters gets the probability 0.

    Args:
        train_x: Training features, shape (N, D).
        train_y: Their classes, shape (N,), each in 0..K-1.
        test_x: Features to judge, shape (T, D).
        classes: Number of classes K, at least 2.
        k: Number of voters, at least 1; no more than N vote.
        temperature: Smaller lets the nearest decide alone, above 0.

    Returns:
        Scores of shape (T, K), no C, and notes.

    Raises:
        ValueError: If shapes do not fit together, a feature is NaN or infinite, a class is outside 0..K-1, there is no
            training row, or k or the temperature is out of range.

    Example:
        >>> x = np.array([[1.0, 0.0], [0.0, 1.0]])
        >>> knn_probe(x, np.array([0, 1]), x, classes=2, k=1).scores.tolist()
        [[1.0, 0.0], [0.0, 1.0]]

    References:
        Wu et al., "Unsupervised feature learning via non-parametric instance discrimination", CVPR 2018, section 3.4:
        k = 200 there, for ImageNet; 20 as in Caron et al., "Emerging properties in self-supervised vision
        transformers", ICCV 2021.
    """
    _check(classes, train=(train_x, train_y), test=(test_x, None))
    if k < 1 or not temperature > 0:
        raise ValueError(f"k is {k} and temperature {temperature}: k is at least 1, temperature above 0")
    notes = _absent(np.unique(train_y), classes)
    if k > len(train_y):
        notes.append(f"all {counted(len(train_y), 'training row')} vote: fewer than k = {k}")
    voters = min(k, len(train_y))
    train, test = _unit(train_x), _unit(test_x)
    votes = np.eye(classes)[train_y]  # (N, K)
    scores = np.zeros((len(test), classes))
    step = max(1, _CHUNK_ENTRIES // len(train))
    for start in range(0, len(test), step):
        similar = test[start : start + step] @ train.T  # (t, N)
        nearest = np.argsort(-similar, axis=1, kind="stable")[:, :voters]
        close = np.take_along_axis(similar, nearest, axis=1)
        # Against the nearest, so that a small temperature cannot overflow; the factor cancels below.
        weights = np.exp((close - close[:, :1]) / temperature)
        scores[start : start + step] = (weights[:, :, None] * votes[nearest]).sum(axis=1)
    return ProbeResult(scores / scores.sum(axis=1, keepdims=True), None, tuple(notes))


def subset_of_labels(
    labels: NDArray[np.int64], patients: Sequence[str], fraction: float, seed: int
) -> NDArray[np.int64]:
    """Draw a fraction of the patients, as if only they had been labelled.

    Patients are drawn within the rarest class they have, so that classes keep their shares, and every class keeps at
    least one patient. Of one seed, a smaller fraction lies within every larger one. The draw hangs on patients, labels
    and the seed, not on the order of the rows.

    Args:
        labels: Class of each row, shape (N,), not negative.
        patients: Patient of each row, N names.
        fraction: Share of the patients. Unit: fraction, (0, 1].
        seed: Draws the patients, not negative.

    Returns:
        Row numbers in rising order, all rows of each drawn patient.

    Raises:
        ValueError: If the lengths differ, there is no row, a label is negative, or the fraction is out of range.

    Example:
        >>> subset_of_labels(np.array([0, 0, 1, 1]), ["a", "a", "b", "c"], 0.5, seed=0)
        array([0, 1, 3])

    References:
        Chen et al., "A simple framework for contrastive learning of visual representations", ICML 2020, for 1% and 10%
        of the labels; by patient and nested is our own.
    """
    if len(labels) != len(patients) or not len(labels) or labels.min() < 0:
        raise ValueError(
            f"labels are {len(labels)} and patients {len(patients)}: equally many, at least one, labels >= 0"
        )
    if not 0 < fraction <= 1:
        raise ValueError(f"the fraction is {fraction}: it lies above 0 and is at most 1")
    names = np.asarray(patients, dtype=object)
    has: dict[str, set[int]] = {}
    for patient, label in zip(patients, labels.tolist(), strict=True):
        has.setdefault(patient, set()).add(label)
    rows = np.bincount(labels)
    rare = {patient: min(found, key=lambda label: (rows[label], label)) for patient, found in has.items()}
    drawn = np.random.default_rng(seed).permutation(np.asarray(sorted(has), dtype=object)).tolist()
    # One patient for each class, the rarest class first; these come with every fraction.
    first: list[str] = []
    for label in sorted(set(labels.tolist()), key=lambda label: (rows[label], label)):
        if not any(label in has[patient] for patient in first):
            first.append(next(patient for patient in drawn if label in has[patient]))
    kept: set[str] = set()
    for label in set(rare.values()):
        group = sorted((p for p in drawn if rare[p] == label), key=lambda p: p not in first)
        fixed = sum(patient in first for patient in group)
        kept.update(group[: max(fixed, math.floor(fraction * len(group) + 0.5))])
    return np.flatnonzero([patient in kept for patient in names])


def _check(classes: int, **parts: tuple[NDArray[Any], NDArray[np.int64] | None]) -> None:
    """Refuse what does not fit together, all of it at once."""
    wrong = [] if classes >= 2 else [f"classes is {classes}: at least two are needed"]
    width = parts["train"][0].shape[-1] if parts["train"][0].ndim else 0
    for name, (x, y) in parts.items():
        if x.ndim != 2 or x.shape[1] != width:
            wrong.append(f"{name}: features have the shape {x.shape}, not (N, {width})")
        elif not np.isfinite(x).all():
            wrong.append(f"{name}: a feature is NaN or infinite, first in row {np.argwhere(~np.isfinite(x))[0][0]}")
        if y is None:
            continue
        if y.shape != x.shape[:1] or not np.issubdtype(y.dtype, np.integer):
            wrong.append(f"{name}: labels have the shape {y.shape} {y.dtype} for {len(x)} rows of features")
        elif len(y) and not 0 <= y.min() <= y.max() < classes:
            wrong.append(f"{name}: a label is outside 0..{classes - 1}")
    if not len(parts["train"][0]):
        wrong.append("train: there is no row")
    if wrong:
        raise ValueError("; ".join(wrong))


def _absent(present: NDArray[np.int64], classes: int) -> list[str]:
    """Name the classes that have no training row."""
    gone = sorted(set(range(classes)) - set(present.tolist()))
    return [f"no training row of class {', '.join(map(str, gone))}: its probability is 0"] if gone else []


def _judge(truth: NDArray[np.int64], classes: int) -> tuple[Any, list[str]]:
    """Choose how validation compares penalties: scores (V, K) -> larger is better; None where it cannot."""
    if not len(truth):
        return None, ["no validation row: C = 1 was taken, not chosen"]
    seen = set(truth.tolist())
    if len(seen) == 1:

        def likelihood(scores: NDArray[np.float64]) -> float:
            return float(np.log(np.maximum(scores[np.arange(len(truth)), truth], 1e-15)).mean())

        return likelihood, ["validation holds one class: C was chosen by log loss, for there is no AUROC"]
    gone = sorted(set(range(classes)) - seen)
    once = np.ones((1, len(truth)))

    def area(scores: NDArray[np.float64]) -> float:
        return float(averaging.present(auroc(truth, scores, once))[0])

    words = f"no validation row of class {', '.join(map(str, gone))}: C was chosen by the AUROC of the other classes"
    return area, [words] if gone else []


def _spread(scores: NDArray[np.float64], present: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Put the columns of the classes that were fitted among all classes, (N, K)."""
    whole = np.zeros((len(scores), classes))
    whole[:, present] = scores
    return whole


def _unit(x: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Rows of length 1; a row of zeros is like nothing, so its similarities are 0."""
    x = x.astype(np.float64)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(length > 0, length, 1.0)

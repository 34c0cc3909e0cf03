"""From one number per class to one number: the macro average, and what an absent class does to it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eyeground.evaluate.confusion import share
from eyeground.evaluate.wording import listed


def macro(values: NDArray[np.float64], defined: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Average over all classes, each counting the same.

    A class that is undefined in the data itself makes the average undefined: a mean over fewer classes would look like
    the mean over all. A class that only a resample happens to leave out is left out of that resample's mean;
    ``confidence.partial`` counts such resamples, and the count is reported with the interval.

    Args:
        values: One number per resample and class, shape (B, K), NaN where undefined.
        defined: Whether each class has a value in the data itself (weights of one), shape (K,).

    Returns:
        Shape (B,); NaN where undefined.

    Example:
        >>> macro(np.array([[0.5, 1.0], [0.5, np.nan]]), np.array([True, True]))
        array([0.75, 0.5 ])
        >>> macro(np.array([[0.5, 1.0]]), np.array([True, False]))
        array([nan])

    References:
        Our own.
    """
    if not defined.all():
        return np.full(len(values), np.nan)
    return present(values)


def present(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average over the classes that have a value, so that one absent class does not hide the rest.

    Args:
        values: One number per resample and class, shape (B, K), NaN where undefined.

    Returns:
        Shape (B,); NaN where no class has a value.

    Example:
        >>> present(np.array([[0.5, np.nan]]))
        array([0.5])

    References:
        Our own.
    """
    known = np.isfinite(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return share(total, count.astype(np.float64))


def absent(truth: NDArray[np.int64], count: int, classes: Sequence[str] = ()) -> str | None:
    """Say which classes have no row.

    Args:
        truth: Index of the true class, shape (N,).
        count: Number of classes K.
        classes: Their names; without them the index is named.

    Returns:
        A sentence, or None when every class occurs.

    Example:
        >>> absent(np.array([0, 0]), 2, ("normal", "cataract"))
        "class 'cataract' is absent"

    References:
        Our own.
    """
    return _sentence(np.bincount(truth, minlength=count)[:count] == 0, classes, "absent")


def unpredicted(scores: NDArray[np.float64], classes: Sequence[str] = ()) -> str | None:
    """Say which classes are the largest score of no row.

    Args:
        scores: Probabilities, shape (N, K).
        classes: Their names; without them the index is named.

    Returns:
        A sentence, or None when every class is predicted.

    Example:
        >>> unpredicted(np.array([[0.9, 0.1]]), ("normal", "cataract"))
        "class 'cataract' is never predicted"

    References:
        Our own.
    """
    count = scores.shape[1]
    return _sentence(np.bincount(scores.argmax(axis=1), minlength=count) == 0, classes, "never predicted")


def _sentence(missing: NDArray[np.bool_], classes: Sequence[str], state: str) -> str | None:
    """Name the missing classes in a sentence."""
    names = [classes[k] if classes else str(k) for k in np.flatnonzero(missing).tolist()]
    if not names:
        return None
    return f"class {listed(names)} is {state}" if len(names) == 1 else f"classes {listed(names)} are {state}"

"""A number of the statistics: with its interval, or with the reason why it is not there."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from eyeground.evaluate.confidence import Estimate

Why = Literal["", "nothing", "one_value", "one_patient", "too_few", "unstable"]
# Half-width of a 95% interval in standard deviations.
_Z: Final = 1.959963984540054


@dataclass(frozen=True)
class Number:
    """A number with its 95% interval, or why there is none. What is undefined is None, never 0.

    Args:
        value: The number; None where it is undefined.
        low: Lower end of the interval; None where there is none.
        high: Upper end of the interval; None where there is none.
        why: Why value or interval is missing: ``nothing`` there is nothing to count, ``one_value`` everything is the
            same, ``one_patient`` there is nobody to compare with, ``too_few`` it would say more about chance,
            ``unstable`` it is undefined in most resamples.

    Example:
        >>> Number(None, why="nothing").value is None
        True

    References:
        Our own.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    why: Why = ""


def number_of(estimate: Estimate, *, patients: int, rows: int) -> Number:
    """Take an estimate over, with the reason as a word that a page can say in its language.

    Args:
        estimate: The estimate.
        patients: How many patients it is from.
        rows: How many rows.

    Returns:
        The number.

    Example:
        >>> number_of(Estimate(float("nan"), reason="there is no row"), patients=0, rows=0)
        Number(value=None, low=None, high=None, why='nothing')

    References:
        Our own.
    """
    if not estimate.defined:
        return Number(None, why="one_value" if rows else "nothing")
    if not estimate.has_interval:
        return Number(estimate.value, why="one_patient" if patients < 2 else "unstable")
    return Number(estimate.value, estimate.low, estimate.high)


def wilson(hits: int, count: int) -> Number:
    """Give a share with Wilson's interval.

    Args:
        hits: How many of them.
        count: Of how many.

    Returns:
        The share in [0, 1] with its 95% interval; undefined where there is nothing.

    Example:
        >>> found = wilson(1, 10)
        >>> found.value, round(found.low, 4), round(found.high, 4)
        (0.1, 0.0179, 0.4042)

    References:
        Wilson, "Probable inference", J Am Stat Assoc 1927;22:209.
    """
    if not count:
        return Number(None, why="nothing")
    share, square = hits / count, _Z**2 / count
    middle = (share + square / 2) / (1 + square)
    half = _Z / (1 + square) * math.sqrt(share * (1 - share) / count + square / (4 * count))
    # Rounding must not leave an interval that its own share lies outside of.
    return Number(share, min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half)))


def quantile(values: Sequence[float], share: float, *, least: int = 1) -> Number:
    """Give a quantile.

    Args:
        values: The values.
        share: Which quantile, [0, 1].
        least: With fewer values than this it is undefined: it would be one of the last values themselves.

    Returns:
        The quantile, between neighbors by straight line; without interval.

    Example:
        >>> quantile([1.0, 2.0, 4.0], 0.5).value, quantile([1.0], 0.9, least=10).why
        (2.0, 'too_few')

    References:
        Hyndman & Fan, "Sample quantiles in statistical packages", Am Stat 1996;50:361, type 7.
    """
    if not values:
        return Number(None, why="nothing")
    if len(values) < least:
        return Number(None, why="too_few")
    return Number(float(np.quantile(np.asarray(values, dtype=np.float64), share)))

"""The learning rate that an optimizer applied, measured from what became of a parameter."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ADAM_EPS = 1e-8


@dataclass(frozen=True, eq=False)
class Slot:
    """A parameter and what AdamW keeps about it.

    Args:
        value: The parameter.
        exp_avg: Running mean of its gradient; same shape.
        exp_avg_sq: Running mean of its gradient's square; same shape.
        step: Steps taken.

    Example:
        >>> Slot(np.zeros(2), np.zeros(2), np.zeros(2), 0).step
        0

    References:
        Our own.
    """

    value: NDArray[Any]
    exp_avg: NDArray[Any]
    exp_avg_sq: NDArray[Any]
    step: int


@dataclass(frozen=True)
class AppliedRate:
    """A learning rate as measured.

    Args:
        rate: Its value.
        doubt: How far it may be off because parameters are stored in so many digits.

    Example:
        >>> AppliedRate(1e-3, 1e-6).agrees_with(1.001e-3)
        True

    References:
        Our own.
    """

    rate: float
    doubt: float

    def agrees_with(self, asked: float, *, tolerance: float = 0.01) -> bool:
        """Tell whether this may be the learning rate that was asked for.

        Args:
            asked: The learning rate times the parameter's scale.
            tolerance: Share of it that the measurement may differ by, beside its doubt.

        Returns:
            True where it may.
        """
        return abs(self.rate - asked) <= tolerance * asked + self.doubt


def applied_rate(
    before: Slot, after: Slot, *, betas: tuple[float, float], weight_decay: float, eps: float = ADAM_EPS
) -> AppliedRate:
    """Measure the learning rate of one AdamW step.

    AdamW takes ``lr * (weight_decay * value + direction)`` away, so that the rate is what relates the two.

    Args:
        before: The parameter before the step.
        after: The parameter and its averages after it.
        betas: AdamW's two averages.
        weight_decay: The parameter's decay.
        eps: Added to the denominator.

    Returns:
        The rate by least squares over the parameter's numbers; NaN where they cannot tell it (no gradient at all).

    Example:
        >>> before = Slot(np.array([1.0]), np.zeros(1), np.zeros(1), 0)
        >>> after = Slot(np.array([0.9]), np.array([0.1]), np.array([0.001]), 1)
        >>> round(applied_rate(before, after, betas=(0.9, 0.999), weight_decay=0.0).rate, 6)
        0.1

    References:
        Loshchilov & Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.
    """
    mean = after.exp_avg.astype(np.float64) / (1 - betas[0] ** after.step)
    spread = after.exp_avg_sq.astype(np.float64) / (1 - betas[1] ** after.step)
    direction = (mean / (np.sqrt(spread) + eps) + weight_decay * before.value.astype(np.float64)).ravel()
    length = float(direction @ direction)
    if not length:
        return AppliedRate(float("nan"), 0.0)
    taken = (before.value.astype(np.float64) - after.value.astype(np.float64)).ravel()
    digits = float(np.abs(np.spacing(np.abs(before.value).astype(np.float32))).max())
    return AppliedRate(float(taken @ direction) / length, digits * float(np.abs(direction).sum()) / length)

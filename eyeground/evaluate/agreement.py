"""How well a quantity is measured: error, limits of agreement and agreement coefficients, each with its interval."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeground.evaluate.confidence import Estimate, bootstrap, estimates
from eyeground.evaluate.confusion import share
from eyeground.evaluate.measurements import Measurements

Array = NDArray[np.float64]

# Measure -> what people call it; the order of the columns of ``agree``. Limits are limits of agreement.
TITLES = {
    "mae": "Mean absolute error",
    "rmse": "RMSE",
    "bias": "Bias (mean error)",
    "loa_low": "Lower limit",
    "loa_high": "Upper limit",
    "r2": "R²",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
    "icc": "ICC(2,1)",
    "concordance": "Concordance (CCC)",
}
WITH_UNIT = ("mae", "rmse", "bias", "loa_low", "loa_high")

# 95% of normally distributed errors lie within this many standard deviations.
_LIMIT = 1.96

# Below this share of its mean square, a variance is what rounding left of nothing.
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Agreement:
    """What was measured on the table of one quantity.

    Args:
        n: Images with known truth; all numbers are about these.
        unlabelled: Images without known truth, left out.
        patients: Number of patients.
        patients_known: Whether patients are real groups; if not, each image counted as its own.
        name: What the quantity is called.
        unit: Its unit; empty for a pure number.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.
        headline: Measure -> estimate, the keys of ``TITLES``; those of ``WITH_UNIT`` have the unit of the quantity.

    Example:
        >>> table = Measurements(tuple("abcd"), tuple("abcd"), ("",) * 4, ("",) * 4, ("",) * 4,
        ...                      np.array([10.0, 12.0, 15.0, 21.0]), np.array([11.0, 12.0, 16.0, 19.0]), "IOP", "mmHg",
        ...                      True, ("",) * 4)
        >>> agreement(table, resamples=50).to_json()["headline"]["mae"]["value"]
        1.0

    References:
        Our own.
    """

    n: int
    unlabelled: int
    patients: int
    patients_known: bool
    name: str
    unit: str
    resamples: int
    seed: int
    headline: Mapping[str, Estimate]

    @property
    def digits(self) -> int:
        """Digits after the point that a number in the unit deserves, by the size of the typical error."""
        return digits_for(self.headline["rmse"].value)

    def to_json(self) -> dict[str, Any]:
        """Plain values for strict JSON: None, never NaN."""
        return {
            "n": self.n,
            "unlabelled": self.unlabelled,
            "patients": self.patients,
            "patients_known": self.patients_known,
            "name": self.name,
            "unit": self.unit,
            "resamples": self.resamples,
            "seed": self.seed,
            "headline": {name: estimate.to_json() for name, estimate in self.headline.items()},
        }


def agreement(table: Measurements, *, resamples: int = 2000, seed: int = 0) -> Agreement:
    """Measure how well a quantity is said, with 95% bootstrap intervals by patient.

    Args:
        table: The table; rows without known truth are left out.
        resamples: Number of bootstrap resamples, at least 1.
        seed: Seed of the resamples; equal seeds give equal intervals.

    Returns:
        The agreement.

    Raises:
        ValueError: If no row has a known truth.

    Example:
        >>> table = Measurements(tuple("abcd"), tuple("abcd"), ("",) * 4, ("",) * 4, ("",) * 4, np.full(4, 15.0),
        ...                      np.array([11.0, 12.0, 16.0, 19.0]), "IOP", "mmHg", True, ("",) * 4)
        >>> agreement(table, resamples=50).headline["r2"].reason
        'the truth is the same in all 4 images'

    References:
        Bland & Altman, "Measuring agreement in method comparison studies", Stat Methods Med Res 1999;8:135.
    """
    if not table.labelled.any():
        raise ValueError(f"no row has a known {table.name}, so nothing can be measured; use predict for such images")
    known = table.select(table.labelled)
    patients = len(set(known.patients))

    def statistic(weights: Array) -> Array:
        return agree(known.truth, known.said, weights)

    samples = bootstrap(statistic, known.patients, resamples=resamples, seed=seed)
    answers = estimates(
        statistic(np.ones((1, len(known))))[0], samples, reasons_undefined(known.truth, known.said), patients
    )
    return Agreement(
        n=len(known),
        unlabelled=len(table) - len(known),
        patients=patients,
        patients_known=known.patients_known,
        name=known.name,
        unit=known.unit,
        resamples=resamples,
        seed=seed,
        headline=dict(zip(TITLES, answers, strict=True)),
    )


def agree(truth: Array, said: Array, weights: Array) -> Array:
    """Compute every measure of agreement on every resample at once.

    The limits of agreement are bias ± 1.96 standard deviations of the errors of single images. The ICC is that of
    absolute agreement between two raters, truth and model, each asked once. It and the concordance are undefined
    where the truth is the same everywhere: there is nothing to agree on, and their 0 would look like a finding.

    Args:
        truth: Shape (N,), no NaN.
        said: Shape (N,), no NaN.
        weights: How often each row counts, shape (B, N), whole and not negative.

    Returns:
        Shape (B, 10) in the order of ``TITLES``; NaN where undefined.

    Example:
        >>> truth, said = np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 2.0, 4.0, 4.0])
        >>> dict(zip(TITLES, agree(truth, said, np.ones((1, 4)))[0].round(3).tolist()))["bias"]
        0.5

    References:
        Bland & Altman, Lancet 1986;1:307 (limits of agreement); Shrout & Fleiss, "Intraclass correlations", Psychol
        Bull 1979;86:420, ICC(2,1); Lin, "A concordance correlation coefficient", Biometrics 1989;45:255.
    """
    error = said - truth
    total = weights.sum(axis=1)
    # Taken from near their middle, so that squares do not swallow the spread.
    t, s, e = (values - (np.median(values) if len(values) else 0.0) for values in (truth, said, error))
    sums = weights @ np.stack([np.abs(error), error**2, error, t, t**2, s, s**2, t * s, e, e**2], axis=1)
    mae, square, bias, t1, t2, s1, s2, ts, e1, e2 = share(sums, np.broadcast_to(total[:, None], sums.shape)).T
    in_truth, in_said, in_error = (_variance(one, two) for one, two in ((t1, t2), (s1, s2), (e1, e2)))
    together = ts - t1 * s1
    spread = np.sqrt(share(in_error * total, total - 1))
    varied = np.where(in_truth > 0, 1.0, np.nan)
    # Two-way analysis of variance with two raters: 2 cov = (mean square of rows - of residuals) (n - 1) / n.
    raters = share((total - 1) * bias**2 - in_error, total)
    return np.stack(
        [
            mae,
            np.sqrt(square),
            bias,
            bias - _LIMIT * spread,
            bias + _LIMIT * spread,
            1 - share(square, in_truth),
            np.clip(share(together, np.sqrt(in_truth * in_said)), -1, 1),
            _rank_correlation(truth, said, weights),
            varied * share(2 * together, in_truth + in_said + raters),
            varied * share(2 * together, in_truth + in_said + bias**2),
        ],
        axis=1,
    )


def reasons_undefined(truth: Array, said: Array) -> list[str]:
    """Say why each measure would be undefined on the data itself.

    Args:
        truth: Shape (N,), no NaN.
        said: Shape (N,), no NaN.

    Returns:
        A sentence per key of ``TITLES``, empty where the measure is defined.

    Example:
        >>> reasons_undefined(np.array([1.0, 2.0]), np.array([3.0, 3.0]))[6]
        'the prediction is the same in all 2 images'

    References:
        Our own.
    """
    count = len(truth)
    if count < 2:
        none = "no image has a known truth" if count == 0 else "one image has no spread"
        return [none if count == 0 or name not in ("mae", "rmse", "bias") else "" for name in TITLES]
    flat = f"the truth is the same in all {count:,} images" if np.ptp(truth) == 0 else ""
    still = flat or (f"the prediction is the same in all {count:,} images" if np.ptp(said) == 0 else "")
    return ["", "", "", "", "", flat, still, still, flat, flat]


def digits_for(error: float) -> int:
    """Choose how many digits numbers deserve: three figures of the error they have.

    Args:
        error: Size of a typical error, at least 0; NaN when not known.

    Returns:
        Digits after the point, 0 to 6.

    Example:
        >>> digits_for(2.31), digits_for(0.0483), digits_for(413.0), digits_for(0.0)
        (2, 4, 0, 2)

    References:
        Our own.
    """
    return min(6, max(0, 2 - math.floor(math.log10(error)))) if error > 0 else 2


def _variance(first: Array, second: Array) -> Array:
    """Variance from the means of values and of squares; exactly 0 where rounding alone is left."""
    found = second - first**2
    return np.where(found > _ROUNDING * second, found, np.where(np.isnan(found), np.nan, 0.0))


def _rank_correlation(truth: Array, said: Array, weights: Array) -> Array:
    """Spearman's correlation: that of the ranks, ties sharing their mean rank."""
    middle = weights.sum(axis=1, keepdims=True) / 2
    one, two = _ranks(truth, weights) - middle, _ranks(said, weights) - middle
    above, first, second = ((weights * a * b).sum(axis=1) for a, b in ((one, two), (one, one), (two, two)))
    return np.clip(share(above, np.sqrt(first * second)), -1, 1)


def _ranks(values: Array, weights: Array) -> Array:
    """Mean rank of each row among the rows as often as they count, less one half: shape (B, N), with mean n / 2."""
    distinct, place = np.unique(values, return_inverse=True)
    if not len(distinct):
        return weights
    order = np.argsort(place, kind="stable")
    tied = np.add.reduceat(weights[:, order], np.searchsorted(place[order], np.arange(len(distinct))), axis=1)
    return np.asarray((np.cumsum(tied, axis=1) - tied / 2)[:, place])

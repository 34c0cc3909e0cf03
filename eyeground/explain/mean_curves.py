"""Deletion and insertion curves of many images, beside those of a random order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eyeground.evaluate.confidence import Estimate
from eyeground.explain.averages import averages
from eyeground.explain.deletion import Curves


@dataclass(frozen=True, eq=False)
class MeanCurves:
    """Deletion and insertion curves, averaged over images, beside those of a random order.

    Args:
        method: Means over images.
        random: Means over the same images, their cells in random order.
        deletion: Area under the deletion curve. Lower is better.
        insertion: Area under the insertion curve. Higher is better.
        deletion_gain: How far ``deletion`` lies below that of the random order, image by image.
        insertion_gain: How far ``insertion`` lies above it.
        images: How many images were looked at.

    Example:
        >>> flat = Curves(np.array([0.0, 1.0]), np.ones(2), np.ones(2))
        >>> MeanCurves(flat, flat, Estimate(1.0), Estimate(1.0), Estimate(0.0), Estimate(0.0), 3).to_json()["images"]
        3

    References:
        Petsiuk, Das & Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models", BMVC 2018.
    """

    method: Curves
    random: Curves
    deletion: Estimate
    insertion: Estimate
    deletion_gain: Estimate
    insertion_gain: Estimate
    images: int

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "method": self.method.to_json(),
            "random": self.random.to_json(),
            "deletion": self.deletion.to_json(),
            "insertion": self.insertion.to_json(),
            "deletion_gain": self.deletion_gain.to_json(),
            "insertion_gain": self.insertion_gain.to_json(),
            "images": self.images,
        }


def mean_curves(
    found: Sequence[Curves], random: Sequence[Curves], patients: Sequence[str], *, resamples: int = 2000, seed: int = 0
) -> MeanCurves:
    """Average curves over images.

    Args:
        found: Of a method, one for each image, all at the same fractions, at least one.
        random: Of a random order, for the same images.
        patients: Patient of each image; the image's own where patients are not known.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.

    Returns:
        Means, areas and gains, each with its 95% interval.

    Raises:
        ValueError: If there is no image, or the lists differ in length.

    Example:
        >>> steps = np.array([0.0, 1.0])
        >>> good, chance = Curves(steps, np.array([1.0, 0.0]), np.ones(2)), Curves(steps, np.ones(2), np.ones(2))
        >>> mean_curves([good, good], [chance, chance], ["a", "b"], resamples=9).deletion_gain.value
        0.5

    References:
        As in ``MeanCurves``.
    """
    if not found or not len(found) == len(random) == len(patients):
        raise ValueError(f"each image needs its curves: got {len(found)}, {len(random)} and {len(patients)} patients")
    values = np.array(
        [
            (
                one.deletion_auc,
                one.insertion_auc,
                chance.deletion_auc - one.deletion_auc,
                one.insertion_auc - chance.insertion_auc,
            )
            for one, chance in zip(found, random, strict=True)
        ]
    )
    made = averages(values, patients, reasons=["the score is not a number"] * 4, resamples=resamples, seed=seed)
    return MeanCurves(_mean(found), _mean(random), made[0], made[1], made[2], made[3], len(found))


def _mean(curves: Sequence[Curves]) -> Curves:
    """Average point by point."""
    deletion, insertion = (
        np.mean([getattr(each, name) for each in curves], axis=0) for name in ("deletion", "insertion")
    )
    return Curves(curves[0].fractions, deletion, insertion)

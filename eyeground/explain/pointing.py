"""The pointing game: does the peak of a map hit the lesion, more often than chance and than the maps' usual place?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from eyeground.evaluate.confidence import Estimate
from eyeground.explain.averages import LEAST_IMAGES, averages

# Of the square's side: 8 px at 224. Zhang et al. allow 15 px on pictures of about 500 px, 1/33.
TOLERANCE: Final = 1 / 28
_NO_LESION = "no image has a lesion to hit"


@dataclass(frozen=True)
class Hits:
    """How often the peaks of maps lie on lesions.

    Args:
        rate: Share of maps whose peak lies on the lesion, or no farther from it than the tolerance.
        chance: The same of a peak anywhere in the visible field.
        mismatched: The same of the maps' peaks on the lesions of other patients: what is due to their usual place.
        above_chance: ``rate`` less ``chance``, image by image.
        above_mismatched: ``rate`` less ``mismatched``, image by image.
        images: How many images have a lesion.
        patients: How many patients they are of.
        empty: How many of their maps are empty and hit nothing.

    Example:
        >>> low, high = Estimate(0.1, 0.05, 0.15), Estimate(0.5, 0.4, 0.6)
        >>> Hits(high, low, low, Estimate(0.4, 0.3, 0.5), Estimate(0.4, -0.1, 0.5), 40, 20, 0).passed
        False

    References:
        Zhang et al., "Top-down Neural Attention by Excitation Backprop", Int J Comput Vis 2018;126:1084. The
        comparison with other images' lesions is our own.
    """

    rate: Estimate
    chance: Estimate
    mismatched: Estimate
    above_chance: Estimate
    above_mismatched: Estimate
    images: int
    patients: int
    empty: int

    @property
    def passed(self) -> bool:
        """Whether both differences are above 0 with their whole interval, on images enough for an interval."""
        return self.images >= LEAST_IMAGES and self.above_chance.low > 0 and self.above_mismatched.low > 0

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "rate": self.rate.to_json(),
            "chance": self.chance.to_json(),
            "mismatched": self.mismatched.to_json(),
            "above_chance": self.above_chance.to_json(),
            "above_mismatched": self.above_mismatched.to_json(),
            "images": self.images,
            "patients": self.patients,
            "empty": self.empty,
            "tolerance": TOLERANCE,
            "passed": self.passed,
        }


def hits(
    heats: NDArray[np.float32],
    lesions: NDArray[np.bool_],
    visible: NDArray[np.bool_],
    patients: Sequence[str],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> Hits:
    """Play the pointing game.

    Where several pixels are the highest, the share of them that hit counts: a map that is the same everywhere hits as
    often as chance. A peak in the black around the field misses; so does an empty map. Other patients' lesions are
    taken over all images, so intervals hold for images drawn anew on which the same other lesions are laid.

    Args:
        heats: Maps, shape (N, H, W).
        lesions: Where disease is, shape (N, H, W); images without any are left out.
        visible: Where something is seen, shape (N, H, W).
        patients: Patient of each image, N names; the image's own where patients are not known.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.

    Returns:
        The rates, each with its 95% interval.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> lesions = np.zeros((2, 56, 56), bool)
        >>> lesions[0, 10, 10] = lesions[1, 40, 40] = True
        >>> heats = lesions.astype(np.float32)
        >>> found = hits(heats, lesions, np.ones_like(lesions), ["a", "b"], resamples=20)
        >>> found.rate.value, round(found.chance.value, 4), found.mismatched.value
        (1.0, 0.0041, 0.0)

    References:
        As in ``Hits``.
    """
    if not heats.shape == lesions.shape == visible.shape or len(patients) != len(heats):
        raise ValueError(
            f"maps, lesions and visible fields share one shape, with a patient each: got {heats.shape}, "
            f"{lesions.shape}, {visible.shape} and {len(patients)} patients"
        )
    ill: list[int] = np.flatnonzero(lesions.any(axis=(1, 2))).tolist()
    names = [patients[index] for index in ill]
    targets = np.stack([dilated(lesions[index]) & visible[index] for index in ill]) if len(ill) else lesions[:0]
    rows = np.full((len(ill), 5), np.nan)
    others = np.asarray(names, dtype=object)
    for row, index in enumerate(ill):
        heat = heats[index]
        # (images whose lesions are hit): the share of the highest pixels that lie on each lesion
        struck = targets[:, heat == heat.max()].mean(axis=1) if heat.any() else np.zeros(len(ill))
        other = others != others[row]
        chance = float(targets[row].sum() / max(1, int(visible[index].sum())))
        mismatched = float(struck[other].mean()) if other.any() else np.nan
        rows[row] = struck[row], chance, mismatched, struck[row] - chance, struck[row] - mismatched
    alone = "all images with a lesion are of one patient" if len(ill) else _NO_LESION
    reasons = [_NO_LESION, _NO_LESION, alone, _NO_LESION, alone]
    made = averages(rows, names, reasons=reasons, resamples=resamples, seed=seed)
    empty = sum(not heats[index].any() for index in ill)
    return Hits(made[0], made[1], made[2], made[3], made[4], len(ill), len(set(names)), empty)


def dilated(lesion: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Widen a lesion by the tolerance.

    Args:
        lesion: Shape (H, W).

    Returns:
        Where the lesion is no farther than 1/28 of the side.

    Example:
        >>> spot = np.zeros((56, 56), bool)
        >>> spot[20, 20] = True
        >>> int(dilated(spot).sum())
        13

    References:
        Zhang et al., Int J Comput Vis 2018.
    """
    if not lesion.any():
        return lesion.copy()
    return np.asarray(ndimage.distance_transform_edt(~lesion) <= TOLERANCE * lesion.shape[0], np.bool_)

"""The randomized-weights test: a map must follow the picture and hang on what the network learned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import rankdata

from eyeground.evaluate.confidence import Estimate
from eyeground.explain.averages import LEAST_IMAGES, averages

# Share of the layers, counted from the head, that are drawn anew; 0 is the classifier alone.
STAGES: Mapping[str, float] = {"head": 0.0, "last quarter": 0.25, "last half": 0.5, "all": 1.0}
CELLS: Final = 14
_FLAT = "every map of a pair is flat: ranks of nothing cannot be compared"


@dataclass(frozen=True)
class WeightsTest:
    """What becomes of maps when the weights are drawn anew.

    Args:
        same: Rank correlation of an image's map with that of its mirror image, mirrored back: the network as it is.
        randomized: Stage to rank correlation with the map of the network whose layers were drawn anew up to there.
        difference: ``same`` less that of the stage ``"all"``, image by image.
        images: How many images were looked at.
        compared: How many of these have a difference: both pairs of maps have ranks.

    Example:
        >>> WeightsTest(Estimate(0.9), {"all": Estimate(0.1)}, Estimate(0.8, 0.7, 0.9), 40, 40).passed
        True

    References:
        Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018, for the weights. The mirror image is our own: a
        map that is noise changes with the weights too.
    """

    same: Estimate
    randomized: Mapping[str, Estimate]
    difference: Estimate
    images: int
    compared: int

    @property
    def passed(self) -> bool:
        """Whether the difference is above 0 with its whole interval, on images enough for an interval."""
        return self.compared >= LEAST_IMAGES and self.difference.low > 0

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "same": self.same.to_json(),
            "randomized": {stage: found.to_json() for stage, found in self.randomized.items()},
            "difference": self.difference.to_json(),
            "images": self.images,
            "compared": self.compared,
            "passed": self.passed,
        }


def weights_test(
    heats: NDArray[np.float32],
    mirrored: NDArray[np.float32],
    randomized: Mapping[str, NDArray[np.float32]],
    patients: Sequence[str],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> WeightsTest:
    """Compare maps with those of mirrored images and of networks without what was learned.

    A map shuffled anew each time resembles neither; a map that ignores the weights, such as the picture's edges,
    resembles both alike. Neither has a difference above 0.

    Args:
        heats: Maps of the network, shape (N, H, W).
        mirrored: Maps of the images mirrored left to right, as the network sees them, shape (N, H, W).
        randomized: Stage to maps of the network with layers drawn anew, shape (N, H, W) each; ``"all"`` must be there.
        patients: Patient of each image, N names; the image's own where patients are not known.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.

    Returns:
        The correlations, each with its 95% interval. An image with a flat map has no ranks and is left out.

    Raises:
        ValueError: If the shapes differ, or the stage ``"all"`` is missing.

    Example:
        >>> heats = np.random.default_rng(0).random((3, 28, 28), np.float32)
        >>> edges = weights_test(heats, heats[:, :, ::-1], {"all": heats}, ["a", "b", "c"], resamples=20)
        >>> round(edges.same.value, 3), edges.difference.value, edges.passed
        (1.0, 0.0, False)

    References:
        As in ``WeightsTest``.
    """
    if "all" not in randomized:
        raise ValueError("the test needs maps of a network all of whose weights were drawn anew: stage 'all'")
    shapes = {heats.shape, mirrored.shape, *(made.shape for made in randomized.values())}
    if len(shapes) > 1 or len(patients) != len(heats):
        raise ValueError(
            f"all maps share one shape, with a patient each: got {sorted(shapes)}, {len(patients)} patients"
        )
    columns = [
        [similarity(one, other) for one, other in zip(heats, made, strict=True)]
        for made in (mirrored[:, :, ::-1], *randomized.values())
    ]
    stages = list(randomized)
    same, whole = np.array(columns[0]), np.array(columns[1 + stages.index("all")])
    values = np.array([*columns, same - whole], np.float64).T  # (N, 2 + stages)
    reasons = [_FLAT] * values.shape[1]
    made = averages(values, patients, reasons=reasons, resamples=resamples, seed=seed)
    by_stage = dict(zip(stages, made[1:-1], strict=True))
    return WeightsTest(made[0], by_stage, made[-1], len(heats), int(np.isfinite(values[:, -1]).sum()))


def similarity(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Correlate the ranks of two maps, each averaged over 14 x 14 cells.

    Args:
        one: Shape (H, W).
        other: Shape (H, W).

    Returns:
        Spearman's correlation, [-1, 1]; NaN where a map is flat.

    Example:
        >>> ramp = np.arange(196, dtype=np.float32).reshape(14, 14)
        >>> round(similarity(ramp, ramp**3), 6), round(similarity(ramp, -ramp), 6)
        (1.0, -1.0)

    References:
        Spearman, Am J Psychol 1904;15:72.
    """
    ranks = [rankdata(_pooled(each)) for each in (one, other)]
    centered = [each - each.mean() for each in ranks]
    spread = float(np.sqrt((centered[0] ** 2).sum() * (centered[1] ** 2).sum()))
    return float((centered[0] * centered[1]).sum()) / spread if spread > 0 else float("nan")


def _pooled(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average a map over cells, row by row."""
    image = Image.fromarray(np.ascontiguousarray(heat, np.float32))
    return np.asarray(image.resize((CELLS, CELLS), Image.Resampling.BOX)).ravel()

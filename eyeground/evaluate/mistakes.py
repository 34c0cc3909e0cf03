"""The most confident wrong answers: the first pictures a doctor asks to see."""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eyeground.evaluate.predictions import Predictions


@dataclass(frozen=True)
class Mistake:
    """One image that was taken for another class.

    Args:
        row: Row in the prediction table, which is also what a pixel source is asked for.
        file: Its path as the data set names it.
        eye: ``"OD"``, ``"OS"`` or ``""``.
        truth: Name of the true class.
        said: Name of the predicted class.
        score: Score of the predicted class, [0, 1].
        truth_score: Score of the true class, [0, 1].

    Example:
        >>> Mistake(0, "a.png", "OD", "normal", "drusen", 0.9, 0.1).said
        'drusen'

    References:
        Our own.
    """

    row: int
    file: str
    eye: str
    truth: str
    said: str
    score: float
    truth_score: float


def most_confident(predictions: Predictions, count: int = 12) -> tuple[Mistake, ...]:
    """Find the wrong answers that the model was surest of.

    Args:
        predictions: The table; rows without known truth are no mistakes.
        count: How many at most.

    Returns:
        Mistakes, the surest first; of equal scores the earlier row first.

    Example:
        >>> table = Predictions(("a", "b"), ("a", "b"), ("", ""), ("", ""), ("", ""), np.array([0, 1]),
        ...                     np.array([[0.9, 0.1], [0.8, 0.2]]), ("normal", "drusen"), False, True, ("", ""))
        >>> [(wrong.file, wrong.truth, wrong.said) for wrong in most_confident(table)]
        [('b', 'drusen', 'normal')]

    References:
        Our own.
    """
    said, sure = predictions.said, predictions.scores.max(axis=1)
    wrong = np.flatnonzero(predictions.labelled & (said != predictions.truth))
    chosen = wrong[np.argsort(-sure[wrong], kind="stable")][:count].tolist()
    return tuple(
        Mistake(
            row,
            predictions.files[row],
            predictions.eyes[row],
            predictions.classes[predictions.truth[row]],
            predictions.classes[said[row]],
            float(sure[row]),
            float(predictions.scores[row, predictions.truth[row]]),
        )
        for row in chosen
    )


def thumbnail(pixels: NDArray[np.uint8], side_px: int = 320) -> bytes:
    """Shrink a picture and pack it as JPEG.

    Args:
        pixels: Colors, shape (H, W, 3), uint8.
        side_px: The longer side is brought to between this and twice this, by averaging whole blocks. Unit: px.

    Returns:
        Bytes of a JPEG file, without any metadata of the original.

    Raises:
        ValueError: If the pixels are not (H, W, 3) uint8.

    Example:
        >>> thumbnail(np.zeros((1000, 800, 3), np.uint8))[:2].hex()
        'ffd8'

    References:
        Our own.
    """
    from matplotlib.image import imsave

    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
        raise ValueError(f"pixels must be (H, W, 3) uint8, got {pixels.shape} {pixels.dtype}")
    block = max(1, max(pixels.shape[:2]) // side_px)
    height, width = (max(1, length // block) for length in pixels.shape[:2])
    cut = pixels[: height * block, : width * block]
    if cut.shape[0] == height * block and cut.shape[1] == width * block:
        small = cut.reshape(height, block, width, block, 3).mean(axis=(1, 3)).round().astype(np.uint8)
    else:  # one side is shorter than a block
        small = pixels[::block, ::block]
    packed = io.BytesIO()
    imsave(packed, np.ascontiguousarray(small), format="jpeg", pil_kwargs={"quality": 82})
    return packed.getvalue()

"""Images that cannot be graded at all."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from eyeground.images.retinal_image import RetinalImage

LEAST_SIDE_PX: Final = 64  # below it a vessel is thinner than a pixel
# On 4,193 real images (EyePACS, ODIR with its cataracts, OCTDL, a second OCT device) the darkest photograph's brightest
# 0.2% begin at 36, the lightest scan's darkest 0.2% end at 61, and the flattest image spans 36 levels.
_BLACK = 12
_WHITE = 243
_FLAT = 6


def verdict(image: RetinalImage) -> str:
    """Say whether an image is unmistakably not gradable.

    Only what no one could dispute is measured: too few pixels, no picture at all (one flat color), nearly all black,
    nearly all white. A hazy, dark or overexposed photograph passes: haze is what a cataract looks like.

    Args:
        image: The image as decoded, before any crop.

    Returns:
        ``""`` if no fault was found, else ``"cannot grade: <reason>"``.

    Example:
        >>> verdict(RetinalImage(np.zeros((200, 200, 3), np.uint8), "a.png"))
        'cannot grade: the image is nearly all black'

    References:
        Our own; the limits were set on public photographs and scans so that none of them is refused.
    """
    height, width = image.pixels.shape[:2]
    if min(height, width) < LEAST_SIDE_PX:
        return f"cannot grade: the image is only {width}x{height} px, at least {LEAST_SIDE_PX} are needed on each side"
    low, high = _ranges(image.pixels)
    if high.max() < _BLACK:
        return "cannot grade: the image is nearly all black"
    if low.min() > _WHITE:
        return "cannot grade: the image is nearly all white"
    if (high - low).max() < _FLAT:
        return "cannot grade: the image is one flat color"
    return ""


def _ranges(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Levels of each color that 0.2% of the pixels fall below and above, over a sample of at most about 250,000."""
    step = max(1, round((pixels.shape[0] * pixels.shape[1] / 250_000) ** 0.5))
    low, high = np.percentile(pixels[::step, ::step].reshape(-1, 3), (0.2, 99.8), axis=0)
    return low, high

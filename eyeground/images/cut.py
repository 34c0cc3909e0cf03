"""Which part of an image was cut out."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cut:
    """Which part of an image was cut out. Beyond the image's edge it was filled with black.

    Args:
        width: Of the whole image. Unit: px.
        height: Of the whole image. Unit: px.
        left: First column of the part; negative where it begins before the image.
        top: First row of it.
        right: First column behind it.
        bottom: First row below it.

    Example:
        >>> Cut(640, 480, 80, 0, 560, 480).right
        560

    References:
        Our own.
    """

    width: int
    height: int
    left: int
    top: int
    right: int
    bottom: int

"""A lesion mask brought to the square that the network sees, the way its image was."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from eyeground.data.pixels import PixelStore
from eyeground.data.preprocessing import Preprocessing, square
from eyeground.images.field import crop, crop_photograph, find_field
from eyeground.images.retinal_image import RetinalImage


def mask_in_square(image: RetinalImage, mask: NDArray[np.bool_], preprocessing: Preprocessing) -> NDArray[np.bool_]:
    """Crop, shrink and resize a mask as its image is.

    Args:
        image: The image as decoded.
        mask: Where disease is, shape (H, W) of the image.
        preprocessing: The network's.

    Returns:
        Shape (image_px, image_px): True where at least half of a pixel is disease, and at the middle of each lesion, so
        that the smallest spots are not lost.

    Raises:
        ValueError: If the mask is not as large as the image.

    Example:
        >>> photograph = RetinalImage(np.full((64, 64, 3), 90, np.uint8), "a.png")
        >>> spot = np.zeros((64, 64), bool)
        >>> spot[20:30, 40:50] = True
        >>> found = mask_in_square(photograph, spot, Preprocessing(image_px=32, fit="squash"))
        >>> found.shape, int(found.sum()), bool(found[12, 22])
        ((32, 32), 25, True)

    References:
        ``eyeground.data.pixels.PixelStore.ready`` and ``eyeground.data.preprocessing.square``, which it follows.
    """
    if mask.shape != image.pixels.shape[:2]:
        raise ValueError(f"{image.source}: the mask is {mask.shape}, the image {image.pixels.shape[:2]}")
    drawn = np.repeat(mask[:, :, None], 3, axis=2).astype(np.uint8) * 255
    # Whether there is a field to crop to is the image's business: a mask has none.
    if preprocessing.crop_field and crop_photograph(image) is not image:
        field = find_field(image.pixels)
        drawn = drawn if field is None else crop(drawn, field)
    plain = PixelStore(crop_field=False, store_px=preprocessing.store_px, limit_bytes=0)
    small = square(plain.ready(replace(image, pixels=np.ascontiguousarray(drawn))), preprocessing)[:, :, 0]
    return np.asarray((small >= 128) | ((small > 0) & (small == _highest_near(small))), np.bool_)


def _highest_near(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The highest value within a pixel of each."""
    from scipy import ndimage

    return np.asarray(ndimage.maximum_filter(values, size=3), np.uint8)

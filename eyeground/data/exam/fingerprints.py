"""A picture's fingerprint: small, alike for copies that were re-encoded, resized, brightened or slightly cropped."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from eyeground.images.field import find_field

CELLS: Final = 16  # a fingerprint has 16 x 16 cells
_SIDE_PX: Final = 64
_BLOCK_PX: Final = _SIDE_PX // CELLS
# Only the inner part of the field: how a camera cuts its edge is no sign of who was photographed.
_INNER: Final = 0.92
# Widths of the two blurs whose difference keeps vessels, layers and lesions and drops shading. Unit: px of 64.
_FINE_PX, _COARSE_PX = 1.5, 4.0
# What a scan without a round field is compared by, so that a copy with its rim cut off is found: it matches the
# middle of the other one. Unit: fraction of each side.
CUTS: Final = (0.0, 0.03, 0.06)


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """What near-duplicates are looked for with.

    Args:
        detail: Vessels and layers, shape (V, 16, 16), int8: one for the whole, and for pictures without a round field
            one for each further cut in ``CUTS``.
        shade: Brightness, shape (V, 16, 16), uint8; 0 outside the field.
        small: The picture itself, gray, shape (64, 64), uint8; 0 outside the field.
        round: Whether a round field of view was found; then the picture was brought to it.

    Example:
        >>> fingerprint(np.zeros((40, 60, 3), np.uint8)).detail.shape
        (3, 16, 16)

    References:
        Our own.
    """

    detail: NDArray[np.int8]
    shade: NDArray[np.uint8]
    small: NDArray[np.uint8]
    round: bool


def fingerprint(pixels: NDArray[np.uint8]) -> Fingerprint:
    """Take a picture's fingerprint.

    Args:
        pixels: Colors, shape (H, W, 3), uint8.

    Returns:
        Its fingerprint.

    Example:
        >>> noise = np.random.default_rng(0).integers(0, 255, (80, 80, 3), np.uint8)
        >>> fingerprint(noise).round
        False

    References:
        Our own.
    """
    gray, inside, is_round = upright_gray(pixels, _SIDE_PX)
    cuts = CUTS[:1] if is_round else CUTS
    details, shades = [], []
    for cut in cuts:
        middle = without_rim(gray, cut)
        details.append(_blocks(band(middle, inside, _FINE_PX, _COARSE_PX)) * 60)
        shades.append(np.clip(_blocks(middle), 1, 255) * (_blocks(inside.astype(np.float32)) > 0.5))
    detail = np.clip(np.rint(details), -127, 127).astype(np.int8)
    small = np.rint(np.clip(gray, 1, 255) * inside).astype(np.uint8)
    return Fingerprint(detail, np.rint(shades).astype(np.uint8), small, is_round)


def upright_gray(pixels: NDArray[np.uint8], side_px: int) -> tuple[NDArray[np.float32], NDArray[np.bool_], bool]:
    """Bring a picture to a gray square: a photograph by its round field of view, anything else by its whole.

    Args:
        pixels: Colors, shape (H, W, 3), uint8.
        side_px: Side of the square. Unit: px.

    Returns:
        The square, where the picture reaches in it, both (side_px, side_px), and whether a field was found.

    Example:
        >>> upright_gray(np.zeros((40, 60, 3), np.uint8), 32)[0].shape
        (32, 32)

    References:
        Our own.
    """
    height, width = pixels.shape[:2]
    field = None if is_gray(pixels) else find_field(pixels)
    if field is None:
        picture = Image.fromarray(pixels).convert("L")
        filter_ = Image.Resampling.BOX if min(height, width) >= side_px else Image.Resampling.BILINEAR
        square = np.asarray(picture.resize((side_px, side_px), filter_), np.float32)
        return square, np.ones((side_px, side_px), bool), False
    radius = field.radius_px * _INNER
    shrink = max(1, int(2 * radius / side_px))
    # Only what is looked at: of a photograph of 15 megapixels the rest takes as long to copy. Whole blocks, so that the
    # means are the same.
    begin_x, begin_y, end_x, end_y = (
        max(0, min(most, (math.floor(edge / shrink) + beside) * shrink))
        for most, edge, beside in (
            (width, field.center_x_px - radius, -1),
            (height, field.center_y_px - radius, -1),
            (width, field.center_x_px + radius, 2),
            (height, field.center_y_px + radius, 2),
        )
    )
    picture = Image.fromarray(np.ascontiguousarray(pixels[begin_y:end_y, begin_x:end_x])).convert("L")
    picture = picture.reduce(shrink) if shrink > 1 else picture
    left, top = ((field.center_x_px - radius - begin_x) / shrink, (field.center_y_px - radius - begin_y) / shrink)
    box = (left, top, left + 2 * radius / shrink, top + 2 * radius / shrink)
    square = np.asarray(
        picture.transform((side_px, side_px), Image.Transform.EXTENT, box, Image.Resampling.BILINEAR), np.float32
    )
    places = (np.arange(side_px) + 0.5) / side_px * 2 - 1  # -1..1 across the circle
    x = field.center_x_px + places * radius
    y = field.center_y_px + places * radius
    reaches = ((y > 1) & (y < height - 1))[:, None] & ((x > 1) & (x < width - 1))[None, :]
    return square, reaches & (places[:, None] ** 2 + places[None, :] ** 2 < 1), True


def is_gray(pixels: NDArray[np.uint8]) -> bool:
    """Tell a picture without color, within what JPEG changes.

    Args:
        pixels: Colors, shape (H, W, 3), uint8.

    Returns:
        Whether its three channels agree.

    Example:
        >>> is_gray(np.full((4, 4, 3), 9, np.uint8)), is_gray(np.full((4, 4, 3), (9, 40, 9), np.uint8))
        (True, False)

    References:
        Our own.
    """
    step = max(1, round((pixels.shape[0] * pixels.shape[1] / 40_000) ** 0.5))
    few = pixels[::step, ::step].astype(np.int16)
    return float((few.max(axis=2) - few.min(axis=2)).mean()) < 3.0


def band(gray: NDArray[np.float32], inside: NDArray[np.bool_], fine_px: float, coarse_px: float) -> NDArray[np.float32]:
    """Keep structures between two sizes, evened out in contrast; the edge of the field leaves no trace.

    Args:
        gray: Shape (H, W).
        inside: Where the picture is, shape (H, W).
        fine_px: Smaller blur. Unit: px.
        coarse_px: Larger blur. Unit: px.

    Returns:
        Shape (H, W); 0 outside.

    Example:
        >>> float(band(np.full((8, 8), 7, np.float32), np.ones((8, 8), bool), 1, 2).max()) < 1e-3
        True

    References:
        Knutsson & Westin, "Normalized and differential convolution", CVPR 1993.
    """
    weight = inside.astype(np.float32)

    def blur(values: NDArray[np.float32], width: float, under: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(ndimage.gaussian_filter(values * weight, width, truncate=3) / under, np.float32)

    under_fine, under_coarse = (
        np.maximum(ndimage.gaussian_filter(weight, width, truncate=3), 1e-3) for width in (fine_px, coarse_px)
    )
    kept = (blur(gray, fine_px, under_fine) - blur(gray, coarse_px, under_coarse)) * weight
    power = blur(np.square(kept), coarse_px, under_coarse)
    contrast = np.sqrt(power) + np.float32(1)  # 1 gray level: flat areas stay flat
    evened: NDArray[np.float32] = kept / contrast * weight
    return evened


def without_rim(gray: NDArray[np.float32], cut: float) -> NDArray[np.float32]:
    """Cut the rim off a square and bring the rest to the same size.

    Args:
        gray: Shape (S, S).
        cut: How much of each side goes. Unit: fraction of the side.

    Returns:
        Shape (S, S).

    Example:
        >>> without_rim(np.ones((8, 8), np.float32), 0.1).shape
        (8, 8)

    References:
        Our own.
    """
    if cut == 0:
        return gray
    side = gray.shape[0]
    box = (cut * side, cut * side, (1 - cut) * side, (1 - cut) * side)
    return np.asarray(
        Image.fromarray(gray).transform((side, side), Image.Transform.EXTENT, box, Image.Resampling.BILINEAR)
    )


def _blocks(square: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average blocks, (64, 64) to (16, 16); mirrored pictures then have mirrored blocks exactly."""
    means: NDArray[np.float32] = square.reshape(CELLS, _BLOCK_PX, CELLS, _BLOCK_PX).mean(axis=(1, 3))
    return means

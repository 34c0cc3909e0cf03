"""The round field of view of a fundus photograph: find it, crop to it."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from eyeground.images.cut import Cut
from eyeground.images.outline import SURE, Outline, find_outline
from eyeground.images.retinal_image import RetinalImage

_WORK_PX = 200  # longest side of the copy searched; half a pixel of it is 0.25% of the image


@dataclass(frozen=True)
class Field:
    """Where the camera saw the retina.

    Args:
        center_x_px: Center of the circle, from the left edge. May lie outside the box when the circle is cut off.
        center_y_px: Center of the circle, from the top edge.
        radius_px: Radius; of a photograph that was squeezed to another shape, the larger half-axis.
        left: First column of the field inside the image. Unit: px.
        top: First row of it.
        right: First column behind it.
        bottom: First row below it.

    Example:
        >>> Field(50, 50, 40, 10, 10, 90, 90).right
        90

    References:
        Our own.
    """

    center_x_px: float
    center_y_px: float
    radius_px: float
    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True, eq=False)
class Window:
    """Which part of a photograph is used, and the pixels that hold it.

    Args:
        pixels: Shape (H, W, 3), uint8. Of a photograph that was decoded whole it is the part, to the pixel.
        part: The part, in px of the photograph in its file.
        box: Left, top, right and bottom of the part in ``pixels``; of one decoded smaller between its pixels.

    Example:
        >>> window(RetinalImage(np.zeros((40, 60, 3), np.uint8), "scan.png")).box
        (0.0, 0.0, 60.0, 40.0)

    References:
        Our own.
    """

    pixels: NDArray[np.uint8]
    part: Cut
    box: tuple[float, float, float, float]


def find_field(pixels: NDArray[np.uint8]) -> Field | None:
    """Find the round field of view of a fundus photograph.

    Several brightness thresholds just above the surround are tried; each gives an outline, and through each outline
    the circle (or upright ellipse, for photographs squeezed to another shape) is laid that most of its points agree
    with. So noise in the surround, notches, flat cut-offs and a dark rim on one side do not matter. White corners, as
    some exports add, count as surround.

    Args:
        pixels: Photograph, shape (H, W, 3), uint8.

    Returns:
        The field; None if there is no dark surround (the photograph is cut tight already) or no round outline.

    Raises:
        ValueError: If the shape is not (H, W, 3).

    Example:
        >>> y, x = np.mgrid[:100, :140]
        >>> disc = ((x - 70) ** 2 + (y - 50) ** 2 < 40**2)[..., None] * np.array([200, 90, 40])
        >>> found = find_field(disc.astype(np.uint8))
        >>> abs(found.center_x_px - 70) < 1 and abs(found.radius_px - 40) < 1
        True

    References:
        Fischler & Bolles, "Random sample consensus", Commun. ACM 1981;24:381. The rest our own.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"a photograph must be (H, W, 3), got {pixels.shape}")
    if min(pixels.shape[:2]) < 16:
        return None
    small, step = _small(pixels, 1, pixels.shape[:2])
    return _field_in(small, _white_surround(small), step, pixels.shape[:2])


def _field_in(
    small: NDArray[np.uint8], surround: NDArray[np.bool_] | None, step: float, size: tuple[int, ...]
) -> Field | None:
    """Find the field in the small copy, in pixels of the whole."""
    if surround is not None:
        small = np.where(surround[:, :, None], np.uint8(0), small)
    light = _brightest(small).astype(np.float32)
    best: Outline | None = None
    for threshold in _thresholds(light):
        outline = find_outline(light > threshold)
        if outline is not None and (best is None or outline.score > best.score + 0.02):
            best = outline
        if best is not None and best.score > SURE:
            break
    return None if best is None else _to_field(best, step, size[1], size[0])


def crop(pixels: NDArray[np.uint8], field: Field) -> NDArray[np.uint8]:
    """Cut out the field and pad it with black to a square centered on it.

    The side is the smallest that holds the whole box around the field's center, so a whole circle fills the square and
    a circle cut off on one side keeps its center in the middle.

    Args:
        pixels: Photograph, shape (H, W, 3), uint8.
        field: Where its field is, as ``find_field`` gives it.

    Returns:
        A new array, shape (S, S, 3), uint8.

    Example:
        >>> crop(np.full((60, 100, 3), 9, np.uint8), Field(50, 30, 40, 10, 0, 90, 60)).shape
        (80, 80, 3)

    References:
        Our own.
    """
    left, top, side = _square_around(field)
    square = np.zeros((side, side, 3), np.uint8)
    square[field.top - top : field.bottom - top, field.left - left : field.right - left] = pixels[
        field.top : field.bottom, field.left : field.right
    ]
    return square


def _square_around(field: Field) -> tuple[int, int, int]:
    """Left, top and side of what a photograph is cropped to; it may reach beyond the photograph."""
    center_x, center_y = round(field.center_x_px), round(field.center_y_px)
    half = max(center_x - field.left, field.right - center_x, center_y - field.top, field.bottom - center_y, 1)
    return center_x - half, center_y - half, 2 * half


def crop_photograph(image: RetinalImage) -> RetinalImage:
    """Crop a fundus photograph to its field of view; let anything else pass by unchanged.

    The one call that training and prediction share. OCT scans pass by: those marked so, and, where nothing is known of
    the modality, gray pictures (R = G = B within what JPEG changes). A gray (red-free) photograph is cropped only if it
    is marked ``"fundus"``. A photograph without a dark surround passes by too. A white surround is made black.

    Args:
        image: Any retinal image.

    Returns:
        The image with cropped pixels, or the same object.

    Example:
        >>> scan = RetinalImage(np.zeros((40, 60, 3), np.uint8), "scan.png")
        >>> crop_photograph(scan) is scan
        True

    References:
        Our own.
    """
    return cut_photograph(image)[0]


def cut_photograph(image: RetinalImage) -> tuple[RetinalImage, Cut]:
    """Crop a photograph as ``crop_photograph`` does, and say where that was.

    Args:
        image: Any retinal image.

    Returns:
        The image with cropped pixels, or the same object; and the part that it is.

    Example:
        >>> cut_photograph(RetinalImage(np.zeros((40, 60, 3), np.uint8), "scan.png"))[1]
        Cut(width=60, height=40, left=0, top=0, right=60, bottom=40)

    References:
        Our own.
    """
    found = window(image)
    return (image if found.pixels is image.pixels else replace(image, pixels=found.pixels)), found.part


def window(image: RetinalImage, *, crop_field: bool = True) -> Window:
    """Find the part of a picture that is used, as ``crop_photograph`` does, also in one that was decoded smaller.

    The field is looked for at the same places of the photograph, whether it was decoded whole or smaller, and cut in
    its own pixels, so that the edges of the part may lie between those of the smaller picture.

    Args:
        image: Any retinal image.
        crop_field: Whether photographs are cropped at all.

    Returns:
        The part, and pixels that hold it.

    Example:
        >>> y, x = np.mgrid[:400, :600]
        >>> disc = ((x - 300) ** 2 + (y - 200) ** 2 < 190**2)[..., None] * np.array([200, 90, 40])
        >>> whole = window(RetinalImage(disc.astype(np.uint8), "a.png"))
        >>> half = disc.reshape(200, 2, 300, 2, 3).mean(axis=(1, 3)).astype(np.uint8)
        >>> part = window(RetinalImage(half, "a.jpg", shrunk=2, full_size=(400, 600))).part
        >>> abs(part.left - whole.part.left) <= 2 and abs(part.bottom - whole.part.bottom) <= 2
        True

    References:
        Our own.
    """
    pixels, times, (height, width) = image.pixels, image.shrunk, image.size
    everything = Window(pixels, Cut(width, height, 0, 0, width, height), (0.0, 0.0, width / times, height / times))
    if not crop_field or image.modality == "oct":
        return everything
    small, step = _small(pixels, times, image.size) if min(height, width) >= 2 else (pixels, 1.0)
    if min(height, width) < 16 or (image.modality == "" and _has_no_color(small)):
        return everything
    surround = _white_surround(small)
    field = _field_in(small, surround, step, image.size)
    if field is None:
        return everything
    left, top, side = _square_around(field)
    if surround is not None:
        pixels = _blackened(pixels, surround, step / times)
    part = Cut(width, height, left, top, left + side, top + side)
    # Whole pixels of the smaller picture around the part; without shrinking they are the part.
    begin_x, begin_y = left // times, top // times
    square = np.zeros((-(-(top + side) // times) - begin_y, -(-(left + side) // times) - begin_x, 3), np.uint8)
    rows = slice(field.top // times, -(-field.bottom // times))
    columns = slice(field.left // times, -(-field.right // times))
    square[rows.start - begin_y : rows.stop - begin_y, columns.start - begin_x : columns.stop - begin_x] = pixels[
        rows, columns
    ]
    corner_x, corner_y = left / times - begin_x, top / times - begin_y
    return Window(square, part, (corner_x, corner_y, corner_x + side / times, corner_y + side / times))


def _small(pixels: NDArray[np.uint8], times: int, size: tuple[int, ...]) -> tuple[NDArray[np.uint8], float]:
    """Make a copy of at most about _WORK_PX, each pixel the mean of four samples; also how much smaller it is.

    Of a picture decoded some times smaller, it takes the samples at the same places.
    """
    step = max(1, math.ceil(max(size) / (2 * _WORK_PX)))
    if step % times == 0:
        sampled = pixels[step // 2 // times :: step // times, step // 2 // times :: step // times]
    else:
        rows, columns = (np.arange(step // 2, side, step) // times for side in size)
        sampled = pixels[rows][:, columns]
    height, width = sampled.shape[0] // 2 * 2, sampled.shape[1] // 2 * 2
    sums = sampled[:height, :width].astype(np.uint16)
    sums = sums[0::2] + sums[1::2]
    sums = sums[:, 0::2] + sums[:, 1::2]
    return (sums // 4).astype(np.uint8), 2.0 * step


def _brightest(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Largest of the three colors; ten times as fast as a reduction over an axis of three."""
    return np.maximum(np.maximum(pixels[..., 0], pixels[..., 1]), pixels[..., 2])


def _darkest(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Smallest of the three colors."""
    return np.minimum(np.minimum(pixels[..., 0], pixels[..., 1]), pixels[..., 2])


def _has_no_color(small: NDArray[np.uint8]) -> bool:
    """Tell gray pictures from colored ones, however dark; single colored marks do not make a scan a photograph."""
    spread = _brightest(small) - _darkest(small)
    return float(np.mean(spread > 6)) < 0.02


def _white_surround(small: NDArray[np.uint8]) -> NDArray[np.bool_] | None:
    """Find white that is joined to a white corner, if most corners are white."""
    white = _darkest(small) >= 250
    corners = (white[:4, :4], white[:4, -4:], white[-4:, :4], white[-4:, -4:])
    if sum(bool(corner.all()) for corner in corners) < 3:
        return None
    parts, _ = ndimage.label(white)
    names = {int(parts[y, x]) for y in (0, -1) for x in (0, -1)} - {0}
    surround = np.isin(parts, list(names))
    # A bar thinner than two pixels of the small copy is only half white there; it is followed along the image's edge.
    edge = _darkest(small) >= 100
    edge[3:-3, 3:-3] = False
    surround = ndimage.binary_dilation(surround, iterations=0, mask=edge | surround)
    widened: NDArray[np.bool_] = ndimage.binary_dilation(surround, iterations=2)
    return widened


def _blackened(pixels: NDArray[np.uint8], surround: NDArray[np.bool_], step: float) -> NDArray[np.uint8]:
    """Blacken a white surround: bars of it would tell a network which clinic exported the photograph."""
    rows = np.minimum((np.arange(pixels.shape[0]) // step).astype(np.intp), surround.shape[0] - 1)
    columns = np.minimum((np.arange(pixels.shape[1]) // step).astype(np.intp), surround.shape[1] - 1)
    return np.where(surround[rows][:, columns, None], np.uint8(0), pixels)


def _thresholds(light: NDArray[np.float32]) -> list[float]:
    """Levels between surround and field; none if no corner is clearly darker than the middle."""
    height, width = light.shape
    side = max(3, round(0.04 * max(height, width)))
    corners = (light[:side, :side], light[:side, -side:], light[-side:, :side], light[-side:, -side:])
    darkest = min(corners, key=lambda corner: float(np.percentile(corner, 25)))
    dark = float(np.percentile(darkest, 25))
    noise = float(np.median(np.abs(darkest[darkest <= np.percentile(darkest, 50)] - dark)))
    bright = float(np.percentile(light, 95))  # the smallest field looked for covers an eighth of a square image
    if bright - dark < max(6.0, 0.3 * bright):
        return []
    floor = dark + max(3.0, 5 * noise)
    return [
        floor + part * (bright - dark) for part in (0.02, 0.08, 0.2, 0.4) if floor + part * (bright - dark) < bright
    ]


def _to_field(outline: Outline, step: float, width: int, height: int) -> Field:
    """Bring an outline of the small copy back to the image's own pixels."""
    center_x, center_y = outline.center_x * step, outline.center_y * step
    half_x, half_y = outline.half_x * step, outline.half_y * step
    return Field(
        center_x, center_y, max(half_x, half_y),
        max(0, round(center_x - half_x)), max(0, round(center_y - half_y)),
        min(width, round(center_x + half_x)), min(height, round(center_y + half_y)),
    )  # fmt: skip

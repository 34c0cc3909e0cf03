"""Text burned into the pixels of an image: found where the picture is calm, which is where devices write."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

# At each level of a pyramid letters of these heights are looked for, so that every height is met at one of them.
_LEAST_PX, _MOST_PX = 5, 26
_LARGEST_PX = 2048  # short side of the largest level: in larger pictures letters below 12 px are let go
_SMALLEST_PX = 96  # short side of the smallest level
_STROKE_PX = 9  # what is thinner stands out from an opening of this size; letters of 26 px have strokes of 4
# Gray levels between a stroke and its ground, and the brightest ground that it is looked for on. The black surround of
# a photograph is calm enough for faint text; on tissue and among the speckle of OCT scans only plain text is believed.
# All are tried where all may be, since the strokes of plain text run together in a picture of faint ones.
_FAINT, _FAIR, _PLAIN = (16, 32), (24, 32), (36, 255)
_CALM = 14  # gray levels by which the ground may differ from its median, except for a twelfth of it
_AROUND = ndimage.iterate_structure(ndimage.generate_binary_structure(2, 1), 2)  # a diamond of radius 2
_STROKES = 3  # strokes that a line through the middle of a word crosses at least


@dataclass(frozen=True)
class Region:
    """A box in an image.

    Args:
        x: First column. Unit: px.
        y: First row. Unit: px.
        width: Unit: px.
        height: Unit: px.

    Example:
        >>> print(Region(3, 4, 80, 12))
        80x12 at 3,4

    References:
        Our own.
    """

    x: int
    y: int
    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height} at {self.x},{self.y}"


def find_text(pixels: NDArray[np.uint8]) -> tuple[Region, ...]:
    """Find what looks like lines of text: small strokes of one height in a row, on a calm ground.

    Bright text on dark and dark text on bright, of any color. Letters are looked for everywhere, but only on a ground
    that is even around them: the surround of a photograph, the margin of a scan, the dark vitreous. Text laid over
    vessels or over the layers of an OCT scan is not found, nor is text that runs upwards.

    Args:
        pixels: Image, shape (H, W, 3), uint8.

    Returns:
        Boxes, from top to bottom; one line of text may give several.

    Example:
        >>> from PIL import Image, ImageDraw
        >>> picture = Image.new("RGB", (200, 100))
        >>> find_text(np.asarray(picture))
        ()
        >>> ImageDraw.Draw(picture).text((20, 40), "SMITH 1956")
        >>> found = find_text(np.asarray(picture))
        >>> [40 <= box.y < 50 for box in found]
        [True]

    References:
        Our own. Top-hat: Serra, "Image Analysis and Mathematical Morphology", 1982.
    """
    found: list[Region] = []
    kinds = (_FAINT, _FAIR, _PLAIN) if _is_color(pixels) else (_PLAIN,)
    for light in (_brightest(pixels), 255 - _darkest(pixels)):
        for factor, level in _levels(light):
            for x, y, width, height in _lines(level, kinds):
                found.append(Region(x * factor, y * factor, width * factor, height * factor))
    return _joined(found)


def _brightest(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Largest of the three colors."""
    return np.maximum(np.maximum(pixels[..., 0], pixels[..., 1]), pixels[..., 2])


def _darkest(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Smallest of the three colors."""
    return np.minimum(np.minimum(pixels[..., 0], pixels[..., 1]), pixels[..., 2])


def _levels(light: NDArray[np.uint8]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """The image, its half, its quarter and so on, as far as their sizes are useful."""
    factor = 1
    while True:
        if min(light.shape) <= _LARGEST_PX:
            yield factor, light
        height, width = light.shape[0] // 2 * 2, light.shape[1] // 2 * 2
        if min(height, width) // 2 < _SMALLEST_PX:
            return
        sums = light[:height, :width].astype(np.uint16)
        sums = sums[0::2] + sums[1::2]
        light = ((sums[:, 0::2] + sums[:, 1::2]) // 4).astype(np.uint8)
        factor *= 2


def _is_color(pixels: NDArray[np.uint8]) -> bool:
    """Tell photographs from scans; single colored marks do not make a scan a photograph."""
    thin = pixels[:: max(1, pixels.shape[0] // 300), :: max(1, pixels.shape[1] // 300)]
    return float(np.mean(_brightest(thin) - _darkest(thin) > 6)) > 0.02


def _lines(light: NDArray[np.uint8], kinds: tuple[tuple[int, int], ...]) -> Iterator[tuple[int, int, int, int]]:
    """Boxes (x, y, width, height) of lines of bright text at one level."""
    opened = ndimage.maximum_filter(ndimage.minimum_filter(light, _STROKE_PX), _STROKE_PX)
    # The two filters together reach back to the pixel itself, so the opening is never above the image.
    above = light - np.minimum(opened, light)
    for contrast, brightest in kinds:
        # The opening is the ground beneath a letter, near enough to pass over most of what is no text.
        limit = min(255, brightest + 2 * _CALM)
        parts, count = ndimage.label((above > contrast) & (opened <= limit), structure=np.ones((3, 3)))
        if count:
            parts = _without_specks(parts, count)
            yield from _lines_of(light, parts, _letters(parts), brightest)


def _without_specks(parts: NDArray[np.signedinteger[Any]], count: int) -> NDArray[np.signedinteger[Any]]:
    """Drop parts too small for the smallest letter, which are most: naming each costs more than all else."""
    large = np.bincount(parts.ravel(), minlength=count + 1) >= 0.8 * _LEAST_PX
    large[0] = False
    renamed: NDArray[np.signedinteger[Any]] = np.where(large, np.cumsum(large), 0).astype(np.int32)[parts]
    return renamed


def _lines_of(
    light: NDArray[np.uint8], parts: NDArray[np.signedinteger[Any]], boxes: NDArray[np.intp], brightest: int
) -> list[tuple[int, int, int, int]]:
    """Boxes of those parts that stand in line like letters."""
    boxes = boxes[_calm(light, parts, boxes, brightest)]
    if len(boxes) == 0:
        return []
    peaks = np.asarray(ndimage.maximum(light, parts, boxes[:, 4]), float)
    found = []
    for members in _rows(boxes, peaks):
        top, bottom = boxes[members, 0].min(), boxes[members, 1].max()
        left, right = boxes[members, 2].min(), boxes[members, 3].max()
        height = float(np.median(boxes[members, 1] - boxes[members, 0]))
        if right - left < 1.5 * height or bottom - top > 2 * height:
            continue
        ink = np.isin(parts[top:bottom, left:right], boxes[members, 4])
        middle = ink[int(0.15 * len(ink)) : int(0.85 * len(ink)) + 1].astype(np.int8)
        strokes = (np.diff(middle, axis=1, prepend=0) == 1).sum(axis=1)
        inked = ink[:, ink.any(axis=0)]
        upright = len(inked) - inked.argmax(axis=0) - inked[::-1].argmax(axis=0)  # a slanting line is thin everywhere
        if np.median(strokes) >= _STROKES and np.median(upright) >= 0.5 * len(inked):
            found.append((int(left), int(top), int(right - left), int(bottom - top)))
    return found


def _letters(parts: NDArray[np.signedinteger[Any]]) -> NDArray[np.intp]:
    """Parts of the size of a letter, or of letters that touch: (top, bottom, left, right, name) each."""
    area = np.bincount(parts.ravel())
    found = []
    for name, (down, across) in enumerate(ndimage.find_objects(parts), start=1):
        height, width = down.stop - down.start, across.stop - across.start
        full = area[name] > 0.8 * height * width and width > 0.45 * height  # a block is no letter; an I is
        if _LEAST_PX <= height <= _MOST_PX and width <= 14 * height and area[name] >= 0.8 * height and not full:
            found.append((down.start, down.stop, across.start, across.stop, name))
    return np.array(found, np.intp).reshape(-1, 5)


def _calm(
    light: NDArray[np.uint8], parts: NDArray[np.signedinteger[Any]], boxes: NDArray[np.intp], brightest: int
) -> NDArray[np.bool_]:
    """Tell which letters stand on an even, dark enough ground. Other letters beside them do not count, specks do."""
    is_letter = np.zeros(int(parts.max()) + 1, np.bool_)
    is_letter[boxes[:, 4]] = True
    calm = np.zeros(len(boxes), np.bool_)
    for number, (top, bottom, left, right, _) in enumerate(boxes):
        reach = max(3, int(0.35 * (bottom - top)))
        place = slice(max(0, top - reach), bottom + reach), slice(max(0, left - reach), right + reach)
        # Two pixels around a stroke are half stroke, half ground, or what JPEG made of it.
        covered = ndimage.binary_dilation(is_letter[parts[place]], _AROUND)
        ground = light[place][~covered].astype(np.int16)
        if ground.size < 0.2 * (bottom - top) * (right - left):
            continue
        middle = np.median(ground)
        calm[number] = middle <= brightest and np.mean(np.abs(ground - middle) > _CALM) < 1 / 12
    return calm


def _rows(boxes: NDArray[np.intp], peaks: NDArray[np.float64]) -> Iterator[NDArray[np.intp]]:
    """Letters that stand beside each other, of about one height and one brightness."""
    order = np.argsort(boxes[:, 2], kind="stable")
    tops, bottoms, lefts, rights = boxes[order, :4].T
    heights = bottoms - tops
    first, second = [], []
    for here in range(len(order)):
        # A word space is about a third of the height; two letters of one line are never farther apart than this.
        end = int(np.searchsorted(lefts, rights[here] + 2 * heights[here], side="right"))
        others = np.arange(here + 1, end)
        smaller, larger = np.minimum(heights[here], heights[others]), np.maximum(heights[here], heights[others])
        shared = np.minimum(bottoms[here], bottoms[others]) - np.maximum(tops[here], tops[others])
        alike = (shared >= 0.7 * smaller) & (larger <= 1.6 * smaller + 1) & (lefts[others] - rights[here] <= larger)
        alike &= np.abs(peaks[order[here]] - peaks[order[others]]) <= 50
        first += [here] * int(alike.sum())
        second += others[alike].tolist()
    links = np.array(first, np.intp), np.array(second, np.intp)
    pairs = coo_matrix((np.ones(len(first), np.int8), links), shape=(len(order), len(order)))
    count, names = connected_components(pairs, directed=False)
    for name in range(count):
        yield order[names == name]


def _joined(regions: list[Region]) -> tuple[Region, ...]:
    """Join boxes that overlap: the same text is found at two levels."""
    left = sorted(set(regions), key=lambda box: (box.y, box.x))
    joined: list[Region] = []
    while left:
        box = left.pop(0)
        for other in left:
            if (
                box.x < other.x + other.width and other.x < box.x + box.width
                and box.y < other.y + other.height and other.y < box.y + box.height
            ):  # fmt: skip
                x, y = min(box.x, other.x), min(box.y, other.y)
                right, bottom = (
                    max(box.x + box.width, other.x + other.width),
                    max(box.y + box.height, other.y + other.height),
                )
                left.remove(other)
                left.insert(0, Region(x, y, right - x, bottom - y))
                break
        else:
            joined.append(box)
    return tuple(sorted(joined, key=lambda box: (box.y, box.x)))

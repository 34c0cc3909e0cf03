"""The picture of a heat map: photograph and overlay side by side, in one fixed scale for all pictures."""

import io
import math
from collections.abc import Sequence
from functools import cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from eyeground.data.preprocessing import Pixels
from eyeground.evaluate.wording import shown
from eyeground.explain.evidence import CAPTION
from eyeground.explain.heat_map import HeatMap
from eyeground.images.disc import Disc
from eyeground.images.fovea import Fovea

Language = Literal["en", "zh"]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Times the even share. Below the first nothing is laid over the picture, or its whole field would be tinted.
LEAST: Final = 1.5
LEVELS: Final = (2.0, 4.0, 8.0, 16.0)
_MOST = LEVELS[-1]
# Blue to yellow, even in lightness and safe for the color-blind. Its dark violet end is left out: over a dark retina
# it cannot be seen. No part of it is the red or orange of a fundus.
_COLORS, _FROM = "viridis", 0.3
_STEPS = 256
_COVER = (0.45, 0.7)  # how much of the picture the lowest and the highest level hide

_INK, _GRAY, _PAPER = (29, 41, 57), (93, 105, 121), (255, 255, 255)
_MARK = (255, 255, 255)
_CJK = (
    "NotoSansCJK-Regular.ttc", "NotoSansSC-Regular.otf", "SourceHanSansSC-Regular.otf", "wqy-microhei.ttc",
    "wqy-zenhei.ttc", "PingFang.ttc", "Hiragino Sans GB.ttc", "msyh.ttc", "simhei.ttf",
)  # fmt: skip
_WORDS: dict[str, dict[Language, str]] = {
    "scale": {
        "en": "scale: times the even share; clear below 1.5×",
        "zh": "色标：相对于均匀分布的倍数；低于 1.5× 不着色",
    },
    "empty": {"en": "the map is empty: nothing speaks for the answer", "zh": "热图为空：没有支持该答案的区域"},
    "marks": {"en": "circle: optic disc; cross: fovea", "zh": "圆圈：视盘；十字：黄斑中心凹"},
}


def overlay(
    pixels: Pixels,
    heat: HeatMap,
    *,
    disc: Disc | None = None,
    fovea: Fovea | None = None,
    words: Sequence[str] = (),
    language: Language = "en",
) -> bytes:
    """Draw a heat map over the picture it belongs to.

    The plain picture is at the left, the overlay at the right, the scale beside it. A color means the same in every
    picture, of whatever method: 2, 4, 8, 16 times as much as if all pixels counted alike.

    Args:
        pixels: The square that the network saw, at the size it is shown in, shape (H, H, 3), uint8.
        heat: The map over the same square, at any resolution.
        disc: Drawn as a circle; in px of ``pixels``. None where it was not found.
        fovea: Drawn as a cross.
        words: Lines above the pictures, such as the answer; in any script there is a font for.
        language: Of our own words; where no Chinese font is installed they are English.

    Returns:
        A PNG.

    Raises:
        ValueError: If the picture is no square of at least 64 px.

    Example:
        >>> picture = np.full((128, 128, 3), 90, np.uint8)
        >>> overlay(picture, HeatMap(np.ones((128, 128), np.float32), "grad_cam", "AMD: yes"))[:4]
        b'\\x89PNG'

    References:
        Colors: van der Walt & Smith, "A better default colormap for matplotlib", SciPy 2015. The rest our own.
    """
    side = pixels.shape[0]
    if pixels.ndim != 3 or pixels.shape != (side, side, 3) or side < 64:
        raise ValueError(f"the picture must be a square (H, H, 3) of at least 64 px, got {pixels.shape}")
    if language == "zh" and _chinese(12) is None:
        language = "en"
    size = max(11, round(side / 30))
    font, gap, line = _font(size), size, round(1.6 * size)
    lines = [*words, f"{heat.method} · {heat.target}"]
    marked = disc is not None or fovea is not None
    below = [
        CAPTION[language],
        " · ".join(_WORDS[key][language] for key in ("scale", *(["marks"] if marked else []))),
        *([_WORDS["empty"][language]] if heat.empty else []),
    ]
    bar = 4 * size
    top = gap + line * len(lines)
    page = Image.new("RGB", (2 * side + 4 * gap + bar, top + side + gap // 2 + line * len(below) + gap // 2), _PAPER)
    pen = ImageDraw.Draw(page)
    for number, text in enumerate(lines):
        pen.text((gap, gap // 2 + line * number), _fitted(text, font, page.width - 2 * gap), fill=_INK, font=font)
    page.paste(Image.fromarray(pixels), (gap, top))
    page.paste(Image.fromarray(blend(pixels, heat)), (2 * gap + side, top))
    _mark(pen, (2 * gap + side, top), side, disc, fovea)
    _legend(pen, (3 * gap + 2 * side, top), side, font)
    for number, text in enumerate(below):
        place = (gap, top + side + gap // 2 + line * number)
        pen.text(place, _fitted(text, font, page.width - 2 * gap), fill=_GRAY if number else _INK, font=font)
    file = io.BytesIO()
    page.save(file, "PNG")
    return file.getvalue()


def blend(pixels: Pixels, heat: HeatMap) -> Pixels:
    """Lay the colors of a heat map over a picture.

    Args:
        pixels: Shape (H, W, 3), uint8.
        heat: The map over the same picture, at any resolution.

    Returns:
        Shape (H, W, 3), uint8; as it was where the map is below 1.5 times the even share.

    Example:
        >>> picture = np.full((64, 64, 3), 90, np.uint8)
        >>> bool((blend(picture, HeatMap(np.ones((64, 64), np.float32), "m", "t")) == picture).all())
        True

    References:
        Our own.
    """
    height, width = pixels.shape[:2]
    values = np.asarray(Image.fromarray(heat.values).resize((width, height), Image.Resampling.BILINEAR), np.float32)
    level = level_of(values)  # (H, W)
    cover = np.where(values < LEAST, 0, _COVER[0] + (_COVER[1] - _COVER[0]) * level)[..., None]
    return np.asarray((pixels * (1 - cover) + _colors(level) * cover).round(), np.uint8)


def level_of(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Say where on the scale values lie.

    Args:
        values: Any shape. Unit: times the even share.

    Returns:
        0 at 1.5 times and below, 1 at 16 times and above, between them even in logarithms.

    Example:
        >>> level_of(np.array([1, 16, 99], np.float32)).tolist()
        [0.0, 1.0, 1.0]

    References:
        Our own.
    """
    span = math.log(_MOST / LEAST)
    return np.asarray(np.clip(np.log(np.maximum(values, LEAST) / LEAST) / span, 0, 1), np.float32)


def _mark(pen: ImageDraw.ImageDraw, corner: tuple[int, int], side: int, disc: Disc | None, fovea: Fovea | None) -> None:
    """Draw a circle for the disc and a cross for the fovea, each where it lies in the picture."""
    width = max(1, round(side / 256))
    left, top = corner
    if disc is not None and 0 <= disc.x < side and 0 <= disc.y < side:
        pen.circle((left + disc.x, top + disc.y), disc.radius, outline=_MARK, width=width)
    if fovea is not None and 0 <= fovea.x < side and 0 <= fovea.y < side:
        arm = side / 50
        x, y = left + fovea.x, top + fovea.y
        pen.line([(x - arm, y), (x + arm, y)], fill=_MARK, width=width)
        pen.line([(x, y - arm), (x, y + arm)], fill=_MARK, width=width)


def _legend(pen: ImageDraw.ImageDraw, corner: tuple[int, int], side: int, font: Font) -> None:
    """Draw the scale with its numbers beside the picture."""
    left, top = corner
    wide = max(8, side // 28)
    for row, color in enumerate(_colors(np.linspace(1, 0, side, dtype=np.float32)).round().astype(int).tolist()):
        pen.line([(left, top + row), (left + wide, top + row)], fill=tuple(color))
    for value in LEVELS:
        y = top + (1 - float(level_of(np.full(1, value, np.float32))[0])) * (side - 1)
        pen.line([(left + wide, y), (left + wide + 4, y)], fill=_GRAY)
        pen.text((left + wide + 7, y), f"{value:g}×", fill=_GRAY, font=font, anchor="lt" if value == _MOST else "lm")


def _fitted(text: str, font: Font, width: int) -> str:
    """Cut what is too long for its line, and what would break it."""
    text = shown(text, 400)
    while len(text) > 1 and font.getlength(text) > width:
        text = text[:-2] + "…"
    return text


def _colors(level: NDArray[np.float32]) -> NDArray[np.float32]:
    """Colors of levels in [0, 1], shape (..., 3), 0 to 255."""
    return _table()[(level * (_STEPS - 1)).round().astype(np.int64)]


@cache
def _table() -> NDArray[np.float32]:
    """The scale's colors from its foot to its top, shape (256, 3)."""
    from matplotlib import colormaps  # takes a third of a second

    return np.asarray(colormaps[_COLORS](np.linspace(_FROM, 1, _STEPS))[:, :3] * 255, np.float32)


def _font(size: int) -> Font:
    """A font that has Chinese, where one is installed: names of classes may be Chinese in any language."""
    return _chinese(size) or ImageFont.load_default(size)


@cache
def _chinese(size: int) -> Font | None:
    """The first font with Chinese letters that the system has; Pillow looks in its folders."""
    for name in _CJK:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return None

"""One style for every picture of a report, and the way to SVG."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.figure import Figure

ACCENT, INK, GRAY, FAINT = "#0B6E75", "#1D2939", "#667085", "#D0D5DD"

# Far apart in hue and alike in weight; the four meanings (urgent, attention, good, neutral) are not among them.
_HUES = (
    "#0B6E75", "#6D4E9E", "#9A7416", "#2F6DB5", "#A8456E", "#5E7D2B", "#55677A", "#7D5A44", "#1F8AA6", "#8E3B8A",
)  # fmt: skip
_GRADES = LinearSegmentedColormap.from_list("grades", ["#5AA3A8", "#0B6E75", "#0F2F3A"])
SHARE = LinearSegmentedColormap.from_list("share", ["#FFFFFF", "#A9CFD2", "#0B6E75"])

# Text stays text, so that the reader's fonts draw it, Chinese included; the browser falls back along this list.
_FONTS = (
    "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, 'Noto Sans', 'Noto Sans CJK SC', "
    "'PingFang SC', 'Microsoft YaHei', sans-serif"
)
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "eyeground",
    "text.parse_math": False,  # a class named "$a$" is a name, not a formula
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.titlepad": 5,
    "axes.labelsize": 9,
    "axes.labelcolor": GRAY,
    "axes.edgecolor": "#98A2B3",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": False,
    "text.color": INK,
    "xtick.color": "#98A2B3",
    "ytick.color": "#98A2B3",
    "xtick.labelcolor": GRAY,
    "ytick.labelcolor": GRAY,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "lines.linewidth": 1.4,
    "lines.solid_capstyle": "round",
}


def class_colors(count: int, ordered: bool = False) -> tuple[str, ...]:
    """Give every class its color, the same in every picture of a report.

    Args:
        count: Number of classes K.
        ordered: Grades get one hue from light to dark; other classes get different hues.

    Returns:
        K colors such as ``#0B6E75``; from the eleventh unordered class on they repeat.

    Example:
        >>> class_colors(2)
        ('#0B6E75', '#6D4E9E')

    References:
        Our own.
    """
    if ordered:
        return tuple(to_hex(_GRADES(k / max(1, count - 1))) for k in range(count))
    return tuple(_HUES[k % len(_HUES)] for k in range(count))


def readable(background: tuple[float, ...]) -> str:
    """Choose the letter color that stands out more.

    Args:
        background: Red, green, blue, each in [0, 1]; what follows is ignored.

    Returns:
        White or ink.

    Example:
        >>> readable((1.0, 1.0, 1.0)), readable((0.0, 0.3, 0.3))
        ('#1D2939', '#FFFFFF')

    References:
        WCAG 2.2, definition of contrast ratio.
    """

    def luminance(color: tuple[float, ...]) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color[:3]]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, behind, dark = 1.0, luminance(background), luminance(to_rgb(INK))
    return "#FFFFFF" if (light + 0.05) / (behind + 0.05) > (behind + 0.05) / (dark + 0.05) else INK


@contextmanager
def style() -> Iterator[None]:
    """Draw and write a picture in our style; nothing of matplotlib's settings is changed afterwards.

    Yields:
        Nothing.

    Example:
        >>> with style():
        ...     mpl.rcParams["svg.fonttype"]
        'none'

    References:
        Our own.
    """
    settings: Any = _STYLE
    with mpl.rc_context(settings), warnings.catch_warnings():
        # Only the layout is measured with matplotlib's own font; the reader's browser has the glyphs.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        yield


def svg(figure: Figure) -> str:
    """Write a figure; equal figures give equal bytes.

    Args:
        figure: Drawn within ``style``, and still within it.

    Returns:
        SVG text whose letters are text, in the fonts of the page.

    Example:
        >>> with style():
        ...     svg(Figure(figsize=(1, 1)))[:5]
        '<?xml'

    References:
        Our own.
    """
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue().replace("'DejaVu Sans'", _FONTS)

"""The classes of a set by size, and what the ways to weigh them would give each."""

import io
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from eyeground.data.balance import Imbalance, Weighting, class_weights
from eyeground.evaluate.drawing import ACCENT, FAINT, GRAY, INK, class_colors, style, svg
from eyeground.evaluate.wording import columns, shown

# "inverse" is left out: with a mean weight of 1 it is the same as "balanced".
DRAWN: tuple[Weighting, ...] = ("balanced", "sqrt_inverse", "effective")
_COLORS = class_colors(4)[1:]  # the first is the images'
_PATIENTS = "#0F2F3A"


def class_balance(found: Imbalance, *, kind: Literal["svg", "png"] = "svg") -> bytes:
    """Draw images and patients of each class, the largest first, and beside them the weights they would get in a loss.

    The bars have a linear axis, so that their lengths can be compared; what is too short to see is told by its number.

    Args:
        found: The analysis.
        kind: ``"svg"``, whose letters the reader's fonts draw, or ``"png"`` at 200 dots per inch.

    Returns:
        The file.

    Example:
        >>> from eyeground.data.balance import analyze
        >>> b"weight in the loss" in class_balance(analyze({"normal": 40, "drusen": 8}))
        True

    References:
        Cleveland & McGill, "Graphical perception", J Am Stat Assoc 1984;79:531.
    """
    count = len(found.classes)
    names = [shown(name, 26) for name in found.classes]
    # Unit: inch.
    row, top, bottom = 0.3 if count <= 15 else 0.2, 0.4, 0.45
    left, bars, weights = 0.2 + 0.078 * max(map(columns, names)), 2.6, 2.75
    told = 2.0 if found.patients else 1.42  # the columns of numbers
    width, height = left + bars + told + weights + 0.1, top + row * count + bottom
    with style():
        figure = Figure(figsize=(width, height))
        place = (bottom / height, row * count / height)
        sizes = figure.add_axes((left / width, place[0], bars / width, place[1]))
        weighed = figure.add_axes(((left + bars + told) / width, place[0], weights / width, place[1]), sharey=sizes)
        _draw_sizes(sizes, found, names)
        _draw_weights(weighed, found)
        sizes.set_ylim(count - 0.5, -0.5)
        for number in range(count):  # one line from a class to its weights
            y = 1 - (top + row * (number + 0.5)) / height
            figure.add_artist(Line2D([left / width, 1 - 0.1 / width], [y, y], color="#EEF0F3", lw=0.6, zorder=-1))
        _tell(figure, found, left + bars, top, row)
        heads = [("■ images", ACCENT), *([("■ patients", _PATIENTS)] if found.patients else [])]
        _head(figure, heads, left)
        heads = [(f"{mark} {way}", color) for mark, way, color in zip("●■◆", DRAWN, _COLORS, strict=True)]
        _head(figure, heads, left + bars + told)
        if kind == "svg":
            return svg(figure).encode()
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", dpi=200, metadata={"Software": None})
        return drawn.getvalue()


def _draw_sizes(axes: Axes, found: Imbalance, names: list[str]) -> None:
    """A bar per class, and patients as a thinner one on it."""
    rows = range(len(names))
    axes.barh(rows, found.counts, height=0.62, color=ACCENT)
    if found.patients:
        axes.barh(rows, found.patients, height=0.2, color=_PATIENTS)
    axes.set_yticks(rows, names, fontsize=8.5, color=INK)
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0, max(found.counts))
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("images")
    axes.patch.set_visible(False)


def _tell(figure: Figure, found: Imbalance, left: float, top: float, row: float) -> None:
    """The numbers behind the bars, in columns; lengths in inches."""
    width, height = figure.get_size_inches()
    cells = [("images", [f"{number:,}" for number in found.counts])]
    if found.patients:
        cells.append(("patients", [f"{number:,}" for number in found.patients]))
    cells.append(("share", [_percent(share) for share in found.shares]))
    for column, (title, words) in enumerate(cells):
        x = (left + 0.6 + 0.58 * column) / width
        figure.text(x, 1 - 0.2 / height, title, ha="right", va="center", fontsize=8, color=GRAY)
        for number, word in enumerate(words):
            y = 1 - (top + row * (number + 0.5)) / height
            figure.text(x, y, word, ha="right", va="center", fontsize=8, color=INK)


def _draw_weights(axes: Axes, found: Imbalance) -> None:
    """A mark per class and way of weighing, on a logarithmic axis: twice as much is as far as half as much."""
    axes.axvline(1, color=FAINT, lw=0.8, zorder=0)
    reach = 2.0
    for way, marker, color in zip(DRAWN, "osD", _COLORS, strict=True):
        weights = class_weights(found.counts, how=way)
        reach = max(reach, *weights, *(1 / weight for weight in weights))
        axes.plot(weights, range(len(weights)), ls="", marker=marker, ms=4.5, color=color, alpha=0.85, mew=0)
    axes.set_xscale("log")
    axes.set_xlim(1 / (1.25 * reach), 1.25 * reach)
    axes.xaxis.set_major_locator(LogLocator(10, subs=(1.0,) if reach > 15 else (1.0, 2.0, 5.0), numticks=20))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.tick_params(axis="y", left=False, labelleft=False)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("weight in the loss (1 = unchanged)")
    axes.patch.set_visible(False)


def _head(figure: Figure, entries: list[tuple[str, str]], left: float) -> None:
    """A legend in one line at the top; left in inches."""
    width, height = figure.get_size_inches()
    for text, color in entries:
        figure.text(left / width, 1 - 0.2 / height, text, color=color, fontsize=8, va="center")
        left += 0.1 + 0.072 * columns(text)


def _percent(share: float) -> str:
    """A share in percent, with a decimal where it is small."""
    return f"{100 * share:.0f}%" if share >= 0.1 else f"{100 * share:.1f}%" if share >= 0.0005 else "<0.1%"

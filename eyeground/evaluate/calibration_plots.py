"""The pictures of a calibration, as SVG: how large the sets are, and how often they hold the truth of each class."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory
from numpy.typing import NDArray

from eyeground.evaluate.confidence import Estimate
from eyeground.evaluate.drawing import ACCENT, FAINT, GRAY, INK, style, svg
from eyeground.evaluate.wording import shown, with_interval

_MOST_BARS = 8  # larger sets are drawn together


def set_sizes(sizes: NDArray[np.int64]) -> str:
    """Draw how many classes sets have.

    Args:
        sizes: Images by the number of classes in their set, from none, shape (K + 1,).

    Returns:
        SVG text. Sets of one class, where the model answers alone, have the accent; the others are gray.

    Example:
        >>> "70%" in set_sizes(np.array([1, 7, 2]))
        True

    References:
        Our own.
    """
    counts = [*sizes[:_MOST_BARS].tolist(), int(sizes[_MOST_BARS:].sum())]
    names = [*map(str, range(_MOST_BARS)), f"{_MOST_BARS}+"][: len(sizes)]
    counts, total = counts[: len(names)], max(1, int(sizes.sum()))
    with style():
        figure = Figure(figsize=(0.4 + 0.5 * len(names), 2.6))
        axes = figure.add_axes((0.02, 0.19, 0.96, 0.69))
        bars = axes.bar(names, counts, width=0.72, color=[ACCENT if name == "1" else FAINT for name in names])
        for bar, count in zip(bars, counts, strict=True):
            axes.annotate(
                f"{100 * count / total:.0f}%\n{count:,}",
                (bar.get_x() + bar.get_width() / 2, bar.get_height()),
                (0, 3),
                textcoords="offset points",
                ha="center",
                fontsize=8,
                color=INK if count else GRAY,
            )
        axes.set(ylim=(0, max(1, *counts) * 1.22), yticks=[], xlabel="classes in the set")
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="x", length=0)
        return svg(figure)


def coverage_by_class(
    overall: Estimate, by_class: Sequence[Estimate], classes: Sequence[str], counts: Sequence[int], wanted: float
) -> str:
    """Draw how often sets hold the truth, over all images and for each class, beside what was wanted.

    Args:
        overall: Coverage of all images.
        by_class: Coverage of the images of each class, K.
        classes: Names, K.
        counts: Images of each class, K.
        wanted: Wanted coverage, drawn as a line. Unit: fraction, (0, 1).

    Returns:
        SVG text.

    Example:
        >>> "wanted 90%" in coverage_by_class(Estimate(0.92), [Estimate(0.9)], ["drusen"], [20], 0.9)
        True

    References:
        Our own.
    """
    names = [shown(name, 26) for name in classes]
    lines = [("all images", sum(counts), overall), *zip(names, counts, by_class, strict=True)]
    known = [each.low if each.has_interval else each.value for _, _, each in lines if each.defined]
    left = max(0.0, math.floor(min([*known, wanted]) * 10 - 0.5) / 10)
    with style():
        figure = Figure(figsize=(5.4, 0.85 + 0.25 * len(lines)))
        height = figure.get_size_inches()[1]
        axes = figure.add_axes((0.4, 0.42 / height, 0.32, 1 - 0.72 / height))
        axes.set(xlim=(left, 1.0), ylim=(len(lines) - 0.4, -0.6), yticks=[], xlabel="share of sets that hold the truth")
        axes.spines["left"].set_visible(False)
        axes.axvline(wanted, color=GRAY, lw=0.8, ls=(0, (2, 2)))
        axes.annotate(
            f"wanted {100 * wanted:g}%", (wanted, 1), (0, 3), xycoords=axes.get_xaxis_transform(),
            textcoords="offset points", ha="center", fontsize=8, color=GRAY,
        )  # fmt: skip
        side = blended_transform_factory(figure.transFigure, axes.transData)
        for row, (name, count, found) in enumerate(lines):
            figure.text(0.0 if row == 0 else 0.02, row, name, transform=side, va="center",
                        fontweight="bold" if row == 0 else "normal")  # fmt: skip
            figure.text(0.375, row, f"{count:,}", transform=side, va="center", ha="right", color=GRAY)
            if not found.defined:
                figure.text(0.4, row, shown(found.reason, 40), transform=side, va="center", color=GRAY, fontsize=8)
                continue
            color = INK if row == 0 else ACCENT
            if found.has_interval:
                axes.plot([found.low, found.high], [row, row], color=color, lw=1.2, clip_on=False)
            axes.plot(found.value, row, marker="D" if row == 0 else "o", ms=5, color=color, clip_on=False)
            figure.text(0.75, row, with_interval(found.value, found.low, found.high, 2), transform=side, va="center")
        return svg(figure)

"""The pictures of several heads: AUROC head by head, which labels are known, and which are seen together."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import blended_transform_factory
from numpy.typing import NDArray

from eyeground.evaluate.confidence import Estimate
from eyeground.evaluate.drawing import ACCENT, FAINT, GRAY, INK, SHARE, readable, style, svg
from eyeground.evaluate.head import HeadLine
from eyeground.evaluate.wording import columns, shown, with_interval

_YES, _KNOWN = ACCENT, "#A9CFD2"

# Above this many labels there is no room for numbers in a matrix of them.
MOST_CELLS = 16


def auroc_forest(heads: Sequence[HeadLine], mean: Estimate, partial: Estimate) -> str:
    """Draw the AUROC of every head with its interval, below the mean over heads.

    Hollow: a class of the head has fewer than 20 images.

    Args:
        heads: The heads; quantities are left out.
        mean: Mean over heads.
        partial: Mean over the heads that have a value, drawn hollow where there is no mean over all.

    Returns:
        SVG text; empty where no head has an AUROC.

    Example:
        >>> area = Estimate(0.9, 0.8, 0.95)
        >>> line = HeadLine("AMD", "yes_no", ("no", "yes"), "", 99, 0, 60, (69, 30), {"auroc": area})
        >>> "AMD" in auroc_forest([line], area, area)
        True

    References:
        Lewis & Clarke, "Forest plots: trying to see the wood and the trees", BMJ 2001;322:1479.
    """
    rows = [(line, area) for line in heads if (area := line.auroc) is not None]
    if not rows:
        return ""
    whole, overall = mean.defined, mean if mean.defined else partial
    drawn = [e for e in (overall, *(area for _, area in rows)) if e.defined]
    least = min((e.low if e.has_interval else e.value for e in drawn), default=0.5)
    left = max(0.0, math.floor(least * 20 - 0.5) / 20)
    lines = [("mean over heads" if whole else "mean over heads present", "", overall, whole, True)]
    for line, area in rows:
        count = f"{line.n:,}" if line.positives is None else f"{line.positives:,} of {line.n:,}"
        lines.append((shown(line.name, 30), count, area, not line.few, False))
    with style():
        height = 0.75 + 0.25 * len(lines)
        figure = Figure(figsize=(7.6, height))
        axes = figure.add_axes((0.42, 0.42 / height, 0.34, 1 - 0.67 / height))
        axes.set(xlim=(left, 1.0), ylim=(len(lines) - 0.4, -0.6), yticks=[], xlabel="AUROC")
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
        side = blended_transform_factory(figure.transFigure, axes.transData)
        figure.text(0.4, -0.95, "yes of images", transform=side, va="center", ha="right", color=GRAY, fontsize=8)
        if left <= 0.5:
            axes.axvline(0.5, color="#98A2B3", lw=0.7, ls=(0, (1, 2)))
        if overall.defined:
            axes.axvline(overall.value, color=FAINT, lw=0.8)
        for row, (name, count, estimate, filled, top) in enumerate(lines):
            figure.text(0.0 if top else 0.02, row, name, transform=side, va="center",
                        fontweight="bold" if top else "normal")  # fmt: skip
            figure.text(0.4, row, count, transform=side, va="center", ha="right", color=GRAY)
            if not estimate.defined:
                figure.text(0.42, row, shown(estimate.reason, 60), transform=side, va="center", color=GRAY, fontsize=8)
                continue
            color = INK if top else ACCENT
            if estimate.has_interval:
                axes.plot([estimate.low, estimate.high], [row, row], color=color, lw=1.2)
            axes.plot(estimate.value, row, marker="D" if top else "o", ms=5, color=color, clip_on=False,
                      markerfacecolor=color if filled else "white")  # fmt: skip
            figure.text(0.785, row, with_interval(estimate.value, estimate.low, estimate.high), transform=side,
                        va="center")  # fmt: skip
        return svg(figure)


def label_bars(counts: Mapping[str, Mapping[str, tuple[int | None, int, int]]]) -> str:
    """Draw how many images of each split have each label: yes, known but not yes, and not known.

    Args:
        counts: Split -> head -> images that are yes (None where a head is no yes/no), whose label is known, and whose
            label is not known.

    Returns:
        SVG text; empty where there is nothing to draw.

    Example:
        >>> "AMD" in label_bars({"test": {"AMD": (3, 10, 2)}})
        True

    References:
        Our own.
    """
    names = list(dict.fromkeys(name for heads in counts.values() for name in heads))
    if not names:
        return ""
    longest = min(30, max(columns(shown(name, 24)) for name in names))
    with style():
        margin = 0.1 + longest * 0.07
        height = 0.95 + 0.22 * len(names)
        figure = Figure(figsize=(9.4, height))
        width = (9.4 - margin - 0.1) / len(counts)
        for place, (split, heads) in enumerate(counts.items()):
            axes = figure.add_axes(
                ((margin + place * width) / 9.4, 0.42 / height, (width - 0.25) / 9.4, 1 - 0.95 / height)
            )
            told = [heads.get(name, (None, 0, 0)) for name in names]
            yes = np.array([row[0] or 0 for row in told])
            known = np.array([row[1] for row in told])
            missing = np.array([row[2] for row in told])
            rows = np.arange(len(names))
            axes.barh(rows, yes, color=_YES, height=0.7)
            axes.barh(rows, known - yes, left=yes, color=_KNOWN, height=0.7)
            axes.barh(rows, missing, left=known, facecolor="white", edgecolor=FAINT, hatch="/////", lw=0.5, height=0.7)
            axes.set(ylim=(len(names) - 0.4, -0.6), xlim=(0, max(1, int((known + missing).max()))), xlabel="images")
            axes.set_yticks(rows, [shown(name, 24) for name in names] if place == 0 else [""] * len(names))
            axes.tick_params(axis="y", length=0, labelcolor=INK)
            axes.spines["left"].set_visible(False)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
            axes.set_title(shown(split, 24))
        legend: list[tuple[str, dict[str, Any]]] = [
            ("yes", {"facecolor": _YES}),
            ("known, not yes", {"facecolor": _KNOWN}),
            ("not known", {"facecolor": "white", "edgecolor": FAINT, "hatch": "/////", "lw": 0.5}),
        ]
        x = margin
        for words, looks in legend:
            corner = (x / 9.4, 1 - 0.17 / height)
            figure.add_artist(Rectangle(corner, 0.16 / 9.4, 0.1 / height, transform=figure.transFigure, **looks))
            figure.text((x + 0.22) / 9.4, 1 - 0.12 / height, words, va="center", fontsize=8)
            x += 0.45 + columns(words) * 0.07
        return svg(figure)


def together_matrix(both: NDArray[np.int64], of: NDArray[np.int64], names: Sequence[str]) -> str:
    """Draw how often labels are seen together; a darker cell is a larger share of the images with the row's label.

    Args:
        both: Images with both labels, shape (H, H), the diagonal holding each label alone.
        of: Images with the row's label in which the column's is known, shape (H, H).
        names: Name of each label, H. Above ``MOST_CELLS``, cells hold no numbers.

    Returns:
        SVG text.

    Example:
        >>> "50%" in together_matrix(np.array([[2, 1], [1, 3]]), np.array([[2, 2], [3, 3]]), ["AMD", "DR"])
        True

    References:
        Our own.
    """
    count = len(names)
    told = [shown(name, 24) for name in names]
    many = count > MOST_CELLS
    cell = 0.22 if many else max(0.42, min(0.75, 4.4 / count))
    letters = 7.0 if many else 8.5
    longest = max(map(columns, told)) * letters * 0.62 / 72
    margin, side = 0.36 + longest, cell * count
    turned = longest > cell
    below = 0.42 + (longest if turned else 0.1)
    shares = np.where(np.eye(count, dtype=bool), 0.0, both / np.maximum(of, 1))
    with style():
        figure = Figure(figsize=(side + margin + 0.3, side + below + 0.06))
        width, height = figure.get_size_inches()
        axes = figure.add_axes((margin / width, 1 - (side + 0.06) / height, side / width, side / height))
        axes.imshow(shares, cmap=SHARE, vmin=0, vmax=1, aspect="auto")
        for i, j in np.ndindex(count, count):
            if i == j:
                axes.fill_between([j - 0.5, j + 0.5], i - 0.5, i + 0.5, color="#F2F4F7", lw=0)
            if many:
                continue
            color = INK if i == j else readable(SHARE(float(shares[i, j]))) if both[i, j] else "#98A2B3"
            axes.text(j, i - (0 if i == j else 0.13), f"{both[i, j]:,}", ha="center", va="center", color=color,
                      fontsize=9, fontweight="bold" if i == j else "normal")  # fmt: skip
            if i != j:
                percent = f"{100 * shares[i, j]:.0f}%" if of[i, j] else "–"
                axes.text(j, i + 0.22, percent, ha="center", va="center", color=color, fontsize=7)
        edges = np.arange(count + 1) - 0.5
        axes.hlines(edges, -0.5, count - 0.5, color=FAINT, lw=0.5)
        axes.vlines(edges, -0.5, count - 0.5, color=FAINT, lw=0.5)
        text: dict[str, Any] = {"fontsize": letters, "color": INK}
        axes.set_xticks(range(count), told, rotation=90 if turned else 0, **text)
        axes.set_yticks(range(count), told, **text)
        axes.tick_params(length=0, pad=4)
        axes.spines[:].set_visible(False)
        figure.text(0.02 / width, 1 - (0.06 + side / 2) / height, "of images with", rotation=90, color=GRAY,
                    va="center")  # fmt: skip
        figure.text((margin + side / 2) / width, 0.04 / height, "this many also show", color=GRAY, ha="center",
                    va="bottom")  # fmt: skip
        return svg(figure)

"""The pictures of a comparison, as SVG: initializations with intervals, by labels, and against their references."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator
from matplotlib.transforms import blended_transform_factory

from eyeground.evaluate.comparison import Comparison
from eyeground.evaluate.comparison_verdict import labels_named, metric_named, outcome, p_named, signed, way_named
from eyeground.evaluate.drawing import ACCENT, GRAY, INK, class_colors, style, svg
from eyeground.evaluate.wording import columns, shown, titled, with_interval

_ROW = 0.24  # height of a line. Unit: inch


def metric_by_init(comparison: Comparison, metric: str, *, profile: str = "standard") -> str:
    """Draw a metric of every initialization in each way, on the most labels, with its interval and the single seeds.

    Args:
        comparison: The comparison.
        metric: A metric of the profile.
        profile: One of the comparison's profiles.

    Returns:
        SVG text.

    Raises:
        ValueError: If the comparison does not have the metric.

    Example:
        >>> from eyeground.evaluate.comparison import Cell, compare_cells
        >>> from eyeground.evaluate.predictions import Predictions
        >>> import numpy as np
        >>> table = Predictions(("a", "b"), ("a", "b"), ("",) * 2, ("",) * 2, ("",) * 2, np.array([0, 1]),
        ...                     np.array([[0.9, 0.1], [0.2, 0.8]]), ("normal", "cataract"), False, True, ("",) * 2)
        >>> found = compare_cells([Cell(name, "probe", 0, 1.0, table) for name in ("random", "mae")], resamples=50)
        >>> "linear probing" in metric_by_init(found, "auroc_macro")
        True

    References:
        Our own.
    """
    lines = _chosen(comparison.summary, metric, profile)
    if not lines:
        raise ValueError(f"the comparison has no metric {metric!r} of profile {profile!r}")
    most = {way: max(line["fraction"] for line in lines if line["way"] == way) for way in comparison.ways}
    lines = [line for line in lines if line["fraction"] == most[line["way"]]]
    seeds = _chosen(comparison.rows, metric, profile)
    rows = [
        (init, [line for way in comparison.ways for line in lines if (line["init"], line["way"]) == (init, way)])
        for init in comparison.inits
    ]
    rows = [(init, found) for init, found in rows if found]
    colors = dict(zip(comparison.ways, class_colors(len(comparison.ways)), strict=True))
    count = sum(len(found) + 0.55 for _, found in rows)
    with style():
        figure = Figure(figsize=(8.6, 0.55 + 0.28 + _ROW * count))
        axes = _beside(figure, 0.26, 0.46, 0.45, 0.3)
        axes.set(ylim=(count - 0.5, -0.6), yticks=[], xlabel=titled(metric))
        side = blended_transform_factory(figure.transFigure, axes.transData)
        place = 0.0
        for init, found in rows:
            figure.text(0, place + (len(found) - 1) / 2, _fitted(init), transform=side, va="center", color=INK)
            for line in found:
                color = colors[line["way"]]
                dots = [
                    row["value"] for row in seeds if all(row[key] == line[key] for key in ("init", "way", "fraction"))
                ]
                axes.plot(dots, [place + 0.34] * len(dots), color=color, ls="", marker="o", ms=2.6, alpha=0.6, mew=0)
                _point(axes, line["mean"], line["low"], line["high"], place, color)
                text = with_interval(line["mean"], line["low"], line["high"])
                if not math.isfinite(line["mean"]):
                    text = shown(line["reason"], 34)
                figure.text(0.735, place, text, transform=side, va="center", fontsize=8, color=INK)
                place += 1
            place += 0.55
            axes.axhline(place - 0.775, color="#EEF0F3", lw=0.6, zorder=0)
        _head(figure, [(f"{way_named(way)}, {labels_named(most[way])}", color) for way, color in colors.items()], 0.26)
        return svg(figure)


def label_efficiency(comparison: Comparison, metric: str, *, profile: str = "standard") -> str:
    """Draw a metric against the share of labels, a panel per way and a line with its band per initialization.

    Args:
        comparison: The comparison.
        metric: A metric of the profile.
        profile: One of the comparison's profiles.

    Returns:
        SVG text; empty when all runs used the same share of labels.

    Raises:
        ValueError: If the comparison does not have the metric.

    Example:
        >>> from eyeground.evaluate.comparison import Cell, compare_cells
        >>> from eyeground.evaluate.predictions import Predictions
        >>> import numpy as np
        >>> table = Predictions(("a", "b"), ("a", "b"), ("",) * 2, ("",) * 2, ("",) * 2, np.array([0, 1]),
        ...                     np.array([[0.9, 0.1], [0.2, 0.8]]), ("normal", "cataract"), False, True, ("",) * 2)
        >>> found = compare_cells([Cell("mae", "probe", 0, share, table) for share in (0.1, 1.0)], resamples=50)
        >>> "share of the labels" in label_efficiency(found, "auroc_macro")
        True

    References:
        Zhou et al., "A foundation model for generalizable disease detection from retinal images", Nature 2023;622:156
        (its label-efficiency curves).
    """
    lines = _chosen(comparison.summary, metric, profile)
    if not lines:
        raise ValueError(f"the comparison has no metric {metric!r} of profile {profile!r}")
    ways = [w for w in comparison.ways if len({line["fraction"] for line in lines if line["way"] == w}) > 1]
    if not ways:
        return ""
    colors = dict(zip(comparison.inits, class_colors(len(comparison.inits)), strict=True))
    names = {init: _fitted(init, 22) for init in comparison.inits}
    right = 0.3 + max(map(columns, names.values())) * 0.075  # the names at the ends of the lines. Unit: inch
    wide = 9.4 if len(ways) > 1 else 6.2
    with style():
        figure = Figure(figsize=(wide, 3.3))
        room = (wide - 0.55) / len(ways)
        shared: Axes | None = None
        named: list[tuple[Axes, list[tuple[float, str, str]]]] = []
        for place, way in enumerate(ways):
            left = 0.55 + place * room
            corner = (left / wide, 0.14, (room - right - 0.1) / wide, 0.76)
            axes = figure.add_axes(corner, sharey=shared) if shared is not None else figure.add_axes(corner)
            shared = axes
            ends = []
            for init in comparison.inits:
                mine = [line for line in lines if (line["way"], line["init"]) == (way, init)]
                mine = sorted((line for line in mine if math.isfinite(line["mean"])), key=lambda line: line["fraction"])
                if not mine:
                    continue
                x, y = [line["fraction"] for line in mine], [line["mean"] for line in mine]
                band = [line for line in mine if math.isfinite(line["low"])]
                axes.fill_between([line["fraction"] for line in band], [line["low"] for line in band],
                                  [line["high"] for line in band], color=colors[init], alpha=0.1, lw=0)  # fmt: skip
                axes.plot(x, y, color=colors[init], marker="o", ms=3.5, clip_on=False)
                ends.append((y[-1], names[init], colors[init]))
            axes.set_xscale("log")
            used = sorted({line["fraction"] for line in lines if line["way"] == way})
            axes.xaxis.set_major_locator(FixedLocator(used))
            axes.xaxis.set_major_formatter(FixedFormatter([f"{100 * share:g}%" for share in used]))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set(xlabel="share of the labels", title=way_named(way))
            if place == 0:
                axes.set_ylabel(titled(metric))
            else:
                axes.tick_params(labelleft=False)
            named.append((axes, ends))
        for axes, ends in named:  # only now is it known how far the shared scale reaches
            _named_ends(axes, ends)
        return svg(figure)


def difference_forest(comparison: Comparison) -> str:
    """Draw how far every initialization lies from its reference, with the interval and the Holm-adjusted p value.

    Each row is named "A minus B", on two lines where the names are long. Filled: better or worse after correction
    among the planned comparisons. Hollow: no difference shown.

    Args:
        comparison: The comparison.

    Returns:
        SVG text; empty when nothing was compared with a reference.

    Example:
        >>> from eyeground.evaluate.comparison import Cell, compare_cells
        >>> from eyeground.evaluate.predictions import Predictions
        >>> import numpy as np
        >>> table = Predictions(("a", "b"), ("a", "b"), ("",) * 2, ("",) * 2, ("",) * 2, np.array([0, 1]),
        ...                     np.array([[0.9, 0.1], [0.2, 0.8]]), ("normal", "cataract"), False, True, ("",) * 2)
        >>> found = compare_cells([Cell(name, "probe", 0, 1.0, table) for name in ("random", "mae")], resamples=50)
        >>> "mae minus random" in difference_forest(found)
        True

    References:
        Lewis & Clarke, "Forest plots: trying to see the wood and the trees", BMJ 2001;322:1479.
    """
    tests = [t for t in comparison.tests if t["test"] == "bootstrap" and t["planned"]]
    if not tests:
        return ""
    lines: list[Mapping[str, Any] | str] = []
    for way in comparison.ways:
        for fraction in reversed(comparison.fractions):
            here = [test for test in tests if (test["way"], test["fraction"]) == (way, fraction)]
            lines += [f"{way_named(way)}, {labels_named(fraction)}", *here] if here else []
    ends = [abs(test[key]) for test in tests for key in ("low", "high", "difference") if math.isfinite(test[key])]
    reach = 1.08 * max([*ends, 0.01])
    floor = 2 / (comparison.test_resamples + 1)
    names = {(t["a"], t["b"]): _minus(t["a"], t["b"]) for t in tests}
    tall = _ROW * (1.6 if any("\n" in name for name in names.values()) else 1)  # some names take two lines
    size = 8 if tall > _ROW else None
    with style():
        figure = Figure(figsize=(8.6, 0.5 + 0.28 + tall * len(lines)))
        axes = _beside(figure, 0.26, 0.36, 0.45, 0.3)
        axes.set(xlim=(-reach, reach), ylim=(len(lines) - 0.5, -0.6), yticks=[])
        axes.set_xlabel(f"difference in {metric_named(tests[0]['metric'])}")
        axes.axvline(0, color="#98A2B3", lw=0.7)
        side = blended_transform_factory(figure.transFigure, axes.transData)
        for row, line in enumerate(lines):
            if isinstance(line, str):
                figure.text(0, row, line, transform=side, va="center", color=GRAY, fontsize=8)
                continue
            name = names[line["a"], line["b"]]
            figure.text(0.02, row, name, transform=side, va="center", color=INK, fontsize=size, linespacing=1.1)
            if not math.isfinite(line["difference"]):
                figure.text(0.27, row, shown(line["reason"], 60), transform=side, va="center", color=GRAY, fontsize=8)
                continue
            found = outcome(line) in ("better", "worse")
            _point(axes, line["difference"], line["low"], line["high"], row, ACCENT, hollow=not found)
            span = f" [{signed(line['low'])} to {signed(line['high'])}]" if math.isfinite(line["low"]) else ""
            figure.text(
                0.635, row, signed(line["difference"]) + span, transform=side, va="center", fontsize=8, color=INK
            )
            p = p_named(line["p_holm"], at_most=line["p"] <= floor)
            figure.text(0.895, row, p, transform=side, va="center", fontsize=8, color=INK if found else GRAY)
        height = figure.get_size_inches()[1]
        figure.text(0.635, 1 - 0.1 / height, "difference [95% interval]", va="center", fontsize=8, color=GRAY)
        figure.text(0.895, 1 - 0.1 / height, "Holm-adjusted", va="center", fontsize=8, color=GRAY)
        return svg(figure)


def _chosen(lines: Sequence[Mapping[str, Any]], metric: str, profile: str) -> list[Mapping[str, Any]]:
    """The lines of one metric."""
    return [line for line in lines if (line["metric"], line["profile"]) == (metric, profile)]


def _fitted(name: str, most: int = 30) -> str:
    """A name that fits beside the axes; Chinese characters take twice the room."""
    name = shown(name, most)
    return name if columns(name) <= most else shown(name, max(8, most // 2))


def _minus(a: str, b: str) -> str:
    """The name of a difference, on one line where it fits beside the axes, else on two."""
    name = f"{_fitted(a)} minus {_fitted(b)}"
    return name if columns(name) <= 28 else f"{_fitted(a)}\nminus {_fitted(b, 26)}"


def _beside(figure: Figure, left: float, width: float, bottom: float, top: float) -> Axes:
    """Axes with names to the left and numbers to the right; bottom and top in inches."""
    height = figure.get_size_inches()[1]
    axes = figure.add_axes((left, bottom / height, width, 1 - (bottom + top) / height))
    axes.spines["left"].set_visible(False)
    return axes


def _point(axes: Axes, value: float, low: float, high: float, row: float, color: str, *, hollow: bool = False) -> None:
    """A value and its interval on one line."""
    if math.isfinite(low) and math.isfinite(high):
        axes.plot([low, high], [row, row], color=color, lw=1.2)
    if math.isfinite(value):
        axes.plot(value, row, marker="D", ms=4.2, color=color, markerfacecolor="white" if hollow else color)


def _head(figure: Figure, entries: Sequence[tuple[str, str]], left: float) -> None:
    """A legend in one line at the top."""
    width, height = figure.get_size_inches()
    at = left * width
    for text, color in entries:
        figure.text(at / width, 1 - 0.1 / height, f"◆ {text}", color=color, fontsize=8, va="center")
        at += 0.35 + 0.068 * columns(text)


def _named_ends(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """The names of the lines at their right ends, pushed apart where they would overlap."""
    low, high = axes.get_ylim()
    gap, heights = (high - low) * 0.058, []
    floor = -math.inf
    for end, _, _ in sorted(ends):
        floor = max(end, floor + gap)
        heights.append(floor)
    over = max(0.0, heights[-1] - high) if heights else 0.0
    for (_, name, color), height in zip(sorted(ends), heights, strict=True):
        axes.annotate(
            name, (1.03, height - over), xycoords=axes.get_yaxis_transform(), color=color, va="center", fontsize=8
        )

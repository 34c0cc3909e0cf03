"""The pictures of the tests of heat maps, as SVG."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory

from eyeground.evaluate.confidence import Estimate
from eyeground.evaluate.drawing import ACCENT, FAINT, GRAY, INK, style, svg
from eyeground.evaluate.wording import shown, with_interval, wrapped
from eyeground.explain.mean_curves import MeanCurves
from eyeground.explain.pointing import Hits
from eyeground.explain.weights_test import WeightsTest

_ROW = 0.42  # inches


def hit_rates(rows: Sequence[tuple[str, Hits]]) -> str:
    """Draw how often peaks hit, beside chance and beside the same peaks on other patients' lesions.

    Args:
        rows: Method and what it hits.

    Returns:
        SVG text. Filled: hit rate; ring: chance; bar: mismatched.

    Example:
        >>> one = Estimate(0.5, 0.4, 0.6)
        >>> "0.50 [0.40–0.60]" in hit_rates([("grad_cam", Hits(one, one, one, one, one, 9, 9, 0))])
        True

    References:
        Our own.
    """
    with style():
        figure = Figure(figsize=(7.2, 0.75 + _ROW * len(rows)))
        height = figure.get_size_inches()[1]
        axes = figure.add_axes((0.24, 0.42 / height, 0.5, 1 - 0.72 / height))
        axes.set(xlim=(0, 1), ylim=(len(rows) - 0.4, -0.6), yticks=[], xlabel="share of maps whose peak is on a lesion")
        axes.spines["left"].set_visible(False)
        side = blended_transform_factory(figure.transFigure, axes.transData)
        for row, (name, found) in enumerate(rows):
            figure.text(0.0, row, shown(name, 26), transform=side, va="center")
            if not found.rate.defined:
                figure.text(0.26, row, shown(found.rate.reason, 60), transform=side, va="center", color=GRAY)
                continue
            for estimate, marker, color, fill in (
                (found.chance, "o", GRAY, "#FFFFFF"),
                (found.mismatched, "|", INK, INK),
                (found.rate, "o", ACCENT, ACCENT),
            ):
                _dot(axes, row, estimate, marker, color, fill)
            rate = found.rate
            figure.text(0.77, row, with_interval(rate.value, rate.low, rate.high, 2), transform=side, va="center")
        return svg(figure)


def forgetting(rows: Sequence[tuple[str, WeightsTest]]) -> str:
    """Draw how alike maps stay as more of the weights is drawn anew.

    Args:
        rows: Method and what became of its maps.

    Returns:
        SVG text: a small picture for each method, from the network as it is to one with no weight of its own.

    Example:
        >>> one = Estimate(0.5, 0.4, 0.6)
        >>> "all" in forgetting([("grad_cam", WeightsTest(one, {"head": one, "all": one}, one, 9, 9))])
        True

    References:
        Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018, figure 3.
    """
    with style():
        figure, places = _small_multiples(len(rows), height=1.9)
        for (name, found), place in zip(rows, places, strict=True):
            axes = figure.add_axes(place)
            points = [("mirrored", found.same), *found.randomized.items()]
            axes.set(xlim=(-0.4, len(points) - 0.6), ylim=(-0.3, 1.05), title=shown(name, 26), yticks=[0, 0.5, 1])
            axes.set_xticks(range(len(points)), [_BROKEN.get(label, label) for label, _ in points], fontsize=7)
            axes.axhline(0, color=FAINT, lw=0.8)
            known = [(at, each) for at, (_, each) in enumerate(points) if each.defined]
            axes.plot([at for at, _ in known], [each.value for _, each in known], color=FAINT, zorder=1)
            for at, each in known:
                color = INK if at == 0 else ACCENT
                if each.has_interval:
                    axes.plot([at, at], [each.low, each.high], color=color, lw=1.2)
                axes.plot(at, each.value, "o", ms=4.5, color=color)
            if not known:
                axes.text(0.5, 0.5, wrapped(found.same.reason, 30), transform=axes.transAxes, ha="center", color=GRAY)
        return svg(figure)


def deletion_and_insertion(rows: Sequence[tuple[str, MeanCurves]]) -> str:
    """Draw the curves of each method beside those of a random order.

    Args:
        rows: Method and its curves.

    Returns:
        SVG text. Accent: insertion; ink: deletion; dashed: the same in random order.

    Example:
        >>> import numpy as np
        >>> from eyeground.explain.deletion import Curves
        >>> flat, one = Curves(np.array([0.0, 1.0]), np.ones(2), np.ones(2)), Estimate(0.5)
        >>> "grad_cam" in deletion_and_insertion([("grad_cam", MeanCurves(flat, flat, one, one, one, one, 3))])
        True

    References:
        Petsiuk, Das & Saenko, BMVC 2018.
    """
    with style():
        figure, places = _small_multiples(len(rows), height=1.9)
        for number, ((name, found), place) in enumerate(zip(rows, places, strict=True)):
            axes = figure.add_axes(place)
            axes.set(xlim=(0, 1), ylim=(0, 1.02), title=shown(name, 26), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
            for kind, color in (("insertion", ACCENT), ("deletion", INK)):
                axes.plot(found.random.fractions, getattr(found.random, kind), color=color, lw=0.9, ls=(0, (3, 2)))
                axes.plot(found.method.fractions, getattr(found.method, kind), color=color)
            if number == 0:
                axes.set_ylabel("score of the answer")
            axes.set_xlabel("share of pixels")
        return svg(figure)


_BROKEN = {"last quarter": "last\nquarter", "last half": "last\nhalf"}
_COLUMNS = 3


def _small_multiples(count: int, *, height: float) -> tuple[Figure, list[tuple[float, float, float, float]]]:
    """A figure with room for so many small pictures, and where each of them lies."""
    rows = -(-count // _COLUMNS)
    figure = Figure(figsize=(8.4, height * rows))
    wide, high = 1 / _COLUMNS, 1 / max(1, rows)
    return figure, [
        (
            (number % _COLUMNS) * wide + 0.06,
            1 - (number // _COLUMNS + 1) * high + 0.24 * high,
            wide - 0.085,
            0.58 * high,
        )
        for number in range(count)
    ]


def _dot(axes: Axes, row: int, estimate: Estimate, marker: str, color: str, fill: str) -> None:
    """A value with its interval on a row."""
    if not estimate.defined:
        return
    if estimate.has_interval:
        axes.plot([estimate.low, estimate.high], [row, row], color=color, lw=1.2, zorder=2, clip_on=False)
    size = 11 if marker == "|" else 5.5
    axes.plot(estimate.value, row, marker, ms=size, mfc=fill, mec=color, mew=1.2, zorder=3, clip_on=False)

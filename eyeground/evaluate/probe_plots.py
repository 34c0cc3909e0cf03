"""How far a probe comes with how many labels, as SVG."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from eyeground.evaluate.confidence import Estimate
from eyeground.evaluate.drawing import GRAY, class_colors, style, svg
from eyeground.evaluate.wording import shown


@dataclass(frozen=True)
class ProbePoint:
    """One probe fitted to one fraction of the labels.

    Args:
        fraction: Share of the training patients, (0, 1].
        images: How many labelled images that is.
        estimate: What was measured, with its interval.

    Example:
        >>> ProbePoint(0.1, 75, Estimate(0.8, 0.7, 0.9)).images
        75

    References:
        Our own.
    """

    fraction: float
    images: int
    estimate: Estimate


def label_efficiency(probes: Mapping[str, Sequence[ProbePoint]], *, measure: str) -> str:
    """Draw a measure against the number of labelled images: each draw with its interval, and the mean over draws.

    Args:
        probes: Name of each probe and its points; points of one fraction are draws of other patients. A point without
            a value is left out.
        measure: What was measured, for the axis.

    Returns:
        SVG text.

    Example:
        >>> points = [ProbePoint(f, int(700 * f), Estimate(0.7 + f / 5, 0.6, 0.95)) for f in (0.01, 0.1, 1.0)]
        >>> "macro AUROC" in label_efficiency({"logistic regression": points}, measure="macro AUROC")
        True

    References:
        Chen et al., "A simple framework for contrastive learning of visual representations", ICML 2020, table 7.
    """
    known = {name: [p for p in points if p.estimate.defined] for name, points in probes.items()}
    ticks: dict[float, list[int]] = {}
    for point in (p for points in known.values() for p in points):
        ticks.setdefault(point.fraction, []).append(point.images)
    span = math.log(max(map(max, ticks.values())) / min(map(min, ticks.values()))) if ticks else 0.0
    step = 0.006 * max(0.5, span)
    with style():
        figure = Figure(figsize=(5.6, 3.0))
        axes = figure.add_axes((0.1, 0.24, 0.62, 0.7))
        ends: list[tuple[float, str, str]] = []
        for number, ((name, points), color) in enumerate(zip(known.items(), class_colors(len(known)), strict=True)):
            if not points:
                continue
            # Side by side, so that no interval hides another.
            aside = 6 * step * (number - (len(known) - 1) / 2)
            groups: dict[float, list[ProbePoint]] = {}
            for point in sorted(points, key=lambda p: p.fraction):
                groups.setdefault(point.fraction, []).append(point)
            for group in groups.values():
                for draw, point in enumerate(group):
                    x = point.images * math.exp(aside + 1.5 * step * (draw - (len(group) - 1) / 2))
                    if point.estimate.has_interval:
                        axes.vlines(x, point.estimate.low, point.estimate.high, color=color, lw=1, alpha=0.35)
                    axes.plot(x, point.estimate.value, color=color, marker="o", ms=3, alpha=0.6, ls="")
            x_mean = [math.exp(aside) * float(np.mean([p.images for p in group])) for group in groups.values()]
            y_mean = [float(np.mean([p.estimate.value for p in group])) for group in groups.values()]
            axes.plot(x_mean, y_mean, color=color)
            ends.append((y_mean[-1], name, color))
        axes.set(xscale="log", ylabel=measure)
        axes.set_xlabel("labelled training images")
        low, high = axes.get_ylim()
        floor = -math.inf
        for end, name, color in sorted(ends):
            height = max(end, floor)
            floor = height + (high - low) * 0.09
            axes.annotate(shown(name, 28), (1.02, height), xycoords=axes.get_yaxis_transform(), color=color,
                          va="center", fontsize=8)  # fmt: skip
        axes.set_ylim(low, high)
        places = sorted(ticks.items())
        axes.set_xticks(
            [float(np.mean(images)) for _, images in places],
            [f"{np.mean(images):,.0f}\n{100 * fraction:g}%" for fraction, images in places],
        )
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(axis="x", which="minor", length=0)
        if not places:
            axes.text(0.5, 0.5, "no probe has a value", transform=axes.transAxes, ha="center", color=GRAY)
        return svg(figure)

"""The pictures of a quantity: prediction against truth, errors with their limits of agreement, and their spread."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from eyeground.evaluate.agreement import Agreement
from eyeground.evaluate.confidence import Estimate
from eyeground.evaluate.drawing import ACCENT, INK, style, svg
from eyeground.evaluate.measurements import Measurements
from eyeground.evaluate.wording import decimal, shown, with_interval

_DOTTED = (0, (1, 2))
_DASHED = (0, (4, 2))

# Above this many points a picture of single points is a picture of pixels: it would weigh a megabyte.
_MOST_SHAPES = 4000
_DPI = 220


def scatter(table: Measurements, found: Agreement) -> str:
    """Draw what was said against the truth; on the line they are equal.

    Args:
        table: The table; rows without known truth are not drawn.
        found: Its agreement.

    Returns:
        SVG text.

    Example:
        >>> from eyeground.evaluate.agreement import agreement
        >>> table = Measurements(("a", "b"), ("a", "b"), ("",) * 2, ("",) * 2, ("",) * 2, np.array([10.0, 20.0]),
        ...                      np.array([12.0, 18.0]), "IOP", "mmHg", True, ("",) * 2)
        >>> "true IOP, mmHg" in scatter(table, agreement(table, resamples=20))
        True

    References:
        Our own.
    """
    truth, said = table.truth[table.labelled], table.said[table.labelled]
    low, high = _range(np.concatenate([truth, said]))
    with style():
        figure = Figure(figsize=(4.15, 4.15), dpi=_DPI)
        axes = figure.add_axes((0.15, 0.12, 0.83, 0.83))
        axes.plot([low, high], [low, high], color="#98A2B3", lw=0.8, ls=_DOTTED)
        _points(axes, truth, said)
        axes.set(xlim=(low, high), ylim=(low, high))
        axes.set_xlabel(_labelled(f"true {shown(table.name, 40)}", table.unit))
        axes.set_ylabel(_labelled("predicted", table.unit))
        lines = [f"{name} {_written(found.headline[key], 3)}" for name, key in (("R²", "r2"), ("CCC", "concordance"))]
        axes.text(0.03, 0.98, "\n".join(lines), transform=axes.transAxes, va="top", fontsize=8,
                  bbox={"facecolor": "white", "alpha": 0.75, "lw": 0, "pad": 1})  # fmt: skip
        return svg(figure)


def bland_altman(table: Measurements, found: Agreement) -> str:
    """Draw each error against the mean of truth and prediction, with bias and limits of agreement and their intervals.

    Against the truth alone, errors of a good model would seem to fall with it: what is read high by chance is high.

    Args:
        table: The table; rows without known truth are not drawn.
        found: Its agreement.

    Returns:
        SVG text.

    Example:
        >>> from eyeground.evaluate.agreement import agreement
        >>> table = Measurements(("a", "b"), ("a", "b"), ("",) * 2, ("",) * 2, ("",) * 2, np.array([10.0, 20.0]),
        ...                      np.array([12.0, 18.0]), "IOP", "mmHg", True, ("",) * 2)
        >>> "bias" in bland_altman(table, agreement(table, resamples=20))
        True

    References:
        Bland & Altman, "Comparing methods of measurement: why plotting difference against standard method is
        misleading", Lancet 1995;346:1085.
    """
    truth, said = table.truth[table.labelled], table.said[table.labelled]
    lines = [("upper limit", "loa_high"), ("bias", "bias"), ("lower limit", "loa_low")]
    drawn = [(name, found.headline[key]) for name, key in lines if found.headline[key].defined]
    ends = [end for _, e in drawn for end in (e.value, e.low, e.high) if math.isfinite(end)]
    with style():
        figure = Figure(figsize=(5.05, 4.15), dpi=_DPI)
        axes = figure.add_axes((0.13, 0.12, 0.62, 0.83))
        axes.set(xlim=_range((truth + said) / 2), ylim=_range(np.concatenate([said - truth, ends, [0.0]])))
        axes.axhline(0, color="#98A2B3", lw=0.8, ls=_DOTTED)
        _points(axes, (truth + said) / 2, said - truth)
        places = _apart([e.value for _, e in drawn], axes.get_ylim())
        for (name, estimate), place in zip(drawn, places, strict=True):
            if estimate.has_interval:
                axes.axhspan(estimate.low, estimate.high, color=INK, alpha=0.1, lw=0)
            axes.axhline(estimate.value, color=INK, lw=1, ls="-" if name == "bias" else _DASHED)
            text = f"{name} {_signed(estimate.value, found.digits)}"
            if estimate.has_interval:
                text += f"\n[{_signed(estimate.low, found.digits)} to {_signed(estimate.high, found.digits)}]"
            axes.annotate(text, (1.02, place), xycoords=axes.get_yaxis_transform(), va="center", fontsize=8)
        axes.set_xlabel(_labelled("mean of truth and prediction", table.unit))
        axes.set_ylabel(_labelled("prediction − truth", table.unit))
        return svg(figure)


def error_histogram(table: Measurements, found: Agreement) -> str:
    """Draw how errors are spread, with the bias.

    Args:
        table: The table; rows without known truth are not drawn.
        found: Its agreement.

    Returns:
        SVG text.

    Example:
        >>> from eyeground.evaluate.agreement import agreement
        >>> table = Measurements(("a", "b"), ("a", "b"), ("",) * 2, ("",) * 2, ("",) * 2, np.array([10.0, 20.0]),
        ...                      np.array([12.0, 18.0]), "IOP", "mmHg", True, ("",) * 2)
        >>> "images" in error_histogram(table, agreement(table, resamples=20))
        True

    References:
        Our own.
    """
    errors = (table.said - table.truth)[table.labelled]
    low, high = _range(np.append(errors, 0.0))
    with style():
        figure = Figure(figsize=(9.4, 2.1))
        axes = figure.add_axes((0.07, 0.24, 0.92, 0.64))
        axes.hist(errors, bins=min(48, max(8, round(math.sqrt(len(errors)) * 1.5))), color="#A9CFD2",
                  edgecolor="white", lw=0.5)  # fmt: skip
        axes.axvline(0, color="#98A2B3", lw=0.8, ls=_DOTTED)
        bias = found.headline["bias"]
        axes.axvline(bias.value, color=INK, lw=1)
        late = bias.value > (low + high) / 2
        axes.annotate(f"bias {_signed(bias.value, found.digits)}", (bias.value, 1.02), ha="right" if late else "left",
                      xycoords=axes.get_xaxis_transform(), fontsize=8)  # fmt: skip
        axes.set(xlim=(low, high), ylabel="images")
        axes.set_xlabel(_labelled("prediction − truth", table.unit))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
        return svg(figure)


def _points(axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Points that are smaller the more there are."""
    size = float(np.clip(85 / math.sqrt(len(x)), 1.6, 5))
    axes.scatter(x, y, s=size**2, color=ACCENT, alpha=0.6, linewidths=0, rasterized=len(x) > _MOST_SHAPES, zorder=2)


def _range(values: NDArray[np.float64]) -> tuple[float, float]:
    """Ends of an axis with a little air."""
    low, high = float(values.min()), float(values.max())
    air = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - air, high + air


def _apart(values: list[float], ends: tuple[float, float]) -> list[float]:
    """Heights of words from the top down, pushed apart where they would overlap."""
    gap = (ends[1] - ends[0]) * 0.09
    middle = values[len(values) // 2] if values else 0.0
    return [
        max(value, middle + gap) if value > middle else min(value, middle - gap) if value < middle else value
        for value in values
    ]


def _signed(value: float, digits: int) -> str:
    """A number with a sign of its own."""
    return decimal(value, digits).replace("-", "−")


def _written(estimate: Estimate, digits: int) -> str:
    """A value with its interval, or a dash."""
    return with_interval(estimate.value, estimate.low, estimate.high, digits).replace("-", "−")


def _labelled(what: str, unit: str) -> str:
    """An axis with its unit."""
    return f"{what}, {shown(unit, 24)}" if unit else what

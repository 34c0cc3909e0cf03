"""Plots drawn on the server as SVG in one style: thin axes, direct labels, intervals as bands, colors from CSS.

matplotlib would cost a web process 0.3 s and 43 MiB at its first plot and 20 ms for each, and would not take its
colors and fonts from the page.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from markupsafe import Markup, escape

Mark = Literal["filled", "hollow"]
# A letter is about this wide at 12 px. Unit: px.
_LETTER_PX: Final = 7.0
_ROW_PX: Final = 24


@dataclass(frozen=True)
class Plot:
    """What stands around a plot.

    Args:
        key: Names it on its page; letters, digits and ``-``.
        title: What it shows.
        told: The same in a sentence, for those who do not see it.

    Example:
        >>> Plot("waits", "Waits", "Median and 90% of the waits by day").key
        'waits'

    References:
        W3C, "SVG Accessibility API Mappings".
    """

    key: str
    title: str
    told: str


@dataclass(frozen=True)
class Line:
    """A line of a plot over days.

    Args:
        label: What it is called; stands at its end.
        values: A value for each day; None where there is none, and the line is broken.
        look: Which of the two lines of a plot it looks like.

    Example:
        >>> Line("median", (1.0, None), "first").values[1] is None
        True

    References:
        Our own.
    """

    label: str
    values: tuple[float | None, ...]
    look: Literal["first", "second"]


@dataclass(frozen=True)
class Interval:
    """A row of a plot of intervals.

    Args:
        label: What it is called; empty where it belongs to the row above.
        value: The number; None where it is undefined.
        low: Lower end; None where there is none.
        high: Upper end; None where there is none.
        shown: The number as text.
        mark: What it looks like; says which of two kinds it is.

    Example:
        >>> Interval("AMD", 0.7, 0.6, 0.8, "0.70").mark
        'filled'

    References:
        Our own.
    """

    label: str
    value: float | None
    low: float | None
    high: float | None
    shown: str
    mark: Mark = "filled"


def days_plot(
    plot: Plot, days: Sequence[str], lines: tuple[Line, Line], *, unit: str, width_px: int, height_px: int = 208
) -> Markup:
    """Draw two lines over days, with the band between them.

    Args:
        plot: What stands around it.
        days: The days, ISO.
        lines: The lower and the upper line.
        unit: Of the values.
        width_px: Width. Unit: px.
        height_px: Height. Unit: px.

    Returns:
        SVG.

    Example:
        >>> lines = Line("median", (1.0, 2.0), "first"), Line("90%", (2.0, 4.0), "second")
        >>> drawn = days_plot(Plot("a", "Waits", ""), ["2026-11-27", "2026-11-28"], lines, unit="h", width_px=320)
        >>> drawn.count("<polyline"), "11-28" in drawn
        (2, True)

    References:
        pages.md of the design, section 1: one style.
    """
    left, top, bottom = 32.0, 28.0, 24.0
    right = 8 + _LETTER_PX * max(_columns(line.label) for line in lines)
    known = [value for line in lines for value in line.values if value is not None]
    step = _step(max(known, default=1.0))
    most = step * max(1, math.ceil(max(known, default=1.0) / step - 1e-9))
    wide, high = width_px - left - right, height_px - top - bottom

    def x(place: int) -> float:
        return left + wide * (place + 0.5) / max(1, len(days))

    def y(value: float) -> float:
        return top + high * (1 - value / most)

    drawn = [_text(0, 12, unit)]
    for tick in range(round(most / step) + 1):
        height = y(tick * step)
        drawn += [_rule(left, height, left + wide, height, "axis" if not tick else "grid")]
        drawn += [_text(left - 6, height + 4, f"{tick * step:g}", anchor="end")]
    every = max(1, math.ceil(len(days) * 44 / wide))
    for place in range(len(days) - 1, -1, -every):
        drawn.append(_text(x(place), height_px - 6, days[place][5:], anchor="middle"))
    for run in _runs(zip(*(line.values for line in lines), strict=True)):
        points = [(x(place), y(low)) for place, (low, _) in run] + [(x(p), y(up)) for p, (_, up) in reversed(run)]
        drawn.append(Markup('<polygon class="band" points="{}"/>').format(_points(points)))
    ends: list[tuple[float, Line]] = []
    for line in lines:
        for run in _runs((value,) for value in line.values):
            points = [(x(place), y(value)) for place, (value,) in run]
            drawn.append(Markup('<polyline class="line {}" points="{}"/>').format(line.look, _points(points)))
            drawn += [_dot(*point, "filled") for point in points if len(points) == 1]
            ends = [each for each in ends if each[1] is not line] + [(points[-1][1], line)]
    for height, line in _apart(ends):
        drawn.append(_text(left + wide + 6, height + 4, line.label, look=line.look))
    return _svg(plot, width_px, height_px, drawn)


def intervals_plot(
    plot: Plot, rows: Sequence[Interval], *, low: float, high: float, width_px: int, say: Callable[[float], str]
) -> Markup:
    """Draw numbers with their intervals, a row each.

    Args:
        plot: What stands around it.
        rows: The rows.
        low: Left end of the axis.
        high: Right end of the axis.
        width_px: Width. Unit: px.
        say: Writes a number at the axis.

    Returns:
        SVG.

    Example:
        >>> rows = [Interval("AMD", 0.7, 0.6, 0.8, "0.70"), Interval("DR", None, None, None, "-")]
        >>> drawn = intervals_plot(Plot("a", "Kappa", ""), rows, low=0.0, high=1.0, width_px=320, say="{:.1f}".format)
        >>> drawn.count("<circle"), drawn.count('class="band"')
        (1, 1)

    References:
        Lewis & Clarke, "Forest plots", BMJ 2001;322:1479.
    """
    left = 8 + _LETTER_PX * max((_columns(row.label) for row in rows), default=0)
    right = 8 + _LETTER_PX * max((_columns(row.shown) for row in rows), default=0)
    wide, bottom = width_px - left - right, len(rows) * _ROW_PX + 4.0

    def x(value: float) -> float:
        return left + wide * (min(max(value, low), high) - low) / (high - low)

    step = _step(high - low, max(1, min(5, int(wide // 40))))
    drawn = [_rule(left, bottom, left + wide, bottom, "axis")]
    for tick in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1):
        drawn.append(_rule(x(tick * step), 4, x(tick * step), bottom, "grid"))
        drawn.append(_text(x(tick * step), bottom + 16, say(tick * step), anchor="middle"))
    for place, row in enumerate(rows):
        middle = place * _ROW_PX + _ROW_PX / 2 + 4
        drawn += [_text(0, middle + 4, row.label, look="first"), _text(width_px, middle + 4, row.shown, anchor="end")]
        if row.low is not None and row.high is not None:
            box = (x(row.low), middle - 4, max(1.0, x(row.high) - x(row.low)))
            drawn.append(Markup('<rect class="band" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="8"/>').format(*box))
        if row.value is not None:
            drawn.append(_dot(x(row.value), middle, row.mark))
    return _svg(plot, width_px, round(bottom + 24), drawn)


def shares_plot(
    plot: Plot, bins: Sequence[str], before: Sequence[float], after: Sequence[float], *, width_px: int = 232
) -> Markup:
    """Draw how values are spread: as they were as gray bars, as they are as lines across them.

    Args:
        plot: What stands around it.
        bins: Names of the bins; of names such as ``0.0-0.1`` the ends are shown.
        before: Share in each bin before; nothing where there is none.
        after: Share in each bin now; nothing where there is none.
        width_px: Width. Unit: px.

    Returns:
        SVG.

    Example:
        >>> drawn = shares_plot(Plot("a", "DR", ""), ["0", "1"], [0.8, 0.2], [0.7, 0.3])
        >>> drawn.count('class="before"'), drawn.count('class="after"')
        (2, 2)

    References:
        Our own.
    """
    top, bottom, height = 4.0, 72.0, 92
    most = max([*before, *after], default=1.0) or 1.0
    wide = width_px / max(1, len(bins))
    drawn = []
    for place, share in enumerate(before):
        tall = (bottom - top) * share / most
        box = (place * wide + 1, bottom - tall, wide - 2, tall)
        drawn.append(Markup('<rect class="before" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(*box))
    for place, share in enumerate(after):
        level = bottom - (bottom - top) * share / most
        drawn.append(_rule(place * wide + 1, level, (place + 1) * wide - 1, level, "after"))
    drawn.append(_rule(0, bottom, width_px, bottom, "axis"))
    if any("-" in name for name in bins):
        drawn += [_text(0, bottom + 16, bins[0].partition("-")[0]), _text(width_px / 2, bottom + 16, "0.5", "middle")]
        drawn.append(_text(width_px, bottom + 16, bins[-1].rpartition("-")[2], "end"))
    else:
        drawn += [_text((place + 0.5) * wide, bottom + 16, name, "middle") for place, name in enumerate(bins)]
    return _svg(plot, width_px, height, drawn)


def _svg(plot: Plot, width_px: int, height_px: int, drawn: Iterable[Markup]) -> Markup:
    """A picture with its name, drawn no larger than it is."""
    return Markup(
        '<svg class="plot" viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-labelledby="{}-title {}-told">'
        '<title id="{}-title">{}</title><desc id="{}-told">{}</desc>{}</svg>'
    ).format(
        width_px, height_px, width_px, height_px, plot.key, plot.key, plot.key, plot.title, plot.key, plot.told,
        Markup("").join(drawn),
    )  # fmt: skip


def _text(x: float, y: float, text: str, anchor: str = "start", *, look: str = "") -> Markup:
    """A word."""
    template = Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>')
    return template.format(look, x, y, anchor, escape(text))


def _rule(x1: float, y1: float, x2: float, y2: float, look: str) -> Markup:
    """A straight line."""
    template = Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>')
    return template.format(look, x1, y1, x2, y2)


def _dot(x: float, y: float, mark: Mark) -> Markup:
    """A point."""
    return Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="4"/>').format(mark, x, y)


def _points(points: Iterable[tuple[float, float]]) -> str:
    """Points as SVG has them."""
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _runs(values: Iterable[tuple[float | None, ...]]) -> Iterator[list[tuple[int, tuple[float, ...]]]]:
    """Stretches in which everything is known, each value with its place."""
    run: list[tuple[int, tuple[float, ...]]] = []
    for place, each in enumerate(values):
        if None not in each:
            run.append((place, each))  # type: ignore[arg-type]
        elif run:
            yield run
            run = []
    if run:
        yield run


def _apart(ends: Sequence[tuple[float, Line]], least_px: float = 14.0) -> list[tuple[float, Line]]:
    """Labels at the ends of lines, moved down until none lies on another."""
    placed: list[tuple[float, Line]] = []
    for height, line in sorted(ends, key=lambda each: each[0]):
        placed.append((max(height, placed[-1][0] + least_px) if placed else height, line))
    return placed


def _step(length: float, most: int = 5) -> float:
    """Distance of ticks: 1, 2 or 5 times a power of ten, so that there are so many at most."""
    rough = max(length, 1e-6) / most
    power = 10.0 ** math.floor(math.log10(rough))
    return next(times * power for times in (1, 2, 5, 10) if times * power >= rough * 0.999)


def _columns(text: str) -> int:
    """How wide a text is in Latin letters: a Chinese one takes the room of two."""
    return sum(1 if ord(letter) < 0x2E80 else 2 for letter in text)

"""Plots: well-formed, escaped, nothing outside, and nothing drawn where nothing is known."""

import re
from xml.etree import ElementTree as Xml

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyeground.clinic.web.plots import Interval, Line, Plot, _step, days_plot, intervals_plot, shares_plot

EVIL = '<script>alert("x")</script>&\'"'
SVG = "{http://www.w3.org/2000/svg}"
maybe = st.none() | st.floats(0, 1e6)


def read(drawn: str) -> Xml.Element:
    """A plot as XML; inside HTML it needs no namespace."""
    return Xml.fromstring(str(drawn).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))  # noqa: S314 - ours


def inside(picture: Xml.Element) -> bool:
    """Whether all lines, points and boxes lie inside the picture."""
    wide, high = (float(picture.get(name, "0")) for name in ("width", "height"))
    x = [float(each.get(name, 0)) for each in picture.iter() for name in ("x1", "x2", "cx", "x") if each is not picture]
    y = [float(each.get(name, 0)) for each in picture.iter() for name in ("y1", "y2", "cy", "y") if each is not picture]
    for each in picture.iter():
        for point in (each.get("points") or "").split():
            left, top = point.split(",")
            x, y = [*x, float(left)], [*y, float(top)]
    return all(-0.1 <= each <= wide + 0.1 for each in x) and all(-0.1 <= each <= high + 0.1 for each in y)


@given(values=st.lists(st.tuples(maybe, maybe), min_size=1, max_size=90))
def test_days_are_drawn_inside_whatever_they_are(values: list[tuple[float | None, float | None]]) -> None:
    days = [f"2026-{each // 28 + 1:02}-{each % 28 + 1:02}" for each in range(len(values))]
    low = tuple(min(each) if None not in each else each[0] for each in values)  # type: ignore[type-var]
    high = tuple(max(each) if None not in each else each[1] for each in values)  # type: ignore[type-var]
    lines = Line("median", low, "first"), Line("90%", high, "second")
    picture = read(days_plot(Plot("a", "Waits", "told"), days, lines, unit="h", width_px=340))
    assert inside(picture)
    points = sum(len((each.get("points") or "").split()) for each in picture.iter(f"{SVG}polyline"))
    assert points == sum(value is not None for line in lines for value in line.values)


def test_a_line_is_broken_where_a_day_has_no_value() -> None:
    values = (1.0, 2.0, None, 3.0)
    lines = Line("median", values, "first"), Line("90%", (None,) * 4, "second")
    picture = read(days_plot(Plot("a", "", ""), ["2026-01-01"] * 4, lines, unit="h", width_px=340))
    assert len(list(picture.iter(f"{SVG}polyline"))) == 2
    assert len(list(picture.iter(f"{SVG}circle"))) == 1, "a day alone is a point"
    assert list(picture.iter(f"{SVG}polygon")) == [], "no band where one side is unknown"


def test_what_is_undefined_has_no_point_and_an_interval_lies_where_it_is() -> None:
    rows = [
        Interval("a", 0.5, 0.25, 0.75, "0.50"),
        Interval("b", None, None, None, "–"),
        Interval("c", 2.0, -9, 9, "2"),
    ]
    picture = read(intervals_plot(Plot("a", "", ""), rows, low=0, high=1, width_px=340, say="{:g}".format))
    assert inside(picture)
    points = [float(each.get("cx", "")) for each in picture.iter(f"{SVG}circle")]
    first, last = (each for each in picture.iter(f"{SVG}rect"))
    assert len(points) == 2
    assert float(first.get("x", "")) + float(first.get("width", "")) / 2 == pytest.approx(points[0], abs=0.11)
    axis = next(each for each in picture.iter(f"{SVG}line") if each.get("class") == "axis")
    assert points[1] == pytest.approx(float(axis.get("x2", "")), abs=0.11), "what lies outside is drawn at the end"
    assert float(last.get("width", "")) == pytest.approx(2 * float(first.get("width", "")), abs=0.3)


@given(before=st.lists(st.floats(0, 1), min_size=2, max_size=12))
def test_shares_are_drawn_inside(before: list[float]) -> None:
    bins = [str(each) for each in range(len(before))]
    assert inside(read(shares_plot(Plot("a", "", ""), bins, before, before[::-1])))
    assert inside(read(shares_plot(Plot("a", "", ""), bins, [], [])))


def test_names_are_text_whatever_they_hold() -> None:
    plot = Plot("a", EVIL, EVIL)
    line = Line(EVIL, (1.0,), "first")
    pictures = [
        days_plot(plot, [EVIL], (line, line), unit=EVIL, width_px=800),
        intervals_plot(plot, [Interval(EVIL, 0.5, None, None, EVIL)], low=0, high=1, width_px=800, say=lambda _: EVIL),
        shares_plot(plot, [EVIL, EVIL], [0.5, 0.5], [0.5, 0.5]),
    ]
    for each in pictures:
        assert "<script" not in each
        picture = read(each)
        assert (picture.findtext(f"{SVG}title"), picture.findtext(f"{SVG}desc")) == (EVIL, EVIL)


def test_a_plot_needs_nothing_that_a_strict_policy_forbids() -> None:
    line = Line("a", (1.0, 2.0), "first")
    drawn = days_plot(Plot("a", "t", "d"), ["2026-01-01", "2026-01-02"], (line, line), unit="h", width_px=340)
    assert not re.search(r"style=|<style|href|url\(|\son\w+=", drawn)
    assert 'role="img"' in drawn
    assert 'aria-labelledby="a-title a-told"' in drawn


@given(length=st.floats(1e-3, 1e9), most=st.integers(1, 8))
def test_ticks_are_round_and_not_too_many(length: float, most: int) -> None:
    step = _step(length, most)
    assert length / step <= most * 1.01
    assert f"{step:e}"[0] in "125"

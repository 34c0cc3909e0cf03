"""The picture of the classes: every class with its numbers, every way of weighing, whatever the set is like."""

import io
import re

import pytest
from PIL import Image

from eyeground.data.balance import analyze
from eyeground.evaluate.balance_plots import class_balance

FOUND = analyze({"drusen": 105, "normal": 1532, "白内障": 18}, patients={"drusen": 67, "normal": 900, "白内障": 12})


def words(svg: bytes) -> list[str]:
    """The texts of a picture, in order."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg.decode())


def test_every_class_is_there_with_its_numbers_the_largest_first() -> None:
    told = words(class_balance(FOUND))
    assert [word for word in told if word in FOUND.classes] == ["normal", "drusen", "白内障"]
    for numbers in (["1,532", "105", "18"], ["900", "67", "12"], ["93%", "6.3%", "1.1%"]):
        assert [word for word in told if word in numbers] == numbers
    for way in ("balanced", "sqrt_inverse", "effective"):
        assert any(word.endswith(way) for word in told)
    assert class_balance(FOUND) == class_balance(FOUND)


def test_patients_that_are_not_known_are_not_drawn() -> None:
    told = words(class_balance(analyze({"a": 3, "b": 1})))
    assert not any("patients" in word for word in told)
    assert "75%" in told


def test_a_png_has_the_same_shape() -> None:
    with Image.open(io.BytesIO(class_balance(analyze({"a": 30, "b": 1}), kind="png"))) as image:
        width, height = image.size
    size = re.search(rb'width="([\d.]+)pt" height="([\d.]+)pt"', class_balance(analyze({"a": 30, "b": 1})))
    assert size is not None
    assert width / height == pytest.approx(float(size[1]) / float(size[2]), rel=0.02)


@pytest.mark.parametrize(
    "counts",
    [
        {"normal": 40},
        {"a": 7, "b": 7},
        {"a": 1, "b": 1},
        {f"a class with a very long name, number {k}": 3 + 2000 // (k + 1) for k in range(39)},
        {"normal": 200_000, "rare": 1},
        {"<b>&amp;": 4, "$x$": 2},
    ],
)
def test_any_set_is_drawn(counts: dict[str, int]) -> None:
    picture = class_balance(analyze(counts))
    assert picture.startswith(b"<?xml")
    assert b"<b>" not in picture
    if "rare" in counts:
        assert "&lt;0.1%" in words(picture)

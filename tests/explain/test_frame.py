"""Places in the square against the square itself, in which a dot is looked for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from eyeground.data.preprocessing import Preprocessing, square
from eyeground.explain.frame import Frame

WAYS = [
    Preprocessing(image_px=224),
    Preprocessing(image_px=128, crop_fraction=1.0),
    Preprocessing(image_px=160, fit="squash"),
]


def dot(shape: tuple[int, int], x: int, y: int) -> NDArray[np.uint8]:
    pixels = np.zeros((*shape, 3), np.uint8)
    pixels[y - 4 : y + 5, x - 4 : x + 5] = 255
    return pixels


def middle_of(seen: NDArray[np.uint8]) -> tuple[float, float]:
    weight = seen[..., 0].astype(np.float64)
    rows, columns = np.mgrid[: seen.shape[0], : seen.shape[1]]
    return float((columns * weight).sum() / weight.sum()), float((rows * weight).sum() / weight.sum())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", [(512, 512), (512, 683), (300, 211)])
def test_a_dot_is_where_the_frame_says(way: Preprocessing, shape: tuple[int, int]) -> None:
    frame = Frame(*shape, way)
    for part in (0.4, 0.5, 0.6):
        x, y = round(part * shape[1]), round((1 - part) * shape[0])
        seen = square(dot(shape, x, y), way)
        assert frame.to_square(x, y) == pytest.approx(middle_of(seen), abs=0.15)
        assert frame.from_square(*frame.to_square(x, y)) == pytest.approx((x, y), abs=1e-9)


@pytest.mark.parametrize("way", WAYS)
def test_the_grid_is_every_pixel_brought_back(way: Preprocessing) -> None:
    frame = Frame(300, 411, way)
    x, y = frame.grid()
    assert x.shape == y.shape == (way.image_px, way.image_px)
    for row, column in ((0, 0), (5, 90), (way.image_px - 1, 17)):
        assert (x[row, column], y[row, column]) == pytest.approx(frame.from_square(column, row))


@pytest.mark.parametrize("way", WAYS)
def test_what_is_shown_is_the_square_at_another_size(way: Preprocessing) -> None:
    shape = (500, 620)
    frame, pixels = Frame(*shape, way), dot(shape, 330, 240)
    shown = frame.show(pixels, 2 * way.image_px)
    x, y = frame.to_square(330, 240)
    assert middle_of(shown) == pytest.approx((2 * x + 0.5, 2 * y + 0.5), abs=0.5)
    assert frame.show(pixels, way.image_px).shape == square(pixels, way).shape


@settings(max_examples=40, deadline=None)
@given(st.integers(40, 900), st.integers(40, 900), st.sampled_from(WAYS), st.floats(-50, 900), st.floats(-50, 900))
def test_there_and_back_is_the_same_place(height: int, width: int, way: Preprocessing, x: float, y: float) -> None:
    frame = Frame(height, width, way)
    assert frame.from_square(*frame.to_square(x, y)) == pytest.approx((x, y), abs=1e-6)

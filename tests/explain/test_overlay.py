"""The overlay: one scale, marks where they belong, words that fit; read back from its PNG."""

import io

import numpy as np
import pytest
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from eyeground.explain import overlay as module
from eyeground.explain.heat_map import NOTHING, HeatMap
from eyeground.explain.overlay import LEAST, LEVELS, blend, overlay
from eyeground.images.disc import Disc
from eyeground.images.fovea import Fovea

SIDE = 128
PICTURE = np.full((SIDE, SIDE, 3), 100, np.uint8)


def heat(values: NDArray[np.float32], note: str = "") -> HeatMap:
    return HeatMap(np.asarray(values, np.float32), "grad_cam", "label: drusen", note)


def opened(png: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def corners(page: NDArray[np.uint8]) -> tuple[int, int, int]:
    """Top, left of the plain picture and left of the overlay, found by the picture's own color."""
    rows, columns = np.nonzero((page == 100).all(axis=2))
    top, left = int(rows.min()), int(columns.min())
    return top, left, left + SIDE + (left)


def test_below_the_least_level_the_picture_stays_as_it_is() -> None:
    values = np.full((SIDE, SIDE), LEAST - 0.01, np.float32)
    assert np.array_equal(blend(PICTURE, heat(values)), PICTURE)
    values[40:60, 40:60] = LEAST + 0.5
    changed = (blend(PICTURE, heat(values)) != PICTURE).any(axis=2)
    assert changed[45:55, 45:55].all()
    assert not changed[:35].any()


def test_a_color_means_the_same_in_every_picture() -> None:
    one, other = (np.ones((SIDE, SIDE), np.float32) for _ in range(2))
    one[10:30, 10:30], other[70:90, 70:90] = 4, 4
    other[10:30, 10:30] = 16  # a higher peak elsewhere changes nothing
    assert np.array_equal(blend(PICTURE, heat(one))[15:25, 15:25], blend(PICTURE, heat(other))[75:85, 75:85])


def test_levels_are_even_steps_of_a_scale_that_ends_at_its_top() -> None:
    level = module.level_of(np.array([LEAST, *LEVELS, 99.0], np.float32))
    assert level[0] == 0
    assert np.ptp(np.diff(level[1:-1])) < 1e-6
    assert level[-2] == level[-1] == 1


def test_colors_rise_in_lightness_and_are_no_red_of_a_fundus() -> None:
    colors = module._table()
    lightness = colors @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness[::8]) > 0).all()
    assert not ((colors[:, 0] > colors[:, 1] + 30) & (colors[:, 0] > colors[:, 2] + 30)).any()
    assert np.allclose(colors[-1] / 255, colormaps["viridis"](1.0)[:3], atol=1e-6)


def test_plain_picture_at_the_left_overlay_at_the_right_legend_beside_it() -> None:
    values = np.zeros((SIDE, SIDE), np.float32)
    values[50:70, 80:100] = 16
    page = opened(overlay(PICTURE, heat(values)))
    top, left, over = corners(page)
    assert (page[top : top + SIDE, left : left + SIDE] == 100).all()
    marked = (page[top : top + SIDE, over : over + SIDE] != 100).any(axis=2)
    rows, columns = np.nonzero(marked)
    assert 48 <= rows.min() <= rows.max() < 72
    assert 78 <= columns.min() <= columns.max() < 102
    bar = page[top : top + SIDE, over + SIDE + left + 2]
    assert np.abs(bar[0].astype(int) - module._table()[-1]).max() < 2
    assert np.abs(bar[-1].astype(int) - module._table()[0]).max() < 2


def test_disc_and_fovea_are_marked_where_they_are_and_only_when_found() -> None:
    flat = heat(np.ones((SIDE, SIDE), np.float32))
    page = opened(overlay(PICTURE, flat, disc=Disc(90.0, 60.0, 12.0, 0.9), fovea=Fovea(40.0, 64.0, 0.9)))
    top, left, over = corners(page)
    tile = page[top : top + SIDE, over : over + SIDE]
    assert (tile[60, [78, 102]] > 200).all()
    assert (tile[60, 90] == 100).all()
    assert (tile[64, 40] > 200).all()
    assert (page[top : top + SIDE, left : left + SIDE] == 100).all()
    plain = opened(overlay(PICTURE, flat))
    assert (plain[top : top + SIDE, over : over + SIDE] == 100).all()
    outside = opened(overlay(PICTURE, flat, disc=Disc(-30.0, 60.0, 12.0, 0.9)))
    assert (outside[top : top + SIDE, over : over + SIDE] == 100).all()


def test_words_add_lines_and_never_leave_the_picture() -> None:
    flat = heat(np.ones((SIDE, SIDE), np.float32))
    short, long = (opened(overlay(PICTURE, flat, words=words)) for words in ([], ["x" * 400, "a\u202eb\n"]))
    assert long.shape[0] > short.shape[0]
    assert long.shape[1] == short.shape[1]
    assert (long[:, -3:] == 255).all()  # white to the edge: cut, not run over
    empty = opened(overlay(PICTURE, heat(np.zeros((SIDE, SIDE), np.float32), NOTHING)))
    assert empty.shape[0] > short.shape[0]


def test_without_a_chinese_font_our_words_are_english(monkeypatch: pytest.MonkeyPatch) -> None:
    flat = heat(np.ones((SIDE, SIDE), np.float32))
    english = overlay(PICTURE, flat)
    if module._chinese(12) is not None:
        assert overlay(PICTURE, flat, language="zh") != english
    module._chinese.cache_clear()
    monkeypatch.setattr(module, "_CJK", ("no such font.ttf",))
    try:
        assert overlay(PICTURE, flat, language="zh") == overlay(PICTURE, flat)
    finally:
        module._chinese.cache_clear()


@pytest.mark.parametrize("shape", [(32, 32, 3), (100, 120, 3), (100, 100)])
def test_other_pictures_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must be a square"):
        overlay(np.zeros(shape, np.uint8), heat(np.ones((4, 4), np.float32)))

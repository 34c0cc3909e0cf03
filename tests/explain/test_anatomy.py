"""Disc, fovea and field on the pixels that predictors have: cropped and shrunk."""

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from eyeground.data.phantom import draw_fundus, draw_oct
from eyeground.data.pixels import PixelStore
from eyeground.explain.anatomy import Anatomy, locate, visible_field
from eyeground.images.disc import Disc
from eyeground.images.field import find_field
from eyeground.images.fovea import Fovea
from eyeground.images.read import read

STORE = PixelStore(crop_field=True, store_px=256, limit_bytes=0)


def test_disc_and_fovea_of_phantoms_are_found_after_cropping() -> None:
    misses = []
    for seed in range(8):
        phantom = draw_fundus("normal", seed=seed, size_px=320)
        ready = STORE.ready(phantom.image)
        field = find_field(phantom.image.pixels)
        found = locate(ready)
        if field is None or not found.found:
            continue
        assert found.disc is not None
        assert found.fovea is not None
        assert found.reason == ""
        assert found.eye == phantom.image.eye
        corner_x, corner_y = round(field.center_x_px), round(field.center_y_px)
        half = max(corner_x - field.left, field.right - corner_x, corner_y - field.top, field.bottom - corner_y)
        scale = ready.shape[1] / (2 * half)
        for place, truth in ((found.disc, phantom.disc), (found.fovea, phantom.fovea)):
            assert truth is not None
            x, y = (truth[0] - corner_x + half) * scale, (truth[1] - corner_y + half) * scale
            misses.append(math.hypot(place.x - x, place.y - y) / (2 * found.disc.radius))
    assert len(misses) >= 10
    assert np.median(misses) < 0.15
    assert max(misses) < 1


@pytest.mark.parametrize(
    "pixels", [np.zeros((80, 80, 3), np.uint8), np.full((200, 200, 3), 128, np.uint8), np.zeros((3, 3, 3), np.uint8)]
)
def test_nothing_is_found_in_nothing_and_it_is_said(pixels: NDArray[np.uint8]) -> None:
    found = locate(pixels)
    assert (found.disc, found.fovea, found.found, found.eye) == (None, None, False, "")
    assert found.reason == "no optic disc is found"


def test_a_scan_is_not_looked_at() -> None:
    scan = draw_oct("drusen", seed=1, width_px=160, height_px=125).image.pixels
    assert locate(scan, modality="oct").reason.startswith("no fundus photograph")
    assert locate(scan).disc is None


def test_the_eye_is_that_of_an_upright_photograph() -> None:
    left, right = Disc(20.0, 50.0, 8.0, 0.9), Disc(90.0, 50.0, 8.0, 0.9)
    fovea = Fovea(55.0, 52.0, 0.9)
    assert Anatomy(right, fovea, "").eye == "OD"
    assert Anatomy(left, fovea, "").eye == "OS"
    assert Anatomy(right, None, "no fovea is found").eye == ""


def test_the_visible_field_is_the_round_part() -> None:
    y, x = np.mgrid[:200, :240]
    field = np.hypot(x - 120, y - 100) < 90
    rng = np.random.default_rng(0)
    pixels = np.where(field[..., None], (150, 80, 40), 0) + rng.integers(0, 4, (200, 240, 3))
    pixels[90:110, 60:80] = 0  # a hole, as black as the surround
    pixels[5:9, 5:9] = 255  # a camera's mark
    found = visible_field(pixels.astype(np.uint8))
    assert (found ^ field).mean() < 0.01
    assert not found[:12, :12].any()
    assert visible_field(np.full((20, 20, 3), 90, np.uint8)).all()
    assert not visible_field(np.zeros((20, 20, 3), np.uint8)).any()


def test_most_real_photographs_have_both(realdata: Path) -> None:
    files = sorted((realdata / "fundus-dr5" / "images").iterdir())[::60]
    found = [locate(STORE.ready(read(path, source=path.name))) for path in files]
    assert len(found) >= 10
    assert sum(each.found for each in found) >= 0.6 * len(found)
    assert all(each.found == (each.reason == "") for each in found)

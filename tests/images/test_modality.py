from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eyeground.data.phantom import FUNDUS_DISEASES, OCT_DISEASES, draw_fundus, draw_oct
from eyeground.images.modality import modality_of
from eyeground.images.retinal_image import Modality, RetinalImage

from .pictures import NEGATIVES, draw_anterior, draw_negative

# How many of 12 may be taken for something. Round bright things before black, like a flower, are beyond pixels alone.
MAY_FAIL = {"skin": 2, "gradient": 1, "photograph": 3, "gray photograph": 6}


def seen(pixels: np.ndarray) -> Modality:
    return modality_of(RetinalImage(np.ascontiguousarray(pixels), "a.png"))


@pytest.mark.parametrize("size_px", [64, 128, 400])
def test_phantoms_are_what_they_are(size_px: int) -> None:
    for seed in range(12):
        assert seen(draw_fundus(FUNDUS_DISEASES[seed], seed=seed, size_px=size_px).image.pixels) == "fundus"
    for seed in range(10):
        height_px = max(64, size_px * 3 // 4)
        image = draw_oct(OCT_DISEASES[seed % 5], seed=seed, width_px=size_px, height_px=height_px).image
        assert seen(image.pixels) == "oct"


def test_a_red_free_photograph_is_a_fundus() -> None:
    found = [
        seen(draw_fundus("normal", seed=s, size_px=300).image.pixels[:, :, 1:2].repeat(3, axis=2)) for s in range(10)
    ]
    assert found.count("fundus") >= 9


def test_a_photograph_cut_within_its_field() -> None:
    found = [seen(draw_fundus("normal", seed=s, size_px=400).image.pixels[90:310, 90:310]) for s in range(10)]
    assert found.count("fundus") >= 7
    assert "oct" not in found


def test_a_scan_in_a_white_frame() -> None:
    pixels = draw_oct("drusen", seed=1, width_px=300, height_px=240).image.pixels
    framed = np.pad(pixels, ((20, 30), (40, 5), (0, 0)), constant_values=255)
    assert seen(framed) == "oct"


def test_the_header_is_not_looked_at() -> None:
    pixels = draw_fundus("normal", seed=1, size_px=200).image.pixels
    assert modality_of(RetinalImage(pixels, "a.png", modality="oct")) == "fundus"


def test_eyes_from_the_front() -> None:
    found = [seen(draw_anterior(seed)) for seed in range(20)]
    assert found.count("anterior") >= 18
    assert "oct" not in found


@pytest.mark.parametrize("kind", sorted(NEGATIVES))
def test_other_pictures_are_none_of_them(kind: str) -> None:
    taken = [found for found in (seen(draw_negative(kind, seed)) for seed in range(12)) if found]
    assert len(taken) <= MAY_FAIL.get(kind, 0), taken


def test_real_images_are_what_they_are(realdata: Path) -> None:
    wrong = []
    for pattern, step, right in (
        ("fundus-odir3/images/*/*", 40, "fundus"),
        ("fundus-dr5/images/*", 40, "fundus"),
        ("fundus-unlabelled/*.jpeg", 40, "fundus"),
        ("oct-octdl7/images/*/*", 40, "oct"),
        ("oct-srf/images/*/*", 6, "oct"),
    ):
        for path in sorted(realdata.glob(pattern))[::step]:
            found = seen(np.asarray(Image.open(path).convert("RGB")))
            wrong += [f"{path.name}: {found}"] if found != right else []
    assert len(wrong) <= 1, wrong

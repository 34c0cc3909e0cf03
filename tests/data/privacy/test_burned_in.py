"""Text in the pixels: drawn in several sizes and colors it is found, and nothing is found where nothing was drawn."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from eyeground.data.phantom import draw_fundus, draw_oct
from eyeground.data.privacy.burned_in import Region, find_text

WORDS = ("SMITH JOHN", "1956-03-12", "ID 00123", "Doe, Jane 1961")


def _written(
    pixels: np.ndarray, words: str, height_px: float, color: tuple[int, int, int], place: tuple[int, int]
) -> tuple[np.ndarray, Region]:
    """Write words so that capitals have a height; give the picture and the box."""
    picture = Image.fromarray(pixels)
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=height_px / 0.72)
    left, top, right, bottom = (round(edge) for edge in pen.textbbox((0, 0), words, font=font))
    pen.text((place[0] - left, place[1] - top), words, font=font, fill=color)
    return np.asarray(picture), Region(place[0], place[1], right - left, bottom - top)


def _meets(box: Region, other: Region) -> bool:
    return (
        box.x < other.x + other.width
        and other.x < box.x + box.width
        and box.y < other.y + other.height
        and other.y < box.y + box.height
    )


@pytest.fixture(scope="module")
def fundus() -> np.ndarray:
    """A phantom photograph with black to its left."""
    drawn = draw_fundus("normal", seed=1, size_px=384).image.pixels
    return np.pad(drawn, ((0, 0), (260, 0), (0, 0)))


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("height_px", [7, 10, 14, 20, 30])
def test_text_in_the_black_of_a_photograph_is_found(fundus: np.ndarray, words: str, height_px: int) -> None:
    color = ((255, 255, 255), (170, 170, 170), (0, 200, 0), (60, 60, 60))[height_px % 4]
    picture, box = _written(fundus, words, height_px, color, (6, 12))
    found = find_text(picture)
    assert any(_meets(box, each) for each in found)
    assert all(_meets(box, each) for each in found)


@pytest.mark.parametrize("height_px", [8, 12, 18])
def test_dark_text_on_a_white_border_is_found(height_px: int) -> None:
    picture = np.full((300, 400, 3), 255, np.uint8)
    picture[80:, :] = 0
    picture, box = _written(picture, "Doe, Jane 1961", height_px, (40, 40, 40), (20, 20))
    assert any(_meets(box, each) for each in find_text(picture))


def test_text_in_the_vitreous_of_a_scan_is_found() -> None:
    scan = draw_oct("normal", seed=2).image.pixels
    found = [find_text(_written(scan, words, 12, (230, 230, 230), (8, 8))[0]) for words in WORDS]
    assert sum(map(bool, found)) >= 3


def test_large_pictures_too(fundus: np.ndarray) -> None:
    large = np.asarray(Image.fromarray(fundus).resize((2400, 1440)))
    picture, box = _written(large, "SMITH JOHN", 60, (255, 255, 255), (30, 40))
    assert any(_meets(box, each) for each in find_text(picture))


@pytest.mark.parametrize("seed", range(6))
def test_phantoms_hold_no_text(seed: int) -> None:
    diseases = ("normal", "dr2", "dr4", "glaucoma", "cataract", "drusen")
    picture = draw_fundus(diseases[seed], seed=seed, size_px=320).image.pixels
    assert find_text(picture) == ()
    assert find_text(draw_oct("normal", seed=seed).image.pixels) == ()


def test_odd_shapes_do_no_harm() -> None:
    rng = np.random.default_rng(0)
    for shape in ((1, 1, 3), (1, 500, 3), (500, 2, 3), (9, 9, 3), (64, 64, 3)):
        find_text(rng.integers(0, 255, shape, np.uint8))
        assert find_text(np.zeros(shape, np.uint8)) == ()


def test_dates_that_a_public_set_has_burned_in_are_found_and_other_photographs_pass(realdata: Path) -> None:
    folder = realdata / "fundus-odir3" / "images"
    dated = [
        path for name in ("1494_left", "2844_right", "2991_right", "553_right") for path in folder.rglob(f"{name}.jpg")
    ]
    assert len(dated) == 4
    for path in dated:
        assert [box for box in find_text(np.asarray(Image.open(path).convert("RGB"))) if box.y < 5]
    others = sorted(folder.rglob("*.jpg"))[::60]
    assert [path.name for path in others if find_text(np.asarray(Image.open(path).convert("RGB")))] == []

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from eyeground.images.decode import read
from eyeground.images.quality import verdict
from eyeground.images.retinal_image import RetinalImage

NOISE = np.random.default_rng(0)


def judged(pixels: NDArray[np.generic]) -> str:
    return verdict(RetinalImage(pixels.astype(np.uint8), "a.png"))


@pytest.mark.parametrize(
    ("pixels", "word"),
    [
        (NOISE.integers(0, 256, (40, 300, 3)), "300x40 px"),
        (np.zeros((100, 100, 3)), "black"),
        (NOISE.integers(0, 9, (100, 100, 3)), "black"),
        (np.full((100, 100, 3), 255), "white"),
        (np.full((100, 100, 3), (200, 90, 40)), "flat"),
        (np.full((100, 100, 3), (255, 0, 0)), "flat"),
    ],
)
def test_what_cannot_be_graded(pixels: NDArray[np.generic], word: str) -> None:
    assert judged(pixels).startswith("cannot grade: ")
    assert word in judged(pixels)


def test_a_few_hot_pixels_do_not_make_a_picture() -> None:
    pixels = np.zeros((300, 300, 3))
    pixels[5, :20] = 255
    assert "black" in judged(pixels)


def test_dim_and_hazy_photographs_pass() -> None:
    y, x = np.mgrid[:200, :200]
    disc = np.hypot(x - 100, y - 100) < 90
    assert judged(np.where(disc[..., None], 235, 0) * np.ones(3)) == ""  # a dense cataract: a white disc
    assert judged(np.where(disc[..., None], (30, 18, 9), 0)) == ""


def test_no_real_image_is_refused(realdata: Path) -> None:
    files = sorted(realdata.glob("fundus-odir3/images/cataract/*"))
    files += sorted(realdata.glob("fundus-dr5/images/*"))[::10] + sorted(realdata.glob("oct-*/images/*/*"))[::20]
    files.append(realdata / "fundus-dr5/images/766_left.jpeg")  # the darkest of all
    assert len(files) > 300
    assert [file.name for file in files if verdict(read(file))] == []

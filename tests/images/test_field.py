from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from eyeground.images.field import Field, crop, crop_photograph, find_field
from eyeground.images.read import read
from eyeground.images.retinal_image import RetinalImage


def photograph(
    width: int = 400, height: int = 300, x: float = 200, y: float = 150, radius: float = 120, *, squeeze: float = 1.0,
    light: float = 1.0, noise: float = 0.0, surround: int = 0, seed: int = 0,
) -> NDArray[np.uint8]:  # fmt: skip
    """A disc with vignetting, a bright optic disc and a dark vessel."""
    draw = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width] + 0.5
    far = np.hypot((columns - x) / squeeze, rows - y)
    shade = (1 - 0.5 * (far / radius) ** 2) * light
    color = shade[..., None] * np.array([190.0, 95.0, 45.0])
    color[np.hypot(columns - x - radius / 2, rows - y) < radius / 8] = np.array([250.0, 220.0, 160.0]) * light
    color[np.abs(rows - y - 20) < 2] *= 0.5
    picture = np.where((far < radius)[..., None], color, surround)
    return np.clip(picture + draw.normal(0, noise, picture.shape), 0, 255).astype(np.uint8)


def near(field: Field | None, x: float, y: float, radius: float, within: float = 0.015) -> bool:
    assert field is not None
    return max(abs(field.center_x_px - x), abs(field.center_y_px - y), abs(field.radius_px - radius)) < within * radius


@settings(max_examples=25, deadline=None)
@given(
    st.floats(170, 230),
    st.floats(130, 170),
    st.floats(70, 170),
    st.floats(0.25, 1.2),
    st.floats(0, 6),
    st.integers(0, 14),
)
def test_finds_the_circle(x: float, y: float, radius: float, light: float, noise: float, surround: int) -> None:
    pixels = photograph(x=x, y=y, radius=radius, light=light, noise=noise, surround=surround)
    assert near(find_field(pixels), x, y, radius, 0.03)


@pytest.mark.parametrize("size", [(120, 90), (1024, 683), (3000, 2000)])
def test_any_size(size: tuple[int, int]) -> None:
    width, height = size
    field = find_field(photograph(width, height, width / 2, height / 2, height * 0.45))
    assert near(field, width / 2, height / 2, height * 0.45)


def test_cut_off_at_top_and_bottom() -> None:
    field = find_field(photograph(height=180, y=90))
    assert near(field, 200, 90, 120)
    assert field is not None
    assert (field.top, field.bottom) == (0, 180)
    assert crop(photograph(height=180, y=90), field).shape[0] == pytest.approx(240, abs=4)


def test_flat_edge_notch_and_writing_in_the_corner() -> None:
    pixels = photograph()
    pixels[235:] = 0  # camera cuts the field's lower end
    pixels[30:60, 280:310] = 120  # notch on the rim
    pixels[4:12, 4:60] = 255  # writing
    assert near(find_field(pixels), 200, 150, 120)


def test_one_dark_side() -> None:
    pixels = photograph(noise=1.5).astype(np.float64)
    pixels *= np.clip(np.linspace(2.2, -0.4, 400), 0, 1)[None, :, None]
    assert near(find_field(pixels.astype(np.uint8)), 200, 150, 120, 0.04)


def test_squeezed_to_a_square() -> None:
    field = find_field(photograph(400, 400, 200, 200, 190, squeeze=0.75))
    assert field is not None
    assert abs(field.right - field.left - 285) <= 6
    assert abs(field.bottom - field.top - 380) <= 6


def test_white_surround_counts_as_surround() -> None:
    pixels = photograph(400, 400, 200, 200, 150)
    pixels[:, :30] = pixels[:, 370:] = 255
    pixels[:20] = pixels[380:] = 255
    assert near(find_field(pixels), 200, 200, 150)
    pixels[:, :80] = 255  # reaches into the field's box
    cropped = crop_photograph(RetinalImage(pixels, "a.png")).pixels
    assert not (cropped.min(axis=2) > 240).any()


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((200, 300, 3), np.uint8),
        np.full((200, 300, 3), 255, np.uint8),
        np.full((200, 300, 3), (190, 95, 45), np.uint8),
        np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8),
        np.zeros((10, 10, 3), np.uint8),
        photograph(x=200, y=150, radius=600),
    ],
)
def test_no_field_without_a_round_rim(pixels: NDArray[np.uint8]) -> None:
    assert find_field(pixels) is None
    image = RetinalImage(pixels, "a.png", modality="fundus")
    assert crop_photograph(image) is image


def test_a_bright_square_is_not_round() -> None:
    pixels = np.zeros((300, 400, 3), np.uint8)
    pixels[50:250, 100:300] = (190, 95, 45)
    assert find_field(pixels) is None


def test_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(H, W, 3\)"):
        find_field(np.zeros((50, 50), np.uint8))


@given(
    st.integers(0, 60),
    st.integers(0, 60),
    st.integers(0, 40),
    st.integers(0, 40),
    st.integers(1, 40),
    st.integers(1, 40),
)
def test_crop_keeps_every_pixel_of_the_box_and_the_center(
    center_x: int, center_y: int, left: int, top: int, width: int, height: int
) -> None:
    pixels = np.random.default_rng(0).integers(1, 256, (80, 80, 3), dtype=np.uint8)
    field = Field(center_x, center_y, 10, left, top, left + width, top + height)
    square = crop(pixels, field)
    assert square.shape[0] == square.shape[1]
    half = square.shape[0] // 2
    assert np.count_nonzero(square.any(axis=2)) == width * height
    assert (square[half + top - center_y, half + left - center_x] == pixels[top, left]).all()


def test_crop_photograph_lets_scans_pass() -> None:
    gray = np.repeat(photograph()[..., :1], 3, axis=2)
    colored = RetinalImage(photograph(), "a.png")
    unknown = RetinalImage(gray, "b.png")
    assert crop_photograph(unknown) is unknown
    assert crop_photograph(replace(colored, modality="oct")).pixels.shape == (300, 400, 3)
    assert crop_photograph(replace(unknown, modality="fundus")).pixels.shape[0] == pytest.approx(240, abs=4)
    cropped = crop_photograph(replace(colored, eye="OD"))
    assert cropped.pixels.shape[0] == pytest.approx(240, abs=4)
    assert (cropped.eye, cropped.source) == ("OD", "a.png")


def test_cropping_twice_changes_little() -> None:
    once = crop_photograph(RetinalImage(photograph(), "a.png"))
    twice = crop_photograph(once)
    assert abs(once.pixels.shape[0] - twice.pixels.shape[0]) <= 4


def test_real_photographs_have_a_plausible_field(realdata: Path) -> None:
    files = sorted(realdata.glob("fundus-dr5/images/*"))[::15] + sorted(realdata.glob("fundus-odir3/images/*/*"))[::25]
    found = 0
    for file in files:
        pixels = read(file).pixels
        field = find_field(pixels)
        # Outside the circle there is surround: nearly all of the light lies inside.
        if field is not None:
            rows, columns = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
            outside = np.hypot(columns - field.center_x_px, rows - field.center_y_px) > 1.03 * field.radius_px
            found += bool(pixels[outside].sum() < 0.03 * pixels.sum())
    assert found >= 0.97 * len(files)


def test_real_scans_pass_by(realdata: Path) -> None:
    for file in sorted(realdata.glob("oct-octdl7/images/*/*"))[::60] + sorted(realdata.glob("oct-srf/images/*/*"))[::5]:
        scan = read(file)
        assert crop_photograph(scan) is scan

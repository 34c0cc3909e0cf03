import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from eyeground.data.phantom import draw_fundus
from eyeground.images.photograph import find_photograph_field, measure_photograph


def disc(height: int, width: int, x: float, y: float, radius: float) -> NDArray[np.uint8]:
    down, across = np.mgrid[:height, :width]
    return np.where(np.hypot(across - x, down - y)[..., None] < radius, (170, 90, 50), 0).astype(np.uint8)


@pytest.mark.parametrize(
    ("height", "width", "x", "y", "reach"),
    [(300, 300, 150, 150, 1.0), (300, 200, 80, 150, 0.8), (300, 160, 20, 150, 0.2), (160, 300, 150, 0, 0.0)],
)
def test_how_much_of_the_field_is_seen(height: int, width: int, x: float, y: float, reach: float) -> None:
    pixels = disc(height, width, x, y, 100)
    field = find_photograph_field(pixels)
    assert field is not None
    assert abs(field.radius_px - 100) < 4
    assert abs(measure_photograph(pixels)["reach"] - reach) < 0.08


def test_a_lid_over_half_the_field() -> None:
    pixels = disc(300, 300, 150, 150, 140)
    pixels[160:] = 3
    assert abs(measure_photograph(pixels)["reach"] - 10 / 140) < 0.08


def test_a_squeezed_photograph_is_whole() -> None:
    squeezed = np.asarray(Image.fromarray(disc(400, 400, 200, 200, 180)).resize((300, 400)))
    measures = measure_photograph(squeezed)
    assert measures["reach"] > 0.9
    assert measures["contrast"] < 0.004  # its rim is not taken for structure


def test_where_no_field_is_found_the_frame_is_the_field() -> None:
    pixels = draw_fundus("normal", seed=1, size_px=400).image.pixels[100:300, 100:300]
    measures = measure_photograph(pixels)
    assert measures["reach"] > 0.9


def test_noise_is_not_taken_for_sharpness() -> None:
    y, x = np.mgrid[:300, :300]
    soft = 100 + 20 * np.sin(x / 9.0) * np.sin(y / 9.0)
    field = (np.hypot(x - 150, y - 150) < 140)[..., None]
    rng = np.random.default_rng(0)
    values = []
    for noise in (0.0, 3.0):
        picture = np.where(field, soft[..., None] + noise * rng.standard_normal((300, 300, 3)), 0)
        values.append(measure_photograph(np.clip(picture, 0, 255).astype(np.uint8))["sharpness"])
    assert max(values) < -1.0

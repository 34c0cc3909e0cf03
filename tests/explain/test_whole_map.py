"""A map over the whole image: a dot that people see and the network saw lies in the same place for both."""

from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from eyeground.data.phantom import draw_fundus
from eyeground.data.preprocessing import Preprocessing
from eyeground.data.task import classification
from eyeground.explain.frame import Frame
from eyeground.explain.heat_map import HeatMap
from eyeground.explain.overlay import LEVELS
from eyeground.explain.whole_map import whole_map, whole_png
from eyeground.images.cut import Cut
from eyeground.images.decode import decode
from eyeground.images.field import cut_photograph
from eyeground.images.retinal_image import RetinalImage
from eyeground.model.spec import ModelSpec
from eyeground.serve.contract import Contract
from eyeground.serve.gate import gate_bytes

Pixels = NDArray[np.uint8]
WAYS = [
    Preprocessing(image_px=96, store_px=128),
    Preprocessing(image_px=128, store_px=0, fit="squash"),
    Preprocessing(image_px=64, store_px=96, crop_fraction=1.0, crop_field=False),
]
PLACES = [(0.5, 0.5), (0.35, 0.6), (0.62, 0.38)]


def photographs(x: float, y: float) -> dict[str, Pixels]:
    """Photographs with a blue dot in the field, in frames of many shapes."""
    plain = draw_fundus("normal", seed=3, size_px=300).image.pixels.copy()
    down, across = np.mgrid[:300, :300]
    plain[(across - 150) ** 2 + (down - 150) ** 2 > 140**2] = 0  # a field with a sharp rim, whatever it lies in
    left, top = round(300 * x), round(300 * y)
    plain[top - 6 : top + 7, left - 6 : left + 7] = (0, 0, 255)
    wide, tall, aside = (np.zeros((*shape, 3), np.uint8) for shape in ((340, 800), (900, 320), (400, 500)))
    wide[20:320, 400:700] = plain
    tall[30:330, 10:310] = plain
    aside[-300:, -300:] = plain
    assert cut_photograph(RetinalImage(wide, "wide"))[1].left > 400
    return {"plain": plain, "wide": wide, "tall": tall, "aside": aside, "cut off": plain[40:, :270]}


def dot_in(pixels: Pixels) -> tuple[float, float]:
    """Middle of the blue dot: from the left and from the top, as parts of the picture."""
    blue = pixels[..., 2].astype(float) - pixels[..., 0] > 100
    rows, columns = np.nonzero(blue)
    assert len(rows) > 3
    return (columns.mean() + 0.5) / pixels.shape[1], (rows.mean() + 0.5) / pixels.shape[0]


def contract_of(way: Preprocessing) -> Contract:
    task = classification(("normal", "ill"))
    return Contract(ModelSpec("vit_demo_patch8", 2, image_px=way.image_px), task, False, way, "center", "fundus", "00")


def with_dot(data: bytes, way: Preprocessing) -> tuple[HeatMap, Frame, Cut]:
    """What a network looks at that sees nothing but the dot."""
    gated = gate_bytes(data, contract_of(way), name="a.png")
    assert gated.shown is not None
    assert gated.cut is not None
    [square] = gated.squares
    x, y = (part * way.image_px - 0.5 for part in dot_in(square))
    rows, columns = np.mgrid[: way.image_px, : way.image_px]
    heat = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * 3.0**2)) * 40
    frame = Frame(gated.shown.shape[0], gated.shown.shape[1], way)
    return HeatMap(heat.astype(np.float32), "by hand", "ill"), frame, gated.cut


def peak_of(shown: Pixels) -> tuple[float, float]:
    """Middle of the brightest part, as ``dot_in`` has it."""
    rows, columns = np.nonzero(shown >= shown.max() * 0.98)
    return (columns.mean() + 0.5) / shown.shape[1], (rows.mean() + 0.5) / shown.shape[0]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", list(photographs(0.5, 0.5)))
def test_the_map_lies_where_the_network_looked(kind: str, place: tuple[float, float], way: Preprocessing) -> None:
    pixels = photographs(*place)[kind]
    if not way.crop_field and kind in ("wide", "tall"):
        pytest.skip("a network that sees the middle of an uncropped photograph may miss the dot")
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    shown = whole_map(*with_dot(file.getvalue(), way))
    assert shown.shape[1] / shown.shape[0] == pytest.approx(pixels.shape[1] / pixels.shape[0], rel=0.01)
    assert max(shown.shape) <= 512
    longest = max(pixels.shape[:2])
    (x, y), (dot_x, dot_y) = peak_of(shown), dot_in(pixels)
    assert abs(x - dot_x) * pixels.shape[1] / longest < 0.02
    assert abs(y - dot_y) * pixels.shape[0] / longest < 0.02


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photograph_has_its_map_turned_likewise(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = BytesIO()
    Image.fromarray(photographs(0.35, 0.6)["wide"]).save(file, "JPEG", quality=95, exif=exif)
    upright = decode(file.getvalue(), source="a").pixels
    assert (upright.shape[0] > upright.shape[1]) == (orientation > 4)
    shown = whole_map(*with_dot(file.getvalue(), WAYS[0]))
    assert (shown.shape[0] > shown.shape[1]) == (orientation > 4)
    assert peak_of(shown) == pytest.approx(dot_in(upright), abs=0.01)


def test_nothing_is_shown_where_the_network_saw_nothing() -> None:
    heat = HeatMap(np.full((50, 50), 99, np.float32), "by hand", "ill")
    frame, cut = Frame(200, 200, Preprocessing(image_px=64, crop_fraction=0.5)), Cut(400, 300, 100, -20, 300, 180)
    shown = whole_map(heat, frame, cut)
    seen = np.zeros((300, 400), bool)
    seen[30:130, 150:250] = True  # the middle half of the part
    assert shown.shape == (300, 400)
    assert (shown[seen] == 255).all()
    assert (shown[~seen] == 0).all()


@pytest.mark.parametrize(("value", "told"), [(0.0, 0), (1.0, 0), (1.5, 0), (LEVELS[-1], 255), (400.0, 255)])
def test_a_value_means_the_same_in_every_map(value: float, told: int) -> None:
    heat = HeatMap(np.full((32, 32), value, np.float32), "by hand", "ill")
    png = whole_png(heat, Frame(32, 32, Preprocessing(image_px=32, crop_fraction=1.0)), Cut(32, 32, 0, 0, 32, 32))
    picture = Image.open(BytesIO(png))
    assert (picture.mode, picture.size) == ("L", (32, 32))
    assert set(np.asarray(picture).ravel().tolist()) == {told}


def test_the_scale_grows_with_what_it_shows() -> None:
    values = np.linspace(1.5, 16, 64, dtype=np.float32)[None].repeat(64, 0)
    heat = HeatMap(values, "by hand", "ill")
    shown = whole_map(heat, Frame(64, 64, Preprocessing(image_px=64, crop_fraction=1.0)), Cut(64, 64, 0, 0, 64, 64))
    assert (np.diff(shown[32].astype(int)) >= 0).all()
    assert shown[32, 0] < 5 < 250 < shown[32, -1]


def test_a_map_of_no_size_is_refused() -> None:
    heat = HeatMap(np.ones((8, 8), np.float32), "by hand", "ill")
    with pytest.raises(ValueError, match="at least 1 px"):
        whole_map(heat, Frame(8, 8, Preprocessing(image_px=8)), Cut(8, 8, 0, 0, 8, 8), longest_px=0)


def test_nothing_is_shown_outside_the_round_field() -> None:
    heat = HeatMap(np.full((16, 16), 16, np.float32), "occlusion", "AMD: yes")
    frame = Frame(100, 100, Preprocessing(image_px=16, crop_fraction=1.0))
    shown = whole_map(heat, frame, Cut(160, 120, 30, 10, 130, 110))
    y, x = np.mgrid[:120, :160] + 0.5
    away = np.hypot(x - 80, y - 60)
    assert shown[away < 49].min() == 255
    assert shown[away > 51].max() == 0, "the corners of the square, and a caption burned into them"
    whole = whole_map(heat, frame, Cut(100, 100, 0, 0, 100, 100))
    assert whole.min() == 255, "of an image without a field nobody knows what is retina"

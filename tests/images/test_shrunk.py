"""JPEGs decoded smaller than they are: the same picture, the same refusals, the same field of view."""

import io

import numpy as np
import pytest
from PIL import Image

from eyeground.data.phantom import draw_fundus
from eyeground.images.decode import decode
from eyeground.images.field import cut_photograph, window
from eyeground.images.refusal import ImageRefused
from eyeground.images.retinal_image import RetinalImage

PHOTOGRAPH = draw_fundus("normal", seed=0, size_px=640).image.pixels


def jpeg(pixels: np.ndarray, orientation: int = 1, **options: object) -> bytes:
    out, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(out, "JPEG", **({"quality": 92, "exif": exif} | options))
    return out.getvalue()


@pytest.mark.parametrize(
    ("least_px", "times"), [(0, 1), (1, 4), (160, 4), (161, 2), (320, 2), (321, 1), (640, 1), (9000, 1)]
)
def test_it_is_as_small_as_may_be(least_px: int, times: int) -> None:
    image = decode(jpeg(PHOTOGRAPH), source="a.jpg", least_px=least_px)
    assert image.shrunk == times
    assert image.pixels.shape == (640 // times, 640 // times, 3)
    assert image.size == (640, 640)


@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": 0}, {"quality": 60}])
def test_a_pixel_is_the_mean_of_those_it_stands_for(options: dict[str, object]) -> None:
    data = jpeg(PHOTOGRAPH, **options)
    whole = decode(data, source="a.jpg").pixels.astype(np.float64)
    for times in (2, 4):
        small = decode(data, source="a.jpg", least_px=640 // times).pixels
        means = whole.reshape(640 // times, times, 640 // times, times, 3).mean(axis=(1, 3))
        assert np.abs(small - means).mean() < 1.5
        assert np.percentile(np.abs(small - means), 99) < 8


def test_sides_that_do_not_divide_are_rounded_up() -> None:
    image = decode(jpeg(PHOTOGRAPH[:497, :601]), source="a.jpg", least_px=100)
    assert (image.shrunk, image.pixels.shape, image.size) == (4, (125, 151, 3), (497, 601))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_turned_like_the_whole(orientation: int) -> None:
    even = jpeg(PHOTOGRAPH[:480, :], orientation)
    whole, small = decode(even, source="a.jpg"), decode(even, source="a.jpg", least_px=120)
    assert small.shrunk == 4
    assert small.size == whole.pixels.shape[:2] == ((640, 480) if orientation > 4 else (480, 640))
    means = whole.pixels.reshape(small.pixels.shape[0], 4, small.pixels.shape[1], 4, 3).mean(axis=(1, 3))
    assert np.abs(small.pixels - means).mean() < 1.5
    # Of a side that does not divide, the last pixel reaches beyond the picture; turned, it would be the first.
    odd = decode(jpeg(PHOTOGRAPH[:481, :], orientation), source="a.jpg", least_px=120)
    assert odd.shrunk == (4 if orientation == 1 else 1)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP"])
def test_other_formats_come_whole(format: str) -> None:
    out = io.BytesIO()
    Image.fromarray(PHOTOGRAPH).save(out, format)
    image = decode(out.getvalue(), source="a", least_px=1)
    assert image.shrunk == 1
    np.testing.assert_array_equal(image.pixels, PHOTOGRAPH)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_cut_file_is_refused_as_the_whole_is(progressive: bool) -> None:
    data = jpeg(PHOTOGRAPH[:240, :320], progressive=progressive)
    refused = 0
    for end in range(100, len(data), max(1, len(data) // 30)):
        reasons = []
        for least_px in (0, 1):
            try:
                decode(data[:end], source="a.jpg", least_px=least_px)
                reasons.append("")
            except ImageRefused as error:
                reasons.append(error.reason)
        assert reasons[0] == reasons[1]
        refused += reasons[0] != ""
    assert refused >= 28


def test_too_many_pixels_are_counted_as_the_header_says() -> None:
    with pytest.raises(ImageRefused, match="640x640"):
        decode(jpeg(PHOTOGRAPH), source="a.jpg", least_px=1, max_pixels=640 * 639)


@pytest.mark.parametrize("white", [False, True])
@pytest.mark.parametrize("times", [2, 4])
def test_the_field_is_cut_along_the_same_lines(times: int, white: bool) -> None:
    pixels = np.full((1200, 1612, 3), 255 if white else 0, np.uint8)
    pixels[300:940, 501:1141] = PHOTOGRAPH
    if white:
        y, x = np.mgrid[:1200, :1612]
        pixels[(y - 619.5) ** 2 + (x - 820.5) ** 2 > 318**2] = 255
    data = jpeg(pixels, subsampling=0, quality=95)
    whole, part = cut_photograph(decode(data, source="a.jpg"))
    found = window(decode(data, source="a.jpg", least_px=1200 // times))
    edges = [abs(getattr(part, edge) - getattr(found.part, edge)) for edge in ("left", "top", "right", "bottom")]
    assert max(edges) <= 8  # one sample of those that the field is looked for in
    assert (found.part.width, found.part.height) == (1612, 1200)
    side = found.box[2] - found.box[0]
    assert side == pytest.approx((found.part.right - found.part.left) / times)
    assert all(0 <= edge <= most for edge, most in zip(found.box, (*found.pixels.shape[1::-1],) * 2, strict=True))
    near = np.asarray(Image.fromarray(found.pixels).resize((128, 128), Image.Resampling.BICUBIC, box=found.box))
    plain = np.asarray(Image.fromarray(whole.pixels).resize((128, 128), Image.Resampling.BICUBIC))
    assert np.abs(near.astype(int) - plain).mean() < 3


def test_pixels_that_are_not_a_part_of_the_full_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"are not .* divided by 2"):
        RetinalImage(np.zeros((10, 10, 3), np.uint8), "a.jpg", shrunk=2, full_size=(22, 20))

import contextlib
import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from eyeground.images.decode import decode
from eyeground.images.read import read
from eyeground.images.refusal import ImageRefused

COLORS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
# Four blocks in four colors: every one of the eight orientations gives another picture.
ROWS = [[(255, 0, 0), (0, 255, 0), (0, 0, 255)], [(0, 0, 0), (90, 90, 90), (255, 255, 255)]]
BLOCKS = np.repeat(np.repeat(np.array(ROWS, np.uint8), 16, axis=0), 16, axis=1)


def encoded(picture: Image.Image, format: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, format, **options)
    return out.getvalue()


def refused(data: bytes, **limits: int) -> ImageRefused:
    with pytest.raises(ImageRefused) as caught:
        decode(data, source="a.png", **limits)
    assert str(caught.value).startswith("a.png: ")
    return caught.value


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP"])
def test_lossless_color_comes_back_exactly(format: str) -> None:
    image = decode(encoded(Image.fromarray(COLORS), format), source="x")
    np.testing.assert_array_equal(image.pixels, COLORS)
    assert image.pixels.flags.writeable
    assert image.source == "x"


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_tiff_compressions(compression: str) -> None:
    image = decode(encoded(Image.fromarray(BLOCKS), "TIFF", compression=compression), source="x")
    assert np.abs(image.pixels.astype(int) - BLOCKS).mean() < 12


@pytest.mark.parametrize(("mode", "format"), [("1", "PNG"), ("L", "PNG"), ("L", "JPEG"), ("1", "TIFF"), ("L", "BMP")])
def test_gray_becomes_equal_colors(mode: str, format: str) -> None:
    gray = Image.fromarray(COLORS[:, :, 0]).convert(mode)
    pixels = decode(encoded(gray, format), source="x").pixels
    assert pixels.shape == (40, 60, 3)
    assert (pixels[..., 0] == pixels[..., 1]).all()
    assert (pixels[..., 0] == pixels[..., 2]).all()
    if format != "JPEG":
        np.testing.assert_array_equal(pixels[..., 0], np.asarray(gray.convert("L")))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_over_black(mode: str) -> None:
    picture = Image.new(mode, (20, 10), (200,) * (len(mode) - 1) + (255,))
    picture.putpixel((3, 2), (200,) * (len(mode) - 1) + (0,))
    picture.putpixel((4, 2), (200,) * (len(mode) - 1) + (128,))
    pixels = decode(encoded(picture, "PNG"), source="x").pixels
    assert pixels[0, 0].tolist() == [200] * 3
    assert pixels[2, 3].tolist() == [0] * 3
    assert pixels[2, 4].tolist() == [100] * 3


def test_palette_with_and_without_transparency() -> None:
    palette = Image.fromarray(BLOCKS).quantize(8)
    np.testing.assert_array_equal(
        decode(encoded(palette, "PNG"), source="x").pixels, np.asarray(palette.convert("RGB"))
    )
    see_through = decode(encoded(palette, "PNG", transparency=palette.getpixel((0, 0))), source="x").pixels
    assert see_through[0, 0].tolist() == [0, 0, 0]
    np.testing.assert_array_equal(see_through[20, 40], BLOCKS[20, 40])


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(format: str) -> None:
    data = encoded(Image.fromarray(BLOCKS).convert("CMYK"), format, **({"quality": 95} if format == "JPEG" else {}))
    pixels = decode(data, source="x").pixels
    assert np.abs(pixels[8::16, 8::16].astype(int) - BLOCKS[8::16, 8::16]).max() < 12


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_gray_is_scaled_by_its_own_range(format: str) -> None:
    values = np.linspace(1000, 5095, 40 * 60).reshape(40, 60).astype(np.uint16)  # 12 bits in 16
    pixels = decode(encoded(Image.fromarray(values), format), source="x").pixels
    assert (pixels.min(), pixels.max()) == (0, 255)
    expected = np.rint((values - 1000.0) / 4095 * 255)
    np.testing.assert_array_equal(pixels[..., 1], expected)


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_wide_tiffs_are_scaled_by_their_own_range(kind: type) -> None:
    values = np.linspace(-2e6, 2e6, 600 * 8).reshape(600, 8).astype(kind)
    pixels = decode(encoded(Image.fromarray(values), "TIFF"), source="x").pixels
    assert pixels[0, 0, 0] == 0
    assert pixels[-1, -1, 0] == 255
    assert abs(int(pixels[300, 0, 0]) - 128) <= 1


def test_float_range_cannot_overflow() -> None:
    values = np.full((20, 20), -3e38, np.float32)
    values[10:] = 3e38
    assert decode(encoded(Image.fromarray(values), "TIFF"), source="x").pixels[15, 0, 0] == 255


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_finite_are_refused(bad: float) -> None:
    values = np.ones((20, 20), np.float32)
    values[3, 3] = bad
    assert refused(encoded(Image.fromarray(values), "TIFF")).reason == "not_finite"


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(format: str, orientation: int) -> None:
    turns = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: a.transpose(1, 0, 2),
             6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).transpose(1, 0, 2), 8: np.rot90}  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(BLOCKS)
    options = {"exif": exif} if format != "TIFF" else {"tiffinfo": {274: orientation}}
    pixels = decode(encoded(picture, format, **options), source="x").pixels
    expected = turns[orientation](BLOCKS)
    assert pixels.shape == expected.shape
    assert np.abs(pixels[8::16, 8::16].astype(int) - expected[8::16, 8::16]).max() < 40


def test_damaged_exif_loses_no_pixels() -> None:
    data = encoded(Image.fromarray(COLORS), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff rubbish")
    np.testing.assert_array_equal(decode(data, source="x").pixels, COLORS)


def test_first_page_of_a_tiff_with_a_thumbnail() -> None:
    pages = [Image.new("RGB", size, color) for size, color in (((30, 20), "red"), ((3, 2), "blue"))]
    data = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert decode(data, source="x").pixels[0, 0].tolist() == [255, 0, 0]


def test_animated_png_is_refused() -> None:
    pages = [Image.new("RGB", (30, 20), color) for color in ("red", "blue")]
    assert refused(encoded(pages[0], "PNG", save_all=True, append_images=pages[1:])).reason == "animated"


@pytest.mark.parametrize("format", ["GIF", "WEBP"])
def test_other_image_formats_are_refused_by_name(format: str) -> None:
    error = refused(encoded(Image.fromarray(COLORS), format))
    assert error.reason == "format_not_allowed"
    assert format.lower() in str(error).lower()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"file,label\na.png,0\n", "not_an_image"),
        (b"\0" * 5000, "not_an_image"),
        (b"  <svg xmlns='http://www.w3.org/2000/svg'/>", "format_not_allowed"),
        (b"<?xml version='1.0'?><svg/>", "format_not_allowed"),
        (b"%PDF-1.7", "format_not_allowed"),
        (b"GIF89a", "format_not_allowed"),
        (b"\xff\xd8\xff", "truncated"),
    ],
)
def test_what_is_no_image(data: bytes, reason: str) -> None:
    assert refused(data).reason == reason


def test_a_sentence_that_begins_like_a_bitmap() -> None:
    assert refused(b"BM but only a sentence").reason in ("broken", "truncated")


def test_huge_header_is_refused_before_decoding() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )
    error = refused(bomb)
    assert error.reason == "too_many_pixels"
    assert "60000x60000" in str(error)


def test_limits_can_be_set() -> None:
    data = encoded(Image.fromarray(COLORS), "PNG")
    assert refused(data, max_pixels=40 * 60 - 1).reason == "too_many_pixels"
    assert refused(data, max_bytes=len(data) - 1).reason == "too_large"
    assert decode(data, source="x", max_pixels=40 * 60, max_bytes=len(data)).pixels.shape == (40, 60, 3)


@pytest.mark.parametrize("warned", ["error", "ignore"])
@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("BMP", {}),
    ],
)
@pytest.mark.parametrize("part", [0.001, 0.01, 0.1, 0.5, 0.9, 0.99])
def test_truncated_files_are_refused(format: str, options: dict[str, object], part: float, warned: str) -> None:
    data = encoded(Image.fromarray(COLORS), format, **options)
    with warnings.catch_warnings():
        warnings.simplefilter(warned)  # type: ignore[arg-type]
        assert refused(data[: max(1, int(len(data) * part))]).reason in ("truncated", "broken", "not_an_image")
        assert refused(data[:-30]).reason in ("truncated", "broken")


def test_every_flipped_byte_of_a_png_is_seen() -> None:
    data = encoded(Image.fromarray(COLORS), "PNG")
    for place in range(8, len(data) - 12, 97):
        damaged = bytearray(data)
        damaged[place] ^= 0x55
        assert refused(bytes(damaged)).reason in ("truncated", "broken", "too_many_pixels")


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["JPEG", "PNG", "BMP"]), st.lists(st.tuples(st.integers(3, 2000), st.integers(1, 255)), max_size=4)
)
def test_hostile_bytes_give_an_image_or_a_refusal(format: str, flips: list[tuple[int, int]]) -> None:
    damaged = bytearray(encoded(Image.fromarray(COLORS), format))
    for place, value in flips:
        damaged[place % len(damaged)] ^= value
    with contextlib.suppress(ImageRefused):
        assert decode(bytes(damaged), source="x", max_pixels=10**6).pixels.ndim == 3


def test_read_names_the_source(tmp_path: Path) -> None:
    Image.fromarray(COLORS).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png").source == "a.png"
    assert read(tmp_path / "a.png", source="set/a.png").source == "set/a.png"


def test_name_does_not_matter_but_content_does(tmp_path: Path) -> None:
    Image.fromarray(COLORS).save(tmp_path / "a.txt", "PNG")
    assert read(tmp_path / "a.txt").pixels.shape == (40, 60, 3)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    for name in ("nowhere.png", "pipe.png", "folder.png", "zero\0byte.png"):
        with pytest.raises(ImageRefused) as caught:
            read(tmp_path / name, source=name)
        assert caught.value.reason == "unreadable"


def test_real_images_all_decode(realdata: Path) -> None:
    for file in sorted(realdata.glob("fundus-hires/images/*/*"))[:2] + sorted(realdata.glob("oct-srf/images/*/*"))[:5]:
        pixels = read(file).pixels
        assert pixels.dtype == np.uint8
        assert min(pixels.shape[:2]) > 500

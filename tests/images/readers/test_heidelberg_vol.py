import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from eyeground.images.readers import heidelberg_vol
from eyeground.images.refusal import ImageRefused
from eyeground.images.retinal_image import RetinalImage

NO_DATA = np.finfo(np.float32).max
VALUES = np.random.default_rng(0).random((3, 6, 5), dtype=np.float32) ** 4
# Where each number of the file header lies, by the format's own table.
AT = {
    "SizeX": ("<i", 12), "NumBScans": ("<i", 16), "SizeZ": ("<i", 20), "ScaleX": ("<d", 24), "ScaleZ": ("<d", 40),
    "SizeXSlo": ("<i", 48), "SizeYSlo": ("<i", 52), "ScanPattern": ("<i", 96), "BScanHdrSize": ("<i", 100),
}  # fmt: skip


def write_vol(
    values: NDArray[np.float32], version: bytes = b"HSF-OCT-103", header_bytes: int = 300, **changed: Any
) -> bytes:
    """A raw export of (N, Z, X) values; numbers of its header by name."""
    slices, height, width = values.shape
    header = bytearray(2048)
    header[: len(version)] = version
    numbers = {"SizeX": width, "NumBScans": slices, "SizeZ": height, "ScaleX": 0.012, "ScaleZ": 0.004, "SizeXSlo": 4,
               "SizeYSlo": 3, "ScanPattern": 3, "BScanHdrSize": header_bytes}  # fmt: skip
    for name, number in (numbers | changed).items():
        struct.pack_into(AT[name][0], header, AT[name][1], number)
    header[84:88], header[140:146] = b"OD\0\0", b"Doe^J1"
    blocks = []
    for number, values_of_one in enumerate(values):
        block = bytearray(header_bytes)
        block[:10] = b"HSF-BS-103" if version.startswith(b"HSF") else b"ep-v0.6.8 "
        struct.pack_into("<i4d", block, 12, header_bytes, 1.0, 2.0 + number, 3.0, 2.0 + number)
        blocks.append(bytes(block) + values_of_one.astype("<f4").tobytes())
    return bytes(header) + bytes(12) + b"".join(blocks)


def decode(data: bytes, number: int = 0, max_pixels: int = 10**6) -> RetinalImage:
    return heidelberg_vol.frame(data, source="a.vol", number=number, max_pixels=max_pixels)


def outcome(act: Callable[[], object]) -> str:
    """The reason of a refusal, or that there was none; any other exception fails the test."""
    try:
        act()
    except ImageRefused as error:
        return error.reason
    return "read"


def test_levels_are_the_fourth_root() -> None:
    for number in range(3):
        image = decode(write_vol(VALUES), number)
        wanted = [[round(255 * float(value) ** 0.25) for value in row] for row in VALUES[number]]
        np.testing.assert_array_equal(image.pixels, np.dstack([wanted] * 3))
        assert (image.slice, image.slices, image.modality, image.eye) == (number, 3, "oct", "OD")
        assert image.line_mm == ((1.0, 2.0 + number), (3.0, 2.0 + number))
        assert image.mm_per_px == (0.004, 0.012)


def test_places_without_data_are_black() -> None:
    values = np.array([[[NO_DATA, 1.5, -0.1, 0.0, 1.0, 1 / 16]]], np.float32)
    assert decode(write_vol(values)).pixels[0, :, 0].tolist() == [0, 0, 0, 0, 255, 128]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(bad: float) -> None:
    values = VALUES.copy()
    values[1, 0, 0] = bad
    assert outcome(lambda: decode(write_vol(values), 1)) == "not_finite"
    assert outcome(lambda: decode(write_vol(values), 0)) == "read"


def test_levels_of_eyepys_writer_are_told_from_the_whole_volume() -> None:
    levels = np.zeros((2, 1, 3), np.float32)
    levels[1] = [0, 200, NO_DATA]
    data = write_vol(levels, b"ep-v0.6.8   ")
    assert decode(data, 1).pixels[0, :, 0].tolist() == [0, 200, 0]
    levels[0] = [0, 1, 1]  # would be white as reflectivity
    assert decode(write_vol(levels, b"ep-v0.6.8   "), 0).pixels[0, :, 0].tolist() == [0, 1, 1]
    levels[1] = [0, 1 / 16, NO_DATA]
    assert decode(write_vol(levels, b"ep-v0.6.8   "), 1).pixels[0, :, 0].tolist() == [0, 128, 0]


def test_the_header_in_words() -> None:
    held = heidelberg_vol.contents(write_vol(VALUES), source="a.vol")
    assert (held.format, held.slices, held.height, held.width) == ("Heidelberg vol", 3, 6, 5)
    assert (held.modality, held.eye, held.mm_per_px) == ("oct", "OD", (0.004, 0.012))
    assert held.device == "Heidelberg Engineering Spectralis"
    assert held.personal == ("PatientID",)
    assert "Doe" not in str(held)
    assert len(held.lines_mm) == 3


@pytest.mark.parametrize(("word", "eye"), [(b"OS\0\0", "OS"), (b"OD  ", "OD"), (b"\0\0\0\0", ""), (b"OU\0\0", "")])
def test_the_eye(word: bytes, eye: str) -> None:
    data = bytearray(write_vol(VALUES))
    data[84:88] = word
    assert decode(bytes(data)).eye == eye


def test_a_circle_has_no_line() -> None:
    image = decode(write_vol(VALUES[:1], ScanPattern=2))
    assert image.line_mm is None
    assert heidelberg_vol.contents(write_vol(VALUES[:1], ScanPattern=2), source="a.vol").lines_mm == ()


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf, 1e300])
def test_a_scale_that_cannot_be_is_not_known(scale: float) -> None:
    assert decode(write_vol(VALUES, ScaleX=scale)).mm_per_px is None


@pytest.mark.parametrize("name", ["SizeX", "NumBScans", "SizeZ", "SizeXSlo", "SizeYSlo", "BScanHdrSize"])
@pytest.mark.parametrize("number", [-(2**31), -1, 0, 1, 255, 65535, 65536, 2**31 - 1])
def test_sizes_that_lie(name: str, number: int) -> None:
    data = write_vol(VALUES, **{name: number})
    for act in (lambda: heidelberg_vol.contents(data, source="a.vol"), lambda: decode(data)):
        # A file header that is wrong about the B-scans' headers is overruled by these themselves.
        wanted = ("read",) if name == "BScanHdrSize" else ("broken", "truncated")
        if name == "NumBScans" and number == 1:
            wanted = ("read",)
        assert outcome(act) in wanted


def test_a_file_cut_short_anywhere() -> None:
    data = write_vol(VALUES)
    for end in range(12, len(data), 5):
        assert outcome(lambda end=end: decode(data[:end])) == "truncated"
        assert outcome(lambda end=end: heidelberg_vol.contents(data[:end], source="a.vol")) == "truncated"
    assert outcome(lambda: decode(data + b"thickness grid")) == "read"


def test_limits() -> None:
    data = write_vol(VALUES)
    assert outcome(lambda: decode(data, 0, 29)) == "too_many_pixels"
    assert outcome(lambda: decode(data, 0, 30)) == "read"
    assert {outcome(lambda n=number: decode(data, n)) for number in (-1, 3, 10**9)} == {"no_such_slice"}


def test_flipped_bytes_give_an_image_or_a_refusal() -> None:
    rng = np.random.default_rng(1)
    whole = write_vol(VALUES)
    outcomes = set()
    for _ in range(400):
        damaged = bytearray(whole)
        for place in rng.integers(0, 260, rng.integers(1, 6)):  # most of the rest is padding
            damaged[place] = rng.integers(0, 256)
        outcomes.add(outcome(lambda data=bytes(damaged): heidelberg_vol.contents(data, source="a.vol")))
        outcomes.add(outcome(lambda data=bytes(damaged): decode(data, 1)))
    assert {"read", "broken", "truncated"} <= outcomes


def test_only_its_own_is_claimed() -> None:
    assert heidelberg_vol.claims(write_vol(VALUES))
    assert not any(heidelberg_vol.claims(each) for each in (b"", b"HSF", b"\x89PNG\r\n\x1a\n", b"BM"))


def test_the_real_volume_against_its_layout_and_its_twin(realdata: Path) -> None:
    folder = realdata / "oct-heyex-vol"
    data = (folder / "heyex_vol" / "test_volume.vol").read_bytes()
    held = heidelberg_vol.contents(data, source="a.vol")
    assert (held.slices, held.height, held.width, held.eye) == (10, 40, 50, "OD")
    # Counted from the end of the file, by hand: ten blocks of 256 + 17 layers x 50 x 4 bytes of header and 40 x 50 x 4
    # bytes of values. The values of this file are gray levels already, not reflectivity.
    block = 256 + 17 * 50 * 4 + 40 * 50 * 4
    for number in range(10):
        end = len(data) - (9 - number) * block
        levels = np.array(struct.unpack("<2000f", data[end - 8000 : end])).reshape(40, 50)
        image = decode(data, number)
        np.testing.assert_array_equal(image.pixels, np.dstack([levels] * 3))
        header = data[end - block : end - block + 48]
        line = np.frombuffer(header[16:], "<f8")
        np.testing.assert_array_equal(image.line_mm, line.reshape(2, 2))
        # The XML export of the same scan names B1 to B10 in this order.
        with Image.open(folder / "heyex_xml" / "test_volume" / f"B{number + 1}.tif") as twin:
            np.testing.assert_array_equal(image.pixels[..., 0], np.asarray(twin))

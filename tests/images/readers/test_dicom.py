import warnings
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.sequence import Sequence as DicomSequence

from eyeground.images.readers import dicom

from . import drawn
from .reading import EYE, GRAY, LAYERS, SAMPLES, decode, name


@pytest.mark.parametrize("syntax", drawn.EXACT, ids=name)
@pytest.mark.parametrize("picture", [EYE, GRAY, EYE[:47, :63], GRAY[:47, :63]], ids=["color", "gray", "odd c", "odd g"])
def test_lossless_photographs_come_back_exactly(syntax: str, picture: np.ndarray[Any, Any]) -> None:
    picture = np.ascontiguousarray(picture)
    image = decode(drawn.write_op(picture, syntax=syntax))
    np.testing.assert_array_equal(image.pixels, picture if picture.ndim == 3 else np.dstack([picture] * 3))
    assert image.pixels.dtype == np.uint8
    assert image.pixels.flags.writeable


@pytest.mark.parametrize("syntax", drawn.LOSSY, ids=name)
@pytest.mark.parametrize("picture", [EYE, GRAY], ids=["color", "gray"])
def test_lossy_photographs_come_back_nearly(syntax: str, picture: np.ndarray[Any, Any]) -> None:
    image = decode(drawn.write_op(picture, syntax=syntax))
    wanted = picture if picture.ndim == 3 else np.dstack([picture] * 3)
    assert np.abs(image.pixels.astype(int) - wanted).max() <= 6


@pytest.mark.parametrize("table", ["basic", "none", "extended"])
@pytest.mark.parametrize("syntax", drawn.EXACT, ids=name)
def test_each_slice_of_a_volume_is_its_own(syntax: str, table: str) -> None:
    data = drawn.write_opt(LAYERS, syntax=syntax, offset_table=table)
    held = dicom.contents(data, source="a.dcm")
    assert (held.format, held.slices, held.height, held.width) == ("DICOM", 3, 40, 50)
    for number, wanted in enumerate(LAYERS):
        image = decode(data, number)
        np.testing.assert_array_equal(image.pixels, np.dstack([wanted] * 3))
        assert (image.slice, image.slices) == (number, 3)


@pytest.mark.parametrize("syntax", drawn.PLAIN[1:3], ids=name)
def test_odd_frames_of_bytes_in_words_are_not_shifted(syntax: str) -> None:
    frames = drawn.layers(4, 3, 5)  # 15 bytes: every other frame begins within a 16-bit word
    data = drawn.write_opt(frames, syntax=syntax)
    for number in range(4):
        np.testing.assert_array_equal(decode(data, number).pixels[..., 0], frames[number])


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_frames_cut_into_fragments_without_a_table(parts: int) -> None:
    streams = [drawn.codestream(frame, drawn.JPEGLSLossless) for frame in LAYERS]
    data = drawn.write_opt(LAYERS, syntax=drawn.JPEGLSLossless, pixel_data=drawn.fragmented(streams, parts))
    for number in range(3):
        np.testing.assert_array_equal(decode(data, number).pixels[..., 0], LAYERS[number])


@pytest.mark.parametrize(
    "file",
    ["SC_rgb_small_odd.dcm", "SC_rgb_small_odd_big_endian.dcm", "SC_rgb_rle_2frame.dcm", "SC_rgb_jpeg_gdcm.dcm",
     "SC_ybr_full_422_uncompressed.dcm", "examples_ybr_color.dcm", "examples_jpeg2k.dcm", "SC_rgb_jpeg_dcmtk.dcm",
     "SC_rgb_dcmtk_+eb+cy+s4.dcm", "SC_rgb_dcmtk_+eb+cr.dcm", "SC_jpeg_no_color_transform.dcm",
     "SC_rgb_jpeg_app14_dcmd.dcm", "SC_rgb_jls_lossy_line.dcm", "SC_rgb_jls_lossy_sample.dcm", "SC_rgb_gdcm_KY.dcm",
     "GDCMJ2K_TextGBR.dcm"],
)  # fmt: skip
def test_other_writers_files_look_as_pydicom_shows_them(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom, "_kind", lambda *_: "photograph")
    data = (SAMPLES / file).read_bytes()
    slices = dicom.contents(data, source="a.dcm").slices
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = np.asarray(dcmread(SAMPLES / file).pixel_array)
    wanted = wanted if slices > 1 else wanted[None]
    # pydicom may take another decoder, whose inverse cosine transform rounds otherwise.
    for number in {0, slices // 2, slices - 1}:
        assert np.abs(decode(data, number).pixels.astype(int) - wanted[number]).max() <= 1


@pytest.mark.parametrize(
    "file",
    ["image_dfl.dcm", "MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm",
     "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "JPEG2000.dcm", "693_J2KI.dcm"],
)  # fmt: skip
def test_other_writers_gray_files_keep_the_order_of_their_values(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom, "_kind", lambda *_: "photograph")
    got = decode((SAMPLES / file).read_bytes()).pixels[..., 0].astype(float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stored = dcmread(SAMPLES / file).pixel_array
    assert got.std() > 1
    by_level = [stored[got == level] for level in np.unique(got)]
    assert all(below.max() <= above.min() for below, above in pairwise(by_level))


# --- colors


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_color_keeps_its_upper_bits(bits: int) -> None:
    picture = EYE if bits == 8 else EYE.astype(np.uint16) << (bits - 8)
    np.testing.assert_array_equal(decode(drawn.write_op(picture, bits_stored=bits)).pixels, EYE)


def test_uncompressed_color_of_video_form() -> None:
    # Equal neighbors lose nothing when each pair shares its color.
    ycc = np.array([[[100, 128, 128], [50, 128, 128], [200, 90, 160], [180, 90, 160]]], np.uint8)
    pairs = bytes([100, 50, 128, 128, 200, 180, 90, 160])
    data = drawn.write_op(ycc, colors="YBR_FULL_422", pixel_data=pairs)
    full = decode(drawn.write_op(ycc, colors="YBR_FULL")).pixels
    np.testing.assert_array_equal(decode(data).pixels, full)
    np.testing.assert_array_equal(full[0, :2], [[100] * 3, [50] * 3])
    # ITU-T T.871, by hand: R = Y + 1.402 (Cr - 128), B = Y + 1.772 (Cb - 128)
    np.testing.assert_allclose(full[0, 2, [0, 2]], [200 + 1.402 * 32, 200 - 1.772 * 38], atol=1)


def test_a_color_in_planes() -> None:
    planes = np.ascontiguousarray(EYE.transpose(2, 0, 1)).tobytes()
    np.testing.assert_array_equal(decode(drawn.write_op(EYE, PlanarConfiguration=1, pixel_data=planes)).pixels, EYE)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_palette_is_applied(bits: int) -> None:
    index = np.array([[0, 1], [2, 3]], np.uint8)
    tables = np.array([[10, 20, 30, 40], [1, 2, 3, 4], [200, 150, 100, 50]])
    entries = {}
    for color, table in zip(("Red", "Green", "Blue"), tables, strict=True):
        entries[f"{color}PaletteColorLookupTableDescriptor"] = [4, 0, bits]
        stored = table.astype("<u2") * 257 if bits == 16 else table.astype(np.uint8)
        entries[f"{color}PaletteColorLookupTableData"] = stored.tobytes()
    pixels = decode(drawn.write_op(index, colors="PALETTE COLOR", **entries)).pixels
    np.testing.assert_array_equal(pixels, tables.T[index])


# --- gray


def test_monochrome1_is_turned_around() -> None:
    np.testing.assert_array_equal(decode(drawn.write_op(GRAY, colors="MONOCHROME1")).pixels[..., 0], 255 - GRAY)


def test_deep_gray_of_one_frame_is_scaled_by_itself() -> None:
    stored = np.array([[300, 1300], [800, 2300]], np.uint16)  # 12 bits, said to be 16
    np.testing.assert_array_equal(decode(drawn.write_op(stored)).pixels[..., 0], [[0, 128], [64, 255]])


@pytest.mark.parametrize("syntax", [drawn.PLAIN[1], drawn.JPEGLSLossless, drawn.RLELossless], ids=name)
def test_a_volume_is_scaled_by_its_stored_range(syntax: str) -> None:
    frames = drawn.layers(2, bits=12)
    frames[1] //= 4  # a darker slice must stay darker
    data = drawn.write_opt(frames, bits_stored=12, syntax=syntax)
    for number in range(2):
        np.testing.assert_array_equal(decode(data, number).pixels[..., 0], np.rint(frames[number] / 4095 * 255))


@pytest.mark.parametrize("syntax", [drawn.PLAIN[1], drawn.RLELossless, drawn.JPEGLSLossless], ids=name)
def test_signed_gray(syntax: str) -> None:
    frames = np.repeat(np.array([[[-2048, 0, 2047]], [[-1, 1, 100]]], np.int16), 30, axis=1)
    data = drawn.write_opt(frames, bits_stored=12, syntax=syntax)
    np.testing.assert_array_equal(decode(data, 0).pixels[0, :, 0], [0, 128, 255])
    single = drawn.write_op(np.array([[-100, 0, 100]], np.int16))
    np.testing.assert_array_equal(decode(single).pixels[0, :, 0], [0, 128, 255])


@pytest.mark.parametrize("syntax", [drawn.PLAIN[1], drawn.RLELossless], ids=name)
def test_bits_above_the_stored_ones_mean_nothing(syntax: str) -> None:
    frames = np.array([[[0, 2048, 4095]], [[1, 2, 3]]], np.uint16)
    clean = drawn.write_opt(frames, bits_stored=12)
    dirty = frames | np.uint16(0xA000)
    data = drawn.write_opt(dirty, BitsStored=12, HighBit=11, syntax=syntax)
    np.testing.assert_array_equal(decode(data, 0).pixels, decode(clean, 0).pixels)


def test_a_window_for_all_frames_is_used() -> None:
    frames = np.array([[[0, 99, 100, 150, 200, 201, 4095]]] * 2, np.uint16)
    data = drawn.write_opt(frames, bits_stored=12, WindowCenter=150.5, WindowWidth=101)
    # PS3.3 C.11.2.1.2.1: ((x - (c - 0.5)) / (w - 1) + 0.5) * 255
    np.testing.assert_array_equal(decode(data, 1).pixels[0, :, 0], [0, 0, 0, 128, 255, 255, 255])


def test_the_windows_other_functions() -> None:
    stored = np.array([[0, 100, 150, 200]], np.uint16)
    window = {"WindowCenter": 150, "WindowWidth": 100}
    exact = decode(drawn.write_op(stored, VOILUTFunction="LINEAR_EXACT", **window)).pixels[0, :, 0]
    np.testing.assert_array_equal(exact, [0, 0, 128, 255])
    curve = decode(drawn.write_op(stored, VOILUTFunction="SIGMOID", **window)).pixels[0, :, 0]
    np.testing.assert_array_equal(curve, np.rint(255 / (1 + np.exp(-4 * (stored[0] - 150.0) / 100))))


def test_a_window_is_meant_after_rescaling() -> None:
    stored = np.array([[0, 100, 200]], np.uint16)
    data = drawn.write_op(stored, RescaleSlope=2, RescaleIntercept=-100, WindowCenter=100.5, WindowWidth=201)
    np.testing.assert_array_equal(decode(data).pixels[0, :, 0], [0, 128, 255])


def test_a_negative_slope_turns_gray_around() -> None:
    data = drawn.write_op(GRAY, RescaleSlope=-1, RescaleIntercept=0)
    np.testing.assert_array_equal(decode(data).pixels[..., 0], 255 - GRAY)


def test_windows_that_differ_between_frames_are_not_used() -> None:
    frames = np.array([[[0, 2048, 4095]]] * 2, np.uint16)
    groups = []
    for center in (100, 3000):
        group = Dataset()
        group.FrameVOILUTSequence = drawn.sequence(WindowCenter=center, WindowWidth=200)
        groups.append(group)
    data = drawn.write_opt(frames, bits_stored=12, PerFrameFunctionalGroupsSequence=DicomSequence(groups))
    np.testing.assert_array_equal(decode(data, 0).pixels, decode(data, 1).pixels)
    np.testing.assert_array_equal(decode(data, 0).pixels[0, :, 0], [0, 128, 255])


def test_only_dicom_is_claimed() -> None:
    assert dicom.claims(drawn.write_op(GRAY))
    assert not any(dicom.claims(each) for each in (b"", b"DICM", bytes(131), b"\xff\xd8\xff" * 100))

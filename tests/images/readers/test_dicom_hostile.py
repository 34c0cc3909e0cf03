import io
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

from eyeground.images.readers import _dicom_file, dicom

from . import drawn
from .reading import EYE, GRAY, LAYERS, SAMPLES, decode, name, outcome, reason, refused


@pytest.mark.parametrize(
    ("elements", "words"),
    [
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "Modality": "CT"}, "CT Image Storage"),
        ({"SOPClassUID": drawn.CAPTURE, "Modality": "MR"}, "Secondary Capture Image Storage of another modality"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.81.1"}, "Ophthalmic Thickness Map Storage"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.5.7"}, "En Face Image Storage"),
        ({"SOPClassUID": "9.9.9.9"}, "of an unknown kind"),
    ],
)
def test_other_objects_are_refused_by_name(elements: dict[str, str], words: str) -> None:
    found = refused(lambda: decode(drawn.write_op(GRAY, **elements)))
    assert found.reason == "format_not_allowed"
    assert words in str(found)


@pytest.mark.parametrize("modality", ["OP", "OPT", "OPM", "XC"])
def test_a_capture_of_an_eye_is_let_in(modality: str) -> None:
    np.testing.assert_array_equal(decode(drawn.write_op(EYE, SOPClassUID=drawn.CAPTURE, Modality=modality)).pixels, EYE)


def test_other_compressions_are_refused_by_name() -> None:
    data = drawn.write_op(GRAY).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0")
    assert reason(data) == "format_not_allowed"
    assert "of an unknown kind" in str(refused(lambda: decode(data)))
    film = "1.2.840.10008.1.2.4.100"
    video = drawn.write_op(GRAY, syntax=film, colors="YBR_FULL_422", pixel_data=drawn.fragmented([b"film"], 1))
    assert reason(video) == "format_not_allowed"
    assert "MPEG2 Main Profile / Main Level" in str(refused(lambda: decode(video)))


@pytest.mark.parametrize(
    ("elements", "wanted"),
    [
        ({"Rows": 65535, "Columns": 65535}, "broken"), ({"Rows": None}, "broken"), ({"Columns": None}, "broken"),
        ({"Rows": 0}, "broken"), ({"BitsAllocated": None}, "broken"), ({"BitsAllocated": 1}, "format_not_allowed"),
        ({"BitsAllocated": 7}, "format_not_allowed"), ({"BitsAllocated": 64}, "format_not_allowed"),
        ({"BitsAllocated": 32}, "format_not_allowed"), ({"BitsStored": 9}, "broken"), ({"BitsStored": None}, "broken"),
        ({"PhotometricInterpretation": None}, "format_not_allowed"),
        ({"PhotometricInterpretation": "HSV"}, "format_not_allowed"),
        ({"PhotometricInterpretation": "RGB"}, "format_not_allowed"),
        ({"SamplesPerPixel": 4}, "format_not_allowed"), ({"SamplesPerPixel": 3}, "format_not_allowed"),
        ({"SamplesPerPixel": None}, "broken"), ({"PixelRepresentation": None}, "broken"),
        ({"PixelRepresentation": 2}, "broken"), ({"NumberOfFrames": "-1"}, "broken"),
        ({"NumberOfFrames": "1000000000"}, "broken"), ({"NumberOfFrames": "2"}, "broken"),
        ({"NumberOfFrames": "0"}, "broken"), ({"pixel_data": b""}, "broken"), ({"pixel_data": b"ab"}, "broken"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "broken"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("syntax", [drawn.PLAIN[0], drawn.PLAIN[1], drawn.PLAIN[3]], ids=name)
def test_headers_that_make_no_sense(elements: dict[str, Any], wanted: str, syntax: str) -> None:
    assert reason(drawn.write_op(GRAY, syntax=syntax, **elements)) == wanted


@pytest.mark.parametrize("syntax", [drawn.JPEGBaseline8Bit, drawn.JPEGLosslessSV1, drawn.JPEGLSLossless,
                                    drawn.JPEG2000Lossless], ids=name)  # fmt: skip
@pytest.mark.parametrize("inner", [(65535, 65535), (48, 63), (0, 64), (96, 128)])
def test_a_codestream_of_another_size_is_never_decoded(syntax: str, inner: tuple[int, int]) -> None:
    stream = bytearray(drawn.codestream(GRAY, syntax))
    if syntax == drawn.JPEG2000Lossless:
        struct.pack_into(">II", stream, 8, inner[1], inner[0])
    else:
        marker = {drawn.JPEGBaseline8Bit: 0xC0, drawn.JPEGLosslessSV1: 0xC3, drawn.JPEGLSLossless: 0xF7}[syntax]
        struct.pack_into(">HH", stream, stream.index(bytes([0xFF, marker])) + 5, *inner)
    data = drawn.write_op(GRAY, syntax=syntax, pixel_data=drawn.fragmented([bytes(stream)], 1))
    assert reason(data) == "broken"


def test_a_large_frame_is_refused_before_it_is_decoded() -> None:
    found = refused(lambda: dicom.frame(drawn.write_op(GRAY), source="a.dcm", number=0, max_pixels=48 * 64 - 1))
    assert found.reason == "too_many_pixels"
    # The run-length stream is nonsense: had it been decoded, the reason would be another.
    data = drawn.write_op(GRAY, syntax=drawn.RLELossless, Rows=65535, Columns=65535)
    assert reason(data) == "too_many_pixels"


@pytest.mark.parametrize("number", [-1, 3, 10**9])
def test_a_slice_that_is_not_there(number: int) -> None:
    assert reason(drawn.write_opt(LAYERS), number) == "no_such_slice"


def test_jpeg_of_12_bits_is_refused() -> None:
    stream = bytearray(drawn.codestream(GRAY, drawn.JPEGExtended12Bit))
    stream[stream.index(b"\xff\xc0") + 4] = 12
    data = drawn.write_op(GRAY, syntax=drawn.JPEGExtended12Bit, pixel_data=drawn.fragmented([bytes(stream)], 1))
    assert reason(data) == "format_not_allowed"


@pytest.mark.parametrize("syntax", [*drawn.EXACT, *drawn.LOSSY], ids=name)
def test_a_file_cut_short_anywhere(syntax: str) -> None:
    data = drawn.write_opt(LAYERS, syntax=syntax)
    dicom.contents(data, source="a.dcm")
    for end in {*range(132, len(data) - 1, max(1, len(data) // 60)), *range(132, 400, 7)}:
        found = refused(lambda end=end: decode(data[:end], 2)).reason
        # Cut within an element of the header, the rest of it is missing.
        assert found in ("truncated", "broken", "format_not_allowed")
    assert reason(data[: len(data) * 2 // 3], 2) == "truncated"


@pytest.mark.parametrize("syntax", [drawn.JPEGBaseline8Bit, drawn.JPEGLSLossless, drawn.JPEG2000Lossless], ids=name)
def test_a_codestream_cut_short(syntax: str) -> None:
    stream = drawn.codestream(GRAY, syntax)
    data = drawn.write_op(GRAY, syntax=syntax, pixel_data=drawn.fragmented([stream[: len(stream) // 2]], 1))
    assert reason(data) == "truncated"


def _with_table(offsets: list[int]) -> bytes:
    """A volume of three run-length frames with a false offset table."""
    streams = [drawn.codestream(frame, drawn.RLELossless) for frame in LAYERS]
    streams = [stream + b"\0" * (len(stream) % 2) for stream in streams]
    items = [struct.pack(f"<{len(offsets)}I", *offsets), *streams]
    return b"".join(b"\xfe\xff\x00\xe0" + struct.pack("<I", len(item)) + item for item in items)


@pytest.mark.parametrize("offsets", [[5, 6, 7], [0, 0, 0], [0, 10**9, 4], [0], [0xFFFFFFFF] * 3, [0] * 1000])
def test_a_lying_offset_table_changes_no_frame(offsets: list[int]) -> None:
    data = drawn.write_opt(LAYERS, syntax=drawn.RLELossless, pixel_data=_with_table(offsets))
    for number in range(3):
        np.testing.assert_array_equal(decode(data, number).pixels[..., 0], LAYERS[number])


def test_frames_that_cannot_be_told_apart() -> None:
    streams = [drawn.codestream(frame, drawn.RLELossless) for frame in LAYERS]  # run-length frames have no end marker
    data = drawn.write_opt(LAYERS, syntax=drawn.RLELossless, pixel_data=drawn.fragmented(streams, 2))
    assert reason(data) == "broken"
    fewer = drawn.write_opt(LAYERS, syntax=drawn.RLELossless, pixel_data=drawn.fragmented(streams[:2], 1))
    assert reason(fewer) == "broken"


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x7FFFFFFF])
def test_fragments_that_lie_about_their_length(length: int) -> None:
    good = drawn.fragmented([drawn.codestream(GRAY, drawn.JPEGLSLossless)], 1)
    bad = good[:12] + struct.pack("<I", length) + good[16:]
    found = reason(drawn.write_op(GRAY, syntax=drawn.JPEGLSLossless, pixel_data=bad))
    assert found == ("broken" if length == 0xFFFFFFFF else "truncated")


def test_sequences_within_sequences_without_end() -> None:
    opening = b"\x08\x00\x06\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 2000
    data = drawn.write_op(GRAY)
    at = data.index(b"\x08\x00\x16\x00UI")
    assert reason(data[:at] + opening + data[at:]) == "broken"


def test_wrong_value_representations() -> None:
    data = drawn.write_op(GRAY)
    for vr in (b"DS", b"PN", b"FD", b"IS", b"UN", b"zz", b"AT"):
        changed = data.replace(b"\x28\x00\x10\x00US", b"\x28\x00\x10\x00" + vr)
        assert changed != data
        assert outcome(lambda data=changed: decode(data)) in ("read", "broken", "truncated")


@pytest.mark.parametrize(
    "words",
    ["ISO_IR 192", "GB18030", "GBK", ["", "ISO 2022 IR 87"], ["ISO 2022 IR 6", "ISO 2022 IR 149"], "ISO_IR 166",
     "ISO_IR 999", "utf-7", ["x"] * 50],
)  # fmt: skip
def test_odd_character_sets(words: Any) -> None:
    data = drawn.write_op(GRAY, SpecificCharacterSet="ISO_IR 100", Manufacturer="Mäker")
    header = dcmread(io.BytesIO(data))
    text = "\\".join(words) if isinstance(words, list) else words
    old = b"\x08\x00\x05\x00CS" + struct.pack("<H", 10) + b"ISO_IR 100"
    encoded = text.encode() + b" " * (len(text) % 2)
    changed = data.replace(old, b"\x08\x00\x05\x00CS" + struct.pack("<H", len(encoded)) + encoded)
    assert header.Manufacturer == "Mäker"
    assert changed != data
    np.testing.assert_array_equal(decode(changed).pixels[..., 0], GRAY)
    dicom.contents(changed, source="a.dcm")


def test_a_deflated_bomb_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_dicom_file, "MOST_INFLATED_BYTES", 100_000)
    data = drawn.write_op(GRAY, syntax=drawn.PLAIN[3])
    assert decode(data).pixels.shape == (48, 64, 3)
    packer = zlib.compressobj(wbits=-15)
    bomb = packer.compress(bytes(10_000_000)) + packer.flush()
    end = 132 + 12 + struct.unpack_from("<I", data, 140)[0]
    assert refused(lambda: decode(data[:end] + bomb)).reason == "too_large"


def test_a_lack_of_memory_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    data = drawn.write_op(GRAY, syntax=drawn.JPEGBaseline8Bit)

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("pydicom.pixels.decoders.pillow.Image.open", fail)
        with pytest.raises(MemoryError):
            decode(data)
    assert decode(data).pixels.shape == (48, 64, 3)


def test_words_of_the_file_are_not_repeated_when_it_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    data = drawn.write_op(GRAY, NumberOfFrames="1")
    data = data.replace(b"\x28\x00\x08\x00IS\x02\x001 ", b"\x28\x00\x08\x00IS\x08\x00Doe^Jane")
    found = refused(lambda: decode(data))
    assert "Doe" not in str(found)
    assert found.__cause__ is None
    assert "Doe" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("syntax", [each for each in (*drawn.EXACT, *drawn.LOSSY)
                                    if each not in (drawn.JPEGLossless, drawn.JPEGLosslessSV1)], ids=name)  # fmt: skip
def test_flipped_bytes_give_an_image_or_a_refusal(syntax: str) -> None:
    rng = np.random.default_rng(7)
    whole = drawn.write_opt(LAYERS, syntax=syntax)
    outcomes = set()
    for _ in range(200):
        damaged = flipped(whole, rng)
        outcomes.add(outcome(lambda data=damaged: dicom.contents(data, source="a.dcm")))
        outcomes.add(outcome(lambda data=damaged: decode(data, 1)))
    assert {"read", "broken"} <= outcomes


def flipped(whole: bytes, rng: np.random.Generator) -> bytes:
    """Change up to a dozen bytes after the preamble."""
    damaged = bytearray(whole)
    for place in rng.integers(132, len(damaged), rng.integers(1, 12)):
        damaged[place] = rng.integers(0, 256)
    return bytes(damaged)


# gdcm ends its process when it meets some damaged JPEG lossless streams (gdcm 3.2.6 does not turn its exceptions into
# Python's), which is why all readers run in a child. Here each file gets a child of its own.
LOSSLESS_JPEG = """
import os, resource, sys
from pathlib import Path
from eyeground.images.readers import dicom
from eyeground.images.refusal import ImageRefused
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
outcomes = []
for path in sorted(Path(sys.argv[1]).iterdir()):
    data = path.read_bytes()
    child = os.fork()
    if child == 0:
        try:
            dicom.frame(data, source="a.dcm", number=1, max_pixels=10**6)
            os._exit(10)
        except ImageRefused:
            os._exit(11)
        except BaseException:
            os._exit(12)
    status = os.waitpid(child, 0)[1]
    outcomes.append(-os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))
print(*outcomes)
"""


@pytest.mark.parametrize("syntax", [drawn.JPEGLossless, drawn.JPEGLosslessSV1], ids=name)
def test_flipped_bytes_of_lossless_jpeg_end_at_most_the_child(syntax: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    whole = drawn.write_opt(LAYERS, syntax=syntax)
    for number in range(60):
        (tmp_path / f"{number:03}.dcm").write_bytes(flipped(whole, rng))
    done = subprocess.run(
        [sys.executable, "-c", LOSSLESS_JPEG, tmp_path], capture_output=True, text=True, timeout=120, check=True
    )
    outcomes = [int(word) for word in done.stdout.split()]
    assert len(outcomes) == 60
    assert {10, 11} <= set(outcomes)
    assert set(outcomes) <= {10, 11, -6, -11}, "12 is another exception than a refusal"


WITHOUT_FILES = """
import os, resource, sys
from pathlib import Path
from eyeground.images.readers import dicom
data = {path.name: path.read_bytes() for path in sorted(Path(sys.argv[1]).iterdir())}
lowest = os.dup(0)
os.close(lowest)
resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, lowest))
try:
    open(os.devnull)
except OSError:
    print("locked")
for name, bytes_ in data.items():
    held = dicom.contents(bytes_, source=name)
    for number in range(held.slices):
        image = dicom.frame(bytes_, source=name, number=number, max_pixels=10**6)
    print(name, held.slices, image.pixels.shape, "names" if "PatientName" in held.personal else "", bool(held.device))
"""


def test_nothing_is_opened_after_start_up(tmp_path: Path) -> None:
    charsets = ["ISO_IR 192", "GB18030", "ISO_IR 13", ["", "ISO 2022 IR 87"], ["", "ISO 2022 IR 149"], "ISO_IR 166"]
    for number, syntax in enumerate((*drawn.EXACT, *drawn.LOSSY)):
        words = charsets[number % len(charsets)]
        (tmp_path / f"op{number:02}.dcm").write_bytes(
            drawn.write_op(EYE, syntax=syntax, SpecificCharacterSet=words, PatientComments="words")
        )
        (tmp_path / f"opt{number:02}.dcm").write_bytes(drawn.write_opt(LAYERS, syntax=syntax, lines=True))
    for sample in ("chrH31.dcm", "chrX1.dcm", "chrKoreanMulti.dcm", "chrGreek.dcm"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = dcmread(SAMPLES.parent / "charset_files" / sample)
            names = {"SpecificCharacterSet": header.SpecificCharacterSet, "Manufacturer": str(header.PatientName)}
            names |= {"ManufacturerModelName": ""}
            (tmp_path / f"chr{sample}").write_bytes(drawn.write_op(GRAY, **names))
    done = subprocess.run([sys.executable, "-c", WITHOUT_FILES, tmp_path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "locked"
    assert all(line.endswith("names True") for line in lines[1:])
    assert len(lines) == 1 + 2 * (len(drawn.EXACT) + len(drawn.LOSSY)) + 4
    assert done.stderr == ""

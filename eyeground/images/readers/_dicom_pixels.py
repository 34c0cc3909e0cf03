"""One DICOM frame to RGB pixels: codecs, color spaces, palettes and gray windows."""

import logging
import struct
import zlib  # noqa: F401 - before gdcm 3.2: its own zlib takes the place of the system's, and compressing then crashes
from dataclasses import dataclass
from typing import Any, Final

import gdcm  # type: ignore[import-untyped]
import numpy as np
import PIL.Image
import PIL.Jpeg2KImagePlugin
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import (
    JPEG2000,
    UID,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from eyeground.images.readers._dicom_file import DicomFile
from eyeground.images.readers._dicom_groups import agreed, places, value, words
from eyeground.images.readers._dicom_run_length import run_length_planes
from eyeground.images.refusal import ImageRefused

# Pillow loads its formats when the first file is opened. In the child process that reads hostile bytes no file can be
# opened after start-up, so they are loaded now.
PIL.Image.preinit()
for _off in (gdcm.Trace.WarningOff, gdcm.Trace.ErrorOff, gdcm.Trace.DebugOff):
    _off()  # it writes about damaged images to the terminal

# Which decoder reads which compression: named, so that the same file gives the same pixels on every machine.
_DECODERS: Final[dict[str, str]] = {
    JPEGBaseline8Bit: "pillow", JPEGExtended12Bit: "pillow", JPEGLossless: "gdcm", JPEGLosslessSV1: "gdcm",
    JPEGLSLossless: "pyjpegls", JPEGLSNearLossless: "pyjpegls", JPEG2000Lossless: "pillow", JPEG2000: "pillow",
}  # fmt: skip
_JPEG_SIZES: Final = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # start of frame; 0xF7 is that of JPEG-LS
_JPEG_BARE: Final = {0x01, *range(0xD0, 0xD9)}  # markers without a length
_GRAY: Final = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
_COLOR: Final = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")


@dataclass(frozen=True)
class Picture:
    """How the pixels of a file are laid out.

    Args:
        width: Columns. Unit: px.
        height: Rows. Unit: px.
        samples: 1 for gray and palette, 3 for color.
        bits_allocated: 8 or 16 for each sample.
        bits_stored: How many of them are used.
        signed: Whether samples are two's complement.
        colors: Photometric interpretation.
        planar: 0 if a pixel's colors lie side by side, 1 if each color is a plane of its own.

    Example:
        >>> Picture(4, 3, 1, 8, 8, False, "MONOCHROME2", 0).frame_bytes
        12

    References:
        DICOM PS3.3, C.7.6.3.
    """

    width: int
    height: int
    samples: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    colors: str
    planar: int

    @property
    def frame_bytes(self) -> int:
        """Size of an uncompressed frame.

        Returns:
            Bytes.

        Example:
            >>> Picture(4, 2, 3, 8, 8, False, "YBR_FULL_422", 0).frame_bytes
            16

        References:
            DICOM PS3.3, C.7.6.3.1.2.
        """
        full = self.width * self.height * self.samples * (self.bits_allocated // 8)
        return full // 3 * 2 if self.colors == "YBR_FULL_422" else full


def picture(header: Dataset, source: str) -> Picture:
    """Read and check how the pixels are laid out.

    Args:
        header: The header of the file.
        source: Where it came from, for messages.

    Returns:
        The layout, each value of it one that can be decoded.

    Raises:
        ImageRefused: If a value is missing or makes no sense (``broken``), or is of a kind that is not read
            (``format_not_allowed``).

    Example:
        >>> picture(Dataset(), "a.dcm")
        Traceback (most recent call last):
        eyeground.images.refusal.ImageRefused: a.dcm: the header's Rows makes no sense; export it again

    References:
        DICOM PS3.3, C.7.6.3.
    """

    def whole(keyword: str, least: int, most: int) -> int:
        found = value(header, keyword)
        if not isinstance(found, int) or not least <= found <= most:
            raise ImageRefused("broken", source, f"the header's {keyword} makes no sense; export it again")
        return int(found)

    height, width = whole("Rows", 1, 65_535), whole("Columns", 1, 65_535)
    samples = whole("SamplesPerPixel", 1, 65_535)
    allocated = whole("BitsAllocated", 1, 65_535)
    colors = next(iter(words(header, "PhotometricInterpretation")), "")
    if allocated not in (8, 16):
        raise ImageRefused("format_not_allowed", source, f"holds {allocated} bits per sample; export it with 8 or 16")
    known = _GRAY if samples == 1 else _COLOR if samples == 3 else ()
    if colors not in known:
        sentence = "holds colors that are not read; export it as MONOCHROME2 or RGB"
        raise ImageRefused("format_not_allowed", source, sentence)
    stored = whole("BitsStored", 1, allocated)
    signed = whole("PixelRepresentation", 0, 1) == 1
    if signed and colors not in ("MONOCHROME1", "MONOCHROME2"):
        raise ImageRefused("broken", source, "holds negative colors; export it again")
    planar = whole("PlanarConfiguration", 0, 1) if samples == 3 and value(header, "PlanarConfiguration") else 0
    return Picture(width, height, samples, allocated, stored, signed, colors, planar)


def rgb(file: DicomFile, layout: Picture, number: int, source: str) -> NDArray[np.uint8]:
    """Decode one frame to 8-bit RGB.

    Color keeps the upper 8 of its stored bits. Palettes are applied. Gray goes through the header's rescaling and then
    its window, if the header gives one that is the same for all frames. Without a window, gray of up to 8 bits fills
    its stored range. Deeper gray of a single frame is scaled by its own least and greatest value, as for other files:
    cameras store 10 or 12 bits in 16 and say 16. A volume is scaled by its stored range instead, and a window that
    differs from frame to frame is not used: slices scaled each by its own would not be comparable, and a bright reflex
    in one would darken its tissue. MONOCHROME1 is turned around, so that black is black. Lookup tables for gray and
    overlays are not applied.

    Args:
        file: The file with its pixels still encoded.
        layout: How the pixels are laid out.
        number: Which frame, from 0.
        source: Where it came from, for messages.

    Returns:
        Pixels (H, W, 3).

    Raises:
        ImageRefused: If the frame is damaged, cut short, or of a kind that is not read.

    Example:
        >>> header = Dataset()
        >>> header.SamplesPerPixel, header.Rows, header.Columns, header.PixelRepresentation = 1, 1, 2, 0
        >>> header.BitsAllocated, header.BitsStored, header.PhotometricInterpretation = 8, 8, "MONOCHROME1"
        >>> file = DicomFile(header, UID("1.2.840.10008.1.2.1"), 1, memoryview(bytes([0, 255])), "OB")
        >>> rgb(file, picture(header, "a.dcm"), 0, "a.dcm")[0, :, 0].tolist()
        [255, 0]

    References:
        DICOM PS3.3, C.7.6.3, C.7.9, C.11.2; PS3.5, section 8.
    """
    array = _decoded(file, layout, number, source)
    if layout.colors == "PALETTE COLOR":
        colored = apply_color_lut(array, file.header)[:, :, :3]
        return _eight_bits(colored, 8 * colored.dtype.itemsize)
    if layout.samples == 3:
        return _eight_bits(array, layout.bits_stored)
    gray = _gray(array, file, layout)
    return np.repeat(gray[:, :, None], 3, axis=2)


def _decoded(file: DicomFile, layout: Picture, number: int, source: str) -> NDArray[Any]:
    """Decode one frame as it is stored, in the machine's byte order."""
    options: dict[str, Any] = {
        "rows": layout.height, "columns": layout.width, "samples_per_pixel": layout.samples,
        "bits_allocated": layout.bits_allocated, "bits_stored": layout.bits_stored,
        "pixel_representation": int(layout.signed), "photometric_interpretation": layout.colors,
        "planar_configuration": layout.planar, "pixel_keyword": "PixelData",
    }  # fmt: skip
    colors: str | int = layout.colors
    if file.syntax == RLELossless:
        array = _run_lengths(file.compressed(number, source), layout)
    elif file.syntax.is_encapsulated:
        stream = file.compressed(number, source)
        plugin = _check_stream(stream, file.syntax, layout, source) or _DECODERS[file.syntax]
        options |= {"number_of_frames": 1, "decoding_plugin": plugin}
        array, colors = _by_plugin(stream, file.syntax, options, source)
    else:
        if layout.frame_bytes * file.frames > len(file.pixels):
            raise ImageRefused("broken", source, "holds fewer pixels than its header says; export it again")
        options |= {"number_of_frames": file.frames, "pixel_vr": file.pixel_vr}
        array, found = get_decoder(file.syntax).as_array(file.pixels, index=number, raw=True, **options)
        colors = found["photometric_interpretation"]
    if colors in ("YBR_FULL", "YBR_FULL_422") and array.dtype == np.uint8:
        # Pillow needs a byte for each sample; pydicom's own conversion needs two floats.
        array = np.array(PIL.Image.fromarray(array, "YCbCr").convert("RGB"))
    elif layout.samples == 3 and colors != "RGB":
        raise ImageRefused("format_not_allowed", source, "holds colors that are not read; export it as RGB")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _run_lengths(stream: bytes, layout: Picture) -> NDArray[Any]:
    """Decode a run-length frame; the bits above the stored ones, which may hold anything, repeat the sign."""
    array = run_length_planes(stream, layout.width, layout.height, layout.samples, layout.bits_allocated // 8)
    if layout.signed:
        array = array.view(f"i{array.dtype.itemsize}")
    spare = layout.bits_allocated - layout.bits_stored
    return (array << spare) >> spare if spare else array


def _by_plugin(stream: bytes, syntax: UID, options: dict[str, Any], source: str) -> tuple[NDArray[Any], str | int]:
    """Decode a codestream by one of pydicom's plug-ins, to the values and their colors."""
    shortage = _Shortage()
    logger = logging.getLogger("pydicom.pixels.decoders.base")
    logger.addFilter(shortage)
    try:
        array, found = get_decoder(syntax).as_array(encapsulate([stream]), index=0, raw=True, **options)
    except RuntimeError:
        if shortage.seen:
            raise MemoryError from None
        sentence = "the compressed image cannot be decoded: it is damaged, or too large for the memory it may use"
        raise ImageRefused("broken", source, f"{sentence}; export it again, or smaller") from None
    finally:
        logger.removeFilter(shortage)
    return array, found["photometric_interpretation"]


class _Shortage(logging.Filter):
    """Notices a lack of memory: pydicom 3.0 logs what its plug-ins raise, and raises another error in its place."""

    seen = False

    def filter(self, record: logging.LogRecord) -> bool:
        """Look at what is logged, and let it pass."""
        self.seen |= isinstance(record.msg, MemoryError)
        return True


def _check_stream(stream: bytes, syntax: UID, layout: Picture, source: str) -> str:
    """Compare a codestream's own size with the header's before it is decoded; name another decoder if one is needed."""
    if syntax in (JPEG2000, JPEG2000Lossless):
        size, bits = _size_of_jpeg_2000(stream)
    else:
        size, bits = _size_of_jpeg(stream)
    if size != (layout.width, layout.height, layout.samples):
        raise ImageRefused("broken", source, "the compressed image is not the size its header says; export it again")
    if b"\xff\xd9" not in stream[-16:]:  # fill bytes may follow the end-of-image marker
        raise ImageRefused("truncated", source, "the compressed image ends too early; copy or export it again")
    if syntax == JPEGExtended12Bit and bits != 8:
        raise ImageRefused("format_not_allowed", source, "is a JPEG of 12 bits; export it as JPEG 2000 or uncompressed")
    if syntax not in (JPEG2000, JPEG2000Lossless):
        return ""
    # Pillow brings color of more than 8 bits down to 8, and takes the boxes of some writers for another format.
    return "gdcm" if (layout.samples == 3 and bits > 8) or not stream.startswith(b"\xff\x4f") else ""


def _size_of_jpeg(stream: bytes) -> tuple[tuple[int, int, int], int]:
    """Width, height, components and bits of a JPEG or JPEG-LS stream; zeros if it has no start of frame."""
    at = 2
    while at + 4 <= len(stream):
        if stream[at] != 0xFF:
            break
        marker = stream[at + 1]
        if marker == 0xFF or marker in _JPEG_BARE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _JPEG_SIZES and at + 10 <= len(stream):
            bits, height, width, components = struct.unpack_from(">BHHB", stream, at + 4)
            return (width, height, components), bits
        at += 2 + struct.unpack_from(">H", stream, at + 2)[0]
    return (0, 0, 0), 0


def _size_of_jpeg_2000(stream: bytes) -> tuple[tuple[int, int, int], int]:
    """Width, height, components and bits of a JPEG 2000 codestream, with or without boxes around it."""
    at = stream.find(b"\xff\x4f\xff\x51", 0, 4096)
    if at < 0 or at + 43 > len(stream):
        return (0, 0, 0), 0
    right, bottom, left, top = struct.unpack_from(">4I", stream, at + 8)
    components, bits = struct.unpack_from(">HB", stream, at + 40)
    return (right - left, bottom - top, components), (bits & 0x7F) + 1


def _eight_bits(array: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Keep the upper 8 of the stored bits."""
    if bits == 8:
        return np.ascontiguousarray(array, dtype=np.uint8)
    wide: NDArray[np.uint32] = array.astype(np.uint32)
    scaled = wide >> (bits - 8) if bits > 8 else wide * 255 // (2**bits - 1)
    return np.asarray(np.minimum(scaled, 255), dtype=np.uint8)


def _gray(array: NDArray[Any], file: DicomFile, layout: Picture) -> NDArray[np.uint8]:
    """Gray levels from stored values, through a table of every value there can be."""
    bits = 8 * array.dtype.itemsize
    stored = np.arange(2**bits, dtype=f"u{array.dtype.itemsize}").view(array.dtype).astype(np.float64)
    # The rescaling is undone by any scaling of our own, except for its sign.
    slope, intercept = _rescaling(file)
    window = _window(file)
    if window is not None:
        levels = _through_window(stored * slope + intercept, window)
    else:
        if layout.bits_stored > 8 and file.frames == 1:
            low, high = float(array.min()), float(array.max())
        else:
            low = -(2.0 ** (layout.bits_stored - 1)) if layout.signed else 0.0
            high = low + 2.0**layout.bits_stored - 1
        levels = 255 * (stored - low) / max(high - low, 1.0)
        levels = levels if slope > 0 else 255 - levels
    if layout.colors == "MONOCHROME1":
        levels = 255 - levels
    table = np.rint(np.clip(levels, 0, 255)).astype(np.uint8)
    return np.take(table, array.view(f"u{array.dtype.itemsize}"))


def _rescaling(file: DicomFile) -> tuple[float, float]:
    """Slope and intercept, (1, 0) if they are not the same for all frames."""
    macro = "PixelValueTransformationSequence"
    slope = agreed(file.header, file.frames, macro, "RescaleSlope", 1)
    intercept = agreed(file.header, file.frames, macro, "RescaleIntercept", 1)
    return (slope[0], intercept[0]) if slope and intercept and slope[0] != 0 else (1.0, 0.0)


def _window(file: DicomFile) -> tuple[float, float, str] | None:
    """Center, width and function, if they are the same for all frames."""
    macro = "FrameVOILUTSequence"
    center = agreed(file.header, file.frames, macro, "WindowCenter", 1)
    width = agreed(file.header, file.frames, macro, "WindowWidth", 1)
    if center is None or width is None:
        return None
    function = next(
        (each[0] for place in places(file.header, 0, macro) if (each := words(place, "VOILUTFunction"))), "LINEAR"
    )
    least = 1 if function == "LINEAR" else 0
    return (center[0], width[0], function) if width[0] > least else None


def _through_window(values: NDArray[np.float64], window: tuple[float, float, str]) -> NDArray[np.float64]:
    """The standard's three functions of a window, onto 0 to 255."""
    center, width, function = window
    if function == "SIGMOID":
        return 255 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700)))
    if function == "LINEAR_EXACT":
        return 255 * ((values - center) / width + 0.5)
    return 255 * ((values - (center - 0.5)) / (width - 1) + 0.5)

"""Writes DICOM files of drawn eyes, in every transfer syntax that an installed encoder can write."""

import io
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.filewriter import dcmwrite
from pydicom.pixels import get_encoder
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

PHOTOGRAPH_8, PHOTOGRAPH_16 = "1.2.840.10008.5.1.4.1.1.77.1.5.1", "1.2.840.10008.5.1.4.1.1.77.1.5.2"
TOMOGRAPHY, CAPTURE = "1.2.840.10008.5.1.4.1.1.77.1.5.4", "1.2.840.10008.5.1.4.1.1.7"
PLAIN = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
EXACT = (*PLAIN, JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless, RLELossless)
LOSSY = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000)


def color_eye(height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    """A smooth orange disk on black, (H, W, 3)."""
    y, x = np.mgrid[:height, :width]
    disk = np.clip(1.2 - np.hypot((x - width / 2) / width, (y - height / 2) / height) * 2.2, 0, 1)
    return np.stack([240 * disk, 120 * disk**1.5, 60 * disk**2], axis=2).astype(np.uint8)


def layers(frames: int = 3, height: int = 40, width: int = 50, bits: int = 8) -> NDArray[Any]:
    """B-scans of wavy layers, each frame different, (N, H, W), using all of the bits."""
    n, y, x = np.mgrid[:frames, :height, :width]
    wave = 0.5 + 0.5 * np.sin(y / 3 + 2 * np.sin(x / 9) + n)
    return np.rint(wave * (2**bits - 1)).astype(np.uint8 if bits <= 8 else np.uint16)


def write_op(
    pixels: NDArray[Any],
    *,
    syntax: str = ExplicitVRLittleEndian,
    colors: str = "",
    bits_stored: int = 0,
    **elements: Any,
) -> bytes:
    """An ophthalmic photograph, (H, W) or (H, W, 3), 8 or 16 bits; further elements by keyword, None to leave out."""
    sop = PHOTOGRAPH_8 if pixels.itemsize == 1 else PHOTOGRAPH_16
    return write(pixels[None], syntax=syntax, colors=colors, bits_stored=bits_stored,
                 **({"SOPClassUID": sop, "Modality": "OP"} | elements))  # fmt: skip


def write_opt(
    frames: NDArray[Any], *, syntax: str = ExplicitVRLittleEndian, bits_stored: int = 0, lines: bool = False,
    offset_table: str = "basic", **elements: Any,
) -> bytes:  # fmt: skip
    """A tomography volume, (N, H, W); with positions in space on request, a line every 0.1 mm downward."""
    shared = Dataset()
    shared.PixelMeasuresSequence = sequence(PixelSpacing=[0.004, 0.012])
    shared.FrameAnatomySequence = sequence(FrameLaterality="L", AnatomicRegionSequence=code("5665001"))
    if lines:
        shared.PlaneOrientationSequence = sequence(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    each = []
    for number in range(len(frames)):
        group = Dataset()
        if lines:
            group.PlanePositionSequence = sequence(ImagePositionPatient=[-3.0, 0.0, 1.0 - 0.1 * number])
        each.append(group)
    defaults = {
        "SOPClassUID": TOMOGRAPHY, "Modality": "OPT", "NumberOfFrames": len(frames),
        "SharedFunctionalGroupsSequence": DicomSequence([shared]),
        "PerFrameFunctionalGroupsSequence": DicomSequence(each),
    }  # fmt: skip
    return write(frames, syntax=syntax, bits_stored=bits_stored, offset_table=offset_table, **(defaults | elements))


def write(
    frames: NDArray[Any], *, syntax: str, colors: str = "", bits_stored: int = 0, offset_table: str = "basic",
    pixel_data: bytes | None = None, **elements: Any,
) -> bytes:  # fmt: skip
    """A DICOM file of any class, (N, H, W) or (N, H, W, 3)."""
    syntax = UID(syntax)
    samples = 3 if frames.ndim == 4 else 1
    header = Dataset()
    header.SOPInstanceUID, header.StudyInstanceUID, header.SeriesInstanceUID = "1.2.3.4", "1.2.3.5", "1.2.3.6"
    header.PatientName, header.PatientID, header.PatientBirthDate, header.StudyDate = "Doe^Jane", "X1", "19500101", ""
    header.Manufacturer, header.ManufacturerModelName = "Drawn", "Brush 1"
    header.SamplesPerPixel, header.Rows, header.Columns = samples, frames.shape[1], frames.shape[2]
    header.BitsAllocated = 8 * frames.itemsize
    header.BitsStored = bits_stored or header.BitsAllocated
    header.HighBit, header.PixelRepresentation = header.BitsStored - 1, int(frames.dtype.kind == "i")
    header.PhotometricInterpretation = colors or _colors(syntax, samples)
    if samples == 3:
        header.PlanarConfiguration = 0
    if pixel_data is None:
        pixel_data, table = _pixel_data(frames, header, syntax, offset_table)
        for keyword, found in table.items():
            setattr(header, keyword, found)
    for keyword, found in elements.items():
        if found is None:
            header.pop(keyword, None)
        else:
            setattr(header, keyword, found)
    header.PixelData = pixel_data
    header["PixelData"].VR = "OB" if syntax.is_encapsulated or frames.itemsize == 1 else "OW"
    header["PixelData"].is_undefined_length = syntax.is_encapsulated
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = syntax
    header.file_meta.MediaStorageSOPClassUID = header.get("SOPClassUID", CAPTURE)
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    out = io.BytesIO()
    dcmwrite(out, header, enforce_file_format=True)
    return out.getvalue()


def sequence(**elements: Any) -> DicomSequence:
    """A sequence of one item."""
    item = Dataset()
    for keyword, found in elements.items():
        setattr(item, keyword, found)
    return DicomSequence([item])


def code(value: str) -> DicomSequence:
    """A code sequence."""
    return sequence(CodeValue=value, CodingSchemeDesignator="SCT", CodeMeaning="drawn")


def fragmented(streams: Sequence[bytes], parts: int) -> bytes:
    """Encapsulated frames without an offset table, each cut into parts."""
    return encapsulate(list(streams), fragments_per_frame=parts, has_bot=False)


def codestream(frame: NDArray[Any], syntax: str, bits_stored: int = 0) -> bytes:
    """One frame compressed."""
    syntax = UID(syntax)
    bits = bits_stored or 8 * frame.itemsize
    if syntax in (JPEGLossless, JPEGLosslessSV1):
        return _jpeg_lossless(frame, 1 if syntax == JPEGLosslessSV1 else 7)
    if syntax in (JPEGBaseline8Bit, JPEGExtended12Bit, JPEG2000, JPEG2000Lossless):
        out = io.BytesIO()
        if syntax in (JPEG2000, JPEG2000Lossless):
            lossy = {"irreversible": True, "quality_mode": "rates", "quality_layers": [4]} if syntax == JPEG2000 else {}
            Image.fromarray(frame).save(out, "JPEG2000", no_jp2=True, **lossy)
        else:
            Image.fromarray(frame).save(out, "JPEG", quality=95, subsampling=0)
        return out.getvalue()
    options = {
        "rows": frame.shape[0], "columns": frame.shape[1], "samples_per_pixel": 3 if frame.ndim == 3 else 1,
        "bits_allocated": 8 * frame.itemsize, "bits_stored": bits, "pixel_representation": int(frame.dtype.kind == "i"),
        "photometric_interpretation": "RGB" if frame.ndim == 3 else "MONOCHROME2", "planar_configuration": 0,
        "number_of_frames": 1,
    }  # fmt: skip
    if syntax == JPEGLSNearLossless:
        options["jls_error"] = 2
    plugin = "pydicom" if syntax == RLELossless else "pyjpegls"  # gdcm ends the process for an odd number of bytes
    return get_encoder(syntax).encode(frame.tobytes(), encoding_plugin=plugin, **options)


def _pixel_data(
    frames: NDArray[Any], header: Dataset, syntax: UID, offset_table: str
) -> tuple[bytes, dict[str, bytes]]:
    """The value of the pixel element, and an extended offset table if one was asked for."""
    if not syntax.is_encapsulated:
        stored = frames.astype(frames.dtype.newbyteorder("<" if syntax.is_little_endian else ">"))
        return stored.tobytes() + b"\0" * (stored.nbytes % 2), {}
    streams = [codestream(frame, syntax, header.BitsStored) for frame in frames]
    if offset_table == "extended":
        value, offsets, lengths = encapsulate_extended(streams)
        return value, {"ExtendedOffsetTable": offsets, "ExtendedOffsetTableLengths": lengths}
    return encapsulate(streams, has_bot=offset_table == "basic"), {}


def _colors(syntax: UID, samples: int) -> str:
    """The photometric interpretation that our encoders produce."""
    if samples == 1:
        return "MONOCHROME2"
    return {JPEGBaseline8Bit: "YBR_FULL_422", JPEGExtended12Bit: "YBR_FULL_422", JPEG2000: "YBR_ICT",
            JPEG2000Lossless: "YBR_RCT"}.get(syntax, "RGB")  # fmt: skip


def _jpeg_lossless(frame: NDArray[Any], predictor: int) -> bytes:
    """Compress by our own hand, since gdcm, the only decoder, writes no frame of an odd number of bytes.

    ITU-T T.81, annex H: predictor 1 is the pixel to the left, 7 the mean of left and above. Every category of
    differences has a code of 5 bits.
    """
    bits = 8 * frame.itemsize
    samples = frame.reshape(*frame.shape[:2], -1).astype(np.int64)  # (H, W, components)
    height, width, components = samples.shape
    left, above = np.roll(samples, 1, axis=1), np.roll(samples, 1, axis=0)
    guess = left if predictor == 1 else (left + above) // 2
    guess[0], guess[1:, 0] = left[0], above[1:, 0]
    guess[0, 0] = 2 ** (bits - 1)
    difference = (samples - guess + 32767) % 65536 - 32767  # -32767 to 32768
    words = []
    for each in difference.ravel().tolist():
        category = abs(each).bit_length()
        extra = each if each > 0 else each + (1 << category) - 1
        words.append(f"{category:05b}" + (f"{extra:0{category}b}" if 0 < category < 16 else ""))
    stream = "".join(words)
    stream += "1" * (-len(stream) % 8)
    coded = int(stream, 2).to_bytes(len(stream) // 8, "big").replace(b"\xff", b"\xff\x00")
    one_each = range(1, components + 1)
    start = struct.pack(">BHHB", bits, height, width, components) + b"".join(bytes([c, 0x11, 0]) for c in one_each)
    table = bytes([0, 0, 0, 0, 0, 17, *[0] * 11, *range(17)])
    scan = bytes([components]) + b"".join(bytes([c, 0]) for c in one_each) + bytes([predictor, 0, 0])
    segments = ((0xC3, start), (0xC4, table), (0xDA, scan))
    head = b"".join(bytes([0xFF, marker]) + struct.pack(">H", len(each) + 2) + each for marker, each in segments)
    return b"\xff\xd8" + head + coded + b"\xff\xd9"

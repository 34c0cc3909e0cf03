"""DICOM files that hold an image of an eye: photographs and tomographies, of one frame or many."""

from collections.abc import Callable
from typing import Final, TypeVar

from pydicom import Dataset
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

from eyeground.images.contents import Contents
from eyeground.images.readers._dicom_file import DicomFile, find_pixels, open_header, quiet
from eyeground.images.readers._dicom_groups import value, words
from eyeground.images.readers._dicom_meaning import Kind, device, eye, line_mm, lines_mm, mm_per_px, modality
from eyeground.images.readers._dicom_personal import personal
from eyeground.images.readers._dicom_pixels import Picture, picture, rgb
from eyeground.images.refusal import ImageRefused
from eyeground.images.retinal_image import RetinalImage

_SYNTAXES: Final = frozenset({
    ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian,
    JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, JPEGLSNearLossless,
    JPEG2000Lossless, JPEG2000, RLELossless,
})  # fmt: skip
_CLASS: Final = "1.2.840.10008.5.1.4.1.1."
# Classes made for images of the eye, and classes that may hold one if the modality says so.
_KINDS: Final[dict[str, Kind]] = {
    f"{_CLASS}77.1.5.1": "photograph", f"{_CLASS}77.1.5.2": "photograph",  # Ophthalmic Photography, 8 and 16 bit
    f"{_CLASS}77.1.5.4": "tomography",
    f"{_CLASS}77.1.5.5": "wide field", f"{_CLASS}77.1.5.6": "wide field",  # stereographic projection, 3D coordinates
}  # fmt: skip
_GENERAL: Final[dict[str, Kind]] = {
    f"{_CLASS}7": "other", f"{_CLASS}7.2": "other", f"{_CLASS}7.3": "other", f"{_CLASS}7.4": "other",  # captures
    f"{_CLASS}77.1.2": "photograph", f"{_CLASS}77.1.4": "photograph",  # VL Microscopic, VL Photographic
}  # fmt: skip
_MODALITIES: Final = ("OP", "OPT", "OPM", "XC")
_MOST_FRAMES: Final = 100_000
_T = TypeVar("_T")


def claims(data: bytes) -> bool:
    """Say whether the bytes begin like a DICOM file.

    Args:
        data: The file, or its first 132 bytes.

    Returns:
        Whether they do.

    Example:
        >>> claims(bytes(128) + b"DICM"), claims(b"DICM")
        (True, False)

    References:
        DICOM PS3.10, section 7.1.
    """
    return data[128:132] == b"DICM"


def contents(data: bytes, *, source: str) -> Contents:
    """Read the header; no pixel is decoded.

    Taken are the ophthalmic photography and tomography classes, wide-field ones too, and secondary captures and
    visible-light photographs whose modality is OP, OPT, OPM or XC. Anything else is refused by its name.

    Args:
        data: The whole file.
        source: Where it came from, for messages.

    Returns:
        What the file holds. ``eye`` is that of all frames, ``mm_per_px`` that of the first.

    Raises:
        ImageRefused: If it holds no image of an eye, is compressed in a way that is not read, is damaged or cut short.

    Example:
        >>> contents(bytes(128) + b"DICM", source="a.dcm")
        Traceback (most recent call last):
        eyeground.images.refusal.ImageRefused: a.dcm: the file ends too early; copy or export it again

    References:
        DICOM PS3.3, A.41 (Ophthalmic Photography) and A.52 (Ophthalmic Tomography).
    """

    def read() -> Contents:
        file, layout, kind = _open(data, source)
        header = file.header
        return Contents(
            format="DICOM",
            slices=file.frames,
            width=layout.width,
            height=layout.height,
            modality=modality(header, kind),
            eye=eye(header, range(file.frames)),
            mm_per_px=mm_per_px(header, 0),
            lines_mm=lines_mm(header, file.frames, layout.width) if kind == "tomography" else (),
            device=device(header),
            personal=personal(header),
        )

    return _guarded(read, source)


def frame(data: bytes, *, source: str, number: int, max_pixels: int) -> RetinalImage:
    """Decode one frame.

    How its values become 8-bit colors is told at ``_dicom_pixels.rgb``.

    Args:
        data: The whole file.
        source: Where it came from, for messages and for the image.
        number: Which frame, from 0, in the order of the file.
        max_pixels: Largest width times height let in. Unit: px.

    Returns:
        The frame with what the header says about it.

    Raises:
        ImageRefused: As ``contents`` does; or if there is no such frame, or it has too many pixels.

    Example:
        >>> frame(bytes(128) + b"DICM", source="a.dcm", number=0, max_pixels=1)
        Traceback (most recent call last):
        eyeground.images.refusal.ImageRefused: a.dcm: the file ends too early; copy or export it again

    References:
        As for ``contents``.
    """

    def read() -> RetinalImage:
        file, layout, kind = _open(data, source)
        if not 0 <= number < file.frames:
            raise ImageRefused("no_such_slice", source, f"has {file.frames} slices; ask for one from 0 on")
        if layout.width * layout.height > max_pixels:
            size = f"{layout.width}x{layout.height}"
            raise ImageRefused("too_many_pixels", source, f"is {size} px, more than {max_pixels} px; export it smaller")
        header = file.header
        return RetinalImage(
            pixels=rgb(file, layout, number, source),
            source=source,
            eye=eye(header, range(number, number + 1)),
            modality=modality(header, kind),
            mm_per_px=mm_per_px(header, number),
            slice=number,
            slices=file.frames,
            line_mm=line_mm(header, number, layout.width) if kind == "tomography" else None,
        )

    return _guarded(read, source)


def _guarded(read: Callable[[], _T], source: str) -> _T:
    """Turn whatever a hostile file makes pydicom raise into a refusal that repeats none of its values."""
    try:
        with quiet():
            return read()
    except (ImageRefused, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - pydicom and the codecs raise almost any class on hostile bytes
        sentence = f"the DICOM file is damaged ({type(error).__name__}); export it again"
        raise ImageRefused("broken", source, sentence) from None


def _open(data: bytes, source: str) -> tuple[DicomFile, Picture, Kind]:
    """Read the header, and refuse what is no image of an eye."""
    header, syntax, plain, at = open_header(data, source)
    kind = _kind(header, source)
    if syntax not in _SYNTAXES:
        sentence = f"is encoded as {_name(syntax)}, which is not read; export it as JPEG, JPEG 2000 or uncompressed"
        raise ImageRefused("format_not_allowed", source, sentence)
    if at >= len(plain):
        raise ImageRefused("truncated", source, "the file ends before the pixels; copy or export it again")
    layout = picture(header, source)
    file = find_pixels(header, syntax, plain, at, frames=_frames(header, source), source=source)
    if not syntax.is_encapsulated and layout.frame_bytes * file.frames > len(file.pixels):
        raise ImageRefused("broken", source, "holds fewer pixels than its header says; export it again")
    return file, layout, kind


def _kind(header: Dataset, source: str) -> Kind:
    """What the file's class is made for."""
    word = value(header, "SOPClassUID") or value(getattr(header, "file_meta", None), "MediaStorageSOPClassUID")
    identifier = UID(str(word)) if word else UID("")
    if identifier in _KINDS:
        return _KINDS[identifier]
    if identifier in _GENERAL and set(words(header, "Modality")) & set(_MODALITIES):
        return _GENERAL[identifier]
    what = _name(identifier)
    if identifier in _GENERAL:
        what += " of another modality than " + ", ".join(_MODALITIES)
    raise ImageRefused("format_not_allowed", source, f"is a DICOM object that is no image of an eye ({what})")


def _name(identifier: UID) -> str:
    """The standard's name of an identifier; the file's own words are not repeated."""
    return identifier.name if identifier.name != str(identifier) else "of an unknown kind"


def _frames(header: Dataset, source: str) -> int:
    """How many frames the header promises."""
    if "NumberOfFrames" not in header or not header.get_item("NumberOfFrames").value:
        return 1
    found = value(header, "NumberOfFrames")
    if not isinstance(found, int) or not 1 <= found <= _MOST_FRAMES:
        raise ImageRefused("broken", source, "the header's number of frames makes no sense; export it again")
    return int(found)

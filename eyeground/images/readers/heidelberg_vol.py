"""Heidelberg Engineering's raw export of a Spectralis volume (``.vol``)."""

import math
import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eyeground.images.contents import Contents
from eyeground.images.refusal import ImageRefused
from eyeground.images.retinal_image import Eye, Line, RetinalImage

# Version, SizeX, NumBScans, SizeZ, ScaleX, Distance, ScaleZ, SizeXSlo, SizeYSlo, ScaleXSlo, ScaleYSlo, FieldSizeSlo,
# ScanFocus, ScanPosition, ExamTime, ScanPattern, BScanHdrSize, ID, ReferenceID, PID, PatientID, padding, DOB, VID,
# VisitID, VisitDate; then grids, ProgID and spare bytes up to 2048. Little-endian, no padding of its own.
_FILE_HEADER: Final = struct.Struct("<12s iii ddd ii dd i d 4s q ii 16s 16s i 21s 3x d i 24s d")
_FILE_HEADER_BYTES: Final = 2048
_BSCAN_HEADER: Final = struct.Struct("<12s i dddd")  # Version, BScanHdrSize, StartX, StartY, EndX, EndY
_BSCAN_HEADER_BYTES: Final = 256  # the part every version has; the segmented layers follow it
_CIRCLE: Final = 2  # ScanPattern: for a circle, (EndX, EndY) is its center, so there is no line
_DEVICE_FILES: Final = b"HSF-"  # HSF-OCT-100 to HSF-OCT-104 in the file header, HSF-BS-... before each B-scan
_EYEPY_FILES: Final = b"ep-v"  # written by the open eyepy, which fills the same layout
_LARGEST_SIDE_PX: Final = 65_535
_MOST_BSCANS: Final = 65_535


@dataclass(frozen=True)
class _Layout:
    """Where everything lies, checked against the length of the file."""

    width: int
    height: int
    slices: int
    mm_per_px: tuple[float, float] | None
    eye: Eye
    lines_mm: tuple[Line, ...]
    first_bytes: int  # where the first B-scan's header begins
    header_bytes: int  # of each B-scan
    personal: tuple[str, ...]
    by_device: bool

    def a_scans(self, data: bytes, number: int) -> NDArray[np.float32]:
        """View the stored values of one B-scan, (H, W), depth downward."""
        block = self.header_bytes + 4 * self.width * self.height
        start = self.first_bytes + number * block + self.header_bytes
        return np.frombuffer(data, "<f4", self.width * self.height, start).reshape(self.height, self.width)


def claims(data: bytes) -> bool:
    """Say whether the bytes begin like a Heidelberg raw export.

    Args:
        data: The file, or its first bytes.

    Returns:
        True for the version words of the device (``HSF-``) and of eyepy's writer (``ep-v``).

    Example:
        >>> claims(b"HSF-OCT-103 ..."), claims(b"II*...")
        (True, False)

    References:
        Heidelberg Engineering, "Spectralis: special function, exporting raw data"; eyepy, ``he/vol_reader.py``.
    """
    return data.startswith((_DEVICE_FILES, _EYEPY_FILES))


def contents(data: bytes, *, source: str) -> Contents:
    """Read the headers of a raw export; no pixel is decoded.

    The infrared localizer in the file is no slice. For a circle scan no lines are given: its header holds the center.

    Args:
        data: The whole file.
        source: Where it came from, for messages.

    Returns:
        What the file holds.

    Raises:
        ImageRefused: If it is cut short (``truncated``), or its header makes no sense (``broken``).

    Example:
        >>> contents(b"HSF-OCT-103 ", source="a.vol")
        Traceback (most recent call last):
        eyeground.images.refusal.ImageRefused: a.vol: the file ends too early; copy or export it again

    References:
        As for ``claims``.
    """
    layout = _layout(data, source)
    return Contents(
        format="Heidelberg vol",
        slices=layout.slices,
        width=layout.width,
        height=layout.height,
        modality="oct",
        eye=layout.eye,
        mm_per_px=layout.mm_per_px,
        lines_mm=layout.lines_mm,
        device="Heidelberg Engineering Spectralis" if layout.by_device else "",
        personal=layout.personal,
    )


def frame(data: bytes, *, source: str, number: int, max_pixels: int) -> RetinalImage:
    """Read one B-scan as gray pixels.

    The device stores reflectivity in [0, 1]. It is shown as its fourth root, so that the weak layers can be seen beside
    the strong ones: level = round(255 * value ** 0.25). That rule is the same for each slice and each volume. Values
    above 1 mark places without data (the device writes the largest float there) and become black, as do negative ones.

    Files of eyepy's writer may hold display levels from 0 to 255 instead of reflectivity. That is told from the whole
    volume, never slice by slice: if any B-scan holds a value above 1 that is not the mark for no data, the values are
    taken as levels.

    Args:
        data: The whole file.
        source: Where it came from, for messages and for the image.
        number: Which B-scan, from 0.
        max_pixels: Largest width times height let in. Unit: px.

    Returns:
        The B-scan with eye, scale and its line on the fundus.

    Raises:
        ImageRefused: As ``contents`` does; or if there is no such slice, it has too many pixels, or it holds values
            that are not finite.

    Example:
        >>> frame(b"HSF-OCT-103 ", source="a.vol", number=0, max_pixels=1)
        Traceback (most recent call last):
        eyeground.images.refusal.ImageRefused: a.vol: the file ends too early; copy or export it again

    References:
        M. Mayer, OCTSEG (the fourth root, and values above 1 as no data); eyepy, ``he/vol_reader.py`` (the layout).
    """
    layout = _layout(data, source)
    if not 0 <= number < layout.slices:
        raise ImageRefused("no_such_slice", source, f"has {layout.slices} slices; ask for one from 0 on")
    if layout.width * layout.height > max_pixels:
        size = f"{layout.width}x{layout.height}"
        raise ImageRefused("too_many_pixels", source, f"is {size} px, more than {max_pixels} px; export it smaller")
    values = layout.a_scans(data, number)
    if not np.isfinite(values).all():
        raise ImageRefused("not_finite", source, "holds values that are not finite; export it again")
    levels = _levels(values) if layout.by_device or not _holds_levels(data, layout) else _as_levels(values)
    return RetinalImage(
        pixels=np.repeat(levels[:, :, None], 3, axis=2),
        source=source,
        eye=layout.eye,
        modality="oct",
        mm_per_px=layout.mm_per_px,
        slice=number,
        slices=layout.slices,
        line_mm=layout.lines_mm[number] if layout.lines_mm else None,
    )


def _levels(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Turn reflectivity into gray levels."""
    known = np.where((values >= 0) & (values <= 1), values, np.float32(0)).astype(np.float64)
    return np.rint(255 * known**0.25).astype(np.uint8)


def _as_levels(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Take values that are gray levels already; anything outside 0 to 255 is no data."""
    known = np.where((values >= 0) & (values <= 255), values, np.float32(0))
    return np.rint(known).astype(np.uint8)


def _holds_levels(data: bytes, layout: _Layout) -> bool:
    """Tell display levels from reflectivity, over the whole volume."""
    for number in range(layout.slices):
        values = layout.a_scans(data, number)
        if ((values > 1) & (values <= 255)).any():
            return True
    return False


def _layout(data: bytes, source: str) -> _Layout:
    """Read and check all headers."""
    if len(data) < _FILE_HEADER_BYTES:
        raise ImageRefused("truncated", source, "the file ends too early; copy or export it again")
    (
        version, width, slices, height, scale_x, _, scale_z, slo_width, slo_height, _, _, _, _,
        position, exam_time, pattern, header_bytes, _, _, pid, patient, birth, vid, visit, visit_date,
    ) = _FILE_HEADER.unpack_from(data)  # fmt: skip
    sides = (width, height, slices)
    if min(sides) < 1 or max(width, height) > _LARGEST_SIDE_PX or slices > _MOST_BSCANS:
        raise ImageRefused("broken", source, "the header's sizes make no sense; export it again")
    if not (0 <= slo_width <= _LARGEST_SIDE_PX and 0 <= slo_height <= _LARGEST_SIDE_PX):
        raise ImageRefused("broken", source, "the localizer's size makes no sense; export it again")
    first_bytes = _FILE_HEADER_BYTES + slo_width * slo_height
    header_bytes = _header_bytes(data, source, header_bytes, first_bytes, width * height * 4, slices)
    starts = (first_bytes + number * (header_bytes + width * height * 4) for number in range(slices))
    words: dict[str, object] = {
        "PID": pid, "PatientID": patient.strip(b"\0 "), "DOB": birth, "VID": vid, "VisitID": visit.strip(b"\0 "),
        "VisitDate": visit_date, "ExamTime": exam_time,
    }  # fmt: skip
    return _Layout(
        width=width,
        height=height,
        slices=slices,
        mm_per_px=(scale_z, scale_x) if _is_scale(scale_z) and _is_scale(scale_x) else None,
        eye=_eye(position),
        lines_mm=() if pattern == _CIRCLE else _lines(data, list(starts)),
        first_bytes=first_bytes,
        header_bytes=header_bytes,
        personal=tuple(name for name, value in words.items() if value),
        by_device=version.startswith(_DEVICE_FILES),
    )


def _header_bytes(data: bytes, source: str, stated: int, first: int, pixel_bytes: int, slices: int) -> int:
    """Find the size of a B-scan's header: the file's word for it, or the B-scan's own where only that one fits.

    The format says that both are the same. eyepy 0.6 writes 61440 into the file header whatever the true size is.
    """
    if len(data) < first + _BSCAN_HEADER.size:
        raise ImageRefused("truncated", source, "the file ends before the first B-scan; copy or export it again")
    own: int = _BSCAN_HEADER.unpack_from(data, first)[1]
    sizes = [size for size in dict.fromkeys((stated, own)) if size >= _BSCAN_HEADER_BYTES]
    for size in sizes:
        block = size + pixel_bytes
        if first + slices * block <= len(data):
            starts = (first + number * block for number in range(slices))
            if all(data[start : start + 4] in (_DEVICE_FILES, _EYEPY_FILES) for start in starts):
                return size
    if sizes and all(first + slices * (size + pixel_bytes) > len(data) for size in sizes):
        raise ImageRefused("truncated", source, "the file ends before the last B-scan; copy or export it again")
    raise ImageRefused("broken", source, "the B-scans are not where the header says; export it again")


def _lines(data: bytes, starts: list[int]) -> tuple[Line, ...]:
    """Read where each B-scan lies on the fundus; empty unless all are known."""
    lines: list[Line] = []
    for start in starts:
        _, _, start_x, start_y, end_x, end_y = _BSCAN_HEADER.unpack_from(data, start)
        if not all(math.isfinite(value) and abs(value) < 1000 for value in (start_x, start_y, end_x, end_y)):
            return ()
        lines.append(((start_x, start_y), (end_x, end_y)))
    # An export without positions leaves zeros.
    return tuple(lines) if any(start != end for start, end in lines) else ()


def _eye(position: bytes) -> Eye:
    """Read the word for the eye."""
    words: dict[bytes, Eye] = {b"OD": "OD", b"OS": "OS"}
    return words.get(position.split(b"\0")[0].strip(), "")


def _is_scale(mm: float) -> bool:
    """Whether a pixel can have this size."""
    return math.isfinite(mm) and 0 < mm < 100

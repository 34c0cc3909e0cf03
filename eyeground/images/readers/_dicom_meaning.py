"""What a DICOM header says about the eye: which one, which part of it, and its measures."""

import math
from typing import Final, Literal

from pydicom import Dataset

from eyeground.images.readers._dicom_groups import items, numbers, places, value, words
from eyeground.images.retinal_image import Eye, Line, Modality

Kind = Literal["photograph", "wide field", "tomography", "other"]

# Context group 4209, "Ophthalmic Anatomic Structure Imaged", in SNOMED CT and in the retired SRT codes.
_BACK: Final = {"5665001", "T-AA610", "67046006", "T-AA621", "81016008", "T-AA630", "68703001", "T-AA310"}
_FRONT: Final = {
    "31636006", "T-AA050", "62736007", "T-AA830", "18619003", "T-AA110", "28726007", "T-AA200", "80243003", "T-AA810",
    "78076003", "T-AA700", "3954005", "T-AA940", "43045000", "T-AA862", "41296002", "T-AA500", "38934000", "T-AA820",
    "29534007", "T-AA400", "29445007", "T-AA860", "13561001", "T-AA910",
}  # fmt: skip
# Context group 4202, "Ophthalmic Photography Acquisition Device".
_FUNDUS_DEVICES: Final = {
    "409898007", "R-1021A", "392001008", "A-00E8A", "392004000", "A-00E8B", "409900009", "R-1021E", "409901008",
    "R-1021D",
}  # fmt: skip
_FRONT_DEVICES: Final = {
    "397247004", "A-2B201", "397522002", "A-00FCA", "409903006", "R-1021B", "420827006", "A-00FF4", "409899004",
    "R-1021C",
}  # fmt: skip
_RIGHT, _LEFT = {"24028007", "G-A100"}, {"7771000", "G-A101"}
_BOTH: Final = {"40638003", "T-AA180", "51440002", "G-A102"}


def modality(header: Dataset, kind: Kind) -> Modality:
    """Tell what kind of image it is.

    The anatomic region comes first, then the device. A photograph whose header names neither stays unknown: a slit lamp
    writes the same kind of file as a fundus camera. Wide-field objects are made of the fundus only. A tomography is
    ``"anterior"`` if its region lies in front of the vitreous, else ``"oct"``. Secondary captures say nothing: a
    printed report bears the modality of its device.

    Args:
        header: The header of the file.
        kind: What the file's class is made for.

    Returns:
        The modality, ``""`` if it is not told.

    Example:
        >>> modality(Dataset(), "wide field"), modality(Dataset(), "tomography"), modality(Dataset(), "photograph")
        ('fundus', 'oct', '')

    References:
        DICOM PS3.16, context groups 4209 and 4202; PS3.3, C.8.17.5 (Ocular Region Imaged).
    """
    regions = _codes(header, "AnatomicRegionSequence")
    front, back = bool(regions & _FRONT), bool(regions & _BACK)
    if kind == "tomography":
        return "anterior" if front and not back else "oct"
    if kind == "wide field":
        return "fundus"
    if front != back:
        return "anterior" if front else "fundus"
    devices = _codes(header, "AcquisitionDeviceTypeCodeSequence")
    by_front, by_back = bool(devices & _FRONT_DEVICES), bool(devices & _FUNDUS_DEVICES)
    if kind == "photograph" and not front and by_front != by_back:
        return "anterior" if by_front else "fundus"
    return ""


def eye(header: Dataset, frames: range) -> Eye:
    """Tell which eye it is.

    Read are Image Laterality, Laterality, the laterality of the frames' anatomy and the modifier of the anatomic
    region. All that say something must agree; both eyes, or a contradiction, give no eye.

    Args:
        header: The header of the file.
        frames: Which frames are meant.

    Returns:
        ``"OD"``, ``"OS"``, or ``""``.

    Example:
        >>> header = Dataset()
        >>> header.ImageLaterality = "R"
        >>> one = eye(header, range(1))
        >>> header.Laterality = "L"
        >>> one, eye(header, range(1))
        ('OD', '')

    References:
        DICOM PS3.3, C.7.3.1.1.1, C.7.6.16.2.8, C.8.17.5.
    """
    found = {word for keyword in ("ImageLaterality", "Laterality") for word in words(header, keyword)}
    several = frames if items(header, "PerFrameFunctionalGroupsSequence") else range(1)
    for frame in several:
        for place in places(header, frame, "FrameAnatomySequence")[:-1]:
            found |= set(words(place, "FrameLaterality"))
            found |= _side_words(place)
    found |= _side_words(header)
    said = found & {"R", "L", "B"}
    return "OD" if said == {"R"} else "OS" if said == {"L"} else ""


def mm_per_px(header: Dataset, frame: int) -> tuple[float, float] | None:
    """Tell the size of a pixel.

    Imager Pixel Spacing is not read: it is measured on the camera's chip, not in the eye.

    Args:
        header: The header of the file.
        frame: Which frame, from 0.

    Returns:
        Vertical and horizontal size in mm, None if not told or not possible.

    Example:
        >>> header = Dataset()
        >>> header.PixelSpacing = [0.004, 0.012]
        >>> mm_per_px(header, 0)
        (0.004, 0.012)

    References:
        DICOM PS3.3, C.7.6.16.2.1 and C.8.17.2.
    """
    for place in places(header, frame, "PixelMeasuresSequence"):
        spacing = numbers(place, "PixelSpacing", 2)
        if spacing is not None:
            return (spacing[0], spacing[1]) if all(0 < each < 100 for each in spacing) else None
    return None


def lines_mm(header: Dataset, frames: int, width: int) -> tuple[Line, ...]:
    """Tell where the B-scans lie on the fundus.

    Only positions in space count (Plane Position and Plane Orientation). The line runs from the center of the first
    column to that of the last, seen along the depth of the scan, that is, along the patient's axis nearest to the
    columns: (left, down) for the usual depth toward the back, (x, y) for a depth along z. Pixel positions on a
    localizer are not used: its scale is written in another file.

    Args:
        header: The header of the file.
        frames: How many frames it has.
        width: Columns of a frame. Unit: px.

    Returns:
        A line for each frame; empty unless all are known.

    Example:
        >>> lines_mm(Dataset(), 1, 100)
        ()

    References:
        DICOM PS3.3, C.7.6.16.2.3, C.7.6.16.2.4, C.7.6.2.1.1.
    """
    found = [line_mm(header, frame, width) for frame in range(frames)]
    known = tuple(each for each in found if each is not None)
    return known if len(known) == frames else ()


def line_mm(header: Dataset, frame: int, width: int) -> Line | None:
    """Tell where one B-scan lies on the fundus, as ``lines_mm`` does for all.

    Args:
        header: The header of the file.
        frame: Which frame, from 0.
        width: Columns of a frame. Unit: px.

    Returns:
        The line, None if it is not known.

    Example:
        >>> line_mm(Dataset(), 0, 100) is None
        True

    References:
        As for ``lines_mm``.
    """
    position = _first(header, frame, "PlanePositionSequence", "ImagePositionPatient", 3)
    orientation = _first(header, frame, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
    scale = mm_per_px(header, frame)
    if position is None or orientation is None or scale is None:
        return None
    along, down = orientation[:3], orientation[3:]
    depth = max(range(3), key=lambda axis: abs(down[axis]))
    unit = abs(math.hypot(*along) - 1) < 0.01 and abs(math.hypot(*down) - 1) < 0.01
    if not unit or depth == 0 or max(abs(each) for each in position) > 1000:
        return None
    step = scale[1] * (width - 1)
    end = tuple(start + step * cosine for start, cosine in zip(position, along, strict=True))
    # The patient's z grows toward the head, an image's y downward.
    begin, finish = (((x, -z) if depth == 1 else (x, y)) for x, y, z in (position, end))
    return begin, finish


def device(header: Dataset) -> str:
    """Tell the maker and the model.

    Args:
        header: The header of the file.

    Returns:
        Both, as far as the file names them; ``""`` if it names none.

    Example:
        >>> header = Dataset()
        >>> header.Manufacturer, header.ManufacturerModelName = "Topcon", "TRC-NW400"
        >>> device(header)
        'Topcon TRC-NW400'

    References:
        Our own.
    """
    found = (value(header, keyword) for keyword in ("Manufacturer", "ManufacturerModelName"))
    plain = (" ".join(each.split())[:64] for each in found if isinstance(each, str))
    return " ".join(each for each in plain if each and each.isprintable())


def _first(header: Dataset, frame: int, macro: str, keyword: str, count: int) -> tuple[float, ...] | None:
    """A frame's numbers, wherever they stand."""
    found = (numbers(place, keyword, count) for place in places(header, frame, macro))
    return next((each for each in found if each is not None), None)


def _codes(header: Dataset, keyword: str) -> set[str]:
    """Code values of a code sequence."""
    return {word for item in items(header, keyword) for word in words(item, "CodeValue")}


def _side_words(place: Dataset) -> set[str]:
    """R, L or B, from the anatomic region and its modifiers."""
    codes = _codes(place, "AnatomicRegionSequence")
    for region in items(place, "AnatomicRegionSequence"):
        codes |= _codes(region, "AnatomicRegionModifierSequence")
    sides = (("R", _RIGHT), ("L", _LEFT), ("B", _BOTH))
    return {word for word, known in sides if codes & known}

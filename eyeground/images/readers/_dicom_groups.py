"""Values of a DICOM header, wherever it keeps them: frame by frame, once for all frames, or at the top."""

import math
import struct
from typing import Any, Final

from pydicom import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

# What pydicom raises on hostile values, which it looks into only when they are asked for.
_NONSENSE: Final = (
    ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RuntimeError, OSError, EOFError,
    AssertionError, struct.error, BytesLengthException, InvalidDicomError,
)  # fmt: skip


def value(header: Dataset | None, keyword: str) -> Any:
    """Read a value that may be missing or nonsense.

    Args:
        header: A data set, or None.
        keyword: Name of the element.

    Returns:
        Its value; None if it is not there, is empty, or cannot be read.

    Example:
        >>> header = Dataset()
        >>> header.Rows = 7
        >>> value(header, "Rows"), value(header, "Columns"), value(None, "Rows")
        (7, None, None)

    References:
        Our own.
    """
    if header is None:
        return None
    try:
        found = header.get(keyword)
    except _NONSENSE:
        return None
    return None if found is None or (hasattr(found, "__len__") and len(found) == 0) else found


def words(header: Dataset | None, keyword: str) -> tuple[str, ...]:
    """Read a value as words.

    Args:
        header: A data set, or None.
        keyword: Name of the element.

    Returns:
        Each of its values, stripped, in upper case; empty if there are none.

    Example:
        >>> header = Dataset()
        >>> header.ImageType = ["ORIGINAL", "PRIMARY"]
        >>> words(header, "ImageType")
        ('ORIGINAL', 'PRIMARY')

    References:
        Our own.
    """
    found = value(header, keyword)
    many = found if isinstance(found, MultiValue | list) else [] if found is None else [found]
    return tuple(str(each).strip().upper() for each in many)


def numbers(header: Dataset | None, keyword: str, count: int) -> tuple[float, ...] | None:
    """Read a value as numbers.

    Args:
        header: A data set, or None.
        keyword: Name of the element.
        count: How many there must be at least; further ones are left out.

    Returns:
        That many finite numbers, or None.

    Example:
        >>> header = Dataset()
        >>> header.PixelSpacing = [0.1, 0.2]
        >>> numbers(header, "PixelSpacing", 2), numbers(header, "PixelSpacing", 3)
        ((0.1, 0.2), None)

    References:
        Our own.
    """
    found = value(header, keyword)
    many = list(found) if isinstance(found, MultiValue | list | tuple) else [found]
    if found is None or len(many) < count:
        return None
    try:
        plain = tuple(float(each) for each in many[:count])
    except (TypeError, ValueError, OverflowError):
        return None
    return plain if all(math.isfinite(each) for each in plain) else None


def items(header: Dataset | None, keyword: str) -> tuple[Dataset, ...]:
    """Read the items of a sequence.

    Args:
        header: A data set, or None.
        keyword: Name of the sequence.

    Returns:
        Its items; empty if there are none, or if it is no sequence.

    Example:
        >>> items(Dataset(), "AnatomicRegionSequence")
        ()

    References:
        Our own.
    """
    found = value(header, keyword)
    return tuple(found) if isinstance(found, Sequence) else ()


def places(header: Dataset, frame: int, macro: str) -> tuple[Dataset, ...]:
    """Find where a frame's values of one kind may stand.

    Args:
        header: The header of the file.
        frame: Which frame, from 0.
        macro: Name of the functional group's sequence, such as ``"PixelMeasuresSequence"``.

    Returns:
        Data sets to look into, the most particular first: the frame's own group, the group shared by all frames, and
        the header itself.

    Example:
        >>> len(places(Dataset(), 0, "PixelMeasuresSequence"))
        1

    References:
        DICOM PS3.3, C.7.6.16 (multi-frame functional groups).
    """
    own = value(header, "PerFrameFunctionalGroupsSequence")  # not items(): a volume may have thousands
    groups = [own[frame]] if isinstance(own, Sequence) and frame < len(own) else []
    groups += items(header, "SharedFunctionalGroupsSequence")[:1]
    return (*(each for group in groups for each in items(group, macro)[:1]), header)


def agreed(header: Dataset, frames: int, macro: str, keyword: str, count: int) -> tuple[float, ...] | None:
    """Read numbers that must be the same for all frames.

    Args:
        header: The header of the file.
        frames: How many frames it has.
        macro: Name of the functional group's sequence.
        keyword: Name of the element.
        count: How many numbers.

    Returns:
        The numbers; None if any frame lacks them, or if they differ between frames.

    Example:
        >>> header = Dataset()
        >>> header.WindowCenter = 128
        >>> agreed(header, 3, "FrameVOILUTSequence", "WindowCenter", 1)
        (128.0,)

    References:
        Our own.
    """
    if not items(header, "PerFrameFunctionalGroupsSequence"):
        frames = 1
    found: set[tuple[float, ...] | None] = set()
    for frame in range(frames):
        candidates = (numbers(place, keyword, count) for place in places(header, frame, macro))
        found.add(next((each for each in candidates if each is not None), None))
        if len(found) > 1:
            return None
    return found.pop()

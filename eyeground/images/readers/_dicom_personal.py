"""Which fields of a DICOM header hold personal data."""

from typing import Final

from dicomanonymizer.dicom_anonymization_databases import (  # type: ignore[import-untyped]
    dicomfields_2026c as _profile,
)
from pydicom import Dataset
from pydicom.datadict import dictionary_has_tag, dictionary_keyword
from pydicom.tag import BaseTag

from eyeground.images.readers._dicom_groups import items, words

# The basic profile of PS3.15 without what only points from file to file, which no file can be without: identifiers of
# objects, references to other images and studies, and the always-present list of how an image was taken.
_POINTERS: Final = {"AcquisitionContextSequence", "ReferencedStudySequence", "ReferencedPerformedProcedureStepSequence"}
_TABLES: Final = (
    "D_TAGS", "Z_TAGS", "X_TAGS", "Z_D_TAGS", "X_Z_TAGS", "X_D_TAGS", "X_Z_D_TAGS",
)  # fmt: skip
_PERSONAL: Final[frozenset[int]] = frozenset(
    tag[0] << 16 | tag[1] for table in _TABLES for tag in getattr(_profile, table) if len(tag) == 2
)
_MOST_ELEMENTS: Final = 1_000_000  # the top comes first; a volume of 1,000 frames has some 20,000


def personal(header: Dataset) -> tuple[str, ...]:
    """Name the filled-in fields that hold personal data, at any depth.

    These are the fields that the basic confidentiality profile of the standard removes or replaces, and any further
    field that holds a person's name. Private fields are counted as one, since nothing is known about them; so are
    words that the device burned into the pixels, if the header says that it did.

    Args:
        header: The header of the file.

    Returns:
        Names, sorted; never a value.

    Example:
        >>> header = Dataset()
        >>> header.PatientName, header.PatientID, header.Rows = "Doe^Jane", "", 7
        >>> personal(header)
        ('PatientName',)

    References:
        DICOM PS3.15, table E.1-1, edition 2026c, as listed by dicom-anonymizer.
    """
    found: set[str] = set()
    private = 0
    waiting = [header]
    seen = 0
    while waiting and seen < _MOST_ELEMENTS:
        place = waiting.pop()
        for tag in list(place.keys()):
            seen += 1
            if tag.is_private:
                private += 1
                continue
            if not dictionary_has_tag(tag):
                continue
            keyword = dictionary_keyword(tag)
            inside = items(place, keyword)
            waiting.extend(inside)
            if keyword in _POINTERS or not (tag in _PERSONAL or _is_name(place, tag)):
                continue
            if inside or _is_filled(place, tag):
                found.add(keyword)
    if words(header, "BurnedInAnnotation") == ("YES",):
        found.add("words burned into the pixels")
    names = sorted(found)
    return (*names, f"private tags ({private})") if private else tuple(names)


def _is_name(place: Dataset, tag: BaseTag) -> bool:
    """Whether an element is a person's name."""
    return place.get_item(tag).VR == "PN"


def _is_filled(place: Dataset, tag: BaseTag) -> bool:
    """Whether an element has a value, even one that cannot be read."""
    raw = place.get_item(tag).value
    if isinstance(raw, bytes):
        return bool(raw.strip(b" \0\\^"))
    return raw is not None and bool(str(raw).strip()) and (not hasattr(raw, "__len__") or len(raw) > 0)

"""The images of a case as DICOM knows them: by the UIDs in their own headers, or by ones derived from what they are."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from eyeground.clinic.export._codes import uid_of
from eyeground.clinic.exported import Exported, Photo

OP_8BIT: Final = "1.2.840.10008.5.1.4.1.1.77.1.5.1"
_UID_LONGEST: Final = 64


@dataclass(frozen=True)
class Instance:
    """An image by its UIDs.

    Args:
        photo: The image.
        study: Study instance UID.
        series: Series instance UID.
        uid: SOP instance UID.
        sop_class: SOP class UID; of a photograph that was no DICOM file the one that it would have.
        modality: ``"OP"``, ``"OPT"`` or what its header says.
        real: Whether the UIDs stand in the file's own header.

    Example:
        >>> Instance(Photo(0, "fundus", "OD", "0" * 64), "1.2", "1.3", "1.4").real
        False

    References:
        Our own.
    """

    photo: Photo
    study: str
    series: str
    uid: str
    sop_class: str = OP_8BIT
    modality: str = "OP"
    real: bool = False


def instances_of(case: Exported, get: Callable[[str], bytes]) -> tuple[Instance, ...]:
    """Find the UIDs of a case's images.

    Args:
        case: The case.
        get: Gives an image's bytes by its hash.

    Returns:
        One an image.

    Raises:
        BlobMissing: If an image is gone.
        StoreLost: If the store does not answer.

    Example:
        >>> from eyeground.clinic.answered import Answered
        >>> from eyeground.clinic.records import Order
        >>> photos = (Photo(0, "fundus", "OD", "0" * 64), Photo(1, "fundus", "OS", "1" * 64))
        >>> case = Exported(Answered("0a", Order(door="check", id="17"), 1), "here", "Here", photos=photos)
        >>> [each.real for each in instances_of(case, lambda sha256: b"a photograph")]
        [False, False]

    References:
        Our own.
    """
    return tuple(_real(photo, get(photo.sha256)) or _derived(case, photo) for photo in case.photos)


def _real(photo: Photo, data: bytes) -> Instance | None:
    """What a DICOM file says of itself; None where it is none, or lacks what names an image."""
    if data[128:132] != b"DICM":
        return None
    from pydicom import dcmread

    wanted = ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality"]
    try:
        header = dcmread(BytesIO(data), stop_before_pixels=True, specific_tags=wanted)
        told = [str(header.get(name) or "") for name in wanted]
    except Exception:  # noqa: BLE001 - pydicom raises almost any class on hostile headers
        return None
    if not all(_is_uid(uid) for uid in told[:4]):
        return None
    modality = told[4] if told[4].isalnum() and told[4].isascii() and len(told[4]) <= 16 else "OP"
    return Instance(photo, told[2], told[3], told[1], told[0], modality, real=True)


def _derived(case: Exported, photo: Photo) -> Instance:
    """UIDs for a photograph that never had any: the same for every revision of its case."""
    case_id = case.answered.case_id
    return Instance(
        photo, uid_of(case_id, "study"), uid_of(case_id, "series", photo.key), uid_of(case_id, "image", photo.place)
    )


def _is_uid(text: str) -> bool:
    """Whether it is a UID as DICOM writes one."""
    parts = text.split(".")
    return 0 < len(text) <= _UID_LONGEST and len(parts) > 1 and all(p.isascii() and p.isdecimal() for p in parts)

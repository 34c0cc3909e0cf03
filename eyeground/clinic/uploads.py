"""Files become a patient message: what is uploaded, submitted by command or found in the watched folder."""

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from eyeground.clinic.blobs.store import digest_of
from eyeground.clinic.exchange.contract import dumps

_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".dcm", ".dicom")
_STARTS: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"BM")
# Files of cameras and archives that have no suffix, or the last number of an identifier as one.
_NAMELESS = re.compile(r"[^.]*|.*\.\d*")
HEAD_BYTES: Final = 132  # of a file, to tell whether it is an image


def may_be_image(name: str) -> bool:
    """Say whether a file is worth looking into.

    Args:
        name: Its name, or its path.

    Returns:
        Whether it is called like an image, or has no suffix.

    Example:
        >>> may_be_image("a/OD.JPG"), may_be_image("1.2.840.17"), may_be_image("notes.txt"), may_be_image(".x.jpg")
        (True, True, False, False)

    References:
        Our own.
    """
    last = name.rpartition("/")[2]
    return not last.startswith(".") and (last.lower().endswith(_SUFFIXES) or bool(_NAMELESS.fullmatch(last)))


def is_image(name: str, head: bytes) -> bool:
    """Say whether a file is meant as an image; whether it is a sound one is seen when it is decoded.

    Args:
        name: Its name.
        head: Its first 132 bytes.

    Returns:
        Whether its name or its beginning says so.

    Example:
        >>> is_image("IM0001", bytes(128) + b"DICM"), is_image("Thumbs.db", b"")
        (True, False)

    References:
        The formats of ``eyeground.images.decode``.
    """
    return name.lower().endswith(_SUFFIXES) or head.startswith(_STARTS) or head[128:132] == b"DICM"


def photo_of(name: str, data: bytes, *, eye: str = "", part: str = "") -> dict[str, str]:
    """Put a file into a message.

    Args:
        name: What the sender calls it; the eye is told from it where nobody says it.
        data: The whole file.
        eye: ``"OD"``, ``"OS"`` or ``""``.
        part: ``"fundus"``, ``"anterior"`` or ``""``, which is the fundus.

    Returns:
        One of a patient message's ``photos``.

    Example:
        >>> photo_of("a_OD.jpg", b"abc")
        {'name': 'a_OD.jpg', 'data': 'YWJj'}

    References:
        docs/clinic.md.
    """
    photo = {"name": name, "data": base64.b64encode(data).decode("ascii"), "eye": eye, "part": part}
    return {key: value for key, value in photo.items() if value or key in ("name", "data")}


def message_of(
    files: Sequence[tuple[str, bytes]],
    *,
    message_id: str = "",
    patient: Mapping[str, Any] | None = None,
    eyes: Sequence[str] = (),
    parts: Sequence[str] = (),
) -> bytes:
    """Make a patient message of files.

    Nothing is read in the files here. The eye that a DICOM header states is read where images are decoded, in a child
    process; who the patient is has to be said.

    Args:
        files: Name and bytes of each.
        message_id: The request's id; empty = made of all that is sent, in whatever order the files come, so that the
            same again is the same request.
        patient: Fields of ``Patient``. Without a ``patient_id`` the visit gets one of its own, which begins with
            ``visit-``: two unknown patients are never taken for one.
        eyes: ``"OD"``, ``"OS"`` or ``""`` of each file; none = their names tell.
        parts: ``"fundus"`` or ``"anterior"`` of each file; none = all are of the fundus.

    Returns:
        The message, for the contract ``screening``.

    Raises:
        ValueError: If there are eyes or parts, and not one for each file.

    Example:
        >>> message_of([("a_OD.jpg", b"abc")], message_id="m1", patient={"patient_id": "7"}).decode()
        '{"Patient":{"patient_id":"7","photos":[{"data":"YWJj","name":"a_OD.jpg"}]},"message_id":"m1"}'

    References:
        docs/clinic.md.
    """
    if any(words and len(words) != len(files) for words in (eyes, parts)):
        raise ValueError("say the eye, and the part, of each file, or of none")
    photos = [
        photo_of(name, data, eye=eyes[place] if eyes else "", part=parts[place] if parts else "")
        for place, (name, data) in enumerate(files)
    ]
    photos.sort(key=lambda photo: [photo.get(key, "") for key in ("name", "eye", "part", "data")])
    return sealed({"Patient": {**(patient or {}), "photos": photos}}, message_id=message_id)


def sealed(message: Mapping[str, Any], *, message_id: str = "") -> bytes:
    """Write a patient message, with the ids that it lacks.

    Args:
        message: With ``Patient``; its own ``message_id`` goes before the other.
        message_id: Its id; empty = made of all that is in it.

    Returns:
        The message.

    Example:
        >>> sealed({"Patient": {"patient_id": "7"}}, message_id="m1").decode()
        '{"Patient":{"patient_id":"7"},"message_id":"m1"}'

    References:
        Our own.
    """
    made = digest_of(dumps(message))
    patient = message.get("Patient")
    if isinstance(patient, Mapping) and patient.get("patient_id") in (None, ""):
        message = {**message, "Patient": {**patient, "patient_id": f"visit-{made[:16]}"}}
    return dumps({**message, "message_id": message.get("message_id") or message_id or made})

"""Photos of a patient message: paths or bytes, in a list or by eye."""

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any, Final

from eyeground.clinic.exchange._fields import Fields
from eyeground.clinic.records import Part, Picture
from eyeground.images.laterality import eye_from_name, eye_from_word
from eyeground.images.retinal_image import Eye

MOST_PHOTOS: Final = 1000
_GROUPS: Final[dict[str, tuple[Part, Eye]]] = {
    "left_eye": ("fundus", "OS"), "right_eye": ("fundus", "OD"),
    "left_anterior": ("anterior", "OS"), "right_anterior": ("anterior", "OD"),
}  # fmt: skip
_PARTS: Final = {"fundus": "fundus", "眼底": "fundus", "anterior": "anterior", "眼前节": "anterior", "前节": "anterior"}
_NAME_LETTERS: Final = 255


def read_photos(fields: Fields) -> tuple[Picture, ...]:
    """Read the field ``photos``; one photo at least has to be there.

    Args:
        fields: The patient's; what is wrong is noted there.

    Returns:
        What could be read.

    Example:
        >>> read_photos(Fields({"photos": {"left_eye": "a.jpg"}}))[0].eye
        'OS'

    References:
        docs/clinic.md.
    """
    told = fields.value("photos")
    pictures: list[Picture] = []
    if isinstance(told, dict):
        groups = fields.part("photos")
        for name, (part, eye) in _GROUPS.items():
            each = groups.value(name)
            several = each if isinstance(each, list) else [each]
            for place, one in enumerate(several):
                where = f"{name}.{place}" if isinstance(each, list) else name
                pictures += _photo(groups, where, one, part, eye)
        before = groups
    else:
        before = Fields({}, fields.place("photos"), fields.problems)
        if told is not None and not isinstance(told, list):
            fields.wrong("wrong_type", "photos")
            return ()
        for place, one in enumerate(told or ()):
            pictures += _photo(before, place, one, "fundus", "")
    if not pictures and not any(each.where.startswith(before.place()) for each in fields.problems):
        fields.wrong("no_image", "photos")
    if len(pictures) > MOST_PHOTOS:
        fields.wrong("too_many_images", "photos")
    return tuple(pictures)


def _photo(fields: Fields, where: object, told: Any, part: Part, eye: Eye) -> Iterator[Picture]:
    """Read one photo; null and an empty text are none."""
    if told is None or told == "":
        return
    if isinstance(told, str):
        path = fields.path(where, told)
        name = path.rpartition("/")[2]
        claimed: Eye = eye or eye_from_name(name)
        yield Picture(part=part, eye=claimed, path=path, name=name, field=fields.place(where))
        return
    if not isinstance(told, dict):
        fields.wrong("wrong_type", where)
        return
    photo = Fields(told, fields.place(where), fields.problems)
    if photo.value("url") not in (None, ""):
        photo.wrong("url_refused", "url")
    path = photo.path("path", photo.text("path", most=2000))
    data = _bytes(photo)
    if photo.value("path") and photo.value("data"):
        photo.wrong("two_sources")
    elif not photo.value("path") and not photo.value("data") and photo.value("url") in (None, ""):
        photo.wrong("image_empty")
    name = photo.text("name", most=_NAME_LETTERS) or path.rpartition("/")[2]
    spoken = _eye(photo)
    if eye and spoken and eye != spoken:
        photo.wrong("eye_contradiction", "eye")
    claimed = eye or spoken or eye_from_name(name)
    is_anterior = photo.word("part", _PARTS) or part
    yield Picture(
        part="anterior" if is_anterior == "anterior" else "fundus",
        eye=claimed,
        path=path,
        data=data,
        name=name,
        field=fields.place(where),
    )


def _eye(photo: Fields) -> Eye:
    """Which eye the photo's own field says it is."""
    try:
        return eye_from_word(photo.text("eye", most=40))
    except ValueError:
        photo.wrong("bad_word", "eye")
        return ""


def _bytes(photo: Fields) -> bytes:
    """Decode the bytes that came along; mail programs break base64 into lines, which harms nobody."""
    told = photo.value("data")
    if told is None or told == "":
        return b""
    if not isinstance(told, str):
        photo.wrong("wrong_type", "data")
        return b""
    try:
        data = base64.b64decode(re.sub(r"[ \t\r\n]+", "", told), validate=True)
    except (binascii.Error, ValueError):
        photo.wrong("bad_base64", "data")
        return b""
    if not data:
        photo.wrong("image_empty", "data")
    return data

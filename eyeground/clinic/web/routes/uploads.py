"""Files as a form: ``POST /api/v1/uploads`` and ``GET /api/v1/uploads/{message_id}``."""

import re
from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI, Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from eyeground.clinic.exchange.contract import parse
from eyeground.clinic.refusal import Problem, Refused
from eyeground.clinic.uploads import message_of
from eyeground.clinic.web.desk import Desk
from eyeground.clinic.web.doors import Door, add_door
from eyeground.serve.refused import Refused as LimitRefused

DOOR: Final = Door("uploads", "upload", "screening")
# Name of a part of the form: which part of which eye it shows. What shows no eye by its name is told by its file's.
_NAMES: Final[Mapping[str, tuple[str, str]]] = {
    "images": ("fundus", ""), "OD": ("fundus", "OD"), "OS": ("fundus", "OS"),
    "anterior": ("anterior", ""), "anterior_OD": ("anterior", "OD"), "anterior_OS": ("anterior", "OS"),
}  # fmt: skip
_TEXTS: Final = ("patient", "message_id")
_MOST_TEXT_BYTES: Final = 2**20
_FILE: Final = {"type": "array", "items": {"type": "string", "format": "binary"}}
_BODY: Final[dict[str, Any]] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {
                    **dict.fromkeys(_NAMES, _FILE),
                    "patient": {"type": "string", "description": "Fields of `Patient`, as JSON."},
                    "message_id": {"type": "string", "description": "Made of all that is sent where it is missing."},
                },
            }
        }
    },
}


def add(app: FastAPI, desk: Desk) -> None:
    """Put the routes into an app.

    Args:
        app: The app.
        desk: What routes share.

    References:
        docs/clinic.md.
    """
    most_bytes, most_files = desk.service.settings.max_message_bytes, desk.service.settings.max_images

    async def message(request: Request) -> bytes:
        return await _message(request, most_bytes=most_bytes, most_files=most_files)

    add_door(app, desk, DOOR, body=_BODY, read=message, summary="Have images screened that come as files")


async def _message(request: Request, *, most_bytes: int, most_files: int) -> bytes:
    """Make a patient message of a form; nothing touches a disk."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "multipart/form-data":
        raise LimitRefused("unsupported_media_type")
    parser = MultiPartParser(
        request.headers, request.stream(), max_files=most_files + 1, max_fields=16, max_part_size=_MOST_TEXT_BYTES
    )
    parser.spool_max_size = most_bytes + 1
    try:
        form = await parser.parse()
    except MultiPartException:
        raise LimitRefused("bad_form") from None
    try:
        return await _of_form(form, most_files)
    finally:
        await form.close()


async def _of_form(form: FormData, most_files: int) -> bytes:
    """Everything that is wrong with a form, or its message."""
    problems: list[Problem] = []
    files: list[tuple[str, bytes]] = []
    parts, eyes = [], []
    for name, value in form.multi_items():
        if isinstance(value, UploadFile) and name in _NAMES:
            files.append((re.split(r"[\\/]", value.filename or "")[-1], await value.read()))
            part, eye = _NAMES[name]
            parts.append(part)
            eyes.append(eye)
        elif isinstance(value, UploadFile) or name not in _TEXTS:
            problems.append(Problem(code="unknown_field"))
    if not files:
        problems.append(Problem(code="no_image"))
    if len(files) > most_files:
        problems.append(Problem(code="too_many_images"))
    patient: dict[str, Any] = {}
    told = form.get("patient")
    if isinstance(told, str) and told:
        try:
            patient = parse(told.encode("utf-8", "surrogatepass"), max_bytes=_MOST_TEXT_BYTES)
        except Refused as refused:
            problems += [Problem(code=each.code, where="patient") for each in refused.problems]
    if problems:
        raise Refused(list(dict.fromkeys(problems)))
    asked = form.get("message_id")
    message_id = asked if isinstance(asked, str) else ""
    return message_of(files, message_id=message_id, patient=patient, eyes=eyes, parts=parts)

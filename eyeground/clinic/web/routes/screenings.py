"""Patient messages: ``POST /api/v1/screenings`` and ``GET /api/v1/screenings/{message_id}``."""

from typing import Any, Final

from fastapi import FastAPI

from eyeground.clinic.web.desk import Desk
from eyeground.clinic.web.doors import Door, add_door, json_body

DOOR: Final = Door("screenings", "http", "screening")
_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "message_id": {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,128}$"},
        "Patient": {
            "type": "object",
            "properties": {
                "patient_id": {"type": ["string", "integer"]},
                "name": {"type": ["string", "null"]},
                "age": {"type": ["integer", "string", "null"]},
                "gender": {"type": ["string", "null"]},
                "phone": {"type": ["string", "integer", "null"]},
                "photos": {"type": ["array", "object"]},
                "screening_records": {"type": ["array", "null"]},
            },
            "required": ["patient_id", "photos"],
        },
        "vision_data": {"type": ["object", "null"]},
    },
    "required": ["message_id", "Patient"],
}


def add(app: FastAPI, desk: Desk) -> None:
    """Put the routes into an app.

    Args:
        app: The app.
        desk: What routes share.

    References:
        docs/clinic.md.
    """
    add_door(
        app,
        desk,
        DOOR,
        body=json_body("A patient message, as docs/clinic.md has it.", _SCHEMA),
        summary="Have a patient screened",
    )

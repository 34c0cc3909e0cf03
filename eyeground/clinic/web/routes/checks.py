"""Requests of the contract ``check``: ``POST /api/v1/checks`` and ``GET /api/v1/checks/{message_id}``."""

from typing import Any, Final

from fastapi import FastAPI

from eyeground.clinic.web.desk import Desk
from eyeground.clinic.web.doors import Door, add_door, json_body

DOOR: Final = Door("checks", "http_check", "check")
_IMAGES = ("osFundusImg", "odFundusImg", "osAnteriorImg", "odAnteriorImg")
_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "id": {"type": ["string", "integer"]},
        **{name: {"type": ["string", "null"], "description": "Path below the image root."} for name in _IMAGES},
    },
    "required": ["id"],
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
        body=json_body("A request as the queue `check` has it.", _SCHEMA),
        summary="Have images of both eyes checked",
    )

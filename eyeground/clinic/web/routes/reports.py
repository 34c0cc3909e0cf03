"""Requests of the contract ``report``: ``POST /api/v1/reports`` and ``GET /api/v1/reports/{message_id}``."""

from typing import Any, Final

from fastapi import FastAPI

from eyeground.clinic.exchange.report import ASKED
from eyeground.clinic.web.desk import Desk
from eyeground.clinic.web.doors import Door, add_door, json_body

DOOR: Final = Door("reports", "http_report", "report")
_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "id": {"type": ["string", "integer"]},
        **{name: {"type": ["string", "null"], "description": "Items with commas between them."} for name in ASKED},
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
        body=json_body("A request as the queue `report` has it.", _SCHEMA),
        summary="Have a report written",
    )

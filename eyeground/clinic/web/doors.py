"""How a request comes in over HTTP, and how its sender asks for the answer: the same under every contract."""

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from anyio import to_thread
from fastapi import FastAPI, Request, Response
from starlette.responses import JSONResponse

from eyeground.clinic.cases import find
from eyeground.clinic.intake import Arrived
from eyeground.clinic.log import say
from eyeground.clinic.views import answer_bytes, find_request
from eyeground.clinic.web.desk import Desk
from eyeground.clinic.web.guard import Who, guarded_answers, who_asks
from eyeground.clinic.web.refusing import TurnedAway
from eyeground.clinic.web.shapes import Progress, Taken

API: Final = "/api/v1"
# What a request may be called: as the contracts have it.
_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)


@dataclass(frozen=True)
class Door:
    """A resource that requests are sent to.

    Args:
        resource: Its name in addresses.
        queue: With site and id it names a request for good, as a queue does.
        contract: What requests are written under, and answers.

    Example:
        >>> Door("screenings", "http", "screening").address
        '/api/v1/screenings'

    References:
        docs/clinic.md.
    """

    resource: str
    queue: str
    contract: str

    @property
    def address(self) -> str:
        """Where requests are sent to."""
        return f"{API}/{self.resource}"


async def whole_body(request: Request) -> bytes:
    """Take the body as it is: the contract reads it.

    Args:
        request: One that the guard has let through.

    Returns:
        Its bytes.

    Raises:
        ClientDisconnect: If the sender hung up.

    Example:
        >>> import asyncio
        >>> async def receive():
        ...     return {"type": "http.request", "body": b"{}"}
        >>> asyncio.run(whole_body(Request({"type": "http"}, receive)))
        b'{}'

    References:
        Our own.
    """
    return await request.body()


def json_body(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Describe a message for the OpenAPI document.

    Args:
        description: What it is.
        schema: Its JSON Schema, as far as it goes.

    Returns:
        What goes under ``requestBody``.

    Example:
        >>> json_body("a message", {"type": "object"})["required"]
        True

    References:
        OpenAPI 3.1.
    """
    return {"required": True, "description": description, "content": {"application/json": {"schema": schema}}}


def add_door(
    app: FastAPI,
    desk: Desk,
    door: Door,
    *,
    body: dict[str, Any],
    read: Callable[[Request], Awaitable[bytes]] = whole_body,
    summary: str,
) -> None:
    """Put a door into an app: a route that takes requests, and one that tells where each is.

    Args:
        app: The app.
        desk: What routes share.
        door: Which.
        body: What is sent, as OpenAPI has it.
        read: Makes a message of what was sent.
        summary: What is asked for, in a few words.

    References:
        docs/clinic.md.
    """

    @app.post(
        door.address,
        summary=summary,
        status_code=201,
        response_model=Taken,
        responses={
            200: {"model": Taken, "description": "It was taken before, with the same body."},
            **guarded_answers(409, 415),
        },
        openapi_extra={"requestBody": body},
        name=f"send_{door.resource}",
        operation_id=f"send_{door.resource}",
    )
    async def send(request: Request) -> Response:
        """Take a request in. When this answers, the request is safe; sent again, it is the same request.

        Everything that is wrong with it is told at once under `problems`.
        """
        who = who_asks(request)
        message = await read(request)
        status, taken = await to_thread.run_sync(_take_in, desk, door, who, message, limiter=desk.admitting)
        return JSONResponse(taken.model_dump(), status, headers={"Location": taken.address})

    @app.get(
        f"{door.address}/{{message_id}}",
        summary="Where a request is, and its answer once it is out",
        response_model=Progress,
        responses=guarded_answers(404),
        name=f"follow_{door.resource}",
        operation_id=f"follow_{door.resource}",
    )
    def follow(message_id: str, request: Request) -> Response:
        """Tell where a request of the asker's own site is, by the id that its sender gave it."""
        return Response(_progress(desk, door, who_asks(request), message_id), media_type="application/json")


def _take_in(desk: Desk, door: Door, who: Who, message: bytes) -> tuple[int, Taken]:
    """Bring a message to the inbox; in a thread."""
    site = who.site or desk.service.settings.site
    arrived = Arrived(
        queue=door.queue, body=message, site=site, door=door.contract, keep_refused=False, actor=who.account
    )
    [outcome] = desk.service.intake.admit([arrived])
    code = outcome.refused.code if outcome.refused else ""
    say("message", outcome=outcome.kind, queue=door.queue, case=outcome.case_id, code=code)
    if outcome.refused is not None:
        raise outcome.refused
    with desk.service.database.read() as session:
        case = find(session, outcome.case_id)
    taken = Taken(
        message_id=case.request_id, case_id=case.id, site=site, received_at=case.received_at,
        address=f"{door.address}/{case.request_id}",
    )  # fmt: skip
    return (201 if outcome.kind == "admitted" else 200), taken


def _progress(desk: Desk, door: Door, who: Who, message_id: str) -> bytes:
    """Where a request is; its answer goes in byte for byte."""
    site = who.site or desk.service.settings.site
    if not _ID.fullmatch(message_id):
        raise TurnedAway("not_found")
    with desk.service.database.read() as session:
        case_id = find_request(session, site=site, queue=door.queue, request_id=message_id)
        state, answer = answer_bytes(session, case_id, site=site)
    told = json.dumps({"message_id": message_id, "case_id": case_id, "state": state})
    return told[:-1].encode() + b', "answer": ' + (b"null" if answer is None else answer) + b"}"

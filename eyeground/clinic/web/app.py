"""The service over HTTP, put together: routes, guard, limits and refusals."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from anyio import CapacityLimiter
from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from eyeground.clinic.blobs.store import StoreLost
from eyeground.clinic.cases import NoSuchCase, Stale
from eyeground.clinic.db.database import DatabaseLost
from eyeground.clinic.dead_letters import NoSuchLetter
from eyeground.clinic.log import failed
from eyeground.clinic.refusal import Refused
from eyeground.clinic.reviews import OpinionRefused
from eyeground.clinic.service import Service
from eyeground.clinic.states import Forbidden, OutOfTurn
from eyeground.clinic.web.bodies import schemas
from eyeground.clinic.web.counting import Counted, Requests
from eyeground.clinic.web.desk import Desk
from eyeground.clinic.web.figures import FiguresCollector
from eyeground.clinic.web.guard import Guard, check_policy, document_policy
from eyeground.clinic.web.refusing import TurnedAway, turn_away, turn_down
from eyeground.clinic.web.sightings import Sightings
from eyeground.clinic.web.unfailing import Unfailing
from eyeground.pick import names, pick
from eyeground.serve.limits import UploadLimits, WaitingRoom
from eyeground.serve.pages import SecurityHeaders
from eyeground.serve.predictor import NOTE
from eyeground.serve.refused import Refused as LimitRefused
from eyeground.serve.replies import refuse
from eyeground.serve.shapes import Refusal

_DOORS = tuple(f"/api/v1/{door}" for door in ("screenings", "checks", "reports", "uploads"))
_SMALL_BYTES = 256 * 1024  # an opinion at its longest has a tenth of that


@dataclass(frozen=True)
class WebSettings:
    """How much the web service takes on; how long a message may be is the service's own setting.

    Args:
        most_waiting: Messages at once that are being sent, wait, or are taken in.
        most_waiting_bytes: What they may hold in memory together. Unit: bytes.
        admitting: Messages taken in at once; while that lasts, each costs about four times its length.
        timeout_s: Longest time for sending a message. Unit: s.

    Raises:
        ValueError: If a number is not above 0; all faults at once.

    Example:
        >>> WebSettings().most_waiting
        128

    References:
        Our own.
    """

    most_waiting: int = 128
    most_waiting_bytes: int = 256 * 2**20
    admitting: int = 4
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        fields = ("most_waiting", "most_waiting_bytes", "admitting", "timeout_s")
        wrong = [f"{name} must be a number above 0" for name in fields if not 0 < getattr(self, name) < math.inf]
        if wrong:
            raise ValueError("; ".join(wrong))


def make_app(service: Service, *, settings: WebSettings | None = None) -> FastAPI:
    """Make the JSON API of a service.

    Args:
        service: The service. It stays the caller's, who closes it afterwards.
        settings: How much it takes on.

    Returns:
        The app; ``eyeground.serve.server.run`` serves it.

    Raises:
        PolicyMissing: If a route of the shelf has no policy.

    References:
        docs/clinic.md.
    """
    chosen = WebSettings() if settings is None else settings
    guard = Guard(service.database, site=service.settings.site)
    app = FastAPI(
        title="Eyeground screening",
        version=version("eyeground"),
        summary=NOTE["en"],
        description="Every refusal has one shape: a sentence (`error`) and a word for programs (`reason`).",
        dependencies=[Depends(guard)],
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # it would answer with the address that the sender claims
    )
    desk = Desk(
        service=service,
        sightings=Sightings(service.database),
        requests=Requests(FiguresCollector(service.database)),
        admitting=CapacityLimiter(chosen.admitting),
    )
    for name in names("clinic.web.routes"):
        pick("clinic.web.routes", name).add(app, desk)
    check_policy(app, guard)
    _document(app)
    _add_refusals(app)
    # The last is the outermost.
    app.add_middleware(_Limits, settings=chosen, max_bytes=service.settings.max_message_bytes)
    app.add_middleware(Unfailing)
    app.add_middleware(Counted, requests=desk.requests)
    app.add_middleware(SecurityHeaders)
    return app


class _Limits:
    """Long messages at the doors, short ones elsewhere."""

    def __init__(self, app: ASGIApp, *, settings: WebSettings, max_bytes: int) -> None:
        room = WaitingRoom(settings.most_waiting, max(settings.most_waiting_bytes, max_bytes))
        self._doors = UploadLimits(app, room=room, waits=_DOORS, max_bytes=max_bytes, timeout_s=settings.timeout_s)
        self._rest = UploadLimits(
            app, room=room, waits=(), max_bytes=min(_SMALL_BYTES, max_bytes), timeout_s=settings.timeout_s
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_door = scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in _DOORS
        await (self._doors if is_door else self._rest)(scope, receive, send)


def _document(app: FastAPI) -> None:
    """Let the OpenAPI document say who may do what, and what bodies may be."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(
                title=app.title, version=app.version, summary=app.summary, description=app.description,
                routes=app.routes,
            )  # fmt: skip
            made.setdefault("components", {}).setdefault("schemas", {}).update(schemas())
            document_policy(made)
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _add_refusals(app: FastAPI) -> None:
    """One shape for every refusal, whoever refuses."""

    def away(make: Callable[[Any], TurnedAway]) -> Callable[[Request, Any], Any]:
        async def handler(request: Request, error: Any) -> Response:
            return turn_away(make(error), request.scope)

        return handler

    async def message(request: Request, error: Refused) -> Response:
        return turn_down(error, request.scope)

    async def limit(request: Request, error: LimitRefused) -> Response:
        return refuse(error.reason, request.scope)

    async def query(request: Request, error: RequestValidationError) -> Response:
        # The last word of a place is the name of one of our own parameters; what was sent is not repeated.
        names = ", ".join(dict.fromkeys(str(each["loc"][-1]) for each in error.errors() if each["loc"][0] == "query"))
        said = f"{names}: see /openapi.json" if names else ""
        return turn_away(TurnedAway("bad_query", said=said), request.scope)

    async def routing(request: Request, error: HTTPException) -> Response:
        reasons: dict[int, Refusal] = {404: "not_found", 405: "method_not_allowed"}
        return refuse(reasons.get(error.status_code, "bad_request"), request.scope, headers=error.headers)

    async def hung_up(request: Request, _: ClientDisconnect) -> Response:
        return refuse("hung_up", request.scope)

    async def lost(request: Request, error: Exception) -> Response:
        failed("request_waits", error)
        return turn_away(TurnedAway("unavailable"), request.scope)

    handlers: dict[type[Exception], Any] = {
        TurnedAway: away(lambda error: error),
        NoSuchCase: away(lambda _: TurnedAway("not_found")),
        NoSuchLetter: away(lambda _: TurnedAway("not_found")),
        Stale: away(lambda error: TurnedAway("stale", version=error.version)),
        OutOfTurn: away(lambda error: TurnedAway("wrong_state", said=str(error))),
        Forbidden: away(lambda error: TurnedAway("forbidden", said=str(error))),
        OpinionRefused: away(lambda error: TurnedAway("opinion_refused", said=str(error))),
        Refused: message,
        LimitRefused: limit,
        RequestValidationError: query,
        HTTPException: routing,
        ClientDisconnect: hung_up,
        DatabaseLost: lost,
        StoreLost: lost,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)

"""The service over HTTP, put together: routes, guard, limits and refusals."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

from anyio import CapacityLimiter
from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from eyeground.clinic.attempts import Attempts, attempts_key
from eyeground.clinic.blobs.store import StoreLost
from eyeground.clinic.cases import NoSuchCase, Stale
from eyeground.clinic.db.database import DatabaseLost
from eyeground.clinic.dead_letters import NoSuchLetter
from eyeground.clinic.first_reads import FirstReadWanted
from eyeground.clinic.log import failed
from eyeground.clinic.refusal import Refused
from eyeground.clinic.reviews import OpinionRefused
from eyeground.clinic.service import Service
from eyeground.clinic.states import Forbidden, OutOfTurn
from eyeground.clinic.web.bodies import schemas
from eyeground.clinic.web.counting import Counted, Requests
from eyeground.clinic.web.desk import Desk
from eyeground.clinic.web.documenting import document_policy
from eyeground.clinic.web.figures import FiguresCollector
from eyeground.clinic.web.guard import Guard, check_policy
from eyeground.clinic.web.hosts import KnownHosts
from eyeground.clinic.web.owning import head_counts
from eyeground.clinic.web.paging import Pages, wants_page
from eyeground.clinic.web.refused_page import limit_page, refused_page
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
_BY_TLS = "max-age=31536000"  # this host alone: what its neighbors speak is not ours to say
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
    """Make the pages and the JSON API of a service.

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
    told = service.settings
    attempts = Attempts(service.database, key=attempts_key(told.secret.get_secret_value()))
    guard = Guard(
        service.database, site=told.site, idle_minutes=told.idle_minutes, secure=told.secure, attempts=attempts
    )
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
        pages=Pages(told, counts=lambda who: head_counts(service, who)),
        guard=guard,
        attempts=attempts,
        admitting=CapacityLimiter(chosen.admitting),
    )
    for name in names("clinic.web.routes"):
        pick("clinic.web.routes", name).add(app, desk)
    for name in names("clinic.web.pages"):
        pick("clinic.web.pages", name).add(app, desk)
    check_policy(app, guard)
    _document(app)
    _add_refusals(app, desk.pages)
    # The last is the outermost.
    app.add_middleware(_Limits, settings=chosen, max_bytes=told.max_message_bytes, answer=partial(_limit, desk.pages))
    app.add_middleware(KnownHosts, public_url=told.public_url)
    app.add_middleware(Unfailing, page=partial(_page, desk.pages))
    app.add_middleware(Counted, requests=desk.requests)
    app.add_middleware(SecurityHeaders, more={"Strict-Transport-Security": _BY_TLS} if told.secure else {})
    return app


class _Limits:
    """Long messages at the doors, short ones elsewhere."""

    def __init__(
        self, app: ASGIApp, *, settings: WebSettings, max_bytes: int, answer: Callable[[Refusal, Scope], Response]
    ) -> None:
        room = WaitingRoom(settings.most_waiting, max(settings.most_waiting_bytes, max_bytes))
        limits = partial(UploadLimits, app, room=room, timeout_s=settings.timeout_s, answer=answer)
        self._doors = limits(waits=_DOORS, max_bytes=max_bytes)
        self._rest = limits(waits=(), max_bytes=min(_SMALL_BYTES, max_bytes))

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


def _away(pages: Pages, request: Request, away: TurnedAway) -> Response:
    """A page for a person, JSON for a program."""
    return refused_page(pages, request, away) if wants_page(request) else turn_away(away, request.scope)


def _page(pages: Pages, away: TurnedAway, scope: Scope) -> Response | None:
    """A page, where a person waits for one."""
    request = Request(scope)
    return refused_page(pages, request, away) if wants_page(request) else None


def _limit(pages: Pages, reason: Refusal, scope: Scope) -> Response:
    """The same of what stands before the service."""
    request = Request(scope)
    return limit_page(pages, request, reason) if wants_page(request) else refuse(reason, scope)


def _add_refusals(app: FastAPI, pages: Pages) -> None:
    """One shape for every refusal, whoever refuses: a page for a person, JSON for a program."""

    def away(make: Callable[[Any], TurnedAway]) -> Callable[[Request, Any], Any]:
        async def handler(request: Request, error: Any) -> Response:
            return _away(pages, request, make(error))

        return handler

    async def message(request: Request, error: Refused) -> Response:
        return turn_down(error, request.scope)

    async def limit(request: Request, error: LimitRefused) -> Response:
        return _limit(pages, error.reason, request.scope)

    async def query(request: Request, error: RequestValidationError) -> Response:
        # The last word of a place is the name of one of our own parameters; what was sent is not repeated.
        names = ", ".join(dict.fromkeys(str(each["loc"][-1]) for each in error.errors() if each["loc"][0] == "query"))
        said = f"{names}: see /openapi.json" if names else ""
        return _away(pages, request, TurnedAway("bad_query", said=said))

    async def routing(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404 and wants_page(request):
            return refused_page(pages, request, TurnedAway("not_found"))
        reasons: dict[int, Refusal] = {404: "not_found", 405: "method_not_allowed"}
        response = _limit(pages, reasons.get(error.status_code, "bad_request"), request.scope)
        response.headers.update(error.headers or {})
        return response

    async def hung_up(request: Request, _: ClientDisconnect) -> Response:
        return refuse("hung_up", request.scope)

    async def lost(request: Request, error: Exception) -> Response:
        failed("request_waits", error)
        return _away(pages, request, TurnedAway("unavailable"))

    handlers: dict[type[Exception], Any] = {
        TurnedAway: away(lambda error: error),
        NoSuchCase: away(lambda _: TurnedAway("not_found")),
        NoSuchLetter: away(lambda _: TurnedAway("not_found")),
        Stale: away(lambda error: TurnedAway("stale", version=error.version)),
        OutOfTurn: away(lambda error: TurnedAway("wrong_state", said=str(error))),
        FirstReadWanted: away(lambda error: TurnedAway("first_read_wanted")),
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

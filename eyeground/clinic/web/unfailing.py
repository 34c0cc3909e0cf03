"""What goes wrong ends here: the sender hears that it did, the log says where, and nobody says what was sent."""

from collections.abc import Callable

from sqlalchemy.exc import TimeoutError as PoolExhausted
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from eyeground.clinic.blobs.store import StoreLost
from eyeground.clinic.db.database import DatabaseLost
from eyeground.clinic.log import failed
from eyeground.clinic.web.refusing import TurnedAway, turn_away

_LOST = (DatabaseLost, StoreLost, PoolExhausted)


class AnswerCut(RuntimeError):
    """An answer that failed after it had begun."""


class Unfailing:
    """Answers what its app could not.

    Starlette's own middleware would raise it again, message and all, for the server to log; and a message may repeat
    what was sent.

    Args:
        app: What may fail.
        page: Makes a page of it, for those who wait for one; None = nobody does.

    Example:
        >>> async def app(scope, receive, send): ...
        >>> Unfailing(app).app is app
        True

    References:
        Our own.
    """

    def __init__(self, app: ASGIApp, *, page: Callable[[TurnedAway, Scope], Response | None] | None = None) -> None:
        self.app, self._page = app, page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def watched_send(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, watched_send)
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, its message must not get any further
            is_lost = isinstance(error, _LOST)
            failed("request_waits" if is_lost else "request_failed", error)
        if begun:
            raise AnswerCut("an answer failed after it had begun; the log says where")
        away = TurnedAway("unavailable" if is_lost else "failed")
        try:
            answer = self._page(away, scope) if self._page else None
        except Exception as error:  # noqa: BLE001 - it may be the pages that fail
            failed("request_failed", error)
            answer = None
        await (answer or turn_away(away, scope))(scope, receive, send)

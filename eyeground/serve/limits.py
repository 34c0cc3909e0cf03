"""How much a stranger may send: bytes of a body, uploads waiting, seconds of sending (pure ASGI)."""

import asyncio
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from eyeground.serve.refused import Refused
from eyeground.serve.replies import refuse
from eyeground.serve.shapes import Refusal

# How long a refused sender is listened to, so that it reads the refusal instead of a broken connection.
_LINGER_S = 5.0


@dataclass
class WaitingRoom:
    """Uploads that have come and are not answered: how many, and their bytes.

    Args:
        most: Uploads at once.
        most_bytes: What they may hold in memory together. Unit: bytes.
        inside: How many there are.
        held_bytes: What they hold, or have announced. Unit: bytes.

    Example:
        >>> room = WaitingRoom(most=1, most_bytes=100)
        >>> with room.place() as place:
        ...     place.hold(60)
        ...     room.inside, room.held_bytes
        (1, 60)
        >>> room.inside, room.held_bytes
        (0, 0)

    References:
        Our own.
    """

    most: int
    most_bytes: int
    inside: int = 0
    held_bytes: int = 0

    @contextmanager
    def place(self) -> Iterator["Place"]:
        """Let an upload in until the block ends.

        Yields:
            Its place.

        Raises:
            Refused: If there is none.
        """
        if self.inside >= self.most:
            raise Refused("waiting_room_full")
        place = Place(self)
        self.inside += 1
        try:
            yield place
        finally:
            self.inside -= 1
            self.held_bytes -= place.held_bytes


@dataclass
class Place:
    """What one upload takes of the waiting room.

    Args:
        room: The room.
        held_bytes: What it takes. Unit: bytes.

    Example:
        >>> Place(WaitingRoom(most=1, most_bytes=100)).held_bytes
        0

    References:
        Our own.
    """

    room: WaitingRoom
    held_bytes: int = 0

    def hold(self, wanted_bytes: int) -> None:
        """Take room for so many bytes in all, no longer for as many as before.

        Args:
            wanted_bytes: How many. Unit: bytes.

        Raises:
            Refused: If the room has not that many left.
        """
        more = wanted_bytes - self.held_bytes
        if more > 0 and self.room.held_bytes + more > self.room.most_bytes:
            raise Refused("waiting_room_full")
        self.held_bytes += more
        self.room.held_bytes += more


class UploadLimits:
    """Refuses what is too large, too slow, or too much at once, whatever the content type and however it is sent.

    Bytes are counted as they come: a length that is missing or a lie changes nothing. Of an upload without a length the
    greatest is assumed until it has come, so that all that are let in have room to end.

    Args:
        app: What it guards.
        room: Where uploads wait.
        waits: Path of the uploads that wait, or several; other requests need no place.
        max_bytes: Longest body. Unit: bytes.
        timeout_s: Longest time for sending it. Unit: s.
        answer: Makes the answer of a refusal, as ``replies.refuse`` does.

    Example:
        >>> async def app(scope, receive, send): ...
        >>> UploadLimits(app, room=WaitingRoom(128, 2**29), waits="/predict", max_bytes=2**25, timeout_s=60).max_bytes
        33554432

    References:
        RFC 9110, sections 15.5.9, 15.5.14 and 15.6.4.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        room: WaitingRoom,
        waits: str | Collection[str],
        max_bytes: int,
        timeout_s: float,
        answer: Callable[[Refusal, Scope], Response] = refuse,
    ) -> None:
        self._answer = answer
        self.app, self.room, self.max_bytes, self.timeout_s = app, room, max_bytes, timeout_s
        self.waits = frozenset((waits,) if isinstance(waits, str) else waits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = _Body(receive, self.max_bytes, self.timeout_s)
        begun = False

        async def watched_send(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        waits = scope["path"] in self.waits and scope["method"] == "POST"
        try:
            with self.room.place() if waits else nullcontext() as place:
                body.admit(_declared(scope), place)
                await self.app(scope, body.receive, watched_send)
        except (Refused, _Cut) as refused:
            if begun:
                raise
            await _say(self._answer(refused.reason, scope), scope, body, send)


class _Cut(Exception):
    """Ends a request from within; no ``Refused``, which the app would answer itself, without listening on."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason)
        self.reason: Refusal = reason


class _Body:
    """A request's body on its way in, counted."""

    def __init__(self, receive: Receive, max_bytes: int, timeout_s: float) -> None:
        self._receive, self._max_bytes = receive, max_bytes
        self._deadline = time.monotonic() + timeout_s
        self._place: Place | None = None
        self.came_bytes = 0
        self.whole = False

    def admit(self, declared_bytes: int | None, place: Place | None) -> None:
        """Let it in by what it says of itself."""
        self._place = place
        if declared_bytes is not None and declared_bytes > self._max_bytes:
            raise Refused("too_large")
        if place is not None:
            place.hold(self._max_bytes if declared_bytes is None else declared_bytes)

    async def receive(self) -> Message:
        """Let the next part in."""
        if self.whole:  # what follows is the sender's hanging up, which may take as long as it likes
            return await self._receive()
        try:
            async with asyncio.timeout(self._deadline - time.monotonic()):
                message = await self._next()
        except TimeoutError:
            raise _Cut("upload_too_slow") from None
        if self.came_bytes > self._max_bytes:
            raise _Cut("too_large")
        if self._place is not None:
            try:
                self._place.hold(self.came_bytes if self.whole else max(self.came_bytes, self._place.held_bytes))
            except Refused as refused:
                raise _Cut(refused.reason) from None
        return message

    async def drain(self) -> None:
        """Throw away what still comes, for a while and up to once more what was allowed."""
        most = self.came_bytes + self._max_bytes
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while not self.whole and self.came_bytes < most:
                    await self._next()

    async def _next(self) -> Message:
        """Count a part."""
        message = await self._receive()
        self.whole = message["type"] != "http.request" or not message.get("more_body", False)
        self.came_bytes += len(message.get("body", b""))
        return message


async def _say(response: Response, scope: Scope, body: _Body, send: Send) -> None:
    """Answer at once, and listen a little longer: a sender that finds the line cut never reads the answer."""
    response.headers["Connection"] = "close"
    await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": True})
    # Who asked whether to send at all, and was not told to, sends nothing.
    if body.came_bytes or Headers(scope=scope).get("expect", "").lower() != "100-continue":
        await body.drain()
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _declared(scope: Scope) -> int | None:
    """The length a request says it has; None where it says none."""
    told = Headers(scope=scope).get("content-length", "")
    # Cut, for Python refuses to read numbers of thousands of digits; what is left is too large just as well.
    return int(told[:19]) if told.isascii() and told.isdigit() else None

"""Limits of uploads against an app of a few lines, told message by message: nothing here depends on a server."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from eyeground.serve import limits
from eyeground.serve.limits import UploadLimits, WaitingRoom
from eyeground.serve.refused import Refused, reasons
from eyeground.serve.replies import words

MOST = 1000


@dataclass
class Sender:
    """One request: what it sends, and what it hears."""

    parts: Iterable[bytes] = (b"",)
    headers: dict[str, str] = field(default_factory=dict)
    path: str = "/predict"
    method: str = "POST"
    query: bytes = b""
    stalls: bool = False
    heard: list[Message] = field(default_factory=list)
    sent: int = 0

    async def send_to(self, app: ASGIApp) -> "Sender":
        parts = list(self.parts)
        scope: Scope = {
            "type": "http", "method": self.method, "path": self.path, "query_string": self.query,
            "headers": [(name.lower().encode(), value.encode()) for name, value in self.headers.items()],
        }  # fmt: skip

        async def receive() -> Message:
            if self.sent == len(parts):
                await asyncio.sleep(3600)
            self.sent += 1
            more = self.stalls or self.sent < len(parts)
            return {"type": "http.request", "body": parts[self.sent - 1], "more_body": more}

        async def send(message: Message) -> None:
            self.heard.append(message)

        await app(scope, receive, send)
        return self

    @property
    def status(self) -> int:
        starts = [each["status"] for each in self.heard if each["type"] == "http.response.start"]
        assert len(starts) == 1, "one answer a request"
        return int(starts[0])

    @property
    def told(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(b"".join(each.get("body", b"") for each in self.heard))
        return found

    @property
    def answer_headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.heard[0]["headers"]}


def reads_all(seen: list[int], until: Callable[[], Awaitable[object]] | None = None) -> ASGIApp:
    """An app that reads to the end, then waits if told to, then answers."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        total, more = 0, True
        while more:
            message = await receive()
            total += len(message.get("body", b""))
            more = message.get("more_body", False)
        if until is not None:
            await until()
        seen.append(total)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    return app


def limited(app: ASGIApp, room: WaitingRoom | None = None, *, timeout_s: float = 30) -> UploadLimits:
    """The app under limits."""
    room = WaitingRoom(4, 4 * MOST) if room is None else room
    return UploadLimits(app, room=room, waits="/predict", max_bytes=MOST, timeout_s=timeout_s)


def ask(app: ASGIApp, *senders: Sender) -> list[Sender]:
    """Let several send at once."""

    async def all_at_once() -> list[Sender]:
        return await asyncio.gather(*(sender.send_to(app) for sender in senders))

    return asyncio.run(all_at_once())


@pytest.mark.parametrize(
    "kind", ["multipart/form-data; boundary=x", "image/png", "application/dicom", "text/plain", ""]
)
@pytest.mark.parametrize("length", [None, "0", "10", str(MOST), "abc", "-1", "9" * 5000])
def test_a_byte_too_much_is_refused_however_it_is_sent_and_whatever_length_it_claims(
    kind: str, length: str | None
) -> None:
    headers = {"Content-Type": kind} | ({} if length is None else {"Content-Length": length})
    seen: list[int] = []
    (sender,) = ask(limited(reads_all(seen)), Sender([b"a" * 100] * 10 + [b"b"], headers))
    assert sender.status == 413
    assert sender.told == {"error": words()["refusals"]["too_large"]["en"], "reason": "too_large"}
    assert sender.answer_headers["connection"] == "close"
    assert seen == [], "the app never sees the end of it"


@pytest.mark.parametrize("length", [None, "0", "10", str(MOST), "abc"])
def test_exactly_the_most_is_let_in(length: str | None) -> None:
    headers = {} if length is None else {"Content-Length": length}
    seen: list[int] = []
    (sender,) = ask(limited(reads_all(seen)), Sender([b"a" * 100] * 10, headers))
    assert (sender.status, seen) == (200, [MOST])


def test_a_length_that_is_too_large_is_refused_before_a_byte_is_read() -> None:
    waits = Sender([b"a"], {"Content-Length": str(MOST + 1), "Expect": "100-continue"})
    (sender,) = ask(limited(reads_all([])), waits)
    assert (sender.status, sender.sent) == (413, 0)


def test_the_limit_is_not_for_uploads_alone() -> None:
    for path, method in (("/model", "GET"), ("/predict", "PUT"), ("/nowhere", "POST")):
        (sender,) = ask(limited(reads_all([])), Sender([b"a" * (MOST + 1)], path=path, method=method))
        assert sender.status == 413


def test_who_sends_without_end_hears_the_answer_and_is_cut_off() -> None:
    endless = Sender([b"a" * 100] * 10_000)
    (sender,) = ask(limited(reads_all([])), endless)
    assert sender.status == 413
    assert sender.sent == 21  # 11 to see that it is too much, 10 more as a kindness
    assert [each.get("more_body") for each in sender.heard[1:]] == [True, False]


def test_who_stalls_is_refused_and_who_is_refused_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_LINGER_S", 0.05)
    room = WaitingRoom(4, 4 * MOST)
    (sender,) = ask(limited(reads_all([]), room, timeout_s=0.05), Sender([b"a"], stalls=True, query=b"lang=zh"))
    assert sender.status == 408
    assert sender.told == {"error": words()["refusals"]["upload_too_slow"]["zh"], "reason": "upload_too_slow"}
    assert (room.inside, room.held_bytes) == (0, 0)


def test_answering_may_take_longer_than_sending() -> None:
    app = limited(reads_all([], lambda: asyncio.sleep(0.2)), timeout_s=0.05)
    assert ask(app, Sender([b"a"]))[0].status == 200


def test_waiting_for_the_sender_to_hang_up_is_no_upload() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert not (await receive())["more_body"]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await receive()
        await send({"type": "http.response.start", "status": 204, "headers": []})

    assert ask(limited(app, timeout_s=0.05), Sender([b"a"]))[0].status == 204


def test_more_than_the_room_holds_are_told_to_come_again_and_the_rest_are_answered() -> None:
    room = WaitingRoom(3, 100 * MOST)
    seen: list[int] = []

    async def meet() -> list[Sender]:
        come = asyncio.Event()
        app = limited(reads_all(seen, come.wait), room)
        waiting = [asyncio.ensure_future(Sender([b"a"]).send_to(app)) for _ in range(3)]
        await asyncio.sleep(0.05)
        assert room.inside == 3
        late = await asyncio.gather(*(Sender([b"a"]).send_to(app) for _ in range(5)))
        # Who wants no answer about an image needs no place.
        other = await Sender([b""], path="/healthz", method="GET").send_to(limited(reads_all([]), room))
        come.set()
        return [*await asyncio.gather(*waiting), *late, other]

    senders = asyncio.run(meet())
    assert [each.status for each in senders] == [200] * 3 + [503] * 5 + [200]
    assert senders[3].told["reason"] == "waiting_room_full"
    assert int(senders[3].answer_headers["retry-after"]) > 0
    assert (room.inside, room.held_bytes, len(seen)) == (0, 0, 3)


@pytest.mark.parametrize(
    ("headers", "let_in"),
    [({"Content-Length": "500"}, 4), ({}, 2), ({"Content-Length": "1"}, 4)],
    ids=["announced", "of unknown length, as if each were the longest", "a lie, found out as it comes"],
)
def test_what_waits_is_bounded_in_bytes_too(
    headers: dict[str, str], let_in: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_LINGER_S", 0.05)
    room = WaitingRoom(100, 2 * MOST)
    most: list[int] = []

    async def meet() -> list[Sender]:
        come = asyncio.Event()

        async def wait() -> None:
            most.append(room.held_bytes)
            await come.wait()

        app = limited(reads_all([], wait), room)
        if headers:
            waiting = [asyncio.ensure_future(Sender([b"a" * 500], headers).send_to(app)) for _ in range(8)]
        else:  # still being sent: the longest is assumed
            waiting = [
                asyncio.ensure_future(Sender([b"a"], stalls=True).send_to(limited(reads_all([]), room, timeout_s=0.3)))
                for _ in range(8)
            ]
        await asyncio.sleep(0.1)
        assert room.held_bytes <= room.most_bytes
        assert room.inside == let_in
        come.set()
        return await asyncio.gather(*waiting)

    statuses = [each.status for each in asyncio.run(meet())]
    assert statuses.count(503) == 8 - let_in
    assert all(each <= room.most_bytes for each in most)
    assert (room.inside, room.held_bytes) == (0, 0)


def test_a_chunked_upload_holds_what_it_is_once_it_has_come() -> None:
    room = WaitingRoom(100, MOST)
    held: list[int] = []

    async def look() -> None:
        held.append(room.held_bytes)

    ask(limited(reads_all([], look), room), Sender([b"a" * 10, b"b" * 20]))
    assert held == [30]


def test_a_place_is_free_again_whatever_happens() -> None:
    room = WaitingRoom(1, MOST)

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise KeyError("no fault of the sender's")

    for _ in range(3):
        with pytest.raises(KeyError):
            ask(limited(broken, room), Sender([b"a"]))
    assert (room.inside, room.held_bytes) == (0, 0)


def test_an_answer_that_has_begun_is_not_begun_again() -> None:
    async def hasty(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await receive()

    sender = Sender([b"a" * (MOST + 1)])
    with pytest.raises(Exception, match="too_large"):
        ask(limited(hasty), sender)
    assert sender.status == 200


def test_other_protocols_pass() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    async def nothing(*_: Message) -> Message:
        return {}

    asyncio.run(limited(app)({"type": "lifespan"}, nothing, nothing))  # type: ignore[arg-type]
    assert seen == ["lifespan"]


def test_a_room_without_the_check_would_be_noticed() -> None:
    # The planted fault: a room that forgets to count.
    class Endless(WaitingRoom):
        def __setattr__(self, name: str, value: int) -> None:
            super().__setattr__(name, 0 if name == "inside" else value)

    room = Endless(1, MOST)
    with room.place(), room.place():
        assert room.inside == 0
    sound = WaitingRoom(1, MOST)
    with sound.place(), pytest.raises(Refused, match="waiting_room_full"), sound.place():
        pass


@pytest.mark.parametrize("reason", reasons())
def test_every_refusal_has_a_status_that_is_no_success(reason: str) -> None:
    assert 400 <= Refused(reason).status < 600  # type: ignore[arg-type]

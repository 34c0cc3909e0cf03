"""W7: no route takes a longer body than it should, however it is sent; many at once have room."""

import asyncio
import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Message

from ..opened import account_of, open_service_in, photo
from ..servers import free_port
from .office import Office, open_office
from .rights import RIGHTS
from .test_app import HEAD, KINDS, parts
from .test_guard import Filled, routes_of
from .web_process import running_web

MOST = 64 * 1024
MEMORY_BYTES = 2 * 2**30  # MemoryMax of the unit


@pytest.fixture
def filled(tmp_path: Path) -> Any:
    """A small office with something in it."""
    office = open_office(tmp_path / "clinic", image_root=tmp_path, max_message_bytes=MOST)
    yield Filled(office)
    office.service.close()


def deeds(filled: Filled) -> list[tuple[str, str, str]]:
    """Every route that takes a body, and who may use it."""
    found = []
    for method, path in routes_of(filled.office.app):
        if method != "GET":
            right = RIGHTS[f"{method} {path}"]
            who = next((name for name, role in (("doctor", "doctor"), ("operator", "operator"), ("admin", "admin"))
                        if role in right.roles), "")  # fmt: skip
            found.append((method, path.format(**(filled.names | right.names)), who))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_byte_too_much_is_refused_everywhere(filled: Filled, kind: str) -> None:
    """413 where the body is read, 415 where its kind alone is enough; never anything that was done with it."""
    wrong = []
    for method, path, who in deeds(filled):
        whole = HEAD + b"a" * (MOST + 1 - len(HEAD))
        for how, content in (("with its length", whole), ("in parts", parts(whole))):
            reply = filled.office.ask(method, path, who, content=content, headers={"Content-Type": kind})
            if how == "with its length" and reply.status_code != 413:
                wrong.append(f"{method} {path} {how}: {reply.status_code}")
            if reply.status_code not in (413, 415) and not takes_nothing(method, path):
                wrong.append(f"{method} {path} {how}: {reply.status_code}")
    assert not wrong, "\n".join(wrong)


def takes_nothing(method: str, path: str) -> bool:
    """Routes that never read what is sent with them: no byte of it is waited for."""
    ends = (
        "/sign-out",
        "/elsewhere",
        "/replay",
        "/dismiss",
        "/revoke",
        "/links",
        "/link",
        "/sign-out-everywhere",
        "nobody/password",
    )
    return method == "POST" and path.endswith(ends)


def test_a_length_that_is_a_lie_changes_nothing(filled: Filled) -> None:
    """It says ten bytes, or none, and sends more than anybody may."""
    for said in (b"10", b"0", b"-1", b"99999999999999999999", b"1e3", None):
        for method, path, who in deeds(filled):
            status = asyncio.run(_lying(filled.office, method, path, who, said))
            assert status in (400, 401, 403, 404, 409, 413, 415, 422, 429) or takes_nothing(method, path), (
                path,
                said,
                status,
            )


async def _lying(office: Office, method: str, path: str, who: str, said: bytes | None) -> int:
    """Ask without a client that would set the length right."""
    headers = [(b"authorization", f"Bearer {office.tokens[who]}".encode())] if who else []
    headers += [(b"content-type", b"application/json"), *([(b"content-length", said)] if said is not None else [])]
    told: list[Message] = []
    sent = 0

    async def receive() -> Message:
        nonlocal sent
        sent += 1
        assert sent < 40, "more was read than may be sent"
        return {"type": "http.request", "body": b"a" * 10_000, "more_body": True}

    async def send(message: Message) -> None:
        told.append(message)

    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": headers, "http_version": "1.1", "scheme": "http", "server": ("service", 80), "client": ("me", 1),
    }  # fmt: skip
    await office.app(scope, receive, send)
    return int(told[0]["status"])


def test_what_is_packed_is_not_unpacked(filled: Filled) -> None:
    """A bomb of a thousand times its size is a body like any other."""
    bomb = gzip.compress(json.dumps({"version": 0, "opinion": {"conclusion": "x" * 20_000_000}}).encode())
    assert len(bomb) < MOST
    for method, path, who in deeds(filled):
        headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        reply = filled.office.ask(method, path, who, content=bomb, headers=headers)
        assert reply.status_code in (400, 401, 404, 409, 415, 422) or takes_nothing(method, path), (
            path,
            reply.status_code,
        )


def test_a_route_without_a_limit_is_found_out(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unlimited(self: Any, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)

    monkeypatch.setattr("eyeground.serve.limits.UploadLimits.__call__", unlimited)
    with pytest.raises(AssertionError, match="with its length"):
        test_a_byte_too_much_is_refused_everywhere(filled, "application/json")


@pytest.mark.slow
def test_500_uploads_at_once_fit_into_the_memory_of_the_unit(tmp_path: Path) -> None:
    home = tmp_path / "home"
    service = open_service_in(home, queue_url="sql:")
    token = account_of(service, "machine", "site")
    service.close()
    home.chmod(0o700)
    port, size = free_port(), 2 * 2**20
    with running_web(home, port) as pid:
        found = asyncio.run(_uploads(f"http://127.0.0.1:{port}", token, count=500, size_bytes=size))
        status = Path(f"/proc/{pid}/status").read_text()
        peak_kib = int(status.split("VmHWM:")[1].split()[0])
    told_of = f"{dict(found)}, peak {peak_kib / 1024:.0f} MiB"
    print(told_of)  # noqa: T201 - the figure
    assert found[201] == 500, "who is told to come again, and does, is let in"
    assert set(found) <= {201, 503, 0}
    assert peak_kib * 1024 < MEMORY_BYTES


async def _uploads(url: str, token: str, *, count: int, size_bytes: int) -> Counter[int]:
    """Send them all at the same moment, those that are told to come again until they are let in; what all were told."""
    head = b'--x\r\nContent-Disposition: form-data; name="message_id"\r\n\r\nm%04d\r\n'
    head += b'--x\r\nContent-Disposition: form-data; name="OD"; filename="a_OD.png"\r\n\r\n' + photo(0)
    filler, end = b"\0" * 65536, b"\r\n--x--\r\n"
    length = len(head % 0) + size_bytes // len(filler) * len(filler) + len(end)
    told = Counter[int]()

    async def body(number: int) -> Any:
        yield head % number
        for _ in range(size_bytes // len(filler)):
            yield filler
        yield end

    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=count), timeout=300) as client:

        async def upload(number: int) -> None:
            headers = {
                "Authorization": f"Bearer {token}", "Content-Type": "multipart/form-data; boundary=x",
                "Content-Length": str(length),
            }  # fmt: skip
            status = 0
            for _ in range(100):
                try:
                    reply = await client.post(f"{url}/api/v1/uploads", content=body(number), headers=headers)
                    status = reply.status_code
                except httpx.TransportError:  # refused, and cut off because it went on sending for five seconds
                    status = 0
                told[status] += 1
                if status not in (503, 0):
                    return
                await asyncio.sleep(1 + number % 5)

        await asyncio.gather(*map(upload, range(count)))
    return told

"""A server that stands in for a language model: it answers, lies, stalls or breaks, and remembers what it was sent."""

import gzip
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Prose = Callable[[list[dict[str, Any]]], dict[str, Any]]


@dataclass(frozen=True)
class Recorded:
    """One request, as it came."""

    method: str
    path: str
    headers: str
    body: bytes

    @property
    def told(self) -> dict[str, Any]:
        """Its body."""
        told: dict[str, Any] = json.loads(self.body)
        return told


@dataclass
class StandIn:
    """A model's server, and all that it was sent."""

    url: str = ""
    mode: str = "good"
    prose: Prose | None = None
    requests: list[Recorded] = field(default_factory=list)
    let_go: threading.Event = field(default_factory=threading.Event)
    hold: threading.Event = field(default_factory=threading.Event)

    def answer(self, body: bytes) -> bytes:
        """What a model that does as it is told writes."""
        sections = json.loads(json.loads(body)["messages"][-1]["content"])["sections"]
        prose = (self.prose or plain_prose)(sections)
        return completion(json.dumps(prose, ensure_ascii=False))


def plain_prose(sections: list[dict[str, Any]]) -> dict[str, str]:
    """Of each fact the first phrase, its first choices taken, and the fact."""
    told = {}
    for section in sections:
        stop, gap = ("。", "") if "眼" in section["eye"] else (".", " ")
        sentences = [f"{_first(each['phrases'][0])}{each['placeholder']}{stop}" for each in section["placeholders"]]
        told[section["key"]] = gap.join(sentences)
    return told


def _first(pattern: str) -> str:
    """A phrase of a pattern."""
    while "(" in pattern:
        pattern = re.sub(r"\(([^()|]*)\|[^()]*\)|\(([^()|]*)\)", r"\1\2", pattern)
    return pattern


def completion(content: str | None, *, finish: str = "stop", **message: Any) -> bytes:
    """An answer as OpenAI's service gives it."""
    told = {
        "id": "x", "object": "chat.completion", "created": 0, "model": "m",
        "choices": [
            {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content, **message}}
        ],
    }  # fmt: skip
    return json.dumps(told, ensure_ascii=False).encode()


# What is answered at once: status, more headers, body.
PLAIN: Mapping[str, tuple[int, Mapping[str, str], bytes]] = {
    "unauthorized": (401, {}, b'{"error": {"message": "wrong key sk-secret", "type": "auth"}}'),
    "too_many": (429, {"Retry-After": "60"}, b'{"error": {"message": "slow down"}}'),
    "server_error": (500, {}, b'{"error": {"message": "oops"}}'),
    "bad_request": (400, {}, b'{"error": {"message": "This response_format type is unavailable now"}}'),
    "redirect": (307, {"Location": "http://127.0.0.1:9/elsewhere"}, b""),
    "no_content": (204, {}, b""),
    "empty_body": (200, {}, b""),
    "empty_choices": (200, {}, b'{"choices": []}'),
    "no_choices": (200, {}, b'{"id": "x"}'),
    "empty_text": (200, {}, completion("  ")),
    "null_text": (200, {}, completion(None)),
    "wrong_shape": (200, {}, completion('["a", "b"]')),
    "numbers": (200, {}, completion('{"narrative_OD": 1, "narrative_OS": {"a": 2}}')),
    "cut_inside": (200, {}, completion('{"narrative_OD": "Visual acu')),
    "cut_outside": (200, {}, completion('{"narrative_OD": "x"}')[:-40]),
    "prose": (200, {}, completion("Sure! Here is the report you asked for.")),
    "deep": (200, {}, completion("[" * 100_000)),
    "twice": (200, {}, completion('{"narrative_OD": "a", "narrative_OD": "b"}')),
    "html": (200, {"Content-Type": "text/html"}, b"<html>login</html>"),
    "not_text": (200, {}, b"\xff\xfe\x00\x01" * 50),
    "held_back": (200, {}, completion("{}", finish="content_filter")),
    "refused": (200, {}, completion(None, refusal="I cannot help with that")),
    "too_long": (200, {}, completion('{"narrative_OD": "Visual', finish="length")),
    "packed": (200, {"Content-Encoding": "gzip"}, gzip.compress(b" " * 50_000_000)),
}
SLOW = ("stalls_before_headers", "stalls_in_headers", "stalls_in_body", "drips", "drips_headers", "never_accepts")
BROKEN = ("refuses_connection", "hangs_up", "hangs_up_in_body", "endless", "endless_error", "no_http")


class _Handler(BaseHTTPRequestHandler):
    """Carries out a mode."""

    protocol_version = "HTTP/1.1"
    stand_in: StandIn

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""

    def do_POST(self) -> None:
        """Take the request, then do as the mode says."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        mine = self.stand_in
        mine.requests.append(Recorded(self.command, self.path, str(self.headers), body))
        mode = mine.mode
        if mode == "good":
            self._send(200, {}, mine.answer(body))
        elif mode == "held":
            mine.hold.wait(60)
            self._send(200, {}, mine.answer(body))
        elif mode in PLAIN:
            self._send(*PLAIN[mode])
        else:
            self.close_connection = True
            with_end = getattr(self, f"_{mode}")
            try:
                with_end()
            except OSError:
                return

    def _send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """A whole answer."""
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _begin(self, status: int = 200) -> None:
        """An answer whose end nobody knows."""
        self.wfile.write(
            f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n".encode()
        )
        self.wfile.flush()

    def _stalls_before_headers(self) -> None:
        self.stand_in.let_go.wait(60)

    def _stalls_in_headers(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Ty")
        self.wfile.flush()
        self.stand_in.let_go.wait(60)

    def _stalls_in_body(self) -> None:
        self._begin()
        self.wfile.write(b'{"choices": [')
        self.wfile.flush()
        self.stand_in.let_go.wait(60)

    def _drips(self) -> None:
        self._begin()
        self._drop(completion("{}") * 100)

    def _drips_headers(self) -> None:
        self._drop(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 1000)

    def _drop(self, body: bytes) -> None:
        """A byte at a time."""
        for byte in body:
            self.wfile.write(bytes((byte,)))
            self.wfile.flush()
            if self.stand_in.let_go.wait(0.2):
                return

    def _hangs_up(self) -> None:
        self.connection.shutdown(socket.SHUT_RDWR)

    def _hangs_up_in_body(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
        self.wfile.flush()

    def _endless(self) -> None:
        self._begin()
        self._flood()

    def _endless_error(self) -> None:
        self._begin(400)
        self._flood()

    def _flood(self) -> None:
        """Blanks without end."""
        while not self.stand_in.let_go.is_set():
            self.wfile.write(b" " * 65536)

    def _no_http(self) -> None:
        self.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n")
        self.wfile.flush()


@contextmanager
def standing_in(mode: str = "good", prose: Prose | None = None) -> Iterator[StandIn]:
    """A server in a mode, until the end."""
    mine = StandIn(mode=mode, prose=prose)
    if mode in ("refuses_connection", "never_accepts"):
        with socket.socket() as alone:
            alone.bind(("127.0.0.1", 0))
            if mode == "never_accepts":
                alone.listen(0)
            mine.url = f"http://127.0.0.1:{alone.getsockname()[1]}/v1"
            if mode == "refuses_connection":
                alone.close()
            yield mine
        return
    handler = type("Handler", (_Handler,), {"stand_in": mine})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    mine.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield mine
    finally:
        mine.let_go.set()
        mine.hold.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


def waited(condition: Callable[[], bool], *, at_most_s: float = 20.0) -> bool:
    """Whether it comes true."""
    end = time.monotonic() + at_most_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return False

"""A stand-in for the hub on this machine, with the ways in which it can go wrong, and a small release to fetch."""

import hashlib
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import numpy as np

from eyeground.model.weights import Tensors
from eyeground.model.zoo import Release, encoder_shapes

COMMIT = "c0ffee" * 6 + "c0de"


@dataclass(frozen=True)
class Asked:
    """A request that arrived."""

    method: str
    path: str
    range: str
    authorization: str


@dataclass
class Hub:
    """Serves files below ``/{repo}/resolve/{revision}/{file}``, open only to the token ``gate`` where it is not empty.

    ``announced`` is a hash to claim instead of the true one. ``cuts`` are numbers of bytes after which one answer after
    another breaks off. ``storage`` is where files are sent from by a redirect. ``stall_after`` holds an answer there
    until ``go_on`` is set. ``more`` is sent beyond what was announced.
    """

    files: Mapping[str, bytes] = field(default_factory=dict)
    gate: str = ""
    accepted: bool = True
    announced: str = ""
    cuts: list[int] = field(default_factory=list)
    ranges: bool = True
    storage: "Hub | None" = None
    stall_after: int | None = None
    down: bool = False
    more: bytes = b""
    go_on: threading.Event = field(default_factory=threading.Event)
    asked: list[Asked] = field(default_factory=list)

    def __enter__(self) -> "Hub":
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                hub.answer(self)

            def do_GET(self) -> None:
                hub.answer(self)

            def log_message(self, *words: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Its address, as HF_ENDPOINT takes it."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def gets(self) -> list[Asked]:
        """Requests for content."""
        return [each for each in self.asked if each.method == "GET"]

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer a request as the hub does."""
        head = request.headers
        self.asked.append(Asked(request.command, request.path, head.get("Range", ""), head.get("Authorization", "")))
        request.close_connection = True
        if self.down:
            return
        if self.gate and head.get("Authorization") != f"Bearer {self.gate}":
            self._refuse(request, 401, "GatedRepo", "Access to this model is restricted. Please log in.")
        elif not self.accepted:
            self._refuse(request, 403, "GatedRepo", "You are not in the authorized list.")
        elif request.path not in self.files:
            self._refuse(request, 404, "EntryNotFound", "Entry not found")
        else:
            self._send(request, self.files[request.path])

    def _refuse(self, request: BaseHTTPRequestHandler, status: int, code: str, words: str) -> None:
        request.send_response(status)
        for name, value in (
            ("X-Error-Code", code),
            ("X-Error-Message", words),
            ("Content-Length", "0"),
            ("Connection", "close"),
        ):
            request.send_header(name, value)
        request.end_headers()

    def _send(self, request: BaseHTTPRequestHandler, content: bytes) -> None:
        digest = self.announced or hashlib.sha256(content).hexdigest()
        start = 0
        if self.ranges and request.headers.get("Range"):
            start = int(request.headers["Range"].removeprefix("bytes=").rstrip("-"))
        request.send_response(302 if self.storage else 206 if start else 200)
        # As for a file in Git LFS: the entity tag is the hash of its content.
        request.send_header("X-Repo-Commit", COMMIT)
        request.send_header("Connection", "close")
        request.send_header("X-Linked-Etag", f'"{digest}"')
        request.send_header("X-Linked-Size", str(len(content)))
        request.send_header("ETag", f'"{digest}"')
        if self.storage:
            request.send_header("Location", self.storage.url + request.path)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        request.send_header("Accept-Ranges", "bytes")
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        request.send_header("Content-Length", str(len(content) + len(self.more) - start))
        request.end_headers()
        if request.command == "HEAD":
            return
        body = content[start:] + self.more
        # Who has heard enough hangs up.
        with suppress(ConnectionError):
            if self.cuts:
                body = body[: self.cuts.pop(0)]
            elif self.stall_after is not None:
                request.wfile.write(body[: self.stall_after])
                request.wfile.flush()
                self.go_on.wait(60)
                body = body[self.stall_after :]
            request.wfile.write(body)


# A release small enough for tests, in the form of RETFound's.
DEMO = Release(
    name="demo",
    title="a small network, for tests",
    repo_id="someone/demo",
    file="demo.pth",
    licence="CC-BY-NC-4.0",
    model="vit_demo_patch8",
    pool="avg",
    image_px=32,
    modality="fundus",
    citation="",
    nest="model",
    gated=True,
)


def encoder(release: Release, seed: int = 0) -> Tensors:
    """Random tensors with the names and shapes of a release."""
    draw = np.random.default_rng(seed)
    return {name: draw.normal(size=shape).astype(np.float32) for name, shape in encoder_shapes(release).items()}

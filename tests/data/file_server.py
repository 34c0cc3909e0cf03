"""A file server on this machine that can cut, refuse, forget ranges, and remembers what it was asked."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Shop:
    """What the server gives, how badly it behaves, and what it was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    address: str = ""
    ranges: bool = True
    etag: str = '"one"'
    # Bytes after which each connection is cut, the next first; none left = no cut.
    cuts: list[int] = field(default_factory=list)
    # Statuses to answer before anything is given, the next first.
    statuses: list[int] = field(default_factory=list)
    redirect: str = ""
    slow_s: float = 0.0
    asked: list[str] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)

    def url(self, name: str) -> str:
        """Address of a file."""
        return f"{self.address}/{name}"


@contextmanager
def serving(**files: bytes) -> Iterator[Shop]:
    """Serve files while the block runs."""
    shop = Shop(files={name.replace("_zip", ".zip").replace("_tar", ".tar"): data for name, data in files.items()})
    stop = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shop.asked.append(self.headers.get("Range", "all"))
            if shop.statuses:
                self.send_error(shop.statuses.pop(0))
                return
            if shop.redirect:
                self.send_response(302)
                self.send_header("Location", shop.redirect)
                self.end_headers()
                return
            data = shop.files.get(self.path.lstrip("/"))
            if data is None:
                self.send_error(404)
                return
            self._give(data)

        def _give(self, data: bytes) -> None:
            found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            wants = self.headers.get("If-Range", shop.etag)
            start = int(found[1]) if found and shop.ranges and wants == shop.etag else 0
            if found and shop.ranges and start >= len(data):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(data)}")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if shop.etag:
                self.send_header("ETag", shop.etag)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            end = min(len(data), start + shop.cuts.pop(0)) if shop.cuts else len(data)
            step = 4096 if shop.slow_s else max(1, end - start)
            for place in range(start, end, step):
                self.wfile.write(data[place : min(end, place + step)])
                self.wfile.flush()
                stop.wait(shop.slow_s)
            shop.sent.append(end - start)
            if end < len(data):
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that was killed is no news."""

    server = Server(("127.0.0.1", 0), Handler)
    shop.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield shop
    finally:
        stop.set()
        server.shutdown()
        server.server_close()
        thread.join()

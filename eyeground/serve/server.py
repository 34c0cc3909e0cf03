"""The web service's process: a socket, uvicorn, and an end that lets what has begun finish."""

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from eyeground.serve.connection import Impatient

_LONGEST_HEAD_BYTES = 16 * 1024
_BACKLOG = 256


def run(
    app: ASGIApp,
    *,
    host: str,
    port: int,
    listening: Callable[[str], None],
    graceful_s: int = 30,
    head_s: float = Impatient.head_s,
    proxies: tuple[str, ...] = (),
) -> None:
    """Serve until asked to stop (SIGINT, SIGTERM); prints nothing and keeps no access log.

    Requests are not logged, for their addresses and names are the patients' business. Errors go to the loggers
    ``uvicorn.error`` and ``eyeground.serve``.

    Args:
        app: What answers.
        host: Address to listen on, such as ``"127.0.0.1"`` (this machine only) or ``"::"``.
        port: Port; 0 = any that is free.
        listening: Is told the URL as soon as requests are taken.
        graceful_s: How long requests that have begun may go on after a stop. Unit: s.
        head_s: How long a sender may take for the head of a request. Unit: s.
        proxies: Addresses that are believed when they say for whom they ask (``X-Forwarded-For``).

    Raises:
        OSError: If the address is not this machine's or the port is taken.
        RuntimeError: If the app does not start.

    Example:
        >>> async def app(scope, receive, send):
        ...     while scope["type"] == "lifespan":
        ...         kind = (await receive())["type"]
        ...         await send({"type": f"{kind}.complete"})
        ...         if kind == "lifespan.shutdown":
        ...             return
        >>> def stop(url):
        ...     print(url.rsplit(":", 1)[0])
        ...     signal.raise_signal(signal.SIGINT)
        >>> run(app, host="127.0.0.1", port=0, listening=stop)
        http://127.0.0.1

    References:
        Our own; uvicorn.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=_BACKLOG) as door:
        found = door.getsockname()[1]
        url = f"http://[{host}]:{found}" if ":" in host else f"http://{host}:{found}"
        config = uvicorn.Config(
            app,
            http=type("Connection", (Impatient,), {"head_s": head_s}),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=bool(proxies),  # whoever is not known is not believed
            forwarded_allow_ips=list(proxies),
            server_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=graceful_s,
            h11_max_incomplete_event_size=_LONGEST_HEAD_BYTES,
        )
        # It tells the bytes of a form that it cannot read.
        logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
        with _silent_signals():
            asyncio.run(_serve(uvicorn.Server(config), door, lambda: listening(url)))


async def _serve(server: uvicorn.Server, door: socket.socket, started: Callable[[], None]) -> None:
    """Serve, and say so once the app has started."""
    serving = asyncio.ensure_future(_serve_until_stopped(server, door))
    while not (server.started or serving.done()):
        await asyncio.sleep(0.02)
    if server.started:
        started()
    await serving


async def _serve_until_stopped(server: uvicorn.Server, door: socket.socket) -> None:
    """Serve; an app that does not start is an error, not the end of the process, as uvicorn has it."""
    try:
        await server.serve(sockets=[door])
    except SystemExit:
        raise RuntimeError("the web service did not start; the log of uvicorn.error says why") from None


@contextmanager
def _silent_signals() -> Iterator[None]:
    """Uvicorn raises a signal again after it has obeyed; nobody then needs to die of it, and what is open is closed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {kind: signal.signal(kind, lambda *_: None) for kind in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)

"""What this process counts of its requests, for Prometheus."""

import time

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"))


class Requests:
    """Counts of one app, and whatever else its registry is to tell.

    Args:
        more: What tells it.

    Example:
        >>> requests = Requests()
        >>> requests.count("/api/v1/cases", "GET", 200, 0.02)
        >>> [line for line in requests.page().decode().splitlines() if "requests_total{" in line]
        ['eyeground_clinic_requests_total{method="GET",route="/api/v1/cases",status="200"} 1.0']

    References:
        Prometheus text format 0.0.4.
    """

    def __init__(self, *more: Collector) -> None:
        self._registry = CollectorRegistry()
        self._count = Counter(
            "eyeground_clinic_requests", "Requests of this process", ["route", "method", "status"],
            registry=self._registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "eyeground_clinic_request_seconds", "From request to answer", ["route"], buckets=_SECONDS,
            registry=self._registry,
        )  # fmt: skip
        ProcessCollector(registry=self._registry)
        for each in more:
            self._registry.register(each)

    def count(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request that has ended.

        Args:
            route: The route's own address, with names for what varies; never what a sender wrote.
            method: HTTP method; one that nobody knows is counted as ``other``, for each word makes a series.
            status: HTTP status.
            seconds: How long it took. Unit: s.
        """
        self._count.labels(route, method if method in _METHODS else "other", str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def page(self) -> bytes:
        """All counts as Prometheus reads them."""
        return generate_latest(self._registry)


class Counted:
    """Counts every request to an app.

    Args:
        app: What is counted.
        requests: Where.

    Example:
        >>> async def app(scope, receive, send): ...
        >>> Counted(app, requests=Requests()).app is app
        True

    References:
        Our own.
    """

    def __init__(self, app: ASGIApp, *, requests: Requests) -> None:
        self.app, self.requests = app, requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.monotonic(), 0

        async def watched_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watched_send)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            self.requests.count(route, scope["method"], status, time.monotonic() - began)

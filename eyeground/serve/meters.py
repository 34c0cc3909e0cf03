"""What the web service counts, for Prometheus."""

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from starlette.types import ASGIApp, Receive, Scope, Send

from eyeground.serve.refused import reasons

ANSWERS = ("graded", "cannot_grade")
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Meters:
    """Counts of one app, in a registry of their own.

    Args:
        waiting: Tells how many uploads wait.
        in_flight: Tells how many images are worked on.

    Example:
        >>> meters = Meters(waiting=lambda: 3, in_flight=lambda: 1)
        >>> meters.count("graded", 0.2)
        >>> [line for line in meters.page().decode().splitlines() if "requests_total{" in line]
        ['eyeground_requests_total{outcome="graded"} 1.0']

    References:
        Prometheus text format 0.0.4.
    """

    def __init__(self, *, waiting: Callable[[], int], in_flight: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        registry = self._registry
        self._requests = Counter("eyeground_requests", "Uploads by what became of them", ["outcome"], registry=registry)
        self._images = Counter(
            "eyeground_images", "Images by whether they could be graded", ["verdict"], registry=registry
        )
        self._seconds = Histogram(
            "eyeground_request_seconds", "From request to answer", buckets=_SECONDS, registry=registry
        )
        Gauge("eyeground_waiting", "Uploads that wait or are being sent", registry=registry).set_function(waiting)
        Gauge("eyeground_in_flight", "Images being worked on", registry=registry).set_function(in_flight)
        ProcessCollector(registry=self._registry)

    def count(self, outcome: str, seconds: float) -> None:
        """Count a request that has ended.

        Args:
            outcome: ``"graded"``, ``"cannot_grade"`` or why it was refused; no other word, for each makes a series.
            seconds: How long it took. Unit: s.
        """
        self._requests.labels(outcome if outcome in (*ANSWERS, *reasons()) else "failed").inc()
        self._seconds.observe(seconds)
        if outcome in ANSWERS:
            self._images.labels(outcome).inc()

    def page(self) -> bytes:
        """All counts as Prometheus reads them."""
        return generate_latest(self._registry)


class Metered:
    """Counts what became of requests to one path; the app leaves it in the request's state under ``outcome``.

    Args:
        app: What is counted.
        meters: Where.
        path: Of the requests that are POSTed there.

    Example:
        >>> async def app(scope, receive, send): ...
        >>> Metered(app, meters=Meters(waiting=int, in_flight=int), path="/predict").path
        '/predict'

    References:
        Our own.
    """

    def __init__(self, app: ASGIApp, *, meters: Meters, path: str) -> None:
        self.app, self.meters, self.path = app, meters, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != self.path or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        began = time.monotonic()
        try:
            await self.app(scope, receive, send)
        finally:
            self.meters.count(scope.get("state", {}).get("outcome", "failed"), time.monotonic() - began)

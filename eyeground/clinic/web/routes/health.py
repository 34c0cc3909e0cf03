"""Whether the service runs and is ready, and how it stands."""

import threading
import time
from typing import Final

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy.exc import SQLAlchemyError

from eyeground.clinic.blobs.store import BlobMissing, StoreLost
from eyeground.clinic.db.database import DatabaseLost
from eyeground.clinic.db.migrate import SchemaRefused, check_schema
from eyeground.clinic.log import failed
from eyeground.clinic.service import Service
from eyeground.clinic.web.desk import Desk
from eyeground.clinic.web.refusing import TurnedAway, answers
from eyeground.serve.shapes import Health

_KEEP_S: Final = 1.0
_NOTHING: Final = "0" * 64  # of no file: to find nothing under it, the store has to answer


def add(app: FastAPI, desk: Desk) -> None:
    """Put the routes into an app.

    Args:
        app: The app.
        desk: What routes share.

    References:
        docs/clinic.md.
    """
    ready = _Ready(desk.service)

    @app.get("/healthz", summary="Whether the service runs")
    async def healthz() -> Health:
        return Health()

    @app.get("/readyz", summary="Whether database and image store answer", responses=answers(503))
    def readyz() -> Health:
        """Ready is who can take requests in safely. Whether workers do their part is seen in the metrics."""
        waits_for = ready.waits_for()
        if waits_for:
            raise TurnedAway("not_ready", said=f"no answer from: {', '.join(waits_for)}")
        return Health()

    @app.get(
        "/metrics",
        summary="Counts for Prometheus",
        response_class=Response,
        responses={200: {"content": {CONTENT_TYPE_LATEST: {"schema": {"type": "string"}}}}},
    )
    def metrics() -> Response:
        return Response(desk.requests.page(), media_type=CONTENT_TYPE_LATEST)


class _Ready:
    """Looks whether all that is needed answers, at most once a second however often it is asked."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._lock = threading.Lock()
        self._looked, self._found = float("-inf"), list[str]()

    def waits_for(self) -> list[str]:
        """What does not answer; none = ready."""
        with self._lock:
            if time.monotonic() - self._looked >= _KEEP_S:
                self._found = self._look()
                self._looked = time.monotonic()
            return self._found

    def _look(self) -> list[str]:
        """Ask the database for its tables' version, and the store for what it cannot have."""
        missing = []
        try:
            check_schema(self._service.database.engine)
        except (SchemaRefused, DatabaseLost, SQLAlchemyError) as error:
            failed("not_ready", error)
            missing.append("schema" if isinstance(error, SchemaRefused) else "database")
        try:
            self._service.store.get(_NOTHING)
        except BlobMissing:
            return missing
        except StoreLost as error:
            failed("not_ready", error)
        return [*missing, "store"]

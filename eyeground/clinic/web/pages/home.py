"""The way in, and the files that pages are made of."""

from fastapi import FastAPI, Request, Response
from starlette.responses import RedirectResponse

from eyeground.clinic.web.desk import Desk
from eyeground.clinic.web.guard import who_asks
from eyeground.clinic.web.paging import STATIC, home_of, static_file
from eyeground.clinic.web.refusing import TurnedAway


def add(app: FastAPI, desk: Desk) -> None:
    """Put the routes into an app.

    Args:
        app: The app.
        desk: What routes share.

    Raises:
        TurnedAway: If there is no such file.

    References:
        docs/clinic.md.
    """

    @app.get("/", include_in_schema=False)
    def home(request: Request) -> Response:
        """Everybody begins where his work is."""
        return RedirectResponse(home_of(who_asks(request).role), 303)

    @app.get(f"{STATIC}/{{stamp}}/{{name}}", include_in_schema=False)
    async def static(stamp: str, name: str) -> Response:
        """A file; under the stamp of today's files it may be kept for good, for with other files it is another."""
        found = static_file(name)
        if found is None:
            raise TurnedAway("not_found")
        data, kind = found
        keep = "public, max-age=31536000, immutable" if stamp == desk.pages.stamp else "no-cache"
        return Response(data, media_type=kind, headers={"Cache-Control": keep})

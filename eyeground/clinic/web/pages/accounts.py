"""Accounts as a page, for administrators."""

from fastapi import FastAPI, Request, Response

from eyeground.clinic.accounts import ROLES
from eyeground.clinic.staff import members
from eyeground.clinic.web.desk import Desk
from eyeground.clinic.web.guard import who_asks
from eyeground.clinic.web.paging import language_of, words_of


def add(app: FastAPI, desk: Desk) -> None:
    """Put the page into an app.

    Args:
        app: The app.
        desk: What routes share.

    References:
        docs/clinic.md.
    """

    @app.get("/accounts", include_in_schema=False)
    def page(request: Request) -> Response:
        """All accounts that this administrator looks after."""
        who, words = who_asks(request), words_of("accounts", language_of(request.scope))
        with desk.service.database.read() as session:
            found = members(session, site=who.site)
        return desk.pages.show(
            request, "accounts", found=found, roles=ROLES, told={key: words[key] for key in ("sure", "made", "done")}
        )

"""Signing in with name and password, and signing out."""

from typing import Final
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, RedirectResponse

from eyeground.clinic.attempts import Tried, neighborhood
from eyeground.clinic.log import say
from eyeground.clinic.passwords import check_password
from eyeground.clinic.sessions import close_session
from eyeground.clinic.web.desk import Desk
from eyeground.clinic.web.entrance import (
    SIGN_IN,
    enter,
    form_cookie,
    form_word,
    is_own_form,
    own_path,
    read_form,
    take_cookie,
)  # fmt: skip
from eyeground.clinic.web.guard import who_asks
from eyeground.clinic.web.paging import home_of

_LONGEST: Final = 256
_STATUS: Final = {"": 200, "wrong": 401, "wait": 429, "stale": 403, "refused": 403, "unknown": 403, "lost": 503}


def add(app: FastAPI, desk: Desk) -> None:
    """Put the routes into an app.

    Args:
        app: The app.
        desk: What routes share.

    References:
        docs/clinic.md.
    """

    @app.get(SIGN_IN, include_in_schema=False)
    def form(request: Request) -> Response:
        """The form; whoever is signed in needs none."""
        back = own_path(request.query_params.get("next", ""))
        who = desk.guard.find(request) if request.cookies.get(desk.guard.cookie) else None
        if who is not None and who.cookie:
            return RedirectResponse(back or home_of(who.role), 303)
        problem = request.query_params.get("problem", "")
        return show(desk, request, problem=problem if problem in ("refused", "unknown", "lost") else "")

    @app.post(SIGN_IN, include_in_schema=False)
    async def sign_in(request: Request) -> Response:
        """Name and password."""
        told = await read_form(request)
        if not is_own_form(request, told, secure=desk.service.settings.secure):
            return show(desk, request, problem="stale")
        name, password = told.get("name", "").strip()[:_LONGEST], told.get("password", "")
        return await run_in_threadpool(_prove, desk, request, name, password)

    @app.post("/sign-out", include_in_schema=False)
    def sign_out(request: Request) -> Response:
        """Close the session for good; the cookie is worth nothing in any process from now on."""
        cookie = who_asks(request).cookie
        with desk.service.database.write() as work:
            close_session(work, cookie)
        response = JSONResponse({"signed_out": True})
        take_cookie(desk, response)
        return response


def show(desk: Desk, request: Request, *, problem: str = "", name: str = "", minutes: int = 0) -> Response:
    """Write the page.

    Args:
        desk: What routes share.
        request: Who wants it.
        problem: What did not work, a word of the page's own; empty = nothing was tried.
        name: What was typed as a name.
        minutes: How long to wait, where that is the problem. Unit: min.

    Returns:
        The page, with the cookie that its form belongs to.

    References:
        pages.md of the design.
    """
    settings = desk.service.settings
    cookie, word = form_word(request, secure=settings.secure)
    back = own_path(request.query_params.get("next", ""))
    response = desk.pages.show(
        request, "sign_in", status=_STATUS[problem], problem=problem, typed=name, minutes=minutes, form=word, back=back,
        provider=urlsplit(settings.oidc_issuer).hostname or "",
    )  # fmt: skip
    response.set_cookie(
        form_cookie(secure=settings.secure), cookie, secure=settings.secure, httponly=True, samesite="lax", path="/"
    )
    return response


def _prove(desk: Desk, request: Request, name: str, password: str) -> Response:
    """Check what was typed, unless somebody has typed wrong too often; in a thread."""
    tried = (Tried("name", name), Tried("address", neighborhood(request.client.host if request.client else "")))
    if wait_s := desk.attempts.begin(*tried):
        say("sign_in_waits")
        response = show(desk, request, problem="wait", name=name, minutes=-int(-wait_s // 60))
        response.headers["Retry-After"] = str(int(wait_s))
        return response
    account = check_password(desk.service.database, name, password)
    entered = None
    if account is not None:
        entered = enter(desk, request, account, how="password", back=request.query_params.get("next", ""))
    if entered is None:
        say("sign_in_refused", kind="password")
        desk.attempts.failed(name)
        return show(desk, request, problem="wrong", name=name)
    desk.attempts.succeeded(*tried)
    return entered

"""A refusal as a page, for the person who waits for one."""

import math
from typing import Final
from urllib.parse import quote

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from eyeground.clinic.web.paging import Pages, language_of
from eyeground.clinic.web.refusing import RETRY_AFTER_S, TurnedAway, words
from eyeground.serve.refused import Refused
from eyeground.serve.replies import words as limit_words
from eyeground.serve.shapes import Refusal

SIGN_IN: Final = "/sign-in"
PASSWORD: Final = "/password"  # noqa: S105 - an address


def refused_page(pages: Pages, request: Request, away: TurnedAway) -> Response:
    """Answer a person whose request is not carried out.

    Args:
        pages: Writes the page.
        request: What was asked.
        away: Why not.

    Returns:
        A page, for which nobody else is asked; whoever is not signed in, or has to change his password first, is led
        there.

    References:
        Our own.
    """
    if away.reason == "unauthorized":
        back = request.scope["path"] + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"{SIGN_IN}?next={quote(back, safe='')}", 303)
    if away.reason == "password_first":
        return RedirectResponse(PASSWORD, 303)
    error = words()[away.reason][language_of(request.scope)]
    return _page(pages, request, away.status, error, away.reason, after_s=away.after_s)


def limit_page(pages: Pages, request: Request, reason: Refusal) -> Response:
    """Answer a person whose request was refused by what stands before the service.

    Args:
        pages: Writes the page.
        request: What was asked.
        reason: Why it was.

    Returns:
        A page.

    References:
        Our own.
    """
    request.scope.setdefault("state", {})["outcome"] = reason
    error = limit_words()["refusals"][reason][language_of(request.scope)]
    return _page(pages, request, Refused(reason).status, error, reason)


def _page(pages: Pages, request: Request, status: int, error: str, reason: str, *, after_s: float = 0.0) -> Response:
    """The page."""
    response = pages.show(request, "refused", status=status, counted=False, error=error, reason=reason, code=status)
    if status == 503 or after_s:
        response.headers["Retry-After"] = str(math.ceil(after_s) or RETRY_AFTER_S)
    return response

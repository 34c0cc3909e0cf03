"""How somebody comes in by a browser: the form's own word, the way back, a new session, its cookie."""

import re
import secrets
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from eyeground.clinic.db.people import Account
from eyeground.clinic.sessions import How, close_session, csrf_token, open_proved
from eyeground.clinic.web.desk import Desk
from eyeground.clinic.web.guard import is_from_here
from eyeground.clinic.web.paging import home_of
from eyeground.clinic.web.refusing import TurnedAway
from eyeground.serve.refused import Refused as LimitRefused

SIGN_IN: Final = "/sign-in"
_MOST_BYTES: Final = 16 * 1024
_LONGEST_WAY: Final = 2000
_WORD = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
# What a browser would leave out, or read as a slash.
_NOT_IN_A_WAY = re.compile(r"[\x00-\x20\x7f\\]")


def own_path(told: str) -> str:
    """Keep a way back only if it leads nowhere but here.

    Args:
        told: What an address asked for.

    Returns:
        A path of this service; empty where it is none.

    Example:
        >>> own_path("/work?state=signed"), own_path("//evil.example"), own_path("https://evil.example")
        ('/work?state=signed', '', '')

    References:
        OWASP Unvalidated Redirects and Forwards Cheat Sheet.
    """
    if not told.startswith("/") or told.startswith("//") or len(told) > _LONGEST_WAY or _NOT_IN_A_WAY.search(told):
        return ""
    try:
        parts = urlsplit(told)
    except ValueError:
        return ""
    # Whoever is in does not want to sign in, or out, next.
    is_way = not parts.scheme and not parts.netloc and parts.path not in (SIGN_IN, "/sign-out")
    return told if is_way and not parts.path.startswith("/oidc/") else ""


async def read_form(request: Request) -> Mapping[str, str]:
    """Read a form as browsers send it where no script does.

    Args:
        request: The request.

    Returns:
        Its fields; the last of a name.

    Raises:
        Refused: If it is of another kind.
        TurnedAway: If it is longer than any form of ours.
        ClientDisconnect: If the sender hung up.

    References:
        WHATWG URL Standard, section 5.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise LimitRefused("unsupported_media_type")
    body = await request.body()
    if len(body) > _MOST_BYTES:
        raise TurnedAway("too_large")
    try:
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=20))
    except ValueError:
        raise LimitRefused("bad_form") from None


def form_cookie(*, secure: bool) -> str:
    """Name the cookie that belongs to a form of somebody who is not signed in.

    Args:
        secure: Whether browsers come by TLS.

    Returns:
        With TLS a name that no neighboring host can set.

    Example:
        >>> form_cookie(secure=True)
        '__Host-eyeground-form'

    References:
        RFC 6265bis, section 4.1.3.
    """
    return "__Host-eyeground-form" if secure else "eyeground-form"


def form_word(request: Request, *, secure: bool) -> tuple[str, str]:
    """Give a form the word that no other site can know.

    Args:
        request: Who wants the form.
        secure: Whether browsers come by TLS.

    Returns:
        What goes into the cookie, and the word that goes into the form.

    Example:
        >>> cookie, word = form_word(Request({"type": "http", "headers": []}), secure=False)
        >>> len(cookie), len(word)
        (43, 64)

    References:
        OWASP Cross-Site Request Forgery Prevention Cheat Sheet, "Login CSRF".
    """
    known = request.cookies.get(form_cookie(secure=secure), "")
    cookie = known if _WORD.fullmatch(known) else secrets.token_urlsafe(32)
    return cookie, csrf_token(cookie)


def is_own_form(request: Request, form: Mapping[str, str], *, secure: bool) -> bool:
    """Tell whether a form is one that we gave to this very browser.

    Args:
        request: What brought it.
        form: Its fields.
        secure: Whether browsers come by TLS.

    Returns:
        Whether it is.

    Example:
        >>> is_own_form(Request({"type": "http", "headers": []}), {"form": ""}, secure=False)
        False

    References:
        OWASP Cross-Site Request Forgery Prevention Cheat Sheet, "Login CSRF".
    """
    cookie = request.cookies.get(form_cookie(secure=secure), "")
    if not _WORD.fullmatch(cookie):
        return False
    is_known = secrets.compare_digest(form.get("form", "").encode(), csrf_token(cookie).encode())
    return is_known and is_from_here(request)


def enter(desk: Desk, request: Request, account: Account, *, how: How, back: str) -> Response | None:
    """Let somebody in who has proved who he is; in a thread.

    Whatever session the browser had is closed, and another one opened: an id that somebody knew is worth nothing.

    Args:
        desk: What routes share.
        request: What he asked.
        account: Who he is, as the account was when that was checked.
        how: By what he proved it.
        back: Where he wants to go; empty = where his work is.

    Returns:
        The way there, with the cookie; None where the account is no longer what it was.

    Raises:
        DatabaseLost: If the database does not answer.

    References:
        OWASP Session Management Cheat Sheet, "Renew the session ID after any privilege level change".
    """
    settings = desk.service.settings
    with desk.service.database.write() as work:
        close_session(work, request.cookies.get(desk.guard.cookie, ""))
        cookie = open_proved(work, account, how=how, hours=settings.session_hours)
    if cookie is None:
        return None
    response = RedirectResponse(own_path(back) or home_of(account.role), 303)  # type: ignore[arg-type]
    give_cookie(desk, response, cookie)
    response.delete_cookie(form_cookie(secure=settings.secure), secure=settings.secure, httponly=True, samesite="lax")
    return response


def give_cookie(desk: Desk, response: Response, cookie: str) -> None:
    """Send the cookie of a session with an answer.

    Args:
        desk: What routes share.
        response: The answer.
        cookie: As ``open_session`` gave it.

    References:
        RFC 6265bis.
    """
    response.set_cookie(
        desk.guard.cookie, cookie, secure=desk.service.settings.secure, httponly=True, samesite="lax", path="/"
    )


def take_cookie(desk: Desk, response: Response) -> None:
    """Take the cookie of a session back.

    Args:
        desk: What routes share.
        response: The answer.

    References:
        RFC 6265bis.
    """
    response.delete_cookie(
        desk.guard.cookie, secure=desk.service.settings.secure, httponly=True, samesite="lax", path="/"
    )

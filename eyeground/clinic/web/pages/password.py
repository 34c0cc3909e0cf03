"""One's own password, and where one is signed in."""

from typing import Final

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from eyeground.clinic.accounts import AccountRefused, named
from eyeground.clinic.attempts import Tried
from eyeground.clinic.db.people import Account
from eyeground.clinic.passwords import LEAST, MOST, PasswordRefused, check_password, set_password
from eyeground.clinic.sessions import close_all, csrf_token, is_of, open_session, sessions_of
from eyeground.clinic.web.bodies import read_asked
from eyeground.clinic.web.desk import Desk
from eyeground.clinic.web.entrance import give_cookie
from eyeground.clinic.web.guard import Who, who_asks
from eyeground.clinic.web.paging import language_of, words_of
from eyeground.clinic.web.refusing import TurnedAway

PAGE: Final = "/password"


class ChangedPassword(BaseModel):
    """Another password for oneself.

    Args:
        old: The one so far.
        new: The one from now on.

    Example:
        >>> ChangedPassword(old="a", new="b").new
        'b'

    References:
        Our own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    old: str = Field(max_length=1000, repr=False)
    new: str = Field(max_length=1000, repr=False)


def add(app: FastAPI, desk: Desk) -> None:
    """Put the routes into an app.

    Args:
        app: The app.
        desk: What routes share.

    References:
        docs/clinic.md.
    """
    settings = desk.service.settings

    @app.get("/session", include_in_schema=False)
    def session(request: Request) -> Response:
        """The word of this browser's session, for a page that was opened in an earlier one of the same account.

        Another site's page cannot read it: no other origin is ever allowed to.
        """
        who = who_asks(request)
        return JSONResponse({"account": who.account, "csrf": csrf_token(who.cookie) if who.cookie else ""})

    @app.get(PAGE, include_in_schema=False)
    def page(request: Request) -> Response:
        """The page."""
        who = who_asks(request)
        with desk.service.database.read() as session:
            account = session.get_one(Account, who.account)
            rows = sessions_of(session, who.account, idle_minutes=settings.idle_minutes)
        places = [
            {"how": row.how, "made": row.made_at, "seen": row.seen_at, "here": is_of(row, who.cookie)} for row in rows
        ]
        return desk.pages.show(
            request, "password", has_password=bool(account.password_hash), sessions=places, least=LEAST, most=MOST,
            has_subject=bool(account.subject), must_change=who.must_change,
        )  # fmt: skip

    @app.post(PAGE, include_in_schema=False)
    async def change(request: Request) -> Response:
        """Change it; whoever else is signed in as the same account is signed out."""
        asked = await read_asked(request, ChangedPassword)
        who = who_asks(request)
        return await run_in_threadpool(_change, desk, who, asked, request)

    @app.post(f"{PAGE}/elsewhere", include_in_schema=False)
    def elsewhere(request: Request) -> Response:
        """Sign out everywhere but here."""
        who = who_asks(request)
        with desk.service.database.write() as work:
            close_all(work, who.account, but=who.cookie)
            work.note(who.account, "signed_out_elsewhere", None)
        return JSONResponse({"signed_out": True})


def _change(desk: Desk, who: Who, asked: ChangedPassword, request: Request) -> Response:
    """Check the old password, set the new one; in a thread. This browser gets a new session in place of its own."""
    database, settings, tried = desk.service.database, desk.service.settings, Tried("name", who.account)
    if wait_s := desk.attempts.begin(tried):
        raise TurnedAway("too_many_tries", after_s=wait_s)
    known = check_password(database, who.account, asked.old)
    if known is None:
        desk.attempts.failed(who.account)
        raise TurnedAway("wrong_password")
    desk.attempts.succeeded(tried)
    cookie = ""
    try:
        with database.write() as work:
            # Locked, so that of two who change it, or of him and who revokes the account, one comes second.
            if named(work.session, who.account, lock=True).password_hash != known.password_hash:
                raise TurnedAway("wrong_password")
            set_password(work, who.account, asked.new, actor=who.account)
            if who.cookie:  # a program's token stays what it is
                cookie = open_session(work, who.account, how="password", hours=settings.session_hours)
    except PasswordRefused as refused:
        said = words_of("password", language_of(request.scope))["faults"]
        raise TurnedAway(
            "password_refused", said="; ".join(said[each].format(least=LEAST, most=MOST) for each in refused.faults)
        ) from None
    except AccountRefused:  # revoked a moment ago
        raise TurnedAway("unauthorized") from None
    response = JSONResponse({"changed": True})
    if cookie:
        give_cookie(desk, response, cookie)
    return response

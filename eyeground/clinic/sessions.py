"""Who is signed in with a browser: rows in the database, so that signing out ends it in every process."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from eyeground.clinic.blobs.store import digest_of
from eyeground.clinic.clock import now
from eyeground.clinic.db.database import Work
from eyeground.clinic.db.people import Account, BrowserSession

How = Literal["password", "oidc"]
_COOKIE_BYTES: Final = 32
_MINUTE: Final = 16  # characters of an ISO time
_SLACK_MINUTES: Final = 1.0  # clocks of two machines may differ that much


@dataclass(frozen=True)
class SignedIn:
    """Who has a cookie.

    Args:
        account: Who.
        is_new_minute: Whether ``seen`` is to be called.
        must_change: Whether a password opened it that somebody else made: it is to be changed first.

    References:
        Our own.
    """

    account: Account
    is_new_minute: bool
    must_change: bool


def open_session(work: Work, account: str, *, how: How, hours: float) -> str:
    """Sign somebody in; sessions that are over are cleared away.

    Args:
        work: An open write transaction.
        account: Who; the caller has made sure of that.
        how: By what.
        hours: How long it lasts at most. Unit: h.

    Returns:
        The cookie: random, 256 bit; its hash alone is kept.

    References:
        OWASP Session Management Cheat Sheet.
    """
    moment, cookie = now(), secrets.token_urlsafe(_COOKIE_BYTES)
    work.session.execute(delete(BrowserSession).where(BrowserSession.ends_at < moment))
    work.session.add(
        BrowserSession(
            id_sha256=digest_of(cookie.encode()), account=account, how=how, made_at=moment, seen_at=moment,
            ends_at=_later(moment, hours * 60),
        )
    )  # fmt: skip
    work.note(account, "signed_in", None, how=how)
    return cookie


def open_proved(work: Work, proved: Account, *, how: How, hours: float) -> str | None:
    """Sign somebody in who has proved who he is, if what he proved it by is still good now.

    The account is locked: whoever revokes it or changes its password comes before, and is seen, or after, and ends the
    session.

    Args:
        work: An open write transaction.
        proved: The account, as it was when that was checked.
        how: By what.
        hours: How long it lasts at most. Unit: h.

    Returns:
        The cookie; None where the account was revoked meanwhile, or has another password or subject.

    References:
        CWE-367, time-of-check time-of-use.
    """
    account = work.session.get(Account, proved.name, with_for_update=True, populate_existing=True)
    if account is None or account.revoked_at:
        return None
    proof = "password_hash" if how == "password" else "subject"
    if getattr(account, proof) != getattr(proved, proof):
        return None
    return open_session(work, account.name, how=how, hours=hours)


def signed_in(session: Session, cookie: str, *, idle_minutes: float) -> SignedIn | None:
    """Find who has a cookie.

    Args:
        session: An open transaction.
        cookie: As ``open_session`` gave it.
        idle_minutes: How long it may lie unused. Unit: min.

    Returns:
        Who it is; None where the cookie is nobody's, its time is over, or the account was revoked. Where it was used
        later than now, the clock was set back: nobody knows when its time is over, so it is.

    References:
        Our own.
    """
    row = session.get(BrowserSession, digest_of(cookie.encode()))
    moment = now()
    if row is None or row.ends_at < moment or _later(row.seen_at, idle_minutes) < moment:
        return None
    if row.seen_at > _later(moment, _SLACK_MINUTES):
        return None
    account = session.get(Account, row.account)
    if account is None or account.revoked_at:
        return None
    is_new_minute = row.seen_at[:_MINUTE] != moment[:_MINUTE]
    return SignedIn(account, is_new_minute, account.must_change and row.how == "password")


def seen(work: Work, cookie: str) -> bool:
    """Write down that a session is in use.

    Args:
        work: An open write transaction.
        cookie: As ``open_session`` gave it.

    Returns:
        Whether there still is one: somebody may have signed out a moment ago.

    References:
        Our own.
    """
    ours = update(BrowserSession).where(BrowserSession.id_sha256 == digest_of(cookie.encode()))
    return bool(work.session.execute(ours.values(seen_at=now())).rowcount)  # type: ignore[attr-defined]


def close_session(work: Work, cookie: str) -> None:
    """Sign somebody out; a cookie that is nobody's is no error.

    Args:
        work: An open write transaction.
        cookie: As ``open_session`` gave it.

    References:
        Our own.
    """
    ours = delete(BrowserSession).where(BrowserSession.id_sha256 == digest_of(cookie.encode()))
    account = work.session.execute(ours.returning(BrowserSession.account)).scalar_one_or_none()
    if account is not None:
        work.note(account, "signed_out", None)


def close_all(work: Work, account: str, *, but: str = "") -> None:
    """Sign somebody out everywhere.

    Args:
        work: An open write transaction.
        account: Who.
        but: Cookie of a session that stays.

    References:
        Our own.
    """
    kept = digest_of(but.encode())
    theirs = delete(BrowserSession).where(BrowserSession.account == account, BrowserSession.id_sha256 != kept)
    work.session.execute(theirs)


def sessions_of(session: Session, account: str, *, idle_minutes: float) -> list[BrowserSession]:
    """List where somebody is signed in.

    Args:
        session: An open transaction.
        account: Who.
        idle_minutes: How long a session may lie unused. Unit: min.

    Returns:
        Those that are good, the last used first.

    References:
        Our own.
    """
    moment = now()
    wanted = select(BrowserSession).where(BrowserSession.account == account, BrowserSession.ends_at >= moment)
    rows = session.scalars(wanted.order_by(BrowserSession.seen_at.desc())).all()
    return [row for row in rows if _later(row.seen_at, idle_minutes) >= moment]


def is_of(row: BrowserSession, cookie: str) -> bool:
    """Tell whether a session is the one of a cookie.

    Args:
        row: The session.
        cookie: As ``open_session`` gave it.

    Returns:
        Whether it is.

    References:
        Our own.
    """
    return hmac.compare_digest(row.id_sha256, digest_of(cookie.encode()))


def csrf_token(cookie: str) -> str:
    """Give the word that a page's requests carry, which no other page can know.

    Args:
        cookie: As ``open_session`` gave it.

    Returns:
        64 hex digits.

    Example:
        >>> csrf_token("a cookie") == csrf_token("a cookie"), csrf_token("a cookie") == csrf_token("another")
        (True, False)

    References:
        OWASP Cross-Site Request Forgery Prevention Cheat Sheet, "Synchronizer token pattern".
    """
    return hmac.new(cookie.encode(), b"eyeground csrf", hashlib.sha256).hexdigest()


def _later(moment: str, minutes: float) -> str:
    """A time so much later; sorts as text."""
    at = datetime.strptime(moment, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    return (at + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

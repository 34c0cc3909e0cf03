"""Links by which patients read their report: an address, and a code of six digits that comes another way.

Whoever finds the paper has no address, whoever reads the message has no code. A link that was seen expired stays so
when the clock is set back; one that nobody has opened since lives on for as long as the clock went back, no longer.
"""

import hashlib
import hmac
import re
import secrets
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from eyeground.clinic.attempts import Attempts, Tried, attempts_key, neighborhood
from eyeground.clinic.blobs.store import digest_of
from eyeground.clinic.cases import find
from eyeground.clinic.clock import now
from eyeground.clinic.db.database import Database, Work
from eyeground.clinic.db.people import PatientLink

LinkState = Literal["good", "expired", "gone"]
MOST_FAILURES: Final = 20  # in all; how many in a row, and how long to wait then, is said by ``attempts``
PASS_S: Final = 30 * 60
_TOKEN_BYTES: Final = 24  # 192 bit
_DIGITS: Final = 6
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{32}", re.ASCII)
_PASS: Final = re.compile(r"([0-9a-f]{64})\.([0-9]{1,12})\.([0-9a-f]{64})", re.ASCII)


class LinkClosed(ValueError):
    """A link that opens nothing: there never was one, it was revoked, or it has expired.

    Args:
        expired: Whether it has expired, which whoever holds it may know.

    Example:
        >>> LinkClosed(expired=True).expired
        True

    References:
        Our own.
    """

    def __init__(self, *, expired: bool) -> None:
        self.expired = expired
        super().__init__("the link has expired" if expired else "there is no such link")


class CodeWrong(ValueError):
    """A code that is not this link's; the message repeats nothing."""


class CodeWaits(ValueError):
    """Too many wrong codes: nothing is tried for a while.

    Args:
        seconds: How long. Unit: s.

    Example:
        >>> CodeWaits(15).seconds
        15

    References:
        Our own.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__("too many wrong codes: wait, then try again")


@dataclass(frozen=True)
class NewLink:
    """A link that was just made; token and code are kept nowhere.

    Args:
        token: What stands in its address.
        code: Six digits, to be given another way.
        ends_at: When it expires; UTC, ISO.

    Example:
        >>> NewLink("token", "012345", "2026-12-28T00:00:00.000000Z").path
        '/p/token'

    References:
        Our own.
    """

    token: str
    code: str
    ends_at: str

    @property
    def path(self) -> str:
        """Its address without the host."""
        return f"/p/{self.token}"


@dataclass(frozen=True)
class Access:
    """What somebody may read who gave the right code.

    Args:
        case_id: Of this case alone.
        actor: Who stands in the audit trail: the link, for a patient has no account.
        ends_at: Until when, unless the link is revoked before; seconds since 1970.
        link_ends_at: When the link itself expires; UTC, ISO.

    Example:
        >>> Access("0a", "link:1f3c9a02", 1800000000, "2027-01-15T08:00:00.000000Z").actor
        'link:1f3c9a02'

    References:
        Our own.
    """

    case_id: str
    actor: str
    ends_at: int
    link_ends_at: str


class PatientLinks:
    """Makes links, and opens them.

    Args:
        database: Where they are.
        secret: ``Settings.secret``.
        days: How long a link is good. Unit: days.

    References:
        NIST SP 800-63B, section 5.1.3 (out-of-band secrets) for length, use and limits of the code.
    """

    def __init__(self, database: Database, *, secret: str, days: float) -> None:
        self._database, self._days = database, days
        self._key = hmac.new(secret.encode(), b"eyeground patients' links", hashlib.sha256).digest()
        self._attempts = Attempts(database, key=attempts_key(secret))

    def make(self, case_id: str, *, site: str, actor: str) -> NewLink:
        """Make a link. Those made before are revoked: of a case one is good, or a lost paper would stay so.

        Args:
            case_id: The case, in whatever state; nothing is shown before it was signed and released.
            site: Whose it must be; empty = anybody's.
            actor: Who makes it.

        Returns:
            The link with its code.

        Raises:
            NoSuchCase: If there is none, or it is another site's.
            DatabaseLost: If the database does not answer; then none was made that anybody knows.
        """
        token, moment = secrets.token_urlsafe(_TOKEN_BYTES), now()
        code = f"{secrets.randbelow(10**_DIGITS):0{_DIGITS}}"
        made = NewLink(token, code, _later(moment, self._days))
        link_id = digest_of(token.encode())
        with self._database.write() as work:
            self._revoke(work, case_id, site=site, actor=actor)
            work.session.add(
                PatientLink(
                    token_sha256=link_id, case_id=case_id, code_digest=self._code_digest(link_id, code), made_by=actor,
                    made_at=moment, ends_at=made.ends_at,
                )
            )  # fmt: skip
            case = find(work.session, case_id)
            work.note(actor, "link_made", case, link=link_id[:8], ends_at=made.ends_at)
        return made

    def revoke(self, case_id: str, *, site: str, actor: str) -> int:
        """Revoke a case's links; whoever reads by one is out at once.

        Args:
            case_id: The case.
            site: Whose it must be; empty = anybody's.
            actor: Who does it.

        Returns:
            How many were good until now.

        Raises:
            NoSuchCase: If there is none, or it is another site's.
            DatabaseLost: If the database does not answer.
        """
        with self._database.write() as work:
            return self._revoke(work, case_id, site=site, actor=actor)

    def state(self, token: str) -> LinkState:
        """Tell what a link is good for, to whoever has its address.

        Args:
            token: What stands in the address.

        Returns:
            ``"good"``; ``"expired"``, which whoever holds it may know; else ``"gone"``, whether it was revoked, got too
            many wrong codes, its case was taken out, or it never was.

        Raises:
            DatabaseLost: If the database does not answer.
        """
        link_id = _link_id(token)
        with self._database.read() as session:
            row, moment = session.get(PatientLink, link_id), now()
            found = _state(row, moment)
        if row is not None and found == "expired" and not row.revoked_at:
            self._mark_expired(link_id)
        return found

    def open(self, token: str, code: str, *, address: str) -> str:
        """Open a link with its code. A wrong code counts; a link that is none does not: nobody finds one by chance.

        Args:
            token: What stands in the address.
            code: As somebody typed it; spaces and full-width digits do no harm.
            address: Of the client that asks; empty where it is not known.

        Returns:
            A pass for ``access``: it says which link, since when, and nothing of the patient.

        Raises:
            LinkClosed: If it opens nothing.
            CodeWrong: If the code is not the link's.
            CodeWaits: If too many were wrong, of this link or from this address.
            DatabaseLost: If the database does not answer.
        """
        typed = re.sub(r"[\s-]", "", unicodedata.normalize("NFKC", code[:64]))
        if not re.fullmatch(f"[0-9]{{{_DIGITS}}}", typed, re.ASCII):
            raise CodeWrong("a code has six digits")  # it cannot be right, so that it costs nothing
        if not _TOKEN.fullmatch(token):
            raise LinkClosed(expired=False)
        link_id = _link_id(token)
        digest = self._code_digest(link_id, typed)
        if (state := self.state(token)) != "good":
            raise LinkClosed(expired=state == "expired")
        tried = (Tried("link", link_id), Tried("link_address", neighborhood(address)))
        if wait := self._attempts.begin(*tried):
            raise CodeWaits(wait)
        with self._database.write() as work:
            row = work.session.get(PatientLink, link_id, with_for_update=True)
            state = _state(row, moment := now())
            is_right = row is not None and state == "good" and hmac.compare_digest(digest, row.code_digest)
            if row is not None and state == "good":
                case, link = find(work.session, row.case_id), link_id[:8]
                if is_right:
                    row.opened_at = row.opened_at or moment
                    work.note(_actor(link_id), "link_opened", case, link=link)
                else:
                    row.failures += 1
                    work.note(_actor(link_id), "link_code_wrong", case, link=link, failures=row.failures)
        if row is None or state != "good":  # revoked, or guessed at too often, a moment ago
            raise LinkClosed(expired=state == "expired")
        if not is_right:
            raise CodeWrong("the code is not right")
        self._attempts.succeeded(*tried)
        return self._pass(row, _seconds(moment))

    def access(self, told: str, *, token: str | None = None) -> Access | None:
        """Tell what a pass is good for.

        Args:
            told: What somebody sent.
            token: Of the link that it has to be for; None = of whichever.

        Returns:
            What may be read; None where it is no pass of ours, its half hour is over, the clock was set back behind its
            beginning, or its link is not good any more.

        Raises:
            DatabaseLost: If the database does not answer.
        """
        found = _PASS.fullmatch(told)
        if found is None or (token is not None and found[1] != _link_id(token)):
            return None
        link_id, since = found[1], int(found[2])
        with self._database.read() as session:
            row = session.get(PatientLink, link_id)
            if row is None or _state(row, moment := now()) != "good":
                return None
        is_ours = hmac.compare_digest(self._pass(row, since), told)
        if not is_ours or not since <= _seconds(moment) < since + PASS_S:
            return None
        ends_at = min(since + PASS_S, _seconds(row.ends_at))
        return Access(row.case_id, _actor(link_id), ends_at, row.ends_at)

    def _revoke(self, work: Work, case_id: str, *, site: str, actor: str) -> int:
        """Revoke those of a case that are good; the case is locked, so that of two who make one the second counts."""
        case = find(work.session, case_id, lock=True, site=site)
        moment, good = now(), _good_of(work.session, case_id)
        for row in good:
            row.revoked_at = moment
            work.note(actor, "link_revoked", case, link=row.token_sha256[:8])
        return len(good)

    def _mark_expired(self, link_id: str) -> None:
        """Write down that a link was seen expired: revoked at its own end."""
        with self._database.write() as work:
            row = work.session.get(PatientLink, link_id, with_for_update=True)
            if row is not None and not row.revoked_at and _state(row, now()) == "expired":
                row.revoked_at = row.ends_at
                work.note("service", "link_expired", find(work.session, row.case_id), link=link_id[:8])

    def _code_digest(self, link_id: str, code: str) -> str:
        """What is kept of a code: a million codes are tried in a second, but not without the key."""
        return hmac.new(self._key, f"code {link_id} {code}".encode(), hashlib.sha256).hexdigest()

    def _pass(self, row: PatientLink, since: int) -> str:
        """A pass of this link, sealed."""
        told = f"pass {row.token_sha256} {row.code_digest} {row.case_id} {since}".encode()
        return f"{row.token_sha256}.{since}.{hmac.new(self._key, told, hashlib.sha256).hexdigest()}"


def link_ends(session: Session, case_id: str) -> str:
    """Say until when a case's link works.

    Args:
        session: An open transaction.
        case_id: The case.

    Returns:
        UTC, ISO; empty where no link works.

    References:
        Our own.
    """
    moment = now()
    return max((row.ends_at for row in _good_of(session, case_id) if row.ends_at > moment), default="")


def _good_of(session: Session, case_id: str) -> list[PatientLink]:
    """Links of a case that nobody has revoked."""
    return list(session.scalars(select(PatientLink).filter_by(case_id=case_id, revoked_at="")))


def _state(row: PatientLink | None, moment: str) -> LinkState:
    """What a row is good for; one that was revoked at its own end was seen expired."""
    if row is None or row.failures >= MOST_FAILURES or row.revoked_at not in ("", row.ends_at):
        return "gone"
    return "expired" if row.revoked_at or row.ends_at <= moment else "good"


def _link_id(token: str) -> str:
    """Under what a link is kept; of what cannot be a token, what nothing is kept under."""
    return digest_of(token.encode()) if _TOKEN.fullmatch(token) else digest_of(b"no token")


def _actor(link_id: str) -> str:
    """Who reads, for the audit trail; no account can have such a name."""
    return f"link:{link_id[:8]}"


def _later(moment: str, days: float) -> str:
    """A time so many days later; sorts as text."""
    return (_at(moment) + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _seconds(moment: str) -> int:
    """A time as seconds since 1970."""
    return int(_at(moment).timestamp())


def _at(moment: str) -> datetime:
    """A time of the tables."""
    return datetime.strptime(moment, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)

"""How often somebody may fail to prove who he is: counted in the database, for all web processes together.

An attempt is paid for before it is looked at: it counts as failed until ``Attempts.succeeded`` says otherwise, so
that a hundred at the same moment are no more than five. Waits double up to a quarter of an hour. Nobody is shut out for
good. Many people share an address: its failures leak away with time, whatever else comes from there meanwhile.
"""

import hashlib
import hmac
import ipaddress
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy import delete
from sqlalchemy.dialects import postgresql, sqlite

from eyeground.clinic.clock import now
from eyeground.clinic.db.database import Database, Work
from eyeground.clinic.db.people import Account
from eyeground.clinic.db.people import Attempts as Row

Kind = Literal["name", "address", "token", "link", "link_address", "start", "state"]
# Failures that cost nothing. A clinic's people share one address: they may mistype more often than one person may.
FREE: Final[Mapping[Kind, int]] = {
    "name": 5, "address": 20, "token": 20, "link": 5, "link_address": 20, "start": 100, "state": 1,
}  # fmt: skip
_SHORTEST_WAIT_S: Final = 15.0
# Clocks of two machines may differ that much. Wait and difference together are no more than a quarter of an hour.
_SLACK_S: Final = 60.0
LONGEST_WAIT_S: Final = 900.0 - _SLACK_S
# In a row, of one: all of it, after so long without another.
_FORGOTTEN_AFTER_S: Final[Mapping[Kind, float]] = {"name": 86400.0, "link": 86400.0, "state": 3600.0}
# Of all who share an address: one after the other, each after so long.
_ONE_LESS_EVERY_S: Final[Mapping[Kind, float]] = {
    "address": 180.0, "token": 180.0, "link_address": 180.0, "start": 10.0,
}  # fmt: skip
_KEPT_S: Final = 2 * 86400.0


@dataclass(frozen=True, order=True)
class Tried:
    """What was tried.

    Args:
        kind: What is counted.
        whom: By whom, or about whom; kept as a keyed hash only.

    Example:
        >>> Tried("name", "li").kind
        'name'

    References:
        Our own.
    """

    kind: Kind
    whom: str


class Attempts:
    """Counts failures and says how long to wait.

    Args:
        database: Where they are counted.
        key: Key of the hashes, as ``attempts_key`` gives it.

    Example:
        >>> Attempts(Database("sqlite://", key=b""), key=b"").wait_after("name", 5)
        15.0

    References:
        OWASP Authentication Cheat Sheet, "Protect against automated attacks".
    """

    def __init__(self, database: Database, *, key: bytes) -> None:
        self._database, self._key = database, key

    def begin(self, *tried: Tried) -> float:
        """Begin an attempt, unless somebody has to wait; it counts as failed from now on.

        Args:
            tried: All that it counts for.

        Returns:
            How long to wait; 0 = go on. Unit: s.

        Raises:
            DatabaseLost: If the database does not answer.
        """
        moment = now()
        with self._database.read() as session:
            rows = [(each, session.get(Row, self._hashed(each))) for each in tried]
            waits = max((self._left(each.kind, row, moment) for each, row in rows if row), default=0.0)
        if waits:  # who is told to wait costs no write
            return waits
        with self._database.write() as work:
            return self._pay(work, sorted(tried))

    def succeeded(self, *tried: Tried) -> None:
        """Take back what ``begin`` counted.

        Whoever has proved to be somebody has failed as that somebody never before. Of an address he takes back his own
        attempt alone: who has an account of his own could guess at others' for ever otherwise.

        Args:
            tried: As ``begin`` was told.

        Raises:
            DatabaseLost: If the database does not answer.
        """
        with self._database.write() as work:
            for each in sorted(tried):
                row = work.session.get(Row, self._hashed(each), with_for_update=True)
                if row is None:
                    continue
                # It is never deleted here: somebody else may count on it in the same moment.
                row.failures = 0 if each.kind in ("name", "link") else max(0, row.failures - 1)
                row.until, row.is_told = "", False

    def failed(self, name: str) -> None:
        """Write into the audit trail that an account is shut out for a while: once, until somebody succeeds.

        Args:
            name: What was given as a name, after an attempt at it that failed.

        Raises:
            DatabaseLost: If the database does not answer.
        """
        what = self._hashed(Tried("name", name))

        def shuts_out(row: Row | None) -> bool:
            return row is not None and row.failures >= FREE["name"] and not row.is_told

        with self._database.read() as session:
            if not shuts_out(session.get(Row, what)):
                return
        with self._database.write() as work:
            row = work.session.get(Row, what, with_for_update=True)
            if row is not None and shuts_out(row):
                row.is_told = True
                if work.session.get(Account, name) is not None:  # what is nobody's name may be a patient's
                    work.note("service", "sign_in_locked", None, account=name, failures=row.failures)

    def wait_after(self, kind: Kind, failures: int) -> float:
        """Say how long a number of failures costs.

        Args:
            kind: What is counted.
            failures: How many, in a row.

        Returns:
            How long nothing is tried. Unit: s.
        """
        over = failures - FREE[kind]
        if kind == "state" and over >= 0:  # good once, and its cookie is good for ten minutes
            return LONGEST_WAIT_S
        return 0.0 if over < 0 else min(LONGEST_WAIT_S, _SHORTEST_WAIT_S * 2.0 ** min(over, 10))

    def _pay(self, work: Work, tried: list[Tried]) -> float:
        """Look again, now that nobody else can change it, and count."""
        moment = now()
        insert = postgresql.insert if work.session.get_bind().dialect.name == "postgresql" else sqlite.insert
        work.session.execute(delete(Row).where(Row.last_at < _later(moment, -_KEPT_S)))
        rows: list[tuple[Tried, Any]] = []
        for each in tried:
            what = self._hashed(each)
            empty = {"what": what, "failures": 0, "last_at": moment, "until": "", "is_told": False}
            # Written anew where it is there: that locks it, so that nobody takes it away before it is read.
            ours = insert(Row).values(**empty).on_conflict_do_update(index_elements=["what"], set_={"what": what})
            work.session.execute(ours)
            rows.append((each, work.session.get_one(Row, what, populate_existing=True)))
        waits = max((self._left(each.kind, row, moment) for each, row in rows), default=0.0)
        if waits:
            return waits
        for each, row in rows:
            self._forget(each.kind, row, moment)
            row.failures += 1
            wait = self.wait_after(each.kind, row.failures)
            row.until = _later(moment, wait) if wait else ""
        return 0.0

    def _forget(self, kind: Kind, row: Row, moment: str) -> None:
        """Take off what is forgotten by now."""
        passed_s = _seconds(row.last_at, moment)
        if kind in _FORGOTTEN_AFTER_S:
            if passed_s > _FORGOTTEN_AFTER_S[kind]:
                row.failures, row.is_told = 0, False
            row.last_at = moment
            return
        every_s = _ONE_LESS_EVERY_S[kind]
        less = max(0, int(passed_s // every_s))
        row.failures = max(0, row.failures - less)
        # What is left of the time counts for the next one; a clock that was set back begins anew.
        row.last_at = _later(row.last_at, less * every_s) if row.failures and passed_s >= 0 else moment

    def _left(self, kind: Kind, row: Row, moment: str) -> float:
        """How long somebody still has to wait; a wait that is longer than it was made was made by another clock."""
        if not row.until:
            return 0.0
        left = _seconds(moment, row.until)
        return 0.0 if left <= 0 or left > self.wait_after(kind, row.failures) + _SLACK_S else math.ceil(left)

    def _hashed(self, tried: Tried) -> str:
        """Under what it is kept: names and addresses of people stand nowhere."""
        return hmac.new(self._key, f"{tried.kind} {tried.whom}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def attempts_key(secret: str) -> bytes:
    """Derive the key of the hashes.

    Args:
        secret: ``Settings.secret``.

    Returns:
        32 bytes.

    Example:
        >>> len(attempts_key("a phrase of your own"))
        32

    References:
        RFC 2104.
    """
    return hmac.new(secret.encode(), b"eyeground attempts", hashlib.sha256).digest()


def neighborhood(address: str) -> str:
    """Name the place that a client's address stands for.

    Args:
        address: Such as ``"192.0.2.7"``; empty where it is not known.

    Returns:
        The address; of IPv6 the network that one customer is given, for he has as many addresses as he likes.

    Example:
        >>> neighborhood("192.0.2.7"), neighborhood("2001:db8:0:1::7"), neighborhood("::ffff:192.0.2.7")
        ('192.0.2.7', '2001:db8:0:1::/64', '192.0.2.7')

    References:
        RFC 6177.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))
    return str(found)


def _at(moment: str) -> datetime:
    """A time of the tables."""
    return datetime.strptime(moment, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def _later(moment: str, seconds: float) -> str:
    """A time so much later, or earlier."""
    return (_at(moment) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _seconds(start: str, end: str) -> float:
    """What lies between two times."""
    return (_at(end) - _at(start)).total_seconds()

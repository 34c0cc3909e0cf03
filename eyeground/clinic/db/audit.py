"""The audit trail: lines that are only ever added, each with a keyed hash of the one before.

The head says where the trail ends. It holds a seal, a keyed hash of its own that stands in no line, and the next line
continues from that seal: who cuts the end off cannot seal what is left, and the next line shows it.
"""

import hashlib
import hmac
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from eyeground.clinic.clock import now
from eyeground.clinic.db.tables import AuditHead, AuditRecord, Case

START: Final = "0" * 64
_PAGE = 1000


@dataclass(frozen=True)
class Note:
    """Something that happened.

    Args:
        actor: Account, or ``"service"``.
        event: What.
        case_id: To which case; empty when to none.
        detail: Plain values without a word about the patient.

    Example:
        >>> Note("service", "received", "0a1b").detail
        {}

    References:
        Our own.
    """

    actor: str
    event: str
    case_id: str = ""
    detail: dict[str, Any] = field(default_factory=dict)


def audit_key(secret: str) -> bytes:
    """Derive the trail's key from the service's secret.

    Args:
        secret: ``Settings.secret``.

    Returns:
        32 bytes; without them nobody can write a line that verifies.

    Example:
        >>> len(audit_key("a phrase of your own"))
        32

    References:
        RFC 2104.
    """
    return hmac.new(secret.encode(), b"eyeground audit trail", hashlib.sha256).digest()


def append(session: Session, notes: Sequence[Note], *, key: bytes) -> None:
    """Add lines; call it last in a transaction, for until its end nobody else can add any.

    Args:
        session: An open write transaction.
        notes: What happened, in order.
        key: As ``audit_key`` gives it.

    Raises:
        RuntimeError: If the trail has no head: the database was never set up.

    Example:
        >>> from eyeground.clinic.db.database import Database
        >>> from eyeground.clinic.db.migrate import migrate
        >>> database = Database("sqlite://", key=b"a key")
        >>> _ = migrate(database.engine)
        >>> with database.write() as work:
        ...     append(work.session, [Note("service", "received")], key=b"a key")

    References:
        Schneier & Kelsey, "Secure audit logs to support computer forensics", ACM TISSEC 1999.
    """
    if not notes:
        return
    head = session.execute(select(AuditHead).where(AuditHead.id == 1).with_for_update()).scalar_one_or_none()
    if head is None:
        raise RuntimeError("the audit trail has no head; run: eyeground clinic init")
    for note in notes:
        detail = json.dumps(note.detail, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        seq, at = head.seq + 1, now()
        digest = _digest(key, head.digest, seq, at, note.actor, note.case_id, note.event, detail)
        session.add(
            AuditRecord(
                seq=seq, at=at, actor=note.actor, case_id=note.case_id, event=note.event, detail=detail, digest=digest
            )
        )
        head.seq, head.digest = seq, _seal(key, seq, digest)


@dataclass(frozen=True)
class Verdict:
    """What checking the trail found.

    Args:
        lines: How many were checked.
        broken_at: Number of the first line that was changed, added or taken out; None when the trail is whole.
        reason: What is wrong with it; empty when nothing is.

    Example:
        >>> Verdict(3, None, "").broken_at

    References:
        Our own.
    """

    lines: int
    broken_at: int | None
    reason: str


def verify(session: Session, *, key: bytes) -> Verdict:
    """Check every line against the one before, and the end against the head.

    Args:
        session: An open transaction.
        key: As ``audit_key`` gives it.

    Returns:
        What was found.

    Example:
        >>> from eyeground.clinic.db.database import Database
        >>> from eyeground.clinic.db.migrate import migrate
        >>> database = Database("sqlite://", key=b"a key")
        >>> _ = migrate(database.engine)
        >>> with database.write() as work:
        ...     work.note("service", "received")
        >>> with database.read() as session:
        ...     verify(session, key=b"a key")
        Verdict(lines=1, broken_at=None, reason='')

    References:
        Schneier & Kelsey, "Secure audit logs to support computer forensics", ACM TISSEC 1999.
    """
    # Others may add lines meanwhile: every line up to the first look at the head must be there, none beyond the second.
    seals = {0: START}
    first = _head(session)
    last = 0
    for line in _lines(session):
        if line.seq != last + 1:
            return Verdict(last, last + 1, f"line {last + 1} is gone")
        if not holds(line, before=seals[last], key=key):
            return Verdict(last, last + 1, f"line {last + 1} was changed, or written with another secret")
        if last != first[0]:
            del seals[last]
        last = line.seq
        seals[last] = _seal(key, last, line.digest)
    second = _head(session)
    if not (seals.get(first[0]) == first[1] and second[0] >= last and seals.get(second[0], second[1]) == second[1]):
        return Verdict(last, last + 1, "the end of the trail is gone, or its head was changed")
    if last == 0 and session.execute(select(Case.id).limit(1)).first() is not None:
        return Verdict(0, 1, "there are cases, but the trail is empty")
    return Verdict(last, None, "")


class Line(NamedTuple):
    """A line as it stands in the database.

    Args:
        seq: Its number.
        at: When.
        actor: Who.
        case_id: Of which case.
        event: What happened.
        detail: JSON text.
        digest: Its keyed hash.

    Example:
        >>> Line(1, "2026-11-28T09:30:00.000000Z", "service", "", "received", "{}", "0" * 64).seq
        1

    References:
        Our own.
    """

    seq: int
    at: str
    actor: str
    case_id: str
    event: str
    detail: str
    digest: str


def holds(line: Line, *, before: str, key: bytes) -> bool:
    """Check one line.

    Args:
        line: The line.
        before: Seal of the line before; ``START`` before the first.
        key: As ``audit_key`` gives it.

    Returns:
        Whether it stands as it was written.

    Example:
        >>> holds(Line(1, "", "eve", "", "received", "{}", digest="0" * 64), before=START, key=b"a key")
        False

    References:
        RFC 2104.
    """
    mine = _digest(key, before, *line[:-1])
    return hmac.compare_digest(mine.encode(), line.digest.encode())


def _head(session: Session) -> tuple[int, str]:
    """Where the trail ends, as it stands in the database now."""
    found = session.execute(select(AuditHead.seq, AuditHead.digest).where(AuditHead.id == 1)).one_or_none()
    return (-1, "") if found is None else (found.seq, found.digest)


def _lines(session: Session) -> Iterator[Line]:
    """All lines in order, a page at a time."""
    columns = [getattr(AuditRecord, name) for name in Line._fields]
    last = -(2**62)
    while True:
        found = session.execute(
            select(*columns).where(AuditRecord.seq > last).order_by(AuditRecord.seq).limit(_PAGE)
        ).all()
        if not found:
            return
        yield from map(Line._make, found)
        last = found[-1].seq


def _seal(key: bytes, seq: int, digest: str) -> str:
    """What the head says of a line; it stands nowhere else."""
    return _digest(key, "head", seq, digest)


def _digest(key: bytes, before: str, *told: object) -> str:
    """Keyed hash of a line; lengths go in, so that no two lines read alike."""
    words = [before, *(str(word) for word in told)]
    text = "".join(f"{len(word)}:{word}" for word in words)
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()

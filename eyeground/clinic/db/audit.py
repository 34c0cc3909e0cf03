"""The audit trail: lines that are only ever added, each with a keyed hash of the one before."""

import hashlib
import hmac
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from eyeground.clinic.clock import now
from eyeground.clinic.db.tables import AuditHead, AuditRecord

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
        head.seq, head.digest = seq, digest


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
    """
    before, expected = START, 1
    for record in _records(session):
        if record.seq != expected:
            return Verdict(expected - 1, expected, f"line {expected} is gone")
        mine = _digest(key, before, record.seq, record.at, record.actor, record.case_id, record.event, record.detail)
        if not hmac.compare_digest(mine, record.digest):
            return Verdict(expected - 1, expected, f"line {expected} was changed, or written with another secret")
        before, expected = record.digest, expected + 1
    head = session.execute(select(AuditHead).where(AuditHead.id == 1)).scalar_one_or_none()
    if head is None or (head.seq, head.digest) != (expected - 1, before):
        return Verdict(expected - 1, expected, "the end of the trail is gone, or its head was changed")
    return Verdict(expected - 1, None, "")


def _records(session: Session) -> Iterator[AuditRecord]:
    """All lines in order, a page at a time."""
    last = -(2**62)
    while True:
        found = session.scalars(
            select(AuditRecord).where(AuditRecord.seq > last).order_by(AuditRecord.seq).limit(_PAGE)
        ).all()
        if not found:
            return
        yield from found
        last = found[-1].seq
        session.expunge_all()


def _digest(key: bytes, before: str, *told: object) -> str:
    """Keyed hash of a line; lengths go in, so that no two lines read alike."""
    words = [before, *(str(word) for word in told)]
    text = "".join(f"{len(word)}:{word}" for word in words)
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()

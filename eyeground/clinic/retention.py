"""What is old enough is taken out: released cases with their images, and what queues and dead letters leave behind."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, delete, exists, func, or_, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from eyeground.clinic.blobs.store import Store
from eyeground.clinic.cases import stands_in
from eyeground.clinic.clock import now
from eyeground.clinic.db.database import Database, Work
from eyeground.clinic.db.opinions import Draft, FirstRead, HeatMap
from eyeground.clinic.db.people import PatientLink
from eyeground.clinic.db.tables import (
    AuditRecord,
    Case,
    DeadLetter,
    Finding,
    Image,
    Job,
    Outgoing,
    PassedMessage,
    Redelivered,
    Review,
)  # fmt: skip

LETTERS_DAYS: Final = 90
_BATCH: Final = 50
# Everything that hangs on a case, before the case itself.
_PARTS: Final[Sequence[InstrumentedAttribute[str]]] = (
    Finding.case_id, HeatMap.case_id, FirstRead.case_id, Draft.case_id, PatientLink.case_id, Review.case_id,
    Outgoing.case_id, Image.case_id, DeadLetter.case_id,
)  # fmt: skip


@dataclass(frozen=True)
class Purged:
    """What was taken out, or would be.

    Args:
        cases: Released cases that have not changed since ``before``.
        images: Images that no other case uses.
        letters: Dead letters that were replayed long ago.
        counters: Counts of messages that came back, whose end is known by now.
        before: The day up to which cases are old enough; UTC, ISO.
        done: False = nothing was taken out.

    Example:
        >>> Purged(1, 2, 0, 0, "2011-11-28", False).done
        False

    References:
        Our own.
    """

    cases: int
    images: int
    letters: int
    counters: int
    before: str
    done: bool


def purge(
    database: Database,
    store: Store,
    *,
    years: int,
    letters_days: int = LETTERS_DAYS,
    actor: str = "service",
    really: bool = False,
) -> Purged:
    """Take out what is old enough. What was not released, or has something under way, stays whatever its age.

    Of each case the audit trail keeps all its lines and one more, which says that it was taken out. Age is told by the
    earlier of the clock and the trail's last line: a clock that was set forward alone takes nothing out. Killed
    half-way, it goes on when it is called again.

    Args:
        database: Where cases live.
        store: Where images lie.
        years: How long a released case is kept after its last change. Unit: years.
        letters_days: How long a dead letter is kept after it was replayed. Unit: days.
        actor: Who does it, for the audit trail.
        really: False = only count.

    Returns:
        What was taken out, or would be.

    Raises:
        ValueError: If years are below 15, the least that the records' law asks.
        DatabaseLost: If the database does not answer.
        StoreLost: If the store does not answer; what was taken out until then is gone whole.

    References:
        China's rules for medical records (医疗机构病历管理规定, 2013): outpatient records are kept 15 years.
    """
    if years < 15:
        raise ValueError("records are kept for 15 years at least")
    with database.read() as session:
        moment = _moment(session)
        before, letters_before = _years_ago(moment, years), moment - timedelta(days=letters_days)
        old, letters = _old(_iso(before)), _settled(_iso(letters_before))
        found = Purged(
            cases=_count(session, Case, old),
            images=_images_of_none_but(session, _iso(before)),
            letters=_count(session, DeadLetter, letters),
            counters=_count(session, Redelivered, _counted_out()),
            before=before.date().isoformat(),
            done=False,
        )
    if not really:
        return found
    cases = images = 0
    while True:
        with database.write() as work:
            # Locked, and asked again once it is: a doctor may just have opened an amendment.
            wanted = select(Case).where(old).order_by(Case.changed_at).limit(_BATCH)
            batch = work.session.scalars(wanted.with_for_update(skip_locked=True)).all()
            for case in batch:
                images += _take_out(work, store, case, actor=actor)
        cases += len(batch)
        if not batch:
            break
    with database.write() as work:
        gone = [work.session.execute(delete(table).where(which)).rowcount  # type: ignore[attr-defined]
                for table, which in ((DeadLetter, letters), (Redelivered, _counted_out()))]  # fmt: skip
        if any(gone):
            work.note(actor, "leftovers_purged", None, letters=gone[0], counters=gone[1])
    return Purged(cases, images, gone[0], gone[1], found.before, True)


def _take_out(work: Work, store: Store, case: Case, *, actor: str) -> int:
    """Take a case out with all that hangs on it; gives the number of images that went with it."""
    session = work.session
    hashes = set(session.scalars(select(Image.sha256).where(Image.case_id == case.id)))
    # By their whole names, of which there is an index: the beginning of one would be looked for in all.
    sent = select(Outgoing.queue, Outgoing.message_id).where(Outgoing.case_id == case.id)
    session.execute(delete(PassedMessage).where(tuple_(PassedMessage.queue, PassedMessage.message_id).in_(sent)))
    for part in _PARTS:
        session.execute(delete(part.class_).where(part == case.id))
    used = set(session.scalars(select(Image.sha256).where(Image.sha256.in_(hashes))))
    # Before the commit: who is killed here leaves a case without images, which the next call takes out.
    for sha256 in hashes - used:
        store.remove(sha256)
    work.note(actor, "purged", case, images=len(hashes), last_change=case.changed_at[:10])
    session.delete(case)
    session.flush()
    return len(hashes - used)


def _old(before: str, case: type[Case] = Case) -> ColumnElement[bool]:
    """Released, unchanged since then, and nothing under way."""
    return (
        stands_in("released", case=case)
        & (case.changed_at < before)
        & ~exists(select(Job.case_id).where(Job.case_id == case.id))
        & ~exists(select(Outgoing.id).where(Outgoing.case_id == case.id, Outgoing.sent_at == ""))
        & ~exists(select(DeadLetter.id).where(DeadLetter.case_id == case.id, DeadLetter.replayed_at == ""))
    )


def _settled(before: str) -> ColumnElement[bool]:
    """Replayed before then; what nobody has dealt with stays."""
    return (DeadLetter.replayed_at != "") & (DeadLetter.replayed_at < before)


def _counted_out() -> ColumnElement[bool]:
    """Counts of messages that have become a case or a dead letter."""
    return or_(
        exists(select(Case.id).where(Case.body_sha256 == Redelivered.body_sha256)),
        exists(select(DeadLetter.id).where(DeadLetter.body_sha256 == Redelivered.body_sha256)),
    )


def _count(session: Session, table: Any, which: ColumnElement[bool]) -> int:
    """How many lines."""
    return session.scalar(select(func.count()).select_from(table).where(which)) or 0


def _images_of_none_but(session: Session, before: str) -> int:
    """How many images only cases use that are old; asked of each of theirs, not of all that there are."""
    image, case = aliased(Image), aliased(Case)
    kept = (
        select(image.id).join(case, case.id == image.case_id).where(image.sha256 == Image.sha256, ~_old(before, case))
    )
    theirs = select(func.count(Image.sha256.distinct())).join(Case, Case.id == Image.case_id).where(_old(before))
    return session.scalar(theirs.where(~exists(kept))) or 0


def _moment(session: Session) -> datetime:
    """The earlier of this machine's clock and the last line of the audit trail."""
    last = session.scalar(select(AuditRecord.at).order_by(AuditRecord.seq.desc()).limit(1))
    return datetime.fromisoformat(min(now(), last or now()))


def _years_ago(moment: datetime, years: int) -> datetime:
    """The same day, years before; of a leap day the day before."""
    try:
        return moment.replace(year=moment.year - years)
    except ValueError:
        return moment.replace(year=moment.year - years, day=28)


def _iso(moment: datetime) -> str:
    """As the tables have it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

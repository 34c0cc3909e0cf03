"""How many cases wait, how many were signed today, and when something changed last."""

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from eyeground.clinic.cases import stands_in
from eyeground.clinic.db.tables import Case, DeadLetter, Review
from eyeground.clinic.first_reads import is_shown
from eyeground.clinic.levels import first_words, urgent_words
from eyeground.clinic.states import OPEN


@dataclass(frozen=True)
class Counts:
    """Numbers that stand beside the work list and in the head of every page.

    Args:
        work: Cases that wait for a doctor.
        urgent: Those of them that the rules want an ophthalmologist for; without those that are hidden.
        signed_today: Cases signed since midnight.
        dead_letters: Dead letters that nobody has dealt with; None where they were not asked for.
        newest: When a waiting case changed last; UTC, ISO, empty where none waits.

    Example:
        >>> Counts(2, 1, 0, None, "").work
        2

    References:
        pages.md of the design.
    """

    work: int
    urgent: int
    signed_today: int
    dead_letters: int | None
    newest: str


def count_waiting(
    session: Session, *, site: str, since: str, account: str = "", blind: bool = False, letters: bool = False
) -> Counts:
    """Count.

    Args:
        session: An open transaction.
        site: Only what is this site's; empty = all.
        since: When today began; UTC, ISO.
        account: Who looks.
        blind: Whether what the models say is hidden from whoever looks, until he has written a first read.
        letters: Whether dead letters are counted.

    Returns:
        The numbers.

    References:
        Our own.
    """
    urgent_ones = Case.urgency.in_((*urgent_words(), *first_words()))
    is_urgent = and_(urgent_ones, is_shown(account)) if blind else urgent_ones
    waiting = select(func.count(), func.count().filter(is_urgent), func.max(Case.changed_at)).select_from(Case)
    waiting = waiting.where(stands_in(*OPEN))
    signed = select(func.count(Review.case_id.distinct())).where(Review.signed_at >= since)
    open_letters = select(func.count()).select_from(DeadLetter).where(DeadLetter.replayed_at == "")
    if site:
        waiting = waiting.where(Case.site == site)
        signed = signed.join(Case, Case.id == Review.case_id).where(Case.site == site)
        open_letters = open_letters.where(DeadLetter.site == site)
    work, urgent, newest = session.execute(waiting).one()
    return Counts(
        work=work,
        urgent=urgent,
        signed_today=session.scalar(signed) or 0,
        dead_letters=(session.scalar(open_letters) or 0) if letters else None,
        newest=newest or "",
    )


def midnight(timezone: str) -> str:
    """Say when today began.

    Args:
        timezone: In which zone.

    Returns:
        UTC, ISO, as the tables have it.

    Example:
        >>> midnight("UTC")[10:]
        'T00:00:00.000000Z'

    References:
        Our own.
    """
    today = datetime.now(ZoneInfo(timezone)).replace(hour=0, minute=0, second=0, microsecond=0)
    return today.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

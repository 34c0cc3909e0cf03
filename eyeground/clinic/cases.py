"""Cases: how one is found, and how it takes a step."""

import secrets
from collections.abc import Iterable
from typing import Any, Literal

from sqlalchemy import ColumnElement, literal, select
from sqlalchemy.orm import Session

from eyeground.clinic.clock import now
from eyeground.clinic.db.database import Work
from eyeground.clinic.db.tables import Case, Finding, Image, Job, Review
from eyeground.clinic.records import Order
from eyeground.clinic.states import Release, Role, Step, after
from eyeground.clinic.urgency import Urgency

JobKind = Literal["read", "release"]
SERVICE = "service"


class NoSuchCase(LookupError):
    """There is no case of that id, or it is not this person's to see."""


class Stale(ValueError):
    """Somebody else has changed the case meanwhile; look at it again.

    Args:
        version: What it is now.
    """

    def __init__(self, version: int) -> None:
        self.version = version
        super().__init__(f"the case was changed meanwhile (it is at version {version}): look at it again, then repeat")


def find(session: Session, case_id: str, *, lock: bool = False, site: str = "") -> Case:
    """Find a case.

    Args:
        session: An open transaction.
        case_id: Its id.
        lock: Keep others from changing it until the transaction ends.
        site: Whose it must be; empty = anybody's.

    Returns:
        The case.

    Raises:
        NoSuchCase: If there is none, or it is another site's, which looks the same.

    References:
        Our own.
    """
    wanted = select(Case).where(Case.id == case_id)
    case = session.execute(wanted.with_for_update() if lock else wanted).scalar_one_or_none()
    if case is None or (site and case.site != site):
        raise NoSuchCase("there is no such case")
    return case


def stands_in(*states: str, case: type[Case] = Case) -> ColumnElement[bool]:
    """Say for a query in which states a case may stand.

    Args:
        states: Words of ``states.STATES``; nothing else, for they stand in the statement as they are.
        case: The table, or another name of it.

    Returns:
        The condition. The words stand in the statement itself: an index of cases that wait serves only where
        the database knows, when it plans, that no other is asked for.

    Example:
        >>> str(stands_in("in_review").compile(compile_kwargs={"literal_binds": True}))
        "cases.state IN ('in_review')"

    References:
        https://www.postgresql.org/docs/current/indexes-partial.html
    """
    return case.state.in_([literal(each, literal_execute=True) for each in states])


def by_case(rows: Iterable[Any]) -> dict[str, list[Any]]:
    """Sort rows by the case they belong to.

    Args:
        rows: Rows of a table with the column ``case_id``.

    Returns:
        The rows of each case, in their order.

    Example:
        >>> [each.place for each in by_case([Image(case_id="a", place=0), Image(case_id="a", place=1)])["a"]]
        [0, 1]

    References:
        Our own.
    """
    found: dict[str, list[Any]] = {}
    for row in rows:
        found.setdefault(row.case_id, []).append(row)
    return found


def images_of(session: Session, case_id: str) -> list[Image]:
    """List a case's images.

    Args:
        session: An open transaction.
        case_id: Its id.

    Returns:
        The images, in the order of the request.

    References:
        Our own.
    """
    return list(session.scalars(select(Image).where(Image.case_id == case_id).order_by(Image.place)))


def findings_of(session: Session, case_id: str) -> list[Finding]:
    """List what the models said.

    Args:
        session: An open transaction.
        case_id: The case's id.

    Returns:
        The findings, in the order they were made.

    References:
        Our own.
    """
    return list(session.scalars(select(Finding).where(Finding.case_id == case_id).order_by(Finding.id)))


def reviews_of(session: Session, case_id: str) -> list[Review]:
    """List what doctors wrote.

    Args:
        session: An open transaction.
        case_id: The case's id.

    Returns:
        The reviews, the first revision first.

    References:
        Our own.
    """
    return list(session.scalars(select(Review).where(Review.case_id == case_id).order_by(Review.revision)))


def order_of(case: Case) -> Order:
    """Read what was asked.

    Args:
        case: The case.

    Returns:
        Its order, without pictures.

    References:
        Our own.
    """
    return Order.model_validate(case.order)


def new_id() -> str:
    """Make the id of a case: nobody can guess one, and it says nothing of the patient.

    Returns:
        32 hex digits, 128 random bits.

    Example:
        >>> len(new_id())
        32

    References:
        Our own.
    """
    return secrets.token_hex(16)


def advance(
    work: Work, case: Case, step: Step, *, actor: str, role: Role, release: Release = "signed", **detail: Any
) -> None:
    """Let a case take a step, and write that down.

    Args:
        work: An open write transaction that holds the case.
        case: The case.
        step: What happens.
        actor: Who does it.
        role: In which role.
        release: As the service is set.
        detail: What goes into the audit trail; no word about the patient.

    Raises:
        Forbidden: If the step may not be taken.

    References:
        Our own.
    """
    before = case.state
    case.state = after(case.state, step, role=role, release=release)  # type: ignore[arg-type]
    changed(case)
    work.note(actor, step, case, **{"from": before, "to": case.state, "version": case.version, **detail})


def changed(case: Case) -> None:
    """Mark a case as changed, so that whoever looked at it before is told.

    Args:
        case: The case.

    References:
        Our own.
    """
    case.version += 1
    case.changed_at = now()


def set_urgency(case: Case, found: Urgency) -> None:
    """Write down how urgent a case is, why, and by which rules.

    Args:
        case: The case.
        found: What the rules say.

    References:
        Our own.
    """
    case.urgency, case.urgency_rank, case.rules = found.word, found.rank, found.rules
    case.reasons = {language: list(reasons) for language, reasons in found.reasons.items()}


def add_job(work: Work, case: Case, kind: JobKind) -> None:
    """Put work in line, in the transaction that makes it necessary.

    Args:
        work: An open write transaction.
        case: For which case.
        kind: What is to be done.

    References:
        Our own.
    """
    work.session.add(Job(case_id=case.id, kind=kind, urgent=0 if kind == "release" else 50, added=now()))

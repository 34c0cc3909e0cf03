"""Earlier visits of the same patient at the same site."""

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from eyeground.clinic.answering import merged_of_all, spoken_of
from eyeground.clinic.cases import by_case, order_of
from eyeground.clinic.db.tables import Case, Image, Review
from eyeground.clinic.findings import Merged
from eyeground.clinic.first_reads import is_blind
from eyeground.clinic.records import Opinion

_MOST: Final = 20
# Some sites give all their patients one number.
_MOST_LOOKED_AT: Final = 200


def earlier_of(
    session: Session, case: Case, *, signed_only: bool = False, account: str = "", blind: bool = False
) -> list[dict[str, Any]]:
    """List the visits of a patient before one: by when they were, or where a site does not tell by when they arrived.

    Args:
        session: An open transaction.
        case: The case.
        signed_only: Whether values are told only where a doctor signed them.
        account: Who looks.
        blind: Whether the models' words on a visit are hidden from whoever looks, until he has written a first read
            of that visit.

    Returns:
        The last first, at most 20: ``id, received_at, visit_time, state, signed_at, values`` (the doctor's word where
        one signed, else the models') and ``images`` (``place, part, eye``). None where the site gave the patient no
        number: a name is not enough to tell people apart. Of more than 200 visits under one number the last 200 that
        arrived are looked at.

    References:
        Our own.
    """
    if not case.patient_id:
        return []
    wanted = select(Case).where(Case.site == case.site, Case.patient_id == case.patient_id, Case.id != case.id)
    looked_at = session.scalars(wanted.order_by(Case.received_at.desc()).limit(_MOST_LOOKED_AT))
    mine = _when(case)
    before = sorted((row for row in looked_at if _when(row) < mine), key=_when, reverse=True)[:_MOST]
    ids = [row.id for row in before]
    images = by_case(session.scalars(select(Image).where(Image.case_id.in_(ids)).order_by(Image.place)))
    signed = select(Review).where(Review.case_id.in_(ids), Review.signed_at != "").order_by(Review.revision)
    last = {review.case_id: review for review in session.scalars(signed)}
    merged = merged_of_all(session, ids)
    hidden = {row.id for row in before if signed_only or (blind and is_blind(session, row, account=account))}
    return [
        _visit(row, merged[row.id], images.get(row.id, []), last.get(row.id), signed_only=row.id in hidden)
        for row in before
    ]


def _when(case: Case) -> tuple[datetime, str, str]:
    """When a visit was; of two on one day, or at one moment, the one that arrived first is the first."""
    at = datetime.fromisoformat(order_of(case).visit_time or case.received_at)
    return at if at.tzinfo else at.replace(tzinfo=UTC), case.received_at, case.id


def _visit(
    case: Case, merged: Merged, images: list[Image], signed: Review | None, *, signed_only: bool
) -> dict[str, Any]:
    """What is told of one."""
    values: dict[str, dict[str, int]] = {}
    if signed or not signed_only:
        values, _ = spoken_of(merged, case, Opinion.model_validate(signed.opinion) if signed else None)
    return {
        "id": case.id,
        "received_at": case.received_at,
        "visit_time": order_of(case).visit_time,
        "state": case.state,
        "signed_at": signed.signed_at if signed else "",
        "values": values,
        "images": [{"place": each.place, "part": each.part, "eye": each.eye} for each in images],
    }

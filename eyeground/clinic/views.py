"""What people and programs see of cases: the work list, a case, and what may be shown to the patient."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from eyeground.clinic.answering import answer_of
from eyeground.clinic.cases import NoSuchCase, find, findings_of, images_of, order_of, reviews_of
from eyeground.clinic.db.tables import AuditRecord, Case, Job, Outgoing
from eyeground.clinic.exchange.report import LANGUAGE
from eyeground.clinic.report.text import draft_report
from eyeground.clinic.states import OPEN


@dataclass(frozen=True)
class Line:
    """A line of the work list.

    Args:
        id: The case.
        request_id: The sender's id.
        site: Who asked.
        patient_id: The site's number of the patient.
        name: The patient's name.
        age: Unit: years.
        state: Where the case is.
        version: What a change has to name.
        urgency: A word of the rule set.
        urgency_rank: 0 is the most urgent.
        held: Whether a person has to decide an eye first.
        received_at: UTC, ISO.
        eyes: What the models say, by ``"<part>/<eye>"``: finding -> value.
        quality: Verdict on the images, likewise.
        unavailable: What has no answer, and why.

    References:
        pages.md of the design.
    """

    id: str
    request_id: str
    site: str
    patient_id: str
    name: str
    age: int | None
    state: str
    version: int
    urgency: str
    urgency_rank: int
    held: bool
    received_at: str
    eyes: dict[str, dict[str, int]]
    quality: dict[str, str]
    unavailable: dict[str, str]


def work_list(
    session: Session, *, site: str = "", states: tuple[str, ...] = OPEN, most: int = 100, skip: int = 0
) -> list[Line]:
    """List cases, the most urgent first, then the longest wait.

    Args:
        session: An open transaction.
        site: Only those of this site; empty = all.
        states: Only those in one of these states; none = all.
        most: How many at most.
        skip: How many are left out at the start.

    Returns:
        The lines.

    References:
        Our own.
    """
    wanted = select(Case).order_by(Case.urgency_rank, Case.received_at, Case.id).limit(most).offset(skip)
    if states:
        wanted = wanted.where(Case.state.in_(states))
    if site:
        wanted = wanted.where(Case.site == site)
    lines = []
    for case in session.scalars(wanted):
        answered = answer_of(session, case, revision=0)
        person = answered.order.person
        lines.append(
            Line(
                case.id, case.request_id, case.site, person.patient_id, person.name, person.age, case.state,
                case.version, case.urgency, case.urgency_rank, bool(case.held), case.received_at,
                {key: dict(values) for key, values in answered.values.items()}, dict(answered.quality),
                dict(case.unavailable),
            )
        )  # fmt: skip
    return lines


def case_view(session: Session, case_id: str, *, site: str = "") -> dict[str, Any]:
    """Show all of a case to those who treat it.

    Args:
        session: An open transaction.
        case_id: The case.
        site: Whose it must be; empty = anybody's.

    Returns:
        Plain values: ``id, request_id, site, queue, door, state, version, revision, held, unavailable, urgency,
        reasons, rules, received_at, changed_at, working, order, draft, images, findings, answered`` (what the models
        say), ``reviews``, ``answers`` (what went out) and ``history``.

    Raises:
        NoSuchCase: If there is none, or it is another site's.

    References:
        Our own.
    """
    case = _of_site(session, case_id, site)
    answered, order = answer_of(session, case, revision=0), order_of(case)
    return {
        "id": case.id,
        "request_id": case.request_id,
        "site": case.site,
        "queue": case.queue,
        "door": case.door,
        "state": case.state,
        "version": case.version,
        "revision": case.revision,
        "held": list(case.held),
        "unavailable": dict(case.unavailable),
        "urgency": case.urgency,
        "urgency_rank": case.urgency_rank,
        "reasons": dict(case.reasons),
        "rules": case.rules,
        "received_at": case.received_at,
        "changed_at": case.changed_at,
        "working": session.get(Job, case_id) is not None,
        "order": order.model_dump(mode="json", exclude={"pictures"}),
        "draft": draft_report(order.texts, LANGUAGE) if case.door == "report" else {},
        "images": [
            {
                "place": each.place, "part": each.part, "eye": each.eye, "claimed_eye": each.claimed_eye,
                "conflict": each.conflict, "decided_by": each.decided_by, "quality": each.quality,
                "sha256": each.sha256, "size_bytes": each.size_bytes, "name": each.name,
            }
            for each in images_of(session, case_id)
        ],
        "findings": [
            {
                "image_sha256": each.image_sha256, "model": each.model, "model_id": each.model_id, "said": each.said,
                "quality": each.quality, "areas": each.areas, "found_at": each.found_at,
            }
            for each in findings_of(session, case_id)
        ],
        "answered": {
            "values": {key: dict(values) for key, values in answered.values.items()},
            "said": {
                key: {name: said.model_dump() for name, said in answers.items()}
                for key, answers in answered.said.items()
            },
            "quality": dict(answered.quality),
            "areas": {key: list(areas) for key, areas in answered.areas.items()},
            "models": list(answered.models),
        },
        "reviews": [
            {
                "revision": each.revision, "opinion": each.opinion, "doctor": each.doctor,
                "doctor_name": each.doctor_name, "reason": each.reason, "saved_at": each.saved_at,
                "signed_at": each.signed_at, "signature": each.signature,
            }
            for each in reviews_of(session, case_id)
        ],
        "answers": [
            {"revision": each.revision, "queue": each.queue, "made_at": each.made_at, "sent_at": each.sent_at}
            for each in session.scalars(select(Outgoing).filter_by(case_id=case_id).order_by(Outgoing.id))
        ],
        "history": [
            {"seq": each.seq, "at": each.at, "actor": each.actor, "event": each.event, "detail": each.detail}
            for each in session.scalars(select(AuditRecord).filter_by(case_id=case_id).order_by(AuditRecord.seq))
        ],
    }  # fmt: skip


def answer_bytes(session: Session, case_id: str, *, site: str = "") -> tuple[str, bytes | None]:
    """Give the answer that a sender may have: the last one that went out, byte for byte.

    Args:
        session: An open transaction.
        case_id: The case.
        site: Whose it must be; empty = anybody's.

    Returns:
        The case's state, and the answer; None while there is none.

    Raises:
        NoSuchCase: If there is none, or it is another site's.

    References:
        Our own.
    """
    case = _of_site(session, case_id, site)
    wanted = select(Outgoing.body).filter_by(case_id=case_id).order_by(Outgoing.revision.desc()).limit(1)
    return case.state, session.scalars(wanted).first()


def for_patient(session: Session, case_id: str) -> bytes | None:
    """Give what may be shown to the patient: the last answer that a doctor signed and that was released.

    What was released unsigned is none, whatever the settings say.

    Args:
        session: An open transaction.
        case_id: The case.

    Returns:
        The answer; None where there is nothing to show.

    Raises:
        NoSuchCase: If there is none.

    References:
        Our own.
    """
    find(session, case_id)
    signed = [review.revision for review in reviews_of(session, case_id) if review.signed_at]
    wanted = select(Outgoing.body).where(Outgoing.case_id == case_id, Outgoing.revision.in_(signed))
    return session.scalars(wanted.order_by(Outgoing.revision.desc()).limit(1)).first()


def find_request(session: Session, *, site: str, queue: str, request_id: str) -> str:
    """Find the case of a request.

    Args:
        session: An open transaction.
        site: Who sent it.
        queue: Through which queue or door.
        request_id: The sender's id.

    Returns:
        The case's id.

    Raises:
        NoSuchCase: If there is none.

    References:
        Our own.
    """
    wanted = select(Case.id).filter_by(site=site, queue=queue, request_id=request_id)
    found = session.scalars(wanted).first()
    if found is None:
        raise NoSuchCase("there is no such request")
    return found


def _of_site(session: Session, case_id: str, site: str) -> Case:
    """A case, if it is this site's; another's looks as if it were not there."""
    case = find(session, case_id)
    if site and case.site != site:
        raise NoSuchCase("there is no such case")
    return case

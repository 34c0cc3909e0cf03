"""What people and programs see of a case, and what may be shown to the patient."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from eyeground.clinic.answering import answer_of
from eyeground.clinic.cases import NoSuchCase, find, findings_of, images_of, order_of, reviews_of
from eyeground.clinic.db.opinions import HeatMap
from eyeground.clinic.db.tables import AuditRecord, Case, Job, Outgoing
from eyeground.clinic.earlier import earlier_of
from eyeground.clinic.exchange.report import LANGUAGE
from eyeground.clinic.first_reads import first_read_of, is_blind, open_detail, open_words
from eyeground.clinic.report.text import draft_report


def case_view(
    session: Session, case_id: str, *, site: str = "", account: str = "", blind: bool = False
) -> dict[str, Any]:
    """Show all of a case to those who treat it.

    Args:
        session: An open transaction.
        case_id: The case.
        site: Whose it must be; empty = anybody's.
        account: Who looks.
        blind: Whether what the models say is hidden from whoever looks, until he has written a first read.

    Returns:
        Plain values: ``id, request_id, site, queue, door, state, version, revision, held, unavailable, urgency,
        reasons, rules, received_at, changed_at, working, order, draft, images, findings, answered`` (what the models
        say), ``reviews``, ``answers`` (what went out), ``history``, ``earlier`` (visits of the same patient), ``blind``
        (whether something is hidden) and ``first_read`` (of whoever looks; None where there is none). An image's
        ``heat`` lists its heat maps, each with the finding that it explains as ``target``.

    Raises:
        NoSuchCase: If there is none, or it is another site's.

    References:
        Our own.
    """
    case = find(session, case_id, site=site)
    hidden = blind and is_blind(session, case, account=account)
    answered, order = answer_of(session, case, revision=0), order_of(case)
    maps = heat_maps(session, case_id)
    first = first_read_of(session, case, account=account)
    view = {
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
                "sha256": each.sha256, "size_bytes": each.size_bytes, "name": each.name, "device": each.device,
                "slices": None, "heat": [{"target": target} for target in maps.get(each.sha256, ())],
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
        "earlier": earlier_of(session, case, signed_only=hidden, account=account, blind=blind),
        "blind": hidden,
        "first_read": {"opinion": first.opinion, "made_at": first.made_at} if first else None,
    }  # fmt: skip
    return _without_models(view, account) if hidden else view


def heat_maps(session: Session, case_id: str) -> dict[str, dict[str, int]]:
    """List the heat maps of a case.

    Args:
        session: An open transaction.
        case_id: The case.

    Returns:
        By an image's hash the findings that are explained, each with the number of its map; the first model's first.

    References:
        Our own.
    """
    wanted = select(HeatMap.image_sha256, HeatMap.target, HeatMap.id).filter_by(case_id=case_id).order_by(HeatMap.id)
    found: dict[str, dict[str, int]] = {}
    for sha256, target, number in session.execute(wanted):
        found.setdefault(sha256, {}).setdefault(target, number)
    return found


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
    case = find(session, case_id, site=site)
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


def _without_models(view: dict[str, Any], account: str) -> dict[str, Any]:
    """A case without anything that a model said, or that another doctor wrote who may have seen it."""
    return view | {
        "unavailable": open_words(view["unavailable"]),
        "urgency": "",
        "urgency_rank": None,
        "reasons": {},
        "rules": "",
        "images": [each | {"quality": "", "heat": []} for each in view["images"]],
        "findings": [],
        "answered": {"values": {}, "said": {}, "quality": {}, "areas": {}, "models": []},
        "reviews": [each for each in view["reviews"] if each["doctor"] == account],
        "history": [each | {"detail": open_detail(each["detail"])} for each in view["history"]],
    }

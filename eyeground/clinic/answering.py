"""What goes out: the answer of a case, put together once and kept byte for byte."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from eyeground.clinic.answered import Answered
from eyeground.clinic.cases import SERVICE, advance, by_case, find, findings_of, images_of, order_of
from eyeground.clinic.clock import now
from eyeground.clinic.contracts import contract_for, reply_queue
from eyeground.clinic.db.database import Work
from eyeground.clinic.db.tables import Case, Finding, Image, Outgoing, Review
from eyeground.clinic.drafts import LLM
from eyeground.clinic.exchange.contract import dumps
from eyeground.clinic.eyes import seen_of
from eyeground.clinic.findings import FINDINGS, Merged, merge
from eyeground.clinic.moments import reached
from eyeground.clinic.records import Opinion

# Every finding of every part: what was said counts, whoever is installed now.
ALL: Final = {part: set(findings) for part, findings in FINDINGS.items()}


def answer_of(session: Session, case: Case, *, revision: int) -> Answered:
    """Put together what is known of a case.

    Args:
        session: An open transaction.
        case: The case.
        revision: Which signed opinion speaks; 0 = none, the models speak.

    Returns:
        What goes out.

    Raises:
        ValueError: If that opinion was not signed.

    References:
        Our own.
    """
    images, findings = images_of(session, case.id), findings_of(session, case.id)
    merged = merge(seen_of(images, findings), offers=ALL)
    models = tuple(dict.fromkeys(finding.model for finding in findings))
    review = None
    if revision:
        wanted = select(Review).filter_by(case_id=case.id, revision=revision)
        review = session.execute(wanted).scalar_one_or_none()
        if review is None or not review.signed_at:
            raise ValueError("that opinion was not signed: nothing of it goes out")
    opinion = Opinion.model_validate(review.opinion) if review else None
    values, unavailable = spoken_of(merged, case, opinion)
    return Answered(
        case_id=case.id,
        order=order_of(case),
        revision=revision,
        images=Counter(image.part for image in images),
        values=values,
        said=merged.said,
        quality=merged.quality,
        areas=merged.areas,
        unavailable=unavailable,
        opinion=opinion,
        doctor_name=review.doctor_name if review else "",
        signed_at=review.signed_at if review else "",
        urgency=case.urgency,
        rules=case.rules,
        models=models,
        drafted_by_ai=review is not None and review.drafted_by == LLM,
    )


def hand_out(work: Work, case: Case, answered: Answered) -> None:
    """Put an answer into the outbox, in the transaction that releases it.

    Args:
        work: An open write transaction.
        case: Whose answer.
        answered: What goes out.

    References:
        Our own.
    """
    contract = contract_for(case.door)
    queue = reply_queue(case.queue)
    body = dumps(contract.answer(answered))
    reached("report_rendered")
    moment = now()
    work.session.add(
        Outgoing(
            case_id=case.id, revision=answered.revision, queue=queue, message_id=f"{case.id}-{answered.revision}",
            body=body, made_at=moment, sent_at="" if queue else moment,
        )
    )  # fmt: skip


def release(work: Work, case_id: str) -> None:
    """Render what a doctor has signed, and put it into the outbox.

    Args:
        work: An open write transaction.
        case_id: The case.

    Raises:
        NoSuchCase: If there is none.
        Forbidden: If the case is not signed.

    References:
        Our own.
    """
    case = find(work.session, case_id, lock=True)
    advance(work, case, "release", actor=SERVICE, role="service", revision=case.revision)
    hand_out(work, case, answer_of(work.session, case, revision=case.revision))


def merged_of(session: Session, case_id: str) -> Merged:
    """Join all that the models said of a case.

    Args:
        session: An open transaction.
        case_id: The case.

    Returns:
        What is known of both eyes; why something is not known stands in the case itself.

    References:
        Our own.
    """
    return merge(seen_of(images_of(session, case_id), findings_of(session, case_id)), offers=ALL)


def merged_of_all(session: Session, case_ids: Sequence[str]) -> dict[str, Merged]:
    """Join all that the models said of each of some cases, in two statements.

    Args:
        session: An open transaction.
        case_ids: The cases' ids.

    Returns:
        By case as ``merged_of``.

    References:
        Our own.
    """
    images = by_case(session.scalars(select(Image).where(Image.case_id.in_(case_ids)).order_by(Image.place)))
    findings = by_case(session.scalars(select(Finding).where(Finding.case_id.in_(case_ids)).order_by(Finding.id)))
    return {each: merge(seen_of(images.get(each, []), findings.get(each, [])), offers=ALL) for each in case_ids}


def spoken_of(merged: Merged, case: Case, opinion: Opinion | None) -> tuple[dict[str, dict[str, int]], dict[str, str]]:
    """Say what holds of each eye: the doctor's word where there is one, else the models'.

    Args:
        merged: What the models said.
        case: The case.
        opinion: What the doctor says; None = nobody does.

    Returns:
        Values by eye and finding, and why what is missing is missing.

    References:
        Our own.
    """
    said = {key: {name: each.value for name, each in answers.items()} for key, answers in merged.said.items()}
    if opinion is None:
        return {key: values for key, values in said.items() if values}, dict(case.unavailable)
    values: dict[str, dict[str, int]] = {}
    unavailable = {key: word for key, word in case.unavailable.items() if key.partition(".")[0] not in opinion.eyes}
    for key, eye in opinion.eyes.items():
        if eye.ungradable:
            unavailable[key] = "cannot_grade"
            continue
        values[key] = dict(eye.findings)
        for name in FINDINGS["anterior" if key.startswith("anterior") else "fundus"]:
            if name not in eye.findings:
                why = case.unavailable.get(f"{key}.{name}") or case.unavailable.get(key) or "not_assessed"
                # Once a doctor has judged the eye, it no longer matters that a model failed there.
                unavailable[f"{key}.{name}"] = "not_assessed" if why == "failed" else why
    return {key: each for key, each in values.items() if each}, unavailable

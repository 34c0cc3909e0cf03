"""Drafts, signatures and amendments as they are typed."""

import json
import sys
import time
from collections.abc import Mapping
from typing import Any, Final

import typer
from sqlalchemy import select

from eyeground.cli.clinic_cases import look_at
from eyeground.cli.clinic_messages import NotInTime
from eyeground.cli.clinic_opinion import eye_of_place, unclean
from eyeground.cli.config import ConfigError
from eyeground.cli.console import tell
from eyeground.clinic.answering import answer_of
from eyeground.clinic.cases import Stale, find, set_urgency
from eyeground.clinic.clock import now
from eyeground.clinic.contracts import contract_for
from eyeground.clinic.db.tables import Outgoing, Review
from eyeground.clinic.drafts import LLM, by_llm
from eyeground.clinic.records import Opinion
from eyeground.clinic.reviews import Doctor, OpinionRefused
from eyeground.clinic.service import Service
from eyeground.clinic.states import Forbidden

_LOOK_EVERY_S: Final = 0.25


class _Undone(Exception):
    """Ends a transaction that was only tried."""


def decide_eyes(service: Service, view: Mapping[str, Any], words: list[str], *, doctor: Doctor) -> None:
    """Say which eye images show; the models then look at the case anew.

    Args:
        service: The service.
        view: The case as the doctor saw it.
        words: ``PLACE=OD`` of each image.
        doctor: Who.

    Raises:
        ConfigError: If it cannot be read, or an image stands twice.
        NoSuchCase: If there is no such image.
        Stale: If somebody has changed the case meanwhile.
        Forbidden: If the case is not in review.
        DatabaseLost: If the database does not answer.

    References:
        docs/clinic.md.
    """
    eyes = dict(map(eye_of_place, words))
    if len(eyes) < len(words):
        raise ConfigError("--eye: an image stands twice")
    service.reviews.decide_eyes(view["id"], eyes, version=view["version"], doctor=doctor)


def save_draft(service: Service, view: Mapping[str, Any], opinion: Opinion, *, doctor: Doctor) -> int:
    """Keep an opinion as a draft.

    Args:
        service: The service.
        view: The case as the doctor saw it.
        opinion: The opinion.
        doctor: Who.

    Returns:
        The case's new version.

    Raises:
        Stale: If somebody has changed the case meanwhile.
        Forbidden: If it is not open for writing, or this is no doctor.
        OpinionRefused: If it names a finding that there is not.
        DatabaseLost: If the database does not answer.

    References:
        docs/clinic.md.
    """
    return service.reviews.save(view["id"], opinion, version=view["version"], doctor=doctor)


def sign_case(service: Service, prefix: str, *, version: int | None, doctor: Doctor, yes: bool) -> tuple[str, int, int]:
    """Show what would be released, ask, and sign exactly that.

    Args:
        service: The service.
        prefix: The beginning of the case's id.
        version: Version that must still be the case's; None = the one that is shown.
        doctor: Who.
        yes: Do not ask.

    Returns:
        The case, its new version, and which revision was signed.

    Raises:
        NoSuchCase: If there is none.
        ConfigError: If nobody can be asked, or the doctor said no.
        Stale: If the case was changed meanwhile.
        Forbidden: If it is not open for writing, is held, or this is no doctor.
        OpinionRefused: If something that must be there is not; all of it is named.
        DatabaseLost: If the database does not answer; look whether it was signed.

    References:
        docs/clinic.md.
    """
    if doctor.role != "doctor":
        raise Forbidden(f"sign is a matter of doctor, not of {doctor.role}")
    view = look_at(service, prefix)
    shown = view["version"] if version is None else version
    if shown != view["version"]:
        raise Stale(view["version"])
    message = preview(service, view["id"], doctor=doctor)
    tell(f"This goes out when {doctor.title or doctor.account} signs version {shown} of case {view['id']}:", "")
    _show(message)
    if not yes:
        if not sys.stdin.isatty():
            raise ConfigError("nobody can be asked here: read what is shown above, then say --yes")
        if not typer.confirm("Sign?", err=True):
            raise ConfigError("not signed")
    # The version is still the one that was shown, or this is refused: so is the revision.
    return view["id"], service.reviews.sign(view["id"], None, version=shown, doctor=doctor), view["revision"]


def preview(service: Service, case_id: str, *, doctor: Doctor) -> dict[str, Any]:
    """Render what a signature would release, by signing in a transaction that is undone.

    Args:
        service: The service.
        case_id: The case.
        doctor: Who would sign.

    Returns:
        The answer under the case's contract; its time of signature is now.

    Raises:
        NoSuchCase: If there is none.
        OpinionRefused: If there is no draft.
        DatabaseLost: If the database does not answer.

    References:
        Our own.
    """
    rendered: dict[str, Any] = {}
    try:
        with service.database.write() as work:
            case = find(work.session, case_id, lock=True)
            wanted = select(Review).filter_by(case_id=case_id, revision=case.revision, signed_at="")
            review = work.session.execute(wanted).scalar_one_or_none()
            if review is None:
                raise OpinionRefused("there is no draft to sign; write one with: eyeground clinic review CASE")
            drafted = by_llm(work.session, case_id, case.revision)
            review.doctor, review.doctor_name, review.signed_at = doctor.account, doctor.title, now()
            review.signature, review.drafted_by = "not signed yet", LLM if drafted else ""
            spoken = Opinion.model_validate(review.opinion)
            set_urgency(case, service.reviews.rank(work.session, case, spoken))  # as signing does
            work.session.flush()
            answered = answer_of(work.session, case, revision=case.revision)
            rendered = contract_for(case.door).answer(answered)
            raise _Undone
    except _Undone:
        return rendered


def wait_for_answer(service: Service, case_id: str, *, revision: int, timeout_s: float) -> dict[str, Any]:
    """Wait until the answer of a signed revision has gone out.

    Args:
        service: The service.
        case_id: The case.
        revision: Which was signed; what went out before, signed or not, is not it.
        timeout_s: How long. Unit: s.

    Returns:
        The answer, as it was sent.

    Raises:
        NotInTime: If it takes longer; it goes on.
        DatabaseLost: If the database does not answer.

    References:
        Our own.
    """
    ends = time.monotonic() + timeout_s
    while time.monotonic() < ends:
        with service.database.read() as session:
            wanted = select(Outgoing).filter_by(case_id=case_id, revision=revision).where(Outgoing.sent_at != "")
            sent = session.scalars(wanted).first()
            if sent is not None:
                answer: dict[str, Any] = json.loads(sent.body)
                return answer
        time.sleep(_LOOK_EVERY_S)
    raise NotInTime(f"not sent after {timeout_s:.0f} s; does a worker run? (eyeground clinic worker)")


def amend_case(service: Service, prefix: str, *, reason: str, doctor: Doctor) -> tuple[str, int]:
    """Open a new version of a report that is out.

    Args:
        service: The service.
        prefix: The beginning of the case's id.
        reason: Why, in the doctor's words.
        doctor: Who.

    Returns:
        The case and its new version.

    Raises:
        NoSuchCase: If there is none.
        ConfigError: If several are meant, or the reason cannot be kept.
        Stale: If it was changed meanwhile.
        Forbidden: If it is not released, or this is no doctor.
        OpinionRefused: If there is no reason.
        DatabaseLost: If the database does not answer.

    References:
        docs/clinic.md.
    """
    if unclean(reason):
        raise ConfigError("--reason: holds control characters, or bytes that are no UTF-8: type it anew")
    view = look_at(service, prefix)
    version = service.reviews.amend(view["id"], reason=reason, version=view["version"], doctor=doctor)
    return view["id"], version


def _show(message: Mapping[str, Any]) -> None:
    """An answer as a person reads it: its reports as texts, the rest as it is sent."""
    report = message.get("report")
    for name, value in message.items():
        if name != "report":
            tell(f"{name}: {json.dumps(value, ensure_ascii=False, sort_keys=True)}")
    for language, text in (report or {}).items():
        tell("", f"report, {language}:", *str(text).splitlines())

"""What doctors do: save an opinion, decide which eye an image shows, sign, amend."""

import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from eyeground.clinic.answering import merged_of, spoken_of
from eyeground.clinic.cases import (
    Stale,
    add_job,
    advance,
    changed,
    find,
    findings_of,
    images_of,
    order_of,
    set_urgency,
)  # fmt: skip
from eyeground.clinic.clock import now
from eyeground.clinic.db.database import Database, Work
from eyeground.clinic.db.tables import Case, Finding, Job, Review
from eyeground.clinic.exchange.report import ANSWERED
from eyeground.clinic.findings import EYES, FINDINGS, Merged
from eyeground.clinic.moments import reached
from eyeground.clinic.records import Opinion, Said
from eyeground.clinic.states import OPEN, Forbidden, OutOfTurn, Role
from eyeground.clinic.urgency import Rules, Urgency, urgency
from eyeground.images.retinal_image import Eye


class OpinionRefused(ValueError):
    """An opinion that cannot be saved or signed as it is; the message names everything that is missing."""


@dataclass(frozen=True)
class Doctor:
    """Who acts.

    Args:
        account: Name that stands in the audit trail.
        title: Name that stands on reports.
        role: What the account may do.

    Example:
        >>> Doctor("li", "Dr Li").role
        'doctor'

    References:
        Our own.
    """

    account: str
    title: str
    role: Role = "doctor"


class Reviews:
    """Writes opinions.

    Args:
        database: Where cases live.
        key: Signs what is signed; 32 bytes.
        rules: What makes a case urgent.

    References:
        docs/clinic.md.
    """

    def __init__(self, database: Database, *, key: bytes, rules: Rules) -> None:
        self._database, self._key, self._rules = database, key, rules

    def save(self, case_id: str, opinion: Opinion, *, version: int, doctor: Doctor) -> int:
        """Keep a draft.

        Args:
            case_id: The case.
            opinion: What the doctor thinks so far.
            version: Version of the case that the doctor saw.
            doctor: Who.

        Returns:
            The case's new version.

        Raises:
            NoSuchCase: If there is none.
            Stale: If somebody else has changed it.
            Forbidden: If it is not open for writing, or this is no doctor.
            OpinionRefused: If it names an eye or finding that there is not.
            DatabaseLost: If the database does not answer; look whether it was saved.
        """
        with self._database.write() as work:
            case = self._open(work, case_id, version, doctor)
            self._write(work, case, opinion, doctor)
            changed(case)
            work.note(doctor.account, "saved", case, revision=case.revision, version=case.version)
            return case.version

    def decide_eye(self, case_id: str, place: int, eye: Eye, *, version: int, doctor: Doctor) -> int:
        """Say which eye an image shows, where those who should know contradict each other; the case is read anew.

        Args:
            case_id: The case.
            place: The image's place in the request, from 0.
            eye: Which eye it is.
            version: Version of the case that the doctor saw.
            doctor: Who.

        Returns:
            The case's new version.

        Raises:
            NoSuchCase: If there is none, or no such image.
            Stale: If somebody else has changed it.
            Forbidden: If it is not in review, or this is no doctor.
            OpinionRefused: If that is no eye.
            DatabaseLost: If the database does not answer; look whether it was saved.
        """
        if eye not in EYES:
            raise OpinionRefused("which eye: OD or OS")
        with self._database.write() as work:
            case = self._open(work, case_id, version, doctor)
            image = next((each for each in images_of(work.session, case_id) if each.place == place), None)
            if image is None:
                raise OpinionRefused(f"the case has no image {place}")
            image.eye, image.conflict, image.decided_by = eye, "", doctor.account
            # What was written before was written about the other eye.
            draft = self._draft(work, case)
            if draft is not None:
                draft.opinion = draft.opinion | {"eyes": {}}
            self._again(work, case, doctor, place=place, eye=eye)
            return case.version

    def reread(self, case_id: str, *, version: int, doctor: Doctor) -> int:
        """Have the models look at a case again, after a failure or with other models.

        Args:
            case_id: The case.
            version: Version of the case that was seen.
            doctor: Who asks; an operator may, too.

        Returns:
            The case's new version.

        Raises:
            NoSuchCase: If there is none.
            Stale: If somebody else has changed it.
            Forbidden: If it is not in review.
            DatabaseLost: If the database does not answer.
        """
        with self._database.write() as work:
            case = self._seen(work, case_id, version)
            self._again(work, case, doctor)
            return case.version

    def sign(self, case_id: str, opinion: Opinion | None, *, version: int, doctor: Doctor) -> int:
        """Sign exactly this version; what was signed never changes, and is released from then on.

        Args:
            case_id: The case.
            opinion: What is signed; None = the draft as it was saved.
            version: Version of the case that the doctor saw.
            doctor: Who.

        Returns:
            The case's new version.

        Raises:
            NoSuchCase: If there is none.
            Stale: If somebody else has changed it.
            Forbidden: If this is no doctor.
            OutOfTurn: If it is not open for writing, or an eye has to be decided first.
            OpinionRefused: If something that must be there is not; all of it is named.
            DatabaseLost: If the database does not answer; look whether it was signed.
        """
        with self._database.write() as work:
            case = self._open(work, case_id, version, doctor)
            if case.held:
                raise OutOfTurn("which eye an image shows is contradictory: decide that first")
            if opinion is not None:
                self._write(work, case, opinion, doctor)
            review = self._draft(work, case)
            if review is None:
                raise OpinionRefused("there is no opinion yet: write one, then sign it")
            spoken = Opinion.model_validate(review.opinion)
            self._complete(work, case, spoken)
            # From here on the doctor's word decides how urgent it is, not the models'.
            set_urgency(case, self.rank(work.session, case, spoken))
            findings, images = findings_of(work.session, case_id), self._images(work, case_id)
            # All at once, or the database would see a signed opinion without its seal.
            with work.session.no_autoflush:
                review.doctor, review.doctor_name, review.signed_at = doctor.account, doctor.title, now()
                review.signature = signature_of(review, case, findings, images, key=self._key)
            advance(
                work, case, "sign", actor=doctor.account, role=doctor.role, revision=case.revision,
                signature=review.signature, urgency=case.urgency,
            )  # fmt: skip
            add_job(work, case, "release")
            version = case.version
        reached("signed")
        return version

    def rank(self, session: Session, case: Case, opinion: Opinion) -> Urgency:
        """Say how urgent a case is by what a doctor says of it.

        Args:
            session: An open transaction.
            case: The case.
            opinion: What the doctor says.

        Returns:
            The urgency; what the doctor left open counts as not known.
        """
        merged = merged_of(session, case.id)
        values, unavailable = spoken_of(merged, case, opinion)
        said = {key: {name: Said(value=value) for name, value in each.items()} for key, each in values.items()}
        told = Merged(said, merged.quality, {}, unavailable, {})
        order = order_of(case)
        return urgency(told, od=order.od, os=order.os, rules=self._rules)

    def amend(self, case_id: str, *, reason: str, version: int, doctor: Doctor) -> int:
        """Open a new version of a report that is out; the one before stays as it is.

        Args:
            case_id: The case.
            reason: Why, in the doctor's words.
            version: Version of the case that the doctor saw.
            doctor: Who.

        Returns:
            The case's new version.

        Raises:
            NoSuchCase: If there is none.
            Stale: If somebody else has changed it.
            Forbidden: If it is not released, or this is no doctor.
            OpinionRefused: If there is no reason.
            DatabaseLost: If the database does not answer; look whether it was amended.
        """
        if not reason.strip():
            raise OpinionRefused("say why it is amended")
        with self._database.write() as work:
            case = self._seen(work, case_id, version)
            last = self._draft(work, case)
            if last is not None:  # what went out unsigned was no revision of a doctor's
                case.revision += 1
            advance(work, case, "amend", actor=doctor.account, role=doctor.role, revision=case.revision)
            work.session.add(
                Review(
                    case_id=case.id, revision=case.revision, opinion=last.opinion if last else {},
                    doctor=doctor.account, reason=reason.strip()[:500], saved_at=now(),
                )
            )  # fmt: skip
            return case.version

    def _seen(self, work: Work, case_id: str, version: int) -> Case:
        """The case, if it is still what the doctor saw."""
        case = find(work.session, case_id, lock=True)
        if case.version != version:
            raise Stale(case.version)
        return case

    def _open(self, work: Work, case_id: str, version: int, doctor: Doctor) -> Case:
        """The case, if this doctor may write."""
        case = self._seen(work, case_id, version)
        if doctor.role != "doctor":
            raise Forbidden(f"an opinion is a matter of doctor, not of {doctor.role}")
        if case.state not in OPEN:
            raise OutOfTurn(f"the case is {case.state.replace('_', ' ')}: nothing is written now")
        return case

    def _draft(self, work: Work, case: Case) -> Review | None:
        """The opinion of the case's revision."""
        return work.session.execute(
            select(Review).filter_by(case_id=case.id, revision=case.revision)
        ).scalar_one_or_none()

    def _write(self, work: Work, case: Case, opinion: Opinion, doctor: Doctor) -> None:
        """Put an opinion where the draft is."""
        wrong = _strange(opinion)
        if wrong:
            raise OpinionRefused("; ".join(wrong))
        review = self._draft(work, case)
        if review is None:
            review = Review(case_id=case.id, revision=case.revision, doctor="", opinion={}, saved_at="")
            work.session.add(review)
        review.opinion, review.doctor, review.saved_at = opinion.model_dump(), doctor.account, now()
        work.session.flush()

    def _complete(self, work: Work, case: Case, opinion: Opinion) -> None:
        """Refuse what is not ready to be signed."""
        merged = merged_of(work.session, case.id)
        missing = [f"{key}: give findings, or say that it cannot be graded" for key in self._asked(work, case, opinion)]
        shown = {f"{image.part}/{image.eye}" for image in images_of(work.session, case.id)}
        missing += [f"{key}: there is no image of it" for key in opinion.eyes if key not in shown]
        for key, eye in opinion.eyes.items():
            said = merged.said.get(key, {})
            other = [name for name, value in eye.findings.items() if name in said and said[name].value != value]
            if other and not eye.reason.strip():
                missing.append(f"{key}: differs from the model in {', '.join(other)}: give the reason")
            if eye.ungradable and not eye.reason.strip():
                missing.append(f"{key}: cannot be graded: give the reason")
        if case.door == "report":  # it asks for texts, and a draft must not pass as signed
            missing += [f"{name}: is empty" for name in ANSWERED if not opinion.texts.get(name, "").strip()]
        elif not opinion.conclusion.strip():
            missing.append("conclusion: is empty")
        if missing:
            raise OpinionRefused("; ".join(missing))

    def _asked(self, work: Work, case: Case, opinion: Opinion) -> list[str]:
        """Eyes of which there are images and no verdict."""
        images = images_of(work.session, case.id)
        keys = dict.fromkeys(f"{image.part}/{image.eye or f'image {image.place}'}" for image in images)
        given = {key for key, eye in opinion.eyes.items() if eye.ungradable or eye.findings}
        return [key for key in keys if key not in given]

    def _again(self, work: Work, case: Case, doctor: Doctor, **detail: Any) -> None:
        """Send a case back to the models."""
        if work.session.get(Job, case.id) is not None:
            raise OutOfTurn("the case is being worked on: wait a moment")
        images = images_of(work.session, case.id)
        for finding in findings_of(work.session, case.id):
            if not finding.said:  # nothing could be said then; it may be now
                work.session.delete(finding)
                for image in images:
                    image.quality = "" if image.sha256 == finding.image_sha256 else image.quality
        work.session.flush()
        advance(work, case, "reread", actor=doctor.account, role=doctor.role, **detail)
        add_job(work, case, "read")

    def _images(self, work: Work, case_id: str) -> list[str]:
        """Hashes of the images that were signed about, each with its eye."""
        return [f"{image.part}/{image.eye}:{image.sha256}" for image in images_of(work.session, case_id)]


def signature_of(review: Review, case: Case, findings: list[Finding], images: list[str], *, key: bytes) -> str:
    """Seal what is signed: the opinion, the request, the images and what the models had said.

    Args:
        review: The opinion, with who and when.
        case: The case.
        findings: What the models had said.
        images: Hash and eye of each image.
        key: The service's; 32 bytes.

    Returns:
        64 hex digits.

    References:
        Our own.
    """
    told = [
        case.id, case.site, case.body_sha256, case.order, review.revision, review.opinion, review.doctor,
        review.doctor_name, review.signed_at, images,
        [(each.image_sha256, each.model_id, each.said) for each in findings],
    ]  # fmt: skip
    return hmac.new(key, json.dumps(told, sort_keys=True, ensure_ascii=False).encode(), hashlib.sha256).hexdigest()


def _strange(opinion: Opinion) -> list[str]:
    """What an opinion names that there is not."""
    wrong = []
    for key, eye in opinion.eyes.items():
        part, _, side = key.partition("/")
        known = next((findings for name, findings in FINDINGS.items() if name == part), None)
        if known is None or side not in EYES:
            wrong.append("an eye is named fundus/OD, fundus/OS, anterior/OD or anterior/OS")
            continue
        for name, value in eye.findings.items():
            if name not in known:
                wrong.append(f"{key}: a finding is one of {', '.join(known)}")
            elif not 0 <= value <= known[name]:
                wrong.append(f"{key}: {name} is 0 to {known[name]}")
        if eye.ungradable and eye.findings:
            wrong.append(f"{key}: what cannot be graded has no findings")
    return wrong

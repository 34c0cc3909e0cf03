"""What doctors do: save an opinion, decide which eye an image shows, sign, amend."""

from collections.abc import Mapping
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
from eyeground.clinic.db.tables import Case, Job, Review
from eyeground.clinic.draft_facts import outdated
from eyeground.clinic.drafts import LLM, by_llm
from eyeground.clinic.findings import EYES, Merged
from eyeground.clinic.first_reads import FirstReadWanted, drop_first_reads, is_blind, keep_first_read
from eyeground.clinic.moments import reached
from eyeground.clinic.opinion_checks import left_open, strange, unready, unseen
from eyeground.clinic.records import EyeReview, Opinion, Said
from eyeground.clinic.signature import signature_of
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
        first_reads: Whether a doctor has to write a first read before he may write or sign anything else.

    References:
        docs/clinic.md.
    """

    def __init__(self, database: Database, *, key: bytes, rules: Rules, first_reads: bool = False) -> None:
        self._database, self._key, self._rules, self._first_reads = database, key, rules, first_reads

    def first_read(self, case_id: str, opinion: Opinion, *, version: int, doctor: Doctor) -> int:
        """Keep what a doctor thinks before he sees what the models say; once, and it is never changed.

        Args:
            case_id: The case.
            opinion: What the doctor thinks: a verdict on every eye that there is an image of.
            version: Version of the case that the doctor saw.
            doctor: Who.

        Returns:
            The case's version, which stays as it is.

        Raises:
            NoSuchCase: If there is none.
            Stale: If somebody else has changed it.
            Forbidden: If this is no doctor.
            OutOfTurn: If the case is not in review, an eye has to be decided first, or there is one of his already.
            OpinionRefused: If it names what there is not, or leaves an eye out.
            DatabaseLost: If the database does not answer; look whether it was kept.
        """
        with self._database.write() as work:
            case = self._open(work, case_id, version, doctor)
            if case.held:
                raise OutOfTurn("which eye an image shows is contradictory: decide that first")
            if wrong := strange(opinion) + unseen(images_of(work.session, case_id), opinion):
                raise OpinionRefused("; ".join(wrong))
            keep_first_read(work, case, opinion, account=doctor.account)
            return case.version

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
            FirstReadWanted: If first reads are wanted, and this doctor has written none.
            OpinionRefused: If it names an eye or finding that there is not.
            DatabaseLost: If the database does not answer; look whether it was saved.
        """
        with self._database.write() as work:
            case = self._open(work, case_id, version, doctor)
            self._not_blind(work, case, doctor)
            self._write(work, case, opinion, doctor)
            changed(case)
            work.note(doctor.account, "saved", case, revision=case.revision, version=case.version)
            return case.version

    def decide_eyes(self, case_id: str, eyes: Mapping[int, Eye], *, version: int, doctor: Doctor) -> int:
        """Say which eyes images show, all at once; the case is read anew, and until it is signed may be told otherwise.

        Args:
            case_id: The case.
            eyes: By an image's place in the request, from 0, which eye it is.
            version: Version of the case that the doctor saw.
            doctor: Who.

        Returns:
            The case's new version.

        Raises:
            NoSuchCase: If there is none, or no such image.
            Stale: If somebody else has changed it.
            Forbidden: If it is not in review, or this is no doctor.
            OpinionRefused: If one is no eye, or of no image, or none is told.
            DatabaseLost: If the database does not answer; look whether it was saved.
        """
        if not eyes or not set(eyes.values()) <= set(EYES):
            raise OpinionRefused("which eye: OD or OS")
        with self._database.write() as work:
            case = self._open(work, case_id, version, doctor)
            images = {image.place: image for image in images_of(work.session, case_id)}
            if none := sorted(set(eyes) - set(images)):
                raise OpinionRefused(f"the case has no image {', '.join(map(str, none))}")
            # What was written before was written about the other eye, by whomever.
            if any(images[place].eye != eye for place, eye in eyes.items()):
                drop_first_reads(work, case, account=doctor.account)
            exchanged = any(images[place].eye not in ("", eye) for place, eye in eyes.items())
            for place, eye in eyes.items():
                image = images[place]
                image.eye, image.conflict, image.decided_by = eye, "", doctor.account
            draft = self._draft(work, case)
            if draft is not None:
                draft.opinion = {} if exchanged else draft.opinion | {"eyes": {}}
            self._again(work, case, doctor, eyes={str(place): eye for place, eye in sorted(eyes.items())})
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
            FirstReadWanted: If first reads are wanted, and this doctor has written none.
            OutOfTurn: If it is not open for writing, or an eye has to be decided first.
            OpinionRefused: If something that must be there is not; all of it is named.
            DatabaseLost: If the database does not answer; look whether it was signed.
        """
        with self._database.write() as work:
            case = self._open(work, case_id, version, doctor)
            if case.held:
                raise OutOfTurn("which eye an image shows is contradictory: decide that first")
            self._not_blind(work, case, doctor)
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
            drafted = by_llm(work.session, case_id, case.revision)
            # All at once, or the database would see a signed opinion without its seal.
            with work.session.no_autoflush:
                review.doctor, review.doctor_name, review.signed_at = doctor.account, doctor.title, now()
                # Said now and sealed: a draft that comes later changes nothing of what was signed.
                review.drafted_by = LLM if drafted else ""
                review.signature = signature_of(review, case, findings, images, key=self._key)
            advance(
                work, case, "sign", actor=doctor.account, role=doctor.role, revision=case.revision,
                signature=review.signature, urgency=case.urgency, rules=case.rules,
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
            The urgency; what the doctor left open counts as not known, but where the models find something there, which
            counts until somebody has judged it.
        """
        merged = merged_of(session, case.id)
        values, unavailable = spoken_of(merged, case, opinion)
        said = {key: {name: Said(value=value) for name, value in each.items()} for key, each in values.items()}
        none = EyeReview()
        opened = {
            key: {name: answers[name] for name in left_open(answers, opinion.eyes.get(key, none))}
            for key, answers in merged.said.items()
        }
        told = Merged(said, merged.quality, {}, unavailable, {key: each for key, each in opened.items() if each})
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

    def _not_blind(self, work: Work, case: Case, doctor: Doctor) -> None:
        """Refuse an opinion of somebody who has to write a first read before."""
        if self._first_reads and is_blind(work.session, case, account=doctor.account):
            raise FirstReadWanted("write what you see first; then what the models say is shown")

    def _draft(self, work: Work, case: Case) -> Review | None:
        """The opinion of the case's revision."""
        return work.session.execute(
            select(Review).filter_by(case_id=case.id, revision=case.revision)
        ).scalar_one_or_none()

    def _write(self, work: Work, case: Case, opinion: Opinion, doctor: Doctor) -> None:
        """Put an opinion where the draft is."""
        wrong = strange(opinion)
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
        missing = unready(case, images_of(work.session, case.id), merged, opinion)
        if missing := [*missing, *outdated(work.session, case, opinion)]:
            raise OpinionRefused("; ".join(missing))

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

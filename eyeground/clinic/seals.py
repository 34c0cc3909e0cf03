"""What was signed, held against the audit trail: each opinion with the request, images and answers it stands on."""

import hmac
import json
from collections.abc import Iterator, Set
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from eyeground.clinic.cases import by_case
from eyeground.clinic.db.tables import AuditRecord, Case, Finding, Image, Review
from eyeground.clinic.signature import signature_of

_PAGE: Final = 200


@dataclass(frozen=True)
class BrokenSeal:
    """A signature that does not hold.

    Args:
        case_id: Of which case.
        revision: Which of its opinions.
        reason: What is wrong.

    Example:
        >>> BrokenSeal("0a1b", 1, "the case is gone").revision
        1

    References:
        Our own.
    """

    case_id: str
    revision: int
    reason: str


def broken_seals(session: Session, *, key: bytes) -> list[BrokenSeal]:
    """Compute the signature of every signed opinion anew, and compare it with the audit trail's line about it.

    The trail itself is checked by ``db.audit.verify``. A case that retention has taken out, which a line says, is no
    fault. A few lines are read at a time.

    Args:
        session: An open transaction.
        key: The key of signatures, as ``service.signing_key`` gives it.

    Returns:
        Those that do not hold; empty when all do.

    Example:
        >>> from eyeground.clinic.db.database import Database
        >>> from eyeground.clinic.db.migrate import migrate
        >>> database = Database("sqlite://", key=b"a key")
        >>> _ = migrate(database.engine)
        >>> with database.read() as session:
        ...     broken_seals(session, key=b"another key")
        []

    References:
        Our own.
    """
    return [*_changed(session, key), *_never_written_down(session)]


def _changed(session: Session, key: bytes) -> Iterator[BrokenSeal]:
    """Lines about a signature that what is in the tables does not bear out."""
    last = 0
    while True:
        wanted = select(AuditRecord).where(AuditRecord.event == "sign", AuditRecord.seq > last)
        lines = session.scalars(wanted.order_by(AuditRecord.seq).limit(_PAGE)).all()
        if not lines:
            return
        signed = _Signed(session, {line.case_id for line in lines}, key)
        for line in lines:
            told = json.loads(line.detail)
            reason = signed.fault_of(line.case_id, told["revision"], told["signature"])
            if reason:
                yield BrokenSeal(line.case_id, told["revision"], reason)
        last = lines[-1].seq


class _Signed:
    """All that some signatures stand on, read at once."""

    def __init__(self, session: Session, case_ids: Set[str], key: bytes) -> None:
        self._session, self._key = session, key
        self._cases = {case.id: case for case in session.scalars(select(Case).where(Case.id.in_(case_ids)))}
        reviews = session.scalars(select(Review).where(Review.case_id.in_(case_ids)))
        self._reviews = {(each.case_id, each.revision): each for each in reviews}
        images = select(Image).where(Image.case_id.in_(case_ids)).order_by(Image.place)
        findings = select(Finding).where(Finding.case_id.in_(case_ids)).order_by(Finding.id)
        self._images, self._findings = by_case(session.scalars(images)), by_case(session.scalars(findings))

    def fault_of(self, case_id: str, revision: int, signature: str) -> str:
        """What is wrong with one signature; empty when nothing is."""
        case = self._cases.get(case_id)
        if case is None:
            gone = select(AuditRecord.seq).filter_by(case_id=case_id, event="purged").limit(1)
            known = self._session.scalar(gone) is not None
            return "" if known else "the case is gone, and nobody has taken it out by 'purge'"
        review = self._reviews.get((case_id, revision))
        if review is None:
            return "the signed opinion is gone"
        # As ``Reviews.sign`` names them: which eye a picture was taken for is part of what was signed.
        images = [f"{image.part}/{image.eye}:{image.sha256}" for image in self._images.get(case_id, [])]
        anew = signature_of(review, case, self._findings.get(case_id, []), images, key=self._key)
        if not hmac.compare_digest(anew, signature) or not hmac.compare_digest(
            review.signature.encode(), anew.encode()
        ):
            return "the opinion, the request, the images with their eyes or the models' answers are not what was signed"
        return ""


def _never_written_down(session: Session) -> Iterator[BrokenSeal]:
    """Opinions that are called signed, and of whose signature no line tells."""
    last = 0
    while True:
        wanted = select(Review.id, Review.case_id, Review.revision).where(Review.signed_at != "", Review.id > last)
        reviews = session.execute(wanted.order_by(Review.id).limit(_PAGE)).all()
        if not reviews:
            return
        lines = select(AuditRecord.case_id, AuditRecord.detail).where(
            AuditRecord.event == "sign", AuditRecord.case_id.in_({each.case_id for each in reviews})
        )
        told = {(case_id, json.loads(detail)["revision"]) for case_id, detail in session.execute(lines)}
        for each in reviews:
            if (each.case_id, each.revision) not in told:
                yield BrokenSeal(
                    each.case_id, each.revision, "it is called signed, and the audit trail knows nothing of it"
                )
        last = reviews[-1].id

"""Reports of cases as people get them: what a doctor signed as HTML and PDF, and a preview of what he is writing."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from eyeground.clinic.answered import Answered
from eyeground.clinic.answering import answer_of, merged_of, spoken_of
from eyeground.clinic.blobs.store import BlobMissing
from eyeground.clinic.cases import find, images_of, reviews_of
from eyeground.clinic.db.tables import Case, Image, Outgoing, Review
from eyeground.clinic.drafts import by_llm
from eyeground.clinic.records import Opinion
from eyeground.clinic.report.fact import Letterhead
from eyeground.clinic.report.facts import Facts, facts_of
from eyeground.clinic.report.fonts import faces
from eyeground.clinic.report.html import write_html
from eyeground.clinic.report.pdf import write_pdf
from eyeground.clinic.report.telling import KEYS
from eyeground.clinic.service import Service
from eyeground.clinic.signings import signings_of
from eyeground.clinic.sites import site_of
from eyeground.images.quality import cannot_grade
from eyeground.images.refusal import ImageRefused

_PHOTO_PX: Final = 600


class NotSigned(ValueError):
    """There is no signed report of that version."""


def signed_facts(
    service: Service,
    case_id: str,
    *,
    language: str,
    revision: int | None = None,
    site: str = "",
    unsigned: bool = False,
) -> Facts:
    """Say what a signed report says.

    Args:
        service: The service.
        case_id: The case.
        language: A language of the shelf ``report/lang``.
        revision: Which version; None = the last that was signed.
        site: Whose the case must be; empty = anybody's.
        unsigned: Whether an answer that went out without a signature may stand in where there is none; it is marked.

    Returns:
        The facts.

    Raises:
        NoSuchCase: If there is none, or it is another site's.
        NotSigned: If no doctor has signed that version.
        LookupError: If there is no such language.
        DatabaseLost: If the database does not answer.

    References:
        docs/clinic.md.
    """
    return _signed(service, case_id, language=language, revision=revision, site=site, unsigned=unsigned)[0]


def signed_html(
    service: Service,
    case_id: str,
    *,
    language: str,
    revision: int | None = None,
    site: str = "",
    unsigned: bool = False,
) -> str:
    """Write a signed report as HTML.

    Args:
        service: The service.
        case_id: The case.
        language: A language of the shelf ``report/lang``.
        revision: Which version; None = the last that was signed.
        site: Whose the case must be; empty = anybody's.
        unsigned: As of ``signed_facts``.

    Returns:
        One file that needs nothing else; ``report.html.content_policy`` says what a browser may do with it.

    Raises:
        NoSuchCase: If there is none, or it is another site's.
        NotSigned: If no doctor has signed that version.
        LookupError: If there is no such language.
        StoreLost: If the store does not answer.
        DatabaseLost: If the database does not answer.

    References:
        docs/clinic.md.
    """
    facts, _ = _signed(service, case_id, language=language, revision=revision, site=site, unsigned=unsigned)
    return write_html(facts, photos=_photos(service, facts))


def signed_pdf(
    service: Service,
    case_id: str,
    *,
    language: str,
    revision: int | None = None,
    site: str = "",
    unsigned: bool = False,
) -> bytes:
    """Write a signed report as PDF: the same bytes whenever it is made with the same settings and fonts.

    Args:
        service: The service.
        case_id: The case.
        language: A language of the shelf ``report/lang``.
        revision: Which version; None = the last that was signed.
        site: Whose the case must be; empty = anybody's.
        unsigned: As of ``signed_facts``.

    Returns:
        PDF/A.

    Raises:
        NoSuchCase: If there is none, or it is another site's.
        NotSigned: If no doctor has signed that version.
        FontMissing: If there is no font with Chinese; the message says what to do.
        PdfFailed: If it cannot be typeset.
        LookupError: If there is no such language.
        StoreLost: If the store does not answer.
        DatabaseLost: If the database does not answer.

    References:
        docs/clinic.md.
    """
    facts, made_at = _signed(service, case_id, language=language, revision=revision, site=site, unsigned=unsigned)
    fonts = faces(service.settings.font)
    return write_pdf(facts, photos=_photos(service, facts), fonts=fonts, made_at=made_at)


def preview_html(service: Service, case_id: str, *, language: str, site: str = "") -> str:
    """Write what stands now as HTML: the signed report, or the draft, marked as one on every page.

    Args:
        service: The service.
        case_id: The case.
        language: A language of the shelf ``report/lang``.
        site: Whose the case must be; empty = anybody's.

    Returns:
        As ``signed_html``.

    Raises:
        NoSuchCase: If there is none, or it is another site's.
        LookupError: If there is no such language.
        StoreLost: If the store does not answer.
        DatabaseLost: If the database does not answer.

    References:
        docs/clinic.md.
    """
    with service.database.read() as session:
        case = find(session, case_id, site=site)
        review = next((each for each in reviews_of(session, case_id) if each.revision == case.revision), None)
        if review is not None and review.signed_at:
            answered = _answered(session, case, review)
        else:
            answered = _drafted(session, case, review)
        went_out = _went_out(session, case_id) if answered.opinion is None else ""
        images = images_of(session, case_id)
        facts = facts_of(answered, language, letterhead=_letterhead(service, case, images, review))
    if facts.status == "unsigned" and not went_out:
        facts = replace(facts, status="draft")
    return write_html(facts, photos=_photos(service, facts))


def _signed(
    service: Service, case_id: str, *, language: str, revision: int | None, site: str, unsigned: bool
) -> tuple[Facts, str]:
    """What a signed report says, and when it was signed; or what went out unsigned, and when."""
    with service.database.read() as session:
        case = find(session, case_id, site=site)
        signed = [each for each in reviews_of(session, case_id) if each.signed_at]
        wanted = [each for each in signed if revision in (None, each.revision)]
        if wanted:
            review, made_at = wanted[-1], wanted[-1].signed_at
            answered = _answered(session, case, review)
        else:
            made_at = _went_out(session, case_id) if unsigned and not signed and revision in (None, 0) else ""
            if not made_at:
                raise NotSigned("no doctor has signed this report yet" if not signed else "there is no such version")
            review, answered = None, answer_of(session, case, revision=0)
        letterhead = _letterhead(service, case, images_of(session, case_id), review)
        return facts_of(answered, language, letterhead=letterhead), made_at


def _answered(session: Session, case: Case, review: Review) -> Answered:
    """What was known when a version was signed: the case itself has urgency and rules of the last one."""
    answered = answer_of(session, case, revision=review.revision)
    signing = signings_of(session, case).get(review.revision)
    return answered if signing is None else replace(answered, urgency=signing.urgency, rules=signing.rules)


def _drafted(session: Session, case: Case, review: Review | None) -> Answered:
    """What would be known if a doctor signed what he has saved so far; the models' words where he has saved nothing."""
    answered = answer_of(session, case, revision=0)
    opinion = Opinion.model_validate(review.opinion) if review else Opinion()
    if opinion == Opinion():
        return answered
    values, unavailable = spoken_of(merged_of(session, case.id), case, opinion)
    return replace(
        answered, revision=case.revision, opinion=opinion, values=values, unavailable=unavailable,
        drafted_by_ai=by_llm(session, case.id, case.revision),
    )  # fmt: skip


def _went_out(session: Session, case_id: str) -> str:
    """When an answer went out that nobody signed; empty where none did."""
    return session.scalars(select(Outgoing.made_at).filter_by(case_id=case_id, revision=0)).first() or ""


def _letterhead(service: Service, case: Case, images: Sequence[Image], review: Review | None) -> Letterhead:
    """What stands around a report; of several images of the same, one that can be graded is shown."""
    shown: dict[str, Image] = {}
    for image in images:
        key = f"{image.part}/{image.eye}"
        if key in KEYS and (key not in shown or (cannot_grade(shown[key].quality) and not cannot_grade(image.quality))):
            shown[key] = image
    site = site_of(case.site, service.settings)
    return Letterhead(
        site=site.title,
        contact=site.contact,
        zone=service.settings.timezone,
        because=review.reason if review else "",
        received=case.received_at,
        photos=tuple((key, shown[key].sha256) for key in KEYS if key in shown),
        left_out=len(images) - len(shown),
    )


def _photos(service: Service, facts: Facts) -> dict[str, bytes]:
    """The images of a report; one that is gone, or that cannot be decoded, costs only itself."""
    photos = {}
    for photo in facts.photos:
        try:
            photos[photo.sha256] = service.showing.shown(photo.sha256, most_px=_PHOTO_PX)
        except (BlobMissing, ImageRefused):
            continue
    return photos

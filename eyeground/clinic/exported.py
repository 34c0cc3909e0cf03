"""What of a case leaves the building, whatever form it leaves in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session

from eyeground.clinic.answered import Answered
from eyeground.clinic.answering import answer_of
from eyeground.clinic.cases import find, findings_of, images_of
from eyeground.clinic.db.tables import Finding, Image, Outgoing, Review
from eyeground.clinic.eyes import side
from eyeground.clinic.records import Part, Said
from eyeground.clinic.settings import Settings
from eyeground.clinic.sites import site_of
from eyeground.images.quality import cannot_grade
from eyeground.images.retinal_image import Eye


class NotSigned(ValueError):
    """Nobody has signed the case, and it was not released unsigned either: there is nothing to give away."""


class LeftOut(ValueError):
    """A case that cannot leave in this form; the message says why, without a word about the patient."""


@dataclass(frozen=True)
class Photo:
    """An image of a case.

    Args:
        place: Its place in the request, from 0.
        part: What of the eye it shows.
        eye: Which eye it was taken for when the case was signed; empty where nobody knows.
        sha256: Of its bytes, which is its key in the store.
        quality: As the gate says it.
        device: Camera or scanner as its header names it.

    Example:
        >>> Photo(0, "fundus", "OD", "0" * 64).key
        'fundus/OD'

    References:
        Our own.
    """

    place: int
    part: Part
    eye: Eye
    sha256: str
    quality: str = ""
    device: str = ""

    @property
    def key(self) -> str:
        """Part and eye, as findings are filed under."""
        return f"{self.part}/{self.eye}"


@dataclass(frozen=True)
class Exported:
    """A case as it leaves: one signed revision, or what was released unsigned.

    Args:
        answered: What is known of it.
        site: Who asked.
        organization: What reports call this site.
        doctor: Account of who signed; empty where nobody did.
        reason: Why the revision before was amended.
        received_at: UTC, ISO.
        photos: Its images.
        models: Exact id -> title, of the models that looked.
        sources: Which of them said what, by exact id: ``"<part>/<eye>.<finding>"`` and ``"quality.<part>/<eye>"``, and
            ``"areas.<part>/<eye>"`` where only one has told areas.
        reasons: What made it as urgent as it is, by language.

    Example:
        >>> from eyeground.clinic.records import Order
        >>> Exported(Answered("0a", Order(door="check", id="17"), 2), "here", "Here").name
        '0a-2'

    References:
        Our own.
    """

    answered: Answered
    site: str
    organization: str
    doctor: str = ""
    reason: str = ""
    received_at: str = ""
    photos: tuple[Photo, ...] = ()
    models: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Case and revision: names exactly this version of the report, and nobody."""
        return f"{self.answered.case_id}-{self.answered.revision}"

    def source(self, what: str) -> str:
        """Say which model something comes from.

        Args:
            what: As ``sources`` has it.

        Returns:
            Its exact id; empty where nobody knows. Where only one model looked it is that one's.
        """
        only = next(iter(self.models)) if len(self.models) == 1 else ""
        return self.sources.get(what, only)


def gather(session: Session, case_id: str, *, settings: Settings) -> Exported:
    """Take all of a case's last signed revision, or what was released of it unsigned.

    Args:
        session: An open transaction.
        case_id: The case.
        settings: The service's, for what its own site is called.

    Returns:
        The case.

    Raises:
        NoSuchCase: If there is none.
        NotSigned: If nothing of it was signed or released.

    References:
        Our own.
    """
    case = find(session, case_id)
    signed = select(Review).where(Review.case_id == case_id, Review.signed_at != "")
    review = session.scalars(signed.order_by(Review.revision.desc()).limit(1)).first()
    if review is None:
        unsigned = select(Outgoing.id).filter_by(case_id=case_id, revision=0).limit(1)
        if session.scalars(unsigned).first() is None:
            raise NotSigned(f"nobody has signed it yet (it is {case.state.replace('_', ' ')})")
    answered = answer_of(session, case, revision=review.revision if review else 0)
    images, findings = images_of(session, case_id), findings_of(session, case_id)
    photos = tuple(
        Photo(
            each.place, "anterior" if each.part == "anterior" else "fundus", side(each.eye), each.sha256, each.quality,
            each.device,
        )
        for each in images
    )  # fmt: skip
    return Exported(
        answered,
        case.site,
        site_of(case.site, settings).title,
        doctor=review.doctor if review else "",
        reason=review.reason if review else "",
        received_at=case.received_at,
        photos=photos,
        models={each.model_id: each.model for each in findings},
        reasons={language: tuple(words) for language, words in case.reasons.items()},
        sources=_sources(answered, images, findings),
    )


def _sources(answered: Answered, images: Sequence[Image], findings: Sequence[Finding]) -> dict[str, str]:
    """Which model said what holds of each eye: the first whose answer is the one that counts."""
    found: dict[str, str] = {}
    looked: dict[str, set[str]] = {}
    for image in images:
        key = f"{image.part}/{image.eye}"
        for finding in (each for each in findings if each.image_sha256 == image.sha256):
            if finding.quality == answered.quality.get(key):
                found.setdefault(f"quality.{key}", finding.model_id)
            if finding.areas and not cannot_grade(finding.quality):
                looked.setdefault(f"areas.{key}", set()).add(finding.model_id)
            for name, told in finding.said.items():
                if Said.model_validate(told) == answered.said.get(key, {}).get(name):
                    found.setdefault(f"{key}.{name}", finding.model_id)
    return found | {what: models.pop() if len(models) == 1 else "" for what, models in looked.items()}

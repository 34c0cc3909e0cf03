"""Shapes of a case as those see it who treat it."""

from pydantic import BaseModel, ConfigDict

from eyeground.clinic.records import Door, Opinion, Order, Said
from eyeground.clinic.states import State

_SHAPE = ConfigDict(extra="forbid", frozen=True)


class HeatShape(BaseModel):
    """That there is a heat map of an image; it lies under the image's own address.

    Args:
        target: The finding that it explains, by the contract's name.

    Example:
        >>> HeatShape(target="DR").target
        'DR'

    References:
        ``eyeground.clinic.db.opinions.HeatMap``.
    """

    model_config = _SHAPE

    target: str


class ImageShape(BaseModel):
    """An image of a case.

    Args:
        place: Its place in the request, from 0.
        part: What of the eye it shows.
        eye: Which eye it is taken for; empty while that is not known or held.
        claimed_eye: Which eye the request says it is.
        conflict: Who contradicts whom about the eye.
        decided_by: Account that said which eye it is.
        quality: Verdict on it; empty before it was looked at.
        sha256: Of its bytes.
        size_bytes: Unit: bytes.
        name: What the sender calls it.
        device: Camera or scanner as the file's header names it.
        slices: How many B-scans or pages it has; null where nobody has looked.
        heat: Its heat maps; they lie under the image's own address, each by its ``target``.

    Example:
        >>> ImageShape.model_fields["place"].annotation
        <class 'int'>

    References:
        ``eyeground.clinic.db.tables.Image``.
    """

    model_config = _SHAPE

    place: int
    part: str
    eye: str
    claimed_eye: str
    conflict: str
    decided_by: str
    quality: str
    sha256: str
    size_bytes: int
    name: str
    device: str
    slices: int | None
    heat: list[HeatShape]


class FindingShape(BaseModel):
    """What one model says of one image.

    Args:
        image_sha256: Of which image.
        model: Name and version.
        model_id: Which model, exactly.
        said: Its answers.
        quality: Its gate's verdict.
        areas: Regions of attention.
        found_at: UTC, ISO.

    Example:
        >>> FindingShape.model_fields["model"].annotation
        <class 'str'>

    References:
        ``eyeground.clinic.db.tables.Finding``.
    """

    model_config = _SHAPE

    image_sha256: str
    model: str
    model_id: str
    said: dict[str, Said]
    quality: str
    areas: list[str]
    found_at: str


class AnsweredShape(BaseModel):
    """What the models say of both eyes, by ``"<part>/<eye>"``.

    Args:
        values: Finding -> value.
        said: Finding -> value and score.
        quality: Verdict on the images.
        areas: Regions of attention.
        models: Titles of the models that were asked.

    Example:
        >>> AnsweredShape(values={}, said={}, quality={}, areas={}, models=[]).models
        []

    References:
        ``eyeground.clinic.answered.Answered``.
    """

    model_config = _SHAPE

    values: dict[str, dict[str, int]]
    said: dict[str, dict[str, Said]]
    quality: dict[str, str]
    areas: dict[str, list[str]]
    models: list[str]


class ReviewShape(BaseModel):
    """An opinion of a doctor.

    Args:
        revision: 1, 2, ...; an amendment is the next.
        opinion: What the doctor says.
        doctor: Account that wrote it last.
        doctor_name: As it stands on the report.
        reason: Why the version before was amended.
        saved_at: UTC, ISO.
        signed_at: UTC, ISO; empty while it is a draft.
        signature: Keyed hash of all that was signed; empty while it is a draft.

    Example:
        >>> ReviewShape.model_fields["revision"].annotation
        <class 'int'>

    References:
        ``eyeground.clinic.db.tables.Review``.
    """

    model_config = _SHAPE

    revision: int
    opinion: Opinion
    doctor: str
    doctor_name: str
    reason: str
    saved_at: str
    signed_at: str
    signature: str


class AnswerShape(BaseModel):
    """An answer that went out, or is about to.

    Args:
        revision: Of which signed opinion; 0 = of none, released unsigned.
        queue: Where to; empty where the sender fetches it.
        made_at: UTC, ISO.
        sent_at: UTC, ISO; empty until it was sent.

    Example:
        >>> AnswerShape(revision=1, queue="", made_at="", sent_at="").queue
        ''

    References:
        ``eyeground.clinic.db.tables.Outgoing``.
    """

    model_config = _SHAPE

    revision: int
    queue: str
    made_at: str
    sent_at: str


class EventShape(BaseModel):
    """A line of the audit trail.

    Args:
        seq: Its number.
        at: UTC, ISO.
        actor: Account, or ``"service"``.
        event: What happened.
        detail: JSON text without a word about the patient.

    Example:
        >>> EventShape(seq=1, at="", actor="li", event="saved", detail="{}").event
        'saved'

    References:
        ``eyeground.clinic.db.tables.AuditRecord``.
    """

    model_config = _SHAPE

    seq: int
    at: str
    actor: str
    event: str
    detail: str


class EarlierImage(BaseModel):
    """An image of an earlier visit.

    Args:
        place: Its place in that request, from 0.
        part: What of the eye it shows.
        eye: Which eye; empty where that is not known.

    Example:
        >>> EarlierImage(place=0, part="fundus", eye="OD").eye
        'OD'

    References:
        ``eyeground.clinic.db.tables.Image``.
    """

    model_config = _SHAPE

    place: int
    part: str
    eye: str


class EarlierShape(BaseModel):
    """An earlier visit of the same patient at the same site.

    Args:
        id: The case.
        received_at: UTC, ISO.
        visit_time: As the site told it; empty when it did not.
        state: Where the case is.
        signed_at: When it was signed last; UTC, ISO, empty where it was not.
        values: What holds, by ``"<part>/<eye>"`` and finding: the doctor's word where one signed, else the models'.
        images: Its images.

    Example:
        >>> "values" in EarlierShape.model_fields
        True

    References:
        ``eyeground.clinic.earlier``.
    """

    model_config = _SHAPE

    id: str
    received_at: str
    visit_time: str
    state: State
    signed_at: str
    values: dict[str, dict[str, int]]
    images: list[EarlierImage]


class FirstReadShape(BaseModel):
    """What whoever asks had thought before seeing what the models say.

    Args:
        opinion: It.
        made_at: UTC, ISO.

    Example:
        >>> FirstReadShape(opinion=Opinion(), made_at="").made_at
        ''

    References:
        ``eyeground.clinic.db.opinions.FirstRead``.
    """

    model_config = _SHAPE

    opinion: Opinion
    made_at: str


class CaseShape(BaseModel):
    """All of a case.

    Args:
        id: The case.
        request_id: The sender's id.
        site: Who asked.
        queue: Through which queue or door.
        door: The contract.
        state: Where the case is.
        version: What a change has to name.
        revision: Which opinion is being written or was signed last.
        held: Why a person must decide something first.
        unavailable: What could not be answered, and why.
        urgency: A word of the rule set; empty where it is hidden.
        urgency_rank: 0 is the most urgent; null where it is hidden.
        reasons: What made it so urgent, by language.
        rules: Rule set and version.
        received_at: UTC, ISO.
        changed_at: UTC, ISO.
        working: Whether something is being done, or is in line to be done.
        order: What was asked.
        draft: Of a report request the drafted texts, which a doctor edits and signs.
        images: Its images.
        findings: What the models say of each.
        answered: What they say of both eyes.
        reviews: What doctors wrote.
        answers: What went out.
        history: Its part of the audit trail.
        earlier: Earlier visits of the same patient, the last first.
        blind: Whether all that a model said is hidden until whoever asks has written a first read.
        first_read: What whoever asks had thought before; null where there is nothing.

    Example:
        >>> "history" in CaseShape.model_fields
        True

    References:
        ``eyeground.clinic.views.case_view``.
    """

    model_config = _SHAPE

    id: str
    request_id: str
    site: str
    queue: str
    door: Door
    state: State
    version: int
    revision: int
    held: list[str]
    unavailable: dict[str, str]
    urgency: str
    urgency_rank: int | None
    reasons: dict[str, list[str]]
    rules: str
    received_at: str
    changed_at: str
    working: bool
    order: Order
    draft: dict[str, str]
    images: list[ImageShape]
    findings: list[FindingShape]
    answered: AnsweredShape
    reviews: list[ReviewShape]
    answers: list[AnswerShape]
    history: list[EventShape]
    earlier: list[EarlierShape]
    blind: bool
    first_read: FirstReadShape | None

"""What a report says, fact by fact in one language, for text, HTML and PDF; nothing that nobody said."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Final, Literal

from eyeground.clinic.answered import Answered
from eyeground.clinic.findings import EYES, FINDINGS
from eyeground.clinic.report.fact import EyeFacts, Letterhead, Line, Photo, PlaceFacts
from eyeground.clinic.report.language import Words, words_of
from eyeground.clinic.report.settled import settled
from eyeground.clinic.report.telling import KEYS, areas_told, grade_told, models_told, place_told, scores_told
from eyeground.clinic.report.wording import acuity_words, moment_words, place_words, quality_words
from eyeground.clinic.urgency import measured_reasons, titles

Status = Literal["signed", "unsigned", "draft"]
TEXTS: Final = ("anteriorReport", "anteriorInterpret", "fundusReport", "fundusInterpret")
_OF_IMAGES: Final = ("listed", "ungradable")
_SHORT: Final = 8  # hex digits of a case's id that name it on paper


@dataclass(frozen=True)
class Facts:
    """All that a report says.

    Args:
        language: In which language.
        status: ``"signed"``; ``"unsigned"``, where the models' answers went out without a doctor; ``"draft"``, while it
            is written.
        number: Number of the report: the beginning of the case's id, and the version.
        revision: Version; 0 = none was signed.
        title: Its headline.
        mark: That it is decision support.
        site: What the site is called.
        contact: Whom patients call.
        exam: Who, when and what: ``name, sex, age, patient_id, request, time, images``.
        eyes: Measured, quality and grade; the right eye first. None of a report request, as all that is of images.
        by: Whose findings these are.
        findings: What is seen, the right eye first.
        narrative: The same told in sentences, as the doctor signed it; empty where there is none.
        drafted_by_ai: Whether narrative or texts began as a language model's draft.
        texts: Texts of a report request.
        models: Which models were asked.
        said: What they said, a line per part of an eye.
        scores: What the scores mean; empty where there are none.
        areas: Where they looked.
        conclusion: In the doctor's words; or that there is none, but of a report request, whose texts say it all.
        recommendation: Likewise; empty where nobody signed.
        urgency: What the rules say; empty where they were not asked.
        rules: By which rules; empty where none were asked.
        limits: What a report cannot say.
        doctor: Who signed; empty where nobody did.
        signed_at: When, with the zone.
        because: Why the version before was amended.
        photos: Images, the right eye first.
        left_out: How many images are not shown.

    Example:
        >>> from eyeground.clinic.records import Order
        >>> facts_of(Answered("0a1b2c3d4e", Order(door="check", id="17"), 0), "en").number
        '0A1B2C3D-0'

    References:
        docs/clinic.md for the sections.
    """

    language: str
    status: Status
    number: str
    revision: int
    title: str
    mark: str
    site: str
    contact: str
    exam: tuple[Line, ...]
    eyes: tuple[EyeFacts, ...]
    by: str
    findings: tuple[PlaceFacts, ...]
    narrative: str
    drafted_by_ai: bool
    texts: tuple[Line, ...]
    models: tuple[str, ...]
    said: tuple[Line, ...]
    scores: str
    areas: tuple[Line, ...]
    conclusion: str
    recommendation: str
    urgency: str
    rules: str
    limits: tuple[str, ...]
    doctor: str
    signed_at: str
    because: str
    photos: tuple[Photo, ...]
    left_out: int

    @property
    def sha256(self) -> str:
        """Hash of all of it, images by theirs: two papers with the same hash say the same."""
        told = json.dumps(asdict(self), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(told.encode("utf-8", "backslashreplace")).hexdigest()


def facts_of(answered: Answered, language: str, *, letterhead: Letterhead = Letterhead()) -> Facts:  # noqa: B008
    """Say what is known of a case, fact by fact.

    Args:
        answered: What is known of it. An opinion without a time of signature is a draft.
        language: A language of the shelf ``report/lang``.
        letterhead: What stands around it.

    Returns:
        The facts. Names, and what people wrote, stay as they were written.

    Raises:
        LookupError: If there is no such language.

    Example:
        >>> from eyeground.clinic.records import Order
        >>> facts_of(Answered("0a", Order(door="check", id="17"), 0), "en").conclusion
        'No doctor has signed this report.'

    References:
        docs/clinic.md for the sections.
    """
    words, opinion = words_of(language), answered.opinion
    status: Status = "signed" if answered.signed else "unsigned" if opinion is None else "draft"
    # A report request asks for texts: nobody looks at an eye, no model and no rule is asked, and none of it is told.
    looked = answered.order.door != "report"
    empty = words.say if looked else lambda key: ""
    urgency = titles(answered.urgency, answered.rules).get(words.code, words.say("recommendation.unknown"))
    return Facts(
        language=language,
        status=status,
        number=f"{answered.case_id[:_SHORT].upper()}-{answered.revision}",
        revision=answered.revision,
        title=words.say("title"),
        mark=words.say("mark"),
        site=letterhead.site,
        contact=letterhead.contact,
        exam=tuple(_exam(answered, letterhead, words)),
        eyes=tuple(_eye(answered, eye, words) for eye in EYES if looked),
        by=words.say("findings.by_ai" if opinion is None else "findings.by_doctor") if looked else "",
        findings=tuple(place_told(answered, key, words) for key in KEYS if looked),
        narrative=opinion.narrative if opinion else "",
        drafted_by_ai=answered.drafted_by_ai,
        texts=tuple(
            Line(
                name,
                words.say(f"texts.{name}"),
                settled(opinion.texts[name]) if answered.signed else opinion.texts[name],
            )
            for name in TEXTS
            if opinion and opinion.texts.get(name)
        ),
        models=answered.models,
        said=tuple(models_told(answered, words)),
        scores=scores_told(answered, words),
        areas=tuple(areas_told(answered, words)),
        conclusion=words.say("conclusion.unsigned")
        if opinion is None
        else opinion.conclusion or empty("conclusion.empty"),
        recommendation="" if opinion is None else opinion.recommendation or empty("recommendation.empty"),
        urgency=urgency if looked else "",
        rules=_rules(answered, words) if answered.rules and looked else "",
        limits=(words.say("mark") + words.say("stop"), *_limits(words, looked=looked)),
        doctor=answered.doctor_name if answered.signed else "",
        signed_at=moment_words(answered.signed_at, letterhead.zone) if answered.signed else "",
        because=letterhead.because,
        photos=tuple(Photo(key, place_words(key, language), sha256) for key, sha256 in letterhead.photos),
        left_out=letterhead.left_out,
    )


def _limits(words: Words, *, looked: bool) -> Iterator[str]:
    """What a report cannot say; of images only where some were looked at."""
    return (said for name, said in words.known("limits").items() if looked or name not in _OF_IMAGES)


def _rules(answered: Answered, words: Words) -> str:
    """By which rules it is as urgent as it is, and because of which measurements."""
    order = answered.order
    found = measured_reasons(answered.urgency, answered.rules, od=order.od, os=order.os)
    reasons = words.say("comma").join(each.zh if words.code == "zh" else each.en for each in found)
    key = "rules_because" if reasons else "rules"
    return words.say(f"recommendation.{key}", rules=answered.rules, reasons=reasons)


def _exam(answered: Answered, letterhead: Letterhead, words: Words) -> Iterator[Line]:
    """Who, when and what."""
    person, order = answered.order.person, answered.order
    years = "" if person.age is None else words.say("exam.years", age=person.age)
    images = words.say("comma").join(
        words.say("exam.count", part=words.say(f"parts.{part}"), count=answered.images[part])
        for part in FINDINGS
        if answered.images.get(part)
    )
    received = letterhead.received and words.say(
        "exam.received", moment=moment_words(letterhead.received, letterhead.zone)
    )
    for key, value in (
        ("name", person.name),
        ("sex", words.say(f"exam.{person.sex}") if person.sex else ""),
        ("age", years),
        ("patient_id", person.patient_id),
        ("request", order.id),
        ("time", order.visit_time.replace("T", " ") or received),
        ("images", images),
    ):
        # On one line, whatever was sent: no name begins a section of its own.
        yield Line(key, words.say(f"exam.{key}"), " ".join(value.split()) or words.say("not_told"))


def _eye(answered: Answered, eye: str, words: Words) -> EyeFacts:
    """Acuity, pressure, quality and grade of an eye."""
    exam = answered.order.od if eye == "OD" else answered.order.os
    pressure = words.say("not_told")
    if exam.pressure_mmhg is not None:
        method = words.say(f"measured.{exam.pressure_method}") if exam.pressure_method else ""
        remarks = words.say("comma").join(filter(None, (method, exam.pressure_time.replace("T", " "))))
        pressure = f"{exam.pressure_mmhg:g} mmHg" + words.braced(remarks)
    keys = [f"{part}/{eye}" for part in FINDINGS]
    return EyeFacts(
        eye=eye,
        title=words.say(f"eyes.{eye}"),
        acuity=acuity_words(exam, words.code),
        pressure=pressure,
        quality=tuple(
            Line(key, place_words(key, words.code), quality_words(answered.quality[key], words.code))
            for key in keys
            if key in answered.quality
        ),
        grade=grade_told(answered, f"fundus/{eye}", words),
    )

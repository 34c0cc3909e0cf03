"""What a narrative tells of a case: the facts in words, per eye, and where each comes from."""

import re
from collections.abc import Iterator, Mapping
from typing import Final, cast

from eyeground.clinic.answered import Answered
from eyeground.clinic.findings import EYES, FINDINGS, UNAVAILABLE
from eyeground.clinic.llm.lexicon import lexicon_of
from eyeground.clinic.llm.slots import Kind, Plan, Section, Side, Slot
from eyeground.clinic.records import EyeExam, EyeReview, Opinion, Part
from eyeground.clinic.report.language import Words, words_of
from eyeground.clinic.report.telling import findings_told
from eyeground.clinic.report.wording import acuity_words, quality_words

NARRATIVE: Final = "narrative"
_COMMAS: Final = re.compile("[,，、;；\n]")
_TEXTS: Final[tuple[tuple[str, Part, Kind, str], ...]] = (
    ("anteriorReport", "anterior", "features", "AnteriorFeatures"),
    ("anteriorInterpret", "anterior", "diseases", "AnteriorDisease"),
    ("fundusReport", "fundus", "features", "FundusFeatures"),
    ("fundusInterpret", "fundus", "diseases", "FundusDisease"),
)


def narrative_of(answered: Answered, opinion: Opinion | None, language: str) -> Plan:
    """Say what the narrative of a case holds.

    Of an eye that the doctor has judged so far, the doctor's word; of others what the models say, and so called.

    Args:
        answered: What is known of the case, the models speaking.
        opinion: What the doctor has saved so far; None = nothing.
        language: A code of the shelf ``report/lang``.

    Returns:
        The plan: for each eye acuity and pressure where they are known, and quality, grade and findings of the parts of
        which there are images, or that there is none. What was found does not show in which facts there are.

    Raises:
        LookupError: If there is no such language.

    Example:
        >>> from eyeground.clinic.records import Order
        >>> plan = narrative_of(Answered("0a", Order(door="check", id="17"), 0), None, "en")
        >>> plan.sections[0].slots[0].value
        'no image was sent'

    References:
        docs/clinic.md.
    """
    words = words_of(language)
    sections = []
    for eye, exam in zip(EYES, (answered.order.od, answered.order.os), strict=True):
        side = cast(Side, eye)
        slots = [*_measured(exam, side, words)]
        for part in FINDINGS:
            key = f"{part}/{eye}"
            if part == "fundus" or _is_there(answered, opinion.eyes.get(key) if opinion else None, key):
                slots += _seen(answered, opinion, part, side, words)
        sections.append(Section(NARRATIVE, side, _lead(eye, words), tuple(slots)))
    return Plan(language, tuple(sections))


def texts_of(texts: Mapping[str, str], language: str) -> Plan:
    """Say what the four texts of a report request hold.

    Args:
        texts: What was sent, by the contract's names.
        language: A code of the shelf ``report/lang``.

    Returns:
        The plan: what was sent of each eye, names of findings written out; our own sentence where nothing was.

    Raises:
        LookupError: If there is no such language.

    Example:
        >>> plan = texts_of({"odFundusDisease": "AMD"}, "zh")
        >>> [slot.value for section in plan.open for slot in section.slots]
        ['年龄相关性黄斑变性']

    References:
        docs/clinic.md for the contract.
    """
    words = words_of(language)
    titles = {name.casefold(): title for name, title in words.known("titles").items()}
    sections = []
    for text, part, kind, field in _TEXTS:
        comma = words.say("list" if kind == "diseases" else "comma")
        for eye in EYES:
            each = (" ".join(item.split()) for item in _COMMAS.split(texts.get(f"{eye.lower()}{field}", "")))
            named = dict.fromkeys(titles.get(item.casefold(), item) for item in each if item)
            slots = (Slot(eye, part, kind, comma.join(named)),) if named else ()
            place = {"eye": words.say(f"eyes.{eye}"), "part": words.say(f"parts.{part}")}
            fixed = "" if named else words.say(f"draft.no_{kind}", **place)
            sections.append(Section(text, eye, _lead(eye, words) if named else "", slots, fixed))
    return Plan(language, tuple(sections), words.say("draft.note"))


def template_of(plan: Plan) -> dict[str, str]:
    """Write the sections without a model: the same facts in the same words, always.

    Args:
        plan: What they hold.

    Returns:
        By a section's key its text, with placeholders.

    Raises:
        LookupError: If no narrative is written in the plan's language.

    Example:
        >>> slot = Slot("OD", None, "pressure", "17 mmHg")
        >>> template_of(Plan("en", (Section("narrative", "OD", "OD: ", (slot,)),)))
        {'narrative_OD': 'Intraocular pressure: [[OD_PRESSURE]].'}

    References:
        Our own.
    """
    words = lexicon_of(plan.language)
    return {
        section.key: words.gap.join(
            words.sentences[slot.kind].format(value=slot.token, part=words.parts[slot.part or "fundus"])
            for slot in section.slots
        )
        for section in plan.open
    }


def _measured(exam: EyeExam, eye: Side, words: Words) -> Iterator[Slot]:
    """Acuity and pressure, where they are known."""
    if exam.acuity:
        yield Slot(eye, None, "acuity", acuity_words(exam, words.code))
    if exam.pressure_mmhg is not None:
        method = words.say(f"measured.{exam.pressure_method}") if exam.pressure_method else ""
        remarks = words.say("comma").join(filter(None, (method, exam.pressure_time.replace("T", " "))))
        yield Slot(eye, None, "pressure", f"{exam.pressure_mmhg:g} mmHg{words.braced(remarks)}")


def _seen(answered: Answered, opinion: Opinion | None, part: Part, eye: Side, words: Words) -> Iterator[Slot]:
    """Quality, grade and findings of a part of an eye."""
    key = f"{part}/{eye}"
    if key in answered.quality:
        yield Slot(eye, part, "quality", quality_words(answered.quality[key], words.code))
    judged = opinion.eyes.get(key) if opinion is not None else None
    if judged is not None and not (judged.ungradable or judged.findings):
        judged = None  # nothing was said of it yet
    values = answered.values.get(key, {}) if judged is None else judged.findings
    whole = "" if values else _whole(answered, judged, key, words)
    names = list(FINDINGS[part])
    if part == "fundus":
        names.remove("DR")
        if _is_there(answered, judged, key):
            yield Slot(eye, part, "grade", _grade(answered, values.get("DR"), key, whole, words))
    by = ("detected", "not_detected") if judged is None else ("seen", "not_seen")
    told = whole or words.say("then").join(findings_told(answered, key, names, values, by, words))
    yield Slot(eye, part, "findings", told)


def _is_there(answered: Answered, judged: EyeReview | None, key: str) -> bool:
    """Whether there is an image of it, or a verdict."""
    told = any(word != "no_image" for name, word in answered.unavailable.items() if name.partition(".")[0] == key)
    return judged is not None or key in answered.quality or key in answered.values or told


def _whole(answered: Answered, judged: EyeReview | None, key: str, words: Words) -> str:
    """Why nothing at all is known of it; empty where the reasons are each finding's own."""
    if judged is not None and judged.ungradable:
        reason = " ".join(judged.reason.split())
        because = words.say("findings.ungradable_because") + reason if reason else ""
        return UNAVAILABLE["cannot_grade"][words.code] + words.braced(because)
    word = answered.unavailable.get(key) or ("" if _is_there(answered, judged, key) else "no_image")
    return UNAVAILABLE[word][words.code] if word else ""


def _grade(answered: Answered, value: int | None, key: str, whole: str, words: Words) -> str:
    """A grade with its name, or why there is none."""
    if value is None:
        word = answered.unavailable.get(f"{key}.DR", "not_assessed")
        return words.say("grade.not_graded") + words.braced(whole or UNAVAILABLE[word][words.code])
    return words.say("grade.grade", grade=value) + words.say("comma") + words.say(f"grades.{value}")


def _lead(eye: str, words: Words) -> str:
    """Which eye it is about."""
    return words.labelled(words.say(f"eyes.{eye}"), "")

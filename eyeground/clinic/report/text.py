"""The report as plain text: facts in fixed words, the same every time, and nothing that nobody said."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from eyeground.clinic.acuity import read_acuity
from eyeground.clinic.answered import Answered
from eyeground.clinic.findings import EYES, FINDINGS, UNAVAILABLE
from eyeground.clinic.records import EyeExam, Part
from eyeground.clinic.report.language import Words, words_of
from eyeground.clinic.urgency import titles
from eyeground.explain.evidence import CAPTION
from eyeground.explain.regions import TITLES

SECTIONS: Final = (
    "exam", "measured", "quality", "findings", "assistance", "grade", "conclusion", "recommendation", "limits",
    "signature",
)  # fmt: skip
_COMMAS: Final = re.compile("[,，、;；]")
# Where a doctor looks for it.
_STRUCTURES: Final[Mapping[Part, Mapping[str, tuple[str, ...]]]] = {
    "fundus": {"disc": ("GLA", "ON"), "macula": ("AMD", "CSC"), "vessels": ("RVO",), "retina": ("DR", "RP")},
    "anterior": {"anterior": tuple(FINDINGS["anterior"])},
}


def report_text(answered: Answered, language: str) -> str:
    """Write the report of a case.

    Args:
        answered: What is known of it.
        language: A language of the shelf ``report/lang``.

    Returns:
        Plain text; a headline in brackets begins each section. Names, and what people wrote, stay as they were written.

    Raises:
        LookupError: If there is no such language.

    Example:
        >>> from eyeground.clinic.records import Order
        >>> print(report_text(Answered("0a", Order(door="check", id="17"), 0), "zh").splitlines()[1])
        AI 辅助，非诊断

    References:
        docs/clinic.md for the sections.
    """
    words = words_of(language)
    bodies = {
        "exam": _exam(answered, words),
        "measured": _measured(answered, words),
        "quality": _quality(answered, words),
        "findings": _findings(answered, words),
        "assistance": _assistance(answered, words),
        "grade": _grade(answered, words),
        "conclusion": _conclusion(answered, words),
        "recommendation": _recommendation(answered, words),
        "limits": iter((words.say("mark") + words.say("stop"), *words.known("limits").values())),
        "signature": _signature(answered, words),
    }
    lines = [words.say("title"), words.say("mark")]
    for section in SECTIONS:
        lines += ["", f"【{words.say(f'sections.{section}')}】", *bodies[section]]
    return "\n".join(lines) + "\n"


def quality_words(verdict: str, language: str) -> str:
    """Say a verdict on an image.

    Args:
        verdict: ``"good"``, ``"fair: <reasons>"`` or ``"cannot grade: <reasons>"``.
        language: A language of the shelf ``report/lang``.

    Returns:
        The verdict in that language; a reason without words of its own is called another reason.

    Raises:
        LookupError: If there is no such language.

    Example:
        >>> quality_words("cannot grade: out of focus", "zh")
        '无法分级（对焦不清）'

    References:
        Our own.
    """
    words = words_of(language)
    grade, _, told = verdict.partition(": ")
    known = words.known("reasons")
    reasons = dict.fromkeys(known.get(reason, words.say("quality.other")) for reason in filter(None, told.split(", ")))
    return words.say(f"quality.{grade.replace(' ', '_')}") + words.braced(words.say("list").join(reasons))


def acuity_words(exam: EyeExam, language: str) -> str:
    """Say an acuity.

    Args:
        exam: What was measured of an eye.
        language: A language of the shelf ``report/lang``.

    Returns:
        The acuity with its notation and correction; that none is given where none is.

    Raises:
        LookupError: If there is no such language.

    Example:
        >>> acuity_words(EyeExam(acuity="手动/20cm", correction="corrected"), "en")
        'HM/20cm (corrected)'

    References:
        Our own.
    """
    words = words_of(language)
    if not exam.acuity:
        return words.say("not_told")
    found = read_acuity(exam.acuity, exam.notation)
    remarks = [words.say(f"measured.{exam.correction}")] if exam.correction else []
    if found.sign:
        away = f"/{found.away}" if found.away else ""
        return words.say(f"measured.{found.sign}") + away + words.braced(words.say("comma").join(remarks))
    number = exam.acuity.strip() if found.notation != "logmar" else f"{float(found.value or 0):g}"
    remarks.insert(0, words.say(f"measured.{found.notation}"))
    return number + words.braced(words.say("comma").join(remarks))


def draft_report(texts: Mapping[str, str], language: str) -> dict[str, str]:
    """Put the features and diseases of a report request into sentences, for a doctor to change and sign.

    Args:
        texts: Comma-separated words by the contract's names, such as ``osFundusFeatures`` and ``odAnteriorDisease``.
        language: A language of the shelf ``report/lang``.

    Returns:
        ``anteriorReport``, ``anteriorInterpret``, ``fundusReport`` and ``fundusInterpret``, the right eye first. They
        say what was sent and that nothing was, and no more; names of findings are written out.

    Raises:
        LookupError: If there is no such language.

    Example:
        >>> draft_report({"odFundusDisease": "AMD"}, "zh")["fundusInterpret"].splitlines()[0]
        '右眼（OD）印象：年龄相关性黄斑变性。'

    References:
        docs/clinic.md for the contract.
    """
    words = words_of(language)
    drafts = {}
    for part in ("anterior", "fundus"):
        for name, field, key in (("Report", "Features", "features"), ("Interpret", "Disease", "diseases")):
            lines = [
                _sentence(texts.get(f"{eye.lower()}{part.capitalize()}{field}", ""), eye, part, key, words)
                for eye in EYES
            ]
            drafts[f"{part}{name}"] = "\n".join([*lines, words.say("draft.note")])
    return drafts


def _sentence(told: str, eye: str, part: str, key: str, words: Words) -> str:
    """One eye's features or diseases; or that none were sent."""
    titles_of = {name.casefold(): title for name, title in words.known("titles").items()}
    each = (" ".join(word.split()) for word in _COMMAS.split(told))
    named = [titles_of.get(word.casefold(), word) for word in each if word]
    if not named:
        return words.say(f"draft.no_{key}", eye=words.say(f"eyes.{eye}"), part=words.say(f"parts.{part}"))
    listed = words.say("list" if key == "diseases" else "comma").join(dict.fromkeys(named))
    return words.say(f"draft.{key}", eye=words.say(f"eyes.{eye}"), words=listed)


def _exam(answered: Answered, words: Words) -> Iterator[str]:
    """Who, when and what."""
    person, order = answered.order.person, answered.order
    years = "" if person.age is None else words.say("exam.years", age=person.age)
    images = words.say("comma").join(
        words.say("exam.count", part=words.say(f"parts.{part}"), count=answered.images[part])
        for part in FINDINGS
        if answered.images.get(part)
    )
    for key, value in (
        ("name", person.name),
        ("sex", words.say(f"exam.{person.sex}") if person.sex else ""),
        ("age", years),
        ("patient_id", person.patient_id),
        ("request", order.id),
        ("time", order.visit_time.replace("T", " ")),
        ("images", images),
    ):
        # On one line, whatever was sent: no name begins a section of its own.
        yield words.labelled(words.say(f"exam.{key}"), " ".join(value.split()) or words.say("not_told"))


def _measured(answered: Answered, words: Words) -> Iterator[str]:
    """Acuity and pressure of each eye."""
    for eye, exam in zip(EYES, (answered.order.od, answered.order.os), strict=True):
        pressure = words.say("not_told")
        if exam.pressure_mmhg is not None:
            method = words.say(f"measured.{exam.pressure_method}") if exam.pressure_method else ""
            remarks = words.say("comma").join(filter(None, (method, exam.pressure_time.replace("T", " "))))
            pressure = f"{exam.pressure_mmhg:g} mmHg" + words.braced(remarks)
        acuity = f"{words.say('measured.acuity')} {acuity_words(exam, words.code)}"
        yield words.labelled(
            words.say(f"eyes.{eye}"), f"{acuity}{words.say('then')}{words.say('measured.pressure')} {pressure}"
        )


def _quality(answered: Answered, words: Words) -> Iterator[str]:
    """The verdict on each eye's images."""
    for key in _keys():
        if key in answered.quality:
            yield words.labelled(_place(key, words), quality_words(answered.quality[key], words.code))
    if not answered.quality:
        yield words.say("quality.none") + words.say("stop")


def _findings(answered: Answered, words: Words) -> Iterator[str]:
    """What holds, structure by structure."""
    yield words.say("findings.by_doctor" if answered.signed else "findings.by_ai")
    for key in _keys():
        values = answered.values.get(key, {})
        if not values:
            reason = UNAVAILABLE[answered.unavailable.get(key, "no_image")][words.code]
            because = answered.opinion.eyes[key].reason if answered.opinion and key in answered.opinion.eyes else ""
            remark = words.say("findings.ungradable_because") + because if because else ""
            yield words.labelled(_place(key, words), reason + words.braced(remark) + words.say("stop"))
            continue
        structures = _STRUCTURES[_part(key)]
        lines = {
            structure: words.say("then").join(_told(answered, key, names, words)) + words.say("stop")
            for structure, names in structures.items()
        }
        if len(lines) == 1:
            yield words.labelled(_place(key, words), *lines.values())
            continue
        yield _place(key, words) + words.say("colon").rstrip()
        for structure, told in lines.items():
            yield "  " + words.labelled(words.say(f"structures.{structure}"), told)


def _told(answered: Answered, key: str, names: tuple[str, ...], words: Words) -> Iterator[str]:
    """What is there, what is not, and what nobody knows."""
    values = answered.values[key]
    there = [_found(name, values[name], words) for name in names if values.get(name)]
    absent = [words.say(f"titles.{name}") for name in names if values.get(name) == 0]
    verbs = ("seen", "not_seen") if answered.signed else ("detected", "not_detected")
    for verb, each in zip(verbs, (there, absent), strict=True):
        if each:
            yield words.say(f"findings.{verb}", words=words.say("list").join(each))
    unknown = [name for name in names if name not in values]
    reasons = {name: answered.unavailable.get(f"{key}.{name}", "not_assessed") for name in unknown}
    for reason in dict.fromkeys(reasons.values()):
        listed = words.say("list").join(words.say(f"titles.{name}") for name in unknown if reasons[name] == reason)
        yield words.say("findings.not_assessed") + listed + words.braced(UNAVAILABLE[reason][words.code])


def _assistance(answered: Answered, words: Words) -> Iterator[str]:
    """What the models said."""
    if not answered.models:
        yield words.say("assistance.none")
        return
    yield words.labelled(words.say("assistance.models"), words.say("list").join(answered.models))
    for key in _keys():
        if said := answered.said.get(key):
            told = (
                _answer(name, said[name].value, words)
                + words.braced("" if said[name].score is None else f"{said[name].score:.2f}")
                for name in FINDINGS[_part(key)]
                if name in said
            )
            yield words.labelled(_place(key, words), words.say("then").join(told) + words.say("stop"))
    if any(each.score is not None for said in answered.said.values() for each in said.values()):
        yield words.say("assistance.scores")
    for key in _keys():
        if areas := answered.areas.get(key):
            named = words.say("list").join(TITLES[area][words.code] for area in areas)
            label = f"{words.say('assistance.areas')}{words.braced(_place(key, words))}"
            yield words.labelled(label, named + words.braced(CAPTION[words.code]))


def _grade(answered: Answered, words: Words) -> Iterator[str]:
    """The grade of retinopathy."""
    for eye in EYES:
        key = f"fundus/{eye}"
        value = answered.values.get(key, {}).get("DR")
        if value is None:
            word = answered.unavailable.get(f"{key}.DR") or answered.unavailable.get(key, "no_image")
            told = words.say("grade.not_graded") + words.braced(UNAVAILABLE[word][words.code])
        else:
            told = words.say("grade.grade", grade=value) + words.say("comma") + words.say(f"grades.{value}")
        yield words.labelled(words.say(f"eyes.{eye}"), told)


def _conclusion(answered: Answered, words: Words) -> Iterator[str]:
    """The doctor's words."""
    if answered.opinion is None or not answered.signed:
        yield words.say("conclusion.unsigned")
    else:
        yield answered.opinion.conclusion or words.say("conclusion.empty")


def _recommendation(answered: Answered, words: Words) -> Iterator[str]:
    """The doctor's recommendation, and what the rules say."""
    if answered.opinion is not None and answered.signed:
        yield answered.opinion.recommendation or words.say("recommendation.empty")
    title = titles(answered.urgency, answered.rules).get(words.code, words.say("recommendation.unknown"))
    rules = words.say("recommendation.rules", rules=answered.rules) if answered.rules else ""
    yield words.labelled(words.say("recommendation.urgency"), title + words.braced(rules))


def _signature(answered: Answered, words: Words) -> Iterator[str]:
    """Who signed which version when."""
    if not answered.signed:
        yield words.labelled(words.say("signature.doctor"), words.say("signature.unsigned"))
        return
    version = str(answered.revision) + words.braced(words.say("signature.amended") if answered.revision > 1 else "")
    yield words.labelled(words.say("signature.doctor"), answered.doctor_name)
    yield words.labelled(words.say("signature.time"), f"{answered.signed_at[:16].replace('T', ' ')} UTC")
    yield words.labelled(words.say("signature.version"), version)


def _keys() -> Iterator[str]:
    """Right eye first."""
    for part in FINDINGS:
        for eye in EYES:
            yield f"{part}/{eye}"


def _part(key: str) -> Part:
    """What of the eye."""
    return "anterior" if key.startswith("anterior/") else "fundus"


def _place(key: str, words: Words) -> str:
    """Which eye, and what of it."""
    part, _, eye = key.partition("/")
    gap = " " if words.say("open").startswith(" ") else ""
    return f"{words.say(f'eyes.{eye}')}{gap}{words.say(f'parts.{part}')}"


def _found(name: str, value: int, words: Words) -> str:
    """A finding that is there; of a grade its name."""
    return words.say(f"grades.{value}") if name == "DR" else words.say(f"titles.{name}")


def _answer(name: str, value: int, words: Words) -> str:
    """What a model said of a finding."""
    said = words.say("grade.grade", grade=value) if name == "DR" else ""
    said = said or words.say("assistance.positive" if value else "assistance.negative")
    return f"{words.say(f'titles.{name}')} {said}"

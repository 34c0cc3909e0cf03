"""The report as plain text: facts in fixed words, the same every time, and nothing that nobody said."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from eyeground.clinic.answered import Answered
from eyeground.clinic.findings import EYES
from eyeground.clinic.report.facts import Facts, facts_of
from eyeground.clinic.report.language import Words, words_of
from eyeground.clinic.report.telling import KEYS

SECTIONS: Final = (
    "exam", "measured", "quality", "findings", "assistance", "grade", "conclusion", "recommendation", "limits",
    "signature",
)  # fmt: skip
_COMMAS: Final = re.compile("[,，、;；]")


def report_text(answered: Answered, language: str) -> str:
    """Write the report of a case.

    Args:
        answered: What is known of it.
        language: A language of the shelf ``report/lang``.

    Returns:
        As ``facts_text``.

    Raises:
        LookupError: If there is no such language.

    Example:
        >>> from eyeground.clinic.records import Order
        >>> print(report_text(Answered("0a", Order(door="check", id="17"), 0), "zh").splitlines()[1])
        AI 辅助，非诊断

    References:
        docs/clinic.md for the sections.
    """
    return facts_text(facts_of(answered, language))


def facts_text(facts: Facts) -> str:
    """Write a report as plain text.

    Args:
        facts: What it says.

    Returns:
        A headline in brackets begins each section. What nobody wrote, a narrative first of all, has no section.

    Example:
        >>> from eyeground.clinic.records import Order
        >>> facts_text(facts_of(Answered("0a", Order(door="check", id="17"), 0), "en")).splitlines()[3]
        '【Examination】'

    References:
        docs/clinic.md for the sections.
    """
    words = words_of(facts.language)
    bodies = {
        "exam": [words.labelled(line.label, line.text) for line in facts.exam],
        "measured": _measured(facts, words),
        "quality": _quality(facts, words) if facts.eyes else (),
        "findings": _findings(facts, words),
        "narrative": _narrative(facts, words),
        "texts": _texts(facts, words),
        "assistance": _assistance(facts, words) if facts.eyes else (),
        "grade": [words.labelled(eye.title, eye.grade) for eye in facts.eyes],
        "conclusion": list(filter(None, (facts.conclusion,))),
        "recommendation": _recommendation(facts, words),
        "limits": facts.limits,
        "signature": _signature(facts, words),
    }
    lines = [facts.title, facts.mark]
    if facts.site:
        lines += ["", words.labelled(words.say("header.site"), facts.site)]
        lines += [words.labelled(words.say("header.number"), facts.number)]
        lines += [words.say(f"header.{facts.status}")] if facts.status != "signed" else []
    for section, body in bodies.items():
        if told := list(body):
            lines += ["", f"【{words.say(f'sections.{section}')}】", *told]
    return "\n".join(lines) + "\n"


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


def _measured(facts: Facts, words: Words) -> Iterator[str]:
    """Acuity and pressure of each eye."""
    for eye in facts.eyes:
        acuity = f"{words.say('measured.acuity')} {eye.acuity}"
        yield words.labelled(eye.title, f"{acuity}{words.say('then')}{words.say('measured.pressure')} {eye.pressure}")


def _quality(facts: Facts, words: Words) -> Iterator[str]:
    """The verdict on each eye's images."""
    told = {line.key: line for eye in facts.eyes for line in eye.quality}
    for key in KEYS:
        if key in told:
            yield words.labelled(told[key].label, told[key].text)
    if not told:
        yield words.say("quality.none") + words.say("stop")


def _findings(facts: Facts, words: Words) -> Iterator[str]:
    """What holds, structure by structure."""
    if facts.by:
        yield facts.by
    for place in facts.findings:
        if place.told:
            yield words.labelled(place.label, place.told)
            continue
        yield place.label + words.say("colon").rstrip()
        for line in place.structures:
            yield "  " + words.labelled(line.label, line.text)


def _narrative(facts: Facts, words: Words) -> Iterator[str]:
    """The same in sentences; a model's draft is marked as one."""
    if facts.narrative:
        yield facts.narrative
        if facts.drafted_by_ai:
            yield _by_ai(facts, words)


def _texts(facts: Facts, words: Words) -> Iterator[str]:
    """Texts of a report request."""
    for line in facts.texts:
        yield words.labelled(line.label, line.text)
    if facts.texts and facts.drafted_by_ai:
        yield _by_ai(facts, words)


def _by_ai(facts: Facts, words: Words) -> str:
    """The mark of a text that a model drafted."""
    return words.say("header.by_ai" if facts.status == "signed" else "header.by_ai_unsigned")


def _assistance(facts: Facts, words: Words) -> Iterator[str]:
    """What the models said."""
    if not facts.models:
        yield words.say("assistance.none")
        return
    yield words.labelled(words.say("assistance.models"), words.say("list").join(facts.models))
    for line in facts.said:
        yield words.labelled(line.label, line.text)
    if facts.scores:
        yield facts.scores
    for line in facts.areas:
        yield words.labelled(words.say("assistance.areas") + words.braced(line.label), line.text)


def _recommendation(facts: Facts, words: Words) -> Iterator[str]:
    """The doctor's recommendation, and what the rules say; the mark of a draft that stands nowhere above."""
    if facts.recommendation:
        yield facts.recommendation
    if facts.urgency:
        yield words.labelled(words.say("recommendation.urgency"), facts.urgency + words.braced(facts.rules))
    if facts.drafted_by_ai and not facts.narrative and not facts.texts:
        yield _by_ai(facts, words)


def _signature(facts: Facts, words: Words) -> Iterator[str]:
    """Who signed which version when."""
    if facts.status != "signed":
        yield words.labelled(words.say("signature.doctor"), words.say("signature.unsigned"))
        return
    version = str(facts.revision) + words.braced(words.say("signature.amended") if facts.revision > 1 else "")
    yield words.labelled(words.say("signature.doctor"), facts.doctor)
    yield words.labelled(words.say("signature.time"), facts.signed_at)
    yield words.labelled(words.say("signature.version"), version)
    if facts.because:
        yield words.labelled(words.say("signature.because"), facts.because)

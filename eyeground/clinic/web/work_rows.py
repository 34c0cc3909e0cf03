"""Lines of the work list in words of the reader's language."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from eyeground.clinic.findings import EYES, FINDINGS, UNAVAILABLE
from eyeground.clinic.levels import rules_of
from eyeground.clinic.report.wording import quality_words
from eyeground.clinic.urgency import reason_words, titles
from eyeground.clinic.web.paging import Language
from eyeground.clinic.work_list import Line
from eyeground.images.quality import cannot_grade


@dataclass(frozen=True)
class Told:
    """What is told of one part of one eye.

    Args:
        part: Which part, as a word of the contract.
        text: In words.
        score: How sure the model is, such as ``".81"``; empty where it does not say.
        kind: ``"found"``, ``"clear"``, ``"trouble"`` or ``"none"``.
        title: More of it, for whoever points at it; empty where there is no more.

    Example:
        >>> Told("fundus", "moderate NPDR", ".81", "found", "").score
        '.81'

    References:
        pages.md of the design, section 2.
    """

    part: str
    text: str
    score: str
    kind: str
    title: str


@dataclass(frozen=True)
class Row:
    """A line in words.

    Args:
        line: The line.
        urgency: What its urgency is called, with the measurements that made it so; empty where hidden or not known.
        short: The same in a word or two, such as ``"1 wk"``; empty where there is none.
        waited: How long it has waited.
        eyes: What is told of each eye.
        quality: The images' verdicts, right eye first.
        quality_title: The same with reasons.
        state: Where it is, and who is at it.

    References:
        pages.md of the design, section 2.
    """

    line: Line
    urgency: str
    short: str
    waited: str
    eyes: Mapping[str, Sequence[Told]]
    quality: str
    quality_title: str
    state: str


NOTHING: Final = "–"


def rows_of(
    lines: Sequence[Line], language: Language, *, say: Mapping[str, Any], account: str, moment: str
) -> list[Row]:
    """Put lines into words.

    Args:
        lines: The lines.
        language: Which words.
        say: Words of the page in that language.
        account: The reader's.
        moment: What time it is; UTC, ISO.

    Returns:
        A row each.

    Example:
        >>> rows_of([], "en", say={}, account="li", moment="")
        []

    References:
        pages.md of the design, section 2.
    """
    return [
        Row(
            line,
            _urgency(line, language, say),
            _short(line, say),
            waited(line.waiting_since, moment, say=say["waited"]),
            {eye: _told(line, eye, language, say) for eye in EYES},
            *_quality(line, language, say),
            _state(line, account, say),
        )
        for line in lines
    ]


def waited(since: str, moment: str, *, say: Mapping[str, str]) -> str:
    """Say how long something has waited.

    Args:
        since: Since when; UTC, ISO.
        moment: What time it is; UTC, ISO.
        say: ``days`` and ``hours``, each with its holes.

    Returns:
        Days and hours, or hours and minutes.

    Example:
        >>> waited("2026-01-01T00:00:00.000000Z", "2026-01-01T03:12:30.000000Z", say={"hours": "{h} h {m}"})
        '3 h 12'

    References:
        pages.md of the design, section 2.
    """
    minutes = max(0, int((datetime.fromisoformat(moment) - datetime.fromisoformat(since)).total_seconds() // 60))
    hours, rest = divmod(minutes, 60)
    days, left = divmod(hours, 24)
    return say["days"].format(d=days, h=left) if days else say["hours"].format(h=hours, m=f"{rest:02d}")


def _urgency(line: Line, language: Language, say: Mapping[str, Any]) -> str:
    """What its urgency is called, and because of which measurements."""
    if not line.urgency:
        return ""
    title = titles(line.urgency, line.rules).get(language, "")
    return str(say["stop"]).join(filter(None, (title, str(say["and"]).join(line.reasons.get(language, ())))))


def _short(line: Line, say: Mapping[str, Any]) -> str:
    """How urgent it is, in a word or two."""
    if not line.urgency:
        return ""
    if line.first:
        return str(say["first"])
    level = next((each for each in rules_of(line.rules).levels if each.word == line.urgency), None)
    number, _, unit = (level.within if level else "").partition(" ")
    if unit.startswith("day") and number == "0":
        return str(say["short"]["today"])
    told = say["short"].get(unit.removesuffix("s")) if unit else say["short"].get(line.urgency)
    return str(told).format(n=number) if told else ""


def _told(line: Line, eye: str, language: Language, say: Mapping[str, Any]) -> list[Told]:
    """What is told of an eye, each part that there is an image of."""
    if line.blind:
        return [Told("fundus", say["hidden"], "", "none", say["hidden_title"])]
    found = []
    names = {name: told[language] for name, told in reason_words().items()}
    for part in FINDINGS:
        key = f"{part}/{eye}"
        leads, why = line.leads.get(key, ()), line.unavailable.get(key, "")
        if leads:
            for lead in leads:
                score = "" if lead.score is None else f"{lead.score:.2f}".removeprefix("0")
                kind = "found" if lead.value else "clear"
                title = names[lead.finding] if lead.finding in names and lead.value else ""
                found.append(Told(part, _finding(lead.finding, lead.value, say), score, kind, title))
        elif why == "cannot_grade":
            verdict = line.quality.get(key, "")
            verdict = verdict if cannot_grade(verdict) else "cannot grade"  # a doctor says so of an image that is good
            found.append(Told(part, quality_words(verdict, language), "", "trouble", UNAVAILABLE[why][language]))
        elif why and why != "no_image":
            found.append(Told(part, say["unavailable"][why], "", "trouble", UNAVAILABLE[why][language]))
        elif key in line.shown_eyes:
            found.append(Told(part, say["unavailable"]["failed"], "", "trouble", ""))
    return found or [Told("", NOTHING, "", "none", UNAVAILABLE["no_image"][language] if line.door != "report" else "")]


def _finding(name: str, value: int, say: Mapping[str, Any]) -> str:
    """A finding in short."""
    if name == "DR":
        return str(say["grades"][str(value)])
    title = str(say["findings"][name])
    return title if value else str(say["without"]).format(finding=title)


def _quality(line: Line, language: Language, say: Mapping[str, Any]) -> tuple[str, str]:
    """The verdicts of the parts that there are images of, in short and in full."""
    if line.blind or not line.quality:
        return NOTHING, ""
    part = next(each for each in FINDINGS if any(key.startswith(each) for key in line.quality))
    short, full = [], []
    for eye in EYES:
        verdict = line.quality.get(f"{part}/{eye}", "")
        short.append(say["quality"][verdict.partition(":")[0]] if verdict and not cannot_grade(verdict) else NOTHING)
        full.append(f"{eye} {quality_words(verdict, language)}" if verdict else f"{eye} {NOTHING}")
    return "/".join(short), ", ".join(full)


def _state(line: Line, account: str, say: Mapping[str, Any]) -> str:
    """Where it is, and who is at it."""
    if line.held:
        return str(say["held"])
    words = "amended" if line.state == "amended" else "in_review" if line.draft_doctor else "waiting"
    if line.state in ("signed", "released"):
        return str(say["signed_by"]).format(doctor=line.signed_by)
    if line.state not in ("in_review", "amended"):
        return str(say["states"][line.state])
    who = say["you"] if line.draft_doctor == account else line.draft_doctor_name or line.draft_doctor
    return str(say[words]) + (str(say["braced"]).format(who=who) if line.draft_doctor else "")

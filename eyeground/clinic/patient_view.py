"""What a patient sees of a case: the last report that a doctor signed and that was released, in words of every day."""

import tomllib
from calendar import monthrange
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from eyeground.clinic.answered import Answered
from eyeground.clinic.answering import answer_of
from eyeground.clinic.cases import find, images_of, order_of, reviews_of
from eyeground.clinic.clock import now
from eyeground.clinic.db.tables import Case, Outgoing, Review
from eyeground.clinic.exchange.report import ANSWERED
from eyeground.clinic.findings import EYES, FINDINGS
from eyeground.clinic.records import Opinion
from eyeground.clinic.report.settled import settled
from eyeground.clinic.rule import Level
from eyeground.clinic.settings import Settings
from eyeground.clinic.signings import Signing, signings_of
from eyeground.clinic.sites import site_of
from eyeground.clinic.urgency import measured_reasons, read_rules, rule_sets

Language = Literal["zh", "en"]
Standing = Literal["reviewing", "ready", "revising"]
FORMAT: Final = 1
_PLACE: Final = Path(__file__).with_name("patient_words.toml")
_SHAPE: Final = ConfigDict(extra="forbid", frozen=True)
_DAYS: Final = {"day": 1, "week": 7}
_MONTHS: Final = {"month": 1, "year": 12}


class EyeResult(BaseModel):
    """What the doctor found in one eye.

    Args:
        eye: Which.
        text: One sentence or two.
        looked_for: What was examined, whatever was found.

    Example:
        >>> EyeResult(eye="OD", text="Nothing unusual was found in your right eye.", looked_for=[]).eye
        'OD'

    References:
        Our own.
    """

    model_config = _SHAPE

    eye: Literal["OD", "OS"]
    text: str
    looked_for: list[str]


class Todo(BaseModel):
    """What to do, and by when.

    Args:
        text: A sentence; the date is in it.
        by: The last day, ISO; empty where the rules give no interval.
        passed: Whether that day is over.
        refer: Whether it leads to an eye doctor.
        because: Measurements that made it so, each in a sentence.

    Example:
        >>> Todo(text="See an eye doctor by 2027-02-28", by="2027-02-28", passed=False, refer=True).by
        '2027-02-28'

    References:
        Our own.
    """

    model_config = _SHAPE

    text: str
    by: str
    passed: bool
    refer: bool
    because: list[str] = []


class Photo(BaseModel):
    """A photograph that a patient may see.

    Args:
        place: Its place in the request, which addresses name it by.
        eye: Which eye it shows.
        title: What it shows, in words.

    Example:
        >>> Photo(place=0, eye="OD", title="Inside of the right eye").place
        0

    References:
        Our own.
    """

    model_config = _SHAPE

    place: int
    eye: Literal["OD", "OS"]
    title: str


class Result(BaseModel):
    """A report that was signed and released.

    Args:
        todo: What to do, and by when, as the rules have it.
        eyes: What was found; the right eye first.
        conclusion: In the doctor's words.
        recommendation: In the doctor's words; empty where they are just a sentence of the rules, which ``todo`` says
            with its day: a patient reads one deadline.
        texts: In the doctor's words, of a request for texts; none otherwise.
        texts_by_ai: Whether an AI drafted any of these texts before the doctor changed and signed them.
        photos: The photographs; the right eye's first.
        doctor: Who signed, as it stands on the report.
        signed_at: UTC, ISO.
        version: 1; 2 and more of a report that was amended.
        replaces_at: When the version before was signed; UTC, ISO, empty of the first.
        models: AI models that looked before the doctor did; none where none did.

    Example:
        >>> "conclusion" in Result.model_fields
        True

    References:
        pages.md of the design, section 4.
    """

    model_config = _SHAPE

    todo: Todo
    eyes: list[EyeResult]
    conclusion: str
    recommendation: str
    texts: list[str]
    texts_by_ai: bool
    photos: list[Photo]
    doctor: str
    signed_at: str
    version: int
    replaces_at: str
    models: list[str]


class PatientReport(BaseModel):
    """All that a patient sees.

    Args:
        format: Number of this shape; it is raised when a field changes its meaning or goes.
        standing: ``"reviewing"``: nothing was signed and released yet; ``"ready"``; ``"revising"``: what is shown is
            the last version, and the doctor is writing the next.
        language: Of the sentences; the doctor's words are in the doctor's.
        site: Who examined.
        contact: Whom to call; empty where the site does not say.
        name: The patient's; empty where the request had none.
        revision: Which signed opinion it is, for what is fetched beside it; 0 = none.
        result: The report; null while there is none.

    Example:
        >>> PatientReport(standing="reviewing", language="en", site="Demo", contact="", name="").result

    References:
        docs/how-to/phone.md.
    """

    model_config = _SHAPE

    format: Literal[1] = FORMAT
    standing: Standing
    language: Language
    site: str
    contact: str
    name: str
    revision: int = Field(0, ge=0)
    result: Result | None = None


def patient_report(session: Session, case_id: str, *, language: Language, settings: Settings) -> PatientReport:
    """Put together what a patient sees: nothing that is not signed, and nothing that is not released.

    What was released unsigned is not shown, whatever the settings say.

    Args:
        session: An open transaction.
        case_id: The case.
        language: Of the sentences.
        settings: Name of the service's own site, whom to call there, the zone in which days end.

    Returns:
        The report.

    Raises:
        NoSuchCase: If there is none.

    References:
        Our own.
    """
    case = find(session, case_id)
    site = site_of(case.site, settings)
    told = {
        "language": language, "site": site.title, "contact": site.contact, "name": order_of(case).person.name,
    }  # fmt: skip
    out = _released(session, case_id)
    if not out:
        return PatientReport(standing="reviewing", **told)
    last = out[-1]
    answered = answer_of(session, case, revision=last.revision)
    opinion = Opinion.model_validate(last.opinion)
    photos = [
        Photo(place=image.place, eye=eye, title=_say(language, f"photos.{image.part}", eye=_eye(language, eye)))
        for eye in EYES
        for image in images_of(session, case_id)
        if image.eye == eye
    ]
    is_text = case.door == "report"
    result = Result(
        todo=_todo(session, case, out, language, ZoneInfo(settings.timezone)),
        eyes=[] if is_text else [_eye_result(answered, eye, language) for eye in EYES],
        conclusion=opinion.conclusion.strip(),
        recommendation=_own(opinion.recommendation),
        texts=[text for name in ANSWERED if (text := settled(opinion.texts.get(name, "")).strip())] if is_text else [],
        texts_by_ai=answered.drafted_by_ai,
        photos=photos,
        doctor=last.doctor_name,
        signed_at=last.signed_at,
        version=len(out),
        replaces_at=out[-2].signed_at if len(out) > 1 else "",
        models=list(answered.models),
    )
    standing: Standing = "ready" if case.state == "released" else "revising"
    return PatientReport(standing=standing, revision=last.revision, result=result, **told)


def deadline(signed: date, within: str) -> date | None:
    """Compute the last day of an interval.

    Args:
        signed: The day it begins.
        within: As rule sets write it, such as ``"3 months"``.

    Returns:
        The day; None where no interval is meant, or it is written in another way.

    Example:
        >>> deadline(date(2026, 11, 30), "3 months"), deadline(date(2026, 11, 28), "1 week"), deadline(date.today(), "")
        (datetime.date(2027, 2, 28), datetime.date(2026, 12, 5), None)

    References:
        Our own; a month ends on its last day where it has no such day.
    """
    number, _, unit = within.partition(" ")
    unit = unit.removesuffix("s")
    if not number.isdecimal():
        return None
    if unit in _DAYS:
        return signed + timedelta(days=int(number) * _DAYS[unit])
    if unit not in _MONTHS:
        return None
    months = signed.year * 12 + signed.month - 1 + int(number) * _MONTHS[unit]
    year, month = months // 12, months % 12 + 1
    return date(year, month, min(signed.day, monthrange(year, month)[1]))


def _released(session: Session, case_id: str) -> list[Review]:
    """Opinions that are signed and whose answer was released, the first first."""
    wanted = select(Outgoing.revision).filter_by(case_id=case_id)
    out = set(session.scalars(wanted))
    return [review for review in reviews_of(session, case_id) if review.signed_at and review.revision in out]


def _todo(session: Session, case: Case, out: list[Review], language: Language, zone: ZoneInfo) -> Todo:
    """What to do by what the doctor signed. An amendment that leaves the urgency as it was does not put the day off."""
    if case.door == "report":  # nobody has said anything of an eye, so the rules say nothing
        return Todo(text=_say(language, "todo.read"), by="", passed=False, refer=False)
    signings = signings_of(session, case)
    last_said = signings.get(out[-1].revision, Signing(case.urgency, case.rules))
    word, since = last_said.urgency, out[-1]
    order = order_of(case)
    because = [
        _say(language, f"because.{each.what}", eye=_eye(language, each.eye), value=each.value)
        for each in measured_reasons(word, last_said.rules, od=order.od, os=order.os)
    ]
    for review in reversed(out):
        if review.revision not in signings or signings[review.revision].urgency != word:
            break
        since = review
    level = _level(word, last_said.rules)
    if level is None:
        return Todo(text=_say(language, "todo.ask"), by="", passed=False, refer=False)
    last = deadline(_day(since.signed_at, zone), level.within)
    if last is None:
        key = word if word in _words()["todo"] else "refer" if level.refer else "ask"
        return Todo(text=_say(language, f"todo.{key}"), by="", passed=False, refer=level.refer, because=because)
    key = word if word in _words()["todo"] else "refer_by" if level.refer else "return_by"
    text = _say(language, f"todo.{key}", date=last.isoformat())
    passed = _day(now(), zone) > last
    return Todo(text=text, by=last.isoformat(), passed=passed, refer=level.refer, because=because)


def _own(recommendation: str) -> str:
    """A recommendation, where it is more than a sentence of the rules."""
    text = recommendation.strip()
    levels = [level for name in rule_sets() for level in read_rules(name).levels if level.within]
    return "" if any(text in (level.en, level.zh) for level in levels) else text


def _level(word: str, rules: str) -> Level | None:
    """An urgency, of the rule set that gave it where there still is one, else of another that knows the word."""
    sets = sorted((read_rules(name) for name in rule_sets()), key=lambda each: each.title != rules)
    return next((level for each in sets for level in each.levels if level.word == word), None)


def _eye_result(answered: Answered, eye: Literal["OD", "OS"], language: Language) -> EyeResult:
    """What was found in an eye, in a sentence or two."""
    found, looked_for = [], []
    for part in FINDINGS:
        values = answered.values.get(f"{part}/{eye}", {})
        for name, value in sorted(values.items(), key=lambda each: each[0] != "DR"):  # what most are screened for
            looked_for.append(_say(language, f"looked_for.{name}"))
            if value:
                found.append(_say(language, f"findings.{name}.{value}"))
    sentences = list(_sentences(answered, eye, found, judged=bool(looked_for)))
    text = _say(language, "join.sentences").join(
        _say(language, f"sentences.{key}", eye=_eye(language, eye), findings=_say(language, "join.list").join(found))
        for key in sentences
    )
    return EyeResult(eye=eye, text=text, looked_for=looked_for)


def _sentences(answered: Answered, eye: str, found: list[str], *, judged: bool) -> Iterator[str]:
    """Which sentences hold of an eye. What cannot be judged, or was not examined, is never called unremarkable."""
    why = {part: answered.unavailable.get(f"{part}/{eye}", "") for part in FINDINGS}
    ungradable = [part for part, word in why.items() if word == "cannot_grade"]
    missing = [part for part, word in why.items() if word == "no_image"]
    if found:
        yield "found"
    elif judged:
        examined = [part for part in FINDINGS if part not in missing]
        values = answered.values
        whole = not ungradable and "fundus" in examined and all(
            set(values.get(f"{part}/{eye}", {})) == set(FINDINGS[part]) for part in examined
        )  # fmt: skip
        yield "nothing" if whole else "nothing_in_part"
    yield from (f"ungradable_{part}" for part in ungradable)
    if len(missing) == len(FINDINGS):
        yield "no_image"
    elif "fundus" in missing:
        yield "no_fundus"
    elif not judged and not ungradable:
        yield "not_judged"


def _day(moment: str, zone: ZoneInfo) -> date:
    """The day that it is there."""
    return datetime.fromisoformat(moment).astimezone(zone).date()


def _eye(language: Language, eye: str) -> str:
    """An eye, within a sentence."""
    return _say(language, f"eyes.{eye}")


def _say(language: Language, key: str, **holes: str) -> str:
    """A sentence of ``patient_words.toml``."""
    told: Any = _words()
    for part in key.split("."):
        told = told[part]
    words: str = told[language]
    return words.format(**holes) if holes else words


@cache
def _words() -> Mapping[str, Any]:
    """All of them."""
    return tomllib.loads(_PLACE.read_text("utf-8"))

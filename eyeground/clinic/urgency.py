"""How urgent a case is: the worst of both eyes, by a rule set of the shelf ``rules/``."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from eyeground.clinic.findings import EITHER, EYES, FINDINGS, UNAVAILABLE, Merged
from eyeground.clinic.measured import Measured, measured_of
from eyeground.clinic.records import EyeExam
from eyeground.clinic.rule import SHAPE, AcuityRule, Level, PressureRule, States, Text
from eyeground.images.quality import cannot_grade

SHELF: Final = Path(__file__).with_name("rules")
_HAZE: Final = "haze"  # a reason of eyeground.images.quality


class RulesRefused(ValueError):
    """A rule set that cannot be used; the message names everything that is wrong with it."""


class Rules(BaseModel):
    """A rule set.

    Args:
        name: Its name.
        version: Raised with every change.
        source: The guideline it follows, and how far.
        levels: ``urgencies`` in the file: the most urgent first.
        states: Urgencies of what is no finding.
        findings: Of each finding the urgency of value 1 and what follows; 0 makes nothing urgent.
        acuity: Acuities that make a case urgent.
        pressure: Pressures that do.

    Raises:
        ValueError: If a word is used that is no urgency, a finding is missing or has another number of values, or
            what must not happen could: a disease would count less than a higher grade's, or than nothing found.

    Example:
        >>> read_rules("ico").title
        'ICO-2017 v2'

    References:
        docs/clinic.md.
    """

    model_config = SHAPE | ConfigDict(populate_by_name=True)

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,40}$")
    version: int = Field(ge=1)
    source: Text
    levels: tuple[Level, ...] = Field(alias="urgencies", min_length=1)
    states: States
    findings: dict[str, tuple[str, ...]]
    acuity: tuple[AcuityRule, ...] = ()
    pressure: tuple[PressureRule, ...] = ()

    @property
    def title(self) -> str:
        """Name and version, as reports show them."""
        return f"{self.name} v{self.version}"

    def rank(self, word: str) -> int:
        """Say where an urgency stands.

        Args:
            word: A word of the set.

        Returns:
            0 for the most urgent.
        """
        return next(rank for rank, level in enumerate(self.levels) if level.word == word)

    @model_validator(mode="after")
    def _whole(self) -> "Rules":
        """Every word is known, every finding is there, and nothing that is wrong looks better than what is not."""
        words = [level.word for level in self.levels]
        wrong = [f"urgency {word} stands twice" for word in dict.fromkeys(words) if words.count(word) > 1]
        most = {name: value for findings in FINDINGS.values() for name, value in findings.items()}
        wrong += [f"findings.{name}: no contract asks for it" for name in self.findings if name not in most]
        wrong += [
            f"findings.{name}: needs {value} urgencies, for 1 to {value}"
            for name, value in most.items()
            if len(self.findings.get(name, ())) != value
        ]
        used = [(f"states.{name}", word) for name, word in self.states]
        used += [(f"findings.{name}", word) for name, each in self.findings.items() for word in each]
        used += [("acuity", rule.urgency) for rule in self.acuity] + [
            ("pressure", rule.urgency) for rule in self.pressure
        ]
        unknown = [f"{where}: {word!r} is none of the urgencies" for where, word in used if word not in words]
        if not unknown:
            wrong += self._disorder()
        if wrong or unknown:
            raise ValueError("; ".join([*wrong, *unknown]))
        return self

    def _disorder(self) -> Iterator[str]:
        """What would let a worse eye look better."""
        states = self.states
        fine = [states.eye_missing, states.partly, states.normal, states.nothing]
        ranks = [self.rank(word) for word in fine]
        if ranks != sorted(set(ranks)):
            yield "states: eye_missing, partly, normal and nothing are four urgencies, the most urgent first"
        bad = [
            states.held,
            states.failed,
            states.ungradable,
            *(word for each in self.findings.values() for word in each),
        ]
        bad += [rule.urgency for rule in self.acuity] + [rule.urgency for rule in self.pressure]
        if max(self.rank(word) for word in bad) >= min(ranks):
            yield "something that is wrong is not more urgent than nothing found"
        for name, each in self.findings.items():
            if [self.rank(word) for word in each] != sorted((self.rank(word) for word in each), reverse=True):
                yield f"findings.{name}: a higher value is less urgent"


@dataclass(frozen=True)
class Urgency:
    """How urgent a case is.

    Args:
        word: A word of the rule set.
        rank: 0 is the most urgent.
        reasons: What made it so, by language.
        title: What a report says, by language.
        rules: Rule set and version.
        refer: Whether the patient is to see an ophthalmologist.

    Example:
        >>> Urgency("refer_1_month", 1, {"en": ("DR 4 OD",)}, {"en": "Refer"}, "ICO-2017 v2", True).rank
        1

    References:
        Our own.
    """

    word: str
    rank: int
    reasons: Mapping[str, tuple[str, ...]]
    title: Mapping[str, str]
    rules: str
    refer: bool


def read_rules(name: str, *, folder: Path = SHELF) -> Rules:
    """Read a rule set.

    Args:
        name: A file of the shelf, without ``.toml``.
        folder: The shelf.

    Returns:
        The rules.

    Raises:
        RulesRefused: If there is no such file, or something is wrong with it; all faults are told.

    Example:
        >>> read_rules("china").title
        'China v2'

    References:
        TOML 1.0.
    """
    offered = rule_sets(folder=folder)
    if name not in offered:
        raise RulesRefused(f"there is no such rule set; there are: {', '.join(offered)}")
    return _read(folder / f"{name}.toml")


def rule_sets(*, folder: Path = SHELF) -> tuple[str, ...]:
    """List the rule sets.

    Args:
        folder: The shelf.

    Returns:
        Their names, sorted.

    Example:
        >>> rule_sets()
        ('china', 'ico')

    References:
        Our own.
    """
    return tuple(sorted(path.stem for path in folder.glob("*.toml") if re.fullmatch(r"[a-z0-9_-]+", path.stem)))


@cache
def _read(path: Path) -> Rules:
    """Read and check a file."""
    try:
        told: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
        return Rules.model_validate(told)
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, each['loc']))}: {each['msg']}" if each["loc"] else each["msg"]
            for each in error.errors(include_url=False, include_input=False)
        ]
        raise RulesRefused(f"{path.name} cannot be used as rules: {'; '.join(faults)}") from error
    except (OSError, ValueError) as error:
        raise RulesRefused(f"{path.name} cannot be read as rules: {error}") from error


def titles(word: str, rules: str) -> Mapping[str, str]:
    """Say what an urgency that was given before is called.

    Args:
        word: The urgency.
        rules: Name and version of the set that gave it, as ``Rules.title``.

    Returns:
        Its title by language, of that set where it still is on the shelf in that version, else of another one that
        knows the word; empty where none does.

    Example:
        >>> titles("refer_1_month", "ICO-2017 v2")["zh"]
        '1 个月内转诊眼科'

    References:
        Our own.
    """
    sets = sorted((read_rules(name) for name in rule_sets()), key=lambda each: each.title != rules)
    found = next((level for each in sets for level in each.levels if level.word == word), None)
    return {"en": found.en, "zh": found.zh} if found else {}


def urgency(merged: Merged, *, od: EyeExam = EyeExam(), os: EyeExam = EyeExam(), rules: Rules) -> Urgency:  # noqa: B008
    """Say how urgent a case is: whatever is worst in either eye decides.

    What cannot be graded is never normal, and neither is what no model can answer: then it only says that nothing was
    found in what was examined. Where an image's eye is not decided, what was said of it counts all the same, for it is
    this patient's in any case.

    Args:
        merged: What is known of both eyes.
        od: What was measured of the right eye.
        os: What was measured of the left eye.
        rules: The rule set.

    Returns:
        The urgency, with every reason that is as urgent.

    Example:
        >>> urgency(Merged(unavailable={"fundus/OD": "cannot_grade"}), rules=read_rules("ico")).word
        'retake_or_refer'

    References:
        docs/clinic.md.
    """
    found = [*_of_findings(merged, rules), *_of_states(merged, rules), *_of_exams(od, os, rules)]
    found = found or [(rules.states.failed, "nothing is known", "尚无结论")]
    rank = min(rules.rank(word) for word, _, _ in found)
    level = rules.levels[rank]
    decisive = [(en, zh) for word, en, zh in found if word == level.word]
    return Urgency(
        level.word,
        rank,
        {"en": tuple(en for en, _ in decisive), "zh": tuple(zh for _, zh in decisive)},
        {"en": level.en, "zh": level.zh},
        rules.title,
        level.refer,
    )


_EYES: Final = {
    "OD": {"en": "right eye", "zh": "右眼"},
    "OS": {"en": "left eye", "zh": "左眼"},
    EITHER: {"en": "eye not decided", "zh": "眼别未定，"},
}
# A word, and its reason in English and Chinese.
_Found = tuple[str, str, str]


def _of_findings(merged: Merged, rules: Rules) -> Iterator[_Found]:
    """What is there."""
    for told in (merged.said, merged.withheld):
        for key, answers in told.items():
            for name, answer in answers.items():
                if answer.value:
                    grade = answer.value if len(rules.findings[name]) > 1 else None
                    yield rules.findings[name][answer.value - 1], *_reason(key, name, grade=grade)


def _of_states(merged: Merged, rules: Rules) -> Iterator[_Found]:
    """What could not be said, and that nothing is there."""
    states, words = rules.states, merged.unavailable
    told = {"eye_held": states.held, "failed": states.failed, "cannot_grade": states.ungradable}
    troubles = {key: word for key, word in words.items() if word in told}
    for key, verdict in merged.quality.items():
        # An eye that is held may be ungradable besides; where no model looks, nobody has judged the image.
        if cannot_grade(verdict) and words.get(key) == "eye_held":
            yield states.ungradable, *_reason(key, "cannot_grade")
    for key, word in troubles.items():
        yield told[word], *_reason(key, word)
    parts = [part for part in FINDINGS if any(words.get(f"{part}/{eye}") != "no_image" for eye in EYES)]
    missing = [f"{part}/{eye}" for part in parts for eye in EYES if words.get(f"{part}/{eye}") == "no_image"]
    if not parts:
        yield states.nothing, "no image", "无图像"
    elif not merged.said and not merged.withheld:
        if "not_installed" in words.values():
            yield states.failed, "no model answers", "无可用模型"
    elif missing:
        for key in missing:
            yield states.eye_missing, *_reason(key, "no_image")
    elif hazy := [key for key, verdict in merged.quality.items() if _HAZE in verdict]:
        # A blur of a tenth of the width looks like the haze of a cataract: what lies behind it is not known to be fine.
        for key in hazy:
            yield states.partly, *_reason(key, _HAZE)
    elif not _all_said(merged, parts):
        yield states.partly, "not everything was answered", "部分项目未评估"
    else:
        yield states.normal, "nothing found", "未见异常"


def _reason(key: str, word: str, *, grade: int | None = None) -> tuple[str, str]:
    """Which part of which eye, and what of it, in English and Chinese."""
    place, _, about = key.partition(".")
    part, _, eye = place.partition("/")
    words = reason_words()
    told = {name: UNAVAILABLE.get(name) or words[name] for name in (word, about) if name}
    en, zh = told[word]["en"], told[word]["zh"]
    if grade is not None:
        en, zh = f"{en} grade {grade}", f"{zh} {grade} 级"
    if about:
        en, zh = f"{told[about]['en']}: {en}", f"{told[about]['zh']}：{zh}"
    return f"{_EYES[eye]['en']}, {words[part]['en']}: {en}", f"{_EYES[eye]['zh']}{words[part]['zh']}：{zh}"


@cache
def reason_words() -> Mapping[str, Mapping[str, str]]:
    """Read what parts of the eye, findings and haze are called in reasons.

    Returns:
        By name the words by language.

    Example:
        >>> reason_words()["DR"]["zh"]
        '糖尿病视网膜病变'

    References:
        Our own; findings are called as in reports.
    """
    told: dict[str, dict[str, str]] = tomllib.loads(Path(__file__).with_name("urgency_words.toml").read_text("utf-8"))
    return told


def _all_said(merged: Merged, parts: Sequence[str]) -> bool:
    """Whether every finding of both eyes of these parts was answered."""
    return all(
        set(merged.said.get(f"{part}/{eye}", {})) == set(findings)
        for part, findings in FINDINGS.items()
        if part in parts
        for eye in EYES
    )


def _of_exams(od: EyeExam, os: EyeExam, rules: Rules) -> Iterator[_Found]:
    """What was measured."""
    for each in measured_of(od, os, acuity=rules.acuity, pressure=rules.pressure):
        yield each.urgency, each.en, each.zh


def measured_reasons(word: str, rules: str, *, od: EyeExam, os: EyeExam) -> list[Measured]:
    """Say which measurements made a case as urgent as it is.

    Args:
        word: The urgency that was given.
        rules: Name and version of the set that gave it, as ``Rules.title``.
        od: What was measured of the right eye.
        os: What was measured of the left eye.

    Returns:
        Those that are as urgent; none where something else alone made it so, or the set is no longer on the shelf.

    Example:
        >>> found = measured_reasons("refer_now", "ICO-2017 v2", od=EyeExam(), os=EyeExam(pressure_mmhg=44))
        >>> [each.zh for each in found]
        ['左眼 44 mmHg：眼压高于 40 mmHg']

    References:
        Our own.
    """
    known = next((each for name in rule_sets() if (each := read_rules(name)).title == rules), None)
    if known is None:
        return []
    found = measured_of(od, os, acuity=known.acuity, pressure=known.pressure)
    return [each for each in found if each.urgency == word]

"""What was found in each part of each eye, and what the models said of it, in words."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from eyeground.clinic.answered import Answered
from eyeground.clinic.findings import EYES, FINDINGS, UNAVAILABLE
from eyeground.clinic.records import Part
from eyeground.clinic.report.fact import Line, PlaceFacts
from eyeground.clinic.report.language import Words
from eyeground.clinic.report.wording import place_words
from eyeground.explain.evidence import CAPTION
from eyeground.explain.regions import TITLES

# Right eye first.
KEYS: Final = tuple(f"{part}/{eye}" for part in FINDINGS for eye in EYES)
# Where a doctor looks for it.
_STRUCTURES: Final[Mapping[Part, Mapping[str, tuple[str, ...]]]] = {
    "fundus": {"disc": ("GLA", "ON"), "macula": ("AMD", "CSC"), "vessels": ("RVO",), "retina": ("DR", "RP")},
    "anterior": {"anterior": tuple(FINDINGS["anterior"])},
}


def grade_told(answered: Answered, key: str, words: Words) -> str:
    """Say the grade of retinopathy.

    Args:
        answered: What is known of the case.
        key: ``"fundus/OD"`` and so on.
        words: Of which language.

    Returns:
        The grade and its name, or why there is none.

    Example:
        >>> from eyeground.clinic.records import Order, Said
        >>> from eyeground.clinic.report.language import words_of
        >>> known = Answered("0a", Order(door="check", id="1"), 0, values={"fundus/OD": {"DR": 2}})
        >>> grade_told(known, "fundus/OD", words_of("en"))
        'grade 2, moderate non-proliferative diabetic retinopathy'

    References:
        Our own.
    """
    value = answered.values.get(key, {}).get("DR")
    if value is None:
        word = answered.unavailable.get(f"{key}.DR") or _why(answered, key)
        return words.say("grade.not_graded") + words.braced(UNAVAILABLE[word][words.code])
    return words.say("grade.grade", grade=value) + words.say("comma") + words.say(f"grades.{value}")


def place_told(answered: Answered, key: str, words: Words) -> PlaceFacts:
    """Say what holds of a part of an eye, structure by structure.

    Args:
        answered: What is known of the case.
        key: ``"fundus/OD"`` and so on.
        words: Of which language.

    Returns:
        What is there, what is not, and what nobody knows.

    Example:
        >>> from eyeground.clinic.records import Order, Said
        >>> from eyeground.clinic.report.language import words_of
        >>> place_told(Answered("0a", Order(door="check", id="1"), 0), "fundus/OD", words_of("zh")).told
        '未发送图像。'

    References:
        Our own.
    """
    label, values = place_words(key, words.code), answered.values.get(key, {})
    if not values:
        reason = UNAVAILABLE[_why(answered, key)][words.code]
        because = answered.opinion.eyes[key].reason if answered.opinion and key in answered.opinion.eyes else ""
        remark = words.say("findings.ungradable_because") + because if because else ""
        return PlaceFacts(key, label, reason + words.braced(remark) + words.say("stop"), ())
    verbs = ("detected", "not_detected") if answered.opinion is None else ("seen", "not_seen")
    told = {
        structure: words.say("then").join(findings_told(answered, key, names, values, verbs, words)) + words.say("stop")
        for structure, names in _STRUCTURES[_part(key)].items()
    }
    if len(told) == 1:
        return PlaceFacts(key, label, told.popitem()[1], ())
    lines = (Line(structure, words.say(f"structures.{structure}"), each) for structure, each in told.items())
    return PlaceFacts(key, label, "", tuple(lines))


def _why(answered: Answered, key: str) -> str:
    """Why nothing at all is said of a part of an eye; where there is an image of it, nobody has judged it yet."""
    return answered.unavailable.get(key, "not_assessed" if key in answered.quality else "no_image")


def findings_told(
    answered: Answered, key: str, names: Sequence[str], values: Mapping[str, int], verbs: tuple[str, str], words: Words
) -> Iterator[str]:
    """Say of findings what is there, what is not, and what nobody knows.

    Args:
        answered: What is known of the case; of it only why something is not known is asked.
        key: ``"fundus/OD"`` and so on.
        names: Which findings.
        values: What holds of them.
        verbs: What is said of what is there and of what is not: keys of ``[findings]``.
        words: Of which language.

    Yields:
        What is there, what is not, and a phrase per reason.

    Example:
        >>> from eyeground.clinic.records import Order
        >>> from eyeground.clinic.report.language import words_of
        >>> known = Answered("0a", Order(door="check", id="1"), 0)
        >>> list(findings_told(known, "fundus/OD", ["AMD"], {"AMD": 1}, ("seen", "not_seen"), words_of("en")))
        ['seen: age-related macular degeneration']

    References:
        Our own.
    """
    there = [
        words.say(f"grades.{values[name]}") if name == "DR" else words.say(f"titles.{name}")
        for name in names
        if values.get(name)
    ]
    absent = [words.say(f"titles.{name}") for name in names if values.get(name) == 0]
    for verb, each in zip(verbs, (there, absent), strict=True):
        if each:
            yield words.say(f"findings.{verb}", words=words.say("list").join(each))
    unknown = [name for name in names if name not in values]
    reasons = {name: answered.unavailable.get(f"{key}.{name}", "not_assessed") for name in unknown}
    for reason in dict.fromkeys(reasons.values()):
        listed = words.say("list").join(words.say(f"titles.{name}") for name in unknown if reasons[name] == reason)
        yield words.say("findings.not_assessed") + listed + words.braced(UNAVAILABLE[reason][words.code])


def models_told(answered: Answered, words: Words) -> Iterator[Line]:
    """Say what the models said.

    Args:
        answered: What is known of the case.
        words: Of which language.

    Yields:
        A line per part of an eye that one of them answered.

    Example:
        >>> from eyeground.clinic.records import Order, Said
        >>> from eyeground.clinic.report.language import words_of
        >>> known = Answered("0a", Order(door="check", id="1"), 0, said={"fundus/OD": {"DR": Said(value=2, score=0.8)}})
        >>> next(models_told(known, words_of("en"))).text
        'diabetic retinopathy grade 2 (0.80).'

    References:
        Our own.
    """
    for key in KEYS:
        if said := answered.said.get(key):
            told = (
                _answer(name, said[name].value, words)
                + words.braced("" if said[name].score is None else f"{said[name].score:.2f}")
                for name in FINDINGS[_part(key)]
                if name in said
            )
            yield Line(key, place_words(key, words.code), words.say("then").join(told) + words.say("stop"))


def _answer(name: str, value: int, words: Words) -> str:
    """What a model said of a finding."""
    said = words.say("grade.grade", grade=value) if name == "DR" else ""
    said = said or words.say("assistance.positive" if value else "assistance.negative")
    return f"{words.say(f'titles.{name}')} {said}"


def scores_told(answered: Answered, words: Words) -> str:
    """Say what scores mean.

    Args:
        answered: What is known of the case.
        words: Of which language.

    Returns:
        The sentence; empty where there are none.

    Example:
        >>> from eyeground.clinic.records import Order, Said
        >>> from eyeground.clinic.report.language import words_of
        >>> scores_told(Answered("0a", Order(door="check", id="1"), 0), words_of("en"))
        ''

    References:
        Our own.
    """
    scored = any(each.score is not None for said in answered.said.values() for each in said.values())
    return words.say("assistance.scores") if scored else ""


def areas_told(answered: Answered, words: Words) -> Iterator[Line]:
    """Say where the models looked.

    Args:
        answered: What is known of the case.
        words: Of which language.

    Yields:
        A line per part of an eye of which that is known.

    Example:
        >>> from eyeground.clinic.records import Order, Said
        >>> from eyeground.clinic.report.language import words_of
        >>> list(areas_told(Answered("0a", Order(door="check", id="1"), 0), words_of("en")))
        []

    References:
        Our own.
    """
    for key in KEYS:
        if areas := answered.areas.get(key):
            named = words.say("list").join(TITLES[area][words.code] for area in areas)
            yield Line(key, place_words(key, words.code), named + words.braced(CAPTION[words.code]))


def _part(key: str) -> Part:
    """What of the eye."""
    return "anterior" if key.startswith("anterior/") else "fundus"

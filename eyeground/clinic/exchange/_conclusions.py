"""What the models' answers about an eye come to, in words."""

from collections.abc import Mapping
from dataclasses import dataclass

from eyeground.clinic.answered import Answered
from eyeground.clinic.findings import FINDINGS, UNAVAILABLE
from eyeground.clinic.records import Said
from eyeground.clinic.report.language import Words, words_of
from eyeground.images.retinal_image import Eye


@dataclass(frozen=True)
class Conclusion:
    """What the models say of an eye, and how sure they are of all of it.

    Args:
        text: In words.
        confidence: Of the least sure answer that the words rest on, [0, 1]; None where one of them has no score.

    Example:
        >>> Conclusion("no image was sent.", None).confidence

    References:
        Our own.
    """

    text: str
    confidence: float | None


def conclude(answered: Answered, eye: Eye, language: str) -> Conclusion:
    """Put what the models said of an eye into words; an eye that cannot be graded is never called healthy.

    Args:
        answered: What is known.
        eye: Which eye.
        language: One of the report's.

    Returns:
        What was found; else what was looked for in vain, and that this excludes no other disease.

    Example:
        >>> from eyeground.clinic.records import Order
        >>> said = {"fundus/OD": {"DR": Said(value=2, score=0.8)}}
        >>> conclude(Answered("0a", Order(door="screening", id="m"), 0, said=said), "OD", "en").text
        'fundus: AI detected: moderate non-proliferative diabetic retinopathy.'

    References:
        Our own.
    """
    words = words_of(language)
    sentences, sure = [], []
    empty = words.say("not_told")
    for part, findings in FINDINGS.items():
        key = f"{part}/{eye}"
        said = {name: answered.said.get(key, {})[name] for name in findings if name in answered.said.get(key, {})}
        # What is missing of the whole part goes before anything that was said of it.
        why = answered.unavailable.get(key, "")
        if not why and answered.quality.get(key, "").startswith("cannot grade"):
            why = "cannot_grade"
        if why == "no_image":
            empty = UNAVAILABLE[why][language]
        elif why or said:
            told, scores = (UNAVAILABLE[why][language] + words.say("stop"), []) if why else _sentence(said, words)
            sentences.append(words.labelled(words.say(f"parts.{part}"), told))
            sure += scores
    scored = [score for score in sure if score is not None]
    text = _gap(words).join(sentences) or empty + words.say("stop")
    return Conclusion(text, min(scored) if scored and len(scored) == len(sure) else None)


def _sentence(said: Mapping[str, Said], words: Words) -> tuple[str, list[float | None]]:
    """What was found, else what was looked for in vain; and how sure each of these answers is."""
    found = {name: each for name, each in said.items() if each.value}
    if found:
        names = words.say("list").join(_title(name, each.value, words) for name, each in found.items())
        return words.say("findings.detected", words=names) + words.say("stop"), [each.score for each in found.values()]
    names = words.say("list").join(words.say(f"titles.{name}") for name in said)
    text = words.say("findings.not_detected", words=names) + words.say("stop")
    return text + _gap(words) + words.say("limits.other_disease"), [_surely_not(*each) for each in said.items()]


def _surely_not(name: str, said: Said) -> float | None:
    """How sure a no is: the score of a yes-or-no finding is that of yes, of a grade that of the grade said."""
    return said.score if said.score is None or name == "DR" else 1 - said.score


def _title(name: str, value: int, words: Words) -> str:
    """What a finding is called; of a grade its name."""
    return words.say(f"grades.{value}" if name == "DR" else f"titles.{name}")


def _gap(words: Words) -> str:
    """What stands between two sentences: nothing where signs are as wide as letters."""
    return words.say("colon")[1:]

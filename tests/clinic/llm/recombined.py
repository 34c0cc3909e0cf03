"""Drafts put together at random from every word that may be written: most are nonsense, some lie, few are sound."""

import random
import re

from eyeground.clinic.llm.grammar import Fact, patterns_of
from eyeground.clinic.llm.lexicon import Lexicon, lexicon_of
from eyeground.clinic.llm.slots import Plan, Section

from .adversaries import PERMITTED
from .plans import full_plan

_CHOICE = re.compile(r"\(([^()]*)\)")


def one_of(pattern: str, rng: random.Random) -> str:
    """A phrase of a pattern."""
    while _CHOICE.search(pattern):
        pattern = _CHOICE.sub(lambda found: rng.choice(found[1].split("|")), pattern, count=1)
    return pattern


def recombined(count: int, language: str) -> list[tuple[Plan, dict[str, str]]]:
    """So many sections of one to three facts."""
    rng, words = random.Random(f"recombined {language}"), lexicon_of(language)
    made = []
    for _ in range(count):
        whole = rng.choice(full_plan(1, language).open)
        slots = tuple(rng.sample(whole.slots, rng.randint(1, 3)))
        section = Section(whole.text, whole.eye, whole.lead, slots)
        text = _opening(section, words, rng)
        for place, slot in enumerate(slots):
            join = rng.choice([each for name, each in words.joins.items() if name != "end"])
            text += (one_of(join, rng) if place else "") + _told(section, place, words, rng) + slot.token
        text += one_of(words.joins["end"], rng)
        made.append((Plan(language, (section,)), {section.key: _edited(text, words, rng)}))
    return made


def _opening(section: Section, words: Lexicon, rng: random.Random) -> str:
    """Now and then a text is opened."""
    if rng.random() < 0.6:
        return ""
    told = [str(words.opening[name]) for name in rng.sample(("first", "second"), rng.randint(1, 2))]
    return one_of("".join(told).replace("{side}", words.eye[section.eye]), rng)


def _told(section: Section, place: int, words: Lexicon, rng: random.Random) -> str:
    """What stands before a fact: its own phrase, another's, or words as they come."""
    luck = rng.random()
    if luck < 0.3:
        told = words.gap.join(rng.choice(PERMITTED[words.code]) for _ in range(rng.randint(1, 5)))
        return told + rng.choice((" ", ": ", " is ") if words.gap else ("", "：", "为"))
    slot = section.slots[place] if luck < 0.9 else rng.choice(section.slots)
    eye = section.eye if luck < 0.95 else ("OS" if section.eye == "OD" else "OD")
    patterns = [each for group in patterns_of(Fact(slot.kind, slot.part), eye, words) for each in group]
    return one_of(rng.choice(patterns), rng)


def _edited(text: str, words: Lexicon, rng: random.Random) -> str:
    """Now and then a word is thrown in, doubled or taken out."""
    if rng.random() < 0.6:
        return text
    pieces = re.findall(r"\[\[\w+\]\]|[a-z]+| +|.", text)
    at = rng.randrange(len(pieces))
    match rng.randrange(4):
        case 0:
            pieces.insert(at, words.gap + rng.choice(PERMITTED[words.code]) + words.gap)
        case 1:
            del pieces[at]
        case 2:
            pieces.insert(at, pieces[at] + words.gap)
        case _:
            pieces.insert(at, rng.choice((" ", ",", ".", "；", "。", "\n", "\0", "-", "\u3000")))
    return "".join(pieces)

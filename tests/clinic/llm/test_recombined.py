"""The checker against a second opinion, on drafts made of nothing but words that may be written."""

import re
from collections import Counter

import pytest

from eyeground.clinic.llm import checking
from eyeground.clinic.llm.checking import faults
from eyeground.clinic.llm.grammar import Fact, patterns_of
from eyeground.clinic.llm.lexicon import lexicon_of

from ...faults import scoreboard
from .oracle import is_sound
from .plans import full_plan
from .recombined import recombined

COUNT = 5000  # in each language


def judged(language: str) -> Counter[tuple[bool, bool]]:
    """How many the checker accepts, and the second opinion."""
    told: Counter[tuple[bool, bool]] = Counter()
    for plan, draft in recombined(COUNT, language):
        [section] = plan.sections
        told[not faults(plan, draft), is_sound(section, draft[section.key], language)] += 1
    return told


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_is_accepted_is_known_sentence_by_sentence(language: str) -> None:
    told = judged(language)
    accepted = told[True, True]
    scoreboard.write(f"L2-recombined-{language}", drafts=COUNT, accepted=accepted, accepted_unknown=told[True, False])
    assert told[True, False] == 0
    assert told[False, True] == 0  # and the second opinion knows no more than the checker
    assert accepted > COUNT / 20  # else nothing was held against anything
    assert told[False, False] > COUNT / 2


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_phrase_too_many_is_found(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault: a checker that lets any phrase stand before any fact of the eye."""
    right = checking.stands_right
    monkeypatch.setattr(
        checking, "stands_right",
        lambda before, fact, eye, text, words: right(before, fact, eye, text, words)
        or right(before, Fact("acuity", None), eye, text, words),
    )  # fmt: skip
    assert judged(language)[True, False] > 0


@pytest.mark.parametrize("language", ["en", "zh"])
def test_patterns_are_finite_and_hold_no_word_that_can_never_be_said(language: str) -> None:
    words = lexicon_of(language)
    for section in full_plan(1, language).open:
        for slot in section.slots:
            for pattern in sum(patterns_of(Fact(slot.kind, slot.part), section.eye, words), ()):
                letters = "a-z" if language == "en" else "\u4e00-\u9fff，；："
                assert re.fullmatch(f"[{letters} :,()|]+", pattern), pattern
                bare = re.sub("|".join(words.names), "", pattern)
                assert [
                    word for each in words.refused.values() for word in each if checking._stands_in(word, bare)
                ] == []

"""The note of a draft does not go out under a signature."""

import pytest

from eyeground.clinic.answered import Answered
from eyeground.clinic.exchange import report
from eyeground.clinic.llm.lexicon import lexicon_of
from eyeground.clinic.records import Opinion, Order
from eyeground.clinic.report.facts import facts_of
from eyeground.clinic.report.html import write_html
from eyeground.clinic.report.language import languages, words_of
from eyeground.clinic.report.settled import settled
from eyeground.clinic.report.text import draft_report, facts_text

from .papers import paper_of, text_of

ASKED = {"odFundusFeatures": "出血", "osFundusDisease": "AMD"}
ORDER = Order(door="report", id="5", texts=ASKED)


def signed(language: str, *, by_ai: bool, **more: str) -> Answered:
    """A report request as a doctor signs it who changes nothing."""
    words, texts = words_of(language), draft_report(ASKED, language)
    if by_ai:
        texts = {
            name: text.replace(words.say("draft.note"), words.say("draft.note_by_ai")) for name, text in texts.items()
        }
    return Answered(
        "0a" * 16, ORDER, 1, opinion=Opinion(texts=texts, **more), doctor_name="Li",
        signed_at="2026-11-28T01:00:00Z", urgency="look_yourself", rules="ICO-2017 v1", drafted_by_ai=by_ai,
    )  # fmt: skip


def test_the_note_that_a_model_s_draft_carries_is_the_one_that_is_taken_out() -> None:
    for language in languages():
        assert lexicon_of(language).note == words_of(language).say("draft.note_by_ai")


@pytest.mark.parametrize("language", languages())
def test_only_the_note_goes(language: str) -> None:
    words = words_of(language)
    note, by_ai, checked = (words.say(f"draft.{name}") for name in ("note", "note_by_ai", "note_checked"))
    assert settled(f"a\nb\n{note}") == "a\nb"
    assert settled(f"a \r\n{by_ai}\n") == "a"
    assert settled(f"a\n{by_ai}\nmore of it", marked=True) == f"a\n{checked}\nmore of it"
    assert settled(f"a\n{note}", marked=True) == "a"
    assert settled(note) == settled(by_ai) == ""
    for text in ("", " a\n\nb \n", f"{note[:-1]}"):
        assert settled(text) == text


@pytest.mark.parametrize("language", languages())
@pytest.mark.parametrize("by_ai", [False, True])
def test_what_goes_out_under_a_signature_does_not_ask_for_a_doctor(language: str, by_ai: bool) -> None:
    answered, words = signed(language, by_ai=by_ai), words_of(language)
    answer = report.answer(answered)
    facts = facts_of(answered, language)
    papers = [facts_text(facts), write_html(facts, photos={}), text_of(paper_of(facts))]
    for told in (*(str(answer[name]) for name in report.ANSWERED), *papers):
        assert words.say("draft.note") not in told
        assert words.say("draft.note_by_ai") not in told
    marked = [words.say("draft.note_checked") in answer[name] for name in report.ANSWERED]
    assert marked == [by_ai] * 4
    assert [words.say("header.by_ai") in paper for paper in papers[:2]] == [by_ai] * 2
    draft = facts_of(Answered("0a", ORDER, 1, opinion=answered.opinion), language)
    assert words.say("draft.note_by_ai" if by_ai else "draft.note") in facts_text(draft)  # it still is to be checked


@pytest.mark.parametrize("language", languages())
def test_a_report_request_says_nothing_of_eyes_models_and_rules(language: str) -> None:
    words = words_of(language)
    facts = facts_of(signed(language, by_ai=True), language)
    assert (facts.eyes, facts.findings, facts.conclusion, facts.urgency, facts.rules, facts.models) == (
        (), (), "", "", "", (),
    )  # fmt: skip
    never = [
        words.say(key)
        for key in ("assistance.none", "conclusion.empty", "recommendation.empty", "recommendation.urgency",
                    "sections.findings", "sections.grade", "sections.assistance", "findings.by_doctor", "quality.none",
                    "limits.ungradable", "header.grade")
    ]  # fmt: skip
    never += ["ICO-2017", "未发送图像", "no image was sent"]
    for told in (facts_text(facts), write_html(facts, photos={}), text_of(paper_of(facts))):
        assert [each for each in never if each in told] == []
        assert "出血" in told
        assert words.say("texts.fundusReport").split()[0] in told
    with_words = facts_of(signed(language, by_ai=True, conclusion="C1", recommendation="R1"), language)
    for told in (facts_text(with_words), write_html(with_words, photos={}), text_of(paper_of(with_words))):
        assert "C1" in told
        assert "R1" in told
    unsigned = facts_of(Answered("0a", ORDER, 0), language)
    assert unsigned.conclusion == words.say("conclusion.unsigned")
    assert paper_of(unsigned)[:5] == b"%PDF-"

"""Facts: signed, unsigned, draft; what hashes tell apart; nothing that nobody said."""

from dataclasses import fields, replace
from typing import Any

import pytest

from eyeground.clinic.exchange.report import ANSWERED
from eyeground.clinic.exchange.report import answer as report_answer
from eyeground.clinic.exchange.screening import answer as screening_answer
from eyeground.clinic.records import Opinion, Order
from eyeground.clinic.report.fact import Letterhead
from eyeground.clinic.report.facts import TEXTS, facts_of
from eyeground.clinic.report.html import write_html
from eyeground.clinic.report.language import languages, words_of
from eyeground.clinic.report.text import facts_text

from .papers import DRAFTED, HEAD, NARRATIVE, paper_of, text_of
from .test_text import SIGNED, UNSIGNED

DRAFT = replace(SIGNED, signed_at="", doctor_name="")


@pytest.mark.parametrize(("answered", "status"), [(SIGNED, "signed"), (UNSIGNED, "unsigned"), (DRAFT, "draft")])
def test_who_stands_behind_it(answered: Any, status: str) -> None:
    facts = facts_of(answered, "zh", letterhead=HEAD)
    assert facts.status == status
    assert bool(facts.doctor) == bool(facts.signed_at) == (status == "signed")
    assert facts.by == words_of("zh").say("findings.by_ai" if status == "unsigned" else "findings.by_doctor")
    assert (facts.recommendation == "") == (status == "unsigned")


def test_time_is_told_in_the_sites_zone() -> None:
    assert facts_of(SIGNED, "zh", letterhead=HEAD).signed_at == "2026-11-28 10:00 +08:00"
    assert facts_of(SIGNED, "zh").signed_at == "2026-11-28 02:00 UTC"
    kolkata = Letterhead(zone="Asia/Kolkata")
    assert facts_of(SIGNED, "zh", letterhead=kolkata).signed_at == "2026-11-28 07:30 +05:30"


def test_a_hash_tells_every_change() -> None:
    facts = facts_of(SIGNED, "zh", letterhead=HEAD)
    assert facts == facts_of(SIGNED, "zh", letterhead=HEAD)
    assert facts.sha256 == facts_of(SIGNED, "zh", letterhead=HEAD).sha256
    other: dict[type, Any] = {str: "x", int: 7, bool: True, tuple: ()}
    changed = [replace(facts, **{each.name: other[type(getattr(facts, each.name))]}) for each in fields(facts)]
    different = [each for each in changed if each != facts]
    assert len(different) > 20
    assert len({facts.sha256, *(each.sha256 for each in different)}) == len(different) + 1


@pytest.mark.parametrize("language", languages())
def test_a_narrative_has_its_own_section_and_its_mark(language: str) -> None:
    words = words_of(language)
    head, mark = f"【{words.say('sections.narrative')}】", words.say("header.by_ai")
    assert head not in facts_text(facts_of(SIGNED, language))
    by_hand = facts_text(facts_of(replace(DRAFTED, drafted_by_ai=False), language))
    assert f"{head}\n{NARRATIVE}\n\n" in by_hand
    assert mark not in by_hand
    assert f"{head}\n{NARRATIVE}\n{mark}\n" in facts_text(facts_of(DRAFTED, language))
    unsigned = facts_text(facts_of(replace(DRAFTED, signed_at=""), language))
    assert mark not in unsigned
    # Words that a doctor has moved from there to the conclusion are marked below it, once.
    moved = replace(DRAFTED, opinion=DRAFTED.opinion.model_copy(update={"narrative": ""}))
    facts = facts_of(moved, language)
    for told in (facts_text(facts), write_html(facts, photos={}), text_of(paper_of(facts))):
        squeezed = "".join(told.split())
        assert squeezed.count("".join(mark.split())) == 1
        assert squeezed.index("".join(mark.split())) > squeezed.index("".join(facts.conclusion.split()))
    assert words.say("header.by_ai_unsigned") in unsigned


def test_the_screening_answer_carries_the_narrative_with_its_mark() -> None:
    told = screening_answer(DRAFTED)["report"]
    assert NARRATIVE in told["zh"]
    assert "由 AI 起草" in told["zh"]
    assert "drafted by AI" in told["en"]


def test_all_four_texts_arrive_and_a_narrative_leaves_them_alone() -> None:
    assert TEXTS == ANSWERED
    texts = {name: f"{name} 的内容，双眼结膜无充血。" for name in TEXTS}
    order = Order(door="report", id="17", texts={"odAnteriorFeatures": "结膜充血"})
    opinion = Opinion(conclusion="见报告", recommendation="随诊", narrative=NARRATIVE, texts=texts)
    answered = replace(SIGNED, order=order, opinion=opinion, revision=1)
    assert report_answer(answered) == {"id": "17", **texts}
    facts = facts_of(answered, "zh")
    assert [(line.key, line.text) for line in facts.texts] == list(texts.items())
    text = facts_text(facts)
    assert all(each in text for each in (*texts.values(), NARRATIVE))


def test_site_and_number_stand_on_a_report_that_leaves_the_house() -> None:
    text = facts_text(facts_of(UNSIGNED, "en", letterhead=HEAD))
    assert "Site: 县人民医院 眼科\nReport number: C1-0\nNo doctor has signed this\n" in text

"""Lines of the work list in words."""

from typing import Any

import pytest

from eyeground.clinic.leads import Lead
from eyeground.clinic.web.paging import Language, words_of
from eyeground.clinic.web.work_rows import Row, rows_of, waited
from eyeground.clinic.work_list import Line

START, LATER = "2026-01-01T00:00:00.000000Z", "2026-01-01T03:12:59.000000Z"


def row(*, language: Language = "en", account: str = "li", **more: Any) -> Row:
    told: dict[str, Any] = {
        "id": "0a", "request_id": "m1", "site": "here", "door": "screening", "patient_id": "P1", "name": "", "age": 45,
        "state": "in_review", "version": 3, "urgency": "refer_3_months", "urgency_rank": 4, "urgent": True,
        "rules": "ICO-2017 v2", "held": False, "received_at": START, "waiting_since": START, "eyes": {}, "leads": {},
        "first": False, "reasons": {},
        "quality": {}, "unavailable": {}, "shown_eyes": (), "draft_doctor": "", "draft_doctor_name": "",
        "signed_at": "", "signed_by": "", "blind": False,
    }  # fmt: skip
    say = words_of("work", language)
    [found] = rows_of([Line(**told | more)], language, say=say, account=account, moment=LATER)
    return found


def texts(found: Row, eye: str) -> list[tuple[str, str, str]]:
    return [(told.text, told.score, told.kind) for told in found.eyes[eye]]


def test_the_line_of_the_drawing() -> None:
    found = row(
        leads={"fundus/OD": (Lead("DR", 2, 0.81),), "fundus/OS": (Lead("DR", 0, 0.934),)},
        quality={"fundus/OD": "fair: haze", "fundus/OS": "good"},
        draft_doctor="li",
    )
    assert (found.waited, found.quality, found.state) == ("3 h 12", "fair/good", "in review (you)")
    assert texts(found, "OD") == [("moderate NPDR", ".81", "found")]
    assert texts(found, "OS") == [("no DR", ".93", "clear")]
    assert found.urgency == "Refer to an ophthalmologist within 3 months"
    assert "haze" in found.quality_title


def test_an_eye_that_cannot_be_graded_says_why() -> None:
    found = row(
        unavailable={"fundus/OD": "cannot_grade", "fundus/OS": "no_image"},
        quality={"fundus/OD": "cannot grade: out of focus"}, shown_eyes=("fundus/OD",), language="zh",
    )  # fmt: skip
    assert texts(found, "OD") == [("无法分级（对焦不清）", "", "trouble")]
    assert texts(found, "OS") == [("–", "", "none")]
    assert found.quality == "–/–"
    signed = row(unavailable={"fundus/OD": "cannot_grade"}, quality={"fundus/OD": "good"}, state="signed")
    [(text, _, kind)] = texts(signed, "OD")
    assert (text, kind) == ("cannot be graded", "trouble")


def test_every_finding_of_an_eye_is_told() -> None:
    found = row(leads={"fundus/OD": (Lead("AMD", 1, 0.9), Lead("DR", 2, 0.8))})
    assert texts(found, "OD") == [("AMD", ".90", "found"), ("moderate NPDR", ".80", "found")]
    assert found.eyes["OD"][0].title == "age-related macular degeneration"


@pytest.mark.parametrize(
    ("word", "short", "first"),
    [
        ("refer_now", "today", False), ("refer_1_week", "1 wk", False), ("return_12_24_months", "24 mo", False),
        ("retake_or_refer", "retake", False), ("decide_eye", "decide first", True), ("not_examined", "", False),
    ],
)  # fmt: skip
def test_how_urgent_stands_beside_the_mark(word: str, short: str, first: bool) -> None:
    assert row(urgency=word, first=first).short == short
    assert row(urgency="", first=first).short == ""


def test_what_was_measured_stands_with_the_urgency() -> None:
    found = row(urgency="refer_now", reasons={"en": ("right eye 44 mmHg: intraocular pressure above 40 mmHg",)})
    assert found.urgency.endswith("today. right eye 44 mmHg: intraocular pressure above 40 mmHg")


def test_both_parts_of_an_eye_are_told() -> None:
    found = row(
        leads={"fundus/OD": (Lead("GLA", 1, 1.0),), "anterior/OD": (Lead("cataract", 0, None),)},
        unavailable={"fundus/OS": "failed", "anterior/OS": "not_installed"},
    )
    assert texts(found, "OD") == [("glaucoma", "1.00", "found"), ("no cataract", "", "clear")]
    assert [kind for _, _, kind in texts(found, "OS")] == ["trouble", "trouble"]
    assert [told.part for told in found.eyes["OD"]] == ["fundus", "anterior"]


@pytest.mark.parametrize(
    ("more", "en", "zh"),
    [
        ({}, "waiting", "待审核"),
        ({"draft_doctor": "chen", "draft_doctor_name": "Dr Chen"}, "in review (Dr Chen)", "审核中（Dr Chen）"),
        ({"draft_doctor": "chen"}, "in review (chen)", "审核中（chen）"),
        ({"state": "amended", "draft_doctor": "li"}, "being amended (you)", "修订中（本人）"),
        ({"held": True, "draft_doctor": "li"}, "held: which eye?", "待定眼别"),
        ({"state": "released", "signed_by": "Dr Li"}, "signed by Dr Li", "Dr Li 已签署"),
        ({"state": "received"}, "received", "已接收"),
    ],
)
def test_a_state_says_who_is_at_it(more: dict[str, Any], en: str, zh: str) -> None:
    assert row(**more).state == en
    assert row(**more, language="zh").state == zh


def test_what_is_hidden_looks_the_same_for_every_case() -> None:
    ill = row(blind=True, leads={"fundus/OD": (Lead("DR", 4, 0.9),)}, quality={"fundus/OD": "good"}, urgency="")
    fine = row(blind=True, leads={}, quality={}, urgency="")
    assert (ill.eyes, ill.quality, ill.urgency) == (fine.eyes, fine.quality, fine.urgency)
    assert ill.urgency == ""


@pytest.mark.parametrize(
    ("moment", "told"),
    [
        (START, "0 h 00"), ("2026-01-01T00:40:59.999999Z", "0 h 40"), ("2026-01-01T23:59:00.000000Z", "23 h 59"),
        ("2026-01-03T04:00:00.000000Z", "2 d 4 h"), ("2025-12-31T00:00:00.000000Z", "0 h 00"),
    ],
)  # fmt: skip
def test_waiting_is_told_in_hours_and_then_in_days(moment: str, told: str) -> None:
    assert waited(START, moment, say=words_of("work", "en")["waited"]) == told

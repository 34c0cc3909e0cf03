"""The case page in a real browser, by keyboard alone: read, graded, disagreed, signed; two doctors; read without AI."""

import json
from typing import Any

import pytest
from sqlalchemy import select

from eyeground.clinic.db.opinions import FirstRead
from eyeground.clinic.db.tables import Case, Outgoing, Review

from ...browser import Browser, browser_needed
from ..opened import work_off
from .open_page import Seen, Seer, served, sign_in

pytestmark = browser_needed
SHOWN = "[...document.querySelectorAll('.stage img')].every(each => !each.hidden)"
PERSON = {"patient_id": "P2025001", "name": "扎西", "age": 45, "gender": "male"}
_VISION = {
    "right_eye": "0.8",
    "left_eye": {"value": "4.8", "notation": "five_mark", "correction": "corrected"},
    "intraocular_pressure": {"right": 17, "left": {"value": 16, "method": "non_contact"}},
}
VISITS = {
    "screening_records": [{"screening_time": day, "vision_data": _VISION} for day in ("2025-07-31", "2024-11-12")]
}


def case_of(seen: Seen, name: str, *, od: str = "dr2", os: str = "normal", **more: Any) -> str:
    """A case with a photograph of each eye, read by the grader."""
    number = sum(name.encode())
    photos = [seen.photo(od, seed=number, eye="OD"), seen.photo(os, seed=number + 1, eye="OS")]
    case_id = seen.send(name, patient=PERSON | VISITS, photos=photos, **more)
    work_off(seen.service, seen.graders)
    return case_id


def row(seen: Seen, kind: Any, case_id: str) -> Any:
    """The only row of a case."""
    with seen.service.database.read() as session:
        return session.scalars(select(kind).filter_by(**{"id" if kind is Case else "case_id": case_id})).one()


def opened(browser: Browser, url: str, case_id: str, *, width: int = 1440, height: int = 900) -> None:
    """Open a case, and wait for its pictures."""
    browser.open(f"{url}/cases/{case_id}", width=width, height=height)
    browser.until(SHOWN)


def left(browser: Browser) -> None:
    """Leave a page with something unsaved: the browser asks, and is told to go."""
    browser.events.clear()
    browser.evaluate("setTimeout(() => location.assign('about:blank'))")
    browser.happened("Page.javascriptDialogOpening")
    browser.do("Page.handleJavaScriptDialog", accept=True)
    browser.loaded()


def released(browser: Browser) -> None:
    """Wait until the page has found out by itself that the answer is out, and is whole again."""
    told = "JSON.parse(document.getElementById('case')?.textContent ?? '{}')"
    browser.until(f"document.readyState === 'complete' && {told}.state === 'released' && !{told}.working")


def look(browser: Browser, script: str) -> Any:
    """Ask the page."""
    return browser.evaluate(script)


def test_a_case_is_read_graded_and_signed_by_keyboard_alone(browser: Browser, seen: Seen) -> None:
    case_id = case_of(seen, "m1")
    with served(seen.app) as url:
        sign_in(browser, seen.service, "doctor", url)
        browser.open(f"{url}/work", width=1440, height=900)
        browser.events.clear()
        browser.press("j", "Enter")
        browser.loaded()
        browser.until(SHOWN)
        assert "P2025001 扎西 45 years male" in browser.text()
        assert look(browser, "document.querySelector('.viewers').clientWidth / innerWidth") >= 0.6
        assert look(browser, "document.querySelector('.eye').dataset.eye") == "OD"
        browser.picture("case_1440_en")

        scale = "[...document.querySelectorAll('.eye')].map(each => Number(each.dataset.scale))"
        fitted = look(browser, scale)
        browser.press("+", "+")
        assert look(browser, scale) == pytest.approx([each * 1.25**2 for each in fitted], rel=0.01)
        browser.press("o")
        assert look(browser, scale) == [1, 1]
        browser.press("f")
        assert look(browser, scale) == fitted
        pressed = "document.querySelector('[data-tool=\"{}\"]').getAttribute('aria-pressed')"
        browser.press("r")
        assert look(browser, pressed.format("red_free")) == "true"
        assert "red-free" in look(browser, "document.querySelector('.stage img').style.filter")
        assert look(browser, "document.querySelector('.stage canvas').hidden") is True, "the heat map is off at first"
        browser.press("r", "h")
        browser.until("!document.querySelector('.stage canvas').hidden")
        assert "where the model looked, not a lesion boundary" in browser.text()
        browser.picture("case_heat")
        browser.press("h")

        browser.press("3", "x", "e", "0", "x", "g")
        chosen = "[...document.querySelectorAll('.marks input:checked')].map(each => [each.name, each.value])"
        told = dict(look(browser, chosen))
        assert (told["fundus/OD.DR"], told["fundus/OS.DR"], told["fundus/OD.AMD"]) == ("3", "0", "0")
        assert "severe non-proliferative" in look(browser, "document.getElementById('conclusion').value")
        browser.press("s")
        browser.until("document.getElementById('missing-dialog').open")
        assert "OD right eye: the reason is missing" in browser.text()
        browser.picture("case_missing")
        browser.press("Tab", "Enter") if look(browser, "document.activeElement.className") != "link" else browser.press(
            "Enter"
        )
        browser.until("document.activeElement.id === 'why-fundus/OD'")
        browser.write("four quadrants of hemorrhages")
        browser.press("Escape", "w")
        browser.until("document.getElementById('saved').textContent.startsWith('saved')")
        assert row(seen, Case, case_id).state == "in_review"
        browser.press("s")
        browser.until("document.getElementById('sign-dialog').open")
        said = look(browser, "document.getElementById('sign-dialog').innerText")
        for expected in ("3 severe non-proliferative", "four quadrants", "Refer to an ophthalmologist within 3 months"):
            assert expected in said
        assert "P2025001 扎西" in said
        browser.press("Enter")
        assert look(browser, "document.getElementById('sign-dialog').open"), "Enter out of habit releases nothing"
        assert "names none of the rules' times" in said
        browser.press("Tab", " ", "Tab", "Tab")
        assert look(browser, "document.activeElement.id") == "sign-confirm"
        browser.picture("case_sign")
        browser.events.clear()
        browser.press("Enter")
        browser.loaded()
        browser.until("Boolean(document.querySelector('.signed'))")
        work_off(seen.service, [])
        released(browser)
        browser.picture("case_signed")
        assert browser.complaints() == []

    review = row(seen, Review, case_id)
    assert review.opinion["eyes"]["fundus/OD"] == {
        "findings": {"DR": 3, "AMD": 0, "CSC": 0, "RP": 0, "ON": 0, "GLA": 0, "RVO": 0}, "ungradable": False,
        "reason": "four quadrants of hemorrhages",
    }  # fmt: skip
    assert review.opinion["eyes"]["fundus/OS"]["findings"]["DR"] == 0
    assert review.signed_at
    assert review.doctor == "doctor"
    answer = json.loads(row(seen, Outgoing, case_id).body)
    assert answer["ai_diagnosis"]["right_eye"]["findings"]["DR"]["value"] == 2, "what the model said stays the model's"
    assert "severe non-proliferative" in answer["doctor_review"]["final_conclusion"]
    assert answer["status"] == "signed"


def test_two_doctors_see_both_versions_and_nothing_typed_is_lost(browser: Browser, seen: Seen) -> None:
    case_id = case_of(seen, "m2", od="normal")
    with served(seen.app) as url:
        sign_in(browser, seen.service, "doctor", url)
        opened(browser, url, case_id)
        browser.press("2", "g")
        browser.evaluate("document.getElementById('recommendation').focus()")
        browser.write("come again in a week")
        version = seen.case(case_id)["version"]
        theirs = {
            "eyes": {"fundus/OD": {"findings": {"DR": 1}, "ungradable": False, "reason": "one dot"}},
            "conclusion": "theirs", "recommendation": "",
        }  # fmt: skip
        reply = seen.ask(
            "PUT", f"/api/v1/cases/{case_id}/opinion", "doctor_here", json={"version": version, "opinion": theirs}
        )
        assert reply.status_code == 200, reply.text
        browser.press("Escape", "w")
        browser.until("document.getElementById('stale-dialog').open")
        told = look(browser, "document.getElementById('stale-dialog').innerText")
        for expected in ("grade 2", "grade 1", "theirs", "come again in a week"):
            assert expected in told
        browser.picture("case_conflict")
        assert browser.axe() == []
        # By keyboard: the first field is theirs, the rest mine.
        first = look(browser, "document.querySelector('#stale-dialog .told th').innerText")
        assert look(browser, "document.activeElement.name") == "choice-0"
        browser.press("ArrowRight", "Enter")
        browser.until("!document.getElementById('stale-dialog').open")
        browser.until("document.getElementById('saved').textContent.startsWith('saved')")
        assert browser.complaints() == []
    kept = row(seen, Review, case_id).opinion
    assert kept["recommendation"] == "come again in a week"
    assert first == "Conclusion", first
    assert kept["conclusion"] == "theirs"
    assert kept["eyes"]["fundus/OD"]["findings"] == {"DR": 2}


def test_what_was_typed_is_shown_to_be_copied_when_the_case_went_on(browser: Browser, seen: Seen) -> None:
    case_id = case_of(seen, "m3", od="normal")
    with served(seen.app) as url:
        sign_in(browser, seen.service, "doctor", url)
        opened(browser, url, case_id)
        browser.press("1", "e", "0", "g")
        view = seen.case(case_id)
        eyes = {key: {"findings": {"DR": 0}} for key in ("fundus/OD", "fundus/OS")}
        body = {"version": view["version"], "opinion": {"eyes": eyes, "conclusion": "signed by the other"}}
        assert seen.post(f"cases/{case_id}/sign", "doctor_here", json=body).status_code == 200
        browser.press("w")
        browser.until("document.getElementById('closed-dialog').open")
        assert "mild non-proliferative" in look(browser, "document.querySelector('#closed-dialog .told').value")
        left(browser)
    assert row(seen, Review, case_id).opinion["conclusion"] == "signed by the other"


@pytest.mark.parametrize("seen", [{"blind_first_read": True}], indirect=True)
def test_the_ai_is_hidden_until_the_first_read_is_stored(browser: Browser, seen: Seen) -> None:
    case_id = case_of(seen, "m4")
    with served(seen.app) as url:
        sign_in(browser, seen.service, "doctor", url)
        opened(browser, url, case_id)
        page = look(browser, "document.documentElement.outerHTML")
        for hidden in ("0.81", "Seer", "moderate non-proliferative diabetic retinopathy</b>", "looked at:", "ICO-2017"):
            assert hidden not in page
        assert look(browser, "document.querySelector('[data-tool=heat]')") is None
        browser.picture("case_blind")
        browser.press("1", "e", "0", "w")
        browser.until("document.getElementById('ask-dialog').open")
        assert "AMD" in look(browser, "document.getElementById('ask-dialog').innerText"), "what is left open is named"
        browser.press("Tab", "Enter")
        browser.until("Boolean(document.getElementById('sign'))")
        browser.until(SHOWN)
        assert "Seer" in browser.text()
        assert "0.81" in browser.text()
        told = "document.querySelector('[data-key=\"fundus/OD\"][data-finding=DR] input:checked').value"
        assert look(browser, told) == "1", "the doctor goes on from his first read"
        assert browser.complaints() == []
    assert row(seen, FirstRead, case_id).opinion["eyes"]["fundus/OD"]["findings"] == {"DR": 1}


def test_a_held_eye_is_decided_on_the_page_and_the_case_read_anew(browser: Browser, seen: Seen) -> None:
    photos = [seen.photo("dr2", seed=5, eye="OD"), seen.photo("normal", seed=6, eye="OS") | {"eye": "OD"}]
    case_id = seen.send("m5", patient=PERSON, photos=photos)
    work_off(seen.service, seen.graders)
    with served(seen.app) as url:
        sign_in(browser, seen.service, "doctor", url)
        browser.open(f"{url}/cases/{case_id}")
        assert "request says OD" in browser.text()
        browser.press("s")
        browser.until("document.getElementById('missing-dialog').open")
        assert "eye is not decided" in look(browser, "document.getElementById('missing-dialog').innerText")
        browser.press("Enter")
        assert "not decided" in look(browser, "document.querySelector('.grading').innerText")
        browser.evaluate("document.querySelector('[data-eyes]').focus()")
        browser.press("Enter")
        browser.until("document.getElementById('eyes-dialog').open")
        browser.until("[...document.querySelectorAll('[data-large]')].every(each => each.naturalWidth > 0)")
        browser.picture("case_eyes")
        assert browser.axe() == []
        for place, eye in ((0, "OD"), (1, "OS")):
            browser.evaluate(f"document.querySelector('[data-place=\"{place}\"][value={eye}]').checked = true")
        browser.evaluate("document.querySelector('#eyes-dialog [type=submit]').focus()")
        browser.events.clear()
        browser.press("Enter")
        browser.loaded()
        assert "still being worked on" in browser.text()
        work_off(seen.service, seen.graders)
        browser.until("!document.getElementById('working') && Boolean(document.getElementById('sign'))")
        browser.until(SHOWN)
        assert browser.complaints() == []
    assert {each["eye"] for each in seen.case(case_id)["images"]} == {"OD", "OS"}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_has_no_serious_fault_of_accessibility_at_any_width(
    browser: Browser, seen: Seen, language: str
) -> None:
    case_id = case_of(seen, "m6")
    with served(seen.app) as url:
        sign_in(browser, seen.service, "doctor", url, language=language)
        for width in (1440, 720, 390):
            opened(browser, url, case_id, width=width)
            assert browser.axe() == []
            assert look(browser, "document.documentElement.scrollWidth") <= width
            assert browser.complaints() == []
        browser.press("?")
        browser.until("document.getElementById('help').open")
        assert browser.axe() == []
        browser.press("Escape")


def test_an_earlier_visit_is_compared_beside_this_one(browser: Browser, seen: Seen) -> None:
    before = case_of(seen, "m7", od="normal")
    case_id = case_of(seen, "m8")
    with served(seen.app) as url:
        sign_in(browser, seen.service, "doctor", url)
        opened(browser, url, case_id)
        own = look(browser, "document.querySelector('[data-eye=OS] .stage img').src")
        browser.press("v")
        other = "document.querySelector('.eye[data-eye=OS]')"
        browser.until(f"{other}.classList.contains('past') && {other}.querySelector('img').src !== '{own}'")
        assert look(browser, f"{other}.querySelector('.told').textContent").startswith("OD right eye · earlier")
        browser.picture("case_earlier")
        browser.press("v")
        browser.until(f"{other}.querySelector('img').src === '{own}'")
    assert before != case_id


def test_undo_takes_back_what_was_pressed(browser: Browser, seen: Seen) -> None:
    case_id = case_of(seen, "m9")
    with served(seen.app) as url:
        sign_in(browser, seen.service, "doctor", url)
        opened(browser, url, case_id)
        assert look(browser, "document.querySelectorAll('[data-finding=DR] input:checked').length") == 0, (
            "nothing is prefilled"
        )
        browser.press("a")
        checked = "document.querySelectorAll('[data-finding=DR] input:checked').length"
        assert look(browser, checked) == 1, "the other eye is left to be looked at"
        browser.press("u", "z")
        told = "document.querySelector('[data-key=\"fundus/OD\"][data-finding=DR] input:checked')?.value ?? ''"
        assert look(browser, told) == "2"
        browser.press("z")
        assert look(browser, told) == ""


def test_a_recommendation_milder_than_the_rules_is_signed_only_knowingly(browser: Browser, seen: Seen) -> None:
    case_id = case_of(seen, "m11", od="dr2", os="normal")
    with served(seen.app) as url:
        sign_in(browser, seen.service, "doctor", url)
        opened(browser, url, case_id)
        browser.press("a", "e", "a")
        look(browser, "document.getElementById('conclusion').value = 'my own words'")
        browser.press("g")
        browser.until("document.getElementById('ask-dialog').open")
        browser.press("Enter")  # which is Cancel
        browser.until("!document.getElementById('ask-dialog').open")
        assert look(browser, "document.getElementById('conclusion').value") == "my own words"
        options = look(browser, "[...document.getElementById('preset').options].map(each => each.value)")
        assert not [each for each in options if "contradictory" in each or "No model" in each or "No image" in each]
        choose = """(text => { const preset = document.getElementById('preset');
            preset.value = [...preset.options].find(each => each.value.includes(text)).value;
            preset.dispatchEvent(new Event('change', { bubbles: true })); })"""
        milder, wanted = "document.getElementById('milder').hidden", "document.getElementById('milder').innerText"
        look(browser, f"{choose}('Examine again in 6 to 12 months')")
        browser.press("s")
        browser.until("document.getElementById('sign-dialog').open")
        assert "less urgent than the rules" in look(browser, wanted)
        assert "within 3 to 6 months" in look(browser, wanted)
        look(browser, "document.getElementById('sign-confirm').click()")
        assert look(browser, "document.getElementById('sign-dialog').open"), "nothing is signed before it is confirmed"
        assert browser.axe() == []
        browser.press("Escape")
        look(browser, f"{choose}('within 1 month')")  # a preset takes another preset's place without a word
        browser.press("Escape", "s")
        browser.until("document.getElementById('sign-dialog').open")
        assert look(browser, milder) is True
        browser.press("Escape")
        left(browser)
    assert row(seen, Case, case_id).state == "in_review"


def test_a_text_is_drafted_a_link_made_and_a_report_amended(browser: Browser, seen: Seen) -> None:
    case_id = case_of(seen, "m10", od="normal")
    with served(seen.app) as url:
        sign_in(browser, seen.service, "doctor", url, language="zh")
        opened(browser, url, case_id)
        browser.press("a", "e", "a", "g", "g")
        look(browser, "document.getElementById('draft').focus()")
        browser.press("Enter")
        browser.until("document.getElementById('narrative').value !== ''")
        assert "由模板按事实生成" in browser.text()
        look(browser, "document.getElementById('patient-link').focus()")
        browser.press("Enter")
        browser.until("document.getElementById('link-dialog').open")
        code = look(browser, "document.getElementById('link-code').value")
        assert len(code) == 6
        assert look(browser, "document.getElementById('link-address').value").startswith(f"{url}/p/")
        browser.picture("case_link")
        browser.press("Escape")
        browser.until("document.getElementById('link-code').value === ''")  # a code is shown once
        browser.press("Escape", "s")
        browser.until("document.getElementById('sign-dialog').open")
        browser.picture("case_sign_zh")
        assert "所见描述" in look(browser, "document.getElementById('sign-dialog').innerText")
        browser.press("Tab", "Tab")
        assert look(browser, "document.activeElement.id") == "sign-confirm"
        browser.events.clear()
        browser.press("Enter")
        browser.loaded()
        work_off(seen.service, [])
        released(browser)
        browser.picture("case_signed_zh")
        look(browser, "document.getElementById('amend').focus()")
        browser.press("Enter")
        browser.until("document.getElementById('amend-dialog').open")
        browser.press("Enter")
        assert look(browser, "document.getElementById('amend-dialog').open"), "without a reason nothing is amended"
        browser.write("笔误")
        browser.events.clear()
        browser.press("Enter")
        browser.loaded()
        browser.until("Boolean(document.getElementById('form'))")
        assert "正在撰写第 2 版" in browser.text()
        assert "笔误" in browser.text()
        assert browser.complaints() == []
    assert row(seen, Case, case_id).state == "amended"


def test_a_finding_of_the_ai_that_is_left_open_is_asked_about(browser: Browser, seen: Seen) -> None:
    case_id = case_of(seen, "m11", od="drusen")
    with served(seen.app) as url:
        sign_in(browser, seen.service, "doctor", url, language="zh")
        opened(browser, url, case_id)
        box = "document.querySelector('[data-why=\"fundus/OD\"]')"
        assert look(browser, f"{box}.hidden"), "nothing is said of the eye yet"
        browser.press("0")
        assert look(browser, f"{box}.hidden") is False
        assert look(browser, f"{box}.querySelector('.why-text').textContent") == (
            "AI 提示AMD，您尚未评估。请判读或说明理由："
        )
        browser.picture("case_left_open_zh")
        browser.press("e", "0", "g", "s")
        browser.until("document.getElementById('missing-dialog').open")
        assert "OD 右眼：缺少理由" in browser.text()
        browser.press("Escape", "e", "a")
        assert look(browser, f"{box}.hidden"), "it was judged"
        assert browser.complaints() == []
        left(browser)


def test_of_several_heat_maps_the_doctor_chooses_the_finding(browser: Browser, seen: Seen) -> None:
    class Second(Seer):
        id, title = "second-0000", "Second 1.0"

    photos = [seen.photo("dr2", seed=31, eye="OD"), seen.photo("normal", seed=32, eye="OS")]
    case_id = seen.send("m12", patient=PERSON, photos=photos)
    work_off(seen.service, [Seer(seen.said, offers=("DR",)), Second(seen.said, offers=("AMD", "GLA"))])
    fetched = "performance.getEntriesByType('resource').map(each => each.name.split('/').pop())"
    asked = f"{fetched}.filter(each => each.startsWith('heat'))"
    with served(seen.app) as url:
        sign_in(browser, seen.service, "doctor", url)
        opened(browser, url, case_id)
        offered = "[...document.getElementById('heat-of').options].map(each => [each.value, each.text])"
        assert look(browser, "document.getElementById('heat-of').checkVisibility()")
        assert look(browser, offered) == [
            ["DR", "diabetic retinopathy"],
            ["AMD", "age-related macular degeneration"],
        ]
        browser.press("h")
        browser.until("!document.querySelector('.stage canvas').hidden")
        assert set(look(browser, asked)) == {"heat?target=DR"}
        browser.picture("case_heat_of")
        browser.evaluate("document.getElementById('heat-of').focus()")
        browser.press("ArrowDown")
        browser.until(f"{asked}.includes('heat?target=AMD')")
        browser.until("!document.querySelector('.stage canvas').hidden")
        assert browser.axe() == []
        assert browser.complaints() == []
        opened(browser, url, case_of(seen, "m13"))
        assert look(browser, "document.getElementById('heat-of').checkVisibility()") is False, "there is one finding"

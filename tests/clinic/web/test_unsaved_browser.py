"""What a doctor has typed and not saved, in a real browser: kept, never saved unseen, never said to be saved."""

from typing import Any

import pytest
from sqlalchemy import select

from eyeground.clinic.db.opinions import FirstRead
from eyeground.clinic.db.tables import Review
from eyeground.clinic.sessions import close_all

from ...browser import Browser, browser_needed
from ..constant_grader import ConstantGrader
from ..opened import work_off
from .open_page import Seen, served, sign_in
from .test_case_browser import PERSON, case_of, left, look, opened, row

pytestmark = browser_needed
# Lets one address wait until the test calls `go`.
HELD = """(() => {{
    const real = window.fetch;
    window.asked = 0;
    window.fetch = async (...what) => {{
        if (!what[0].split("?")[0].endsWith("{path}")) return real(...what);
        window.asked += 1;
        await new Promise((resolve) => {{ window.go = resolve; }});
        {then}
        return real(...what);
    }};
}})()"""


def typed(browser: Browser, name: str, text: str) -> None:
    """Type into a field of the form, and stay there."""
    browser.evaluate(f"document.getElementById('{name}').focus()")
    browser.write(text)


def value(browser: Browser, name: str) -> str:
    return str(browser.evaluate(f"document.getElementById('{name}').value"))


def is_open(name: str) -> str:
    return f"document.getElementById('{name}-dialog').open"


def reviews(seen: Seen, case_id: str) -> list[Any]:
    """What doctors wrote of a case."""
    with seen.service.database.read() as session:
        return [each.opinion for each in session.scalars(select(Review).filter_by(case_id=case_id))]


def exchanged(seen: Seen, case_id: str) -> None:
    """Another doctor finds out that the eyes were the wrong way round, and the models read the case again."""
    eyes = [{"place": 0, "eye": "OS"}, {"place": 1, "eye": "OD"}]
    body = {"version": seen.case(case_id)["version"], "eyes": eyes}
    assert seen.post(f"cases/{case_id}/eye", "doctor_here", json=body).status_code == 200
    work_off(seen.service, seen.graders)
    assert seen.case(case_id)["state"] == "in_review"


@pytest.mark.parametrize(("key", "language"), [("w", "en"), ("s", "zh"), ("", "en")])
def test_grades_of_a_page_from_before_the_eyes_were_exchanged_are_never_stored(
    browser: Browser, seen: Seen, key: str, language: str
) -> None:
    case_id = case_of(seen, "m1", od="normal")
    with served(seen.app) as url:
        sign_in(browser, seen.service, "doctor", url, language=language)
        opened(browser, url, case_id)
        browser.press("a", "e", "a", "g")
        exchanged(seen, case_id)
        if key:
            browser.press(key)
        if key == "s":
            # The page may have found out by itself meanwhile.
            browser.until(f"{is_open('sign')} || {is_open('closed')}")
            if look(browser, is_open("sign")):
                browser.evaluate("document.getElementById('sign-confirm').focus()")
                browser.press("Enter")
        browser.until(is_open("closed"))
        said = look(browser, "document.getElementById('closed-dialog').innerText")
        assert ("may be of the other eye" if language == "en" else "可能属于另一只眼") in said
        assert look(browser, "document.querySelector('#closed-dialog .told').value").startswith("OD ")
        browser.picture(f"case_exchanged_{language}")
        assert browser.axe() == []
        browser.press("Escape")
        browser.until(f"!{is_open('closed')}")
        for again in ("w", "s"):
            browser.press(again)
            browser.until(is_open("closed"))
            browser.press("Escape")
            browser.until(f"!{is_open('closed')}")
        browser.picture(f"case_over_{language}")
        assert browser.complaints() == []
        browser.press("w")
        browser.until(is_open("closed"))
        browser.events.clear()
        browser.evaluate("setTimeout(() => document.querySelector('[data-reload]').click())")
        browser.loaded()
        browser.until("document.querySelectorAll('[data-finding=DR] input:checked').length === 0")
    assert reviews(seen, case_id) == []


@pytest.mark.parametrize("leave", ["Escape", "cancel"])
def test_a_signature_on_its_way_cannot_be_called_back(browser: Browser, seen: Seen, leave: str) -> None:
    case_id = case_of(seen, "m2", od="normal")
    with served(seen.app) as url:
        sign_in(browser, seen.service, "doctor", url)
        opened(browser, url, case_id)
        browser.press("a", "e", "a", "g", "s")
        browser.until(is_open("sign"))
        browser.evaluate(HELD.format(path="/sign", then=""))
        browser.evaluate("document.getElementById('sign-confirm').focus()")
        browser.press("Enter")
        browser.until("window.asked === 1")
        for _ in range(3):
            if leave == "Escape":
                browser.press("Escape")
            else:
                browser.evaluate("document.querySelector('#sign-dialog [data-cancel]').click()")
        browser.press("Enter", "Enter")
        assert look(browser, is_open("sign")), "whether it is signed is not known yet"
        assert look(browser, "document.getElementById('sign-dialog').getAttribute('aria-busy')") == "true"
        assert look(browser, "window.asked") == 1
        browser.picture("case_signing")
        assert browser.axe() == []
        browser.events.clear()
        browser.evaluate("window.go()")
        browser.loaded()
        browser.until("Boolean(document.querySelector('.signed'))")
        assert browser.complaints() == []
    assert row(seen, Review, case_id).signed_at


def test_a_dialog_whose_answer_was_a_refusal_can_be_left_and_sent_again(browser: Browser, seen: Seen) -> None:
    case_id = case_of(seen, "m2", od="normal")
    fails = 'if (window.asked === 1) return new Response(\'{"error": "try again", "reason": "busy"}\', {status: 503});'
    with served(seen.app) as url:
        sign_in(browser, seen.service, "doctor", url)
        opened(browser, url, case_id)
        browser.press("a", "e", "a", "g", "s")
        browser.until(is_open("sign"))
        browser.evaluate(HELD.format(path="/sign", then=fails))
        browser.evaluate("document.getElementById('sign-confirm').focus()")
        browser.press("Enter")
        browser.until("window.asked === 1")
        browser.evaluate("window.go()")
        browser.until("document.querySelector('#sign-dialog .error').textContent === 'try again'")
        assert look(browser, "document.activeElement.id") == "sign-confirm", "the keyboard stays where it was"
        browser.press("Enter")
        browser.until("window.asked === 2")
        assert look(browser, "document.querySelector('#sign-dialog .error').textContent") == ""
        browser.events.clear()
        browser.evaluate("window.go()")
        browser.loaded()
        browser.until("Boolean(document.querySelector('.signed'))")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_session_that_ends_drives_nothing_away(browser: Browser, seen: Seen, language: str) -> None:
    case_id = case_of(seen, "m3")
    with served(seen.app) as url:
        sign_in(browser, seen.service, "doctor", url, language=language)
        opened(browser, url, case_id)
        browser.press("1")
        typed(browser, "conclusion", "half a sentence")
        with seen.service.database.write() as work:
            close_all(work, "doctor")
        browser.until("document.getElementById('signed-out').checkVisibility()")
        bar = "document.getElementById('signed-out').getBoundingClientRect()"
        assert look(browser, f"{bar}.top > 0 && {bar}.bottom <= innerHeight"), "wherever the form is scrolled to"
        said = "signed out" if language == "en" else "已退出登录"
        assert said in browser.text()
        assert said in look(browser, "document.getElementById('saved').textContent")
        assert look(browser, "document.querySelector('#signed-out a').target") == "_blank"
        browser.picture(f"case_signed_out_{language}")
        assert browser.axe() == []
        browser.press("Escape", "w")
        browser.until(f"document.getElementById('saved').textContent.includes('{said}')")
        assert look(browser, "location.pathname") == f"/cases/{case_id}"
        assert value(browser, "conclusion") == "half a sentence"
        assert reviews(seen, case_id) == []
        sign_in(browser, seen.service, "doctor", url, language=language)  # in another tab
        browser.press("w")
        browser.until("document.getElementById('saved').dataset.at !== undefined")
        assert look(browser, "document.getElementById('signed-out').hidden")
        assert browser.complaints() == []
    assert reviews(seen, case_id)[0]["conclusion"] == "half a sentence"


def test_a_session_that_ends_leads_to_the_door_where_nothing_is_unsaved(browser: Browser, seen: Seen) -> None:
    case_id = case_of(seen, "m3")
    with served(seen.app) as url:
        sign_in(browser, seen.service, "doctor", url)
        opened(browser, url, case_id)
        with seen.service.database.write() as work:
            close_all(work, "doctor")
        browser.until("location.pathname === '/sign-in'")


@pytest.mark.parametrize("status", [200, 502])
def test_what_is_no_answer_of_the_service_is_no_success(browser: Browser, seen: Seen, status: int) -> None:
    case_id = case_of(seen, "m4")
    portal = f"return new Response('<html>welcome to our network', {{status: {status}}});"
    with served(seen.app) as url:
        sign_in(browser, seen.service, "doctor", url)
        opened(browser, url, case_id)
        browser.press("1")
        browser.evaluate(HELD.format(path="/opinion", then=portal))
        browser.press("w")
        browser.until("window.asked === 1")
        browser.evaluate("window.go()")
        browser.until("document.getElementById('saved').textContent !== 'saving'")
        assert look(browser, "document.getElementById('saved').textContent") == "not saved"
        assert "does not answer" in look(browser, "document.getElementById('alerts').innerText")
        left(browser)
    assert reviews(seen, case_id) == []


@pytest.mark.parametrize("seen", [{"tries": 1}], indirect=True)
def test_the_models_look_again_only_after_what_was_typed_is_saved(browser: Browser, seen: Seen) -> None:
    photos = [seen.photo("dr2", seed=5, eye="OD"), seen.photo("normal", seed=6, eye="OS")]
    case_id = seen.send("m5", patient=PERSON, photos=photos)
    work_off(seen.service, [ConstantGrader(fault=RuntimeError("no memory"))])
    with served(seen.app) as url:
        sign_in(browser, seen.service, "doctor", url)
        opened(browser, url, case_id)
        browser.press("1")
        typed(browser, "conclusion", "as I see it")
        browser.events.clear()
        browser.evaluate("setTimeout(() => document.getElementById('reread').click())")
        browser.loaded()
        assert "still being worked on" in browser.text()
        assert browser.complaints() == []
    assert reviews(seen, case_id)[0]["conclusion"] == "as I see it"


def test_what_is_typed_while_a_draft_is_awaited_is_asked_about_and_undone(browser: Browser, seen: Seen) -> None:
    case_id = case_of(seen, "m6", od="normal")
    with served(seen.app) as url:
        sign_in(browser, seen.service, "doctor", url)
        opened(browser, url, case_id)
        browser.press("a", "e", "a", "w")
        browser.until("document.getElementById('saved').textContent.startsWith('saved')")
        browser.evaluate(HELD.format(path="/draft", then=""))
        for times, answer in enumerate((("Enter",), ("Tab", "Enter")), start=1):
            browser.evaluate("document.getElementById('draft').click()")
            browser.until(f"window.asked === {times}")
            if times == 1:
                typed(browser, "narrative", "my own words")
            browser.evaluate("window.go()")
            browser.until(is_open("ask"))
            assert "Findings in sentences is not empty" in look(
                browser, "document.getElementById('ask-dialog').innerText"
            )
            assert value(browser, "narrative") == "my own words"
            if times == 1:
                browser.picture("case_draft_asks")
            browser.press(*answer)
            browser.until(f"!{is_open('ask')}")
            if times == 1:
                assert value(browser, "narrative") == "my own words"
                assert look(browser, "document.getElementById('drafted').hidden"), "it was not taken"
                browser.evaluate("document.activeElement.blur()")
                browser.press("w")
                browser.until("document.getElementById('saved').textContent.startsWith('saved')")
        browser.until("document.getElementById('narrative').value !== 'my own words'")
        drafted = value(browser, "narrative")
        assert drafted
        # A draft takes an earlier draft's place without a word.
        browser.evaluate("document.activeElement.blur()")
        browser.press("w")
        browser.until("document.getElementById('saved').textContent.startsWith('saved')")
        browser.evaluate("document.getElementById('draft').click()")
        browser.until("window.asked === 3")
        browser.evaluate("window.go()")
        browser.until("document.getElementById('drafted').textContent.startsWith('Drafted')")
        assert not look(browser, is_open("ask"))
        browser.evaluate("document.activeElement.blur()")
        browser.press("z")
        browser.until("document.getElementById('narrative').value === 'my own words'")
        assert browser.complaints() == []
        left(browser)


def test_undo_brings_back_what_was_typed_and_never_left(browser: Browser, seen: Seen) -> None:
    case_id = case_of(seen, "m7", od="normal")
    with served(seen.app) as url:
        sign_in(browser, seen.service, "doctor", url)
        opened(browser, url, case_id)
        typed(browser, "narrative", "typed, and the field was never left")
        # By the pointer, as a press on the button does: the field is not left before the form is filled in.
        browser.evaluate("document.getElementById('as-ai').click()")
        browser.evaluate("document.getElementById('undo').click()")
        assert value(browser, "narrative") == "typed, and the field was never left"
        assert look(browser, "document.querySelectorAll('[data-finding=DR] input:checked').length") == 0
        browser.evaluate("document.getElementById('undo').click()")
        assert value(browser, "narrative") == ""


@pytest.mark.parametrize("seen", [{"blind_first_read": True}], indirect=True)
def test_a_first_read_is_stored_after_another_doctor_has_saved(browser: Browser, seen: Seen) -> None:
    case_id = case_of(seen, "m8")
    with served(seen.app) as url:
        sign_in(browser, seen.service, "doctor", url)
        opened(browser, url, case_id)
        browser.press("1", "x", "e", "0", "x")
        eyes = {key: {"findings": {"DR": 0}} for key in ("fundus/OD", "fundus/OS")}
        for what in ("first-read", "opinion"):
            body = {"version": seen.case(case_id)["version"], "opinion": {"eyes": eyes}}
            reply = seen.ask("PUT", f"/api/v1/cases/{case_id}/{what}", "doctor_here", json=body)
            assert reply.status_code == 200, reply.text
        browser.press("w")
        browser.until("Boolean(document.getElementById('sign'))")
        assert browser.complaints() == []
    with seen.service.database.read() as session:
        mine = session.scalars(select(FirstRead).filter_by(case_id=case_id, doctor="doctor")).one()
    assert mine.opinion["eyes"]["fundus/OD"]["findings"]["DR"] == 1


@pytest.mark.parametrize("seen", [{"blind_first_read": True}], indirect=True)
def test_a_first_read_of_exchanged_eyes_is_not_stored(browser: Browser, seen: Seen) -> None:
    case_id = case_of(seen, "m8")
    with served(seen.app) as url:
        sign_in(browser, seen.service, "doctor", url)
        opened(browser, url, case_id)
        browser.press("1", "x", "e", "0", "x")
        exchanged(seen, case_id)
        browser.press("w")
        browser.until(is_open("closed"))
        assert "may be of the other eye" in look(browser, "document.getElementById('closed-dialog').innerText")
        left(browser)
    with seen.service.database.read() as session:
        assert session.scalars(select(FirstRead).filter_by(case_id=case_id)).all() == []


def test_a_conclusion_from_grades_that_were_changed_is_not_signed(browser: Browser, seen: Seen) -> None:
    case_id = case_of(seen, "m9", od="normal")
    with served(seen.app) as url:
        sign_in(browser, seen.service, "doctor", url)
        opened(browser, url, case_id)
        browser.press("a", "e", "a", "g")
        assert "no diabetic retinopathy" in value(browser, "conclusion")
        browser.press("2")
        browser.evaluate("document.getElementById('why-fundus/OS').value = 'many'")
        browser.press("s")
        browser.until(is_open("missing"))
        assert "written from grades that you have changed" in look(
            browser, "document.getElementById('missing-dialog').innerText"
        )
        browser.picture("case_regrade")
        browser.press("Escape", "g", "s")
        browser.until(is_open("sign"))
        browser.press("Escape")
        typed(browser, "conclusion", "In my own words: ")
        browser.press("Escape", "0", "s")
        browser.until(is_open("sign"))
        assert not look(browser, is_open("missing")), "what was written by hand is the doctor's own"
        browser.press("Escape")
        left(browser)


def test_a_text_that_is_only_a_drafts_note_is_empty(browser: Browser, seen: Seen) -> None:
    body = {"id": "r1", "odFundusFeatures": "drusen"}
    case_id = seen.post("reports", "site_here", json=body).json()["case_id"]
    work_off(seen.service, [])
    with served(seen.app) as url:
        sign_in(browser, seen.service, "doctor", url)
        browser.open(f"{url}/cases/{case_id}", width=1440, height=900)
        first = "document.getElementById('text-anteriorReport')"
        browser.evaluate(f"{first}.value = ' ' + {first}.value.trim().split('\\n').pop()")
        assert value(browser, "text-anteriorReport").strip()
        browser.press("s")
        browser.until(is_open("missing"))
        said = look(browser, "document.getElementById('missing-dialog').innerText")
        assert "Anterior segment: report is empty" in said
        assert "interpretation" not in said
        # The texts that the service wrote are replaced by a draft in the page's language without a word.
        browser.press("Escape")
        browser.evaluate("document.getElementById('draft').click()")
        browser.until("document.getElementById('drafted').textContent.startsWith('Drafted')")
        assert browser.complaints() == []
        left(browser)

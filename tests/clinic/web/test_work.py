"""The work list in a real browser, by keyboard alone, and as a page that says everything without one."""

import re

import pytest

from eyeground.clinic.db.database import DatabaseLost
from eyeground.clinic.web import owning

from ...browser import Browser, browser_needed
from ..constant_grader import ConstantGrader
from ..opened import work_off
from .office import Office
from .open_page import served, sign_in

HOSTILE = "<img src=x onerror=alert(1)>\"'&{{7*7}}"
FOCUSED = "document.activeElement.closest('tr')?.querySelector('.id').textContent ?? ''"


def ids(browser: Browser) -> list[str]:
    found: list[str] = browser.evaluate("[...document.querySelectorAll('.cases .id')].map(each => each.textContent)")
    return found


def page(office: Office, path: str, who: str = "doctor", **asked: object) -> str:
    reply = office.ask("GET", path, who, params=asked)
    assert reply.status_code == 200, reply.text
    return reply.text


def empty(text: str) -> str:
    """What a page says where it has no case."""
    return text.partition('<p class="empty">')[2].partition("</p>")[0]


def test_every_list_has_something_to_say_when_it_is_empty(office: Office) -> None:
    told = set()
    for lang in ("en", "zh"):
        for filter in ("all", "urgent", "ungradable", "disagreement", "mine"):
            told.add(empty(page(office, "/work", filter=filter, lang=lang)))
        told |= {empty(page(office, "/signed", lang=lang)), empty(page(office, "/work", search="nobody", lang=lang))}
    assert len(told) == 14
    assert "" not in told


def test_pages_lead_on_and_back(office: Office) -> None:
    for number in range(51):
        office.send(f"m{number:02d}", patient={"name": "扎西"})
    office.send("m51", patient={"name": "Li"})
    work_off(office.service, [ConstantGrader()])
    first = page(office, "/work", search="扎西", filter="all")
    assert first.count('<td role="cell" class="patient">') == 50
    assert 'rel="next" class="button plain" href="/work?search=%E6%89%8E%E8%A5%BF&amp;skip=50"' in first
    assert 'rel="prev"' not in first
    second = page(office, "/work", search="扎西", skip=50)
    assert second.count('<td role="cell" class="patient">') == 1
    assert 'rel="prev" class="button plain" href="/work?search=%E6%89%8E%E8%A5%BF"' in second
    assert 'rel="next"' not in second


@pytest.mark.parametrize(
    "query", ["filter=none", "skip=-1", "skip=x", "search=" + "a" * 101, "search=%00", "search=a%0Ab"]
)
def test_a_bad_address_is_refused(office: Office, query: str) -> None:
    assert office.ask("GET", f"/work?{query}", "doctor").status_code == 422


def test_the_head_of_every_page_tells_how_much_waits(office: Office) -> None:
    office.in_review("m1")
    office.in_review("m2")
    office.signed("m3")
    office.post("checks", "site_here", content=b"nonsense")
    for path in ("/work", "/signed"):
        told = page(office, path)
        assert 'data-count="/work">2<' in told
        assert 'data-count="/signed">1<' in told
        assert 'data-count="/work">0<' in page(office, path, "doctor_elsewhere")
    assert "/dead-letters" not in page(office, "/work")
    assert office.get("counts", "doctor").json() | {"newest": ""} == {
        "work": 2, "urgent": office.get("counts", "doctor").json()["urgent"], "signed_today": 1, "dead_letters": None,
        "newest": "",
    }  # fmt: skip
    assert office.get("counts", "operator").json()["dead_letters"] == 0


def test_a_page_is_shown_though_its_numbers_cannot_be_counted(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: object, **__: object) -> None:
        raise DatabaseLost("gone")

    monkeypatch.setattr(owning, "count_waiting", lost)
    reply = office.ask("GET", "/cases/none", "doctor", headers={"Accept": "text/html"})
    assert (reply.status_code, "data-count" in reply.text) == (404, False)


def test_what_was_signed_today_is_listed_with_the_doctor_s_word(office: Office) -> None:
    office.signed("m1")
    office.in_review("m2")
    text = page(office, "/signed")
    assert ("P-m1" in text, "P-m2" in text, "signed by" in text) == (True, False, True)
    assert 'class="score"' not in text
    assert "P-m1" not in page(office, "/signed", "doctor_elsewhere")


def test_what_a_site_writes_is_text_and_nothing_else(office: Office) -> None:
    office.in_review("m1", patient={"name": HOSTILE, "patient_id": HOSTILE})
    for text in (page(office, "/work"), page(office, "/work", search=HOSTILE[:50])):
        assert "<img" not in text
        assert "&lt;img" in text


@browser_needed
def test_a_case_is_reached_by_keys_alone(office: Office, browser: Browser) -> None:
    for number in range(4):
        office.in_review(f"m{number}", patient={"name": HOSTILE if number == 2 else "扎西"})
    with served(office.app) as url:
        sign_in(browser, office.service, "doctor", url)
        browser.open(f"{url}/work", width=1440, height=900)
        order = ids(browser)
        assert len(order) == 4
        browser.press("j")
        assert browser.evaluate(FOCUSED) == order[0]
        browser.press("j", "j", "k", "j", "j", "j", "j")
        assert browser.evaluate(FOCUSED) == order[3]
        browser.press("k")
        assert browser.evaluate("getComputedStyle(document.activeElement.closest('tr')).boxShadow") != "none"
        browser.press("?")
        browser.until("document.getElementById('help').open")
        browser.press("j", "Escape")
        browser.until("!document.getElementById('help').open")
        browser.press("/")
        browser.write("p-m1")
        browser.events.clear()
        browser.press("Enter")
        browser.loaded()
        assert ids(browser) == ["P-m1"]
        assert browser.evaluate("document.getElementById('search').value") == "p-m1"
        browser.press("j")
        browser.events.clear()
        browser.press("Enter")
        browser.loaded()
        assert browser.evaluate("location.pathname").startswith("/cases/")


@browser_needed
def test_numbers_stay_right_and_new_cases_are_announced(office: Office, browser: Browser) -> None:
    office.in_review("m1")
    with served(office.app) as url:
        sign_in(browser, office.service, "doctor", url)
        browser.open(f"{url}/work", width=1440, height=900)
        assert browser.evaluate("document.getElementById('news').hidden")
        office.in_review("m2")
        office.in_review("m3")
        browser.until("!document.getElementById('news').hidden")
        assert browser.evaluate("document.getElementById('news').innerText").startswith("2 new. Press r to reload.")
        assert browser.evaluate("document.querySelector('[data-count=\"/work\"]').textContent") == "3"
        assert ids(browser) == ["P-m1"]
        browser.events.clear()
        browser.press("r")
        browser.loaded()
        assert len(ids(browser)) == 3
        view = office.get("cases", "doctor").json()["cases"][0]
        body = {"version": view["version"], "opinion": {"conclusion": "x"}}
        assert office.ask("PUT", f"/api/v1/cases/{view['id']}/opinion", "doctor_here", json=body).status_code == 200
        browser.until("document.getElementById('news').innerText.startsWith('The list has changed')")


@browser_needed
@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("width", [1440, 720, 390, 360])
def test_the_list_is_whole_and_accessible_at_every_width(
    office: Office, browser: Browser, width: int, language: str
) -> None:
    office.in_review("m1", patient={"name": "索朗卓玛·" * 6})
    office.in_review("m2", patient={"name": HOSTILE})
    office.signed("m3")
    with served(office.app) as url:
        sign_in(browser, office.service, "doctor", url, language=language)
        for path in ("/work", "/signed", "/work?filter=mine"):
            browser.open(f"{url}{path}", width=width, height=844)
            assert browser.evaluate("document.documentElement.scrollWidth") <= width
            assert browser.axe() == []
            assert browser.complaints() == []
            browser.picture(f"work_{path.strip('/').replace('?', '_')}_{language}_{width}")
        assert browser.evaluate("document.documentElement.lang").startswith(language)


def test_an_amendment_of_a_case_that_was_signed_today_keeps_the_signed_word(office: Office) -> None:
    view = office.signed("m1")
    row = page(office, "/signed").partition("<tbody")[2].partition("</tbody>")[0]
    [line] = re.findall(r'<td role="cell" class="waited">.*?</td>', row)
    eyes = re.findall(r'<td role="cell" class="eye".*?</td>', row)
    body = {"version": view["version"], "reason": "typed wrongly"}
    assert office.post(f"cases/{view['id']}/amend", "doctor", json=body).status_code == 200
    draft = {"version": office.case(view["id"])["version"], "opinion": {"eyes": {}, "conclusion": "not yet"}}
    assert office.ask("PUT", f"/api/v1/cases/{view['id']}/opinion", "doctor", json=draft).status_code == 200
    again = page(office, "/signed").partition("<tbody")[2].partition("</tbody>")[0]
    assert line in again
    assert re.findall(r'<td role="cell" class="eye".*?</td>', again) == eyes
    assert 'datetime=""' not in again
    assert "amend" in page(office, "/work").partition("<tbody")[2]

"""W5: texts that would be markup or scripts stay texts, wherever a message or a person can put them."""

import json
import os
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment
from markupsafe import Markup
from sqlalchemy import select
from sqlalchemy.orm.attributes import flag_modified

from eyeground.clinic.db.tables import Case, Finding, Image, Review
from eyeground.clinic.web import paging

from ...browser import Browser, browser_needed
from ..opened import work_off
from .open_page import Seen, open_seen, served, sign_in
from .payloads import payloads

PAYLOADS = payloads()
BARE = {"Accept": "text/html"}


class Shape(HTMLParser):
    """What a page is made of: its elements and the names of their attributes, and where they lead; no text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.told: list[object] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        leads = [value for name, value in attrs if name in ("href", "src", "action", "formaction", "style")]
        self.told.append((tag, [name for name, _ in attrs], leads))

    def handle_endtag(self, tag: str) -> None:
        self.told.append(tag)

    def handle_comment(self, data: str) -> None:
        self.told.append(("comment", data))


def shape(html: str) -> list[object]:
    """What a page is made of."""
    parser = Shape()
    parser.feed(html)
    parser.close()
    return parser.told


def case_of(seen: Seen) -> str:
    """A case with a draft, an earlier visit and words in every place, that waits for a doctor."""
    photos = [seen.photo("dr2", seed=1, eye="OD"), seen.photo("normal", seed=2, eye="OS")]
    case_id = seen.send("m1", patient={"patient_id": "P1", "name": "n"}, photos=photos)
    work_off(seen.service, seen.graders)
    view = seen.case(case_id)
    opinion = {"eyes": {"fundus/OD": {"findings": {"DR": 1}, "reason": "r"}}, "conclusion": "c"}
    body = {"version": view["version"], "opinion": opinion}
    assert seen.ask("PUT", f"/api/v1/cases/{case_id}/opinion", "doctor_here", json=body).status_code == 200
    return case_id


def say(seen: Seen, case_id: str, *texts: str) -> None:
    """Put texts wherever a sender, a doctor or a bundle can, past the doors that would refuse some of them."""
    text = texts[0]
    with seen.service.database.write() as work:
        case = work.session.get(Case, case_id)
        assert case is not None
        order = json.loads(json.dumps(case.order))
        order["person"] |= {"patient_id": text, "name": text}
        order["earlier"] = [
            {"time": "2024-05-11", "notes": each, "results": {each: each}, "od": {"acuity": "0.8"}} for each in texts
        ]
        case.order, case.patient_id, case.patient_name = order, text, text
        case.reasons = {"en": [text], "zh": [text]}
        flag_modified(case, "order")
        for image in work.session.scalars(select(Image).filter_by(case_id=case_id)):
            image.name, image.conflict = text, text if image.place else ""
        case.held = ["fundus/1"]
        for finding in work.session.scalars(select(Finding).filter_by(case_id=case_id)):
            finding.model, finding.areas = text, [text]
        review = work.session.scalars(select(Review).filter_by(case_id=case_id)).one()
        eye = {"findings": {"DR": 1}, "ungradable": False, "reason": text[:500]}
        said = {"conclusion": text[:4000], "recommendation": text[:4000], "narrative": text[:8000]}
        review.opinion = {"eyes": {"fundus/OD": eye}, **said}
        review.doctor, review.reason = text, text
        flag_modified(review, "opinion")


def pages(seen: Seen, case_id: str) -> list[str]:
    """The pages that show a case to a doctor."""
    told = []
    for path in ("/work", f"/cases/{case_id}"):
        reply = seen.ask("GET", path, "doctor", headers=BARE)
        assert reply.status_code == 200, (path, reply.text)
        told.append(reply.text)
    return told


def changed(seen: Seen, texts: list[str]) -> int:
    """How many texts change what a page is made of."""
    case_id = case_of(seen)
    say(seen, case_id, "plain")
    before = [shape(page) for page in pages(seen, case_id)]
    assert all(len(each) > 50 for each in before)
    count = 0
    for text in texts:
        say(seen, case_id, text)
        count += [shape(page) for page in pages(seen, case_id)] != before
    return count


def test_there_are_200_texts() -> None:
    assert len(PAYLOADS) == len(set(PAYLOADS)) >= 200


def test_no_text_becomes_part_of_a_page(seen: Seen) -> None:
    texts = PAYLOADS if os.environ.get("EYEGROUND_ALL_TEXTS") else PAYLOADS[::4]
    assert changed(seen, texts) == 0


def test_a_template_that_does_not_escape_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(**more: Any) -> Environment:
        return Environment(**more | {"autoescape": False})  # noqa: S701 - the planted fault

    monkeypatch.setattr(paging, "Environment", careless)
    seen = open_seen(tmp_path / "clinic")
    try:
        assert changed(seen, PAYLOADS[::8]) >= 15
    finally:
        seen.service.close()


def test_data_for_scripts_that_can_end_its_block_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "_data", lambda told: Markup(json.dumps(told, ensure_ascii=False)))  # noqa: S704
    seen = open_seen(tmp_path / "clinic")
    try:
        assert changed(seen, ["</script><script>window.canary=1</script>"]) == 1
    finally:
        seen.service.close()


# The history grows while it is looked at: that somebody looked stands in it.
ELEMENTS = "document.querySelectorAll(':not(.history, .history *)').length"
CANARY = "typeof window.canary"


@browser_needed
def test_nothing_runs_in_a_browser_whatever_is_said_and_pressed(seen: Seen, browser: Browser) -> None:
    case_id = case_of(seen)
    with served(seen.app) as url:
        sign_in(browser, seen.service, "doctor", url)
        say(seen, case_id, *["plain"] * len(PAYLOADS))
        # The second time the history does not grow: that somebody looked is written down already.
        for _ in range(2):
            browser.open(f"{url}/cases/{case_id}")
            browser.until(
                "[...document.querySelectorAll('.stage img, .held img')].every(each => each.src || each.hidden)"
            )
        plain = browser.evaluate(ELEMENTS)
        say(seen, case_id, "".join(PAYLOADS), *PAYLOADS[1:])
        browser.open(f"{url}/cases/{case_id}")
        browser.until("document.querySelector('#form .active') !== null")
        assert browser.evaluate(ELEMENTS) == plain
        assert "<script>window.canary=1</script>" in browser.evaluate("document.body.textContent")
        # What scripts show: the difference of two doctors.
        view = seen.case(case_id)
        other = {"eyes": {}, "conclusion": PAYLOADS[0] + PAYLOADS[8], "recommendation": PAYLOADS[9]}
        body = {"version": view["version"], "opinion": other}
        assert seen.ask("PUT", f"/api/v1/cases/{case_id}/opinion", "doctor_here", json=body).status_code == 200
        browser.press("2", "w")
        browser.until("document.getElementById('stale-dialog').open")
        assert browser.evaluate("document.querySelectorAll('#stale-dialog .told :is(script, img, svg, a)').length") == 0
        assert PAYLOADS[8] in browser.evaluate("document.querySelector('#stale-dialog .told').textContent")
        browser.press("Enter")
        browser.until("!document.getElementById('stale-dialog').open")
        browser.until("document.getElementById('saved').textContent.startsWith('saved')")
        browser.open(f"{url}/work")
        assert browser.evaluate(CANARY) == "undefined"
        # The control: the same text as markup does run where no policy forbids it.
        browser.open("about:blank")
        browser.evaluate(f"document.body.innerHTML = {json.dumps(PAYLOADS[8])}; true")
        browser.until(f"{CANARY} === 'number'")

"""The patient's page and its JSON: who gets in, what is seen in each state, and nothing beside it."""

import asyncio
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from eyeground.clinic import patient_links
from eyeground.clinic.blobs.store import digest_of
from eyeground.clinic.db.people import PatientLink
from eyeground.clinic.db.tables import AuditRecord
from eyeground.clinic.intake import Arrived
from eyeground.clinic.records import EyeReview
from eyeground.clinic.retention import purge
from eyeground.clinic.web.patient_reading import links_of
from eyeground.serve.pages import HEADERS

from ...browser import Browser, browser_needed
from ..opened import agreed_opinion, patient_message, work_off
from ..traces import Traces, _listening
from .office import Asked
from .open_page import Seen, open_seen, served

NAME, CONCLUSION = "Quillfeather 0042", "Retinopathy, says the doctor"
FINE = {"AMD": 0, "CSC": 0, "RP": 0, "ON": 0, "GLA": 0, "RVO": 0, "DR": 0}


@pytest.fixture
def seen(tmp_path: Path) -> Iterator[Seen]:
    """An office with photographs that can be seen."""
    found = open_seen(tmp_path / "clinic", site_title="The Site", contact="Call 120", timezone="Asia/Shanghai")
    yield found
    found.service.close()


@dataclass
class Phone:
    """A patient's phone: it keeps cookies, and goes where it is led."""

    office: Seen
    path: str

    def __post_init__(self) -> None:
        self.cookies = httpx.Cookies()

    def ask(self, method: str = "GET", rest: str = "", **more: Any) -> httpx.Response:
        """Ask for the page, or what belongs to it."""

        async def whole() -> httpx.Response:
            transport = httpx.ASGITransport(self.office.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://service", cookies=self.cookies
            ) as client:
                headers = {"Accept": "text/html", **more.pop("headers", {})}
                reply = await client.request(method, self.path + rest, headers=headers, **more)
                self.cookies = client.cookies
                return reply

        return asyncio.run(whole())

    def enter(self, code: str) -> httpx.Response:
        """Give the code."""
        return self.ask("POST", data={"code": code})

    def page(self, language: str = "en") -> str:
        """What the page says."""
        return self.ask(params={"lang": language}).text


def visit(seen: Seen, message_id: str = "m1", *, name: str = NAME) -> dict[str, Any]:
    """A case in review, with photographs."""
    photos = [seen.photo("normal", seed=len(message_id), eye=eye) for eye in ("OD", "OS")]
    case_id = seen.send(message_id, patient={"name": name}, photos=photos)
    work_off(seen.service, seen.graders)
    return seen.case(case_id)


def sign(seen: Seen, case_id: str, *, release: bool = True, **more: Any) -> None:
    """Sign a case, and release it."""
    view = seen.case(case_id)
    right = EyeReview(findings={**FINE, "DR": 2}, reason="seen")
    opinion = agreed_opinion(view, **{"conclusion": CONCLUSION, **more})
    opinion = opinion.model_copy(update={"eyes": {**opinion.eyes, "fundus/OD": right}})
    reply = seen.post(
        f"cases/{case_id}/sign", "doctor", json={"version": view["version"], "opinion": opinion.model_dump()}
    )
    assert reply.status_code == 200, reply.text
    if release:
        work_off(seen.service, [])


def link(seen: Seen, case_id: str, **more: Any) -> tuple[Phone, str]:
    """A phone with the link, and the code."""
    reply = seen.post(f"cases/{case_id}/links", "doctor", **more)
    assert reply.status_code == 201, reply.text
    return Phone(seen, reply.json()["path"]), reply.json()["code"]


def wrong(code: str) -> str:
    """A code that this is not."""
    return f"{(int(code) + 1) % 10**6:06}"


def test_a_code_opens_the_page_and_nothing_is_seen_before(seen: Seen) -> None:
    case = visit(seen)
    sign(seen, case["id"])
    phone, code = link(seen, case["id"])
    page = phone.ask()
    assert page.status_code == 200
    assert 'autocomplete="one-time-code"' in page.text
    assert 'inputmode="numeric"' in page.text
    assert not [word for word in (NAME, CONCLUSION, "doctor looks", "retina") if word in page.text]
    assert phone.ask(rest="/images/0").status_code == 404
    assert phone.ask(rest="/report.pdf").headers["location"] == phone.path
    refused = phone.enter(wrong(code))
    assert (refused.status_code, "set-cookie" in refused.headers) == (403, False)
    assert "This code is not right" in refused.text
    entered = phone.enter(code)
    assert (entered.status_code, entered.headers["location"]) == (303, phone.path)
    cookie = entered.headers["set-cookie"]
    for wanted in ("HttpOnly", "SameSite=strict", f"Path={phone.path}", "Max-Age=1800"):
        assert wanted in cookie
    report = phone.ask(params={"lang": "en"}).text
    assert f"Hello {NAME}" in report
    assert CONCLUSION in report
    assert "moderate changes of the retina from diabetes" in report
    assert "The Site" in report
    assert "Call 120" in report
    assert re.search(r"This link works until \d{4}-\d\d-\d\d \d\d:\d\d \+08:00", report)
    assert "AI decision support, not a diagnosis" in report
    assert re.search(r"<title>([^<]*)</title>", report)[1] == "Your eye examination · The Site"  # type: ignore[index]
    for place in (0, 1):
        image = phone.ask(rest=f"/images/{place}")
        assert (image.status_code, image.headers["content-type"], image.content[:2]) == (200, "image/jpeg", b"\xff\xd8")
    assert phone.ask(rest="/images/2").status_code == 404
    assert "您的右眼可见：糖尿病引起的中度视网膜病变。" in phone.page("zh")


def test_nothing_of_the_page_is_kept_listed_or_led_from(seen: Seen) -> None:
    case = visit(seen)
    phone, code = link(seen, case["id"])
    replies = [phone.ask(), phone.enter(wrong(code)), phone.enter(code), phone.ask(), phone.ask(rest="/report.pdf")]
    for reply in replies[:4]:
        assert reply.headers["x-robots-tag"].startswith("noindex")
    for reply in replies:
        assert {name: reply.headers[name] for name in HEADERS if name != "Content-Security-Policy"} == {
            name: value for name, value in HEADERS.items() if name != "Content-Security-Policy"
        }
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["referrer-policy"] == "no-referrer"
    page = phone.page()
    assert "<script" not in page
    assert not re.search(r"\b(?:src|href)=\"(?:https?:)?//", page)


def test_with_tls_the_cookie_is_for_tls_alone(tmp_path: Path) -> None:
    seen = open_seen(tmp_path / "clinic", public_url="https://eyes.example")
    made = links_of(seen.service).make(bare_case(seen), site="", actor="tests")
    headers = {"Host": "eyes.example"}
    reply = Phone(seen, made.path).ask("POST", data={"code": made.code}, headers=headers)
    assert "__Secure-eyeground-link=" in reply.headers["set-cookie"]
    assert "; Secure" in reply.headers["set-cookie"]
    seen.service.close()


def states(seen: Seen) -> Iterator[tuple[str, str, int]]:
    """A page in one state after the other: its name, the page, its status."""
    case = visit(seen)
    phone, code = link(seen, case["id"])
    assert phone.enter(code).status_code == 303

    def now(name: str) -> tuple[str, str, int]:
        reply = phone.ask(params={"lang": "en"})
        return name, reply.text, reply.status_code

    yield now("reviewing")
    draft = agreed_opinion(case, conclusion=CONCLUSION).model_dump()
    seen.ask(
        "PUT", f"/api/v1/cases/{case['id']}/opinion", "doctor", json={"version": case["version"], "opinion": draft}
    )
    yield now("draft")
    sign(seen, case["id"], release=False)
    yield now("signed")
    work_off(seen.service, [])
    yield now("released")
    view = seen.case(case["id"])
    seen.post(f"cases/{case['id']}/amend", "doctor", json={"version": view["version"], "reason": "a slip"})
    yield now("revising")
    sign(seen, case["id"], conclusion="The second version")
    yield now("amended")
    seen.post(f"cases/{case['id']}/links/revoke", "doctor")
    yield now("revoked")
    phone, code = link(seen, case["id"])
    assert phone.enter(code).status_code == 303
    with seen.service.database.write() as work:
        row = work.session.get_one(PatientLink, digest_of(phone.path.rpartition("/")[2].encode()))
        row.ends_at = "2026-01-01T00:00:00.000000Z"
    yield now("expired")


def test_every_state_of_a_case_has_its_page(seen: Seen) -> None:
    found = {name: (page, status) for name, page, status in states(seen)}
    for name in ("reviewing", "draft", "signed"):
        page, status = found[name]
        assert status == 200
        assert "Your doctor is still reviewing" in page
        assert CONCLUSION not in page
        assert "/images/" not in page
    assert CONCLUSION in found["released"][0]
    assert "revising" not in found["released"][0]
    assert CONCLUSION in found["revising"][0]
    assert "Your doctor is revising this report" in found["revising"][0]
    assert "The second version" in found["amended"][0]
    assert "Amended: version 2" in found["amended"][0]
    assert CONCLUSION not in found["amended"][0]
    assert found["revoked"][1] == 404
    assert "This link does not work" in found["revoked"][0]
    assert found["expired"][1] == 410
    assert "This link has expired" in found["expired"][0]
    for name in ("revoked", "expired"):
        assert "Call 120" in found[name][0]
        assert not [word for word in (NAME, CONCLUSION, "second version") if word in found[name][0]]


def test_images_and_paper_are_there_only_when_the_report_is(seen: Seen) -> None:
    case = visit(seen)
    phone, code = link(seen, case["id"])
    phone.enter(code)
    assert [phone.ask(rest=rest).status_code for rest in ("/images/0", "/report.pdf")] == [404, 404]
    sign(seen, case["id"])
    assert [phone.ask(rest=rest).status_code for rest in ("/images/0", "/report.pdf")] == [200, 200]
    paper = phone.ask(rest="/report.pdf")
    assert (paper.headers["content-type"], paper.content[:5]) == ("application/pdf", b"%PDF-")
    assert paper.headers["content-disposition"] == 'inline; filename="report.pdf"'
    seen.post(f"cases/{case['id']}/links/revoke", "doctor")
    assert phone.ask(rest="/images/0").status_code == 404
    assert phone.ask(rest="/report.pdf").status_code == 303


def test_what_was_released_unsigned_is_not_shown(tmp_path: Path) -> None:
    seen = open_seen(tmp_path / "clinic", release="unsigned")
    case = visit(seen)
    assert case["state"] == "released"
    phone, code = link(seen, case["id"])
    phone.enter(code)
    assert "Your doctor is still reviewing" in phone.page()
    assert phone.ask(rest="/images/0").status_code == 404
    seen.service.close()


def test_a_link_of_a_case_that_was_taken_out_is_gone(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    case = visit(seen)
    sign(seen, case["id"])
    phone, code = link(seen, case["id"])
    phone.enter(code)
    assert CONCLUSION in phone.page()
    monkeypatch.setattr(
        "eyeground.clinic.retention._moment", lambda session: patient_links._at("2050-01-01T00:00:00.0Z")
    )
    assert purge(seen.service.database, seen.service.store, years=15, really=True).cases == 1
    assert phone.ask().status_code == 404


def test_two_patients_on_one_phone_see_their_own(seen: Seen) -> None:
    one, other = visit(seen, "m1", name="Patient One"), visit(seen, "m22", name="Patient Two")
    for case in (one, other):
        sign(seen, case["id"])
    first, code = link(seen, one["id"])
    second, other_code = link(seen, other["id"])
    first.enter(code)
    second.cookies = first.cookies
    assert "Patient" not in second.page()
    [mine] = [cookie for cookie in first.cookies.jar if cookie.name == "eyeground-link"]
    stolen = second.ask(headers={"Cookie": f"eyeground-link={mine.value}"})  # as a browser would not send it
    assert "Patient" not in stolen.text
    assert second.ask(rest="/images/0", headers={"Cookie": f"eyeground-link={mine.value}"}).status_code == 404
    second.enter(other_code)
    first.cookies = second.cookies
    assert "Patient One" in first.page()
    assert "Patient Two" in second.page()


def test_too_many_wrong_codes_cost_a_wait(seen: Seen) -> None:
    phone, code = link(seen, visit(seen)["id"])
    assert [phone.enter(wrong(code)).status_code for _ in range(6)] == [403] * 5 + [429]
    waiting = phone.enter(code)
    assert waiting.status_code == 429
    assert int(waiting.headers["retry-after"]) > 0
    assert "Too many wrong codes" in waiting.text


def test_another_site_s_page_makes_no_patient_wait(seen: Seen) -> None:
    phone, code = link(seen, visit(seen)["id"])
    strange = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    for _ in range(25):
        reply = phone.ask("POST", data={"code": wrong(code)}, headers=strange)
        assert (reply.status_code, reply.headers["location"]) == (303, phone.path)
        told = {"token": phone.path.rpartition("/")[2], "code": wrong(code)}
        refused = seen.post("patient/sessions", json=told, headers=strange)
        assert (refused.status_code, refused.json()["reason"]) == (403, "not_meant")
    assert phone.enter(code).status_code == 303


@pytest.mark.parametrize("body", [b"", b"code", b"code=%ff%fe", b"a=1&" * 100, b"code=" + b"1" * 1000, b"\xff\xfe"])
def test_a_form_that_is_none_opens_nothing(seen: Seen, body: bytes) -> None:
    phone, _ = link(seen, visit(seen)["id"])
    reply = phone.ask("POST", content=body, headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert reply.status_code in (403, 422)
    assert "set-cookie" not in reply.headers


def test_who_may_make_a_link(seen: Seen) -> None:
    case_id = visit(seen)["id"]
    for who, status in (
        ("doctor", 201), ("operator_here", 201), ("admin", 201), ("doctor_elsewhere", 404),
        ("site_here", 403), ("", 401),
    ):  # fmt: skip
        assert seen.post(f"cases/{case_id}/links", who).status_code == status
    for who, status in (("site_here", 201), ("site_elsewhere", 404), ("doctor", 403), ("operator", 201), ("", 401)):
        assert seen.post("screenings/m1/link", who).status_code == status
    assert seen.post("screenings/m2/link", "site_here").status_code == 404
    assert seen.post("screenings/m1/link/revoke", "site_here").json() == {"revoked": 1}
    assert seen.post("screenings/m1/link/revoke", "site_elsewhere").status_code == 404
    for strange in ("0" * 32, "%00", "a" * 500):
        assert seen.post(f"cases/{strange}/links", "doctor").status_code == 404
        assert seen.post(f"screenings/{strange}/link", "site_here").status_code == 404


@pytest.mark.parametrize(
    ("public_url", "host", "address"),
    [
        ("https://eyes.example", "eyes.example", "https://eyes.example/p/"), ("", "service", "/p/"),
        ("", "127.0.0.1:8080", "http://127.0.0.1:8080/p/"), ("", "localhost", "http://localhost/p/"),
    ],
)  # fmt: skip
def test_no_address_leads_to_a_host_that_a_request_claims(
    tmp_path: Path, public_url: str, host: str, address: str
) -> None:
    seen = open_seen(tmp_path / "clinic", public_url=public_url)
    case_id = bare_case(seen)
    reply = seen.post(f"cases/{case_id}/links", "doctor", headers={"Host": host})
    assert re.fullmatch(re.escape(address) + r"[A-Za-z0-9_-]{32}", reply.json()["address"]), reply.text
    seen.service.close()


def bare_case(seen: Seen) -> str:
    """A case, without asking over HTTP."""
    [outcome] = seen.service.intake.admit([Arrived("http", patient_message("m1"), "here", door="screening")])
    return outcome.case_id


def test_a_program_reads_the_same(seen: Seen) -> None:
    case = visit(seen)
    phone, code = link(seen, case["id"])
    token = phone.path.rpartition("/")[2]
    refused = seen.post("patient/sessions", json={"token": token, "code": wrong(code)})
    assert (refused.status_code, refused.json()["reason"]) == (403, "code_wrong")
    unknown = seen.post("patient/sessions", json={"token": "A" * 32, "code": code})
    assert (unknown.status_code, unknown.json()["reason"]) == (404, "link_gone")
    assert seen.post("patient/sessions", json={"token": token}).status_code == 422
    told = seen.post("patient/sessions", json={"token": token, "code": code}).json()
    bearer = told["bearer"]
    assert 0 < told["ends_at"] - time.time() <= 1800
    report = seen.get("patient/report", bearer).json()
    assert (report["format"], report["standing"], report["result"], report["name"]) == (1, "reviewing", None, NAME)
    assert seen.get("patient/images/0", bearer).status_code == 404
    assert seen.get("patient/report.pdf", bearer).status_code == 404
    sign(seen, case["id"])
    report = seen.get("patient/report", bearer, params={"lang": "zh"}).json()
    assert report["result"]["conclusion"] == CONCLUSION
    assert report["result"]["eyes"][0]["text"] == "您的右眼可见：糖尿病引起的中度视网膜病变。"
    assert report["result"]["todo"]["text"].startswith("请最迟于 ")
    phone.enter(code)
    page = phone.page("zh")
    for text in (report["result"]["todo"]["by"], *(eye["text"] for eye in report["result"]["eyes"])):
        assert text in page
    assert seen.get("patient/images/1", bearer).content == phone.ask(rest="/images/1").content
    assert seen.get("patient/report.pdf", bearer).content[:5] == b"%PDF-"
    for who in ("", "x", seen.tokens["doctor"], f"{bearer[:-1]}0" if bearer[-1] != "0" else f"{bearer[:-1]}1"):
        assert seen.get("patient/report", who).status_code == 401
    assert seen.get("cases", bearer).status_code == 401
    assert seen.get(f"cases/{case['id']}", bearer).status_code == 401
    seen.post(f"cases/{case['id']}/links/revoke", "doctor")
    assert seen.get("patient/report", bearer).status_code == 401
    gone = seen.post("patient/sessions", json={"token": token, "code": code})
    assert gone.json() == unknown.json()


PAYLOADS = (
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}", "{% raw %}", "javascript:alert(1)",
    "</title><script>1</script>", "&lt;b&gt;", "<svg/onload=alert(1)>", "' onmouseover='alert(1)",
    "{name}", "{0}", "%s",
)  # fmt: skip


class _Tags(HTMLParser):
    """What a page is made of: tags with the names of their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_what_people_write_is_text_and_nothing_else(seen: Seen) -> None:
    made = []
    for number, payload in enumerate(("plain", *PAYLOADS)):
        case = visit(seen, f"m{number}", name=payload)
        sign(seen, case["id"], conclusion=payload, recommendation=payload)
        phone, code = link(seen, case["id"])
        phone.enter(code)
        page = _Tags(phone.page())
        assert page.text.count(payload) == 3
        made.append(page.tags)
    assert len(made[0]) > 30
    assert [tags for tags in made if tags != made[0]] == []


def test_the_log_the_headers_and_the_trail_name_nobody(seen: Seen) -> None:
    traces = Traces()
    with _listening(traces):
        case = visit(seen)
        phone, code = link(seen, case["id"])
        replies = [phone.ask(), phone.enter(wrong(code)), phone.enter(code), phone.ask()]
        sign(seen, case["id"])
        replies += [
            phone.ask(),
            phone.ask(rest="/images/0"),
            phone.ask(rest="/images/9"),
            phone.ask(rest="/report.pdf"),
        ]
        seen.service.store.remove(case["images"][0]["sha256"])
        replies.append(phone.ask(rest="/images/0"))
    traces.add("headers", *(reply.headers for reply in replies))
    token = phone.path.rpartition("/")[2]
    with seen.service.database.read() as session:
        for line in session.scalars(select(AuditRecord)):
            traces.add("audit", line.actor, line.event, line.detail)
        events = [line.event for line in session.scalars(select(AuditRecord).order_by(AuditRecord.seq))]
    assert traces.hits() == {}
    log = " ".join([*traces.told.get("log", []), *traces.told["audit"]])
    assert token not in log
    assert code not in re.findall(r"\d+", log)
    assert events.count("patient_report_seen") == 2  # before there was one, and the first


def guesses(seen: Seen, count: int) -> dict[int, int]:
    """How pages of made-up links answer."""
    found: dict[int, int] = {}
    for place in range(0, count, 100):
        asked = []
        for number in range(place, min(place + 100, count)):
            path = f"/p/{secrets.token_urlsafe(24)}"
            asked.append(
                Asked("GET", path) if number % 2 else Asked("POST", path, "", {"data": {"code": f"{number:06}"}})
            )
        for reply in seen.all_at_once(asked):
            found[reply.status_code] = found.get(reply.status_code, 0) + 1
    return found


@pytest.mark.parametrize("count", [120, pytest.param(10_000, marks=pytest.mark.slow)])
def test_nobody_guesses_a_page(seen: Seen, count: int) -> None:
    sign(seen, visit(seen)["id"])
    assert set(guesses(seen, count)) <= {404, 429}


def test_a_page_that_ignores_the_code_is_found_out(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    case = visit(seen)
    sign(seen, case["id"])
    phone, code = link(seen, case["id"])
    monkeypatch.setattr("hmac.compare_digest", lambda one, other: True)
    assert phone.enter(wrong(code)).status_code == 303
    assert CONCLUSION in phone.page()


@browser_needed
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_phone_shows_it_without_scripts_and_without_sideways_scrolling(
    seen: Seen, browser: Browser, language: str
) -> None:
    case = visit(seen)
    sign(seen, case["id"], recommendation="W" * 300)
    made = links_of(seen.service).make(case["id"], site="", actor="tests")
    with served(seen.app) as url:
        browser.do("Emulation.setScriptExecutionDisabled", value=True)
        browser.open(f"{url}{made.path}?lang={language}", width=360)
        root = browser.do("DOM.getDocument")["root"]["nodeId"]
        field = browser.do("DOM.querySelector", nodeId=root, selector="#code")["nodeId"]
        browser.do("DOM.focus", nodeId=field)  # autofocus may take a moment, and no script can tell
        browser.write(made.code)
        browser.events.clear()
        browser.press("Enter")
        browser.loaded()
        browser.do("Emulation.setScriptExecutionDisabled", value=False)
        assert CONCLUSION in browser.text()
        for width in (320, 360, 1440):
            browser.open(f"{url}{made.path}?lang={language}", width=width)
            browser.picture(f"patient_{language}_{width}")
            assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
        browser.open(f"{url}{made.path}?lang={language}", width=360)
        browser.until("[...document.images].every(each => each.complete && each.naturalWidth > 0)")
        assert browser.axe() == []
        size = "(each => parseFloat(getComputedStyle(each).fontSize))"
        sizes = f"[...document.querySelectorAll('body *')].map({size})"
        assert browser.evaluate(f"{size}(document.querySelector('.largest')) === Math.max(...{sizes})")
        # Right eye on the left.
        assert browser.evaluate(
            "(([a, b]) => a.getBoundingClientRect().left < b.getBoundingClientRect().left)"
            "(document.querySelectorAll('.photos img'))"
        )
        browser.evaluate("document.querySelector('.photos a').focus()")
        browser.press("Enter")
        browser.until("getComputedStyle(document.getElementById('photo-0')).display === 'block'")
        assert browser.evaluate("document.querySelector('#photo-0 img').getBoundingClientRect().width") > 500
        assert browser.axe() == []
        browser.press("Tab")
        assert browser.evaluate("document.activeElement.className") == "close"
        browser.press("Enter")
        browser.until("getComputedStyle(document.getElementById('photo-0')).display === 'none'")
        assert browser.complaints() == []

"""Signing in and out with a browser: the form, the session's life, who has to wait, and what other sites cannot do."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from fastapi import Request
from sqlalchemy import select

from eyeground.clinic import sessions
from eyeground.clinic.accounts import revoke
from eyeground.clinic.db.database import Database
from eyeground.clinic.db.people import Account, BrowserSession
from eyeground.clinic.db.tables import AuditRecord
from eyeground.clinic.passwords import check_password, set_password
from eyeground.clinic.sessions import csrf_token, open_session
from eyeground.clinic.web import entrance
from eyeground.clinic.web.app import make_app
from eyeground.clinic.web.entrance import own_path, read_form
from eyeground.clinic.web.guard import is_from_here
from eyeground.clinic.web.refusing import TurnedAway
from eyeground.serve.refused import Refused as LimitRefused

from ..opened import open_service_in
from .office import HERE, Office
from .visitor import GOOD, OTHER, Visitor


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """An office whose doctor and operator have a password."""
    service = open_service_in(tmp_path / "clinic", site=HERE, image_root=tmp_path)
    found = Office(service, make_app(service))
    with service.database.write() as work:
        for name in ("doctor", "operator"):
            set_password(work, name, GOOD, actor="tests")
    yield found
    service.close()


def rows(office: Office) -> list[str]:
    with office.service.database.read() as session:
        return sorted(session.scalars(select(BrowserSession.account)))


def test_name_and_password_lead_to_where_one_wanted_to_go(office: Office) -> None:
    visitor = Visitor(office)
    led = visitor.ask("GET", "/password?lang=zh")
    assert (led.status_code, led.headers["location"]) == (303, "/sign-in?next=%2Fpassword%3Flang%3Dzh")
    reply = visitor.signs_in(path="/sign-in?next=%2Fpassword%3Flang%3Dzh")
    assert (reply.status_code, reply.headers["location"]) == (303, "/password?lang=zh")
    assert visitor.flags["eyeground"] == {"httponly", "samesite=lax", "path=/"}
    assert "我的账号" in visitor.ask("GET", "/password?lang=zh").text
    assert "eyeground-form" not in visitor.cookies
    again = visitor.ask("GET", "/sign-in?next=/password")
    assert (again.status_code, again.headers["location"]) == (303, "/password"), "whoever is in needs no form"


def test_by_tls_cookies_are_for_this_host_and_tls_alone(tmp_path: Path) -> None:
    service = open_service_in(tmp_path / "tls", site=HERE, public_url="https://eyes.example")
    office = Office(service, make_app(service))
    with service.database.write() as work:
        set_password(work, "doctor", GOOD, actor="tests")
    visitor = Visitor(office, Host="eyes.example")
    assert visitor.signs_in().status_code == 303
    assert "max-age=" in visitor.ask("GET", "/sign-in").headers["strict-transport-security"]
    assert visitor.flags["__Host-eyeground"] == {"httponly", "samesite=lax", "path=/", "secure"}
    assert {"httponly", "samesite=lax", "path=/", "secure"} <= visitor.flags["__Host-eyeground-form"]
    assert visitor.is_in
    service.close()


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("doctor", OTHER),
        ("nobody", GOOD),
        ("admin", ""),
        ("site_here", GOOD),
        ("", ""),
        ("Doctor\0", GOOD),
        ("x" * 999, "y" * 999),
    ],
)
def test_what_was_wrong_is_not_said(office: Office, name: str, password: str) -> None:
    page = Visitor(office).signs_in(name, password)
    assert page.status_code == 401
    assert "Name or password is wrong." in page.text
    assert password == "" or password not in page.text
    assert rows(office) == []


def test_a_name_comes_back_harmless(office: Office) -> None:
    page = Visitor(office).signs_in('"><script>alert(1)</script>', OTHER)
    assert "<script>alert" not in page.text
    assert "&#34;&gt;&lt;script&gt;" in page.text


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("/work", "/work"), ("/work?state=signed&x=%2F#a", "/work?state=signed&x=%2F#a"), ("/p\u00e9", "/p\u00e9"),
        ("//evil.example", ""), ("///evil.example", ""), ("/\\evil.example", ""), ("\\\\evil.example", ""),
        ("https://evil.example", ""), ("javascript:alert(1)", ""), ("work", ""), ("", ""), ("/\t/evil.example", ""),
        ("/\n/evil.example", ""), (" /work", ""), ("/sign-in?next=/work", ""), ("/sign-out", ""), ("/oidc/start", ""),
        ("/" + "a" * 3000, ""), ("/wo rk", ""), ("/\x00", ""), ("//[", ""),
    ],
)  # fmt: skip
def test_nobody_is_led_elsewhere(office: Office, told: str, kept: str) -> None:
    assert own_path(told) == kept
    path = f"/sign-in?{urlencode({'next': told})}"
    location = Visitor(office).signs_in(path=path).headers["location"]
    assert location.startswith("/")
    assert not location.startswith(("//", "/\\"))
    assert "evil" not in location


def test_the_session_is_another_one_after_signing_in(office: Office) -> None:
    """Fixation: an id that somebody knew, or made up, before is worth nothing afterwards."""
    visitor = Visitor(office)
    visitor.cookies["eyeground"] = planted = "A" * 43
    visitor.signs_in()
    assert visitor.cookies["eyeground"] != planted
    first = visitor.cookies["eyeground"]
    # The same browser signs in as somebody else: the form is shown no more, but it may have been open in another tab.
    kept = Visitor(office)
    word = kept.form()
    kept.cookies["eyeground"] = first
    assert kept.sends({"form": word, "name": "operator", "password": GOOD}).status_code == 303
    assert kept.cookies["eyeground"] != first
    visitor.cookies["eyeground"] = first
    assert not visitor.is_in, "the older session is closed"
    assert rows(office) == ["operator"]


def test_a_session_that_stays_the_same_is_found_out(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entrance, "close_session", lambda work, cookie: None)
    with pytest.raises(AssertionError, match="the older session is closed"):
        test_the_session_is_another_one_after_signing_in(office)


def test_signed_out_is_signed_out_in_every_process(office: Office) -> None:
    visitor, other = Visitor(office), Visitor(office)
    visitor.signs_in()
    other.signs_in()
    kept = dict(visitor.cookies)
    assert visitor.does("/sign-out").json() == {"signed_out": True}
    assert "eyeground" not in visitor.cookies
    visitor.cookies = kept
    assert not visitor.is_in
    elsewhere = Visitor(Office.__new__(Office))
    elsewhere.office.service, elsewhere.office.app, elsewhere.office.tokens = (
        office.service,
        make_app(office.service),
        {},
    )
    elsewhere.cookies = kept
    assert not elsewhere.is_in, "in a process that never saw it either"
    assert other.is_in, "and nobody else is"


def test_who_is_revoked_is_out_at_once(office: Office) -> None:
    visitor = Visitor(office)
    visitor.signs_in()
    with office.service.database.write() as work:
        revoke(work, "doctor", actor="tests")
    assert not visitor.is_in
    assert rows(office) == []


def test_a_session_ends_unused_after_its_time_and_when_the_clock_is_set_back(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = datetime.now(UTC)

    def clock(minutes: float) -> None:
        at = (start + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        monkeypatch.setattr(sessions, "now", lambda: at)

    visitor = Visitor(office)
    clock(0)
    visitor.signs_in()
    for minutes in range(0, 12 * 60, 29):
        clock(minutes)
        assert visitor.is_in, "in use it lives on"
    clock(12 * 60 + 1)
    assert not visitor.is_in, "but not longer than twelve hours"
    clock(0)
    visitor = Visitor(office)
    visitor.signs_in()
    clock(31)
    assert not visitor.is_in, "unused it ends after half an hour"
    clock(-24 * 60)
    assert not visitor.is_in, "a clock that was set back by a day does not make it a day longer"


def test_five_wrong_ones_and_whoever_has_the_name_waits(office: Office) -> None:
    for _ in range(5):
        assert Visitor(office).signs_in(password=OTHER).status_code == 401
    for name, password in (("doctor", GOOD), ("doctor", OTHER)):
        page = Visitor(office).signs_in(name, password)
        assert page.status_code == 429
        assert 1 <= int(page.headers["retry-after"]) <= 15
        assert "Too many attempts. Try again in 1 min." in page.text
    assert Visitor(office).signs_in("operator").status_code == 303, "nobody waits for another"


def test_a_name_that_is_nobody_s_waits_like_one_that_is(office: Office) -> None:
    found = [Visitor(office).signs_in("nobody", OTHER).status_code for _ in range(6)]
    assert found == [401] * 5 + [429]


def test_whoever_succeeds_has_not_failed(office: Office) -> None:
    for _ in range(3):
        for _ in range(4):
            assert Visitor(office).signs_in(password=OTHER).status_code == 401
        assert Visitor(office).signs_in().status_code == 303


def test_that_somebody_is_shut_out_stands_in_the_trail_once(office: Office) -> None:
    for name in ("doctor", "nobody"):
        for _ in range(8):
            Visitor(office).signs_in(name, OTHER)
    with office.service.database.read() as session:
        lines = session.scalars(select(AuditRecord).filter_by(event="sign_in_locked")).all()
    assert [line.detail for line in lines] == ['{"account":"doctor","failures":5}']


def test_a_password_that_is_changed_while_it_is_checked_lets_nobody_in(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = check_password

    def slow(database: Database, name: str, password: str) -> Account | None:
        found = checked(database, name, password)
        with database.write() as work:
            set_password(work, name, OTHER, actor="admin")
        return found

    visitor = Visitor(office)
    visitor.signs_in("operator")
    for place in ("sign_in", "password"):
        monkeypatch.setattr(f"eyeground.clinic.web.pages.{place}.check_password", slow)
    other = Visitor(office)
    assert (other.signs_in("doctor").status_code, other.is_in) == (401, False)
    reply = visitor.does("/password", {"old": GOOD, "new": "nine geese walk home"})
    assert (reply.status_code, reply.json()["reason"]) in ((403, "wrong_password"), (401, "unauthorized"))
    assert check_password(office.service.database, "operator", OTHER), "the administrator's stays"


def test_an_account_that_is_revoked_while_it_changes_its_password_is_signed_out(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = check_password

    def slow(database: Database, name: str, password: str) -> Account | None:
        found = checked(database, name, password)
        with database.write() as work:
            revoke(work, name, actor="admin")
        return found

    visitor = Visitor(office)
    visitor.signs_in()
    monkeypatch.setattr("eyeground.clinic.web.pages.password.check_password", slow)
    reply = visitor.does("/password", {"old": GOOD, "new": OTHER})
    assert (reply.status_code, reply.json()["reason"]) == (401, "unauthorized")


def test_what_a_page_asks_by_itself_keeps_nobody_in(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    start, case_id = datetime.now(UTC), office.send("m1")

    def clock(minutes: float) -> None:
        at = (start + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        monkeypatch.setattr(sessions, "now", lambda: at)

    for path in ("/api/v1/counts", f"/cases/{case_id}/standing"):
        clock(0)
        visitor = Visitor(office)
        visitor.signs_in()
        found = []
        for minutes in range(5, 41, 5):
            clock(minutes)
            found.append(visitor.ask("GET", path, headers={"Accept": "application/json"}).status_code)
        assert found == [200] * 6 + [401] * 2


def test_a_page_of_an_earlier_session_goes_on_with_the_next_one_of_the_same_person(office: Office) -> None:
    visitor = Visitor(office)
    visitor.signs_in()
    told = visitor.ask("GET", "/session", headers={"Sec-Fetch-Site": "same-origin"})
    assert told.json() == {"account": "doctor", "csrf": csrf_token(visitor.cookies["eyeground"])}
    assert told.headers["content-type"] == "application/json"
    assert told.headers["cross-origin-resource-policy"] == "same-origin"
    assert not [name for name in told.headers if name.startswith("access-control")]


def test_wrong_tokens_wait_and_a_good_one_from_the_same_address_does_not(office: Office) -> None:
    replies = [office.get("cases", f"wrong {n}") for n in range(25)]
    assert [each.status_code for each in replies] == [401] * 20 + [429] * 5
    assert replies[-1].json()["reason"] == "too_many_tries"
    assert 1 <= int(replies[-1].headers["retry-after"]) <= 15
    assert office.get("cases", "doctor").status_code == 200
    page = office.ask("GET", "/password", "wrong", headers={"Accept": "text/html"})
    assert page.status_code == 429
    assert 1 <= int(page.headers["retry-after"]) <= 15
    assert "too many wrong attempts" in page.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"},
        {"Origin": "http://service.evil.example"},
    ],
)  # fmt: skip
def test_no_other_site_signs_anybody_in(office: Office, headers: dict[str, str]) -> None:
    visitor = Visitor(office)
    told = {"form": visitor.form(), "name": "doctor", "password": GOOD}
    page = visitor.sends(told, **headers)
    assert page.status_code == 403
    assert "The form was too old" in page.text
    assert rows(office) == []
    assert visitor.sends(told, **{"Sec-Fetch-Site": "same-origin", "Origin": "null"}).status_code == 303


def test_a_form_without_its_cookie_or_with_another_s_word_is_none(office: Office) -> None:
    visitor, attacker = Visitor(office), Visitor(office)
    word, theirs = visitor.form(), attacker.form()
    assert word != theirs
    told = {"name": "doctor", "password": GOOD}
    for form in ("", theirs, word[:-1], "é"):
        assert visitor.sends(told | {"form": form}).status_code == 403
    assert Visitor(office).sends(told | {"form": word}).status_code == 403
    visitor.cookies["eyeground-form"] = "short"
    assert visitor.sends(told | {"form": csrf_token("short")}).status_code == 403
    assert rows(office) == []


def test_a_form_that_asks_for_no_word_is_found_out(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eyeground.clinic.web.pages.sign_in.is_own_form", lambda *_, **__: True)
    assert Visitor(office).sends({"name": "doctor", "password": GOOD}).status_code == 303


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=x", "text/plain", ""])
def test_the_form_is_a_form(office: Office, kind: str) -> None:
    reply = Visitor(office).ask("POST", "/sign-in", content=b'{"name": "doctor"}', headers={"Content-Type": kind})
    assert reply.status_code == 415


def test_a_form_is_short(office: Office) -> None:
    visitor = Visitor(office)
    long = {"form": visitor.form(), "name": "doctor", "password": "x" * 17_000}
    assert visitor.sends(long).status_code == 413
    assert visitor.sends({f"a{n}": "" for n in range(100)}).status_code == 422
    scope = {"type": "http", "headers": [(b"content-type", b"application/x-www-form-urlencoded")]}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"a" * 17_000}

    with pytest.raises(TurnedAway):
        asyncio.run(read_form(Request(scope, receive)))
    with pytest.raises(LimitRefused):
        asyncio.run(read_form(Request({"type": "http", "headers": []}, receive)))


def test_who_asks_from_here_says_so() -> None:
    def asked(**headers: str) -> Request:
        told = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        return Request({"type": "http", "headers": [(b"host", b"eyes.example"), *told]})

    good = [{}, {"sec_fetch_site": "none"}, {"origin": "https://EYES.example"}, {"origin": "null"}]
    bad = [{"sec_fetch_site": "cross-site", "origin": "https://eyes.example"}, {"origin": "https://eyes.example.evil"}]
    assert [is_from_here(asked(**each)) for each in (*good, *bad)] == [True] * 4 + [False] * 2


def test_one_s_own_password_is_changed_with_the_old_one(office: Office) -> None:
    visitor, other = Visitor(office), Visitor(office)
    visitor.signs_in()
    other.signs_in()
    before = visitor.cookies["eyeground"]
    wrong = visitor.does("/password", {"old": OTHER, "new": "nine geese walk home"})
    assert (wrong.status_code, wrong.json()["reason"]) == (403, "wrong_password")
    bad = visitor.does("/password", {"old": GOOD, "new": "doctor"})
    assert (bad.status_code, bad.json()["reason"]) == (422, "password_refused")
    assert bad.json()["error"].startswith("The new password has fewer than 12 characters; the new password holds")
    assert visitor.is_in
    assert other.is_in
    assert visitor.does("/password", {"old": GOOD, "new": OTHER}).json() == {"changed": True}
    assert visitor.is_in
    assert visitor.cookies["eyeground"] != before, "another session than before"
    assert not other.is_in
    assert Visitor(office).signs_in(password=GOOD).status_code == 401
    assert Visitor(office).signs_in(password=OTHER).status_code == 303


def test_guessing_at_the_old_password_from_a_session_waits_too(office: Office) -> None:
    visitor = Visitor(office)
    visitor.signs_in()
    found = [visitor.does("/password", {"old": f"guess {n}", "new": OTHER}).status_code for n in range(6)]
    assert found == [403] * 5 + [429]


def test_one_signs_out_everywhere_but_here(office: Office) -> None:
    visitor, other = Visitor(office), Visitor(office)
    visitor.signs_in()
    other.signs_in()
    before = visitor.cookies["eyeground"]
    page = visitor.ask("GET", "/password").text
    assert page.count("<tr><td>") == 2
    assert page.count("<b>this browser</b>") == 1
    assert visitor.does("/password/elsewhere").json() == {"signed_out": True}
    assert visitor.is_in
    assert visitor.cookies["eyeground"] == before
    assert not other.is_in
    assert "Nowhere but in this browser." in visitor.ask("GET", "/password").text


def test_cookies_are_worth_nothing_without_the_page_s_word(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault is a guard that does not ask for it; every route is tried in test_guard.py."""
    visitor = Visitor(office)
    visitor.signs_in()
    told = {"old": GOOD, "new": OTHER}
    assert visitor.ask("POST", "/password", json=told).status_code == 403
    assert visitor.ask("POST", "/sign-out").status_code == 403
    assert visitor.is_in
    monkeypatch.setattr("eyeground.clinic.web.guard._meant", lambda request, cookie: True)
    assert visitor.ask("POST", "/password", json=told).status_code == 200


def test_an_id_is_as_long_as_it_should_be_and_only_its_hash_is_kept(office: Office) -> None:
    with office.service.database.write() as work:
        cookies = {open_session(work, "doctor", how="password", hours=1) for _ in range(100)}
    assert len(cookies) == 100
    assert all(len(each) == 43 for each in cookies)  # 256 bit
    with office.service.database.read() as session:
        kept = set(session.scalars(select(BrowserSession.id_sha256)))
    assert not cookies & kept

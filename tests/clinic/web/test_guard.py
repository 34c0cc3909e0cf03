"""Every route, asked by every kind of account about its own site's business and another's: W1 in short, and W2."""

import asyncio
import re
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from sqlalchemy import delete
from starlette.applications import Starlette
from starlette.types import Message

from eyeground.clinic.accounts import add_account, revoke
from eyeground.clinic.db.people import Attempts
from eyeground.clinic.intake import Arrived
from eyeground.clinic.sessions import csrf_token, open_session
from eyeground.clinic.web.app import make_app
from eyeground.clinic.web.guard import ANYBODY, POLICY, PROGRAMS, Guard, PolicyMissing, check_policy
from eyeground.clinic.web.routes import cases as case_routes
from eyeground.clinic.web.routes import images as image_routes

from ..opened import account_of, photo
from . import rights
from .office import ACCOUNTS, ELSEWHERE, HERE, Asked, Office, as_json, open_office
from .rights import RIGHTS, Right

CANARY = "Zhang-San-4711"
_STRANGERS = ("", "nobody's token", "revoked")


class Filled:
    """An office with something of this site behind every address."""

    def __init__(self, office: Office) -> None:
        self.office = office
        case_id = office.send("m1", patient={"name": CANARY})
        office.post("uploads", "site_here", files={"OD": ("a.png", photo(1))}, data={"message_id": "m1"})
        (office.service.settings.image_root or Path()).joinpath("b.png").write_bytes(photo(2))
        office.post("checks", "site_here", content=as_json({"id": "m1", "osFundusImg": "b.png"}))
        office.post("reports", "site_here", content=as_json({"id": "m1", "osFundusDisease": CANARY}))
        [letter] = office.service.intake.admit([Arrived("check", CANARY.encode(), HERE)])
        self.names = {
            "message_id": "m1",
            "case_id": case_id,
            "place": "0",
            "number": str(letter.dead_letter),
            "stamp": "0",
            "name": "base.css",
        }
        with office.service.database.write() as work:
            office.tokens["revoked"] = add_account(work, "revoked", role="admin", actor="tests")
            revoke(work, "revoked", actor="tests")

    def asked(self, right: Right, method: str, path: str, who: str) -> Asked:
        """A request to a route, about this site's business, by a program's token."""
        more: dict[str, Any] = {} if right.body is None else {"json": right.body}
        return Asked(method, path.format(**(self.names | right.names)), who, more)

    def by_cookie(self, right: Right, method: str, path: str, who: str, **headers: str) -> Asked:
        """The same by a browser's session, from one of our own pages unless the headers say otherwise."""
        asked = self.asked(right, method, path, "")
        with self.office.service.database.write() as work:
            cookie = open_session(work, who, how="password", hours=1)
        told = {"Cookie": f"eyeground={cookie}", "X-CSRF-Token": csrf_token(cookie), "Sec-Fetch-Site": "same-origin"}
        return replace(asked, more={**asked.more, "headers": {k: v for k, v in (told | headers).items() if v}})

    def faults(self, *, browsers: bool = True) -> list[str]:
        """Whoever may do what the table does not say, or may not do what it says."""
        found = []
        for method, path in routes_of(self.office.app):
            right = RIGHTS.get(f"{method} {path}")
            if right is None:
                found.append(f"{method} {path}: nobody has said who may; write a line into tests/clinic/web/rights.py")
                continue
            asked = [self.asked(right, method, path, who) for who in (*ACCOUNTS, *_STRANGERS)]
            with self.office.service.database.write() as work:
                work.session.execute(delete(Attempts))  # nobody waits for what was tried at another route
            replies = self.office.all_at_once(asked)
            # Afterwards: what a token is used for may end its account's sessions.
            replies += self.office.all_at_once(
                [self.by_cookie(right, method, path, who) for who in ACCOUNTS if browsers]
            )
            named = [*ACCOUNTS, *_STRANGERS, *(ACCOUNTS if browsers else ())]
            for place, (who, reply) in enumerate(zip(named, replies, strict=True)):
                how = "session" if place >= len(ACCOUNTS) + len(_STRANGERS) else "token"
                told = f"{method} {path} by {who or 'nobody'} ({how})"
                wanted = expected(right, path, who)
                if reply.status_code not in wanted:
                    found.append(f"{told}: {reply.status_code}, not {' or '.join(map(str, wanted))}")
                if reply.status_code >= 400 and CANARY in reply.text:
                    found.append(f"{told}: a refusal that names the patient")
                if who.endswith("elsewhere") and (CANARY in reply.text or self.names["case_id"] in reply.text):
                    found.append(f"{told}: shows another site's business")
        return found

    def unmeant(self) -> list[str]:
        """Deeds that another site's page can make a browser do."""
        found = []
        others = {
            "no word": {"X-CSRF-Token": ""},
            "another word": {"X-CSRF-Token": "0" * 64},
            "cross-site": {"Sec-Fetch-Site": "cross-site"},
            "same-site": {"Sec-Fetch-Site": "same-site"},
            "another origin": {"Sec-Fetch-Site": "", "Origin": "https://evil.example"},
        }
        for method, path in routes_of(self.office.app):
            right = RIGHTS[f"{method} {path}"]
            if method == "GET" or right.roles == rights.ANYBODY:
                continue
            who = "doctor" if "doctor" in right.roles else "operator"
            for what, headers in others.items():
                reply = self.office.all_at_once([self.by_cookie(right, method, path, who, **headers)])[0]
                if (reply.status_code, reply.json().get("reason")) != (403, "not_meant"):
                    found.append(f"{method} {path} with {what}: {reply.status_code}")
        return found


def routes_of(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Every route with each of its methods."""
    for route in app.routes:
        if isinstance(route, APIRoute):
            for method in sorted(route.methods):
                yield method, route.path


def expected(right: Right, path: str, who: str) -> tuple[int, ...]:
    """What statuses an account may see."""
    if right.roles == rights.ANYBODY:
        return right.answers
    if who in _STRANGERS:
        return (401,)
    role, site = ACCOUNTS[who]
    if role not in right.roles:
        return (403,)
    return right.elsewhere or right.answers if site == ELSEWHERE else right.answers


@pytest.fixture
def filled(office: Office) -> Filled:
    """An office with something in it."""
    return Filled(office)


def test_every_account_may_do_what_it_may_and_nothing_else(filled: Filled) -> None:
    there = [f"{method} {path}" for method, path in routes_of(filled.office.app)]
    assert len(there) == len(POLICY) - 1  # the OpenAPI document is no route of ours
    assert sorted(set(RIGHTS) - set(there)) == [], "lines of rights.py without a route"
    assert not (faults := filled.faults()), "\n".join(faults)


def test_no_other_page_makes_a_browser_do_anything(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not (faults := filled.unmeant()), "\n".join(faults)
    monkeypatch.setattr("eyeground.clinic.web.guard._meant", lambda request, cookie: True)
    deeds = {fault.partition(" with ")[0] for fault in filled.unmeant()}
    wanted = {each for each, right in RIGHTS.items() if not each.startswith("GET") and right.roles != rights.ANYBODY}
    assert deeds == wanted, "a guard that does not ask for the word is found out at every route"


def test_a_guard_that_lets_everybody_in_is_found_out(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = {route: roles and frozenset((*roles, "site")) for route, roles in POLICY.items()}
    monkeypatch.setattr(Guard.__init__, "__kwdefaults__", {**Guard.__init__.__kwdefaults__, "policy": wide})
    filled.office.app = make_app(filled.office.service)
    faults = filled.faults(browsers=False)
    assert "GET /api/v1/cases by site_here (token): 200, not 403" in faults
    assert all("by site_" in fault for fault in faults)


def test_a_case_shown_to_another_site_is_found_out(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    for routes in (case_routes, image_routes):
        monkeypatch.setattr(routes, "check_owned", lambda service, case_id, who: None)
    faults = filled.faults(browsers=False)
    assert "GET /api/v1/cases/{case_id}/images/{place} by doctor_elsewhere (token): 200, not 404" in faults
    assert all("elsewhere" in fault for fault in faults)


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Bearer {}", 200), ("bearer {}", 200), ("BEARER   {} ", 200), ("{}", 401), ("Basic {}", 401),
        ("Bearer", 401), ("Bearer {}x", 401), ("Bearer é", 401), ("Bearer " + "a" * 5000, 401),
    ],
)  # fmt: skip
def test_a_token_comes_as_the_standard_says(office: Office, header: str, status: int) -> None:
    sent = header.format(office.tokens["doctor"]).encode("latin-1")
    reply = office.get("cases", headers={b"Authorization": sent})
    assert reply.status_code == status
    if status == 401:
        assert reply.headers["www-authenticate"] == 'Bearer realm="eyeground"'
        assert reply.json()["reason"] == "unauthorized"


def test_an_unknown_sender_is_turned_away_before_anything_of_its_body_is_read(office: Office) -> None:
    told: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("the body was asked for")

    async def send(message: Message) -> None:
        told.append(message)

    for path in ("/api/v1/screenings", "/api/v1/uploads", f"/api/v1/cases/{'0' * 32}/sign"):
        scope = {
            "type": "http", "method": "POST", "path": path, "query_string": b"", "headers": [], "raw_path": b"",
            "http_version": "1.1", "scheme": "http", "server": ("service", 80), "client": ("sender", 1),
        }  # fmt: skip
        asyncio.run(office.app(scope, receive, send))
    assert [each["status"] for each in told if each["type"] == "http.response.start"] == [401, 401, 401]


def test_a_site_without_a_site_of_its_own_is_this_one(office: Office) -> None:
    office.tokens["plain"] = account_of(office.service, "plain", "site")
    office.send("m1", who="plain")
    office.send("m1", who="site_elsewhere")
    assert office.get("screenings/m1", "plain").json() == office.get("screenings/m1", "site_here").json()
    assert office.get("screenings/m1", "site_elsewhere").json() != office.get("screenings/m1", "plain").json()


def guesses(case_id: str, count: int) -> Iterator[str]:
    """Ids that are nobody's: made up, nearly right, and no ids at all."""
    strange = [
        "", "0", "-1", "%00", "%2e%2e", "..%2f..%2fetc%2fpasswd", "a" * 5000, "%F0%9F%91%81", "' or 1=1 --", "%", "*",
        case_id.upper(), case_id[:-1], f"{case_id}0", f" {case_id}", f"{case_id}%0a", f"{case_id}%00", "null",
        "{case_id}", "\u0660" * 32,
    ]  # fmt: skip
    yield from (each for each in strange if each != case_id)
    for place in range(count - len(strange)):
        digit = place % 32
        other = "0123456789abcdef"[(int(case_id[digit], 16) + 1 + place // 32 % 15) % 16]
        yield case_id[:digit] + other + case_id[digit + 1 :] if place < 480 else secrets.token_hex(16)


def leaks(office: Office, case_id: str, *, who: str, count: int) -> list[str]:
    """Guesses that were answered with anything but 404."""
    tried = list(guesses(case_id, count))
    replies = [
        reply
        for place in range(0, len(tried), 100)
        for reply in office.all_at_once(
            [Asked("GET", f"/api/v1/cases/{each}", who) for each in tried[place : place + 100]]
        )
    ]
    return [
        f"{guess[:40]}: {reply.status_code}"
        for guess, reply in zip(tried, replies, strict=True)
        if reply.status_code != 404
    ]


def test_nobody_guesses_a_case(office: Office) -> None:
    case_id = office.send("m1")
    assert leaks(office, case_id, who="doctor", count=150) == []
    for guess in ("m1x", "M1", "%00", "a" * 129, "a b", "é"):
        assert office.get(f"screenings/{guess}", "site_here").status_code == 404
    bad = [office.get(f"cases/{case_id}/images/{place}", "doctor").status_code for place in ("2", "-1", "x", "9" * 30)]
    assert bad == [404, 422, 422, 422]
    assert office.post(f"dead-letters/{2**40}/replay", "operator").status_code == 422


@pytest.mark.slow
def test_nobody_guesses_a_case_in_10_000_tries(office: Office) -> None:
    assert leaks(office, office.send("m1"), who="doctor", count=10_000) == []


def test_an_app_with_a_route_that_nobody_decided_on_does_not_start(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = Guard(
        office.service.database, site=HERE, policy={("GET", "/openapi.json"): ANYBODY, ("GET", "/a"): ANYBODY}
    )
    app = FastAPI(dependencies=[Depends(guard)], docs_url=None, redoc_url=None)
    with pytest.raises(PolicyMissing, match="GET /a: a policy without a route"):
        check_policy(app, guard)
    app.get("/a")(lambda: None)
    check_policy(app, guard)
    app.get("/b")(lambda: None)
    app.mount("/files", Starlette())
    with pytest.raises(PolicyMissing, match="GET /b: no policy") as caught:
        check_policy(app, guard)
    assert "Mount: no kind of route that can be guarded" in str(caught.value)
    without = {route: roles for route, roles in POLICY.items() if route != ("POST", "/api/v1/cases/{case_id}/sign")}
    monkeypatch.setattr(Guard.__init__, "__kwdefaults__", {**Guard.__init__.__kwdefaults__, "policy": without})
    with pytest.raises(PolicyMissing, match=re.escape("POST /api/v1/cases/{case_id}/sign: no policy")):
        make_app(office.service)


def test_a_route_that_the_guard_does_not_stand_before_does_not_start(office: Office) -> None:
    policy = {("GET", "/openapi.json"): ANYBODY, ("GET", "/a"): frozenset(("admin",)), ("GET", "/b"): ANYBODY}
    guard = Guard(office.service.database, site=HERE, policy=policy)  # type: ignore[arg-type]
    app = FastAPI(docs_url=None, redoc_url=None)
    app.get("/a")(lambda: None)
    app.get("/b")(lambda: None)
    with pytest.raises(PolicyMissing, match="GET /a: the guard does not stand before it"):
        check_policy(app, guard)


def test_the_document_says_who_may_do_what(office: Office) -> None:
    document = office.ask("GET", "/openapi.json").json()
    for (method, path), roles in PROGRAMS.items():
        if path != "/openapi.json":
            operation = document["paths"][path][method.lower()]
            by = "token" if roles else "patient" if path.startswith("/api/v1/patient/") and method == "GET" else ""
            assert operation["security"] == ([{by: []}] if by else [])
            assert not roles or f"For: {', '.join(sorted(roles))}." in operation["description"]


def test_the_office_of_this_test_is_closed(tmp_path: Path) -> None:
    office = open_office(tmp_path / "other")
    office.service.close()
    assert office.ask("GET", "/healthz").json() == {"status": "ok"}

"""Every route, asked by every kind of account about its own site's business and another's: W1 in short, and W2."""

import asyncio
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from starlette.applications import Starlette
from starlette.types import Message

from eyeground.clinic.accounts import add_account, revoke
from eyeground.clinic.intake import Arrived
from eyeground.clinic.web.app import make_app
from eyeground.clinic.web.guard import ANYBODY, POLICY, Guard, PolicyMissing, check_policy
from eyeground.clinic.web.routes import cases as case_routes

from ..opened import account_of, photo
from .office import ACCOUNTS, ELSEWHERE, HERE, Asked, Office, as_json, open_office

CANARY = "Zhang-San-4711"
_BODIES: dict[str, dict[str, Any]] = {
    "opinion": {"version": 0, "opinion": {}},
    "eye": {"version": 0, "place": 0, "eye": "OD"},
    "sign": {"version": 0},
    "amend": {"version": 0, "reason": "because"},
    "reread": {"version": 0},
}
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
        self.names = {"message_id": "m1", "case_id": case_id, "place": "0", "number": str(letter.dead_letter)}
        with office.service.database.write() as work:
            office.tokens["revoked"] = add_account(work, "revoked", role="admin", actor="tests")
            revoke(work, "revoked", actor="tests")

    def asked(self, route: APIRoute, method: str, who: str) -> Asked:
        """A request to a route, about this site's business."""
        path = route.path.format(**self.names)
        last = route.path.rpartition("/")[2]
        more: dict[str, Any] = {"json": _BODIES[last]} if last in _BODIES else {}
        return Asked(method, path, who, more)

    def faults(self) -> list[str]:
        """Whoever may do what the table does not say, or may not do what it says."""
        found = []
        for method, route in routes_of(self.office.app):
            asking = (*ACCOUNTS, *_STRANGERS)
            replies = self.office.all_at_once([self.asked(route, method, who) for who in asking])
            for who, reply in zip(asking, replies, strict=True):
                may = expected(method, route.path, who)
                if not may(reply.status_code) or (reply.status_code >= 400 and CANARY in reply.text):
                    found.append(f"{method} {route.path} by {who or 'nobody'}: {reply.status_code}")
                if who.endswith("elsewhere") and (CANARY in reply.text or self.names["case_id"] in reply.text):
                    found.append(f"{method} {route.path} shows {who} another site's business")
        return found


def routes_of(app: FastAPI) -> Iterator[tuple[str, APIRoute]]:
    """Every route with each of its methods."""
    for route in app.routes:
        if isinstance(route, APIRoute):
            for method in sorted(route.methods):
                yield method, route


def expected(method: str, path: str, who: str) -> Callable[[int], bool]:
    """What status an account may see; written down a second time, by hand, from the brief and not from the table."""
    if path in ("/healthz", "/readyz", "/metrics"):
        return lambda status: status == 200
    if who in _STRANGERS:
        return lambda status: status == 401
    role, site = ACCOUNTS[who]
    resource = path.removeprefix("/api/v1/").partition("/")[0]
    last = path.rpartition("/")[2]
    if resource in ("screenings", "checks", "reports", "uploads"):
        allowed = {"site", "operator", "admin"}
    elif resource == "dead-letters":
        allowed = {"operator", "admin"}
    elif last in ("opinion", "eye", "sign", "amend"):
        allowed = {"doctor"}
    else:
        allowed = {"doctor", "operator", "admin"}
    if role not in allowed:
        return lambda status: status == 403
    if "{" in path and site == ELSEWHERE:
        return lambda status: status == 404
    if last in _BODIES:
        return lambda status: status == 409  # nobody has seen version 0
    if method == "POST" and resource != "dead-letters":
        return lambda status: status in (415, 422)  # nothing was sent
    return lambda status: status == 200


@pytest.fixture
def filled(office: Office) -> Filled:
    """An office with something in it."""
    return Filled(office)


def test_every_account_may_do_what_it_may_and_nothing_else(filled: Filled) -> None:
    assert len(list(routes_of(filled.office.app))) == len(POLICY) - 1  # the OpenAPI document is no route of ours
    assert filled.faults() == []


def test_a_guard_that_lets_everybody_in_is_found_out(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = {route: roles and frozenset((*roles, "site")) for route, roles in POLICY.items()}
    monkeypatch.setattr(Guard.__init__, "__kwdefaults__", {"policy": wide})
    filled.office.app = make_app(filled.office.service)
    faults = filled.faults()
    assert "GET /api/v1/cases by site_here: 200" in faults
    assert all("by site_" in fault or "shows site_" in fault for fault in faults)


def test_a_case_shown_to_another_site_is_found_out(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(case_routes, "_check", lambda desk, case_id, who: None)
    faults = filled.faults()
    assert "GET /api/v1/cases/{case_id}/images/{place} by doctor_elsewhere: 200" in faults
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
    monkeypatch.setattr(Guard.__init__, "__kwdefaults__", {"policy": without})
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
    for (method, path), roles in POLICY.items():
        if path != "/openapi.json":
            operation = document["paths"][path][method.lower()]
            assert operation["security"] == ([{"token": []}] if roles else [])
            assert not roles or f"For: {', '.join(sorted(roles))}." in operation["description"]


def test_the_office_of_this_test_is_closed(tmp_path: Path) -> None:
    office = open_office(tmp_path / "other")
    office.service.close()
    assert office.ask("GET", "/healthz").json() == {"status": "ok"}

"""What holds of every route: limits, refusals of one shape, headers, and a document that is complete."""

import asyncio
import json
import logging
import traceback
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from starlette.types import Message, Receive, Scope, Send

from eyeground.clinic import log
from eyeground.clinic.web.app import WebSettings
from eyeground.clinic.web.guard import PROGRAMS
from eyeground.clinic.web.refusing import words
from eyeground.clinic.web.unfailing import AnswerCut, Unfailing
from eyeground.serve.pages import HEADERS

from ..opened import patient_message
from .office import Asked, Office, open_office

MOST = 64 * 1024
DOORS = ("screenings", "checks", "reports", "uploads")
KINDS = (
    "application/json", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "image/png",
    "application/dicom", "text/plain", "application/octet-stream", "",
)  # fmt: skip


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Office]:
    """An office that takes short messages only, and few at once."""
    web = WebSettings(most_waiting=2, most_waiting_bytes=2 * MOST, timeout_s=5)
    found = open_office(tmp_path / "clinic", web=web, max_message_bytes=MOST)
    yield found
    found.service.close()


HEAD = b'--x\r\nContent-Disposition: form-data; name="OD"; filename="a.png"\r\n\r\n'


async def parts(content: bytes) -> AsyncIterator[bytes]:
    """A body that does not say how long it is."""
    for place in range(0, len(content), 1000):
        yield content[place : place + 1000]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("says_its_length", [True, False])
def test_a_byte_too_much_is_refused_at_every_door_whatever_it_is_called(
    small: Office, kind: str, says_its_length: bool
) -> None:
    paths = [("POST", f"/api/v1/{door}") for door in DOORS]
    paths += [("PUT", f"/api/v1/cases/{'0' * 32}/opinion"), ("POST", f"/api/v1/cases/{'0' * 32}/sign")]
    for method, path in paths:
        who = "site_here" if path.removeprefix("/api/v1/") in DOORS else "doctor"
        whole = HEAD + b"a" * (MOST + 1 - len(HEAD))
        content = whole if says_its_length else parts(whole)
        reply = small.ask(method, path, who, content=content, headers={"Content-Type": kind})
        expected = 415 if path.endswith("uploads") and not says_its_length and "multipart" not in kind else 413
        assert (reply.status_code, reply.json()["reason"]) == (
            expected, "too_large" if expected == 413 else "unsupported_media_type",
        )  # fmt: skip


def test_what_people_send_is_shorter_than_what_sites_send(office: Office) -> None:
    size = 300 * 1024
    body = json.dumps({"version": 1, "opinion": {"conclusion": "x" * size}}).encode()
    reply = office.ask("PUT", f"/api/v1/cases/{'0' * 32}/opinion", "doctor", content=body)
    assert (reply.status_code, reply.json()["reason"]) == (413, "too_large")
    photos = [{"name": "a_OD.png", "data": "A" * size}]
    assert office.post("screenings", "site_here", content=patient_message("m1", photos=photos)).status_code == 201


def test_more_at_once_than_there_is_room_for_are_told_to_come_again(small: Office) -> None:
    asked = [Asked("POST", "/api/v1/screenings", "site_here", {"content": patient_message(f"m{n}")}) for n in range(12)]
    replies = small.all_at_once(asked)
    found = [reply.status_code for reply in replies]
    assert set(found) == {201, 503}
    for reply in replies:
        if reply.status_code == 503:
            assert (reply.json()["reason"], reply.headers["retry-after"]) == ("waiting_room_full", "5")
    for _ in range(12):  # who comes again is let in
        asked = [each for each, status in zip(asked, found, strict=True) if status == 503]
        found = [reply.status_code for reply in small.all_at_once(asked)]
    assert found == []
    assert len(small.get("cases", "doctor", params={"state": ["received"]}).json()["cases"]) == 12


def test_numbers_of_settings_are_above_zero() -> None:
    with pytest.raises(ValueError, match="most_waiting must be a number above 0; timeout_s must be"):
        WebSettings(most_waiting=0, timeout_s=float("inf"))


@pytest.mark.parametrize("path", ["/api/v1/cases", "/api/v1/screenings", "/healthz", "/nowhere", "/openapi.json"])
def test_every_answer_has_the_headers_that_keep_it_where_it_belongs(office: Office, path: str) -> None:
    reply = office.ask("GET", path, headers={"Origin": "https://elsewhere.example"})
    assert {name: reply.headers[name] for name in HEADERS} == dict(HEADERS)
    assert not [name for name in reply.headers if name.startswith("access-control")]


def test_no_other_site_may_ask(office: Office) -> None:
    headers = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "GET"}
    reply = office.ask("OPTIONS", "/api/v1/cases", headers=headers)
    assert reply.status_code == 405
    assert not [name for name in reply.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        ("GET", "/nowhere", 404, "not_found"), ("GET", "/api/v1/cases/", 404, "not_found"),
        ("GET", "/docs", 404, "not_found"), ("DELETE", "/api/v1/cases", 405, "method_not_allowed"),
        ("GET", "/api/v1/screenings", 405, "method_not_allowed"), ("POST", "/healthz", 405, "method_not_allowed"),
    ],
)  # fmt: skip
def test_what_there_is_not_is_refused_in_the_one_shape(
    office: Office, method: str, path: str, status: int, reason: str
) -> None:
    reply = office.ask(method, path, "admin")
    assert (reply.status_code, reply.json()["reason"], set(reply.json())) == (status, reason, {"error", "reason"})
    chinese = office.ask(method, path, "admin", params={"lang": "zh"}).json()
    assert chinese["error"] != reply.json()["error"]


def test_whatever_fails_says_only_that_it_failed(
    office: Office, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("Zhang San, 13800138000")

    monkeypatch.setattr("eyeground.clinic.web.routes.cases.work_list", broken)
    with caplog.at_level(logging.DEBUG):
        reply = office.get("cases", "doctor")
    assert (reply.status_code, reply.json()) == (500, {"error": words()["failed"]["en"], "reason": "failed"})
    assert {name: reply.headers[name] for name in HEADERS} == dict(HEADERS)
    told = [each.__dict__["told"] for each in caplog.records if each.name == log.NAME]
    assert [(each["error"], each["place"].rpartition(":")[0]) for each in told] == [
        ("RuntimeError", "clinic/web/routes/cases.py")
    ]
    assert "Zhang" not in caplog.text


def test_the_document_is_whole(office: Office) -> None:
    document = office.ask("GET", "/openapi.json").json()
    assert {(method.upper(), path) for path, each in document["paths"].items() for method in each} == {
        route for route in PROGRAMS if route[1] != "/openapi.json"
    }
    text = json.dumps(document)
    names = set(document["components"]["schemas"])
    assert {each.partition('"')[0] for each in text.split("#/components/schemas/")[1:]} <= names
    assert "Args:" not in json.dumps(document["paths"])
    assert "HTTPValidationError" not in json.dumps(document["paths"])
    shape = {"$ref": "#/components/schemas/RefusalShape"}
    for each in document["paths"].values():
        for operation in each.values():
            assert operation["summary"]
            for status, told in operation["responses"].items():
                if int(status) >= 400:
                    assert told["content"]["application/json"]["schema"] == shape
                elif operation["operationId"] != "metrics_metrics_get":
                    assert told["content"]


def hold_to(app: FastAPI, name: str, token: str, examples: int = 12) -> None:
    """Ask an operation for what its document promises, and for what it does not."""
    # A schema cannot say that there is such a case, or that an image is there: 404, 409 and 422 are right answers, too.
    accepted = {"expected-statuses": ["2xx", "404", "409", "413", "415", "422"]}
    if "/patient/" in name:  # nor that there is such a link with such a code
        accepted["expected-statuses"] += ["401", "403", "429"]
    rejected = {"expected-statuses": ["4xx", "2xx"]}  # fields that were not agreed on are nobody's business
    config = {"checks": {"positive_data_acceptance": accepted, "negative_data_rejection": rejected}}
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, config=SchemathesisConfig.from_dict(config))
    operation = {each.ok().label: each.ok() for each in schema.get_all_operations()}[name]

    @settings(
        max_examples=examples, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in GenerationMode)))
    def does(case: schemathesis.Case) -> None:
        case.call_and_validate(headers={"Authorization": f"Bearer {token}"})

    does()


@pytest.mark.parametrize("name", [f"{method} {path}" for method, path in PROGRAMS if path != "/openapi.json"])
def test_the_service_does_what_its_document_says(office: Office, name: str) -> None:
    roles = PROGRAMS[name.partition(" ")[0], name.partition(" ")[2]]
    who = next((who for who, role in (("admin", "admin"), ("doctor", "doctor")) if role in roles), "operator")
    hold_to(office.app, name, office.tokens[who])


def test_a_service_that_breaks_its_promise_is_found_out(office: Office) -> None:
    office.app.openapi()["paths"]["/api/v1/cases"]["get"]["responses"]["200"]["content"]["application/json"] = {
        "schema": {"type": "object", "required": ["color"]}
    }
    with pytest.raises(FailureGroup) as caught:
        hold_to(office.app, "GET /api/v1/cases", office.tokens["doctor"])
    assert "color" in str(caught.value)


def test_who_hangs_up_leaves_nothing_behind(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    told: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        told.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/api/v1/screenings", "query_string": b"", "raw_path": b"",
        "headers": [(b"authorization", f"Bearer {office.tokens['site_here']}".encode())], "http_version": "1.1",
        "scheme": "http", "server": ("service", 80), "client": ("sender", 1),
    }  # fmt: skip
    asyncio.run(office.app(scope, receive, send))
    assert told[0]["status"] == 499
    assert not [each for each in caplog.records if each.name == log.NAME], "that is nobody's failure"
    assert office.get("cases", "doctor", params={"state": ["received"]}).json()["cases"] == []


def test_an_answer_that_fails_after_it_has_begun_says_nothing_of_what_it_was(office: Office) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("Zhang San")

    office.app = Unfailing(app)  # type: ignore[assignment]
    with pytest.raises(AnswerCut) as caught:
        asyncio.run(office.app({"type": "http"}, _nothing, _nowhere))  # type: ignore[arg-type]
    assert "Zhang" not in "".join(traceback.format_exception(caught.value))


async def _nothing() -> Message:
    return {"type": "http.request"}


async def _nowhere(_: Message) -> None:
    return None

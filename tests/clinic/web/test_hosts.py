"""What a request calls this service: no other site's name leads here, and nothing is said of what was asked."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from eyeground.clinic.web.app import make_app
from eyeground.clinic.web.hosts import is_ours

from ..opened import open_service_in
from .office import HERE, Office


@pytest.fixture
def public(tmp_path: Path) -> Iterator[Office]:
    """An office with an address of its own."""
    service = open_service_in(tmp_path / "clinic", site=HERE, public_url="https://eyes.example")
    yield Office(service, make_app(service))
    service.close()


@pytest.mark.parametrize(
    ("host", "public_url", "ours"),
    [
        ("eyes.example", "https://eyes.example", True), ("EYES.example:443", "https://eyes.example", True),
        ("eyes.example:80", "https://eyes.example", False), ("eyes.example:8443", "https://eyes.example:8443", True),
        ("eyes.example.", "https://eyes.example", False), ("evil.example", "https://eyes.example", False),
        ("eyes.example@evil.example", "https://eyes.example", False), ("", "https://eyes.example", False),
        ("eyes.example/", "https://eyes.example", False), ("127.0.0.1", "https://eyes.example", False),
        ("localhost:8080", "http://localhost:8080", True), ("127.0.0.1:8080", "http://localhost:8080", False),
        ("127.0.0.1:8080", "", True), ("[::1]:8080", "", True), ("localhost", "", True), ("web:8080", "", True),
        ("a.localhost", "", True), ("rebound.evil.example:8080", "", False), ("127.0.0.1.nip.io", "", False),
        ("127.0.0.1@evil.example", "", False), ("[::1", "", False), ("a:b", "", False), ("", "", True),
    ],
)  # fmt: skip
def test_what_is_ours(host: str, public_url: str, ours: bool) -> None:
    assert is_ours(host, public_url=public_url) is ours


@pytest.mark.parametrize("path", ["/sign-in", "/api/v1/cases", "/static/0/base.css", "/nowhere", "/openapi.json"])
def test_a_name_that_somebody_else_owns_leads_nowhere(public: Office, path: str) -> None:
    """DNS rebinding: a page of evil.example whose name suddenly stands for this machine."""
    for host in ("evil.example", "127.0.0.1:8080", "eyes.example.evil.example"):
        reply = public.ask("GET", path, "admin", headers={"Host": host, "Accept": "text/html"})
        assert (reply.status_code, reply.json()["reason"]) == (400, "wrong_host")
        assert "evil" not in reply.text
        assert reply.headers["cache-control"] == "no-store"
    assert public.ask("GET", path, "doctor", headers={"Host": "eyes.example"}).status_code in (200, 303, 404)


def test_who_looks_after_processes_may_call_them_anything(public: Office) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        assert public.ask("GET", path, headers={"Host": "10.0.0.7:8080"}).status_code == 200


def test_without_an_address_a_domain_s_name_is_nobody_s(office: Office) -> None:
    assert office.ask("GET", "/sign-in", headers={"Host": "rebound.evil.example"}).status_code == 400
    assert office.ask("GET", "/sign-in", headers={"Host": "127.0.0.1:8080"}).status_code == 200


def test_two_names_at_once_are_none(public: Office) -> None:
    headers = [("Host", "eyes.example"), ("Host", "evil.example")]
    assert public.ask("GET", "/sign-in", headers=dict(headers[1:])).status_code == 400


def test_a_service_that_answers_to_any_name_is_found_out(public: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eyeground.clinic.web.hosts.is_ours", lambda host, **_: True)
    assert public.ask("GET", "/sign-in", headers={"Host": "evil.example"}).status_code == 200

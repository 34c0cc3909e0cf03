"""Patients' links as they are typed: what is shown once opens the report, and nothing else does."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from eyeground.cli.clinic_link import make_link, revoke_links
from eyeground.cli.main import app
from eyeground.clinic.cases import NoSuchCase
from eyeground.clinic.reviews import Doctor
from eyeground.clinic.service import Service
from eyeground.clinic.web.patient_reading import links_of
from tests.clinic.opened import SECRET, open_service_in
from tests.clinic.populated import take_in

WHO = Doctor("local:tests", "", "operator")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service that browsers reach under an address."""
    made = open_service_in(tmp_path / "clinic", public_url="https://eyes.example")
    yield made
    made.close()


def test_a_link_that_was_typed_opens(service: Service) -> None:
    case_id = take_in(service, "one")
    found, address, link = make_link(service, case_id[:8], who=WHO)
    assert (found, address) == (case_id, f"https://eyes.example/p/{link.token}")
    access = links_of(service).access(links_of(service).open(link.token, link.code, address=""))
    assert access is not None
    assert access.case_id == case_id
    assert revoke_links(service, case_id[:8], who=WHO) == (case_id, 1)
    assert links_of(service).state(link.token) == "gone"
    for act in (make_link, revoke_links):
        with pytest.raises(NoSuchCase):
            act(service, "0" * 32, who=WHO)  # type: ignore[operator]


def test_the_command_shows_address_and_code_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "clinic"
    made = open_service_in(home)
    home.chmod(0o700)
    case_id = take_in(made, "one")
    made.close()
    for name, value in (("HOME", str(home)), ("SECRET", SECRET), ("QUEUE_URL", f"memory:{home}")):
        monkeypatch.setenv(f"EYEGROUND_CLINIC_{name}", value)
    shown = CliRunner().invoke(app, ["clinic", "link", case_id[:8], "--json"])
    assert shown.exit_code == 0, shown.output
    told = json.loads(shown.stdout.splitlines()[-1])
    assert told["case"] == case_id
    assert told["address"].startswith("/p/")
    assert f"code: {told['code']}" in shown.stderr
    assert "PUBLIC_URL is not set" in shown.stderr
    revoked = CliRunner().invoke(app, ["clinic", "link", case_id[:8], "--revoke", "--json"])
    assert json.loads(revoked.stdout.splitlines()[-1]) == {"case": case_id, "revoked": 1}

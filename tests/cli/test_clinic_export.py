"""The command ``eyeground clinic export``: options, what it prints, and its exit code."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from eyeground.cli.clinic_export import one_kind
from eyeground.cli.config import ConfigError
from eyeground.cli.exit_codes import BAD_INPUT, EXIT_CODES
from eyeground.cli.main import app
from eyeground.clinic.service import Service

from ..clinic.export.visits import both_eyes, send, service_in, signed


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A service that commands open, too."""
    home = tmp_path / "clinic"
    home.mkdir(mode=0o700)
    opened = service_in(home)
    settings = {"HOME": home, "SECRET": opened.settings.secret.get_secret_value(), "SITE": "here", "QUEUE_URL": "sql:"}
    for name, value in settings.items():
        monkeypatch.setenv(f"EYEGROUND_CLINIC_{name}", str(value))
    yield opened
    opened.close()


def run(*words: str) -> Any:
    """Run the command."""
    return CliRunner().invoke(app, ["clinic", "export", *words], catch_exceptions=False)


def test_labels_and_what_is_left_out(service: Service, tmp_path: Path) -> None:
    signed(service, "a", seed=1)
    send(service, "b", photos=both_eyes(2))
    done = run("--labels", "--out", str(tmp_path / "set"), "--json")
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    assert (told["kind"], told["cases"], told["unchanged"]) == ("labels", 1, False)
    assert [each["fault"] for each in told["left_out"]] == [False]
    again = run("--labels", "--out", str(tmp_path / "set"))
    assert again.stdout.splitlines()[-1] == f"unchanged: {told['out']}"


def test_something_that_was_signed_and_is_missing_ends_with_1(service: Service, tmp_path: Path) -> None:
    signed(service, "a", seed=1)
    lost = signed(service, "b", seed=2)
    with service.database.read() as session:
        sha256 = session.connection().exec_driver_sql("select sha256 from images where case_id=?", (lost,)).scalar()
    service.store.remove(str(sha256))
    done = run("--deidentified", "--out", str(tmp_path / "set"), "--json")
    assert done.exit_code == 1
    [left] = json.loads(done.stdout)["left_out"]
    assert (left["case_id"], left["why"]) == (lost, "an image is no longer kept")


def test_a_case_is_named_by_the_beginning_of_its_id(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eyeground.clinic.reports.signed_pdf", lambda *_, **__: b"%PDF-1.7")
    case_id = signed(service, "a", seed=1)
    signed(service, "b", seed=2)
    done = run("--fhir", "--out", str(tmp_path / "out"), "--lang", "en", "--lang", "zh", case_id[:12])
    assert done.exit_code == 0
    assert {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*")} == {
        f"{case_id}/bundle.json", f"{case_id}/report_en.pdf", f"{case_id}/report_zh.pdf",
    }  # fmt: skip


def test_one_form_is_to_be_said() -> None:
    assert one_kind(fhir=False, labels=True) == "labels"
    for wanted in ({"fhir": False, "labels": False}, {"fhir": True, "labels": True}):
        with pytest.raises(ConfigError, match="say one of --fhir, --labels"):
            one_kind(**wanted)
    assert EXIT_CODES["ExportRefused"] == BAD_INPUT

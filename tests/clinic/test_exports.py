"""Exports as a whole: chosen cases, all of it or nothing, and what stands in the audit trail."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from eyeground.clinic.db.tables import AuditRecord
from eyeground.clinic.exports import ExportRefused, Kind, export
from eyeground.clinic.service import Service
from eyeground.pick import names, pick

from .export.visits import both_eyes, send, service_in, signed, tree

KINDS = ("deidentified", "dicom", "fhir", "labels")


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A service whose reports need no typesetting."""
    monkeypatch.setattr("eyeground.clinic.reports.signed_pdf", lambda *_, **__: b"%PDF-1.7 a page")
    opened = service_in(tmp_path / "clinic")
    yield opened
    opened.close()


def test_every_file_of_the_shelf_is_a_form() -> None:
    assert names("clinic.export") == KINDS
    assert {kind: pick("clinic.export", kind).Writer.VERSIONED for kind in KINDS} == {
        "deidentified": False, "dicom": False, "fhir": False, "labels": True,
    }  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_signed_cases_leave_and_the_trail_says_so(service: Service, tmp_path: Path, kind: Kind) -> None:
    first, second = signed(service, "a", seed=1), signed(service, "b", seed=2)
    waiting = send(service, "c", photos=both_eyes(3))
    told: list[tuple[int, int]] = []
    made = export(
        service, kind, tmp_path / "out", actor="local:tests", progress=lambda done, of: told.append((done, of))
    )
    assert (made.cases, made.whole, told) == (2, True, [(1, 2), (2, 2)])
    assert [(each.case_id, each.why) for each in made.left] == [(waiting, "nobody has signed it yet (it is in review)")]
    assert {path.name for path in tmp_path.iterdir()} == {"clinic", "out"}
    assert made.folder.stat().st_mode & 0o777 == 0o700
    with service.database.read() as session:
        [line] = session.scalars(select(AuditRecord).filter_by(event="exported"))
    detail = json.loads(line.detail)
    assert (line.actor, detail["kind"], detail["cases"], detail["left"]) == ("local:tests", kind, 2, 1)
    if kind in ("fhir", "dicom"):
        assert {path.name for path in made.folder.iterdir()} == {first, second}


def test_cases_are_chosen_by_id_and_by_day(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("eyeground.clinic.reviews.now", lambda: "2020-01-31T16:30:00.000000Z")
        signed(service, "a", seed=1)
    second = signed(service, "b", seed=2)
    made = export(service, "fhir", tmp_path / "one", cases=[second], actor="t")
    assert {path.name for path in made.folder.iterdir()} == {second}
    made = export(service, "fhir", tmp_path / "two", since="2026-01-01", actor="t")
    assert {path.name for path in made.folder.iterdir()} == {second}
    made = export(service, "fhir", tmp_path / "three", since="2020-01-31", actor="t")
    assert made.cases == 2


def test_everything_that_is_wrong_is_told_together(service: Service, tmp_path: Path) -> None:
    signed(service, "a")
    (tmp_path / "there").mkdir()
    with pytest.raises(ExportRefused) as refused:
        export(service, "fhir", tmp_path / "there", since="yesterday", languages=["xx"], confirmed=["*.png"], actor="t")
    for word in ("already there", "--since yesterday", "--lang xx", "not a pattern"):
        assert word in str(refused.value)
    with pytest.raises(ExportRefused, match="there is no such case"):
        export(service, "fhir", tmp_path / "out", cases=["0" * 32], actor="t")
    assert not (tmp_path / "out").exists()


def test_a_fault_half_way_leaves_nothing(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signed(service, "a", seed=1)

    def full(*_: Any, **__: Any) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("eyeground.clinic.reports.signed_pdf", full)
    with pytest.raises(OSError, match="No space"):
        export(service, "fhir", tmp_path / "out", actor="t")
    assert {path.name for path in tmp_path.iterdir()} == {"clinic"}
    with service.database.read() as session:
        assert session.scalars(select(AuditRecord).filter_by(event="exported")).all() == []


_RUN = """
import os, signal, sys
from pathlib import Path
import eyeground.clinic.exports as exports
from eyeground.clinic.service import open_service
from eyeground.clinic.settings import Settings
home, out, kind, moment = sys.argv[1:]
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
writer = exports.pick("clinic.export", kind).Writer
if moment == "add":
    add, count = writer.add, [0]
    def counted(self, case):
        count[0] += 1
        return die() if count[0] == 2 else add(self, case)
    writer.add = counted
elif moment == "close":
    writer.close = die
else:
    exports._settle = die
service = open_service(Settings(home=Path(home), secret="a phrase of the tests own", site="here", queue_url="sql:"))
exports.export(service, kind, Path(out), actor="t")
"""


@pytest.mark.parametrize("kind", ["deidentified", "labels"])
@pytest.mark.parametrize("moment", ["add", "close", "settle"])
def test_killed_at_any_moment_it_leaves_no_half_export(
    service: Service, tmp_path: Path, kind: Kind, moment: str
) -> None:
    signed(service, "a", seed=1)
    signed(service, "b", seed=2)
    out = tmp_path / "out"
    run = subprocess.run(
        [sys.executable, "-c", _RUN, str(tmp_path / "clinic"), str(out), kind, moment], capture_output=True, check=False
    )
    assert run.returncode == -signal.SIGKILL, run.stderr.decode()
    seen = [path for path in (out.iterdir() if kind == "labels" else tmp_path.iterdir()) if path.name[0] != "."]
    assert {path.name for path in seen} == (set() if kind == "labels" else {"clinic"})
    made = export(service, kind, out, actor="t")
    assert made.cases == 2
    assert not [name for name in tree(tmp_path) if ".part" in name]


def test_what_another_export_is_writing_is_left_alone(service: Service, tmp_path: Path) -> None:
    signed(service, "a", seed=1)
    other = tmp_path / ".out.0123abcd.part"
    other.mkdir()
    script = (
        "import fcntl,os,sys,time;h=os.open(sys.argv[1],os.O_RDONLY);"
        "fcntl.flock(h,fcntl.LOCK_EX);print('held',flush=True);time.sleep(60)"
    )
    running = subprocess.Popen([sys.executable, "-c", script, str(other)], stdout=subprocess.PIPE)
    try:
        assert running.stdout is not None
        assert running.stdout.readline() == b"held\n"
        export(service, "fhir", tmp_path / "out", actor="t")
        assert other.exists()
    finally:
        os.kill(running.pid, signal.SIGKILL)
        running.communicate()
    deadline = time.monotonic() + 10
    export(service, "fhir", tmp_path / "out2", actor="t")
    assert other.exists()  # of another name
    (tmp_path / "out").rename(tmp_path / "moved")
    while other.exists() and time.monotonic() < deadline:
        export(service, "fhir", tmp_path / "out", actor="t")
        (tmp_path / "out").rename(tmp_path / f"moved{time.monotonic_ns()}")
    assert not other.exists()

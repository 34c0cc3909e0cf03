"""The watched folder as a worker looks at it: a visit that cannot be read or moved costs the others nothing."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from eyeground.cli.clinic_watch import take_in
from eyeground.clinic.blobs.store import StoreLost
from eyeground.clinic.db.database import DatabaseLost
from eyeground.clinic.db.tables import AuditRecord
from eyeground.clinic.service import Service
from eyeground.clinic.watching import Watched
from tests.clinic.opened import open_service_in, photo


class Clock:
    """A clock that goes on when told."""

    moment = 0.0

    def __call__(self) -> float:
        return self.moment


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = open_service_in(tmp_path / "clinic")
    yield made
    made.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watched(tmp_path: Path, clock: Clock) -> Watched:
    """Three visits that have lain still; the one in the middle will not be moved."""
    watched = Watched(tmp_path / "in", quiet_s=2.0, now=clock)
    for name in ("A", "Canary-7", "Z"):
        (watched.folder / name).mkdir()
        (watched.folder / name / "OD.png").write_bytes(photo(name))
    watched.ready()
    clock.moment += 5
    return watched


def immovable(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system says of another user's folder."""
    rename = Path.rename

    def refusing(self: Path, target: Path) -> Path:
        if self.name.startswith("Canary"):
            raise PermissionError(13, "Permission denied", str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refusing)


def events(service: Service) -> list[str]:
    with service.database.read() as session:
        return [each for each in session.scalars(select(AuditRecord.event)) if each in ("received", "repeated")]


def test_a_visit_that_cannot_be_moved_is_left_alone_and_the_others_go_on(
    service: Service, watched: Watched, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patched:
        immovable(patched)
        with caplog.at_level(logging.WARNING):
            assert take_in(service, watched) == 2
            assert sorted(path.name for path in (watched.folder / "done").iterdir()) == ["A", "Z"]
            for _ in range(20):
                clock.moment += 1
                assert take_in(service, watched) == 0
            assert events(service) == ["received"] * 3  # it is not admitted again at each look
            for _ in range(70):
                clock.moment += 1
                take_in(service, watched)
            assert events(service) == ["received"] * 3 + ["repeated"]
        assert [record.message for record in caplog.records if record.name == "eyeground.clinic"] == ["visit_left"]
        assert "Canary" not in caplog.text
    clock.moment += 1000
    take_in(service, watched)
    clock.moment += 5
    assert take_in(service, watched) == 1
    assert (watched.folder / "done" / "Canary-7" / "case.json").is_file()


def test_a_folder_that_cannot_be_read_costs_the_others_nothing(
    service: Service, watched: Watched, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    listdir = os.listdir

    def refusing(path: Path) -> list[str]:
        if "Canary" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return listdir(path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "listdir", refusing)
        assert take_in(service, watched) == 2
        for _ in range(200):
            clock.moment += 1
            assert take_in(service, watched) == 0
    assert [record.message for record in caplog.records].count("visit_left") == 1
    assert "Canary" not in caplog.text
    clock.moment += 1000
    take_in(service, watched)
    clock.moment += 5
    assert take_in(service, watched) == 1


@pytest.mark.parametrize("lost", [DatabaseLost, StoreLost])
def test_what_holds_for_all_visits_is_no_visit_s_fault(
    lost: type[Exception], service: Service, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(_: object) -> None:
        raise lost("gone")

    with monkeypatch.context() as patched:
        patched.setattr(service.intake, "admit", gone)
        with pytest.raises(lost):
            take_in(service, watched)
    assert take_in(service, watched) == 3


def test_a_visit_may_be_as_long_as_a_message(tmp_path: Path, clock: Clock) -> None:
    from eyeground.clinic.refusal import Refused

    watched = Watched(tmp_path, quiet_s=0, max_message_bytes=4000, now=clock)
    for name, size in (("fits", 2900), ("long", 3100)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "OD.png").write_bytes(bytes(size))
    watched.ready()
    fits, long = watched.ready()
    assert watched.message(fits)
    with pytest.raises(Refused) as caught:
        watched.message(long)
    assert [problem.code for problem in caught.value.problems] == ["too_large"]

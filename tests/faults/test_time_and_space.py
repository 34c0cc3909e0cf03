"""R10, R12, R13: disks that fill up, workers that are asked to stop, and queues that are long."""

import errno
import json
import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select
from sqlalchemy.exc import OperationalError

from eyeground import atomic_file
from eyeground.clinic.blobs.store import StoreLost
from eyeground.clinic.db.database import DatabaseLost
from eyeground.clinic.db.tables import Case, DeadLetter, Outgoing
from eyeground.clinic.intake import Arrived
from eyeground.clinic.records import EyeReview, Opinion
from eyeground.clinic.reviews import Doctor
from eyeground.clinic.service import Service, open_service
from eyeground.clinic.settings import read_settings

from . import scoreboard
from .chaos import Site, alive, count, crew, feed, request, results_in_queue, sent, until, waiting
from .grading import HashGrader, answers


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "site")
    yield made
    made.close()


def test_r12_a_stop_finishes_what_has_begun_and_loses_nothing(site: Site) -> None:
    draws = random.Random(21)
    bodies = [request(site, number, draws) for number in range(40)]
    feed(site, bodies)
    with crew(site, grader={"delay_s": 0.2}) as workforce:
        workforce.keep_up(2)
        assert until(lambda: sent(site) >= 4, seconds=60)
        began = time.monotonic()
        workforce.signal_all(signal.SIGTERM)
        assert until(lambda: not any(alive(pid) for pid in workforce.pids), seconds=30)
        took = time.monotonic() - began
        before = sent(site)
        # What was taken and not done is there at once: nobody waits for a lease to run out.
        with site.database.read() as session:
            held = list(session.scalars(select(Case.id).where(Case.state.not_in(["received", "released"]))))
        workforce.keep_up(2)
        assert until(lambda: sent(site) >= 40, seconds=60)
        workforce.signal_all()
        assert until(lambda: not any(alive(pid) for pid in workforce.pids), seconds=40)
    found = count(site, bodies, results_in_queue(site))
    scoreboard.write("r12", stopped_after_s=round(took, 2), answered_before=before, **vars(found))
    assert held == []
    assert found.sound


def memory_kib(pid: int) -> int:
    """What a process holds."""
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def long_queue(site: Site, *, queued: int, warm: int, done: int) -> dict[str, int]:
    """Memory of a worker before a long queue, after some messages and after many."""
    draws = random.Random(22)
    feed(site, [request(site, number, draws) for number in range(queued)])
    with crew(site) as workforce:
        pid = workforce.start()
        assert until(lambda: sent(site) >= warm, seconds=300)
        first = memory_kib(pid)
        assert until(lambda: sent(site) >= done, seconds=570)
        last = memory_kib(pid)
        workforce.signal_all()
        assert until(lambda: not alive(pid), seconds=40)
        assert waiting(site, "check") > 0
    return {"queued": queued, "first_kib": first, "last_kib": last, "answered": sent(site)}


def test_r13_short(site: Site) -> None:
    figures = long_queue(site, queued=3_000, warm=50, done=300)
    scoreboard.write("r13_short", **figures)
    assert figures["last_kib"] < figures["first_kib"] * 1.2


@pytest.mark.slow
def test_r13_fifty_thousand_queued(site: Site) -> None:
    figures = long_queue(site, queued=50_000, warm=3_000, done=6_000)
    scoreboard.write("r13", **figures)
    assert figures["last_kib"] < figures["first_kib"] * 1.1


# R10. A full disk at each stage: what fails is told, nothing that was there is lost, and after the disk has room again
# the very same act goes through.


@pytest.fixture
def service(site: Site) -> Iterator[Service]:
    made = open_service(read_settings(**{**site.settings, "release": "signed"}))
    yield made
    made.close()


class Full:
    """A database whose disk is full whenever a statement of the wanted kind comes."""

    def __init__(self, service: Service) -> None:
        self.words = ""
        self.hits = 0
        event.listen(service.database.engine, "before_cursor_execute", self._strike)
        self._true_commit = service.database.engine.dialect.do_commit
        service.database.engine.dialect.do_commit = self._commit  # type: ignore[method-assign]

    def _strike(self, _: Any, __: Any, statement: str, *more: Any) -> None:
        if self.words and self.words in statement:
            self.hits += 1
            raise OperationalError(statement, {}, sqlite3.OperationalError("database or disk is full"))

    def _commit(self, connection: Any) -> None:
        if self.words == "COMMIT":
            self.hits += 1
            raise sqlite3.OperationalError("database or disk is full")
        self._true_commit(connection)


DOCTOR = Doctor("li", "Dr Li")


def admitted(service: Service, site: Site, number: int) -> str:
    """A case."""
    body = json.dumps({"id": f"case-{number}", "odFundusImg": "1.jpg"}).encode()
    [outcome] = service.intake.admit([Arrived("check", body, "default")])
    return outcome.case_id


def read(service: Service) -> None:
    """Have the models look at whatever waits."""
    worker = service.worker([HashGrader()])
    jobs, reader = worker._jobs, worker._reader
    while (taken := jobs.take()) is not None:
        jobs.finish(taken, reader.look(taken.case_id) if taken.kind == "read" else None)


def sign(service: Service, case_id: str) -> None:
    """Sign a case."""
    with service.database.read() as session:
        version = session.get_one(Case, case_id).version
    opinion = Opinion(
        eyes={"fundus/OD": EyeReview(findings=answers(b"image 1" * 50), reason="as seen")}, conclusion="-"
    )
    service.reviews.sign(case_id, opinion, version=version, doctor=DOCTOR)


def _admit(service: Service, site: Site) -> None:
    admitted(service, site, 1)


def _bad(service: Service) -> None:
    service.intake.admit([Arrived("check", b"not json", "default")])


def _in_review(service: Service, site: Site) -> None:
    admitted(service, site, 1)
    read(service)


def _signed(service: Service, site: Site) -> None:
    _in_review(service, site)
    _sign(service)


def _sign(service: Service) -> None:
    with service.database.read() as session:
        case_id = session.scalars(select(Case.id)).one()
    sign(service, case_id)


def _nothing(service: Service, site: Site) -> None:
    """An empty house."""


# stage: (which statement finds the disk full, what comes before, what is tried)
STAGES: dict[str, tuple[str, Callable[[Service, Site], None], Callable[[Service, Site], None]]] = {
    "inbox": ("INSERT INTO cases", _nothing, _admit),
    "image_row": ("INSERT INTO images", _nothing, _admit),
    "inbox_commit": ("COMMIT", _nothing, _admit),
    "dead_letter": ("INSERT INTO dead_letters", _nothing, lambda service, site: _bad(service)),
    "take": ("UPDATE jobs", _admit, lambda service, site: read(service)),
    "finding": ("INSERT INTO findings", _admit, lambda service, site: read(service)),
    "audit": ("INSERT INTO audit", _admit, lambda service, site: read(service)),
    "sign": ("UPDATE reviews", _in_review, lambda service, site: _sign(service)),
    "release": ("INSERT INTO outgoing", _signed, lambda service, site: read(service)),
}


@pytest.mark.parametrize("stage", STAGES)
def test_r10_a_full_database_loses_nothing_and_goes_on(service: Service, site: Site, stage: str) -> None:
    words, before, act = STAGES[stage]
    full = Full(service)
    before(service, site)
    state = _everything(service)
    full.words = words
    with pytest.raises(DatabaseLost):
        act(service, site)
    full.words = ""
    assert full.hits == 1
    assert _everything(service) == state
    assert sqlite3.connect(site.folder / "clinic.db").execute("pragma integrity_check").fetchone() == ("ok",)
    if stage in ("finding", "audit", "release"):  # the job's lease is still out: somebody takes it when it has run out
        time.sleep(float(str(site.settings["lease_s"])) + 0.6)
        worker = service.worker([HashGrader()])
        assert until(lambda: _one(worker), seconds=20)
    else:
        act(service, site)
    assert _everything(service) != state


def _one(worker: Any) -> bool:
    """Take and finish a job, if one is to be had by now."""
    taken = worker._jobs.take()
    if taken is None:
        return False
    worker._jobs.finish(taken, worker._reader.look(taken.case_id) if taken.kind == "read" else None)
    return True


def _everything(service: Service) -> list[tuple[object, ...]]:
    """States of all cases, answers and dead letters."""
    with service.database.read() as session:
        rows: list[tuple[object, ...]] = [(case.id, case.state, case.version) for case in session.scalars(select(Case))]
        rows += [("out", answer.body) for answer in session.scalars(select(Outgoing))]
        rows += [("dead", letter.code) for letter in session.scalars(select(DeadLetter))]
    return rows


def test_r10_a_full_store_gives_the_message_back(service: Service, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(atomic_file.os, "fsync", no_room)
        with pytest.raises(StoreLost):
            admitted(service, site, 1)
    assert _everything(service) == []
    assert list(service.store.hashes()) == []
    admitted(service, site, 1)
    assert len(list(service.store.hashes())) == 1

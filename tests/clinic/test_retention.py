"""What is old enough goes, and nothing else: no open case, no image that another case uses, no unanswered letter."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select, text, update

from eyeground.clinic import retention
from eyeground.clinic.blobs.store import StoreLost
from eyeground.clinic.db.audit import verify
from eyeground.clinic.db.tables import (
    AuditRecord,
    Case,
    DeadLetter,
    Finding,
    Image,
    Job,
    Outgoing,
    PassedMessage,
    QueuedMessage,
    Redelivered,
    Review,
)  # fmt: skip
from eyeground.clinic.intake import Arrived
from eyeground.clinic.retention import Purged, purge
from eyeground.clinic.service import Service
from eyeground.clinic.states import STATES

from .opened import encoded, patient_message, photo
from .populated import populated_in, take_in
from .servers import postgres_url

TABLES = (Case, Image, Finding, Review, Outgoing, Job, DeadLetter, Redelivered, PassedMessage, QueuedMessage)
OLD = "2005-03-01T08:00:00.000000Z"


@pytest.fixture(params=["sqlite", "postgresql"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    """Two released cases, two in review, one received; two dead letters."""
    with ExitStack() as stack:
        more = {"database_url": stack.enter_context(postgres_url())} if request.param == "postgresql" else {}
        made = populated_in(tmp_path / "clinic", **more)
        stack.callback(made.close)
        yield made


def age(service: Service, *ids: str, at: str = OLD) -> None:
    """Make cases old."""
    with service.database.write() as work:
        work.session.execute(update(Case).where(Case.id.in_(ids)).values(changed_at=at))


def cases(service: Service, *states: str) -> list[str]:
    """Ids of the cases in these states."""
    with service.database.read() as session:
        return list(session.scalars(select(Case.id).where(Case.state.in_(states)).order_by(Case.request_id)))


def counted(service: Service) -> dict[str, int]:
    """How many lines each table has."""
    with service.database.read() as session:
        return {table.__tablename__: session.scalar(select(func.count()).select_from(table)) or 0 for table in TABLES}


def run(service: Service, *, really: bool = True, years: int = 15) -> Purged:
    return purge(service.database, service.store, years=years, actor="local:test", really=really)


def test_nothing_is_taken_out_before_its_time(service: Service) -> None:
    before, images = counted(service), sorted(service.store.hashes())
    found = run(service)
    assert (found.cases, found.images, found.letters) == (0, 0, 0)
    assert counted(service) == before
    assert sorted(service.store.hashes()) == images


def test_without_saying_really_it_only_counts(service: Service) -> None:
    old = cases(service, "released")
    age(service, *old)
    before = counted(service)
    found = run(service, really=False)
    assert (found.cases, found.images, found.done) == (2, 4, False)
    assert counted(service) == before
    assert run(service) == Purged(2, 4, 0, 0, found.before, True)


def test_a_released_case_goes_with_all_that_hangs_on_it_and_the_trail_says_so(service: Service) -> None:
    old, kept = cases(service, "released")
    age(service, old)
    before, images = counted(service), set(service.store.hashes())
    with service.database.read() as session:
        mine = set(session.scalars(select(Image.sha256).where(Image.case_id == old)))
        lines = session.scalars(select(AuditRecord.seq).where(AuditRecord.case_id == old)).all()
    assert run(service).cases == 1
    after = counted(service)
    lost = {name: before[name] - after[name] for name in before if before[name] != after[name]}
    assert lost == {"cases": 1, "images": 2, "findings": 2, "reviews": 1, "outgoing": 1, "passed_messages": 1}
    assert images - set(service.store.hashes()) == mine
    assert kept in cases(service, "released")
    with service.database.read() as session:
        told = session.scalars(select(AuditRecord).where(AuditRecord.case_id == old).order_by(AuditRecord.seq)).all()
        assert [line.seq for line in told][:-1] == list(lines)
        assert (told[-1].event, told[-1].actor) == ("purged", "local:test")
        assert told[-1].detail == '{"images":2,"last_change":"2005-03-01"}'
        assert verify(session, key=service.database.key).broken_at is None
    assert run(service).cases == 0


@pytest.mark.parametrize("state", [state for state in STATES if state != "released"])
def test_a_case_that_is_not_released_stays_whatever_its_age(state: str, service: Service) -> None:
    for case_id in cases(service, *STATES):
        age(service, case_id)
    with service.database.write() as work:
        work.session.execute(update(Case).values(state=state))
    assert run(service).cases == 0
    assert len(cases(service, state)) == 5


@pytest.mark.parametrize("hindrance", ["job", "unsent", "letter"])
def test_a_case_with_something_under_way_stays(hindrance: str, service: Service) -> None:
    old = cases(service, "released")
    age(service, *old)
    with service.database.write() as work:
        if hindrance == "job":
            work.session.add(Job(case_id=old[0], kind="release", added=OLD))
        elif hindrance == "unsent":
            work.session.execute(update(Outgoing).where(Outgoing.case_id == old[0]).values(sent_at=""))
        else:
            work.session.add(
                DeadLetter(
                    site="default", queue="check", code="failed_every_time", problems=[], body=b"", body_sha256="",
                    case_id=old[0], arrived_at=OLD,
                )
            )  # fmt: skip
    assert run(service).cases == 1
    assert cases(service, "released") == [old[0]]


def test_an_image_that_another_case_uses_is_kept(service: Service) -> None:
    shared = {"name": "same_OD.png", "eye": "OD", "data": encoded(photo("visit-0 OD"))}
    message = patient_message("twin", photos=[shared])
    service.intake.admit([Arrived("screening", message, "default")])
    old = cases(service, "released")
    age(service, *old)
    images = set(service.store.hashes())
    found = run(service, really=False)
    assert (found.cases, found.images) == (2, 3)
    assert run(service).images == 3
    assert len(images - set(service.store.hashes())) == 3
    with service.database.read() as session:
        for sha256 in session.scalars(select(Image.sha256)):
            assert service.store.get(sha256)


def test_letters_and_counts_go_when_they_are_settled(service: Service) -> None:
    with service.database.write() as work:
        letters = work.session.scalars(select(DeadLetter).order_by(DeadLetter.id)).all()
        letters[0].replayed_at, letters[0].outcome = OLD, "admitted"
        letters[1].arrived_at = OLD  # old, and nobody has dealt with it
        body = work.session.scalars(select(Case.body_sha256).limit(1)).one()
        work.session.add(Redelivered(queue="screening", body_sha256=body, times=2))
    found = run(service)
    assert (found.letters, found.counters) == (1, 1)
    assert (counted(service)["dead_letters"], counted(service)["redelivered"]) == (1, 1)


def test_a_clock_that_was_set_forward_takes_nothing_out(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "now", lambda: "2060-01-01T00:00:00.000000Z")
    assert run(service).cases == 0
    assert len(cases(service, "released")) == 2


def test_the_day_is_counted_in_years(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    old, young = cases(service, "released")
    monkeypatch.setattr(retention, "now", lambda: "2024-02-29T12:00:00.000000Z")
    age(service, old, at="2009-02-28T11:59:59.000000Z")
    age(service, young, at="2009-02-28T12:00:01.000000Z")
    assert run(service).cases == 1
    assert cases(service, "released") == [young]
    assert retention._years_ago(datetime(2024, 2, 29, tzinfo=UTC), 16).day == 29
    with pytest.raises(ValueError, match="15 years"):
        run(service, years=14)


def test_who_is_killed_half_way_goes_on(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    age(service, *cases(service, "released"))
    remove = service.store.remove
    calls = []

    def dies(sha256: str) -> None:
        calls.append(sha256)
        if len(calls) == 2:
            raise StoreLost("gone")
        remove(sha256)

    monkeypatch.setattr(service.store, "remove", dies)
    with pytest.raises(StoreLost):
        run(service)
    assert len(cases(service, "released")) == 2  # an image is gone, and its case still says so
    monkeypatch.undo()
    assert run(service).cases == 2
    with service.database.read() as session:
        known = set(session.scalars(select(Image.sha256)))
        assert verify(session, key=service.database.key).broken_at is None
    assert set(service.store.hashes()) == known


def test_the_negative_control_a_purge_by_age_alone_is_caught(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not ask for the state takes out what a doctor has not seen: the test above fails on it."""
    monkeypatch.setattr(retention, "_old", lambda before, case=Case: case.changed_at < before)
    with service.database.write() as work:
        work.session.execute(text("delete from jobs"))
    age(service, *cases(service, "in_review"))
    assert run(service).cases == 2


def test_a_case_can_come_again_when_it_was_taken_out(service: Service) -> None:
    age(service, *cases(service, "released"))
    run(service)
    assert take_in(service, "visit-0") in cases(service, "received")

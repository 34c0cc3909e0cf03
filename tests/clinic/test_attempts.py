"""How often somebody may fail: in one process or several, at once or in turn, whatever the clock does."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from eyeground.clinic import attempts as module
from eyeground.clinic.accounts import add_account
from eyeground.clinic.attempts import FREE, LONGEST_WAIT_S, Attempts, Kind, Tried
from eyeground.clinic.db.database import Database, open_engine
from eyeground.clinic.db.migrate import migrate
from eyeground.clinic.db.people import Attempts as Row
from eyeground.clinic.db.tables import AuditRecord

from .servers import postgres_url

LI, CHEN, HERE = Tried("name", "li"), Tried("name", "chen"), Tried("address", "192.0.2.7")
QUARTER_S = 900.0


class Clock:
    """A clock that a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)
        monkeypatch.setattr(module, "now", lambda: self.at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))

    def goes(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database of each kind."""
    with ExitStack() as stack:
        url = f"sqlite:///{tmp_path / 'a.db'}" if request.param == "sqlite" else stack.enter_context(postgres_url())
        engine = open_engine(url)
        migrate(engine)
        engine.dispose()
        found = Database(url, key=b"k")
        stack.callback(found.close)
        yield found


@pytest.fixture
def attempts(database: Database) -> Attempts:
    return Attempts(database, key=b"key")


def failed(attempts: Attempts, *tried: Tried, times: int) -> list[float]:
    return [attempts.begin(*tried) for _ in range(times)]


def test_five_cost_nothing_then_waits_double_up_to_a_quarter_of_an_hour(attempts: Attempts, clock: Clock) -> None:
    assert failed(attempts, LI, times=5) == [0.0] * 5
    waits = []
    for _ in range(9):
        wait = attempts.begin(LI)
        waits.append(wait)
        clock.goes(wait - 1)
        assert attempts.begin(LI) == 1.0, "not a second earlier"
        clock.goes(1)
        assert attempts.begin(LI) == 0.0
    assert waits[:6] == [15, 30, 60, 120, 240, 480]
    assert set(waits[6:]) == {LONGEST_WAIT_S}
    assert LONGEST_WAIT_S <= QUARTER_S
    assert attempts.begin(CHEN) == 0.0, "nobody waits for another"


def test_who_succeeds_begins_anew_but_his_address_only_takes_back_his_own(attempts: Attempts, clock: Clock) -> None:
    """Or whoever has one account could guess at all others for ever."""
    failed(attempts, LI, HERE, times=4)
    assert attempts.begin(LI, HERE) == 0.0
    attempts.succeeded(LI, HERE)
    assert failed(attempts, LI, times=5) == [0.0] * 5
    for guess in range(FREE["address"] - 4):
        assert attempts.begin(Tried("name", f"victim {guess}"), HERE) == 0.0
        clock.goes(1)
        if not attempts.begin(CHEN, HERE):
            attempts.succeeded(CHEN, HERE)
    assert attempts.begin(Tried("name", "one more"), HERE) > 0


def storm(database: Database, size: int = 20) -> int:
    """Many try at the same moment, each in a process of his own, so to say; how many are looked at."""
    together, let_in = threading.Barrier(size), list[float]()

    def tries() -> None:
        mine = Attempts(database, key=b"key")
        together.wait()
        let_in.append(mine.begin(LI, HERE))

    threads = [threading.Thread(target=tries) for _ in range(size)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(let_in) == size
    return let_in.count(0.0)


def test_of_many_at_the_same_moment_five_are_looked_at(database: Database) -> None:
    assert storm(database) == 5


def test_a_limit_that_looks_only_once_is_found_out(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(self: Attempts, kind: str, row: Row, moment: str) -> float:
        return 0.0  # as all see it who looked before the first of them had failed

    monkeypatch.setattr(Attempts, "_left", late)
    assert storm(database) == 20


@pytest.mark.parametrize("jump_s", [-86400.0, -3600.0, -120.0, -30.0, 86400.0])
def test_a_clock_that_is_set_back_shuts_nobody_out_for_longer_than_a_quarter_of_an_hour(
    attempts: Attempts, clock: Clock, jump_s: float
) -> None:
    failed(attempts, LI, times=5)
    for _ in range(8):
        clock.goes(attempts.begin(LI) + 1)
        assert attempts.begin(LI) == 0.0
    assert attempts.begin(LI) == LONGEST_WAIT_S
    clock.goes(jump_s)
    waited = 0.0
    while attempts.begin(LI) > 0.0:
        clock.goes(30)
        waited += 30
    assert waited <= QUARTER_S
    assert attempts.begin(LI) > 0.0, "and the next failure costs again"


def test_a_failure_is_forgotten_and_its_row_goes(attempts: Attempts, clock: Clock, database: Database) -> None:
    failed(attempts, LI, HERE, times=5)
    clock.goes(86400 + 60)
    assert failed(attempts, LI, times=5) == [0.0] * 5
    clock.goes(3 * 86400)
    attempts.begin(CHEN)
    with database.read() as session:
        assert len(session.scalars(select(Row)).all()) == 1


def test_nobody_s_name_or_address_is_kept(attempts: Attempts, database: Database) -> None:
    attempts.begin(Tried("name", "Zhang San"), HERE)
    with database.read() as session:
        kept = [row.what for row in session.scalars(select(Row))]
    assert len(kept) == 2
    assert all(len(each) == 64 and set(each) <= set("0123456789abcdef") for each in kept)
    other = Attempts(database, key=b"another key")
    assert other._hashed(HERE) not in kept


def test_who_waits_costs_no_write(attempts: Attempts, clock: Clock, database: Database) -> None:
    failed(attempts, LI, times=5)
    with database.read() as session:
        before = session.scalars(select(Row.failures)).all()
    assert failed(attempts, LI, times=50) == [15.0] * 50
    with database.read() as session:
        assert session.scalars(select(Row.failures)).all() == before


def test_a_state_is_good_once(attempts: Attempts, clock: Clock) -> None:
    state = Tried("state", "abc")
    assert attempts.begin(state) == 0.0
    clock.goes(600)
    assert attempts.begin(state) > 0.0, "for as long as its cookie is good"


@pytest.mark.parametrize("kind", ["address", "link_address", "token"])
def test_a_typo_an_hour_shuts_no_clinic_out(attempts: Attempts, clock: Clock, kind: Kind) -> None:
    """Many share an address, and there is never an hour in which nobody signs in."""
    clinic, waits = Tried(kind, "192.0.2.7"), []
    for _ in range(48):
        for seconds, is_wrong in ((60, True), (1740, False), (1800, False)):
            waits.append(attempts.begin(clinic))
            if not is_wrong:
                attempts.succeeded(clinic)
            clock.goes(seconds)
    assert set(waits) == {0.0}


def test_who_guesses_from_an_address_all_day_gets_no_further_than_its_leak(attempts: Attempts, clock: Clock) -> None:
    begun, ends = 0, clock.at + timedelta(days=1)
    while clock.at < ends:
        wait = attempts.begin(Tried("name", f"victim {begun}"), HERE)
        begun += not wait
        clock.goes(wait + 1)
    assert begun <= FREE["address"] + 86400 / 180 + 10


def test_a_clock_that_is_set_back_does_not_stop_the_leak(attempts: Attempts, clock: Clock) -> None:
    failed(attempts, HERE, times=19)
    clock.goes(-7 * 86400)
    assert failed(attempts, HERE, times=1) == [0.0]
    clock.goes(3600)
    assert failed(attempts, HERE, times=19) == [0.0] * 19


def test_many_who_succeed_at_the_same_moment_do_not_trip_over_each_other(database: Database) -> None:
    mine, errors = Attempts(database, key=b"key"), []

    def comes_in(person: int) -> None:
        for time in range(15):
            tried = (Tried("name", f"{person} {time}"), HERE)
            try:
                if not mine.begin(*tried):
                    mine.succeeded(*tried)
            except Exception as error:  # noqa: BLE001 - whichever it is
                errors.append(repr(error))

    threads = [threading.Thread(target=comes_in, args=(person,)) for person in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert errors == []
    with database.read() as session:
        assert session.get_one(Row, mine._hashed(HERE)).failures == 0


def test_that_an_account_is_shut_out_is_written_down_once(attempts: Attempts, clock: Clock, database: Database) -> None:
    def lines() -> list[tuple[str, str]]:
        with database.read() as session:
            return [
                (each.event, each.detail) for each in session.scalars(select(AuditRecord).filter_by(actor="service"))
            ]

    with database.write() as work:
        add_account(work, "li", role="doctor", actor="tests")
    for name in (LI, CHEN):
        for _ in range(4):
            attempts.begin(name)
            attempts.failed(name.whom)
        assert lines() == ([] if name is LI else [("sign_in_locked", '{"account":"li","failures":5}')])
        for _ in range(4):
            clock.goes(attempts.begin(name) + 1)
            attempts.failed(name.whom)
    assert len(lines()) == 1, "nobody's name may be a patient's"
    clock.goes(900)
    assert attempts.begin(LI) == 0.0
    attempts.succeeded(LI)
    failed(attempts, LI, times=5)
    attempts.failed("li")
    assert len(lines()) == 2, "and the next time again"

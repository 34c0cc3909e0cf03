"""Leases: one owner at a time, whatever the clocks say, and a row that is lost is not written to."""

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from sqlalchemy import insert, select

from eyeground.clinic.db import lease
from eyeground.clinic.db.database import Database
from eyeground.clinic.db.lease import LeaseLost, Leases, Watcher
from eyeground.clinic.db.tables import QueuedMessage

LEASE_S = 30.0
DAY_S = 86_400.0


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def fill(database: Database, count: int) -> None:
    with database.write() as work:
        rows = [{"queue": "check", "body": b"%d" % number} for number in range(count)]
        work.session.execute(insert(QueuedMessage), rows)


def leases(clock: Callable[[], float], watcher: Watcher | None = None) -> Leases[QueuedMessage]:
    order, watcher = [QueuedMessage.id], watcher or Watcher(clock)
    return Leases(QueuedMessage, key=QueuedMessage.id, order=order, lease_s=LEASE_S, watcher=watcher)


def take(database: Database, of: Leases[QueuedMessage], count: int = 1) -> list[QueuedMessage]:
    with database.write() as work:
        return of.take(work.session, count=count)


def bodies(rows: Sequence[QueuedMessage]) -> list[bytes]:
    return [row.body for row in rows]


def test_what_one_has_another_does_not_get(database: Database) -> None:
    fill(database, 3)
    clock = Clock()
    one, other = leases(clock), leases(clock)
    assert bodies(take(database, one, 2)) == [b"0", b"1"]
    assert bodies(take(database, other, 5)) == [b"2"]
    assert take(database, one) == take(database, other) == []


def test_a_silent_owner_loses_its_row_after_its_patience_and_not_before(database: Database) -> None:
    fill(database, 1)
    clock = Clock()
    [held] = take(database, leases(clock))
    heir = leases(clock)
    assert take(database, heir) == []  # seen for the first time
    clock.seconds += LEASE_S - 0.01
    assert take(database, heir) == []
    clock.seconds += 0.6
    [taken] = take(database, heir)
    assert (taken.id, taken.attempts) == (held.id, 2)


def test_a_row_that_another_watcher_has_seen_for_long_is_new_to_this_one(database: Database) -> None:
    fill(database, 1)
    clock = Clock()
    take(database, leases(clock))
    clock.seconds += 10 * LEASE_S
    late = leases(clock)
    assert take(database, late) == []
    clock.seconds += LEASE_S / 2
    assert take(database, late) == []


def test_an_owner_that_keeps_its_row_keeps_it(database: Database) -> None:
    fill(database, 1)
    clock = Clock()
    mine, other = leases(clock), leases(clock)
    [held] = take(database, mine)
    for _ in range(10):
        clock.seconds += LEASE_S * 0.9
        assert take(database, other) == []
        with database.write() as work:
            mine.keep(work.session, held)
    with database.write() as work:
        mine.drop(work.session, held)


def test_what_rests_comes_back_after_its_pause(database: Database) -> None:
    fill(database, 1)
    clock = Clock()
    mine = leases(clock)
    [held] = take(database, mine)
    with database.write() as work:
        mine.rest(work.session, held, pause_s=5)
    clock.seconds += 1  # the pause begins when it is first seen
    assert take(database, mine) == []
    clock.seconds += 4.9
    assert take(database, mine) == []
    clock.seconds += 0.6
    assert [row.attempts for row in take(database, mine)] == [2]


@pytest.mark.parametrize("way", ["rest", "undo"])
def test_what_is_given_back_at_once_goes_first(database: Database, way: str) -> None:
    fill(database, 2)
    mine = leases(Clock())
    [held] = take(database, mine)
    with database.write() as work:
        if way == "rest":
            mine.rest(work.session, held, pause_s=0)
        else:
            mine.undo(work.session, held)
    [again] = take(database, mine)
    assert (again.body, again.attempts) == (b"0", 2 if way == "rest" else 1)


WAYS: dict[str, Callable[[Leases[QueuedMessage], object, QueuedMessage], None]] = {
    "keep": lambda of, session, row: of.keep(session, row),  # type: ignore[arg-type]
    "rest": lambda of, session, row: of.rest(session, row, pause_s=0),  # type: ignore[arg-type]
    "undo": lambda of, session, row: of.undo(session, row),  # type: ignore[arg-type]
    "drop": lambda of, session, row: of.drop(session, row),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("loss", ["taken", "dropped", "rested", "undone"])
def test_a_row_that_is_lost_is_not_written_to(database: Database, way: str, loss: str) -> None:
    fill(database, 1)
    clock = Clock()
    mine, other = leases(clock), leases(clock)
    [held] = take(database, mine)
    if loss == "taken":
        take(database, other)
        clock.seconds += LEASE_S + 1
        assert len(take(database, other)) == 1
    else:
        with database.write() as work:
            WAYS[{"dropped": "drop", "rested": "rest", "undone": "undo"}[loss]](mine, work.session, held)
    before = dump(database)
    with pytest.raises(LeaseLost), database.write() as work:
        WAYS[way](mine, work.session, held)
    assert dump(database) == before


def dump(database: Database) -> list[tuple[object, ...]]:
    with database.read() as session:
        columns = (QueuedMessage.id, QueuedMessage.token, QueuedMessage.patience_s, QueuedMessage.attempts)
        return [tuple(row) for row in session.execute(select(*columns).order_by(QueuedMessage.id))]


@pytest.mark.parametrize("way", ["keep", "rest", "undo"])
def test_a_touch_that_was_undone_costs_nothing(database: Database, way: str) -> None:
    fill(database, 1)
    mine = leases(Clock())
    [held] = take(database, mine)
    with suppress(ZeroDivisionError), database.write() as work:
        WAYS[way](mine, work.session, held)
        raise ZeroDivisionError
    with database.write() as work:
        mine.keep(work.session, held)
        mine.drop(work.session, held)
    assert dump(database) == []


def test_a_row_that_nobody_took_belongs_to_nobody(database: Database) -> None:
    fill(database, 1)
    with database.read() as session:
        row = session.scalars(select(QueuedMessage)).one()
    for way in WAYS.values():
        with pytest.raises(LeaseLost), database.write() as work:
            way(leases(Clock()), work.session, row)


def work_through_a_night(
    database: Database, patch: pytest.MonkeyPatch, make: Callable[[Clock], Watcher], shifts: Sequence[float]
) -> int:
    """How often a row was taken from an owner that keeps it, while the time of day jumps."""
    fill(database, 1)
    steady, shift = Clock(), [0.0]
    patch.setattr(time, "time", lambda: steady.seconds + shift[0])
    owner, thief = leases(steady, make(steady)), leases(steady, make(steady))
    [held] = take(database, owner)
    stolen = 0
    for jump in shifts:
        for step in range(4):
            steady.seconds += LEASE_S / 3
            if step == 1:
                shift[0] += jump
            if take(database, thief):
                return stolen + 1
            with database.write() as work:
                owner.keep(work.session, held)
            steady.seconds += 1.0
            # Between two signs of life; the jump above lies between a look and the next.
            if take(database, thief):
                return stolen + 1
            shift[0] += jump / 2
            if take(database, thief):
                return stolen + 1
    return stolen


SHIFTS = (DAY_S, -DAY_S, -DAY_S, DAY_S, 3600.0, -3600.0)


def test_a_clock_that_is_set_a_day_back_or_forth_changes_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert work_through_a_night(database, monkeypatch, Watcher, SHIFTS) == 0


def test_a_watcher_that_trusts_the_time_of_day_is_caught_by_that_very_test(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert work_through_a_night(database, monkeypatch, lambda _: Watcher(clock=lambda: time.time()), SHIFTS) == 1


def test_the_clock_that_is_used_only_ever_grows() -> None:
    assert Watcher()._clock is time.monotonic
    assert "time.time(" not in lease.__loader__.get_source(lease.__name__)  # type: ignore[union-attr]


@pytest.mark.parametrize("count", [4, 50])
def test_a_thousand_rows_are_each_taken_once_by_four(database: Database, count: int) -> None:
    fill(database, 1000)

    def work_off(_: int) -> list[int]:
        mine, done = leases(time.monotonic), []
        while rows := take(database, mine, count):
            done += [row.id for row in rows]
        return done

    with ThreadPoolExecutor(4) as pool:
        taken = [number for done in pool.map(work_off, range(4)) for number in done]
    assert Counter(taken) == Counter(range(1, 1001))


def test_rows_of_dead_owners_are_each_taken_over_once(database: Database) -> None:
    fill(database, 60)
    clock = Clock()
    take(database, leases(clock), 60)
    heirs = [leases(clock) for _ in range(4)]
    for heir in heirs:
        take(database, heir)
    clock.seconds += LEASE_S + 1

    def take_over(number: int) -> list[int]:
        return [row.id for row in take(database, heirs[number], 60)]

    with ThreadPoolExecutor(4) as pool:
        taken = [number for rows in pool.map(take_over, range(4)) for number in rows]
    assert Counter(taken) == Counter(range(1, 61))


def test_a_random_life_of_many_workers_never_has_two_owners(database: Database) -> None:
    fill(database, 5)
    clock, chance = Clock(), random.Random(1)
    workers = [leases(clock) for _ in range(3)]
    holds: list[list[QueuedMessage]] = [[], [], []]
    seen = 0
    for _ in range(250):
        who = chance.randrange(3)
        clock.seconds += chance.choice([0.1, 1.0, LEASE_S / 3])
        if holds[who] and chance.random() < 0.6:
            row = chance.choice(holds[who])
            way = chance.choice(["keep", "keep", "rest", "undo"])
            try:
                with database.write() as work:
                    WAYS[way](workers[who], work.session, row)
            except LeaseLost:
                holds[who].remove(row)
                continue
            if way != "keep":
                holds[who].remove(row)
        else:
            for row in take(database, workers[who], 2):
                holds[who].append(row)
                seen += 1
        owners = Counter(row.id for rows in holds for row in rows if owned(database, row))
        assert max(owners.values(), default=1) == 1
    assert seen > 50


def owned(database: Database, row: QueuedMessage) -> bool:
    """Whether a worker could still write to it."""
    try:
        with database.write() as work:
            leases(Clock()).keep(work.session, QueuedMessage(id=row.id, token=row.token))
            work.session.rollback()
    except LeaseLost:
        return False
    return True

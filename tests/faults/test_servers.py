"""R1, R4, R5, R6 and the contract as a site sees it: PostgreSQL and RabbitMQ, real ones, that die and come back."""

import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.clinic.servers import OwnPostgres, OwnRabbit, amqp_url, postgres_url

from . import scoreboard
from .broker import Inbox, Line, publish
from .chaos import Crew, Site, alive, count, crew, request, sent, until


@contextmanager
def office(folder: Path, *, database: str, broker: str, **more: Any) -> Iterator[tuple[Site, Inbox]]:
    """A site on PostgreSQL and RabbitMQ, with its own client listening for answers."""
    site = Site(folder / "site", database_url=database, queue_url=broker, more=more)
    inbox = Inbox(broker)
    try:
        yield site, inbox
    finally:
        inbox.close()
        site.close()


def ended(workforce: Crew) -> bool:
    """Everybody is gone."""
    return not any(alive(pid) for pid in workforce.pids)


def test_the_contract_as_a_site_sees_it(tmp_path: Path) -> None:
    """1,000 requests with missing eyes and repeats: every answer right, none lost, none twice."""
    draws = random.Random(31)
    with (
        postgres_url() as database,
        amqp_url() as broker,
        office(tmp_path, database=database, broker=broker) as (site, inbox),
    ):
        bodies = [request(site, number, draws) for number in range(1_000)]
        everything = bodies + draws.sample(bodies, 200)
        draws.shuffle(everything)
        publish(broker, everything)
        began = time.monotonic()
        with crew(site) as workforce:
            workforce.keep_up(2)
            assert until(lambda: len(inbox.got) >= 1_000 and sent(site) >= 1_000, seconds=300)
            took = time.monotonic() - began
            # Long after the answers went out, some requests come again.
            publish(broker, draws.sample(bodies, 50))
            until(lambda: False, seconds=3)
            workforce.signal_all()
            assert until(lambda: ended(workforce), seconds=40)
        got = [body for each in inbox.got.values() for body in each]
        found = count(site, bodies, got)
    scoreboard.write("contract", sent=len(everything) + 50, seconds=round(took, 1), **vars(found))
    assert found.sound


@contextmanager
def under_fire(
    tmp_path: Path, *, database: str, broker: str, messages: int, seed: int, workers: int = 2, **more: Any
) -> Iterator[tuple[Site, Inbox, Crew, list[bytes], dict[str, Any]]]:
    """A running office with messages on their way; at the end all is held against all."""
    draws = random.Random(seed)
    figures: dict[str, Any] = {"messages": messages, "seed": seed}
    with office(tmp_path, database=database, broker=broker, **more) as (site, inbox), crew(site) as workforce:
        bodies = [request(site, number, draws) for number in range(messages)]
        workforce.keep_up(workers)
        yield site, inbox, workforce, bodies, figures
        whole = until(
            lambda: len(inbox.got) >= messages and sent(site) >= messages,
            seconds=500,
            act=lambda: workforce.keep_up(workers),
            moves=lambda: len(inbox.got),
            patience_s=90,
        )
        workforce.signal_all()
        until(lambda: ended(workforce), seconds=40)
        figures |= {"in_time": whole, "repeats_with_the_same_id": inbox.repeats}
        figures |= vars(count(site, bodies, inbox.once_each()))


def _sound(figures: dict[str, Any]) -> bool:
    """Nothing lost, nothing twice, nothing wrong, nothing left lying."""
    faults = ("lost", "duplicated", "wrong", "stuck", "dead_letters", "audit")
    return not any(figures[name] for name in faults) and figures["cases"] == figures["requests"]


def kills_of_postgres(tmp_path: Path, *, messages: int, kills: int, seed: int) -> dict[str, Any]:
    """R4: the database is killed again and again."""
    with OwnPostgres() as server, amqp_url() as broker:  # noqa: SIM117 - one line would be too long to read
        with under_fire(tmp_path, database=server.url, broker=broker, messages=messages, seed=seed) as (
            _, inbox, _, bodies, figures,
        ):  # fmt: skip
            for number in range(kills):
                publish(broker, bodies[number * messages // kills : (number + 1) * messages // kills])
                goal = int((number + 0.5) * messages / kills)
                until(lambda goal=goal: len(inbox.got) >= goal, seconds=60)
                server.kill()
                server.start()
            figures["kills"] = kills
    return figures


def test_r4_short(tmp_path: Path) -> None:
    figures = kills_of_postgres(tmp_path, messages=120, kills=3, seed=32)
    scoreboard.write("r4_postgresql_short", **figures)
    assert _sound(figures)


@pytest.mark.slow
def test_r4_postgresql_killed_fifty_times(tmp_path: Path) -> None:
    figures = kills_of_postgres(tmp_path, messages=5_000, kills=50, seed=33)
    scoreboard.write("r4_postgresql", **figures)
    assert _sound(figures)


_WRITER = """
import sys
from eyeground.clinic.db.database import Database
database = Database(sys.argv[1], key=bytes.fromhex(sys.argv[2]))
print("ready", flush=True)
number = 0
while True:
    with database.write() as work:
        for _ in range(20):
            number += 1
            work.note("service", "written", None, number=number)
"""


@pytest.mark.parametrize("kills", [15, pytest.param(200, marks=pytest.mark.slow)])
def test_r4_sqlite_writer_killed_in_the_middle(tmp_path: Path, kills: int) -> None:
    site = Site(tmp_path / "site")
    draws = random.Random(34)
    for _ in range(kills):
        with subprocess.Popen(
            [sys.executable, "-c", _WRITER, site.database_url, site.database.key.hex()], stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            time.sleep(draws.uniform(0.001, 0.05))
            writer.send_signal(signal.SIGKILL)
        with sqlite3.connect(site.folder / "clinic.db") as connection:
            assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
            # Twenty at a time, or none of them.
            assert connection.execute("select count(*) % 20 from audit").fetchone() == (0,)
        connection.close()
    found = count(site, [], [])
    with sqlite3.connect(site.folder / "clinic.db") as connection:
        [lines] = connection.execute("select count(*) from audit").fetchone()
    connection.close()
    scoreboard.write(f"r4_sqlite_{kills}", kills=kills, lines=lines, audit=found.audit)
    assert found.audit == ""
    assert lines > 0
    site.close()


def restarts_of_the_broker(tmp_path: Path, *, messages: int, restarts: int, seed: int) -> dict[str, Any]:
    """R5: the broker goes and comes; how long until an answer comes again."""
    back: list[float] = []
    with postgres_url() as database, OwnRabbit() as server:  # noqa: SIM117 - as above
        with under_fire(tmp_path, database=database, broker=server.url, messages=messages, seed=seed) as (
            _, inbox, workforce, bodies, figures,
        ):  # fmt: skip
            for number in range(restarts):
                publish(server.url, bodies[number * messages // restarts : (number + 1) * messages // restarts])
                goal = int((number + 0.3) * messages / restarts)
                until(lambda goal=goal: len(inbox.got) >= goal, seconds=60)
                if number % 2:
                    server.kill()
                else:
                    server.stop()
                server.start()
                began, seen = time.monotonic(), len(inbox.got)
                assert until(lambda seen=seen: len(inbox.got) > seen, seconds=60, act=lambda: workforce.keep_up(2))
                back.append(time.monotonic() - began)
            figures |= {"restarts": restarts, "longest_until_answers_s": round(max(back), 1)}
    return figures


def test_r5_short(tmp_path: Path) -> None:
    figures = restarts_of_the_broker(tmp_path, messages=120, restarts=2, seed=35)
    scoreboard.write("r5_short", **figures)
    assert _sound(figures)
    assert figures["longest_until_answers_s"] <= 30


@pytest.mark.slow
def test_r5_broker_restarted_twenty_times(tmp_path: Path) -> None:
    figures = restarts_of_the_broker(tmp_path, messages=5_000, restarts=20, seed=36)
    scoreboard.write("r5", **figures)
    assert _sound(figures)
    assert figures["longest_until_answers_s"] <= 30


FAULTS: dict[str, Callable[[Line], None]] = {
    "cut": lambda line: line.cut(),
    "reset": lambda line: line.cut(reset=True),
    "refused_for_2_s": lambda line: _for(line, "refuses", 2.0),
    "stalled_for_3_s": lambda line: _while(line, "stalls", 3.0),
    "stalled_then_cut": lambda line: (_while(line, "stalls", 1.0), line.cut()),  # type: ignore[func-returns-value]
    "silent_for_20_s": lambda line: _while(line, "drops", 20.0),
    "cut_twice": lambda line: (line.cut(), time.sleep(0.3), line.cut()),  # type: ignore[func-returns-value]
    "reset_five_times": lambda line: [(_nap(0.2), line.cut(reset=True)) for _ in range(5)],  # type: ignore[func-returns-value]
    "refused_for_8_s": lambda line: _for(line, "refuses", 8.0),
    "dropped_then_reset": lambda line: (_while(line, "drops", 0.5), line.cut(reset=True)),  # type: ignore[func-returns-value]
}


def _nap(seconds: float) -> None:
    time.sleep(seconds)


def _for(line: Line, what: str, seconds: float) -> None:
    """Cut, and let nobody in for a while."""
    setattr(line, what, True)
    line.cut()
    time.sleep(seconds)
    setattr(line, what, False)


def _while(line: Line, what: str, seconds: float) -> None:
    """Something is wrong with the line for a while."""
    setattr(line, what, True)
    time.sleep(seconds)
    setattr(line, what, False)


def answered(workforce: Crew, inbox: Inbox, goal: int) -> bool:
    """So many answers come, in the end."""
    return until(lambda: len(inbox.got) >= goal, seconds=90, act=lambda: workforce.keep_up(2))


def network_faults(tmp_path: Path, *, names: list[str], each: int, seed: int) -> dict[str, Any]:
    """R6: the line to the broker fails in one way after the other; the site's own client has another line."""
    back: dict[str, float] = {}
    with postgres_url() as database, amqp_url() as broker:
        line = Line(5672)
        draws = random.Random(seed)
        through = broker.replace(":5672/", f":{line.port}/")
        site = Site(tmp_path / "site", database_url=database, queue_url=through)
        inbox = Inbox(broker)
        bodies = [request(site, number, draws) for number in range(each * len(names))]
        with crew(site) as workforce:
            for place, name in enumerate(names):
                publish(broker, bodies[place * each : (place + 1) * each])
                goal = place * each + each // 3
                assert until(lambda goal=goal: len(inbox.got) >= goal, seconds=90, act=lambda: workforce.keep_up(2)), (
                    name
                )
                FAULTS[name](line)
                began = time.monotonic()
                goal = (place + 1) * each
                assert until(lambda goal=goal: len(inbox.got) >= goal, seconds=90, act=lambda: workforce.keep_up(2)), (
                    name
                )
                back[name] = round(time.monotonic() - began, 1)
            workforce.signal_all()
            assert until(lambda: ended(workforce), seconds=40)
        figures = {"recovery_s": back, "repeats_with_the_same_id": inbox.repeats, "messages": len(bodies)}
        inbox.close()
        figures |= vars(count(site, bodies, inbox.once_each()))
        site.close()
        line.close()
    return figures


def test_r6_short(tmp_path: Path) -> None:
    figures = network_faults(tmp_path, names=["cut", "refused_for_2_s", "dropped_then_reset"], each=30, seed=37)
    scoreboard.write("r6_short", **figures)
    assert _sound(figures)
    assert max(figures["recovery_s"].values()) <= 60


@pytest.mark.slow
def test_r6_ten_network_faults(tmp_path: Path) -> None:
    figures = network_faults(tmp_path, names=list(FAULTS), each=60, seed=38)
    scoreboard.write("r6", **figures)
    assert _sound(figures)
    assert max(figures["recovery_s"].values()) <= 60


@pytest.mark.slow
def test_r1_on_postgresql_and_rabbitmq(tmp_path: Path) -> None:
    draws, done = random.Random(39), 0
    with postgres_url() as database, amqp_url() as broker:  # noqa: SIM117 - as above
        with under_fire(tmp_path, database=database, broker=broker, messages=10_000, seed=39, workers=4) as (
            _, inbox, workforce, bodies, figures,
        ):  # fmt: skip
            publish(broker, bodies)

            def strike() -> None:
                nonlocal done
                if done < 200 and len(inbox.got) >= 10_000 * done / 201 and workforce.kill_one(draws):
                    done += 1
                workforce.keep_up(4)

            until(lambda: done >= 200, seconds=540, act=strike, moves=lambda: (done, len(inbox.got)), patience_s=60)
            figures["kills"] = done
    scoreboard.write("r1_postgresql_rabbitmq", **figures)
    assert _sound(figures)
    assert figures["kills"] == 200

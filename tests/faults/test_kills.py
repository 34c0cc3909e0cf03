"""R1, R2, R7, R9: workers that are killed at any moment, at chosen moments, and by a message."""

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from eyeground.clinic.db.tables import Case, DeadLetter
from eyeground.clinic.moments import MOMENTS

from . import scoreboard
from .chaos import Count, Site, alive, count, crew, feed, request, results_in_queue, sent, until, waiting


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "site")
    yield made
    made.close()


def killed_at_random(
    site: Site, *, messages: int, workers: int, kills: int, seed: int, mutants: tuple[str, ...] = (), **spec: object
) -> tuple[Count, dict[str, object]]:
    """R1: messages through workers that are killed again and again; a mutant may stand still, and is given up."""
    draws = random.Random(seed)
    bodies = [request(site, number, draws) for number in range(messages)]
    feed(site, bodies)
    done = 0
    began = time.monotonic()
    with crew(site, mutants=list(mutants), **spec) as workforce:

        def strike() -> None:
            nonlocal done
            # Kills are spread over the whole of the work, whatever the speed of this machine.
            if done < kills and sent(site) >= messages * done / (kills + 1) and workforce.kill_one(draws):
                done += 1
            workforce.keep_up(workers)

        whole = until(
            lambda: done >= kills and sent(site) >= messages,
            seconds=600,
            act=strike,
            moves=lambda: (done, sent(site)),
            patience_s=30,
        )
        took = time.monotonic() - began
        until(lambda: len(results_in_queue(site)) >= messages, seconds=10)
        workforce.signal_all()
        until(lambda: not any(alive(pid) for pid in workforce.pids), seconds=40)
    found = count(site, bodies, results_in_queue(site))
    return found, {"messages": messages, "kills": done, "seconds": round(took, 1), "in_time": whole, "seed": seed}


@pytest.mark.slow
def test_r1_ten_thousand_messages_and_two_hundred_kills(site: Site) -> None:
    found, figures = killed_at_random(site, messages=10_000, workers=4, kills=200, seed=1)
    scoreboard.write("r1_sqlite", **figures, **vars(found))
    assert found.sound
    assert figures["kills"] == 200


def test_r1_short(site: Site) -> None:
    found, figures = killed_at_random(site, messages=400, workers=3, kills=20, seed=2)
    scoreboard.write("r1_sqlite_short", **figures, **vars(found))
    assert found.sound
    assert figures["kills"] == 20


def killed_at_moments(
    site: Site, moment: str, *, deaths: int, messages: int, seed: int, mutants: tuple[str, ...] = ()
) -> tuple[Count, dict[str, object]]:
    """R2: whoever reaches a moment dies there, often; the doctor signs everything."""
    draws = random.Random(seed)
    graves = site.folder / f"deaths-{moment}"
    graves.mkdir()
    crash = {"moment": moment, "chance": 0.5, "seed": seed, "deaths": str(graves)}
    bodies: list[bytes] = []
    died = 0
    with crew(site, mutants=list(mutants)) as workforce:
        doctor = workforce.start(role="doctor", crash=crash)

        def go_on() -> None:
            nonlocal died, doctor
            died = len(list(graves.iterdir()))
            # Fed a few at a time and until enough have died, so that every moment is passed often.
            while (len(bodies) < messages or died < deaths) and len(bodies) - sent(site) < 12:
                bodies.append(request(site, len(bodies), draws))
                feed(site, bodies[-1:])
            armed = {} if died >= deaths else {"crash": crash}
            if not alive(doctor):
                doctor = workforce.start(role="doctor", **armed)
            workforce.keep_up(3, **armed)  # the doctor and two workers

        def all_out() -> bool:
            return died >= deaths and len(bodies) >= messages and sent(site) >= len(bodies)

        whole = until(all_out, seconds=400, act=go_on, moves=lambda: (died, sent(site)))
        workforce.signal_all()
        until(lambda: not any(alive(pid) for pid in workforce.pids if pid != doctor), seconds=40)
    found = count(site, bodies, results_in_queue(site))
    return found, {"moment": moment, "deaths": died, "messages": len(bodies), "in_time": whole, "seed": seed}


@pytest.fixture
def signing(tmp_path: Path) -> Iterator[Site]:
    """A site whose results wait for a doctor."""
    made = Site(tmp_path / "signing", more={"release": "signed", "lease_s": 0.5, "tries": 100})
    yield made
    made.close()


@pytest.mark.parametrize("moment", MOMENTS)
def test_r2_short(signing: Site, moment: str) -> None:
    found, figures = killed_at_moments(signing, moment, deaths=4, messages=24, seed=3)
    scoreboard.write(f"r2_{moment}_short", **figures, **vars(found))
    assert found.sound
    assert int(str(figures["deaths"])) >= 4


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_r2_a_hundred_deaths_at_a_moment(signing: Site, moment: str) -> None:
    found, figures = killed_at_moments(signing, moment, deaths=100, messages=200, seed=4)
    scoreboard.write(f"r2_{moment}", **figures, **vars(found))
    assert found.sound
    assert int(str(figures["deaths"])) >= 100


def test_r7_every_message_three_times(site: Site) -> None:
    draws = random.Random(5)
    bodies = [request(site, number, draws) for number in range(120)]
    others = [body.replace(b'"id"', b'"note": "changed", "id"') for body in bodies[:10]]
    thrice = bodies * 3
    draws.shuffle(thrice)
    feed(site, thrice)
    with crew(site) as workforce:
        workforce.keep_up(3)
        assert until(lambda: waiting(site, "check") == 0 and sent(site) >= 120, seconds=120)
        first = sorted(results_in_queue(site))
        # Long after its answer went out, a request comes once more, and ten ids come with another body.
        feed(site, [*bodies[:20], *others])
        assert until(lambda: waiting(site, "check") == 0, seconds=60)
        workforce.signal_all()
        assert until(lambda: not any(alive(pid) for pid in workforce.pids), seconds=40)
    assert sorted(results_in_queue(site)) == first
    found = count(site, bodies, results_in_queue(site))
    with site.database.read() as session:
        codes = [letter.code for letter in session.scalars(select(DeadLetter))]
    scoreboard.write("r7", messages=len(thrice) + 20, conflicts=len(codes), **vars(found))
    assert codes == ["idempotency_conflict"] * 10
    assert (found.lost, found.duplicated, found.wrong, found.stuck, found.cases) == (0, 0, 0, 0, 120)


def test_r9_a_message_that_kills_is_put_aside_and_the_others_live(site: Site) -> None:
    draws = random.Random(6)
    bodies = [request(site, number, draws) for number in range(60)]
    site.add_image("deadly.jpg", b"DEADLY" * 10)
    site.add_image("failing.jpg", b"FAILING" * 10)
    bad = [json.dumps({"id": name, "odFundusImg": f"{name}.jpg"}).encode() for name in ("deadly", "failing")]
    feed(site, [*bodies[:20], *bad, *bodies[20:]])
    with crew(site, grader={"deadly": "DEADLY", "failing": "FAILING"}) as workforce:

        def all_out() -> bool:
            with site.database.read() as session:
                letters = session.scalar(select(func.count()).select_from(DeadLetter)) or 0
            return letters == 2 and sent(site) >= 60

        assert until(all_out, seconds=120, act=lambda: workforce.keep_up(2))
        deaths = workforce.started - 2
        workforce.signal_all()
        assert until(lambda: not any(alive(pid) for pid in workforce.pids), seconds=40)
    with site.database.read() as session:
        letters = {letter.code: letter for letter in session.scalars(select(DeadLetter))}
        kept = {case.request_id: case for case in session.scalars(select(Case).where(Case.state == "in_review"))}
        others = session.scalars(select(Case).where(Case.state == "released")).all()
    scoreboard.write("r9", deaths=deaths, put_aside=sorted(letters), answered=len(others))
    assert sorted(letters) == ["failed_every_time", "killed_the_worker"]
    assert deaths == 5
    # A doctor sees both, and that no model has answered; nothing of them went out by itself.
    assert {case.unavailable["fundus/OD"] for case in kept.values()} == {"failed"}
    assert sorted(kept) == ["deadly", "failing"]
    assert len(others) == 60
    found = count(site, bodies, results_in_queue(site))
    assert (found.lost, found.duplicated, found.wrong) == (0, 0, 0)

"""R3: every planted fault is caught by the family that exists for it, and the sound service passes the same."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from . import scoreboard
from .chaos import Site, alive, count, crew, feed, request, results_in_queue, sent, until, waiting
from .test_kills import killed_at_moments


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Makes sites, and closes them."""
    made: list[Site] = []

    def make(**more: Any) -> Site:
        made.append(Site(tmp_path / f"site-{len(made)}", more=more))
        return made[-1]

    yield make
    for each in made:
        each.close()


def at_moment(site: Site, moment: str, mutants: tuple[str, ...]) -> dict[str, object]:
    """R2 in short."""
    found, figures = killed_at_moments(site, moment, deaths=8, messages=24, seed=11, mutants=mutants)
    return {**figures, **vars(found), "sound": found.sound}


def repeated(site: Site, mutants: tuple[str, ...]) -> dict[str, object]:
    """R7 in short."""
    draws = random.Random(12)
    bodies = [request(site, number, draws) for number in range(20)]
    with crew(site, mutants=list(mutants)) as workforce:
        workforce.keep_up(2)
        for _ in range(3):
            feed(site, bodies)
            until(lambda: waiting(site, "check") == 0, seconds=60)
        until(lambda: sent(site) >= 20, seconds=60)
        until(lambda: False, seconds=1.5)  # whatever would still come
        workforce.signal_all()
        until(lambda: not any(alive(pid) for pid in workforce.pids), seconds=40)
    found = count(site, bodies, results_in_queue(site))
    return {**vars(found), "sound": found.sound}


def slow_work(site: Site, mutants: tuple[str, ...]) -> dict[str, object]:
    """Cases that take longer than a lease: each is looked at once."""
    calls = site.folder / "calls"
    bodies = [json.dumps({"id": f"r{n}", "odFundusImg": f"{n}.jpg"}).encode() for n in range(4)]
    feed(site, bodies)
    with crew(site, mutants=list(mutants), grader={"delay_s": 3.0, "calls": str(calls)}) as workforce:
        workforce.keep_up(3)
        until(lambda: sent(site) >= 4, seconds=60)
        workforce.signal_all()
        until(lambda: not any(alive(pid) for pid in workforce.pids), seconds=40)
    looked = len(calls.read_text("ascii").splitlines())
    found = count(site, bodies, results_in_queue(site))
    return {**vars(found), "looked": looked, "sound": found.sound and looked == 4}


def clocks(site: Site, mutants: tuple[str, ...], *, shift_s: float) -> dict[str, object]:
    """R11: a worker whose clock is a day off takes work and dies; one whose clock is right goes on."""
    draws = random.Random(13)
    bodies = [request(site, number, draws) for number in range(12)]
    feed(site, bodies)
    with crew(site, mutants=list(mutants), grader={"delay_s": 0.3}) as workforce:
        astray = workforce.start(clock_shift_s=shift_s)
        until(lambda: sent(site) >= 3, seconds=60)
        workforce.kill_one(random.Random(0))
        until(lambda: not alive(astray), seconds=10)
        before = sent(site)
        workforce.start()
        whole = until(lambda: sent(site) >= 12, seconds=60, moves=lambda: sent(site))
        workforce.signal_all()
        until(lambda: not any(alive(pid) for pid in workforce.pids), seconds=40)
    found = count(site, bodies, results_in_queue(site))
    return {**vars(found), "before": before, "whole": whole, "sound": found.sound}


SIGNED = {"release": "signed", "lease_s": 0.5, "tries": 100}
FAMILIES: dict[str, tuple[Callable[[Site, tuple[str, ...]], dict[str, object]], dict[str, object]]] = {
    "ack_before_commit": (lambda site, mutants: at_moment(site, "acknowledged", mutants), SIGNED),
    "torn_blob": (lambda site, mutants: at_moment(site, "blob_kept", mutants), SIGNED),
    "publish_before_commit": (lambda site, mutants: at_moment(site, "published", mutants), SIGNED),
    "no_unique_key": (repeated, {}),
    "no_renewal": (slow_work, {}),
    "wall_clock": (lambda site, mutants: clocks(site, mutants, shift_s=86_400), {}),
}


@pytest.mark.parametrize("mutant", FAMILIES)
def test_r3_the_fault_is_caught(sites: Callable[..., Site], mutant: str) -> None:
    family, settings = FAMILIES[mutant]
    figures = family(sites(**settings), (mutant,))
    scoreboard.write(f"r3_{mutant}", **figures)
    assert figures["sound"] is False


@pytest.mark.parametrize("mutant", ["no_unique_key", "no_renewal"])
def test_r3_the_sound_service_passes_the_same(sites: Callable[..., Site], mutant: str) -> None:
    # The families of the others are R2's and R11's, which have tests of their own.
    family, settings = FAMILIES[mutant]
    assert family(sites(**settings), ())["sound"] is True


@pytest.mark.parametrize("shift_s", [86_400, -86_400])
def test_r11_clocks_a_day_off_change_nothing(sites: Callable[..., Site], shift_s: float) -> None:
    figures = clocks(sites(), (), shift_s=shift_s)
    scoreboard.write(f"r11_{'later' if shift_s > 0 else 'earlier'}", **figures)
    assert figures["sound"] is True

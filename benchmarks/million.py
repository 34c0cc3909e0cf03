"""What doctors, workers and sites wait for with a million cases in PostgreSQL, against the same with ten thousand.

python -m benchmarks.million                                     # wants 12 GB of the server's disk
python -m benchmarks.million --cases 50000 --rounds 10           # minutes
python -m benchmarks.million --database postgresql+psycopg://... # one that was filled before; it stays

The app is asked in this process, every request through sign-in, audit trail and templates; the server runs on this
machine, too.
"""

import argparse
import json
import math
import resource
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from benchmarks.claim import Claim, NotHere
from eyeground.clinic.accounts import add_account
from eyeground.clinic.db.audit import verify
from eyeground.clinic.intake import Arrived
from eyeground.clinic.jobs import Jobs
from eyeground.clinic.reading import Reader
from eyeground.clinic.retention import purge
from eyeground.clinic.service import Service
from eyeground.clinic.web.app import make_app
from tests.clinic.many_cases import SITES, fill
from tests.clinic.opened import SECRET, open_service_in, patient_message
from tests.clinic.servers import postgres_url

CASES, FEW, ROUNDS, AT_ONCE = 1_000_000, 10_000, 40, 5
# Nobody should wait longer for a page, however many cases there are.
LONGEST_S = 0.3
Times = dict[str, list[float]]


@dataclass(frozen=True)
class Measured:
    """What was waited for. Unit: s.

    Args:
        alone: By what was asked, one after the other.
        together: Pages of several doctors at once, while a worker claims and a site sends.
        lines_per_s: How many lines of the audit trail are verified in a second.
        grown_bytes: How much memory this process took more, from the first page to the last.
    """

    alone: Mapping[str, Sequence[float]]
    together: Sequence[float]
    lines_per_s: float
    grown_bytes: int


@contextmanager
def filled(folder: Path, cases: int, database: str = "") -> Iterator[tuple[Service, dict[str, str]]]:
    """A service with so many cases, and the tokens of a doctor of all sites and of a doctor of one."""
    room = postgres_url()
    try:
        url = database or room.__enter__()
    except pytest.skip.Exception as absent:
        raise NotHere(str(absent)) from None
    try:
        service = open_service_in(folder, database_url=url, site=SITES[0])
        with service.database.read() as session:
            empty = session.execute(text("select 1 from cases limit 1")).first() is None
        if empty:
            fill(service.database, cases, secret=SECRET)
        mark = f"{time.time_ns()}"
        with service.database.write() as work:
            tokens = {
                "all sites": add_account(work, f"all-{mark}", role="doctor", actor="benchmark"),
                "one site": add_account(work, f"one-{mark}", role="doctor", site=SITES[4], actor="benchmark"),
            }
        yield service, tokens
        service.close()
    finally:
        if not database:
            room.__exit__(None, None, None)


def pages(service: Service) -> dict[str, str]:
    """What doctors open: name -> address."""
    with service.database.read() as session:
        name = session.execute(text("select patient_name from cases where state = 'in_review' limit 1")).scalar_one()
    return {
        "work list": "/work",
        "work list, tenth page": "/work?skip=450",
        **{f"work list, {each}": f"/work?filter={each}" for each in ("urgent", "ungradable", "disagreement", "mine")},
        "work list, a name": f"/work?search={name}",
        "signed today": "/signed",
        "counts": "/api/v1/counts",
        "listing, released": "/api/v1/cases?state=released",
        "listing, released, 20,000 further on": "/api/v1/cases?state=released&skip=20000",
    }


def visits(service: Service, most: int) -> list[str]:
    """The newest case each of patients who were there before."""
    newest = text("select site, patient_id, id from cases order by received_at desc limit 2000")
    before = text("select count(*) from cases where site = :site and patient_id = :patient_id")
    found = []
    with service.database.read() as session:
        for site, patient_id, case_id in session.execute(newest).all():
            if session.execute(before, {"site": site, "patient_id": patient_id}).scalar_one() > 2:
                found.append(case_id)
            if len(found) == most:
                break
    return found


def asker(service: Service, token: str, times: Times) -> Callable[[str, str], None]:
    """Somebody who opens pages, and waits for each."""
    told = {"Authorization": f"Bearer {token}", "Accept": "*/*"}
    client = TestClient(make_app(service), base_url="http://service", headers=told)

    def ask(what: str, address: str) -> None:
        began = time.perf_counter()
        reply = client.get(address)
        times[what].append(time.perf_counter() - began)
        if reply.status_code != 200:
            raise AssertionError(f"{what}: {reply.status_code} {reply.text[:300]}")

    return ask


def measure(service: Service, tokens: Mapping[str, str], *, rounds: int = ROUNDS) -> Measured:
    """All of it, on a database that is filled."""
    times: Times = defaultdict(list)
    shown, cases = pages(service), visits(service, rounds)
    everything, site = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    look(service, tokens["all sites"], shown, cases, defaultdict(list), rounds=1)  # what is loaded at first use
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    look(service, tokens["all sites"], shown, cases, everything, rounds=rounds)
    look(service, tokens["one site"], shown, (), site, rounds=rounds)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    times |= everything | {f"{what}, of one site": took for what, took in site.items()}
    ask = asker(service, tokens["all sites"], times)
    for days in (7, 30, 90):
        ask(f"statistics of {days} days", f"/statistics?days={days}")
    ask("metrics", "/metrics")
    for number in range(rounds):
        times["a worker's claim"].append(_took(lambda: _claim(service)))
        times["intake of a new case"].append(_took(lambda: _admit(service, f"new-{time.time_ns()}")))
        times["intake of one that was there"].append(_took(lambda number=number: _admit(service, f"m{number}")))
    times["retention, counted"].append(_took(lambda: purge(service.database, service.store, years=15)))
    together = _together(service, tokens["all sites"], shown, cases, rounds)
    with service.database.read() as session:
        began = time.perf_counter()
        verdict = verify(session, key=service.database.key)
        if verdict.broken_at is not None:
            raise AssertionError(verdict.reason)
        lines_per_s = verdict.lines / (time.perf_counter() - began)
    return Measured(times, together, lines_per_s, grown)


def look(
    service: Service, token: str, shown: Mapping[str, str], cases: Sequence[str], times: Times, *, rounds: int
) -> None:
    """What a doctor does all day: every page, and a case where some are told."""
    ask = asker(service, token, times)
    for number in range(rounds):
        for what, address in shown.items():
            ask(what, address)
        if cases:
            ask("case with earlier visits", f"/cases/{cases[number % len(cases)]}")


def _together(service: Service, token: str, shown: Mapping[str, str], cases: Sequence[str], rounds: int) -> list[float]:
    """Several doctors at once, while a worker claims and a site sends."""
    over = Event()
    times = [defaultdict[str, list[float]](list) for _ in range(AT_ONCE)]

    def busy(act: Callable[[], object]) -> None:
        while not over.is_set():
            act()

    with ThreadPoolExecutor(AT_ONCE + 2) as pool:
        others = [
            pool.submit(busy, lambda: _claim(service)),
            pool.submit(busy, lambda: _admit(service, f"busy-{time.time_ns()}")),
        ]
        doctors = [pool.submit(look, service, token, shown, cases, mine, rounds=rounds) for mine in times]
        try:
            for each in doctors:
                each.result()
        finally:
            over.set()
        for each in others:
            each.result()
    return [took for mine in times for each in mine.values() for took in each]


def _took(act: Callable[[], object]) -> float:
    """How long something takes. Unit: s."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _claim(service: Service) -> None:
    """Take a case as a worker does, and give it back."""
    reader = Reader(service.database, service.store, graders=(), rules=service.rules)
    jobs = Jobs(service.database, reader, lease_s=30, tries=10**9)
    taken = jobs.take()
    if taken is not None:
        jobs.give_back(taken)


def _admit(service: Service, request: str) -> None:
    """Take a message in."""
    service.intake.admit([Arrived("screening", patient_message(request), SITES[0])])


def p95(times: Sequence[float]) -> float:
    """What 95 of 100 do not exceed; of fewer than 20 the longest. Unit: s."""
    return statistics.quantiles(times, n=20)[-1] if len(times) >= 20 else max(times)


def claims(many: Measured, few: Measured, cases: int, fewer: int) -> list[Claim]:
    """Each page's p95 with many cases against that with few."""
    found: list[Claim] = []
    for what, times in many.alone.items():
        note = f"median {1000 * statistics.median(times):.0f} ms of {len(times)}"
        found.append(
            Claim(f"{what}, {cases:,} cases, p95", 1000 * p95(times), 1000 * p95(few.alone[what]),
                  f"{fewer:,} cases", "ms", note)
        )  # fmt: skip
    late = sum(each > LONGEST_S for each in many.together)
    note = f"{late} of {len(many.together)} took longer than {LONGEST_S:g} s; clients, worker and intake run here, too"
    together = f"pages of {AT_ONCE} doctors while a worker claims and a site sends, {cases:,} cases, p95"
    grown = f"memory of the web process grew by {many.grown_bytes / 2**20:.0f} MiB over all pages"
    return [
        *found,
        Claim(together, 1000 * p95(many.together), 1000 * p95(few.together), f"{fewer:,} cases", "ms", note),
        Claim("audit trail verified", many.lines_per_s, few.lines_per_s, f"{fewer:,} cases", "lines/s", grown),
    ]  # fmt: skip


def run(cases: int = CASES, *, rounds: int = ROUNDS, fewer: int = FEW, database: str = "") -> list[Claim]:
    """Measure both in one run."""
    found = []
    for count, url in ((fewer, ""), (cases, database)):
        with tempfile.TemporaryDirectory() as folder, filled(Path(folder), count, url) as (service, tokens):
            found.append(measure(service, tokens, rounds=rounds))
    return claims(found[1], found[0], cases, fewer)


def main() -> None:
    """Measure as asked, and print it."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--cases", type=int, default=CASES)
    words.add_argument("--fewer", type=int, default=FEW, help="what it is held against")
    words.add_argument("--rounds", type=int, default=ROUNDS, help="how often each page is opened")
    words.add_argument("--database", default="", help="a database with cases; one of its own when not given")
    given = words.parse_args()
    for claim in run(given.cases, rounds=given.rounds, fewer=given.fewer, database=given.database):
        told = {
            key: value for key, value in vars(claim).items() if not (isinstance(value, float) and math.isnan(value))
        }
        print(json.dumps({**told, "gain": claim.gain}))


if __name__ == "__main__":
    main()

"""What a doctor waits for while two workers keep both cores busy, against the same with workers idle.

And how long it is from a signature to the message in the queue, and to the patient's phone.

python -m benchmarks.clinic_pages                                 # minutes

Four doctors at once look at the work list, open cases, load both photographs and save; then each case is signed. The
web service is a process of its own, as it is in use. Photographs are phantoms of 1536 px.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from sqlalchemy import func, select

from benchmarks.claim import Claim
from eyeground.cli.clinic_working import NICE
from eyeground.clinic.accounts import add_account
from eyeground.clinic.db.tables import Case
from eyeground.clinic.settings import PREFIX
from eyeground.data.phantom import draw_fundus
from tests.clinic.opened import agreed_opinion
from tests.faults.chaos import Site, crew, feed, request, results_in_queue, until

DOCTORS, ROUNDS, CASES, BACKLOG, BUSY_S = 4, 10, 40, 5_000, 0.2
# Nobody should wait longer for a page, however busy the models are.
LONGEST_S = 1.0
Times = dict[str, list[float]]


@dataclass(frozen=True)
class Measured:
    """What was waited for. Unit: s.

    Args:
        idle: By what was asked, while the workers had nothing to do.
        busy: Likewise, while they kept both cores busy.
        message: From the answer to a signature to the message in the queue.
        phone: From the same to the patient's page.
    """

    idle: Mapping[str, Sequence[float]]
    busy: Mapping[str, Sequence[float]]
    message: Sequence[float]
    phone: Sequence[float]


@contextmanager
def web(site: Site) -> Iterator[str]:
    """The web service in its own process: its address."""
    told = {f"{PREFIX}{name.upper()}": str(value) for name, value in site.settings.items()}
    words = [str(Path(sys.executable).with_name("eyeground")), "clinic", "web", "--port", "0", "--json"]
    log = (site.folder / "web.log").open("w")
    process = subprocess.Popen(words, env={**os.environ, **told}, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        process.wait(60)
        log.close()


def doctor(url: str, token: str, cases: Sequence[str], times: Times) -> None:
    """What a doctor does all day."""
    with httpx.Client(
        base_url=url, headers={"Authorization": f"Bearer {token}", "Accept": "*/*"}, timeout=120
    ) as client:

        def ask(what: str, method: str, path: str, **more: Any) -> httpx.Response:
            began = time.perf_counter()
            reply = client.request(method, path, **more)
            times[what].append(time.perf_counter() - began)
            assert reply.status_code == 200, (what, reply.status_code, reply.text[:300])
            return reply

        for case in cases:
            ask("work list", "GET", "/work", headers={"Accept": "text/html"})
            ask("counts", "GET", "/api/v1/counts")
            ask("case page", "GET", f"/cases/{case}", headers={"Accept": "text/html"})
            view = ask("case", "GET", f"/api/v1/cases/{case}").json()
            for image in view["images"]:
                ask("photograph", "GET", f"/api/v1/cases/{case}/images/{image['place']}/shown")
            opinion = agreed_opinion(view).model_dump()
            ask("save", "PUT", f"/api/v1/cases/{case}/opinion", json={"version": view["version"], "opinion": opinion})


def all_doctors(url: str, tokens: Sequence[str], cases: Sequence[str]) -> Times:
    """All of them at once, each with cases of his own."""
    times: Times = defaultdict(list)
    shares = [cases[place :: len(tokens)] for place in range(len(tokens))]
    with ThreadPoolExecutor(len(tokens)) as pool:
        for each in [
            pool.submit(doctor, url, token, share, times) for token, share in zip(tokens, shares, strict=True)
        ]:
            each.result()
    return times


def signed(url: str, token: str, site: Site, cases: Sequence[str]) -> tuple[list[float], list[float]]:
    """Sign each case, and wait for its message and its page on the phone."""
    messages, phones = [], []
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=120) as client:
        for case in cases:
            reply = client.post(f"/api/v1/cases/{case}/links")
            assert reply.status_code == 201, reply.text
            link = reply.json()
            phone = httpx.Client(base_url=url, timeout=120, headers={"Accept": "text/html"})
            assert phone.post(link["path"], data={"code": link["code"]}).status_code == 303
            view = client.get(f"/api/v1/cases/{case}").json()
            out = len(results_in_queue(site))
            reply = client.post(f"/api/v1/cases/{case}/sign", json={"version": view["version"]})
            assert reply.status_code == 200, reply.text
            began, shown, sent = time.perf_counter(), 0.0, 0.0
            while not (shown and sent):
                assert time.perf_counter() - began < 120, "never came out"
                if not sent and len(results_in_queue(site)) > out:
                    sent = time.perf_counter() - began
                if not shown and "As the models say" in phone.get(link["path"]).text:
                    shown = time.perf_counter() - began
                time.sleep(0.02)
            messages.append(sent)
            phones.append(shown)
            phone.close()
    return messages, phones


def measure(rounds: int = ROUNDS) -> Measured:
    """All of it, in one folder."""
    draws = random.Random(7)
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder) / "site", more={"release": "signed", "lease_s": 30.0})
        site.folder.chmod(0o700)  # or the service refuses to start
        for number in range(24):
            file = BytesIO()
            drawn = draw_fundus(draws.choice(("normal", "dr2", "dr4", "drusen")), seed=number, size_px=1536)
            Image.fromarray(drawn.image.pixels).save(file, "JPEG", quality=92)
            site.add_image(f"{number}.jpg", file.getvalue())
        with site.database.write() as work:
            tokens = [add_account(work, f"d{each}", role="doctor", actor="benchmark") for each in range(DOCTORS)]
        feed(site, [request(site, number, draws) for number in range(CASES * 3)])
        with web(site) as url:
            with crew(site) as first:
                first.start()
                until(lambda: _in_review(site) >= CASES * 3, seconds=600)
                with site.database.read() as session:
                    cases = list(session.scalars(select(Case.id).where(Case.state == "in_review").order_by(Case.id)))
                with httpx.Client(
                    base_url=url, headers={"Authorization": f"Bearer {tokens[0]}"}, timeout=120
                ) as client:
                    shown = f"/api/v1/cases/{cases[-1]}/images/0/shown"
                    for path in ("/work", f"/cases/{cases[0]}", shown):  # what is loaded at first use
                        client.get(path, headers={"Accept": "*/*" if path == shown else "text/html"})
                idle = all_doctors(url, tokens, cases[: DOCTORS * rounds])
            feed(site, [request(site, number, draws) for number in range(10**6, 10**6 + BACKLOG)])
            with crew(site, grader={"busy_s": BUSY_S}, nice=NICE) as workforce:
                workforce.start()
                workforce.start()
                time.sleep(5)
                busy = all_doctors(url, tokens, cases[DOCTORS * rounds : 2 * DOCTORS * rounds])
                message, phone = signed(url, tokens[0], site, cases[: 2 * rounds])
        site.close()
    return Measured(idle, busy, message, phone)


def _in_review(site: Site) -> int:
    """How many cases wait for a doctor."""
    with site.database.read() as session:
        return session.scalar(select(func.count()).select_from(Case).where(Case.state == "in_review")) or 0


def p95(times: Sequence[float]) -> float:
    """What 95 of 100 do not exceed. Unit: s."""
    return statistics.quantiles(times, n=20)[-1]


def run(rounds: int = ROUNDS) -> list[Claim]:
    """Measure both in one run."""
    found = measure(rounds)
    every = {when: [each for times in told.values() for each in times] for when, told in
             (("idle", found.idle), ("busy", found.busy))}  # fmt: skip
    late = sum(each > LONGEST_S for each in every["busy"])
    note = (
        f"p95 of {len(every['busy'])} requests of {DOCTORS} doctors at once, whose clients run here, too; "
        f"{late} took longer than {LONGEST_S:g} s, the goal; workers at niceness {NICE}; from a signature to the "
        f"message {statistics.median(found.message):.2f} s (at most {max(found.message):.2f}), to the phone "
        f"{statistics.median(found.phone):.2f} s (at most {max(found.phone):.2f})"
    )
    pages = [("all pages", every["busy"], every["idle"], note)]
    pages += [(what, times, found.idle[what], f"median {1000 * statistics.median(times):.0f} ms")
              for what, times in found.busy.items()]  # fmt: skip
    return [
        Claim(
            f"{what} while two workers keep both cores busy, p95", 1000 * p95(busy), 1000 * p95(idle),
            "workers idle", "ms", told,
        )
        for what, busy, idle, told in pages
    ]  # fmt: skip


def main() -> None:
    """Measure, and print it."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--rounds", type=int, default=ROUNDS, help="cases of each doctor")
    for claim in run(words.parse_args().rounds):
        print(json.dumps({**vars(claim), "gain": claim.gain}, indent=1))


if __name__ == "__main__":
    main()

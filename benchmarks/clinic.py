"""What the screening service itself costs a case: check messages through two workers and a grader that takes no time,
against the same work without a database, a store, a lease or an audit trail; and beside a model's own time.

python -m benchmarks clinic                                       # 1,000 cases, also with the servers that run here
python -m benchmarks.clinic                                       # 10,000 cases, SQLite and its own queue; minutes
python -m benchmarks.clinic --database postgresql+psycopg://postgres@127.0.0.1/test --queue amqp://guest:guest@127.0.0.1/
python -m benchmarks.clinic --messages 1000 --kill                # one worker is killed half-way

The reference parses the message, reads the images and writes the answer, in one process. It keeps nothing: that is what
the gain (far below 1) is the price of. Processor time is that of the workers alone.
"""

import argparse
import json
import os
import random
import signal
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.claim import Claim, seconds
from eyeground.clinic.answered import Answered
from eyeground.clinic.exchange import check
from eyeground.clinic.exchange.contract import dumps
from eyeground.clinic.sources import fetch
from tests.clinic.servers import amqp_url, postgres_url
from tests.faults.broker import Inbox, publish
from tests.faults.chaos import Site, alive, count, crew, feed, request, results_in_queue, sent, until
from tests.faults.grading import HashGrader


@dataclass(frozen=True)
class Measured:
    """What two workers did.

    Args:
        seconds: From the first message to the last answer.
        cpu_s: Processor time of the workers.
        shares: How many images each worker looked at.
        faults: Requests lost, answered twice or wrongly, left lying.
    """

    seconds: float
    cpu_s: float
    shares: tuple[int, ...]
    faults: int


def _cpu(pid: int) -> float:
    """Processor time of a process so far. Unit: s."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def through_the_service(messages: int, *, database: str = "", queue: str = "sql:", kill: bool = False) -> Measured:
    """Send messages through two workers."""
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder) / "site", database_url=database, queue_url=queue, more={"lease_s": 5.0})
        draws = random.Random(7)
        bodies = [request(site, number, draws) for number in range(messages)]
        inbox = None
        if queue == "sql:":
            feed(site, bodies)
        else:
            publish(queue, bodies)
            inbox = Inbox(queue)
        calls = Path(folder, "calls")
        with crew(site, grader={"calls": str(calls)}) as workforce:
            pids = [workforce.start(), workforce.start()]
            began = time.perf_counter()
            if kill:
                until(lambda: sent(site) >= messages // 2, seconds=3600)
                os.kill(pids[0], signal.SIGKILL)
            until(lambda: sent(site) >= messages, seconds=3600)
            took = time.perf_counter() - began
            cpu_s = sum(_cpu(pid) for pid in pids)
            workforce.signal_all()
            until(lambda: not any(alive(pid) for pid in pids), seconds=40)
        if inbox is not None:
            until(lambda: len(inbox.got) >= messages, seconds=30)
            inbox.close()
        found = count(site, bodies, inbox.once_each() if inbox else results_in_queue(site))
        shares = Counter(line.split()[0] for line in calls.read_text("ascii").splitlines())
        site.close()
    faults = found.lost + found.duplicated + found.wrong + found.stuck + found.dead_letters
    return Measured(took, cpu_s, tuple(sorted(shares.values())), faults)


def without_keeping_anything(messages: int) -> float:
    """The same answers by the same functions, kept nowhere. Unit: s."""
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder) / "site")
        draws, grader = random.Random(7), HashGrader()
        bodies = [request(site, number, draws) for number in range(messages)]
        began = time.perf_counter()
        for body in bodies:
            order = check.read(body)
            said = {}
            for picture in order.pictures:
                data = fetch(picture, root=site.root, max_bytes=2**20)
                said[f"{picture.part}/{picture.eye}"] = grader.read(data, name=picture.name).said
            values = {key: {name: each.value for name, each in answers.items()} for key, answers in said.items()}
            dumps(check.answer(Answered("", order, 0, values=values, said=said)))
        took = time.perf_counter() - began
        site.close()
    return took


def network_alone(*, side_px: int = 224) -> float:
    """One case's two photographs through a ViT-L/16, as RETFound's bundles have it, on this processor. Unit: s."""
    import timm
    import torch

    network = timm.create_model("vit_large_patch16_224", num_classes=5).eval()
    picture = torch.randn(1, 3, side_px, side_px)

    def look() -> None:
        with torch.inference_mode():
            for _ in range(2):
                network(picture)

    return seconds(look, repeats=3)


def measured(where: str, messages: int, bare: float, **servers: Any) -> tuple[Claim, Measured]:
    """What two workers do in a second, against the same without keeping anything."""
    ours = through_the_service(messages, **servers)
    if ours.faults:
        raise AssertionError(f"{where}: {ours.faults} requests lost, answered twice or wrongly, or stuck")
    note = (
        f"{1000 * ours.cpu_s / messages:.1f} ms of processor time a case; workers looked at "
        f"{' and '.join(map(str, ours.shares))} images; none lost, twice, wrong or stuck"
    )
    return Claim(
        f"two workers and a model that takes no time, {where}, {messages:,} cases", messages / ours.seconds,
        messages / bare, "the same answers kept nowhere, one process", "cases/s", note,
    ), ours  # fmt: skip


def run(messages: int = 1_000) -> list[Claim]:
    """Measure with SQLite, and with PostgreSQL and RabbitMQ where they run here."""
    bare = without_keeping_anything(messages)
    claim, ours = measured("SQLite", messages, bare)
    claims = [claim]
    try:
        with postgres_url() as database, amqp_url() as queue:
            servers = "PostgreSQL and RabbitMQ, on this machine too"
            claims.append(measured(servers, messages, bare, database=database, queue=queue)[0])
    except pytest.skip.Exception as absent:
        claims[0] = replace(claims[0], note=f"{claims[0].note}; PostgreSQL and RabbitMQ not measured: {absent}")
    model_ms, service_ms = 1000 * network_alone(), 1000 * ours.cpu_s / messages
    return [*claims, Claim(
        "a case of two photographs with its service", model_ms + service_ms, model_ms, "ViT-L/16 alone, fp32", "ms",
        f"the service is {service_ms:.1f} ms of processor time a case with SQLite: "
        f"{100 * service_ms / (model_ms + service_ms):.1f}% of the case",
    )]  # fmt: skip


def main() -> None:
    """Measure as asked, and print it."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--messages", type=int, default=10_000)
    words.add_argument("--database", default="", help="an empty database; SQLite when not given")
    words.add_argument("--queue", default="sql:")
    words.add_argument("--kill", action="store_true", help="kill one of the two workers half-way")
    given = words.parse_args()
    where = given.database.partition(":")[0] or "SQLite"
    claim, _ = measured(
        where, given.messages, without_keeping_anything(given.messages),
        database=given.database, queue=given.queue, kill=given.kill,
    )  # fmt: skip
    print(json.dumps({**vars(claim), "gain": claim.gain}, indent=1))


if __name__ == "__main__":
    main()

"""A worker that is no longer heard, or whose model hangs, leaves to be started again; what it held is not lost."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from eyeground.clinic.db.tables import Case, Job
from eyeground.clinic.grader import Reading
from eyeground.clinic.intake import Arrived
from eyeground.clinic.jobs import Jobs
from eyeground.clinic.outbox import Outbox
from eyeground.clinic.queue.memory import Broker, MemoryTransport
from eyeground.clinic.queue.transport import Message
from eyeground.clinic.reading import Reader
from eyeground.clinic.service import Service
from eyeground.clinic.worker import Worker

from .constant_grader import ConstantGrader
from .opened import open_service_in, patient_message


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = open_service_in(tmp_path)
    yield made
    made.close()


def worker_of(
    service: Service, transport: type[MemoryTransport], broker: Broker, grader: ConstantGrader, **more: float
) -> Worker:
    reader = Reader(service.database, service.store, graders=[grader], rules=service.rules)
    return Worker(
        intake=service.intake,
        jobs=Jobs(service.database, reader, lease_s=30, tries=5),
        reader=reader,
        outbox=Outbox(service.database, site="default", lease_s=30),
        connect=lambda: transport(broker),
        receives=["screening"],
        sends=["screening_result"],
        site="default",
        **{"lease_s": 30.0, "drain_s": 0.3, **more},
    )


class Deaf(MemoryTransport):
    """A transport whose consumer the broker has forgotten."""

    async def alive(self) -> bool:
        return False


async def _in_time(worker: Worker) -> int:
    return await asyncio.wait_for(worker.run(), 20)


def test_a_worker_that_the_queue_forgot_leaves(service: Service) -> None:
    worker = worker_of(service, Deaf, Broker(), ConstantGrader(), watch_s=0.05)
    assert asyncio.run(_in_time(worker)) == 75


def test_a_worker_that_is_heard_stays_until_it_is_asked(service: Service) -> None:
    worker = worker_of(service, MemoryTransport, Broker(), ConstantGrader(), watch_s=0.05)

    async def asked() -> int:
        running = asyncio.ensure_future(worker.run())
        await asyncio.sleep(1.0)
        assert not running.done()
        worker.stop()
        return await asyncio.wait_for(running, 20)

    assert asyncio.run(asked()) == 0


def test_a_worker_whose_model_hangs_leaves_and_the_case_counts_a_try(service: Service) -> None:
    release = threading.Event()

    class Hanging(ConstantGrader):
        def read(self, data: bytes, *, name: str) -> Reading:
            release.wait(10)
            raise RuntimeError("too late")

    service.intake.admit([Arrived("screening", patient_message("m1"), "default")])
    worker = worker_of(service, MemoryTransport, Broker(), Hanging(), longest_s=0.4)

    async def hung() -> int:
        code = await asyncio.wait_for(worker.run(), 20)
        release.set()  # only now: the process would have ended by force
        return code

    assert asyncio.run(hung()) == 75
    with service.database.read() as session:
        job = session.scalars(select(Job)).one()
        assert (job.attempts, session.scalars(select(Case.state)).one()) == (1, "received")


def test_what_arrives_is_acknowledged_once_it_is_kept(service: Service) -> None:
    broker = Broker()
    worker = worker_of(service, MemoryTransport, broker, ConstantGrader())

    async def sent() -> int:
        transport = MemoryTransport(broker)
        await transport.open([], ["screening"])
        await transport.send("screening", Message(patient_message("m2")))
        running = asyncio.ensure_future(worker.run())
        for _ in range(200):
            await asyncio.sleep(0.05)
            with service.database.read() as session:
                if session.scalars(select(Case.state)).all() == ["in_review"]:
                    break
        worker.stop()
        return await asyncio.wait_for(running, 20)

    assert asyncio.run(sent()) == 0
    assert not broker.waiting["screening"]
    with service.database.read() as session:
        assert session.scalars(select(Case.state)).all() == ["in_review"]

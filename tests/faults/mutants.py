"""Broken variants of the service, each with the fault that a family of tests exists to catch."""

import asyncio
import datetime
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import select

from eyeground.clinic import clock, intake, worker
from eyeground.clinic.blobs import folder
from eyeground.clinic.blobs.store import digest_of
from eyeground.clinic.db import lease
from eyeground.clinic.db.tables import Case, Outgoing
from eyeground.clinic.moments import reached
from eyeground.clinic.outbox import Outbox
from eyeground.clinic.queue.transport import Message


def apply(names: Sequence[str]) -> None:
    """Break this process."""
    for name in names:
        MUTANTS[name]()


def shift_clock(seconds: float) -> None:
    """Set this process's time of day; its monotonic clock goes on, as on a real machine."""
    true_time, true_now = time.time, clock.now
    time.time = lambda: true_time() + seconds
    day = datetime.timedelta(seconds=seconds)

    def now() -> str:
        moment = datetime.datetime.fromisoformat(true_now().replace("Z", "+00:00")) + day
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    import sys

    for module in list(sys.modules.values()):
        if module is not None and module.__name__.startswith("eyeground.clinic") and hasattr(module, "now"):
            module.now = now


def _ack_before_commit() -> None:
    """The message is acknowledged when it is received, and lost with whoever dies then."""

    async def admit(self: worker.Worker, arrived: Sequence[Any]) -> None:
        for each in arrived:
            await each.acknowledge()
        messages = [intake.Arrived(each.queue, each.message.body, self._site) for each in arrived]
        reached("acknowledged")
        await asyncio.to_thread(self._intake.admit, messages)

    worker.Worker._admit = admit  # type: ignore[method-assign]


def _no_unique_key() -> None:
    """A request that comes again is a new case."""
    true = intake.Intake._settle

    def settle(self: intake.Intake, work: Any, arrived: Any, ready: Any) -> Any:
        if isinstance(ready, intake._Ready):
            salt = secrets.token_hex(4)
            written = work.session.scalars(
                select(Case.id).filter_by(site=arrived.site, queue=arrived.queue, request_id=ready.order.id)
            ).first()
            if written:
                order = ready.order.model_copy(update={"id": f"{ready.order.id}~{salt}"})
                ready = intake._Ready(order, ready.images)
        return true(self, work, arrived, ready)

    intake.Intake._known = lambda self, arrived, read: set()  # type: ignore[method-assign]
    intake.Intake._settle = settle  # type: ignore[method-assign]


def _publish_before_commit() -> None:
    """The answer is sent before it is known that it will be kept: under an id of the moment."""

    async def send(self: Outbox, transport: Any, row: Outgoing) -> None:
        await transport.send(row.queue, Message(row.body, secrets.token_hex(8)))

    Outbox._send = send  # type: ignore[method-assign]


def _torn_blob() -> None:
    """An image is written in place, and seen half."""

    def put(self: folder.Folder, data: bytes) -> str:
        sha256 = digest_of(data)
        target = self._path(sha256)
        if not target.is_file():
            target.parent.mkdir(exist_ok=True)
            with target.open("wb") as file:
                file.write(data[: len(data) // 2])
                file.flush()
                reached("blob_kept")
                file.write(data[len(data) // 2 :])
        return sha256

    folder.Folder.put = put  # type: ignore[method-assign]


def _no_renewal() -> None:
    """A lease is not renewed, and its job is written whoever has it by now."""

    async def keep(self: worker.Worker, taken: Any, done: asyncio.Event) -> None:
        await done.wait()

    def drop(self: lease.Leases[Any], session: Any, row: Any) -> None:
        from sqlalchemy import delete

        session.execute(delete(self._table).where(self._key == self._of(row)))

    worker.Worker._keep = keep  # type: ignore[method-assign]
    lease.Leases.drop = drop  # type: ignore[method-assign]


def _wall_clock() -> None:
    """Leases run by the time of day, as it was when they were taken: the row says until when."""

    def overdue(self: lease.Watcher, rows: Sequence[tuple[Any, str, float]]) -> list[Any]:
        late = []
        for key, token, patience_s in rows:
            taken_at = int(token[16:28], 16) if len(token) == 32 else 0
            if time.time() >= taken_at + patience_s:
                late.append(key)
        self._looked = self._clock()
        return late

    def half() -> str:
        return f"{int(time.time()):012x}" + secrets.token_hex(2)

    lease.Watcher.overdue = overdue  # type: ignore[method-assign]
    lease._half = half


MUTANTS: dict[str, Callable[[], None]] = {
    "ack_before_commit": _ack_before_commit,
    "no_unique_key": _no_unique_key,
    "publish_before_commit": _publish_before_commit,
    "torn_blob": _torn_blob,
    "no_renewal": _no_renewal,
    "wall_clock": _wall_clock,
}

"""A worker: takes messages in, does the work, sends the answers; ends when asked, or when it is no longer heard."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, TypeVar

from eyeground.clinic.blobs.store import StoreLost
from eyeground.clinic.db.database import DatabaseLost
from eyeground.clinic.db.lease import LeaseLost
from eyeground.clinic.intake import Arrived, Intake
from eyeground.clinic.jobs import Jobs, Taken
from eyeground.clinic.log import failed, say
from eyeground.clinic.moments import reached
from eyeground.clinic.outbox import Outbox
from eyeground.clinic.queue.transport import Delivery, Transport, TransportLost
from eyeground.clinic.reading import Read, Reader
from eyeground.clinic.states import Forbidden

START_AGAIN: Final = 75  # EX_TEMPFAIL of sysexits.h
# Messages held at once: each may bring some ten megabytes.
_BATCH: Final = 4
_IDLE_S: Final = 0.2
# Answers that become ready within it go out together: each sending costs three transactions.
_GATHER_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0
_Given = TypeVar("_Given")


class Worker:
    """One process's part of the work. It takes one case at a time; start several for more.

    Args:
        intake: Takes messages in.
        jobs: The line of work.
        reader: Looks at cases.
        outbox: Sends answers.
        connect: Makes a new connection to the queue.
        receives: Queues to take from.
        sends: Queues to send to.
        site: Whose messages these are.
        lease_s: How long others wait for this worker. Unit: s.
        drain_s: How long a case that has begun may go on after a stop. Unit: s.
        watch_s: How often the worker looks whether the queue still knows it. Unit: s.
        longest_s: How long a case may take; a worker whose model hangs leaves, and the case counts a try. Unit: s.

    References:
        docs/clinic.md.
    """

    def __init__(
        self,
        *,
        intake: Intake,
        jobs: Jobs,
        reader: Reader,
        outbox: Outbox,
        connect: Callable[[], Transport],
        receives: Sequence[str],
        sends: Sequence[str],
        site: str,
        lease_s: float = 30.0,
        drain_s: float = 25.0,
        watch_s: float = 5.0,
        longest_s: float = 600.0,
    ) -> None:
        self._intake, self._jobs, self._reader, self._outbox = intake, jobs, reader, outbox
        self._connect, self._receives, self._sends, self._site = connect, tuple(receives), tuple(sends), site
        self._lease_s, self._drain_s, self._watch_s, self._longest_s = lease_s, drain_s, watch_s, longest_s
        self._stop = asyncio.Event()
        self._work_waits, self._answer_waits = asyncio.Event(), asyncio.Event()
        self._code = 0

    def stop(self) -> None:
        """Ask it to end: nothing new is begun, what has begun is finished or given back."""
        self._stop.set()

    def _leave(self) -> None:
        """End, to be started again."""
        self._code = START_AGAIN
        self._stop.set()

    async def run(self) -> int:
        """Work until asked to stop.

        Returns:
            Exit code: 0 when asked to stop; 75 when it is to be started again, because the queue no longer knew it or a
            model hung.
        """
        say("worker_started")
        loops = [self._receiving(), self._working(), self._sending()]
        tasks = [asyncio.ensure_future(each) for each in loops]
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
            self._stop.set()
            _, slow = await asyncio.wait(tasks, timeout=self._drain_s)
            for task in slow:  # its lease runs out, and somebody else does it
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            stopping.cancel()
        for end in ends:
            if isinstance(end, Exception):
                failed("worker_failed", end)
                self._code = self._code or 1
        say("worker_stopped", status=self._code)
        return self._code

    async def _receiving(self) -> None:
        """Take messages in until asked to stop; a lost connection is made anew."""
        await self._with_connection("receiving", self._receives, (), self._receive)

    async def _receive(self, transport: Transport) -> None:
        """Take messages in over one connection."""
        looked = time.monotonic()
        while not self._stop.is_set():
            arrived = await transport.receive(most=_BATCH, wait_s=0.5)
            if arrived:
                reached("received")
                # What has come back may have killed who took it: it is taken alone, so that it costs nobody else a try.
                for batch in ([each for each in arrived if not each.redelivered], *_alone(arrived)):
                    await self._admit(batch)
            if time.monotonic() - looked >= self._watch_s:
                looked = time.monotonic()
                if not await transport.alive():
                    say("consumers_gone", status=START_AGAIN)
                    self._leave()

    async def _admit(self, arrived: Sequence[Delivery]) -> None:
        """Into the inbox first, then acknowledged."""
        if not arrived:
            return
        messages = [
            Arrived(each.queue, each.message.body, self._site, redelivered=each.redelivered) for each in arrived
        ]
        try:
            outcomes = await _in_thread(self._intake.admit, messages)
        except (DatabaseLost, StoreLost) as error:
            failed("intake_waits", error, count=len(arrived))
            for each in arrived:
                await each.give_back()
            await self._pause(1.0)
            return
        for each in arrived:
            await each.acknowledge()
        reached("acknowledged")
        for outcome, each in zip(outcomes, arrived, strict=True):
            code = outcome.refused.code if outcome.refused else ""
            say("message", outcome=outcome.kind, queue=each.queue, case=outcome.case_id, code=code)
        self._work_waits.set()

    async def _working(self) -> None:
        """Do what is in line until asked to stop."""
        pause = _Pause()
        while not self._stop.is_set():
            try:
                taken = await _in_thread(self._jobs.take)
                if taken is None:
                    await self._until(self._work_waits, _IDLE_S)
                    continue
                await self._do(taken)
                pause.over()
            except (DatabaseLost, StoreLost) as error:
                failed("work_waits", error)
                await self._pause(pause.next())
            except Exception as error:  # noqa: BLE001 - one job that nobody can even take must not stop the others
                failed("work_failed", error)
                await self._pause(pause.next())

    async def _do(self, taken: Taken) -> None:
        """Do one job, and let others know meanwhile that it is being done."""
        began = time.monotonic()
        done = asyncio.Event()
        keeping = asyncio.ensure_future(self._keep(taken, done))
        try:
            read = await _in_thread(self._look, taken)
            looked: Exception | None = None
        except Exception as error:  # noqa: BLE001 - whatever a model raises, the next case is not to suffer for it
            looked = error
        finally:
            done.set()
        await keeping  # nobody else changes the token now
        if isinstance(looked, InterruptedError | DatabaseLost | StoreLost):
            await _in_thread(self._jobs.give_back, taken)
            if not isinstance(looked, InterruptedError):
                raise looked
            return
        try:
            if looked is not None:
                raise looked
            await _in_thread(self._jobs.finish, taken, read)
        except LeaseLost:
            say("lease_lost", case=taken.case_id)
        except (DatabaseLost, StoreLost):
            raise
        except Forbidden as error:
            failed("case_went_on", error, case=taken.case_id)
            await self._unless_lost(self._jobs.drop, taken)
        except Exception as error:  # noqa: BLE001 - as above
            failed("case_failed", error, case=taken.case_id, attempts=taken.attempts)
            await self._unless_lost(self._jobs.fail, taken)
        else:
            say("case_done", case=taken.case_id, kind=taken.kind, seconds=round(time.monotonic() - began, 4))
            self._answer_waits.set()

    def _look(self, taken: Taken) -> Read | None:
        """The part of a job that takes time; in a thread."""
        if taken.kind != "read":
            return None
        return self._reader.look(taken.case_id, going_on=lambda: not self._stop.is_set())

    async def _keep(self, taken: Taken, done: asyncio.Event) -> None:
        """Renew the lease while the job goes on."""
        ends = time.monotonic() + self._longest_s
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), min(self._lease_s / 3, self._longest_s))
                return
            if time.monotonic() >= ends:
                say("case_hangs", level=logging.WARNING, case=taken.case_id, attempts=taken.attempts)
                self._leave()
                return
            try:
                await _in_thread(self._jobs.keep, taken)
            except LeaseLost:
                return
            except DatabaseLost as error:
                failed("lease_waits", error, case=taken.case_id)

    async def _unless_lost(self, act: Callable[[Taken], object], taken: Taken) -> None:
        """Give a job back, unless somebody else has it by now."""
        try:
            await _in_thread(act, taken)
        except LeaseLost:
            say("lease_lost", case=taken.case_id)

    async def _sending(self) -> None:
        """Send answers until asked to stop, and once more then."""
        await self._with_connection("sending", (), self._sends, self._send)

    async def _send(self, transport: Transport) -> None:
        """Send over one connection."""
        while True:
            ends = self._stop.is_set()
            try:
                sent = await self._outbox.send(transport)
            except DatabaseLost as error:
                failed("sending_waits", error)
                sent = 0
                await self._pause(1.0)
            if sent:
                say("answers_sent", count=sent)
            elif ends:
                return
            else:
                await self._until(self._answer_waits, _IDLE_S)
                await self._pause(_GATHER_S)

    async def _with_connection(
        self, what: str, receives: Sequence[str], sends: Sequence[str], act: Callable[[Transport], Awaitable[None]]
    ) -> None:
        """Keep up a connection: what is lost is made anew from nothing, so that no half of an old one is left."""
        pause = _Pause()
        while not self._stop.is_set():
            transport = self._connect()
            try:
                await transport.open(receives, sends, prefetch=_BATCH)
                say("queue_connected", kind=what)
                pause.over()
                await act(transport)
            except (TransportLost, DatabaseLost) as error:
                failed("queue_lost", error, kind=what)
                await self._pause(pause.next())
            finally:
                await transport.close()

    async def _pause(self, seconds: float) -> None:
        """Wait, but not beyond a stop."""
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return

    async def _until(self, event: asyncio.Event, seconds: float) -> None:
        """Wait until something is due, or for a while."""
        stopping, waiting = asyncio.ensure_future(self._stop.wait()), asyncio.ensure_future(event.wait())
        await asyncio.wait([stopping, waiting], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        waiting.cancel()
        event.clear()


async def _in_thread(act: Callable[..., _Given], *words: object) -> _Given:
    """Do what takes time beside the event loop."""

    def whole() -> _Given:
        try:
            return act(*words)
        except StopIteration as error:  # it cannot pass through a future: whoever waits would wait for ever
            raise RuntimeError("a StopIteration escaped") from error

    return await asyncio.to_thread(whole)


def _alone(arrived: Sequence[Delivery]) -> list[list[Delivery]]:
    """Each of those that came back, by itself."""
    return [[each] for each in arrived if each.redelivered]


class _Pause:
    """Pauses that grow until something works again."""

    def __init__(self) -> None:
        self._seconds = 0.25

    def next(self) -> float:
        """The next pause."""
        self._seconds = min(_LONGEST_PAUSE_S, self._seconds * 2)
        return self._seconds

    def over(self) -> None:
        """It works again."""
        self._seconds = 0.25

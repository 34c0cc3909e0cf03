"""What is the database queue's own: an id goes through once, leases are kept alive, many changes cost one commit."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import event, func, select
from sqlalchemy.exc import IntegrityError

from eyeground.clinic.db.database import Database
from eyeground.clinic.db.lease import Watcher
from eyeground.clinic.db.migrate import migrate
from eyeground.clinic.db.tables import PassedMessage, QueuedMessage
from eyeground.clinic.queue.sql import SqlTransport, connect
from eyeground.clinic.queue.transport import Delivery, Message, TransportLost

from ..servers import postgres_url


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with ExitStack() as stack:
        url = f"sqlite:///{tmp_path}/clinic.db"
        if request.param == "postgresql":
            url = stack.enter_context(postgres_url())
        made = Database(url, key=b"")
        stack.callback(made.close)
        migrate(made.engine)
        yield made


def tell(story: Callable[[], Awaitable[None]]) -> None:
    async def within() -> None:
        async with asyncio.timeout(60):
            await story()

    asyncio.run(within())


async def opened(database: Database, lease_s: float = 30.0) -> SqlTransport:
    transport = SqlTransport(database, lease_s=lease_s)
    await transport.open(["check"], ["check", "other"], prefetch=100)
    return transport


def rows(database: Database) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(QueuedMessage)) or 0


def commits(database: Database) -> list[None]:
    """Grows by one with every commit from now on."""
    seen: list[None] = []
    event.listen(database.engine, "commit", lambda _: seen.append(None))
    return seen


def test_an_id_goes_through_a_queue_once(database: Database) -> None:
    async def story() -> None:
        transport = await opened(database)
        await transport.send("check", Message(b"first", "7"))
        await transport.send("check", Message(b"second", "7"))
        await transport.send("other", Message(b"another queue", "7"))
        await transport.send("check", Message(b"no id"))
        await transport.send("check", Message(b"no id"))
        taken = await transport.receive(most=10, wait_s=5)
        assert [each.message.body for each in taken] == [b"first", b"no id", b"no id"]
        await asyncio.gather(*(each.acknowledge() for each in taken))
        await transport.send("check", Message(b"late", "7"))
        assert await transport.receive(most=10, wait_s=0.2) == []
        await transport.close()

    tell(story)


def test_an_id_that_is_sent_from_many_sides_at_once_goes_through_once(database: Database) -> None:
    async def story() -> None:
        transports = [await opened(Database(database.url, key=b"")) for _ in range(3)]
        sending = [
            transport.send("check", Message(b"%d" % (each % 40), str(each % 40)))
            for transport, step in zip(transports, (1, 3, 7), strict=True)
            for each in range(0, 120 * step, step)
        ]
        assert set(await asyncio.gather(*sending, return_exceptions=True)) == {None}
        assert rows(database) == 40
        for transport in transports:
            await transport.close()
            transport.database.close()

    tell(story)


def test_what_is_wanted_at_once_costs_few_commits(database: Database) -> None:
    async def story() -> None:
        transport = await opened(database)
        seen = commits(database)
        await asyncio.gather(*(transport.send("check", Message(b"x", str(each))) for each in range(100)))
        assert len(seen) < 5
        taken = await transport.receive(most=100, wait_s=5)
        assert len(taken) == 100
        del seen[:]
        await asyncio.gather(*(each.acknowledge() for each in taken))
        assert len(seen) < 5
        assert rows(database) == 0
        await transport.close()

    tell(story)


async def _held_while(database: Database, spoil: Callable[[SqlTransport], object], patience_s: float) -> list[Delivery]:
    """Hold a message, and have another receiver look after each sign of life; what that gets."""
    holder, other = await opened(database, lease_s=0.6), await opened(database, lease_s=0.6)
    moment = [0.0]
    other._leases._watcher = Watcher(clock=lambda: moment[0])
    await holder.send("check", Message(b"held"))
    [held] = await holder.receive(most=1, wait_s=5)
    spoil(holder)
    got: list[Delivery] = []
    for _ in range(5):
        await _changed(database, patience_s)
        moment[0] += 0.55
        got += await other.receive(most=1, wait_s=0)
    for each in [held, *got]:
        await each.acknowledge()
    await holder.close()
    await other.close()
    return got


async def _changed(database: Database, patience_s: float) -> None:
    """Wait until the token changes, or no longer."""

    def token() -> str | None:
        with database.read() as session:
            return session.scalar(select(QueuedMessage.token))

    before, ends = token(), asyncio.get_running_loop().time() + patience_s
    while token() == before and asyncio.get_running_loop().time() < ends:
        await asyncio.sleep(0.01)


def test_a_held_message_stays_while_its_receiver_lives(database: Database) -> None:
    async def story() -> None:
        assert await _held_while(database, lambda _: None, 30) == []
        assert rows(database) == 0

    tell(story)


def test_a_receiver_that_renews_no_lease_is_caught_by_that_very_test(database: Database) -> None:
    async def story() -> None:
        [taken] = await _held_while(database, lambda mutant: mutant._tasks["renew"].cancel(), 0.3)
        assert taken.redelivered
        assert rows(database) == 0

    tell(story)


def test_an_acknowledgement_that_comes_too_late_leaves_the_message_to_who_has_it(database: Database) -> None:
    async def story() -> None:
        late, heir = await opened(database, lease_s=0.5), await opened(database, lease_s=0.5)
        await late.send("check", Message(b"held"))
        [held] = await late.receive(most=1, wait_s=5)
        late._tasks["renew"].cancel()
        [taken] = await heir.receive(most=1, wait_s=10)
        await held.acknowledge()
        await held.give_back()
        assert rows(database) == 1
        assert await late.receive(most=1, wait_s=0.1) == []
        await taken.acknowledge()
        assert rows(database) == 0
        await late.close()
        await heir.close()

    tell(story)


def test_a_receiver_that_cannot_renew_is_not_alive(database: Database) -> None:
    async def story() -> None:
        transport = await opened(database)
        assert await transport.alive()
        transport._tasks["renew"].cancel()
        await asyncio.sleep(0)
        assert not await transport.alive()
        await transport.close()

    tell(story)


def test_a_send_of_this_process_wakes_its_receivers_at_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eyeground.clinic.queue.sql._FIRST_PAUSE_S", 3600.0)
    monkeypatch.setattr("eyeground.clinic.queue.sql._LONGEST_PAUSE_S", 3600.0)

    async def story() -> None:
        transport = await opened(database)
        waiting = asyncio.create_task(transport.receive(most=1, wait_s=3600))
        await asyncio.sleep(0.2)

        async def send() -> None:
            sender = await opened(database)
            await sender.send("check", Message(b"come"))
            await sender.close()

        # From another thread with a loop of its own, as a web server beside the worker has.
        thread = threading.Thread(target=lambda: asyncio.run(send()))
        thread.start()
        assert len(await waiting) == 1
        await asyncio.to_thread(thread.join)
        await transport.close()

    tell(story)


def test_one_change_that_cannot_be_written_is_told_and_the_next_is_written(database: Database) -> None:
    async def story() -> None:
        transport = await opened(database)
        with pytest.raises(IntegrityError):
            await transport.send("check", Message(None))  # type: ignore[arg-type]
        await transport.send("check", Message(b"next"))
        assert rows(database) == 1
        await transport.close()

    tell(story)


def test_ids_are_remembered_when_their_messages_are_gone(database: Database) -> None:
    async def story() -> None:
        transport = await opened(database)
        await transport.send("check", Message(b"x", "7"))
        [taken] = await transport.receive(most=1, wait_s=5)
        await taken.acknowledge()
        await transport.close()

    tell(story)
    with database.read() as session:
        assert session.scalars(select(PassedMessage.message_id)).all() == ["7"]


def test_a_closed_transport_takes_nothing(database: Database) -> None:
    async def story() -> None:
        transport = await opened(database)
        await transport.close()
        with pytest.raises(TransportLost):
            await transport.send("check", Message(b"x"))
        with pytest.raises(TransportLost):
            await transport.receive(most=1, wait_s=0)

    tell(story)


def test_an_address_with_more_in_it_is_refused() -> None:
    with pytest.raises(ValueError, match="sql: and no more"):
        connect("sql://elsewhere", database=Database("sqlite://", key=b""), lease_s=30)

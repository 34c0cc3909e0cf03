"""What every queue must do; the twin in memory and the real ones stand the same test."""

import asyncio
import logging
import random
import secrets
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator

import pytest

from eyeground.clinic.queue.transport import Delivery, Message, Transport, TransportLost, Undeliverable

from .places import KINDS, SHORT_LEASE_S, Place, place

SECONDS = 30.0
CANARY = b"canary-4711"


@pytest.fixture(scope="module", params=KINDS)
def site(request: pytest.FixtureRequest) -> Iterator[Place]:
    with place(request.param) as made:
        yield made


@pytest.fixture
def queue() -> str:
    return f"q{secrets.token_hex(6)}"


async def opened(site: Place, *receive: str, prefetch: int = 4, send: tuple[str, ...] = ()) -> Transport:
    transport = site.make()
    await transport.open(receive, (*receive, *send), prefetch=prefetch)
    return transport


async def drain(transport: Transport, count: int, *, acknowledge: bool = True) -> list[Delivery]:
    """Take so many; fails when they do not come."""
    taken: list[Delivery] = []
    ends = asyncio.get_running_loop().time() + SECONDS
    while len(taken) < count:
        assert asyncio.get_running_loop().time() < ends, f"{len(taken)} of {count} came"
        got = await transport.receive(most=count - len(taken), wait_s=0.5)
        taken += got
        if acknowledge:
            await asyncio.gather(*(each.acknowledge() for each in got))
    return taken


async def nothing(transport: Transport) -> bool:
    return await transport.receive(most=10, wait_s=0.3) == []


def bodies(taken: list[Delivery]) -> list[bytes]:
    return [each.message.body for each in taken]


def tell(story: Callable[[], Awaitable[None]]) -> None:
    """Run it to its end; a queue that hangs fails."""

    async def within() -> None:
        async with asyncio.timeout(4 * SECONDS):
            await story()

    asyncio.run(within())


def test_messages_come_in_the_order_they_were_sent(site: Place, queue: str) -> None:
    async def story() -> None:
        transport = await opened(site, queue, prefetch=50)
        sent = [b"%d" % number for number in range(40)]
        for body in sent:
            await transport.send(queue, Message(body))
        assert bodies(await drain(transport, 40)) == sent
        await transport.close()

    tell(story)


def test_no_more_are_held_than_prefetch(site: Place, queue: str) -> None:
    async def story() -> None:
        other = f"{queue}_other"
        transport = await opened(site, queue, other, prefetch=3)
        for number in range(4):
            await transport.send(queue, Message(b"%d" % number))
            await transport.send(other, Message(b"%d" % number))
        held = await drain(transport, 3, acknowledge=False)
        assert await nothing(transport)
        await held[0].acknowledge()
        held += await drain(transport, 1, acknowledge=False)
        assert await nothing(transport)
        for each in held[1:]:
            await each.acknowledge()
        assert len(await drain(transport, 4)) == 4
        await transport.close()

    tell(story)


def test_no_more_are_given_than_asked_for(site: Place, queue: str) -> None:
    async def story() -> None:
        transport = await opened(site, queue, prefetch=10)
        for number in range(5):
            await transport.send(queue, Message(b"%d" % number))
        sizes = [len(await transport.receive(most=2, wait_s=SECONDS)) for _ in range(3)]
        assert max(sizes) <= 2
        await transport.close()

    tell(story)


def test_what_was_acknowledged_is_forgotten(site: Place, queue: str) -> None:
    async def story() -> None:
        transport = await opened(site, queue)
        await transport.send(queue, Message(b"once"))
        [delivery] = await drain(transport, 1)
        assert not delivery.redelivered
        await transport.close()
        again = await opened(site, queue)
        assert await nothing(again)
        await again.close()

    tell(story)


def test_what_was_not_acknowledged_comes_again_when_the_receiver_closes(site: Place, queue: str) -> None:
    async def story() -> None:
        first = await opened(site, queue)
        for number in range(3):
            await first.send(queue, Message(b"%d" % number))
        held = await drain(first, 3, acknowledge=False)
        await held[1].acknowledge()
        await first.close()
        second = await opened(site, queue)
        again = await drain(second, 2)
        assert sorted(bodies(again)) == [b"0", b"2"]
        assert all(each.redelivered and each.queue == queue for each in again)
        with pytest.raises(TransportLost):
            await held[0].acknowledge()
        await second.close()

    tell(story)


def test_what_a_dead_receiver_held_comes_again(site: Place, queue: str) -> None:
    if site.kind == "memory":
        pytest.skip("what is in memory dies with the process that holds it")

    async def story() -> None:
        transport = await opened(site, send=(queue,))
        await transport.send(queue, Message(b"held"))
        await asyncio.to_thread(site.die_holding, queue)
        heir = await opened(site, queue)
        [delivery] = await drain(heir, 1)
        assert (delivery.message.body, delivery.redelivered) == (b"held", True)
        await transport.close()
        await heir.close()

    tell(story)


def test_what_is_given_back_comes_again(site: Place, queue: str) -> None:
    async def story() -> None:
        transport = await opened(site, queue)
        await transport.send(queue, Message(b"again", "1"))
        for times in range(3):
            [delivery] = await drain(transport, 1, acknowledge=False)
            assert delivery.redelivered == (times > 0)
            await delivery.give_back()
        await drain(transport, 1)
        assert await nothing(transport)
        await transport.close()

    tell(story)


def test_a_queue_that_nobody_made_takes_nothing(site: Place, queue: str) -> None:
    async def story() -> None:
        transport = await opened(site, queue)
        with pytest.raises(Undeliverable):
            await transport.send(f"{queue}_unknown", Message(b"never"))
        await transport.send(queue, Message(b"as before"))
        assert bodies(await drain(transport, 1)) == [b"as before"]
        await transport.close()

    tell(story)


@pytest.mark.parametrize("size", [0, 1, 255, 4096, 131_072 - 8, 131_072, 2**20])
def test_bodies_arrive_byte_for_byte(site: Place, queue: str, size: int) -> None:
    body = random.Random(size).randbytes(size)

    async def story() -> None:
        transport = await opened(site, queue)
        await transport.send(queue, Message(body))
        await transport.send(queue, Message(bytes(range(256))))
        assert bodies(await drain(transport, 2)) == [body, bytes(range(256))]
        await transport.close()

    tell(story)


def test_id_and_headers_arrive(site: Place, queue: str) -> None:
    message = Message(b"{}", "站点-17/é", {"revision": "2", "site": "北京", "empty": ""})

    async def story() -> None:
        transport = await opened(site, queue)
        await transport.send(queue, message)
        [delivery] = await drain(transport, 1)
        assert delivery.message == message
        await transport.close()

    tell(story)


def test_two_receivers_share_without_overlap(site: Place, queue: str) -> None:
    async def story() -> None:
        sender = await opened(site, send=(queue,))
        receivers = [await opened(site, queue) for _ in range(2)]
        await asyncio.gather(*(sender.send(queue, Message(b"%d" % each, f"{queue}{each}")) for each in range(60)))
        seen: list[list[bytes]] = [[], []]

        async def take(which: int) -> None:
            while sum(map(len, seen)) < 60:
                for each in await receivers[which].receive(most=2, wait_s=0.2):
                    seen[which].append(each.message.body)
                    await asyncio.sleep(0.001)  # the work
                    await each.acknowledge()

        await asyncio.gather(take(0), take(1))
        assert Counter(seen[0] + seen[1]) == Counter(b"%d" % each for each in range(60))
        assert min(map(len, seen)) > 0
        for each in (sender, *receivers):
            await each.close()

    tell(story)


def test_a_thousand_sent_at_once_all_arrive_once(site: Place, queue: str) -> None:
    async def story() -> None:
        transport = await opened(site, queue, prefetch=100)
        await asyncio.gather(*(transport.send(queue, Message(b"%d" % each, f"{queue}{each}")) for each in range(1000)))
        got = Counter(bodies(await drain(transport, 1000)))
        assert got == Counter(b"%d" % each for each in range(1000))
        assert await nothing(transport)
        await transport.close()

    tell(story)


def test_a_receiver_that_waits_is_woken(site: Place, queue: str) -> None:
    async def story() -> None:
        receiver, sender = await opened(site, queue), await opened(site, send=(queue,))
        waiting = asyncio.create_task(receiver.receive(most=1, wait_s=SECONDS))
        await asyncio.sleep(0.2)
        await sender.send(queue, Message(b"come"))
        assert bodies(await waiting) == [b"come"]
        await receiver.close()
        await sender.close()

    tell(story)


def test_a_receive_that_is_cancelled_loses_nothing(site: Place, queue: str) -> None:
    async def story() -> None:
        transport = await opened(site, queue, prefetch=100)
        seen: list[bytes] = []
        chance = random.Random(7)
        for number in range(30):
            await transport.send(queue, Message(b"%d" % number))
            taking = asyncio.create_task(transport.receive(most=1, wait_s=SECONDS))
            await asyncio.sleep(chance.random() * 0.01)
            taking.cancel()
            try:
                for each in await taking:
                    seen.append(each.message.body)
                    await each.acknowledge()
            except asyncio.CancelledError:
                continue
        seen += bodies(await drain(transport, 30 - len(seen)))
        assert Counter(seen) == Counter(b"%d" % number for number in range(30))
        assert await nothing(transport)
        await transport.close()

    tell(story)


def test_alive_says_whether_messages_would_come(site: Place, queue: str) -> None:
    async def story() -> None:
        transport = site.make()
        assert not await transport.alive()
        await transport.open([queue], [])
        assert await transport.alive()
        await transport.close()
        assert not await transport.alive()
        await transport.close()

    tell(story)


def test_a_queue_that_is_lost_says_so_and_loses_nothing(site: Place, queue: str) -> None:
    async def story() -> None:
        transport = site.make(lease_s=SHORT_LEASE_S)
        await transport.open([queue], [queue])
        await transport.send(queue, Message(b"held", f"{queue}1"))
        await transport.send(queue, Message(b"waits", f"{queue}2"))
        [held] = await drain(transport, 1, acknowledge=False)
        await asyncio.to_thread(site.lose)
        try:
            with pytest.raises(TransportLost):
                await transport.alive()
            with pytest.raises(TransportLost):
                await transport.send(queue, Message(b"never"))
            with pytest.raises(TransportLost):
                await held.acknowledge()
            with pytest.raises(TransportLost):
                await transport.receive(most=1, wait_s=0.1)
            await transport.close()
        finally:
            await asyncio.to_thread(site.find)
        again = await opened(site, queue)
        assert sorted(bodies(await drain(again, 2))) == [b"held", b"waits"]
        await again.close()

    tell(story)


def test_a_receiver_that_waits_learns_that_the_queue_is_lost(site: Place, queue: str) -> None:
    async def story() -> None:
        transport = await opened(site, queue)
        waiting = asyncio.create_task(transport.receive(most=1, wait_s=SECONDS))
        await asyncio.sleep(0.1)
        try:
            await asyncio.to_thread(site.lose)
            with pytest.raises(TransportLost):
                await waiting
            await transport.close()
        finally:
            await asyncio.to_thread(site.find)

    tell(story)


def test_nobody_writes_what_was_sent_into_a_log(site: Place, queue: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    message = Message(CANARY, "", {"a": "b"})

    async def story() -> None:
        transport = await opened(site, queue)
        await transport.send(queue, message)
        await drain(transport, 1)
        with pytest.raises(Undeliverable) as refused:
            await transport.send("unknown", message)
        assert CANARY.decode() not in "".join(traceback.format_exception(refused.value))
        await transport.close()

    tell(story)
    assert CANARY.decode() not in caplog.text

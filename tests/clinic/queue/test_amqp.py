"""What is RabbitMQ's own: the contract that sites use, and everything that a broker can do to a client."""

import asyncio
import json
import logging
import secrets
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from eyeground.clinic.queue import amqp
from eyeground.clinic.queue.amqp import AmqpTransport
from eyeground.clinic.queue.transport import Delivery, Message, TransportLost, Undeliverable

from ..servers import OwnRabbit, amqp_url, broker_ctl, free_port

CANARY = b"canary-4711"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with amqp_url() as made:
        yield made


@pytest.fixture
def name() -> str:
    return f"q{secrets.token_hex(6)}"


@contextmanager
def site_client(url: str) -> Iterator[BlockingChannel]:
    """What runs at a site: pika, which knows nothing of us."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        yield connection.channel()


def declare_as_sites_do(channel: BlockingChannel, name: str, **arguments: str | int) -> None:
    channel.exchange_declare(f"{name}_exchange", exchange_type="direct", durable=True)
    channel.queue_declare(f"{name}_queue", durable=True, arguments=arguments or None)
    channel.queue_bind(f"{name}_queue", f"{name}_exchange", f"{name}_routing_key")


def tell(story: Callable[[], Awaitable[None]]) -> None:
    async def within() -> None:
        async with asyncio.timeout(60):
            await story()

    asyncio.run(within())


async def opened(url: str, *names: str, queue_type: str = "classic") -> AmqpTransport:
    transport = AmqpTransport(url, queue_type=queue_type)  # type: ignore[arg-type]
    await transport.open(names, names)
    return transport


async def one(transport: AmqpTransport) -> Delivery:
    [delivery] = await transport.receive(most=1, wait_s=20)
    return delivery


def test_sites_may_declare_what_we_made(url: str, name: str) -> None:
    async def story() -> None:
        await (await opened(url, name)).close()

    tell(story)
    with site_client(url) as channel:
        declare_as_sites_do(channel, name)  # other arguments would close the channel
        assert channel.is_open


@pytest.mark.parametrize("arguments", [{}, {"x-max-length": 5}, {"x-queue-type": "quorum"}])
@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
def test_what_a_site_made_is_used_as_it_is(
    url: str, name: str, arguments: dict[str, str | int], queue_type: str
) -> None:
    with site_client(url) as channel:
        declare_as_sites_do(channel, name, **arguments)

    async def story() -> None:
        transport = await opened(url, name, queue_type=queue_type)
        await transport.send(name, Message(b"{}"))
        delivery = await one(transport)
        assert delivery.message.body == b"{}"
        await delivery.acknowledge()
        await transport.close()

    tell(story)
    with site_client(url) as channel:
        declare_as_sites_do(channel, name, **arguments)


def test_a_missing_exchange_or_binding_is_added_to_a_queue_that_exists(url: str, name: str) -> None:
    with site_client(url) as channel:
        channel.queue_declare(f"{name}_queue", durable=True)

    async def story() -> None:
        transport = await opened(url, name)
        await transport.send(name, Message(b"{}"))
        delivery = await one(transport)
        assert delivery.message.body == b"{}"
        await delivery.acknowledge()
        await transport.close()

    tell(story)


def test_a_site_reads_a_persistent_json_message(url: str, name: str) -> None:
    async def story() -> None:
        transport = AmqpTransport(url, queue_type="classic")
        await transport.open([], [name])
        await transport.send(name, Message(b'{"id":1}', "a-1", {"revision": "2"}))
        await transport.close()

    tell(story)
    with site_client(url) as channel:
        _, properties, body = channel.basic_get(f"{name}_queue", auto_ack=True)
    assert json.loads(body) == {"id": 1}
    assert (properties.content_type, properties.delivery_mode) == ("application/json", 2)
    assert (properties.message_id, properties.headers) == ("a-1", {"revision": "2"})


def test_a_message_of_a_site_arrives_whatever_its_properties(url: str, name: str) -> None:
    with site_client(url) as channel:
        declare_as_sites_do(channel, name)
        odd = pika.BasicProperties(headers={"n": 3, "s": "x", "t": {"u": None}, "b": True}, priority=3, reply_to="r")
        channel.basic_publish(f"{name}_exchange", f"{name}_routing_key", b"\xff\x00", odd)
        channel.basic_publish(f"{name}_exchange", f"{name}_routing_key", b"plain")

    async def story() -> None:
        transport = await opened(url, name)
        first, second = await one(transport), await one(transport)
        assert first.message == Message(b"\xff\x00", "", {"s": "x"})
        assert second.message == Message(b"plain")
        await transport.close()

    tell(story)


def test_two_that_make_the_same_queues_at_once_both_succeed(url: str, name: str) -> None:
    async def story() -> None:
        kinds = ["classic", "quorum"] * 3
        made = await asyncio.gather(*(opened(url, name, f"{name}b", queue_type=kind) for kind in kinds))
        await made[0].send(name, Message(b"{}"))
        for transport in made:
            assert await transport.alive()
            await transport.close()

    tell(story)


def test_a_full_queue_takes_nothing_and_says_so(url: str, name: str) -> None:
    with site_client(url) as channel:
        declare_as_sites_do(channel, name, **{"x-max-length": 1, "x-overflow": "reject-publish"})

    async def story() -> None:
        transport = AmqpTransport(url, queue_type="classic")
        await transport.open([], [name])
        await transport.send(name, Message(b"fits"))
        with pytest.raises(Undeliverable):
            await transport.send(name, Message(b"does not"))
        await transport.close()

    tell(story)


def test_a_message_that_no_queue_is_bound_for_is_not_lost_silently(
    url: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    message = Message(CANARY, "same-id")

    async def story() -> None:
        transport = AmqpTransport(url, queue_type="classic")
        await transport.open([], [name])
        with site_client(url) as channel:
            channel.queue_delete(f"{name}_queue")
        # All of one id and all at once: each is told.
        ends = await asyncio.gather(*(transport.send(name, message) for _ in range(20)), return_exceptions=True)
        assert {type(end) for end in ends} == {Undeliverable}
        assert all(CANARY.decode() not in "".join(traceback.format_exception(end)) for end in ends if end)  # type: ignore[arg-type]
        await transport.close()

    tell(story)
    assert CANARY.decode() not in caplog.text


def test_a_receiver_whose_queue_is_deleted_is_not_alive(url: str, name: str) -> None:
    async def story() -> None:
        transport = await opened(url, name)
        assert await transport.alive()
        with site_client(url) as channel:
            channel.queue_delete(f"{name}_queue")
        assert not await transport.alive()
        with site_client(url) as channel:  # its return does not bring the receiver back, and another's does not count
            declare_as_sites_do(channel, name)
            channel.basic_consume(f"{name}_queue", lambda *_: None)
            assert not await transport.alive()
        await transport.close()

    tell(story)


def test_a_receiver_whose_cancellation_got_lost_is_not_alive(url: str, name: str) -> None:
    async def story() -> None:
        transport = await opened(url, name)
        transport._on_cancel = lambda _: None  # type: ignore[method-assign]
        channel = await transport._in.get_underlay_channel()
        await channel.basic_cancel(transport._consumed[name])
        assert not await transport.alive()
        await transport.close()

    tell(story)


def test_an_exchange_that_is_deleted_is_a_lost_queue(url: str, name: str) -> None:
    async def story() -> None:
        transport = await opened(url, name)
        with site_client(url) as channel:
            channel.exchange_delete(f"{name}_exchange")
        ends = await asyncio.gather(*(transport.send(name, Message(b"{}")) for _ in range(5)), return_exceptions=True)
        assert {type(end) for end in ends} == {TransportLost}
        assert not await transport.alive()
        await transport.close()
        again = await opened(url, name)
        await again.send(name, Message(b"{}"))
        await again.close()

    tell(story)


def test_messages_under_way_when_the_connection_is_closed_are_each_told(url: str, name: str) -> None:
    async def story() -> None:
        transport = await opened(url, name)
        vhost = url.rpartition("/")[2]
        closing = asyncio.create_task(asyncio.to_thread(broker_ctl, "close_all_connections", "--vhost", vhost, "test"))
        outcomes: set[type] = set()
        for _ in range(2000):
            ends = await asyncio.gather(
                *(transport.send(name, Message(b"{}")) for _ in range(10)), return_exceptions=True
            )
            outcomes |= {type(end) for end in ends}
            if TransportLost in outcomes:
                break
        await closing
        assert outcomes == {type(None), TransportLost}
        await transport.close()

    tell(story)


def test_a_caller_that_gives_up_is_cancelled_not_told_that_the_broker_is_lost(url: str, name: str) -> None:
    async def story() -> None:
        transport = await opened(url, name)
        sending = asyncio.create_task(transport.send(name, Message(b"x" * 2**20)))
        await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await transport.send(name, Message(b"after"))
        await transport.close()

    tell(story)


def test_what_comes_back_too_often_is_kept_aside(url: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amqp, "_DELIVERY_LIMIT", 3)

    async def story() -> None:
        transport = await opened(url, name, queue_type="quorum")
        await transport.send(name, Message(b"poison"))
        for times in range(4):
            delivery = await one(transport)
            assert delivery.redelivered == (times > 0)
            await delivery.give_back()
        assert await transport.receive(most=1, wait_s=0.5) == []
        await transport.close()

    tell(story)
    with site_client(url) as channel:
        for _ in range(100):
            got = channel.basic_get(f"{name}_dead_queue", auto_ack=True)
            if got[0] is not None:
                break
            channel.connection.sleep(0.1)
    assert got[2] == b"poison"


def test_nobody_there_is_said_at_once(caplog: pytest.LogCaptureFixture) -> None:
    transport = AmqpTransport(f"amqp://user:{CANARY.decode()}@127.0.0.1:{free_port()}/", queue_type="classic")
    with pytest.raises(TransportLost, match="connect anew") as lost:
        asyncio.run(transport.open(["check"], []))
    assert CANARY.decode() not in "".join(traceback.format_exception(lost.value)[1:]) + caplog.text


def test_a_wrong_password_is_lost_and_never_shown(url: str, caplog: pytest.LogCaptureFixture) -> None:
    wrong = url.replace("guest:guest", f"guest:{CANARY.decode()}")
    with pytest.raises(TransportLost) as lost:
        asyncio.run(AmqpTransport(wrong, queue_type="classic").open(["check"], []))
    assert CANARY.decode() not in str(lost.value) + caplog.text


def test_a_server_that_never_answers_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amqp, "_PATIENCE_S", 0.5)

    async def story() -> None:
        gone: list[asyncio.StreamWriter] = []

        async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            gone.append(writer)

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(TransportLost):
            await AmqpTransport(f"amqp://guest:guest@127.0.0.1:{port}/", queue_type="classic").open(["check"], [])
        for writer in gone:
            writer.close()
        server.close()

    tell(story)


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
def test_what_a_broker_confirmed_survives_its_death(queue_type: str) -> None:
    with OwnRabbit() as server:

        async def before() -> None:
            transport = await opened(server.url, "check", queue_type=queue_type)
            # RabbitMQ 3.10: a quorum queue whose broker dies within a second of its making never finds a leader again.
            await asyncio.sleep(2)
            await asyncio.gather(*(transport.send("check", Message(b"%d" % each)) for each in range(50)))
            await transport.receive(most=4, wait_s=20)
            await asyncio.to_thread(server.kill)
            with pytest.raises(TransportLost):
                await transport.send("check", Message(b"late"))
            with pytest.raises(TransportLost):
                await transport.alive()
            await transport.close()

        async def after() -> None:
            transport = await opened(server.url, "check", queue_type=queue_type)
            seen: set[bytes] = set()
            while len(seen) < 50:
                for each in await transport.receive(most=4, wait_s=20):
                    seen.add(each.message.body)
                    await each.acknowledge()
            assert seen == {b"%d" % each for each in range(50)}
            await transport.close()

        tell(before)
        server.start()
        tell(after)

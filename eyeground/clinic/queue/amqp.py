"""The queue of a screening site: RabbitMQ, by the contract that sites already use.

For a name N there are a durable direct exchange ``N_exchange`` and a durable queue ``N_queue``, bound by
``N_routing_key``; messages are persistent JSON. What exists is used as it is.
"""

import asyncio
import contextlib
import logging
import weakref
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, ChannelNotFoundEntity, ChannelPreconditionFailed, DeliveryError

from eyeground.clinic.queue.transport import Delivery, Message, Transport, TransportLost, Undeliverable

_PATIENCE_S: Final = 15.0
_HEARTBEAT_S: Final = 10
# The service itself puts a message aside long before; this only ends a circle that nobody sees.
_DELIVERY_LIMIT: Final = 100
_COUNT_HEADER: Final = "x-delivery-count"

# These libraries write whole messages into their log lines, and all that matters reaches the caller as an exception.
for _library in ("aio_pika", "aiormq"):
    logging.getLogger(_library).setLevel(logging.CRITICAL + 1)


class AmqpTransport:
    """A connection to a RabbitMQ broker.

    Args:
        url: ``amqp://USER:PASSWORD@HOST/VHOST`` or ``amqps://...``.
        queue_type: How a queue that is missing is declared: ``"classic"``, durable and without arguments, so that a
            site's own client may declare it too; or ``"quorum"``, with a delivery limit, beyond which a message goes
            to ``N_dead_queue``.

    Example:
        >>> asyncio.run(AmqpTransport("amqp://127.0.0.1/", queue_type="classic").alive())
        False

    References:
        https://www.rabbitmq.com/docs/confirms, https://www.rabbitmq.com/docs/quorum-queues
    """

    def __init__(self, url: str, *, queue_type: Literal["classic", "quorum"]) -> None:
        self._url, self._queue_type = url, queue_type
        self._connection: AbstractConnection | None = None
        self._prefetch = 0
        self._consumed: dict[str, str] = {}  # queue -> consumer tag
        self._names: frozenset[str] = frozenset()
        self._arrived: dict[str, deque[_Held]] = {}
        self._held: set[_Held] = set()
        self._sending: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._cancelled = self._closed = False

    async def open(self, receive: Sequence[str], send: Sequence[str], *, prefetch: int = 4) -> None:
        self._prefetch, self._names = prefetch, frozenset((*receive, *send))
        self._news = asyncio.Event()
        try:
            async with _patience():
                self._connection = await aio_pika.connect(self._url, timeout=_PATIENCE_S, heartbeat=_HEARTBEAT_S)
                self._connection.close_callbacks.add(lambda *_: self._news.set())
            for name in sorted(self._names):
                await self._make(name)
            async with _patience():
                self._out = await self._channel(on_return_raises=True)
                self._exchanges = {
                    name: await self._out.get_exchange(f"{name}_exchange", ensure=False) for name in self._names
                }
                self._in = await self._channel()
                (await self._in.get_underlay_channel()).on_consumer_cancel_callbacks.add(self._on_cancel)
                self._in.close_callbacks.add(lambda *_: self._news.set())
                await self._in.set_qos(prefetch_count=prefetch)
                for name in receive:
                    await self._consume(name)
        except BaseException:
            await self.close()
            raise

    async def receive(self, *, most: int, wait_s: float) -> list[Delivery]:
        ends = asyncio.get_running_loop().time() + wait_s
        while True:
            self._check()
            if self._in.is_closed:
                raise TransportLost("the broker closed the channel; connect anew")
            self._news.clear()
            taken: list[Delivery] = []
            for arrived in self._arrived.values():
                while arrived and len(taken) < most and len(self._held) < self._prefetch:
                    held = arrived.popleft()
                    self._held.add(held)
                    taken.append(held)
            left = ends - asyncio.get_running_loop().time()
            if taken or left <= 0:
                return taken
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), left)

    async def send(self, queue: str, message: Message) -> None:
        self._check()
        if queue not in self._names:
            raise Undeliverable("no such queue was opened")
        told = aio_pika.Message(
            message.body,
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            message_id=message.message_id or None,
            headers=dict(message.headers),
        )
        # aiormq knows a message that comes back by its id alone: of one id, one is under way at a time.
        alone = asyncio.Lock()
        if message.message_id:
            alone = self._sending.setdefault(message.message_id, alone)
        async with alone, _patience():
            try:
                await self._exchanges[queue].publish(told, f"{queue}_routing_key", mandatory=True)
            except DeliveryError:  # its text would repeat the message
                raise Undeliverable("the broker took the message back: its queue is missing or full") from None

    async def alive(self) -> bool:
        if self._closed or self._connection is None:
            return False
        self._check()
        if self._in.is_closed or self._out.is_closed or self._cancelled:
            return False
        async with _patience():
            for name in self._consumed:
                queue = await self._existing(name)
                if queue is None or not queue.declaration_result.consumer_count:
                    return False
        return not self._cancelled

    async def close(self) -> None:
        self._closed = True
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(TransportLost):
                async with _patience():
                    await connection.close()
        self._held.clear()

    async def let_go(self, held: "_Held", how: Literal["ack", "nack"]) -> None:
        """End a delivery; called by what ``receive`` gave.

        Args:
            held: The delivery.
            how: ``"ack"`` = the broker forgets it, ``"nack"`` = it delivers it again.

        Raises:
            TransportLost: If the broker is gone; the message will come again.
        """
        self._check()
        self._held.discard(held)
        self._news.set()
        async with _patience():
            await (held.given.ack() if how == "ack" else held.given.nack(requeue=True))

    def _check(self) -> None:
        """Nothing works without a connection."""
        transport = None if self._connection is None else self._connection.transport
        # Connection.is_closed (aio-pika 10.2) knows only of its own close(), not of the broker's.
        if transport is None or transport.connection.is_closed:
            raise TransportLost("the connection to the broker is closed; connect anew")

    async def _channel(self, *, on_return_raises: bool = False) -> AbstractChannel:
        """Open a channel of its own: a mistake on one closes that one only."""
        self._check()
        assert self._connection is not None  # noqa: S101 - _check has looked
        channel = self._connection.channel(on_return_raises=on_return_raises)
        await channel.initialize(timeout=_PATIENCE_S)
        return channel

    async def _make(self, name: str) -> None:
        """Make what is missing of a name."""
        async with _patience():
            if await self._existing(name) is None:
                await self._declare(f"{name}_queue", self._arguments(name))
                if self._queue_type == "quorum":
                    await self._declare(f"{name}_dead_queue", {})
            channel = await self._channel()
            try:
                await channel.declare_exchange(f"{name}_exchange", passive=True)
            except ChannelNotFoundEntity:
                channel = await self._channel()
                await channel.declare_exchange(f"{name}_exchange", durable=True)
            queue = await channel.get_queue(f"{name}_queue", ensure=False)
            await queue.bind(f"{name}_exchange", f"{name}_routing_key")
            await channel.close()

    async def _declare(self, name: str, arguments: dict[str, Any]) -> None:
        """Declare a queue that was missing a moment ago."""
        channel = await self._channel()
        # Somebody else may have been faster, with other arguments: then theirs hold.
        with contextlib.suppress(ChannelPreconditionFailed):
            await channel.declare_queue(name, durable=True, arguments=arguments)
            await channel.close()

    def _arguments(self, name: str) -> dict[str, Any]:
        """How the queue of a name is declared."""
        if self._queue_type == "classic":
            return {}
        return {
            "x-queue-type": "quorum",
            "x-delivery-limit": _DELIVERY_LIMIT,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": f"{name}_dead_queue",
            # Only with these two does a quorum queue hold a dead letter until its new queue has it.
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }

    async def _existing(self, name: str) -> AbstractQueue | None:
        """Look at the queue of a name, on a channel that this may cost; None where there is none."""
        channel = await self._channel()
        try:
            queue = await channel.declare_queue(f"{name}_queue", passive=True)
        except ChannelNotFoundEntity:
            return None
        await channel.close()
        return queue

    async def _consume(self, name: str) -> None:
        """Begin to receive from the queue of a name."""
        arrived = self._arrived[name] = deque()

        async def on_message(given: AbstractIncomingMessage) -> None:
            arrived.append(_Held(self, name, given))
            self._news.set()

        queue = await self._in.get_queue(f"{name}_queue", ensure=False)
        self._consumed[name] = await queue.consume(on_message, timeout=_PATIENCE_S)

    def _on_cancel(self, _: Any) -> None:
        """The broker says that this receiver gets nothing more, for its queue was deleted."""
        self._cancelled = True


@dataclass(eq=False)
class _Held:
    """A message that arrived."""

    transport: AmqpTransport
    queue: str
    given: AbstractIncomingMessage

    @property
    def message(self) -> Message:
        headers = {name: value for name, value in self.given.headers.items() if isinstance(value, str)}
        return Message(self.given.body, self.given.message_id or "", headers)

    @property
    def redelivered(self) -> bool:
        # Quorum queues before RabbitMQ 4.0 count what a receiver gave back, and do not always set the flag.
        return bool(self.given.redelivered or self.given.headers.get(_COUNT_HEADER))

    async def acknowledge(self) -> None:
        await self.transport.let_go(self, "ack")

    async def give_back(self) -> None:
        await self.transport.let_go(self, "nack")


@contextlib.asynccontextmanager
async def _patience() -> AsyncIterator[None]:
    """Wait for the broker, but not for ever; whatever else goes wrong with it is one thing: it is lost."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            yield
    except asyncio.CancelledError:
        # aiormq cancels what waits for a connection that ends; a caller that is cancelled is another matter.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise TransportLost("the connection to the broker ended; connect anew") from None
    except TransportLost:
        raise
    except (TimeoutError, *CONNECTION_EXCEPTIONS) as error:
        # The library's own words may repeat what was sent, or the password in the address.
        raise TransportLost(f"the broker is lost ({type(error).__name__}); connect anew") from None


def connect(url: str, *, queue_type: Literal["classic", "quorum"] = "classic", **others: Any) -> Transport:
    """Make a transport over a RabbitMQ broker.

    Args:
        url: ``amqp://USER:PASSWORD@HOST/VHOST`` or ``amqps://...``.
        queue_type: How a queue that is missing is declared: ``"classic"`` or ``"quorum"``.
        others: What other queues of the shelf need.

    Returns:
        The transport, not yet open.

    Example:
        >>> asyncio.run(connect("amqp://127.0.0.1/").alive())
        False

    References:
        docs/clinic.md.
    """
    return AmqpTransport(url, queue_type=queue_type)

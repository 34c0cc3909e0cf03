"""A queue in this process's memory: the twin that tests hold the others against. It forgets all at its end."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from eyeground.clinic.queue.transport import Delivery, Message, Transport, TransportLost, Undeliverable


@dataclass
class Broker:
    """What two transports of one process share.

    Args:
        waiting: Messages by queue, each with whether it was delivered before.
        queues: Names of those that exist.
        up: False = it cannot be reached.

    Example:
        >>> Broker().up
        True

    References:
        Our own.
    """

    waiting: dict[str, deque[tuple[Message, bool]]] = field(default_factory=lambda: defaultdict(deque))
    queues: set[str] = field(default_factory=set)
    up: bool = True


class MemoryTransport:
    """A connection to a ``Broker``.

    Args:
        broker: The broker.

    Example:
        >>> async def there_and_back():
        ...     transport = MemoryTransport(Broker())
        ...     await transport.open(["check"], ["check"])
        ...     await transport.send("check", Message(b"{}"))
        ...     [delivery] = await transport.receive(most=4, wait_s=1)
        ...     await delivery.acknowledge()
        ...     return delivery.message.body
        >>> asyncio.run(there_and_back())
        b'{}'

    References:
        Our own.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._receive: tuple[str, ...] = ()
        self._prefetch = 0
        self.held: list[_Held] = []
        self._open = False

    async def open(self, receive: Sequence[str], send: Sequence[str], *, prefetch: int = 4) -> None:
        self._check()
        self._broker.queues |= {*receive, *send}
        self._receive, self._prefetch, self._open = tuple(receive), prefetch, True

    async def receive(self, *, most: int, wait_s: float) -> list[Delivery]:
        self._check()
        if not self._open:
            raise TransportLost("the queue was closed, or never opened")
        ends = asyncio.get_running_loop().time() + wait_s
        while True:
            taken: list[Delivery] = []
            for queue in self._receive:
                waiting = self._broker.waiting[queue]
                while waiting and len(taken) < most and len(self.held) < self._prefetch:
                    message, before = waiting.popleft()
                    held = _Held(self, queue, message, before)
                    self.held.append(held)
                    taken.append(held)
            if taken or asyncio.get_running_loop().time() >= ends:
                return taken
            await asyncio.sleep(0.005)
            self._check()

    async def send(self, queue: str, message: Message) -> None:
        self._check()
        if queue not in self._broker.queues:
            raise Undeliverable(f"no queue {queue}")
        self._broker.waiting[queue].append((message, False))

    async def alive(self) -> bool:
        self._check()
        return self._open

    async def close(self) -> None:
        for held in reversed(self.held[:]):
            held.put_back()
        self._open = False

    def _check(self) -> None:
        """Nothing works while the broker is down."""
        if not self._broker.up:
            raise TransportLost("the queue is down")


@dataclass(eq=False)
class _Held:
    """A message that was handed over."""

    transport: MemoryTransport
    queue: str
    message: Message
    redelivered: bool

    async def acknowledge(self) -> None:
        self._let_go()

    async def give_back(self) -> None:
        self._let_go()
        self._front()

    def put_back(self) -> None:
        """As a broker does whose receiver is gone."""
        self.transport.held.remove(self)
        self._front()

    def _front(self) -> None:
        self.transport._broker.waiting[self.queue].appendleft((self.message, True))

    def _let_go(self) -> None:
        self.transport._check()
        if self not in self.transport.held:
            raise TransportLost("it was given back when the connection closed")
        self.transport.held.remove(self)


_BROKERS: Final[dict[str, Broker]] = defaultdict(Broker)


def connect(url: str, **others: Any) -> Transport:
    """Make a transport over a queue in this process's memory.

    Args:
        url: ``memory:NAME``; the same name is the same queue, as long as the process lives.
        others: What other queues of the shelf need.

    Returns:
        The transport, not yet open.

    Example:
        >>> asyncio.run(connect("memory:doctest").alive())
        False

    References:
        Our own.
    """
    return MemoryTransport(_BROKERS[url])

"""What a message queue has to be able to do; each file of this shelf is one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


class TransportLost(ConnectionError):
    """The queue is gone; what was being sent may or may not have arrived. Connect anew."""


class Undeliverable(ValueError):
    """The queue took the message back: no queue of that name is bound, or it is full."""


@dataclass(frozen=True)
class Message:
    """A message on its way.

    Args:
        body: What is sent, byte for byte.
        message_id: Tells a repeat from another message; may be empty.
        headers: Words that go with it; no word about a patient.

    Example:
        >>> Message(b"{}").headers
        {}

    References:
        Our own.
    """

    body: bytes
    message_id: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


class Delivery(Protocol):
    """A message that has been handed over, and stays the queue's until it is acknowledged."""

    @property
    def message(self) -> Message:
        """What was sent."""
        ...

    @property
    def queue(self) -> str:
        """Where it came from."""
        ...

    @property
    def redelivered(self) -> bool:
        """Whether it was handed to somebody before, who did not acknowledge it."""
        ...

    async def acknowledge(self) -> None:
        """Say that the message is safe elsewhere; the queue forgets it.

        Raises:
            TransportLost: If the queue is gone; the message will come again.
        """
        ...

    async def give_back(self) -> None:
        """Have it delivered again, to anybody.

        Raises:
            TransportLost: If the queue is gone; the message will come again by itself.
        """
        ...


class Transport(Protocol):
    """A connection to a queue; used from one event loop."""

    async def open(self, receive: Sequence[str], send: Sequence[str], *, prefetch: int = 4) -> None:
        """Connect, make the queues that are missing, and begin to receive.

        Args:
            receive: Names of the queues to receive from, such as ``"check"``; a name stands for whatever the transport
                makes of it (over AMQP ``check_exchange``, ``check_queue`` and ``check_routing_key``).
            send: Names of the queues to send to.
            prefetch: Most messages held unacknowledged at once.

        Raises:
            TransportLost: If it cannot be reached.
        """
        ...

    async def receive(self, *, most: int, wait_s: float) -> list[Delivery]:
        """Take what has arrived, without waiting to fill up.

        Args:
            most: Most messages.
            wait_s: How long to wait for the first. Unit: s.

        Returns:
            Messages in the order of their queues; none where none came in time.

        Raises:
            TransportLost: If the queue is gone.
        """
        ...

    async def send(self, queue: str, message: Message) -> None:
        """Send a message; when this returns, the queue has it safe.

        Args:
            queue: Name of the queue.
            message: What to send.

        Raises:
            TransportLost: If the queue is gone; it may or may not have the message.
            Undeliverable: If it has no such queue, or takes no more.
        """
        ...

    async def alive(self) -> bool:
        """Whether messages would still reach this receiver: the queue counts it among its consumers.

        Raises:
            TransportLost: If the queue is gone.
        """
        ...

    async def close(self) -> None:
        """Stop receiving; what was not acknowledged comes again, to anybody. Never raises."""
        ...

"""Broken queues: each must fail the contract's own tests, or those would prove nothing."""

from collections.abc import Callable, Sequence

import pytest

from eyeground.clinic.queue.memory import Broker, MemoryTransport
from eyeground.clinic.queue.transport import Delivery, Message, TransportLost, Undeliverable

from . import test_transport as contract
from .places import Place


class Forgetful(MemoryTransport):
    """Acknowledges what it hands over."""

    async def receive(self, *, most: int, wait_s: float) -> list[Delivery]:
        taken = await super().receive(most=most, wait_s=wait_s)
        self.held.clear()
        return taken


class Twice(MemoryTransport):
    """Sends now and then twice."""

    async def send(self, queue: str, message: Message) -> None:
        await super().send(queue, message)
        if message.body.endswith(b"7"):
            await super().send(queue, message)


class Greedy(MemoryTransport):
    """Knows no bound."""

    async def open(self, receive: Sequence[str], send: Sequence[str], *, prefetch: int = 4) -> None:
        await super().open(receive, send, prefetch=1000)


class Backwards(MemoryTransport):
    """The last goes first."""

    async def receive(self, *, most: int, wait_s: float) -> list[Delivery]:
        return (await super().receive(most=most, wait_s=wait_s))[::-1]


class Silent(MemoryTransport):
    """Drops what no queue takes."""

    async def send(self, queue: str, message: Message) -> None:
        try:
            await super().send(queue, message)
        except Undeliverable:
            return


class Cut(MemoryTransport):
    """Ends bodies at their first zero byte, as C would."""

    async def send(self, queue: str, message: Message) -> None:
        await super().send(queue, Message(message.body.split(b"\0")[0], message.message_id, message.headers))


class Proud(MemoryTransport):
    """Says it is alive, whatever is."""

    async def alive(self) -> bool:
        return True


MUTANTS: list[tuple[type[MemoryTransport], Callable[[Place, str], None]]] = [
    (Forgetful, contract.test_what_was_not_acknowledged_comes_again_when_the_receiver_closes),
    (Twice, contract.test_a_thousand_sent_at_once_all_arrive_once),
    (Greedy, contract.test_no_more_are_held_than_prefetch),
    (Backwards, contract.test_messages_come_in_the_order_they_were_sent),
    (Silent, contract.test_a_queue_that_nobody_made_takes_nothing),
    (Cut, lambda site, queue: contract.test_bodies_arrive_byte_for_byte(site, queue, 4096)),
    (Proud, contract.test_alive_says_whether_messages_would_come),
    (Proud, contract.test_a_queue_that_is_lost_says_so_and_loses_nothing),
]


@pytest.mark.parametrize(
    ("mutant", "test"), MUTANTS, ids=[f"{mutant.__name__}-{number}" for number, (mutant, _) in enumerate(MUTANTS)]
)
def test_a_broken_queue_is_caught(mutant: type[MemoryTransport], test: Callable[[Place, str], None]) -> None:
    def place(kind: type[MemoryTransport]) -> Place:
        broker = Broker()
        return Place("memory", lambda lease_s=0.0: kind(broker), lambda: setattr(broker, "up", False), lambda: None)

    sound = place(MemoryTransport)
    sound.find = lambda: setattr(sound.make()._broker, "up", True)  # type: ignore[attr-defined]
    test(sound, "check")
    with pytest.raises((AssertionError, pytest.fail.Exception, TransportLost)):
        test(place(mutant), "check")

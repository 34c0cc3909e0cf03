"""A site's own client: plain pika, which knows nothing of our transport; and a line between that can be cut."""

import json
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

import pika
import pika.exceptions


def declare(channel: "pika.adapters.blocking_connection.BlockingChannel", name: str) -> None:
    """The contract as sites write it down: a durable direct exchange, a durable queue, a routing key."""
    channel.exchange_declare(f"{name}_exchange", exchange_type="direct", durable=True)
    channel.queue_declare(f"{name}_queue", durable=True)
    channel.queue_bind(f"{name}_queue", f"{name}_exchange", f"{name}_routing_key")


def publish(url: str, bodies: Sequence[bytes], *, name: str = "check") -> None:
    """Send messages, persistent and confirmed; what was not confirmed is sent again."""
    waiting = list(bodies)
    while waiting:
        try:
            connection = pika.BlockingConnection(pika.URLParameters(url))
            channel = connection.channel()
            declare(channel, name)
            channel.confirm_delivery()
            while waiting:
                channel.basic_publish(
                    f"{name}_exchange", f"{name}_routing_key", waiting[0],
                    pika.BasicProperties(content_type="application/json", delivery_mode=2), mandatory=True,
                )  # fmt: skip
                waiting.pop(0)
            connection.close()
        except (pika.exceptions.AMQPError, OSError):
            time.sleep(0.3)


class Inbox:
    """Collects answers in a thread of its own, through whatever happens to the broker."""

    def __init__(self, url: str, *, name: str = "result_check") -> None:
        self._url, self._name = url, name
        self.got: dict[str, list[bytes]] = defaultdict(list)
        self.ids: dict[str, set[str]] = defaultdict(set)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def _collect(self) -> None:
        while not self._stop.is_set():
            try:
                connection = pika.BlockingConnection(pika.URLParameters(self._url))
                channel = connection.channel()
                declare(channel, self._name)
                for method, properties, body in channel.consume(f"{self._name}_queue", inactivity_timeout=0.2):
                    if self._stop.is_set():
                        break
                    if method is None:
                        continue
                    key = str(json.loads(body)["id"])
                    channel.basic_ack(method.delivery_tag)
                    self.got[key].append(body)
                    self.ids[key].add(properties.message_id)
                connection.close()
            except (pika.exceptions.AMQPError, OSError):
                time.sleep(0.2)

    def once_each(self) -> list[bytes]:
        """The answers as a client has them that knows a repeat by its message id."""
        answers = []
        for key, bodies in self.got.items():
            if len(self.ids[key]) == 1 and len(set(bodies)) == 1:
                bodies = bodies[:1]
            answers += bodies
        return answers

    @property
    def repeats(self) -> int:
        """Deliveries of an answer that had been delivered before, same id and same bytes."""
        return sum(len(bodies) for bodies in self.got.values()) - len(self.once_each())

    def close(self) -> None:
        """Stop collecting."""
        self._stop.set()
        self._thread.join(20)


class Line:
    """A TCP line to a server that can be cut, stalled, or made to drop what it carries."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._door = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._door.getsockname()[1])
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self.refuses = False
        self.stalls = False
        self.drops = False
        self._open = True
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while self._open:
            try:
                near, _ = self._door.accept()
            except OSError:
                return
            if self.refuses:
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self._target), timeout=5)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            with self._lock:
                self._pairs.append((near, far))
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                while self.stalls and self._open:
                    time.sleep(0.02)
                if not self.drops:
                    sink.sendall(data)
        except OSError:
            pass
        for each in (source, sink):
            with_suppress(each.close)

    def cut(self, *, reset: bool = False) -> None:
        """End every connection, in order or with a reset."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for each in pair:
                if reset:
                    with_suppress(
                        lambda each=each: each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    )
                with_suppress(lambda each=each: each.shutdown(socket.SHUT_RDWR))
                with_suppress(each.close)

    def close(self) -> None:
        """Take the line away."""
        self._open = False
        self._door.close()
        self.cut()


def with_suppress(act: Callable[[], object]) -> None:
    """Do something to a socket that may be gone."""
    try:
        act()
    except OSError:
        return

"""Every queue of the shelf as a place to test: made, lost, found again, and held by a process that is killed."""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from sqlalchemy import event

from eyeground.clinic.db.database import Database
from eyeground.clinic.db.migrate import migrate
from eyeground.clinic.queue.amqp import AmqpTransport
from eyeground.clinic.queue.memory import Broker, MemoryTransport
from eyeground.clinic.queue.sql import SqlTransport
from eyeground.clinic.queue.transport import Transport

from ..servers import POSTGRES, amqp_url, broker_ctl, end_backends, postgres_url

KINDS = ("memory", "sqlite", "postgresql", "classic", "quorum")
LEASE_S = 30.0
SHORT_LEASE_S = 1.0  # of who is going to die
_OWNER = """
import asyncio, sys
from eyeground.clinic.db.database import Database
from eyeground.clinic.queue.amqp import AmqpTransport
from eyeground.clinic.queue.sql import SqlTransport

async def hold():
    kind, url, queue = sys.argv[1:]
    if kind in ("classic", "quorum"):
        transport = AmqpTransport(url, queue_type=kind)
    else:
        transport = SqlTransport(Database(url, key=b""), lease_s=%f)
    await transport.open([queue], [queue])
    print(len(await transport.receive(most=1, wait_s=30)), flush=True)
    await asyncio.sleep(600)

asyncio.run(hold())
"""


@dataclass
class Place:
    """One queue.

    Args:
        kind: A word of ``KINDS``.
        make: Gives another connection to it; ``lease_s`` is for those that have leases.
        lose: Makes it unreachable.
        find: Makes it reachable again.
        url: Its address; empty of what has none.
    """

    kind: str
    make: Callable[..., Transport]
    lose: Callable[[], None]
    find: Callable[[], None]
    url: str = ""

    def die_holding(self, queue: str) -> None:
        """Have a process take one message of a queue, and kill it."""
        words = [sys.executable, "-c", _OWNER % SHORT_LEASE_S, self.kind, self.url, queue]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as owner:
            try:
                assert owner.stdout is not None
                assert owner.stdout.readline().strip() == "1"
            finally:
                owner.kill()


@contextlib.contextmanager
def place(kind: str) -> Iterator[Place]:
    """Set one up; skips where its server is missing."""
    with {"memory": _memory, "sqlite": _sqlite, "postgresql": _postgresql}.get(kind, _amqp)(kind) as made:
        yield made


@contextlib.contextmanager
def _memory(kind: str) -> Iterator[Place]:
    broker = Broker()
    switch = lambda up: lambda: setattr(broker, "up", up)  # noqa: E731
    yield Place(kind, lambda lease_s=0.0: MemoryTransport(broker), switch(False), switch(True))


@dataclass
class _Opened:
    """Databases that are closed at the end."""

    url: str
    opened: list[Database] = field(default_factory=list)

    def make(self, lease_s: float = LEASE_S) -> Transport:
        if not self.opened:
            self.opened.append(Database(self.url, key=b""))
            migrate(self.opened[0].engine)
        # Another connection is another process: another pool.
        self.opened.append(Database(self.url, key=b""))
        return SqlTransport(self.opened[-1], lease_s=lease_s)

    def close(self) -> None:
        for database in self.opened:
            database.close()


@contextlib.contextmanager
def _sqlite(kind: str) -> Iterator[Place]:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'clinic.db'}"
        opened = _Opened(url)
        locked: list[contextlib.ExitStack] = []

        def lose() -> None:
            for database in opened.opened:
                event.listen(database.engine, "do_connect", lambda _, __, ___, settings: settings.update(timeout=0.2))
                database.close()
            stack = contextlib.ExitStack()
            connection = stack.enter_context(Database(url, key=b"").engine.connect())
            connection.exec_driver_sql("rollback")
            connection.exec_driver_sql("begin exclusive")
            locked.append(stack)

        def find() -> None:
            while locked:
                locked.pop().close()

        try:
            yield Place(kind, opened.make, lose, find, url)
        finally:
            find()
            opened.close()


@contextlib.contextmanager
def _postgresql(kind: str) -> Iterator[Place]:
    with postgres_url() as url:
        opened = _Opened(url)
        name = url.rpartition("/")[2]

        def allow(yes: bool) -> None:
            with psycopg.connect(f"postgresql://{POSTGRES}/postgres", autocommit=True) as server:
                server.execute(f'alter database "{name}" with allow_connections {yes}')
            if not yes:
                end_backends(url)

        try:
            yield Place(kind, opened.make, lambda: allow(False), lambda: allow(True), url)
        finally:
            opened.close()


@contextlib.contextmanager
def _amqp(kind: str) -> Iterator[Place]:
    with amqp_url() as url:
        name = url.rpartition("/")[2]
        yield Place(
            kind,
            lambda lease_s=0.0: AmqpTransport(url, queue_type=kind),  # type: ignore[arg-type]
            lambda: broker_ctl("close_all_connections", "--vhost", name, "a test"),
            lambda: None,
            url,
        )

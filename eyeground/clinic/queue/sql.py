"""The queue that the database itself is: nothing else need be installed, and one backup holds all.

A message is a leased row: see ``eyeground.clinic.db.lease``. What many callers want at once, such as sending fifty
messages, goes into one transaction, for a transaction costs a write to the disk whatever is in it.
"""

import asyncio
import contextlib
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from sqlalchemy import insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from eyeground.clinic.db.database import Database, DatabaseLost
from eyeground.clinic.db.lease import LeaseLost, Leases
from eyeground.clinic.db.tables import PassedMessage, QueuedMessage
from eyeground.clinic.queue.transport import Delivery, Message, Transport, TransportLost, Undeliverable

_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 0.5
_TOGETHER: Final = 200  # changes in one transaction
_open: "weakref.WeakSet[SqlTransport]" = weakref.WeakSet()


class SqlTransport:
    """A connection to the queue that a database is.

    Args:
        database: The database; its tables must be there.
        lease_s: How long a message stays with a receiver that has fallen silent. Unit: s.

    Example:
        >>> import tempfile
        >>> from eyeground.clinic.db.migrate import migrate
        >>> database = Database(f"sqlite:///{tempfile.mkdtemp()}/clinic.db", key=b"")
        >>> _ = migrate(database.engine)
        >>> async def there_and_back():
        ...     transport = SqlTransport(database, lease_s=30)
        ...     await transport.open(["check"], ["check"])
        ...     await transport.send("check", Message(b"{}"))
        ...     [delivery] = await transport.receive(most=4, wait_s=1)
        ...     await delivery.acknowledge()
        ...     await transport.close()
        ...     return delivery.message.body
        >>> asyncio.run(there_and_back())
        b'{}'

    References:
        "select for update skip locked": https://www.postgresql.org/docs/current/sql-select.html
    """

    def __init__(self, database: Database, *, lease_s: float) -> None:
        self.database = database
        self._leases = Leases(QueuedMessage, key=QueuedMessage.id, order=(QueuedMessage.id,), lease_s=lease_s)
        self._receive: tuple[str, ...] = ()
        self._send: frozenset[str] = frozenset()
        self._prefetch = 0
        self._is_open = False
        self._held: dict[int, _Held] = {}
        self._ready: deque[_Held] = deque()
        self._waiting: list[_Change] = []
        self._tasks: dict[Literal["look", "write", "renew"], asyncio.Task[None]] = {}

    async def open(self, receive: Sequence[str], send: Sequence[str], *, prefetch: int = 4) -> None:
        self._receive, self._send, self._prefetch = tuple(receive), frozenset((*receive, *send)), prefetch
        self._loop, self._news = asyncio.get_running_loop(), asyncio.Event()
        await self._ask()
        self._is_open = True
        _open.add(self)
        if receive:
            self._tasks["renew"] = asyncio.create_task(self._renew())

    async def receive(self, *, most: int, wait_s: float) -> list[Delivery]:
        ends, pause = asyncio.get_running_loop().time() + wait_s, _FIRST_PAUSE_S
        while True:
            self._check()
            self._news.clear()
            if not self._ready:
                await self._look(most)
            taken: list[Delivery] = [self._ready.popleft() for _ in range(min(most, len(self._ready)))]
            left = ends - asyncio.get_running_loop().time()
            if taken or left <= 0:
                return taken
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def send(self, queue: str, message: Message) -> None:
        self._check()
        if queue not in self._send:
            raise Undeliverable("no such queue was opened")
        await self._change(_Change("send", queue=queue, message=message))
        for transport in [*_open]:
            if transport.database is self.database:
                transport.wake()

    async def alive(self) -> bool:
        if not self._is_open:
            return False
        await self._ask()
        renewing = self._tasks.get("renew")
        return renewing is None or not renewing.done()

    async def close(self) -> None:
        self._is_open = False
        _open.discard(self)
        for name in ("renew", "look"):
            task = self._tasks.pop(name, None)
            if task is not None:
                if name == "renew":
                    task.cancel()
                await asyncio.wait([task])
        # Where the database is gone, they come again when their lease has run out.
        back = [self._change(_Change("rest", row=held.row)) for held in self._held.values()]
        self._held.clear()
        self._ready.clear()
        await asyncio.gather(*back, return_exceptions=True)

    def wake(self) -> None:
        """Have a receiver that waits look at once; may be called from any thread."""
        with contextlib.suppress(RuntimeError):  # its loop has ended
            self._loop.call_soon_threadsafe(self._news.set)

    async def let_go(self, held: "_Held", how: Literal["drop", "rest"]) -> None:
        """End a delivery; called by what ``receive`` gave.

        Args:
            held: The delivery.
            how: ``"drop"`` = acknowledged, ``"rest"`` = given back.

        Raises:
            TransportLost: If the database is gone, or the transport was closed; the message will come again.
        """
        self._check()
        if self._held.pop(held.row.id, None) is not None:
            await self._change(_Change(how, row=held.row))
        self._news.set()

    def _check(self) -> None:
        """Nothing works on a transport that is not open."""
        if not self._is_open:
            raise TransportLost("the queue was closed, or never opened")

    async def _look(self, most: int) -> None:
        """Take what is there. A look that its caller no longer waits for goes on; the next call has what it found."""
        if "look" not in self._tasks:
            room = min(most, self._prefetch - len(self._held))
            if room <= 0 or not self._receive:
                return
            self._tasks["look"] = asyncio.create_task(self._take(room))
        task = self._tasks["look"]
        await asyncio.wait([task])
        self._tasks.pop("look", None)
        await task

    async def _take(self, count: int) -> None:
        """Take messages; in a task of its own."""
        for row in await _in_thread(self._take_rows, count):
            held = self._held[row.id] = _Held(self, row)
            self._ready.append(held)

    def _take_rows(self, count: int) -> list[QueuedMessage]:
        """Take messages; in a thread."""
        with self.database.write() as work:
            return self._leases.take(work.session, count=count, where=(QueuedMessage.queue.in_(self._receive),))

    async def _renew(self) -> None:
        """Say now and then that this receiver lives."""
        while True:
            await asyncio.sleep(self._leases.lease_s / 3)
            # While the database does not answer nobody else can take them either; the next round says it again.
            keeps = [self._change(_Change("keep", row=held.row)) for held in self._held.values()]
            for end in await asyncio.gather(*keeps, return_exceptions=True):
                if isinstance(end, BaseException) and not isinstance(end, TransportLost):
                    raise end

    async def _change(self, change: "_Change") -> None:
        """Have something written, together with whatever else is waiting to be."""
        change.done = asyncio.get_running_loop().create_future()
        self._waiting.append(change)
        writing = self._tasks.get("write")
        if writing is None or writing.done():
            self._tasks["write"] = asyncio.create_task(self._write())
        # A caller that is cancelled does not take the others' transaction with it.
        await asyncio.shield(change.done)

    async def _write(self) -> None:
        """Write all that waits, and what comes meanwhile."""
        while self._waiting:
            now, self._waiting = self._waiting[:_TOGETHER], self._waiting[_TOGETHER:]
            try:
                await _in_thread(self._write_rows, now)
            except Exception as error:  # noqa: BLE001 - each caller gets it
                for change in now:
                    change.done.set_exception(error)
                    change.done.exception()  # its caller may have been cancelled
            else:
                for change in now:
                    change.done.set_result(None)

    def _write_rows(self, changes: Sequence["_Change"]) -> None:
        """Carry changes out in one transaction; in a thread."""
        with self.database.write() as work:
            sent = [change for change in changes if change.kind == "send"]
            if sent:
                self._insert(work.session, sent)
            # By number, as every receiver does, so that no two wait for each other.
            for change in sorted((each for each in changes if each.row is not None), key=lambda each: each.row.id):
                # A message that somebody else has by now comes again to them; whoever has it twice knows it by its id.
                with contextlib.suppress(LeaseLost):
                    if change.kind == "drop":
                        self._leases.drop(work.session, change.row)
                    elif change.kind == "keep":
                        self._leases.keep(work.session, change.row)
                    else:
                        self._leases.rest(work.session, change.row, pause_s=0.0)

    def _insert(self, session: Session, sent: Sequence["_Change"]) -> None:
        """Put messages in, but for those whose id their queue has carried before."""
        # In one order everywhere, so that two senders of the same ids do not wait for each other.
        ids = sorted({(each.queue, each.message.message_id) for each in sent if each.message.message_id})
        new: set[tuple[str, str]] = set()
        if ids:
            dialect = sqlite if self.database.is_sqlite else postgresql
            passed = dialect.insert(PassedMessage).values([{"queue": q, "message_id": i} for q, i in ids])
            once = passed.on_conflict_do_nothing().returning(PassedMessage.queue, PassedMessage.message_id)
            new = {(queue, message_id) for queue, message_id in session.execute(once)}
        rows = []
        for each in sent:
            if not each.message.message_id or (each.queue, each.message.message_id) in new:
                new.discard((each.queue, each.message.message_id))
                rows.append(each.values())
        if rows:
            session.execute(insert(QueuedMessage), rows)

    async def _ask(self) -> None:
        """Have the database answer."""
        await _in_thread(self._ask_rows)

    def _ask_rows(self) -> None:
        with self.database.read() as session:
            session.execute(select(QueuedMessage.id).limit(1))


@dataclass(eq=False)
class _Held:
    """A message that was handed over."""

    transport: SqlTransport
    row: QueuedMessage

    @property
    def message(self) -> Message:
        return Message(self.row.body, self.row.message_id, self.row.headers)

    @property
    def queue(self) -> str:
        return self.row.queue

    @property
    def redelivered(self) -> bool:
        return self.row.attempts > 1

    async def acknowledge(self) -> None:
        await self.transport.let_go(self, "drop")

    async def give_back(self) -> None:
        await self.transport.let_go(self, "rest")


@dataclass(eq=False)
class _Change:
    """Something that is to be written."""

    kind: Literal["send", "drop", "rest", "keep"]
    row: Any = None
    queue: str = ""
    message: Message = field(default_factory=lambda: Message(b""))
    done: "asyncio.Future[None]" = field(init=False)

    def values(self) -> dict[str, Any]:
        """The row of a message that is sent."""
        return {
            "queue": self.queue,
            "message_id": self.message.message_id,
            "body": self.message.body,
            "headers": dict(self.message.headers),
            "token": "",
            "patience_s": 0.0,
            "attempts": 0,
        }


async def _in_thread(work: Any, *given: Any) -> Any:
    """Talk to the database without holding up the loop."""
    try:
        return await asyncio.to_thread(work, *given)
    except DatabaseLost as error:
        raise TransportLost("the database that is the queue does not answer; connect anew") from error


def connect(url: str, *, database: Database, lease_s: float, **others: Any) -> Transport:
    """Make a transport over the queue that the database is.

    Args:
        url: ``sql:``.
        database: The database.
        lease_s: How long a message stays with a receiver that has fallen silent. Unit: s.
        others: What other queues of the shelf need.

    Returns:
        The transport, not yet open.

    Raises:
        ValueError: If there is more in the address; the database has its own setting.

    Example:
        >>> asyncio.run(connect("sql:", database=Database("sqlite://", key=b""), lease_s=30).alive())
        False

    References:
        docs/clinic.md.
    """
    if url != "sql:":
        raise ValueError("the queue that the database is has the address sql: and no more; set the database's address")
    return SqlTransport(database, lease_s=lease_s)

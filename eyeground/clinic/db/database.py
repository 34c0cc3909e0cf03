"""The database: how it is opened, and transactions that end whole or not at all, audit trail included."""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolEmpty
from sqlalchemy.orm import Session

from eyeground.clinic.db.audit import Note, append
from eyeground.clinic.db.tables import Case
from eyeground.clinic.db.turn import Turn

_WRITES: Final = "eyeground_writes"
_BUSY_S: Final = 30.0
# SQLite 3.7.0 to 3.51.2 can lose a commit when a write-ahead log is reset; https://sqlite.org/wal.html#walresetbug
_WAL_SOUND: Final = (3, 51, 3)


@dataclass
class Work:
    """A transaction that is under way.

    Args:
        session: SQLAlchemy's.
        notes: What goes into the audit trail with it.

    Example:
        >>> work = Work(Session())
        >>> work.note("service", "received", pictures=2)
        >>> work.notes[0].detail
        {'pictures': 2}

    References:
        Fowler, "Patterns of Enterprise Application Architecture": Unit of Work.
    """

    session: Session
    notes: list[Note] = field(default_factory=list)

    def note(self, actor: str, event: str, case: Case | None = None, **detail: Any) -> None:
        """Write a line into the audit trail, if the transaction ends well.

        Args:
            actor: Account, or ``"service"``.
            event: What happened.
            case: To which case.
            detail: Plain values without a word about the patient.
        """
        self.notes.append(Note(actor, event, case.id if case else "", detail))


class Database:
    """A database that is open; SQLite or PostgreSQL.

    Args:
        url: As ``Settings.database_url``.
        key: Key of the audit trail, as ``audit.audit_key`` gives it.
        pool: Most connections at once.

    Example:
        >>> database = Database("sqlite://", key=b"")
        >>> with database.read() as session:
        ...     session.connection().exec_driver_sql("select 1").scalar()
        1

    References:
        https://docs.sqlalchemy.org/en/20/dialects/sqlite.html#pysqlite-serializable
    """

    def __init__(self, url: str, *, key: bytes, pool: int = 5) -> None:
        self.url, self.key = url, key
        self.engine = open_engine(url, pool=pool)
        self._writing = self.engine.execution_options(**{_WRITES: True})
        file = self.engine.url.database if self.is_sqlite else None
        self._turn = Turn(Path(f"{file}.turn")) if file and file != ":memory:" else None

    @property
    def is_sqlite(self) -> bool:
        """Whether it is SQLite."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def write(self) -> Iterator[Work]:
        """Open a transaction that will write; SQLite lets one in at a time.

        Yields:
            The transaction. It is committed at the end, with its notes in the audit trail, or undone by an exception.

        Raises:
            DatabaseLost: If the database is gone or stays busy; nothing is known of a commit that was under way.
        """
        with ExitStack() as stack:
            if self._turn is not None:
                try:
                    stack.enter_context(self._turn)
                except OSError as error:
                    raise DatabaseLost("the database stays busy; it is tried again") from error
            work = Work(session := stack.enter_context(self._session(self._writing)))
            yield work
            session.flush()
            append(session, work.notes, key=self.key)
            session.commit()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a transaction that only reads.

        Yields:
            The session.

        Raises:
            DatabaseLost: If the database is gone or stays busy.
        """
        with self._session(self.engine) as session:
            yield session

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()
        if self._turn:
            self._turn.close()

    @contextmanager
    def _session(self, engine: Engine) -> Iterator[Session]:
        """A session whose lost connection is told apart from our own mistakes."""
        session = Session(engine, expire_on_commit=False, autoflush=True)
        try:
            yield session
        except PoolEmpty as error:
            raise DatabaseLost("all connections to the database stayed busy; it is tried again") from error
        except DBAPIError as error:
            if lost(error):
                session.invalidate()  # a commit that failed may have left its transaction open in there
                raise DatabaseLost("the database does not answer; it is tried again") from error
            raise
        finally:
            session.close()


class DatabaseLost(ConnectionError):
    """The database is gone or stays busy; what was under way may or may not have been written: look, then go on."""


def lost(error: DBAPIError) -> bool:
    """Tell a database that is gone or busy from a statement that is wrong.

    Args:
        error: What SQLAlchemy raised.

    Returns:
        True where trying again later makes sense.

    Example:
        >>> lost(OperationalError("select 1", {}, sqlite3.OperationalError("database is locked")))
        True
        >>> lost(OperationalError("select 1", {}, sqlite3.OperationalError("no such table: cases")))
        False

    References:
        https://www.postgresql.org/docs/current/errcodes-appendix.html
    """
    if error.connection_invalidated or isinstance(error, InterfaceError):
        return True
    if not isinstance(error, OperationalError):
        return False
    if isinstance(error.orig, sqlite3.Error):
        words = str(error.orig)
        return any(each in words for each in ("locked", "busy", "disk I/O error", "disk is full", "unable to open"))
    # 08 connection, 40 serialization and deadlock, 53 resources, 57 shutdown, 58 I/O; none = never connected
    state = getattr(error.orig, "sqlstate", None)
    return state is None or state[:2] in ("08", "40", "53", "57", "58")


def open_engine(url: str, *, pool: int = 5) -> Engine:
    """Open an engine as this service needs it.

    Args:
        url: ``sqlite:///PATH``, ``sqlite://`` for one in memory, or ``postgresql+psycopg://...``.
        pool: Most connections at once.

    Returns:
        SQLite: ``synchronous=FULL``, a rollback journal (a write-ahead log where it is sound), foreign keys, and
        ``BEGIN IMMEDIATE`` for those that write. PostgreSQL: as it comes, each connection checked before use. What is
        written never stands in an error: it is patients' business.

    Example:
        >>> open_engine("sqlite://").dialect.name
        'sqlite'

    References:
        https://sqlite.org/pragma.html, https://sqlite.org/wal.html
    """
    address = make_url(url)
    if address.get_backend_name() != "sqlite":
        return create_engine(
            address,
            pool_size=pool,
            max_overflow=pool,
            pool_pre_ping=True,
            connect_args={"connect_timeout": 10},
            hide_parameters=True,
        )
    if address.database not in (None, "", ":memory:"):
        Path(str(address.database)).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = create_engine(address, connect_args={"timeout": _BUSY_S, "check_same_thread": False}, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # or pysqlite opens transactions of its own, and too late
        wal = sqlite3.sqlite_version_info >= _WAL_SOUND
        for pragma in (
            f"journal_mode={'wal' if wal else 'delete'}", "synchronous=full", "foreign_keys=on", "trusted_schema=off",
        ):  # fmt: skip
            connection.execute(f"pragma {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine

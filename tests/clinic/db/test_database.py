"""Transactions end whole or not at all, and a database that is gone is told apart from a mistake of ours."""
# ruff: noqa: PT012 - what fails is a transaction as a whole, often at its end

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from eyeground.clinic.db import database as databases
from eyeground.clinic.db.audit import verify
from eyeground.clinic.db.database import Database, DatabaseLost, lost
from eyeground.clinic.db.tables import AuditRecord, QueuedMessage

from ..servers import OwnPostgres, end_backends

CANARY = "canary-4711"


def message(body: bytes = b"{}") -> QueuedMessage:
    return QueuedMessage(queue="check", body=body)


def counted(database: Database) -> tuple[int, int]:
    """How many messages and lines there are."""
    with database.read() as session:
        tables = (QueuedMessage, AuditRecord)
        messages, lines = (session.scalar(select(func.count()).select_from(table)) or 0 for table in tables)
        return messages, lines


def test_a_transaction_that_ends_well_is_written_with_its_notes(database: Database) -> None:
    with database.write() as work:
        work.session.add(message())
        work.note("eve", "received", pictures=2)
    assert counted(database) == (1, 1)
    with database.read() as session:
        line = session.scalars(select(AuditRecord)).one()
    assert (line.seq, line.actor, line.event, line.detail) == (1, "eve", "received", '{"pictures":2}')


class Stopped(Exception):
    """Something of ours."""


def test_an_exception_undoes_everything_and_passes_through(database: Database) -> None:
    with pytest.raises(Stopped), database.write() as work:
        work.session.add(message())
        work.session.flush()
        work.note("eve", "received")
        raise Stopped
    assert counted(database) == (0, 0)


def test_notes_that_cannot_be_written_undo_the_rest(database: Database) -> None:
    with pytest.raises(TypeError), database.write() as work:
        work.session.add(message())
        work.note("eve", "received", thing=object())
    assert counted(database) == (0, 0)


def test_what_is_only_read_is_not_written(database: Database) -> None:
    with database.read() as session:
        session.add(message())
        session.flush()
    assert counted(database) == (0, 0)


def test_writers_at_once_lose_no_change_and_no_line(database: Database) -> None:
    with database.write() as work:
        work.session.add(message())

    def grow(_: int) -> None:
        with database.write() as work:
            work.session.execute(update(QueuedMessage).values(attempts=QueuedMessage.attempts + 1))
            work.note("service", "grown")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(grow, range(100)))
    with database.read() as session:
        assert session.scalar(select(QueuedMessage.attempts)) == 100
        assert verify(session, key=database.key).lines == 100
        assert verify(session, key=database.key).broken_at is None


def test_what_was_written_never_stands_in_an_error(database: Database) -> None:
    with pytest.raises(IntegrityError) as refused, database.write() as work:
        work.session.add(QueuedMessage(id=1, queue=CANARY, body=CANARY.encode()))
        work.session.flush()
        work.session.execute(
            text("insert into queued_messages (id, queue, message_id, body, headers, token, patience_s, attempts)"
                 " select 1, :queue, '', body, headers, '', 0, 0 from queued_messages"),
            {"queue": CANARY},
        )  # fmt: skip
    assert CANARY not in str(refused.value)


WRONG: list[tuple[str, Callable[[Session], object]]] = [
    ("no such table", lambda session: session.execute(text("select * from no_such_table"))),
    ("no such column", lambda session: session.execute(text("select no_such_column from cases"))),
    ("no statement", lambda session: session.execute(text("selct 1"))),
    ("a null where none may be", lambda session: session.execute(text("update audit_head set digest = null"))),
]


@pytest.mark.parametrize("wrong", [each[1] for each in WRONG], ids=[each[0] for each in WRONG])
def test_a_wrong_statement_is_not_a_lost_database(database: Database, wrong: Callable[[Session], object]) -> None:
    with pytest.raises(DBAPIError) as refused, database.write() as work:
        wrong(work.session)
    assert not lost(refused.value)


_LOCKER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("begin exclusive")
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked_by_another(place: Path) -> Iterator[None]:
    with subprocess.Popen(
        [sys.executable, "-c", _LOCKER, place], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as locker:
        assert locker.stdout is not None
        assert locker.stdout.readline() == "locked\n"
        try:
            yield
        finally:
            locker.kill()


def test_a_file_that_another_process_locks_is_lost_until_it_lets_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "_BUSY_S", 0.1)
    database = Database(f"sqlite:///{tmp_path}/a.db", key=b"")
    with database.write() as work:
        work.session.execute(text("create table a (b int)"))
    with locked_by_another(tmp_path / "a.db"):
        with pytest.raises(DatabaseLost), database.write() as work:
            work.session.execute(text("insert into a values (0)"))
        with pytest.raises(DatabaseLost), database.read() as session:
            session.execute(text("select * from a"))
    with database.write() as work:
        work.session.execute(text("insert into a values (1)"))
        assert work.session.scalars(text("select b from a")).all() == [1]
    database.close()


def test_a_full_disk_is_a_lost_database(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/a.db", key=b"")
    with database.write() as work:
        work.session.execute(text("create table a (b blob)"))
    with pytest.raises(DatabaseLost), database.write() as work:
        work.session.execute(text("pragma max_page_count = 3"))
        work.session.execute(text("insert into a values (zeroblob(1000000))"))
    database.close()


def test_a_file_that_cannot_be_opened_is_a_lost_database(tmp_path: Path) -> None:
    (tmp_path / "a.db").mkdir()
    database = Database(f"sqlite:///{tmp_path}/a.db", key=b"")
    with pytest.raises(DatabaseLost), database.write() as work:
        work.session.execute(text("select 1"))


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_connection_that_the_server_ends_is_lost_and_the_next_is_not(database: Database) -> None:
    with pytest.raises(DatabaseLost), database.write() as work:
        work.session.add(message())
        work.session.flush()
        end_backends(database.url)
        work.session.execute(text("select 1"))
    with pytest.raises(DatabaseLost), database.write() as work:  # at its very end
        work.session.add(message())
        work.session.flush()
        end_backends(database.url)
    assert counted(database) == (0, 0)
    # Those that lie in the pool are looked at before they are used.
    end_backends(database.url)
    assert counted(database) == (0, 0)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_two_that_wait_for_each_other_are_a_lost_database_for_one(database: Database) -> None:
    with database.write() as work:
        work.session.add_all([message(), message()])
    meet = threading.Barrier(2, timeout=20)

    def cross(order: tuple[int, int]) -> str:
        try:
            with database.write() as work:
                for each in order:
                    work.session.execute(update(QueuedMessage).where(QueuedMessage.id == each).values(attempts=1))
                    if each == order[0]:
                        meet.wait()
        except DatabaseLost:
            return "lost"
        return "written"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(cross, [(1, 2), (2, 1)])) == ["lost", "written"]


def test_a_server_that_is_killed_is_lost_until_it_is_back() -> None:
    with OwnPostgres() as server:
        database = Database(server.url, key=b"")
        with database.write() as work:
            work.session.execute(text("create table a (b int)"))
            work.session.execute(text("insert into a values (1)"))
        server.kill()
        for _ in range(2):
            with pytest.raises(DatabaseLost), database.write() as work:
                work.session.execute(text("insert into a values (2)"))
        server.start()
        with database.read() as session:
            assert session.scalars(text("select b from a")).all() == [1]
        database.close()


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_connections_that_all_stay_busy_are_a_lost_database(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = Database(database.url, key=b"", pool=1)
    monkeypatch.setattr(narrow.engine.pool, "_timeout", 0.1)
    monkeypatch.setattr(narrow.engine.pool, "_max_overflow", 0)
    with narrow.read() as busy:
        busy.execute(text("select 1"))
        with pytest.raises(DatabaseLost, match="busy"), narrow.read() as session:
            session.execute(text("select 1"))
    narrow.close()


@pytest.mark.parametrize(
    ("version", "journal"), [((3, 51, 2), "delete"), ((3, 51, 3), "wal"), ((3, 7, 0), "delete"), ((3, 60, 0), "wal")]
)
def test_sqlite_is_set_to_survive_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], journal: str
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
    database = Database(f"sqlite:///{tmp_path}/a.db", key=b"")
    with database.read() as session:
        found = {
            name: session.scalar(text(f"pragma {name}")) for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert found == {"journal_mode": journal, "synchronous": 2, "foreign_keys": 1}
    database.close()

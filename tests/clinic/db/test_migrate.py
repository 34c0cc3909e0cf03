"""Migrations (R15): every released schema, killed at every statement, begun by many at once, never half done."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.config import Config

from eyeground.clinic.db import migrate as migrations
from eyeground.clinic.db.database import Database, open_engine
from eyeground.clinic.db.migrate import SchemaRefused, check_schema, known, migrate
from eyeground.clinic.db.tables import METADATA

from ..servers import postgres_url

KINDS = ("sqlite", "postgresql")
FOLDER = Path(migrations.__file__).with_name("migrations")
# A made-up next change, with everything that changes do: a table, a column, an index, data moved.
_NEXT = '''
"""A made-up next change."""

import sqlalchemy as sa
from alembic import op

revision = "9001"
down_revision = "{last}"


def upgrade() -> None:
    word = sa.Column("word", sa.String, nullable=False)
    op.create_table("made_up", sa.Column("id", sa.Integer, primary_key=True), word)
    with op.batch_alter_table("accounts") as accounts:
        accounts.add_column(sa.Column("motto", sa.String, nullable=False, server_default=""))
    op.create_index("ix_accounts_motto", "accounts", ["motto"])
    op.execute("update accounts set motto = 'of ' || name")
    op.execute("insert into made_up (id, word) values (1, 'a'), (2, 'b')")
'''
_RUN = """
import os, sys
import sqlalchemy as sa
from alembic.config import Config
from eyeground.clinic.db import migrate as migrations
from eyeground.clinic.db.database import open_engine
url, folder, die_at = sys.argv[1:]
def config():
    made = Config()
    made.set_main_option("script_location", folder)
    return made
migrations._config = config
left = [int(die_at)]
def count(*_):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), 9)
engine = open_engine(url)
sa.event.listen(engine, "before_cursor_execute", count)
sa.event.listen(engine, "commit", count)
done = migrations.migrate(engine)
print(int(die_at) - left[0], *done)
"""


@contextmanager
def empty(kind: str, folder: Path) -> Iterator[str]:
    """An empty database of a kind."""
    with ExitStack() as stack:
        folder.mkdir(parents=True, exist_ok=True)
        yield stack.enter_context(postgres_url()) if kind == "postgresql" else f"sqlite:///{folder}/clinic.db"


@pytest.fixture
def later(tmp_path: Path) -> Path:
    """The changes as they are, and one more."""
    folder = tmp_path / "migrations"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "9001_made_up.py").write_text(_NEXT.format(last=known()[-1]))
    return folder


@pytest.fixture
def use_later(later: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From now on this process knows the later changes."""

    def config() -> Config:
        made = Config()
        made.set_main_option("script_location", str(later))
        return made

    return lambda: monkeypatch.setattr(migrations, "_config", config)


def shape(url: str) -> tuple[str | None, dict[str, list[str]], int]:
    """The revision, tables with their columns and indexes, and how many accounts there are."""
    engine = open_engine(url)
    try:
        with engine.connect() as connection:
            look = sa.inspect(connection)
            tables = {
                name: sorted(str(each["name"]) for each in [*look.get_columns(name), *look.get_indexes(name)])
                for name in sorted(look.get_table_names())
            }
            here = migrations._here(connection)
            tables.pop("alembic_version", None)  # it comes with the first transaction, and is empty before
            people = (
                connection.execute(sa.text("select count(*) from accounts")).scalar_one() if "accounts" in tables else 0
            )
            return here, tables, people
    finally:
        engine.dispose()


def fill(url: str) -> None:
    """An account, so that there is something to lose."""
    engine = open_engine(url)
    with engine.execution_options(eyeground_writes=True).begin() as connection:
        connection.execute(
            sa.text(
                "insert into accounts (name, title, role, site, token_sha256, made_at, revoked_at) "
                "values ('li', 'Dr Li', 'doctor', '', 'x', '2026', '')"
            )
        )
    engine.dispose()


def run(url: str, folder: Path, die_at: int = 0) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, "-c", _RUN, url, str(folder), str(die_at)]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("kind", KINDS)
def test_the_tables_are_those_that_the_code_speaks_of(kind: str, tmp_path: Path) -> None:
    with empty(kind, tmp_path) as url:
        engine = open_engine(url)
        assert migrate(engine) == known()
        check_schema(engine)
        look = sa.inspect(engine)
        found = {name: {each["name"] for each in look.get_columns(name)} for name in look.get_table_names()}
        engine.dispose()
        del found["alembic_version"]
        assert found == {table.name: {each.name for each in table.columns} for table in METADATA.sorted_tables}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("released", known())
def test_every_released_schema_is_brought_up_to_date(
    released: str, kind: str, tmp_path: Path, use_later: Callable[[], None]
) -> None:
    with empty(kind, tmp_path) as url:
        engine = open_engine(url)
        migrate(engine, to=released)
        fill(url)
        migrate(engine)
        use_later()
        with pytest.raises(SchemaRefused, match="run: eyeground clinic init"):
            check_schema(engine)
        assert migrate(engine) == ["9001"]
        check_schema(engine)
        with engine.connect() as connection:
            assert connection.execute(sa.text("select motto from accounts")).scalar_one() == "of li"
            assert connection.execute(sa.text("select count(*) from made_up")).scalar_one() == 2
        assert migrate(engine) == []
        engine.dispose()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start", ["nothing", *known()])
@pytest.mark.parametrize("times", [3, pytest.param(10**6, marks=pytest.mark.slow)])
def test_killed_at_any_statement_it_stands_at_the_old_or_the_new_one(
    start: str, kind: str, times: int, tmp_path: Path, later: Path
) -> None:
    """SIGKILL before each statement and each commit in turn, or before some of them, spread over all."""

    def prepare(url: str) -> None:
        if start != "nothing":
            engine = open_engine(url)
            migrate(engine, to=start)
            engine.dispose()
            fill(url)

    sound = set()
    with empty(kind, tmp_path / "whole") as url:
        prepare(url)
        sound.add(repr(shape(url)))
        engine = open_engine(url)
        for each in known():  # from nothing it may stand at any of them
            if start == "nothing" or each > start:
                migrate(engine, to=each)
                sound.add(repr(shape(url)))
        engine.dispose()
        done = run(url, later)
        assert done.returncode == 0, done.stderr
        end = repr(shape(url))
        sound.add(end)
    with empty(kind, tmp_path / "count") as url:
        prepare(url)
        steps = int(run(url, later).stdout.split()[0])
    assert steps > 8
    for die_at in range(1, steps + 1, max(1, steps // times)):
        with empty(kind, tmp_path / str(die_at)) as url:
            prepare(url)
            killed = run(url, later, die_at)
            assert killed.returncode == -9, killed.stderr
            found = repr(shape(url))
            assert found in sound, f"killed at statement {die_at}"
            again = run(url, later)
            assert again.returncode == 0, again.stderr
            assert repr(shape(url)) == end


def test_the_negative_control_a_change_without_a_transaction_is_caught(tmp_path: Path, later: Path) -> None:
    """A change that commits half-way leaves a database that is neither old nor new."""
    place = later / "versions" / "9001_made_up.py"
    place.write_text(
        place.read_text().replace(
            "    op.create_index(", '    op.get_bind().exec_driver_sql("commit")\n    op.create_index(', 1
        )
    )
    with empty("sqlite", tmp_path / "broken") as url:
        engine = open_engine(url)
        migrate(engine)
        engine.dispose()
        old = shape(url)
        broken = set()
        for die_at in range(1, 40):
            killed = run(url, later, die_at)
            if killed.returncode != -9:
                break
            if shape(url)[0] == old[0] and shape(url) != old:
                broken.add(die_at)
                break
    assert broken


@pytest.mark.parametrize("kind", KINDS)
def test_of_eight_that_migrate_at_once_one_does_and_the_others_find_it_done(
    kind: str, tmp_path: Path, later: Path
) -> None:
    with empty(kind, tmp_path) as url:
        words = [sys.executable, "-c", _RUN, url, str(later), "0"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        several = [
            subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
            for _ in range(8)
        ]
        ends = [each.communicate(timeout=120) for each in several]
        assert [each.returncode for each in several] == [0] * 8, [err for _, err in ends]
        done = [out.split()[1:] for out, _ in ends]
        assert sorted(number for each in done for number in each) == [*known(), "9001"]
        assert shape(url)[0] == "9001"


@pytest.mark.parametrize("kind", KINDS)
def test_a_newer_version_s_database_is_refused(kind: str, tmp_path: Path, later: Path) -> None:
    with empty(kind, tmp_path) as url:
        assert run(url, later).returncode == 0
        before = shape(url)
        engine = open_engine(url)
        for ask in (migrate, check_schema):
            with pytest.raises(SchemaRefused, match="does not know; use the newer version"):
                ask(engine)
        engine.dispose()
        assert shape(url) == before


def test_a_trail_is_begun_once(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/clinic.db", key=b"k")
    migrate(database.engine)
    with database.write() as work:
        work.note("service", "begun")
    assert migrate(database.engine) == []
    with database.read() as session:
        assert session.execute(sa.text("select seq from audit_head")).scalar_one() == 1
    database.close()

"""Bring a database to the tables that this version knows; a run that is cut is undone whole and can be repeated."""

from importlib import resources

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

# Any two that migrate at once must name the same number.
_LOCK = 0x6579656772


class SchemaRefused(ValueError):
    """A database that another version of this program has changed, or that nobody has set up."""


def migrate(engine: Engine, *, to: str = "head") -> list[str]:
    """Carry out every change that is missing, each in a transaction of its own.

    Args:
        engine: As ``database.open_engine`` gives it.
        to: Number of the last change to be carried out; ``"head"`` = all.

    Returns:
        Numbers of those carried out, in order.

    Raises:
        SchemaRefused: If a newer version has changed this database.

    Example:
        >>> from eyeground.clinic.db.database import open_engine
        >>> engine = open_engine("sqlite://")
        >>> migrate(engine)[0], migrate(engine)
        ('0001', [])

    References:
        https://alembic.sqlalchemy.org
    """
    done: list[str] = []
    order = known()
    last = order[-1] if to == "head" else to
    while True:
        with engine.execution_options(eyeground_writes=True).connect() as connection, connection.begin():
            if engine.dialect.name == "postgresql":
                connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            here = _here(connection)
            _check(here)
            place = 0 if here is None else order.index(here) + 1
            if place > order.index(last):
                return done
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, order[place])
            done.append(order[place])


def known() -> list[str]:
    """List the changes that this version knows.

    Returns:
        Their numbers, in order.

    Example:
        >>> known()[0]
        '0001'

    References:
        Our own.
    """
    script = ScriptDirectory.from_config(_config())
    return [change.revision for change in reversed(list(script.walk_revisions()))]


def check_schema(engine: Engine) -> None:
    """Refuse a database whose tables are not those of this version.

    Args:
        engine: As ``database.open_engine`` gives it.

    Raises:
        SchemaRefused: If changes are missing, or unknown ones were made.

    Example:
        >>> from eyeground.clinic.db.database import open_engine
        >>> check_schema(open_engine("sqlite://"))
        Traceback (most recent call last):
        eyeground.clinic.db.migrate.SchemaRefused: the database was never set up; run: eyeground clinic init

    References:
        Our own.
    """
    with engine.connect() as connection:
        here = _here(connection)
    _check(here)
    if here is None:
        raise SchemaRefused("the database was never set up; run: eyeground clinic init")
    if here != known()[-1]:
        raise SchemaRefused(
            f"the database stands at {here}, this version needs {known()[-1]}; run: eyeground clinic init"
        )


def _here(connection: Connection) -> str | None:
    """Number of the last change carried out."""
    return MigrationContext.configure(connection).get_current_revision()


def _check(here: str | None) -> None:
    """A number that this version has never heard of is a newer version's."""
    if here is not None and here not in known():
        raise SchemaRefused(f"the database stands at {here}, which this version does not know; use the newer version")


def _config() -> Config:
    """Alembic's settings, without a file of its own."""
    config = Config()
    config.set_main_option("script_location", str(resources.files("eyeground.clinic.db") / "migrations"))
    return config

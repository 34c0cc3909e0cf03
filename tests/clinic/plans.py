"""How PostgreSQL carries out what is asked of it: which tables are read from end to end."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, event


class Asked(NamedTuple):
    """A statement with its values."""

    statement: str
    values: Any


@contextmanager
def listened(engine: Engine) -> Iterator[list[Asked]]:
    """Note every statement that goes to the database meanwhile."""
    asked: list[Asked] = []

    def note(_: Any, __: Any, statement: str, values: Any, *___: Any) -> None:
        asked.append(Asked(statement, values))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(engine, "before_cursor_execute", note)


def read_whole(connection: Connection, asked: Sequence[Asked], *, most: int) -> dict[str, str]:
    """Tables that the queries among these read from end to end, each with one such query; they are carried out again.

    One that goes along an index, and throws more than ``most`` rows away, has read it likewise.
    """
    found: dict[str, str] = {}
    for statement, values in asked:
        if statement.lstrip().lower().startswith("select"):
            told = connection.exec_driver_sql(f"explain (analyze, format json) {statement}", values).scalar_one()
            found |= dict.fromkeys(_scanned(told[0]["Plan"], most), statement)
    return found


def _scanned(node: dict[str, Any], most: int) -> Iterator[str]:
    """Tables that a step of a plan, or one below it, reads from end to end."""
    lost = (node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)) * node["Actual Loops"]
    if "Relation Name" in node and (node["Node Type"] == "Seq Scan" or lost > most):
        yield node["Relation Name"]
    for below in node.get("Plans", ()):
        yield from _scanned(below, most)

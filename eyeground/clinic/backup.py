"""A backup: all the service knows in one file, and back again into an empty database and store of either kind."""

import base64
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from eyeground.atomic_file import flush_folder
from eyeground.clinic.archive import FORMAT, ArchiveWriter, BackupRefused, check, members
from eyeground.clinic.blobs.store import BlobMissing, Store
from eyeground.clinic.clock import now
from eyeground.clinic.db.audit import Note, append, audit_key, verify
from eyeground.clinic.db.database import DatabaseLost, lost, open_engine
from eyeground.clinic.db.migrate import migrate
from eyeground.clinic.db.people import PatientLink
from eyeground.clinic.db.tables import METADATA, AuditRecord, Image

_PART_BYTES: Final = 4 * 2**20
_PAGE: Final = 200
# Of tables that hold whole messages, each as long as a message may be.
_BYTES_PAGE: Final = 4
# What a lease says is the business of processes that will be gone: whatever was taken is free.
_FREED: Final = {"token": "", "patience_s": 0.0}
# Who is signed in, and who failed to, is over when all begins anew: a restored session might have been ended since.
_KEPT: Final = tuple(table for table in METADATA.sorted_tables if table.name not in ("sessions", "attempts"))
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Saved:
    """What an archive holds.

    Args:
        rows: How many lines of each table.
        images: How many images.
        missing: Hashes of images that the store could not give, or gave changed.
        audit: Lines of the audit trail.

    Example:
        >>> Saved({"cases": 2}, 4, (), 17).missing
        ()

    References:
        Our own.
    """

    rows: Mapping[str, int]
    images: int
    missing: tuple[str, ...]
    audit: int


def backup(
    engine: Engine, store: Store, out: Path, *, secret: str, progress: Progress = lambda done, total: None
) -> Saved:
    """Write an archive: tables as they were at one moment, then the images they speak of. It holds patients' data.

    The service goes on meanwhile. SQLite lets nobody commit while the tables are read, which takes seconds.

    Args:
        engine: The database's.
        store: Where the images lie.
        out: File to write; only its owner can read it. It is whole or not there.
        secret: ``Settings.secret``; the archive is sealed with it, and opens with no other.
        progress: Is told how many images of how many are written.

    Returns:
        What it holds.

    Raises:
        BackupRefused: If the file is there already.
        DatabaseLost: If the database does not answer.
        StoreLost: If the store does not answer.
        OSError: If the file cannot be written; what was begun is taken away.

    References:
        docs/clinic.md for the format.
    """
    if os.path.lexists(out):
        raise BackupRefused(f"{out}: already there; choose another name")
    part = out.with_name(f".{out.name}.{secrets.token_hex(4)}.part")
    handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            saved = _fill(ArchiveWriter(file), engine, store, secret=secret, progress=progress)
            file.flush()
            os.fsync(file.fileno())
        try:
            out.hardlink_to(part)  # unlike a renaming, this never replaces what somebody wrote meanwhile
        except FileExistsError:
            raise BackupRefused(f"{out}: already there; choose another name") from None
        flush_folder(out.parent)
    finally:
        part.unlink(missing_ok=True)
    return saved


def restore(
    path: Path, *, url: str, store: Store, secret: str, actor: str, progress: Progress = lambda done, total: None
) -> Saved:
    """Fill an empty database and store from an archive, after every byte of it was checked.

    The tables are filled in one transaction, after the images: who is killed half-way leaves an empty database and can
    begin again. The archive may come from the other kind of database, and from an older version. Patients' links are
    revoked: one that was revoked after the backup would be good again.

    Args:
        path: The archive.
        url: Of the database; it is set up if nobody has.
        store: Where images go; what it holds already must be images of this archive.
        secret: The secret of the service that wrote it.
        actor: Who does it, for the audit trail.
        progress: Is told how many images of how many are kept.

    Returns:
        What it held.

    Raises:
        BackupRefused: If the archive is cut, changed, of another secret or a newer version, its audit trail is broken,
            or database or store hold something already.
        SchemaRefused: If a newer version has changed the database.
        DatabaseLost: If the database does not answer.
        StoreLost: If an image cannot be kept.
        OSError: If the archive cannot be read.

    References:
        docs/clinic.md.
    """
    manifest = check(path, secret=secret)
    engine = open_engine(url)
    try:
        with _answering():
            migrate(engine, to=manifest["schema"])
            with engine.connect() as connection:
                _check_empty(connection)
        _keep_images(path, manifest, store, progress)
        with _answering(), engine.execution_options(eyeground_writes=True).begin() as connection:
            _check_empty(connection)
            _fill_tables(connection, path, manifest)
            links = _revoke_links(connection, manifest)
            _check_trail(connection, manifest, secret=secret, actor=actor, links=links)
        migrate(engine)
    finally:
        engine.dispose()
    return _saved(manifest)


def _fill(archive: ArchiveWriter, engine: Engine, store: Store, *, secret: str, progress: Progress) -> Saved:
    """Write tables, images and the manifest."""
    rows: dict[str, int] = {}
    with _answering(), _one_moment(engine) as connection:
        schema = connection.execute(sa.text("select version_num from alembic_version")).scalar_one()
        for table in _KEPT:
            rows[table.name] = 0
            for number, (count, text) in enumerate(_parts_of(connection, table)):
                archive.add(f"tables/{table.name}/{number:08}.jsonl", text)
                rows[table.name] += count
        hashes = connection.execute(sa.select(Image.sha256).distinct().order_by(Image.sha256)).scalars().all()
    missing = []
    for number, sha256 in enumerate(hashes, 1):
        try:
            archive.add(f"images/{sha256}", store.get(sha256))
        except BlobMissing:
            missing.append(sha256)
        progress(number, len(hashes))
    manifest = {
        "format": FORMAT, "made_at": now(), "made_by": version("eyeground"), "schema": schema, "rows": rows,
        "kinds": {table.name: _kinds(table) for table in _KEPT},
        "images": len(hashes) - len(missing), "missing": missing,
    }  # fmt: skip
    archive.close(manifest, secret=secret)
    return _saved(manifest)


@contextmanager
def _one_moment(engine: Engine) -> Iterator[Connection]:
    """A transaction that sees the tables as they were when it began."""
    if engine.dialect.name == "postgresql":
        engine = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    with engine.connect() as connection, connection.begin():
        yield connection


def _parts_of(connection: Connection, table: sa.Table) -> Iterator[tuple[int, bytes]]:
    """A table as lines of JSON, some megabytes at a time."""
    kinds = _kinds(table)
    page = _BYTES_PAGE if "bytes" in kinds.values() else _PAGE
    streamed = connection.execution_options(stream_results=True, yield_per=page)
    lines: list[bytes] = []
    size = 0
    for row in streamed.execute(sa.select(table).order_by(*table.primary_key)).mappings():
        values = {name: _plain(row[name], kind) for name, kind in kinds.items()}
        if "patience_s" in values:
            values |= _FREED
        lines.append(json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode())
        size += len(lines[-1]) + 1
        if size >= _PART_BYTES:
            yield len(lines), b"\n".join(lines) + b"\n"
            lines, size = [], 0
    if lines:
        yield len(lines), b"\n".join(lines) + b"\n"


def _kinds(table: sa.Table) -> dict[str, str]:
    """How the values of each column are written."""
    kinds = {sa.JSON: "json", sa.LargeBinary: "bytes"}
    return {each.name: kinds.get(type(each.type), "plain") for each in table.columns}


def _plain(value: Any, kind: str) -> Any:
    """A value as JSON has it."""
    return base64.b64encode(value).decode("ascii") if kind == "bytes" and value is not None else value


def _keep_images(path: Path, manifest: Mapping[str, Any], store: Store, progress: Progress) -> None:
    """Put every image into the store, unless it holds somebody else's."""
    strange = set(store.hashes())
    done = 0
    for name, _ in members(path):
        strange.discard(name.removeprefix("images/"))
    if strange:
        raise BackupRefused("the store holds images already: restore into an empty one")
    for name, file in members(path):
        if name.startswith("images/"):
            store.put(file.read())
            done += 1
            progress(done, manifest["images"])


def _check_empty(connection: Connection) -> None:
    """Refuse a database in which anything has happened; that the tables are there is nothing."""
    here = set(sa.inspect(connection).get_table_names())
    for table in METADATA.sorted_tables:
        # The trail's head is there from the beginning; whatever happened has a line in the trail.
        if (
            table.name in here - {"audit_head"}
            and connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first()
        ):
            raise BackupRefused(
                f"the database is not empty ({table.name}): restore into one in which nothing has happened: "
                "not even an account was made"
            )


def _fill_tables(connection: Connection, path: Path, manifest: Mapping[str, Any]) -> None:
    """Write every line back, the tables in the order in which they need each other."""
    connection.execute(sa.text("delete from audit_head"))
    types: dict[str, Any] = {"json": sa.JSON(), "bytes": sa.LargeBinary(), "plain": sa.types.NullType()}
    counted = dict.fromkeys(manifest["rows"], 0)
    for name, file in members(path):
        if not name.startswith("tables/"):
            continue
        table = name.split("/")[1]
        kinds = manifest["kinds"][table]
        columns: list[Any] = [sa.column(column, types[kind]) for column, kind in kinds.items()]
        rows = [
            {
                key: base64.b64decode(value) if kinds[key] == "bytes" else value
                for key, value in json.loads(line).items()
            }
            for line in file.read().splitlines()
        ]
        connection.execute(sa.table(table, *columns).insert(), rows)
        counted[table] += len(rows)
    if counted != manifest["rows"]:
        raise BackupRefused(f"{path}: has another number of lines than it says")
    if connection.dialect.name == "postgresql":
        for each in METADATA.sorted_tables:
            column = each.autoincrement_column
            if column is not None and each.name in counted:
                connection.execute(
                    sa.text(
                        f"select setval(pg_get_serial_sequence('{each.name}', '{column.name}'), "  # noqa: S608 - ours
                        f"coalesce(max({column.name}), 1), count(*) > 0) from {each.name}"
                    )
                )


def _revoke_links(connection: Connection, manifest: Mapping[str, Any]) -> int:
    """Revoke all patients' links; how many were good."""
    if PatientLink.__tablename__ not in manifest["rows"]:  # of a version before there were any
        return 0
    good = sa.update(PatientLink).where(PatientLink.revoked_at == "").values(revoked_at=now())
    return connection.execute(good).rowcount


def _check_trail(connection: Connection, manifest: Mapping[str, Any], *, secret: str, actor: str, links: int) -> None:
    """Verify the audit trail as it stands now, and add that it was restored."""
    key = audit_key(secret)
    with Session(connection, join_transaction_mode="create_savepoint") as session:
        verdict = verify(session, key=key)
        if verdict.broken_at is not None:
            raise BackupRefused(f"its audit trail is broken: {verdict.reason}")
        append(
            session, [Note(actor, "restored", "", {"made_at": manifest["made_at"], "links_revoked": links})], key=key
        )
        session.commit()


def _saved(manifest: Mapping[str, Any]) -> Saved:
    """What a manifest says."""
    rows = manifest["rows"]
    return Saved(rows, manifest["images"], tuple(manifest["missing"]), rows[AuditRecord.__tablename__])


@contextmanager
def _answering() -> Iterator[None]:
    """A database that is gone is told apart from our own mistakes."""
    try:
        yield
    except DBAPIError as error:
        if lost(error):
            raise DatabaseLost("the database does not answer; try again") from error
        raise

"""Backups: whole or not there, of one moment, between both kinds of database, and nothing half restored."""

import contextlib
import io
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from eyeground.clinic import backup as backups
from eyeground.clinic.accounts import add_account
from eyeground.clinic.archive import BackupRefused, check, seal
from eyeground.clinic.backup import backup, restore
from eyeground.clinic.blobs.folder import Folder
from eyeground.clinic.blobs.store import StoreLost, digest_of
from eyeground.clinic.clock import now
from eyeground.clinic.db.audit import audit_key, verify
from eyeground.clinic.db.database import Database, open_engine
from eyeground.clinic.db.migrate import migrate
from eyeground.clinic.db.people import Account, Attempts, BrowserSession, PatientLink
from eyeground.clinic.db.tables import METADATA, Case
from eyeground.clinic.service import Service
from eyeground.clinic.sessions import open_session
from eyeground.clinic.settings import Settings

from .opened import SECRET, patient_message
from .populated import populated_in, take_in
from .servers import postgres_url

KINDS = ("sqlite", "postgresql")


@contextlib.contextmanager
def database_url(kind: str, folder: Path) -> Iterator[str]:
    """An empty database of a kind."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/clinic.db"
        return
    with postgres_url() as url:
        yield url


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = populated_in(tmp_path / "old")
    yield made
    made.close()


@pytest.fixture
def archive(service: Service, tmp_path: Path) -> Path:
    out = tmp_path / "backup.tar"
    backup(service.database.engine, service.store, out, secret=SECRET)
    return out


def tables(url: str) -> dict[str, list[dict[str, object]]]:
    """Every line of every table, without what leases say and without the line about the restoring."""
    engine = open_engine(url)
    try:
        with engine.connect() as connection:
            found = {
                table.name: [
                    dict(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key)).mappings()
                ]
                for table in METADATA.sorted_tables
            }
    finally:
        engine.dispose()
    found["audit"] = [row for row in found["audit"] if row["event"] != "restored"]
    del found["audit_head"]
    for rows in found.values():
        for row in rows:
            row.pop("token", None)
            row.pop("patience_s", None)
    return found


def put_back(archive: Path, url: str, store: Folder, secret: str = SECRET) -> None:
    restore(archive, url=url, store=store, secret=secret, actor="local:test")


@pytest.mark.parametrize("to", KINDS)
@pytest.mark.parametrize("origin", KINDS)
def test_what_was_saved_comes_back_in_either_kind_of_database(origin: str, to: str, tmp_path: Path) -> None:
    with database_url(origin, tmp_path / "a") as old, database_url(to, tmp_path / "b") as new:
        service = populated_in(tmp_path / "a", database_url=old)
        with service.database.write() as work:
            case_id, digest = work.session.scalars(sa.select(Case.id)).first(), digest_of(b"")
            add_account(work, "wu", role="doctor", actor="tests")
            link = {"case_id": case_id, "code_digest": "", "made_by": "wu", "made_at": now(), "ends_at": now()}
            work.session.add(PatientLink(token_sha256=digest, **link))
            work.session.flush()
            work.session.get_one(Account, "wu").must_change = True
            open_session(work, "wu", how="password", hours=1)
            work.session.add(Attempts(what="somebody", failures=3, last_at=now()))
        saved = backup(service.database.engine, service.store, tmp_path / "backup.tar", secret=SECRET)
        assert "sessions" not in saved.rows
        assert "attempts" not in saved.rows
        assert saved.rows["patient_links"] == 1
        with service.database.write() as work:
            work.session.execute(sa.delete(BrowserSession))
            work.session.execute(sa.delete(Attempts))
        assert saved.rows["cases"] == 5
        assert (saved.rows["reviews"], saved.rows["dead_letters"], saved.rows["queued_messages"]) == (2, 2, 3)
        assert saved.images == 10
        put_back(tmp_path / "backup.tar", new, Folder(tmp_path / "b" / "images"))
        there, here = tables(new), tables(old)
        [(mine, before)] = zip(there["patient_links"], here["patient_links"], strict=True)
        # One that was revoked after the backup would be good again.
        assert (bool(mine.pop("revoked_at")), before.pop("revoked_at")) == (True, "")
        assert there == here
        assert sorted(Folder(tmp_path / "b" / "images").hashes()) == sorted(service.store.hashes())
        # It goes on where it was: numbers are not given twice, and the trail is continued.
        again = reopened(tmp_path / "b", new)
        take_in(again, "after")
        with again.database.read() as session:
            assert verify(session, key=audit_key(SECRET)).broken_at is None
        again.close()
        service.close()


def reopened(folder: Path, url: str) -> Service:
    """The service over what was restored."""
    from eyeground.clinic.service import open_service

    return open_service(Settings(home=folder, secret=SECRET, queue_url="sql:", database_url=url))


def test_only_its_owner_can_read_it_and_the_secret_is_not_in_it(archive: Path) -> None:
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    assert SECRET.encode() not in archive.read_bytes()


def test_a_file_that_is_there_is_never_replaced(service: Service, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(BackupRefused, match="already there"):
        backup(service.database.engine, service.store, tmp_path / "mine", secret=SECRET)
    assert (tmp_path / "mine").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []


def test_a_full_disk_or_a_lost_store_leaves_nothing(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(_: str) -> bytes:
        raise StoreLost("gone")

    monkeypatch.setattr(service.store, "get", lost)
    with pytest.raises(StoreLost):
        backup(service.database.engine, service.store, tmp_path / "b.tar", secret=SECRET)
    monkeypatch.undo()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        backup(service.database.engine, service.store, tmp_path / "b.tar", secret=SECRET)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_an_image_that_the_store_has_lost_is_named_and_the_rest_is_saved(service: Service, tmp_path: Path) -> None:
    gone, changed = list(service.store.hashes())[:2]
    service.store.remove(gone)
    (tmp_path / "old" / "images" / changed[:2] / changed).write_bytes(b"something else")
    saved = backup(service.database.engine, service.store, tmp_path / "b.tar", secret=SECRET)
    assert saved.missing == tuple(sorted([gone, changed]))
    put_back(tmp_path / "b.tar", f"sqlite:///{tmp_path}/new.db", Folder(tmp_path / "new"))
    assert len(list(Folder(tmp_path / "new").hashes())) == saved.images == 8


@pytest.mark.parametrize("kind", KINDS)
def test_the_tables_are_of_one_moment_while_others_write(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A case that arrives between two tables is in none of them; else its images would have no case."""
    with database_url(kind, tmp_path) as url:
        service = populated_in(tmp_path / "old", database_url=url)
        real = backups._parts_of
        writer: list[threading.Thread] = []

        def interrupted(connection: sa.Connection, table: sa.Table) -> Iterator[tuple[int, bytes]]:
            yield from real(connection, table)
            if table.name == "cases":  # before the tables of images, findings and reviews
                writer.append(threading.Thread(target=take_in, args=(service, "meanwhile")))
                writer[0].start()
                if kind == "postgresql":  # SQLite lets nobody commit now
                    writer[0].join(30)

        monkeypatch.setattr(backups, "_parts_of", interrupted)
        saved = backup(service.database.engine, service.store, tmp_path / "b.tar", secret=SECRET)
        writer[0].join(60)
        assert (saved.rows["cases"], saved.rows["images"]) == (5, 10)
        assert len(tables(url)["cases"]) == 6
        put_back(tmp_path / "b.tar", f"sqlite:///{tmp_path}/new.db", Folder(tmp_path / "new"))
        service.close()


def test_every_changed_byte_is_seen(archive: Path, tmp_path: Path) -> None:
    """At 200 places all over the file; what tar pads with is nobody's."""
    whole = archive.read_bytes()
    check(archive, secret=SECRET)
    end = whole.rindex(b'"seal"') + 80
    places = range(0, end, max(1, end // 200))
    harmless = 0
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= 0x01
        (tmp_path / "changed.tar").write_bytes(changed)
        try:
            check(tmp_path / "changed.tar", secret=SECRET)
        except BackupRefused:
            continue
        harmless += 1
        assert parts(tmp_path / "changed.tar") == parts(archive), f"byte {place}"
    assert harmless < len(places) / 2


def parts(path: Path) -> list[tuple[str, bytes]]:
    """What stands in an archive."""
    with tarfile.open(path) as archive:
        found = [(info.name, archive.extractfile(info)) for info in archive]
        return [(name, file.read()) for name, file in found if file]


def rewritten(archive: Path, out: Path, change: Callable[[list[tuple[str, bytes]]], list[tuple[str, bytes]]]) -> Path:
    """An archive with other contents, its tar frame in order."""
    with tarfile.open(out, "w") as file:
        for name, data in change(parts(archive)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return out


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda all_: all_[:-1], "is cut"),
        (lambda all_: all_[1:], "its parts are not"),
        (lambda all_: [*all_[:-2], all_[-1]], "its parts are not"),
        (lambda all_: [all_[1], all_[0], *all_[2:]], "its parts are not"),
        (lambda all_: [*all_, all_[0]], "follows its manifest"),
        (lambda all_: [("../../etc/passwd", b"x"), *all_], "no part of a backup"),
        (lambda all_: [("tables/users/0.jsonl", b"x"), *all_], "no part of a backup"),
        (lambda all_: [*all_[:-1], ("manifest.json", b"{}")], "no backup"),
        (lambda all_: [*all_[:-1], ("manifest.json", b"[1]")], "no backup"),
        (
            lambda all_: [*all_[:-1], ("manifest.json", all_[-1][1].replace(b'"missing": []', b'"missing": ["a"]'))],
            "changed",
        ),
        (lambda all_: [(name, data.replace(b"Dr Li", b"Dr Lo")) for name, data in all_], "its parts are not"),
    ],
)
def test_an_archive_that_somebody_has_touched_is_refused(
    change: Callable[[list[tuple[str, bytes]]], list[tuple[str, bytes]]], word: str, archive: Path, tmp_path: Path
) -> None:
    forged = rewritten(archive, tmp_path / "forged.tar", change)
    with pytest.raises(BackupRefused, match=word):
        put_back(forged, f"sqlite:///{tmp_path}/new.db", Folder(tmp_path / "new"))
    assert not (tmp_path / "new.db").exists()
    assert list(Folder(tmp_path / "new").hashes()) == []
    assert rewritten(archive, tmp_path / "same.tar", lambda all_: all_).exists()
    check(tmp_path / "same.tar", secret=SECRET)  # the frame alone is no fault


def test_a_cut_file_and_another_secret_are_refused(archive: Path, tmp_path: Path) -> None:
    whole = archive.read_bytes()
    for part in (0, 100, 600, len(whole) // 2, whole.rindex(b"manifest.json") + 600):
        (tmp_path / "cut.tar").write_bytes(whole[:part])
        with pytest.raises(BackupRefused):
            check(tmp_path / "cut.tar", secret=SECRET)
    with pytest.raises(BackupRefused, match="another secret"):
        check(archive, secret=f"{SECRET} changed")


def test_a_newer_version_s_archive_is_refused(archive: Path, tmp_path: Path) -> None:
    def newer(all_: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        manifest = json.loads(all_[-1][1])
        del manifest["seal"]
        manifest["schema"] = "9999"
        sealed = {**manifest, "seal": seal(manifest, SECRET)}
        return [*all_[:-1], ("manifest.json", json.dumps(sealed, sort_keys=True).encode())]

    with pytest.raises(BackupRefused, match="restore it with that one or a newer"):
        check(rewritten(archive, tmp_path / "newer.tar", newer), secret=SECRET)


def test_a_broken_trail_is_not_restored(service: Service, tmp_path: Path) -> None:
    with service.database.engine.begin() as connection:
        connection.execute(sa.text("drop trigger audit_no_update"))
        connection.execute(sa.text("update audit set actor = 'somebody' where seq = 3"))
    backup(service.database.engine, service.store, tmp_path / "b.tar", secret=SECRET)
    with pytest.raises(BackupRefused, match="line 3 was changed"):
        put_back(tmp_path / "b.tar", f"sqlite:///{tmp_path}/new.db", Folder(tmp_path / "new"))
    assert tables(f"sqlite:///{tmp_path}/new.db")["cases"] == []


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_restored_over_something(kind: str, archive: Path, tmp_path: Path) -> None:
    with database_url(kind, tmp_path) as url:
        engine = open_engine(url)
        migrate(engine)  # set up and never used is empty
        engine.dispose()
        store = Folder(tmp_path / "new")
        mine = store.put(b"an image of somebody else")
        with pytest.raises(BackupRefused, match="the store holds images"):
            put_back(archive, url, store)
        store.remove(mine)
        put_back(archive, url, store)
        before = tables(url)
        with pytest.raises(BackupRefused, match="not empty"):
            put_back(archive, url, store)
        assert tables(url) == before


_RESTORE = """
import os, sys
from pathlib import Path
import sqlalchemy as sa
from eyeground.clinic.backup import restore
from eyeground.clinic.blobs.folder import Folder
archive, url, folder, secret, die_at = sys.argv[1:]
left = [int(die_at)]
def count(*_):
    left[0] -= 1
    if left[0] <= 0:
        os.kill(os.getpid(), 9)
sa.event.listen(sa.Engine, "before_cursor_execute", count)
sa.event.listen(sa.Engine, "commit", count)
store = Folder(Path(folder))
put = store.put
store.put = lambda data: (count(), put(data))[1]
restore(Path(archive), url=url, store=store, secret=secret, actor="local:test")
print("done", int(die_at) - left[0])
"""


@pytest.mark.parametrize("kind", KINDS)
def test_who_is_killed_half_way_has_restored_nothing_and_can_begin_again(
    kind: str, archive: Path, tmp_path: Path, service: Service
) -> None:
    wanted = tables(f"sqlite:///{tmp_path}/old/clinic.db")

    def run(url: str, folder: Path, die_at: int) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-c", _RESTORE, str(archive), url, str(folder), SECRET, str(die_at)]
        return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)

    with database_url(kind, tmp_path / "count") as url:
        whole = run(url, tmp_path / "count", 10**6)
        assert whole.returncode == 0, whole.stderr
        steps = int(whole.stdout.split()[1])
    kills = sorted({round(steps * share) for share in (0.05, 0.2, 0.4, 0.6, 0.8, 0.9, 0.97)} | {steps})
    finished = 0
    for die_at in kills:
        with database_url(kind, tmp_path / f"at{die_at}") as url:
            store = tmp_path / f"at{die_at}" / "images"
            killed = run(url, store, die_at)
            assert killed.returncode == -9, killed.stderr
            engine = open_engine(url)
            left = 0
            if "cases" in sa.inspect(engine).get_table_names():  # maybe those of an older version
                with engine.connect() as connection:
                    left = connection.execute(sa.text("select count(*) from cases")).scalar_one()
            engine.dispose()
            if left:  # only where the one commit that counts had come through
                assert tables(url) == wanted
                finished += 1
                continue
            put_back(archive, url, Folder(store))
            assert tables(url) == wanted
            shutil.rmtree(tmp_path / f"at{die_at}", ignore_errors=True)
    assert finished < len(kills) - 3


def test_memory_stays_flat_over_many_megabytes(tmp_path: Path) -> None:
    """64 images of 1 MiB: neither writing nor reading holds more than a few at once."""
    import tracemalloc

    service = populated_in(tmp_path / "old", released=0, waiting=0)
    from eyeground.clinic.intake import Arrived

    from .opened import encoded

    for number in range(16):
        photos = [{"name": f"{place}_OD.png", "eye": "OD", "data": encoded(os.urandom(2**20))} for place in range(4)]
        service.intake.admit([Arrived("screening", patient_message(f"big-{number}", photos=photos), "default")])
    tracemalloc.start()
    backup(service.database.engine, service.store, tmp_path / "b.tar", secret=SECRET)
    put_back(tmp_path / "b.tar", f"sqlite:///{tmp_path}/new.db", Folder(tmp_path / "new"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "b.tar").stat().st_size > 64 * 2**20
    assert peak < 24 * 2**20
    service.close()


def test_long_messages_are_saved_a_few_at_a_time(tmp_path: Path) -> None:
    """Rows of a queue may hold 48 MiB each; 60 of 1 MiB here."""
    import tracemalloc

    from eyeground.clinic.db.tables import QueuedMessage

    service = populated_in(tmp_path / "old", released=0, waiting=0)
    for _ in range(60):
        with service.database.write() as work:
            work.session.add(QueuedMessage(queue="screening", body=os.urandom(2**20), headers={}))
    tracemalloc.start()
    backup(service.database.engine, service.store, tmp_path / "b.tar", secret=SECRET)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "b.tar").stat().st_size > 60 * 2**20
    assert peak < 32 * 2**20
    service.close()


def test_tables_that_are_set_up_and_hold_nothing_are_empty(archive: Path, tmp_path: Path) -> None:
    """A unit sets them up before anybody can restore."""
    url = f"sqlite:///{tmp_path}/new.db"
    engine = open_engine(url)
    migrate(engine)
    engine.dispose()
    put_back(archive, url, Folder(tmp_path / "new"))
    assert len(tables(url)["cases"]) == 5


def test_the_negative_control_a_backup_without_one_moment_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables read in transactions of their own give images without a case: the test above would see it."""
    with postgres_url() as url:
        service = populated_in(tmp_path / "old", database_url=url)
        real = backups._parts_of

        def apart(connection: sa.Connection, table: sa.Table) -> Iterator[tuple[int, bytes]]:
            with service.database.engine.connect() as own:
                yield from real(own, table)
            if table.name == "cases":
                take_in(service, "meanwhile")

        monkeypatch.setattr(backups, "_parts_of", apart)
        saved = backup(service.database.engine, service.store, tmp_path / "b.tar", secret=SECRET)
        assert (saved.rows["cases"], saved.rows["images"]) == (5, 12)
        with pytest.raises(sa.exc.IntegrityError):
            put_back(tmp_path / "b.tar", f"sqlite:///{tmp_path}/new.db", Folder(tmp_path / "new"))
        service.close()


def test_a_database_that_was_opened_elsewhere_is_told_apart(archive: Path, tmp_path: Path) -> None:
    put_back(archive, f"sqlite:///{tmp_path}/new.db", Folder(tmp_path / "new"))
    with Database(f"sqlite:///{tmp_path}/new.db", key=audit_key("another phrase of ours")).read() as session:
        assert verify(session, key=audit_key("another phrase of ours")).broken_at == 1

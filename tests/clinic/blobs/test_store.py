"""What every place for images must do; the twin in memory and the real ones stand the same test."""

import errno
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from eyeground.clinic.blobs.folder import Folder
from eyeground.clinic.blobs.memory import MemoryStore
from eyeground.clinic.blobs.opening import open_store
from eyeground.clinic.blobs.store import BlobMissing, Store, StoreLost

from ..servers import free_port

boto3 = pytest.importorskip("boto3")
moto_server = pytest.importorskip("moto.server")

NO_HASH = (
    "", "a", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "../" + "a" * 61, "a" * 64 + "\n", "a" * 64 + "\0", "/etc/passwd",
    "aa/" + "a" * 61, "ａ" * 64, "٣" * 64,
)  # fmt: skip


@dataclass
class Kept:
    """A store, and what goes on behind its back.

    Args:
        store: The store.
        spoil: Puts other bytes under a hash.
        lose: Makes it unreachable.
        again: Opens it anew.
    """

    store: Store
    spoil: Callable[[str, bytes], None]
    lose: Callable[[], None]
    again: Callable[[], Store]


@contextmanager
def _memory(_: Path, __: pytest.MonkeyPatch) -> Iterator[Kept]:
    store = MemoryStore()
    yield Kept(store, store.kept.__setitem__, lambda: setattr(store, "up", False), lambda: store)


@contextmanager
def _folder(folder: Path, _: pytest.MonkeyPatch) -> Iterator[Kept]:
    place = folder / "images"

    def lose() -> None:
        place.rename(folder / "elsewhere")

    yield Kept(
        Folder(place),
        lambda name, data: (place / name[:2] / name).write_bytes(data) and None,
        lose,
        lambda: open_store(f"file:{place}"),
    )


@contextmanager
def _s3(_: Path, patch: pytest.MonkeyPatch) -> Iterator[Kept]:
    patch.setenv("AWS_ACCESS_KEY_ID", "test")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=free_port(), verbose=False)
    server.start()
    endpoint = f"http://127.0.0.1:{server._server.port}"
    client = boto3.client("s3", endpoint_url=endpoint)
    bucket = f"images-{secrets.token_hex(4)}"  # moto's buckets are this process's, whatever the server
    client.create_bucket(Bucket=bucket)
    client.put_object(Bucket=bucket, Key="site/readme.txt", Body=b"not ours")
    client.put_object(Bucket=bucket, Key="aa/" + "a" * 64, Body=b"not below the prefix")
    gone: list[None] = []

    def lose() -> None:
        gone.append(server.stop())

    try:
        yield Kept(
            open_store(f"s3://{bucket}/site/", endpoint=endpoint),
            lambda name, data: client.put_object(Bucket=bucket, Key=f"site/{name[:2]}/{name}", Body=data),
            lose,
            lambda: open_store(f"s3://{bucket}/site", endpoint=endpoint),
        )
    finally:
        if not gone:
            server.stop()


@pytest.fixture(params=[_memory, _folder, _s3], ids=["memory", "folder", "s3"])
def kept(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    with request.param(tmp_path, monkeypatch) as made:
        yield made


@pytest.mark.parametrize("size", [0, 1, 1000, 3 * 2**20])
def test_what_was_put_comes_back(kept: Kept, size: int) -> None:
    data = random.Random(size).randbytes(size)
    name = kept.store.put(data)
    assert name == sha256(data).hexdigest()
    assert kept.store.get(name) == data
    assert kept.again().get(name) == data


def test_the_same_bytes_are_kept_once(kept: Kept) -> None:
    assert kept.store.put(b"a") == kept.store.put(b"a") == kept.again().put(b"a")
    assert list(kept.store.hashes()) == [sha256(b"a").hexdigest()]


@pytest.mark.parametrize("spoiled", [b"an imagE", b"an imag", b"an image.", b""])
def test_changed_bytes_are_never_given(kept: Kept, spoiled: bytes) -> None:
    name = kept.store.put(b"an image")
    kept.spoil(name, spoiled)
    with pytest.raises(BlobMissing, match="restore it from a backup"):
        kept.store.get(name)


def test_bytes_that_were_cut_are_mended_by_putting_them_again(kept: Kept) -> None:
    name = kept.store.put(b"an image")
    kept.spoil(name, b"an im")
    kept.store.put(b"an image")
    assert kept.store.get(name) == b"an image"


def test_what_was_never_put_is_missing(kept: Kept) -> None:
    with pytest.raises(BlobMissing):
        kept.store.get("a" * 64)


def test_what_was_removed_is_missing_and_may_be_removed_again(kept: Kept) -> None:
    name, other = kept.store.put(b"a"), kept.store.put(b"b")
    kept.store.remove(name)
    kept.store.remove(name)
    with pytest.raises(BlobMissing):
        kept.store.get(name)
    assert list(kept.store.hashes()) == [other]


def test_all_that_is_kept_is_listed_sorted(kept: Kept) -> None:
    assert list(kept.store.hashes()) == []
    names = [kept.store.put(b"%d" % number) for number in range(60)]
    assert list(kept.store.hashes()) == sorted(names)


@pytest.mark.parametrize("name", NO_HASH)
def test_a_name_that_is_no_hash_leads_nowhere(kept: Kept, name: str) -> None:
    with pytest.raises(BlobMissing, match="no hash"):
        kept.store.get(name)
    with pytest.raises(BlobMissing, match="no hash"):
        kept.store.remove(name)


def test_many_may_put_the_same_bytes_at_once(kept: Kept) -> None:
    datas = [random.Random(each % 3).randbytes(200_000) for each in range(24)]
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(kept.store.put, datas))
    assert len(set(names)) == 3
    assert [kept.store.get(name) for name in names] == datas


def test_a_store_that_is_lost_says_so(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)  # boto's pauses between tries
    name = kept.store.put(b"a")
    kept.lose()
    for attempt in (
        lambda: kept.store.put(b"b"), lambda: kept.store.get(name), lambda: kept.store.remove(name),
        lambda: list(kept.store.hashes()),
    ):  # fmt: skip
        with pytest.raises(StoreLost):
            attempt()


def _names_below(place: Path) -> list[str]:
    return sorted(path.name for path in place.rglob("*") if path.is_file())


_WRITER = """
import os, sys
from pathlib import Path
from eyeground.clinic.blobs.folder import Folder

store, number = Folder(Path(sys.argv[1])), 0
while True:
    data = b"%d " % number * 100_000
    print(store.put(data), flush=True)
    number += 1
"""


def test_a_writer_that_is_killed_leaves_whole_images_only(tmp_path: Path) -> None:
    chance, promised = random.Random(3), set[str]()
    for _ in range(8):
        with subprocess.Popen([sys.executable, "-c", _WRITER, tmp_path], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            promised.add(writer.stdout.readline().strip())
            time.sleep(chance.random() * 0.05)
            writer.send_signal(signal.SIGKILL)
            # The last line may have been cut with the process.
            promised |= {line.strip() for line in writer.stdout if len(line) == 65}
        for path in tmp_path.glob("??/*"):  # so that the next round writes again
            if path.name not in promised:
                path.unlink()
    store = Folder(tmp_path)
    listed = list(store.hashes())
    assert promised <= set(listed)
    assert [sha256(store.get(name)).hexdigest() for name in listed] == listed


def test_a_half_written_temporary_is_never_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Folder(tmp_path)
    seen: list[tuple[list[str], int]] = []
    whole = os.fsync

    def look(handle: int) -> None:
        seen.append((list(store.hashes()), len(_names_below(tmp_path))))
        whole(handle)

    monkeypatch.setattr(os, "fsync", look)
    name = store.put(b"an image")
    assert ([], 1) in seen  # the temporary lay there, and was not listed
    assert list(store.hashes()) == [name]


@pytest.mark.parametrize("fails", ["fsync", "replace", "mkstemp", "mkdir", "write"])
def test_a_full_disk_keeps_nothing_and_spoils_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    store = Folder(tmp_path)
    old = store.put(b"an old image")
    before = _names_below(tmp_path)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        if fails == "write":
            handle = os.open("/dev/full", os.O_WRONLY)
            patch.setattr("tempfile.mkstemp", lambda **_: (handle, str(tmp_path / ".temporary")))
        else:
            where = {"fsync": "os.fsync", "replace": "pathlib.Path.replace", "mkstemp": "tempfile.mkstemp"}
            patch.setattr(where.get(fails, "pathlib.Path.mkdir"), full)
        with pytest.raises(StoreLost, match="No space left"):
            store.put(b"a new image " * 100_000)
    assert _names_below(tmp_path) == before
    assert store.get(old) == b"an old image"
    assert store.get(store.put(b"a new image")) == b"a new image"


def test_only_its_owner_looks_into_the_folder(tmp_path: Path) -> None:
    Folder(tmp_path / "images").put(b"a")
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "images", *(tmp_path / "images").iterdir())} == {0}


@pytest.mark.parametrize("url", ["s3:images", "s3://", "s3://a", "s3://A_B/c", "s3:///c"])
def test_an_address_without_a_bucket_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="s3://BUCKET"):
        open_store(url)


@pytest.mark.parametrize("url", ["", "ftp://a", "/var/images", "store:a"])
def test_an_address_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must begin with"):
        open_store(url)


def test_s3_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(StoreLost, match=r"pip install 'eyeground\[s3\]'"):
        open_store("s3://images")


def test_a_bucket_that_does_not_exist_is_a_lost_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with _s3(tmp_path, monkeypatch) as made:
        store = open_store("s3://elsewhere", endpoint=made.store._client.meta.endpoint_url)  # type: ignore[attr-defined]
        with pytest.raises(StoreLost, match=r"NoSuchBucket|404"):
            store.put(b"a")
        with pytest.raises(StoreLost, match="NoSuchBucket"):
            store.get("a" * 64)

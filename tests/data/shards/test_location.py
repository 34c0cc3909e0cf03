"""Shards in an object store: brought once, compared with their hashes, and the same batches as from a folder."""

import errno
import os
import secrets
import shutil
import socket
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eyeground.data.augment import Augmentation
from eyeground.data.loader import Batch, training_batches
from eyeground.data.manifest import read_manifest
from eyeground.data.pixels import PixelStore
from eyeground.data.preprocessing import Preprocessing
from eyeground.data.problem import DataProblems
from eyeground.data.shards import location
from eyeground.data.shards.address import remote_address
from eyeground.data.shards.location import CopiesFull, RemoteFolder, ShardBroken, ShardsUnreachable
from eyeground.data.shards.opened import Shards, open_shards
from eyeground.data.shards.order import order_for
from eyeground.data.shards.rows import ShardRows

from .small import flip, pack, photographs, shards_in

fsspec = pytest.importorskip("fsspec", reason="needs pip install 'eyeground[shards]'")
COUNT = 44


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set")
    pack(photographs(folder / "data", COUNT), folder / "eyes")
    return folder / "eyes"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EYEGROUND_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("EYEGROUND_SHARD_CACHE_GB", raising=False)
    return tmp_path / "cache" / "shards"


@pytest.fixture
def memory(whole: Path) -> Iterator[Path]:
    """The set in fsspec's memory."""
    system, root = fsspec.filesystem("memory"), f"/{secrets.token_hex(4)}/eyes"
    system.put(str(whole), root, recursive=True)
    yield Path(f"memory:/{root}")
    system.rm(root, recursive=True)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each way of reading was taken, by its name."""
    found: Counter[str] = Counter()
    plain = RemoteFolder._ask

    def ask(place: RemoteFolder, question: Any) -> Any:
        class Counted:
            def __init__(self, system: Any) -> None:
                self._system = system

            def __getattr__(self, name: str) -> Any:
                found[name] += 1
                return getattr(self._system, name)

        return plain(place, lambda system, root: question(Counted(system), root))

    monkeypatch.setattr(RemoteFolder, "_ask", ask)
    return found


def _opened(path: Path) -> Shards:
    found = open_shards(path)
    assert found is not None
    return found


def _copies(cache: Path) -> dict[str, Path]:
    """Copies of shards here, by their hash."""
    return {path.stem: path for path in cache.glob("*.parquet")}


def test_addresses_survive_being_a_path() -> None:
    for text in ("s3://eyes/a/b", "memory://eyes", "gcs://x/y"):
        assert remote_address(Path(text)) == remote_address(Path(str(Path(text)))) == text
    for text in ("eyes", "/eyes/s3:/x", "file:///eyes", "C:/eyes", "s3:", "./s3:/x/.."):
        assert remote_address(Path(text)) == "" or text.startswith("./")


def test_a_few_images_cost_a_request_each_and_more_bring_the_shard(
    memory: Path, cache: Path, asked: Counter[str]
) -> None:
    shards = _opened(memory)
    asked.clear()
    samples = [sample for sample in ShardRows(shards, "eyes") if shards.shard_of(sample.file) == 1]
    assert len(samples) >= 3
    assert all(sample.parcel().data for sample in samples)
    assert asked == {"cat_file": 2, "get_file": 1}
    assert set(_copies(cache)) == {shards.index.table.sha256, shards.index.shards[1].sha256}
    asked.clear()
    assert all(sample.parcel().data for sample in samples)
    assert not asked


def test_what_was_brought_before_is_not_brought_again(memory: Path, cache: Path, asked: Counter[str]) -> None:
    for _ in range(2):
        shards = _opened(memory)
        for sample in ShardRows(shards, "eyes"):
            sample.parcel()
    many = [entry for entry in shards.index.shards if entry.rows > 2]
    assert len(many) >= 8
    assert asked["get_file"] <= 1 + shards.shards
    assert {entry.sha256 for entry in many} <= set(_copies(cache))


def test_an_epoch_brings_each_shard_once_though_few_have_room(
    memory: Path, cache: Path, asked: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    window = 3
    sizes = [entry.bytes for entry in _opened(memory).index.shards]
    limit = (window + 2) * max(sizes)
    monkeypatch.setenv("EYEGROUND_SHARD_CACHE_GB", str(limit / 1e9))
    shards = _opened(memory)
    assert shards.shards > 2 * window
    rows = ShardRows(shards, "eyes")
    asked.clear()
    for number in order_for(rows, seed=0, window=window)(0):
        assert rows[int(number)].parcel().data
        assert sum(path.stat().st_size for path in _copies(cache).values()) <= limit
    assert asked["get_file"] <= shards.shards
    # The control: in any order, shards are brought again and again.
    asked.clear()
    for number in np.random.default_rng(0).permutation(len(rows)):
        rows[int(number)].parcel()
    assert asked["get_file"] > shards.shards


def test_a_copy_that_goes_bad_here_is_brought_again(memory: Path, cache: Path, asked: Counter[str]) -> None:
    shards = _opened(memory)
    samples = list(ShardRows(shards, "eyes"))[: shards.index.shards[0].rows]
    before = [sample.parcel().data for sample in samples]
    copy = _copies(cache)[shards.index.shards[0].sha256]
    flip(copy, int(shards._offset[0]) + 10)
    asked.clear()
    assert [sample.parcel().data for sample in samples] == before
    assert asked["cat_file"] + asked["get_file"] == 1


def test_a_shard_that_is_another_one_is_refused_and_not_kept(memory: Path, cache: Path) -> None:
    shards = _opened(memory)
    entry = shards.index.shards[2]
    system = fsspec.filesystem("memory")
    path = f"{remote_address(memory).removeprefix('memory:/')}/shards/{entry.name}"
    content = bytearray(system.cat_file(path))
    content[int(shards._offset[shards._first[2]]) + 3] ^= 1
    system.pipe(path, bytes(content))
    _opened(memory)  # its size is still right
    first = ShardRows(shards, "eyes")[int(shards._first[2])]
    with pytest.raises(ShardBroken, match=rf"{entry.name} at memory://.*: has changed .* copy it again"):
        first.parcel()
    assert entry.sha256 not in _copies(cache)
    [problem] = shards.check()
    assert entry.name in str(problem)
    system.pipe(path, bytes(content[:-1]))
    with pytest.raises(DataProblems, match=f"{entry.name}: has .* bytes"):
        open_shards(memory)
    system.rm(path)
    with pytest.raises(DataProblems, match=f"{entry.name}: is missing"):
        open_shards(memory)
    with pytest.raises(ShardBroken, match=f"{entry.name}: is missing in memory://"):
        first.parcel()


def test_an_address_without_shards_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataProblems, match=r"memory://no/such: there is no shards\.json"):
        open_shards(Path("memory://no/such"))
    with pytest.raises(ShardsUnreachable, match=r"unheard://of: cannot be read \(Protocol not known"):
        open_shards(Path("unheard://of"))


def test_what_must_be_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ShardsUnreachable, match=r"pip install 'eyeground\[shards\]'"):
        open_shards(Path("s3://eyes/packed"))


def test_a_limit_that_is_no_number_is_told(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EYEGROUND_SHARD_CACHE_GB", "much")
    with pytest.raises(DataProblems, match="EYEGROUND_SHARD_CACHE_GB is 'much': give a number"):
        open_shards(memory)


def test_a_full_disk_here_is_not_the_store_s_fault(memory: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = _opened(memory)

    def full(*_: object) -> None:
        (cache / "half").touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(fsspec.get_filesystem_class("memory"), "get_file", full)
    with pytest.raises(OSError, match="no room for copies of shards; free some space") as raised:
        shards._location.local(shards.index.shards[0])
    assert isinstance(raised.value, CopiesFull)
    assert not list(cache.glob("*.part"))


def test_a_copy_that_another_takes_away_at_once_is_read_all_the_same(
    memory: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = _opened(memory)
    plain = location._alone

    @contextmanager
    def alone(lock: Path, **how: bool) -> Iterator[None]:
        with plain(lock, **how):
            yield
        for copy in _copies(cache).values():  # as one does who needs the room
            copy.unlink()

    monkeypatch.setattr(location, "_alone", alone)
    samples = [sample for sample in ShardRows(shards, "eyes") if shards.shard_of(sample.file) == 1]
    for _ in range(2):
        assert all(sample.parcel().data for sample in samples)
    assert not _copies(cache)


def test_what_a_kill_left_half_brought_is_taken_away(memory: Path, cache: Path) -> None:
    shards = _opened(memory)
    left, at_work = cache / f"{'0' * 64}.part", cache / f"{'1' * 64}.part"
    left.write_bytes(b"half")
    at_work.write_bytes(b"half")
    with location._alone(at_work.with_suffix(".lock")):
        shards._location.local(shards.index.shards[0])
    assert not left.exists()
    assert at_work.exists()


def test_several_at_once_bring_a_shard_once(memory: Path, asked: Counter[str]) -> None:
    shards = _opened(memory)
    asked.clear()
    threads = [threading.Thread(target=shards._location.local, args=(shards.index.shards[0],)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asked["get_file"] == 1


@pytest.mark.parametrize("kind", [ShardBroken, ShardsUnreachable, CopiesFull])
def test_words_of_a_loader_process_are_cut_to_what_counts(kind: type[Exception]) -> None:
    error = kind(f"Caught {kind.__name__} in DataLoader worker process 0.\nOriginal Traceback:\n  File\n"
                 f"eyeground.data.shards.location.{kind.__name__}: shard-1: is missing\n")  # fmt: skip
    assert str(error) == "shard-1: is missing"


def _batches(shards: Shards, *, workers: int) -> list[Batch]:
    samples = read_manifest([shards.source("eyes")], classes=shards.classes).samples
    return list(
        training_batches(
            samples,
            pixels=PixelStore(crop_field=False, store_px=20, limit_bytes=0),
            preprocessing=Preprocessing(image_px=16, store_px=20, crop_field=False),
            augmentation=Augmentation(),
            batch_size=8,
            epochs=2,
            seed=5,
            workers=workers,
            order=order_for(samples, seed=5, window=2),
        )
    )


def test_a_broken_shard_is_named_from_a_loader_process(whole: Path, tmp_path: Path) -> None:
    packed = shutil.copytree(whole, tmp_path / "packed")
    shards = _opened(packed)
    flip(shards_in(packed)[3], int(shards._offset[shards._first[3]]) + 10)
    with pytest.raises(ShardBroken, match=r"^[^\n]*shard-00003-of-\d+.parquet, row 0 \([^\n]*$"):
        _batches(shards, workers=2)


@pytest.fixture
def s3(whole: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Any]]:
    """The set in a bucket of moto's server."""
    moto_server = pytest.importorskip("moto.server")
    boto3 = pytest.importorskip("boto3")
    pytest.importorskip("s3fs")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    endpoint = f"http://127.0.0.1:{port}"
    for name, value in (("ACCESS_KEY_ID", "test"), ("SECRET_ACCESS_KEY", "test"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    client = boto3.client("s3", endpoint_url=endpoint)
    bucket = f"images-{secrets.token_hex(4)}"
    client.create_bucket(Bucket=bucket)
    for path in whole.rglob("*"):
        if path.is_file():
            client.upload_file(str(path), bucket, f"sets/{path.relative_to(whole).as_posix()}")
    gone: list[None] = []

    def lose() -> None:
        gone.append(server.stop())

    yield Path(f"s3://{bucket}/sets"), lose
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    if not gone:
        lose()


def test_the_same_batches_come_from_a_bucket_and_from_the_folder(s3: tuple[Path, Any], whole: Path) -> None:
    address, lose = s3
    here, there = _opened(whole), _opened(address)
    wanted = _batches(here, workers=0)
    for workers in (2, 0):
        found = _batches(there, workers=workers)
        assert len(found) == len(wanted) == 10
        for one, other in zip(found, wanted, strict=True):
            assert np.array_equal(one.images, other.images)
            assert np.array_equal(one.truth, other.truth)
    assert there.check() == ()
    # All of it is here by now: the store may go.
    lose()
    assert all(sample.parcel().data for sample in ShardRows(there, "eyes"))
    with pytest.raises(
        ShardsUnreachable, match=f"s3://{address.parts[1]}/sets: cannot be read .* check address and rights"
    ):
        open_shards(address)


def test_a_bucket_that_is_not_there_is_told(s3: tuple[Path, Any]) -> None:
    with pytest.raises(DataProblems, match=r"s3://no-such-bucket/x: there is no shards\.json"):
        open_shards(Path("s3://no-such-bucket/x"))


def test_the_cache_is_its_owner_s_alone(memory: Path, cache: Path) -> None:
    _opened(memory)
    assert cache.stat().st_mode & 0o077 == 0

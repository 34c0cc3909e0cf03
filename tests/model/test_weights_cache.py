"""The cache gives back exactly what was put in, or says that it cannot."""

import errno
import fcntl
import json
import os
import threading
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from eyeground.model.weights import WeightsRefused, read_weights
from eyeground.model.weights_cache import WeightsCache, cached, default_cache, file_sha256
from eyeground.model.zoo import by_name
from tests.model.stand_in import DEMO, encoder

WORDS = {"release": "demo", "licence": "CC-BY-NC-4.0", "modality": "fundus", "source": "here", "source_sha256": "ab"}


@pytest.fixture
def cache(tmp_path: Path) -> WeightsCache:
    return WeightsCache(tmp_path / "cache")


def test_what_was_kept_comes_back(cache: WeightsCache) -> None:
    tensors = encoder(DEMO)
    assert cache.path_of(DEMO) is None
    assert not cache.holds(DEMO)
    path = cache.keep(DEMO, tensors, words=WORDS, facts={"source_sha256": "ab"})
    assert path.name == f"{file_sha256(path)}.safetensors"
    assert cache.path_of(DEMO) == path
    assert cache.holds(DEMO)
    back = read_weights(path)
    assert set(back) == set(tensors)
    assert all(np.array_equal(back[name], tensors[name]) for name in tensors)
    record = cache.record(DEMO)
    assert record["sha256"] == path.stem
    assert record["bytes"] == path.stat().st_size
    assert record["source_sha256"] == "ab"
    header = path.read_bytes()
    size = int.from_bytes(header[:8], "little")
    assert json.loads(header[8 : 8 + size])["__metadata__"] == WORDS
    assert size % 8 == 0


def test_the_same_tensors_are_the_same_file(tmp_path: Path) -> None:
    tensors = encoder(DEMO)
    shuffled = dict(reversed(tensors.items()))
    paths = [
        WeightsCache(tmp_path / name).keep(DEMO, given, words=words, facts={})
        for name, given, words in (
            ("a", tensors, WORDS),
            ("b", shuffled, dict(reversed(WORDS.items()))),
            ("c", tensors, WORDS),
        )
    ]
    assert len({path.name for path in paths}) == 1
    assert cache_files(tmp_path / "a") == cache_files(tmp_path / "b")


def cache_files(folder: Path) -> set[str]:
    """Names of everything below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_flipped_byte_is_found_and_the_file_removed(cache: WeightsCache) -> None:
    path = cache.keep(DEMO, encoder(DEMO), words=WORDS, facts={})
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsRefused, match=r"no longer what was fetched .* eyeground weights fetch demo"):
        cache.path_of(DEMO)
    assert not path.exists()
    assert cache.path_of(DEMO) is None
    assert not cache.holds(DEMO)


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"sha256": "../../../etc/passwd"}'])
def test_a_damaged_record_is_as_if_nothing_was_fetched(cache: WeightsCache, damage: str) -> None:
    cache.keep(DEMO, encoder(DEMO), words=WORDS, facts={})
    (cache.folder / "weights" / "demo.json").write_text(damage)
    assert cache.path_of(DEMO) is None
    assert not cache.holds(DEMO)


def test_a_full_disk_leaves_nothing(cache: WeightsCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("eyeground.atomic_file.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        cache.keep(DEMO, encoder(DEMO), words=WORDS, facts={})
    assert cache_files(cache.folder) == set()


def test_a_full_disk_at_the_record_leaves_nothing(cache: WeightsCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: WeightsCache, path: Path, words: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(WeightsCache, "_write", full)
    with pytest.raises(OSError, match="No space left"):
        cache.keep(DEMO, encoder(DEMO), words=WORDS, facts={})
    assert cache_files(cache.folder) == set()


def test_a_licence_is_accepted_for_one_release_and_by_its_name(cache: WeightsCache) -> None:
    other = by_name("RETFound_mae_meh")
    assert cache.accepted(DEMO) == ""
    cache.accept(DEMO)
    assert cache.accepted(DEMO).startswith("20")
    assert cache.accepted(other) == ""
    path = cache.folder / "weights" / "demo.licence.json"
    assert json.loads(path.read_text("utf-8"))["licence"] == "CC-BY-NC-4.0"
    path.write_text(path.read_text("utf-8").replace("CC-BY-NC-4.0", "Apache-2.0"))
    assert cache.accepted(DEMO) == ""


def test_a_release_is_held_by_one_at_a_time(cache: WeightsCache) -> None:
    told, entered = threading.Event(), threading.Event()

    def second() -> None:
        with cache.locked(DEMO, told.set):
            entered.set()

    with cache.locked(DEMO):
        thread = threading.Thread(target=second)
        thread.start()
        assert told.wait(10)
        assert not entered.is_set()
        with (cache.folder / "weights" / "demo.lock").open() as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    thread.join(10)
    assert entered.is_set()


def test_the_cache_lies_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EYEGROUND_CACHE", str(tmp_path / "mine"))
    assert default_cache().folder == tmp_path / "mine"
    monkeypatch.delenv("EYEGROUND_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache().folder == tmp_path / "xdg" / "eyeground"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache().folder == Path("~/.cache/eyeground").expanduser()


def test_a_word_of_a_configuration_is_a_release_or_a_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EYEGROUND_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    assert cached("missing.safetensors") is None
    assert cached("runs/missing") is None
    with pytest.raises(WeightsRefused, match="fetch it once: eyeground weights fetch RETFound_mae_natureCFP"):
        cached("retfound_mae_naturecfp")
    with pytest.raises(
        WeightsRefused, match=r"RETFound_mae_CFP: no such file or run, and .* near: RETFound_mae_nature"
    ):
        cached("RETFound_mae_CFP")
    release = by_name("vit_small_patch14_dinov2.lvd142m")
    with pytest.raises(WeightsRefused, match="was not fetched yet"):
        cached(release.name)
    path = default_cache().keep(release, encoder(DEMO), words=WORDS, facts={})
    assert cached(release.name) == path
    # A file or folder of that name comes first.
    (tmp_path / release.name).mkdir()
    assert cached(release.name) is None

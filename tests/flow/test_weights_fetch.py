"""Fetching weights from a stand-in for the hub: consent, cuts, wrong bytes, hostile files, full disks, two at once."""

import argparse
import errno
import hashlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.numpy import save

from eyeground.cli.config import RunConfig
from eyeground.cli.recipe import starting_weights
from eyeground.cli.trained import modality_of_weights
from eyeground.model import untrusted, zoo
from eyeground.model.fetch import Fetched, LicenceNotAccepted, fetch
from eyeground.model.hub import FetchFailed
from eyeground.model.untrusted import MachineTooSmall
from eyeground.model.weights import Tensors, WeightsRefused, read_weights
from eyeground.model.weights_cache import WeightsCache
from eyeground.model.zoo import Release, by_name
from tests.flow.tables import Answer
from tests.model.stand_in import COMMIT, DEMO, Hub, encoder

ADDRESS = "/someone/demo/resolve/main/demo.pth"
SMALL = by_name("vit_small_patch14_dinov2.lvd142m")
DECODER: Tensors = {
    "mask_token": np.zeros((1, 1, 64), np.float32),
    "decoder_embed.weight": np.ones((64, 96), np.float32),
}


def pth(tensors: Tensors, path: Path, **beside: Any) -> bytes:
    """Write a checkpoint as RETFound's are: a pickle with the arguments of its training beside the tensors."""
    whole = {"model": {name: torch.from_numpy(array) for name, array in tensors.items()}, "epoch": 7}
    torch.save(whole | {"args": argparse.Namespace(lr=1e-3, output_dir=path.parent)} | beside, path)
    return path.read_bytes()


@pytest.fixture(autouse=True)
def _nobody_logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No token, no proxy, and no other cache than this test's."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "hf" / "token"))
    monkeypatch.setenv("EYEGROUND_CACHE", str(tmp_path / "cache"))
    huggingface_hub.close_session()
    yield
    huggingface_hub.close_session()


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    """What the hub has."""
    return pth(encoder(DEMO) | DECODER, tmp_path / "published.pth")


@pytest.fixture
def hub(content: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub, set as the mirror to ask."""
    with Hub({ADDRESS: content}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


@pytest.fixture
def the_hub_itself(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in is no mirror, but the hub."""
    monkeypatch.setattr("eyeground.model.hub.HUB", hub.url)


@pytest.fixture
def cache(tmp_path: Path) -> WeightsCache:
    """A cache whose owner has accepted the licence of the small release."""
    cache = WeightsCache(tmp_path / "cache")
    cache.accept(DEMO)
    return cache


def files(cache: WeightsCache) -> set[str]:
    """What lies in the cache beside locks and licences."""
    found = (path.relative_to(cache.folder) for path in cache.folder.rglob("*") if path.is_file())
    return {str(path) for path in found if not str(path).endswith((".lock", ".licence.json"))}


def quickly(cache: WeightsCache, release: Release = DEMO, **more: Any) -> Fetched:
    """Fetch without waiting between tries."""
    return fetch(release, cache, pause_s=0, **more)


def test_a_file_is_fetched_checked_and_kept(hub: Hub, content: bytes, cache: WeightsCache) -> None:
    seen: list[tuple[int, int]] = []
    done = quickly(cache, progress=lambda now, total: seen.append((now, total)))
    tensors = read_weights(done.path)
    wanted = encoder(DEMO) | DECODER
    assert set(tensors) == set(wanted)
    assert all(np.array_equal(tensors[name], wanted[name]) for name in wanted)
    assert seen[-1] == (len(content), len(content))
    record = cache.record(DEMO)
    assert record["source_sha256"] == hashlib.sha256(content).hexdigest()
    assert record["commit"] == COMMIT
    assert record["source"] == hub.url + ADDRESS
    assert (record["keys"], record["tensors"], record["nest"]) == (54, 56, "model")
    assert record["hash_said_by"] == hub.url
    # The pickle is gone, and nothing but the file, its record and its licence is left.
    assert files(cache) == {f"weights/{done.path.name}", "weights/demo.json"}
    # Nobody was asked anything but the file.
    assert {each.path for each in hub.asked} == {ADDRESS}
    before = len(hub.asked)
    assert quickly(cache) == Fetched(done.path, anew=False)
    assert len(hub.asked) == before


def test_a_gated_file_asks_for_a_token(hub: Hub, cache: WeightsCache, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.gate = "hf_good"
    with pytest.raises(FetchFailed) as refused:
        quickly(cache)
    told = str(refused.value)
    for words in (
        "asks who you are (401)",
        "https://huggingface.co/someone/demo",
        "https://huggingface.co/settings/tokens",
        "export HF_TOKEN=",
        "hf auth login",
        "eyeground weights fetch demo --file PATH",
    ):
        assert words in told
    monkeypatch.setenv("HF_TOKEN", "hf_bad")
    with pytest.raises(FetchFailed, match=r"does not know your token \(401\)"):
        quickly(cache)
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    assert quickly(cache).anew
    assert hub.gets[-1].authorization == "Bearer hf_good"


def test_a_gated_file_asks_for_consent(hub: Hub, cache: WeightsCache, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.gate, hub.accepted = "hf_good", False
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    with pytest.raises(FetchFailed) as refused:
        quickly(cache)
    assert "does not give demo to your account (403)" in str(refused.value)
    assert "Open https://huggingface.co/someone/demo" in str(refused.value)
    assert files(cache) == set()
    assert hub.gets == []


def test_a_file_that_is_not_there(hub: Hub, cache: WeightsCache) -> None:
    with pytest.raises(FetchFailed, match=r"other.pth of someone/demo is not on http://127.* \(404\)"):
        quickly(cache, replace(DEMO, file="other.pth"))


def test_the_hub_out_of_reach(cache: WeightsCache, monkeypatch: pytest.MonkeyPatch) -> None:
    with Hub() as gone:
        address = gone.url
    monkeypatch.setenv("HF_ENDPOINT", address)
    with pytest.raises(FetchFailed) as refused:
        quickly(cache)
    told = str(refused.value)
    assert told.startswith(f"{address} cannot be reached (")
    assert "export HF_ENDPOINT=https://MIRROR" in told
    assert "eyeground weights fetch demo --file PATH" in told


def test_a_hub_that_says_no_hash_is_not_believed(hub: Hub, cache: WeightsCache) -> None:
    hub.announced = "0123456789abcdef0123456789abcdef01234567"  # as for a small file kept in git itself
    with pytest.raises(FetchFailed, match="does not say the file's SHA-256"):
        quickly(cache)
    assert hub.gets == []


def test_the_token_stays_with_the_hub(
    hub: Hub, content: bytes, cache: WeightsCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    hub.gate = "hf_good"
    with Hub({ADDRESS: content}) as storage:
        hub.storage = storage
        assert quickly(cache).anew
        assert [each.authorization for each in storage.asked] == [""]


def test_a_cut_download_goes_on_in_the_same_run(hub: Hub, content: bytes, cache: WeightsCache) -> None:
    hub.cuts = [700_000, 500_000]
    done = quickly(cache)
    assert [each.range for each in hub.gets] == ["", "bytes=700000-", "bytes=1200000-"]
    assert cache.record(DEMO)["source_sha256"] == hashlib.sha256(content).hexdigest()
    assert done.anew


def test_a_cut_download_goes_on_in_the_next_run(hub: Hub, content: bytes, cache: WeightsCache) -> None:
    hub.cuts = [700_000, 0, 0]
    with pytest.raises(
        FetchFailed, match=f"cut after 700,000 of {len(content):,} bytes .* type the same command again"
    ):
        quickly(cache, tries=2)
    part = f"partial/demo/{hashlib.sha256(content).hexdigest()}/demo.pth"
    assert files(cache) == {part}
    assert (cache.folder / part).read_bytes() == content[:700_000]
    hub.asked.clear()
    done = quickly(cache)
    assert [each.range for each in hub.gets] == ["bytes=700000-"]
    assert cache.record(DEMO)["source_sha256"] == hashlib.sha256(content).hexdigest()
    assert files(cache) == {f"weights/{done.path.name}", "weights/demo.json"}


def test_a_server_without_ranges_sends_it_all_again(hub: Hub, cache: WeightsCache) -> None:
    hub.cuts, hub.ranges = [700_000], False
    assert quickly(cache).anew
    assert [each.range for each in hub.gets] == ["", "bytes=700000-"]


def test_the_rest_of_a_file_that_was_replaced_is_not_appended(hub: Hub, cache: WeightsCache, tmp_path: Path) -> None:
    hub.cuts = [700_000, 0]
    with pytest.raises(FetchFailed):
        quickly(cache, tries=1)
    renewed = pth(encoder(DEMO, seed=1), tmp_path / "renewed.pth")
    hub.files = {ADDRESS: renewed}
    hub.cuts, before = [], len(hub.gets)
    assert quickly(cache).anew
    assert [each.range for each in hub.gets[before:]] == [""]
    assert cache.record(DEMO)["source_sha256"] == hashlib.sha256(renewed).hexdigest()


def test_a_killed_download_goes_on(hub: Hub, content: bytes, cache: WeightsCache) -> None:
    hub.stall_after = 800_000
    with subprocess.Popen(_fetching(cache), cwd=Path(__file__).parents[2], stdout=subprocess.PIPE) as child:
        part = cache.folder / "partial" / "demo" / hashlib.sha256(content).hexdigest() / "demo.pth"
        deadline = time.monotonic() + 60
        while not part.is_file() or part.stat().st_size < 800_000 - 8192:
            assert time.monotonic() < deadline
            assert child.poll() is None
            time.sleep(0.02)
        child.send_signal(signal.SIGKILL)
    have = part.stat().st_size
    assert 0 < have <= 800_000
    hub.stall_after = None
    hub.asked.clear()
    quickly(cache)
    assert [each.range for each in hub.gets] == [f"bytes={have}-"]
    assert cache.record(DEMO)["source_sha256"] == hashlib.sha256(content).hexdigest()


def _fetching(cache: WeightsCache) -> list[str]:
    """A process that fetches the small release, and says whether it was there."""
    code = (
        "import sys; from pathlib import Path; from eyeground.model.fetch import fetch; "
        "from eyeground.model.weights_cache import WeightsCache; from tests.model.stand_in import DEMO; "
        "print(fetch(DEMO, WeightsCache(Path(sys.argv[1])), say=lambda words: print(words, file=sys.stderr)).anew)"
    )
    return [sys.executable, "-c", code, str(cache.folder)]


def test_two_at_once_make_one_download(hub: Hub, cache: WeightsCache) -> None:
    hub.stall_after = 100_000
    where = {"cwd": Path(__file__).parents[2], "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    first = subprocess.Popen(_fetching(cache), **where)  # type: ignore[call-overload]
    children = [first]
    try:
        deadline = time.monotonic() + 60
        while not hub.gets:
            assert time.monotonic() < deadline
            assert first.poll() is None, first.communicate()
            time.sleep(0.02)
        second = subprocess.Popen(_fetching(cache), **where)  # type: ignore[call-overload]
        children.append(second)
        # A child that ends, ends its stderr: then this is readable too, and the line empty.
        assert select.select([second.stderr], [], [], 60)[0]
        assert "waiting for it" in second.stderr.readline()
        hub.go_on.set()
        answers = [child.communicate(timeout=60) for child in children]
    finally:
        for child in children:
            child.kill()
            child.communicate()
    assert [child.returncode for child in (first, second)] == [0, 0], answers
    assert [out.strip() for out, _ in answers] == ["True", "False"]
    assert len(hub.gets) == 1


def test_wrong_bytes_are_refused_and_removed(hub: Hub, cache: WeightsCache) -> None:
    hub.announced = "ab" * 32
    with pytest.raises(WeightsRefused, match=r"was received has SHA-256 .*, not (ab){32}\. .* is removed"):
        quickly(cache)
    assert files(cache) == set()


def test_more_bytes_than_announced_are_thrown_away(hub: Hub, cache: WeightsCache) -> None:
    hub.more = b"x" * 3_000_000
    with pytest.raises(FetchFailed, match="more bytes came than"):
        quickly(cache)
    assert files(cache) == set()


def test_another_file_than_the_one_known_is_not_even_downloaded(hub: Hub, cache: WeightsCache) -> None:
    with pytest.raises(WeightsRefused, match="another file than the one that the zoo knows"):
        quickly(cache, replace(DEMO, sha256="cd" * 32))
    assert hub.gets == []


@pytest.mark.usefixtures("the_hub_itself")
def test_what_was_fetched_once_is_what_is_fetched_again(hub: Hub, cache: WeightsCache, tmp_path: Path) -> None:
    path = quickly(cache).path
    assert cache.record(DEMO)["hash_said_by"] == "the hub"
    path.unlink()
    renewed = pth(encoder(DEMO, seed=1), tmp_path / "renewed.pth")
    hub.files = {ADDRESS: renewed}
    before = len(hub.gets)
    with pytest.raises(WeightsRefused, match="another file than the one fetched here on 20") as refused:
        quickly(cache)
    assert len(hub.gets) == before
    # The way out that the message names is one.
    record = cache.folder / "weights" / "demo.json"
    assert f"remove {record} and type the command again" in str(refused.value)
    record.unlink()
    assert quickly(cache).anew
    assert cache.record(DEMO)["source_sha256"] == hashlib.sha256(renewed).hexdigest()


def test_the_word_of_a_mirror_does_not_lock_the_published_file_out(
    hub: Hub, content: bytes, cache: WeightsCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.files = {ADDRESS: pth(encoder(DEMO, seed=1), tmp_path / "forged.pth")}
    forged = hashlib.sha256(hub.files[ADDRESS]).hexdigest()
    quickly(cache).path.unlink()
    # By hand: taken, and the difference told.
    by_hand = quickly(cache, file=tmp_path / "published.pth")
    genuine = hashlib.sha256(content).hexdigest()
    assert cache.record(DEMO)["source_sha256"] == genuine
    assert f"its SHA-256 is {genuine}; that of the file fetched here" in by_hand.notes[1]
    assert f"was {forged}, which {hub.url} said. Compare both with {DEMO.page}/blob/main/demo.pth" in by_hand.notes[1]
    assert f"remove {cache.folder / 'weights' / 'demo.json'} and type" in by_hand.notes[1]
    # The same from the hub itself.
    cache.record_file(DEMO).unlink()
    quickly(cache).path.unlink()
    with Hub({ADDRESS: content}) as itself:
        monkeypatch.setattr("eyeground.model.hub.HUB", itself.url)
        monkeypatch.delenv("HF_ENDPOINT")
        from_hub = quickly(cache)
        assert f"was {forged}, which {hub.url} said" in from_hub.notes[0]
        assert cache.record(DEMO)["hash_said_by"] == "the hub"
        # And from then on its word binds the mirror.
        from_hub.path.unlink()
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        with pytest.raises(WeightsRefused, match="whose hash the hub said"):
            quickly(cache)
        # A mirror that agrees takes nothing from it.
        hub.files = {ADDRESS: content}
        assert quickly(cache).notes == ()
        assert cache.record(DEMO)["hash_said_by"] == "the hub"


def test_a_file_by_hand_beside_another_in_the_cache_is_not_passed_over_in_silence(
    hub: Hub, cache: WeightsCache, tmp_path: Path
) -> None:
    path = quickly(cache).path
    assert quickly(cache, file=tmp_path / "published.pth") == Fetched(path, anew=False)
    other = tmp_path / "other.pth"
    pth(encoder(DEMO, seed=1), other)
    kept = quickly(cache, file=other)
    assert (kept.path, kept.anew) == (path, False)
    assert kept.notes[0].startswith(f"{other} was not taken: demo is in the cache already, from {hub.url}")
    cache.record_file(DEMO).unlink()
    assert quickly(cache, file=other).anew


def test_a_damaged_file_is_fetched_again(hub: Hub, cache: WeightsCache) -> None:
    path = quickly(cache).path
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    said: list[str] = []
    again = quickly(cache, say=said.append)
    assert again == Fetched(path, anew=True)
    assert path.read_bytes() == whole
    assert "no longer what was fetched" in said[0]


class _Canary:
    """Runs a command when a pickle is opened carelessly."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self._path}",)


def test_a_hostile_file_is_refused_before_it_runs(hub: Hub, cache: WeightsCache, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    hub.files = {ADDRESS: pth(encoder(DEMO), tmp_path / "hostile.pth", extra=_Canary(canary))}
    with pytest.raises(WeightsRefused, match=f"^{hub.url + ADDRESS}: .*system.*\\. What was downloaded is removed$"):
        quickly(cache)
    assert not canary.exists()
    assert files(cache) == set()
    run, words = _Canary(canary).__reduce__()
    run(*words)
    assert canary.exists()  # so it would have run


def test_another_network_and_a_missing_tensor_are_refused(hub: Hub, cache: WeightsCache, tmp_path: Path) -> None:
    lacking = encoder(DEMO)
    del lacking["blocks.0.norm1.bias"]
    hub.files = {ADDRESS: pth(lacking, tmp_path / "lacking.pth")}
    with pytest.raises(
        WeightsRefused, match=r"not demo, a vit_demo_patch8 of 54 tensors: 1 missing: blocks.0.norm1.bias"
    ):
        quickly(cache)
    assert files(cache) == set()
    hub.files = {ADDRESS: pth(encoder(replace(DEMO, model="vit_mini_patch16")), tmp_path / "mini.pth")}
    with pytest.raises(WeightsRefused, match=r"24 unknown: .*of another shape"):
        quickly(cache)
    assert files(cache) == set()


def test_the_student_is_not_taken_for_the_teacher(hub: Hub, cache: WeightsCache, tmp_path: Path) -> None:
    dinov2 = replace(DEMO, nest="teacher")
    teacher = encoder(DEMO, seed=1)
    beside = {"teacher": {name: torch.from_numpy(array) for name, array in teacher.items()}}
    both = tmp_path / "both.pth"
    hub.files = {ADDRESS: pth(encoder(DEMO), both, **beside)}  # the student under "model", of the same shape
    told = "lies under 'model', and demo lies under 'teacher'; .* such as the student .*: weights=PATH"
    with pytest.raises(WeightsRefused, match=told):
        quickly(cache, dinov2)
    with pytest.raises(WeightsRefused, match=told):
        quickly(cache, dinov2, file=both)
    torch.save({name: torch.from_numpy(array) for name, array in teacher.items()}, tmp_path / "top.pth")
    with pytest.raises(WeightsRefused, match="lies at its top, and demo lies under 'teacher'"):
        quickly(cache, dinov2, file=tmp_path / "top.pth")
    assert files(cache) == set()
    torch.save(beside, tmp_path / "teacher.pth")
    kept = read_weights(quickly(cache, dinov2, file=tmp_path / "teacher.pth").path)
    assert all(np.array_equal(kept[name], teacher[name]) for name in teacher)
    assert cache.record(DEMO)["nest"] == "teacher"


def part_of(content: bytes) -> str:
    """Where the small release's download lies until it is in the cache."""
    return f"partial/demo/{hashlib.sha256(content).hexdigest()}/demo.pth"


def test_a_whole_download_outlives_a_process_that_was_killed(
    hub: Hub, content: bytes, cache: WeightsCache, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nkill -9 $$\n")  # as the kernel does where memory runs out
    python.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(python))
        with pytest.raises(MachineTooSmall, match=r"SIGKILL.* is whole and is kept in .*the same command goes on"):
            quickly(cache)
    assert files(cache) == {part_of(content)}
    assert quickly(cache).anew
    assert len(hub.gets) == 1


def test_a_whole_download_outlives_a_disk_too_full_to_unpack_it(
    hub: Hub, content: bytes, cache: WeightsCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing lies in the folder for temporary files, which is often small.
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "no such folder"))
    made: list[Path] = []

    def full(dir: Path) -> BinaryIO:
        made.append(dir)
        return Path("/dev/full").open("wb") if len(made) == 1 else (tmp_path / "said").open("wb+")

    with monkeypatch.context() as patch:
        patch.setattr(untrusted.tempfile, "TemporaryFile", full)
        with pytest.raises(MachineTooSmall, match=f"not be unpacked: {cache.folder} is full; free .* is kept in"):
            quickly(cache)
    assert made == [cache.folder, cache.folder]
    assert files(cache) == {part_of(content)}
    assert quickly(cache).anew
    assert len(hub.gets) == 1


def test_a_whole_download_outlives_a_disk_too_full_to_keep_it(
    hub: Hub, content: bytes, cache: WeightsCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*words: object, **more: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(WeightsCache, "keep", full)
        with pytest.raises(FetchFailed, match=r"the disk is full; what was downloaded is kept in .*partial/demo, and"):
            quickly(cache)
    assert files(cache) == {part_of(content)}
    assert quickly(cache).anew
    assert len(hub.gets) == 1


def test_what_took_too_long_is_the_machine_s_reason(content: bytes, tmp_path: Path) -> None:
    assert content
    with pytest.raises(MachineTooSmall, match="or this machine is busy"):
        untrusted.open_foreign(tmp_path / "published.pth", seconds=0.001)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], WeightsCache]]:
    """Make a disk of so many bytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = []

    def make(size: int) -> WeightsCache:
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], capture_output=True)
        if made.returncode:
            pytest.skip("needs the right to mount a small disk")
        mounted.append(place)
        cache = WeightsCache(place / "cache")
        cache.accept(DEMO)
        return cache

    yield make
    for each in mounted:
        subprocess.run(["umount", "-l", each], check=True)


def test_a_disk_too_small_is_told_before_anything_is_fetched(
    hub: Hub, content: bytes, small_disk: Callable[[int], WeightsCache]
) -> None:
    cache = small_disk(3_000_000)
    needed = len(content) + 4 * sum(array.size for array in encoder(DEMO).values())
    with pytest.raises(FetchFailed, match=rf"demo needs {needed / 1e6:.1f} MB or more free there, .* EYEGROUND_CACHE"):
        quickly(cache)
    assert hub.gets == []
    assert files(cache) == set()


def test_a_disk_that_fills_up_on_the_way_keeps_only_what_was_downloaded(
    hub: Hub, small_disk: Callable[[int], WeightsCache], tmp_path: Path
) -> None:
    # A large decoder: the file for the cache is larger than the encoder alone, which is all that is known before.
    large: Tensors = {"decoder_embed.weight": np.ones((6000, 96), np.float32)}
    content = pth(encoder(DEMO) | large, tmp_path / "large.pth")
    hub.files = {ADDRESS: content}
    cache = small_disk(len(content) + 2_500_000)
    with pytest.raises(MachineTooSmall, match=rf"could not be unpacked: {cache.folder} is full; .* is kept in"):
        quickly(cache)
    assert files(cache) == {part_of(content)}
    subprocess.run(["mount", "-o", f"remount,size={2 * len(content) + 5_000_000}", cache.folder.parent], check=True)
    assert quickly(cache).anew
    assert len(hub.gets) == 1


def test_a_licence_must_be_accepted_first(hub: Hub, tmp_path: Path) -> None:
    cache = WeightsCache(tmp_path / "fresh")
    with pytest.raises(LicenceNotAccepted) as refused:
        quickly(cache)
    assert str(refused.value) == (
        "demo is under CC-BY-NC-4.0: https://creativecommons.org/licenses/by-nc/4.0/\n"
        "No commercial use, of the weights or of what is made from them; the authors must be named.\n"
        "If you accept it, type once: eyeground weights fetch demo --accept-licence CC-BY-NC-4.0"
    )
    assert hub.asked == []
    assert files(cache) == set()


def test_a_file_by_hand_passes_the_same_checks(cache: WeightsCache, content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "published.pth"
    with pytest.raises(FileNotFoundError, match=r"nowhere.pth: no such file; give demo.pth"):
        quickly(cache, file=tmp_path / "nowhere.pth")
    with pytest.raises(WeightsRefused, match="another file than the one that the zoo knows"):
        quickly(cache, replace(DEMO, sha256="cd" * 32), file=file)
    done = quickly(cache, file=file)
    assert done.anew
    assert "is your word" in done.notes[0]
    assert file.read_bytes() == content
    assert cache.record(DEMO)["hash_said_by"] == "nobody"
    assert cache.record(DEMO)["source"] == "by hand: published.pth"
    assert files(cache) == {f"weights/{done.path.name}", "weights/demo.json"}
    known = replace(DEMO, name="known", sha256=hashlib.sha256(content).hexdigest())
    cache.accept(known)
    assert quickly(cache, known, file=file).notes == ()


@pytest.mark.usefixtures("the_hub_itself")
def test_a_file_by_hand_must_be_the_one_fetched_before(hub: Hub, cache: WeightsCache, tmp_path: Path) -> None:
    quickly(cache).path.unlink()
    pth(encoder(DEMO, seed=1), tmp_path / "other.pth")
    with pytest.raises(WeightsRefused, match="another file than the one fetched here on 20"):
        quickly(cache, file=tmp_path / "other.pth")
    done = quickly(cache, file=tmp_path / "published.pth")
    assert done.notes == ()
    # What the hub once said still holds.
    done.path.unlink()
    with pytest.raises(WeightsRefused, match="another file than the one fetched here on 20"):
        quickly(cache, file=tmp_path / "other.pth")


def test_inspect_offers_the_licence_of_the_release_that_a_file_looks_like(
    eyeground: Callable[..., Answer], content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zoo, "_RELEASES", (*zoo.releases(), DEMO))

    def licence(name: str) -> object:
        (tmp_path / name).write_bytes(content)
        return json.loads(eyeground("weights", "inspect", tmp_path / name, "--json").out)["licence"]

    assert licence("demo.pth") == "CC-BY-NC-4.0 (as demo is published)"
    assert licence("renamed.pth") is None
    pth(encoder(replace(DEMO, model="vit_mini_patch16")), tmp_path / "mini.pth")
    content = (tmp_path / "mini.pth").read_bytes()
    assert licence("demo.pth") is None


def test_the_command_line(
    eyeground: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, config: Path
) -> None:
    tensors = {name: 0.02 * array for name, array in encoder(SMALL).items()}
    content = save(tensors)
    name = SMALL.name
    with Hub({f"/{SMALL.repo_id}/resolve/main/model.safetensors": content}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        refused = eyeground("weights", "fetch", name, "--json")
        assert refused.code == 2
        assert json.loads(refused.out)["kind"] == "LicenceNotAccepted"
        assert f"eyeground weights fetch {name} --accept-licence Apache-2.0" in refused.err
        wrong = eyeground("weights", "fetch", name, "--accept-licence", "MIT")
        assert wrong.code == 2
        assert "is under Apache-2.0, not 'MIT'" in wrong.err
        missing = eyeground("finetune", config, f"weights={name}", f"out={tmp_path / 'run'}")
        assert missing.code == 2
        assert f"eyeground weights fetch {name}" in missing.err
        assert hub.asked == []
        done = eyeground("weights", "fetch", name.upper(), "--accept-licence", "apache-2.0", "--json")
        assert done.code == 0, done.err
        told = json.loads(done.out)
        assert (told["release"], told["fetched"], told["keys"]) == (name, True, 174)
        assert told["source_sha256"] == hashlib.sha256(content).hexdigest()
        assert "https://www.apache.org/licenses/LICENSE-2.0" in done.err
        again = json.loads(eyeground("weights", "fetch", name, "--json").out)
        assert (again["fetched"], again["path"]) == (False, told["path"])
        assert len(hub.gets) == 1
    listed = json.loads(eyeground("weights", "list", "--json").out)
    assert {each["name"]: each["cached"] for each in listed["releases"]}[name] is True
    assert sum(each["cached"] for each in listed["releases"]) == 1
    assert name in eyeground("weights", "list").err
    loaded = starting_weights(RunConfig(data="images", weights=name))
    assert loaded is not None
    assert all(np.array_equal(loaded[key], tensors[key]) for key in tensors)
    trained = eyeground(
        "finetune", config, f"weights={name}", f"model={SMALL.model}", "image_px=28", "epochs=1", "warmup_epochs=0",
        f"out={tmp_path / 'run'}",
    )  # fmt: skip
    assert trained.code == 0, trained.err
    assert "173 loaded, 1 resized" in trained.err


def test_a_file_by_hand_on_the_command_line(eyeground: Callable[..., Answer], tmp_path: Path) -> None:
    file = tmp_path / "by hand.safetensors"
    file.write_bytes(save(encoder(SMALL)))
    words = ("weights", "fetch", SMALL.name, "--file", file)
    refused = eyeground(*words)
    assert refused.code == 2
    assert f"--accept-licence Apache-2.0 --file '{file}'" in refused.err
    done = eyeground(*words, "--accept-licence", "Apache-2.0")
    assert done.code == 0, done.err
    assert "note: no hash of model.safetensors is known here" in done.err
    assert f"weights={SMALL.name} model=vit_small_patch14_dinov2" in done.out
    assert file.is_file()


@pytest.mark.parametrize(("typed", "code"), [("CC-BY-NC-4.0", 1), ("yes", 2)])
def test_a_terminal_asks_for_the_licence_by_name(
    typed: str, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with Hub() as gone:
        monkeypatch.setenv("HF_ENDPOINT", gone.url)
    outside, inside = os.openpty()
    words = [
        sys.executable,
        "-c",
        "from eyeground.cli.main import main; main()",
        "weights",
        "fetch",
        "RETFound_mae_meh",
    ]
    child = subprocess.Popen(words, stdin=inside, stdout=subprocess.PIPE, stderr=inside)
    os.close(inside)
    shown = b""
    while b"Type the licence's name if you accept it" not in shown:
        assert select.select([outside], [], [], 60)[0], shown
        shown += os.read(outside, 4096)
    assert b"No commercial use" in shown
    os.write(outside, f"{typed}\n".encode())
    child.communicate(timeout=60)
    os.close(outside)
    assert child.returncode == code
    accepted = WeightsCache(tmp_path / "cache").accepted(by_name("RETFound_mae_meh"))
    assert bool(accepted) == (code == 1)


def test_offline_on_the_command_line(eyeground: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch) -> None:
    with Hub() as gone:
        monkeypatch.setenv("HF_ENDPOINT", gone.url)
    told = eyeground("weights", "fetch", "RETFound_mae_meh", "--accept-licence", "CC-BY-NC-4.0", "--json")
    assert told.code == 1
    assert json.loads(told.out)["kind"] == "FetchFailed"
    near = eyeground("weights", "fetch", "RETFound_mae_me", "--json")
    assert near.code == 2
    assert "near: RETFound_mae_meh" in near.err


def test_the_zoo_says_what_a_release_has_learned_from() -> None:
    assert modality_of_weights("retfound_mae_meh") == "fundus"
    assert modality_of_weights("downloads/RETFound_mae_shanghai.pth") == "fundus"
    assert modality_of_weights("RETFound_mae_natureOCT") == "oct"
    assert modality_of_weights(SMALL.name) == ""

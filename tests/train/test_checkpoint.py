"""Checkpoints survive kills, full disks and flipped bytes (reliability.md, T1 and T3)."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from eyeground.train import checkpoint as module
from eyeground.train.checkpoint import CheckpointError, Checkpoints

# Writes checkpoints as fast as it can; arrays are a function of the step, so that a reader can tell a torn one.
WRITER = """
import sys
import numpy as np
from pathlib import Path
from eyeground.train.checkpoint import Checkpoints
shelf = Checkpoints(Path(sys.argv[1]))
found = shelf.newest()
step = found.step if found else 0
print("ready", flush=True)
while True:
    step += 1
    weights = {f"layer.{i}": np.full(2000, step, np.float32) for i in range(20)}
    shelf.save(step=step, state={"weights": weights, "optimizer": {k: v + 1 for k, v in weights.items()}},
               progress={"step": step}, model={}, best_step=step - step % 7 or None)
"""


def state(step: int) -> dict[str, dict[str, np.ndarray]]:
    return {"weights": {"a": np.full(50, step, np.float32)}, "optimizer": {"a/exp_avg": np.full(50, -step, np.float32)}}


def save(shelf: Checkpoints, step: int, best: int | None = None) -> Path:
    return shelf.save(step=step, state=state(step), progress={"step": step}, model={"classes": ["a"]}, best_step=best)


def test_newest_and_best_are_kept_with_their_optimizer(tmp_path: Path) -> None:
    # Fault 5: the reference's best checkpoint held no optimizer, so that nothing could go on from it.
    shelf = Checkpoints(tmp_path / "checkpoints", keep=2)
    for step in range(1, 7):
        save(shelf, step, best=min(step, 2))
    assert shelf.steps() == [2, 5, 6]
    assert shelf.best().step == 2
    assert "optimizer" in shelf.read(2).state
    newest = shelf.newest()
    assert newest is not None
    assert newest.step == 6
    assert newest.model == {"classes": ["a"]}
    assert newest.state["optimizer"]["a/exp_avg"][0] == -6


def test_a_damaged_future_does_not_cost_the_checkpoint_just_written(tmp_path: Path) -> None:
    shelf = Checkpoints(tmp_path, keep=1)
    for step in (50, 100):
        save(shelf, step, best=50)
    (tmp_path / "step-00000100" / "weights.safetensors").write_bytes(b"short")
    found = shelf.newest()
    assert found is not None
    assert found.step == 50
    save(shelf, 60, best=50)
    assert shelf.steps() == [50, 60]


def test_no_checkpoint_yet(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "none").newest() is None
    with pytest.raises(CheckpointError, match="no checkpoint yet"):
        Checkpoints(tmp_path / "none").best()


def test_one_flipped_byte_is_detected_at_100_positions(tmp_path: Path) -> None:
    shelf = Checkpoints(tmp_path)
    folder = save(shelf, 1)
    rng = random.Random(0)
    caught = 0
    files = sorted(folder.iterdir())
    for number in range(100):
        path = files[number % len(files)]
        content = path.read_bytes()
        position = rng.randrange(len(content))
        path.write_bytes(
            content[:position] + bytes([content[position] ^ (1 << rng.randrange(8))]) + content[position + 1 :]
        )
        with pytest.raises(CheckpointError, match="its hash is not the one recorded"):
            shelf.read(1)
        caught += 1
        path.write_bytes(content)
    assert caught == 100
    assert shelf.read(1).step == 1  # and nothing else was disturbed


def test_a_damaged_newest_falls_back_to_the_one_before(tmp_path: Path) -> None:
    shelf = Checkpoints(tmp_path)
    save(shelf, 1)
    folder = save(shelf, 2)
    (folder / "weights.safetensors").write_bytes(b"short")
    newest = shelf.newest()
    assert newest is not None
    assert newest.step == 1
    (tmp_path / "step-00000001" / "checkpoint.json").unlink()
    with pytest.raises(CheckpointError, match="no checkpoint is sound"):
        shelf.newest()


@pytest.mark.parametrize("failing", range(6))
def test_a_full_disk_at_any_write_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    shelf = Checkpoints(tmp_path, keep=1)
    save(shelf, 1)
    calls = [0]
    real = os.fsync

    def full(handle: int) -> None:
        calls[0] += 1
        if calls[0] == failing + 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(module.os, "fsync", full)
    if failing < 5:  # three files, the folder, and the shelf's folder after the rename
        with pytest.raises(CheckpointError, match=r"No space left on device.*Earlier checkpoints are whole"):
            save(shelf, 2)
    else:
        save(shelf, 2)
    monkeypatch.setattr(module.os, "fsync", real)
    newest = shelf.newest()
    assert newest is not None
    assert newest.step in ((1,) if failing < 4 else (2,))
    assert not list(tmp_path.glob(".*.part"))


def test_a_file_that_really_cannot_grow(tmp_path: Path) -> None:
    # The kernel, not a mock, refuses the write: the child may not write files over 64 KiB.
    script = """
import resource, signal, sys
import numpy as np
from pathlib import Path
from eyeground.train.checkpoint import CheckpointError, Checkpoints
shelf = Checkpoints(Path(sys.argv[1]))
shelf.save(step=1, state={"weights": {"a": np.ones(10)}}, progress={}, model={}, best_step=None)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
try:
    shelf.save(step=2, state={"weights": {"a": np.ones(100_000)}}, progress={}, model={}, best_step=None)
except CheckpointError as error:
    print("told:", error)
print("newest", shelf.newest().step)
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert "told: cannot write checkpoint" in done.stdout, done.stderr
    assert "newest 1" in done.stdout
    assert not list(tmp_path.glob(".*.part"))


def kill_while_writing(folder: Path, *, kills: int, seed: int) -> int:
    """Kill a writer again and again; return how many times a sound, whole checkpoint was found after it."""
    rng = random.Random(seed)
    sound, last = 0, 0
    for _ in range(kills):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        time.sleep(0.02 + rng.random() * 0.05)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        found = Checkpoints(folder).newest()
        if found is None:
            continue
        values = {float(value) for array in found.state["weights"].values() for value in np.unique(array)}
        assert values == {float(found.step)}
        assert found.step >= last, "a checkpoint that was there is gone"
        last = found.step
        sound += 1
    return sound


def test_kills_while_a_checkpoint_is_written(tmp_path: Path) -> None:
    assert kill_while_writing(tmp_path, kills=8, seed=0) >= 7


@pytest.mark.slow
def test_200_kills_while_a_checkpoint_is_written(tmp_path: Path) -> None:
    assert kill_while_writing(tmp_path, kills=200, seed=1) >= 199


def test_the_control_a_writer_in_place_is_caught(tmp_path: Path) -> None:
    # A writer without rename leaves a torn checkpoint; the reader must notice, or the test above proves nothing.
    shelf = Checkpoints(tmp_path)
    folder = save(shelf, 1)
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-40])
    with pytest.raises(CheckpointError):
        shelf.read(1)


def test_leftovers_of_a_killed_writer_are_swept(tmp_path: Path) -> None:
    shelf = Checkpoints(tmp_path)
    (tmp_path / ".step-00000009.1.part").mkdir(parents=True)
    save(shelf, 1)
    assert not list(tmp_path.glob(".*.part"))
    assert shelf.steps() == [1]


def test_a_counter_without_dimensions_stays_one(tmp_path: Path) -> None:
    shelf = Checkpoints(tmp_path)
    turned = np.arange(6.0).reshape(2, 3).T
    shelf.save(step=1, state={"weights": {"n": np.array(3), "w": turned}}, progress={}, model={}, best_step=None)
    newest = shelf.newest()
    assert newest is not None
    assert newest.state["weights"]["n"].shape == ()
    assert np.array_equal(newest.state["weights"]["w"], turned)

"""Checkpoints: complete, hash-verified, and either whole on the disk or not there."""

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

State = dict[str, Mapping[str, NDArray[Any]]]

_RECORD = "checkpoint.json"


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be written or read, with what to do about it."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """All of a run at one step.

    Args:
        step: Optimizer steps taken.
        state: Arrays: ``weights`` and ``optimizer``.
        progress: Where the run stood: plain values.
        model: What is needed to predict: spec, classes, preprocessing; plain values.
        folder: Where it was read from.
        sha256: Hash of each part's file.
        best_step: Step of the best checkpoint when this one was written.

    Example:
        >>> Checkpoint(3, {}, {}, {}, Path("."), {}).step
        3

    References:
        Our own.
    """

    step: int
    state: State
    progress: Mapping[str, Any]
    model: Mapping[str, Any]
    folder: Path
    sha256: Mapping[str, str]
    best_step: int | None = None

    def differences(self, model: Mapping[str, Any]) -> list[str]:
        """Name what makes this another task than one at hand.

        Args:
            model: What is stored with the weights now; ``places`` may differ.

        Returns:
            Keys, short values with both.
        """
        now = json.loads(json.dumps({**model, "places": None}))
        return _differences({**self.model, "places": None}, now)


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Name what differs, one level deep, short values with both."""
    told: list[str] = []
    for key in sorted({*before, *now}):
        then, current = before.get(key), now.get(key)
        if then == current:
            continue
        if isinstance(then, Mapping) and isinstance(current, Mapping):
            told += _differences(then, current)
        else:
            both = f" ({then} then, {current} now)"
            told.append(key + (both if len(both) < 80 else ""))
    return list(dict.fromkeys(told))


class Checkpoints:
    """The checkpoints of one run: the newest few, and the best.

    Each is a folder ``step-00000300`` with one safetensors file per part and a record that holds the hash of every file
    and of itself. It is written beside its place, flushed, and renamed: a reader never sees half of one.

    Args:
        folder: Where they live; made when the first is written.
        keep: How many of the newest to keep, at least 1; the best is kept besides.

    Example:
        >>> import tempfile
        >>> shelf = Checkpoints(Path(tempfile.mkdtemp()))
        >>> _ = shelf.save(step=1, state={"weights": {"a": np.ones(2)}}, progress={"epoch": 0}, model={}, best_step=1)
        >>> shelf.newest().state["weights"]["a"]
        array([1., 1.])

    References:
        Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014: write, fsync, rename, fsync the folder.
    """

    def __init__(self, folder: Path, *, keep: int = 2) -> None:
        self.folder = folder
        self._keep = max(1, keep)

    def save(
        self,
        *,
        step: int,
        state: Mapping[str, Mapping[str, NDArray[Any]]],
        progress: Mapping[str, Any],
        model: Mapping[str, Any],
        best_step: int | None,
    ) -> Path:
        """Write a checkpoint, then drop those no longer wanted.

        Args:
            step: Optimizer steps taken; names the folder.
            state: Arrays by part.
            progress: Where the run stands: plain values.
            model: What is needed to predict: plain values.
            best_step: Step of the best checkpoint so far; it is never dropped.

        Returns:
            The new folder.

        Raises:
            CheckpointError: If it cannot be written, most often because the disk is full. Older ones are untouched.
        """
        place = self.folder / f"step-{step:08d}"
        part = self.folder / f".{place.name}.{os.getpid()}.part"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._sweep()
            part.mkdir()
            hashes = {}
            for name, arrays in state.items():
                # Not ascontiguousarray, which gives a counter of shape () the shape (1,).
                content = save({key: np.asarray(arrays[key], order="C") for key in sorted(arrays)})
                _write(part / f"{name}.safetensors", content)
                hashes[name] = hashlib.sha256(content).hexdigest()
            record = {
                "step": step,
                "progress": dict(progress),
                "model": dict(model),
                "best_step": best_step,
                "sha256": hashes,
            }
            _write(part / _RECORD, _sealed(record))
            _flush_folder(part)
            if place.exists():
                # The same step again, after a resume: the bytes may only differ in what is not the run's (timings).
                shutil.rmtree(place)
            part.rename(place)
            _flush_folder(self.folder)
        except OSError as error:
            shutil.rmtree(part, ignore_errors=True)
            wanted = sum(array.nbytes for arrays in state.values() for array in arrays.values())
            raise CheckpointError(
                f"cannot write checkpoint {place}: {error.strerror or error}; it needs {wanted / 2**20:.0f} MiB. "
                "Earlier checkpoints are whole: free some space, then resume"
            ) from error
        self._drop(step, best_step)
        return place

    def steps(self) -> list[int]:
        """Steps that have a checkpoint, oldest first; whether they are sound is not looked at."""
        return sorted(int(path.name.removeprefix("step-")) for path in self.folder.glob("step-*"))

    def read(self, step: int, *, parts: Collection[str] | None = None) -> Checkpoint:
        """Read one checkpoint and verify every byte.

        Args:
            step: Which one.
            parts: Which parts of its state; None = all, empty = only the record.

        Returns:
            The checkpoint.

        Raises:
            CheckpointError: If it is missing, or a single byte differs from what was written.
        """
        folder = self.folder / f"step-{step:08d}"
        record = _unsealed(folder / _RECORD)
        state: State = {}
        for name, expected in record["sha256"].items():
            if parts is not None and name not in parts:
                continue
            path = folder / f"{name}.safetensors"
            try:
                content = path.read_bytes()
            except OSError as error:
                raise CheckpointError(f"{path}: {error.strerror}; use an earlier checkpoint") from error
            if hashlib.sha256(content).hexdigest() != expected:
                raise CheckpointError(f"{path}: its hash is not the one recorded; the file was changed or damaged")
            state[name] = load(content)
        return Checkpoint(
            record["step"], state, record["progress"], record["model"], folder, record["sha256"], record["best_step"]
        )

    def newest(self, *, parts: Collection[str] | None = None) -> Checkpoint | None:
        """Read the newest checkpoint that is sound.

        Args:
            parts: Which parts of its state; None = all, empty = only the record.

        Returns:
            The checkpoint, or None when there is none.

        Raises:
            CheckpointError: If there are some but all are damaged; the message names each.
        """
        faults = []
        for step in reversed(self.steps()):
            try:
                return self.read(step, parts=parts)
            except CheckpointError as error:
                faults.append(str(error))
        if faults:
            raise CheckpointError("no checkpoint is sound: " + "; ".join(faults))
        return None

    def best(self) -> Checkpoint:
        """Read the checkpoint with the best validation score so far.

        Returns:
            The checkpoint with its weights only; the newest when no epoch has been validated.

        Raises:
            CheckpointError: If there is none, or it is damaged.
        """
        newest = self.newest(parts=("weights",))
        if newest is None:
            raise CheckpointError(f"{self.folder}: no checkpoint yet; did the run reach its first one?")
        return newest if newest.best_step in (None, newest.step) else self.read(newest.best_step, parts=("weights",))

    def _drop(self, new: int, best_step: int | None) -> None:
        """Remove what is neither new nor best, and what lies after it: an abandoned future that was found damaged."""
        kept = [step for step in self.steps() if step <= new][-self._keep :]
        for step in self.steps():
            if step not in kept and step != best_step:
                shutil.rmtree(self.folder / f"step-{step:08d}", ignore_errors=True)

    def _sweep(self) -> None:
        """Remove what a killed process left half-written."""
        for path in self.folder.glob(".step-*.part"):
            shutil.rmtree(path, ignore_errors=True)


def _write(path: Path, content: bytes) -> None:
    """Write and push to the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(path: Path) -> None:
    """Push a folder's entries to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sealed(record: Mapping[str, Any]) -> bytes:
    """Write a record with the hash of itself in its first line."""
    body = json.dumps(record, ensure_ascii=False, indent=1, sort_keys=True).encode()
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def _unsealed(path: Path) -> dict[str, Any]:
    """Read a record and verify its hash."""
    try:
        seal, _, body = path.read_bytes().partition(b"\n")
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}; use an earlier checkpoint") from error
    if hashlib.sha256(body).hexdigest().encode() != seal:
        raise CheckpointError(f"{path}: its hash is not the one recorded; the file was changed or damaged")
    record: dict[str, Any] = json.loads(body)
    return record

"""The one door for foreign weights files: opened in a limited child process, let in as checked numbers."""

import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from io import BufferedReader
from math import ceil
from pathlib import Path
from typing import BinaryIO, Literal, cast

from eyeground.model.dialects import from_framework
from eyeground.model.foreign_child import HEAD_BYTES, most_out_bytes
from eyeground.model.formats import safetensors
from eyeground.model.optimization import Framework
from eyeground.model.weights import Tensors, WeightsRefused, canonical, parse_weights

SECONDS = 900.0
# A reader holds a file's bytes, a message parsed from them and one tensor, at worst.
_MEMORY_FACTOR, _MEMORY_BYTES = 3, 2**30
_LONGEST_ANSWER_BYTES = 2**20
_FRAMEWORKS = ("torch", "paddle", "mindspore", "onnx", "safetensors")

ForeignFramework = Literal["torch", "paddle", "mindspore", "onnx", "safetensors"]


class MachineTooSmall(WeightsRefused):
    """A weights file that this machine had no memory, disk or time to open; the file may be sound."""


@dataclass(frozen=True, eq=False)
class Foreign:
    """What a foreign weights file held.

    Args:
        tensors: Arrays by canonical name, in torch's layouts; half precision as float32.
        framework: Who wrote it.
        nest: Where in the file the tensors lay, such as ``"model"``; empty = at its top.
        sha256: Hash of the file as given, hexadecimal.
        left_out: What else lay in the file, in words.

    Example:
        >>> Foreign({}, "torch", "model", "0" * 64, ("epoch (799)",)).nest
        'model'

    References:
        Our own.
    """

    tensors: Tensors
    framework: ForeignFramework
    nest: str
    sha256: str
    left_out: tuple[str, ...]


def open_foreign(path: Path, *, seconds: float = SECONDS, folder: Path | None = None) -> Foreign:
    """Open a weights file that anybody may have written, without running anything of it.

    Args:
        path: A file of torch, Paddle, MindSpore, ONNX or safetensors; the content decides, not the name.
        seconds: Time that opening may take. Unit: s.
        folder: Where the tensors lie for a moment, in a file without a name; None = the folder for temporary files.

    Returns:
        The tensors by canonical name, and what the file was.

    Raises:
        WeightsRefused: If it is no plain file, no weights file, cut or damaged, asks for more than tensors, holds NaN
            or infinity.
        MachineTooSmall: If opening takes more memory or time than its size explains, or fills the disk.

    Example:
        >>> import numpy as np
        >>> from eyeground.model.weights import write_weights
        >>> path = Path(tempfile.mkdtemp()) / "w.safetensors"
        >>> write_weights(path, {"module.cls_token": np.ones((1, 1, 4), np.float32)})
        >>> found = open_foreign(path)
        >>> found.framework, list(found.tensors)
        ('safetensors', ['cls_token'])

    References:
        Our own; why pickles need it: Python's manual, pickle, the warning on its first page.
    """
    with _plain_file(path) as file:
        before = os.fstat(file.fileno())
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        if safetensors.claims(file.read(HEAD_BYTES)):
            # Nothing in it can run.
            contents = safetensors.read(file, name=str(path))
            tensors = {name: tensor.array() for name, tensor in contents.tensors.items()}
            framework, nest, left_out = contents.framework, contents.nest, contents.left_out
        else:
            framework, nest, left_out, tensors = _through_the_child(
                file, path, size=before.st_size, seconds=seconds, folder=folder
            )
        after = os.fstat(file.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise WeightsRefused(f"{path}: was written to while it was read; wait until its download has ended")
    if framework in ("paddle", "mindspore"):
        tensors = from_framework(cast(Framework, framework), tensors)
    try:
        tensors = canonical(tensors)
    except WeightsRefused as refused:
        raise WeightsRefused(f"{path}: {refused}") from None
    return Foreign(tensors, cast(ForeignFramework, framework), nest, sha256, left_out)


def _plain_file(path: Path) -> BufferedReader:
    """Open a file, never wait for one."""
    try:
        # A pipe would make us wait for its writer.
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise WeightsRefused(
            f"{path}: no such weights file; give a file of weights, a run folder, or 'random'"
        ) from None
    except OSError as error:
        raise WeightsRefused(f"{path}: cannot be opened ({error.strerror})") from None
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise WeightsRefused(f"{path}: is no plain file")
    return os.fdopen(number, "rb")


def _through_the_child(
    file: BinaryIO, path: Path, *, size: int, seconds: float, folder: Path | None
) -> tuple[str, str, tuple[str, ...], Tensors]:
    """Let a child of its own open the file, and take its tensors through the checked reader."""
    memory_bytes = _MEMORY_FACTOR * size + _MEMORY_BYTES
    # Files and no pipe: the child's limits count for what it says as well.
    with tempfile.TemporaryFile(dir=folder) as out, tempfile.TemporaryFile(dir=folder) as said:
        words = (file.fileno(), out.fileno(), memory_bytes, ceil(seconds), path.suffix)
        code = _run(path, (file, out, said), tuple(map(str, words)), seconds)
        answer = _answer(said) if code == 0 else None
        match answer:
            case {"refused": str(reason)}:
                raise WeightsRefused(f"{path}: {reason[:2000]}")
            case {"machine": str(reason)}:
                raise MachineTooSmall(f"{path}: {reason[:2000]}")
            case {"full": True}:
                where = folder or "the folder for temporary files (TMPDIR)"
                raise MachineTooSmall(f"{path}: could not be unpacked: {where} is full; free space there")
            case {"framework": str(framework), "nest": str(nest), "left_out": list(left_out)} if (
                framework in _FRAMEWORKS and os.fstat(out.fileno()).st_size <= most_out_bytes(size)
            ):
                out.seek(0)
                tensors = parse_weights(out.read(), source=str(path))
                return framework, nest[:100], tuple(str(each)[:500] for each in left_out), tensors
    how = f" ({signal.Signals(-code).name})" if code < 0 else f" (code {code})" if code else ""
    # Who dies without a word has not said that the file is at fault.
    refusal = MachineTooSmall if code else WeightsRefused
    raise refusal(
        f"{path}: ended the process that opens foreign files{how}; it is damaged, or this machine's memory is full"
    )


def _run(path: Path, files: tuple[BinaryIO, BinaryIO, BinaryIO], words: tuple[str, ...], seconds: float) -> int:
    """Run the child until it ends or its time is over."""
    file, out, said = files
    # OpenBLAS reserves memory for every thread it might start.
    environment = {
        "PYTHONPATH": os.pathsep.join(place or str(Path.cwd()) for place in sys.path),
        "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1", "LC_ALL": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1" if sys.dont_write_bytecode else "",
    }  # fmt: skip
    child = subprocess.Popen(
        [sys.executable, "-m", "eyeground.model.foreign_child", *words],
        pass_fds=(file.fileno(), out.fileno()), env=environment, cwd="/",
        start_new_session=True,  # Ctrl-C is the parent's business
        stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        code = child.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        code = -signal.SIGXCPU
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    if code == -signal.SIGXCPU:
        raise MachineTooSmall(
            f"{path}: took longer than {seconds:g} s to open; it is made to take long, or this machine is busy"
        )
    return code


def _answer(said: BinaryIO) -> object:
    """What the child said; whatever took it over might say anything."""
    said.seek(0)
    try:
        return cast(object, json.loads(said.read(_LONGEST_ANSWER_BYTES)))
    except (ValueError, RecursionError):
        return None

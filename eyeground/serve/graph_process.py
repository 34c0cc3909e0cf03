"""A graph that anybody may have written, running in a process of its own that can open nothing."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from eyeground.model.engine import Images
from eyeground.model.remote import EngineLost
from eyeground.model.weights import WeightsRefused
from eyeground.model.wire import WireCut, receive, send

SECONDS = 600.0
# As in model/onnx/engine.py.
_MEMORY_FACTOR, _MEMORY_BYTES = 6, 6 * 2**30
_WORDS_BYTES = 2**16
# Whoever took the process over may say anything; none of it is more than no message.
_NO_MESSAGE = (WireCut, ValueError, TypeError, LookupError, AttributeError, RecursionError, MemoryError, OverflowError)


class GraphProcess:
    """A foreign graph as a runtime, safe to use from several threads.

    The process starts here and answers many times. One that ends or hangs is an error, and the next call starts
    another. It is handed the graph's files open, so that every one of them runs the same graph.

    Args:
        program: File in ``serve/runtimes`` that runs the graph.
        files: The graph's files, in the order in which the program wants them.
        outputs: Numbers that it must give per image.
        image_px: Side of the square it sees. Unit: px.
        precision: How it computes.
        threads: Processor threads; 0 leaves the program's choice.
        seconds: Time that opening, and each answer, may take. Unit: s.

    Raises:
        WeightsRefused: If the graph is damaged, another one's, or asks for more than a network of its size does.
        EngineLost: If its process ends or hangs.

    Example:
        >>> import tempfile
        >>> from onnx import TensorProto, helper
        >>> ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        ...         for name, shape in (("images", ["N", 3, 8, 8]), ("head", ["N", 3]))]
        >>> nodes = [helper.make_node("GlobalAveragePool", ["images"], ["mean"]),
        ...          helper.make_node("Flatten", ["mean"], ["head"])]
        >>> graph = helper.make_graph(nodes, "means", ends[:1], ends[1:])
        >>> model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "model.onnx"
        ...     _ = path.write_bytes(model.SerializeToString())
        ...     runtime = GraphProcess("onnx", [path], outputs=3, image_px=8, precision="fp32", threads=1)
        >>> runtime.outputs(np.ones((1, 3, 8, 8), np.float32))
        array([[1., 1., 1.]], dtype=float32)
        >>> runtime.close()

    References:
        Our own; docs/street.md says why such files get a process of their own.
    """

    def __init__(
        self,
        program: str,
        files: Sequence[Path],
        *,
        outputs: int,
        image_px: int,
        precision: str,
        threads: int = 0,
        seconds: float = SECONDS,
    ) -> None:
        self._program, self._outputs, self._seconds = program, outputs, seconds
        self._name = str(files[0])
        self._asked = {"outputs": outputs, "image_px": image_px, "precision": precision, "threads": threads}
        self._description = ""
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._closed = False
        self._files = [os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in files]
        self._let_go = weakref.finalize(self, _close, self._files)
        self._memory_bytes = _MEMORY_FACTOR * sum(os.fstat(file).st_size for file in self._files) + _MEMORY_BYTES
        with self._lock:
            self._start()

    @property
    def description(self) -> str:
        """Program, version, device and precision in words."""
        return self._description

    def hurry(self, seconds: float) -> None:
        """Let answers take no longer than this from now on; opening took the time it took.

        Args:
            seconds: Longest time to an answer. Unit: s.
        """
        self._seconds = seconds

    def outputs(self, images: Images) -> NDArray[np.float32]:
        """Give what the network's head gives.

        Args:
            images: Normalized, shape (N, 3, H, W), N at least 1.

        Returns:
            Shape (N, outputs).

        Raises:
            RuntimeError: If it was closed.
            WeightsRefused: If the graph gives anything else.
            EngineLost: If its process ends or hangs; the next call starts another.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError("this runtime was closed; open it again")
            child = self._child or self._start()
            _, found = self._ask(child, {}, {"images": np.asarray(images, np.float32)})
            given = found.get("outputs")
            wanted = (len(images), self._outputs)
            if given is None or given.shape != wanted or given.dtype != np.float32:
                self._end()
                shown = "nothing" if given is None else f"{given.shape} {given.dtype}"
                raise WeightsRefused(f"{self._name}: gives {shown} for {len(images)} images, not {wanted} float32")
            if not np.isfinite(given).all():
                self._end()
                raise WeightsRefused(f"{self._name}: gives numbers that are not finite; use the runtime torch in fp32")
            return given

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._closed = True
            self._end()
            self._let_go()

    def _start(self) -> "_Child":
        """Start a process, and wait until it holds the graph."""
        self._child = child = _Child(self._program, self._files, self._memory_bytes)
        words, _ = self._ask(child, self._asked, {})
        self._description = str(words.get("ready"))[:200]
        return child

    def _ask(
        self, child: "_Child", words: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
    ) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Send a request, wait for the answer; after anything but an answer the process is ended."""
        count = len(next(iter(arrays.values()), ()))
        try:
            answer, found = child.ask(words, arrays, self._seconds, _WORDS_BYTES + 4 * self._outputs * count)
            refused = answer.get("refused")
        except _TooLate as error:
            self._end()
            raise EngineLost(
                f"{self._name}: {self._program} did not answer within {self._seconds:g} s, and its process was ended; "
                "the next call starts another"
            ) from error
        except _NO_MESSAGE as error:
            how = child.last_words()
            self._end()
            raise EngineLost(
                f"{self._name}: the process that runs it in {self._program} ended ({how}): a damaged graph, or too "
                "little memory; the next call starts another"
            ) from error
        except BaseException:  # whoever asks next must not get this answer
            self._end()
            raise
        if refused is not None:
            self._end()
            raise WeightsRefused(f"{self._name}: {str(refused)[:400]}")
        return answer, found

    def _end(self) -> None:
        """End the process."""
        child, self._child = self._child, None
        if child:
            child.end()


class _TooLate(Exception):
    """The other side took too long."""


class _Child:
    """One process with the two pipes to it."""

    def __init__(self, program: str, files: Sequence[int], memory_bytes: int) -> None:
        request, to = os.pipe()
        back, reply = os.pipe()
        # OpenBLAS reserves memory for every thread it might start.
        environment = {
            "PYTHONPATH": os.pathsep.join(place or str(Path.cwd()) for place in sys.path),
            "OPENBLAS_NUM_THREADS": "1", "LC_ALL": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1" if sys.dont_write_bytecode else "",
        }  # fmt: skip
        words = (program, *map(str, (memory_bytes, request, reply, *files)))
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "eyeground.serve.graph_child", *words],
                pass_fds=(request, reply, *files), env=environment, cwd="/",
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is the main process's business
            )  # fmt: skip
        except OSError:
            _close((to, back))
            raise
        finally:
            _close((request, reply))
        os.set_blocking(to, False)
        self._stream = cast(BinaryIO, _Pipes(to, back))
        # When nobody holds it any more, or at the program's end.
        self.end = weakref.finalize(self, _stop, self._process, (to, back))

    def ask(
        self, words: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], seconds: float, most_bytes: int
    ) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Send a request, wait so long for an answer of at most so many bytes."""
        pipes = cast(_Pipes, self._stream)
        pipes.deadline, pipes.left_bytes = time.monotonic() + seconds, most_bytes
        send(self._stream, words, arrays)
        return receive(self._stream)

    def last_words(self) -> str:
        """Say how it ended."""
        try:
            code = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            return "what it said is no answer"
        return f"code {code}" if code >= 0 else signal.Signals(-code).name


class _Pipes:
    """Two pipes as a stream that gives up at a deadline, and after so many bytes of an answer."""

    def __init__(self, to: int, back: int) -> None:
        self._to, self._back = to, back
        self.deadline, self.left_bytes = 0.0, 0

    def write(self, content: bytes | memoryview) -> None:
        """Write all of it."""
        left = memoryview(content)
        while left:
            self._wait(self._to, select.POLLOUT)
            with contextlib.suppress(BlockingIOError):
                left = left[os.write(self._to, left) :]

    def flush(self) -> None:
        """Nothing is kept back."""

    def readinto(self, place: memoryview) -> int:
        """Read some of an answer."""
        if len(place) > self.left_bytes:
            raise WireCut("the answer is far too long")
        self._wait(self._back, select.POLLIN)
        got = os.readv(self._back, [place])
        self.left_bytes -= got
        return got

    def _wait(self, number: int, event: int) -> None:
        """Wait until a pipe is ready."""
        poll = select.poll()
        poll.register(number, event)
        left = self.deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise _TooLate


def _stop(process: "subprocess.Popen[bytes]", pipes: Sequence[int]) -> None:
    """End a process, and close the pipes to it."""
    if process.poll() is None:
        process.kill()
    process.wait()
    _close(pipes)


def _close(numbers: Sequence[int]) -> None:
    """Close descriptors."""
    for number in numbers:
        os.close(number)

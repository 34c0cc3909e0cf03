"""Child processes that decode: started when needed, used for many images, killed when one takes too long."""

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeground.images.refusal import ImageRefused

_START_SECONDS = 120.0
_JOBS_PER_CHILD = 5000  # then a fresh one, so that nothing a library leaks adds up
_KEEP_BYTES = 32 * 2**20
_LONGEST_ANSWER_BYTES = 16 * 2**20


class Children:
    """Idle children of one kind; each job takes one, or starts one, and puts it back.

    Safe to use from several threads. A forked process starts children of its own.

    Args:
        readers: Names of the readers they load.

    Example:
        >>> Children("photo").do({"job": "look"}, b"GIF89a", seconds=9)
        {'refused': ['format_not_allowed', 'is GIF, which is not read; convert it first']}

    References:
        Our own.
    """

    def __init__(self, *readers: str) -> None:
        self._readers = readers
        self._lock = threading.Lock()
        self._idle: list[_Child] = []
        os.register_at_fork(after_in_child=self._forget)
        atexit.register(self.close)

    def do(self, job: dict[str, Any], data: bytes, *, seconds: float) -> dict[str, Any]:
        """Let a child do one job that needs no pixels back.

        Args:
            job: What to do.
            data: The image file.
            seconds: Time it may take. Unit: s.

        Returns:
            The child's answer.

        Raises:
            ImageRefused: With an empty source, if the child took too long or died.
            RuntimeError: If no child could be started.
        """
        return self.do_pixels(job, data, seconds=seconds)[0]

    def do_pixels(
        self, job: dict[str, Any], data: bytes, *, seconds: float
    ) -> tuple[dict[str, Any], NDArray[np.uint8] | None]:
        """Let a child do one job.

        Args:
            job: What to do.
            data: The image file.
            seconds: Time it may take. Unit: s.

        Returns:
            The child's answer and, if it is an image, its pixels, shape (H, W, 3).

        Raises:
            ImageRefused: With an empty source, if the child took too long or died.
            RuntimeError: If no child could be started.
        """
        with self._lock:
            child = self._idle.pop() if self._idle else None
        if child is not None and not child.alive():  # the system may have ended it; no image is to blame
            child.kill()
            child = None
        child = child or _Child(self._readers)
        try:
            answer = child.ask(job, data, seconds)
            pixels = child.pixels(answer["image"]["shape"], job["max_pixels"]) if "image" in answer else None
            # After a full memory it may be in any state.
            sound = child.jobs < _JOBS_PER_CHILD and answer.get("refused", [""])[0] != "too_much_memory"
        except BaseException:
            child.kill()
            raise
        with self._lock:
            if sound and len(self._idle) < (os.cpu_count() or 1):
                self._idle.append(child)
                return answer, pixels
        child.kill()
        return answer, pixels

    def close(self) -> None:
        """End the idle children."""
        with self._lock:
            while self._idle:
                self._idle.pop().kill()

    def _forget(self) -> None:
        """In a forked process: the children are the parent's."""
        for child in self._idle:
            child.disown()
        self._idle = []
        self._lock = threading.Lock()


class _Child:
    """One child process."""

    def __init__(self, readers: tuple[str, ...]) -> None:
        self.jobs = 0
        self._data, self._pixels = _memory_file(), _memory_file()
        job, self._jobs = os.pipe()
        self._answers, answer = os.pipe()
        passed = (job, answer, self._data, self._pixels)
        # OpenBLAS reserves memory for every thread it might start.
        environment = {
            "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),  # noqa: PTH109
            # Freed memory is kept for the next image: fresh pages cost more than decoding.
            "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
            "MALLOC_TRIM_THRESHOLD_": str(256 * 2**20),
            "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1", "LC_ALL": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1" if sys.dont_write_bytecode else "",
        }  # fmt: skip
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "eyeground.images.child", *map(str, passed), *readers],
                pass_fds=passed, env=environment, cwd="/",
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is the parent's business
            )  # fmt: skip
        finally:
            os.close(job)
            os.close(answer)
        try:
            ready = self._answer(time.monotonic() + _START_SECONDS) == {"ready": True}
        except ImageRefused:
            ready = False
        if not ready:
            self.kill()
            raise RuntimeError(
                f"the process that decodes images did not start; try: {sys.executable} -m eyeground.images.child"
            )

    def alive(self) -> bool:
        """Say whether it still runs."""
        return self._process.poll() is None

    def ask(self, job: dict[str, Any], data: bytes, seconds: float) -> dict[str, Any]:
        """Hand over a file, wait for the answer."""
        deadline = time.monotonic() + seconds
        self.jobs += 1
        done = 0
        while done < len(data):
            done += os.pwrite(self._data, memoryview(data)[done:], done)
        try:
            os.write(self._jobs, json.dumps({**job, "bytes": len(data)}).encode() + b"\n")
        except BrokenPipeError:
            raise self._dead() from None
        answer = self._answer(deadline)
        if len(data) > _KEEP_BYTES:
            os.ftruncate(self._data, 0)
        return answer

    def pixels(self, shape: tuple[int, int], max_pixels: int) -> NDArray[np.uint8]:
        """Fetch what was decoded."""
        height, width = (int(side) for side in shape)
        if min(height, width) < 1 or height * width > max_pixels:
            raise ImageRefused("broken", "", f"decoded to {width}x{height} pixels, which cannot be; export it again")
        pixels = np.empty((height, width, 3), np.uint8)
        view, done = memoryview(pixels.data).cast("B"), 0
        while done < len(view):
            got = os.preadv(self._pixels, [view[done:]], done)
            if not got:
                raise ImageRefused("crashed", "", "could not be decoded: fewer pixels came back than were promised")
            done += got
        if pixels.nbytes > _KEEP_BYTES:
            os.ftruncate(self._pixels, 0)
        return pixels

    def _answer(self, deadline: float) -> dict[str, Any]:
        """Read one line, in time."""
        line = b""
        while not line.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._answers], [], [], left)[0]:
                raise ImageRefused("too_slow", "", "took too long to decode; it is damaged, or export it smaller")
            part = os.read(self._answers, 2**16)
            if not part or len(line) > _LONGEST_ANSWER_BYTES:
                raise self._dead()
            line += part
        answer = json.loads(line)
        if not isinstance(answer, dict):
            raise self._dead()
        return answer

    def _dead(self) -> ImageRefused:
        """Say how it died."""
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            code = 0
        how = signal.Signals(-code).name if code < 0 else f"code {code}"
        return ImageRefused("crashed", "", f"ended the process that decodes ({how}); it is damaged, export it again")

    def kill(self) -> None:
        """End it, now."""
        self._process.kill()
        self._process.wait()
        self.disown()

    def disown(self) -> None:
        """Let go of its pipes and memory."""
        self._process.returncode = self._process.returncode or 0  # a forked process has no child to wait for
        for fd in (self._data, self._pixels, self._jobs, self._answers):
            os.close(fd)


def _memory_file() -> int:
    """A file that lies in memory where the system has such."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("eyeground")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())

"""Processes that belong together: started, started again when they end, and stopped together."""

import ctypes
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from eyeground.cli.exit_codes import BAD_INPUT

_LOOK_EVERY_S: Final = 0.1
_SHORTEST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 30.0
_SOUND_S: Final = 60.0  # who has lived that long is started again at once
_PR_SET_PDEATHSIG: Final = 1
_PROGRAM: Final = "from eyeground.cli.main import main; main()"


@dataclass
class _Child:
    """One place in the family, whoever holds it."""

    words: tuple[str, ...]
    process: "subprocess.Popen[bytes] | None" = None
    began: float = 0.0
    pause_s: float = _SHORTEST_PAUSE_S
    again_at: float = 0.0


class Processes:
    """Commands of this program that run side by side.

    Args:
        commands: What each does, by a name for people: words behind ``eyeground``.
        told: Is told what happens, a line at a time.
        log: File that their standard error is added to; None = this process's own.
        grace_s: How long they may take to end before they are killed. Unit: s.

    Example:
        >>> Processes({"a": ["--help"]}, told=print).pids()
        {}

    References:
        Our own.
    """

    def __init__(
        self,
        commands: Mapping[str, Sequence[str]],
        *,
        told: Callable[[str], None],
        log: Path | None = None,
        grace_s: float = 30.0,
    ) -> None:
        self._children = {name: _Child(tuple(words)) for name, words in commands.items()}
        self._told, self._log, self._grace_s = told, log, grace_s
        self._stopping = False

    def pids(self) -> dict[str, int]:
        """Numbers of those that run now, by name."""
        return {name: each.process.pid for name, each in self._children.items() if each.process}

    def stop(self) -> None:
        """Ask all to end; ``run`` returns when they have."""
        self._stopping = True

    def run(self, *, started: Callable[[], bool] = lambda: True) -> int:
        """Keep all running until this process is asked to stop.

        Args:
            started: Is asked now and then until it says yes.

        Returns:
            0 when asked to stop and all did in time, 1 when some had to be killed, 2 when one said that what it was
            told cannot be used: starting it again would not help.
        """
        code = None
        waiting = True
        with _signals(self.stop):
            try:
                while not self._stopping and code is None:
                    for name, child in self._children.items():
                        code = code or self._tend(name, child)
                    waiting = waiting and not started()
                    time.sleep(_LOOK_EVERY_S)
            finally:
                killed = self._end()
        return code or (1 if killed else 0)

    def _tend(self, name: str, child: _Child) -> int | None:
        """Start it if it does not run; a number if all must end."""
        if child.process is None:
            if time.monotonic() >= child.again_at:
                self._start(child)
            return None
        code = child.process.poll()
        if code is None:
            return None
        child.process = None
        if code == BAD_INPUT:
            self._told(f"{name} cannot run as it is told{self._last_words()}")
            return BAD_INPUT
        lived = time.monotonic() - child.began
        child.pause_s = _SHORTEST_PAUSE_S if lived >= _SOUND_S else min(_LONGEST_PAUSE_S, child.pause_s * 2)
        child.again_at = time.monotonic() + child.pause_s
        self._told(f"{name} ended with {code}; it is started again in {child.pause_s:.0f} s")
        return None

    def _start(self, child: _Child) -> None:
        """Start it, out of reach of this terminal's Ctrl-C: it is this process that tells it to end."""
        with self._errors() as errors:
            child.process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, *child.words],
                stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, process_group=0, preexec_fn=_end_with_parent,
            )  # fmt: skip
        child.began = time.monotonic()

    @contextmanager
    def _errors(self) -> Iterator[IO[bytes] | None]:
        """Where a child's words go."""
        if self._log is None:
            yield sys.stderr.buffer if hasattr(sys.stderr, "buffer") else None
            return
        with self._log.open("ab") as file:
            self._log.chmod(0o600)
            yield file

    def _last_words(self) -> str:
        """The error that a child ended with, where it was written to a file."""
        if self._log is None:
            return ""
        lines = self._log.read_text("utf-8", errors="replace")[-20_000:].splitlines()
        last = max((place for place, line in enumerate(lines) if line.startswith("error: ")), default=None)
        return "" if last is None else ":\n" + "\n".join(lines[last:])

    def _end(self) -> list[str]:
        """End all; names of those that had to be killed."""
        running = {name: each.process for name, each in self._children.items() if each.process is not None}
        for process in running.values():
            process.terminate()
        ends = time.monotonic() + self._grace_s
        killed = []
        for name, process in running.items():
            try:
                process.wait(max(0.0, ends - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                killed.append(name)
                self._told(f"{name} did not end in time and was killed; what it held is done by another")
        return killed


@contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM are a wish to stop."""
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = {kind: signal.signal(kind, lambda *_: stop()) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def _end_with_parent() -> None:
    """In the child: be asked to stop when the parent is killed (Linux; elsewhere the child goes on)."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)

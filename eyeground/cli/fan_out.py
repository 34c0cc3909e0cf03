"""Work spread over Ray: this machine's, begun and ended by the command, or a cluster that runs already."""

import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import version
from itertools import islice
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import IO, Any, Final, NoReturn, TypeVar

from eyeground.cli.config import ConfigError
from eyeground.data.spread import Spread, never

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")

_SOCKET_PATH_CHARS: Final = 40  # Ray puts some 65 characters behind it, and a socket's path has 107 at most
_CONNECT_SECONDS: Final = 5.0
_BEGIN_SECONDS: Final = 120.0  # Ray gives up some of its own attempts after 30, others after 60
_END_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.5
_DRIVER: Final = "from eyeground.cli.ray_driver import _serve; _serve()"
_SETTINGS: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # would send the working folder, images and all, to the cluster
    "RAY_METRICS_EXPORT_ENABLED": "0",
    "RAY_DISABLE_DOCKER_CPU_WARNING": "1",
    "RAY_task_oom_retries": "3",  # a worker ended for want of memory; Ray itself would try for ever
}
# Of our own Ray: what is slow to answer on this machine is not dead. Who dies closes its sockets, and that is seen.
_PATIENCE: Final = {"RAY_health_check_timeout_ms": "600000", "RAY_worker_register_timeout_seconds": "600"}


class ClusterUnfit(RuntimeError):
    """A cluster that is not there, or whose nodes cannot do the work.

    References:
        Our own.
    """


class WorkersLost(RuntimeError):
    """A share of the work whose workers died again and again, or a cluster that is gone.

    References:
        Our own.
    """


@contextmanager
def fanned_out(
    on: str | None,
    *,
    workers: int = 0,
    reads: Sequence[Path] = (),
    device: str = "cpu",
    threads: int = 0,
) -> Iterator[Spread | None]:
    """Find those who work elsewhere, for as long as the context lasts.

    Args:
        on: ``ray`` = this machine's, begun and ended here; ``ray://host:port`` = a cluster, through Ray Client;
            ``host:port`` = a cluster that this machine is a node of; None = nobody.
        workers: Shares worked on at once; 0 = as many as there are cores for.
        reads: Files and folders that every worker must be able to read.
        device: Where a worker computes: ``cuda`` gives each a GPU, ``auto`` too where there is one.
        threads: Processor threads of a worker; 0 = one.

    Yields:
        Who takes the work; None for nobody.

    Raises:
        ConfigError: If the words do not go together.
        ClusterUnfit: If the cluster is not there.
        ModuleNotFoundError: If Ray is not installed.

    Example:
        >>> with fanned_out(None) as spread:
        ...     print(spread)
        None

    References:
        https://docs.ray.io/en/latest/cluster/running-applications/job-submission/ray-client.html
    """
    if on is None:
        if workers:
            raise ConfigError("--workers belongs to --on: without it this process does the work")
        yield None
        return
    if on != "ray" and not re.fullmatch(r"(ray://)?[^\s:/]+:\d{1,5}", on):
        raise ConfigError(f"--on {on}: give ray for this machine, or the address of a cluster: ray://host:port")
    pickling: Any = import_module("ray").cloudpickle
    if on != "ray":
        _reach(on)
    with _driver(on, workers=workers, device=device, threads=max(1, threads)) as driver:
        yield _Workers(driver, pickling, tuple(map(str, reads)))


@contextmanager
def _driver(on: str, **wishes: Any) -> Iterator["_Driver"]:
    """Begin the process that speaks with Ray, and end it."""
    env = os.environ | _SETTINGS
    if on == "ray":
        # A token of its own: without one, others could use our Ray; left to itself, Ray writes one into the home.
        env |= _PATIENCE | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    mine, its = Pipe()
    with (
        tempfile.TemporaryDirectory(prefix="ray-", dir=_short_folder(), ignore_cleanup_errors=True) as folder,
        tempfile.TemporaryFile() as told,
        mine,
    ):
        with its:
            process = subprocess.Popen(
                [sys.executable, "-c", _DRIVER, str(its.fileno())],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=told, env=env, pass_fds=[its.fileno()],
            )  # fmt: skip
        hangs: tuple[type[BaseException], ...] = (BaseException,)  # then it waits in Ray for what may never come
        try:
            driver = _Driver(on, mine, told)
            driver.begin(folder=folder, **wishes)
            hangs = (ClusterUnfit, WorkersLost)
            yield driver
        except hangs:
            process.kill()  # what it began ends with it
            raise
        finally:
            mine.close()  # tells it to end
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_SECONDS)
            process.kill()
            process.wait()


@dataclass
class _Driver:
    """The process that speaks with Ray, as this one sees it.

    Ray ends the process that uses it, without a word to Python, where its own processes die or do not answer.
    """

    on: str
    connection: Connection
    told: IO[bytes]
    most: int = 1  # shares that are given out at a time
    _number: int = 0
    _answers: dict[int, tuple[str, Any]] = field(default_factory=dict)
    _open: set[int] = field(default_factory=set)

    def begin(self, **wishes: Any) -> None:
        """Wait until Ray is there."""
        try:
            self.connection.send({"on": self.on, **wishes})
            if not self.connection.poll(_BEGIN_SECONDS):
                raise ClusterUnfit(f"--on {self.on}: did not answer as Ray does within {_BEGIN_SECONDS:.0f} s")
            kind, words = self.connection.recv()
        except (EOFError, OSError):
            kind, words = "failed", f"Ray did not begin ({self._last_words()})"
        if kind == "failed":
            raise ClusterUnfit(f"--on {self.on}: {words}")
        self.most = words

    def keep(self, key: int, work: bytes) -> None:
        """Send what all shares of some work need."""
        self._send("work", key, work)

    def ask(self, key: int, share: bytes) -> int:
        """Give out a share, and its number."""
        self._number += 1
        self._open.add(self._number)
        self._send("share", self._number, key, share)
        return self._number

    def answer(self, number: int, stop_wanted: Callable[[], bool]) -> tuple[str, Any] | None:
        """Wait for the answer to a share; None if somebody wants to stop."""
        while number not in self._answers:
            try:
                if self.connection.poll(_POLL_SECONDS):
                    kind, of, content = self.connection.recv()
                    if kind == "most":
                        self.most = content
                    elif of in self._open:
                        self._answers[of] = kind, content
            except (EOFError, OSError) as error:
                self._gone(error)
            if number not in self._answers and stop_wanted():
                return None
        self._open.discard(number)
        return self._answers.pop(number)

    def drop(self, numbers: Iterable[int]) -> None:
        """Let shares be ended."""
        for number in numbers:
            self._open.discard(number)
            self._answers.pop(number, None)
            with suppress(OSError):
                self.connection.send(("drop", number))

    def _send(self, *message: object) -> None:
        """Send a message; its answer comes later."""
        try:
            self.connection.send(message)
        except OSError as error:
            self._gone(error)

    def _gone(self, error: Exception) -> NoReturn:
        """Say that Ray has ended itself."""
        raise WorkersLost(
            f"--on {self.on}: Ray has ended itself ({self._last_words()}). What is done is kept where the command "
            "keeps it: look for memory that is full, and run the command again"
        ) from error

    def _last_words(self) -> str:
        """What Ray wrote before it died, without the place in its code."""
        self.told.seek(0)
        said = self.told.read().decode(errors="replace").splitlines()
        lines = [line for line in said if line.strip() and ":info_message:" not in line]
        return re.sub(r"^\[[^]]*\] \S+: ", "", lines[-1]) if lines else "it said nothing"


@dataclass
class _Workers:
    """Ray's workers, as ``Spread`` has it."""

    driver: _Driver
    pickling: Any
    reads: tuple[str, ...]
    _sent: dict[int, object] = field(default_factory=dict)  # work that travelled, by its id

    def __call__(
        self,
        items: Iterable[_Item],
        work: Callable[[_Item], _Answer],
        *,
        share: int = 1,
        stop_wanted: Callable[[], bool] = never,
    ) -> Iterator[_Answer]:
        if id(work) not in self._sent:
            terms = {"on": self.driver.on, "folder": str(Path.cwd()), "reads": self.reads}
            terms["version_there"] = version("eyeground")
            self.driver.keep(id(work), self.pickling.dumps((terms, self.pickling.dumps(work))))
            self._sent[id(work)] = work
        queue = iter(items)
        waiting: deque[int] = deque()
        stop: Callable[[], bool] = never
        try:
            while True:
                while len(waiting) < self.driver.most and (some := list(islice(queue, share))):
                    waiting.append(self.driver.ask(id(work), self.pickling.dumps(some)))
                if not waiting or stop() or (found := self.driver.answer(waiting[0], stop_wanted)) is None:
                    return
                waiting.popleft()
                yield from self._read(*found)
                stop = stop_wanted
        finally:
            self.driver.drop(waiting)

    def _read(self, kind: str, content: Any) -> list[Any]:
        """Take an answer out of its wrapping, or raise what went wrong."""
        on = self.driver.on
        if kind == "lost":
            raise WorkersLost(
                f"--on {on}: {content}. What is done is kept where the command keeps it: look for memory that is full, "
                "and run the command again"
            )
        if kind == "unfit":
            raise ClusterUnfit(
                f"--on {on}: a worker cannot begin ({content}); install the same eyeground on every node"
            )
        kind, *found = self.pickling.loads(content)
        if kind == "error":
            raise _put_together(*found)
        return list(found[0])


def _put_together(
    kind: type[Exception], given: tuple[Any, ...], args: tuple[Any, ...], known: dict[str, Any]
) -> Exception:
    """Give an error as the worker raised it."""
    made = kind.__new__(kind, *given)
    made.args = args
    vars(made).update(known)
    return made


def _short_folder() -> str | None:
    """Where Ray's sockets fit: the system's place for such files unless its path is too long."""
    return None if len(tempfile.gettempdir()) <= _SOCKET_PATH_CHARS - len("/ray-12345678") else "/tmp"  # noqa: S108


def _reach(on: str) -> None:
    """Knock, so that a wrong address is told within seconds."""
    host, _, port = on.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ClusterUnfit(
            f"--on {on}: nobody answers there ({error}). Check the address and the firewall, and that the cluster runs "
            "('ray status' on its head); Ray Client listens on port 10001 unless told otherwise"
        ) from error

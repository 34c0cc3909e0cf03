"""Work spread over Ray: this machine's, begun and ended by the command, or a cluster that runs already."""

import logging
import os
import platform
import re
import socket
import tempfile
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

from eyeground.cli.config import ConfigError
from eyeground.cli.exit_codes import kind_of
from eyeground.data.spread import Spread, never

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")

_TRIES: Final = 3  # again, after the worker that had a share died
_AHEAD: Final = 4  # shares a worker: enough that none waits for the driver
_STORE_BYTES: Final = 2**27  # answers are small, and many machines have little shared memory
_SOCKET_PATH_CHARS: Final = 40  # Ray puts some 65 characters behind it, and a socket's path has 107 at most
_CONNECT_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.5
# Ray asks for these when it is imported.
_QUIET: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # would send the working folder, images and all, to the cluster
    "RAY_METRICS_EXPORT_ENABLED": "0",
    "RAY_DISABLE_DOCKER_CPU_WARNING": "1",
}


class ClusterUnfit(RuntimeError):
    """A cluster that is not there, or whose nodes cannot do the work.

    References:
        Our own.
    """


class WorkersLost(RuntimeError):
    """A share of the work whose workers died again and again.

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
        Who takes the work; None for nobody. Until the context ends, nothing reaches stdout.

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
    os.environ.update(_QUIET)
    ray: Any = import_module("ray")
    with ExitStack() as stack:
        # Ray writes there that a worker died, where a program waits for one JSON line.
        stack.enter_context(redirect_stdout(stack.enter_context(Path(os.devnull).open("w"))))
        if on == "ray":
            folder = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="ray-", dir=_short_folder(), ignore_cleanup_errors=True)
            )
            count = (workers or max(1, (os.cpu_count() or 1) // max(1, threads))) * max(1, threads)
            place: dict[str, Any] = {
                "address": "local",
                "num_cpus": count,
                "include_dashboard": False,
                "object_store_memory": _STORE_BYTES,
                "_temp_dir": folder,
            }
        else:
            _reach(on)
            place = {"address": on}
        try:
            stack.callback(ray.shutdown)
            ray.init(**place, log_to_driver=False, logging_level=logging.CRITICAL)
            there = ray.cluster_resources()
        except Exception as error:
            # Ray has a dozen kinds of error here, of its own, of gRPC and of the system.
            told = str(error).strip().splitlines() or [type(error).__name__]
            # Ray tells a token that is missing as a connection that does not come about.
            token = (
                "" if on == "ray" else "; if the cluster asks for a token, set RAY_AUTH_MODE=token and give Ray its own"
            )
            raise ClusterUnfit(f"--on {on}: Ray did not begin ({told[-1]}){token}") from error
        gpus = int(device == "cuda" or (device == "auto" and there.get("GPU", 0) >= 1))
        if gpus > there.get("GPU", 0):
            raise ClusterUnfit(f"--on {on}: no node has a GPU; choose another device")
        if there.get("CPU", 0) < max(1, threads):
            raise ClusterUnfit(f"--on {on}: has {there.get('CPU', 0):g} cores, and a worker takes {max(1, threads)}")
        yield _Workers(ray, on, most=workers, reads=tuple(map(str, reads)), gpus=gpus, cpus=max(1, threads))


@dataclass(frozen=True)
class _Workers:
    """Ray's workers, as ``Spread`` has it."""

    ray: Any
    on: str
    most: int
    reads: tuple[str, ...]
    gpus: int
    cpus: int
    _sent: dict[int, tuple[object, Any]] = field(default_factory=dict)  # work that travelled: by its id, with itself

    def __call__(
        self,
        items: Iterable[_Item],
        work: Callable[[_Item], _Answer],
        *,
        share: int = 1,
        stop_wanted: Callable[[], bool] = never,
    ) -> Iterator[_Answer]:
        if id(work) not in self._sent:
            mine = _Work(work, str(Path.cwd()), self.reads, version("eyeground"), self.on)
            self._sent[id(work)] = (work, self.ray.put(mine))
        # In a list: Ray would otherwise bring the work itself to every share, not once to every worker.
        kept = [self._sent[id(work)][1]]
        do = self.ray.remote(
            name="share", num_cpus=self.cpus, num_gpus=self.gpus, max_retries=_TRIES, max_calls=0
        )(_do_share)  # fmt: skip
        queue = iter(items)
        waiting: deque[Any] = deque()
        try:
            while True:
                most = self._most_waiting()
                while len(waiting) < most and (some := list(islice(queue, share))):
                    waiting.append(do.remote(kept, some))
                if not waiting:
                    return
                answers = self._answers(waiting[0], stop_wanted)
                if answers is None:
                    return
                waiting.popleft()
                yield from answers
        finally:
            for left in waiting:
                with suppress(Exception):  # the cluster may be gone
                    self.ray.cancel(left, force=True)

    def _most_waiting(self) -> int:
        """How many shares are given out: a few for each worker, or one where their number is limited."""
        if self.most and self.on != "ray":
            return self.most
        there = self.ray.cluster_resources()
        slots = there.get("CPU", 1) // self.cpus
        if self.gpus:
            slots = min(slots, there.get("GPU", 1))
        return _AHEAD * max(1, int(slots))

    def _answers(self, share: Any, stop_wanted: Callable[[], bool]) -> list[Any] | None:
        """Wait for a share; None if somebody wants to stop."""
        errors = self.ray.exceptions
        try:
            while not self.ray.wait([share], timeout=_POLL_SECONDS)[0]:
                if stop_wanted():
                    return None
            found = self.ray.get(share)
        except errors.RayTaskError as error:
            raise ClusterUnfit(
                f"--on {self.on}: a worker cannot begin ({error.cause or error}); install the same eyeground on every "
                "node"
            ) from error
        except (errors.RayError, ConnectionError) as error:
            raise WorkersLost(
                f"--on {self.on}: the workers of a share died {_TRIES + 1} times, or the cluster is gone "
                f"({type(error).__name__}). What is done is kept where the command keeps it: look for memory that is "
                "full, and run the command again"
            ) from error
        if isinstance(found, _Failure):
            raise found.error()
        return list(found)


@dataclass(frozen=True)
class _Work:
    """What a worker needs to begin."""

    work: Callable[[Any], Any]
    folder: str
    reads: tuple[str, ...]
    version: str
    on: str

    def begin(self) -> Callable[[Any], Any]:
        """Look around on the node, and give the work."""
        from eyeground.cli.console import console

        node = platform.node()
        if (own := version("eyeground")) != self.version:
            raise ClusterUnfit(f"--on {self.on}: node {node} has eyeground {own}, here is {self.version}")
        with suppress(OSError):  # then only whole paths are found, and the others are named
            os.chdir(self.folder)
        unseen = [path for path in self.reads if not os.access(Path(self.folder, path), os.R_OK)]
        if unseen:
            raise ClusterUnfit(
                f"--on {self.on}: node {node} cannot read {', '.join(unseen)}; images, models and results must lie on "
                "a file system that all nodes share, under the same path"
            )
        console.quiet = True  # names of files must not reach Ray's logs
        return self.work


@dataclass(frozen=True)
class _Failure:
    """An error of the work itself: it is no death of a worker, so it is not tried again, and Ray does not log it."""

    kind: type[Exception]
    given: tuple[Any, ...]
    args: tuple[Any, ...]
    known: dict[str, Any]

    @classmethod
    def of(cls, error: Exception) -> "_Failure":
        """Take an error apart: many cannot be pickled, for they are made from other words than they keep."""
        if kind_of(error) is None:  # a fault of ours: where it happened is told too
            error.add_note("on a worker:\n" + "".join(traceback.format_tb(error.__traceback__)))
        # An OSError keeps its file out of args, and gives it here.
        reduced = error.__reduce__()
        return cls(type(error), reduced[1] if isinstance(reduced, tuple) else (), error.args, vars(error).copy())

    def error(self) -> Exception:
        """Give the error as the worker raised it."""
        made = self.kind.__new__(self.kind, *self.given)
        made.args = self.args
        vars(made).update(self.known)
        return made


# What this worker does, by the name of what Ray keeps: a network is made once a worker.
_HELD: dict[str, Callable[[Any], Any]] = {}


def _do_share(kept: list[Any], share: list[Any]) -> list[Any] | _Failure:
    """Do a share, on a worker."""
    import ray

    name = kept[0].hex()
    if name not in _HELD:
        _HELD.clear()
        given = ray.get(kept[0])
        try:
            _HELD[name] = given.begin()
        except Exception as error:  # noqa: BLE001 - goes to the driver
            return _Failure.of(error)
    try:
        return [_HELD[name](item) for item in share]
    except Exception as error:  # noqa: BLE001 - goes to the driver
        return _Failure.of(error)


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

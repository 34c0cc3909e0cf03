"""Ray's driver, in a process of its own, and what its workers do: Ray may end this process, and not the command's."""

import logging
import os
import platform
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import import_module
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, Final

from eyeground.cli.exit_codes import kind_of
from eyeground.cli.fan_out import ClusterUnfit

_TRIES: Final = 3  # again, after the worker that had a share died
_AHEAD: Final = 4  # shares a worker: enough that none waits for the command
_STORE_BYTES: Final = 2**27  # answers are small, and many machines have little shared memory
_RECOUNT_SECONDS: Final = 5.0


def _serve() -> None:
    """Give shares to Ray, and their answers to the command, until that closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the command's, which then closes the connection
    with Connection(int(sys.argv[1])) as command:
        wishes = command.recv()
        try:
            driver = _Driver(**wishes)
        except ClusterUnfit as error:
            command.send(("failed", str(error)))
            return
        command.send(("ready", driver.most))
        Thread(target=driver.post, args=(command,), daemon=True).start()
        with suppress(EOFError, OSError):
            while True:
                driver.obey(*command.recv())
        driver.end()
        folder, deadline = Path(wishes["folder"]), time.monotonic() + _RECOUNT_SECONDS
        while folder.exists() and time.monotonic() < deadline:  # what Ray began writes there until it has ended, too
            shutil.rmtree(folder, ignore_errors=True)  # the command may have been killed
            time.sleep(0.1)


class _Driver:
    """Speaks with Ray."""

    def __init__(self, *, on: str, folder: str, workers: int, device: str, threads: int) -> None:
        self._ray: Any = import_module("ray")
        self._own, self._workers, self._threads = on == "ray", workers, threads
        self._back: SimpleQueue[tuple[Any, ...]] = SimpleQueue()
        self._works: dict[int, list[Any]] = {}
        self._shares: dict[int, Any] = {}
        place: dict[str, Any] = {"address": on}
        if self._own:
            place = {
                "address": "local",
                "num_cpus": (workers or max(1, (os.cpu_count() or 1) // threads)) * threads,
                "include_dashboard": False,
                "object_store_memory": _STORE_BYTES,
                "_temp_dir": folder,
            }
        try:
            there = self._begin(place)
        except Exception as error:
            # Ray has a dozen kinds of error here, of its own, of gRPC and of the system.
            told = str(error).strip().splitlines() or [type(error).__name__]
            # Ray tells a token that is missing as a connection that does not come about.
            token = (
                "" if self._own else "; if the cluster asks for a token, set RAY_AUTH_MODE=token and give Ray its own"
            )
            raise ClusterUnfit(f"Ray did not begin ({told[-1]}){token}") from error
        self._gpus = int(device == "cuda" or (device == "auto" and there.get("GPU", 0) >= 1))
        if self._gpus > there.get("GPU", 0):
            raise ClusterUnfit("no node has a GPU; choose another device")
        if there.get("CPU", 0) < threads:
            raise ClusterUnfit(f"has {there.get('CPU', 0):g} cores, and a worker takes {threads}")
        self._do = self._ray.remote(name="share", num_cpus=threads, num_gpus=self._gpus, max_retries=_TRIES)(_do_share)
        self.most, self._counted = self._count(there), time.monotonic()

    def _begin(self, place: dict[str, Any], *, again: bool = True) -> dict[str, float]:
        """Begin Ray or join it; give what it has."""
        try:
            self._ray.init(**place, log_to_driver=False, logging_level=logging.CRITICAL)
        except Exception as error:
            # Ray 2.60 gives its own server 30 s, which a machine with much other work may well need.
            if self._own and again and "timed out during startup" in str(error):
                return self._begin(place, again=False)
            raise
        return dict(self._ray.cluster_resources())

    def post(self, command: Connection) -> None:
        """Send answers as they come: Ray's own threads must not wait for the command."""
        with suppress(OSError):
            while True:
                command.send(self._back.get())

    def obey(self, what: str, number: int, *more: Any) -> None:
        """Do what the command asks for."""
        if what == "work":
            # In a list: Ray would otherwise bring the work itself to every share, not once to every worker.
            self._works[number] = [self._ray.put(more[0])]
        elif what == "share":
            self._shares[number] = share = self._do.remote(self._works[more[0]], more[1])
            share.future().add_done_callback(partial(self._answered, number))
            self._recount()
        elif number in self._shares:
            with suppress(Exception):  # the cluster may be gone
                self._ray.cancel(self._shares.pop(number), force=True)

    def end(self) -> None:
        """Leave Ray, and end what runs there."""
        self._ray.shutdown()

    def _answered(self, number: int, future: Any) -> None:
        """Take an answer from Ray."""
        self._shares.pop(number, None)
        try:
            self._back.put(("done", number, future.result()))
        except self._ray.exceptions.RayTaskError as error:
            self._back.put(("unfit", number, str(error.cause or error)))
        except Exception as error:  # noqa: BLE001 - whatever it is, the share is lost
            words = f"the workers of a share died {_TRIES + 1} times, or the cluster is gone ({type(error).__name__})"
            self._back.put(("lost", number, words))

    def _count(self, there: dict[str, float]) -> int:
        """How many shares are given out: a few for each worker, or one where their number is limited."""
        if self._workers and not self._own:
            return self._workers
        slots = there.get("CPU", 1) // self._threads
        return _AHEAD * max(1, int(min(slots, there.get("GPU", 1)) if self._gpus else slots))

    def _recount(self) -> None:
        """Look now and then whether a cluster has grown."""
        if not self._own and time.monotonic() - self._counted > _RECOUNT_SECONDS:
            self._back.put(("most", 0, self._count(self._ray.cluster_resources())))
            self._counted = time.monotonic()


# What this worker does, by the name of what Ray keeps: a network is made once a worker.
_HELD: dict[str, Callable[[Any], Any]] = {}


def _do_share(kept: list[Any], share: bytes) -> bytes:
    """Do a share, on a worker; an error of the work is an answer too, so Ray neither tries it again nor logs it."""
    ray: Any = import_module("ray")
    dumps, loads = ray.cloudpickle.dumps, ray.cloudpickle.loads
    name = kept[0].hex()
    try:
        if name not in _HELD:
            _HELD.clear()
            terms, work = loads(ray.get(kept[0]))
            _look_around(**terms)
            _HELD[name] = loads(work)
        answer = ("answers", [_HELD[name](item) for item in loads(share)])
        return bytes(dumps(answer))
    except Exception as error:  # noqa: BLE001 - goes to the command
        return bytes(dumps(("error", *_apart(error, dumps))))


def _look_around(*, on: str, folder: str, reads: tuple[str, ...], version_there: str) -> None:
    """See whether a node is fit for the work."""
    from eyeground.cli.console import console

    node = platform.node()
    if (own := version("eyeground")) != version_there:
        raise ClusterUnfit(f"--on {on}: node {node} has eyeground {own}, here is {version_there}")
    with suppress(OSError):  # then only whole paths are found, and the others are named
        os.chdir(folder)
    unseen = [path for path in reads if not os.access(Path(folder, path), os.R_OK)]
    if unseen:
        raise ClusterUnfit(
            f"--on {on}: node {node} cannot read {', '.join(unseen)}; images, models and results must lie on "
            "a file system that all nodes share, under the same path"
        )
    console.quiet = True  # names of files must not reach Ray's logs


def _apart(error: Exception, dumps: Callable[[Any], bytes]) -> tuple[Any, ...]:
    """Take an error apart: many cannot be pickled, for they are made from other words than they keep."""
    if kind_of(error) is None:  # a fault of ours: where it happened is told too
        error.add_note("on a worker:\n" + "".join(traceback.format_tb(error.__traceback__)))
    # An OSError keeps its file out of args, and gives it here.
    reduced = error.__reduce__()
    parts = type(error), reduced[1] if isinstance(reduced, tuple) else (), error.args, vars(error).copy()
    try:
        dumps(parts)
    except Exception:  # noqa: BLE001 - then its words must do
        words = "".join(traceback.format_exception(error))
        return RuntimeError, (), (f"on a worker, {words}",), {}
    return parts

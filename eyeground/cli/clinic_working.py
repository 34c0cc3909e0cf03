"""A worker's process, from its start to an end that loses nothing."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from eyeground.cli.clinic_graders import close_graders, open_graders
from eyeground.cli.clinic_opening import opened, settings_of
from eyeground.cli.clinic_processes import Processes
from eyeground.cli.clinic_watch import start_watching
from eyeground.cli.console import tell
from eyeground.clinic.grader import Grader
from eyeground.clinic.log import say, write_lines
from eyeground.clinic.service import Service
from eyeground.clinic.worker import Worker

# A stop is over after this; 25 s are the worker's own for what it has begun.
_LONGEST_END_S: Final = 29.0
_LINGER_S: Final = 2.0
# Whoever waits before a page goes first; models take what is left of the cores.
NICE: Final = 10


def work(config: Path | None, *, processes: int) -> int:
    """Work until asked to stop.

    Args:
        config: File of settings.
        processes: How many work; each takes one case at a time.

    Returns:
        Exit code: 0 when asked to stop, 75 when the queue no longer knew this worker, which is to be started again.

    Raises:
        SettingsRefused: If the settings have faults.
        SchemaRefused: If the database was never set up.
        DatabaseLost: If the database cannot be reached.
        ConfigError: If a bundle cannot be used.

    References:
        docs/clinic.md.
    """
    settings = settings_of(config)
    if processes > 1:
        with opened(settings):  # what is wrong is told once, not by each
            pass
        commands = {f"worker {number + 1}": ["clinic", "worker"] for number in range(processes)}
        return Processes(commands, told=tell).run()
    write_lines()
    os.nice(NICE)
    with opened(settings) as service:
        graders = open_graders(settings)
        try:
            return work_with(service, graders)
        finally:
            close_graders(graders)


def work_with(service: Service, graders: Sequence[Grader]) -> int:
    """Work in this process until SIGTERM or SIGINT; within 30 s it is over, whatever a model does.

    Args:
        service: The service.
        graders: The models.

    Returns:
        Exit code.

    References:
        docs/clinic.md.
    """
    if service.settings.watch is not None:
        start_watching(service)
    return asyncio.run(_until_stopped(service.worker(graders)))


async def _until_stopped(worker: Worker) -> int:
    """Run a worker; a signal stops it."""

    def stop() -> None:
        worker.stop()
        _end_after(_LONGEST_END_S, 1)

    loop = asyncio.get_running_loop()
    for kind in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(kind, stop)
    code = await worker.run()
    # A thread that a model keeps cannot be ended; its case's lease runs out, and another worker takes it.
    _end_after(_LINGER_S, code)
    return code


def _end_after(seconds: float, code: int) -> None:
    """End this process, if it has not ended by itself by then."""

    def end() -> None:
        say("worker_hung", status=code)
        sys.stderr.flush()
        os._exit(code)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()

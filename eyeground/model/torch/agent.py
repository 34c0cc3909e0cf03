"""Processes on this machine, started and watched by torch's elastic agent."""

import logging
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

# A step, and the checkpoint of a large network behind it, may take as long when a run is asked to stop.
_LAST_STEP_SECONDS = 600


def run_processes(command: Sequence[str], *, count: int, scratch: Path) -> Mapping[int, int] | None:
    """Run a command several times at once, as ``torchrun --standalone`` does; when one fails, all end.

    Args:
        command: Program and arguments.
        count: How many processes.
        scratch: Folder for the agent's own files.

    Returns:
        Exit codes of those that failed, by rank, the first noticed first; a signal that ended one is negative, and -15
        that of the agent itself. Empty = none did; None = a signal to this process ended them, after their last step.

    Example:
        >>> import tempfile
        >>> run_processes(["sh", "-c", "exit $RANK"], count=2, scratch=Path(tempfile.mkdtemp()))
        {1: 1}

    References:
        torch.distributed.elastic.
    """
    # Its reports are many lines; what matters of them is in the exit codes.
    for name in [name for name in logging.root.manager.loggerDict if name.startswith("torch.distributed")]:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    settings = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",  # else the host's name, which may lead nowhere: then they would wait for ever
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(log_dir=str(scratch)),
        shutdown_timeout=_LAST_STEP_SECONDS,
    )
    program, *words = command
    try:
        elastic_launch(settings, program)(*words)
    except ChildFailedError as error:
        return {rank: failure.exitcode for rank, failure in error.failures.items()}
    except SignalException:
        return None
    return {}

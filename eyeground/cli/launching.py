"""A training in several processes: started here where nothing else did, and what is said when one is lost."""

import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from eyeground.cli.config import ConfigError, RunConfig
from eyeground.cli.exit_codes import INTERRUPTED, LOST
from eyeground.data.sample import Sample
from eyeground.model.processes import ALONE, Processes, ProcessLost, started
from eyeground.model.weights import Tensors
from eyeground.train.checkpoint import Checkpoints

# Where the first process writes the run's folder down, for the process that started it to tell.
_NOTE = "EYEGROUND_FOLDER_NOTE"


def launched(config: RunConfig, *, verb: str, resume: Path | None = None) -> bool:
    """Start this command again in as many processes as the configuration wants, unless that has been done.

    Args:
        config: The checked configuration.
        verb: The command.
        resume: Folder of the run that it goes on with; None = a new one.

    Returns:
        Whether they have done the work; False = it is this process's to do.

    Raises:
        SystemExit: If the first of them failed and has said why, with its exit code, or if a person stopped them.
        ProcessLost: If another one failed.

    Example:
        >>> launched(RunConfig(data="images"), verb="finetune")
        False

    References:
        docs/how-to/several-processes.md.
    """
    if config.devices == 1 or started():
        return False
    from eyeground.model.torch.agent import run_processes

    count = config.devices
    with TemporaryDirectory(prefix="eyeground_processes_") as scratch:
        note = Path(scratch) / "folder"
        with _environment(count, note):
            words = [sys.executable, "-m", "eyeground", *sys.argv[1:]]
            failed = run_processes(words, count=count, scratch=Path(scratch))
        folder = Path(note.read_text(encoding="utf-8")) if note.is_file() else resume
    if failed is None:
        raise SystemExit(INTERRUPTED)
    if failed:
        rank, code = _cause(failed)
        if rank == 0 and code not in (LOST, -signal.SIGTERM) and code > 0:
            raise SystemExit(code)
        ended = f"process {rank + 1} of {count} {_ending(code)}: the run stopped"
        raise ProcessLost(f"{ended}; {kept_words(folder, verb=verb)}" if folder else ended)
    return True


@contextmanager
def _environment(count: int, note: Path) -> Iterator[None]:
    """Variables that the processes are started with, set inside the block."""
    # Each would otherwise take all cores, and wait for the others' threads.
    threads = str(max(1, len(os.sched_getaffinity(0)) // count))
    # All are on this machine: what they say goes no further, whatever address its name leads to.
    wanted = {"OMP_NUM_THREADS": threads, "GLOO_SOCKET_IFNAME": "lo"}
    more = {name: os.environ.get(name, value) for name, value in wanted.items()} | {_NOTE: str(note)}
    before = {name: os.environ.get(name) for name in more}
    os.environ.update(more)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _cause(failed: Mapping[int, int]) -> tuple[int, int]:
    """Tell which process failed of itself: those that missed it, or were ended for it, come last."""

    def weight(rank: int) -> int:
        code = failed[rank]
        return 3 if code == -signal.SIGTERM else 2 if code == LOST else 0 if code < 0 else 1

    rank = min(failed, key=lambda rank: (weight(rank), rank))
    return rank, failed[rank]


def _ending(code: int) -> str:
    """How a process ended, in words."""
    if code == -signal.SIGKILL:
        return "was killed (SIGKILL; so does the system when memory runs out)"
    if code < 0:
        return f"was killed ({signal.Signals(-code).name})"
    return "lost touch with the others" if code == LOST else f"ended with exit code {code} (it says why above)"


def kept_words(folder: Path, *, verb: str) -> str:
    """Say what of a run that stopped is kept, and how to go on with it.

    Args:
        folder: The run's folder.
        verb: The command that made it.

    Returns:
        A sentence without a full stop.

    Example:
        >>> kept_words(Path("runs/a"), verb="finetune")
        'no step was saved yet; begin again with: eyeground finetune --resume runs/a'

    References:
        Our own.
    """
    newest = Checkpoints(folder / "checkpoints").newest(parts=())
    again = f"eyeground {verb} --resume {shlex.quote(str(folder))}"
    if newest is None:
        return f"no step was saved yet; begin again with: {again}"
    return f"everything up to step {newest.step} is in {folder}; go on with: {again}"


def note_folder(folder: Path) -> None:
    """Tell the process that started this one where the run is made.

    Args:
        folder: The run's folder.

    Example:
        >>> note_folder(Path("runs/a"))

    References:
        Our own.
    """
    if note := os.environ.get(_NOTE):
        Path(note).write_text(str(folder), encoding="utf-8")


@contextmanager
def joined(config: RunConfig) -> Iterator[Processes]:
    """Join the other processes of this run.

    Args:
        config: The checked configuration.

    Yields:
        The processes; this one alone where no others were started.

    Raises:
        ConfigError: If the devices are not to be had, or another process was given another configuration.
        SystemExit: In a process that need not say so, or that misses another.

    Example:
        >>> with joined(RunConfig(data="images")) as processes:
        ...     processes.world
        1

    References:
        docs/how-to/several-processes.md.
    """
    from eyeground.cli.console import console
    from eyeground.model.torch.processes import meet

    own = started()
    # The first process of each machine speaks for those beside it, which fail alike.
    silent = own is not None and own.local_rank > 0
    try:
        processes = meet(device=config.device, strategy=config.strategy) if own else ALONE
    except ValueError as error:
        raise SystemExit(0) if silent else ConfigError(str(error)) from error
    console.quiet = processes.rank > 0
    try:
        check_same(processes, "settings", config.model_dump_json)
        yield processes
    except ProcessLost as error:
        if _NOTE in os.environ:  # who started it knows which one was lost, and says so
            raise SystemExit(LOST) from error
        raise


def check_same(processes: Processes, what: str, words: Callable[[], str]) -> None:
    """Refuse to train together on different things, as when a machine has another copy of a file by the same name.

    Args:
        processes: Who trains.
        what: What they are, for people.
        words: Those of this process, equal words = the same thing; asked only where there are others.

    Raises:
        ConfigError: If another process has something else than the first.

    Example:
        >>> check_same(ALONE, "images", lambda: "asked of nobody")

    References:
        Our own.
    """
    if processes.world == 1:
        return
    told = processes.every(words())
    others = [str(rank + 1) for rank, each in enumerate(told) if each != told[0]]

    def refuse() -> None:
        if others:
            raise ConfigError(
                f"process {', '.join(others)} of {processes.world} has other {what} than the first: let every machine "
                "see the same files by the same names"
            )

    processes.together(refuse)


def print_of(samples: Iterable[Sample], hashes: Mapping[str, str], tensors: Tensors | None) -> str:
    """Make one line of all that a training reads.

    Args:
        samples: The images in order, with their splits and labels.
        hashes: Hash of each image's bytes, by sample id.
        tensors: Starting weights; None = random.

    Returns:
        64 hex digits; others if anything differs.

    Example:
        >>> print_of([], {}, None) == print_of([], {}, {})
        True

    References:
        SHA-256, FIPS 180-4.
    """
    found = sha256()
    for sample in samples:
        found.update(repr((sample.id, sample.split, sample.label, sample.values, hashes.get(sample.id))).encode())
    for name, array in sorted((tensors or {}).items()):
        found.update(name.encode() + array.tobytes())
    return found.hexdigest()


def check_alone(config: RunConfig, processes: Processes) -> None:
    """Refuse several processes where a command carries out a run in its own.

    Args:
        config: The checked configuration.
        processes: Who runs.

    Raises:
        ConfigError: If the configuration wants more than there are.

    Example:
        >>> check_alone(RunConfig(data="images"), ALONE)

    References:
        Our own.
    """
    if config.devices > 1 and processes.world == 1 and not started():
        raise ConfigError(
            f"devices={config.devices}: 'eyeground finetune' and 'eyeground pretrain' start several processes; this "
            "command makes each run in one. Set devices=1"
        )

"""What a process gives up before it touches bytes that nobody vouches for."""

import os
import resource


def confine(memory_bytes: int, cpu_seconds: int | None = None) -> None:
    """Give up, for good, what opening a foreign file does not need: memory, new files, sockets, core dumps, time.

    Call it after the last import: a module is a file too. What is open stays open, so results leave through descriptors
    that the parent passed. A limit that is lower already stays.

    Args:
        memory_bytes: Address space the process may have, and the longest file it may write. Unit: bytes.
        cpu_seconds: Computing time, counted from its start; SIGXCPU ends it then. None = no limit. Unit: s.

    Example:
        >>> import subprocess, sys
        >>> code = "from eyeground.sandbox import confine; confine(2**30); open('/etc/passwd')"
        >>> answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        >>> answer.stderr.splitlines()[-1]
        "OSError: [Errno 24] Too many open files: '/etc/passwd'"

    References:
        setrlimit(2).
    """
    _at_most(resource.RLIMIT_AS, memory_bytes)
    _at_most(resource.RLIMIT_FSIZE, memory_bytes)
    _at_most(resource.RLIMIT_CORE, 0)
    if cpu_seconds is not None:
        # The hard limit kills without a word; a second later, so that the parent can tell the two apart.
        _at_most(resource.RLIMIT_CPU, cpu_seconds, hard=cpu_seconds + 1)
    # No free number for a file or a socket is left: whatever takes this process over can open neither.
    lowest_free = os.dup(0)
    os.close(lowest_free)
    _at_most(resource.RLIMIT_NOFILE, lowest_free)


def _at_most(kind: int, soft: int, *, hard: int | None = None) -> None:
    """Lower a limit; one that is lower already stays."""
    wanted = (soft, soft if hard is None else hard)
    ceiling = resource.getrlimit(kind)[1]
    if ceiling != resource.RLIM_INFINITY:
        wanted = (min(wanted[0], ceiling), min(wanted[1], ceiling))
    resource.setrlimit(kind, wanted)

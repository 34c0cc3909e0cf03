"""The limited process that runs a foreign graph: it holds the graph's files open, and can open nothing else."""

import os
import select
import sys
import threading
from collections.abc import Sequence
from functools import partial

from eyeground.model.wire import WireCut, receive, send
from eyeground.pick import pick
from eyeground.sandbox import confine

_LONGEST_REASON = 300


def main(program: str, memory_bytes: int, request_fd: int, reply_fd: int, file_fds: Sequence[int]) -> None:
    """Open the graph, then answer until the pipe closes.

    Args:
        program: File in ``serve/runtimes`` that runs it.
        memory_bytes: Memory it may take. Unit: bytes.
        request_fd: Pipe that requests come on: what is wanted first, images from then on.
        reply_fd: Pipe for answers.
        file_fds: The graph's files, open.

    Example:
        >>> main.__name__
        'main'

    References:
        Our own.
    """
    runs = pick("serve.runtimes", program)
    threading.Thread(target=_end_with, args=(request_fd,), daemon=True).start()
    requests = os.fdopen(request_fd, "rb", closefd=False)
    replies = os.fdopen(reply_fd, "wb", closefd=False)
    try:
        wanted, _ = receive(requests)
        description, answer = runs.open_graph(
            partial(_contents, file_fds), confine=partial(confine, memory_bytes), **wanted
        )
        send(replies, {"ready": description})
        while True:
            _, arrays = receive(requests)
            send(replies, {}, {"outputs": answer(arrays["images"])})
    except WireCut:
        return
    except MemoryError:
        send(replies, {"refused": "needs far more memory than its size explains"})
    except Exception as error:  # noqa: BLE001  a hostile graph may raise anything
        words = " ".join(str(error).split()) or type(error).__name__
        send(replies, {"refused": f"could not be run: {words[:_LONGEST_REASON]}"})


def _contents(file_fds: Sequence[int]) -> list[bytes]:
    """Read the files from their beginning, wherever an earlier process had stopped."""
    contents = []
    for number in file_fds:
        with os.fdopen(number, "rb", closefd=False) as file:
            file.seek(0)
            contents.append(file.read())
    return contents


def _end_with(request_fd: int) -> None:
    """End when whoever asks is gone, however busy a graph is."""
    poll = select.poll()
    poll.register(request_fd, 0)
    poll.poll()
    os._exit(0)


if __name__ == "__main__":
    memory, request, reply, *files = (int(word) for word in sys.argv[2:])
    main(sys.argv[1], memory, request, reply, files)

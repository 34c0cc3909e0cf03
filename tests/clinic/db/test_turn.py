"""Turns at writing: one at a time, among threads and processes, and none is kept by the dead."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from eyeground.clinic.db.turn import Turn

_HOLDER = """
import sys, time
from pathlib import Path
from eyeground.clinic.db.turn import Turn
with Turn(Path(sys.argv[1])):
    print("mine", flush=True)
    time.sleep(60)
"""


def test_one_thread_at_a_time(tmp_path: Path) -> None:
    turns = [Turn(tmp_path / "turn") for _ in range(2)]  # as two processes have them
    inside, most, rounds = 0, 0, 0

    def work(number: int) -> None:
        nonlocal inside, most, rounds
        for _ in range(50):
            with turns[number % 2]:
                inside += 1
                most = max(most, inside)
                time.sleep(0)
                rounds += 1
                inside -= 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for turn in turns:
        turn.close()
    assert (most, rounds) == (1, 200)


def test_who_dies_loses_the_turn(tmp_path: Path) -> None:
    turn = Turn(tmp_path / "turn", wait_s=0.2)
    with subprocess.Popen([sys.executable, "-c", _HOLDER, str(tmp_path / "turn")], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"mine\n"
        with pytest.raises(TimeoutError), turn:
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with turn:
            assert os.stat(tmp_path / "turn").st_size == 0  # noqa: PTH116 - the file says nothing, its lock does
    turn.close()


def test_a_child_takes_turns_of_its_own(tmp_path: Path) -> None:
    turn = Turn(tmp_path / "turn", wait_s=0.2)
    with turn:
        child = os.fork()
        if child == 0:
            # The fork has a copy of a lock that is held; a fresh object of the same file waits, too.
            fresh = Turn(tmp_path / "turn", wait_s=0.2)
            try:
                with fresh:
                    os._exit(1)
            except TimeoutError:
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    turn.close()

"""Turns at writing: one at a time, among threads and processes, and none is kept by the dead."""

import fcntl
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


_WORKER = """
import os, sys, time
from pathlib import Path
from eyeground.clinic.db.turn import Turn
os.nice(int(sys.argv[2]))
turn = Turn(Path(sys.argv[1]))
for _ in range(40):
    with turn:
        print("mine", flush=True)
        time.sleep(0.05)
"""


def _worker(file: Path, niceness: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", _WORKER, str(file), str(niceness)], stdout=subprocess.PIPE)


def test_workers_let_those_in_a_hurry_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eyeground.clinic.db.turn._yields", lambda: threading.current_thread().name == "worker")
    hurried, patient = Turn(tmp_path / "turn"), Turn(tmp_path / "turn")
    order: list[str] = []
    waiting = threading.Event()

    def take(name: str, turn: Turn) -> None:
        waiting.set()
        with turn:
            order.append(name)

    threads = []
    with Turn(tmp_path / "turn"):
        for name, turn in (("worker", patient), ("doctor", hurried)):  # the worker asks first
            waiting.clear()
            threads.append(threading.Thread(target=take, args=(name, turn), name=name))
            threads[-1].start()
            assert waiting.wait(10)
            time.sleep(0.1)
    for thread in threads:
        thread.join()
    assert order == ["doctor", "worker"]
    for each in (hurried, patient):
        each.close()


def test_a_worker_that_waited_long_goes_as_others_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eyeground.clinic.db.turn._PATIENCE_S", 0.05)
    monkeypatch.setattr("eyeground.clinic.db.turn._yields", lambda: True)
    hurry = os.open(tmp_path / "turn.hurry", os.O_RDWR | os.O_CREAT)
    fcntl.flock(hurry, fcntl.LOCK_SH)  # somebody who never comes to an end
    took: list[bool] = []

    def take() -> None:
        with Turn(tmp_path / "turn"):
            took.append(True)

    thread = threading.Thread(target=take)
    thread.start()
    thread.join(30)
    os.close(hurry)
    assert took == [True]


@pytest.mark.parametrize("niceness", [0, 10])
def test_turns_are_one_at_a_time_whoever_hurries(tmp_path: Path, niceness: int) -> None:
    turn, taken = Turn(tmp_path / "turn"), 0
    with _worker(tmp_path / "turn", 0) as one, _worker(tmp_path / "turn", niceness) as two:
        for each in (one, two):
            assert each.stdout is not None
            assert each.stdout.readline() == b"mine\n"
        while one.poll() is None or two.poll() is None:
            with turn:
                taken += 1
                free = Turn(tmp_path / "turn", wait_s=0.0)
                with pytest.raises(TimeoutError), free:
                    pass
                free.close()
            time.sleep(0.01)
        assert (one.wait(), two.wait()) == (0, 0)
    assert taken > 0
    turn.close()


def test_who_is_niced_yields() -> None:
    code = "import os; os.nice(1); from eyeground.clinic.db.turn import _yields; print(_yields())"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "True\n"

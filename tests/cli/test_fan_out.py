"""Work on Ray's workers: in order, made once a worker, done by another when one dies, and the errors those of here."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from eyeground.cli import fan_out
from eyeground.cli.config import ConfigError
from eyeground.cli.exit_codes import EXIT_CODES, kind_of
from eyeground.cli.fan_out import ClusterUnfit, WorkersLost, fanned_out
from eyeground.cli.main import main
from eyeground.data.problem import DataProblems, Problem
from eyeground.data.spread import Spread, here, in_threads
from eyeground.images.refusal import ImageRefused

ray = pytest.importorskip("ray")
# What a test defines travels to the workers itself: they need not find the tests.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module")
def spread() -> Iterator[Spread]:
    """One Ray of two workers for all tests here."""
    with fanned_out("ray", workers=2) as made:
        assert made is not None
        yield made


@dataclass
class Square:
    """Squares numbers, the later ones faster; notes how often it was made and in which process."""

    shelf: Path
    delay: float = 0.0
    _made: bool = field(default=False, init=False)

    def __call__(self, number: int) -> tuple[int, int]:
        if not self._made:
            self._made = True
            (self.shelf / f"{os.getpid()}-{time.monotonic_ns()}").touch()
        time.sleep(self.delay * (number % 3 == 0))
        return number * number, os.getpid()


@dataclass
class Deadly:
    """Does the work of another, but kills its own process once at some item, or at it always."""

    work: Callable[[Any], Any]
    at: Any
    notes: Path
    always: bool = False

    def __call__(self, item: Any) -> Any:
        if item == self.at and (self.always or not self.notes.exists()):
            with self.notes.open("a") as notes:
                notes.write(f"{os.getpid()}\n")
            os.kill(os.getpid(), signal.SIGKILL)
        return self.work(item)


def in_order(spread: Spread, shelf: Path) -> bool:
    """Whether answers come in the order of the items, where the first item of three takes long."""
    found = [square for square, _ in spread(range(12), Square(shelf, delay=0.3))]
    assert sorted(found) == [number * number for number in range(12)]
    return found == sorted(found)


def by_arrival(items: Iterable[Any], work: Callable[[Any], Any], **_: object) -> Iterator[Any]:
    """The fault: answers are given out as they arrive."""
    with ThreadPoolExecutor(2) as pool:
        yield from (done.result() for done in as_completed([pool.submit(work, item) for item in items]))


def test_answers_come_in_the_order_of_the_items_and_a_spread_by_arrival_is_caught(
    spread: Spread, tmp_path: Path
) -> None:
    assert in_order(spread, tmp_path)
    assert in_order(in_threads(3), tmp_path)
    assert in_order(here, tmp_path)
    assert not in_order(by_arrival, tmp_path)


@pytest.mark.parametrize("share", [1, 3, 100])
def test_what_is_large_is_made_once_a_worker(spread: Spread, tmp_path: Path, share: int) -> None:
    square = Square(tmp_path, delay=0.05)
    found = [*spread(range(20), square, share=share), *spread(range(20, 25), square)]
    assert [square for square, _ in found] == [number * number for number in range(25)]
    processes = {process for _, process in found}
    assert os.getpid() not in processes
    assert sorted(int(path.name.split("-")[0]) for path in tmp_path.iterdir()) == sorted(processes)
    assert len(processes) <= 2


def test_a_killed_worker_s_share_is_done_by_another(spread: Spread, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    deadly = Deadly(Square(tmp_path / "made", delay=0.05), 7, tmp_path / "killed")
    found = list(spread(range(16), deadly, share=2))
    assert [square for square, _ in found] == [number * number for number in range(16)]
    [killed] = map(int, (tmp_path / "killed").read_text().split())
    assert found[6][1] != killed  # its share of two, done again
    assert found[7][1] != killed


def test_a_share_that_kills_every_worker_ends_the_work(spread: Spread, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    deadly = Deadly(Square(tmp_path / "made"), 3, tmp_path / "killed", always=True)
    found: list[int] = []
    with pytest.raises(WorkersLost, match=r"died 4 times.*run the command again") as caught:
        found.extend(square for square, _ in spread(range(6), deadly))
    assert found == [0, 1, 4]  # what came before it was given out
    assert len(set((tmp_path / "killed").read_text().split())) == 4
    assert EXIT_CODES[kind_of(caught.value) or ""] == 3


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("image_px: give 224"),
        ImageRefused("empty", "a.png", "the file is empty; copy it again"),
        DataProblems([Problem("is missing", "a.png", 3), Problem("is missing", "b.png")]),
        FileNotFoundError(2, "No such file or directory", "a.png"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_of_the_work_is_the_one_of_here_and_not_tried_again(
    spread: Spread, tmp_path: Path, error: Exception
) -> None:
    def fail(number: int) -> int:
        if number == 1:
            with (tmp_path / "tries").open("a") as tries:
                tries.write("x")
            raise error
        return number

    found: list[int] = []
    with pytest.raises(type(error)) as caught:
        found.extend(spread([0, 1, 2], fail))
    assert type(caught.value) is type(error)
    assert str(caught.value) == str(error)
    assert vars(caught.value) == vars(error)
    assert found == [0]
    assert (tmp_path / "tries").read_text() == "x"


def test_what_cannot_travel_is_told(spread: Spread) -> None:
    def fail(number: int) -> object:
        if number:
            error = KeyError("no such column")
            error.lock = threading.Lock()  # type: ignore[attr-defined]
            raise error
        return threading.Lock()

    with pytest.raises(TypeError, match=r"cannot pickle '_thread\.lock' object") as caught:
        list(spread([0], fail))
    assert "on a worker:" in caught.value.__notes__[0]
    with pytest.raises(RuntimeError, match=r"(?s)on a worker, .*in fail.*KeyError: 'no such column'"):
        list(spread([1], fail))


def test_a_wish_to_stop_is_heard_however_fast_answers_come(spread: Spread) -> None:
    def full(found: list[int]) -> bool:
        return len(found) >= 3

    for each in (spread, here, in_threads(2)):
        found: list[int] = []
        found.extend(each(range(50), abs, stop_wanted=partial(full, found)))
        assert found == [0, 1, 2], each


def test_a_wish_to_stop_ends_at_once_and_what_runs_is_ended(spread: Spread, tmp_path: Path) -> None:
    def slow(number: int) -> int:
        if number:
            (tmp_path / f"begun-{number}").touch()
            time.sleep(60)
            (tmp_path / f"done-{number}").touch()
        return number

    found: list[int] = []
    answers = spread(range(4), slow, stop_wanted=lambda: bool(found) and (tmp_path / "begun-1").exists())
    found.extend(answers)
    assert found == [0]
    assert list(spread([5], lambda number: number)) == [5]  # the workers are free again
    assert not list(tmp_path.glob("done-*"))


def test_workers_stand_where_the_command_stands(
    spread: Spread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "words.txt").write_text("found")
    monkeypatch.chdir(tmp_path)
    assert list(spread([Path("words.txt")], lambda path: path.read_text())) == ["found"]


def test_a_node_that_does_not_see_the_images_is_named(spread: Spread, tmp_path: Path) -> None:
    assert isinstance(spread, fan_out._Workers)
    (tmp_path / "there").touch()
    blind = fan_out._Workers(spread.driver, spread.pickling, (str(tmp_path / "there"), "no/such/folder"))
    with pytest.raises(ClusterUnfit, match=rf"node {os.uname().nodename} cannot read no/such/folder; .* share"):
        list(blind([1], lambda number: number))


def test_a_node_with_another_version_is_named(spread: Spread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fan_out, "version", lambda name: "9.9")
    with pytest.raises(ClusterUnfit, match=r"has eyeground .*, here is 9\.9"):
        list(spread([1], lambda number: number))


def raylets() -> set[int]:
    """Servers of each Ray that this process began."""
    told = subprocess.run(["ps", "-ww", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    rows = [(int(pid), int(parent), args) for pid, parent, args in (r.split(None, 2) for r in told.splitlines()[1:])]
    drivers = {pid for pid, parent, args in rows if parent == os.getpid() and "ray_driver" in args}
    return {pid for pid, parent, args in rows if parent in drivers and args.split()[0].endswith("/raylet")}


@dataclass
class Lasting:
    """Takes a while; tells that it has begun."""

    notes: Path

    def __call__(self, number: int) -> int:
        (self.notes / str(number)).touch()
        time.sleep(60 * (number > 0))
        return number


def one_answer_then_no_ray(notes: Path, found: list[int]) -> None:
    """Work on a Ray that is killed behind the first answer."""
    others = raylets()
    with fanned_out("ray", workers=1) as mine:
        assert mine is not None
        [raylet] = raylets() - others
        # Nobody else can use it, though its ports are open.
        assert b"RAY_AUTH_MODE=token" in Path(f"/proc/{raylet}/environ").read_bytes()
        answers = mine(range(3), Lasting(notes))
        found.append(next(answers))
        os.kill(raylet, signal.SIGKILL)
        found.extend(answers)


@pytest.mark.slow
def test_where_ray_itself_dies_it_is_told_and_the_command_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # where Ray would write a token
    before, others, found = dict(os.environ), raylets(), list[int]()
    with pytest.raises(WorkersLost, match=r"--on ray: .*What is done is kept.*run the command again"):
        one_answer_then_no_ray(tmp_path, found)
    assert found == [0]
    assert raylets() == others
    assert not (tmp_path / ".ray").exists()
    assert dict(os.environ) == before


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """Call the command line; give its exit code."""
    monkeypatch.setattr(sys, "argv", ["eyeground", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--workers", "2"], "--workers belongs to --on"),
        (["--on", "dask"], "--on dask: give ray for this machine, or the address of a cluster: ray://host:port"),
        (["--on", "ray://nowhere"], "give ray for this machine, or the address of a cluster"),
    ],
)
def test_words_that_do_not_go_together_are_refused(
    words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "doctor", tmp_path, *words) == 2
    assert told in capsys.readouterr().err


def test_a_cluster_that_is_not_there_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("Ray was asked"))
    assert run(monkeypatch, "doctor", tmp_path, "--on", "ray://127.0.0.1:1") == 1
    told = capsys.readouterr().err
    assert "--on ray://127.0.0.1:1: nobody answers there" in told
    assert "Check the address" in told


def test_what_is_no_ray_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fan_out, "_BEGIN_SECONDS", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        for on in (place, f"ray://{place}"):
            begun = time.monotonic()
            with (
                pytest.raises(ClusterUnfit, match=rf"--on {on}: did not answer as Ray does within 2 s"),
                fanned_out(on),
            ):
                pytest.fail("there was none")
            assert time.monotonic() - begun < 20


def test_without_ray_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert run(monkeypatch, "doctor", tmp_path, "--on", "ray") == 2
    assert "ray is not installed: pip install 'eyeground[ray]'" in capsys.readouterr().err


def test_ray_is_not_loaded_where_nobody_asks_for_it() -> None:
    import subprocess

    code = (
        "import sys, eyeground.cli.answers, eyeground.cli.checkup, eyeground.cli.comparing; print('ray' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"

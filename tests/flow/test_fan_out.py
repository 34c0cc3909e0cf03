"""The commands that Ray's workers serve: the same bytes as here, although one of the workers is killed half-way."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from eyeground.cli.fan_out import fanned_out
from eyeground.data.spread import Spread
from tests.flow.tables import Answer
from tests.flow.test_compare import write_configs

Call = Callable[..., Answer]
ray = pytest.importorskip("ray")
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


@dataclass
class Deadly:
    """Does the work of another, but kills the first process that has done so many items."""

    work: Callable[[Any], Any]
    after: int
    killed: Path
    _done: int = field(default=0, init=False)

    def __call__(self, item: Any) -> Any:
        if self._done == self.after and not self.killed.exists():
            self.killed.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        self._done += 1
        return self.work(item)


@pytest.fixture(scope="module")
def workers() -> Iterator[Spread]:
    """One Ray of two workers for all tests here."""
    with fanned_out("ray", workers=2) as made:
        assert made is not None
        yield made


@pytest.fixture
def deadly(workers: Spread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Let a command have those workers, one of which is killed after some items; gives the note of its death."""

    def on(module: str, *, after: int) -> Path:
        killed, held = tmp_path / "killed", dict[int, Deadly]()

        def spread(items: Any, work: Any, **more: Any) -> Any:
            return workers(items, held.setdefault(id(work), Deadly(work, after, killed)), **more)

        @contextmanager
        def lent(where: str | None, **_: object) -> Iterator[Any]:
            yield spread if where else None

        monkeypatch.setattr(f"eyeground.cli.{module}.fanned_out", lent)
        return killed

    return on


def hashes(folder: Path) -> dict[str, str]:
    """Every file of a folder, by what is in it."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def test_doctor_finds_the_same(eyeground: Call, deadly: Callable[..., Path], phantoms: Path, tmp_path: Path) -> None:
    words = ["doctor", phantoms / "images", "--table", phantoms / "labels.csv", "--no-cache", "--json"]
    here = eyeground(*words, "--fix", tmp_path / "here.csv")
    killed = deadly("checkup", after=9)
    there = eyeground(*words, "--fix", tmp_path / "there.csv", "--on", "ray")
    assert killed.exists()
    assert there.code == here.code
    assert (tmp_path / "there.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()
    assert there.out.replace("/there.", "/here.") == here.out
    assert len(json.loads(here.out)["findings"]) > 0


@pytest.mark.slow
def test_shards_are_read_there_too(
    eyeground: Call, deadly: Callable[..., Path], phantoms: Path, tmp_path: Path
) -> None:  # fmt: skip
    table = ["--table", phantoms / "labels.csv", "--group-column", "patient"]
    packed = tmp_path / "packed"
    assert eyeground("data", "prepare", phantoms / "images", *table, "--shards", "--out", packed).code == 0
    here = eyeground("doctor", packed, "--no-cache", "--json")
    killed = deadly("checkup", after=9)
    there = eyeground("doctor", packed, "--no-cache", "--json", "--on", "ray")
    assert killed.exists()
    assert (there.code, there.out) == (here.code, here.out), there.err
    assert json.loads(here.out)["images"] == 60


def test_predict_writes_the_same_table_and_goes_on_where_another_stopped(
    eyeground: Call, deadly: Callable[..., Path], trained: Path, phantoms: Path, tmp_path: Path
) -> None:
    words = ["predict", trained, phantoms / "images", "--batch-size", 8, "--threads", 1, "--json", "--out"]
    here = eyeground(*words, tmp_path / "here.csv")
    assert here.code == 0, here.err
    killed = deadly("answers", after=2)
    there = eyeground(*words, tmp_path / "there.csv", "--on", "ray")
    assert there.code == 0, there.err
    assert killed.exists()
    assert (tmp_path / "there.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()
    assert len((tmp_path / "here.csv").read_text().splitlines()) == 61
    assert {**json.loads(there.out), "out": ""} == {**json.loads(here.out), "out": ""}


def test_a_table_begun_on_ray_is_ended_here(
    eyeground: Call, deadly: Callable[..., Path], trained: Path, phantoms: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from eyeground.serve import batch

    words = ["predict", trained, phantoms / "images", "--batch-size", 8, "--threads", 1, "--json", "--out"]
    deadly("answers", after=99)
    line, noted = batch._line, []

    def breaks(row: batch.Row) -> Any:
        noted.append(row)
        if len(noted) > 24:
            raise OSError(28, "No space left on device")
        return line(row)

    with monkeypatch.context() as patch:
        patch.setattr(batch, "_line", breaks)
        broken = eyeground(*words, tmp_path / "there.csv", "--on", "ray")
    assert broken.code == 1
    assert "No space left" in broken.err
    ended = eyeground(*words, tmp_path / "there.csv")
    assert json.loads(ended.out)["resumed"] == 24
    eyeground(*words, tmp_path / "here.csv")
    assert (tmp_path / "there.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()


def test_a_model_that_a_worker_cannot_open_is_the_error_of_here(
    eyeground: Call, deadly: Callable[..., Path], trained: Path, phantoms: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    deadly("answers", after=99)
    model = tmp_path / "model"
    shutil.copytree(trained, model)
    from eyeground.cli import answers

    whole = answers.open_predictor

    def opened(*words: Any, **more: Any) -> Any:
        found = whole(*words, **more)
        shutil.rmtree(model)  # before any worker has looked
        return found

    monkeypatch.setattr(answers, "open_predictor", opened)
    told = eyeground("predict", model, phantoms / "images", "--out", tmp_path / "t.csv", "--on", "ray")
    assert told.code in (1, 2)
    assert str(model) in told.err
    assert "Traceback" not in told.err


@pytest.mark.slow
def test_features_are_the_same(eyeground: Call, deadly: Callable[..., Path], config: Path, tmp_path: Path) -> None:
    here = eyeground("features", config, "--out", tmp_path / "here", "--json")
    assert here.code == 0, here.err
    killed = deadly("features", after=2)
    there = eyeground("features", config, "--out", tmp_path / "there", "--json", "--on", "ray")
    assert there.code == 0, there.err
    assert killed.exists()
    assert hashes(tmp_path / "there") == hashes(tmp_path / "here")
    assert json.loads(there.out)["computed"] == 60


def test_prepared_images_are_the_same_and_a_second_call_makes_none(
    eyeground: Call, deadly: Callable[..., Path], phantoms: Path, tmp_path: Path
) -> None:
    words = ["data", "prepare", phantoms / "images", "--table", phantoms / "labels.csv", "--store-px", 32, "--json"]
    assert eyeground(*words, "--out", tmp_path / "here").code == 0
    killed = deadly("preparation", after=9)
    there = eyeground(*words, "--out", tmp_path / "there", "--on", "ray")
    assert there.code == 0, there.err
    assert killed.exists()
    assert hashes(tmp_path / "there") == hashes(tmp_path / "here")
    assert json.loads(there.out)["kept"] == 0
    assert json.loads(eyeground(*words, "--out", tmp_path / "there").out)["kept"] == 60


@pytest.mark.slow
def test_compare_judges_the_same_and_does_no_run_twice(
    eyeground: Call, deadly: Callable[..., Path], phantoms: Path, tmp_path: Path
) -> None:
    words = ["seeds=[0]", "fractions=[1]"]
    config = write_configs(tmp_path, phantoms)
    config.write_text(
        config.read_text().replace(f"    pretrain: {tmp_path / 'mae.yaml'}", "    finetune: {layer_decay: 0.5}")
    )
    here = eyeground("compare", config, *words, f"out={tmp_path / 'here'}", "--json")
    assert here.code == 0, here.err
    killed = deadly("comparing", after=1)
    there = eyeground("compare", config, *words, f"out={tmp_path / 'there'}", "--json", "--on", "ray")
    assert there.code == 0, there.err
    assert killed.exists()
    same = ("predictions.csv", "comparison.json", "table.md", "split.csv", "best.safetensors", "features.safetensors")
    wanted = {name: value for name, value in hashes(tmp_path / "here").items() if Path(name).name in same}
    assert len([name for name in wanted if name.endswith("predictions.csv")]) == 6
    found = hashes(tmp_path / "there")
    assert {name: found.get(name) for name in wanted} == wanted
    assert set(found) == set(hashes(tmp_path / "here"))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "there" / "runs").rglob("*")}
    again = eyeground("compare", config, *words, f"out={tmp_path / 'there'}", "--json", "--on", "ray")
    assert "6 of them done before" in again.err
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "there" / "runs").rglob("*")} == before


@pytest.mark.slow
@pytest.mark.parametrize("signal_number", [None, signal.SIGINT, signal.SIGKILL])
def test_a_command_s_own_ray_is_quiet_and_gone_with_it(phantoms: Path, signal_number: signal.Signals | None) -> None:
    command = [sys.executable, "-c", "from eyeground.cli.main import main; main()", "doctor", str(phantoms / "images")]
    command += ["--table", str(phantoms / "labels.csv"), "--no-cache", "--json"]
    told = "" if signal_number else subprocess.run(command, capture_output=True, text=True, check=False).stdout
    with subprocess.Popen(
        [*command, "--on", "ray", "--workers", "2"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        worker = _a_worker_of(process)
        [folder] = {Path(found[0]) for args in _of_session(process.pid).values()
                    if (found := re.findall(r"--temp[-_]dir=(\S+)", args))}  # fmt: skip
        assert folder.is_dir()
        os.kill(worker if signal_number is None else process.pid, signal_number or signal.SIGKILL)
        out, err = process.communicate(timeout=300)
    if signal_number is None:
        assert process.returncode == 1, err
        assert out == told
    else:
        assert process.returncode != 0
        assert out == ""
    assert "Traceback" not in err
    deadline = time.monotonic() + 60  # after a kill nobody waits for the end of Ray
    while signal_number is signal.SIGKILL and (_of_session(process.pid) or folder.exists()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert not _of_session(process.pid)
    assert not folder.exists()


def _a_worker_of(process: subprocess.Popen[str]) -> int:
    """Wait for a worker of a command's Ray that works."""
    while process.poll() is None:
        for other, name in _of_session(process.pid).items():
            if name.startswith("ray::share"):
                return other
        time.sleep(0.05)
    raise AssertionError("no worker was seen")


def _of_session(leader: int) -> dict[int, str]:
    """Processes of a session and what they are called; those that have ended are left out."""
    told = subprocess.run(["ps", "-ww", "-eo", "pid,sid,stat,args"], capture_output=True, text=True, check=True).stdout
    lines = [line.split(None, 3) for line in told.splitlines()[1:]]
    return {int(pid): args for pid, sid, state, args in lines if int(sid) == leader and not state.startswith("Z")}

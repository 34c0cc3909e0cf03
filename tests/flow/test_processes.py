"""A run in several processes from the command line: the same run, whoever is killed, and however many go on with it."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from eyeground.cli.config_file import load_config
from eyeground.cli.experiment import carry_out
from eyeground.train.checkpoint import Checkpoints
from eyeground.train.journal import read_journal
from eyeground.train.loop import Interrupted
from tests.flow.tables import Answer, read_table
from tests.flow.test_resume import fingerprints, steps_done

Call = Callable[..., Answer]
COMMAND = [sys.executable, "-m", "eyeground"]
# What differs between processes is drawn in the network; with none of it, the run is the same.
WORDS = ("epochs=3", "drop_path=0", "checkpoint_steps=3", "mixup=0.2", "cutmix=0.5")


def processes_of(launcher: int) -> dict[int, int]:
    """Process numbers by rank of what a launcher has started."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = (path / "stat").read_text().rpartition(")")[2].split()[1]
            rank = re.search(rb"(?:^|\0)RANK=(\d+)\0", (path / "environ").read_bytes())
        except OSError:  # it has ended meanwhile
            continue
        if int(parent) == launcher and rank:
            found[int(rank[1])] = int(path.name)
    return found


def interrupted(words: list[str], run: Path, *, after_steps: int, number: signal.Signals, rank: int | None) -> Answer:
    """Start a run in two processes, and send one of them, or the one that started them, a signal."""
    process = subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and steps_done(run) < after_steps:
        time.sleep(0.05)
    target = process.pid if rank is None else processes_of(process.pid)[rank]
    subprocess.run(["kill", f"-{number.value}", str(target)], check=True)
    out, err = process.communicate(timeout=300)
    return Answer(process.returncode, out, err)


def changed(run: Path, before: str, after: str) -> None:
    """Change a key that says nothing about what is learned."""
    path = run / "config.yaml"
    text = path.read_text("utf-8")
    assert before in text
    path.write_text(text.replace(before, after), "utf-8")


@contextmanager
def stopping_after(steps: int) -> Iterator[Callable[[], bool]]:
    asked = iter(range(1, 1000))
    yield lambda: next(asked) >= steps


def weights_apart(one: Path, other: Path) -> float:
    """Largest difference of any weight at the end."""
    states = []
    for run in (one, other):
        newest = Checkpoints(run / "checkpoints").newest()
        assert newest is not None
        states.append((newest.step, newest.state["weights"]))
    assert states[0][0] == states[1][0]
    return max(float(np.abs(array - states[1][1][name]).max()) for name, array in states[0][1].items())


def told(run: Path, event: str, key: str) -> list[object]:
    return [line[key] for line in read_journal(run / "journal.jsonl") if line["event"] == event]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, config: Path) -> Path:
    """The run as one process makes it."""
    run = tmp_path_factory.mktemp("straight") / "run"
    settings = load_config(config, [*WORDS, f"out={run}"])
    carry_out(settings, name="straight", resume=None, stop=lambda: stopping_after(1000))
    return run


@pytest.mark.timeout(1500)
def test_one_of_two_is_killed_and_one_then_two_go_on(straight: Path, config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["finetune", str(config), *WORDS, "devices=2", f"out={run}"]
    answer = interrupted(words, run, after_steps=4, number=signal.SIGKILL, rank=1)
    assert answer.code == 3, answer.err
    said = answer.err.strip().splitlines()[-1]
    assert "process 2 of 2 was killed (SIGKILL" in said
    step = re.search(r"everything up to step (\d+) is in", said)
    assert step
    assert int(step[1]) in Checkpoints(run / "checkpoints").steps()
    assert said.endswith(f"go on with: eyeground finetune --resume {run}")
    assert "Traceback" not in answer.err

    changed(run, "devices: 2", "devices: 1")
    with pytest.raises(Interrupted):
        carry_out(load_config(run / "config.yaml"), name="run", resume=run, stop=lambda: stopping_after(3))
    changed(run, "devices: 1", "devices: 2")
    done = subprocess.run([*COMMAND, "finetune", "--resume", str(run)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("epoch   3/3") == 1  # the first process alone speaks

    assert told(run, "step", "step") == told(straight, "step", "step")
    assert np.abs(np.subtract(told(run, "step", "loss"), told(straight, "step", "loss"))).max() <= 1e-5
    assert told(run, "epoch", "scores") == told(straight, "epoch", "scores")
    assert weights_apart(run, straight) <= 1e-6
    engines = [str(words).rpartition(" parameters")[2] for words in told(run, "resume", "engine")]
    assert engines == ["", ", 2 processes, weights in each"]
    scores = [read_table(folder / "predictions.csv") for folder in (run, straight)]
    assert [row["prediction"] for row in scores[0]] == [row["prediction"] for row in scores[1]]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "rank"), [(signal.SIGTERM, 1), (signal.SIGINT, None), (signal.SIGTERM, None)])
def test_a_wish_to_stop_reaches_all(number: signal.Signals, rank: int | None, config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["finetune", str(config), "epochs=100", "workers=1", "devices=2", f"out={run}"]
    answer = interrupted(words, run, after_steps=3, number=number, rank=rank)
    assert answer.code == 130, answer.err
    assert answer.err.strip().endswith(f"everything so far is saved. Go on with: eyeground finetune --resume {run}")
    assert answer.err.count("everything so far is saved") == 1
    newest = Checkpoints(run / "checkpoints").newest()
    assert newest is not None
    assert newest.step == steps_done(run)


@pytest.mark.slow
def test_two_processes_resume_to_the_same_bits(config: Path, tmp_path: Path) -> None:
    words = ["finetune", str(config), *WORDS, "drop_path=0.2", "workers=1", "devices=2"]
    subprocess.run([*COMMAND, *words, f"out={tmp_path / 'a'}"], check=True, capture_output=True, timeout=300)
    broken = tmp_path / "b"
    answer = interrupted([*words, f"out={broken}"], broken, after_steps=5, number=signal.SIGKILL, rank=0)
    assert answer.code == 3, answer.err
    subprocess.run([*COMMAND, "finetune", "--resume", str(broken)], check=True, capture_output=True, timeout=300)
    assert fingerprints(broken) == fingerprints(tmp_path / "a")


@pytest.mark.slow
def test_parted_weights_go_on_whole_and_back(straight: Path, config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["finetune", str(config), *WORDS, "devices=2", "strategy=fsdp", f"out={run}"]
    answer = interrupted(words, run, after_steps=4, number=signal.SIGTERM, rank=0)
    assert answer.code == 130, answer.err
    changed(run, "devices: 2", "devices: 1")
    with pytest.raises(Interrupted):
        carry_out(load_config(run / "config.yaml"), name="run", resume=run, stop=lambda: stopping_after(2))
    changed(run, "devices: 1", "devices: 2")
    subprocess.run([*COMMAND, "finetune", "--resume", str(run)], check=True, capture_output=True, timeout=300)
    assert np.abs(np.subtract(told(run, "step", "loss"), told(straight, "step", "loss"))).max() <= 1e-5
    assert weights_apart(run, straight) <= 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("method=mae", "decoder_width=32", "decoder_depth=1", "decoder_heads=2", "picture_epochs=1", "accumulation=2"),
        ("method=simclr", "projector=[32, 16]", "accumulation=2"),
    ],
)
def test_pretraining_is_shared_too(words: tuple[str, ...], config: Path, tmp_path: Path, eyeground: Call) -> None:
    text = config.read_text("utf-8").replace("resamples: 100\n", "") + f"method: {words[0].partition('=')[2]}\n"
    plan = tmp_path / "pretrain.yaml"
    plan.write_text(text, "utf-8")
    runs = [tmp_path / "one", tmp_path / "two"]
    assert eyeground("pretrain", plan, *words, f"out={runs[0]}").code == 0
    told_words = [*COMMAND, "pretrain", str(plan), *words, "devices=2", f"out={runs[1]}"]
    done = subprocess.run(told_words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for key, bound in (("loss", 1e-5), ("spread", 1e-5), ("image_spread", 1e-6), ("gradient_norm", 1e-3)):
        one, two = (np.array(told(run, "step", key), float) for run in runs)
        assert len(one) >= 6
        assert np.abs(one - two).max() <= bound, key
    assert told(runs[0], "epoch", "scores") == told(runs[1], "epoch", "scores")
    assert {path.name for path in runs[0].iterdir()} == {path.name for path in runs[1].iterdir()}


@pytest.mark.slow
def test_torchrun_starts_it_as_well(straight: Path, config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = ["-m", "eyeground.cli.main", "finetune", str(config), *WORDS, f"out={run}", "--json"]
    done = subprocess.run([*torchrun, *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"best_epoch"') == 1
    assert weights_apart(run, straight) <= 1e-6


@pytest.mark.slow
def test_what_both_refuse_is_said_once(config: Path, tmp_path: Path) -> None:
    for words, said in (
        (["batch_size=1"], "batch_size=1 is shared among 2 processes"),
        (["data=nowhere"], "there is no such folder"),
        (["weights=nowhere.safetensors"], "no such weights file"),
    ):
        told_words = [*COMMAND, "finetune", str(config), *words, "devices=2", f"out={tmp_path / 'run'}"]
        done = subprocess.run(told_words, capture_output=True, text=True, timeout=300)
        assert done.returncode == 2, done.stderr
        assert done.stderr.count(said) == 1
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "run").exists()

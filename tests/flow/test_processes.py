"""A run in several processes from the command line: the same run, whoever is killed, and however many go on with it."""

import os
import random
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eyeground.cli.config_file import load_config
from eyeground.cli.experiment import carry_out
from eyeground.train.checkpoint import Checkpoints
from eyeground.train.journal import read_journal
from eyeground.train.loop import Interrupted
from tests.flow.tables import Answer, read_table
from tests.flow.test_resume import fingerprints, steps_done
from tests.train.together import IDLE

Call = Callable[..., Answer]
COMMAND = [sys.executable, "-m", "eyeground"]
# What differs between processes is drawn in the network; with none of it, the run is the same.
WORDS = ("epochs=3", "drop_path=0", "checkpoint_steps=3", "mixup=0.2", "cutmix=0.5")


def children_of(parent: int) -> dict[int, bytes]:
    """What a process has started: their numbers and variables."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if int((path / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                found[int(path.name)] = (path / "environ").read_bytes()
        except OSError:  # it has ended meanwhile
            continue
    return found


def processes_of(launcher: int) -> dict[int, int]:
    """Process numbers by rank of what a launcher has started."""
    ranks = {number: re.search(rb"(?:^|\0)RANK=(\d+)\0", told) for number, told in children_of(launcher).items()}
    return {int(rank[1]): number for number, rank in ranks.items() if rank}


def by_hand(words: list[str], *, differing: tuple[str, ...] = ()) -> list[Answer]:
    """Start two processes as srun does; the second may be given more words."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    started = []
    for rank in range(2):
        slurm = {"NTASKS": 2, "NTASKS_PER_NODE": 2, "STEP_NUM_TASKS": 2, "STEP_NUM_NODES": 1, "NODEID": 0, "NNODES": 1}
        variables = {f"SLURM_{name}": str(value) for name, value in (slurm | {"PROCID": rank, "LOCALID": rank}).items()}
        more = {**os.environ, **variables, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": more}
        started.append(subprocess.Popen([*COMMAND, *words, *(differing if rank else ())], **pipes))
    said = [process.communicate(timeout=300) for process in started]
    return [Answer(process.returncode, *told) for process, told in zip(started, said, strict=True)]


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
    """Largest difference at the end of any weight that the loss asks something of."""
    states = []
    for run in (one, other):
        newest = Checkpoints(run / "checkpoints").newest()
        assert newest is not None
        states.append((newest.step, newest.state["weights"]))
    assert states[0][0] == states[1][0]
    weights = {name: array for name, array in states[0][1].items() if not name.endswith(IDLE)}
    return max(float(np.abs(array - states[1][1][name]).max()) for name, array in weights.items())


def losses_apart(one: Path, other: Path) -> float:
    """Largest difference of a step's loss, as a share of the loss."""
    mine, others = (np.array(told(run, "step", "loss"), float) for run in (one, other))
    assert told(one, "step", "step") == told(other, "step", "step")
    return float(np.abs(mine / others - 1).max())


def report(what: str, one: Path, other: Path) -> None:
    """Print the figures that people ask for."""
    steps = len(told(one, "step", "step"))
    apart = f"loss of a step {losses_apart(one, other):.1e} of it, a weight {weights_apart(one, other):.1e}"
    print(f"\n{what}, {steps} steps, greatest difference: {apart}")  # noqa: T201


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

    report("fine-tuning, 2 -> 1 -> 2 processes against 1", run, straight)
    assert losses_apart(run, straight) <= 1e-5
    assert told(run, "epoch", "scores") == told(straight, "epoch", "scores")
    assert weights_apart(run, straight) <= 1e-6
    engines = [str(words).rpartition(" parameters")[2] for words in told(run, "resume", "engine")]
    assert engines == ["", ", 2 processes, weights in each"]
    scores = [read_table(folder / "predictions.csv") for folder in (run, straight)]
    assert [row["prediction"] for row in scores[0]] == [row["prediction"] for row in scores[1]]


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_killed_at_any_moment_it_ends_in_words_and_learns_the_same(config: Path, tmp_path: Path) -> None:
    words = [*WORDS, "epochs=30", "workers=1"]
    straight, run = tmp_path / "straight", tmp_path / "run"
    subprocess.run([*COMMAND, "finetune", str(config), *words, f"out={straight}"], check=True, timeout=600)
    rng, took = random.Random(0), []
    for number in range(4):
        if (run / "config.yaml").is_file():
            before, after = ("auto", "fsdp") if number % 2 else ("fsdp", "auto")
            text = (run / "config.yaml").read_text("utf-8").replace(f"strategy: {before}", f"strategy: {after}")
            (run / "config.yaml").write_text(text, "utf-8")
            go_on = ["finetune", "--resume", str(run)]
        else:
            go_on = ["finetune", str(config), *words, "devices=2", f"out={run}"]
        process = subprocess.Popen([*COMMAND, *go_on], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        reached = steps_done(run)
        while process.poll() is None and len(processes_of(process.pid)) < 2:
            time.sleep(0.05)
        if number % 3:  # else while they start, read and build
            while process.poll() is None and steps_done(run) <= reached:
                time.sleep(0.05)
        time.sleep(rng.uniform(0, 3))
        rank = rng.randrange(2)
        os.kill(processes_of(process.pid)[rank], signal.SIGKILL)
        began = time.monotonic()
        _, said = process.communicate(timeout=120)
        took.append(time.monotonic() - began)
        assert process.returncode == 3, said
        assert f"error: process {rank + 1} of 2 was killed (SIGKILL" in said
        assert "Traceback" not in said
        assert number == 0 or f"finetune --resume {run}" in said  # else there may be no folder yet
    subprocess.run([*COMMAND, "finetune", "--resume", str(run)], check=True, capture_output=True, timeout=600)
    print(f"\nfrom SIGKILL to the last word: {', '.join(f'{each:.1f}' for each in took)} s")  # noqa: T201
    report("4 kills of one of 2 processes, ddp and fsdp in turn, against 1 process", run, straight)
    assert losses_apart(run, straight) <= 1e-5
    assert told(run, "epoch", "scores") == told(straight, "epoch", "scores")


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
    report("fine-tuning, 2 (fsdp) -> 1 -> 2 (fsdp) processes against 1", run, straight)
    assert losses_apart(run, straight) <= 1e-5
    assert weights_apart(run, straight) <= 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
@pytest.mark.parametrize(
    "words",
    [
        ("method=mae", "decoder_width=32", "decoder_depth=1", "decoder_heads=2", "accumulation=2"),
        ("method=simclr", "projector=[32, 16]", "accumulation=2"),
    ],
)
def test_pretraining_is_shared_too(
    words: tuple[str, ...], strategy: str, config: Path, tmp_path: Path, eyeground: Call
) -> None:
    text = config.read_text("utf-8").replace("resamples: 100\n", "") + f"method: {words[0].partition('=')[2]}\n"
    plan = tmp_path / "pretrain.yaml"
    plan.write_text(text, "utf-8")
    runs = [tmp_path / "one", tmp_path / "two"]
    words += ("picture_epochs=1",) if words[0] == "method=mae" and strategy == "ddp" else ()
    assert eyeground("pretrain", plan, *words, f"out={runs[0]}").code == 0
    told_words = [*COMMAND, "pretrain", str(plan), *words, "devices=2", f"strategy={strategy}", f"out={runs[1]}"]
    done = subprocess.run(told_words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    report(f"{words[0]}, 2 processes ({strategy}) against 1", runs[1], runs[0])
    assert losses_apart(runs[1], runs[0]) <= 1e-5
    assert weights_apart(runs[1], runs[0]) <= 1e-5
    for key, bound in (("spread", 1e-5), ("image_spread", 1e-6), ("gradient_norm", 1e-3)):
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
    report("fine-tuning, 2 processes (ddp) against 1", run, straight)
    assert losses_apart(run, straight) <= 1e-5
    assert told(run, "epoch", "scores") == told(straight, "epoch", "scores")
    assert weights_apart(run, straight) <= 1e-6


@pytest.mark.slow
def test_srun_starts_it_as_well(straight: Path, config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    first, second = by_hand(["finetune", str(config), *WORDS, f"out={run}"])
    assert (first.code, second.code, second.out + second.err) == (0, 0, ""), first.err + second.err
    assert weights_apart(run, straight) <= 1e-6


@pytest.mark.slow
def test_a_process_with_other_settings_is_refused(config: Path, tmp_path: Path) -> None:
    first, second = by_hand(["finetune", str(config), f"out={tmp_path / 'run'}"], differing=("lr=2e-3",))
    assert first.code == 2
    assert "process 2 of 2 has other settings than the first" in first.err
    assert (second.code, second.out + second.err) == (0, "")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_full_disk_costs_nothing_already_saved(straight: Path, config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["finetune", str(config), *WORDS, "devices=2", f"out={run}"]
    assert interrupted(words, run, after_steps=2, number=signal.SIGTERM, rank=None).code == 130
    before = Checkpoints(run / "checkpoints").steps()
    go_on = [*COMMAND, "finetune", "--resume", str(run)]
    limit = 400_000  # less than the weights, more than the journal; a write beyond it fails as on a full disk
    done = subprocess.run(
        go_on, capture_output=True, text=True, timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("cannot write checkpoint") == 1
    assert "Earlier checkpoints are whole: free some space, then resume" in done.stderr
    assert "Traceback" not in done.stderr
    assert Checkpoints(run / "checkpoints").steps() == before
    assert not list((run / "checkpoints").glob(".*"))
    subprocess.run(go_on, check=True, capture_output=True, timeout=300)
    assert losses_apart(run, straight) <= 1e-5


@pytest.mark.slow
def test_a_loader_that_is_killed_ends_all(config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["finetune", str(config), "epochs=100", "checkpoint_steps=2", "workers=1", "devices=2", f"out={run}"]
    process = subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and steps_done(run) < 3:
        time.sleep(0.05)
    second = processes_of(process.pid)[1]
    words_of = {number: Path(f"/proc/{number}/cmdline").read_bytes() for number in (second, *children_of(second))}
    [loader] = [number for number, said in words_of.items() if said == words_of[second] and number != second]  # a fork
    os.kill(loader, signal.SIGKILL)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 3, said
    assert "process 2 of 2: a loader process has ended" in said
    assert said.strip().splitlines()[-1].startswith("error: process 2 of 2 ended with exit code 1 (it says why above)")
    assert f"go on with: eyeground finetune --resume {run}" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_what_both_refuse_is_said_once(config: Path, tmp_path: Path) -> None:
    for words, said in (
        (["batch_size=1"], "batch_size=1 is shared among 2 processes"),
        (["data=nowhere"], "there is no such folder"),
        (["weights=nowhere.safetensors"], "no such weights file"),
        (["strategy=fsdp", "precision=fp16"], "strategy=fsdp does not go with fp16"),
    ):
        told_words = [*COMMAND, "finetune", str(config), *words, "devices=2", f"out={tmp_path / 'run'}"]
        done = subprocess.run(told_words, capture_output=True, text=True, timeout=300)
        assert done.returncode == 2, done.stderr
        assert done.stderr.count(said) == 1
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "run").exists()

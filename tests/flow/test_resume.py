"""Killed at any moment, a run resumes to bit-identical weights, optimizer and metrics (reliability.md, T2)."""

import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eyeground.train.checkpoint import Checkpoints
from eyeground.train.journal import TIMING_KEYS, read_journal

COMMAND = [sys.executable, "-c", "from eyeground.cli.main import main; main()"]


def fingerprints(run: Path) -> dict[str, str]:
    """Hash what must not depend on interruptions: last and best weights, optimizer, journal without timings, tables."""
    shelf = Checkpoints(run / "checkpoints")
    newest = shelf.newest()
    assert newest is not None
    lines = [
        {key: value for key, value in line.items() if key not in TIMING_KEYS}
        for line in read_journal(run / "journal.jsonl")
        if line["event"] != "resume"
    ]
    return {
        "step": str(newest.step),
        "weights": newest.sha256["weights"],
        "optimizer": newest.sha256["optimizer"],
        "best": shelf.best().sha256["weights"],
        "journal": hashlib.sha256(json.dumps(lines).encode()).hexdigest(),
        "metrics_val": hashlib.sha256((run / "metrics_val.csv").read_bytes()).hexdigest(),
        "predictions": hashlib.sha256((run / "predictions.csv").read_bytes()).hexdigest(),
    }


def steps_done(run: Path) -> int:
    """Count the steps that the journal knows."""
    return max((line["step"] for line in read_journal(run / "journal.jsonl") if line["event"] == "step"), default=0)


def train_with_kills(run: Path, first: list[str], *, steps: int, kills: int, seed: int) -> int:
    """Train a run to its end, killing it at random steps on the way; return how often it was killed while training."""
    rng = random.Random(seed)
    killed = 0
    while True:
        words = ["finetune", "--resume", str(run)] if (run / "config.yaml").exists() else first
        process = subprocess.Popen([*COMMAND, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if killed < kills:
            reached = steps_done(run)
            goal = min(steps - 1, reached + rng.randint(1, max(1, 2 * (steps - reached) // (kills - killed + 1))))
            while process.poll() is None and steps_done(run) < goal:
                time.sleep(0.02)
            time.sleep(rng.random() * 0.05)
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                killed += 1
        _, told = process.communicate(timeout=600)
        if process.returncode == 0:
            return killed
        assert process.returncode == -signal.SIGKILL, told.decode()


def check_resume(config: Path, folder: Path, *, workers: int, epochs: int, kills: int, words: list[str]) -> None:
    """Compare a straight run with one that was killed and resumed."""
    common = [str(config), f"epochs={epochs}", "checkpoint_steps=3", f"workers={workers}", "drop_path=0.2", *words]
    straight = folder / "straight"
    subprocess.run([*COMMAND, "finetune", *common, f"out={straight}"], check=True, capture_output=True, timeout=600)
    steps = steps_done(straight)
    broken = folder / "broken"
    killed = train_with_kills(broken, ["finetune", *common, f"out={broken}"], steps=steps, kills=kills, seed=workers)
    print(f"workers {workers}: {steps} steps, {killed} kills")  # noqa: T201 - the figure people ask for
    assert killed >= kills - 1
    assert fingerprints(broken) == fingerprints(straight)


@pytest.mark.slow
def test_killed_three_times_with_workers_and_accumulation(config: Path, tmp_path: Path) -> None:
    words = ["accumulation=2", "batch_size=4", "mixup=0.2", "cutmix=0.2"]
    check_resume(config, tmp_path, workers=2, epochs=6, kills=3, words=words)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("workers", [0, 2])
def test_three_hundred_steps_and_twenty_kills(config: Path, tmp_path: Path, workers: int) -> None:
    check_resume(config, tmp_path, workers=workers, epochs=75, kills=20, words=[])


def test_the_control_another_seed_is_another_run(config: Path, tmp_path: Path) -> None:
    prints = []
    for seed in (0, 1):
        run = tmp_path / str(seed)
        words = [str(config), "epochs=1", f"seed={seed}", f"out={run}"]
        subprocess.run([*COMMAND, "finetune", *words], check=True, capture_output=True, timeout=600)
        prints.append(fingerprints(run))
    assert all(prints[0][name] != prints[1][name] for name in ("weights", "optimizer", "journal", "predictions"))


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["finetune", str(config), "epochs=200", "workers=2", f"out={run}"]
    process = subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and steps_done(run) < 2:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert f"eyeground finetune --resume {run}" in told
    assert "Traceback" not in told
    newest = Checkpoints(run / "checkpoints").newest()
    assert newest is not None
    assert newest.step == steps_done(run)


def test_only_one_process_trains_in_a_folder(config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = subprocess.Popen(
        [*COMMAND, "finetune", str(config), "epochs=200", f"out={run}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while first.poll() is None and steps_done(run) < 1:
            time.sleep(0.05)
        second = subprocess.run(
            [*COMMAND, "finetune", "--resume", str(run)], capture_output=True, text=True, timeout=60
        )
        assert second.returncode == 2
        assert "another process is training in it" in second.stderr
    finally:
        first.kill()
        first.wait()

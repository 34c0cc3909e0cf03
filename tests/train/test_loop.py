"""The loop: where it stops, what it remembers, what it refuses; with an engine small enough to see through."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eyeground.model.engine import LossNotFinite
from eyeground.model.spec import ModelSpec
from eyeground.train.checkpoint import Checkpoints
from eyeground.train.journal import TIMING_KEYS, Journal, read_journal
from eyeground.train.loop import Interrupted, Pace, Progress, Run, TrainingFailed, Verdict, run


class Adder:
    """An engine whose single weight is a hash of everything it was taught, in order."""

    spec = ModelSpec("vit_demo_patch8", classes=2, image_px=16)
    description = "adder"

    def __init__(self) -> None:
        self.weight = np.zeros(1)
        self.poison_at: float | None = None

    def train_step(self, batches: Sequence[tuple[np.ndarray, np.ndarray]], *, lr: float, seed: int) -> float:
        total = sum(float(images.sum()) for images, _ in batches)
        if self.poison_at is not None and total >= self.poison_at:
            raise LossNotFinite("the loss became nan")
        self.weight = np.modf(self.weight * 1.37 + total * 0.001 + lr + seed % 97)[0]
        return float(self.weight[0])

    def predict(self, images: np.ndarray) -> np.ndarray:
        return np.zeros((len(images), 2), np.float32)

    features = predict

    def state(self) -> dict[str, Mapping[str, np.ndarray]]:
        return {"weights": {"w": self.weight.copy()}}

    def load_state(self, state: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        self.weight = state["weights"]["w"].copy()


class Silent:
    def step(self, **values: Any) -> None:
        pass

    def epoch(self, **values: Any) -> None:
        pass


def parts(folder: Path, *, selections: Sequence[float] = (), **changes: Any) -> Run:
    pace = changes.pop(
        "pace", Pace(epochs=5, steps_per_epoch=7, accumulation=2, checkpoint_seconds=0, checkpoint_steps=3)
    )

    def stream(epoch: int, first: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for number in range(epoch * 14 + first, pace.epochs * 14):
            yield np.full((1, 1), number, np.float32), np.zeros((1, 2), np.float32)

    calls = iter(selections or [0.1, 0.5, 0.5, 0.4, 0.3])
    settings: dict[str, Any] = {
        "engine": Adder(),
        "stream": stream,
        "learning_rate": lambda epoch: 0.01 * epoch,
        "validate": lambda engine: Verdict(next(calls), {"accuracy": 0.5}, 0.7),
        "checkpoints": Checkpoints(folder / "checkpoints"),
        "journal": Journal(folder / "journal.jsonl"),
        "pace": pace,
        "model": {},
        "seed": 3,
        "watcher": Silent(),
    }
    return Run(**{**settings, **changes})


def lines(folder: Path) -> list[dict[str, Any]]:
    kept = (line for line in read_journal(folder / "journal.jsonl") if line["event"] != "resume")
    return [{key: value for key, value in line.items() if key not in TIMING_KEYS} for line in kept]


def test_best_is_strictly_better_and_the_journal_tells_all(tmp_path: Path) -> None:
    progress = run(parts(tmp_path))
    assert (progress.step, progress.epoch, progress.finished) == (35, 5, True)
    assert (progress.best_epoch, progress.best_step, progress.best_selection) == (
        2,
        14,
        0.5,
    )  # the tie in epoch 3 does not win
    events = lines(tmp_path)
    assert [line["event"] for line in events].count("step") == 35
    assert [line["best"] for line in events if line["event"] == "epoch"] == [True, True, False, False, False]
    assert Checkpoints(tmp_path / "checkpoints").best().step == 14


def test_stopping_at_every_step_gives_the_same_run(tmp_path: Path) -> None:
    straight = parts(tmp_path / "a", journal=Journal(tmp_path / "a.jsonl"))
    (tmp_path / "b").mkdir()
    run(straight)
    selections = [0.1, 0.5, 0.5, 0.4, 0.3]
    stops = 0
    while True:
        pieces = parts(tmp_path / "b", stop_wanted=lambda: True)
        done = sum(1 for line in lines(tmp_path / "b") if line["event"] == "epoch")
        left = iter(selections[done:])
        pieces = parts(
            tmp_path / "b",
            stop_wanted=lambda: True,
            validate=lambda e, left=left: Verdict(next(left), {"accuracy": 0.5}, 0.7),
        )
        try:
            run(pieces)
            break
        except Interrupted:
            stops += 1
    assert stops == 34
    assert np.array_equal(straight.engine.state()["weights"]["w"], pieces.engine.state()["weights"]["w"])
    a = [{k: v for k, v in line.items() if k not in TIMING_KEYS} for line in read_journal(tmp_path / "a.jsonl")]
    assert a == lines(tmp_path / "b")


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    run(parts(tmp_path))
    again = parts(tmp_path, stream=lambda epoch, first: pytest.fail("must not read data"))
    assert run(again).step == 35


def test_patience(tmp_path: Path) -> None:
    pace = Pace(epochs=5, steps_per_epoch=7, accumulation=2, patience=2, checkpoint_seconds=0)
    progress = run(parts(tmp_path, pace=pace))
    assert (progress.epoch, progress.finished) == (4, True)  # best in epoch 2, two more without improvement


def test_a_validation_that_cannot_be_scored_does_not_lose_the_run(tmp_path: Path) -> None:
    # Fault 5: a class absent from validation made the score NaN, nothing was ever saved, and the last step crashed.
    nan = float("nan")
    progress = run(parts(tmp_path, selections=[nan] * 5))
    assert progress.best_step == 35
    assert Checkpoints(tmp_path / "checkpoints").best().step == 35
    events = [line for line in lines(tmp_path) if line["event"] == "epoch"]
    assert events[0]["selection"] is None  # NaN is null in the journal, never 0


def test_a_number_beats_nan_and_nan_never_beats_a_number(tmp_path: Path) -> None:
    nan = float("nan")
    assert run(parts(tmp_path, selections=[nan, 0.2, nan, 0.1, nan])).best_epoch == 2


def test_a_loss_that_is_not_finite_ends_with_advice_and_a_sound_checkpoint(tmp_path: Path) -> None:
    pieces = parts(tmp_path)
    pieces.engine.poison_at = 60  # type: ignore[attr-defined]
    with pytest.raises(TrainingFailed, match=r"step 16 \(epoch 2\.14, learning rate 0\.0214\).*Try a lower lr"):
        run(pieces)
    newest = Checkpoints(tmp_path / "checkpoints").newest()
    assert newest is not None
    assert newest.step == 15


def test_the_journal_survives_a_cut_last_line_and_forgets_what_is_repeated(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.write("start", value=float("inf"), nested={"a": [float("nan"), 1]})
    kept = journal.size_bytes()
    journal.write("step", step=1)
    with journal.path.open("a") as file:
        file.write('{"event": "st')
    assert [line["event"] for line in read_journal(journal.path)] == ["start", "step"]
    journal.cut(kept)
    assert list(read_journal(journal.path)) == [{"event": "start", "value": None, "nested": {"a": [None, 1]}}]


def test_a_checkpoint_of_another_task_is_refused(tmp_path: Path) -> None:
    run(parts(tmp_path, model={"classes": ["a", "b"]}))
    with pytest.raises(TrainingFailed, match=r"another task: classes \(\['a', 'b'\] then, \['b', 'a'\] now\) changed"):
        run(parts(tmp_path, model={"classes": ["b", "a"]}))
    pace = Pace(epochs=5, steps_per_epoch=6, accumulation=2)
    with pytest.raises(TrainingFailed, match=r"steps per epoch \(7 then, 6 now\)"):
        run(parts(tmp_path, model={"classes": ["a", "b"]}, pace=pace))


def test_a_dead_tensorboard_does_not_stop_training(tmp_path: Path) -> None:
    # A full disk kills tensorboardX's writer thread; feeding its queue would then block for ever.
    journal = Journal(tmp_path / "journal.jsonl", tensorboard=tmp_path / "board")
    journal.write("step", step=1, loss=0.5)
    worker = journal._board.file_writer.event_writer._worker
    worker.stop()
    worker.join()
    for step in range(2, 40):
        journal.write("step", step=step, loss=0.5)
    journal.close()
    assert len(list(read_journal(journal.path))) == 39


def test_progress_is_plain_values() -> None:
    from dataclasses import asdict

    assert all(value is None or isinstance(value, int | float | bool) for value in asdict(Progress()).values())

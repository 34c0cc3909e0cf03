"""One part of a data set predicted: scores and truth of photographs and volumes, and a table for each head."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eyeground.cli.config import ConfigError
from eyeground.cli.console import counting
from eyeground.cli.dataset import Dataset
from eyeground.cli.selection import Score
from eyeground.cli.trained import Trained
from eyeground.data.loader import EvaluationImages
from eyeground.data.sample import Sample
from eyeground.data.task import Head, Task
from eyeground.evaluate.answers import answer_columns, write_columns
from eyeground.evaluate.measurements import Measurements
from eyeground.evaluate.pooling import pool
from eyeground.evaluate.predictions import Predictions
from eyeground.train.finetune import predict_all
from eyeground.train.loop import Verdict

Square = Callable[[int], NDArray[np.uint8]]


@dataclass(frozen=True, eq=False)
class Predicted:
    """What a network says of one part of a data set, a row per photograph or volume.

    Args:
        task: What was asked.
        ordered: Whether the classes of a single head are grades.
        samples: One for each row, N; of a volume its first B-scan.
        scores: Shape (N, S).
        truth: Shape (N, H), NaN = not known.
        loss: Plain mean over batches of the task's loss; NaN without labels.
        patients_known: Whether ``patient`` means more than "this image".
        square: Gives a row's image as the network saw it.

    Example:
        >>> from eyeground.data.task import classification
        >>> said = Predicted(classification(("a", "b")), False, (Sample("1.png", Path("."), 1, "p"),),
        ...                  np.array([[0.2, 0.8]]), np.array([[1.0]]), 0.2, True, lambda row: np.zeros((2, 2, 3)))
        >>> said.table(said.task.heads[0]).truth.tolist()
        [1]

    References:
        Our own.
    """

    task: Task
    ordered: bool
    samples: tuple[Sample, ...]
    scores: NDArray[np.float64]
    truth: NDArray[np.float64]
    loss: float
    patients_known: bool
    square: Square

    def table(self, head: Head) -> Predictions | Measurements:
        """Give what one head says.

        Args:
            head: One of the task's.

        Returns:
            Predictions of classes (no and yes where it asks that), or measurements of a quantity.
        """
        number = self.task.heads.index(head)
        place = next(columns for each, _, columns in self.task.parts() if each == head)
        scores, truth = self.scores[:, place], self.truth[:, number]
        files = tuple(sample.file for sample in self.samples)
        patients = tuple(sample.patient for sample in self.samples)
        eyes = tuple(sample.eye for sample in self.samples)
        sites = tuple(sample.site for sample in self.samples)
        cameras = tuple(sample.camera for sample in self.samples)
        quality = ("",) * len(files)
        if head.kind == "quantity":
            said = scores[:, 0]
            return Measurements(
                files, patients, eyes, sites, cameras, truth=truth, said=said, name=head.name, unit=head.unit,
                patients_known=self.patients_known, quality=quality,
            )  # fmt: skip
        if head.kind == "yes_no":
            scores = np.concatenate([1 - scores, scores], axis=1)
        return Predictions(
            files, patients, eyes, sites, cameras,
            truth=np.where(np.isfinite(truth), truth, -1).astype(np.int64),
            scores=scores / scores.sum(axis=1, keepdims=True),
            classes=head.classes,
            ordered=self.ordered if head.kind == "classes" else head.kind == "grades",
            patients_known=self.patients_known,
            quality=quality,
        )  # fmt: skip


def predict_split(trained: Trained, dataset: Dataset, split: str) -> Predicted:
    """Predict one part of a data set; of a volume, all chosen B-scans, pooled to one prediction.

    Args:
        trained: The model.
        dataset: Samples with splits.
        split: Which part.

    Returns:
        What the network says.

    Raises:
        ConfigError: If the part is empty.

    References:
        Our own.
    """
    samples = dataset.of(split)
    if not samples:
        raise ConfigError(f"no sample is in the split {split!r}: nothing to judge")
    images = EvaluationImages(samples, pixels=dataset.pixels, preprocessing=trained.preprocessing)
    with counting(f"predicting {split}", len(samples)) as done:
        seen = [0]

        def count(number: int) -> None:
            seen[0] += number
            done(seen[0], len(samples))

        scores, truth, loss = predict_all(
            trained.engine, images, task=trained.task, batch_size=trained.batch_size, seen=count
        )
    scores, first = pool(scores, [sample.volume for sample in samples])
    # A volume is shown by the middle one of its B-scans.
    rows: dict[str, list[int]] = {}
    for row, sample in enumerate(samples):
        rows.setdefault(sample.volume, []).append(row)
    shown = [numbers[len(numbers) // 2] for numbers in rows.values()]
    return Predicted(
        task=trained.task,
        ordered=trained.ordered,
        samples=tuple(samples[row] for row in first),
        scores=scores,
        truth=truth[list(first)],
        loss=loss,
        patients_known=dataset.patients_known,
        square=lambda row: images.square(shown[row]),
    )


def write_heads(path: Path, predicted: Predicted) -> None:
    """Write what all heads say of each image into one table, whole or not at all.

    Columns are ``patient, eye, file``, then for each head ``truth_<head>``, empty where not known, and what
    ``answer_columns`` gives.

    Args:
        path: CSV file to write.
        predicted: What the network says.

    References:
        RFC 4180.
    """
    columns: dict[str, list[str]] = {
        "patient": [sample.patient if predicted.patients_known else "" for sample in predicted.samples],
        "eye": [sample.eye for sample in predicted.samples],
        "file": [sample.file for sample in predicted.samples],
    }
    for number, (head, _, place) in enumerate(predicted.task.parts()):
        columns[f"truth_{head.name}"] = [_word(head, value) for value in predicted.truth[:, number].tolist()]
        columns |= answer_columns(head, predicted.scores[:, place], alone=False)
    write_columns(path, columns)


def _word(head: Head, value: float) -> str:
    """What the truth is called; nothing where it is not known."""
    if not math.isfinite(value):
        return ""
    return head.classes[int(value)] if head.classes else repr(value)


def by_volume(samples: Sequence[Sample], score: Score) -> Score:
    """Let a score judge volumes, not their single B-scans.

    Args:
        samples: What will be scored, in order.
        score: Judges scores (N, S), truth (N, H) and a loss.

    Returns:
        The same judge, given the means over each volume's B-scans.

    Example:
        >>> [sample] = [Sample("a", Path("."), 1, "p")]
        >>> by_volume([sample], lambda scores, truth, loss: len(truth))(np.ones((1, 2)), np.array([[1.0]]), 0.0)
        1

    References:
        Our own.
    """

    def judge_volumes(scores: NDArray[np.float64], truth: NDArray[np.float64], loss: float) -> Verdict:
        pooled, first = pool(scores, [sample.volume for sample in samples])
        return score(pooled, truth[list(first)], loss)

    return judge_volumes

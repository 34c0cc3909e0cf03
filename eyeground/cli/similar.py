"""The training images of a run as a network sees them, to find those most like another image."""

from pathlib import Path

import numpy as np

from eyeground.cli.console import counting, tell
from eyeground.cli.dataset import Dataset
from eyeground.cli.past_data import data_of_run
from eyeground.cli.trained import Trained
from eyeground.data.loader import EvaluationImages
from eyeground.data.sample import Sample
from eyeground.data.task import Task
from eyeground.evaluate.pooling import pool
from eyeground.explain.cases import Cases, read_cases, write_cases

CASES = "cases.safetensors"


def training_cases(run: Path, trained: Trained, *, files: bool, dataset: Dataset | None = None) -> Cases:
    """Give the features of a run's training images, with their labels.

    Args:
        run: The run's folder; what was computed is kept in it.
        trained: The run, opened.
        files: Whether to say where the pictures are.
        dataset: The run's images, where they are open already.

    Returns:
        The cases, a row per photograph or volume.

    Raises:
        ConfigError: If the run does not tell its images.
        DataProblems: If images are gone, or are others now.

    References:
        Our own.
    """
    kept = _kept(run / CASES, trained.weights_sha256)
    if kept is None:
        dataset = dataset or data_of_run(run)
        samples = dataset.of("train")
        images = EvaluationImages(samples, pixels=dataset.pixels, preprocessing=trained.preprocessing, limit_bytes=0)
        found = []
        with counting("training cases", len(samples)) as done:
            seen = 0
            for batch in images.batches(trained.batch_size):
                found.append(trained.engine.features(batch.images).astype(np.float64))
                seen += len(batch.images)
                done(seen, len(samples))
        rows, first = pool(np.concatenate(found), [sample.volume for sample in samples])
        kept = Cases(
            rows.astype(np.float32),
            tuple(_label(trained.task, samples[row]) for row in first),
            tuple(str(samples[row].path) for row in first),
            trained.weights_sha256,
        )
        write_cases(run / CASES, kept)
    return kept if files else Cases(kept.features, kept.labels, (), kept.weights_sha256)


def _kept(path: Path, weights_sha256: str) -> Cases | None:
    """What was computed before, if it is of these weights."""
    if not path.is_file():
        return None
    try:
        found = read_cases(path)
    except ValueError as error:
        tell(f"computed anew: {error}")
        return None
    return found if found.weights_sha256 == weights_sha256 else None


def _label(task: Task, sample: Sample) -> str:
    """What training was told of an image."""
    words = []
    for head, value in zip(task.heads, sample.truth, strict=True):
        if np.isfinite(value):
            word = head.classes[int(value)] if head.classes else f"{value:g} {head.unit}".strip()
            words.append(word if task.single else f"{head.name} {word}")
    return ", ".join(words)

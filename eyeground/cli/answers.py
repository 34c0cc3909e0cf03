"""Unlabelled images -> a table of answers."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eyeground.cli.calibrating import RECORD, read_calibration
from eyeground.cli.config import ConfigError
from eyeground.cli.console import answer, counting, table, tell
from eyeground.cli.trained import Trained, open_run
from eyeground.data.listing import IMAGE_SUFFIXES, is_image
from eyeground.data.pixels import PixelStore
from eyeground.data.preprocessing import normalize, square
from eyeground.data.volumes import chosen, slice_step
from eyeground.evaluate.answers import answer_columns, write_answers
from eyeground.evaluate.calibrate import Calibration
from eyeground.evaluate.pooling import pool
from eyeground.images.laterality import eye_from_name, reconcile
from eyeground.images.quality import verdict
from eyeground.images.read import look, read
from eyeground.images.refusal import ImageRefused
from eyeground.images.retinal_image import RetinalImage
from eyeground.model.optimization import Device, Framework, Precision

UNGRADABLE = "cannot grade"


def find_images(paths: Sequence[Path]) -> list[Path]:
    """List images: files as given, folders searched all the way down.

    Args:
        paths: Files and folders.

    Returns:
        Files in order, each once.

    Raises:
        ConfigError: If a path does not exist, or nothing was found.

    References:
        Our own.
    """
    absent = [str(path) for path in paths if not path.exists()]
    if absent:
        raise ConfigError(f"no such file or folder: {', '.join(absent)}")
    found: dict[Path, None] = {}
    for path in paths:
        # By name only to leave a folder's tables and notes alone; what a file really is, its content decides.
        inside = sorted(p for p in path.rglob("*") if is_image(p.name) and p.is_file())
        found.update(dict.fromkeys(inside if path.is_dir() else [path]))
    if not found:
        endings = ", ".join(sorted(IMAGE_SUFFIXES))
        raise ConfigError(f"no images in {', '.join(map(str, paths))}; files that end in {endings} are looked for")
    return list(found)


def answer_images(
    run: Path,
    paths: Sequence[Path],
    *,
    out: Path,
    slices: str | None,
    volumes: bool,
    calibrated: bool,
    batch_size: int,
    framework: Framework | None,
    device: Device,
    precision: Precision,
    as_json: bool,
) -> None:
    """Predict images and write the table; a file that cannot be read gets its line too, with the reason.

    Of a volume the chosen B-scans are predicted, and their mean is its answer.

    Args:
        run: The run's folder.
        paths: Images and folders.
        out: Table to write.
        slices: Which B-scans of a volume: ``center``, ``all`` or ``every:N``; None = as the run was trained.
        volumes: Whether each folder is one volume, its images the slices.
        calibrated: Temper the scores as the run's ``calibration.json`` says, and add what its sets and thresholds say.
        batch_size: Images per batch.
        framework: In which framework; None = in the one it was trained in.
        device: Where to compute.
        precision: How to compute.
        as_json: End with one JSON line.

    Raises:
        ConfigError: If there are no images, or the calibration that is wanted is missing or of other weights.
        CheckpointError: If the run holds no sound checkpoint.

    References:
        Our own.
    """
    try:
        step = slice_step(slices) if slices else None
    except ValueError as error:
        raise ConfigError(f"--{error}") from error
    files = [*paths] if volumes else find_images(paths)
    _check_table(out, run)
    trained = open_run(run, framework=framework, device=device, precision=precision)
    calibrations = _calibrations(run, trained) if calibrated else {}
    seen = _look_at_all(trained, files, slice_step(trained.slices) if step is None else step, batch_size)
    columns: dict[str, list[str]] = {}
    counts: dict[str, dict[str, int]] = {}
    alone = trained.task.single is not None
    for head, _, place in trained.task.parts():
        scores, tail = seen.scores[:, place], "" if alone else f"_{head.name}"
        if calibration := calibrations.get(head.name):
            # A calibration of yes or no knows both; the head's score is that of yes.
            both = head.kind == "yes_no"
            whole = calibration.tempered(np.concatenate([1 - scores, scores], axis=1) if both else scores)
            scores = whole[:, 1:] if both else whole
            more = {f"{name}{tail}": words for name, words in calibration.columns(whole).items()}
        else:
            more = {}
        told = answer_columns(head, scores, alone=alone)
        columns |= told | more
        said = told[f"prediction{tail}"]
        counts[head.name] = {name: said.count(name) for name in head.classes}
    write_answers(out, files=[str(path) for path in files], eyes=seen.eyes, quality=seen.quality, columns=columns)
    _show(files, seen, columns)
    graded = np.isfinite(seen.scores[:, 0])
    unread = [f"{path}: {note}" for path, note in zip(files, seen.quality, strict=True) if note.startswith(UNGRADABLE)]
    if unread:
        tell(f"{len(unread)} of {len(files)} could not be graded:", *(f"  {line}" for line in unread))
    certain = {name.removeprefix("certain_"): words.count("yes") for name, words in columns.items()
               if name.startswith("certain")}  # fmt: skip
    answer(
        {
            "out": str(out),
            "images": len(files),
            "graded": int(graded.sum()),
            "predictions": next(iter(counts.values())) if alone else counts,
            **({"certain": next(iter(certain.values())) if alone else certain} if calibrated else {}),
            "not_graded": unread,
            "notes": seen.notes,
        },
        as_json=as_json,
        last_line=f"answers: {out}",
    )


def _calibrations(run: Path, trained: Trained) -> dict[str, Calibration]:
    """A calibration for each head that can have one."""
    heads = [head for head in trained.task.heads if head.kind != "quantity"]
    if not heads:
        raise ConfigError(f"--calibrated: {run} predicts a quantity, which has no calibration")
    places = {head.name: run if trained.task.single else run / "heads" / head.name for head in heads}
    made = [head for head in heads if (places[head.name] / RECORD).is_file()]
    if made and len(made) < len(heads):
        tell(f"not calibrated, for want of labels: {', '.join(head.name for head in heads if head not in made)}")
    return {
        head.name: read_calibration(places[head.name], weights_sha256=trained.weights_sha256, classes=head.classes)
        for head in made or heads
    }


class _Seen(NamedTuple):
    """What was found in all files."""

    scores: NDArray[np.float64]  # (N, S), NaN where not graded
    quality: list[str]
    eyes: list[str]
    notes: list[str]


def _look_at_all(trained: Trained, files: Sequence[Path], step: int, batch_size: int) -> _Seen:
    """Read and predict every file; one that cannot be read says why."""
    preprocessing = trained.preprocessing
    store = PixelStore(crop_field=preprocessing.crop_field, store_px=preprocessing.store_px)
    scores = np.full((len(files), trained.task.columns), np.nan)
    quality, eyes = [""] * len(files), [""] * len(files)
    notes: list[str] = []
    with counting("predicting", len(files)) as done:
        batch = _Batch(trained, store, batch_size)
        for number, path in enumerate(files):
            try:
                first = None
                for slice in chosen(look(path).slices, step) if step else (None,):
                    image = read(path, slice=slice)
                    word = verdict(image)
                    if first is None or first.startswith(UNGRADABLE):
                        first = word
                    if not word.startswith(UNGRADABLE):
                        batch.add(number, image)
                    found = reconcile({"file header": image.eye, "file name": eye_from_name(path.name)})
                quality[number], eyes[number] = first or "good", found.eye
                if found.conflict:
                    notes.append(f"{path}: {found.conflict}")
            except ImageRefused as error:
                batch.drop(number)
                quality[number] = f"{UNGRADABLE}: {error.sentence if error.reason == 'no_such_slice' else error.reason}"
            done(number + 1, len(files))
        answered = batch.finish()
    if answered:
        means, first_rows = pool(np.stack([line for _, line in answered]), [number for number, _ in answered])
        scores[[answered[row][0] for row in first_rows]] = means
    return _Seen(scores, quality, eyes, notes)


def _show(files: Sequence[Path], seen: _Seen, columns: Mapping[str, Sequence[str]]) -> None:
    """Show a few answers on the terminal: each head's prediction with its highest score."""
    said = [name for name in columns if name.startswith("prediction")]
    if len(files) <= 20:
        rows = []
        for row, (path, note) in enumerate(zip(files, seen.quality, strict=True)):
            words = [_with_score(name, row, columns) for name in said]
            rows.append([path.name, *(words if any(words) else [note, *[""] * (len(said) - 1)])])
        table("answers", ["file", *(name.removeprefix("prediction_") for name in said)], rows)
    tell(*seen.notes)


def _with_score(prediction: str, row: int, columns: Mapping[str, Sequence[str]]) -> str:
    """A prediction and how sure it is: of yes or no how likely yes is, of a quantity the number alone."""
    word, tail = columns[prediction][row], prediction.removeprefix("prediction")
    if not word:
        return ""
    if f"score{tail}" in columns:
        return f"{float(columns[f'score{tail}'][row]):.2f}"
    score = columns.get(f"score{tail}_{word}")
    return f"{word} {float(score[row]):.3f}" if score else f"{float(word):.4g}"


class _Batch:
    """Collects B-scans and photographs of many files and predicts them together."""

    def __init__(self, trained: Trained, store: PixelStore, size: int) -> None:
        self._trained, self._store, self._size = trained, store, size
        self._waiting: list[tuple[int, NDArray[np.uint8]]] = []
        self._answered: list[tuple[int, NDArray[np.float64]]] = []

    def add(self, number: int, image: RetinalImage) -> None:
        """Take one image of a file."""
        self._waiting.append((number, square(self._store.ready(image), self._trained.preprocessing)))
        if len(self._waiting) == self._size:
            self._predict()

    def drop(self, number: int) -> None:
        """Forget a file: half a volume is no answer."""
        self._waiting = [pair for pair in self._waiting if pair[0] != number]
        self._answered = [pair for pair in self._answered if pair[0] != number]

    def finish(self) -> list[tuple[int, NDArray[np.float64]]]:
        """Predict what is left; gives each image's file and scores."""
        self._predict()
        return self._answered

    def _predict(self) -> None:
        """Predict what waits."""
        if self._waiting:
            scores = self._trained.engine.predict(normalize([s for _, s in self._waiting], self._trained.preprocessing))
            rows = scores.astype(np.float64)
            self._answered += [(number, row) for (number, _), row in zip(self._waiting, rows, strict=True)]
            self._waiting = []


def _check_table(out: Path, run: Path) -> None:
    """Find out before the work, not after it, that the table cannot be written."""
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: the folder {out.parent} does not exist")
    if out.is_dir() or not os.access(out.parent, os.W_OK):
        raise ConfigError(f"--out {out}: no file can be written there")
    if out.resolve().parent == run.resolve():
        raise ConfigError(f"--out {out}: the run keeps its own predictions there; choose another place")

"""Unlabelled images -> a table of answers."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eyeground.cli.config import ConfigError
from eyeground.cli.console import answer, counting, table, tell
from eyeground.cli.trained import Trained, open_run
from eyeground.data.listing import IMAGE_SUFFIXES, is_image
from eyeground.data.pixels import PixelStore
from eyeground.data.preprocessing import normalize, square
from eyeground.data.volumes import chosen, slice_step
from eyeground.evaluate.pooling import pool
from eyeground.evaluate.predictions import write_answers
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
        batch_size: Images per batch.
        framework: In which framework; None = in the one it was trained in.
        device: Where to compute.
        precision: How to compute.
        as_json: End with one JSON line.

    Raises:
        ConfigError: If there are no images.
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
    preprocessing = trained.preprocessing
    step = slice_step(trained.slices) if step is None else step
    store = PixelStore(crop_field=preprocessing.crop_field, store_px=preprocessing.store_px)
    scores = np.full((len(files), len(trained.classes)), np.nan)
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
    write_answers(
        out,
        files=[str(path) for path in files],
        eyes=eyes,
        quality=quality,
        scores=scores,
        classes=trained.classes,
    )
    graded = np.isfinite(scores[:, 0])
    said = [trained.classes[k] for k in scores[graded].argmax(axis=1)]
    if len(files) <= 20:
        graded_words = iter(zip(said, scores[graded].max(axis=1), strict=True))
        rows = []
        for path, sound, note in zip(files, graded, quality, strict=True):
            word, score = next(graded_words) if sound else ("", float("nan"))
            rows.append([path.name, word or note, f"{score:.3f}" if sound else ""])
        table("answers", ["file", "prediction", "score"], rows)
    tell(*notes)
    unread = [f"{path}: {note}" for path, note in zip(files, quality, strict=True) if note.startswith(UNGRADABLE)]
    if unread:
        tell(f"{len(unread)} of {len(files)} could not be graded:", *(f"  {line}" for line in unread))
    counts = {name: said.count(name) for name in trained.classes}
    answer(
        {
            "out": str(out),
            "images": len(files),
            "graded": int(graded.sum()),
            "predictions": counts,
            "not_graded": unread,
            "notes": notes,
        },
        as_json=as_json,
        last_line=f"answers: {out}",
    )


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

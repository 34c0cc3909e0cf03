"""Unlabelled images -> a table of answers."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eyeground.cli.config import ConfigError
from eyeground.cli.console import answer, counting, table, tell
from eyeground.cli.trained import open_run
from eyeground.data.augment import normalize, square
from eyeground.data.listing import IMAGE_SUFFIXES, is_image
from eyeground.data.pixels import PixelStore
from eyeground.evaluate.predictions import write_answers
from eyeground.images.decode import ImageRefused, read
from eyeground.images.laterality import eye_from_name
from eyeground.images.quality import verdict
from eyeground.model.torch.engine import Device, Precision


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
    batch_size: int,
    device: Device,
    precision: Precision,
    as_json: bool,
) -> None:
    """Predict images and write the table; a file that cannot be read gets its line too, with the reason.

    Args:
        run: The run's folder.
        paths: Images and folders.
        out: Table to write.
        batch_size: Images per batch.
        device: Where to compute.
        precision: How to compute.
        as_json: End with one JSON line.

    Raises:
        ConfigError: If there are no images.
        CheckpointError: If the run holds no sound checkpoint.

    References:
        Our own.
    """
    files = find_images(paths)
    _check_table(out, run)
    trained = open_run(run, device=device, precision=precision)
    preprocessing = trained.preprocessing
    store = PixelStore(crop_field=preprocessing.crop_field, store_px=preprocessing.store_px)
    scores = np.full((len(files), len(trained.classes)), np.nan)
    quality: list[str] = []
    with counting("predicting", len(files)) as done:
        for start in range(0, len(files), batch_size):
            squares, numbers = [], []
            for number, path in enumerate(files[start : start + batch_size], start):
                try:
                    image = read(path)
                    quality.append(verdict(image))
                except ImageRefused as error:
                    quality.append(f"cannot grade: {error.reason}")
                    continue
                if not quality[-1].startswith("cannot grade"):
                    squares.append(square(store.ready(image), preprocessing))
                    numbers.append(number)
            if squares:
                scores[numbers] = trained.engine.predict(normalize(squares, preprocessing))
            done(min(start + batch_size, len(files)), len(files))
    write_answers(
        out,
        files=[str(path) for path in files],
        eyes=[eye_from_name(path.name) for path in files],
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
    unread = [f"{path}: {note}" for path, note in zip(files, quality, strict=True) if note.startswith("cannot grade")]
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
        },
        as_json=as_json,
        last_line=f"answers: {out}",
    )


def _check_table(out: Path, run: Path) -> None:
    """Find out before the work, not after it, that the table cannot be written."""
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: the folder {out.parent} does not exist")
    if out.is_dir() or not os.access(out.parent, os.W_OK):
        raise ConfigError(f"--out {out}: no file can be written there")
    if out.resolve().parent == run.resolve():
        raise ConfigError(f"--out {out}: the run keeps its own predictions there; choose another place")

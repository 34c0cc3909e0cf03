"""Unlabelled images -> a table of answers, and on request a table of patients."""

import os
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eyeground.cli.config import ConfigError
from eyeground.cli.console import answer, counting, table, tell
from eyeground.cli.fan_out import ClusterUnfit, fanned_out
from eyeground.cli.opened import open_predictor
from eyeground.data.listing import IMAGE_SUFFIXES, is_image
from eyeground.data.spread import Spread
from eyeground.data.volumes import slice_step
from eyeground.model.optimization import Device, Framework, Precision
from eyeground.serve.batch import Elsewhere, Row, Table, TableBegun, answer_files, answer_run
from eyeground.serve.patients import join_eyes, read_patients, write_patients
from eyeground.serve.predictor import Predictor
from eyeground.serve.runtime import RuntimePrecision


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
    found: list[Path] = []
    for path in find_paths(paths):
        # By name only to leave a folder's tables and notes alone; what a file really is, its content decides.
        inside = sorted(p for p in path.rglob("*") if is_image(p.name) and p.is_file())
        found += inside if path.is_dir() else [path]
    if not found:
        endings = ", ".join(sorted(IMAGE_SUFFIXES))
        raise ConfigError(f"no images in {', '.join(map(str, paths))}; files that end in {endings} are looked for")
    return _once(found)


def find_paths(paths: Sequence[Path]) -> list[Path]:
    """List files and folders as given.

    Args:
        paths: Files and folders.

    Returns:
        In order, each once however it is spelled.

    Raises:
        ConfigError: If one does not exist; all of them.

    References:
        Our own.
    """
    absent = [str(path) for path in paths if not path.exists()]
    if absent:
        raise ConfigError(f"no such file or folder: {', '.join(absent)}")
    return _once(paths)


def answer_images(
    model: Path,
    paths: Sequence[Path],
    *,
    out: Path,
    slices: str | None,
    volumes: bool,
    calibrated: bool,
    patients: str,
    batch_size: int,
    runtime: str,
    framework: Framework | None,
    device: Device,
    precision: Precision | RuntimePrecision,
    threads: int,
    as_json: bool,
    on: str | None = None,
    workers: int = 0,
) -> None:
    """Predict images and write the table; a file that cannot be read gets its line too, with the reason.

    Args:
        model: A run's folder, or a bundle.
        paths: Images and folders.
        out: Table to write.
        slices: Which B-scans of a volume: ``center``, ``all`` or ``every:N``; None = as the model was trained.
        volumes: Whether each folder is one volume, its images the slices.
        calibrated: Temper the scores as a run's ``calibration.json`` says, and add what its sets and thresholds say.
        patients: Join the eyes of each patient: ``names``, or a table with the columns file and patient; empty = no.
        batch_size: Images per batch.
        runtime: Which of a bundle's runtimes; empty = the fastest here of those that were proven.
        framework: In which framework a run is opened; None = in the one it was trained in.
        device: Where to compute.
        precision: How to compute.
        threads: Processor threads, 0 = the runtime's choice.
        as_json: End with one JSON line.
        on: Whose Ray does the work; None = this process does.
        workers: Workers there; 0 = as many as there are cores.

    Raises:
        ConfigError: If there are no images, the words do not go together, or the calibration is missing or of others.
        CheckpointError: If the run holds no sound checkpoint.
        BundleRefused: If the bundle is not as it was packed.
        RuntimeMissing: If the runtime is not to be had.
        ClusterUnfit: If the cluster is not there, or cannot do it.
        WorkersLost: If workers die again and again; what is answered is kept.

    References:
        docs/run.md for the tables.
    """
    try:
        slice_step(slices) if slices else None
    except ValueError as error:
        raise ConfigError(f"--{error}") from error
    files = find_paths(paths) if volumes else find_images(paths)
    joined = out.with_name(f"{out.stem}_patients{out.suffix}")
    read = [*files, *([Path(patients)] if patients else [])]
    _check_table(out, model, read)
    if patients:
        _check_table(joined, model, read)
    owners = read_patients(patients, files) if patients else {}
    words: dict[str, Any] = {
        "runtime": runtime, "framework": framework, "device": device, "precision": precision, "threads": threads,
        "batch_size": batch_size, "images": len(files), "calibrated": calibrated,
    }  # fmt: skip
    predictor = open_predictor(model, **words)
    try:
        with (
            fanned_out(on, workers=workers, reads=[model, *paths], device=device, threads=threads) as spread,
            counting("predicting", len(files)) as done,
        ):
            elsewhere = _elsewhere(spread, _Asking(model, words, slices, predictor.id)) if spread else None
            found = answer_files(
                predictor,
                files,
                out=out,
                slices=slices,
                workers=os.cpu_count() or 1,
                elsewhere=elsewhere,
                progress=done,
            )
    except TableBegun as error:
        raise ConfigError(str(error)) from error
    finally:
        predictor.runtime.close()
    if found.resumed:
        tell(f"resumed: {found.resumed} of {len(files)} were answered by an earlier call")
    _show(found)
    if patients:
        write_patients(joined, join_eyes(found.rows, owners, predictor.contract))
        tell(f"patients: {joined}")
    unread = [f"{row.file}: {row.quality}" for row in found.not_graded]
    if unread:
        tell(f"{len(unread)} of {len(files)} could not be graded:", *(f"  {line}" for line in unread))
    alone = predictor.contract.task.single is not None
    counts = {
        head.name: dict.fromkeys(head.classes, 0) | found.counts("prediction" if alone else f"prediction_{head.name}")
        if head.classes
        else {}
        for head in predictor.contract.task.heads
    }
    certain = {
        name.removeprefix("certain_"): found.counts(name).get("yes", 0)
        for name in found.rows[0].cells
        if name.startswith("certain")
    }
    answer(
        {
            "out": str(out),
            "images": len(files),
            "graded": len(files) - len(unread),
            "resumed": found.resumed,
            "predictions": next(iter(counts.values())) if alone else counts,
            **({"certain": next(iter(certain.values())) if alone else certain} if certain else {}),
            **({"patients": str(joined)} if patients else {}),
            "not_graded": unread,
            "notes": [f"{row.file}: {row.conflict}" for row in found.rows if row.conflict],
        },
        as_json=as_json,
        last_line=f"answers: {out}",
    )


@dataclass
class _Asking:
    """Opens the model once, and asks it about runs of files: a worker's part."""

    model: Path
    words: Mapping[str, Any]
    slices: str | None
    id: str
    _opened: Predictor | None = field(default=None, init=False)

    def __call__(self, run: Sequence[Path]) -> tuple[str, list[Row]]:
        if self._opened is None:
            self._opened = open_predictor(self.model, **self.words)
            if self._opened.id != self.id:
                raise ClusterUnfit(f"{self.model}: is another model on a worker's node than here")
        rows = answer_run(self._opened, run, slices=self.slices) if run else []
        return self._opened.runtime.description, rows


def _elsewhere(spread: Spread, asking: _Asking) -> Elsewhere:
    """Let a worker say on what it computes, and be ready to ask all of them."""
    [(computes, _)] = spread([()], asking)

    def ask(runs: Sequence[Sequence[Path]]) -> Generator[list[Row], None, None]:
        for other, rows in spread(runs, asking):
            if other != computes:
                raise ClusterUnfit(f"one worker computes on {computes}, one on {other}; name --device, and --runtime")
            yield rows

    return Elsewhere(computes, ask)


def _show(found: Table) -> None:
    """Show a few answers on the terminal: each head's prediction with its highest score."""
    said = [name for name in found.rows[0].cells if name.startswith("prediction")]
    if len(found.rows) <= 20:
        lines = []
        for row in found.rows:
            words = [_with_score(name, row.cells) for name in said]
            lines.append([Path(row.file).name, *(words if any(words) else [row.quality, *[""] * (len(said) - 1)])])
        table("answers", ["file", *(name.removeprefix("prediction_") for name in said)], lines)
    tell(*(f"{row.file}: {row.conflict}" for row in found.rows if row.conflict))


def _with_score(prediction: str, cells: Mapping[str, str]) -> str:
    """A prediction and how sure it is: of yes or no how likely yes is, of a quantity the number alone."""
    word, tail = cells[prediction], prediction.removeprefix("prediction")
    if not word:
        return ""
    if f"score{tail}" in cells:
        return f"{float(cells[f'score{tail}']):.2f}"
    score = cells.get(f"score{tail}_{word}")
    return f"{word} {float(score):.3f}" if score else f"{float(word):.4g}"


def _once(paths: Sequence[Path]) -> list[Path]:
    """Paths in order, each as it is first spelled: a link is a name of its own, a detour to a folder is not."""
    found: dict[Path, Path] = {}
    for path in paths:
        found.setdefault(path.resolve() if path.is_dir() else path.parent.resolve() / path.name, path)
    return list(found.values())


def _check_table(out: Path, model: Path, read: Sequence[Path]) -> None:
    """Find out before the work, not after it, that the table cannot be written."""
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: the folder {out.parent} does not exist")
    if out.is_dir() or not os.access(out.parent, os.W_OK):
        raise ConfigError(f"--out {out}: no file can be written there")
    if out.resolve().parent == model.resolve():
        raise ConfigError(f"--out {out}: {model} keeps its own files there; choose another place")
    if out.exists() and any(path.exists() and path.samefile(out) for path in read):
        raise ConfigError(f"--out {out}: {out} is read for the answers, and would be lost; choose another")

"""A run judged on other data than its own."""

import shlex
import sys
import time
from pathlib import Path

from eyeground.cli.config import ConfigError, DataSource
from eyeground.cli.console import answer, tell
from eyeground.cli.dataset import Dataset, open_dataset
from eyeground.cli.opened import open_packed
from eyeground.cli.results import Origin, headline_lines, judge
from eyeground.cli.run_folder import numbered_folder
from eyeground.cli.seen import seen_by
from eyeground.cli.trained import open_run
from eyeground.model.optimization import Device, Framework, Precision
from eyeground.serve.bundle import is_bundle


def judge_on(
    run: Path,
    source: DataSource,
    *,
    name: str,
    out: Path | None,
    resamples: int,
    framework: Framework | None,
    device: Device,
    precision: Precision,
    allow_seen: bool,
    as_json: bool,
) -> None:
    """Judge a model on other data, into ``RUN/evaluations/<name>/``.

    A bundle is judged as a run is: by the network's scores before calibration.

    Args:
        run: The run's folder, or a bundle.
        source: The data.
        name: Name of the evaluation; empty = the data's folder, numbered if there is one already.
        out: Where the folder of that name goes; None = ``evaluations`` in the run. A bundle is not written into.
        resamples: Bootstrap resamples.
        framework: In which framework; None = in the one it was trained in.
        device: Where to compute.
        precision: How to compute.
        allow_seen: Go on although some images or patients were trained on.
        as_json: End with one JSON line.

    Raises:
        DataProblems: If the data has faults.
        ConfigError: If it was trained on, or a bundle is judged without ``out``.
        CheckpointError: If the run holds no sound checkpoint.
        BundleRefused: If the bundle is not as it was packed.

    References:
        Our own.
    """
    started = time.monotonic()
    packed = is_bundle(run)
    if packed and out is None:
        raise ConfigError(f"{run} is a bundle, which is not written into: say where the results go with --out FOLDER")
    if packed and framework is not None:
        raise ConfigError(f"--engine {framework}: {run} is a bundle, and judged in torch")
    trained = (
        open_packed(run, device=device, precision=precision)
        if packed
        else open_run(run, framework=framework, device=device, precision=precision)
    )
    dataset = open_dataset(
        (source,),
        preprocessing=trained.preprocessing,
        classes=trained.classes or None,
        ordered=trained.ordered,
        split="test",
        split_seed=0,
        val_fraction=0.2,
        slices=trained.slices,
        heads=() if trained.classes else trained.task.heads,
    )
    notes = _seen(run, dataset, allow_seen=allow_seen)
    folder = _evaluation_folder(out or run / "evaluations", source, name)
    config = run / "config.yaml"
    origin = Origin(
        title=f"{run.name} on {folder.name}",
        command=shlex.join(["eyeground", *sys.argv[1:]]),
        config_yaml=config.read_text(encoding="utf-8") if config.is_file() else "",
        weights_source=f"the bundle {run.name}"
        if packed
        else f"the best checkpoint of {run.name} (step {trained.step})",
        weights_report={},
        best_epoch=None,
        seconds=0.0,
        notes=notes,
    )
    headline = judge(folder, trained=trained, dataset=dataset, origin=origin, resamples=resamples)
    tell(*headline_lines(headline))
    answer(
        {
            "run": str(run),
            "evaluation": str(folder),
            "images": len(dataset.samples),
            "seconds": round(time.monotonic() - started, 1),
            "test": headline,
        },
        as_json=as_json,
        last_line=f"report: {folder / 'report.html'}",
    )


def _evaluation_folder(shelf: Path, source: DataSource, name: str) -> Path:
    """Make the evaluation's folder; one that is named again is written again."""
    if name:
        if Path(name).name != name or name.startswith("."):
            raise ConfigError(f"--name {name!r}: a plain name, it becomes a folder in {shelf}")
        (shelf / name).mkdir(parents=True, exist_ok=True)
        return shelf / name
    place = source.path.resolve()
    stem = place.parent.name if place.name == "images" else place.name
    return numbered_folder(shelf, stem)


def _seen(run: Path, dataset: Dataset, *, allow_seen: bool) -> tuple[str, ...]:
    """Refuse images or patients that the model was trained on or chosen by."""
    seen = seen_by(run, dataset.samples, dataset.sha256, patients_known=dataset.patients_known)
    if seen is None:
        return ("no split.csv is kept: whether these images were trained on cannot be told",)
    images, same = seen
    if not images and not same:
        return ()
    told = f"{len(images)} of these images were used in training, and {len(same)} carry the id of a patient who was"
    if not allow_seen:
        raise ConfigError(
            f"{told}; first: {(images + same)[0]}. A model judged on what it has seen looks better than it is. "
            "Take them out; if they are other people whose ids happen to be the same, or you know what you do, "
            "say --allow-seen (the report will tell)"
        )
    return (f"{told}: these numbers are not an independent test",)

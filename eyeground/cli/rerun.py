"""The folder of a run on a public set: what it was begun with, how far it has come, and what it measured."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eyeground.atomic_file import write_whole
from eyeground.cli.benchmark import differences
from eyeground.cli.config import FREE_KEYS
from eyeground.cli.finetune_config import FinetuneConfig
from eyeground.cli.public_sets import public_set
from eyeground.evaluate.confidence import Estimate
from eyeground.evaluate.predictions import read_predictions
from eyeground.evaluate.published import published
from eyeground.evaluate.reproduction import DONE, METRICS, NOT_RUN, OCT, Rerun, by_oct_study
from eyeground.model.weights import WeightsRefused
from eyeground.model.weights_cache import cached, file_sha256
from eyeground.train.checkpoint import CheckpointError, Checkpoints

RECORD = "reproduce.json"
# Written by a run in this order; the last one ends it.
_RESULTS = ("predictions.csv", "metrics.json", "report.html")


def read_record(run: Path) -> dict[str, Any]:
    """Read what a run was begun with.

    Args:
        run: Its folder.

    Returns:
        The record; empty where nothing was begun.

    Example:
        >>> read_record(Path("no/such/run"))
        {}

    References:
        Our own.
    """
    path = run / RECORD
    return dict(json.loads(path.read_text("utf-8"))) if path.is_file() else {}


def write_record(run: Path, record: Mapping[str, Any]) -> None:
    """Write down what a run is begun with, or why it failed.

    Args:
        run: Its folder; made if it is not there.
        record: Plain values.

    Example:
        >>> import tempfile
        >>> run = Path(tempfile.mkdtemp()) / "octid"
        >>> write_record(run, {"failed": ""})
        >>> read_record(run)
        {'failed': ''}

    References:
        Our own.
    """
    run.mkdir(parents=True, exist_ok=True)
    write_whole(run / RECORD, (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "replace"))


def settings_of(config: FinetuneConfig) -> dict[str, Any]:
    """Take the keys that decide a result, so that a later call can tell whether it means the same run.

    Args:
        config: The run's configuration.

    Returns:
        Keys and plain values. Where the images lie is not among them: their hashes are compared.

    Example:
        >>> settings_of(FinetuneConfig(data="images"))["epochs"]
        100

    References:
        Our own.
    """
    return config.model_dump(mode="json", exclude=set(FREE_KEYS - {"resamples"}) | {"data"})


def weights_sha256(word: str) -> str:
    """Hash the starting weights.

    Args:
        word: What ``weights`` says.

    Returns:
        SHA-256; empty for random ones, and for those that are not to be had now.

    Example:
        >>> weights_sha256("random"), weights_sha256("no/such/file.pth")
        ('', '')

    References:
        Our own.
    """
    if word == "random":
        return ""
    try:
        path = cached(word) or Path(word)
        if not path.is_dir():
            return file_sha256(path)
        shelf = Checkpoints(path / "checkpoints")
        newest = shelf.newest(parts=())
        if newest is None:
            return ""
        best = newest if newest.best_step in (None, newest.step) else shelf.read(newest.best_step or 0, parts=())
        return best.sha256["weights"]
    except (WeightsRefused, CheckpointError, OSError):
        return ""


def changed(run: Path, begun: Mapping[str, Any]) -> list[str]:
    """Say what a run was begun with that is otherwise now.

    Args:
        run: Its folder.
        begun: What it would be begun with now; an empty or missing value is not compared.

    Returns:
        A few words for each difference; none for a run that was never begun.

    Example:
        >>> changed(Path("no/such/run"), {"settings": {"epochs": 2}})
        []

    References:
        Our own.
    """
    if not (run / "config.yaml").is_file():
        return []
    record = read_record(run)
    if "settings" not in record:
        return ["it was not made by reproduce"]
    then, now = record["settings"], begun.get("settings", {})
    told = [f"{key} ({then.get(key)} then, {value} now)" for key, value in now.items() if then.get(key) != value]
    before, after = (str(each.get("weights_sha256", "")) for each in (record, begun))
    if before and after and before != after and then.get("weights") == now.get("weights"):
        told.append(f"the content of the weights ({before[:12]} then, {after[:12]} now)")
    if begun.get("images") and record.get("images") != begun["images"]:
        told.append(f"images ({record.get('images')} then, {begun['images']} now)")
    elif "differences" in begun and record.get("differences") != begun["differences"]:
        # As many images, but under other labels or in other splits: the run would go on, and its row say too little.
        before, after = ("; ".join(each.get("differences", ())) or "as published" for each in (record, begun))
        told.append(f"labels or splits ({before} then, {after} now)")
    return told


def is_done(run: Path) -> bool:
    """Tell whether a run has ended and was judged.

    Args:
        run: Its folder.

    Returns:
        True if its results are there.

    Example:
        >>> is_done(Path("no/such/run"))
        False

    References:
        Our own.
    """
    return all((run / name).is_file() for name in _RESULTS)


def state_of(run: Path) -> str:
    """Say how far a run has come.

    Args:
        run: Its folder.

    Returns:
        ``"done"``, ``"not run"``, why it failed, or at which epoch it stands.

    Example:
        >>> state_of(Path("no/such/run"))
        'not run'

    References:
        Our own.
    """
    if is_done(run):
        return DONE
    record = read_record(run)
    words = [str(record["failed"])] if record.get("failed") else []
    if (run / "config.yaml").is_file() and "settings" in record:
        words.append(f"not finished (epoch {_epoch(run)} of {record['settings']['epochs']})")
    return "; ".join(words) or NOT_RUN


def rerun_of(out: Path, dataset: str, engine: str, recipe: FinetuneConfig) -> Rerun:
    """Read a run for the table.

    Args:
        out: Folder of the reproduction.
        dataset: Name of the set.
        engine: Framework.
        recipe: The published recipe.

    Returns:
        How far it has come, and its numbers if it is done.

    Example:
        >>> rerun_of(Path("no/such/folder"), "octid", "torch", FinetuneConfig(data="images")).state
        'not run'

    References:
        Our own.
    """
    run = out / engine / dataset
    record = read_record(run)
    settings = record.get("settings", {})
    other = (*differences(settings, recipe), *record.get("differences", ())) if settings else ()
    started = Rerun(dataset, engine, state_of(run), f"{engine}/{dataset}" if run.is_dir() else "", differences=other)
    if started.state != DONE:
        return started
    metrics = json.loads((run / "metrics.json").read_text("utf-8"))
    oct_scores: dict[str, Estimate] = {}
    # With a class missing, class 0 may not be the healthy one, which the study leaves out.
    whole = len(metrics["classes"]) == len(public_set(dataset).classes)
    if whole and any(row.study == OCT for row in published(dataset)):
        oct_scores = by_oct_study(read_predictions(run / "predictions.csv"), resamples=metrics["resamples"])
    return Rerun(
        dataset,
        engine,
        DONE,
        started.run,
        metrics["n"],
        {metric: _estimate(metrics["headline"][metric]) for metric in METRICS},
        oct_scores,
        other,
    )


def _epoch(run: Path) -> int:
    """How many epochs the newest checkpoint has behind it."""
    try:
        newest = Checkpoints(run / "checkpoints").newest(parts=())
    except CheckpointError:
        return 0
    return int(newest.progress["epoch"]) if newest else 0


def _estimate(told: Mapping[str, Any]) -> Estimate:
    """An estimate as ``metrics.json`` holds it."""
    value, low, high = (math.nan if told.get(key) is None else float(told[key]) for key in ("value", "low", "high"))
    return Estimate(value, low, high, told.get("reason", ""))

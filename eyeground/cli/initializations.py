"""Where the networks of a comparison start: files, runs, and pre-trainings that are carried out once."""

import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eyeground.cli.compare_config import CompareConfig, Initialization
from eyeground.cli.config import ConfigError
from eyeground.cli.config_file import check_config, load_config, read_values
from eyeground.cli.console import tell
from eyeground.cli.dataset import Dataset
from eyeground.cli.pretrain_config import PretrainConfig
from eyeground.cli.pretraining import FREE, pretrain_run
from eyeground.cli.seen import seen_by
from eyeground.train.journal import read_journal
from eyeground.train.loop import TrainingFailed


@dataclass(frozen=True)
class Origin:
    """Where an initialization comes from, found or made.

    Args:
        weights: ``random``, a file, or the folder of a run.
        facts: What is known about its pre-training, words and numbers by name; empty where there was none.

    Example:
        >>> Origin("random", {}).weights
        'random'

    References:
        Our own.
    """

    weights: str
    facts: Mapping[str, Any]


def slug(name: str) -> str:
    """Turn a name into one that any file system takes.

    Args:
        name: Words.

    Returns:
        Lower-case words with dashes; letters of every script stay.

    Example:
        >>> slug("Own MAE, photographs")
        'own-mae-photographs'

    References:
        Our own.
    """
    return re.sub(r"[^\w.]+", "-", name.lower()).strip("-.") or "unnamed"


def origins(
    config: CompareConfig,
    folder: Path,
    *,
    dataset: Dataset,
    needed: Collection[str],
    stop_wanted: Callable[[], bool],
) -> dict[str, Origin]:
    """Find or make every initialization, and refuse those that have seen the test images.

    Args:
        config: The comparison.
        folder: The comparison's folder.
        dataset: What the runs will be judged on.
        needed: Initializations that still have runs to do; others are not pre-trained again.
        stop_wanted: True = save and stop.

    Returns:
        Initialization -> where it comes from.

    Raises:
        ConfigError: If a pre-training was made with other settings, or has seen test images; all are named.
        TrainingFailed: If a pre-training collapsed or diverged.
        Interrupted: If it was asked to stop.

    References:
        Our own.
    """
    found: dict[str, Origin] = {}
    wanted = set(needed)
    for init in reversed(config.inits):
        if init.name in wanted and init.after:
            wanted.add(init.after)
    for init in config.inits:
        weights, facts = init.weights, {}
        if init.pretrain is not None:
            # Comparisons that share a folder share what is pre-trained alike.
            own = f"-{slug(init.name)}" if init.pretrain_keys or init.after else ""
            place = (config.pretrained or folder / "pretrained") / (init.pretrain.stem + own)
            settings = _settings(init, place, found)
            if init.name in wanted:
                _make(init, settings, place, stop_wanted)
            weights, facts = str(place), _facts(place)
        found[init.name] = Origin(weights, facts)
    wrong: list[str] = []
    notes: list[str] = []
    for name, origin in found.items():
        run = Path(origin.weights)
        for split, told in (("test", wrong), ("val", notes)):
            seen = seen_by(run, dataset.of(split), dataset.sha256, patients_known=dataset.patients_known)
            if seen and (seen.images or seen.patients):
                told.append(
                    f"{name}: {run} has learned from {len(seen.images)} of the {split} images, and from patients of "
                    f"{len(seen.patients)}; first {(*seen.images, *seen.patients)[0]}"
                )
    if wrong:
        raise ConfigError(
            "; ".join(wrong) + ". Pre-train on the training part only (training_part_of, with the same ratios and "
            "split_seed and the source alone)"
        )
    tell(*(f"note: {note}" for note in notes))
    return found


def _settings(init: Initialization, place: Path, found: Mapping[str, Origin]) -> PretrainConfig:
    """The checked configuration of a pre-training."""
    path = init.pretrain or Path()
    values: dict[str, Any] = {**read_values(path), **init.pretrain_keys, "out": str(place)}
    if init.after:
        values["weights"] = found[init.after].weights
    return check_config(values, where=f"{path} ({init.name})", kind=PretrainConfig)


def _make(init: Initialization, settings: PretrainConfig, place: Path, stop_wanted: Callable[[], bool]) -> None:
    """Carry out a pre-training, or what is left of it."""
    resume = None
    if (place / "config.yaml").is_file():
        before = load_config(place / "config.yaml", kind=PretrainConfig).model_dump(mode="json", exclude=FREE)
        now = settings.model_dump(mode="json", exclude=FREE)
        other = [key for key in now if now[key] != before[key]]
        if other:
            raise ConfigError(
                f"{place}: {init.name} was pre-trained with other settings ({', '.join(other)}): give it another name, "
                "another 'pretrained' folder, or move that one away"
            )
        if _finished(place):
            return
        resume = place
    tell(f"pretrain {init.name}")
    _, health = pretrain_run(settings, name=slug(init.name), resume=resume, stop=lambda: nullcontext(stop_wanted))
    if health.must_stop:
        raise TrainingFailed(f"{init.name}: pre-training has {health.status}. {health.reasons[-1]}")


def _finished(place: Path) -> bool:
    """Whether a pre-training has come to its end."""
    record = place / "health.json"
    return record.is_file() and bool(json.loads(record.read_text(encoding="utf-8")).get("finished"))


def _facts(place: Path) -> dict[str, Any]:
    """What a page should say of a pre-training."""
    record = place / "health.json"
    if not record.is_file():
        return {}
    health = json.loads(record.read_text(encoding="utf-8"))
    facts: dict[str, Any] = {"health": health["status"], "epochs": health["epochs"], "minutes": health["seconds"] / 60}
    steps = [line for line in read_journal(place / "journal.jsonl") if line.get("event") == "step"]
    if steps:
        last = steps[-max(1, len(steps) // 50) :]
        facts["loss"] = sum(line["loss"] for line in last) / len(last)
        facts["guessing"] = last[-1].get("chance_loss", math.nan)
        facts["effective rank"] = last[-1].get("effective_rank", math.nan)
    if health["reasons"]:
        facts["reasons"] = "; ".join(health["reasons"])
    return facts

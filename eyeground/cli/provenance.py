"""Where a run comes from: the weights it started from with their licence, and the images it learned from."""

import csv
from collections import Counter
from pathlib import Path
from typing import Any

from eyeground.cli.config_file import load_config
from eyeground.cli.finetune_config import FinetuneConfig
from eyeground.cli.foreign import licence_of
from eyeground.cli.past_data import config_of_run
from eyeground.cli.pretrain_config import PretrainConfig
from eyeground.model.untrusted import open_foreign
from eyeground.model.weights import WeightsRefused
from eyeground.model.weights_cache import cached
from eyeground.model.zoo import LICENCES, find

_MOST_STEPS = 20
UNKNOWN = "not known"


def start_of(run: Path) -> dict[str, str]:
    """Say what a run started from, through all the runs between, and under which licence that is.

    Args:
        run: Its folder.

    Returns:
        ``weights`` (a release, a file's name, or ``random``), ``licence``, and ``forbids``: what it forbids, where that
        is known. No path of this machine.

    Example:
        >>> start_of(Path("nowhere"))
        {'weights': 'not known', 'licence': 'not known', 'forbids': ''}

    References:
        Our own; the licence's text counts.
    """
    place = run
    for _ in range(_MOST_STEPS):
        word = _started_from(place)
        if word in ("", "random"):
            none = "none: it started from random weights"
            return {"weights": word or UNKNOWN, "licence": none if word else UNKNOWN, "forbids": ""}
        if release := find(word):
            return _told(release.name, release.licence)
        place = cached(word) or Path(word)
        if place.is_dir():
            continue
        try:
            licence = licence_of(place, open_foreign(place)) or UNKNOWN
        except (WeightsRefused, OSError):
            licence = UNKNOWN
        return _told(place.name, licence)
    return _told(UNKNOWN, UNKNOWN)


def data_record(run: Path) -> dict[str, Any] | None:
    """Count the images a run was made with.

    Args:
        run: Its folder.

    Returns:
        ``images``, ``patients`` (0 = not known) and ``splits``; None where the run keeps no split.

    Example:
        >>> data_record(Path("nowhere")) is None
        True

    References:
        Our own.
    """
    path = run / "split.csv"
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", newline="", errors="surrogateescape") as file:
        rows = list(csv.DictReader(file))
    patients = {row["patient"] for row in rows}
    # Without patients each image stands for one.
    grouped = len(patients) < len(rows)
    return {
        "images": len(rows),
        "patients": len(patients) if grouped else 0,
        "splits": dict(Counter(row["split"] for row in rows if row["split"])),
    }


def _started_from(run: Path) -> str:
    """What a run's configuration says of its weights; a relative path counts from where the run was started."""
    config = config_of_run(run) if not (run / "health.json").is_file() else None
    if config is None and (run / "config.yaml").is_file():
        return load_config(run / "config.yaml", kind=PretrainConfig).weights
    return config.weights if isinstance(config, FinetuneConfig) else ""


def _told(weights: str, licence: str) -> dict[str, str]:
    """A licence with what it forbids."""
    known = LICENCES.get(licence.partition(" ")[0])
    return {"weights": weights, "licence": licence, "forbids": known.forbids if known else ""}

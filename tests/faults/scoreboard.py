"""Figures of the fault families, written where nobody commits them and everybody can look."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "scoreboard"


def write(family: str, **figures: Any) -> None:
    """Print the figures and keep them as ``scoreboard/<family>.json``."""
    FOLDER.mkdir(exist_ok=True)
    text = json.dumps({"family": family, **figures}, indent=1, sort_keys=True, default=str)
    (FOLDER / f"{family}.json").write_text(text + "\n", "utf-8")
    print(text)  # noqa: T201 - shown with -s, and where a test fails

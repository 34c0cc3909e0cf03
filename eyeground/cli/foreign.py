"""What a weights file holds, for a person and for a program."""

import re
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path

from eyeground.cli.console import answer, table, tell
from eyeground.model.architecture import Recognized, recognize
from eyeground.model.untrusted import Foreign, open_foreign
from eyeground.model.weights import read_metadata
from eyeground.model.zoo import by_file, by_sha256

_MOST_ROWS = 24


def inspect_weights(path: Path, *, as_json: bool) -> None:
    """Open a weights file safely, and say what it is.

    Args:
        path: The file.
        as_json: End with one JSON line, which has every key.

    Raises:
        WeightsRefused: If the file cannot be opened, or asks for more than tensors.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from eyeground.model.weights import write_weights
        >>> path = Path(tempfile.mkdtemp()) / "w.safetensors"
        >>> write_weights(path, {"a": np.zeros((2, 3))}, {"licence": "CC0-1.0"})
        >>> inspect_weights(path, as_json=True)
        {"file": "...", "sha256": "...", "framework": "safetensors", "nest": "", "architecture": {"kind": "not a ViT...

    References:
        Our own.
    """
    foreign = open_foreign(path)
    shapes = {name: foreign.tensors[name].shape for name in sorted(foreign.tensors, key=_in_depth)}
    found, parameters = recognize(shapes), sum(map(prod, shapes.values()))
    licence = licence_of(path, foreign)
    tell(
        f"{path.name}: {_architecture(found)}",
        f"origin: {foreign.framework}" + (f", tensors under {foreign.nest!r}" if foreign.nest else ""),
        f"{parameters:,} numbers in {len(shapes):,} tensors",
        f"licence: {licence or 'not known'}",
        f"sha256: {foreign.sha256}",
        *(f"left out: {words}" for words in foreign.left_out),
    )
    table("tensors", ["key", "shape"], _shortened(shapes))
    answer(
        {
            "file": str(path),
            "sha256": foreign.sha256,
            "framework": foreign.framework,
            "nest": foreign.nest,
            "architecture": vars(found),
            "parameters": parameters,
            "keys": {name: list(shape) for name, shape in shapes.items()},
            "left_out": list(foreign.left_out),
            "licence": licence,
        },
        as_json=as_json,
        last_line=f"use it: eyeground finetune CONFIG weights={path} model={found.model}"
        if found.model
        else f"none of our networks: {found.reason}",
    )


def licence_of(path: Path, foreign: Foreign) -> str | None:
    """Tell the licence of a weights file, where anybody says it.

    Args:
        path: The file.
        foreign: What was found in it.

    Returns:
        What its header says, or the licence of the release with this very file, or, marked as such, that of the
        release whose file has this name and these keys and shapes; None = not known.

    Example:
        >>> licence_of(Path("/dev/null"), Foreign({}, "torch", "", "0" * 64, ())) is None
        True

    References:
        Our own.
    """
    with path.open("rb") as file:
        said = read_metadata(file).get("licence")
    if said:
        return said
    if release := by_sha256(foreign.sha256):
        return release.licence
    release = by_file(path.name, foreign.tensors)
    return f"{release.licence} (as {release.name} is published)" if release else None


def _architecture(found: Recognized) -> str:
    """One line about a network."""
    size = ", ".join(
        f"{words} {value}"
        for words, value in (
            ("image", f"{found.image_px} px" if found.image_px else None),
            ("patch", f"{found.patch_px} px" if found.patch_px else None),
            ("width", found.width),
            ("depth", found.depth),
            ("classes", found.classes),
            ("pool", found.pool),
        )
        if value is not None
    )
    return " · ".join(filter(None, (found.kind, found.model, size, found.reason)))


def _in_depth(name: str) -> tuple[object, ...]:
    """Sort block 10 behind block 9."""
    return tuple(
        (not word.isdigit(), int(word) if word.isdigit() else word) for word in re.split(r"(\d+)", name) if word
    )


def _shortened(shapes: Mapping[str, Sequence[int]]) -> list[list[str]]:
    """The first and the last rows of a long list."""
    rows = [[name, " x ".join(map(str, shape)) or "a number"] for name, shape in shapes.items()]
    if len(rows) <= _MOST_ROWS:
        return rows
    half = _MOST_ROWS // 2
    return [*rows[:half], [f"... {len(rows) - 2 * half:,} more (--json shows all)", ""], *rows[-half:]]

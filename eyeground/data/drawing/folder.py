"""The folder of a written phantom set: finished, unfinished or somebody else's."""

import csv
import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path


def is_finished(out: Path, recipe: Mapping[str, object], columns: Collection[str]) -> bool:
    """Say whether a folder holds this same set, complete; refuse a folder that holds anything else.

    Args:
        out: The folder.
        recipe: What the set is made from, as ``phantom.json`` records it.
        columns: What its table has to tell. A table of an earlier version lacks some: the set is unfinished, and
            writing it again draws the same pixels and the whole table.

    Returns:
        True when nothing is left to do; False when the folder is missing, empty, or holds this set unfinished.

    Raises:
        FileExistsError: If the folder holds other files or another set, or a table that lacks columns and has others
            that somebody added; the message says in what it differs.

    Example:
        >>> is_finished(Path("/no/such/folder"), {}, ())
        False

    References:
        Our own.
    """
    if not out.exists():
        return False
    if not out.is_dir():
        raise FileExistsError(f"{out} is a file; name a folder to write the phantoms to")
    found = {path.name for path in out.iterdir()}
    if not found:
        return False
    if "phantom.json" not in found:
        raise FileExistsError(f"{out} is not empty and holds no phantoms; choose an empty folder")
    try:
        read = json.loads((out / "phantom.json").read_text())
    except ValueError:
        read = None
    there = read if isinstance(read, dict) else {}
    differing = sorted(key for key in {*recipe, *there} if there.get(key) != recipe.get(key))
    if differing:
        changes = "; ".join(f"{key} is {there.get(key)!r}, not {recipe.get(key)!r}" for key in differing)
        raise FileExistsError(f"{out} holds another set of phantoms ({changes}); choose another folder, or delete it")
    if "labels.csv" not in found:
        return False
    with (out / "labels.csv").open(newline="") as file:
        reader = csv.DictReader(file)
        rows, header = list(reader), reader.fieldnames or ()
    if missing := [name for name in columns if name not in header]:
        if added := [name for name in header if name not in columns]:
            raise FileExistsError(
                f"{out / 'labels.csv'} lacks {', '.join(missing)} and was changed by hand (it has {', '.join(added)}); "
                "writing it anew would lose that: choose another folder, or move the table away"
            )
        return False
    return all((out / "images" / row["file"]).exists() and (out / "masks" / row["mask"]).exists() for row in rows)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is either there in full or not at all.

    Args:
        path: Where to; a file that is there is replaced.
        content: What to write.

    Raises:
        OSError: If the disk is full or the folder cannot be written to; the old file stays as it was.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_whole(Path(folder, "a.txt"), b"x")
        ...     Path(folder, "a.txt").read_bytes()
        b'x'

    References:
        Our own.
    """
    unfinished = path.with_name(f".{path.name}.part")
    try:
        unfinished.write_bytes(content)
        os.replace(unfinished, path)  # noqa: PTH105 (the same call, under the name its guarantee is known by)
    finally:
        unfinished.unlink(missing_ok=True)

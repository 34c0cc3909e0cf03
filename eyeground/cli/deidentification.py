"""A folder of images to de-identified copies: the words around ``data.deidentify``."""

import csv
import os
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer

from eyeground.cli.config import ConfigError
from eyeground.cli.console import answer, counting, tell
from eyeground.data.layout import Entry
from eyeground.data.privacy.carry_over import Carried, carried_from_names, read_carried, write_carried
from eyeground.data.privacy.deidentify import IMAGES, LOG, Outcome, deidentify
from eyeground.data.privacy.pseudonym import KeyRefused, make_key, read_key
from eyeground.data.problem import DataProblems

_SHOWN = 20


def deidentify_data(
    source: Path,
    out: Path,
    *,
    key_file: Path,
    new_key: bool,
    confirmed: Sequence[str],
    keep_folders: Sequence[str],
    table: Path | None,
    columns: Mapping[str, str | None],
    keep_columns: Sequence[str],
    mapping: Path | None,
    workers: int,
    as_json: bool,
) -> None:
    """Copy a folder without what tells whose it is, and say what waits for a person.

    Args:
        source: Folder of the originals.
        out: Folder to make or to go on with.
        key_file: The secret key.
        new_key: Make it first.
        confirmed: Files in whose pixels text may stand.
        keep_folders: Names of folders that stay.
        table: Table whose labels go along; None = none.
        columns: Column of each role; without a table, ``group`` is a pattern for file names.
        keep_columns: Columns of the table to keep as they are.
        mapping: Where to write which original became which copy; None = nowhere.
        workers: Threads; 0 takes one per core.
        as_json: End with one JSON line.

    Raises:
        ConfigError: If the key, a folder or a pattern cannot be used.
        DataProblems: If the table has faults.
        Exit: With code 1 if a file was held or refused.

    Example:
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "photos").mkdir()
        ...     Image.new("RGB", (64, 48)).save(Path(folder, "photos", "smith.png"))
        ...     deidentify_data(Path(folder, "photos"), Path(folder, "out"), key_file=Path(folder, "key"), new_key=True,
        ...                     confirmed=[], keep_folders=[], table=None, columns={}, keep_columns=[], mapping=None,
        ...                     workers=1, as_json=False)
        copies: ...

    References:
        Our own.
    """
    if not source.is_dir():
        raise ConfigError(f"{source}: there is no such folder; give the folder of the originals")
    for word, path in (("--key-file", key_file), ("--mapping", mapping)):
        if path is not None and path.resolve().is_relative_to(out.resolve()):
            raise ConfigError(f"{word} {path}: would be handed on with the copies; keep it elsewhere")
    if mapping is not None and (mapping.is_dir() or not mapping.parent.is_dir()):
        raise ConfigError(f"--mapping {mapping}: no file can be written there")
    carried = None if table is None else read_carried(source, table, columns=columns, keep=keep_columns)
    try:
        if table is None and columns.get("group"):
            carried_from_names((), columns["group"] or "")  # a wrong pattern shows before the work
        if new_key:
            make_key(key_file)
        pseudonyms = read_key(key_file)
        with counting("de-identifying") as progress:
            done = deidentify(
                source,
                out,
                pseudonyms,
                confirmed=confirmed,
                keep_folders=keep_folders,
                leave=[path for path in (table, key_file, mapping) if path is not None],
                workers=workers,
                progress=progress,
            )
    except DataProblems:
        raise
    except KeyRefused as error:
        raise ConfigError(f"--key-file {error}") from error
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if carried is None and columns.get("group"):
        carried = carried_from_names(list(done), columns["group"] or "")
    if carried is None and any(each.patient for each in done.values()):
        carried = Carried(tuple(Entry(file, "") for file in done), {})
    copies = {file: each.file for file, each in done.items() if each.status == "written"}
    if carried is not None:
        patients = {each.file: each.patient for each in done.values()}
        write_carried(out / "labels.csv", carried, copies, pseudonyms, patients)
    if mapping is not None:
        _write_mapping(mapping, done)
    _end(out, done, mapping=mapping, labels=carried is not None, as_json=as_json)


def _end(out: Path, done: Mapping[str, Outcome], *, mapping: Path | None, labels: bool, as_json: bool) -> None:
    """Say what became of the files; by the names of the copies, for these words may end in a log."""
    counts = Counter(each.status for each in done.values())
    for status, words in (("held", "held until a person has looked at them"), ("refused", "refused")):
        lines = [f"  {each.file}: {each.why}" + (f" ({'; '.join(each.text)})" if each.text else "")
                 for each in done.values() if each.status == status]  # fmt: skip
        if lines:
            tell(f"{len(lines)} files were {words}:", *lines[:_SHOWN])
            if len(lines) > _SHOWN:
                tell(f"  ... and {len(lines) - _SHOWN} more in {out / LOG}")
    if counts["held"]:
        where = (
            f"{mapping} says which originals these are" if mapping else "--mapping FILE says which originals they are"
        )
        tell(f"{where}; let harmless ones pass with --confirm NAME, or blacken the text in the others and run again")
    answer(
        {
            "out": str(out),
            "written": counts["written"],
            "held": counts["held"],
            "refused": counts["refused"],
            "log": str(out / LOG),
            "labels": str(out / "labels.csv") if labels else None,
        },
        as_json=as_json,
        last_line=f"copies: {out / IMAGES}",
    )
    if counts["held"] or counts["refused"]:
        raise typer.Exit(1)


def _write_mapping(path: Path, done: Mapping[str, Outcome]) -> None:
    """Write which original became which copy, for its owner's eyes only."""
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("original", "copy", "outcome"))
            writer.writerows((original, each.file, each.status) for original, each in done.items())
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise

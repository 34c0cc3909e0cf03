"""A data set to a prepared folder or to shards: the words around ``data.prepare`` and ``data.shards.writing``."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import typer

from eyeground.cli.config import ConfigError, DataSource
from eyeground.cli.console import answer, counting, tell
from eyeground.cli.dataset import open_manifest, prepared_sources
from eyeground.cli.fan_out import fanned_out
from eyeground.data.listing import Listing
from eyeground.data.prepare import JOURNAL, OWN_COLUMNS, prepare
from eyeground.data.problem import DataProblems
from eyeground.data.sample import Sample
from eyeground.data.shards.schema import OWN_COLUMNS as SHARD_COLUMNS
from eyeground.data.shards.writing import write_shards
from eyeground.data.table import nearest, open_table
from eyeground.data.volumes import expand, slice_step

_SHOWN = 20


def prepare_data(
    source: DataSource,
    out: Path,
    *,
    crop_field: bool,
    store_px: int,
    slices: str,
    workers: int,
    labels_required: bool,
    as_json: bool,
    keep: Sequence[str] = (),
    shard_mb: int = 0,
    on: str | None = None,
) -> None:
    """Prepare a data set and say what was left out.

    Args:
        source: The data.
        out: Folder to make or to go on with.
        crop_field: Crop photographs to their field of view.
        store_px: Shrink the short side to at most this, 0 = keep. Unit: px.
        slices: Which B-scans of a volume: ``center``, ``all`` or ``every:N``.
        workers: Threads; 0 takes one per core.
        labels_required: Refuse images without a label.
        as_json: End with one JSON line.
        keep: Columns of the table to take over as they are: the truth of several heads.
        shard_mb: Make shards of about so much; 0 = a file for each image. Unit: MB.
        on: Whose Ray makes the images; None = threads of this process.

    Raises:
        DataProblems: If the table or the folders have faults; all are listed.
        ConfigError: If the folder cannot be used.
        ClusterUnfit: If the cluster is not there, or sees other folders.
        WorkersLost: If workers die again and again; what is made is kept.
        Exit: With code 1 if an image was left out; the others are ready.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "photos", "normal").mkdir(parents=True)
        ...     Image.new("RGB", (64, 48)).save(Path(folder, "photos", "normal", "1.bmp"))
        ...     prepare_data(DataSource(path=Path(folder, "photos")), Path(folder, "ready"), crop_field=True,
        ...                  store_px=32, slices="center", workers=1, labels_required=True, as_json=False)
        prepared: ...

    References:
        Our own.
    """
    if on and shard_mb:
        raise ConfigError("--on: shards are written by one process; prepare without --shards, or without --on")
    if prepared_sources([DataSource(path=source.path)]):
        raise ConfigError(f"{source.path}: is a prepared set already; give it to a config as data={source.path}")
    manifest = open_manifest((source,), classes=None, ordered=None, labels_required=labels_required)
    more = _kept(source, keep, {sample.file for sample in manifest.samples})
    manifest = replace(manifest, samples=_with_slices(manifest.samples, slices))
    # The journal is new: whoever sees it shares the folder, and has not one of the same name.
    reads = [source.path, out / JOURNAL]
    with (
        fanned_out(on, workers=workers if on else 0, reads=reads) as spread,
        counting("preparing", len(manifest.samples)) as progress,
    ):
        try:
            store = partial(write_shards, shard_bytes=shard_mb * 10**6) if shard_mb else partial(prepare, spread=spread)
            done = store(
                manifest,
                out,
                crop_field=crop_field,
                store_px=store_px,
                slices=slices,
                workers=workers,
                progress=progress,
                more=more,
            )
        except DataProblems:
            raise
        except ValueError as error:
            raise ConfigError(f"--out {error}") from error
    if done.kept:
        tell(f"{done.kept} of them were ready from an earlier pass")
    if done.removed:
        tell(f"{done.removed} images of an earlier pass are no longer in the data; they were deleted")
    if done.left_out:
        tell(f"{len(done.left_out)} images were left out; all are in {out / 'left_out.csv'}:")
        tell(*(f"  {problem}" for problem in done.left_out[:_SHOWN]))
    tell(*(f"note: {note}" for note in manifest.notes))
    answer(
        {
            "out": str(out),
            "images": done.images,
            "kept": done.kept,
            "removed": done.removed,
            "left_out": len(done.left_out),
            "classes": list(manifest.classes),
        },
        as_json=as_json,
        last_line=f"prepared: {out}",
    )
    if done.left_out:
        raise typer.Exit(1)


def _with_slices(samples: Sequence[Sample], slices: str) -> tuple[Sample, ...]:
    """Put the chosen B-scans in a volume's place; a file whose header cannot be read stays, to be left out by name."""
    try:
        if not slice_step(slices):
            return tuple(samples)
    except ValueError as error:
        raise ConfigError(f"--{error}") from error
    with counting("reading headers", len(samples)) as progress:
        try:
            return expand(samples, slices=slices, progress=progress)
        except DataProblems as error:
            unread = {problem.file for problem in error.problems}
    sound = expand([sample for sample in samples if sample.file not in unread], slices=slices)
    return (*sound, *(sample for sample in samples if sample.file in unread))


def _kept(source: DataSource, keep: Sequence[str], files: Collection[str]) -> dict[str, dict[str, str]]:
    """The cells of some columns, by file."""
    if not keep:
        return {}
    if source.table is None:
        raise ConfigError("--keep names columns of a table: give --table")
    if own := [name for name in keep if name in {*OWN_COLUMNS, *SHARD_COLUMNS}]:
        raise ConfigError(f"--keep {own[0]}: the prepared table has a column of that name of its own")
    table, listing = open_table(source.table), Listing(source.path)
    if absent := [name for name in keep if name not in table.columns]:
        raise ConfigError(f"--keep: there is no column {absent[0]!r}{nearest(absent[0], table.columns)}")
    found = {}
    for _, (name, *cells) in table.rows([source.file or "file", *keep]):
        file = listing.find(name)
        if file in files:
            found[file] = dict(zip(keep, cells, strict=True))
    return found

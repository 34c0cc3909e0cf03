"""One pass over a data set into shards: every image decoded, cropped and shrunk once, many of them to a file."""

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, Final

from eyeground.atomic_file import flush_folder, write_whole
from eyeground.data.manifest import Manifest
from eyeground.data.pixels import PixelStore
from eyeground.data.prepare import JOURNAL, LEFT_OUT, Preparation, write_left_out
from eyeground.data.problem import Problem
from eyeground.data.resumption import ahead, claimed, read_journal, write_journal
from eyeground.data.sample import Sample
from eyeground.data.shards.index import FOLDER, FORMAT, INDEX, TABLE, Index, ShardFile, write_index
from eyeground.data.shards.making import Made, Maker
from eyeground.data.shards.schema import IMAGE_BYTES, leaves_of
from eyeground.data.shards.table import write_table

SHARD_BYTES: Final = 256_000_000
# A program that reads row groups, as those on the Hub do, gets a few megabytes at once.
_GROUP_BYTES: Final = 4_000_000
_GROUP_ROWS: Final = 10_000
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class _Done:
    """A line of the journal: one shard that is whole."""

    shard: int
    taken: int  # samples, also those that were left out
    inputs: str
    rows: int
    bytes: int
    sha256: str
    left_out: list[list[str]]


def write_shards(
    manifest: Manifest,
    out: Path,
    *,
    crop_field: bool,
    store_px: int,
    slices: str = "center",
    shard_bytes: int = SHARD_BYTES,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
    more: Mapping[str, Mapping[str, str]] | None = None,
) -> Preparation:
    """Store every image of a data set as training and prediction see it, many to a Parquet file.

    Pixels and bytes are those that ``prepare`` stores. The rows come in a drawn order, so that each shard is a fair
    sample of the set. The pass may be killed at any moment; run again it goes on behind the last whole shard and ends
    with the same bytes. A shard that was damaged since is made anew, and so are all from the first one on whose images
    or labels have changed. What cannot be read is left out and named.

    Args:
        manifest: The data set.
        out: Folder to make, or that an interrupted pass left. Holds shards/, table.parquet, shards.json, left_out.csv.
        crop_field: Crop photographs to their field of view.
        store_px: Shrink the short side to at most this, 0 = keep. Unit: px.
        slices: Which B-scans of a volume the manifest holds, as ``expand`` took them; only written down.
        shard_bytes: A shard is closed when its images have so many. Unit: bytes.
        workers: Threads; 0 takes one per core.
        progress: Called with (images done, images in all) after each image.
        more: File to further cells of its row, by column, written as they are: the truth of several heads.

    Returns:
        What was done; ``removed`` is always 0.

    Raises:
        ValueError: If the folder lies inside the data, holds something else, was prepared with other settings, or
            another process is working in it.
        OSError: If the disk is full. The shards that were whole are kept.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> from eyeground.data.manifest import Source, read_manifest
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "photos", "normal").mkdir(parents=True)
        ...     Image.new("RGB", (64, 48)).save(Path(folder, "photos", "normal", "1.bmp"))
        ...     found = read_manifest([Source(Path(folder, "photos"))])
        ...     write_shards(found, Path(folder, "packed"), crop_field=True, store_px=32).images
        1

    References:
        Apache Parquet; the column of images as the Hugging Face Hub has it.
    """
    settings = {"format": f"shards {FORMAT}", "crop_field": crop_field, "store_px": store_px}
    settings["shard_bytes"] = shard_bytes
    for folder in {sample.folder.resolve() for sample in manifest.samples}:
        if out.resolve().is_relative_to(folder):
            raise ValueError(f"{out} lies inside the data folder {folder}; choose a place outside it")
    maker = Maker(manifest, PixelStore(crop_field=crop_field, store_px=store_px, limit_bytes=0), more or {})
    with claimed(out / JOURNAL, settings):
        (out / INDEX).unlink(missing_ok=True)  # from here to the end the set is not whole
        (out / FOLDER).mkdir(exist_ok=True)
        work = _Work(out, maker, shard_bytes, workers, progress or (lambda done, of: None))
        try:
            done, kept = work.run()
            shards = _named(out / FOLDER, done)
            table = write_table(out / TABLE, [out / FOLDER / shard.name for shard in shards], maker.schema)
            problems = tuple(Problem(what, file, None, source) for each in done for file, what, source in each.left_out)
            write_left_out(out / LEFT_OUT, problems)
            write_journal(out / JOURNAL, settings, map(asdict, done))
            index = Index(
                crop_field,
                store_px,
                slices,
                manifest.classes,
                manifest.ordered,
                manifest.patients_known,
                tuple(name for name in maker.schema.names if name != "image"),
                table,
                shards,
            )
            versions = {name: version(name) for name in ("eyeground", "pillow", "pyarrow")}
            write_whole(out / INDEX, write_index(index, left_out=len(problems), **versions))
        except OSError as error:
            if error.errno not in _FULL:
                raise
            what = f"the disk is full; {work.whole} shards are whole and stay. Free some space and run this again"
            raise OSError(error.errno, what, str(out)) from error
    return Preparation(index.images, kept, 0, problems)


@dataclass
class _Work:
    """Fills shards until no sample is left."""

    out: Path
    maker: Maker
    shard_bytes: int
    workers: int
    progress: Callable[[int, int], None]
    whole: int = 0

    def run(self) -> tuple[list[_Done], int]:
        """Keep the shards that are sound, make the others; give all of them, and how many images were kept."""
        samples = self.maker.samples
        for left in (self.out / FOLDER).glob(".*.part"):
            left.unlink()
        done = self._valid()
        starts = [0]
        for each in done:
            starts.append(starts[-1] + each.taken)
        lost, count, kept = [], 0, 0
        self.progress(count, len(samples))
        for each in done:
            if not _is_sound(self.out / FOLDER, each):
                lost.append(each)
                continue
            count, kept, self.whole = count + each.taken, kept + each.rows, self.whole + 1
            self.progress(count, len(samples))
        with (self.out / JOURNAL).open("ab") as journal:
            journal.write(b"\n")  # ends a line that a kill cut short

            def made(part: Sequence[Sample]) -> Iterator[Made]:
                nonlocal count
                for image in ahead(part, self.maker.make, workers=self.workers):
                    count += 1
                    yield image
                    self.progress(count, len(samples))

            def fill(images: Iterator[Made], number: int, limit_bytes: float) -> _Done:
                new = self._fill(images, number, limit_bytes)
                journal.write(json.dumps(asdict(new)).encode() + b"\n")
                journal.flush()
                self.whole += 1
                return new

            for each in lost:
                begin = starts[each.shard]
                done[each.shard] = fill(made(samples[begin : begin + each.taken]), each.shard, float("inf"))
            images = made(samples[starts[-1] :])
            while (first := next(images, None)) is not None:
                done.append(fill(chain([first], images), len(done), self.shard_bytes))
        return done, kept

    def _valid(self) -> list[_Done]:
        """Find the shards of earlier passes whose images and labels are still the same, from the first one on."""
        samples = self.maker.samples
        lines = {line["shard"]: _Done(**line) for line in read_journal(self.out / JOURNAL)
                 if set(line) == set(_Done.__dataclass_fields__)}  # fmt: skip
        valid: list[_Done] = []
        begin = 0
        while (each := lines.get(len(valid))) is not None and begin + each.taken <= len(samples):
            end = begin + each.taken
            # The last shard of a set may be small; one that is followed by others is not.
            if each.bytes < self.shard_bytes and end < len(samples):
                break
            inputs = self._inputs()
            for sample in samples[begin:end]:
                inputs.update(f"{self.maker.line(sample)}\n".encode())
            if inputs.hexdigest() != each.inputs:
                break
            valid.append(each)
            begin = end
        return valid

    def _inputs(self) -> "hashlib._Hash":
        """Begin the hash of what a shard is made from: a column more or less makes it another one."""
        return hashlib.sha256(json.dumps(self.maker.schema.names).encode())

    def _fill(self, images: Iterator[Made], number: int, limit_bytes: float) -> _Done:
        """Write one shard."""
        folder = self.out / FOLDER
        beside = folder / f".{_name(number)}.part"
        inputs, left_out = self._inputs(), []
        taken = rows = size = 0
        try:
            with beside.open("wb") as file, _Rows(file, self.maker.schema) as writer:
                for image in images:
                    taken += 1
                    inputs.update(f"{image.line}\n".encode())
                    if isinstance(image.row, Problem):
                        left_out.append([image.row.file, image.row.what, image.row.source])
                        continue
                    writer.put(image.row)
                    rows, size = rows + 1, size + image.row["size_bytes"]
                    if size >= limit_bytes:
                        break
                writer.finish()
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            beside.unlink(missing_ok=True)  # gives a full disk its space back
            raise
        length, digest = beside.stat().st_size, _file_sha256(beside)
        for older in _variants(folder, number):
            older.unlink()
        if rows:
            beside.replace(folder / _name(number))
            flush_folder(folder)
        else:
            beside.unlink()
        return _Done(number, taken, inputs.hexdigest(), rows, length, digest, left_out)


class _Rows:
    """Writes rows in groups of a few megabytes; what fails half-way is left without an end."""

    def __init__(self, file: Any, schema: Any) -> None:
        import pyarrow.parquet

        leaves = leaves_of(schema)
        # Images are compressed already, and lie in the file as they are, one behind the other: see table.py.
        self._writer = pyarrow.parquet.ParquetWriter(
            file,
            schema,
            compression={name: "NONE" if name == IMAGE_BYTES else "ZSTD" for name in leaves},
            use_dictionary=[name for name in leaves if name != IMAGE_BYTES],
            data_page_size=2**30,
            write_statistics=False,
        )
        self._schema = schema
        self._rows: list[dict[str, Any]] = []
        self._size = 0

    def __enter__(self) -> "_Rows":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._writer.is_open = False  # otherwise it would write its end into a full disk when it is forgotten

    def put(self, row: dict[str, Any]) -> None:
        """Add a row."""
        self._rows.append(row)
        self._size += row["size_bytes"]
        if self._size >= _GROUP_BYTES or len(self._rows) >= _GROUP_ROWS:
            self._write()

    def finish(self) -> None:
        """Write what is left, and the end of the file."""
        if self._rows:
            self._write()
        self._writer.close()

    def _write(self) -> None:
        import pyarrow as pa

        group = pa.Table.from_pylist(self._rows, schema=self._schema)
        self._writer.write_table(group, row_group_size=len(self._rows))
        self._rows, self._size = [], 0


def _is_sound(folder: Path, done: _Done) -> bool:
    """Tell whether a shard is as it was written; one without rows has no file."""
    found = _variants(folder, done.shard)
    if not done.rows:
        return not found
    return len(found) == 1 and found[0].stat().st_size == done.bytes and _file_sha256(found[0]) == done.sha256


def _file_sha256(path: Path) -> str:
    """Hash a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _name(number: int) -> str:
    """Name of a shard while nobody knows how many there will be."""
    return f"shard-{number:05d}.parquet"


def _variants(folder: Path, number: int) -> list[Path]:
    """Find a shard, whichever of its names it has."""
    return [*folder.glob(_name(number)), *folder.glob(f"shard-{number:05d}-of-*.parquet")]


def _named(folder: Path, done: Sequence[_Done]) -> tuple[ShardFile, ...]:
    """Give the shards their lasting names, and take away what belongs to none."""
    there = [each for each in done if each.rows]
    shards = []
    for each in there:
        name = f"shard-{each.shard:05d}-of-{len(there):05d}.parquet"
        [found] = _variants(folder, each.shard)
        found.replace(folder / name)
        shards.append(ShardFile(name, each.rows, each.bytes, each.sha256))
    names = {shard.name for shard in shards}
    for path in folder.glob("shard-*.parquet"):
        if path.name not in names:
            path.unlink()
    flush_folder(folder)
    return tuple(shards)

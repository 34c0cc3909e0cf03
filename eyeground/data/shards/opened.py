"""A set of shards, opened: its table in memory as columns, each image read by itself and compared with its hash."""

import bisect
import hashlib
import os
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eyeground.data.manifest import Source
from eyeground.data.prepare import JOURNAL
from eyeground.data.prepared import other_pixels
from eyeground.data.problem import DataProblems, Problem
from eyeground.data.sample import Sample
from eyeground.data.shards.address import local_path, remote_address
from eyeground.data.shards.columns import Categories, Digests, Texts
from eyeground.data.shards.index import FOLDER, INDEX, Index, ShardFile, read_index
from eyeground.data.shards.location import ADVICE, LocalFolder, Location, RemoteFolder, ShardBroken, differs
from eyeground.images.laterality import eye_from_name

# Role of a column, as ``Source`` calls it -> its name.
_ROLES: Final = {"file": "id", "label": "label", "group": "patient", "eye": "eye", "site": "site", "camera": "camera",
                 "split": "split"}  # fmt: skip
_ROWS_NAMED: Final = 5


class Shards:
    """What ``eyeground data prepare --shards`` left, here or at an address.

    The table takes some 200 bytes a row, in columns that loader processes share.

    Args:
        where: The folder or address, for messages.
        folder: A folder of this machine that stands for it; images are named relative to it.
        location: Where the shards lie.
        index: What the set is.
        table: Its table, on this machine.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> from eyeground.data.manifest import read_manifest
        >>> from eyeground.data.shards.writing import write_shards
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "photos" / "normal").mkdir(parents=True)
        >>> Image.new("RGB", (64, 48)).save(folder / "photos" / "normal" / "1.bmp")
        >>> found = read_manifest([Source(folder / "photos")])
        >>> _ = write_shards(found, folder / "packed", crop_field=True, store_px=32)
        >>> shards = open_shards(folder / "packed")
        >>> shards.sample(0, "eyes").id, len(shards.read("normal/1.bmp.tif")) > 100
        ('eyes:normal/1.bmp.tif', True)

    References:
        Our own.
    """

    def __init__(self, where: str, folder: Path, location: Location, index: Index, table: Path) -> None:
        import pyarrow as pa
        import pyarrow.compute
        import pyarrow.parquet

        self.where, self.images, self.index, self.table = where, folder, index, table
        self.classes, self.ordered = index.classes, index.ordered
        self._location = location

        def column(name: str) -> Any:
            return pyarrow.parquet.read_table(table, columns=[name])[name]

        def texts(name: str) -> Texts | None:
            return Texts(column(name)) if name in index.columns else None

        def words(name: str) -> Categories | None:
            return Categories(column(name)) if name in index.columns else None

        try:
            self._shard: NDArray[np.int32] = column("shard").to_numpy()
            self._offset: NDArray[np.int64] = column("offset").to_numpy()
            self._size: NDArray[np.int32] = column("size_bytes").to_numpy()
            self._ids, self._files = Texts(column("id")), Texts(column("source_file"))
            self._sha256, self._source_sha256 = Digests(column("sha256")), Digests(column("source_sha256"))
            self._patient, self._slice = texts("patient"), texts("source_slice")
            self._label, self._eye, self._site, self._camera, self._split = map(
                words, ("label", "eye", "site", "camera", "split")
            )
            by_id = pyarrow.compute.sort_indices(column("id")).to_numpy()
            self._by_id = by_id.astype(np.min_scalar_type(max(1, len(by_id))))
            counts = np.bincount(self._shard, minlength=len(index.shards)).tolist()
        except Exception as error:  # pyarrow raises many classes on damaged files
            raise DataProblems([Problem(f"does not fit the index ({error}); {ADVICE}", str(table))]) from error
        bytes_of = np.array([shard.bytes for shard in index.shards], np.int64)
        if (
            counts != [shard.rows for shard in index.shards]
            or min(self._offset.min(initial=0), self._size.min(initial=0)) < 0
            or (self._offset + self._size > bytes_of[self._shard]).any()
            or not {*(self._label.words if self._label else ())} <= {"", *index.classes}
        ):
            raise DataProblems([Problem(f"does not fit the index; {ADVICE}", str(table))])
        pa.default_memory_pool().release_unused()
        self._first = np.concatenate(([0], np.cumsum(counts)))

    def __len__(self) -> int:
        return len(self._ids)

    def __reduce__(self) -> tuple[Callable[[str, str], "Shards"], tuple[str, str]]:
        return _reopened, (self.where, self.index.table.sha256)

    @property
    def shards(self) -> int:
        """How many shards there are."""
        return len(self.index.shards)

    def source(self, name: str = "") -> Source:
        """Say how to read it.

        Args:
            name: Name of the source; the folder's when empty.

        Returns:
            The source for ``read_manifest``, every column named.
        """
        named: dict[str, Any] = {role: column for role, column in _ROLES.items() if column in self.index.columns}
        return Source(self.images, name or self.where.rstrip("/").rpartition("/")[2], self.table, **named, pack=self)

    def mismatch(self, *, crop_field: bool, store_px: int) -> str:
        """Compare with what a run asks for.

        Args:
            crop_field: The run's.
            store_px: The run's.

        Returns:
            Why its pixels are not those that the run would see, ``""`` if they are.
        """
        return other_pixels(self.where, there=(self.index.crop_field, self.index.store_px), here=(crop_field, store_px))

    def row_of(self, file: str) -> int:
        """Find an image.

        Args:
            file: Its name.

        Returns:
            Its row of the table, from 0.

        Raises:
            LookupError: If there is none of that name.
        """
        wanted = file.encode("utf-8", "surrogateescape")
        place = bisect.bisect_left(self._by_id, wanted, key=lambda row: self._ids.raw(int(row)))
        if place < len(self) and self._ids.raw(row := int(self._by_id[place])) == wanted:
            return row
        raise LookupError(f"{self.where} holds no image {file}")

    def sample(self, row: int, source: str, *, split: str = "", labels: bool = True) -> Sample:
        """Give a row as ``read_manifest`` would.

        Args:
            row: Which row of the table, from 0.
            source: Name of the source.
            split: Split that it is put in; ``""`` leaves what the table says.
            labels: Whether it keeps its label.

        Returns:
            The sample.
        """
        file, label = self._ids[row], _cell(self._label, row)
        eye: Any = _cell(self._eye, row) or eye_from_name(file)
        return Sample(
            file=file,
            folder=self.images,
            label=self.classes.index(label) if label and labels else None,
            patient=_cell(self._patient, row) or f"{source}:{file}",
            eye=eye,
            site=_cell(self._site, row),
            camera=_cell(self._camera, row),
            split=split or _cell(self._split, row),
            source=source,
            whole=self._files[row] if _cell(self._slice, row) else "",
            pack=self,
        )

    def made_from(self, row: int) -> tuple[str, int | None, str]:
        """Say what an image was made from.

        Args:
            row: Which row of the table, from 0.

        Returns:
            File and slice in the data set it was made from, and the hash that ``verify`` gave it there.
        """
        slice = _cell(self._slice, row)
        return self._files[row], int(slice) if slice else None, self._source_sha256[row]

    def labelled(self) -> NDArray[np.int64]:
        """Find the rows that have a label.

        Returns:
            Their numbers, in order.
        """
        return np.arange(0) if self._label is None else np.flatnonzero(self._label.filled)

    def shard_numbers(self) -> NDArray[np.int32]:
        """Say where every image lies.

        Returns:
            Number of the shard of each row, shape (N,).
        """
        return self._shard

    def origin(self, file: str) -> tuple[str, int | None, str]:
        """Say what an image was made from."""
        return self.made_from(self.row_of(file))

    def shard_of(self, file: str) -> int:
        """Say which shard an image lies in."""
        return int(self._shard[self.row_of(file)])

    def sha256(self, file: str) -> str:
        """Say the hash of an image's bytes, without reading them."""
        return self._sha256[self.row_of(file)]

    def read(self, file: str) -> bytes:
        """Read an image's bytes, and compare them with their hash."""
        row = self.row_of(file)
        if (data := self._bytes(row)) is None:
            self._location.forget(self._entry(row))
            if (data := self._bytes(row)) is None:
                raise ShardBroken(f"{self.where}: {self._blame(row)}")
        return data

    def check(self, progress: Callable[[int, int], None] | None = None) -> tuple[Problem, ...]:
        """Read every shard whole, and compare it with its hash.

        Args:
            progress: Called with (shards read, shards in all) after each.

        Returns:
            What is wrong, a problem for each shard, with its first images that have changed.
        """
        problems = []
        for number, entry in enumerate(self.index.shards):
            try:
                if wrong := self._wrong(entry):
                    problems.append(Problem(f"{wrong}{self._changed(number)}; {ADVICE}", entry.name, None, self.where))
            except ShardBroken as error:
                problems.append(Problem(str(error), "", None, self.where))
            if progress is not None:
                progress(number + 1, self.shards)
        return tuple(problems)

    def _entry(self, row: int) -> ShardFile:
        """The shard that a row lies in."""
        return self.index.shards[int(self._shard[row])]

    def _bytes(self, row: int) -> bytes | None:
        """Read an image's bytes; None if they are not those that were stored."""
        data = self._location.read(self._entry(row), int(self._offset[row]), int(self._size[row]))
        return data if hashlib.sha256(data).hexdigest() == self._sha256[row] else None

    def _wrong(self, entry: ShardFile) -> str:
        """What is wrong with a shard; ``""`` if nothing."""
        try:
            wrong = differs(path := self._location.local(entry), entry)
        except FileNotFoundError:
            return "is missing"
        for other in self.index.shards if wrong else ():
            if other != entry and not differs(path, other):
                return f"holds what {other.name} should hold; give each its name back"
        return wrong

    def _changed(self, number: int) -> str:
        """Name the first images of a shard that are not those that were stored; nothing if all are."""
        rows = range(int(self._first[number]), int(self._first[number + 1]))
        try:
            changed = [row for row in rows if self._bytes(row) is None]
        except ShardBroken:
            return ""
        if not changed:
            return ""
        named = ", ".join(f"row {row - rows[0]} ({self._ids[row]})" for row in changed[:_ROWS_NAMED])
        return f"; {len(changed)} of its {len(rows)} images are other ones: {named}" + (
            ", ..." if len(changed) > _ROWS_NAMED else ""
        )

    def _blame(self, row: int) -> str:
        """Say what is wrong around an image that has changed."""
        entry = self._entry(row)
        wrong = self._wrong(entry) or "does not fit the table"
        place = row - self._first[self._shard[row]]
        return f"{entry.name}, row {place} ({self._ids[row]}): the shard {wrong}; {ADVICE}"


def _cell(column: Texts | Categories | None, row: int) -> str:
    """One cell; ``""`` where it or the whole column is not there."""
    return "" if column is None else column[row]


def open_shards(path: Path) -> Shards | None:
    """Open a folder or an address if it is a set of shards.

    Shards of an address are brought into ``$EYEGROUND_CACHE/shards`` (or ``~/.cache/eyeground/shards``) as they are
    needed; ``EYEGROUND_SHARD_CACHE_GB`` says how much may lie there, all but a tenth of the disk where it is not set.

    Args:
        path: Any folder, ``file://`` address, or address that fsspec reaches, such as ``s3://bucket/folder``.

    Returns:
        What it holds; None if it is a folder of something else.

    Raises:
        DataProblems: If its making has not come to an end, it is damaged, shards are missing or cut short (all are
            named), or an address holds none.
        ShardsUnreachable: If the address does not answer, or fsspec is not installed.

    Example:
        >>> open_shards(Path("no/such/folder")) is None
        True

    References:
        Our own.
    """
    address = remote_address(path)
    folder = local_path(path)
    where = address or str(folder)
    if address:
        keep = _cache()
        folder = keep / hashlib.sha256(address.rstrip("/").encode()).hexdigest()[:24]
        location: Location = RemoteFolder(address, keep, limit_bytes=_limit_bytes())
    else:
        location = LocalFolder(folder)
    content = location.read_whole(INDEX)
    if content is None:
        if address:
            raise DataProblems([Problem(f"there is no {INDEX}; name the folder that holds it", where)])
        if (folder / JOURNAL).is_file() and (folder / FOLDER).is_dir():
            what = "its preparation has not come to an end; run the same 'eyeground data prepare --shards' again"
            raise DataProblems([Problem(what, where)])
        return None
    index = read_index(content, f"{where.rstrip('/')}/{INDEX}")
    if problems := _lost(index, location.sizes(), where):
        raise DataProblems(problems)
    try:
        table = location.local(index.table)
        wrong = differs(table, index.table)
    except (ShardBroken, FileNotFoundError) as error:
        raise DataProblems([Problem(str(error), "", None, where)]) from error
    if wrong:
        raise DataProblems([Problem(f"{wrong}; {ADVICE}", index.table.name, None, where)])
    folder = folder if address else folder / FOLDER
    folder.mkdir(exist_ok=True, parents=True)
    return Shards(where, folder, location, index, table)


@cache
def _reopened(where: str, table_sha256: str) -> Shards:
    """Open a set once in another process that was sent its samples: its table does not travel with each of them."""
    found = open_shards(Path(where))
    if found is None or found.index.table.sha256 != table_sha256:
        raise DataProblems([Problem("is not here, or another set than where the work began; use the same", where)])
    return found


def _lost(index: Index, sizes: Mapping[str, int], where: str) -> list[Problem]:
    """Name the shards that are missing, or have another size than they should."""
    problems = []
    for shard in index.shards:
        size = sizes.get(shard.name)
        if size is None:
            problems.append(Problem(f"is missing; {ADVICE}", shard.name, None, where))
        elif size != shard.bytes:
            meant = [other.name for other in index.shards if other.bytes == size]
            hint = f", as many as {meant[0]} should have: were they swapped?" if meant else f"; {ADVICE}"
            problems.append(Problem(f"has {size} of {shard.bytes} bytes{hint}", shard.name, None, where))
    return problems


def _cache() -> Path:
    """Where shards of addresses are kept."""
    chosen = os.environ.get("EYEGROUND_CACHE")
    return (Path(chosen) if chosen else Path.home() / ".cache" / "eyeground") / "shards"


def _limit_bytes() -> int | None:
    """How much may be kept; None = the disk decides."""
    told = os.environ.get("EYEGROUND_SHARD_CACHE_GB", "")
    try:
        return int(float(told) * 1e9) if told else None
    except (ValueError, OverflowError) as error:
        what = f"EYEGROUND_SHARD_CACHE_GB is {told!r}: give a number of gigabytes, such as 200"
        raise DataProblems([Problem(what)]) from error

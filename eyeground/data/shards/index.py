"""What a set of shards is: one JSON file that names every shard with its size and hash."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from eyeground.data.problem import DataProblems, Problem

FORMAT: Final = 1
INDEX, TABLE, FOLDER = "shards.json", "table.parquet", "shards"
_NAME: Final = re.compile(r"shard-\d{5,}-of-\d{5,}\.parquet")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ShardFile:
    """One file of the set: a shard, or the table of all of them.

    Args:
        name: Its name; shards lie in the folder ``shards``.
        rows: Its images.
        bytes: Its size. Unit: bytes.
        sha256: Hash of its bytes, hexadecimal.

    Example:
        >>> ShardFile("shard-00000-of-00001.parquet", 3, 9000, "00" * 32).rows
        3

    References:
        Our own.
    """

    name: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Index:
    """What ``eyeground data prepare --shards`` made.

    Args:
        crop_field: Whether its photographs are cropped to their field of view.
        store_px: What their short sides were shrunk to at most, 0 = kept. Unit: px.
        slices: Which B-scans of its volumes it holds: ``center``, ``all`` or ``every:N``.
        classes: Class names in the order of the data set it was made from.
        ordered: Whether they are grades.
        patients_known: Whether every image has its patient.
        columns: Columns of the table.
        table: The table of all images, without their pixels.
        shards: The shards, in their order; the table's rows follow it.

    Example:
        >>> table = ShardFile("table.parquet", 0, 1, "00" * 32)
        >>> Index(True, 512, "center", ("a",), False, True, ("id",), table, ()).images
        0

    References:
        Our own.
    """

    crop_field: bool
    store_px: int
    slices: str
    classes: tuple[str, ...]
    ordered: bool
    patients_known: bool
    columns: tuple[str, ...]
    table: ShardFile
    shards: tuple[ShardFile, ...]

    @property
    def images(self) -> int:
        """How many images there are."""
        return self.table.rows


def write_index(index: Index, **told: Any) -> bytes:
    """Write an index as JSON.

    Args:
        index: The index.
        told: Further things worth knowing, such as versions; nobody reads them back.

    Returns:
        The content of ``shards.json``.

    Example:
        >>> table = ShardFile("table.parquet", 0, 1, "00" * 32)
        >>> index = Index(True, 512, "center", ("a",), False, True, ("id",), table, ())
        >>> read_index(write_index(index), "shards.json") == index
        True

    References:
        Our own.
    """
    values = {"format": FORMAT, "images": index.images, **asdict(index), **told}
    shards = values.pop("shards")
    lines = ",\n".join(f"  {json.dumps(each)}" for each in shards)
    head = json.dumps(values, indent=1, ensure_ascii=False)
    return f'{head[:-2]},\n "shards": [\n{lines}\n ]\n}}\n'.encode()


def read_index(content: bytes, where: str) -> Index:
    """Read an index.

    Args:
        content: The content of ``shards.json``.
        where: Its place, for messages.

    Returns:
        The index.

    Raises:
        DataProblems: If another version of Eyeground made it, or it is damaged.

    Example:
        >>> read_index(b"{}", "shards.json")
        Traceback (most recent call last):
        eyeground.data.problem.DataProblems: 1 problem in the data:
        - shards.json: is damaged ('format'); copy it again, or prepare the set anew

    References:
        Our own.
    """
    try:
        told = json.loads(content)
        version = told["format"]
        if version == FORMAT:
            index = Index(
                bool(told["crop_field"]),
                int(told["store_px"]),
                str(told["slices"]),
                tuple(map(str, told["classes"])),
                bool(told["ordered"]),
                bool(told["patients_known"]),
                tuple(map(str, told["columns"])),
                _entry(told["table"], lambda name: name == TABLE),
                tuple(_entry(each, lambda name: bool(_NAME.fullmatch(name))) for each in told["shards"]),
            )
            if sum(shard.rows for shard in index.shards) == index.images:
                return index
            raise ValueError("its numbers of images do not add up")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataProblems([Problem(f"is damaged ({error}); copy it again, or prepare the set anew", where)]) from error
    raise DataProblems([Problem(f"is of format {version}, this Eyeground reads {FORMAT}; prepare the set anew", where)])


def _entry(told: Any, known: Callable[[str], bool]) -> ShardFile:
    """Read one file's line; a name that leads elsewhere is refused."""
    found = ShardFile(str(told["name"]), int(told["rows"]), int(told["bytes"]), str(told["sha256"]))
    if not known(found.name):
        raise ValueError(f"{found.name!r} is no name of a shard")
    if found.rows < 0 or found.bytes < 1 or not _SHA256.fullmatch(found.sha256):
        raise ValueError(f"{found.name} has no size or hash that could be")
    return found

"""The table of all images of a set of shards, without their pixels: where each image's bytes lie."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from eyeground.data.shards.index import TABLE, ShardFile
from eyeground.data.shards.schema import HASHES, IMAGE, IMAGE_BYTES, PLACE

_LENGTH_BYTES: Final = 4  # before each value of a plain column


def write_table(path: Path, shards: Sequence[Path], schema: Any) -> ShardFile:
    """Gather the rows of all shards.

    A shard's images are not compressed again: in each row group they lie one behind the other, each after its length.
    So a single one can be read without the others.

    Args:
        path: Parquet file to write.
        shards: The shards, in their order.
        schema: Their ``pyarrow.Schema``.

    Returns:
        The table's line of the index.

    Raises:
        OSError: If the disk is full.
        ValueError: If images do not lie in the shards as they should.

    Example:
        >>> import tempfile
        >>> import pyarrow
        >>> write_table(Path(tempfile.mkdtemp(), "table.parquet"), [], pyarrow.schema({"id": pyarrow.string()})).rows
        0

    References:
        Apache Parquet, plain encoding: https://parquet.apache.org/docs/file-format/data-pages/encodings/
    """
    import pyarrow as pa
    import pyarrow.parquet

    columns = [name for name in schema.names if name != IMAGE]
    fields = [pa.field(name, pa.binary(32)) if name in HASHES else schema.field(name) for name in columns]
    kept = pa.schema([*fields, (PLACE[0], pa.int32()), (PLACE[1], pa.int64())])
    beside = path.with_name(f".{path.name}.part")
    rows = 0
    try:
        with beside.open("wb") as file, pyarrow.parquet.ParquetWriter(file, kept, compression="zstd") as writer:
            for number, shard in enumerate(shards):
                with shard.open("rb") as images, pyarrow.parquet.ParquetFile(images) as opened:
                    for group in range(opened.num_row_groups):
                        told = opened.read_row_group(group, columns=columns)
                        offsets = _offsets(images, opened.metadata.row_group(group), told["size_bytes"].to_numpy())
                        cells = [_short(told[name]) if name in HASHES else told[name] for name in columns]
                        cells += [pa.array(np.full(len(offsets), number, np.int32)), pa.array(offsets)]
                        writer.write_table(pa.table(cells, schema=kept))
                        rows += len(offsets)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    with path.open("rb") as written:
        digest = hashlib.file_digest(written, "sha256").hexdigest()
    return ShardFile(TABLE, rows, path.stat().st_size, digest)


def _short(column: Any) -> Any:
    """Write hashes as bytes."""
    import pyarrow as pa

    return pa.array([bytes.fromhex(digest) for digest in column.to_pylist()], pa.binary(32))


def _offsets(file: Any, group: Any, sizes: Any) -> Any:
    """Find where the images of a row group begin, and look whether they are there."""
    column = next(
        each
        for each in (group.column(number) for number in range(group.num_columns))
        if each.path_in_schema == IMAGE_BYTES
    )
    whole = _LENGTH_BYTES + sizes.astype(np.int64)
    end = column.data_page_offset + column.total_compressed_size
    begins = end - whole.sum() + np.concatenate(([0], np.cumsum(whole)[:-1]))
    for begin, size in ((begins[0], sizes[0]), (begins[-1], sizes[-1])):
        file.seek(max(0, begin))
        if int.from_bytes(file.read(_LENGTH_BYTES), "little") != size:
            raise ValueError(f"this pyarrow writes Parquet in another way: no image at byte {begin} of {file.name}")
    return begins + _LENGTH_BYTES

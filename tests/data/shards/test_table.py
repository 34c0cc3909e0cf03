"""The table says where each image lies, and is refused where it could not."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from eyeground.data.shards.table import write_table

from .small import pack, photographs, shards_in

SCHEMA = pa.schema([
    ("id", pa.string()), ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
    ("size_bytes", pa.int32()),
])  # fmt: skip


def test_each_image_lies_where_the_table_says(tmp_path: Path) -> None:
    pack(photographs(tmp_path / "data", 20), tmp_path / "packed")
    table = pyarrow.parquet.read_table(tmp_path / "packed" / "table.parquet").to_pylist()
    shards = [path.read_bytes() for path in shards_in(tmp_path / "packed")]
    assert len(table) == 20
    assert "image" not in table[0]
    for row in table:
        found = shards[row["shard"]][row["offset"] : row["offset"] + row["size_bytes"]]
        assert hashlib.sha256(found).digest() == row["sha256"]


@pytest.mark.parametrize("compression", ["zstd", "snappy"])
def test_a_shard_whose_images_lie_otherwise_is_refused(tmp_path: Path, compression: str) -> None:
    rows = [
        {"id": str(n), "image": {"bytes": bytes(range(n + 60)), "path": ""}, "size_bytes": n + 60} for n in range(9)
    ]
    path = tmp_path / "shard.parquet"
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path, compression=compression)
    with pytest.raises(ValueError, match="writes Parquet in another way"):
        write_table(tmp_path / "table.parquet", [path], SCHEMA)
    assert list(tmp_path.iterdir()) == [path]

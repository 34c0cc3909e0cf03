"""An index is believed only as far as it makes sense."""

import json

import pytest

from eyeground.data.problem import DataProblems
from eyeground.data.shards.index import Index, ShardFile, read_index, write_index

SHARDS = (ShardFile("shard-00000-of-00001.parquet", 3, 900, "ab" * 32),)
INDEX = Index(
    True, 512, "every:2", ("a", "ü"), True, False, ("id", "label"), ShardFile("table.parquet", 3, 90, "cd" * 32), SHARDS
)


def test_what_is_written_comes_back() -> None:
    assert read_index(write_index(INDEX, pillow="13"), "x") == INDEX


@pytest.mark.parametrize(
    ("where", "value", "words"),
    [
        (("format",), 2, "is of format 2, this Eyeground reads 1"),
        (("shards", 0, "name"), "../../etc/passwd", "no name of a shard"),
        (("shards", 0, "name"), "table.parquet", "no name of a shard"),
        (("table", "name"), "shard-00000-of-00001.parquet", "no name of a shard"),
        (("shards", 0, "sha256"), "../ab", "no size or hash"),
        (("shards", 0, "bytes"), 0, "no size or hash"),
        (("shards", 0, "rows"), 2, "do not add up"),
        (("shards", 0, "rows"), "many", "is damaged"),
        (("shards",), None, "is damaged"),
        (("classes",), 7, "is damaged"),
    ],
)
def test_an_index_without_sense_is_refused(where: tuple[str | int, ...], value: object, words: str) -> None:
    told = json.loads(write_index(INDEX))
    place = told
    for step in where[:-1]:
        place = place[step]
    place[where[-1]] = value
    with pytest.raises(DataProblems, match=words):
        read_index(json.dumps(told).encode(), "here/shards.json")


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"null", write_index(INDEX)[:100]])
def test_what_is_no_index_is_refused(content: bytes) -> None:
    with pytest.raises(DataProblems, match=r"here/shards\.json: is damaged"):
        read_index(content, "here/shards.json")

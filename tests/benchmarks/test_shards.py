"""The benchmark of shards packs what it made, and both sides stream all of it."""

from pathlib import Path

from benchmarks import shards
from eyeground.data.shards.opened import open_shards
from eyeground.data.shards.rows import ShardRows


def test_what_is_packed_is_streamed(tmp_path: Path) -> None:
    shards.make(tmp_path / "data", 120)
    course = shards.prepare(tmp_path / "data", tmp_path / "packed", "--shards", "--shard-mb", "1")
    assert course.seconds > 0
    opened = open_shards(tmp_path / "packed")
    assert opened is not None
    assert len(opened) == 120
    rows = ShardRows(opened, "small", split="train", labels=False)
    assert sum(len(batch) for batch in shards.our_epochs(rows, (), 2)) == 200
    assert sum(len(batch) for batch in shards.plain_epochs(tmp_path / "data", 1)) == 100


def test_memory_is_told_by_what_was_stored() -> None:
    course = shards.Course(1.0, {0: 5.0, 30: 9.0, 100: 8.0, 50: 7.0})
    assert (course.at(0.1), course.at(0.5), course.at(1.0)) == (5.0, 9.0, 9.0)

"""Rows that are made when they are asked for are the samples that the manifest would hold."""

from pathlib import Path

import numpy as np
import pytest

from eyeground.data.manifest import Source, read_manifest
from eyeground.data.sample import Sample
from eyeground.data.shards.opened import Shards
from eyeground.data.shards.rows import Hashes, Joined, ShardRows, per_source

from .small import pack, photographs


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    folder = tmp_path_factory.mktemp("set")
    return pack(photographs(folder / "data", 14), folder / "packed")


def test_rows_are_the_samples_of_the_manifest(shards: Shards) -> None:
    samples = read_manifest([shards.source("eyes")], classes=shards.classes).samples
    rows = ShardRows(shards, "eyes")
    assert tuple(rows) == rows[:] == samples
    assert rows[-1] == samples[-1]
    assert rows[1::5] == samples[1::5]
    assert len(rows) == 14
    with pytest.raises(IndexError):
        rows[14]
    some = ShardRows(shards, "eyes", split="train", labels=False, numbers=np.array([3, 1]))
    assert [(s.file, s.split, s.label) for s in some] == [(samples[n].file, "train", None) for n in (3, 1)]


def test_rows_with_a_label_are_found(tmp_path: Path) -> None:
    photographs(tmp_path / "data", 6)
    table = tmp_path / "data" / "labels.csv"
    table.write_text(table.read_text().replace("005.png,sick", "005.png,"))
    source = Source(tmp_path / "data" / "images", table=table, split="split")
    shards = pack(read_manifest([source], labels_required=False), tmp_path / "packed")
    found = ShardRows(shards, "eyes", numbers=shards.labelled())
    assert sorted(sample.file for sample in found) == [f"{n:03d}.png.tif" for n in range(5)]
    assert all(sample.label is not None for sample in found)


def test_joined_sources_are_one_sequence(shards: Shards) -> None:
    plain = [Sample(name, Path("d"), None, name, source="plain") for name in ("a", "b")]
    rows = ShardRows(shards, "eyes")
    joined = Joined([plain, rows, ()])
    assert list(joined) == [*plain, *rows]
    assert joined[1:4] == (plain[1], rows[0], rows[1])
    assert joined[-1] == rows[-1]
    with pytest.raises(IndexError):
        joined[16]
    assert per_source(joined) == {"plain": 2, "eyes": 14}


def test_hashes_of_rows_are_those_of_their_sources(shards: Shards) -> None:
    rows = ShardRows(shards, "eyes")
    hashes = Hashes({":a": "00"}, [rows])
    assert dict(hashes) == {":a": "00"} | {s.id: shards.origin(s.file)[2] for s in rows}
    assert len(hashes) == 15
    for unknown in (":b", "eyes:b", "other:000.png.tif", ""):
        assert hashes.get(unknown) is None

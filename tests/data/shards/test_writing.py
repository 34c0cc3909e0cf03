"""Shards hold what a prepared folder holds, and a kill at any moment costs nothing but time."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.dataset
import pyarrow.parquet
import pytest

from eyeground.data.manifest import Manifest, Source, read_manifest
from eyeground.data.pixels import PixelStore
from eyeground.data.prepare import prepare
from eyeground.data.prepared import open_prepared
from eyeground.data.shards import writing
from eyeground.data.shards.opened import open_shards
from eyeground.data.shards.writing import write_shards
from eyeground.data.table import open_table

from .small import SHARD_BYTES, digests, flip, manifest_of, pack, photographs, shards_in

COUNT = 23


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return photographs(tmp_path_factory.mktemp("data"), COUNT)


@pytest.fixture(scope="module")
def whole(manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("packed") / "whole"
    pack(manifest, out)
    return out


class Killed(BaseException):
    """Stands for a kill: nobody catches it."""


def test_every_row_is_what_a_prepared_folder_has(manifest: Manifest, whole: Path, tmp_path: Path) -> None:
    prepare(manifest, tmp_path / "ready", crop_field=False, store_px=20)
    ready = open_prepared(tmp_path / "ready")
    assert ready is not None
    table = open_table(ready.table)
    wanted = {cells[0]: cells for _, cells in table.rows(["file", *(name for name in table.columns if name != "file")])}
    rows = pyarrow.dataset.dataset(whole / "shards").to_table().to_pylist()
    assert len(rows) == COUNT
    for row in rows:
        told = dict(zip(["file", *(name for name in table.columns if name != "file")], wanted[row["id"]], strict=True))
        assert {name: str(row[name]) for name in told if name != "file"} == {
            n: v for n, v in told.items() if n != "file"
        }
        stored = (ready.images / row["id"]).read_bytes()
        assert row["image"] == {"bytes": stored, "path": row["id"]}
        assert row["size_bytes"] == len(stored)


def test_the_order_is_drawn_and_the_shards_are_of_the_size_asked_for(manifest: Manifest, whole: Path) -> None:
    ids = [row for path in shards_in(whole) for row in pyarrow.parquet.read_table(path)["id"].to_pylist()]
    files = [sample.file for sample in manifest.samples]
    assert [name.removesuffix(".tif") for name in ids] != files
    assert sorted(name.removesuffix(".tif") for name in ids) == sorted(files)
    content = [sum(pyarrow.parquet.read_table(path)["size_bytes"].to_pylist()) for path in shards_in(whole)]
    assert len(content) > 3
    assert all(SHARD_BYTES <= size < SHARD_BYTES + 2_000 for size in content[:-1])
    assert shards_in(whole)[0].name == f"shard-00000-of-{len(content):05d}.parquet"


def test_row_groups_are_small(manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_GROUP_BYTES", 3_000)
    out = tmp_path / "packed"
    opened = pack(manifest, out, shard_bytes=10**9)
    [path] = shards_in(out)
    groups = pyarrow.parquet.ParquetFile(path).metadata
    assert groups.num_row_groups > 5
    assert len(opened) == COUNT
    for sample in read_manifest([opened.source()]).samples:
        assert sample.parcel().data[:4] == b"II*\0"  # offsets hold over groups; the hash is compared on reading


def test_the_hub_s_library_opens_it_and_sees_our_pixels(whole: Path, tmp_path: Path) -> None:
    opened = pyarrow.parquet.read_table(shards_in(whole)[0])
    code = (
        "import datasets, numpy, sys\n"
        "rows = datasets.load_dataset('parquet', data_files=sys.argv[1], split='train')\n"
        "assert isinstance(rows.features['image'], datasets.Image), rows.features\n"
        "picture = rows[0]['image']\n"
        "sys.stdout.buffer.write(repr((rows[0]['id'], len(rows), picture.size)).encode() + b'|')\n"
        "sys.stdout.buffer.write(numpy.asarray(picture.convert('RGB')).tobytes())\n"
    )
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path),
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    }
    words = [sys.executable, "-c", code, str(whole / "shards" / "*.parquet")]
    answer = subprocess.run(words, env=environment, capture_output=True, check=False)
    assert answer.returncode == 0, answer.stderr.decode()
    told, _, pixels = answer.stdout.partition(b"|")
    first = opened.slice(0, 1).to_pylist()[0]
    assert told.decode() == repr((first["id"], COUNT, (first["width"], first["height"])))
    store = PixelStore(crop_field=False, store_px=20)
    shards = open_shards(whole)
    assert shards is not None
    sample = shards.sample(0, "whole")
    assert sample.file == first["id"]
    assert np.array_equal(np.frombuffer(pixels, np.uint8).reshape(store(sample).shape), store(sample))


@pytest.mark.parametrize("killed_at", [1, 4, 9, COUNT - 1])
def test_a_kill_in_the_middle_costs_no_whole_shard(
    manifest: Manifest, whole: Path, tmp_path: Path, killed_at: int
) -> None:
    out = tmp_path / "cut"

    def stop(done: int, of: int) -> None:
        if done == killed_at:
            raise Killed

    with pytest.raises(Killed):
        pack(manifest, out, progress=stop)
    assert not (out / "shards.json").exists()
    before = {path.name: path.stat().st_mtime_ns for path in shards_in(out)}
    counts: list[int] = []
    answer = write_shards(
        manifest, out, crop_field=False, store_px=20, shard_bytes=SHARD_BYTES, progress=lambda n, _: counts.append(n)
    )
    compared = counts.index(answer.kept)  # shards that are whole are counted as each is found sound
    assert counts[compared:] == list(range(answer.kept, COUNT + 1))
    assert counts[:compared] == sorted(set(counts[:compared]))
    assert killed_at - 5 < answer.kept <= killed_at
    assert digests(out) == digests(whole)
    after = {path.name: path.stat().st_mtime_ns for path in shards_in(out)}
    assert all(any(after[name] == time for name in after) for time in before.values())


@pytest.mark.parametrize("step", ["write_table", "write_left_out", "write_index"])
def test_a_kill_at_the_end_costs_nothing(
    manifest: Manifest, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    out = tmp_path / "cut"
    with monkeypatch.context() as patch:
        patch.setattr(writing, step, _kill)
        with pytest.raises(Killed):
            pack(manifest, out)
    assert pack(manifest, out).index.images == COUNT
    assert digests(out) == digests(whole)


def _kill(*_: object, **__: object) -> None:
    raise Killed


def test_a_kill_while_the_shards_get_their_names(manifest: Manifest, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "cut"
    pack(manifest, out)
    (out / "shards.json").unlink()
    for path in shards_in(out)[2:]:
        path.rename(path.with_name(path.name.partition("-of-")[0] + ".parquet"))
    (out / "shards" / ".shard-00007.parquet.part").write_bytes(b"half")
    assert write_shards(manifest, out, crop_field=False, store_px=20, shard_bytes=SHARD_BYTES).kept == COUNT
    assert digests(out) == digests(whole)


@pytest.mark.parametrize("harm", [lambda path: flip(path, 1000), Path.unlink, lambda path: os.truncate(path, 999)])
def test_a_damaged_shard_is_made_anew_and_no_other(
    manifest: Manifest, whole: Path, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    out = tmp_path / "packed"
    pack(manifest, out)
    paths = shards_in(out)
    times = [path.stat().st_mtime_ns for path in paths]
    harm(paths[1])
    kept = write_shards(manifest, out, crop_field=False, store_px=20, shard_bytes=SHARD_BYTES).kept
    assert 0 < kept < COUNT
    assert digests(out) == digests(whole)
    assert [n for n, path in enumerate(paths) if path.stat().st_mtime_ns != times[n]] == [1]


def test_a_changed_label_makes_its_shard_and_what_follows_anew(tmp_path: Path) -> None:
    first = photographs(tmp_path / "data", COUNT)
    pack(first, tmp_path / "packed")
    table = tmp_path / "data" / "labels.csv"
    ids = [path.name for path in shards_in(tmp_path / "packed")]
    last = pyarrow.parquet.read_table(tmp_path / "packed" / "shards" / ids[2])["source_file"].to_pylist()[0]
    rows = table.read_text().splitlines()
    changed = [row.replace("well", "odd").replace("sick", "odd") if row.startswith(last) else row for row in rows]
    assert changed != rows
    table.write_text("\n".join(changed) + "\n")
    again = manifest_of(tmp_path / "data")
    answer = write_shards(again, tmp_path / "packed", crop_field=False, store_px=20, shard_bytes=SHARD_BYTES)
    assert 0 < answer.kept < COUNT - 4
    pack(again, tmp_path / "fresh")
    assert digests(tmp_path / "packed") == digests(tmp_path / "fresh")


def test_a_column_more_or_another_makes_every_shard_anew(tmp_path: Path) -> None:
    first = photographs(tmp_path / "data", COUNT)
    out = tmp_path / "packed"
    pack(first, out)
    last = pyarrow.parquet.read_table(shards_in(out)[-1])["source_file"].to_pylist()[-1]
    sited = replace(first, samples=tuple(replace(s, site="here") if s.file == last else s for s in first.samples))
    cells = {name: {sample.file: {name: "1"} for sample in first.samples} for name in ("GLA", "AMD")}
    for number, (manifest, more) in enumerate([(sited, {}), (first, {}), (first, cells["GLA"]), (first, cells["AMD"])]):
        pack(manifest, out, more=more)
        pack(manifest, tmp_path / str(number), more=more)
        assert digests(out) == digests(tmp_path / str(number))


def test_images_that_come_or_go_leave_what_a_fresh_pass_would(tmp_path: Path) -> None:
    everything = photographs(tmp_path / "data", COUNT)
    few = Manifest(
        everything.samples[:-6], *(getattr(everything, n) for n in ("classes", "ordered", "patients_known", "notes"))
    )
    pack(few, tmp_path / "packed")
    pack(everything, tmp_path / "packed")
    pack(everything, tmp_path / "fresh")
    assert digests(tmp_path / "packed") == digests(tmp_path / "fresh")
    pack(few, tmp_path / "packed")
    pack(few, tmp_path / "fresh few")
    assert digests(tmp_path / "packed") == digests(tmp_path / "fresh few")


def test_what_cannot_be_read_is_left_out_by_name_and_taken_when_it_is_mended(tmp_path: Path) -> None:
    manifest = photographs(tmp_path / "data", 9)
    broken = tmp_path / "data" / "images" / "004.png"
    sound = broken.read_bytes()
    broken.write_bytes(sound[:40])
    answer = write_shards(manifest, tmp_path / "packed", crop_field=False, store_px=20, shard_bytes=SHARD_BYTES)
    assert [problem.file for problem in answer.left_out] == ["004.png"]
    assert answer.images == 8
    assert "004.png" in (tmp_path / "packed" / "left_out.csv").read_text()
    again = write_shards(manifest, tmp_path / "packed", crop_field=False, store_px=20, shard_bytes=SHARD_BYTES)
    assert (again.kept, again.left_out) == (8, answer.left_out)
    broken.write_bytes(sound)
    assert pack(manifest, tmp_path / "packed").index.images == 9
    assert not (tmp_path / "packed" / "left_out.csv").exists()


def test_a_name_that_is_not_utf8_is_left_out(tmp_path: Path) -> None:
    photographs(tmp_path / "data", 6)
    images = tmp_path / "data" / "images"
    (images / "001.png").rename(os.fsdecode(os.fsencode(images) + b"/\xff.png"))
    manifest = read_manifest([Source(images)], labels_required=False)
    answer = write_shards(manifest, tmp_path / "packed", crop_field=False, store_px=20)
    assert answer.images == 5
    assert "not UTF-8" in answer.left_out[0].what


def test_a_set_of_nothing_but_broken_images_has_no_shard(tmp_path: Path) -> None:
    manifest = photographs(tmp_path / "data", 6)
    for path in (tmp_path / "data" / "images").iterdir():
        path.write_bytes(b"no image")
    opened = pack(manifest, tmp_path / "packed")
    assert (len(opened), opened.index.shards, shards_in(tmp_path / "packed")) == (0, (), [])


def test_a_full_disk_keeps_the_shards_that_are_whole(
    manifest: Manifest, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, put = tmp_path / "packed", writing._Rows.put
    seen: list[int] = []

    def full(rows: object, row: dict[str, object]) -> None:
        seen.append(1)
        if len(seen) > 12:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        put(rows, row)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(writing._Rows, "put", full)
        with pytest.raises(OSError, match=r"disk is full; [23] shards are whole and stay"):
            pack(manifest, out)
    assert [path.name for path in shards_in(out)] == [f"shard-{n:05d}.parquet" for n in range(len(shards_in(out)))]
    answer = write_shards(manifest, out, crop_field=False, store_px=20, shard_bytes=SHARD_BYTES)
    assert answer.kept > 5
    assert digests(out) == digests(whole)


@pytest.mark.parametrize("step", ["write_table", "write_left_out", "write_journal", "write_index"])
def test_a_disk_that_is_full_at_the_end_keeps_every_shard(
    manifest: Manifest, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    out = tmp_path / "packed"

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(writing, step, full)
        with pytest.raises(OSError, match=rf"disk is full; {len(shards_in(whole))} shards are whole and stay"):
            pack(manifest, out)
    assert write_shards(manifest, out, crop_field=False, store_px=20, shard_bytes=SHARD_BYTES).kept == COUNT
    assert digests(out) == digests(whole)


def test_another_place_or_other_settings_are_refused(manifest: Manifest, whole: Path) -> None:
    before = digests(whole)
    for changed, words in (({"store_px": 16}, "store_px=20 there, 16 asked"), ({"shard_bytes": 9}, "shard_bytes")):
        with pytest.raises(ValueError, match=words):
            pack(manifest, whole, **changed)
    inside = manifest.samples[0].folder / "packed"
    with pytest.raises(ValueError, match="lies inside the data folder"):
        pack(manifest, inside)
    assert digests(whole) == before


def test_the_index_says_how_it_was_made(whole: Path) -> None:
    told = json.loads((whole / "shards.json").read_text())
    assert told["images"] == COUNT
    assert told["classes"] == ["sick", "well"]
    assert {"eyeground", "pillow", "pyarrow"} <= set(told)
    assert [each["name"] for each in told["shards"]] == [path.name for path in shards_in(whole)]

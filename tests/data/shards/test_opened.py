"""Shards give the images that were put in, or say which one is wrong and what to do."""

import copy
import hashlib
import json
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from eyeground.data.exam.examination import examine
from eyeground.data.manifest import Manifest, Source, read_manifest
from eyeground.data.pixels import PixelStore
from eyeground.data.prepare import prepare
from eyeground.data.prepared import open_prepared
from eyeground.data.problem import DataProblems
from eyeground.data.sample import Sample
from eyeground.data.shards.location import ShardBroken
from eyeground.data.shards.opened import Shards, _reopened, open_shards
from eyeground.data.task import Head
from eyeground.data.volumes import expand

from .small import flip, pack, photographs, shards_in

COUNT = 23


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return photographs(tmp_path_factory.mktemp("data"), COUNT)


@pytest.fixture(scope="module")
def whole(manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("packed") / "whole"
    pack(manifest, out)
    return out


@pytest.fixture
def packed(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "packed"))


def _opened(path: Path) -> Shards:
    found = open_shards(path)
    assert found is not None
    return found


def _bare(sample: Sample) -> Sample:
    return replace(sample, folder=Path(), pack=None)


def test_samples_and_pixels_are_those_of_a_prepared_folder(manifest: Manifest, whole: Path, tmp_path: Path) -> None:
    prepare(manifest, tmp_path / "ready", crop_field=False, store_px=20)
    ready, shards = open_prepared(tmp_path / "ready"), _opened(whole)
    assert ready is not None
    one = read_manifest([ready.source("eyes")], classes=ready.classes)
    other = read_manifest([shards.source("eyes")], classes=shards.classes)
    assert {_bare(s) for s in one.samples} == {_bare(s) for s in other.samples}
    assert (one.classes, one.ordered, one.patients_known) == (other.classes, other.ordered, other.patients_known)
    store = PixelStore(crop_field=False, store_px=20, prepared=[ready.images])
    by_id = {sample.id: sample for sample in one.samples}
    origins = ready.origins()
    for sample in other.samples:
        assert np.array_equal(store(sample), store(by_id[sample.id]))
        assert shards.origin(sample.file) == origins[sample.file]


def test_the_pixels_are_not_cropped_or_shrunk_again(whole: Path) -> None:
    [sample, *_] = read_manifest([_opened(whole).source()]).samples
    assert PixelStore(crop_field=True, store_px=8)(sample).shape == sample.parcel().decode().pixels.shape


def test_a_row_is_found_by_its_name_and_nothing_else_is(whole: Path) -> None:
    shards = _opened(whole)
    samples = read_manifest([shards.source()]).samples
    assert [shards.row_of(sample.file) for sample in samples] == list(range(COUNT))
    assert [shards.sample(row, "whole") for row in range(COUNT)] == list(samples)
    for name in ("", "000.png", "zzz", "000.png.tif "):
        with pytest.raises(LookupError, match="holds no image"):
            shards.row_of(name)


def test_a_sample_travels_to_another_process_without_the_table(packed: Path, tmp_path: Path) -> None:
    shards = _opened(packed)
    samples = [shards.sample(row, "eyes") for row in range(COUNT)]
    assert len(ForkingPickler.dumps(samples)) < COUNT * 200
    assert len({id(sample.pack) for sample in (*copy.deepcopy(samples), *copy.deepcopy(samples))}) == 1
    with ProcessPoolExecutor(1, get_context("spawn")) as other:
        assert [*other.map(Sample.parcel, samples)] == [sample.parcel() for sample in samples]
    shutil.rmtree(packed)
    pack(photographs(tmp_path / "other", 9), packed)
    with ProcessPoolExecutor(1, get_context("spawn")) as other, pytest.raises(BrokenProcessPool):
        other.submit(Sample.parcel, samples[0]).result()
    _reopened.cache_clear()
    with pytest.raises(DataProblems, match="not here, or another set than where the work began"):
        copy.deepcopy(samples)


def test_labels_of_heads_come_back(manifest: Manifest, tmp_path: Path) -> None:
    cells = {s.file: {"GLA": str(n % 2), "IOP": "" if n % 3 else f"{n}.5"} for n, s in enumerate(manifest.samples)}
    shards = pack(manifest, tmp_path / "packed", more=cells)
    heads = [Head("GLA", "yes_no"), Head("IOP", "quantity")]
    found = read_manifest([shards.source()], heads=heads).samples
    for sample in found:
        gla, iop = cells[sample.file.removesuffix(".tif")].values()
        assert sample.values[0] == float(gla)
        assert np.isnan(sample.values[1]) if iop == "" else sample.values[1] == float(iop)


def test_slices_of_a_volume_stay_together(manifest: Manifest, tmp_path: Path) -> None:
    folder = tmp_path / "scans" / "well" / "one"
    folder.mkdir(parents=True)
    for number in range(4):
        shutil.copyfile(manifest.samples[number].path, folder / f"{number}.png")
    samples = read_manifest([Source(tmp_path / "scans", volumes=True)])
    sliced = replace(samples, samples=expand(samples.samples, slices="all"))
    shards = pack(sliced, tmp_path / "packed")
    found = [shards.sample(row, "scans") for row in range(4)]
    assert {sample.whole for sample in found} == {"well/one"}
    assert len({sample.patient for sample in found}) == 1
    assert sorted(shards.origin(sample.file)[1] for sample in found) == [0, 1, 2, 3]  # type: ignore[type-var]


def _spoil_image(shards: Shards, packed: Path, row: int) -> Path:
    path = packed / "shards" / shards.index.shards[int(shards.shard_numbers()[row])].name
    flip(path, int(shards._offset[row]) + 200)
    return path


def test_a_flipped_bit_is_named_by_shard_row_and_image(packed: Path) -> None:
    shards = _opened(packed)
    samples = read_manifest([shards.source()]).samples
    path = _spoil_image(shards, packed, 6)
    place = 6 - int(np.flatnonzero(shards.shard_numbers() == shards.shard_numbers()[6])[0])
    words = rf"{path.name}, row {place} \({samples[6].file}\): the shard has changed .* copy it again"
    with pytest.raises(ShardBroken, match=words):
        samples[6].parcel()
    assert all(sample.parcel().data for row, sample in enumerate(samples) if row != 6)
    [problem] = shards.check()
    assert problem.file == path.name
    assert f"1 of its {shards.index.shards[int(shards.shard_numbers()[6])].rows} images are other ones" in problem.what
    assert f"row {place} ({samples[6].file})" in problem.what


def test_a_flipped_bit_between_the_images_is_found_by_the_check_alone(packed: Path) -> None:
    shards = _opened(packed)
    path = shards_in(packed)[0]
    flip(path, path.stat().st_size - 200)
    assert all(sample.parcel().data for sample in read_manifest([shards.source()]).samples)
    [problem] = shards.check()
    assert "has changed" in problem.what
    assert "other ones" not in problem.what


def test_shards_that_are_missing_or_cut_short_are_all_named_before_anything_begins(packed: Path) -> None:
    first, second, *_ = shards_in(packed)
    first.unlink()
    second.write_bytes(second.read_bytes()[:-10])
    with pytest.raises(DataProblems) as raised:
        open_shards(packed)
    told = str(raised.value)
    assert f"{first.name}: is missing; copy it again" in told
    assert f"{second.name}: has" in told
    assert "2 problems" in told


def test_what_is_lost_while_it_is_used_is_named(packed: Path) -> None:
    shards = _opened(packed)
    samples = read_manifest([shards.source()]).samples
    path = packed / "shards" / shards.index.shards[int(shards.shard_numbers()[0])].name
    content = path.read_bytes()
    path.write_bytes(content[: int(shards._offset[0]) + 5])
    with pytest.raises(ShardBroken, match="so it was cut short"):
        samples[0].parcel()
    path.unlink()
    with pytest.raises(ShardBroken, match=f"{path.name}: is missing in .*packed"):
        samples[0].parcel()
    assert "is missing" in str(shards.check()[0])


def test_swapped_shards_are_named(packed: Path) -> None:
    shards = _opened(packed)
    samples = read_manifest([shards.source()]).samples
    first, second, *_ = shards_in(packed)
    first.rename(packed / "x")
    second.rename(first)
    (packed / "x").rename(second)
    with pytest.raises(DataProblems, match=f"as many as {second.name} should have: were they swapped"):
        open_shards(packed)
    wrong = next(sample for sample in samples if shards.shard_of(sample.file) == 0)
    with pytest.raises(ShardBroken, match=rf"{first.name}, row 0 .* holds what {second.name} should hold"):
        wrong.parcel()
    assert [problem.file for problem in shards.check()] == [first.name, second.name]


def _change_table(packed: Path) -> None:
    flip(packed / "table.parquet", 700)


def _other_table(packed: Path) -> None:
    """A table that is sound, and of other shards."""
    told = json.loads((packed / "shards.json").read_text())
    told["shards"][0]["rows"] += 1
    told["shards"][1]["rows"] -= 1
    (packed / "shards.json").write_text(json.dumps(told))


def _rewrite(column: str, value: object) -> Callable[[Path], None]:
    """Change a cell of the table, and its hash in the index with it."""

    def harm(packed: Path) -> None:
        path = packed / "table.parquet"
        table = pyarrow.parquet.read_table(path)
        rows = table.to_pylist()
        rows[4][column] = value
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
        told = json.loads((packed / "shards.json").read_text())
        content = path.read_bytes()
        told["table"] |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        (packed / "shards.json").write_text(json.dumps(told))

    return harm


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (_rewrite("shard", 99), "does not fit the index"),
        (_rewrite("shard", -1), "does not fit the index"),
        (_rewrite("offset", -5), "does not fit the index"),
        (_rewrite("size_bytes", 2**30), "does not fit the index"),
        (_rewrite("label", "foreign"), "does not fit the index"),
        (_change_table, r"table\.parquet: has changed"),
        (lambda packed: (packed / "table.parquet").unlink(), "table"),
        (_other_table, "does not fit the index"),
        (lambda packed: (packed / "shards.json").write_text("{"), "is damaged"),
        (lambda packed: (packed / "shards.json").unlink(), "has not come to an end; run the same"),
    ],
)
def test_a_damaged_set_is_refused(packed: Path, harm: Callable[[Path], object], words: str) -> None:
    harm(packed)
    with pytest.raises(DataProblems, match=words):
        open_shards(packed)


def test_another_folder_is_none_of_ours(tmp_path: Path) -> None:
    assert open_shards(tmp_path) is None


def test_another_preprocessing_is_told(whole: Path) -> None:
    shards = _opened(whole)
    assert shards.mismatch(crop_field=False, store_px=20) == ""
    assert "store_px is 20 there and 64 in this run" in shards.mismatch(crop_field=False, store_px=64)


def test_a_file_address_is_a_folder(whole: Path) -> None:
    assert len(_opened(Path(f"file://{whole}"))) == COUNT


def test_the_doctor_s_measures_are_those_of_the_images(manifest: Manifest, whole: Path) -> None:
    sample = read_manifest([_opened(whole).source()]).samples[0]
    facts, _ = examine(sample)
    assert (facts.format, facts.refusal, min(facts.width, facts.height)) == ("TIFF", "", 20)
    assert facts.sha256 == _opened(whole).sha256(sample.file)

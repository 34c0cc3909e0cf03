"""A data set stored once: the same pixels, whatever happens on the way."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eyeground.data.manifest import Manifest, Source, read_manifest
from eyeground.data.pixels import PixelStore
from eyeground.data.prepare import Preparation, prepare
from eyeground.data.prepared import Prepared, open_prepared
from eyeground.data.problem import DataProblems
from eyeground.data.verify import verify
from eyeground.images.read import read


def _photograph(height: int = 300, width: int = 400) -> np.ndarray:
    """A colored disc on black, with texture that shrinking must treat as prediction does."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    disc = (x - width / 2) ** 2 + (y - height / 2) ** 2 < (0.45 * height) ** 2
    color = np.array([180, 90, 40]) + rng.integers(-20, 20, (height, width, 1))
    return (disc[..., None] * color).astype(np.uint8)


def _write_all_kinds(folder: Path) -> None:
    """One image of each kind that is read in its own way."""
    photo = Image.fromarray(_photograph())
    for name in ("normal", "glaucoma"):
        (folder / name).mkdir(parents=True)
    photo.save(folder / "normal" / "photo_OD.jpg", quality=90)
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(folder / "normal" / "turned_OS.jpg", exif=exif)
    photo.convert("L").save(folder / "normal" / "scan.png")
    rgba = photo.convert("RGBA")
    rgba.putalpha(Image.fromarray(np.tile(np.linspace(0, 255, 400).astype(np.uint8), (300, 1))))
    rgba.save(folder / "glaucoma" / "see_through.png")
    deep = (_photograph()[:, :, 0].astype(np.uint16) * 13) + 7
    Image.fromarray(deep).save(folder / "glaucoma" / "deep.tif")
    Image.fromarray(deep).save(folder / "glaucoma" / "deep.png")
    Image.fromarray(_photograph(40, 50)).save(folder / "glaucoma" / "tiny.bmp")


def _prepare(manifest: Manifest, out: Path, **changed: bool | int) -> Preparation:
    settings = {"crop_field": True, "store_px": 128, **changed}
    return prepare(manifest, out, workers=2, **settings)  # type: ignore[arg-type]


def _opened(out: Path) -> Prepared:
    found = open_prepared(out)
    assert found is not None
    return found


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    _write_all_kinds(tmp_path / "data")
    return tmp_path / "data"


@pytest.mark.parametrize(("crop_field", "store_px"), [(True, 128), (False, 128), (True, 0)])
def test_the_stored_pixels_are_those_that_prediction_sees(
    data: Path, tmp_path: Path, crop_field: bool, store_px: int
) -> None:
    manifest = read_manifest([Source(data)])
    _prepare(manifest, tmp_path / "ready", crop_field=crop_field, store_px=store_px)
    opened = _opened(tmp_path / "ready")
    again = read_manifest([opened.source()], classes=manifest.classes)
    assert len(again.samples) == len(manifest.samples) == 7
    store = PixelStore(crop_field=crop_field, store_px=store_px)
    as_they_are = PixelStore(crop_field=False, store_px=0)
    origins = opened.origins()
    for sample in again.samples:
        name, _, digest = origins[sample.file]
        raw = next(each for each in manifest.samples if each.file == name)
        assert np.array_equal(as_they_are(sample), store.ready(read(raw.path)))
        assert (sample.label, sample.eye) == (raw.label, raw.eye)
        assert digest == verify([raw])[raw.id]


def test_gray_pictures_are_stored_in_one_channel(data: Path, tmp_path: Path) -> None:
    _prepare(read_manifest([Source(data)]), tmp_path / "ready")
    images = tmp_path / "ready" / "images"
    with (
        Image.open(images / "normal" / "scan.png.tif") as scan,
        Image.open(images / "normal" / "photo_OD.jpg.tif") as p,
    ):
        assert (scan.mode, p.mode) == ("L", "RGB")


def test_the_table_says_where_everything_comes_from(data: Path, tmp_path: Path) -> None:
    _prepare(read_manifest([Source(data)]), tmp_path / "ready")
    rows = {row["source_file"]: row for row in _rows(tmp_path / "ready" / "manifest.csv")}
    turned = rows["normal/turned_OS.jpg"]
    assert (turned["source_width"], turned["source_height"], turned["eye"]) == ("300", "400", "OS")
    assert "patient" not in turned  # not known, so no column
    assert min(int(turned["width"]), int(turned["height"])) == 128
    assert len({row["sha256"] for row in rows.values()}) > 4


def test_a_table_with_patients_and_splits_comes_back_as_it_was(data: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text(
        "name,grade,who,where,part\nnormal/scan,0,p1,A,train\nnormal/photo_OD.jpg,1,p2,B,val\n"
        "normal/turned_OS.jpg,1,p3,B,train\n"
    )
    source = Source(data, table=table, file="name", label="grade", group="who", site="where", split="part")
    manifest = read_manifest([source])
    _prepare(manifest, tmp_path / "ready")
    again = read_manifest([_opened(tmp_path / "ready").source()])
    told = [(s.label, s.patient, s.site, s.split, s.eye) for s in again.samples]
    assert told == [(s.label, s.patient, s.site, s.split, s.eye) for s in manifest.samples]
    assert again.classes == ("0", "1")
    assert again.ordered


def test_what_cannot_be_read_is_left_out_and_named_and_tried_again(data: Path, tmp_path: Path) -> None:
    broken = data / "normal" / "broken.png"
    broken.write_bytes((data / "normal" / "scan.png").read_bytes()[:500])
    (data / "glaucoma" / "no_image.jpg").write_text("hello")
    done = _prepare(read_manifest([Source(data)]), tmp_path / "ready")
    assert done.images == 7
    assert sorted(problem.file for problem in done.left_out) == ["glaucoma/no_image.jpg", "normal/broken.png"]
    assert [row["file"] for row in _rows(tmp_path / "ready" / "left_out.csv")] == [p.file for p in done.left_out]
    broken.write_bytes((data / "normal" / "scan.png").read_bytes())
    (data / "glaucoma" / "no_image.jpg").unlink()
    done = _prepare(read_manifest([Source(data)]), tmp_path / "ready")
    assert (done.images, done.kept, done.left_out) == (8, 7, ())
    assert not (tmp_path / "ready" / "left_out.csv").exists()


def _content(out: Path) -> dict[str, bytes]:
    """Everything that a later run reads."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def test_an_interrupted_pass_goes_on_to_the_same_end(data: Path, tmp_path: Path) -> None:
    manifest = read_manifest([Source(data)])
    _prepare(manifest, tmp_path / "whole")

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(manifest, tmp_path / "cut", crop_field=True, store_px=128, workers=2, progress=stop)
    with pytest.raises(DataProblems, match="not come to an end"):
        open_prepared(tmp_path / "cut")
    with (tmp_path / "cut" / "journal.jsonl").open("a") as journal:
        journal.write('{"file": "normal/sc')  # as a kill in the middle of a write leaves it
    done = _prepare(manifest, tmp_path / "cut")
    assert done.kept >= 2
    assert _content(tmp_path / "cut") == _content(tmp_path / "whole")


def test_a_stored_image_that_was_cut_or_lost_is_made_again(data: Path, tmp_path: Path) -> None:
    manifest = read_manifest([Source(data)])
    _prepare(manifest, tmp_path / "ready")
    before = _content(tmp_path / "ready")
    images = tmp_path / "ready" / "images"
    (images / "normal" / "scan.png.tif").write_bytes(b"cut")
    (images / "normal" / "photo_OD.jpg.tif").unlink()
    assert _prepare(manifest, tmp_path / "ready").images == 7
    assert _content(tmp_path / "ready") == before


def test_a_source_that_changed_is_made_anew_and_one_that_is_gone_is_deleted(data: Path, tmp_path: Path) -> None:
    _prepare(read_manifest([Source(data)]), tmp_path / "ready")
    before = _content(tmp_path / "ready")
    scan = data / "normal" / "scan.png"
    Image.fromarray(255 - _photograph()).convert("L").save(scan)
    os.utime(scan, ns=(0, 0))
    (data / "normal" / "photo_OD.jpg").unlink()
    (data / "glaucoma" / "tiny.bmp").touch()  # another time, the same bytes
    done = _prepare(read_manifest([Source(data)]), tmp_path / "ready")
    assert (done.images, done.removed) == (6, 1)
    after = _content(tmp_path / "ready")
    changed = {name for name in before if before[name] != after.get(name) and name.startswith("images")}
    assert changed == {"images/normal/scan.png.tif", "images/normal/photo_OD.jpg.tif"}


def test_folders_that_must_not_be_used(data: Path, tmp_path: Path) -> None:
    manifest = read_manifest([Source(data)])
    with pytest.raises(ValueError, match="lies inside the data folder"):
        _prepare(manifest, data / "ready")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="not made by this command"):
        _prepare(manifest, tmp_path / "full")
    _prepare(manifest, tmp_path / "ready")
    with pytest.raises(ValueError, match="store_px=128 there, 64 asked"):
        _prepare(manifest, tmp_path / "ready", store_px=64)
    assert sorted(path.name for path in (tmp_path / "full").iterdir()) == ["thesis.txt"]


def test_a_run_with_other_settings_is_told_both_values(data: Path, tmp_path: Path) -> None:
    _prepare(read_manifest([Source(data)]), tmp_path / "ready")
    opened = _opened(tmp_path / "ready")
    assert opened.mismatch(crop_field=True, store_px=128) == ""
    told = opened.mismatch(crop_field=False, store_px=512)
    assert "crop_field is True there and False in this run" in told
    assert "store_px is 128 there and 512 in this run" in told


def test_damaged_settings_are_refused(data: Path, tmp_path: Path) -> None:
    _prepare(read_manifest([Source(data)]), tmp_path / "ready")
    settings = tmp_path / "ready" / "prepared.json"
    told = json.loads(settings.read_text())
    for content in ("", "[]", "{}", json.dumps({**told, "store_px": "x"}), json.dumps({**told, "format": 99})):
        settings.write_text(content)
        with pytest.raises(DataProblems, match="prepare it anew"):
            open_prepared(tmp_path / "ready")
    assert open_prepared(data) is None


def test_a_name_too_long_for_another_suffix_is_shortened(tmp_path: Path) -> None:
    (tmp_path / "data" / "normal").mkdir(parents=True)
    name = "x" * 250 + ".png"
    Image.new("RGB", (70, 70), "red").save(tmp_path / "data" / "normal" / name)
    _prepare(read_manifest([Source(tmp_path / "data")]), tmp_path / "ready")
    (row,) = _rows(tmp_path / "ready" / "manifest.csv")
    assert row["source_file"] == f"normal/{name}"
    assert (tmp_path / "ready" / "images" / row["file"]).is_file()


def test_slices_of_a_volume_are_stored_one_by_one(tmp_path: Path) -> None:
    from dataclasses import replace

    (tmp_path / "data" / "amd").mkdir(parents=True)
    rng = np.random.default_rng(0)
    pages = [Image.fromarray(rng.integers(0, 255, (80, 90), np.uint8)) for _ in range(3)]
    pages[0].save(tmp_path / "data" / "amd" / "v.tif", save_all=True, append_images=pages[1:])
    manifest = read_manifest([Source(tmp_path / "data")])
    (volume,) = manifest.samples
    manifest = replace(manifest, samples=tuple(replace(volume, slice=number) for number in range(3)))
    _prepare(manifest, tmp_path / "ready", store_px=0)
    rows = _rows(tmp_path / "ready" / "manifest.csv")
    assert [row["file"] for row in rows] == [f"amd/v.tif.s{number:03d}.tif" for number in range(3)]
    assert len({row["patient"] for row in rows}) == 1  # never in two splits
    assert len({row["source_sha256"] for row in rows}) == 3
    for page, row in zip(pages, rows, strict=True):
        assert np.array_equal(read(tmp_path / "ready" / "images" / row["file"]).pixels[:, :, 0], np.asarray(page))

"""Slices of volumes: chosen evenly, split together, hashed apart."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eyeground.data.manifest import Source, read_manifest
from eyeground.data.problem import DataProblems
from eyeground.data.sample import Sample
from eyeground.data.split import read_hashes, read_split, write_split
from eyeground.data.verify import verify
from eyeground.data.volumes import chosen, expand, slice_step


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two volumes in two classes, one photograph, and a TIFF of five pages."""
    rng = np.random.default_rng(0)
    for place in ("AMD/scan_OD", "NO/scan"):
        (tmp_path / place).mkdir(parents=True)
        for number in range(6):
            Image.fromarray(rng.integers(0, 255, (70, 80), np.uint8)).save(tmp_path / place / f"{number}.png")
    pages = [Image.fromarray(rng.integers(0, 255, (70, 80), np.uint8)) for _ in range(5)]
    pages[0].save(tmp_path / "NO" / "stack.tif", save_all=True, append_images=pages[1:])
    pages[0].save(tmp_path / "AMD" / "single.png")
    return tmp_path


@pytest.mark.parametrize("count", [1, 2, 9, 10, 49])
@pytest.mark.parametrize("step", [1, 2, 4, 50])
def test_slices_are_even_and_hold_the_center(count: int, step: int) -> None:
    numbers = chosen(count, step)
    assert count // 2 in numbers
    assert set(np.diff(numbers)) <= {step}
    assert numbers[0] < step
    assert numbers[-1] >= count - step


@pytest.mark.parametrize("word", ["every:0", "every:", "every", "first", "", "every:1.5"])
def test_a_wrong_choice_is_told(word: str) -> None:
    with pytest.raises(ValueError, match="every:N"):
        slice_step(word)


def test_folders_of_slices_are_volumes_when_said(folder: Path) -> None:
    with pytest.raises(DataProblems, match="volumes: true"):
        read_manifest([Source(folder)])
    samples = read_manifest([Source(folder, volumes=True)]).samples
    assert [s.file for s in samples] == ["AMD/scan_OD", "AMD/single.png", "NO/scan", "NO/stack.tif"]
    assert samples[0].eye == "OD"
    assert [len(expand(samples, slices=word)) for word in ("center", "all", "every:2")] == [4, 18, 10]


def test_a_table_may_name_a_folder_of_slices(folder: Path) -> None:
    (folder / "t.csv").write_text("file,label\nNO/scan,NO\nNO/stack,NO\nAMD/scan_OD,AMD\nAMD/nothing,AMD\n")
    with pytest.raises(DataProblems, match="AMD/nothing: is missing"):
        read_manifest([Source(folder, table=folder / "t.csv")])
    (folder / "t.csv").write_text("file,label\nNO/scan,NO\nNO/stack,NO\nAMD/scan_OD,AMD\n")
    samples = read_manifest([Source(folder, table=folder / "t.csv")]).samples
    assert [s.file for s in samples] == ["NO/scan", "NO/stack.tif", "AMD/scan_OD"]


def test_slices_have_hashes_of_their_own_and_stay_in_one_split(folder: Path) -> None:
    volumes = read_manifest([Source(folder, volumes=True)]).samples
    placed = [replace(s, split=split) for s, split in zip(volumes, ("train", "val", "test", "train"), strict=True)]
    slices = expand(placed, slices="all")
    hashes = verify(slices)
    assert len(set(hashes.values())) == len(slices) == 18
    write_split(folder / "split.csv", slices, hashes)
    assert read_hashes(folder / "split.csv") == hashes
    assert [s.split for s in read_split(folder / "split.csv", volumes)] == ["train", "val", "test", "train"]
    lines = (folder / "split.csv").read_text().splitlines()
    lines[-1] = lines[-1].replace("train", "test")
    (folder / "split.csv").write_text("\n".join(lines))
    with pytest.raises(DataProblems, match="stands twice"):
        read_split(folder / "split.csv", volumes)


def test_a_split_file_of_before_volumes_is_read(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("source,file,patient,eye,label,split,sha256\n,a,p,,0,test,f00d\n")
    assert read_split(tmp_path / "s.csv", [Sample("a", tmp_path, 0, "p")])[0].split == "test"
    assert read_hashes(tmp_path / "s.csv") == {":a": "f00d"}


def test_headers_that_cannot_be_read_are_all_named(folder: Path) -> None:
    for name in ("a.tif", "b.tif"):
        (folder / "NO" / name).write_bytes(b"II*\0")
    with pytest.raises(DataProblems) as caught:
        expand(read_manifest([Source(folder, volumes=True)]).samples, slices="all")
    assert [problem.file for problem in caught.value.problems] == ["NO/a.tif", "NO/b.tif"]

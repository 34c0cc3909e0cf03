"""Heads in tables: a column each, empty cells missing, and every wrong cell of every row told at once."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eyeground.data.manifest import Source, read_manifest, survey
from eyeground.data.problem import DataProblems
from eyeground.data.sample import Sample
from eyeground.data.split import check_split, read_split, split_by_patient, write_split
from eyeground.data.task import Head
from eyeground.data.verify import verify

NAN = math.nan
HEADS = (
    Head("AMD"),
    Head("DR", "grades", ("0", "1", "2")),
    Head("cdr", "quantity", column="cup_disc_ratio", low=0, high=1),
)
COLUMNS = "file,AMD,DR,cup_disc_ratio,patient"


def table(folder: Path, rows: Sequence[str], *, columns: str = COLUMNS) -> Source:
    """A folder with the images that the rows name, and their table."""
    for row in rows:
        (folder / row.split(",", 1)[0]).write_bytes(b"x")
    (folder / "t.csv").write_text("\n".join([columns, *rows]) + "\n", encoding="utf-8")
    return Source(folder, table=folder / "t.csv")


def refused(source: Source, heads: Sequence[Head] = HEADS) -> list[str]:
    with pytest.raises(DataProblems) as caught:
        read_manifest([source], heads=heads)
    return [str(problem) for problem in caught.value.problems]


def same(found: tuple[float, ...], wanted: tuple[float, ...]) -> bool:
    return np.array_equal(found, wanted, equal_nan=True)


def test_each_head_has_its_column_and_an_empty_cell_is_missing(tmp_path: Path) -> None:
    found = read_manifest([table(tmp_path, ["1.png,1,2,0.5,p", "2.png,,0,,p", "3.png,no,,0.25,q"])], heads=HEADS)
    assert found.classes == ()
    assert not found.ordered
    assert [sample.label for sample in found.samples] == [None] * 3
    wanted = [(1.0, 2.0, 0.5), (NAN, 0.0, NAN), (0.0, NAN, 0.25)]
    assert all(same(sample.values, each) for sample, each in zip(found.samples, wanted, strict=True))
    assert all(same(sample.truth, each) for sample, each in zip(found.samples, wanted, strict=True))
    assert not any("label" in note for note in found.notes)


def test_a_label_column_beside_the_heads_is_left_alone(tmp_path: Path) -> None:
    source = table(tmp_path, ["1.png,1,2,0.5,p,anything", "2.png,0,0,,q,"], columns=f"{COLUMNS},label")
    found = read_manifest([source], heads=HEADS)
    assert found.classes == ()
    assert [sample.label for sample in found.samples] == [None, None]


def test_wrong_cells_of_several_heads_in_several_rows_are_told_together(tmp_path: Path) -> None:
    rows = ["1.png,1,2,0.5,p", "2.png,maybe,3,0.5,p", "3.png,0,0,1.5,q", "4.png,0,x,high,q", "5.png,,,,"]
    told = refused(table(tmp_path, rows))
    assert [line.split(": ")[0] for line in told] == [
        "row 3, 2.png", "row 3, 2.png", "row 4, 3.png", "row 5, 4.png", "row 5, 4.png", "row 6, 5.png",
    ]  # fmt: skip
    for part in (
        "AMD is 'maybe': it is 0 or 1",
        "DR is '3': outside its scale 0, 1, 2",
        "cdr is 1.5: outside its scale, 0 to 1",
        "DR is 'x': outside its scale",
        "cdr is 'high': it is a number",
        "the patient (group) is missing",
    ):
        assert sum(part in line for line in told) == 1, part


def test_wrong_cells_do_not_hide_missing_files_and_splits(tmp_path: Path) -> None:
    source = table(tmp_path, ["1.png,7,2,0.5,p,train", "2.png,1,1,0.5,q,nowhere"], columns=f"{COLUMNS},part")
    (tmp_path / "2.png").unlink()
    told = "\n".join(refused(replace(source, split="part")))
    for part in ("row 2, 1.png: AMD is '7'", "row 3, 2.png: is missing", "the split 'nowhere' is none of"):
        assert part in told


def test_a_missing_column_is_named_with_the_nearest(tmp_path: Path) -> None:
    told = refused(table(tmp_path, ["1.png,1,2,0.5,p"], columns="file,amd,DR,cup_disk_ratio,patient"))
    assert len(told) == 2
    assert "there is no column 'AMD' for the head 'AMD'; did you mean 'amd'? It has file, amd, DR" in told[0]
    assert "there is no column 'cup_disc_ratio' for the head 'cdr'; did you mean 'cup_disk_ratio'?" in told[1]


def test_a_folder_without_a_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "normal").mkdir()
    (tmp_path / "normal" / "1.png").write_bytes(b"x")
    [told] = refused(Source(tmp_path))
    assert "the truth of AMD, DR, cdr stands in a table: give table=FILE" in told


def test_rows_without_any_label_are_left_out_with_a_note(tmp_path: Path) -> None:
    source = table(tmp_path, ["1.png,1,2,0.5,p", "2.png,,,,p", "3.png,,0,,q", "4.png, ,,,q"])
    found = read_manifest([source], heads=HEADS)
    assert [sample.file for sample in found.samples] == ["1.png", "3.png"]
    assert "2 images have no label of any head and are left out (first: 2.png)" in found.notes
    every = read_manifest([source], heads=HEADS, labels_required=False)
    assert [sample.file for sample in every.samples] == ["1.png", "2.png", "3.png", "4.png"]
    assert not every.notes


def test_a_table_without_any_label_says_so(tmp_path: Path) -> None:
    # Not that there are no images: they are there, but nobody filled the columns.
    told = "\n".join(refused(table(tmp_path, ["1.png,,,,p", "2.png,,,,q"])))
    assert "label" in told
    assert "no images were found" not in told


def test_a_single_head_may_be_named_by_the_source(tmp_path: Path) -> None:
    source = table(tmp_path, ["1.png,1,2,0.5,p", "2.png,0,0,0.25,q"])
    found = read_manifest([replace(source, label="cup_disc_ratio")], heads=[Head("label", "quantity")])
    assert [sample.values for sample in found.samples] == [(0.5,), (0.25,)]


def test_a_head_that_names_its_column_keeps_it(tmp_path: Path) -> None:
    # A source's label may come from a prepared folder, not from whoever wrote the head down.
    source = replace(table(tmp_path, ["1.png,1,0,0.5,p", "2.png,0,1,0.25,q"]), label="DR")
    found = read_manifest([source], heads=[Head("disease", column="AMD")])
    assert [sample.values for sample in found.samples] == [(1.0,), (0.0,)]


def test_the_split_column_goes_with_heads_and_comes_back_from_a_split_file(tmp_path: Path) -> None:
    rows = ["1.png,1,2,0.5,p,train", "2.png,,0,,q,val", "3.png,0,1,0.1,r,test"]
    source = replace(table(tmp_path, rows, columns=f"{COLUMNS},split"), split="split")
    found = read_manifest([source], heads=HEADS)
    assert [sample.split for sample in found.samples] == ["train", "val", "test"]
    check_split(found.samples)
    write_split(tmp_path / "split.csv", found.samples)
    bare = [replace(sample, split="") for sample in found.samples]
    again = read_split(tmp_path / "split.csv", bare)
    assert [(sample.file, sample.split) for sample in again] == [(s.file, s.split) for s in found.samples]
    assert all(same(one.values, other.values) for one, other in zip(again, found.samples, strict=True))


def test_heads_of_two_sources_are_joined(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    one = table(tmp_path / "a", ["1.png,1,2,0.5,p"])
    other = table(tmp_path / "b", ["1.png,,,0.25,q", "2.png,0,0,9,r"])
    with pytest.raises(DataProblems, match=r"b, row 3, 2\.png: cdr is 9: outside its scale"):
        read_manifest([one, other], heads=HEADS)
    (tmp_path / "b" / "t.csv").write_text(f"{COLUMNS}\n1.png,,,0.25,q\n2.png,0,0,0.9,r\n")
    found = read_manifest([one, other], heads=HEADS)
    assert [sample.id for sample in found.samples] == ["a:1.png", "b:1.png", "b:2.png"]


def test_truth_stays_in_its_place_beside_a_wrong_cell(tmp_path: Path) -> None:
    # What can be read is still looked at: a value must not slip into the place of the head before it.
    manifest, problems = survey([table(tmp_path, ["1.png,maybe,2,0.5,p"])], heads=HEADS)
    assert len(problems) == 1
    assert same(manifest.samples[0].values, (NAN, 2.0, 0.5))


def test_a_sample_without_values_tells_its_label() -> None:
    assert Sample("1.png", Path("d"), 2, "p").truth == (2.0,)
    assert same(Sample("1.png", Path("d"), None, "p").truth, (NAN,))


def test_the_same_image_under_two_truths_is_told(tmp_path: Path) -> None:
    for name in ("1.png", "2.png", "3.png"):
        Image.new("RGB", (64, 64), (90, 40, 20)).save(tmp_path / name)

    def samples(*values: tuple[float, ...]) -> list[Sample]:
        return [
            Sample(f"{number}.png", tmp_path, None, "p", split="train", values=each)
            for number, each in enumerate(values, 1)
        ]

    # What is not known of one of them is no contradiction.
    assert len(verify(samples((1.0, NAN), (NAN, 0.5), (1.0, 0.5)))) == 3
    with pytest.raises(DataProblems, match="the very same image stands under different labels"):
        verify(samples((1.0, 0.5), (0.0, 0.5), (NAN, NAN)))


def test_a_table_of_heads_is_split_by_patient(tmp_path: Path) -> None:
    rows = [f"{n}.png,{int(n % 10 == 0)},{n % 3},{n / 100},p{n // 2}" for n in range(60)]
    found = read_manifest([table(tmp_path, rows)], heads=HEADS)
    check_split(split_by_patient(found.samples, ratios="60:20:20", seed=0))

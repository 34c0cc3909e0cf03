from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from eyeground.data.manifest import (
    DataProblems,
    Manifest,
    Problem,
    Source,
    read_manifest,
    same_image_two_patients,
    verify,
)
from eyeground.data.sample import Sample


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder.parent / f"{folder.name}.csv"
    path.write_bytes(text.encode(encoding))
    return path


def problems(*sources: Source, classes: list[str] | None = None, labels_required: bool = True) -> list[str]:
    with pytest.raises(DataProblems) as caught:
        read_manifest(sources, classes=classes, labels_required=labels_required)
    return [str(problem) for problem in caught.value.problems]


def told(manifest: Manifest) -> list[tuple[str, str, str]]:
    """File, class and split of each sample."""
    return [(s.file, "" if s.label is None else manifest.classes[s.label], s.split) for s in manifest.samples]


# Folders


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Train", "valid", "Test"), ("training", "validation", "testing")]
)
def test_train_val_test_folders(tmp_path: Path, names: tuple[str, ...]) -> None:
    touch(tmp_path, *(f"{split}/{label}/{i}_left.png" for split in names for label in ("b", "a") for i in range(2)))
    manifest = read_manifest([Source(tmp_path)])
    assert manifest.classes == ("a", "b")
    assert not manifest.ordered
    assert [(count.split, count.label, count.images) for count in manifest.counts()] == [
        ("test", "a", 2), ("test", "b", 2), ("train", "a", 2), ("train", "b", 2), ("val", "a", 2), ("val", "b", 2),
    ]  # fmt: skip
    assert {sample.eye for sample in manifest.samples} == {"OS"}


def test_train_test_folders_keep_train_and_test(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.png", "train/b/2.png", "test/a/3.png", "test/b/4.jpg")
    assert {split for _, _, split in told(read_manifest([Source(tmp_path)]))} == {"train", "test"}


def test_flat_folders_and_what_is_ignored(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/2.TIF", "b/.hidden.png", "b/Thumbs.db", "b/notes.txt", "readme.md", ".git/x/y.png")
    manifest = read_manifest([Source(tmp_path)])
    assert told(manifest) == [("a/1.png", "a", ""), ("b/2.TIF", "b", "")]
    assert manifest.notes[0].startswith("2 files that are not images are ignored (first: readme.md)")
    assert not manifest.patients_known
    assert "patients are not known" in manifest.notes[1]
    assert len({sample.patient for sample in manifest.samples}) == 2


def test_patients_by_regular_expression(tmp_path: Path) -> None:
    touch(tmp_path, "a/7_left.png", "a/7_right.png", "b/8_left.png")
    manifest = read_manifest([Source(tmp_path, group=r"^(\d+)_")])
    assert [sample.patient for sample in manifest.samples] == ["7", "7", "8"]
    assert manifest.patients_known
    assert manifest.notes == ()
    assert "finds no patient" in problems(Source(tmp_path, group=r"^([a-z]+)_"))[0]
    assert "no regular expression" in problems(Source(tmp_path, group="("))[0]
    assert "one capturing bracket" in problems(Source(tmp_path, group=r"\d+"))[0]


def test_all_faults_of_folders_at_once(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.png", "train/a/deep/2.png", "train/loose.png", "test/a/3.png", "test/b/4.png")
    touch(tmp_path, "extra/5.png", "top.png", "val/a/6.png", "valid/a/7.png")
    (tmp_path / "train" / "empty").mkdir()
    (tmp_path / "test" / "empty").mkdir()
    text = "\n".join(problems(Source(tmp_path)))
    for part in (
        "train/a/deep: is a folder inside a class folder",
        "train/loose.png: lies beside the class folders",
        "extra: is a folder beside train",
        "top.png: lies beside the folders train",
        "val and valid mean the same",
        "train/empty: is an empty class folder",
        "the class 'b' stands in val or test but not in train",
    ):
        assert part in text
    assert "test/empty" not in text


def test_class_missing_from_validation_is_only_a_note(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.png", "train/b/2.png", "val/a/3.png", "test/a/4.png", "test/b/5.png")
    (tmp_path / "val" / "b").mkdir()
    notes = read_manifest([Source(tmp_path)]).notes
    assert "the class folder val/b is empty" in notes
    assert "val has no image of: b" in notes


def test_folders_that_hold_no_classes(tmp_path: Path) -> None:
    touch(tmp_path, "flat/1.png", "deep/images/a/1.png", "deep/images/b/1.png")
    (tmp_path / "nothing").mkdir()
    assert "holds 1 images but no class folders" in problems(Source(tmp_path / "flat"))[0]
    assert "add /images to the path" in problems(Source(tmp_path / "deep"))[0]
    assert "holds no class folders" in problems(Source(tmp_path / "nothing"))[0]
    assert "there is no such folder" in problems(Source(tmp_path / "nowhere"))[0]
    assert "is no folder" in problems(Source(tmp_path / "flat" / "1.png"))[0]
    assert "there is no table" in problems(Source(tmp_path / "deep" / "images", label="x"))[0]
    assert "no data source" in problems()[0]


def test_unlabelled_images_at_any_depth(tmp_path: Path) -> None:
    touch(tmp_path, "1.png", "x/2.png", "x/y/3.png")
    manifest = read_manifest([Source(tmp_path)], labels_required=False)
    assert sorted(told(manifest)) == [("1.png", "", ""), ("x/2.png", "", ""), ("x/y/3.png", "", "")]
    assert manifest.classes == ()


def test_links_that_leave_the_folder(tmp_path: Path) -> None:
    touch(tmp_path, "data/a/1.png", "data/b/1.png", "outside/2.png")
    (tmp_path / "data" / "a" / "2.png").symlink_to(tmp_path / "outside" / "2.png")
    (tmp_path / "data" / "c").symlink_to(tmp_path / "outside")
    (tmp_path / "data" / "b" / "inside.png").symlink_to(tmp_path / "data" / "a" / "1.png")
    found = problems(Source(tmp_path / "data"))
    assert len(found) == 2
    assert all("symbolic link" in problem for problem in found)
    labels = table(tmp_path / "data", "file,label\na/2.png,0\nc/2.png,1\nb/inside.png,1\n")
    assert len(problems(Source(tmp_path / "data", table=labels))) == 2
    (tmp_path / "alias").symlink_to(tmp_path / "data")
    labels.write_text("file,label\na/1.png,0\nb/inside.png,1\n")
    assert len(read_manifest([Source(tmp_path / "alias", table=labels)]).samples) == 2


# Tables


def test_any_column_names_and_names_without_suffix(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    touch(folder, "aa.png", "b.1.jpg", "sub/c.jpeg")
    labels = table(folder, "id_code,diagnosis,pid\naa,10,p\nb.1,2,p\nsub\\c,0,q\n")
    manifest = read_manifest([Source(folder, table=labels, file="id_code", label="diagnosis", group="pid")])
    assert manifest.classes == ("0", "2", "10")
    assert manifest.ordered
    assert told(manifest) == [("aa.png", "10", ""), ("b.1.jpg", "2", ""), ("sub/c.jpeg", "0", "")]
    assert [sample.patient for sample in manifest.samples] == ["p", "p", "q"]


def test_usual_columns_are_found(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    touch(folder, "1.png", "2_left.png")
    labels = table(
        folder,
        "file,label,patient_id,laterality,site,camera,split\n1.png,n,p,Right,X,C,test\n2_left.png,g,q,,Y,D,train\n",
    )
    first, second = read_manifest([Source(folder, table=labels)]).samples
    assert (first.patient, first.eye, first.site, first.camera, first.split) == ("p", "OD", "X", "C", "")
    assert second.eye == "OS"
    text = problems(Source(folder, table=labels, split="split"))
    assert "class 'n' stands in val or test but not in train" in text[0]


def test_eye_column_is_believed_and_the_conflict_told(tmp_path: Path) -> None:
    touch(tmp_path / "d", "1_left.png", "2.png")
    labels = table(tmp_path / "d", "file,label,eye\n1_left.png,a,OD\n2.png,b,L\n")
    manifest = read_manifest([Source(tmp_path / "d", table=labels)])
    assert [sample.eye for sample in manifest.samples] == ["OD", "OS"]
    assert any("1 file names tell another eye" in note for note in manifest.notes)


def test_all_faults_of_a_table_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    touch(folder, "1.png", "2.png", "3.png", "4.jpg", "two.png", "two.jpg")
    rows = [
        "file,label,group,eye,fold", "1.png,a,p,left,train", "1.png,a,p,left,train", "2.png,,p,left,train",
        "3.png,a,,up,train", "4.png,a,p,left,fold3", "two,a,p,left,train", "../x.png,a,p,left,train",
        "/etc/passwd,a,p,left,train", "C:\\x.png,a,p,left,train", ",a,p,left,train", "nowhere/9.png,a,p,left,train",
    ]  # fmt: skip
    found = problems(Source(folder, table=table(folder, "\n".join(rows) + "\n"), split="fold"))
    for part in (
        "row 3, 1.png: the same file stands in row 2",
        "row 4, 2.png: the label is missing",
        "row 5, 3.png: the patient (group) is missing",
        "row 5, 3.png: 'up' names no eye",
        "row 6, 4.png: is missing; did you mean '4.jpg'?",
        "row 6, 4.png: the split 'fold3' is none of",
        "row 7, two: could be two.jpg or two.png",
        "row 8, ../x.png: leads out of the data folder",
        "row 9, /etc/passwd: is an absolute path",
        "row 10, C:\\x.png: is an absolute path",
        "row 11: the file cell is empty",
        "row 12, nowhere/9.png: its folder cannot be read",
    ):
        assert any(problem.startswith(part) for problem in found), part
    assert len(found) == 12


def test_missing_and_misspelled_columns(tmp_path: Path) -> None:
    touch(tmp_path / "d", "1.png")
    labels = table(tmp_path / "d", "image,Label,patient\n1.png,a,p\n")
    found = problems(Source(tmp_path / "d", table=labels, group="patent"))
    assert "there is no column 'file'; say which column it is with file=NAME" in found[0]
    assert "there is no column 'label'" in found[1]
    assert "'patent' (named as group); did you mean 'patient'?" in found[2]


def test_images_folder_is_told_not_guessed(tmp_path: Path) -> None:
    touch(tmp_path / "set", "images/1.png", "images/2.png")
    labels = table(tmp_path / "set", "file,label\n1.png,a\n2.png,b\n")
    found = problems(Source(tmp_path / "set", table=labels))
    assert len(found) == 1
    assert "add /images to it" in found[0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_encodings_and_delimiters(tmp_path: Path, encoding: str, delimiter: str) -> None:
    touch(tmp_path / "d", "1.png", "2.png")
    text = "file,label\r\n1.png,青光眼\r\n\r\n2.png,正常\r\n".replace(",", delimiter)
    manifest = read_manifest([Source(tmp_path / "d", table=table(tmp_path / "d", text, encoding))])
    assert set(manifest.classes) == {"青光眼", "正常"}
    assert any("GB18030" in note for note in manifest.notes) == (encoding == "gb18030")


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "is empty"),
        (b"file,label\n1.png,\xff\xff\n", "row 2, d.csv: is in no known encoding"),
        (b"file,label,label\n1.png,a,b\n", "'label' stands twice"),
        (b"file,label\n1.png,a,b\n", "row 2, d.csv: has 3 cells"),
        (b'file,label\n"1.png,a\n', "row 2, d.csv: cannot be read as CSV"),
        (b"file,label\n", "the table has no rows"),
        (b"PK\x03\x04rest", "is a spreadsheet"),
        (b"PAR1 but no more", "the Parquet table cannot be read"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path: Path, data: bytes, part: str) -> None:
    touch(tmp_path / "d", "1.png")
    (tmp_path / "d.csv").write_bytes(data)
    assert (
        problems(Source(tmp_path / "d", table=tmp_path / "d.csv"))[0].startswith(part)
        or part in problems(Source(tmp_path / "d", table=tmp_path / "d.csv"))[0]
    )


def test_missing_table(tmp_path: Path) -> None:
    assert "the table cannot be read" in problems(Source(tmp_path, table=tmp_path / "no.csv"))[0]


def test_rows_are_counted_as_an_editor_counts_them(tmp_path: Path) -> None:
    touch(tmp_path / "d", "1.png")
    labels = table(tmp_path / "d", 'file,label,note\n1.png,a,"two\nlines"\n\n9.png,b,x\n')
    assert problems(Source(tmp_path / "d", table=labels))[0].startswith("row 5, 9.png")


def test_parquet(tmp_path: Path) -> None:
    touch(tmp_path, "1.png", "2.png", "3.png")
    columns = {"name": ["1", "2", "3"], "grade": [0.0, 3.0, None], "patient": [7, 7, 8], "image": [b"\0" * 10] * 3}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    source = Source(tmp_path, table=tmp_path / "t.parquet", file="name", label="grade")
    assert problems(source) == ["row 3, 3: the label is missing; fill it or remove the row"]
    manifest = read_manifest([source], labels_required=False)
    assert manifest.classes == ("0", "3")
    assert [sample.label for sample in manifest.samples] == [0, 1, None]
    assert [sample.patient for sample in manifest.samples] == ["7", "7", "8"]


def test_of_a_hundred_thousand_rows_every_fault_is_told(tmp_path: Path) -> None:
    for name in ("a", "b"):
        touch(tmp_path / "d", *(f"{name}/{i}.png" for i in range(500)))
    rows = "".join(f"{'ab'[i % 2]}/{i // 2 % 500},{i % 5},p{i}\n" for i in range(100_000))
    labels = table(tmp_path / "d", "file,label,group\n" + rows)
    found = problems(Source(tmp_path / "d", table=labels))
    assert len(found) == 99_000


# Classes


def test_explicit_classes_give_the_order_and_refuse_others(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/1.png", "b/2.png")
    manifest = read_manifest([Source(tmp_path)], classes=["c", "b", "a"])
    assert [sample.label for sample in manifest.samples] == [2, 1, 1]
    assert "no image of: c" in manifest.notes
    found = problems(Source(tmp_path), classes=["a", "B"])
    assert found == [
        "b/1.png: the label 'b' (2 images, this is the first) is none of the classes a, B; did you mean 'B'?"
    ]


def test_labels_that_are_nearly_alike(tmp_path: Path) -> None:
    touch(tmp_path / "d", *(f"{i}.png" for i in range(6)))
    labels = table(tmp_path / "d", "file,label\n0.png,No DR\n1.png,no dr\n2.png,NoDR\n3.png,PDR\n")
    found = problems(Source(tmp_path / "d", table=labels))
    assert len(found) == 1
    assert "'No DR' and 'no dr' and 'NoDR' differ only in case, spaces" in found[0]
    labels.write_text("file,label\n0.png,1\n1.png,01\n")
    assert "'1' and '01'" in problems(Source(tmp_path / "d", table=labels))[0]


def test_whole_numbers_are_grades(tmp_path: Path) -> None:
    touch(tmp_path, "10/1.png", "9/1.png", "0/1.png")
    assert read_manifest([Source(tmp_path)]).classes == ("0", "9", "10")
    assert read_manifest([Source(tmp_path)]).ordered
    assert not read_manifest([Source(tmp_path)], ordered=False).ordered
    assert not read_manifest([Source(tmp_path)], classes=["9", "0", "10"]).ordered


# Several sources


def test_several_sources_share_classes_and_patients(tmp_path: Path) -> None:
    touch(tmp_path, "x/a/7_1.png", "x/b/8_1.png", "y/b/7_2.png", "y/c/9_1.png")
    manifest = read_manifest([Source(tmp_path / name, group=r"^(\d+)_") for name in ("x", "y")])
    assert manifest.classes == ("a", "b", "c")
    assert [sample.source for sample in manifest.samples] == ["x", "x", "y", "y"]
    assert [sample.patient for sample in manifest.samples] == ["7", "8", "7", "9"]
    assert any("1 patient ids stand in more than one source" in note for note in manifest.notes)
    assert len({sample.id for sample in manifest.samples}) == 4


def test_sources_that_do_not_fit_together(tmp_path: Path) -> None:
    touch(tmp_path, "x/train/a/1.png", "x/train/b/1.png", "y/a/1.png", "y/B/1.png", "z/y/a/1.png", "z/y/b/2.png")
    found = "\n".join(problems(Source(tmp_path / "x"), Source(tmp_path / "y"), Source(tmp_path / "z" / "y")))
    assert "2 sources are named 'y'" in found
    assert "'b' and 'B' differ only in case" in found
    assert "y has no splits while other sources have" in found
    twice = problems(Source(tmp_path / "z" / "y", name="1"), Source(tmp_path / "z" / "y", name="2"))
    assert twice[0].startswith("2, a/1.png: is the same file as a/1.png of 1")


def test_the_error_shows_fifty_and_counts_the_rest() -> None:
    text = str(DataProblems(Problem("is missing", f"{i}.png") for i in range(60)))
    assert text.startswith("60 problems in the data:\n- 0.png: is missing")
    assert text.endswith("... and 10 more")
    assert len(text.splitlines()) == 52


# Verify


def paint(folder: Path, name: str, seed: int) -> None:
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(folder / name)


def test_verify_names_every_unreadable_file(tmp_path: Path) -> None:
    for i in range(4):
        paint(tmp_path, f"{i}.png", i)
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:200])
    (tmp_path / "2.png").write_bytes(b"")
    seen = []
    samples = [Sample(f"{i}.png", tmp_path, 0, f"p{i}") for i in range(5)]
    with pytest.raises(DataProblems) as caught:
        verify(samples, workers=2, progress=lambda done, total: seen.append((done, total)))
    assert [problem.file for problem in caught.value.problems] == ["1.png", "2.png", "4.png"]
    assert seen == [(i, 5) for i in range(1, 6)]


def test_verify_finds_leaks_and_contradictions(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        paint(tmp_path, name, 0)
    samples = [
        Sample("a.png", tmp_path, 0, "p", split="train"),
        Sample("b.png", tmp_path, 0, "q", split="train"),
        Sample("c.png", tmp_path, 1, "r", split="test"),
    ]
    hashes = verify(samples[:2])
    assert len(set(hashes.values())) == 1
    assert same_image_two_patients(samples[:2], hashes) == (tuple(samples[:2]),)
    with pytest.raises(DataProblems) as caught:
        verify(samples)
    assert "stands in test and train (a.png, b.png, c.png), a leak" in str(caught.value)
    assert "under different labels" in str(caught.value)


def test_known_hashes_spare_the_decoding(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"not an image at all")
    sample = Sample("a.png", tmp_path, 0, "p")
    with pytest.raises(DataProblems) as caught:
        verify([sample])
    import hashlib

    digest = hashlib.sha256(b"not an image at all").hexdigest()
    assert "is not an image" in str(caught.value)
    assert verify([sample], known={sample.id: digest}) == {sample.id: digest}


def test_real_sets(realdata: Path) -> None:
    dr5 = realdata / "fundus-dr5"
    manifest = read_manifest([Source(dr5 / "images", table=dr5 / "labels.csv", group="group")])
    assert (len(manifest.samples), manifest.classes, manifest.ordered) == (718, ("0", "1", "2", "3", "4"), True)
    assert manifest.patients_known
    assert manifest.notes == ()
    both = read_manifest(
        [Source(dr5 / "images", "dr5", dr5 / "labels.csv"), Source(realdata / "fundus-unlabelled", group=r"^(\d+)_")],
        labels_required=False,
    )
    assert len(both.samples) == 718 + 640
    assert "fundus-unlabelled" in {sample.source for sample in both.samples}

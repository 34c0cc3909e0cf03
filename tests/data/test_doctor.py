"""The doctor's checks on made-up cases, its memory of earlier runs, and the cleaned table."""

import csv
import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eyeground.data.doctor import Checkup, check
from eyeground.data.exam import examination
from eyeground.data.exam.case import Case, Twins
from eyeground.data.exam.examination import Facts, examine, examine_all
from eyeground.data.exam.finding import Finding
from eyeground.data.exam.ledger import Ledger, ledger_path
from eyeground.data.exam.remedy import cure, write_remedy
from eyeground.data.exam.shortcut import predict
from eyeground.data.faults import appearance, classes, laterality, leak, personal, table, unreadable
from eyeground.data.manifest import Source, survey
from eyeground.data.phantom import draw_fundus
from eyeground.data.problem import DataProblems, Problem
from eyeground.data.sample import Sample
from eyeground.pick import names, pick

FINE = Facts(format="JPEG", size_bytes=9000, sha256="0", width=400, height=400, modality="fundus", quality="good")


def sample(file: str, label: int | None = 0, patient: str = "", **other: Any) -> Sample:
    return Sample(file, Path("data"), label, patient or file, **other)


def case(samples: Sequence[Sample], facts: Sequence[Facts] | Facts = FINE, **other: Any) -> Case:
    told = (facts,) * len(samples) if isinstance(facts, Facts) else tuple(facts)
    return Case(tuple(samples), told, other.pop("classes", ("a", "b")), other.pop("patients_known", True), **other)


def kinds(found: Sequence[Finding]) -> list[tuple[str, str]]:
    return [(each.severity, each.kind) for each in found]


@pytest.mark.parametrize("name", names("data.faults"))
def test_every_family_finds_nothing_in_nothing_and_in_a_clean_set(name: str) -> None:
    find = pick("data.faults", name).find
    assert list(find(case([]))) == []
    clean = case([sample(f"{n}.jpg", n % 2) for n in range(60)])
    assert [found for found in find(clean) if found.severity != "note"] == []


# Files


def test_files_that_are_not_what_they_should_be() -> None:
    facts = [
        Facts(refusal="empty", sentence="the file is empty; copy it again"),
        Facts(refusal="truncated", sentence="ends too early"),
        Facts(refusal="format_not_allowed", sentence="is GIF"),
        Facts(refusal="crashed", sentence="crashed the reader"),
        Facts(format="PNG", quality="good"),
        Facts(format="JPEG", quality="cannot grade", reasons=("out of focus",)),
        FINE,
    ]
    found = list(unreadable.find(case([sample(f"{n}.jpg") for n in range(7)], facts)))
    assert {(each.kind, each.severity): each.files for each in found} == {
        ("empty file", "fault"): ("data/0.jpg",),
        ("truncated file", "fault"): ("data/1.jpg",),
        ("wrong type of file", "fault"): ("data/2.jpg",),
        ("unreadable file", "fault"): ("data/3.jpg",),
        ("wrong file ending", "odd"): ("data/4.jpg",),
        ("cannot be graded", "odd"): ("data/5.jpg",),
    }


def test_problems_of_the_table_keep_row_and_file() -> None:
    problems = (
        Problem("is missing", "x.png", 7),
        Problem("is missing", "y.png", 9),
        Problem("the same file stands in row 2 already; remove one", "z.png", 3),
        Problem("something new; do this", "", None),
    )
    found = list(table.find(case([], problems=problems, folders={"": Path("data")})))
    assert [(each.kind, each.sentence, each.files) for each in found] == [
        ("missing file", "row 7, row 9: is missing", ("data/x.png", "data/y.png")),
        ("row twice", "row 3: the same file stands in row 2 already", ("data/z.png",)),
        ("folder or table", "something new", ()),
    ]


# Leaks


def test_what_stands_where_it_must_not() -> None:
    samples = [
        sample("0", 0, "p", split="train"),
        sample("1", 0, "p", split="test"),
        sample("2", 0, "q", split="train"),
        sample("3", 1, "r", split="test"),
        sample("4", 0, "s", split="train"),
        sample("5", 0, "s", split="train"),
    ]
    found = list(leak.find(case(samples, twins=(Twins((2, 3), True), Twins((4, 5), False, likeness=0.9)))))
    assert [(each.kind, each.files) for each in found] == [
        ("patient in two splits", ("data/0", "data/1")),
        ("same image under two labels", ("data/2", "data/3")),
        ("same image in two splits", ("data/2", "data/3")),
        ("same image under two patients", ("data/2", "data/3")),
        ("same image twice", ("data/4", "data/5")),
    ]
    assert [each.severity for each in found] == ["fault"] * 4 + ["odd"]
    assert found[-1].figures == {"likeness": 0.9}


def test_without_patients_nobody_has_two_ids() -> None:
    found = list(leak.find(case([sample("0"), sample("1")], twins=(Twins((0, 1), True),), patients_known=False)))
    assert kinds(found) == [("odd", "same image twice")]


# Classes


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((100, 50), []),
        ((100, 25), [("note", "imbalance")]),
        ((300, 20), [("odd", "imbalance")]),
        ((1000, 12), [("odd", "imbalance")]),
        ((300, 9), [("odd", "tiny class"), ("odd", "imbalance")]),
    ],
)
def test_imbalance_and_tiny_classes(counts: tuple[int, int], expected: list[tuple[str, str]]) -> None:
    samples = [sample(f"{label}-{n}", label) for label, count in enumerate(counts) for n in range(count)]
    assert kinds(list(classes.find(case(samples)))) == expected


def test_imbalance_figures_against_their_definitions() -> None:
    sizes = np.array([300, 20])
    samples = [sample(f"{label}-{n}", label) for label, count in enumerate(sizes) for n in range(count)]
    figures = next(iter(classes.find(case(samples)))).figures
    shares = sizes / sizes.sum()
    gini = np.abs(sizes[:, None] - sizes[None]).sum() / (2 * len(sizes) ** 2 * sizes.mean())
    assert figures["ratio"] == 15
    assert figures["gini"] == pytest.approx(gini, abs=1e-4)
    assert figures["entropy"] == pytest.approx(-(shares * np.log2(shares)).sum(), abs=1e-4)


def test_absent_classes_and_crowded_patients() -> None:
    samples = [sample(f"{n}", n % 2, split="train") for n in range(40)]
    samples += [sample(f"t{n}", 0, split="test") for n in range(40)]
    found = list(classes.find(case(samples)))
    assert kinds(found) == [("odd", "class absent from a split"), ("note", "imbalance")]
    assert "test has no image of the class 'b'" in found[0].sentence
    crowd = [sample(f"{n}", 0) for n in range(50)] + [sample(f"c{n}", 0, "x") for n in range(25)]
    assert [each.kind for each in classes.find(case(crowd))] == ["patient with very many images"]


# Eyes


def test_eyes_that_contradict_each_other() -> None:
    facts = [
        FINE,
        Facts(file_eye="OS", modality="fundus"),
        Facts(disc_eye="OS", disc_confidence=0.97),
        Facts(disc_eye="OS", disc_confidence=0.8),
    ]
    samples = [sample("1_left.jpg", eye="OD"), sample("2.dcm", eye="OD"), sample("3.jpg", eye="OD")]
    found = list(laterality.find(case([*samples, sample("4.jpg", eye="OD")], facts)))
    assert [(each.kind, each.files) for each in found] == [
        ("left and right contradict", ("data/1_left.jpg",)),
        ("left and right contradict", ("data/2.dcm",)),
        ("left and right contradict the disc", ("data/3.jpg",)),
    ]


# Personal data


@pytest.mark.parametrize(
    "name",
    ["11010119900307451X_od.jpg", "13812345678.png", "a/wang@hospital.cn.jpg", "1990-03-07_left.jpg", "19900307.jpg",
     "patientname_7.jpg", "姓名_3.png", "07.03.1990 OD.tif"],
)  # fmt: skip
def test_names_that_tell_a_person(name: str) -> None:
    assert personal.told_by_name(name)


@pytest.mark.parametrize(
    "name",
    ["cataract/1062_right.jpg", "AMD/amd_1096590_1.jpg", "eyepacs-1000_left.jpeg", "IDRiD_001.jpg", "im0255.ppm",
     "000c1434d8d7.png", "OD01.png", "20x30/12.png", "C0001_2.jpg", "7f3d_2048x1536.png", "vol_12345678_3.png"],
)  # fmt: skip
def test_names_that_tell_nobody(name: str) -> None:
    assert personal.told_by_name(name) == ""
    assert personal.person_in(name) == ""


def test_a_name_of_a_person_counts_unless_many_files_have_it() -> None:
    few = [
        sample("Smith_John_1.jpg"),
        sample("Smith_John_2.jpg"),
        *(sample(f"Central Serous_{n}.jpg") for n in range(40)),
    ]
    found = list(personal.find(case(few)))
    assert [each.files for each in found] == [("data/Smith_John_1.jpg", "data/Smith_John_2.jpg")]


def test_header_fields_are_named_and_their_values_never() -> None:
    facts = [Facts(personal=("PatientName", "comment block"))]
    found = list(personal.find(case([sample("1.dcm")], facts)))
    assert [(each.kind, each.severity) for each in found] == [
        ("personal data in headers", "fault"),
        ("personal data in headers", "odd"),
    ]


def test_no_value_of_a_header_reaches_a_finding(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x013B] = "Secret Person"
    Image.new("RGB", (80, 80), (90, 40, 20)).save(tmp_path / "1.jpg", exif=exif)
    told = str(check([Source(tmp_path)], keep=False).findings)
    assert "EXIF Artist" in told
    assert "Secret" not in told


# Shortcuts


def test_a_classifier_that_knows_nothing_guesses() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 600)
    found = predict(rng.normal(size=(600, 4)), labels, [str(n // 2) for n in range(600)])
    assert found is not None
    assert found.macro_low < 0.5 < found.macro_high


def test_patients_are_not_learned_by_heart() -> None:
    # Each patient has a size of its own and one class: by image it is certain, by patient it is a guess.
    rng = np.random.default_rng(1)
    people = np.repeat(np.arange(80), 8)
    labels = rng.integers(0, 2, 80)[people]
    found = predict(rng.normal(size=80)[people][:, None], labels, [str(person) for person in people])
    assert found is not None
    assert found.macro < 0.65


def test_too_few_patients_are_not_judged() -> None:
    labels = np.array([0] * 30 + [1] * 30)
    assert predict(labels[:, None].astype(float), labels, ["a"] * 30 + ["b"] * 30) is None
    assert predict(np.zeros((60, 1)), labels, [str(n) for n in range(60)]) is None


def test_a_shortcut_is_named_with_its_auroc() -> None:
    samples = [sample(f"{n}", n % 2, source=("x", "y")[n % 2]) for n in range(80)]
    sizes = [Facts(format="JPEG", size_bytes=9000, width=400, height=400 + 90 * (n % 2)) for n in range(80)]
    found = [each for each in appearance.find(case(samples, sizes)) if each.severity == "fault"]
    assert [each.sentence.partition(",")[0] for each in found] == ["the source", "the dimensions"]
    assert all(each.figures["auroc_macro"] == 1 for each in found)
    assert "all 40 images of 'a' have 'x' and no other class does" in found[0].sentence


def test_other_modalities_are_strays() -> None:
    facts = [FINE] * 30 + [Facts(modality="oct")]
    found = list(appearance.find(case([sample(f"{n}") for n in range(31)], facts)))
    assert [(each.kind, each.files) for each in found if each.severity == "odd"] == [("mixed modalities", ("data/30",))]


# The examination and its memory


def _photographs(folder: Path, count: int = 6) -> list[Sample]:
    folder.mkdir(exist_ok=True)
    for number in range(count):
        pixels = draw_fundus("normal", seed=number, size_px=64).image.pixels
        Image.fromarray(pixels).save(folder / f"{number}.jpg", quality=90)
    return [Sample(f"{number}.jpg", folder, number % 2, f"p{number}") for number in range(count)]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EYEGROUND_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_facts_of_one_image(tmp_path: Path) -> None:
    [first, *_] = _photographs(tmp_path / "set", 1)
    facts, found = examine(first)
    assert found is not None
    assert (facts.format, facts.width, facts.height, facts.gray, facts.sound) == ("JPEG", 64, 64, False, True)
    assert facts.size_bytes == first.path.stat().st_size
    assert facts.quantization == pytest.approx(57.6 / 5, abs=0.2)  # the standard's table at quality 90
    expected = np.asarray(Image.open(first.path)).reshape(-1, 3).mean(axis=0)
    assert facts.color == pytest.approx(tuple(expected), abs=0.01)


def test_a_second_run_examines_only_what_changed(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = _photographs(tmp_path / "set")
    seen: list[str] = []
    whole = examination.examine

    def watched(one: Sample) -> Any:
        seen.append(one.file)
        return whole(one)

    monkeypatch.setattr(examination, "examine", watched)
    with examine_all(samples) as (facts, prints):
        first, detail = facts, prints.detail.copy()
    assert len(seen) == 6
    seen.clear()
    Image.new("RGB", (70, 70)).save(samples[2].path)
    with examine_all(samples) as (facts, prints):
        assert facts[2] != first[2]
        assert facts[:2] + facts[3:] == first[:2] + first[3:]
        assert (prints.detail[[0, 1, 3, 4, 5]] == detail[[0, 1, 3, 4, 5]]).all()
        assert prints.small(0).shape == (64, 64)
    assert seen == ["2.jpg"]


def test_a_run_that_breaks_off_goes_on_where_it_stood(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = _photographs(tmp_path / "set")
    whole, seen = examination.examine, []

    def breaking(one: Sample) -> Any:
        if one.file == "4.jpg":
            raise KeyboardInterrupt
        return whole(one)

    monkeypatch.setattr(examination, "examine", breaking)
    with pytest.raises(KeyboardInterrupt), examine_all(samples, workers=1):
        pass
    monkeypatch.setattr(examination, "examine", lambda one: (seen.append(one.file), whole(one))[1])
    with examine_all(samples, workers=1) as (facts, _):
        assert all(each.sound for each in facts)
    assert seen == ["4.jpg", "5.jpg"]


def test_nothing_is_kept_if_not_wanted(tmp_path: Path, cache: Path) -> None:
    with examine_all(_photographs(tmp_path / "set", 2), keep=False):
        pass
    assert not cache.exists()


def test_a_damaged_ledger_is_begun_anew_and_is_private(tmp_path: Path, cache: Path) -> None:
    path = ledger_path(tmp_path)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database at all, but long enough to be looked at" * 100)
    with Ledger(path) as ledger:
        ledger.put("a", (1, 2), 3, "told", b"print")
    with Ledger(path) as ledger:
        assert ledger.known(3) == {"a": (1, 2)}
        assert ledger.known(4) == {}
        assert (ledger.told("a"), ledger.print_of("a")) == ("told", b"print")
        with pytest.raises(KeyError):
            ledger.told("b")
    assert path.stat().st_mode & 0o077 == 0
    assert sqlite3.connect(path).execute("SELECT count(*) FROM facts").fetchone() == (1,)


# The whole


def _table(folder: Path, rows: list[tuple[str, ...]], columns: str = "file,label,patient,split") -> Path:
    path = folder / "table.csv"
    path.write_text("\n".join([columns, *(",".join(row) for row in rows)]) + "\n", encoding="utf-8")
    return path


def test_spellings_count_as_one_class(tmp_path: Path) -> None:
    _photographs(tmp_path / "set", 4)
    table_ = _table(tmp_path, [("0.jpg", "a b", "p", ""), ("1.jpg", "A B", "q", ""), ("2.jpg", "a b", "r", ""),
                               ("3.jpg", "c", "s", "")])  # fmt: skip
    found = check([Source(tmp_path / "set", table=table_)], keep=False)
    assert found.case.classes == ("a b", "c")
    spelling = next(each for each in found.findings if each.kind == "label spelling")
    assert spelling.files == (str(tmp_path / "set" / "1.jpg"),)


def test_a_split_file_that_leaks_is_read_and_its_leak_named(tmp_path: Path) -> None:
    _photographs(tmp_path / "set", 4)
    table_ = _table(tmp_path, [(f"{n}.jpg", "ab"[n % 2], f"p{n // 2}", "") for n in range(4)])
    split = tmp_path / "split.csv"
    split.write_text(
        "source,file,slice,patient,eye,label,split,sha256\n,0.jpg,,p0,,0,train,\n,1.jpg,,p0,,1,test,\n"
        ",2.jpg,,p9,,0,train,\n,9.jpg,,p9,,0,train,\n"
    )
    found = check([Source(tmp_path / "set", table=table_)], split=split, keep=False)
    told = {each.kind: each for each in found.findings}
    assert told["patient in two splits"].files == tuple(str(tmp_path / "set" / f"{n}.jpg") for n in (0, 1))
    text = "\n".join(each.sentence for each in found.findings)
    assert "stands in the split file but not in the data" in text
    assert "is not in the split file split.csv" in text
    assert "the patient was 'p9'" in text


def test_what_cannot_be_examined_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataProblems, match="no such folder"):
        check([Source(tmp_path / "nowhere")])
    (tmp_path / "set").mkdir()
    with pytest.raises(DataProblems):
        check([Source(tmp_path / "set")])
    with pytest.raises(DataProblems, match="no column 'file'"):
        check([Source(tmp_path / "set", table=_table(tmp_path, [], "name,label"))])


def test_a_folder_without_labels_is_examined_too(tmp_path: Path) -> None:
    _photographs(tmp_path / "set", 3)
    (tmp_path / "set" / "0.jpg").write_bytes(b"")
    (tmp_path / "set" / "4.webp").write_bytes(b"x")
    found = check([Source(tmp_path / "set")], keep=False)
    assert {each.kind for each in found.findings if each.severity != "note"} == {"empty file", "file not read"}


def test_survey_gives_samples_and_problems(tmp_path: Path) -> None:
    _photographs(tmp_path / "set", 2)
    table_ = _table(tmp_path, [("0.jpg", "a", "p", ""), ("0.jpg", "a", "p", ""), ("9.jpg", "a", "p", ""),
                               ("../x.jpg", "a", "p", ""), ("1.jpg", "", "q", "")])  # fmt: skip
    manifest, problems = survey([Source(tmp_path / "set", table=table_)])
    assert [(each.file, each.label) for each in manifest.samples] == [("0.jpg", 0), ("1.jpg", None)]
    assert [problem.row for problem in problems] == [3, 4, 5, 6]


# The remedy


def test_a_cleaned_table_leaves_out_what_it_must_and_says_why() -> None:
    samples = [
        sample("bad.jpg", 0, "a", split="train"),
        sample("two_labels.jpg", 0, "b", split="train"),
        sample("two_labels_too.jpg", 1, "b", split="train"),
        sample("leak.jpg", 0, "c", split="train"),
        sample("leak_copy.jpg", 0, "d", split="test"),
        sample("other_of_c.jpg", 0, "c", split="train"),
        sample("twice.jpg", 1, "e", split="train"),
        sample("twice_too.jpg", 1, "e", split="train"),
        sample("alike.jpg", 0, "f", split="train"),
        sample("alike_too.jpg", 0, "g", split="train"),
    ]
    digests = ["0", "1", "1", "2", "3", "4", "5", "5", "6", "7"]
    facts = [Facts(refusal="empty", sentence="the file is empty")] + [Facts(sha256=digest) for digest in digests[1:]]
    twins = (Twins((1, 2), True), Twins((3, 4), False), Twins((6, 7), True), Twins((8, 9), False))
    remedy = cure(case(samples, facts, twins=twins, problems=(Problem("is missing", "gone.jpg", 4),)))
    assert [(each.file, each.patient, label) for each, label in zip(remedy.samples, remedy.labels, strict=True)] == [
        ("leak_copy.jpg", "c", "a"),
        ("twice.jpg", "e", "b"),
        ("alike.jpg", "f", "a"),
        ("alike_too.jpg", "f", "a"),
    ]
    assert {each.file: each.reason for each in remedy.left_out} == {
        "gone.jpg": "is missing",
        "bad.jpg": "cannot be read: the file is empty",
        "two_labels.jpg": "the same picture stands under another label too",
        "two_labels_too.jpg": "the same picture stands under another label too",
        "leak.jpg": "its patient, or a copy of it, stands in test",
        "other_of_c.jpg": "its patient, or a copy of it, stands in test",
        "twice_too.jpg": "the same file as twice.jpg",
    }


def test_a_cleaned_table_can_be_read_and_is_clean(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    _photographs(folder, 24)
    (folder / "0.jpg").write_bytes(b"")
    (folder / "1.jpg").write_bytes((folder / "2.jpg").read_bytes())
    rows = [(f"{n}.jpg", "ab"[n % 2], f"p{n}", ("train", "test")[n % 4 > 1]) for n in range(24)]
    rows[3] = ("3.jpg", "B", "p3", "test")
    rows.append(("gone.jpg", "a", "x", "train"))
    source = Source(folder, table=_table(tmp_path, rows), split="split")
    before = check([source], keep=False)
    assert {each.kind for each in before.findings if each.severity == "fault"} == {
        "empty file", "same image under two labels", "same image in two splits", "same image under two patients",
        "label spelling", "missing file",
    }  # fmt: skip
    stamps = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    written = write_remedy(tmp_path / "clean.csv", cure(before.case), [""])
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == stamps
    after = check([Source(folder, table=written[0], split="split")], keep=False)
    assert [each for each in after.findings if each.severity == "fault"] == []
    assert len(after.case.samples) == 21
    with written[1].open(encoding="utf-8", newline="") as stream:
        assert {row["file"] for row in csv.DictReader(stream)} == {"0.jpg", "1.jpg", "2.jpg", "gone.jpg"}


def test_findings_come_faults_first_and_a_clean_set_is_not_sick() -> None:
    assert not Checkup(case([]), (Finding("x", "note", "", ""),)).sick
    assert Checkup(case([]), (Finding("x", "odd", "", ""),)).sick
    assert json.dumps(Finding("x", "odd", "", "").figures) == "{}"

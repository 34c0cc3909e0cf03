import random
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyeground.data.manifest import DataProblems, Source, read_manifest
from eyeground.data.sample import Sample
from eyeground.data.split import (
    check_split,
    hold_out_validation,
    read_hashes,
    read_split,
    split_by_patient,
    write_split,
)

FOLDER = Path("d")
# Each patient is a list of the classes of its images.
PATIENTS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4), min_size=3, max_size=60)
RATIOS = st.sampled_from(["60:20:20", "6:2:2", "55:15:30", "80:10:10", "1:1:1", "70:0:30"])


def samples_of(patients: list[list[int]]) -> list[Sample]:
    return [
        Sample(f"{p}_{i}.png", FOLDER, label, f"p{p}")
        for p, labels in enumerate(patients)
        for i, label in enumerate(labels)
    ]


def homes(samples: tuple[Sample, ...]) -> dict[str, str]:
    return {sample.id: sample.split for sample in samples}


@given(PATIENTS, RATIOS, st.integers(0, 5))
def test_no_patient_stands_in_two_splits(patients: list[list[int]], ratios: str, seed: int) -> None:
    samples = samples_of(patients)
    done = split_by_patient(samples, ratios=ratios, seed=seed)
    check_split(done)
    assert [replace(sample, split="") for sample in done] == samples
    assert {sample.split for sample in done} == {"train", "test"} | ({"val"} if ratios != "70:0:30" else set())


@given(PATIENTS, RATIOS, st.integers(0, 5), st.randoms(use_true_random=False))
def test_order_does_not_matter(patients: list[list[int]], ratios: str, seed: int, shuffler: random.Random) -> None:
    samples = samples_of(patients)
    done = homes(split_by_patient(samples, ratios=ratios, seed=seed))
    shuffler.shuffle(samples)
    assert homes(split_by_patient(samples, ratios=ratios, seed=seed)) == done


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 2)), min_size=12, max_size=120), RATIOS, st.integers(0, 5))
def test_each_class_is_divided_in_the_ratios(patients: list[tuple[int, int]], ratios: str, seed: int) -> None:
    """With one class a patient: never further from the wish than two patients, or than what presence asks for."""
    samples = samples_of([[label] * count for label, count in patients])
    done = split_by_patient(samples, ratios=ratios, seed=seed)
    parts = [float(part) for part in ratios.split(":")]
    for label in {sample.label for sample in samples}:
        total = sum(sample.label == label for sample in samples)
        for split, part in zip(("train", "val", "test"), parts, strict=True):
            count = sum(sample.label == label and sample.split == split for sample in done)
            assert abs(count - total * part / sum(parts)) <= 4


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 3)), min_size=3, max_size=60), st.integers(0, 5))
def test_three_patients_put_a_class_into_every_split(patients: list[tuple[int, int]], seed: int) -> None:
    done = split_by_patient(samples_of([[label] * n for label, n in patients]), ratios="90:5:5", seed=seed)
    found = defaultdict(set)
    for sample in done:
        found[sample.label].add(sample.split)
    for label, count in Counter(label for label, _ in patients).items():
        if len(patients) >= len(found) + 2:
            assert "train" in found[label]
        if count >= 3:
            assert found[label] == {"train", "val", "test"}


def test_patients_with_several_classes_stay_whole_and_balanced() -> None:
    draw = random.Random(0)
    patients = [[draw.choice([0] * 14 + [1, 2, 2, 3, 4]) for _ in range(2)] for _ in range(350)]
    done = split_by_patient(samples_of(patients), ratios="60:20:20", seed=1)
    check_split(done)
    totals = Counter(sample.label for sample in done)
    for label, total in totals.items():
        for split, part in (("train", 0.6), ("val", 0.2), ("test", 0.2)):
            count = sum(sample.label == label and sample.split == split for sample in done)
            assert abs(count - part * total) <= max(3, 0.05 * total)


def test_the_seed_matters() -> None:
    samples = samples_of([[i % 2] for i in range(40)])
    assert homes(split_by_patient(samples, ratios="60:20:20", seed=0)) != homes(
        split_by_patient(samples, ratios="60:20:20", seed=1)
    )
    assert homes(split_by_patient(samples, ratios=(6, 2, 2), seed=1)) == homes(
        split_by_patient(samples, ratios="60:20:20", seed=1)
    )


def test_unlabelled_samples_are_divided_too() -> None:
    samples = [Sample(f"{i}.png", FOLDER, None, f"p{i}") for i in range(10)]
    done = split_by_patient(samples, ratios="60:20:20", seed=0)
    assert Counter(sample.split for sample in done) == {"train": 6, "val": 2, "test": 2}


@pytest.mark.parametrize("ratios", ["60:40", "a:b:c", "0:50:50", "60:-20:60", "100:0:0", "", (1.0, float("nan"), 1.0)])
def test_ratios_that_are_none(ratios: str) -> None:
    with pytest.raises(ValueError, match="train:val:test"):
        split_by_patient(samples_of([[0]] * 10), ratios=ratios, seed=0)


def test_too_few_patients() -> None:
    with pytest.raises(ValueError, match="2 patients cannot be divided into 3 splits"):
        split_by_patient(samples_of([[0, 1], [0]]), ratios="60:20:20", seed=0)


def test_hold_out_leaves_test_alone() -> None:
    samples = [replace(s, split="test" if int(s.patient[1:]) < 10 else "train") for s in samples_of([[0, 1]] * 50)]
    done = hold_out_validation(samples, 0.25, 0)
    check_split(done)
    assert [s for s in done if s.split == "test"] == [s for s in samples if s.split == "test"]
    assert sum(s.split == "val" for s in done) == 20
    with pytest.raises(ValueError, match="validation split already"):
        hold_out_validation(done, 0.25, 0)
    with pytest.raises(ValueError, match="no sample is in train"):
        hold_out_validation([s for s in samples if s.split == "test"], 0.25, 0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        hold_out_validation(samples, 20, 0)


def test_leaks_are_named_with_all_files() -> None:
    samples = samples_of([[0, 0, 0], [1, 1], [0]])
    split = [
        replace(s, split=where) for s, where in zip(samples, ["train", "val", "val", "test", "test", ""], strict=True)
    ]
    with pytest.raises(DataProblems) as caught:
        check_split(split)
    text = str(caught.value)
    assert "patient 'p0' stands in train (0_0.png) and val (0_1.png, 0_2.png), a leak" in text
    assert "2_0.png: has the split ''" in text
    assert "p1" not in text


def test_written_and_read_again(tmp_path: Path) -> None:
    samples = [replace(s, source="s, 1", patient=f" {s.patient}") for s in samples_of([[0, 1], [1], [0], [2]])]
    done = split_by_patient([*samples, Sample("眼.png", FOLDER, None, "z", "OD")], ratios="60:20:20", seed=0)
    write_split(tmp_path / "split.csv", done, {"s, 1:0_0.png": "f00d"})
    assert (tmp_path / "split.csv").read_text(encoding="utf-8").splitlines()[
        0
    ] == "source,file,patient,eye,label,split,sha256,slice"
    assert [path.name for path in tmp_path.iterdir()] == ["split.csv"]
    bare = [replace(sample, split="") for sample in done]
    assert read_split(tmp_path / "split.csv", bare) == done
    assert read_hashes(tmp_path / "split.csv") == {"s, 1:0_0.png": "f00d"}
    again = (tmp_path / "split.csv").read_bytes()
    write_split(tmp_path / "split.csv", done[::-1], {"s, 1:0_0.png": "f00d"})
    assert (tmp_path / "split.csv").read_bytes() == again


def test_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = split_by_patient(samples_of([[0]] * 5), ratios="60:20:20", seed=0)
    write_split(tmp_path / "split.csv", done)
    before = (tmp_path / "split.csv").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_split(tmp_path / "split.csv", split_by_patient(done, ratios="60:20:20", seed=9))
    assert (tmp_path / "split.csv").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["split.csv"]
    monkeypatch.undo()
    with pytest.raises(DataProblems, match="a leak"):
        write_split(tmp_path / "new.csv", [replace(s, patient="p") for s in done])
    assert not (tmp_path / "new.csv").exists()


def test_a_split_file_that_does_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    path.write_text(
        "source,file,patient,split\n,0_0.png,p0,train\n,0_0.png,p0,train\n,1_0.png,px,test\n,2_0.png,p2,nowhere\n,9.png,p9,val\n"
    )
    with pytest.raises(DataProblems) as caught:
        read_split(path, samples_of([[0], [0], [0], [0]]))
    text = str(caught.value)
    for part in (
        "row 3, 0_0.png: stands twice",
        "row 4, 1_0.png: the patient was 'px'",
        "row 5, 2_0.png: the split 'nowhere'",
        "row 6, 9.png: stands in the split file but not in the data",
        "3_0.png: is not in the split file",
    ):
        assert part in text
    assert len(caught.value.problems) == 5
    path.write_text("a,b\n1,2\n")
    with pytest.raises(DataProblems, match="is no split file"):
        read_split(path, samples_of([[0]]))
    path.write_text("source,file,patient,split\n,0_0.png,p0,train\n,0_1.png,p0,test\n")
    with pytest.raises(DataProblems, match="a leak"):
        read_split(path, samples_of([[0, 0]]))


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000))
def test_real_sets_divide_well(realdata: Path, seed: int) -> None:
    folder = realdata / "fundus-odir3"
    manifest = read_manifest([Source(folder / "images", table=folder / "labels.csv", group="group")])
    done = split_by_patient(manifest.samples, ratios="60:20:20", seed=seed)
    check_split(done)
    counts = Counter((sample.label, sample.split) for sample in done)
    for label in range(3):
        total = sum(counts[label, split] for split in ("train", "val", "test"))
        assert abs(counts[label, "train"] / total - 0.6) < 0.02
        assert abs(counts[label, "test"] / total - 0.2) < 0.02

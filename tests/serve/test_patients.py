"""Both eyes in one line: nothing is called healthy that was not seen."""

from pathlib import Path

import pytest

from eyeground.data.task import Head, Task
from eyeground.evaluate.calibrate import Calibration
from eyeground.evaluate.confidence import Estimate
from eyeground.evaluate.conformal import ConformalSets
from eyeground.evaluate.thresholds import Positive, Threshold
from eyeground.serve.batch import Row
from eyeground.serve.patients import PatientsUnknown, join_eyes, read_patients, write_patients

from .contracts import contract

DR = Task("ordinal", (Head("DR", "grades", ("0", "1", "2")),))
BOTH = Task("heads", (Head("AMD"), DR.heads[0]))


def _row(file: str, eye: str, scores: tuple[float, ...] | None) -> Row:
    return Row(file, eye, "good" if scores else "cannot grade: too dark", {}, scores, "", "", (0, 0))


def test_the_worse_eye_speaks_for_the_patient() -> None:
    rows = [
        _row("a_OD", "OD", (0.2, 0.1, 0.7)),
        _row("a_OS", "OS", (0.9, 0.1, 0.0)),
        _row("b_OD", "OD", (0.9, 0.1, 0.0)),
    ]
    told = join_eyes(rows, {"a_OD": "a", "a_OS": "a", "b_OD": "b"}, contract(DR))
    assert told["patient"] == ["a", "b"]
    assert told["OD_prediction"] == ["2", "0"]
    assert told["OS_prediction"] == ["0", ""]
    assert told["either_prediction"] == ["2", ""]  # one healthy eye does not make a healthy patient
    assert told["complete"] == ["yes", "no"]
    assert told["OS_quality"] == ["good", "no image"]


def test_a_finding_in_one_eye_stands_without_the_other() -> None:
    rows = [_row("a_OD", "OD", (0.2, 0.1, 0.7)), _row("a_OS", "OS", None)]
    told = join_eyes(rows, {"a_OD": "a", "a_OS": "a"}, contract(DR))
    assert (told["either_prediction"], told["complete"], told["OS_quality"]) == (
        ["2"],
        ["no"],
        ["cannot grade: too dark"],
    )


def test_several_images_of_an_eye_are_their_mean_and_unknown_eyes_join_none() -> None:
    rows = [
        _row("1", "OD", (0.6, 0.4, 0.0)),
        _row("2", "OD", (0.1, 0.5, 0.4)),
        _row("3", "OD", None),
        _row("4", "", (0, 0, 1)),
    ]
    told = join_eyes(rows, dict.fromkeys("1234", "p"), contract(DR))
    assert told["OD_prediction"] == ["1"]
    assert float(told["OD_score_1"][0]) == pytest.approx(0.45)
    assert told["OD_files"] == ["1|2|3"]
    assert told["OD_quality"] == ["good"]
    assert told["eye_unknown"] == ["4"]
    assert told["either_prediction"] == ["1"]


def test_each_head_of_several_is_joined() -> None:
    rows = [_row("a", "OD", (0.7, 0.9, 0.1, 0.0)), _row("b", "OS", (0.1, 0.9, 0.1, 0.0))]
    told = join_eyes(rows, {"a": "p", "b": "p"}, contract(BOTH))
    assert (told["either_prediction_AMD"], told["either_prediction_DR"]) == (["yes"], ["0"])


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("P7_OD.png", "P7"),
        ("P7-left.jpg", "P7"),
        ("12_RightEye_2.png", "12_2"),
        ("王_左眼.png", "王"),
        ("scan5.png", "scan5"),
        ("R1_OD.png", "R1"),
        ("L1_OD.png", "L1"),
        ("7_OD01.png", "7_01"),
    ],
)
def test_a_patient_is_what_is_left_of_the_name(name: str, patient: str) -> None:
    assert read_patients("names", [Path(name)]) == {name: patient}


def test_names_without_a_patient_are_told() -> None:
    with pytest.raises(PatientsUnknown, match=r"left\.png"):
        read_patients("names", [Path("a/left.png")])


def test_a_table_tells_patients_by_path_or_its_end(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("\ufefffile,patient\nx/1.png,anna\n2.png,ben\n", "utf-8")
    files = [Path("data/x/1.png"), Path("data/y/2.png")]
    assert list(read_patients(str(table), files).values()) == ["anna", "ben"]
    with pytest.raises(PatientsUnknown, match=r"3\.png and|3\.png"):
        read_patients(str(table), [*files, Path("3.png")])
    table.write_text("name\n1.png\n")
    with pytest.raises(PatientsUnknown, match="file and patient"):
        read_patients(str(table), files)
    with pytest.raises(PatientsUnknown, match="cannot be read"):
        read_patients(str(tmp_path / "gone.csv"), files)


def test_the_table_is_written(tmp_path: Path) -> None:
    rows = [_row("a_OD", "OD", (0.2, 0.1, 0.7))]
    write_patients(tmp_path / "p.csv", join_eyes(rows, {"a_OD": "a"}, contract(DR)))
    assert (tmp_path / "p.csv").read_text().splitlines()[1].startswith("a,a_OD,good,2,0.2,0.1,0.7,,no image")


def test_one_name_in_two_folders_may_be_two_people() -> None:
    with pytest.raises(PatientsUnknown, match="fundus stands in several folders"):
        read_patients("names", [Path("P1/fundus_OD.jpg"), Path("P2/fundus_OD.jpg")])
    by_eye = [Path("set/right/P1_OD.jpg"), Path("set/left/P1_OS.jpg")]
    assert set(read_patients("names", by_eye).values()) == {"P1"}


def test_thresholds_speak_for_the_patient_too() -> None:
    sets = ConformalSets(0.9, False, (Estimate(0.5), Estimate(0.5)))
    at_a_fifth = Threshold(Positive("yes", (1,)), "sensitivity", 0.95, Estimate(0.2))
    made = Calibration(("no", "yes"), False, Estimate(1.0), (at_a_fifth,), sets)
    task = Task("multilabel", (Head("AMD"),))
    rows = [_row("a", "OD", (0.3,)), _row("b", "OS", (0.1,)), _row("c", "OD", (0.1,))]
    told = join_eyes(rows, {"a": "p", "b": "p", "c": "q"}, contract(task, calibrations={"AMD": made}))
    assert told["either_prediction_AMD"] == ["no", ""]
    assert told["either_positive_yes_AMD"] == ["yes", ""]  # of the second patient one eye was never seen

"""The prediction table: validation, and CSV there and back."""

from pathlib import Path

import numpy as np
import pytest

from eyeground.evaluate.predictions import Predictions, read_predictions, write_predictions

from .drawn import table


def differences(one: Predictions, other: Predictions) -> list[str]:
    """Fields that are not the same, numbers to the last bit."""
    words = ("files", "patients", "eyes", "sites", "cameras", "classes", "ordered", "patients_known", "quality")
    wrong = [name for name in words if getattr(one, name) != getattr(other, name)]
    return wrong + [
        name for name in ("truth", "scores") if not np.array_equal(getattr(one, name), getattr(other, name))
    ]


@pytest.mark.parametrize("known", [True, False])
def test_csv_there_and_back_is_exact(tmp_path: Path, known: bool) -> None:
    made = table(31, 4, patients_known=known)
    if not known:
        made = table(31, 4, patients_known=False, patients=made.files)
    write_predictions(tmp_path / "predictions.csv", made)
    assert differences(made, read_predictions(tmp_path / "predictions.csv")) == []


def test_hostile_names_survive(tmp_path: Path) -> None:
    files = ('a,"b".png', "line\nfeed.png", "白内障.png", "=cmd()|x.png", "\udcff.png", " .png")
    made = table(6, 2, files=files, classes=("a,b", 'say "x"'), sites=("A", "", "", "", "", "B"))
    write_predictions(tmp_path / "p.csv", made)
    assert differences(made, read_predictions(tmp_path / "p.csv")) == []


def test_site_and_camera_columns_come_last_and_only_when_known(tmp_path: Path) -> None:
    write_predictions(tmp_path / "a.csv", table(4, 2))
    write_predictions(tmp_path / "b.csv", table(4, 2, cameras=("x", "", "", "")))
    first = "patient,eye,file,truth,quality,prediction,score_normal,score_cataract"
    assert (tmp_path / "a.csv").read_text().splitlines()[0] == first
    assert (tmp_path / "b.csv").read_text().splitlines()[0] == f"{first},site,camera"


def test_unknown_truth_is_an_empty_cell(tmp_path: Path) -> None:
    made = table(4, 2, truth=np.array([0, -1, 1, -1]))
    write_predictions(tmp_path / "p.csv", made)
    assert read_predictions(tmp_path / "p.csv", ordered=True).truth.tolist() == [0, -1, 1, -1]
    assert made.labelled.tolist() == [True, False, True, False]
    assert made.select(made.labelled).files == (made.files[0], made.files[2])


def test_all_problems_are_named_together() -> None:
    scores = np.array([[0.5, 0.5], [np.nan, 1.0], [0.9, 0.4], [2.0, -1.0]])
    with pytest.raises(ValueError, match="4 problems") as caught:
        table(4, 2, scores=scores, truth=np.array([0, 1, 1, 7]))
    text = str(caught.value)
    for words in (
        "row 1 (images/1.png): a score is NaN",
        "row 2 (images/2.png): the scores do not add up to 1",
        "row 3 (images/3.png): a score is outside [0, 1]; logits need a softmax first",
        "row 3 (images/3.png): truth is not in 0..1",
    ):
        assert words in text


def test_shapes_that_do_not_fit_are_named_together() -> None:
    with pytest.raises(ValueError, match="4 problems") as caught:
        table(4, 2, eyes=("OD",), quality=(), scores=np.zeros((4, 3)), classes=("a", "a"))
    text = str(caught.value)
    assert "eyes has 1 entries for 4 files" in text
    assert "(4, 2) float64, got (4, 3)" in text
    assert "different" in text


def test_many_problems_are_cut() -> None:
    with pytest.raises(ValueError, match="and 40 more problems"):
        table(60, 2, scores=np.full((60, 2), np.nan))


def test_reading_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text(
        "patient,eye,file,truth,quality,prediction,score_a,score_b\np1,OD,1.png,a,,a,0.9,0.1\np2,OD,2.png,c,,a,x,0.1\n"
    )
    with pytest.raises(ValueError, match="2 problems") as caught:
        read_predictions(path)
    assert "p.csv" in str(caught.value)
    assert "line 3: truth 'c' is none of the score columns" in str(caught.value)
    assert "line 3: score_a is no number: 'x'" in str(caught.value)
    path.write_text("file,truth\n")
    with pytest.raises(ValueError, match="there is no column 'patient'"):
        read_predictions(path)
    path.write_text(
        "patient,eye,file,truth,quality,prediction,score_a,score_b\np1,,1.png,a,,a,0.9,0.1\n,,2.png,a,,a,0.9,0.1\n"
    )
    with pytest.raises(ValueError, match="line 3: the patient is missing"):
        read_predictions(path)


def test_a_failed_write_leaves_the_older_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "p.csv"
    write_predictions(path, table(4, 2))
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("eyeground.atomic_file.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_predictions(path, table(6, 2))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["p.csv"]

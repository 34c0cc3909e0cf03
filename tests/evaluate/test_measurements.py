"""The table of a quantity: validation, and CSV there and back."""

from pathlib import Path

import numpy as np
import pytest

from eyeground.evaluate.measurements import Measurements, read_measurements, write_measurements

from .several import quantity

HEADER = "patient,eye,file,truth,quality,prediction"


def differences(one: Measurements, other: Measurements) -> list[str]:
    """Fields that are not the same, numbers to the last bit."""
    words = ("files", "patients", "eyes", "sites", "cameras", "name", "unit", "patients_known", "quality")
    wrong = [name for name in words if getattr(one, name) != getattr(other, name)]
    return wrong + [
        name
        for name in ("truth", "said")
        if not np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True)
    ]


def read(path: Path) -> Measurements:
    return read_measurements(path, name="IOP", unit="mmHg")


@pytest.mark.parametrize("known", [True, False])
def test_csv_there_and_back_is_exact(tmp_path: Path, known: bool) -> None:
    truth = quantity(31).truth.copy()
    truth[[0, 7]] = np.nan
    made = quantity(31, truth=truth)
    if not known:
        made = quantity(31, truth=truth, patients_known=False, patients=made.files)
    write_measurements(tmp_path / "p.csv", made)
    assert differences(made, read(tmp_path / "p.csv")) == []


def test_extreme_numbers_and_hostile_names_survive(tmp_path: Path) -> None:
    files = ('a,"b".png', "line\nfeed.png", "白内障.png", "=cmd()|x.png", "\udcff.png", " .png")
    said = np.array([1e-300, -1e300, 0.1 + 0.2, -0.0, 5e-324, 1 / 3])
    made = quantity(6, files=files, said=said, sites=("A", "", "", "", "", "B"))
    write_measurements(tmp_path / "p.csv", made)
    assert differences(made, read(tmp_path / "p.csv")) == []
    assert np.signbit(read(tmp_path / "p.csv").said[3])


def test_site_and_camera_columns_come_last_and_only_when_known(tmp_path: Path) -> None:
    write_measurements(tmp_path / "a.csv", quantity(4))
    write_measurements(tmp_path / "b.csv", quantity(4, cameras=("x", "", "", "")))
    assert (tmp_path / "a.csv").read_text().splitlines()[0] == HEADER
    assert (tmp_path / "b.csv").read_text().splitlines()[0] == f"{HEADER},site,camera"


def test_a_truth_that_is_not_known_is_an_empty_cell_and_never_zero(tmp_path: Path) -> None:
    made = quantity(2, truth=np.array([np.nan, 0.0]))
    write_measurements(tmp_path / "p.csv", made)
    cells = [line.split(",")[3] for line in (tmp_path / "p.csv").read_text().splitlines()[1:]]
    assert cells == ["", "0.0"]
    assert read(tmp_path / "p.csv").labelled.tolist() == [False, True]
    assert made.select(made.labelled).files == (made.files[1],)


def test_all_problems_are_named_together() -> None:
    with pytest.raises(ValueError, match="3 problems") as caught:
        quantity(3, said=np.array([np.nan, 1.0, np.inf]), truth=np.array([1.0, -np.inf, np.nan]))
    for words in (
        "row 0 (images/0.png): the prediction is not finite",
        "row 2 (images/2.png): the prediction is not finite",
        "row 1 (images/1.png): the truth is infinite; NaN means not known",
    ):
        assert words in str(caught.value)
    with pytest.raises(ValueError, match="5 problems") as caught:
        quantity(3, name="", eyes=("OD",), quality=(), truth=np.zeros(3, np.float32), said=np.zeros((3, 1)))
    for words in ("no name", "eyes has 1 entries for 3 files", "truth must be (3,) float64, got (3,) float32"):
        assert words in str(caught.value)
    with pytest.raises(ValueError, match="and 40 more problems"):
        quantity(60, said=np.full(60, np.nan))


def test_reading_names_file_and_every_line_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    rows = ["p1,OD,1.png,15,,16", "p2,OD,2.png,high,,x", ",OD,3.png,nan,,inf", "p4,OD,4.png,15,,", "p5,OD,5.png",
            "p6,OD,6.png,1,,2,3"]  # fmt: skip
    path.write_text("\n".join([HEADER, *rows]))
    with pytest.raises(ValueError, match="8 problems") as caught:
        read(path)
    for words in (
        "p.csv",
        "line 3: truth is no finite number: 'high'",
        "line 3: prediction is no finite number: 'x'",
        "line 4: the patient is missing",
        "line 4: truth is no finite number: 'nan'",
        "line 4: prediction is no finite number: 'inf'",
        "line 5: prediction is no finite number: ''",
        "line 6: not as many cells",
        "line 7: not as many cells",
    ):
        assert words in str(caught.value)
    path.write_text("file,file,truth\n")
    with pytest.raises(ValueError, match="6 problems") as caught:
        read(path)
    assert "there is no column 'prediction'" in str(caught.value)
    assert "two columns have the same name" in str(caught.value)
    path.write_text("")
    with pytest.raises(ValueError, match="there is no row below the header"):
        read(path)

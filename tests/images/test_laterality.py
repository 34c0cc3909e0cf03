import csv
from pathlib import Path

import pytest

from eyeground.images.laterality import eye_from_name, eye_from_word


@pytest.mark.parametrize(
    ("name", "eye"),
    [
        ("10_left.jpeg", "OS"), ("1000_right.jpeg", "OD"), ("a/b/P7-OD-2.png", "OD"), ("os_12.tif", "OS"),
        ("OD01.jpg", "OD"), ("12OS.jpg", "OS"), ("12_R.jpg", "OD"), ("L 3.bmp", "OS"), ("RightEye_5.png", "OD"),
        ("leftEye.png", "OS"), ("张三_右眼.jpg", "OD"), ("0012左.jpg", "OS"), ("scan_LEFT", "OS"),
        ("x\\y\\3_left.png", "OS"),
    ],
)  # fmt: skip
def test_names_that_tell(name: str, eye: str) -> None:
    assert eye_from_name(name) == eye


@pytest.mark.parametrize(
    "name",
    ["amd_1096590_1.jpg", "left_and_right.png", "OU_7.png", "iOS_export.png", "imgR.png", "bright.png", "model.png",
     "left/7.png", "", "左右.png", "双眼_左.png", "R_left.png", "L2.png", "leftover.png"],
)  # fmt: skip
def test_names_that_do_not_tell(name: str) -> None:
    assert eye_from_name(name) == ""


@pytest.mark.parametrize(
    ("word", "eye"),
    [("left", "OS"), ("Right", "OD"), ("l", "OS"), ("R", "OD"), ("OD", "OD"), ("os", "OS"), ("O.S.", "OS"),
     ("left eye", "OS"), ("RE", "OD"), ("右眼", "OD"), ("左", "OS"), ("", ""), ("  ", "")],
)  # fmt: skip
def test_words(word: str, eye: str) -> None:
    assert eye_from_word(word) == eye


@pytest.mark.parametrize("word", ["0", "1", "both", "OU", "middle", "nan"])
def test_unknown_words_are_refused(word: str) -> None:
    with pytest.raises(ValueError, match="write OD or OS"):
        eye_from_word(word)


def test_names_agree_with_the_real_tables(realdata: Path) -> None:
    for name in ("fundus-odir3", "fundus-dr5"):
        with (realdata / name / "labels.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [eye_from_name(row["file"]) for row in rows] == [eye_from_word(row["eye"]) for row in rows]

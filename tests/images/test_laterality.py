import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eyeground.data.phantom import draw_fundus, draw_oct
from eyeground.images.laterality import (
    DISC_POSITION,
    eye_from_disc,
    eye_from_name,
    eye_from_word,
    reconcile,
    side_from_disc,
)
from eyeground.images.retinal_image import Eye, RetinalImage


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


@pytest.mark.parametrize("eye", ["OD", "OS"])
def test_the_disc_tells_the_eye_of_phantoms(eye: Eye) -> None:
    answers = [eye_from_disc(draw_fundus("normal", seed=seed, eye=eye, size_px=256).image) for seed in range(10)]
    assert set(answers) - {""} == {eye}
    assert answers.count("") <= 3


def test_a_mirrored_photograph_shows_the_other_eye() -> None:
    for seed in (1, 2, 5, 6, 8):
        image = draw_fundus("normal", seed=seed, size_px=256).image
        straight = eye_from_disc(image)
        assert straight == image.eye
        mirrored = eye_from_disc(replace(image, pixels=np.ascontiguousarray(image.pixels[:, ::-1])))
        assert {straight, mirrored} == {"OD", "OS"}


def test_a_photograph_on_its_head_is_not_taken_for_the_other_eye() -> None:
    wrong, told = 0, []
    for seed in range(12):
        image = draw_fundus("normal", seed=seed, size_px=256).image
        turned = replace(image, pixels=np.ascontiguousarray(image.pixels[::-1, ::-1]))
        side = side_from_disc(turned, upside_down=0.5)
        if side.disc is not None:
            told.append(side.upside_down)
            wrong += side.eye not in ("", image.eye)
    assert len(told) >= 9
    assert wrong <= 1
    assert np.median(told) > 0.5


def test_a_quarter_turn_gives_no_sure_answer() -> None:
    sure = 0
    for seed in range(8):
        image = draw_fundus("normal", seed=seed, size_px=256).image
        for turns in (1, 3):
            side = side_from_disc(replace(image, pixels=np.ascontiguousarray(np.rot90(image.pixels, turns))))
            sure += side.eye != "" and side.confidence > 0.9
    assert sure <= 1


def test_what_is_no_photograph_tells_no_eye() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3)).astype(np.uint8)
    assert eye_from_disc(RetinalImage(noise, "noise")) == ""
    scan = draw_oct("normal", seed=1, width_px=256, height_px=200).image
    assert side_from_disc(scan).reason == "no fundus photograph"
    assert eye_from_disc(replace(scan, modality="")) == ""
    black = side_from_disc(RetinalImage(np.zeros((90, 90, 3), np.uint8), "black"))
    assert (black.eye, black.disc, black.reason) == ("", None, "nothing can be seen")
    assert math.isnan(black.upside_down)


def test_an_impossible_share_is_refused() -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        side_from_disc(RetinalImage(np.zeros((90, 90, 3), np.uint8), "black"), upside_down=1.5)


def test_the_disc_tells_the_eye_of_real_photographs(realdata: Path) -> None:
    with (realdata / "fundus-odir3" / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))[::20]
    answers = []
    for row in rows:
        pixels = np.asarray(Image.open(realdata / "fundus-odir3" / "images" / row["file"]).convert("RGB"))
        answers.append((eye_from_disc(RetinalImage(pixels, row["file"])), eye_from_word(row["eye"])))
    answered = [mine == true for mine, true in answers if mine]
    assert len(rows) > 60
    assert len(answered) >= 0.7 * len(rows)
    assert np.mean(answered) >= 0.95


@pytest.mark.parametrize(
    ("claims", "eye", "named"),
    [
        ({}, "", []),
        ({"DICOM tag": "", "file name": ""}, "", []),
        ({"DICOM tag": "OD", "table": "OD", "file name": "", "disc position": "OD"}, "OD", []),
        ({"file name": "OS"}, "OS", []),
        ({"disc position": "OS", "file name": ""}, "OS", []),
        ({"table": "OD", "disc position": "OS"}, "OD", ["table says OD", "disc position says OS"]),
        ({"DICOM tag": "OD", "table": "OS"}, "", ["DICOM tag says OD", "table says OS"]),
        ({"DICOM tag": "OD", "table": "OD", "file name": "OS"}, "", ["DICOM tag", "table", "file name says OS"]),
        ({"table": "OD", "file name": "OS", "disc position": "OS"}, "", ["table", "file name", "disc position"]),
    ],
)
def test_claims_are_reconciled_and_contradictions_told(claims: dict[str, Eye], eye: str, named: list[str]) -> None:
    answer = reconcile(claims)
    assert answer.eye == eye
    assert bool(answer.conflict) == bool(named)
    assert [words for words in named if words not in answer.conflict] == []


def test_the_disc_may_have_its_name_from_the_constant() -> None:
    assert reconcile({DISC_POSITION: "OD", "table": "OS"}).eye == "OS"


def test_a_claim_that_is_no_eye_is_refused() -> None:
    with pytest.raises(ValueError, match="table: the eye must be"):
        reconcile({"table": "left"})  # type: ignore[dict-item]

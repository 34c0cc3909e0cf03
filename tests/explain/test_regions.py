"""The partition of the field, by hand, turned, mirrored, and for eyes that do not fit."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyeground.data.preprocessing import Preprocessing
from eyeground.explain.anatomy import Anatomy
from eyeground.explain.frame import Frame
from eyeground.explain.regions import TITLES, Regions, regions
from eyeground.images.disc import Disc
from eyeground.images.fovea import Fovea
from eyeground.images.retinal_image import Eye

SIDE = 400
FRAME = Frame(SIDE, SIDE, Preprocessing(image_px=SIDE, fit="squash"))
ALL = np.ones((SIDE, SIDE), bool)
SIX = ["optic disc", "macula", "superior arcade", "inferior arcade", "nasal periphery", "temporal periphery"]


def anatomy(eye: str = "OD", *, apart: float = 100.0, turn: float = 0.0, radius: float = 18.0) -> Anatomy:
    """A fovea in the middle and a disc on the side of the nose; turned clockwise by degrees."""
    angle = math.radians(turn) + (0 if eye == "OD" else math.pi)
    x, y = SIDE / 2 + apart * math.cos(angle), SIDE / 2 + apart * math.sin(angle)
    return Anatomy(Disc(x, y, radius, 0.9), Fovea(SIDE / 2, SIDE / 2, 0.9), "")


def name_at(found: Regions, x: float, y: float) -> str:
    """The one region that holds a place."""
    names = [name for name, mask in found.masks.items() if mask[round(y), round(x)]]
    assert len(names) == 1
    return names[0]


def test_by_hand_for_a_right_eye() -> None:
    found = regions(anatomy(), FRAME, ALL, eye="OD")
    assert list(found.masks) == SIX
    assert found.reason == ""
    middle = SIDE / 2  # disc at 300; 4.7 mm are 100 px: the macula ends at 63.8, the arcades at 135
    for x, y, name in [
        (300, 200, "optic disc"), (300 + 26, 200, "optic disc"), (300 - 26, 200, "optic disc"),
        (middle, middle, "macula"), (middle - 63, middle, "macula"), (middle, middle + 63, "macula"),
        (middle, middle - 66, "superior arcade"), (middle, middle + 66, "inferior arcade"),
        (middle - 100, middle - 5, "superior arcade"), (middle - 100, middle + 5, "inferior arcade"),
        (middle, middle - 134, "superior arcade"), (middle + 5, middle - 137, "nasal periphery"),
        (middle - 140, middle, "temporal periphery"), (middle + 140, middle, "nasal periphery"),
        (2, 2, "temporal periphery"), (397, 397, "nasal periphery"),
    ]:  # fmt: skip
        assert name_at(found, x, y) == name, (x, y)


def test_a_left_eye_is_the_mirror_image() -> None:
    right = regions(anatomy("OD"), FRAME, ALL, eye="OD")
    mirrored = Anatomy(Disc(SIDE - 1 - 300.0, 200.0, 18.0, 0.9), Fovea(SIDE - 1 - 200.0, 200.0, 0.9), "")
    left = regions(mirrored, FRAME, ALL, eye="OS")
    for name in SIX:
        assert np.array_equal(left.masks[name], right.masks[name][:, ::-1]), name


@pytest.mark.parametrize("turn", [-40, -10, 15, 40])
@pytest.mark.parametrize("eye", ["OD", "OS"])
def test_superior_turns_with_the_photograph(eye: Eye, turn: float) -> None:
    found = regions(anatomy(eye, turn=turn), FRAME, ALL, eye=eye)
    angle = math.radians(turn - 90)  # straight up before the turn
    x, y = SIDE / 2 + 100 * math.cos(angle), SIDE / 2 + 100 * math.sin(angle)
    assert name_at(found, x, y) == "superior arcade"
    assert name_at(found, SIDE - x, SIDE - y) == "inferior arcade"


def test_a_disc_on_the_wrong_side_gives_no_regions_and_says_so() -> None:
    for turned in (anatomy("OD", turn=180), anatomy("OS")):
        found = regions(turned, FRAME, ALL, eye="OD")
        assert found.masks == {}
        assert found.reason == (
            "the disc is on the side of the other eye: OD is stated, and it shows OS if it stands upright"
        )
    assert "lies on its side" in regions(anatomy(turn=80), FRAME, ALL, eye="OD").reason
    assert "lies on its side" in regions(anatomy(turn=-90), FRAME, ALL).reason


def test_of_an_eye_that_is_not_known_both_arcades_are_one() -> None:
    found = regions(anatomy(), FRAME, ALL)
    assert list(found.masks) == ["optic disc", "macula", "arcades", "nasal periphery", "temporal periphery"]
    known = regions(anatomy(), FRAME, ALL, eye="OD")
    assert np.array_equal(found.masks["arcades"], known.masks["superior arcade"] | known.masks["inferior arcade"])
    assert set(TITLES) == set(SIX) | {"arcades"}
    assert all(set(words) == {"en", "zh"} for words in TITLES.values())


@pytest.mark.parametrize("missing", [{"disc": None}, {"fovea": None}])
def test_what_is_not_found_is_not_guessed(missing: dict[str, Any]) -> None:
    whole = anatomy()
    found = regions(Anatomy(**({"disc": whole.disc, "fovea": whole.fovea} | missing), reason="why"), FRAME, ALL)
    assert (found.masks, found.reason) == ({}, "why")
    with pytest.raises(ValueError, match="as large as the square"):
        regions(whole, FRAME, ALL[:10])


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["OD", "OS"]),
    st.floats(30, 250),
    st.floats(-44, 44),
    st.floats(3, 60),
    st.sampled_from([True, False]),
)
def test_regions_are_a_partition_of_what_is_visible(
    eye: Eye, apart: float, turn: float, radius: float, known: bool
) -> None:
    y, x = np.mgrid[:SIDE, :SIDE]
    visible = np.hypot(x - 190, y - 210) < 170
    found = regions(anatomy(eye, apart=apart, turn=turn, radius=radius), FRAME, visible, eye=eye if known else "")
    assert np.array_equal(sum(mask.astype(int) for mask in found.masks.values()), visible.astype(int))
    assert all(mask.any() for mask in found.masks.values())


def test_a_squashed_square_has_squashed_regions() -> None:
    frame = Frame(200, 400, Preprocessing(image_px=100, fit="squash"))
    found = regions(Anatomy(Disc(300.0, 100.0, 20.0, 0.9), Fovea(200.0, 100.0, 0.9), ""), frame,
                    np.ones((100, 100), bool), eye="OD")  # fmt: skip
    macula = found.masks["macula"]
    high, wide = np.ptp(np.flatnonzero(macula.any(axis=1))) + 1, np.ptp(np.flatnonzero(macula.any(axis=0))) + 1
    assert high / wide == pytest.approx(2, rel=0.1)

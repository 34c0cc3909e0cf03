"""Shares by hand, and when nothing may be named."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eyeground.data.task import Head
from eyeground.explain.evidence import (
    CAPTION,
    LEAST_DENSITY,
    Region,
    abnormal_areas,
    evidence,
    healthy_answer,
)
from eyeground.explain.heat_map import HeatMap
from eyeground.explain.regions import Regions


def heat(values: NDArray[Any]) -> HeatMap:
    return HeatMap(values.astype(np.float32), "m", "t")


def quarters() -> Regions:
    masks = {}
    for number, name in enumerate(["optic disc", "macula", "arcades"]):
        masks[name] = np.zeros((4, 4), bool)
        masks[name][number] = True
    return Regions(masks)  # the last row is black around the photograph


def test_by_hand() -> None:
    values = np.array([[1, 1, 1, 1], [8, 0, 0, 0], [0, 0, 2, 2], [1, 1, 1, 1]])  # 20 in all, 4 of it outside
    found = evidence(heat(values), quarters())
    assert [(each.name, each.share, each.area) for each in found] == [
        ("optic disc", 0.2, 1 / 3), ("macula", 0.4, 1 / 3), ("arcades", 0.2, 1 / 3),
    ]  # fmt: skip
    assert [each.density for each in found] == pytest.approx([0.6, 1.2, 0.6])
    assert [each.contains_peak for each in found] == [False, True, False]
    assert found[1].to_json()["share"] == 0.4


def test_even_heat_has_a_density_of_one() -> None:
    regions = Regions({name: np.kron(mask, np.ones((3, 3), bool)) for name, mask in quarters().masks.items()})
    whole = np.logical_or.reduce(list(regions.masks.values()))
    assert [each.density for each in evidence(heat(whole), regions)] == pytest.approx([1, 1, 1])


def test_no_evidence_without_heat_or_regions() -> None:
    assert evidence(heat(np.zeros((4, 4))), quarters()) == []
    assert evidence(heat(np.ones((4, 4))), Regions(reason="no optic disc is found")) == []
    with pytest.raises(ValueError, match="share one square"):
        evidence(heat(np.ones((5, 4))), quarters())


def dense(**densities: float) -> list[Region]:
    return [Region(name, 0.1, 0.1, density, False) for name, density in densities.items()]


def test_the_densest_come_first_and_at_most_three() -> None:
    found = dense(a=LEAST_DENSITY, b=9.0, c=LEAST_DENSITY - 0.01, d=5.0, e=7.0)
    assert abnormal_areas(found, positive=True) == ["b", "e", "d"]
    assert abnormal_areas(dense(a=LEAST_DENSITY, c=LEAST_DENSITY - 0.01), positive=True) == ["a"]


def test_without_evidence_nothing_is_named() -> None:
    found = dense(a=9.0)
    assert abnormal_areas(found, positive=False) == []
    assert abnormal_areas(found, positive=True, reason="no fovea is found") == []
    assert abnormal_areas([], positive=True) == []
    assert set(CAPTION) == {"en", "zh"}


@pytest.mark.parametrize(
    "name",
    ["normal", "Normal", "healthy", "no_dr", "NoDR", "No DR", "no-dr", "negative", "正常", "N", "NO", "1_normal",
     "normal_control", "anoDR", "0", "anormal", "No finding"],
)  # fmt: skip
def test_words_for_healthy(name: str) -> None:
    head = Head("label", "classes", ("drusen", name))
    assert healthy_answer(head, 1)
    assert not healthy_answer(head, 0)


@pytest.mark.parametrize(
    "name", ["abnormal", "mild", "non-proliferative DR", "NPDR", "dr1", "1", "异常", "cnv", "normal tension glaucoma"]
)
def test_words_that_only_look_so(name: str) -> None:
    assert not healthy_answer(Head("label", "classes", ("x", name)), 1)


def test_other_kinds_of_heads() -> None:
    grades = Head("DR", "grades", ("mild", "normal"))  # the order says which is the lowest
    assert [healthy_answer(grades, index) for index in (0, 1)] == [True, False]
    assert [healthy_answer(Head("AMD"), index) for index in (0, 1)] == [True, False]
    assert healthy_answer(Head("age", "quantity"), 0)
    with pytest.raises(ValueError, match="AMD has no answer 2"):
        healthy_answer(Head("AMD"), 2)

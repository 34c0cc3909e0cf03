"""The picture of label efficiency: every draw is there, and what has no value is not drawn as one."""

import math

from eyeground.evaluate.confidence import Estimate
from eyeground.evaluate.probe_plots import ProbePoint, label_efficiency


def points(shift: float = 0.0) -> list[ProbePoint]:
    """Three draws of each fraction."""
    return [
        ProbePoint(fraction, int(800 * fraction) + draw, Estimate(0.6 + fraction / 4 + shift, 0.5, 0.95))
        for fraction in (0.01, 0.1, 1.0)
        for draw in range(3)
    ]


def test_it_names_probes_fractions_and_images() -> None:
    drawn = label_efficiency({"logistic regression": points(), "白": points(0.05)}, measure="macro AUROC")
    for word in ("logistic regression", "白", "1%", "10%", "100%", ">801", "macro AUROC", "labelled training images"):
        assert word in drawn
    assert drawn == label_efficiency({"logistic regression": points(), "白": points(0.05)}, measure="macro AUROC")


def test_a_value_that_is_undefined_is_left_out() -> None:
    missing = ProbePoint(0.5, 400, Estimate(math.nan, reason="class 'drusen' is absent"))
    assert "50%" not in label_efficiency({"knn": [*points(), missing]}, measure="m")
    assert "no probe has a value" in label_efficiency({"knn": [missing]}, measure="m")
    assert ">none<" not in label_efficiency({"knn": points(), "none": [missing]}, measure="m")


def test_a_single_point_without_an_interval_is_drawn() -> None:
    assert "100%" in label_efficiency({"knn": [ProbePoint(1.0, 20, Estimate(0.7, reason="one patient"))]}, measure="m")

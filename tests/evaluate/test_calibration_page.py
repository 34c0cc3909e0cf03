"""The page of a calibration: complete, self-contained, safe against hostile names, and silent about nothing."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from eyeground.evaluate.calibrate import fit_calibration, measure_calibration
from eyeground.evaluate.calibration_narrative import limits, sentences
from eyeground.evaluate.calibration_page import CalibrationFacts, render_calibration
from eyeground.evaluate.calibration_plots import coverage_by_class, set_sizes
from eyeground.evaluate.confidence import Estimate
from eyeground.evaluate.predictions import Predictions
from eyeground.evaluate.thresholds import positives
from eyeground.evaluate.wording import decimal

from .test_calibrate import pair
from .test_report import HOSTILE, Page, pictures

SECTIONS = ["says", "scores", "thresholds", "sets", "limits", "files"]
FACTS = CalibrationFacts(
    date="2026-12-01T09:30+08:00",
    command="eyeground calibrate runs/a",
    weights_sha="1a2b" * 16,
    files={"predictions_val.csv": "9f8e" * 16},
)


def page_of(tables: tuple[Predictions, Predictions], facts: CalibrationFacts = FACTS, **asked: Any) -> tuple[str, Page]:
    validation, test = tables
    called = positives(validation.classes, ordered=validation.ordered)
    made = fit_calibration(validation, resamples=60, called=called, **{"rules": [("sensitivity", 0.9)], **asked})
    scores = measure_calibration(made, validation=validation, test=test, resamples=60)
    text = render_calibration(title="odir", calibration=made, scores=scores, test=test, facts=facts)
    page = Page(text)
    assert page.open == []
    told = re.sub(r"\s+", " ", page.text)
    for sentence in (*sentences(made, scores), *limits(made, scores)):
        assert sentence in told
    return text, page


@pytest.mark.parametrize(("count", "per_class"), [(2, False), (3, True), (7, False)])
def test_every_section_is_there_and_nothing_is_fetched(count: int, per_class: bool) -> None:
    text, page = page_of(pair(count=count), per_class=per_class)
    assert [attributes["id"] for _, attributes in page.tags if attributes.get("id")] == SECTIONS
    assert not any(tag in {"script", "link", "iframe", "object", "form"} for tag, _ in page.tags)
    sources = [attributes.get("src") or attributes.get("href") or "" for _, attributes in page.tags]
    assert all(source.startswith(("data:image/", "#")) for source in sources if source)
    assert "url(" not in text
    assert len(pictures(page)) == 4
    for fact in ("eyeground calibrate runs/a", "1a2b1a2b1a2b1a2b", "9f8e" * 16, "60 resamples", "of its own"):
        assert (fact in page.text) == (fact != "of its own" or per_class)


def test_the_numbers_of_the_page_are_those_of_the_calibration() -> None:
    validation, test = pair(ordered=True)
    _, page = page_of((validation, test))
    made = fit_calibration(
        validation, resamples=60, called=positives(validation.classes, ordered=True), rules=[("sensitivity", 0.9)]
    )
    found = measure_calibration(made, validation=validation, test=test, resamples=60)
    for number in (
        made.temperature.low,
        found.sets.coverage.value,
        found.sets.right.high,
        found.test.changes["brier"].after.value,
        made.thresholds[-1].value.value,
        found.test.thresholds[-1][1].low,
    ):
        assert decimal(number) in page.text or decimal(number, 2) in page.text
    assert "≥ cataract" in page.text


def test_hostile_names_are_names() -> None:
    changes = {"classes": ("normal", HOSTILE, "b")}
    facts = replace(FACTS, command=HOSTILE, files={HOSTILE: "00"})
    text, page = page_of(pair(**changes), facts)
    assert "<script" not in text
    assert not any("evil" in (attributes.get("src") or "") for _, attributes in page.tags)
    assert all("\u202e" not in "".join(tree.itertext()) for tree in pictures(page).values())


def test_nothing_to_show_is_said() -> None:
    _, page = page_of(pair(), CalibrationFacts("2026-12-01"), rules=())
    assert "No threshold was asked for." in page.text
    assert "Nothing was recorded about the tables" in page.text
    validation, test = pair(rows=8)
    validation = replace(validation, truth=np.zeros(8, np.int64), patients=("p",) * 8)
    _, page = page_of((validation, replace(test, patients=("q",) * 8)), coverage=0.95, per_class=True)
    for words in ("scores are left as they are", "no image to choose on is", "always in", "No intervals"):
        assert words in page.text, words
    _, page = page_of((validation, test), coverage=0.95)
    assert "Every class is in every set: 8 validation images, and a coverage of 95% needs 19" in page.text


def test_large_sets_are_drawn_together_and_every_image_is_counted() -> None:
    sizes = np.arange(14)
    words = set_sizes(sizes)
    assert ">8+<" in words
    assert f"{sizes[8:].sum()}" in words
    assert "wanted 97.5%" in coverage_by_class(
        Estimate(0.9), [Estimate(float("nan"), reason="absent")], ["a"], [0], 0.975
    )

"""The report of a quantity: complete, self-contained, safe against hostile names, and silent about nothing."""

import re

import numpy as np
import pytest

from eyeground.evaluate import agreement_plots
from eyeground.evaluate.agreement import TITLES, agreement
from eyeground.evaluate.agreement_page import render_agreement, sentences
from eyeground.evaluate.measurements import Measurements
from eyeground.evaluate.report import ReportFacts

from .several import quantity
from .test_report import FACTS, HOSTILE, JOURNAL, Page, pictures, pixels

SECTIONS = ["says", "data", "agreement", "errors", "learning", "weights", "recipe"]


def page_of(made: Measurements, facts: ReportFacts = FACTS, **more: object) -> tuple[str, Page, str]:
    text = render_agreement(title="iop", table=made, agreement=agreement(made, resamples=40), facts=facts, **more)  # type: ignore[arg-type]
    page = Page(text)
    assert page.open == []
    return text, page, re.sub(r"\s+", " ", page.text)


def test_every_section_is_there_and_nothing_is_fetched() -> None:
    text, page, told = page_of(quantity(80), learning=JOURNAL, pixels=pixels)
    assert [attributes["id"] for _, attributes in page.tags if attributes.get("id")] == SECTIONS
    assert not any(tag in {"script", "link", "iframe", "object", "form"} for tag, _ in page.tags)
    sources = [attributes.get("src") or attributes.get("href") or "" for _, attributes in page.tags]
    assert all(source.startswith(("data:image/", "#")) for source in sources if source)
    assert "url(" not in text
    drawn = pictures(page)
    assert len(drawn) == 4  # scatter, Bland-Altman, histogram, learning
    words = " ".join("".join(tree.itertext()) for tree in drawn.values())
    for fact in ("epoch 2 chosen", "true IOP, mmHg", "upper limit", "bias", "prediction − truth, mmHg"):
        assert fact in words
    for fact in (*TITLES.values(), "1a2b1a2b1a2b1a2b", "two files were empty", "epochs: 3", "head.bias", "1.7 min",
                 "eyeground finetune a.yaml", "mmHg", "cannot be shown: the file is gone"):  # fmt: skip
        assert fact in told, fact
    assert ".kicker" in text  # the style of the evaluation report


def test_the_largest_errors_are_those_a_loop_finds_and_unknown_truth_is_none() -> None:
    truth = quantity(60).truth.copy()
    truth[:30] = np.nan
    made = quantity(60, truth=truth)
    _, page, told = page_of(made)
    rows = sorted(range(30, 60), key=lambda row: -abs(made.said[row] - made.truth[row]))[:12]
    files = re.findall(r"images/(\d+)\.png", page.text)
    assert files == [str(row) for row in rows]
    assert "30 images without known truth left out" in told


def test_hostile_names_are_inert_everywhere() -> None:
    made = quantity(60, name=HOSTILE, unit="{{ 7 * 7 }}<b>", files=tuple(f"{HOSTILE}/{row}.png" for row in range(60)))
    facts = ReportFacts(
        HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, {HOSTILE: {HOSTILE: 1}}, {HOSTILE: {HOSTILE: 1}}, {HOSTILE: 1},
        (HOSTILE,), {HOSTILE: [HOSTILE]}, HOSTILE, 1, 1.0, HOSTILE, HOSTILE,
    )  # fmt: skip
    text, page, told = page_of(made, facts, learning=JOURNAL, pixels=pixels)
    assert "<script" not in text
    assert not any("evil" in (attributes.get("src") or "") for _, attributes in page.tags)
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "\u202e" not in page.text.rsplit("Recipe", 1)[0]
    assert "{{ 7 * 7 }}" in told
    for tree in pictures(page).values():
        assert not [node for node in tree.iter() if node.tag.endswith("script")]


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_few_images_one_value_and_no_error_all_have_words(rows: int) -> None:
    made = quantity(6).select(np.arange(6) < rows)
    _, _, told = page_of(made, ReportFacts("run", "2026-12-01"))
    assert "nan" not in re.findall(r"\w+", told.lower())
    for words in ("No training belongs", "No pre-trained weights", "No configuration", "No finding about the data"):
        assert words in told
    if rows == 1:
        assert "one image has no spread" in told
        assert "whether it does better than one guess for all cannot be said: one image has no spread" in told
    perfect = quantity(6, said=quantity(6).truth)
    assert "No image is off at all" in page_of(perfect)[2]


def test_the_sentences_say_what_the_numbers_say() -> None:
    made = quantity(200)
    whole, way, limits = sentences(made, agreement(made, resamples=200))
    assert re.search(r"off by \d\.\d\d mmHg \(95% interval .* explains \d\d% of their spread", whole)
    assert "It reads high by 1." in way
    assert "95 of 100 single images" in way
    assert "patients, cameras and graders like these" in limits
    low = quantity(200, said=made.truth - 2.0 * (made.said - made.truth))
    assert "It reads low by" in sentences(low, agreement(low, resamples=200))[1]
    even = quantity(200, said=made.said - np.mean(made.said - made.truth))
    assert sentences(even, agreement(even, resamples=200))[1].startswith("No bias is shown")
    poor = quantity(200, said=made.truth[::-1].copy())
    assert "no better than guessing their mean" in sentences(poor, agreement(poor, resamples=200))[0]
    alone = quantity(30, patients_known=False, patients=quantity(30).files)
    limits = sentences(alone, agreement(alone, resamples=50))[2]
    assert "patients are not known" in limits
    assert "30 images are too few for limits of agreement" in limits


def test_many_points_are_drawn_as_pixels_and_few_as_shapes() -> None:
    for rows, pixel in ((100, False), (5000, True)):
        made = quantity(rows)
        assert ("data:image/png;base64" in agreement_plots.scatter(made, agreement(made, resamples=4))) is pixel


def test_the_same_page_twice_is_the_same_text() -> None:
    assert page_of(quantity(30))[0] == page_of(quantity(30))[0]

"""The page of a comparison: complete, self-contained, safe against hostile names, and silent about nothing."""

import re
from dataclasses import replace
from typing import Any

import pytest

from eyeground.evaluate.comparison import Comparison, compare_cells
from eyeground.evaluate.comparison_page import ComparisonFacts, markdown, render_comparison
from eyeground.evaluate.wording import decimal

from .grids import grid
from .test_report import HOSTILE, Page, pictures

SECTIONS = ["verdict", "numbers", "pictures", "tests", "meaning", "weights", "pretraining", "recipe"]
FACTS = ComparisonFacts(
    date="2026-12-01T09:30+08:00",
    command="eyeground compare a.yaml",
    config_yaml="epochs: 3\n",
    data_fingerprint="9f8e" * 16,
    device="CPU",
    load_reports={"mae-probe-0": {"loaded": 150, "new": ["head.weight", "head.bias"]}, "random-probe-0": {"new": 152}},
    pretraining={"mae": {"epochs": 100, "final loss": 0.41234567, "collapsed": False, "rank": None, "steps": (1, 2)}},
    notes=("one run failed",),
)


def page_of(made: Comparison, facts: ComparisonFacts = FACTS) -> tuple[str, Page]:
    text = render_comparison(title="odir", comparison=made, facts=facts)
    page = Page(text)
    assert page.open == []
    return text, page


@pytest.fixture(scope="module")
def found() -> Comparison:
    cells = grid({"random": 0.1, "imagenet": 0.2, "mae": 2.5}, fractions=(0.1, 1.0))
    return compare_cells(cells, profiles=("standard", "retfound2023", "retfound2025"), resamples=200)


def test_every_section_is_there_and_nothing_is_fetched(found: Comparison) -> None:
    text, page = page_of(found)
    assert [attributes["id"] for _, attributes in page.tags if attributes.get("id")] == SECTIONS
    assert not any(tag in {"script", "link", "iframe", "object", "form"} for tag, _ in page.tags)
    sources = [attributes.get("src") or attributes.get("href") or "" for _, attributes in page.tags]
    assert all(source.startswith(("data:image/", "#")) for source in sources if source)
    assert "url(" not in text
    assert len(pictures(page)) == 3
    told = re.sub(r"\s+", " ", page.text)
    for fact in (
        *found.verdict,
        *found.limits,
        "one run failed",
        "eyeground compare a.yaml",
        "epochs: 3",
        "head.bias",
        "0.4123",
        "not known",
        "1, 2",
        "9f8e9f8e9f8e9f8e",
    ):
        assert fact in told
    assert told.index(found.verdict[0]) < told.index("Mean ± s.d. over seeds")
    assert ".kicker" in text  # the style of the evaluation report


def test_every_mean_of_every_profile_is_on_the_page(found: Comparison) -> None:
    _, page = page_of(found)
    told = re.sub(r"\s+", " ", page.text)
    for line in found.summary:
        if line["mean"] == line["mean"]:
            text = f"{decimal(line['mean'])} ± {decimal(line['sd'])}"
            assert text in told, line
    assert told.count("pairs") >= 4


def test_better_and_no_difference_are_told_apart_by_word_and_shape(found: Comparison) -> None:
    _, page = page_of(found)
    glance = page.text.split("In words")[0]
    assert "▲better" in re.sub(r"\s+", "", glance)
    assert "○nodifferenceshown" in re.sub(r"\s+", "", glance)


def test_planned_and_other_pairs_are_told_apart() -> None:
    cells = grid({"vit": 0.1, "vit mae": 1.0, "net": 0.2, "net simclr": 2.0}, ways=("probe",))
    asked = {"net simclr": "net", "vit mae": "vit"}
    made = compare_cells(cells, references=asked, resamples=50)
    told = re.sub(r"\s+", " ", page_of(made)[1].text)
    planned = told.index("planned: adjusted among 2 pairs")
    other = told.index("other: adjusted over all 6 pairs")
    assert planned < other
    assert told[planned:other].count("net simclr") == told[planned:other].count("vit mae") == 1
    assert "Planned comparisons" in told
    assert "Holm, Scand J Stat 1979" in told
    rows = [[each.strip() for each in line.split("|")[1:-1]] for line in markdown(made).splitlines()]
    where = rows[0].index("compared with")
    assert {row[2]: row[where] for row in rows[2:]} == {"vit": "", "net": "", **asked}
    for row in rows[2:]:
        assert bool(row[where + 1]) == bool(row[where + 2]) == (row[2] in asked)
    none = compare_cells(cells, references={}, resamples=50)
    told = re.sub(r"\s+", " ", page_of(none)[1].text)
    assert "No comparison was planned" in told
    assert "not planned: adjusted over all 6 pairs" in told
    assert "Forest plot" not in page_of(none)[0]
    apart = [cell for cell in cells if cell.init != "vit mae"]
    apart += [replace(cell, way="finetune") for cell in cells if cell.init == "vit mae"]
    text = page_of(compare_cells(apart, references={"vit mae": "vit"}, resamples=50))[1].text
    assert "No initialization was run in the same way" in text


def test_hostile_names_are_inert_everywhere() -> None:
    made = compare_cells(grid({HOSTILE: 0.1, "{{ 7 * 7 }}{% raw %}": 1.0}, ways=(HOSTILE, "probe")), resamples=20)
    hostile: dict[str, Any] = {HOSTILE: {HOSTILE: [HOSTILE]}}
    facts = ComparisonFacts(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, hostile, hostile, (HOSTILE,))
    text, page = page_of(made, facts)
    assert "<script" not in text
    assert not any("evil" in (attributes.get("src") or "") for _, attributes in page.tags)
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "\u202e" not in page.text.rsplit("Recipe", 1)[0]
    assert "{{ 7 * 7 }}" in page.text
    for tree in pictures(page).values():
        assert not [node for node in tree.iter() if node.tag.endswith("script")]
    table = markdown(made)
    assert "<script" not in table
    assert all(line.count("|") - line.count("\\|") == table.splitlines()[1].count("|") for line in table.splitlines())


def test_nothing_to_show_is_said() -> None:
    _, page = page_of(compare_cells(grid({"mae": 1.0}, seeds=1), resamples=20), ComparisonFacts("2026-12-01"))
    for words in (
        "there is one initialization only",
        "There is no pair to compare.",
        "Nothing was recorded about loading weights.",
        "No pre-training of our own",
        "No configuration was recorded.",
    ):
        assert words in page.text
    truth = grid({"a": 1.0})[0].predictions.truth.copy()
    truth[truth == 2] = 0
    _, page = page_of(compare_cells(grid({"random": 0.2, "mae": 1.0}, truth=truth), resamples=20))
    assert "class 'glaucoma' is absent" in page.text
    assert "not tested" in page.text
    assert "nan" not in re.findall(r"\w+", page.text.lower())


def test_a_profile_alone_and_a_headline_outside_it_are_shown() -> None:
    made = compare_cells(grid({"random": 0.2, "mae": 1.0}), profiles=["retfound2025"], resamples=20)
    _, page = page_of(made)
    assert "Roc auc" in page.text
    assert "Roc auc" in markdown(made)


def test_the_table_has_a_line_per_way_share_and_initialization(found: Comparison) -> None:
    lines = markdown(found).splitlines()
    assert len(lines) == 2 + 2 * 2 * 3
    assert len({line.count("|") for line in lines}) == 1
    line = next(each for each in lines if each.startswith("| fine-tuning | 100% | mae |"))
    mean = next(
        each
        for each in found.summary
        if (each["init"], each["way"], each["fraction"], each["metric"]) == ("mae", "finetune", 1.0, "auroc_macro")
    )
    assert f"{decimal(mean['mean'])} ± {decimal(mean['sd'])} [{decimal(mean['low'])}–{decimal(mean['high'])}]" in line


def test_the_same_page_twice_is_the_same_text(found: Comparison) -> None:
    assert page_of(found)[0] == page_of(found)[0]

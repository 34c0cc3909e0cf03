"""The model card: all that a reader has to know, nothing that was not measured, no word that breaks its tables."""

import re
from typing import Any

import pytest

from eyeground.data.task import Head, Task, classification
from eyeground.serve.card import render_card

from .contracts import SCREENING, contract
from .stand_in import contract_of

RECORD: dict[str, Any] = {
    "name": "clinic-2027",
    "made": "2027-01-02T03:04:05+00:00",
    "eyeground": "0.1.0",
    "runtimes": {"torch": {"fp32": {"says": "differs by at most 0.0e+00 on 12 images: passes"}}},
    "weights_for": [],
    "start": {"weights": "RETFound", "licence": "CC-BY-NC-4.0", "forbids": "No commercial use."},
    "data": {"images": 60, "patients": 30, "splits": {"train": 40, "val": 20}},
    "data_fingerprint": "ab" * 32,
}
METRICS: dict[str, Any] = {
    "n": 20,
    "patients": 10,
    "patients_known": True,
    "headline": {
        "auroc_macro": {"value": 0.91234, "low": 0.8, "high": 0.95},
        "f1_macro": {"value": 0.5, "low": None, "high": None},
        "kappa": {"value": None, "low": None, "high": None, "reason": "one class | only"},
        "auroc_present": {"value": 1.0, "low": None, "high": None},
    },
}


def tables(card: str) -> list[list[str]]:
    """Its tables, each a list of rows."""
    return [found.splitlines() for found in re.findall(r"(?:^\|.*\n)+", card + "\n", re.MULTILINE)]


def test_it_says_what_was_measured_and_what_was_not() -> None:
    card = render_card(contract(), RECORD, METRICS)
    for word in (
        "# clinic-2027", "color fundus photographs", "not a diagnosis", "60 images of 30 patients",
        "train 40, val 20. No patient is in two of them.", "Licence: **CC-BY-NC-4.0**. No commercial use.",
        "| auroc_macro | 0.912 [0.800-0.950] |", "| f1_macro | 0.500 |", "| kappa | undefined: one class / only |",
        "20 images of 10 patients", "## Limits", "ab" * 32,
    ):  # fmt: skip
        assert word in card, word
    assert "auroc_present" not in card
    assert "Calibration" not in card
    assert "None" not in card


def test_it_claims_nothing_that_is_not_known() -> None:
    start = {"weights": "not known", "licence": "not known", "forbids": ""}
    record = RECORD | {"data": None, "data_fingerprint": "", "start": start}
    card = render_card(contract(modality=""), record, {})
    for word in (
        "keeps no list of its images", "Nothing: the run has no test images", "Licence: **not known**.",
        "It does not tell one kind of image from another",
    ):  # fmt: skip
        assert word in card, word
    assert "Fingerprint" not in card
    assert "No patient is in two" not in card
    unknown = RECORD | {"data": {"images": 60, "patients": 0, "splits": {"train": 60}}}
    card = render_card(contract(), unknown, METRICS)
    assert "60 images:" in card
    assert "No patient is in two" not in card
    assert "a patient may be in two of them" in card


def test_hostile_names_stay_in_their_cells() -> None:
    bad = "a|b `rm`\n# Head <img src=x onerror=y>"
    task = Task("heads", (Head("AMD"), Head("DR", "classes", ("fine", bad)), Head("IOP", "quantity", unit="mmHg|x")))
    card = render_card(contract(task), RECORD | {"name": bad}, METRICS)
    for table in tables(card):
        assert {row.replace("\\|", "").count("|") for row in table} == {table[0].count("|")}
    assert not re.search(r"^# Head", card, re.MULTILINE)
    assert "<img" not in card
    assert "| IOP | a number, mmHg/x | IOP | IOP |" in card


def test_every_head_and_class_has_its_line_in_both_languages() -> None:
    card = render_card(contract(SCREENING, titles={"DR/2": {"en": "Moderate", "zh": "中度"}}), RECORD, METRICS)
    rows = tables(card)[0][2:]
    assert len(rows) == 2 + 5 + 1
    assert "| DR | 2 | Moderate | 中度 |" in rows
    assert "| ratio | a number | ratio | ratio |" in rows
    assert "Shown by their label, for want of a title:" in card
    assert "Shown by their label" not in render_card(
        contract(classification(("x", "y")), titles={name: {"en": "X", "zh": "甲"} for name in ("label", "x", "y")}),
        RECORD,
        METRICS,
    )


def test_a_calibration_is_told_with_its_thresholds() -> None:
    made = contract_of(calibrated=True)
    assert made.calibrations
    card = render_card(made, RECORD, METRICS)
    [calibration] = made.calibrations.values()
    assert f"Temperature {calibration.temperature.value:.3f}" in card
    assert f"{100 * calibration.sets.coverage:.0f}% of images" in card
    for column, line in zip(calibration.threshold_columns, calibration.thresholds, strict=True):
        row = f"| {column.removeprefix('positive_')} | {line.rule} {line.target} | {line.value.value:.4f} |"
        assert (row in card) == line.value.defined
    assert "| nan |" not in card


@pytest.mark.parametrize("modality", ["fundus", "oct", "anterior", ""])
def test_every_modality_has_words(modality: str) -> None:
    card = render_card(contract(modality=modality), RECORD, METRICS)
    assert ("is not graded" in card) == bool(modality)

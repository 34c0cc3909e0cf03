"""Our runs beside published rows: nothing invented, nothing hidden, by words that follow from the numbers."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from eyeground.evaluate.confidence import Estimate
from eyeground.evaluate.profiles import retfound2023
from eyeground.evaluate.published import published
from eyeground.evaluate.reproduction import METRICS, OCT_METRICS, Reproduction, Rerun, by_oct_study, remark, sentences
from eyeground.evaluate.reproduction_page import render_reproduction
from eyeground.evaluate.reproduction_table import as_csv, markdown

from .drawn import table

NUMBERS = {metric: Estimate(0.95, 0.93, 0.97) for metric in METRICS}
RUN = Rerun("octid", "torch", "done", "torch/octid", 174, NUMBERS, {m: Estimate(0.9, 0.8, 0.95) for m in OCT_METRICS})


def page_of(*reruns: Rerun, engines: tuple[str, ...] = ("torch",)) -> str:
    found = Reproduction({"octid": "OCTID", "retina": "Retina"}, engines, reruns)
    return render_reproduction(found, date="2026-12-01", command="eyeground reproduce", recipe="epochs: 50")


def test_the_oct_study_s_metrics_are_the_profile_s() -> None:
    predictions = table(rows=90, count=5)
    expected = retfound2023.values(predictions.truth, predictions.scores)
    found = by_oct_study(predictions, resamples=200)
    assert {metric: found[metric].value for metric in OCT_METRICS} == pytest.approx(expected)
    assert all(each.low < each.value < each.high for each in found.values())


def test_an_unpredicted_class_has_its_reason_instead_of_a_number() -> None:
    drawn = table(rows=60, count=3)
    scores = np.tile([0.5, 0.3, 0.2], (60, 1))
    found = by_oct_study(replace(drawn, scores=scores), resamples=50)
    assert found["precision"].reason == "classes 'cataract' and 'glaucoma' are never predicted"
    assert not found["mcc"].defined
    assert found["sensitivity"].value == 0


@pytest.mark.parametrize(
    ("published_auroc_inside", "score"),
    [(True, Estimate(0.95, 0.93, 0.97)), (False, Estimate(0.90, 0.88, 0.92))],
)
def test_a_faithful_run_is_held_against_the_published_value(published_auroc_inside: bool, score: Estimate) -> None:
    run = replace(RUN, scores={**NUMBERS, "auroc_macro": score})
    [sentence] = sentences(Reproduction({"octid": "OCTID"}, ("torch",), (run,)))
    assert f"the published torch value, {published('octid')[0].values['roc_auc']}" in sentence
    assert ("lies inside" in sentence) == published_auroc_inside
    assert remark(run, 174) == ""


def test_other_settings_and_other_images_are_no_comparison() -> None:
    run = replace(RUN, test_images=170, differences=("epochs 2, not 50",))
    found = Reproduction({"octid": "OCTID"}, ("torch",), (run,))
    assert found.columns("octid")[-1].remark == (
        "not comparable: epochs 2, not 50; other test images: 170, published 174"
    )
    [sentence] = sentences(found)
    assert "inside" not in sentence
    assert "do not stand beside" in sentence


def test_in_every_form_our_row_beside_the_oct_study_is_no_comparison() -> None:
    # A run by the recipe itself: nothing of it differs from the Paddle study's torch rows.
    found = Reproduction({"octid": "OCTID"}, ("torch", "paddle"), (RUN,))
    caveat = "not comparable: the OCT study has weights and a recipe of its own, and does not say on how many images"
    for rows in (found.rows(), list(csv.DictReader(io.StringIO(as_csv(found))))):
        remarks = {(row["profile"], row["system"]): row["not_comparable"] for row in rows if row["study"] == "ours"}
        assert remarks["retfound2023", "torch"].startswith(caveat)
        assert remarks["retfound2025", "torch"] == ""
        assert remarks["retfound2023", "paddle"] == "", "what was not run needs no remark"
    [line] = [line for line in markdown(found).splitlines() if caveat in line]
    assert line.startswith("| ours, torch | done | 174 | 0.900")
    assert caveat in page_of(RUN)
    other = Reproduction({"octid": "OCTID"}, ("torch",), (replace(RUN, differences=("epochs 2, not 50",)),))
    assert other.oct_columns("octid")[-1].remark.startswith("not comparable: epochs 2, not 50; the OCT study has ")


def test_what_was_not_run_has_no_number_anywhere() -> None:
    waiting = replace(RUN, dataset="retina", state="not finished (epoch 3 of 50)")  # with numbers it may not show
    found = Reproduction({"octid": "OCTID", "retina": "Retina"}, ("torch", "paddle"), (RUN, waiting))
    for row in csv.DictReader(io.StringIO(as_csv(found))):
        if row["study"] == "ours" and (row["set"], row["system"]) != ("octid", "torch"):
            assert row["state"] in ("not run", "not finished (epoch 3 of 50)")
            assert row["value"] + row["low"] + row["high"] + row["test_images"] + row["seeds"] == ""
    lines = markdown(found).splitlines()
    [states] = [line for line in lines if line.startswith("| Retina |")]
    assert states.split(" | ")[-2:] == ["not finished (epoch 3 of 50)", "not run |"]
    auroc = lines[lines.index(states) + 3]
    assert auroc == "|  | Macro AUROC | 0.8559 | 0.8490 |  |  |"


def test_what_a_study_prints_as_nan_is_no_zero() -> None:
    rows = Reproduction({"octid": "OCTID"}, (), ()).rows()
    [row] = [row for row in rows if (row["system"], row["metric"]) == ("no pre-training", "mcc")]
    assert (row["value"], row["reason"]) == (None, "printed as nan")


def test_the_page_shows_and_escapes_what_went_wrong() -> None:
    hostile = "failed: <script>alert(1)</script>\u202e"
    page = page_of(replace(RUN, state=hostile), engines=("torch", "mindspore"))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "\u202e" not in page
    assert page.count("not run") > 1
    assert "0.9500" not in page
    assert 'href="torch/octid/report.html"' not in page
    assert 'href="torch/octid/report.html"' in page_of(RUN)


def test_a_cell_cannot_break_the_markdown_table() -> None:
    found = Reproduction({"octid": "OCTID"}, ("torch",), (replace(RUN, state="failed: a | b\nc"),))
    assert "| failed: a \\| b c |" in markdown(found)

"""What the pages of a run share."""

import numpy as np
import pytest

from eyeground.evaluate.confidence import Estimate
from eyeground.evaluate.run_page import embedded, how_intervals, in_words, learning_picture, limits_of, pictured

from .test_report import JOURNAL, pixels


def test_a_picture_that_is_missing_says_why_and_one_that_is_not_wanted_says_nothing() -> None:
    assert pictured(pixels, 0) == ("", "the file is gone")
    assert pictured(pixels, 1)[0].startswith("data:image/jpeg;base64,")
    assert pictured(None, 1) == ("", "")
    assert "(H, W, 3)" in pictured(lambda row: np.zeros((4, 4), np.uint8), 1)[1]
    assert embedded("") == ""


def test_learning_is_drawn_only_when_an_epoch_was_completed() -> None:
    assert learning_picture(JOURNAL, 2).startswith("data:image/svg+xml;base64,")
    assert learning_picture(JOURNAL[:1], None) == learning_picture((), None) == ""


@pytest.mark.parametrize(
    ("known", "patients", "words", "limit"),
    [
        (True, 1, "No intervals: all images are of one patient.", "no interval at all"),
        (True, 12, "over patients, 2,000", "with 12 patients the intervals are rough"),
        (False, 90, "over images (patients are not known)", "too narrow if patients have several"),
    ],
)
def test_what_weakens_intervals_is_said(known: bool, patients: int, words: str, limit: str) -> None:
    assert words in how_intervals(patients_known=known, patients=patients, resamples=2000, seed=0)
    assert limit in limits_of(patients_known=known, patients=patients)[1]


def test_a_value_without_an_interval_is_written_alone() -> None:
    assert in_words(Estimate(-0.5, reason="only 1 patient"), digits=1) == "−0.5"
    assert in_words(Estimate(2.0, 1.0, 3.0), digits=0, unit="mmHg") == "2 mmHg (95% interval 1 to 3)"

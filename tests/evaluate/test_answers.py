"""What a model says of images without known truth, as a table."""

from pathlib import Path

import numpy as np
import pytest

from eyeground.data.task import Head
from eyeground.evaluate.answers import answer_columns, write_answers, write_columns

NAN = np.nan


def test_what_cannot_be_graded_stays_empty_whatever_was_asked(tmp_path: Path) -> None:
    heads = (Head("AMD"), Head("DR", "grades", ("0", "1")), Head("CDR", "quantity"))
    scores = (np.array([[0.75], [NAN]]), np.array([[0.25, 0.75], [NAN, NAN]]), np.array([[0.4], [NAN]]))
    columns: dict[str, list[str]] = {}
    for head, said in zip(heads, scores, strict=True):
        columns |= answer_columns(head, said, alone=False)
    write_answers(
        tmp_path / "a.csv", files=["a", "b"], eyes=["OD", ""], quality=["good", "cannot grade: haze"], columns=columns
    )
    assert (tmp_path / "a.csv").read_text().splitlines() == [
        "file,eye,quality,prediction_AMD,score_AMD,prediction_DR,score_DR_0,score_DR_1,prediction_CDR",
        "a,OD,good,yes,0.75,1,0.25,0.75,0.4",
        "b,,cannot grade: haze,,,,,,",
    ]


def test_a_single_head_needs_no_name() -> None:
    said = answer_columns(Head("label", "classes", ("n", "c")), np.array([[0.75, 0.25]]), alone=True)
    assert said == {"prediction": ["n"], "score_n": ["0.75"], "score_c": ["0.25"]}
    assert answer_columns(Head("cdr", "quantity"), np.array([[0.125]]), alone=True) == {"prediction": ["0.125"]}


def test_half_an_answer_and_a_wrong_shape_are_refused() -> None:
    head = Head("label", "classes", ("n", "c"))
    with pytest.raises(ValueError, match="row 1: only some scores of 'label' are NaN"):
        answer_columns(head, np.array([[0.5, 0.5], [NAN, 0.5]]), alone=True)
    with pytest.raises(ValueError, match=r"shape \(1, 3\), not \(N, 2\)"):
        answer_columns(head, np.zeros((1, 3)), alone=True)


def test_columns_of_other_lengths_are_all_named_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="b has 1 entries for 2 rows; c has 3 entries"):
        write_columns(tmp_path / "t.csv", {"a": ["1", "2"], "b": ["1"], "c": ["1", "2", "3"]})
    assert not (tmp_path / "t.csv").exists()

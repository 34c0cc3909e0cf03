"""Whole reports held against those that a person has looked at: their text word by word, their looks coarsely.

After a change that was meant: ``EYEGROUND_GOLDEN=write pytest tests/clinic/report/test_golden.py``, and look at the
pages before they are committed.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from eyeground.clinic.report.language import languages

from .papers import CASES, paper, photographs, pictures_of, text_of

FOLDER = Path(__file__).with_name("golden")
ACROSS, DOWN = 24, 34
LEVELS = 15
# A rasterizer's next version may smooth an edge otherwise: a cell's mean gray then differs by less than this.
MOST_LEVELS = 1


def looks_of(pdf: bytes) -> list[str]:
    """Each page as rows of hex digits: the mean gray of cells, 15 = white."""
    told = []
    for page in pictures_of(pdf):
        cells = [np.array_split(band, ACROSS, axis=1) for band in np.array_split(page.astype(float), DOWN)]
        told += ["".join(f"{round(cell.mean() / 255 * LEVELS):x}" for cell in row) for row in cells]
        told.append("")
    return told


@pytest.mark.parametrize("language", languages())
@pytest.mark.parametrize("name", CASES)
def test_a_report_is_what_it_was(name: str, language: str) -> None:
    answered, head = CASES[name]
    made = paper(answered, language, head, photos=photographs())
    text, looks = text_of(made), "\n".join(looks_of(made))
    words, picture = FOLDER / f"{name}_{language}.txt", FOLDER / f"{name}_{language}.looks"
    if os.environ.get("EYEGROUND_GOLDEN") == "write":
        words.write_text(text, "utf-8")
        picture.write_text(looks, "utf-8")
    assert text == words.read_text("utf-8")
    now, before = (each.splitlines() for each in (looks, picture.read_text("utf-8")))
    assert [len(row) for row in now] == [len(row) for row in before]
    off = [
        abs(int(a, 16) - int(b, 16))
        for one, two in zip(now, before, strict=True)
        for a, b in zip(one, two, strict=True)
    ]
    assert max(off) <= MOST_LEVELS


def test_a_picture_out_of_place_is_seen() -> None:
    answered, head = CASES["amended"]
    with_photos, without = (looks_of(paper(answered, "zh", head, photos=photos)) for photos in (photographs(), {}))
    off = [
        abs(int(a, 16) - int(b, 16))
        for one, two in zip(with_photos, without, strict=True)
        for a, b in zip(one, two, strict=True)
    ]
    assert max(off) > MOST_LEVELS

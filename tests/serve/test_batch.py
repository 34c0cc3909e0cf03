"""A table of answers: one line a file, whatever happens; taken up again to the same bytes."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eyeground.data.phantom import draw_fundus
from eyeground.serve.batch import TableBegun, answer_files, journal_of
from eyeground.serve.predictor import Predictor

from .contracts import ByColor, contract


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Eleven photographs, of which one is dark, one half and one a text."""
    folder = tmp_path_factory.mktemp("photographs")
    for number in range(11):
        pixels = draw_fundus("normal", seed=number, size_px=96).image.pixels
        content = io.BytesIO()
        Image.fromarray(pixels if number != 4 else np.zeros_like(pixels)).save(content, "PNG")
        data = content.getvalue()
        (folder / f"{number:02d}.png").write_bytes(b"a text" if number == 9 else data[:900] if number == 7 else data)
    return sorted(folder.glob("*.png"))


def _predictor(batch_size: int = 4) -> Predictor:
    return Predictor(contract(), ByColor(), id="model-1", batch_size=batch_size)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_file_has_one_line_in_order(files: list[Path], tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    out = tmp_path / "t.csv"
    found = answer_files(_predictor(), files, out=out, progress=lambda done, of: seen.append((done, of)))
    rows = _rows(out)
    assert [row["file"] for row in rows] == [str(path) for path in files]
    assert [row["file"] for row in rows if not row["prediction"]] == [str(files[n]) for n in (4, 7, 9)]
    assert [files.index(Path(row.file)) for row in found.not_graded] == [4, 7, 9]
    assert all(row["quality"].startswith("cannot grade: ") for row in rows if not row["prediction"])
    assert all(not row["score_normal"] for row in rows if not row["prediction"])
    assert sum(found.counts("prediction").values()) == 8
    assert seen == [(4, 11), (8, 11), (11, 11)]
    assert not journal_of(out).exists()


@pytest.mark.parametrize("stop_after", [1, 2])
def test_an_interrupted_table_goes_on_to_the_same_bytes(files: list[Path], tmp_path: Path, stop_after: int) -> None:
    whole = tmp_path / "whole.csv"
    answer_files(_predictor(), files, out=whole)
    out = tmp_path / "t.csv"

    def stop(done: int, of: int) -> None:
        if done >= 4 * stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        answer_files(_predictor(), files, out=out, progress=stop)
    assert not out.exists()
    # A kill in the middle of a line: what was not noted whole is asked again.
    with journal_of(out).open("ab") as torn:
        torn.write(b'{"file": "half a li')
    again = _predictor()
    found = answer_files(again, files, out=out)
    assert out.read_bytes() == whole.read_bytes()
    assert found.resumed == 4 * stop_after
    assert len(again.runtime.batches) == 3 - stop_after  # type: ignore[attr-defined]


def test_a_file_that_changed_meanwhile_is_asked_again(files: list[Path], tmp_path: Path) -> None:
    mine = []
    for path in files[:4]:
        mine.append(tmp_path / path.name)
        mine[-1].write_bytes(path.read_bytes())
    out = tmp_path / "t.csv"

    def stop(done: int, of: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        answer_files(_predictor(2), mine, out=out, progress=stop)
    mine[1].write_bytes(files[9].read_bytes())
    assert answer_files(_predictor(2), mine, out=out).resumed == 0
    assert _rows(out)[1]["quality"].startswith("cannot grade: ")


def test_another_model_does_not_go_on_in_the_same_table(files: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "t.csv"
    with pytest.raises(KeyboardInterrupt):
        answer_files(_predictor(), files, out=out, progress=_interrupt)
    before = journal_of(out).read_bytes()
    other = Predictor(contract(), ByColor(), id="model-2", batch_size=4)
    with pytest.raises(TableBegun, match="another model"):
        answer_files(other, files, out=out)
    with pytest.raises(TableBegun, match="another batch size"):
        answer_files(_predictor(2), files, out=out)
    assert journal_of(out).read_bytes() == before


def test_two_processes_do_not_write_one_table(files: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "t.csv"

    def meddle(done: int, of: int) -> None:
        with pytest.raises(TableBegun, match="another process"):
            answer_files(_predictor(), files, out=out)

    assert len(answer_files(_predictor(), files, out=out, progress=meddle).rows) == 11


def test_a_journal_killed_in_its_first_line_is_begun_anew(files: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "t.csv"
    journal_of(out).write_text('{"model": "mod')
    assert len(answer_files(_predictor(), files, out=out).rows) == 11


def test_the_journal_names_what_it_was_begun_with(files: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "t.csv"
    with pytest.raises(KeyboardInterrupt):
        answer_files(_predictor(), files, out=out, progress=_interrupt)
    first = json.loads(journal_of(out).read_text().splitlines()[0])
    key = contract().key
    assert first == {"model": "model-1", "contract": key, "runtime": "by color", "batch_size": 4, "slices": "center"}


def _interrupt(done: int, of: int) -> None:
    raise KeyboardInterrupt

"""Files at the door: what comes through, and why the rest does not."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eyeground.data.phantom import draw_fundus, draw_oct
from eyeground.data.pixels import PixelStore
from eyeground.data.preprocessing import square
from eyeground.data.sample import Sample
from eyeground.images.read import read
from eyeground.serve.gate import gate_bytes, gate_file

from .contracts import PX, contract


def _png(pixels: np.ndarray) -> bytes:
    """A picture as bytes."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photograph, a scan, a dark picture, half a file, a text, and a volume of three slices."""
    place = tmp_path_factory.mktemp("door")
    (place / "P1_OD.png").write_bytes(_png(draw_fundus("dr3", seed=1, eye="OD", size_px=256).image.pixels))
    (place / "scan.png").write_bytes(_png(draw_oct("drusen", seed=1, width_px=320, height_px=250).image.pixels))
    (place / "dark.png").write_bytes(_png(np.zeros((200, 200, 3), np.uint8)))
    (place / "half.png").write_bytes((place / "P1_OD.png").read_bytes()[:2000])
    (place / "note.png").write_text("no image")
    (place / "volume").mkdir()
    for number in range(3):
        pixels = draw_oct("normal", seed=number, width_px=320, height_px=250).image.pixels
        (place / "volume" / f"{number}.png").write_bytes(_png(pixels))
    return place


def test_a_photograph_comes_through_as_training_saw_it(folder: Path) -> None:
    found = gate_file(folder / "P1_OD.png", contract())
    assert (found.graded, found.eye, found.conflict, found.problem) == (True, "OD", "", "")
    assert found.quality in ("good", "fair") or found.quality.startswith("fair: ")
    expected = contract().preprocessing
    store = PixelStore(crop_field=expected.crop_field, store_px=expected.store_px)
    ready = store.ready(read(folder / "P1_OD.png"))
    assert np.array_equal(found.squares[0], square(ready, expected))
    assert found.squares[0].shape == (PX, PX, 3)
    assert found.shown is not None
    assert np.array_equal(found.shown, ready)


def test_bytes_and_files_are_looked_at_alike(folder: Path) -> None:
    path = folder / "P1_OD.png"
    one, two = gate_file(path, contract(), name="x"), gate_bytes(path.read_bytes(), contract(), name="P1_OD.png")
    assert np.array_equal(one.squares[0], two.squares[0])
    assert (one.quality, one.eye) == (two.quality, two.eye)


@pytest.mark.parametrize(
    ("name", "word"),
    [("dark.png", "too dark"), ("half.png", "truncated"), ("note.png", "not_an_image"), ("gone.png", "unreadable")],
)
def test_what_cannot_be_graded_says_why(folder: Path, name: str, word: str) -> None:
    found = gate_file(folder / name, contract())
    assert found.quality == f"cannot grade: {word}"
    assert not found.graded
    assert found.squares == ()
    assert found.shown is None
    assert bool(found.problem) == (name != "dark.png")


@pytest.mark.parametrize(("modality", "file"), [("fundus", "scan.png"), ("oct", "P1_OD.png")])
def test_another_modality_is_never_answered(folder: Path, modality: str, file: str) -> None:
    found = gate_file(folder / file, contract(modality=modality))
    assert found.quality == "cannot grade: wrong modality"
    assert not found.graded
    # Where nobody knows what the model was trained on, nothing can be held against the image.
    assert gate_file(folder / file, contract(modality="")).graded


def test_of_a_volume_the_chosen_slices_come_through(folder: Path) -> None:
    scans = contract(modality="oct")
    assert len(gate_file(folder / "volume", scans).squares) == 1
    whole = gate_file(folder / "volume", scans, slices="all")
    assert len(whole.squares) == 3
    assert whole.shown is not None
    assert not np.array_equal(whole.squares[0], whole.squares[1])


def test_half_a_volume_is_no_answer(folder: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn"
    torn.mkdir()
    for name in ("0.png", "1.png"):
        (torn / name).write_bytes((folder / "volume" / name).read_bytes())
    (torn / "2.png").write_bytes((folder / "volume" / "2.png").read_bytes()[:500])
    found = gate_file(torn, contract(modality="oct"), slices="all")
    assert found.quality == "cannot grade: truncated"
    assert found.squares == ()


def test_a_contradiction_about_the_eye_is_told_and_not_settled() -> None:
    # The header of a photograph says nothing; the name says two things at once.
    pixels = draw_fundus("normal", seed=3, eye="OS", size_px=128).image.pixels
    assert gate_bytes(_png(pixels), contract(), name="left_or_right.png").eye == ""
    assert gate_bytes(_png(pixels), contract(), name="a_left.png").eye == "OS"


@pytest.mark.parametrize("shape", [(64, 9000, 3), (9000, 64, 3)])
def test_a_picture_of_impossible_shape_costs_the_others_nothing(shape: tuple[int, int, int]) -> None:
    strip = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    assert gate_bytes(_png(strip), contract(), name="strip.png").quality == "cannot grade: no retina"


def test_a_fault_of_ours_is_one_files_fault(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> str:
        raise IndexError

    monkeypatch.setattr("eyeground.serve.gate.verdict", broken)
    found = gate_file(folder / "P1_OD.png", contract())
    assert (found.quality, found.graded) == ("cannot grade: failed", False)
    assert "IndexError" in found.problem


def test_a_network_sees_of_a_large_photograph_what_it_learned_on(tmp_path: Path) -> None:
    path = tmp_path / "P1_OD.jpg"
    Image.fromarray(draw_fundus("dr3", seed=1, eye="OD", size_px=1024).image.pixels).save(path, quality=92)
    model = replace(contract(), preprocessing=replace(contract().preprocessing, store_px=128))
    store = PixelStore(crop_field=True, store_px=128, limit_bytes=0)
    learned = square(store(Sample("P1_OD.jpg", tmp_path, 0, "P1")), model.preprocessing)
    [gated] = gate_file(path, model).squares
    [uploaded] = gate_bytes(path.read_bytes(), model, name="P1_OD.jpg").squares
    assert np.array_equal(learned, gated)
    assert np.array_equal(learned, uploaded)
    # It was decoded smaller, or this would show nothing.
    assert not np.array_equal(learned, square(store.ready(read(path)), model.preprocessing))
    assert gate_bytes(path.read_bytes(), model, name="a.jpg", max_bytes=1000).problem

"""Copies are found and look-alikes are not: fingerprints, candidates and the comparison of pixels."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from eyeground.data.exam.examination import examine_all
from eyeground.data.exam.fingerprints import CELLS, fingerprint, is_gray, upright_gray
from eyeground.data.exam.lookalikes import TURNS, candidates
from eyeground.data.exam.sameness import find_twins
from eyeground.data.exam.twins import Pose, match, rough_match, square_of
from eyeground.data.phantom import draw_fundus, draw_oct
from eyeground.data.sample import Sample

Change = Callable[[Image.Image], Image.Image]


def _saved(picture: Image.Image, quality: int) -> Image.Image:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return Image.open(io.BytesIO(out.getvalue())).convert("RGB")


def _cut(picture: Image.Image, share: float) -> Image.Image:
    wide, high = picture.size
    return picture.crop((int(wide * share), int(high * share), wide - int(wide * share), high - int(high * share)))


CHANGES: dict[str, Change] = {
    "saved again": lambda picture: _saved(picture, 65),
    "half size": lambda picture: picture.resize((picture.width // 2, picture.height // 2)),
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.15),
    "cut": lambda picture: _cut(picture, 0.03),
    "all of it": lambda picture: _saved(
        ImageEnhance.Brightness(_cut(picture, 0.02).resize((150, 150))).enhance(0.9), 80
    ),
}


@pytest.fixture(scope="module")
def eyes() -> list[NDArray[np.uint8]]:
    """Twelve photographs of twelve eyes."""
    return [draw_fundus("dr3", eye="OD", seed=seed, size_px=200).image.pixels for seed in range(12)]


@pytest.fixture(scope="module")
def scans() -> list[NDArray[np.uint8]]:
    """Eight scans of eight eyes."""
    return [draw_oct("drusen", eye="OD", seed=seed).image.pixels for seed in range(8)]


def _write(folder: Path, pictures: list[Image.Image], patients: list[str] | None = None) -> list[Sample]:
    samples = []
    for number, picture in enumerate(pictures):
        picture.save(folder / f"{number}.png")
        samples.append(Sample(f"{number}.png", folder, 0, patients[number] if patients else f"p{number}"))
    return samples


def _groups(samples: list[Sample]) -> list[tuple[int, ...]]:
    with examine_all(samples, keep=False) as (facts, prints):
        return [twins.members for twins in find_twins(samples, facts, prints)]


def test_every_changed_copy_is_found_and_no_other_eye(tmp_path: Path, eyes: list[NDArray[np.uint8]]) -> None:
    pictures = [Image.fromarray(pixels) for pixels in eyes]
    copies = [change(pictures[number]) for number, change in enumerate(CHANGES.values())]
    found = _groups(_write(tmp_path, pictures + copies))
    assert found == [(number, len(eyes) + number) for number in range(len(CHANGES))]


def test_mirrored_and_turned_copies_are_found(tmp_path: Path, eyes: list[NDArray[np.uint8]]) -> None:
    pictures = [Image.fromarray(pixels) for pixels in eyes[:6]]
    copies = [ImageOps.mirror(pictures[0]), pictures[1].transpose(Image.Transpose.ROTATE_180)]
    samples = _write(tmp_path, pictures + copies)
    with examine_all(samples, keep=False) as (facts, prints):
        found = find_twins(samples, facts, prints)
    assert [(twins.members, twins.turned) for twins in found] == [
        ((0, 6), "mirrored"),
        ((1, 7), "turned by 180 degrees"),
    ]
    assert not any(twins.identical for twins in found)


def test_copies_of_scans_are_found(tmp_path: Path, scans: list[NDArray[np.uint8]]) -> None:
    pictures = [Image.fromarray(pixels) for pixels in scans]
    changes = [CHANGES["saved again"], CHANGES["half size"], CHANGES["cut"]]
    copies = [change(pictures[number]) for number, change in enumerate(changes)]
    found = _groups(_write(tmp_path, pictures + copies))
    assert found == [(number, len(scans) + number) for number in range(3)]


def test_the_same_bytes_are_found_whatever_they_are(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"GIF89a broken")
    (tmp_path / "c.png").write_bytes(b"")
    (tmp_path / "d.png").write_bytes(b"")
    samples = [Sample(f"{name}.png", tmp_path, 0, name) for name in "abcd"]
    assert _groups(samples) == [(0, 1)]  # empty files are no picture that could stand twice


def test_both_eyes_of_a_patient_are_no_copies(realdata: Path) -> None:
    folder = realdata / "fundus-dr5" / "images"
    names = ["762_left.jpeg", "762_right.jpeg", "386_left.jpeg", "386_right.jpeg", "736_left.jpeg", "736_right.jpeg"]
    assert _groups([Sample(name, folder, 0, name.partition("_")[0]) for name in names]) == []


def test_dust_on_one_lens_is_no_copy(realdata: Path) -> None:
    folder = realdata / "fundus-odir3" / "images" / "cataract"
    names = ["330_left", "560_right", "2229_left", "553_right", "2201_right", "2232_left"]
    assert _groups([Sample(f"{name}.jpg", folder, 0, name) for name in names]) == []


def test_scans_that_stand_under_two_patients_are_found(realdata: Path) -> None:
    folder = realdata / "oct-octdl7" / "images"
    names = ["AMD/amd_5078997_2.jpg", "ERM/erm_1751913_1.jpg", "AMD/amd_5753910_2.jpg", "AMD/amd_5753910_1.jpg"]
    samples = [Sample(name, folder, 0, name.split("_")[1]) for name in names]
    assert _groups(samples) == [(0, 1)]  # the other two are neighbors in one eye


def test_a_fingerprint_turns_with_its_picture(eyes: list[NDArray[np.uint8]]) -> None:
    plain = fingerprint(eyes[0])
    mirrored = fingerprint(np.ascontiguousarray(eyes[0][:, ::-1]))
    assert plain.detail.shape == (1, CELLS, CELLS)
    agree = np.corrcoef(TURNS[1](plain.detail).ravel(), mirrored.detail.ravel())[0, 1]
    assert agree > 0.98


def test_turns_are_all_eight_and_different() -> None:
    cells = np.arange(CELLS * CELLS).reshape(CELLS, CELLS)
    assert len({TURNS[number](cells).tobytes() for number in range(8)}) == 8


def test_candidates_against_comparing_every_pair(eyes: list[NDArray[np.uint8]]) -> None:
    rng = np.random.default_rng(0)
    detail = rng.integers(-90, 90, (60, 1, CELLS, CELLS), dtype=np.int8)
    detail[40] = detail[4]
    detail[41, 0] = TURNS[3](detail[5, 0])
    noise = rng.integers(-20, 20, detail.shape)
    detail = np.clip(detail + noise, -127, 127).astype(np.int8)
    shade = np.full(detail.shape, 9, np.uint8)
    found = {(pair.first, pair.second, pair.turn) for pair in candidates(detail, shade, np.zeros(60, bool))}
    mean = detail[:, 0].astype(np.float32).sum(axis=0) / (60 + 30)
    slow = set()
    for i in range(60):
        for j in range(i + 1, 60):
            for turn in range(8):
                a, b = TURNS[turn](detail[i, 0]) > mean, detail[j, 0] > mean
                if (a != b).sum() <= 56:
                    slow.add((i, j, turn))
    assert found == slow == {(4, 40, 0), (5, 41, 3)}


def test_squares_agree_with_themselves_and_not_with_noise(eyes: list[NDArray[np.uint8]]) -> None:
    square = square_of(eyes[0])
    pose, rough = rough_match(square_of(eyes[0], 64), square_of(eyes[0], 64))
    assert (pose.scale, pose.degrees) == (1.0, 0.0)
    assert rough.shade == pytest.approx(1)
    assert match(square, square, pose).surely_same
    assert not match(square, square_of(eyes[1]), Pose(1.0, 0.0, 0.9)).same


def test_flat_and_tiny_pictures_do_no_harm() -> None:
    for pixels in (np.zeros((1, 1, 3), np.uint8), np.full((3, 500, 3), 255, np.uint8)):
        assert fingerprint(pixels).small.shape == (64, 64)
        assert is_gray(pixels)
        assert upright_gray(pixels, 64)[2] is False
        assert match(square_of(pixels), square_of(pixels), Pose(1.0, 0.0, 0.0)).same is False

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from eyeground.data.phantom import Phantom, draw_fundus, draw_oct
from eyeground.images.disc import EVIDENCE, Disc, candidates, find_disc
from eyeground.images.flat_field import flatten
from eyeground.images.fovea import find_fovea
from eyeground.images.templates import Templates

_SEEDS = range(12)


def _miss(found: Disc | None, phantom: Phantom) -> float:
    """Distance from the truth in disc radii; a disc that is not found is infinitely far."""
    assert phantom.disc is not None
    return (
        math.inf if found is None else math.hypot(found.x - phantom.disc[0], found.y - phantom.disc[1]) / found.radius
    )


def test_discs_of_phantoms_are_found_where_they_were_drawn() -> None:
    misses = [_miss(find_disc(phantom.image.pixels), phantom) for phantom in _phantoms("normal")]
    assert sum(miss < 1 for miss in misses) >= 11
    assert np.median(misses) < 0.35


@pytest.mark.parametrize("disease", ["glaucoma", "dr2", "csc"])
def test_sick_eyes_have_discs_too(disease: str) -> None:
    misses = [_miss(find_disc(phantom.image.pixels), phantom) for phantom in _phantoms(disease)[:6]]
    assert sum(miss < 1.2 for miss in misses) >= 5


def test_foveae_of_phantoms_are_found_where_they_were_drawn() -> None:
    misses = []
    for phantom in _phantoms("normal"):
        assert phantom.fovea is not None
        disc = find_disc(phantom.image.pixels)
        fovea = None if disc is None else find_fovea(phantom.image.pixels, disc)
        if disc is not None and fovea is not None:
            misses.append(math.hypot(fovea.x - phantom.fovea[0], fovea.y - phantom.fovea[1]) / disc.radius)
    assert len(misses) >= 9
    assert np.median(misses) < 0.4


def test_the_radius_follows_the_size_drawn() -> None:
    small, large = (
        find_disc(draw_fundus("normal", seed=10, eye="OD", size_px=size).image.pixels) for size in (200, 400)
    )
    assert small is not None
    assert large is not None
    assert large.radius / small.radius == pytest.approx(2, rel=0.15)
    assert (large.x / small.x, large.y / small.y) == pytest.approx((2, 2), rel=0.03)


def test_without_its_disc_a_photograph_has_none() -> None:
    # A round piece around the fovea, as a narrow camera would show it.
    found = 0
    for phantom in _phantoms("normal"):
        assert phantom.fovea is not None
        size = phantom.image.pixels.shape[0]
        y, x = np.mgrid[:size, :size]
        kept = np.hypot(x - phantom.fovea[0], y - phantom.fovea[1]) < 0.2 * size
        found += find_disc(np.where(kept[..., None], phantom.image.pixels, 0).astype(np.uint8)) is not None
    assert found <= 1


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((300, 300, 3), np.uint8), np.full((300, 300, 3), 255, np.uint8),
        np.full((300, 300, 3), (180, 90, 40), np.uint8), np.zeros((1, 1, 3), np.uint8), np.zeros((0, 7, 3), np.uint8),
        np.full((2000, 3, 3), 77, np.uint8),
    ],
    ids=["black", "white", "flat", "one pixel", "empty", "sliver"],
)  # fmt: skip
def test_nothing_is_found_in_nothing(pixels: NDArray[np.uint8]) -> None:
    assert find_disc(pixels) is None
    assert find_fovea(pixels, Disc(5, 5, 2, 0.9)) is None


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_found_in_noise(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:256, :256]
    field = np.hypot(x - 128, y - 128) < 120
    noise = rng.integers(0, 256, (256, 256, 3)) if seed % 2 else rng.normal(90, 6, (256, 256, 3))
    assert find_disc(np.where(field[..., None], noise, 0).astype(np.uint8)) is None
    assert find_disc(noise.astype(np.uint8)) is None


def test_nothing_is_found_in_b_scans(realdata: Path) -> None:
    scans = [draw_oct("drusen", seed=seed, width_px=300, height_px=240).image.pixels for seed in range(4)]
    files = sorted((realdata / "oct-octdl7" / "images").glob("*/*.jpg"))[::60]
    scans += [np.asarray(Image.open(path).convert("RGB")) for path in files]
    assert len(scans) > 20
    assert [find_disc(scan) for scan in scans] == [None] * len(scans)


def test_evidence_is_finite_and_of_its_own_number() -> None:
    flat = flatten(draw_fundus("dr3", seed=5, size_px=256).image.pixels)
    assert flat is not None
    found = candidates(flat)
    assert found.evidence.shape == (len(found.x), len(EVIDENCE))
    assert np.isfinite(found.evidence).all()


def test_templates_are_what_a_slow_sum_gives() -> None:
    rng = np.random.default_rng(0)
    inside = np.ones((40, 50), np.bool_)
    inside[:, 44:] = False
    picture = rng.random((40, 50)).astype(np.float32)
    templates = Templates(inside)
    contrast = templates.contrast(templates.spectrum(picture), 5.0)
    y, x = np.mgrid[:40, :50]
    for row, column in ((20, 25), (3, 4), (30, 41)):
        away = np.hypot(x - column, y - row)
        circle = np.clip(5.5 - away, 0, 1) * inside
        ring = (np.clip(10 - away, 0, 1) - np.clip(6.25 - away, 0, 1)) * inside
        slow = (picture * circle).sum() / circle.sum() - (picture * ring).sum() / ring.sum()
        assert contrast[row, column] == pytest.approx(slow, abs=1e-4)
    assert np.isnan(contrast[20, 49])


def test_places_come_back_from_the_flat_field() -> None:
    flat = flatten(draw_fundus("normal", seed=2, size_px=300).image.pixels)
    assert flat is not None
    assert flat.from_photograph(*flat.to_photograph(17.25, 80.5)) == pytest.approx((17.25, 80.5))


def test_a_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="photograph"):
        find_disc(np.zeros((40, 40), np.uint8))


def _phantoms(disease: str) -> list[Phantom]:
    return [draw_fundus(disease, seed=seed, size_px=256) for seed in _SEEDS]

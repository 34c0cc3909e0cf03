"""What training reads is near what prediction reads, and decoded no further than it must be."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eyeground.data.phantom import draw_fundus
from eyeground.data.pixels import PixelStore
from eyeground.data.sample import Sample
from eyeground.data.verify import verify
from eyeground.images.read import Parcel, fetch
from eyeground.images.retinal_image import RetinalImage


def parcel(pixels: np.ndarray, **options: object) -> Parcel:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", **({"quality": 92} | options))
    return Parcel(out.getvalue(), "a.jpg")


def store(store_px: int = 192, *, crop_field: bool = True) -> PixelStore:
    return PixelStore(crop_field=crop_field, store_px=store_px, limit_bytes=0)


def near(found: Sequence[Parcel], which: PixelStore) -> tuple[float, float, set[int]]:
    """Greatest mean and 99th percentile of the differences from the whole way, and how many times smaller it came."""
    means, parts, times = [0.0], [0.0], set()
    for each in found:
        image, pixels = which.open(each)
        whole = which.ready(each.decode())
        assert pixels.shape == whole.shape
        differences = np.abs(pixels.astype(int) - whole)
        means.append(float(differences.mean()))
        parts.append(float(np.percentile(differences, 99)))
        times.add(image.shrunk)
    return max(means), max(parts), times


@pytest.mark.parametrize("crop_field", [True, False])
@pytest.mark.parametrize("disease", ["normal", "dr3"])
def test_pixels_decoded_smaller_are_near_those_decoded_whole(disease: str, crop_field: bool) -> None:
    pixels = draw_fundus(disease, seed=1, size_px=1024).image.pixels
    wide = np.pad(pixels, ((0, 0), (200, 200), (0, 0)))
    mean, most, times = near([parcel(pixels), parcel(wide)], store(crop_field=crop_field))
    assert times == {4}
    assert mean <= 1.5
    assert most <= 16  # where the field is cut a fraction of a pixel beside the other cut, along its hard drawn rim


def test_full_size_photographs_are_near_too(realdata: Path) -> None:
    files = sorted((realdata / "fundus-hires").rglob("*.jpeg"))[::3]
    mean, most, times = near([fetch(file) for file in files], store(512))
    assert times <= {2, 4}
    assert mean <= 1.0
    assert most <= 8


def test_an_image_that_is_small_enough_is_the_same() -> None:
    small = parcel(draw_fundus("normal", seed=1, size_px=256).image.pixels)
    for which in (store(192), store(0), store(512)):
        image, pixels = which.open(small)
        assert image.shrunk == 1
        np.testing.assert_array_equal(pixels, which.ready(small.decode()))


def test_a_small_field_in_a_large_picture_is_decoded_further() -> None:
    pixels = np.zeros((1280, 1280, 3), np.uint8)
    pixels[300:940, 300:940] = draw_fundus("normal", seed=1, size_px=640).image.pixels
    for store_px, times in ((96, 4), (192, 2), (300, 1)):
        image, found = store(store_px).open(parcel(pixels))
        assert image.shrunk == times
        assert found.shape == (store_px, store_px, 3)
        mean, _, _ = near([parcel(pixels)], store(store_px))
        assert mean < 1.5


def test_what_is_kept_is_what_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(parcel(draw_fundus("normal", seed=1, size_px=1024).image.pixels).data)
    sample = Sample("a.jpg", tmp_path, 0, "p")
    kept = PixelStore(crop_field=True, store_px=128, limit_bytes=10**6)
    seen: list[RetinalImage] = []
    verify([sample], keep=lambda each, found: seen.append(kept.keep(each, found)))
    assert seen[0].size == (1024, 1024)
    read_again = store(128)(sample)
    (tmp_path / "a.jpg").unlink()
    np.testing.assert_array_equal(kept(sample), read_again)


def test_processes_of_one_machine_keep_no_more_than_one_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eyeground.data.pixels._quarter_of_free_memory", lambda: 8 * 16 * 16 * 3)
    image = parcel(np.zeros((16, 16, 3), np.uint8))
    for sharers, kept in ((1, 8), (4, 2)):
        shelf = PixelStore(crop_field=False, store_px=0, sharers=sharers)
        for number in range(9):
            shelf.keep(Sample(f"{number}.png", Path(), 0, "p"), image)
        assert len(shelf._kept) == kept

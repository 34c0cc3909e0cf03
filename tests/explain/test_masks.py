"""A lesion mask follows its image to the square: held against images of spots that take the image's own way."""

import numpy as np
import pytest
from numpy.typing import NDArray

from eyeground.data.phantom import draw_fundus
from eyeground.data.pixels import PixelStore
from eyeground.data.preprocessing import Preprocessing, square
from eyeground.explain.masks import mask_in_square
from eyeground.images.retinal_image import RetinalImage

Mask = NDArray[np.bool_]
WAYS = [
    Preprocessing(image_px=64),
    Preprocessing(image_px=64, fit="squash"),
    Preprocessing(image_px=48, store_px=96),
    Preprocessing(image_px=64, crop_field=False, fit="squash"),
]


def spot(shape: tuple[int, int], x: float, y: float, radius: float) -> Mask:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.hypot(columns - x, rows - y) <= radius


def center(mask: Mask) -> NDArray[np.float64]:
    return np.argwhere(mask).mean(axis=0)


def photograph(
    width: int = 240, height: int = 200, radius: float = 80, middle: tuple[float, float] = (130, 95)
) -> RetinalImage:
    """A gray round field on black, off the middle."""
    field = spot((height, width), *middle, radius)
    return RetinalImage(
        np.where(field[..., None], 90, 0).astype(np.uint8).repeat(3, axis=2), "a.png", modality="fundus"
    )


def as_its_image(image: RetinalImage, mask: Mask, preprocessing: Preprocessing) -> Mask:
    """Where a mask comes to lie if it is painted bright into the image, and takes the image's way."""
    store = PixelStore(crop_field=preprocessing.crop_field, store_px=preprocessing.store_px, limit_bytes=0)
    painted = RetinalImage(
        np.where(mask[..., None], 250, image.pixels).astype(np.uint8), image.source, modality="fundus"
    )
    return square(store.ready(painted), preprocessing)[..., 0] > 170


@pytest.mark.parametrize("way", WAYS, ids=["crop", "squash", "stored", "whole"])
@pytest.mark.parametrize("place", [(130, 95), (95, 70), (165, 120)])
def test_a_mask_lies_where_its_lesion_is_seen(way: Preprocessing, place: tuple[int, int]) -> None:
    image = photograph()
    lesion = spot((200, 240), *place, 11)
    found, seen = mask_in_square(image, lesion, way), as_its_image(image, lesion, way)
    assert found.shape == (way.image_px, way.image_px)
    assert np.abs(center(found) - center(seen)).max() < 0.6
    assert found.sum() == pytest.approx(seen.sum(), rel=0.25)
    # The planted fault: a mask that is mirrored is somewhere else, but for one in the middle.
    mirrored = mask_in_square(image, lesion[:, ::-1], way)
    assert np.abs(center(mirrored) - center(seen)).max() > 2 if mirrored.any() else True


def test_the_smallest_spots_are_not_lost() -> None:
    image = photograph()
    way = Preprocessing(image_px=32)
    lesion = np.zeros((200, 240), bool)
    for x, y in ((100, 80), (150, 80), (130, 120)):
        lesion[y : y + 2, x : x + 2] = True
    found = mask_in_square(image, lesion, way)
    rows = np.argwhere(found)
    assert len(rows) >= 3
    apart = np.hypot(*(rows[:, None] - rows[None]).transpose(2, 0, 1))
    assert apart.max() > 5, "each is kept where it is"
    assert found.sum() <= 15, "and none grows"


def test_nothing_stays_nothing_and_all_stays_all() -> None:
    image, way = photograph(), Preprocessing(image_px=32, crop_field=False, fit="squash")
    assert not mask_in_square(image, np.zeros((200, 240), bool), way).any()
    assert mask_in_square(image, np.ones((200, 240), bool), way).all()


def test_a_mask_does_not_decide_about_the_crop() -> None:
    """A photograph is cropped to its field, and the mask with it, wherever the lesion is."""
    way = Preprocessing(image_px=64, fit="squash")
    image = photograph()
    left, right = (mask_in_square(image, spot((200, 240), x, 95, 9), way) for x in (70, 190))
    # The field is 160 px wide: 120 px apart are three quarters of the square.
    assert center(right)[1] - center(left)[1] == pytest.approx(64 * 120 / 160, abs=2)
    scan = RetinalImage(np.full((200, 240, 3), 80, np.uint8), "scan.png", modality="oct")
    left, right = (mask_in_square(scan, spot((200, 240), x, 95, 9), way) for x in (70, 190))
    assert center(right)[1] - center(left)[1] == pytest.approx(64 * 120 / 240, abs=1)


def test_a_phantoms_lesions_lie_on_its_lesions() -> None:
    """A disease changes an image where its mask is, also after the way to the square."""
    way = Preprocessing(image_px=112, fit="squash")
    store = PixelStore(crop_field=True, store_px=way.store_px, limit_bytes=0)
    ill, well = (draw_fundus(name, seed=11, eye="OD", size_px=256) for name in ("dr3", "normal"))
    changed = np.abs(square(store.ready(ill.image), way).astype(float) - square(store.ready(well.image), way)).mean(
        axis=2
    )  # (H, W)
    lesions = mask_in_square(ill.image, ill.lesions, way)
    assert lesions.any()
    assert changed[lesions].mean() > 3 * changed[~lesions].mean()
    shifted = np.roll(lesions, 12, axis=1)
    assert changed[shifted].mean() < changed[lesions].mean() / 2


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a\.png: the mask is \(10, 10\), the image \(200, 240\)"):
        mask_in_square(photograph(), np.zeros((10, 10), bool), WAYS[0])

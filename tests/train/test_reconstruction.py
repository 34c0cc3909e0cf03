"""Pictures of reconstructions: a perfect prediction gives the original back, and the sheet shows what it was given."""

import numpy as np
import pytest

from eyeground.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing, normalize
from eyeground.model.patches import patchify
from eyeground.train.reconstruction import Pictures, reconstruct, sheet

PATCH_PX, PX = 8, 32


def pixels_of(count: int = 3) -> np.ndarray:
    """Noise, with a bright, a dark and a flat patch."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, PX, PX, 3), dtype=np.uint8)
    pixels[:, :8, :8], pixels[:, :8, 8:16], pixels[:, :8, 16:24] = 255, 0, (90, 90, 90)
    return pixels


def mask_of(count: int = 3) -> np.ndarray:
    mask = np.zeros((count, 16), np.float32)
    for row, drawn in enumerate(np.random.default_rng(1).permuted(np.tile(np.arange(16), (count, 1)), axis=1)):
        mask[row, drawn[:12]] = 1
    return mask


def drawn_from(images: np.ndarray, prediction: np.ndarray, mask: np.ndarray, *, norm_pix: bool) -> list[Pictures]:
    return reconstruct(
        images, prediction, mask, patch_px=PATCH_PX, norm_pix=norm_pix, mean=IMAGENET_MEAN, std=IMAGENET_STD
    )


def perfect(images: np.ndarray, *, norm_pix: bool) -> np.ndarray:
    """What a network without any error predicts, in the float32 it computes in."""
    rows = patchify(images, PATCH_PX)
    if norm_pix:
        rows = (rows - rows.mean(-1, keepdims=True)) / np.sqrt(rows.var(-1, ddof=1, keepdims=True) + np.float32(1e-6))
    return rows


@pytest.mark.parametrize("norm_pix", [False, True])
def test_a_perfect_prediction_gives_the_original(norm_pix: bool) -> None:
    pixels, mask = pixels_of(), mask_of()
    images = normalize(list(pixels), Preprocessing(image_px=PX))
    drawn = drawn_from(images, perfect(images, norm_pix=norm_pix), mask, norm_pix=norm_pix)
    assert len(drawn) == 3
    for each, before in zip(drawn, pixels, strict=True):
        assert (each.original == before).all()
        for picture in (each.reconstructed, each.pasted):
            assert picture.dtype == np.uint8
            assert np.abs(picture.astype(int) - before).max() <= 1
    # The control: read the other way, the same prediction is no picture of the original.
    wrong = drawn_from(images, perfect(images, norm_pix=norm_pix), mask, norm_pix=not norm_pix)
    assert np.abs(wrong[0].reconstructed.astype(int) - pixels[0]).mean() > 10


@pytest.mark.parametrize("norm_pix", [False, True])
def test_hidden_patches_are_gray_and_only_they_are_predicted(norm_pix: bool) -> None:
    pixels, mask = pixels_of(), mask_of()
    images = normalize(list(pixels), Preprocessing(image_px=PX))
    wild = np.random.default_rng(2).normal(0, 50, (3, 16, 192))
    for number, each in enumerate(drawn_from(images, wild, mask, norm_pix=norm_pix)):
        for patch in range(16):
            y, x = patch // 4 * 8, patch % 4 * 8
            here = np.s_[y : y + 8, x : x + 8]
            if mask[number, patch]:
                assert (each.masked[here] == 128).all()
                assert (each.pasted[here] == each.reconstructed[here]).all()
            else:
                assert (each.masked[here] == pixels[number][here]).all()
                assert (each.pasted[here] == pixels[number][here]).all()
    assert {0, 255} <= set(each.reconstructed.ravel().tolist())  # clipped, not wrapped round


def test_a_mask_may_be_boolean() -> None:
    images = normalize(list(pixels_of()), Preprocessing(image_px=PX))
    guessed, mask = perfect(images, norm_pix=False), mask_of()
    one, two = (drawn_from(images, guessed, each, norm_pix=False) for each in (mask, mask == 1))
    assert all((a == b).all() for four, same in zip(one, two, strict=True) for a, b in zip(four, same, strict=True))


@pytest.mark.parametrize(
    ("prediction", "mask"), [((3, 16, 191), (3, 16)), ((3, 16, 192), (3, 9)), ((2, 16, 192), (3, 16))]
)
def test_shapes_that_do_not_belong_together_are_refused(prediction: tuple[int, ...], mask: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="but the prediction has"):
        drawn_from(np.zeros((3, 3, 32, 32)), np.zeros(prediction), np.zeros(mask), norm_pix=False)


def test_the_sheet_shows_every_picture_enlarged_under_its_heading() -> None:
    images = normalize(list(pixels_of()), Preprocessing(image_px=PX))
    rows = drawn_from(images, perfect(images, norm_pix=False), mask_of(), norm_pix=False)
    page = np.asarray(sheet(rows, ["one", "two", "three"]))
    assert page.shape == (24 + 30 + 3 * 168 - 8 + 24, 24 + 150 + 4 * 168 - 8 + 24, 3)
    for row, four in enumerate(rows):
        for column, picture in enumerate(four):
            y, x = 54 + row * 168, 174 + column * 168
            assert (page[y : y + 160, x : x + 160] == picture.repeat(5, 0).repeat(5, 1)).all()
    for column in range(4):
        assert page[24:54, 174 + column * 168 : 334 + column * 168].min() < 100  # a heading, in dark ink
    for row in range(3):
        assert page[54 + row * 168 : 214 + row * 168, 24:174].min() < 150  # a name
    assert (page[:20] == 255).all()
    assert (page[-24:] == 255).all()
    assert (page[:, -24:] == 255).all()


def test_the_sheet_has_a_title_and_keeps_large_pictures_as_they_are() -> None:
    rows = [Pictures(*np.zeros((4, 224, 224, 3), np.uint8))]
    plain, titled = sheet(rows, ["a"]), sheet(rows, ["a"], title="step 100: 75 % hidden")
    assert plain.size == (24 + 150 + 4 * 232 - 8 + 24, 24 + 30 + 224 + 24)
    assert titled.size == (plain.width, plain.height + 30)
    assert np.asarray(titled)[20:50].min() < 100


@pytest.mark.parametrize("name", ["", "a" * 300, "patient 7 / a\nb", "眼底-0001"])
def test_a_name_of_any_kind_stays_beside_its_row(name: str) -> None:
    page = np.asarray(sheet([Pictures(*np.full((4, 32, 32, 3), 255, np.uint8))], [name]))
    assert (page[:, :24] == 255).all()
    assert (page[60:, 162:] == 255).all()


@pytest.mark.parametrize(
    ("rows", "names", "message"),
    [
        ([], [], "there is no reconstruction to show"),
        ([Pictures(*np.zeros((4, 8, 8, 3), np.uint8))], [], "1 rows have 0 names"),
        (
            [Pictures(*np.zeros((4, 8, 8, 3), np.uint8)), Pictures(*np.zeros((4, 9, 9, 3), np.uint8))],
            ["a"],
            "2 rows have 1 names; the pictures have different shapes",
        ),
    ],
)
def test_a_sheet_of_nothing_or_of_odds_and_ends_is_refused(
    rows: list[Pictures], names: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        sheet(rows, names)

"""What a masked autoencoder sees, guesses and misses, as pictures."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from eyeground.model.patches import patchify, unpatchify

_GRAY = 128  # what hides a patch
# The size of the sheet's parts. Unit: px.
_LEAST_CELL_PX = 160
_MARGIN_PX, _GAP_PX, _HEADING_PX, _NAME_PX, _LETTERS_PX = 24, 8, 30, 150, 15
_INK, _PALE_INK, _PAPER = "#1d2430", "#68707c", "#ffffff"


class Pictures(NamedTuple):
    """One image four times, each of shape (H, W, 3), uint8.

    Args:
        original: What the network was given, before normalizing.
        masked: The same, with the hidden patches gray: what the encoder saw.
        reconstructed: The prediction, of hidden and visible patches. No loss ever asked for the visible ones.
        pasted: Visible patches of the original, hidden ones of the prediction.

    Example:
        >>> Pictures(*np.zeros((4, 8, 8, 3), np.uint8)).pasted.shape
        (8, 8, 3)

    References:
        He et al., CVPR 2022, figures 2 and 3.
    """

    original: NDArray[np.uint8]
    masked: NDArray[np.uint8]
    reconstructed: NDArray[np.uint8]
    pasted: NDArray[np.uint8]


def reconstruct(
    images: NDArray[np.floating[Any]],
    prediction: NDArray[np.floating[Any]],
    mask: NDArray[Any],
    *,
    patch_px: int,
    norm_pix: bool,
    mean: Sequence[float],
    std: Sequence[float],
) -> list[Pictures]:
    """Draw what a masked autoencoder made of its images.

    A network that predicts normalized patches says nothing of a patch's brightness and contrast. Those are taken from
    the original then, so that such pictures look better than the prediction alone would.

    Args:
        images: Normalized images, shape (N, 3, H, W), H = W.
        prediction: Shape (N, L, patch_px * patch_px * 3).
        mask: Shape (N, L), 1 or True = removed.
        patch_px: Side of a patch. Unit: px.
        norm_pix: Whether the network predicts patches less their own mean, over their own standard deviation.
        mean: What was subtracted from each channel in [0, 1].
        std: What divided each channel.

    Returns:
        N times four pictures.

    Raises:
        ValueError: If the shapes do not belong together.

    Example:
        >>> images = np.zeros((1, 3, 4, 4), np.float32)
        >>> gray, mask = np.zeros((1, 4, 12), np.float32), np.array([[0, 1, 1, 1]])
        >>> half = (0.5, 0.5, 0.5)
        >>> drawn = reconstruct(images + 1, gray, mask, patch_px=2, norm_pix=False, mean=half, std=half)
        >>> drawn[0].pasted[:, :, 0].tolist()
        [[255, 255, 128, 128], [255, 255, 128, 128], [128, 128, 128, 128], [128, 128, 128, 128]]

    References:
        He et al., CVPR 2022.
    """
    patches = patchify(images.astype(np.float64), patch_px)  # (N, L, P*P*3)
    if patches.shape != prediction.shape or patches.shape[:2] != mask.shape:
        raise ValueError(
            f"images of shape {images.shape} make patches of shape {patches.shape}, but the prediction has "
            f"{prediction.shape} and the mask {mask.shape}"
        )
    guessed = prediction.astype(np.float64)
    if norm_pix:
        # As in the loss: each patch's own mean, and its unbiased variance plus 1e-6.
        spread = np.sqrt(patches.var(axis=-1, keepdims=True, ddof=1) + 1e-6)
        guessed = guessed * spread + patches.mean(axis=-1, keepdims=True)

    original, reconstructed = (
        _gray_levels(unpatchify(each, patch_px), mean, std) for each in (patches, guessed)
    )  # (N, H, W, 3) each
    removed = np.broadcast_to(mask.astype(bool)[:, :, None], patches.shape)
    hidden = unpatchify(removed, patch_px).transpose(0, 2, 3, 1)  # (N, H, W, 3)
    masked = np.where(hidden, np.uint8(_GRAY), original)
    pasted = np.where(hidden, reconstructed, original)
    return [Pictures(*four) for four in zip(original, masked, reconstructed, pasted, strict=True)]


def sheet(rows: Sequence[Pictures], names: Sequence[str], *, title: str = "") -> Image.Image:
    """Lay reconstructions out on one page: an image a row, its four pictures side by side under headings.

    Small pictures are enlarged by a whole factor, without smoothing, so that every pixel shown was predicted.

    Args:
        rows: What ``reconstruct`` gave, at least one, all of the same size.
        names: What to write beside each row; long names lose their middle.
        title: One line above; empty = none.

    Returns:
        The page.

    Raises:
        ValueError: If there is no row, a row lacks its name, or the sizes differ.

    Example:
        >>> sheet([Pictures(*np.zeros((4, 64, 64, 3), np.uint8))], ["eye-1"]).size
        (990, 270)

    References:
        Our own, after He et al., CVPR 2022, figure 2.
    """
    wrong = []
    if not rows:
        wrong.append("there is no reconstruction to show")
    if len(rows) != len(names):
        wrong.append(f"{len(rows)} rows have {len(names)} names")
    if len(shapes := {picture.shape for four in rows for picture in four}) > 1:
        wrong.append(f"the pictures have different shapes: {', '.join(str(shape) for shape in sorted(shapes))}")
    if wrong:
        raise ValueError("sheet: " + "; ".join(wrong))

    height, width = rows[0].original.shape[:2]
    factor = max(1, -(-_LEAST_CELL_PX // max(height, width)))
    cell_height, cell_width = height * factor, width * factor
    left, top = _MARGIN_PX + _NAME_PX, _MARGIN_PX + _HEADING_PX * (2 if title else 1)
    columns = len(Pictures._fields)
    page = Image.new(
        "RGB",
        (
            left + columns * (cell_width + _GAP_PX) - _GAP_PX + _MARGIN_PX,
            top + len(rows) * (cell_height + _GAP_PX) - _GAP_PX + _MARGIN_PX,
        ),
        _PAPER,
    )
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(_LETTERS_PX)
    if title:
        pen.text((_MARGIN_PX, _MARGIN_PX), title, fill=_INK, font=font, anchor="lt")
    for column, heading in enumerate(Pictures._fields):
        middle = left + column * (cell_width + _GAP_PX) + cell_width // 2
        pen.text((middle, top - _GAP_PX - 4), heading, fill=_INK, font=font, anchor="ms")
    for row, (four, name) in enumerate(zip(rows, names, strict=True)):
        y = top + row * (cell_height + _GAP_PX)
        told = _shortened(name, pen, font)
        pen.text((left - 2 * _GAP_PX, y + cell_height // 2), told, fill=_PALE_INK, font=font, anchor="rm")
        for column, picture in enumerate(four):
            enlarged = Image.fromarray(picture).resize((cell_width, cell_height), Image.Resampling.NEAREST)
            page.paste(enlarged, (left + column * (cell_width + _GAP_PX), y))
    return page


def _gray_levels(images: NDArray[np.floating[Any]], mean: Sequence[float], std: Sequence[float]) -> NDArray[np.uint8]:
    """Undo the normalizing of colors: (N, 3, H, W) -> (N, H, W, 3), 0 to 255."""
    colors = images.transpose(0, 2, 3, 1) * np.asarray(std) + np.asarray(mean)
    levels: NDArray[np.uint8] = np.rint(colors * 255).clip(0, 255).astype(np.uint8)
    return levels


def _shortened(name: str, pen: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """A name on one line that fits beside its row: the start and the end tell files apart best."""
    name = " ".join(name.split())
    told, kept = name, len(name)
    while kept > 2 and pen.textlength(told, font=font) > _NAME_PX - 2 * _GAP_PX:
        kept -= 1
        told = f"{name[: (kept + 1) // 2]}…{name[-(kept // 2) :]}"
    return told

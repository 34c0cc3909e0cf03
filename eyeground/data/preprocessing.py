"""How pixels reach the network: the one contract that training, evaluation and prediction share."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Pixels = NDArray[np.uint8]  # (H, W, 3)


@dataclass(frozen=True)
class Preprocessing:
    """How pixels reach the network: the one contract that training, evaluation and prediction share.

    Args:
        image_px: Side of the square the network sees. Unit: px.
        crop_field: Crop photographs to their round field of view first; OCT scans pass by.
        store_px: Shrink the short side to at most this before anything else; 0 = keep. Unit: px.
        fit: How a whole image becomes a square: ``"crop"`` resizes the short side and takes the center,
            ``"squash"`` resizes both sides.
        crop_fraction: Share of the resized short side that ``"crop"`` keeps, (0, 1]; 0.875 makes 256 -> 224.
        mean: Subtracted from each channel in [0, 1].
        std: Divides each channel.

    Raises:
        ValueError: If a value is out of range; all of them at once.

    Example:
        >>> Preprocessing(image_px=224).resized_px
        256

    References:
        RETFound's evaluation transform: 256 -> 224 up to 224 px, no extra crop above.
    """

    image_px: int = 224
    crop_field: bool = True
    store_px: int = 512
    fit: Literal["crop", "squash"] = "crop"
    crop_fraction: float = 0.875
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        wrong = []
        if not 8 <= self.image_px <= 4096:
            wrong.append(f"image_px is {self.image_px}: it is 8 to 4096")
        if not 0 <= self.store_px <= 2**16:
            wrong.append(f"store_px is {self.store_px}: it is at least 0")
        if self.fit not in ("crop", "squash"):
            wrong.append(f"fit is {self.fit!r}: it is 'crop' or 'squash'")
        if not 0.1 <= self.crop_fraction <= 1:
            wrong.append(f"crop_fraction is {self.crop_fraction}: it is 0.1 to 1")
        colors = [*self.mean, *self.std]
        if len(self.mean) != 3 or len(self.std) != 3 or not all(math.isfinite(value) for value in colors):
            wrong.append("mean and std are three finite numbers each")
        elif min(self.std) <= 0:
            wrong.append(f"std is {list(self.std)}: each is above 0")
        if wrong:
            raise ValueError("preprocessing: " + "; ".join(wrong))

    @property
    def resized_px(self) -> int:
        """Short side before the center crop. Unit: px."""
        return int(self.image_px / self.crop_fraction)


def square(pixels: Pixels, preprocessing: Preprocessing) -> Pixels:
    """Bring a whole image to the square that evaluation and prediction see.

    Args:
        pixels: Shape (H, W, 3).
        preprocessing: Size and manner.

    Returns:
        Shape (image_px, image_px, 3), uint8.

    Example:
        >>> square(np.zeros((300, 400, 3), np.uint8), Preprocessing(image_px=224)).shape
        (224, 224, 3)

    References:
        RETFound's evaluation transform: torchvision's Resize and CenterCrop, to the pixel.
    """
    image = Image.fromarray(pixels)
    px = preprocessing.image_px
    if preprocessing.fit == "squash":
        return np.asarray(image.resize((px, px), Image.Resampling.BICUBIC))
    width, height = image.size
    short, wanted = min(width, height), preprocessing.resized_px
    width, height = (wanted if side == short else int(wanted * side / short) for side in (width, height))
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = round((width - px) / 2), round((height - px) / 2)
    return np.asarray(image.crop((left, top, left + px, top + px)))


def normalize(squares: Sequence[Pixels], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Turn squares into what the network reads.

    Args:
        squares: N arrays of shape (H, W, 3), uint8.
        preprocessing: Mean and standard deviation.

    Returns:
        Shape (N, 3, H, W), float32.

    Example:
        >>> normalize([np.full((2, 2, 3), 255, np.uint8)], Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3)).max()
        np.float32(1.0)

    References:
        torchvision's ToTensor and Normalize, done at once.
    """
    mean, std = np.asarray(preprocessing.mean, np.float32), np.asarray(preprocessing.std, np.float32)
    batch = (np.stack(squares).astype(np.float32) / np.float32(255) - mean) / std
    return np.ascontiguousarray(batch.transpose(0, 3, 1, 2), dtype=np.float32)

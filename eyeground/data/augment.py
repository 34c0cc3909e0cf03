"""The recipes' transforms; every random draw is a function of (seed, epoch, sample id) alone."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from timm.data.auto_augment import rand_augment_transform
from timm.data.mixup import Mixup
from timm.data.random_erasing import RandomErasing
from torchvision import transforms

from eyeground.data.order import seed_from
from eyeground.data.preprocessing import Pixels, Preprocessing


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a training image.

    Args:
        crop_scale: Least and greatest share of the area that a random crop keeps.
        crop_ratio: Least and greatest width over height of that crop, before it becomes a square.
        horizontal_flip: Probability of a left-right flip.
        vertical_flip: Probability of an upside-down flip.
        rotation_degrees: Greatest rotation either way. Unit: degrees.
        color_jitter: Brightness, contrast, saturation, hue, as torchvision means them; zeros = off.
        color_jitter_probability: Probability that the colors are jittered at all.
        brightness_contrast: Brightness and contrast changed a second time, with the same probability; zeros = off.
        grayscale: Probability of losing the colors.
        blur: Probability of a Gaussian blur of 0.1 to 2 px.
        rand_augment: timm's configuration string, ``""`` = off.
        random_erasing: Probability of erasing a box with noise.

    Example:
        >>> Augmentation().rand_augment
        'rand-m9-mstd0.5-inc1'

    References:
        RETFound's fine-tuning transform: the defaults.
    """

    crop_scale: tuple[float, float] = (0.08, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    horizontal_flip: float = 0.5
    vertical_flip: float = 0.0
    rotation_degrees: float = 0.0
    color_jitter: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    color_jitter_probability: float = 1.0
    brightness_contrast: tuple[float, float] = (0.0, 0.0)
    grayscale: float = 0.0
    blur: float = 0.0
    rand_augment: str = "rand-m9-mstd0.5-inc1"
    random_erasing: float = 0.25


@contextmanager
def draws(*key: object) -> Iterator[None]:
    """Make every random draw inside follow from a key, and leave the generators outside untouched.

    Args:
        key: What the draws hang on, such as seed, epoch and sample id.

    Yields:
        Nothing.

    Example:
        >>> with draws(0, 3, "a.jpg"):
        ...     first = random.random()
        >>> with draws(0, 3, "a.jpg"):
        ...     first == random.random()
        True

    References:
        Our own.
    """
    seed = seed_from(*key)
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    # timm draws from Python's and numpy's global generators, torchvision from torch's: all three are set.
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the generator timm reads
    torch.default_generator.manual_seed(seed % 2**63)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        torch.set_rng_state(before[2])


def training_transform(preprocessing: Preprocessing, augmentation: Augmentation) -> Callable[[Pixels], torch.Tensor]:
    """Make the random transform of training.

    Args:
        preprocessing: Size and normalization.
        augmentation: What is drawn.

    Returns:
        A function from pixels (H, W, 3) uint8 to (3, image_px, image_px) float32. Call it inside ``draws``.

    Raises:
        ValueError: If the RandAugment string is not understood.

    Example:
        >>> transform = training_transform(Preprocessing(image_px=32), Augmentation())
        >>> with draws(0, 0, "a"):
        ...     transform(np.zeros((40, 50, 3), np.uint8)).shape
        torch.Size([3, 32, 32])

    References:
        Cubuk et al., "RandAugment", 2020; Zhong et al., "Random Erasing", 2020; RETFound for the order and values;
        Chen et al., "SimCLR", ICML 2020, for gray and blur.
    """
    a = augmentation
    steps: list[Callable[..., object]] = []
    if a.horizontal_flip:
        steps.append(transforms.RandomHorizontalFlip(a.horizontal_flip))
    if a.vertical_flip:
        steps.append(transforms.RandomVerticalFlip(a.vertical_flip))
    if a.rotation_degrees:
        steps.append(transforms.RandomRotation(a.rotation_degrees, transforms.InterpolationMode.BILINEAR))
    if a.rand_augment:
        steps.append(_rand_augment(a.rand_augment, preprocessing))
    jitters = [values for values in (a.color_jitter, a.brightness_contrast) if any(values)]
    for jitter in (transforms.ColorJitter(*values) for values in jitters):
        certain = a.color_jitter_probability == 1
        steps.append(jitter if certain else transforms.RandomApply([jitter], a.color_jitter_probability))
    if a.grayscale:
        steps.append(transforms.RandomGrayscale(a.grayscale))
    if a.blur:
        # SimCLR blurs over a tenth of the side.
        kernel_px = preprocessing.image_px // 10 // 2 * 2 + 1
        steps.append(transforms.RandomApply([transforms.GaussianBlur(kernel_px, (0.1, 2.0))], a.blur))
    erase = RandomErasing(a.random_erasing, mode="pixel", max_count=1, device="cpu")  # type: ignore[no-untyped-call]
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    change = transforms.Compose(steps)

    def transform(pixels: Pixels) -> torch.Tensor:
        changed = np.array(change(_random_resized_crop(pixels, preprocessing.image_px, a)))
        planes = torch.from_numpy(changed).permute(2, 0, 1)
        # What ToTensor and Normalize do, to the last bit.
        tensor = planes.to(torch.float32, memory_format=torch.contiguous_format).div_(255).sub_(mean).div_(std)
        return erase(tensor) if a.random_erasing else tensor

    return transform


def _random_resized_crop(pixels: Pixels, px: int, augmentation: Augmentation) -> Image.Image:
    """Bring a random box to a square: torchvision's draws, and Pillow's bicubic filter but for rounding."""
    size_alone = torch.empty(3, *pixels.shape[:2], device="meta")
    top, left, height, width = transforms.RandomResizedCrop.get_params(
        size_alone, list(augmentation.crop_scale), list(augmentation.crop_ratio)
    )
    box = torch.from_numpy(pixels[top : top + height, left : left + width].copy()).permute(2, 0, 1)
    # On bytes with the colors last, torch has vector code for this filter that Pillow has not: 4 times as fast.
    square = torch.nn.functional.interpolate(box[None], size=(px, px), mode="bicubic", antialias=True)[0]
    return Image.fromarray(square.permute(1, 2, 0).contiguous().numpy())


def _rand_augment(config: str, preprocessing: Preprocessing) -> Callable[[Image.Image], Image.Image]:
    """Build timm's RandAugment so that it cannot ask Pillow for an impossible posterization."""
    mean = tuple(min(255, round(255 * channel)) for channel in preprocessing.mean)
    hparams = {
        "translate_const": int(preprocessing.image_px * 0.45),
        "img_mean": mean,
        "interpolation": Image.Resampling.BICUBIC,
    }
    try:
        augment = rand_augment_transform(config, hparams)
    except (AssertionError, ValueError, KeyError) as error:
        raise ValueError(
            f"rand_augment {config!r} is not understood by timm, such as 'rand-m9-mstd0.5-inc1' is: {error}"
        ) from error
    for op in augment.ops:
        if op.name.startswith("Posterize"):
            # timm 1.0.31 asks for 0 bits at the highest magnitude; Pillow 13 raises there. One bit is the strongest
            # posterization that still leaves an image.
            op.level_fn = _at_least_one_bit(op.level_fn)
    return augment  # type: ignore[no-any-return]


def _at_least_one_bit(level_fn: Callable[..., tuple[int]]) -> Callable[..., tuple[int]]:
    """Wrap a level function so that it never answers less than 1."""

    def bounded(level: float, hparams: dict[str, object]) -> tuple[int]:
        return (max(1, level_fn(level, hparams)[0]),)

    return bounded


def mix(
    images: NDArray[np.float32],
    targets: NDArray[np.float32],
    *,
    mixup_alpha: float,
    cutmix_alpha: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Blend the images of a batch with each other (mixup, CutMix), and their truth likewise.

    Args:
        images: Shape (N, 3, H, W); N even.
        targets: What each output should say, shape (N, T); NaN = not known.
        mixup_alpha: Beta parameter of mixup, 0 = off.
        cutmix_alpha: Beta parameter of CutMix, 0 = off; with both on, one of them is drawn.

    Returns:
        Images (N, 3, H, W) and targets (N, T); what is not known of one of two images is not known of their blend. Call
        it inside ``draws``.

    Raises:
        ValueError: If N is odd.

    Example:
        >>> images = np.zeros((2, 3, 4, 4), np.float32)
        >>> with draws(0, "mix"):
        ...     _, targets = mix(images, np.eye(2, dtype=np.float32), mixup_alpha=0.2, cutmix_alpha=0)
        >>> targets.sum(axis=1)
        array([1., 1.], dtype=float32)

    References:
        Zhang et al., "mixup", ICLR 2018; Yun et al., "CutMix", ICCV 2019.
    """
    if not mixup_alpha and not cutmix_alpha:
        return images, targets
    if len(images) % 2:
        raise ValueError(f"mixup and CutMix pair the images of a batch: batch_size must be even, not {len(images)}")
    blend = Mixup(mixup_alpha, cutmix_alpha)  # type: ignore[no-untyped-call]
    mixed = torch.from_numpy(images.copy())
    share = blend._mix_batch(mixed)  # type: ignore[no-untyped-call]
    # timm's own way to blend labels knows one-hot classes only.
    return mixed.numpy(), (share * targets + (1 - share) * targets[::-1]).astype(np.float32)

"""The weights zoo: released checkpoints as data, with where each lies, under which licence, and what it must hold."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eyeground.model.architecture import parameter_shapes
from eyeground.model.spec import ModelSpec
from eyeground.model.weights import WeightsRefused, fit


@dataclass(frozen=True)
class Licence:
    """What somebody agrees to who fetches weights.

    Args:
        page: Where its text is.
        forbids: What it forbids, in one sentence.

    Example:
        >>> LICENCES["CC-BY-NC-4.0"].page
        'https://creativecommons.org/licenses/by-nc/4.0/'

    References:
        Our own; the licence's text counts, not our sentence.
    """

    page: str
    forbids: str


LICENCES: Mapping[str, Licence] = MappingProxyType(
    {
        "CC-BY-NC-4.0": Licence(
            "https://creativecommons.org/licenses/by-nc/4.0/",
            "No commercial use, of the weights or of what is made from them; the authors must be named.",
        ),
        "Apache-2.0": Licence(
            "https://www.apache.org/licenses/LICENSE-2.0",
            "No use of the authors' trademarks; who passes the weights on must keep the licence and the notices.",
        ),
    }
)


@dataclass(frozen=True)
class Release:
    """A released checkpoint.

    Args:
        name: What people call it, and what ``weights:`` in a configuration may say.
        title: What it is, in a few words.
        repo_id: Its place on the Hugging Face hub.
        file: Its file there.
        licence: Name of its licence (SPDX), a key of ``LICENCES``.
        model: The network, a key of ``VIT_SHAPES``.
        pool: The head it is made for.
        image_px: Side of the image that its position embedding is made for. Unit: px.
        modality: What it has learned from: ``"fundus"``, ``"oct"``, or ``""`` = everyday pictures.
        citation: What to cite.
        nest: Where the tensors lie in the file: ``"model"``, ``"teacher"``, or ``""`` = at its top.
        gated: Whether the hub asks for consent on the release's page first.
        revision: Branch or commit.
        sha256: Hash of the file, None = nobody we could cite says it; then what the hub announces at the first fetch
            is checked and kept.

    Example:
        >>> by_name("RETFound_mae_natureCFP").page
        'https://huggingface.co/YukunZhou/RETFound_mae_natureCFP'

    References:
        Our own.
    """

    name: str
    title: str
    repo_id: str
    file: str
    licence: str
    model: str
    pool: Literal["avg", "cls"]
    image_px: int
    modality: str
    citation: str
    nest: str = ""
    gated: bool = False
    revision: str = "main"
    sha256: str | None = None

    @property
    def page(self) -> str:
        """The release's page on the hub."""
        return f"https://huggingface.co/{self.repo_id}"

    @property
    def licence_page(self) -> str:
        """Where the licence's text is."""
        return LICENCES[self.licence].page


_NATURE = "Zhou et al., A foundation model for generalizable disease detection from retinal images, Nature 2023;622:156"
_COHORTS = (
    "Zhou et al., Understanding pre-training data effects in retinal foundation models using two large fundus cohorts, "
    "Nature Communications 2026, doi:10.1038/s41467-026-70077-z"
)
_MAE = "He et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022"
_DINOV2 = "Oquab et al., DINOv2: Learning Robust Visual Features without Supervision, TMLR 2024, arXiv:2304.07193"


def _retfound(variant: str, title: str, *, modality: str, citation: str) -> Release:
    """A checkpoint of RETFound: always one gated file, named as its repository."""
    name, dinov2 = f"RETFound_{variant}", variant.startswith("dinov2")
    return Release(
        name,
        title,
        repo_id=f"YukunZhou/{name}",
        file=f"{name}.pth",
        # So says the card of RETFound_mae_meh, and so does the licence of RETFound's code.
        licence="CC-BY-NC-4.0",
        model="vit_large_patch14_dinov2" if dinov2 else "vit_large_patch16",
        pool="cls" if dinov2 else "avg",
        # DINOv2's went on from DINOv2 ViT-L/14 and kept its 37 x 37 positions, say people who have opened the file.
        image_px=518 if dinov2 else 224,
        modality=modality,
        citation=citation,
        nest="teacher" if dinov2 else "model",
        gated=True,
    )


def _timm(name: str, title: str, *, model: str, licence: str, citation: str) -> Release:
    """A checkpoint of timm's repositories: an open safetensors file with timm's names."""
    dinov2 = "dinov2" in name
    return Release(
        name,
        title,
        repo_id=f"timm/{name}",
        file="model.safetensors",
        licence=licence,
        model=model,
        pool="cls" if dinov2 else "avg",
        image_px=518 if dinov2 else 224,
        modality="",
        citation=citation,
    )


_RELEASES = (
    _retfound("mae_natureCFP", "RETFound, MAE, fundus photographs", modality="fundus", citation=_NATURE),
    _retfound("mae_natureOCT", "RETFound, MAE, OCT scans", modality="oct", citation=_NATURE),
    _retfound("mae_meh", "RETFound, MAE, Moorfields", modality="fundus", citation=_COHORTS),
    _retfound("mae_shanghai", "RETFound, MAE, Shanghai", modality="fundus", citation=_COHORTS),
    _retfound("dinov2_meh", "RETFound, DINOv2, Moorfields", modality="fundus", citation=_COHORTS),
    _retfound("dinov2_shanghai", "RETFound, DINOv2, Shanghai", modality="fundus", citation=_COHORTS),
    _timm(
        "vit_base_patch16_224.mae",
        "MAE ViT-B/16, ImageNet-1k",
        model="vit_base_patch16",
        licence="CC-BY-NC-4.0",
        citation=_MAE,
    ),
    _timm(
        "vit_large_patch16_224.mae",
        "MAE ViT-L/16, ImageNet-1k",
        model="vit_large_patch16",
        licence="CC-BY-NC-4.0",
        citation=_MAE,
    ),
    _timm(
        "vit_small_patch14_dinov2.lvd142m",
        "DINOv2 ViT-S/14, LVD-142M",
        model="vit_small_patch14_dinov2",
        licence="Apache-2.0",
        citation=_DINOV2,
    ),
    _timm(
        "vit_base_patch14_dinov2.lvd142m",
        "DINOv2 ViT-B/14, LVD-142M",
        model="vit_base_patch14_dinov2",
        licence="Apache-2.0",
        citation=_DINOV2,
    ),
    _timm(
        "vit_large_patch14_dinov2.lvd142m",
        "DINOv2 ViT-L/14, LVD-142M",
        model="vit_large_patch14_dinov2",
        licence="Apache-2.0",
        citation=_DINOV2,
    ),
)


def releases() -> tuple[Release, ...]:
    """List the zoo.

    Returns:
        All releases, in the order in which they are shown.

    Example:
        >>> len(releases())
        11

    References:
        Our own.
    """
    return _RELEASES


def find(name: str) -> Release | None:
    """Look a name up.

    Args:
        name: A release's name; upper and lower case do not matter.

    Returns:
        The release, or None.

    Example:
        >>> find("retfound_MAE_meh").name, find("random")
        ('RETFound_mae_meh', None)

    References:
        Our own.
    """
    return next((release for release in _RELEASES if release.name.lower() == name.lower()), None)


def by_name(name: str) -> Release:
    """Find a release, or say which names are near.

    Args:
        name: A release's name; upper and lower case do not matter.

    Returns:
        The release.

    Raises:
        WeightsRefused: If there is none of that name; near ones are offered.

    Example:
        >>> by_name("RETFound_mae_natureCPF")
        Traceback (most recent call last):
        eyeground.model.weights.WeightsRefused: no release is called 'RETFound_mae_natureCPF'; near:
        RETFound_mae_natureCFP, RETFound_mae_natureOCT (all: eyeground weights list)

    References:
        Our own.
    """
    release = find(name)
    if release is not None:
        return release
    known = {each.name.lower(): each.name for each in _RELEASES}
    near = ", ".join(known[word] for word in get_close_matches(name.lower(), known, n=2))
    raise WeightsRefused(
        f"no release is called {name!r}" + (f"; near: {near}" if near else "") + " (all: eyeground weights list)"
    )


def by_sha256(sha256: str) -> Release | None:
    """Recognize a published file.

    Args:
        sha256: Hash of a file's content, hexadecimal.

    Returns:
        The release with this very file, None where no release is known by this hash.

    Example:
        >>> by_sha256("0" * 64) is None
        True

    References:
        Our own.
    """
    return next((release for release in _RELEASES if release.sha256 == sha256.lower()), None)


def by_file(name: str, tensors: Mapping[str, NDArray[Any]]) -> Release | None:
    """Find the release that a file looks like, by its name and every key and shape; this proves nothing.

    Args:
        name: The file's name. One that several releases share, such as ``model.safetensors``, tells nothing.
        tensors: Its arrays, by canonical name.

    Returns:
        The release, None where none is like it.

    Example:
        >>> by_file("RETFound_mae_meh.pth", {"cls_token": np.zeros((1, 1, 1024))}) is None
        True

    References:
        Our own.
    """
    named = [release for release in _RELEASES if release.file == name]
    if len(named) != 1:
        return None
    try:
        check_release(named[0], tensors)
    except WeightsRefused:
        return None
    return named[0]


def encoder_shapes(release: Release) -> Mapping[str, tuple[int, ...]]:
    """Tell what a release must hold.

    Args:
        release: Which one.

    Returns:
        Canonical name -> shape, of every tensor of the encoder.

    Example:
        >>> len(encoder_shapes(by_name("RETFound_mae_natureCFP")))
        294

    References:
        24 blocks of 12 tensors, CLS token, positions, patch embedding (2), norm (2).
    """
    # Releases come from pre-training, which ends in `norm`; `fc_norm` belongs to a fine-tuned head.
    spec = ModelSpec(release.model, classes=1, image_px=release.image_px, pool="cls")
    return parameter_shapes(spec, head=False)


def check_release(release: Release, tensors: Mapping[str, NDArray[Any]]) -> int:
    """Hold a file's tensors against what the release must hold.

    What belongs to pre-training only (decoder, mask token, DINOv2's heads) may be there. Positions may be of another
    square grid, because loading resizes them.

    Args:
        release: Which one the file is said to be.
        tensors: Its arrays, by canonical name.

    Returns:
        Number of tensors of the encoder.

    Raises:
        WeightsRefused: If tensors are missing, unknown, of another shape or not finite; all kinds of fault are told
            together.

    Example:
        >>> check_release(by_name("vit_base_patch16_224.mae"), {"cls_token": np.zeros((1, 1, 384))})
        Traceback (most recent call last):
        eyeground.model.weights.WeightsRefused: this is not vit_base_patch16_224.mae, a vit_base_patch16 of 150 tensors:
        149 missing: blocks.0.attn.proj.bias, ... and 141 more; 1 of another shape: cls_token (file (1, 1, 384),
        network (1, 1, 768))

    References:
        Our own.
    """
    shapes = encoder_shapes(release)
    _, report = fit(tensors, shapes, head="head")
    # A fine-tuned file has them; a released encoder has not.
    heads = tuple(name for name in sorted(tensors) if name.startswith(("head.", "fc_norm.")))
    wrong = {
        "missing": report.missing,
        "unknown": (*report.unexpected, *heads),
        "of another shape": report.mismatched,
        "with NaN or infinity": tuple(name for name, array in tensors.items() if not _finite(array)),
    }
    if any(wrong.values()):
        told = "; ".join(f"{len(names)} {what}: {_some(names)}" for what, names in wrong.items() if names)
        raise WeightsRefused(f"this is not {release.name}, a {release.model} of {len(shapes)} tensors: {told}")
    return len(shapes)


def _finite(array: NDArray[Any]) -> bool:
    """Whether all values are numbers."""
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def _some(names: tuple[str, ...], most: int = 8) -> str:
    """Name all of a few, and the first of many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more

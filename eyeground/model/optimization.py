"""How weights learn, where and in which numbers, as data."""

from dataclasses import dataclass
from typing import Literal

Framework = Literal["torch", "paddle", "mindspore"]
Device = Literal["auto", "cpu", "cuda", "mps", "gpu", "xpu", "npu", "ascend"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class Optimization:
    """How the weights learn.

    Args:
        weight_decay: AdamW's decay for parameters with two dimensions or more.
        layer_decay: Learning-rate factor per layer counted from the head, (0, 1].
        betas: AdamW's two averages.
        clip_norm: Greatest gradient norm; 0 = no clipping.
        label_smoothing: Share of the truth spread over all classes, [0, 1).

    Example:
        >>> Optimization().layer_decay
        0.65

    References:
        Zhou et al., Nature 2023: the defaults.
    """

    weight_decay: float = 0.05
    layer_decay: float = 0.65
    betas: tuple[float, float] = (0.9, 0.999)
    clip_norm: float = 0.0
    label_smoothing: float = 0.0

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
        step_in_backward: Each weight takes its step as soon as its gradient is there, so that gradients need no memory
            of their own. The weights come out the same; but where a gradient is not finite, those nearer to the head
            have taken their step. Of torch's engines for classifiers and masked autoencoders, without clipping, with
            one micro-batch a step.

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
    step_in_backward: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be had together."""
        if self.step_in_backward and self.clip_norm:
            raise ValueError(
                f"step_in_backward needs clip_norm=0, not {self.clip_norm}: the length of the whole gradient is known "
                "only when the first weights have taken their step. Turn one of the two off"
            )

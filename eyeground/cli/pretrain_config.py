"""The keys of a pre-training, each with its range and its default."""

from typing import Literal

from pydantic import Field, model_validator

from eyeground.cli.config import Average, DataSource, RunConfig

RATIOS = r"^\d+(\.\d+)?(:\d+(\.\d+)?){1,2}$"


class PretrainSource(DataSource):
    """One folder of images to pre-train on, labelled or not.

    The keys of ``DataSource``, and:

    Args:
        training_part_of: Ratios such as ``60:20:20``: only the training part of that split is used, drawn as
            ``finetune`` draws it from this source alone with the same ``split_seed``.

    Example:
        >>> PretrainSource(path="images", training_part_of="60:20:20").training_part_of
        '60:20:20'

    References:
        Our own.
    """

    training_part_of: str | None = Field(None, pattern=RATIOS)


class PretrainConfig(RunConfig):
    """Everything ``eyeground pretrain`` can be told; the defaults are MAE's as RETFound has them.

    The keys of ``RunConfig``, some with other defaults, and:

    Args:
        data: A folder, or a list of sources joined into one set.
        method: ``mae`` or ``simclr``.
        split_seed: Draws the splits of sources with ``training_part_of``.
        mask_ratio: MAE: share of the patches that are hidden.
        norm_pix: MAE: predict pixels after taking each patch's mean and standard deviation out.
        decoder_width: MAE: length of a decoder token.
        decoder_depth: MAE: decoder blocks.
        decoder_heads: MAE: attention heads of the decoder.
        temperature: SimCLR: divides the cosine similarities.
        projector: SimCLR: widths of the projector's layers.
        blr: Peak learning rate for a batch of 256.
        min_lr: Learning rate at the end.
        warmup_epochs: Length of the linear rise.
        epochs: Length of the run.
        betas: AdamW's two averages.
        drop_path: Greatest drop-path rate.
        crop_scale: Least and greatest area of a random crop.
        rand_augment: timm's string, empty = off.
        random_erasing: Probability.
        neighbors: Labelled images that judge each epoch by their nearest neighbors, 0 = none. Labels never train.
        picture_epochs: MAE: draw reconstructions every so many epochs, 0 = at the end only.

    Example:
        >>> PretrainConfig(data="images", method="mae").mask_ratio
        0.75

    References:
        He et al., CVPR 2022; Chen et al., ICML 2020; RETFound_MAE at 897d71c for the defaults.
    """

    data: tuple[PretrainSource, ...] = Field(min_length=1)
    method: Literal["mae", "simclr"]
    split_seed: int = Field(0, ge=0)
    mask_ratio: float = Field(0.75, gt=0, lt=1)
    norm_pix: bool = False
    decoder_width: int = Field(512, ge=4)
    decoder_depth: int = Field(8, ge=1)
    decoder_heads: int = Field(16, ge=1)
    temperature: float = Field(0.1, gt=0)
    projector: tuple[int, ...] = (2048, 128)

    blr: float = Field(1e-3, gt=0)
    min_lr: float = Field(0.0, ge=0)
    warmup_epochs: float = Field(40, ge=0)
    epochs: int = Field(400, ge=1)
    betas: tuple[Average, Average] = (0.9, 0.95)
    drop_path: float = Field(0.0, ge=0, lt=1)
    crop_scale: tuple[float, float] = (0.2, 1.0)
    rand_augment: str = ""
    random_erasing: float = Field(0.0, ge=0, le=1)
    neighbors: int = Field(400, ge=0)
    picture_epochs: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _contrast(self) -> "PretrainConfig":
        """A batch of one image has nothing to be told from."""
        if self.method == "simclr" and self.batch_size * self.accumulation < 2:
            raise ValueError("simclr tells images of a batch apart: batch_size times accumulation must be at least 2")
        for key in ("step_in_backward", "compiled"):
            if self.method == "simclr" and getattr(self, key):
                raise ValueError(f"{key} is for method: mae; simclr goes through each part of a batch twice")
        return self

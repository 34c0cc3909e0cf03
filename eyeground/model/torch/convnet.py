"""Any timm network as a classifier: EfficientNet, MobileNet, Swin and the rest; and frozen batch norm."""

import timm
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from eyeground.model.spec import ModelSpec


def build_timm(spec: ModelSpec) -> nn.Module:
    """Build a timm network with random weights.

    Args:
        spec: Its name is a timm model name; ``options`` go to timm.

    Returns:
        The network: images (N, 3, H, W) to logits (N, K).

    Raises:
        ValueError: If timm does not know the name (near names are listed), or refuses an option.

    Example:
        >>> build_timm(ModelSpec("mobilenetv2_100", classes=3)).get_classifier().out_features
        3

    References:
        Wightman, PyTorch Image Models, 2019.
    """
    if not timm.is_model(spec.name):
        near = timm.list_models(f"*{spec.name.split('_')[0][:6]}*")[:5]
        raise ValueError(
            f"model {spec.name!r} is neither one of our ViT shapes nor a timm model; near: {', '.join(near)}"
        )
    options = dict(spec.options)
    if spec.drop_path:
        options["drop_path_rate"] = spec.drop_path
    # Swin and timm's own ViTs build tables for a fixed input size; convolutional networks take any.
    if "img_size" not in options and _takes_image_size(spec.name):
        options["img_size"] = spec.image_px
    try:
        return timm.create_model(spec.name, pretrained=False, num_classes=spec.classes, **options)
    except (TypeError, AssertionError) as error:
        raise ValueError(f"timm cannot build {spec.name} with {options}: {error}") from error


def _takes_image_size(name: str) -> bool:
    """Tell from timm's own table whether the input size is fixed when the network is built."""
    pretrained = timm.get_pretrained_cfg(name)
    return bool(pretrained is not None and pretrained.fixed_input_size)


def freeze_batch_norm(network: nn.Module) -> int:
    """Keep every batch norm on its stored statistics, also in training mode.

    Scale and shift still learn; only the running statistics stay.

    Args:
        network: A network in training mode.

    Returns:
        How many batch norms there are.

    Example:
        >>> freeze_batch_norm(nn.Sequential(nn.BatchNorm2d(3)).train())
        1

    References:
        Our own; needed where statistics were folded into the weights.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    for module in norms:
        module.eval()
    return len(norms)

"""A pass through a network that leaves nothing behind."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def at_rest(network: nn.Module) -> Iterator[None]:
    """Have a network in evaluation mode and in fp32, with gradients for activations alone.

    Args:
        network: It is given back as it came, also after an error: modes, which parameters learn, checkpointing.

    Yields:
        Nothing. Gradients can be asked for inside, whatever the caller turned off.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> with at_rest(layer):
        ...     layer.training, layer.weight.requires_grad
        (False, False)
        >>> layer.training, layer.weight.requires_grad
        (True, True)

    References:
        Our own.
    """
    modes = [(module, module.training) for module in network.modules()]
    learning = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    # A checkpointed block throws away the activations that a method asks for.
    checkpointing: list[Any] = [
        module for module in network.modules() if getattr(module, "grad_checkpointing", False) is True
    ]
    try:
        network.eval()
        for parameter, _ in learning:
            parameter.requires_grad_(False)
        for module in checkpointing:
            module.grad_checkpointing = False
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast(device_of(network).type, enabled=False),
        ):
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, learns in learning:
            parameter.requires_grad_(learns)
        for module in checkpointing:
            module.grad_checkpointing = True


def device_of(network: nn.Module) -> torch.device:
    """Tell where a network computes.

    Args:
        network: Any.

    Returns:
        The device of its first parameter; the processor where it has none.

    Example:
        >>> device_of(nn.Linear(2, 2))
        device(type='cpu')

    References:
        Our own.
    """
    first = next(network.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def fresh(*tensors: torch.Tensor) -> list[torch.Tensor]:
    """Copy what the caller gave, so that gradients can be asked for and nothing reaches the caller's own.

    Args:
        tensors: Images and directions, of any kind, also such as ``torch.inference_mode`` makes.

    Returns:
        The same in fp32.

    Example:
        >>> with at_rest(nn.Linear(2, 2)):
        ...     fresh(torch.zeros(2, dtype=torch.float64))[0].dtype
        torch.float32

    References:
        Our own.
    """
    return [tensor.detach().to(torch.float32, copy=True) for tensor in tensors]


def name_of(network: nn.Module) -> str:
    """Name a network for a message.

    Args:
        network: Any.

    Returns:
        The name that timm built it by; the name of its class where there is none.

    Example:
        >>> name_of(nn.Linear(2, 2))
        'Linear'

    References:
        Our own.
    """
    told = getattr(network, "pretrained_cfg", None)
    name = told.get("architecture") if isinstance(told, dict) else getattr(told, "architecture", None)
    return str(name or type(network).__name__)

"""A transformer that only answers, in bf16, its linear layers laid out once as the processor multiplies them."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eyeground.model.engine import Images
from eyeground.model.spec import ModelSpec
from eyeground.model.torch.feasible import choose_precision
from eyeground.model.torch.network import start
from eyeground.model.weights import Tensors

# Rows that the layout is made for: eight images of ViT at 224 px. One image is multiplied as fast by it; a layout made
# for one image takes twice as long for eight.
_ROWS = 8 * 197


class PackedLinear(nn.Module):
    """A linear layer in bf16 whose weight is laid out beforehand.

    torch lays a weight out anew in every call, which takes as long as multiplying one image by it. The numbers are
    those of the same layer under bf16 autocast.

    Args:
        layer: What it stands for.

    Example:
        >>> layer = nn.Linear(16, 8)
        >>> PackedLinear(layer)(torch.zeros(2, 16)).shape if can_pack() else torch.Size([2, 8])
        torch.Size([2, 8])

    References:
        oneDNN, as torch's own compiler calls it; measured in docs/results.md.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight = layer.weight.detach().to(torch.bfloat16)
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS)
        self.bias = None if layer.bias is None else layer.bias.detach().to(torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply and add.

        Args:
            x: Shape (..., in).

        Returns:
            Shape (..., out), bf16.
        """
        found: Tensor = torch.ops.mkldnn._linear_pointwise(x.to(torch.bfloat16), self.packed, self.bias, "none", [], "")
        return found


def can_pack() -> bool:
    """Tell whether this processor and this torch have what ``PackedLinear`` needs.

    Returns:
        Whether the processor multiplies bf16 itself, and torch was built with oneDNN.

    Example:
        >>> can_pack() in (True, False)
        True

    References:
        Our own.
    """
    built = torch.backends.mkldnn.is_available() and all(  # type: ignore[no-untyped-call]
        hasattr(torch.ops.mkldnn, name) for name in ("_reorder_linear_weight", "_linear_pointwise")
    )
    return built and choose_precision("auto", device_type="cpu") == "bf16"


def pack(network: nn.Module) -> int:
    """Put ``PackedLinear`` where linear layers are.

    Args:
        network: It is changed in place, and can only answer from now on.

    Returns:
        How many layers were changed.

    Example:
        >>> pack(nn.Sequential(nn.Linear(16, 8), nn.ReLU())) if can_pack() else 1
        1

    References:
        Our own.
    """
    found = [
        (parent, name, child)
        for parent in network.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Linear
    ]
    for parent, name, child in found:
        setattr(parent, name, PackedLinear(child))
    return len(found)


class PackedNetwork:
    """A vision transformer that answers in bf16 on a processor that has it.

    Args:
        spec: What to build, one of our ViT shapes.
        tensors: All of its weights, by canonical name.
        threads: Processor threads; 0 leaves torch's choice.

    Raises:
        WeightsRefused: If the weights do not belong to the network.

    Example:
        >>> from eyeground.model.torch.network import build
        >>> spec = ModelSpec("vit_demo_patch8", classes=2, image_px=32)
        >>> tensors = {name: tensor.numpy() for name, tensor in build(spec).state_dict().items()}
        >>> images = np.zeros((4, 3, 32, 32), np.float32)
        >>> PackedNetwork(spec, tensors).outputs(images).shape if can_pack() else (4, 2)
        (4, 2)

    References:
        Our own; what is multiplied is rounded, what is added stays fp32, as under torch's autocast.
    """

    def __init__(self, spec: ModelSpec, tensors: Tensors, *, threads: int = 0) -> None:
        if threads:
            torch.set_num_threads(threads)
        network, _ = start(spec, tensors=tensors, seed=0)
        count = sum(parameter.numel() for parameter in network.parameters())
        self.description = f"torch {torch.__version__} on cpu, bf16, {count:,} parameters, laid out for this processor"
        pack(network)
        self._network: Any = network.eval()

    @torch.inference_mode()
    def outputs(self, images: Images) -> NDArray[np.float32]:
        """Give what the head gives, before any score is made of it.

        Args:
            images: Shape (N, 3, H, W).

        Returns:
            Shape (N, outputs).
        """
        with torch.autocast("cpu", torch.bfloat16):
            found: Tensor = self._network(torch.from_numpy(images))
        return found.float().numpy()

"""A network of which the last layers are drawn anew: what a heat map is tested against."""

import torch
from torch import nn

from eyeground.model.layer_decay import depth_of, layer_of
from eyeground.model.spec import ModelSpec
from eyeground.model.torch.network import classifier_name, start
from eyeground.model.weights import Tensors


def randomized(spec: ModelSpec, tensors: Tensors, *, share: float, seed: int) -> nn.Module:
    """Forget the last part of what a network learned.

    Args:
        spec: What to build.
        tensors: All its weights by canonical name, LoRA merged, as ``TorchEngine.whole`` gives them.
        share: How much of its blocks is drawn anew, counted from the head, [0, 1]: 0 is the classifier alone, 1
            everything. Norms behind the blocks go with the last block.
        seed: Draws the new weights, as a run that begins with random ones does.

    Returns:
        The network in evaluation mode, on the processor.

    Raises:
        ValueError: If the share is out of range, or the network is not to be had.
        WeightsRefused: If the weights do not fit.

    Example:
        >>> spec = ModelSpec("vit_demo_patch8", classes=3, image_px=32)
        >>> learned, _ = start(spec, tensors=None, seed=0)
        >>> tensors = {name: tensor.numpy() for name, tensor in learned.state_dict().items()}
        >>> half = randomized(spec, tensors, share=0.5, seed=1).state_dict()
        >>> [bool((half[f"blocks.{n}.mlp.fc1.weight"] == learned.blocks[n].mlp.fc1.weight).all()) for n in range(4)]
        [True, True, False, False]

    References:
        Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018: cascading randomization.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}: it lies in [0, 1]")
    network, _ = start(spec, tensors=tensors, seed=seed)
    fresh, _ = start(spec, tensors=None, seed=seed)
    names = list(fresh.state_dict())
    head = classifier_name(fresh)
    depth = depth_of(names)
    kept = depth - round(share * depth)  # blocks, from the image on
    if share == 0:
        anew = {name for name in names if name.startswith(f"{head}.")}
    elif share == 1:
        anew = set(names)
    elif depth:
        anew = {name for name in names if layer_of(name, depth=depth) > kept}
    else:  # layers whose names tell no order: as they stand in the network
        anew = set(names[round((1 - share) * len(names)) :]) | {name for name in names if name.startswith(f"{head}.")}
    with torch.no_grad():
        drawn = fresh.state_dict()
        network.load_state_dict({name: drawn[name] for name in sorted(anew)}, strict=False)
    return network.eval()

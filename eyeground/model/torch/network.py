"""Spec -> network, and weights into it key by key."""

from collections.abc import Collection, Iterator

import torch
from torch import nn

from eyeground.model.spec import ModelSpec
from eyeground.model.torch.convnet import build_timm
from eyeground.model.torch.vit import build_vit
from eyeground.model.weights import LoadReport, Tensors, WeightsRefused, canonical, fit


def build(spec: ModelSpec) -> nn.Module:
    """Build the network a spec names, with random weights and a head that starts near zero.

    Args:
        spec: One of our ViT shapes, or any timm name.

    Returns:
        The network: images (N, 3, H, W) to logits (N, K).

    Raises:
        ValueError: If nothing goes by that name.

    Example:
        >>> sum(p.numel() for p in build(ModelSpec("vit_tiny_patch16", classes=5)).parameters())
        5525381

    References:
        Our own.
    """
    network = build_vit(spec) if spec.vit else build_timm(spec)
    # RETFound's start for a new head; timm's own (up to +-0.6 for three classes) begins with a loss of 5 and more.
    head = network.get_submodule(classifier_name(network))
    if isinstance(head, nn.Linear):
        nn.init.trunc_normal_(head.weight, std=2e-5)
        nn.init.zeros_(head.bias)
    return network


def start(spec: ModelSpec, *, tensors: Tensors | None, seed: int) -> tuple[nn.Module, LoadReport | None]:
    """Build a network as a run begins with it.

    Args:
        spec: What to build.
        tensors: Weights by the file's own names; None = random.
        seed: Draws the random weights and the new head; torch's own generator stays as it was.

    Returns:
        The network, and what became of every key; None where weights are random.

    Raises:
        WeightsRefused: If the weights do not fit.
        ValueError: If the network is not to be had.

    Example:
        >>> network, report = start(ModelSpec("vit_demo_patch8", classes=3, image_px=32), tensors=None, seed=0)
        >>> report is None
        True

    References:
        Our own.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(spec)
    if tensors is None:
        return network, None
    # Weights from before the adapters are put under new ones; a file that has some must have them all.
    begun = any(".adapter_" in name for name in tensors)
    depth = spec.vit.depth if spec.vit and spec.adapter_width and not begun else 0
    fresh = [f"blocks.{number}.adapter_" for number in range(depth)]
    return network, load(network, tensors, fresh=fresh)


def load(network: nn.Module, tensors: Tensors, *, fresh: Collection[str] = (), head: str = "") -> LoadReport:
    """Put weights from a file into a network, or refuse them.

    Args:
        network: Built by ``build``, or one for pre-training.
        tensors: Arrays by the file's own names.
        fresh: Beginnings of names that may start anew beside the head, such as ``"decoder_"``.
        head: Name of the classifier; empty = ask the network.

    Returns:
        What became of every key.

    Raises:
        WeightsRefused: If anything but the head is missing, unexpected or of another shape; the message holds the
            report, and the network is unchanged.

    Example:
        >>> vit = build(ModelSpec("vit_demo_patch8", classes=3, image_px=32))
        >>> load(vit, {name: tensor.numpy() for name, tensor in vit.state_dict().items()}).ok
        True

    References:
        Our own.
    """
    state = network.state_dict()
    counters = [name for name in state if name.endswith("num_batches_tracked")]
    take, report = fit(
        canonical(tensors),
        {name: tuple(tensor.shape) for name, tensor in state.items()},
        head=head or classifier_name(network),
        fresh=fresh,
        prefix_tokens=getattr(network, "num_prefix_tokens", 1),
        buffers=counters,
    )
    if not report.ok:
        wrong = {status: report.lines().get(status, []) for status in ("missing", "unexpected", "mismatched")}
        told = "; ".join(f"{len(keys)} {status}: {', '.join(keys[:8])}" for status, keys in wrong.items() if keys)
        down = next((array for name, array in tensors.items() if name.endswith(".adapter_attn.down.weight")), None)
        hint = "Choose the model the file was trained as, or check its image_px, pool and options"
        if down is not None:
            hint = f"The file has adapters inside its blocks: set adapt=adapter adapter_width={len(down)}"
        raise WeightsRefused(f"these weights do not belong to this network ({report.summary()}). {told}. {hint}")
    network.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in take.items()}, strict=False)
    return report


def classifier_name(network: nn.Module) -> str:
    """Find the classifier's name among a network's modules.

    Args:
        network: A timm network or one of ours.

    Returns:
        Dotted name without ``.weight``, such as ``head`` or ``classifier``.

    Example:
        >>> classifier_name(build(ModelSpec("mobilenetv2_100", classes=3)))
        'classifier'

    References:
        timm's ``get_classifier``.
    """
    classifier: object = network.get_classifier()  # type: ignore[operator]
    return next(str(name) for name, module in network.named_modules() if module is classifier)


def layers_of(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Name the layers by which a network is compared with its like in another framework.

    Args:
        network: A timm network or one of ours.

    Yields:
        Its own layers that have weights; of a row of blocks each; in order, the classifier last.

    Example:
        >>> [name for name, _ in layers_of(build(ModelSpec("vit_demo_patch8", classes=3, image_px=32)))]
        ['patch_embed', 'blocks.0', 'blocks.1', 'blocks.2', 'blocks.3', 'fc_norm', 'head']

    References:
        Our own.
    """
    for name, layer in network.named_children():
        if isinstance(layer, nn.Sequential | nn.ModuleList):
            yield from ((f"{name}.{number}", inner) for number, inner in layer.named_children())
        elif next(layer.parameters(), None) is not None:
            yield name, layer

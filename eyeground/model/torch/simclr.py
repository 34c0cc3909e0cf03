"""SimCLR: two views of an image shall lie closer together than any two images."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from eyeground.model.processes import ALONE, Processes
from eyeground.model.spec import SimclrSpec
from eyeground.model.torch.network import build

# Below this length a projection has no direction left: float32 squares it to 1e-24, still far above underflow.
_SHORTEST = 1e-12


def nt_xent(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """Normalized, temperature-scaled cross entropy: tell each view's partner from the 2N - 2 other views.

    A projection of length 0 is similar to nothing (cosine 0) and gets no gradient.

    Args:
        z1: Projections of the first views, shape (N, P), not normalized. Row i belongs to row i of ``z2``.
        z2: Projections of the second views, shape (N, P).
        temperature: Divides the cosine similarities, above 0.

    Returns:
        Mean loss over the 2N views, a scalar: float64 for float64, float32 for everything else, also under autocast.
        Collapsed features give log(2N - 1).

    Raises:
        ValueError: If the shapes differ or are not (N, P) with N and P at least 1, or the temperature is not above 0.

    Example:
        >>> nt_xent(torch.ones(64, 8), torch.ones(64, 8), temperature=0.5)
        tensor(4.8442)
        >>> nt_xent(torch.eye(2), 3 * torch.eye(2), temperature=0.1) < 1e-3
        tensor(True)

    References:
        Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020, equation 1.
    """
    if z1.shape != z2.shape:
        raise ValueError(f"the two views' projections differ in shape: {tuple(z1.shape)} and {tuple(z2.shape)}")
    if z1.ndim != 2 or 0 in z1.shape:
        raise ValueError(f"projections have shape {tuple(z1.shape)}: (N, P) with N and P at least 1 is wanted")
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}: it is above 0, such as 0.1")
    with torch.autocast(z1.device.type, enabled=False):
        z = torch.cat([_at_least_float32(z1), _at_least_float32(z2)])  # (2N, P)
        length = torch.linalg.vector_norm(z, dim=1, keepdim=True)
        # "Not longer", so that NaN stays NaN.
        unit = torch.where(length <= _SHORTEST, 0.0, z / length.clamp_min(_SHORTEST))
        # The loss knows only differences within a row, so that a point taken from every column changes nothing but the
        # rounding: near collapse these differences are tiny, and a small temperature blows up what rounding leaves.
        similarity = unit @ (unit - unit[:1].detach()).T  # (2N, 2N)
        count = len(z1)
        partner = torch.cat([similarity.diagonal(count), similarity.diagonal(-count)])  # (2N,)
        logits = (similarity - partner[:, None]) / temperature
        itself = torch.eye(2 * count, dtype=torch.bool, device=z.device)
        return logits.masked_fill(itself, -torch.inf).logsumexp(dim=1).mean()


def _at_least_float32(tensor: Tensor) -> Tensor:
    """Raise bf16 and fp16 to float32; float64 stays."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


class ContrastiveNetwork(nn.Module):
    """An encoder without its head, and the projector whose output is compared.

    The projector is the paper's z = W2 relu(W1 h), without biases, with batch norm after each hidden layer as lightly
    and the authors' code have it, and nothing after the last.

    Args:
        spec: What to build.

    Raises:
        ValueError: If nothing goes by the backbone's name, or it gives no flat features.

    Example:
        >>> network = ContrastiveNetwork(SimclrSpec("vit_demo_patch8", image_px=32, projector=(64, 16)))
        >>> network(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 16])
        >>> sorted({name.partition(".")[0] for name in network.state_dict()})
        ['backbone', 'projector']

    References:
        Chen et al., ICML 2020, section 2.1; Susmelj et al., "Lightly", 2020, for batch norm.
    """

    def __init__(self, spec: SimclrSpec) -> None:
        super().__init__()
        self.backbone = build(spec.encoder)
        self.backbone.reset_classifier(0)  # type: ignore[operator]
        widths = [_width(self.backbone, spec.image_px), *spec.projector]
        self.projector = nn.Sequential()
        for before, after in pairwise(widths[:-1]):
            self.projector.extend([nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.ReLU()])
        self.projector.append(nn.Linear(widths[-2], widths[-1], bias=False))

    def forward(self, images: Tensor) -> Tensor:
        """Project images to where views are compared.

        Args:
            images: Shape (N, 3, H, W).

        Returns:
            Projections, shape (N, P), not normalized.
        """
        projected: Tensor = self.projector(self.features(images))
        return projected

    def features(self, images: Tensor) -> Tensor:
        """Give what a classifier's head would see.

        Args:
            images: Shape (N, 3, H, W).

        Returns:
            Features, shape (N, D).
        """
        seen: Tensor = self.backbone(images)
        return seen


@torch.no_grad()
def _width(backbone: nn.Module, image_px: int) -> int:
    """Measure the features' width: timm's ``num_features`` leaves out what MobileNetV3 and V4 widen before the head."""
    backbone.eval()
    features: Tensor = backbone(torch.zeros(1, 3, image_px, image_px))
    backbone.train()
    if features.ndim != 2:
        raise ValueError(f"features have shape {tuple(features.shape)}, not (N, D); choose a backbone that pools them")
    return features.shape[1]


@dataclass(frozen=True)
class StepResult:
    """What one contrastive step saw; its gradients lie in the network.

    Args:
        loss: The whole batch's loss, a scalar without a graph.
        z1: Projections of all first views, shape (N, P), without a graph.
        z2: Projections of all second views, shape (N, P), without a graph.
        slopes: Length of the loss's gradient by ``z1`` and by ``z2``; 0 means that a view is not learned from.

    Example:
        >>> StepResult(torch.tensor(0.0), torch.zeros(4, 2), torch.zeros(4, 2), (0.1, 0.1)).z1.shape
        torch.Size([4, 2])

    References:
        Our own.
    """

    loss: Tensor
    z1: Tensor
    z2: Tensor
    slopes: tuple[float, float]


def contrastive_step(
    network: nn.Module,
    chunks: Sequence[tuple[Tensor, Tensor]],
    *,
    temperature: float,
    seed: int,
    backward: Callable[[Tensor], object] = torch.autograd.backward,
    forward: Callable[[], AbstractContextManager[object]] = nullcontext,
    syncing: Callable[[bool], AbstractContextManager[object]] = lambda last: nullcontext(),
    processes: Processes = ALONE,
) -> StepResult:
    """Add one batch's exact gradient to the network's, holding the activations of one chunk at a time.

    The first pass collects projections without a graph and asks the loss over all of them for its gradient; the second
    carries each chunk's share back through the network. Both draw the same dropout. One chunk needs one pass only.
    Batch norm sees a chunk at a time, and its statistics end as after one pass. Of several processes each holds its
    share of every chunk, and all images of all of them are told apart.

    Args:
        network: Images (N, 3, H, W) to projections (N, P), in training mode, on the images' device. A module set up by
            Fabric is one too.
        chunks: First and second views, each (n, 3, H, W); both go through the network together. Gone through twice.
        temperature: Divides the cosine similarities, above 0.
        seed: Everything random inside the network follows from it and the chunk's number, at least 0. Torch's
            generators are left wherever that brings them.
        backward: How to go back from a scalar, such as ``fabric.backward``. A loss scale enters once.
        forward: Gives the context in which the network runs, such as ``fabric.autocast``.
        syncing: Gives the context of a chunk's passes with a graph, told whether it is the last.
        processes: Who holds the other shares.

    Returns:
        The loss and all projections, of all processes. The gradients have been added to each parameter's ``grad``.

    Raises:
        ValueError: If there is no chunk, a chunk's views differ in shape, or ``nt_xent`` refuses its input.

    Example:
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
        >>> views = torch.arange(96.0).reshape(2, 4, 3, 2, 2).cos()
        >>> halves = [(views[0, :2], views[1, :2]), (views[0, 2:], views[1, 2:])]
        >>> result = contrastive_step(network, halves, temperature=0.1, seed=0)
        >>> result.z1.shape, network[1].weight.grad.shape
        (torch.Size([4, 4]), torch.Size([4, 12]))

    References:
        Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", RepL4NLP 2021.
    """
    if not chunks:
        raise ValueError("there is nothing to compare: give at least one chunk of views")

    def project(number: int) -> tuple[Tensor, Tensor]:
        """Both views of a chunk in one forward pass, with the chunk's own random draws."""
        view1, view2 = chunks[number]
        if view1.shape != view2.shape:
            raise ValueError(f"chunk {number}: the views differ in shape: {tuple(view1.shape)}, {tuple(view2.shape)}")
        torch.manual_seed(seed_of_chunk(seed, number))
        with forward():
            z = network(torch.cat([view1, view2]))  # (2n, P)
        z1, z2 = _at_least_float32(z).chunk(2)
        return z1, z2

    whole = len(chunks) == 1
    if whole:
        pairs = [project(0)]
    else:
        before = [buffer.clone() for buffer in network.buffers()]
        with torch.no_grad():
            pairs = [project(number) for number in range(len(chunks))]
            for buffer, kept in zip(network.buffers(), before, strict=True):
                buffer.copy_(kept)
    seen = [tuple(processes.whole(z.detach()) for z in pair) for pair in pairs]
    z1, z2 = (torch.cat(views).requires_grad_() for views in zip(*seen, strict=True))
    loss = nt_xent(z1, z2, temperature)
    # dL/dz, (N, P) each; zeros for what a faulty loss or network leaves out, so that the watch on health can name it.
    reached = loss if loss.requires_grad else 0 * (z1.sum() + z2.sum())
    slopes = torch.autograd.grad(reached, [z1, z2], allow_unused=True, materialize_grads=True)
    # A caller's own autocast region would keep the first pass's cast weights, which have no graph.
    torch.clear_autocast_cache()
    sizes = [len(z) for z, _ in seen]
    of_chunks = zip(*(torch.split(slope, sizes) for slope in slopes), strict=True)
    for number, of_chunk in enumerate(of_chunks):
        with syncing(number == len(chunks) - 1):
            pair = pairs[0] if whole else project(number)
            if pair[0].requires_grad:
                backward((torch.cat(pair) * torch.cat([processes.own(slope) for slope in of_chunk])).sum())
    lengths = tuple(float(torch.linalg.vector_norm(slope)) for slope in slopes)
    return StepResult(loss.detach(), z1.detach(), z2.detach(), (lengths[0], lengths[1]))


def seed_of_chunk(seed: int, number: int) -> int:
    """Derive the seed of one chunk of a batch, unlike those of its neighbors and of other batches.

    Args:
        seed: The step's seed, at least 0.
        number: The chunk's place in the batch, from 0.

    Returns:
        A number of 64 bits for ``torch.manual_seed``.

    Raises:
        ValueError: If a number is negative.

    Example:
        >>> seed_of_chunk(0, 1) == seed_of_chunk(1, 0)
        False

    References:
        numpy's SeedSequence.
    """
    return int(np.random.SeedSequence((seed, number)).generate_state(1, np.uint64)[0])

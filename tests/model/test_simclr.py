"""SimCLR: the loss against two loops, large batches in chunks against one pass, and its weights in a classifier."""

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning_fabric import Fabric
from torch import Tensor, nn

from eyeground.model.spec import ModelSpec, SimclrSpec
from eyeground.model.torch.network import build, load
from eyeground.model.torch.simclr import ContrastiveNetwork, StepResult, contrastive_step, nt_xent, seed_of_chunk
from eyeground.model.weights import WeightsRefused

IMAGES = 16
NO_BATCH_NORM = SimclrSpec(
    "vit_demo_patch8", image_px=32, drop_path=0.3, options={"proj_drop_rate": 0.2}, projector=(16,)
)
BATCH_NORM = SimclrSpec("vit_demo_patch8", image_px=32, drop_path=0.3, projector=(32, 16))
CONVOLUTIONS = SimclrSpec("mobilenetv2_100", image_px=64, drop_path=0.2, projector=(32, 16))


def slow_nt_xent(z1: np.ndarray, z2: np.ndarray, temperature: float) -> float:
    """The paper's equation 1, a view at a time."""
    z = np.concatenate([z1, z2])
    count, total = len(z1), 0.0
    for i in range(2 * count):
        similar = [float(z[i] @ z[k] / (np.linalg.norm(z[i]) * np.linalg.norm(z[k]))) for k in range(2 * count)]
        others = sum(math.exp(similar[k] / temperature) for k in range(2 * count) if k != i)
        total -= math.log(math.exp(similar[(i + count) % (2 * count)] / temperature) / others)
    return total / (2 * count)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


@pytest.mark.parametrize("temperature", [0.05, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("width", [1, 2, 7, 64])
@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_loss_is_that_of_two_loops(count: int, width: int, temperature: float) -> None:
    z1, z2 = draw(count, width, seed=1), 3 * draw(count, width, seed=2)
    expected = slow_nt_xent(z1.numpy(), z2.numpy(), temperature)
    assert nt_xent(z1, z2, temperature).item() == pytest.approx(expected, rel=1e-10, abs=1e-12)
    assert nt_xent(z1.float(), z2.float(), temperature).item() == pytest.approx(expected, rel=1e-4, abs=1e-5)
    swapped = nt_xent(z2, z1, temperature).item()
    assert swapped == pytest.approx(expected, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("temperature", [1e-6, 1e-3, 0.05, 0.5, 1.0, 10.0])
@pytest.mark.parametrize("count", [1, 2, 5, 64])
def test_collapsed_features_never_look_learned(count: int, temperature: float) -> None:
    """Recipes, fault 1: positives that were neither normalized nor counted once made this 0."""
    one = draw(1, 128).float()
    for z in (one, 1e4 * one, 1e-4 * one, torch.zeros(1, 128), torch.ones(1, 128), one.bfloat16()):
        loss = nt_xent(z.repeat(count, 1), z.repeat(count, 1), temperature)
        assert loss.item() == pytest.approx(math.log(2 * count - 1), abs=1e-6)


def test_the_value_that_the_source_should_have_printed() -> None:
    assert round(nt_xent(torch.ones(64, 128), torch.ones(64, 128), 0.5).item(), 3) == 4.844


@given(
    count=st.integers(2, 6),
    width=st.integers(2, 9),
    seed=st.integers(0, 2**32 - 1),
    lengths=st.lists(st.floats(1e-3, 1e3), min_size=12, max_size=12),
)
def test_length_and_order_mean_nothing(count: int, width: int, seed: int, lengths: list[float]) -> None:
    z1, z2 = draw(count, width, seed=seed), draw(count, width, seed=seed + 1)
    expected = nt_xent(z1, z2, 0.2).item()
    scale = torch.tensor(lengths, dtype=torch.float64)[:, None]
    order = torch.from_numpy(np.random.default_rng(seed).permutation(count))
    assert nt_xent(scale[:count] * z1, scale[6 : 6 + count] * z2, 0.2).item() == pytest.approx(expected, rel=1e-9)
    assert nt_xent(z1[order], z2[order], 0.2).item() == pytest.approx(expected, rel=1e-9)
    # A batch that tells nothing apart costs log(2N - 1); none costs less than 0.
    assert expected >= 0


@pytest.mark.parametrize("temperature", [0.05, 0.5])
@pytest.mark.parametrize("count", [2, 3, 8])
def test_gradient_is_that_of_differences(count: int, temperature: float) -> None:
    z1, z2 = (draw(count, 5, seed=seed).requires_grad_() for seed in (1, 2))
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b, temperature), (z1, z2))


def test_vectors_of_length_zero_are_safe_and_nan_is_not_hidden() -> None:
    z1, z2 = torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), torch.ones(4, 8)
    z1[2] = 0
    z1.requires_grad_()
    loss = nt_xent(z1, z2, 0.1)
    loss.backward()
    assert z1.grad is not None
    assert torch.isfinite(loss)
    assert torch.isfinite(z1.grad).all()
    assert not z1.grad[2].any()
    broken = z1.detach().clone()
    broken[1, 3] = torch.nan
    assert torch.isnan(nt_xent(broken, z2, 0.1))


def test_loss_is_computed_in_float32_at_least() -> None:
    z1, z2 = draw(8, 16, seed=1).float(), draw(8, 16, seed=2).float()
    expected = nt_xent(z1, z2, 0.05)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(nt_xent(z1, z2, 0.05), expected)
    for kind in (torch.bfloat16, torch.float16):
        assert nt_xent(z1.to(kind), z2.to(kind), 0.05).dtype == torch.float32
    assert nt_xent(z1.double(), z2.double(), 0.05).dtype == torch.float64


@pytest.mark.parametrize(
    ("shape1", "shape2", "temperature", "told"),
    [
        ((2, 3), (3, 3), 0.1, "differ in shape"),
        ((2, 3, 1), (2, 3, 1), 0.1, "at least 1 is wanted"),
        ((0, 3), (0, 3), 0.1, "at least 1 is wanted"),
        ((2, 0), (2, 0), 0.1, "at least 1 is wanted"),
        ((2, 3), (2, 3), 0.0, "above 0"),
        ((2, 3), (2, 3), -1.0, "above 0"),
        ((2, 3), (2, 3), math.nan, "above 0"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    shape1: tuple[int, ...], shape2: tuple[int, ...], temperature: float, told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        nt_xent(torch.ones(shape1), torch.ones(shape2), temperature)


def network_of(spec: SimclrSpec) -> ContrastiveNetwork:
    torch.manual_seed(0)
    return ContrastiveNetwork(spec).double().train()


def views_of(spec: SimclrSpec, count: int) -> list[tuple[Tensor, Tensor]]:
    """The same images in so many chunks."""
    first, second = draw(2, IMAGES, 3, spec.image_px, spec.image_px)
    return list(zip(first.chunk(count), second.chunk(count), strict=True))


def one_pass(network: nn.Module, chunks: list[tuple[Tensor, Tensor]], *, temperature: float, seed: int) -> StepResult:
    """Hold every chunk's activations until the loss is known."""
    projections = []
    for number, pair in enumerate(chunks):
        torch.manual_seed(seed_of_chunk(seed, number))
        projections.append(network(torch.cat(pair)).chunk(2))
    z1, z2 = (torch.cat(views) for views in zip(*projections, strict=True))
    loss = nt_xent(z1, z2, temperature)
    loss.backward()
    return StepResult(loss.detach(), z1.detach(), z2.detach(), (float("nan"), float("nan")))


def gradients(network: nn.Module) -> dict[str, Tensor]:
    given = {name: parameter.grad for name, parameter in network.named_parameters()}
    assert all(grad is not None for grad in given.values()), given.keys()
    return {name: grad for name, grad in given.items() if grad is not None}


def farthest(got: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    """Greatest difference of a tensor's gradient, relative to its own length unless that is nothing but rounding."""
    assert got.keys() == wanted.keys()
    whole = math.sqrt(sum(float(grad.square().sum()) for grad in wanted.values()))
    assert whole > 0
    return max(float((got[name] - wanted[name]).norm() / max(wanted[name].norm(), 1e-6 * whole)) for name in wanted)


@pytest.mark.parametrize("spec", [NO_BATCH_NORM, BATCH_NORM], ids=["no_batch_norm", "batch_norm"])
@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_chunks_give_the_gradient_of_one_pass(count: int, spec: SimclrSpec) -> None:
    ours, theirs = network_of(spec), network_of(spec)
    chunks = views_of(spec, count)
    for seed in (5, 6):  # the second step adds to the first
        got = contrastive_step(ours, chunks, temperature=0.2, seed=seed)
        wanted = one_pass(theirs, chunks, temperature=0.2, seed=seed)
        assert torch.equal(got.loss, wanted.loss)
        assert torch.equal(got.z1, wanted.z1)
        assert torch.equal(got.z2, wanted.z2)
    assert farthest(gradients(ours), gradients(theirs)) <= 1e-9
    assert all(torch.equal(a, b) for a, b in zip(ours.buffers(), theirs.buffers(), strict=True))


@pytest.mark.parametrize("count", [2, 4])
def test_chunks_of_a_convolutional_network(count: int) -> None:
    ours, theirs = network_of(CONVOLUTIONS), network_of(CONVOLUTIONS)
    chunks = views_of(CONVOLUTIONS, count)
    contrastive_step(ours, chunks, temperature=0.2, seed=5)
    one_pass(theirs, chunks, temperature=0.2, seed=5)
    assert farthest(gradients(ours), gradients(theirs)) <= 1e-9
    buffers = dict(theirs.named_buffers())
    assert len(buffers) > 150
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in ours.named_buffers())
    assert buffers["projector.1.num_batches_tracked"] == count


def test_without_randomness_and_batch_norm_the_chunks_do_not_matter() -> None:
    spec = SimclrSpec("vit_demo_patch8", image_px=32, projector=(16,))
    found = []
    for count in (1, 4, 16):
        network = network_of(spec)
        result = contrastive_step(network, views_of(spec, count), temperature=0.2, seed=0)
        found.append((result.loss.item(), gradients(network)))
    for loss, grads in found[1:]:
        assert loss == pytest.approx(found[0][0], rel=1e-12)
        assert farthest(grads, found[0][1]) <= 1e-9


def test_chunks_of_unequal_size() -> None:
    first, second = draw(2, 7, 3, 32, 32)
    chunks = [(first[:4], second[:4]), (first[4:], second[4:])]
    ours, theirs = network_of(NO_BATCH_NORM), network_of(NO_BATCH_NORM)
    contrastive_step(ours, chunks, temperature=0.2, seed=5)
    one_pass(theirs, chunks, temperature=0.2, seed=5)
    assert farthest(gradients(ours), gradients(theirs)) <= 1e-9


def test_random_draws_follow_from_the_seed_and_differ_between_chunks() -> None:
    def projections(seed: int) -> Tensor:
        image = draw(2, 1, 3, 32, 32)
        return contrastive_step(network_of(NO_BATCH_NORM), [(image[0], image[1])] * 2, temperature=0.2, seed=seed).z1

    once = projections(1)
    assert torch.equal(once, projections(1))
    assert not torch.equal(once, projections(2))
    assert not torch.equal(once[0], once[1])
    assert len({seed_of_chunk(seed, number) for seed in range(40) for number in range(40)}) == 1600


@pytest.mark.parametrize("count", [1, 4])
def test_a_loss_scale_enters_once(count: int) -> None:
    plain, scaled = network_of(NO_BATCH_NORM), network_of(NO_BATCH_NORM)
    chunks = views_of(NO_BATCH_NORM, count)
    contrastive_step(plain, chunks, temperature=0.2, seed=5)
    backward: Callable[[Tensor], None] = lambda loss: (1024 * loss).backward()  # noqa: E731
    contrastive_step(scaled, chunks, temperature=0.2, seed=5, backward=backward)
    wanted = {name: 1024 * grad for name, grad in gradients(plain).items()}
    assert farthest(gradients(scaled), wanted) <= 1e-12


@pytest.mark.parametrize("way", ["module", "context", "outside"])
def test_fabric_and_autocast_give_every_parameter_its_gradient(way: str) -> None:
    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    chunks = [(a.float(), b.float()) for a, b in views_of(BATCH_NORM, 4)]
    exact, network = network_of(BATCH_NORM).float(), network_of(BATCH_NORM).float()
    contrastive_step(exact, chunks, temperature=0.2, seed=5)
    if way == "module":
        module = fabric.setup(network)
        result = contrastive_step(module, chunks, temperature=0.2, seed=5, backward=fabric.backward)
    elif way == "context":
        result = contrastive_step(network, chunks, temperature=0.2, seed=5, forward=fabric.autocast)
    else:
        with torch.autocast("cpu", torch.bfloat16):
            result = contrastive_step(network, chunks, temperature=0.2, seed=5)
    assert result.loss.dtype == result.z1.dtype == torch.float32
    got, wanted = (torch.cat([grad.flatten() for grad in gradients(each).values()]) for each in (network, exact))
    assert torch.cosine_similarity(got, wanted, dim=0) > 0.97
    assert all(grad.any() for name, grad in gradients(network).items() if name.endswith(".weight"))


def test_no_chunk_and_unlike_views_are_refused() -> None:
    network = network_of(NO_BATCH_NORM)
    with pytest.raises(ValueError, match="at least one chunk"):
        contrastive_step(network, [], temperature=0.1, seed=0)
    one, two = draw(1, 3, 32, 32), draw(2, 3, 32, 32)
    with pytest.raises(ValueError, match="chunk 1: the views differ in shape"):
        contrastive_step(network, [(two, two), (one, two)], temperature=0.1, seed=0)


ENCODERS = [
    SimclrSpec("mobilenetv2_100", image_px=64, options={"pad_type": "same"}),
    SimclrSpec("efficientnet_b0", image_px=64),
    SimclrSpec("mobilenetv3_small_100", image_px=64),
    SimclrSpec("vit_tiny_patch16", image_px=64),
    SimclrSpec("vit_tiny_patch16", image_px=64, pool="cls"),
]


@pytest.mark.parametrize("spec", ENCODERS, ids=lambda spec: f"{spec.name}_{spec.pool}")
def test_a_classifier_takes_the_whole_encoder(spec: SimclrSpec) -> None:
    torch.manual_seed(1)
    network = ContrastiveNetwork(spec).eval()
    images = draw(2, 3, 64, 64).float()
    width = network.features(images).shape[1]
    assert network(images).shape == (2, 128)
    assert [tuple(p.shape) for p in network.projector.parameters()] == [(2048, width), (2048,), (2048,), (128, 2048)]
    file = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    assert {name.partition(".")[0] for name in file} == {"backbone", "projector"}

    downstream = ModelSpec(spec.name, 5, image_px=64, pool=spec.pool, options=spec.options)
    classifier = build(downstream).eval()
    report = load(classifier, file)
    assert report.ok
    assert {f"backbone.{name}" for name in report.loaded} == {name for name in file if name.startswith("backbone.")}
    assert {name.rpartition(".")[0] for name in report.new} in ({"head"}, {"classifier"})
    assert len(report.left_out) == len([name for name in file if name.startswith("projector.")]) == 7
    classifier.reset_classifier(0)
    assert torch.equal(classifier(images), network.features(images))

    # Recipes, fault 1: an encoder saved under another name, loaded non-strictly, was not loaded at all.
    renamed = next(name for name in file if name.startswith("backbone.") and name.endswith("weight"))
    for broken in (
        {name + "s" * (name == renamed): array for name, array in file.items()},
        {name.replace("backbone.", "trunk."): array for name, array in file.items()},
    ):
        with pytest.raises(WeightsRefused, match="missing"):
            load(build(downstream), broken)


def test_a_backbone_without_pooling_is_refused() -> None:
    with pytest.raises(ValueError, match="not \\(N, D\\)"):
        ContrastiveNetwork(SimclrSpec("mobilenetv2_100", image_px=64, options={"global_pool": ""}))


STEP = """
import sys
import torch
from eyeground.model.spec import SimclrSpec
from eyeground.model.torch.simclr import ContrastiveNetwork, contrastive_step
torch.manual_seed(0)
network = ContrastiveNetwork(SimclrSpec("mobilenetv2_100", image_px=64))
batch, chunk = map(int, sys.argv[1:])
chunks = [tuple(torch.randn(2, chunk, 3, 64, 64)) for _ in range(batch // chunk)]
contrastive_step(network, chunks, temperature=0.1, seed=0)
# Not ru_maxrss, which begins with what the parent held when it started this process.
print(int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]) / 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read where Linux tells it")
def test_memory_does_not_grow_with_the_batch() -> None:
    def peak_mb(batch: int, chunk: int) -> float:
        command = [sys.executable, "-c", STEP, str(batch), str(chunk)]
        return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)

    small = peak_mb(16, 16)
    assert peak_mb(64, 16) <= 1.3 * small
    # What it would be otherwise, so that the limit above says something.
    assert peak_mb(64, 64) > 1.4 * small

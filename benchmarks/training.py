"""Training steps on the processor: fine-tuning ViT-L and MobileNetV2, MAE of ViT-L, against what a user would write.

python -m benchmarks training
"""

import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import timm
import timm.optim
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from timm.layers import PatchEmbed
from timm.models.vision_transformer import Block
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.ceiling import bf16_here, matrix_rate
from benchmarks.claim import Claim, NotHere, paired
from eyeground.model.optimization import Device, Optimization, Precision
from eyeground.model.spec import VIT_SHAPES, MaeSpec, ModelSpec
from eyeground.model.torch.engine import TorchEngine
from eyeground.model.torch.pretraining import MaeEngine

Way = Literal["ours", "frugal", "plain", "autocast"]
Step = Callable[[int], float]  # its number -> its loss
CLASSES, LR = 5, 1e-4
# Steps before the first that counts: memory that a process has not had yet comes page by page, in the second step too.
WARM = 2


@dataclass(frozen=True)
class Case:
    """What is trained.

    Args:
        network: One of our ViT shapes or a timm name.
        batch: Images of a step.
        method: Fine-tuning, or masked pre-training.
        image_px: Side of an image. Unit: px.
        drop_path: As the default recipe has it, 0.2 for fine-tuning a ViT.
        layer_decay: Likewise, 0.65.
    """

    network: str
    batch: int
    method: Literal["finetune", "mae"] = "finetune"
    image_px: int = 224
    drop_path: float = 0.0
    layer_decay: float = 1.0


CASES = {
    "vit-large": Case("vit_large_patch16", 8, drop_path=0.2, layer_decay=0.65),
    "mae-large": Case("vit_large_patch16", 16, "mae"),
    "mobilenet": Case("mobilenetv2_100", 16),
}
CURVES = {
    "vit-large": Case("vit_tiny_patch16", 8, image_px=64, drop_path=0.2, layer_decay=0.65),
    "mae-large": Case("vit_tiny_patch16", 8, "mae", image_px=64),
    "mobilenet": Case("mobilenetv2_100", 8, image_px=64),
}


@lru_cache(maxsize=4)
def batch_of(case: Case, number: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Draw the images and targets of a step."""
    draw = np.random.default_rng(number)
    images = draw.standard_normal((case.batch, 3, case.image_px, case.image_px), np.float32)
    return images, np.eye(CLASSES, dtype=np.float32)[draw.integers(0, CLASSES, case.batch)]


class PlainMae(nn.Module):
    """A masked autoencoder as one writes it from timm's blocks and the paper."""

    def __init__(self, spec: MaeSpec) -> None:
        super().__init__()
        shape = VIT_SHAPES[spec.name]
        self.spec, self.patch_px = spec, shape.patch_px
        self.patch_embed = PatchEmbed(spec.image_px, shape.patch_px, 3, shape.width)
        count = self.patch_embed.num_patches
        self.cls_token = nn.Parameter(torch.zeros(1, 1, shape.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, count + 1, shape.width), requires_grad=False)
        make: Any = partial(nn.LayerNorm, eps=1e-6)
        blocks = [Block(shape.width, shape.heads, qkv_bias=True, norm_layer=make) for _ in range(shape.depth)]
        self.blocks, self.norm = nn.Sequential(*blocks), make(shape.width)
        width = spec.decoder_width
        self.decoder_embed = nn.Linear(shape.width, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.decoder_pos_embed = nn.Parameter(torch.zeros(1, count + 1, width), requires_grad=False)
        blocks = [Block(width, spec.decoder_heads, qkv_bias=True, norm_layer=make) for _ in range(spec.decoder_depth)]
        self.decoder_blocks, self.decoder_norm = nn.Sequential(*blocks), make(width)
        self.decoder_pred = nn.Linear(width, shape.patch_px**2 * 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (N, 3, H, W) -> the loss on hidden patches."""
        x = self.patch_embed(images) + self.pos_embed[:, 1:]
        n, length, width = x.shape
        keep = self.spec.visible
        shuffle = torch.rand(n, length, device=x.device).argsort(dim=1, stable=True)
        restore = shuffle.argsort(dim=1)
        x = x.gather(1, shuffle[:, :keep, None].expand(-1, -1, width))
        x = torch.cat([(self.cls_token + self.pos_embed[:, :1]).expand(n, -1, -1), x], dim=1)
        x = self.decoder_embed(self.norm(self.blocks(x)))
        y = torch.cat([x[:, 1:], self.mask_token.expand(n, length - keep, -1)], dim=1)
        y = y.gather(1, restore[:, :, None].expand(-1, -1, y.shape[2]))
        y = torch.cat([x[:, :1], y], dim=1) + self.decoder_pos_embed
        predicted = self.decoder_pred(self.decoder_norm(self.decoder_blocks(y)))[:, 1:]
        p, side = self.patch_px, self.spec.image_px // self.patch_px
        target = images.reshape(n, 3, side, p, side, p).permute(0, 2, 4, 3, 5, 1).reshape(n, length, p * p * 3)
        if self.spec.norm_pix:
            target = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6) ** 0.5
        hidden = (restore >= keep).float()
        loss: torch.Tensor = (((predicted - target) ** 2).mean(-1) * hidden).sum() / hidden.sum()
        return loss


def plain_network(case: Case) -> nn.Module:
    """Build what a user of timm trains."""
    if case.method == "mae":
        return PlainMae(MaeSpec(case.network, image_px=case.image_px))
    if case.network not in VIT_SHAPES:
        return timm.create_model(case.network, num_classes=CLASSES)
    shape = VIT_SHAPES[case.network]
    return timm.models.vision_transformer.VisionTransformer(
        img_size=case.image_px, patch_size=shape.patch_px, num_classes=CLASSES, global_pool="avg",
        embed_dim=shape.width, depth=shape.depth, num_heads=shape.heads, drop_path_rate=case.drop_path,
    )  # fmt: skip


def plain(
    case: Case, *, autocast: bool = False, weights: dict[str, NDArray[Any]] | None = None, device: str = "cpu"
) -> Step:
    """Give the loop of timm's users: its network, its layer decay, torch's AdamW."""
    network = plain_network(case).to(device).train()
    if weights:
        network.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    return plain_step(case, network, autocast=autocast, device=device)


def plain_step(case: Case, network: nn.Module, *, autocast: bool, device: str = "cpu") -> Step:
    """Give the loop around a network that stands."""
    decay = case.layer_decay if case.layer_decay < 1 else None
    betas = (0.9, 0.95) if case.method == "mae" else (0.9, 0.999)
    optimizer = timm.optim.create_optimizer_v2(
        network, opt="adamw", lr=LR, weight_decay=0.05, layer_decay=decay, betas=betas
    )
    for group in optimizer.param_groups:
        group["lr"] = LR * group.get("lr_scale", 1.0)

    def step(number: int) -> float:
        images, targets = (torch.from_numpy(array).to(device) for array in batch_of(case, number))
        torch.manual_seed(number)
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=autocast):
            made = network(images)
            loss = made if case.method == "mae" else F.cross_entropy(made, targets)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def engine_of(
    case: Case,
    *,
    frugal: bool = False,
    precision: Precision = "auto",
    device: Device = "cpu",
    compiled: bool = False,
) -> TorchEngine | MaeEngine:
    """Build ours; frugal gives pace for memory."""
    betas = (0.9, 0.95) if case.method == "mae" else (0.9, 0.999)
    optimization = Optimization(layer_decay=case.layer_decay, betas=betas, step_in_backward=frugal)
    if case.method == "mae":
        spec = MaeSpec(case.network, image_px=case.image_px)
        return MaeEngine(spec, optimization=optimization, precision=precision, checkpointing=frugal, device=device)
    return TorchEngine(
        ModelSpec(case.network, CLASSES, image_px=case.image_px, drop_path=case.drop_path),
        optimization=optimization, precision=precision, checkpointing=frugal, device=device, compiled=compiled,
    )  # fmt: skip


def step_of(case: Case, engine: TorchEngine | MaeEngine) -> Step:
    """Give ours the same batches and seeds."""

    def step(number: int) -> float:
        images, targets = batch_of(case, number)
        if isinstance(engine, MaeEngine):
            return engine.train_step([(images,)], lr=LR, seed=number)
        return engine.train_step([(images, targets)], lr=LR, seed=number)

    return step


def curve_difference(case: Case, *, steps: int = 12, frugal: bool = False, precision: Precision = "auto") -> float:
    """Greatest relative difference between our losses and the plain loop's in fp32, from the same weights."""
    engine = engine_of(case, frugal=frugal, precision=precision)
    both = step_of(case, engine), plain(case, weights=dict(engine.state()["weights"]))
    losses = [[step(number) for number in range(steps)] for step in both]
    return max(abs(one / other - 1) for one, other in zip(*losses, strict=True))


def forward_flops(case: Case) -> int:
    """Operations of a forward pass of a batch, none of it left out."""
    with torch.device("meta"):
        network = plain_network(case).eval()
        images = torch.zeros(case.batch, 3, case.image_px, case.image_px)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(images)
    return int(counter.get_total_flops())


def memory_mb(kind: Literal["VmRSS", "VmHWM"]) -> float:
    """What this process holds now, or held at most. Unit: MiB."""
    return int(Path("/proc/self/status").read_text("utf-8").partition(f"{kind}:")[2].split()[0]) / 1024


def child(way: Way, case: Case, orders: Iterable[str], answer: Callable[[str], object]) -> None:
    """Take a step of one way for every order, and answer what it took, and what this process holds more than at first.

    Args:
        way: Ours, ours frugal, or the plain loop in fp32 or under autocast.
        case: What is trained.
        orders: One line a step; their end is the child's.
        answer: Told of each: JSON of ``seconds``, of ``processor_s`` over all threads, and of ``peak_mb``.
    """
    before = memory_mb("VmRSS")
    if way in ("ours", "frugal"):
        step = step_of(case, engine_of(case, frugal=way == "frugal"))
    else:
        step = plain(case, autocast=way == "autocast")
    for number, _ in enumerate(orders):
        begun, busy = time.perf_counter(), time.process_time()
        step(number)
        took = {"seconds": time.perf_counter() - begun, "processor_s": time.process_time() - busy}
        answer(json.dumps({**took, "peak_mb": memory_mb("VmHWM") - before}))


class Told(NamedTuple):
    """What a way did: images per second and per processor second of each step, and its peak memory. Unit: MiB."""

    paces: list[float]
    thrift: list[float]
    peak_mb: float


def in_turn(ways: Sequence[Way], name: str, *, rounds: int) -> dict[str, Told]:
    """Let ways take their steps in turn, each in a process of its own that lives as long as all of them."""
    command = [sys.executable, "-m", "benchmarks.training"]
    with ExitStack() as stack:
        running = {
            way: stack.enter_context(
                subprocess.Popen([*command, way, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for way in ways
        }
        answers: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
        for _ in range(WARM + rounds):
            for way, process in running.items():
                if process.stdin is None or process.stdout is None:
                    raise RuntimeError("a child has no pipe")
                process.stdin.write("step\n")
                process.stdin.flush()
                answers[way].append(json.loads(process.stdout.readline()))
    batch = CASES[name].batch
    return {
        way: Told(
            [batch / each["seconds"] for each in found[WARM:]],
            [batch / each["processor_s"] for each in found[WARM:]],
            found[-1]["peak_mb"],
        )
        for way, found in answers.items()
    }


def one_by_one(ways: Sequence[Way], name: str, *, rounds: int) -> dict[str, Told]:
    """The same for what needs so much memory that only one of them fits."""
    return {way: in_turn([way], name, rounds=rounds)[way] for way in ways}


def ceiling(name: str) -> float:
    """Images per second of a step that is three times the matrices of a forward pass, and nothing else."""
    case = CASES[name]
    rate = matrix_rate("bfloat16" if bf16_here() else "float32")
    return rate / (3 * forward_flops(case) / case.batch)


def pace(what: str, name: str, found: Mapping[str, Told], against: Way, words: str, difference: float) -> Claim:
    """Claim a pace, with how far the losses are apart."""
    ours, other = found["ours"], found[against]
    thrift = statistics.median(ours.thrift) / statistics.median(other.thrift)
    note = f"{thrift:.2f} by processor time; losses within {difference:.1g} of plain fp32's over 12 steps"
    goal = 3.0
    if not bf16_here():
        note, goal = f"fp32, as there is no bf16 here (the goal of 3 is for bf16); {note}", math.nan
    return paired(what, ours.paces, other.paces, words, "images/s", note=note, ceiling=ceiling(name), goal=goal)


def run() -> list[Claim]:
    """Each network's pace, and the memory of the largest."""
    if not Path("/proc/self/status").exists():
        raise NotHere("peak memory is read from /proc, which only Linux has: run it there")
    apart = {name: curve_difference(case) for name, case in CURVES.items()}
    claims = []
    for name, what, words in (
        ("vit-large", "ViT-L/16 fine-tuning, batch 8", "timm and AdamW in fp32"),
        ("mae-large", "MAE of ViT-L/16, batch 16", "the paper on timm's blocks in fp32"),
    ):
        found = one_by_one(("plain", "ours", "frugal"), name, rounds=3)
        claims.append(pace(what, name, found, "plain", words, apart[name]))
        of = statistics.median(found["frugal"].paces) / statistics.median(found["ours"].paces)
        apart_frugal = curve_difference(CURVES[name], frugal=True)
        note = (
            f"for {of:.2f} of the pace; without the two options {found['ours'].peak_mb:.0f} MB; losses within "
            f"{apart_frugal:.1g} of plain fp32's"
        )
        frugal, plain_mb = found["frugal"].peak_mb, found["plain"].peak_mb
        kept = f"{what}: memory with step_in_backward and grad_checkpointing"
        claims.append(Claim(kept, frugal, plain_mb, words, "MB", note, goal=1 / 0.6))
    found = in_turn(("plain", "ours"), "mobilenet", rounds=5)
    what = "MobileNetV2 fine-tuning, 224 px, batch 16"
    claims.append(pace(what, "mobilenet", found, "plain", "timm and AdamW in fp32", apart["mobilenet"]))
    found = in_turn(("autocast", "ours"), "mobilenet", rounds=5 if bf16_here() else 1)
    claims.append(pace(what, "mobilenet", found, "autocast", "the same under bf16 autocast", apart["mobilenet"]))
    return claims


if __name__ == "__main__":
    child(sys.argv[1], CASES[sys.argv[2]], sys.stdin, partial(print, flush=True))  # type: ignore[arg-type]

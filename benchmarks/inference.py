"""Images a second of what a bundle answers with unless another runtime is named, against timm as anybody would run it.

python -m benchmarks inference                                        # the claims: three networks, one image and eight
python -m benchmarks.inference mobilenetv2_100 --rounds 5 --threads 1 # a table of all runtimes of one network
python -m benchmarks.inference --processor-time --rounds 3            # the table of choice.py

Random weights and images: neither changes the time. In every round each has its turn, so that what else the machine
does falls on all. ViT-L needs some 4 GB for files and 15 GB of memory.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.ceiling import bf16_here, matrix_rate
from benchmarks.claim import Claim, paired, turns
from eyeground.model.spec import ModelSpec
from eyeground.model.torch.network import build
from eyeground.pick import names, pick
from eyeground.serve.choice import Choice, Way, choose, processor

NETWORKS = ("vit_large_patch16", "efficientnet_b0", "mobilenetv2_100")
TIMM = {"vit_large_patch16": "vit_large_patch16_224", "vit_tiny_patch16": "vit_tiny_patch16_224"}
# Of ViT-L, by images at once, on a processor with bf16.
GOALS = {1: 4.0, 8: 5.0}
PLAIN = "timm"
# Least processor time of a turn. Unit: s.
TURN_S = 0.25
# Least time of a ViT's turn: its first answers after another's turn come slower. Unit: s.
VIT_TURN_S = 3.0
Images = NDArray[np.float32]
Call = Callable[[Images], object]


def offered() -> list[Way]:
    """Runtimes with their precisions that are installed and make sense here; those not installed are said."""
    found: list[Way] = []
    for name in names("serve.runtimes"):
        runtime = pick("serve.runtimes", name)
        if hint := runtime.missing():
            print(f"{name} is left out: {hint}", file=sys.stderr)
            continue
        found += [(name, precision) for precision in runtime.FILES if precision != "bf16" or bf16_here()]
    return found


def pictures(spec: ModelSpec, count: int) -> Images:
    """Noise."""
    shape = (count, 3, spec.image_px, spec.image_px)
    return np.random.default_rng(count).standard_normal(shape).astype(np.float32)


def write(spec: ModelSpec, folder: Path, ways: Sequence[Way]) -> None:
    """Write what each runtime opens."""
    tensors = {name: tensor.numpy() for name, tensor in build(spec).state_dict().items()}
    for name, precision in ways:
        calibration = pictures(spec, 1) if precision == "int8" else None
        pick("serve.runtimes", name).write(spec, tensors, folder, precision=precision, calibration_images=calibration)


def plain(spec: ModelSpec, *, threads: int = 0) -> Call:
    """The network in timm, in fp32, as anybody would run it."""
    import timm
    import torch

    if threads:
        torch.set_num_threads(threads)
    network = (
        timm.create_model(
            TIMM.get(spec.name, spec.name), pretrained=False, num_classes=spec.classes, img_size=spec.image_px
        )
        if spec.vit
        else timm.create_model(spec.name, pretrained=False, num_classes=spec.classes)
    )
    network.eval()

    def answer(images: Images) -> object:
        with torch.inference_mode():
            return network(torch.from_numpy(images)).numpy()

    return answer


def flops(spec: ModelSpec) -> int:
    """Floating-point operations of one image's products, two for each multiplication with its addition."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        network = build(spec).eval()
        images = torch.empty(1, 3, spec.image_px, spec.image_px)
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        network(images)
    return int(counted.get_total_flops())


def paces(
    spec: ModelSpec, folder: Path, ways: Sequence[Way], *, batch: int, rounds: int = 5, threads: int = 0
) -> dict[str, list[float]]:
    """Measure all of them, open at once: name -> images/s by round."""
    images = pictures(spec, batch)
    with ExitStack() as stack:
        calls: dict[str, Call] = {PLAIN: plain(spec, threads=threads)}
        for name, precision in ways:
            runtime = pick("serve.runtimes", name).open_runtime(folder, spec=spec, precision=precision, threads=threads)
            calls[f"{name} {precision}"] = stack.enter_context(closing(runtime)).outputs
        works = {name: lambda call=call: call(images) for name, call in calls.items()}  # type: ignore[misc]
        took = turns(works, rounds=rounds, least_s=VIT_TURN_S if spec.vit else TURN_S)
    return {name: [batch / seconds for seconds in each] for name, each in took.items()}


def processor_paces(
    spec: ModelSpec, folder: Path, ways: Sequence[Way], *, batch: int, rounds: int = 5
) -> dict[str, list[float]]:
    """Measure all of them in this process and one thread, by processor time, which jobs beside do not change much."""
    images = pictures(spec, batch)
    calls: dict[str, Call] = {PLAIN: plain(spec, threads=1)}
    for name, precision in ways:
        runtime = pick("serve.runtimes", name)
        if name == "torch":
            opened = runtime.open_runtime(folder, spec=spec, precision=precision, threads=1)
            calls[f"{name} {precision}"] = opened.outputs
            continue
        contents = [(folder / file).read_bytes() for file in runtime.FILES[precision]]
        _, calls[f"{name} {precision}"] = runtime.open_graph(
            lambda contents=contents: contents,
            confine=lambda: None,
            outputs=spec.classes,
            image_px=spec.image_px,
            precision=precision,
            threads=1,
        )
    for call in calls.values():
        call(images)
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            before, count = time.process_time(), 0
            while (spent := time.process_time() - before) < TURN_S or not count:
                call(images)
                count += 1
            found[name].append(batch * count / spent)
    return found


def usual(spec: ModelSpec, ways: Sequence[Way], *, alone: bool, reduced: bool) -> Choice:
    """What answers of a bundle as export makes it, or of one in which a reduced precision was let through too."""
    held: dict[str, tuple[str, ...]] = {}
    for name, precision in ways:
        if reduced or precision == "fp32":
            held[name] = (*held.get(name, ()), precision)
    return choose(spec, held, thresholds=False, on=processor(), alone=alone)


def claim(
    spec: ModelSpec, batch: int, figures: Mapping[str, list[float]], ways: Sequence[Way], *, reduced: bool = False
) -> Claim:
    """One network at one size of batch; the note tells what every other runtime gave."""
    choice, operations = usual(spec, ways, alone=batch == 1, reduced=reduced), flops(spec)
    ours = f"{choice.runtime} {choice.precision}"
    by_round = {
        name: statistics.median(a / b for a, b in zip(each, figures[PLAIN], strict=True))
        for name, each in figures.items()
    }
    others = [f"{name} {gain:.2f}" for name, gain in by_round.items() if name not in (PLAIN, ours)]
    large = spec.name == NETWORKS[0]
    note = f"chosen: {choice.reason}; median of the rounds' gains {by_round[ours]:.2f}, of {', '.join(others)}"
    if choice.precision == "int8":
        note += "; packed with --precision int8; the ceiling is that of fp32"
    if large and not bf16_here():
        note += f"; the goal of {GOALS.get(batch, 4):g} is for processors with bf16, which this is not"
    dtype = "bfloat16" if choice.precision == "bf16" else "float32"
    return paired(
        f"{spec.name} at {spec.image_px} px, batch {batch}, {ours}",
        figures[ours],
        figures[PLAIN],
        "timm, eager, fp32",
        "images/s",
        note=note,
        ceiling=matrix_rate(dtype) / operations,
        goal=GOALS.get(batch, float("nan")) if large and bf16_here() else float("nan"),
    )


def measured(
    spec: ModelSpec,
    ways: Sequence[Way],
    *,
    batches: Sequence[int] = (1, 8),
    rounds: int = 5,
    threads: int = 0,
    processor_time: bool = False,
) -> dict[int, dict[str, list[float]]]:
    """Measure one network: batch -> name -> images/s by round; what was written for it is taken away."""
    with tempfile.TemporaryDirectory(prefix="eyeground_inference_") as place:
        # In a process of its own: quantizing ViT-L takes 14 GB, which would not all come back.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as writer:
            writer.submit(write, spec, Path(place), ways).result()
        if processor_time:
            return {each: processor_paces(spec, Path(place), ways, batch=each, rounds=rounds) for each in batches}
        return {each: paces(spec, Path(place), ways, batch=each, rounds=rounds, threads=threads) for each in batches}


def run() -> list[Claim]:
    """A claim for each network and size of batch."""
    claims = []
    for name in NETWORKS:
        spec, ways = ModelSpec(name, classes=5, image_px=224), offered()
        if spec.vit:  # OpenVINO's takes minutes to write, and was as fast as ONNX Runtime's without bf16
            ways = [way for way in ways if way[0] != "openvino" or bf16_here()]
        found = measured(spec, ways, rounds=3 if spec.vit else 5)
        for batch, figures in found.items():
            plainly, further = (claim(spec, batch, figures, ways, reduced=reduced) for reduced in (False, True))
            claims += [plainly, *([further] if further.what != plainly.what else [])]
    return claims


def main() -> None:
    """Print a table of every runtime."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("networks", nargs="*", default=list(NETWORKS))
    words.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    words.add_argument("--image-px", type=int, default=224)
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--threads", type=int, default=0, help="0 = each runtime's own choice")
    words.add_argument("--processor-time", action="store_true", help="one thread in one process, by processor time")
    given = words.parse_args()
    print("| network | batch | runtime | images/s | gain over timm, median (least-greatest) |\n|---|---|---|---|---|")
    for name in given.networks:
        spec = ModelSpec(name, classes=5, image_px=given.image_px)
        ways = offered()
        found = measured(
            spec,
            ways,
            batches=given.batches,
            rounds=given.rounds,
            threads=given.threads,
            processor_time=given.processor_time,
        )
        for batch, figures in found.items():
            for each, rates in figures.items():
                gains = [ours / theirs for ours, theirs in zip(rates, figures[PLAIN], strict=True)]
                spread = f"{statistics.median(gains):.2f} ({min(gains):.2f}-{max(gains):.2f})"
                print(f"| {name} | {batch} | {each} | {statistics.median(rates):.3g} | {spread} |", flush=True)


if __name__ == "__main__":
    main()

"""Images a second, and time to the first answer of a fresh process, of every runtime against torch in fp32.

python -m benchmarks.runtimes                                            # ViT-L/16 and MobileNetV2, 224 px; minutes
python -m benchmarks.runtimes mobilenetv2_100 --rounds 3                 # one network, or several
python -m benchmarks.runtimes --runtimes torch/fp32 onnx/int8 --batches 8 --no-first

Random weights and images: neither changes the time. In every round each runtime has its turn, and a ratio is that of
two turns of the same round, so that what else the machine does falls on both. ViT-L needs some 5 GB for files and 15 GB
of memory.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks.claim import Claim
from eyeground.model.spec import ModelSpec
from eyeground.model.torch.network import build
from eyeground.pick import names, pick
from eyeground.serve.runtime import Runtime

LARGE, SMALL = "vit_large_patch16", "mobilenetv2_100"
REFERENCE = "torch/fp32"
# A turn takes at least so long. Unit: s.
TURN_S = 0.5
FIRST = """
import json, sys
from pathlib import Path
import numpy as np
from eyeground.model.spec import ModelSpec
from eyeground.pick import pick
folder, name, precision, threads, batch, spec = sys.argv[1:]
spec = ModelSpec(**json.loads(spec))
runtime = pick("serve.runtimes", name).open_runtime(Path(folder), spec=spec, precision=precision, threads=int(threads))
runtime.outputs(np.full((int(batch), 3, spec.image_px, spec.image_px), 0.1, np.float32))
print("answered", flush=True)
runtime.close()
"""


@dataclass(frozen=True)
class Row:
    """One runtime: its figures in every round, and those of the reference."""

    network: str
    runtime: str
    what: str
    figures: tuple[float, ...]
    reference: tuple[float, ...]

    @property
    def ratios(self) -> list[float]:
        """Ours over the reference's, by round."""
        return [ours / theirs for ours, theirs in zip(self.figures, self.reference, strict=True)]

    def __str__(self) -> str:
        ratios = self.ratios
        return (
            f"| {self.network} | {self.what} | {self.runtime} | {statistics.median(self.figures):.3g} | "
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}) |"
        )


def offered(wanted: Sequence[str]) -> list[str]:
    """Runtimes with their precisions that are installed, the reference first; those not installed are said."""
    found = []
    for name in names("serve.runtimes"):
        runtime = pick("serve.runtimes", name)
        if hint := runtime.missing():
            print(f"{name} is left out: {hint}", file=sys.stderr)
            continue
        found += [f"{name}/{precision}" for precision in runtime.FILES]
    chosen = [each for each in found if not wanted or each in wanted]
    return [REFERENCE, *(each for each in chosen if each != REFERENCE)]


def write(spec: ModelSpec, folder: Path, chosen: Sequence[str]) -> None:
    """Write what each runtime opens."""
    tensors = {name: tensor.numpy() for name, tensor in build(spec).state_dict().items()}
    images = np.random.default_rng(0).standard_normal((4, 3, spec.image_px, spec.image_px)).astype(np.float32)
    for each in chosen:
        name, precision = each.split("/")
        start = time.perf_counter()
        pick("serve.runtimes", name).write(spec, tensors, folder, precision=precision, calibration_images=images)
        print(f"{spec.name}: {each} written in {time.perf_counter() - start:.0f} s", file=sys.stderr)


def paces(spec: ModelSpec, folder: Path, chosen: Sequence[str], *, batch: int, rounds: int, threads: int) -> list[Row]:
    """Images a second, all runtimes open at once, one turn each in every round."""
    images = np.random.default_rng(1).standard_normal((batch, 3, spec.image_px, spec.image_px)).astype(np.float32)
    with ExitStack() as stack:
        opened: dict[str, Runtime] = {}
        for each in chosen:
            name, precision = each.split("/")
            runtime = pick("serve.runtimes", name).open_runtime(folder, spec=spec, precision=precision, threads=threads)
            opened[each] = stack.enter_context(closing(runtime))
            print(f"{spec.name}, batch {batch}: {runtime.description}", file=sys.stderr)
        calls = {}
        for each, runtime in opened.items():
            runtime.outputs(images)  # a first call makes room for this size of batch
            start = time.perf_counter()
            runtime.outputs(images)
            calls[each] = math.ceil(TURN_S / (time.perf_counter() - start))
        figures: dict[str, list[float]] = {each: [] for each in chosen}
        for _ in range(rounds):
            for each, runtime in opened.items():
                start = time.perf_counter()
                for _ in range(calls[each]):
                    runtime.outputs(images)
                figures[each].append(calls[each] * batch / (time.perf_counter() - start))
    return list(_rows(spec, f"images/s at batch {batch}", figures))


def first_answers(
    spec: ModelSpec, folder: Path, chosen: Sequence[str], *, batch: int, rounds: int, threads: int
) -> list[Row]:
    """Seconds from the start of a fresh process to its first answer: imports, opening, one batch."""
    figures: dict[str, list[float]] = {each: [] for each in chosen}
    for round_ in range(rounds + 1):
        for each in chosen:
            words = [str(folder), *each.split("/"), str(threads), str(batch), json.dumps(spec.to_json())]
            start = time.perf_counter()
            with subprocess.Popen([sys.executable, "-c", FIRST, *words], stdout=subprocess.PIPE, text=True) as child:
                assert child.stdout is not None
                said = child.stdout.readline()
                took = time.perf_counter() - start
            assert said == "answered\n", f"{each} did not answer"
            if round_:  # the first only brings the files into memory
                figures[each].append(took)
    return list(_rows(spec, f"s to the first answer, batch {batch}", figures))


def _rows(spec: ModelSpec, what: str, figures: dict[str, list[float]]) -> Iterator[Row]:
    """A row for each runtime."""
    reference = tuple(figures[REFERENCE])
    for each, found in figures.items():
        yield Row(spec.name, each, what, tuple(found), reference)


def measure(
    networks: Sequence[str],
    *,
    wanted: Sequence[str] = (),
    image_px: int = 224,
    batches: Sequence[int] = (1, 8),
    rounds: int = 5,
    threads: int = 0,
    first: bool = True,
) -> list[Row]:
    """Measure everything, a network after the other; what was written for it is taken away."""
    rows: list[Row] = []
    chosen = offered(wanted)
    for name in networks:
        spec = ModelSpec(name, classes=5, image_px=image_px)
        with tempfile.TemporaryDirectory(prefix="eyeground_runtimes_") as place:
            folder = Path(place)
            # In a process of its own: quantizing ViT-L takes 14 GB, which would not all come back.
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as writer:
                writer.submit(write, spec, folder, chosen).result()
            for batch in batches:
                rows += paces(spec, folder, chosen, batch=batch, rounds=rounds, threads=threads)
                if first:
                    rows += first_answers(spec, folder, chosen, batch=batch, rounds=min(3, rounds), threads=threads)
    return rows


def run() -> Claim:
    """Measure both networks; the claim is the fastest runtime for ViT-L at batch 8."""
    rows = measure([LARGE, SMALL])
    large = [row for row in rows if row.network == LARGE and row.what == "images/s at batch 8"]
    best = max(large, key=lambda row: statistics.median(row.ratios))
    note = "; ".join(
        f"{row.network} {row.runtime}: {statistics.median(row.figures):.3g} {row.what}, "
        f"ratio {statistics.median(row.ratios):.2f}"
        for row in rows
    )
    figures = (statistics.median(best.figures), statistics.median(best.reference))
    return Claim(f"ViT-L at batch 8 in {best.runtime}, the fastest", *figures, REFERENCE, "images/s", note)


def main() -> None:
    """Print the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("networks", nargs="*", default=[LARGE, SMALL])
    words.add_argument("--runtimes", nargs="+", default=[], help="such as onnx/int8; torch/fp32 is always there")
    words.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    words.add_argument("--image-px", type=int, default=224)
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--threads", type=int, default=0, help="0 = each runtime's own choice")
    words.add_argument("--no-first", action="store_true", help="leave out the time to the first answer")
    given = words.parse_args()
    rows = measure(
        given.networks,
        wanted=given.runtimes,
        image_px=given.image_px,
        batches=given.batches,
        rounds=given.rounds,
        threads=given.threads,
        first=not given.no_first,
    )
    print(f"| network | what | runtime | median | ratio to {REFERENCE}, median (least-greatest) |")
    print("|---|---|---|---|---|", *rows, sep="\n")


if __name__ == "__main__":
    main()

"""What each way of adapting a network trains and writes.

python -m benchmarks.adaptation                          # ViT-L at 224 px, 5 classes
python -m benchmarks.adaptation vit_small_patch16 224
"""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from benchmarks.claim import Claim
from eyeground.model.adaptation import Adaptation, Way, adapted_shapes, learning_names
from eyeground.model.architecture import parameter_shapes
from eyeground.model.spec import ModelSpec
from eyeground.model.weights import write_weights

LARGE = ModelSpec("vit_large_patch16", classes=5)
WAYS: tuple[Way, ...] = get_args(Way)


@dataclass(frozen=True)
class Row:
    """One way: how many parameters learn in the end, and how many there are."""

    way: Way
    learning: int
    total: int


def _shapes(spec: ModelSpec, adaptation: Adaptation) -> tuple[dict[str, tuple[int, ...]], frozenset[str]]:
    """Every parameter of an adapted ViT of ours, and which of them learn in the end; no network is built."""
    shapes = adapted_shapes(parameter_shapes(adaptation.spec_of(spec)), adaptation=adaptation, classifier="head")
    depth = spec.vit.depth if spec.vit else 0
    return shapes, learning_names(shapes, adaptation=adaptation, classifier="head", stage=depth)


def parameter_table(spec: ModelSpec) -> list[Row]:
    """Count for every way, with its defaults."""
    rows = []
    for way in WAYS:
        shapes, learning = _shapes(spec, Adaptation(way))
        counts = {name: int(np.prod(shape)) for name, shape in shapes.items()}
        rows.append(Row(way, sum(counts[name] for name in learning), sum(counts.values())))
    return rows


def delta_bytes(spec: ModelSpec, adaptation: Adaptation) -> int:
    """Size of the file that holds what learns, written and measured."""
    shapes, learning = _shapes(spec, adaptation)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        write_weights(path, {name: np.zeros(shapes[name], np.float32) for name in learning})
        return path.stat().st_size


def megabytes(spec: ModelSpec) -> dict[Way, float]:
    """Size of every way's file of weights: deltas are written, whole networks are 4 bytes a parameter. Unit: MB."""
    return {
        row.way: (delta_bytes(spec, Adaptation(row.way)) if Adaptation(row.way).delta else 4 * row.total) / 1e6
        for row in parameter_table(spec)
    }


def run() -> list[Claim]:
    """Write each file for ViT-L, and hold LoRA's against all weights."""
    sizes = megabytes(LARGE)
    note = "; ".join(f"{row.way} trains {row.learning:,}, {sizes[row.way]:.1f} MB" for row in parameter_table(LARGE))
    return [Claim("file of a LoRA on ViT-L, rank 8", sizes["lora"], sizes["full"], "all its weights", "MB", note)]


def main() -> None:
    """Print the table of one network."""
    name = sys.argv[1] if len(sys.argv) > 1 else LARGE.name
    side = sys.argv[2] if len(sys.argv) > 2 else LARGE.image_px
    spec = ModelSpec(name, classes=5, image_px=int(side))
    sizes = megabytes(spec)
    print(f"| {spec.name}, {spec.classes} classes, {side} px | learn | of all | file |", "|---|---|---|---|", sep="\n")
    for row in parameter_table(spec):
        print(f"| {row.way} | {row.learning:,} | {100 * row.learning / row.total:.3g} % | {sizes[row.way]:.2f} MB |")


if __name__ == "__main__":
    main()

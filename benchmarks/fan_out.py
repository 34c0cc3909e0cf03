"""What two Ray workers of this machine gain over one process, and what they cost.

python -m benchmarks.fan_out 48
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.claim import Claim, paired
from benchmarks.many_files import make
from eyeground.cli.fan_out import fanned_out
from eyeground.cli.finetune_config import FinetuneConfig
from eyeground.cli.frozen_network import FrozenNetwork, feature_rows, name_weights
from eyeground.data.manifest import Source, read_manifest
from eyeground.data.pixels import PixelStore
from eyeground.data.prepare import prepare
from eyeground.data.sample import Sample
from eyeground.data.spread import Spread, here, in_threads

WORKERS = 2
EMPTY = 400
ROUNDS = 3


class Counting:
    """A connection that counts what goes through it.

    Args:
        connection: The connection.
    """

    def __init__(self, connection: Any) -> None:
        self._connection, self.sent, self.received, self.poll = connection, 0, 0, connection.poll

    def send(self, message: tuple[Any, ...]) -> None:
        """Send, and count."""
        self.sent += _bytes_in(message)
        self._connection.send(message)

    def recv(self) -> tuple[Any, ...]:
        """Receive, and count."""
        message: tuple[Any, ...] = self._connection.recv()
        self.received += _bytes_in(message)
        return message


def _bytes_in(message: Sequence[object]) -> int:
    """Bytes of work, shares and answers in a message."""
    return sum(len(part) for part in message if isinstance(part, bytes))


def features(samples: Sequence[Sample], threads: int) -> Callable[[Spread], object]:
    """Give a network that is made once, and sends the images through."""
    config = FinetuneConfig(
        data="images", model="vit_small_patch16", image_px=224, device="cpu", precision="fp32", threads=threads,
        batch_size=6,
    )  # fmt: skip
    pixels = PixelStore(crop_field=True, store_px=256, limit_bytes=0)
    network = FrozenNetwork(config, pixels, name_weights(None, config.seed), None)

    def work(spread: Spread) -> None:
        torch.set_num_threads(threads)  # networks of this process share them
        feature_rows(network, samples, spread)

    return work


def prepared(folder: Path, *, workers: int = 1, spread: Spread | None = None) -> None:
    """Prepare a folder into a new one."""
    with tempfile.TemporaryDirectory() as place:
        prepare(
            read_manifest([Source(folder)]), Path(place, "ready"), crop_field=True, store_px=512, workers=workers,
            spread=spread,
        )  # fmt: skip


def seconds(work: Callable[[], object]) -> float:
    """How long it takes. Unit: s."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def run(images: int = 48, *, rounds: int = ROUNDS) -> list[Claim]:
    """Begin Ray once; let each way have its turn in every round, after one that warms up."""
    took: dict[str, list[float]] = {}
    starts: dict[str, list[float]] = {"Ray": [], "torch": []}
    empty: dict[str, list[float]] = {"Ray": [], "threads": []}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "data")
        make(folder, images)
        make(Path(place, "many"), 10 * images)
        samples = read_manifest([Source(folder)]).samples
        for _ in range(rounds):
            starts["Ray"].append(seconds(_begin_and_end))
            starts["torch"].append(seconds(lambda: subprocess.run([sys.executable, "-c", "import torch"], check=True)))
        with fanned_out("ray", workers=WORKERS) as spread:
            assert spread is not None
            ray: Any = spread
            ray.driver.connection = counted = Counting(ray.driver.connection)
            one, two, each = (features(samples, threads) for threads in (1, WORKERS, 1))
            many = Path(place, "many")
            works: dict[str, Callable[[], object]] = {
                "features, Ray": partial(each, spread),
                "features, one": partial(one, here),
                "features, own": partial(two, here),
                "prepare, Ray": partial(prepared, many, spread=spread),
                "prepare, one": partial(prepared, many),
                "prepare, own": partial(prepared, many, workers=WORKERS),
            }
            moved = {}
            for number in range(rounds + 1):
                for name, work in works.items():
                    before = counted.sent, counted.received
                    spent = seconds(work)
                    if number:
                        took.setdefault(name, []).append(spent)
                    moved[name] = counted.sent - before[0], counted.received - before[1]
                for name, ways in (("Ray", spread), ("threads", in_threads(WORKERS))):
                    spent = seconds(partial(_ask_nothing, ways))
                    if number:
                        empty[name].append(1000 * spent / EMPTY)
    counts = {"features": images, "prepare": 10 * images}
    claims = []
    for verb, count in counts.items():
        rates = {name: [count / spent for spent in rows] for name, rows in took.items() if name.startswith(verb)}
        sent, received = moved[f"{verb}, Ray"]
        note = (
            f"{count} photographs of 160x128 px, Ray begun before; {sent / count:.0f} bytes sent and "
            f"{received / count:.0f} received an image"
        )
        ours = rates[f"{verb}, Ray"]
        what = f"{verb} on {WORKERS} Ray workers"
        own = "one process, two threads" if verb == "features" else "its own two threads"
        claims += [
            paired(what, ours, rates[f"{verb}, one"], "one process, one thread", "images/s", note=note),
            paired(what, ours, rates[f"{verb}, own"], own, "images/s", note=note),
        ]
    return [
        *claims,
        paired(
            "a share of nothing through Ray", empty["Ray"], empty["threads"], "through threads", "ms",
            note=f"{EMPTY} shares, {WORKERS} workers",
        ),
        paired(
            "Ray begun, asked once, and ended", starts["Ray"], starts["torch"], "a process that imports torch", "s",
        ),
    ]  # fmt: skip


def _begin_and_end() -> None:
    """Begin a Ray, ask it something, end it."""
    with fanned_out("ray", workers=WORKERS) as spread:
        assert spread is not None
        assert list(spread([-1], abs)) == [1]


def _ask_nothing(spread: Spread) -> None:
    """Give out shares that hold no work."""
    assert sum(spread(range(EMPTY), abs)) == EMPTY * (EMPTY - 1) // 2


if __name__ == "__main__":
    for claim in run(int(sys.argv[1]) if len(sys.argv) > 1 else 48):
        print(claim, round(claim.gain, 2))

"""A frozen network made once, and what it makes of images; here or on a worker."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from eyeground.cli.config import ConfigError
from eyeground.cli.console import counting
from eyeground.cli.fan_out import ClusterUnfit
from eyeground.cli.finetune_config import FinetuneConfig
from eyeground.cli.recipe import preprocessing_of, spec_of, starting_weights
from eyeground.data.loader import EvaluationImages
from eyeground.data.pixels import PixelSource
from eyeground.data.sample import Sample
from eyeground.data.spread import Spread
from eyeground.evaluate.pooling import pool
from eyeground.model.spec import ModelSpec
from eyeground.model.torch.engine import TorchEngine
from eyeground.model.weights import Tensors, WeightsRefused

# Of a head that is never used; always the same, for the draws of random weights hang on its size.
_CLASSES = 1


def headless_spec(config: FinetuneConfig, tensors: Tensors | None = None) -> ModelSpec:
    """Describe the network of a configuration, whatever its classes are.

    Args:
        config: A checked configuration.
        tensors: The weights it starts from; None = random, or not known yet.

    Returns:
        The network.

    Raises:
        ConfigError: If it cannot be built, or the task is none of classes or grades.

    Example:
        >>> headless_spec(FinetuneConfig(data="images", model="vit_demo_patch8", image_px=32)).classes
        1

    References:
        Our own.
    """
    if config.task not in ("multiclass", "ordinal"):
        raise ConfigError(
            f"features are kept with classes or grades, not with task: {config.task}; set task=multiclass"
        )
    try:
        return spec_of(config, classes=_CLASSES, tensors=tensors)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def name_weights(tensors: Tensors | None, seed: int) -> str:
    """Name weights by their names, types, shapes and values; random ones by their seed.

    Args:
        tensors: The weights; None = random.
        seed: Their seed.

    Returns:
        64 hex digits.

    Example:
        >>> name_weights(None, 0) == name_weights(None, 1)
        False

    References:
        FIPS 180-4, SHA-256.
    """
    if tensors is None:
        return hashlib.sha256(f"random {seed}".encode()).hexdigest()
    whole = hashlib.sha256()
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        whole.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        whole.update(array.tobytes())
    return whole.hexdigest()


@dataclass
class FrozenNetwork:
    """Makes the network once, where it is first asked, and sends batches of images through it.

    Args:
        config: Network, weights, preprocessing, device.
        pixels: Gives a sample's pixels.
        weights_sha256: Name of the weights.
        tensors: The weights; None = they are read where the network is made.

    Example:
        >>> from pathlib import Path
        >>> config = FinetuneConfig(data="images", model="vit_demo_patch8", image_px=32, device="cpu", precision="fp32")
        >>> black = lambda sample: np.zeros((32, 32, 3), np.uint8)
        >>> network = FrozenNetwork(config, black, name_weights(None, config.seed), None)
        >>> network([Sample("a.png", Path("."), 1, "p")])[0].shape
        (1, 96)

    References:
        Our own.
    """

    config: FinetuneConfig
    pixels: PixelSource
    weights_sha256: str
    tensors: Tensors | None
    _engine: TorchEngine | None = field(default=None, init=False)

    def __call__(self, scans: Sequence[Sample]) -> tuple[NDArray[np.float64], dict[str, list[str]], str]:
        if self._engine is None:
            self._engine = self._open()
        images = EvaluationImages(
            scans, pixels=self.pixels, preprocessing=preprocessing_of(self.config), limit_bytes=0
        ).images(range(len(scans)))
        report = self._engine.load_report.lines() if self._engine.load_report else {}
        return self._engine.features(images).astype(np.float64), report, self._engine.description

    def _open(self) -> TorchEngine:
        """Make the network."""
        config, tensors = self.config, self.tensors
        if tensors is None:
            tensors = starting_weights(config)
            if name_weights(tensors, config.seed) != self.weights_sha256:
                raise ClusterUnfit(f"{config.weights}: holds other weights on a worker's node than here")
        try:
            return TorchEngine(
                headless_spec(config, tensors),
                tensors=tensors,
                device=config.device,
                precision=config.precision,
                seed=config.seed,
                threads=config.threads,
            )
        except WeightsRefused:
            raise
        except ValueError as error:
            raise ConfigError(str(error)) from error


def feature_rows(
    network: FrozenNetwork, scans: Sequence[Sample], spread: Spread
) -> tuple[NDArray[np.float32], dict[str, list[str]], str]:
    """Send images through a network.

    Args:
        network: The network.
        scans: Photographs, and the B-scans of volumes, those of one volume together.
        spread: Who does it.

    Returns:
        A row per photograph or volume, of a volume the mean over its B-scans, shape (N, D); what became of the
        weights' keys; on what it ran.

    Raises:
        ConfigError: If the network or device is not to be had.
        WeightsRefused: If the weights do not belong to the network, or give NaN.
        ClusterUnfit: If workers compute on different devices, or hold other weights.

    Example:
        >>> from pathlib import Path
        >>> from eyeground.data.spread import here
        >>> config = FinetuneConfig(data="images", model="vit_demo_patch8", image_px=32, device="cpu", precision="fp32")
        >>> black = lambda sample: np.zeros((32, 32, 3), np.uint8)
        >>> network = FrozenNetwork(config, black, name_weights(None, config.seed), None)
        >>> feature_rows(network, [Sample(name, Path("."), 1, "p") for name in ("a.png", "b.png")], here)[0].shape
        (2, 96)

    References:
        Our own.
    """
    size = network.config.batch_size
    found: list[NDArray[np.float64]] = []
    reports: dict[str, dict[str, list[str]]] = {}
    with counting("computing features", len(scans)) as done:
        seen = 0
        for part, report, engine in spread([scans[at : at + size] for at in range(0, len(scans), size)], network):
            found.append(part)
            reports[engine] = report
            if len(reports) > 1:
                raise ClusterUnfit(f"the workers compute on {' and on '.join(reports)}; name device=")
            seen += len(part)
            done(seen, len(scans))
    rows = np.concatenate(found)
    broken = np.flatnonzero(~np.isfinite(rows).all(axis=1)).tolist()
    if broken:
        raise WeightsRefused(
            f"the features of {len(broken)} images are NaN or infinite, first {scans[broken[0]].file}: these weights "
            "are spoiled, or too large for this precision; try precision=fp32"
        )
    means, _ = pool(rows, [scan.volume for scan in scans])
    [(engine, report)] = reports.items()
    return means.astype(np.float32), report, engine

"""What was proved about a converted weights file, bound to it by its hash."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeground.atomic_file import write_whole
from eyeground.model.weights_cache import file_sha256

# In float32 a sum's rounding grows with what is summed: errors are held against the greatest number of the layer.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class LayerError:
    """How far a layer's answers lie apart.

    Args:
        layer: Canonical name; the last one's answers are the logits.
        max_error: Greatest difference.
        max_value: Greatest absolute number of the reference.
        logits: Whether these are the network's answers: they may not differ by more than the tolerance itself either.

    Example:
        >>> LayerError("blocks.0", 1e-3, 20.0).ok, LayerError("head", 1e-3, 20.0, logits=True).ok
        (True, False)

    References:
        Our own.
    """

    layer: str
    max_error: float
    max_value: float
    logits: bool = False

    @property
    def ok(self) -> bool:
        """Whether this is rounding and nothing else."""
        return self.max_error <= TOLERANCE * (min(1.0, self.max_value) if self.logits else self.max_value)


def compare_layers(
    found: Mapping[str, NDArray[Any]], reference: Mapping[str, NDArray[Any]], *, logits: bool = False
) -> tuple[LayerError, ...]:
    """Hold every layer's answers against the reference's.

    Args:
        found: Answers by name of the layer.
        reference: Answers of the reference.
        logits: Whether the last ones are the networks' answers.

    Returns:
        One row per layer of the reference, in order; a layer that is missing or has another shape is infinitely far.

    Example:
        >>> compare_layers({"head": np.ones(2)}, {"head": np.zeros(2)})
        (LayerError(layer='head', max_error=1.0, max_value=0.0, logits=False),)

    References:
        Our own.
    """
    rows = []
    last = list(reference)[-1] if logits and reference else ""
    for layer, wanted in reference.items():
        made = found.get(layer)
        same = made is not None and made.shape == wanted.shape and bool(np.isfinite(made).all())
        error = float(np.abs(made - wanted).max()) if made is not None and same else float("inf")
        rows.append(LayerError(layer, error, float(np.abs(wanted).max()), logits=layer == last))
    return tuple(rows)


@dataclass(frozen=True)
class Side:
    """One of the two files.

    Args:
        file: Its name.
        sha256: Its hash.
        framework: Who reads it.
        engine: What it ran in, in words.

    Example:
        >>> Side("a.safetensors", "0" * 64, "safetensors", "torch").framework
        'safetensors'

    References:
        Our own.
    """

    file: str
    sha256: str
    framework: str
    engine: str


@dataclass(frozen=True)
class Certificate:
    """A proof that two files hold the same network.

    Args:
        date: When it was proved, ISO.
        source: The file that was given.
        target: The file that was made, or held against it.
        architecture: The network, as ``ModelSpec``.
        parameters: How many numbers it has.
        keys: Canonical name, name in the target's file, shape, and whether it lies transposed there.
        left_out: Keys of the source that are no part of the network, with the reason.
        unequal: Keys whose numbers differ between the files.
        images: What was shown to both, in words.
        images_sha256: Hash of those numbers.
        layers: How far the answers lie apart, layer by layer; the last are the logits.
        faults: What the examination of single layers found.
        opens_with: The lines that open the target without this package.

    References:
        Our own.
    """

    date: str
    source: Side
    target: Side
    architecture: Mapping[str, Any]
    parameters: int
    keys: Sequence[tuple[str, str, Sequence[int], bool]]
    left_out: Sequence[str]
    unequal: Sequence[str]
    images: str
    images_sha256: str
    layers: Sequence[LayerError]
    faults: Sequence[str]
    opens_with: str

    @property
    def problems(self) -> list[str]:
        """Why it is no proof; empty where it is one."""
        told = []
        if self.unequal:
            told.append(f"{len(self.unequal)} keys differ: {', '.join(self.unequal[:5])}")
        if not self.layers:
            told.append("no layer was compared")
        far = [row for row in self.layers if not row.ok]
        if far:
            told.append(
                f"{len(far)} of {len(self.layers)} layers differ by more than rounding, first {far[0].layer} by "
                f"{far[0].max_error:.3g}"
            )
        return [*told, *self.faults]

    @property
    def logits_error(self) -> float:
        """Greatest difference of the last layer's answers."""
        return self.layers[-1].max_error if self.layers else float("nan")

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "proved": not self.problems,
            "problems": self.problems,
            "logits_max_error": _plain(self.logits_error),
            "tolerance": f"{TOLERANCE:g} times the layer's greatest number; for logits {TOLERANCE:g} at most",
            **asdict(self),
            "layers": [asdict(row) | {"max_error": _plain(row.max_error)} for row in self.layers],
        }


def _plain(number: float) -> float | None:
    """A number as JSON has it."""
    return number if math.isfinite(number) else None


def certificate_of(path: Path) -> Path:
    """Say where a file's certificate lies.

    Args:
        path: The file.

    Returns:
        Beside it.

    Example:
        >>> certificate_of(Path("vit.pdparams")).name
        'vit.pdparams.certificate.json'

    References:
        Our own.
    """
    return path.with_name(f"{path.name}.certificate.json")


def write_certificate(path: Path, certificate: Certificate) -> None:
    """Write a certificate as JSON.

    Args:
        path: Where.
        certificate: What was proved.

    Raises:
        OSError: If the disk is full or the folder cannot be written.

    References:
        Our own.
    """
    content = json.dumps(certificate.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
    write_whole(path, (content + "\n").encode())


def read_bound(path: Path) -> dict[str, Any] | None:
    """Read the certificate beside a file, if it is this file's.

    Args:
        path: The file.

    Returns:
        What it says; None if there is none, or it is another file's.

    Example:
        >>> read_bound(Path("no/such/file")) is None
        True

    References:
        Our own.
    """
    beside = certificate_of(path)
    if not beside.is_file() or not path.is_file():
        return None
    try:
        told = json.loads(beside.read_bytes())
        bound = told["target"]["sha256"]
    except (ValueError, KeyError, TypeError):
        return None
    return dict(told) if bound == file_sha256(path) else None

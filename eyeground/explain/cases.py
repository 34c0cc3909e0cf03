"""Training cases that a network takes for the most similar: "looks like these", with their labels."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eyeground.model.weights import read_metadata, read_weights, write_weights


@dataclass(frozen=True)
class Case:
    """A training case beside the image asked about.

    Args:
        label: What it is, as training was told.
        similarity: Cosine of the angle between both images' features, [-1, 1].
        file: Where its picture is; empty where only its features are kept.

    Example:
        >>> Case("cataract", 0.93).file
        ''

    References:
        Our own.
    """

    label: str
    similarity: float
    file: str = ""


@dataclass(frozen=True, eq=False)
class Cases:
    """Features of the training images, with their labels.

    Args:
        features: What the head sees, shape (N, D).
        labels: N.
        files: N, or none where pictures are not to be shown.
        weights_sha256: Hash of the weights that the features come from.

    Raises:
        ValueError: If the counts differ.

    Example:
        >>> cases = Cases(np.eye(2, dtype=np.float32), ("normal", "cataract"), (), "00")
        >>> cases.nearest(np.array([0.1, 2.0]), count=1)
        [Case(label='cataract', similarity=0.99..., file='')]

    References:
        Our own.
    """

    features: NDArray[np.float32]
    labels: tuple[str, ...]
    files: tuple[str, ...]
    weights_sha256: str

    def __post_init__(self) -> None:
        if (
            self.features.ndim != 2
            or len(self.features) != len(self.labels)
            or len(self.files) not in (0, len(self.labels))
        ):
            raise ValueError(
                f"features {self.features.shape}, {len(self.labels)} labels, {len(self.files)} files do not fit"
            )
        if not np.isfinite(self.features).all():
            raise ValueError("a feature of a training case is NaN or infinite")

    def nearest(self, feature: NDArray[np.floating], *, count: int = 5) -> list[Case]:
        """Find the most similar cases.

        Args:
            feature: Of one image, shape (D,).
            count: How many.

        Returns:
            The most similar first; fewer where there are fewer. None are similar to a feature of zeros.

        Raises:
            ValueError: If the feature is of another network.
        """
        if feature.shape != self.features.shape[1:]:
            raise ValueError(f"a feature of shape {feature.shape} beside cases of {self.features.shape[1:]}")
        lengths = np.linalg.norm(self.features, axis=1) * float(np.linalg.norm(feature))
        cosines = np.where(lengths > 0, self.features @ feature / np.where(lengths > 0, lengths, 1), -1.0)
        order = np.argsort(-cosines, kind="stable")[:count].tolist() if np.any(lengths > 0) else []
        files = self.files or ("",) * len(self.labels)
        return [Case(self.labels[row], float(cosines[row]), files[row]) for row in order]


def write_cases(path: Path, cases: Cases) -> None:
    """Keep cases in a file: the direction of each feature, in half precision.

    Args:
        path: A ``.safetensors`` file.
        cases: What to keep.

    Raises:
        OSError: If the disk is full.

    Example:
        >>> import tempfile
        >>> place = Path(tempfile.mkdtemp()) / "cases.safetensors"
        >>> write_cases(place, Cases(np.ones((1, 2), np.float32), ("normal",), (), "00"))
        >>> read_cases(place).labels
        ('normal',)

    References:
        safetensors.
    """
    told = {
        "labels": json.dumps(cases.labels),
        "files": json.dumps(cases.files),
        "weights_sha256": cases.weights_sha256,
    }
    lengths = np.linalg.norm(cases.features, axis=1, keepdims=True)
    directions = cases.features / np.where(lengths > 0, lengths, 1)
    write_weights(path, {"features": directions.astype(np.float16)}, told)


def read_cases(path: Path) -> Cases:
    """Read what ``write_cases`` wrote.

    Args:
        path: The file.

    Returns:
        The cases.

    Raises:
        ValueError: If it is not such a file.

    Example:
        >>> read_cases(Path("/dev/null"))
        Traceback (most recent call last):
        ...
        ValueError: ...

    References:
        safetensors.
    """
    try:
        with path.open("rb") as file:
            told = read_metadata(file)
        names: Sequence[Sequence[str]] = [json.loads(told[key]) for key in ("labels", "files")]
        features = read_weights(path)["features"].astype(np.float32)
        return Cases(features, tuple(map(str, names[0])), tuple(map(str, names[1])), told["weights_sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: holds no cases ({error})") from error

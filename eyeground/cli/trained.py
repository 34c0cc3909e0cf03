"""A run's best checkpoint, opened for prediction."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeground.cli.config import ConfigError
from eyeground.data.preprocessing import Preprocessing
from eyeground.model.engine import Provable
from eyeground.model.frameworks import build_engine
from eyeground.model.optimization import Device, Framework, Precision
from eyeground.model.spec import ModelSpec
from eyeground.model.zoo import find
from eyeground.train.checkpoint import CheckpointError, Checkpoints


def describe_model(
    spec: ModelSpec,
    *,
    framework: Framework = "torch",
    classes: tuple[str, ...],
    ordered: bool,
    preprocessing: Preprocessing,
    slices: str,
    modality: str,
    frozen_batch_norm: bool,
    precision: Precision,
    batch_size: int,
    weights_report: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """Write down what prediction needs beside the weights.

    Args:
        spec: The network.
        framework: Where it is trained.
        classes: Class names in order.
        ordered: Whether they are grades.
        preprocessing: How pixels reach the network.
        slices: Which B-scans of a volume are used.
        modality: What kind of images it was trained on, ``""`` = not known.
        frozen_batch_norm: Whether batch norm stays on its stored statistics; a resumed run goes on so.
        precision: What it was trained in; a resumed run goes on so.
        batch_size: Images per batch, in training and in judging.
        weights_report: What became of every key of the weights that training started from.

    Returns:
        Plain values; ``open_run`` reads them back from the checkpoint.

    Example:
        >>> describe_model(ModelSpec("vit_demo_patch8", 2), classes=("a", "b"), ordered=False,
        ...     preprocessing=Preprocessing(), slices="center", modality="",
        ...     frozen_batch_norm=False, precision="fp32", batch_size=8, weights_report={})["classes"]
        ['a', 'b']

    References:
        Our own.
    """
    return {
        "spec": spec.to_json(),
        "engine": framework,
        "classes": list(classes),
        "ordered": ordered,
        "preprocessing": asdict(preprocessing),
        "slices": slices,
        "modality": modality,
        "frozen_batch_norm": frozen_batch_norm,
        "precision": precision,
        "batch_size": batch_size,
        "weights_report": {status: list(keys) for status, keys in weights_report.items()},
    }


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network with everything needed to use it.

    Args:
        engine: Ready to predict.
        classes: Class names in order.
        ordered: Whether they are grades.
        preprocessing: How pixels reach the network.
        slices: Which B-scans of a volume are used; their mean is the volume's prediction.
        batch_size: Images per batch it was trained with.
        weights_sha256: Hash of the weights file.
        step: Optimizer steps taken when these weights were saved.

    References:
        Our own.
    """

    engine: Provable
    classes: tuple[str, ...]
    ordered: bool
    preprocessing: Preprocessing
    slices: str
    batch_size: int
    weights_sha256: str
    step: int


def open_run(
    run: Path,
    *,
    framework: Framework | None = None,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: int = 0,
) -> Trained:
    """Open the best checkpoint of a run.

    Args:
        run: The run's folder.
        framework: In which framework; None = in the one it was trained in.
        device: Where to compute.
        precision: How to compute; ``auto`` keeps fp32 where it was trained in fp32.
        threads: Processor threads, 0 = torch's choice.

    Returns:
        The trained network.

    Raises:
        CheckpointError: If the folder holds no sound checkpoint.
        ConfigError: If its framework or the device is not to be had here.

    References:
        Our own.
    """
    if not (run / "checkpoints").is_dir():
        raise CheckpointError(
            f"{run}: not a run (no checkpoints folder); give the folder that 'eyeground finetune' made"
        )
    checkpoint = Checkpoints(run / "checkpoints").best()
    model = checkpoint.model
    if "classes" not in model:
        raise CheckpointError(
            f"{run}: this run was pre-trained and knows no classes; fine-tune it first: "
            f"eyeground finetune CONFIG weights={run}"
        )
    spec = ModelSpec(**model["spec"])
    if precision == "auto" and model["precision"] == "fp32":
        precision = "fp32"  # so that an image gets the same scores here as in the run's own table
    # A checkpoint's weights have torch's names and layouts whatever trained them: any framework can open them.
    framework = framework or model.get("engine", "torch")
    try:
        engine = build_engine(
            framework,
            spec,
            tensors=dict(checkpoint.state["weights"]),
            device=device,
            precision=precision,
            threads=threads,
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    engine.load_state({"weights": checkpoint.state["weights"]})
    kept: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in model["preprocessing"].items()
    }
    return Trained(
        engine=engine,
        classes=tuple(model["classes"]),
        ordered=model["ordered"],
        preprocessing=Preprocessing(**kept),
        slices=model.get("slices", "center"),
        batch_size=model["batch_size"],
        weights_sha256=checkpoint.sha256["weights"],
        step=checkpoint.step,
    )


def weights_of_run(run: Path) -> dict[str, NDArray[Any]]:
    """Read a run's best weights as a starting point for another run.

    Args:
        run: The run's folder.

    Returns:
        Arrays by canonical name.

    Raises:
        CheckpointError: If the folder holds no sound checkpoint.

    References:
        Our own.
    """
    return {name: np.asarray(array) for name, array in Checkpoints(run / "checkpoints").best().state["weights"].items()}


def modality_of_weights(weights: str) -> str:
    """Tell what kind of images weights were made from, where that is known.

    Args:
        weights: ``random``, a release, a file, or a run's folder.

    Returns:
        ``"fundus"``, ``"oct"`` or another modality; ``""`` when nobody says. RETFound's files say it in their names.

    Example:
        >>> modality_of_weights("RETFound_mae_natureOCT.safetensors"), modality_of_weights("random")
        ('oct', '')

    References:
        RETFound's file names: CFP = color fundus photography.
    """
    path = Path(weights)
    if path.is_dir() and (path / "checkpoints").is_dir():
        found = Checkpoints(path / "checkpoints").newest(parts=())
        return str(found.model.get("modality", "")) if found else ""
    if release := find(weights) or find(path.stem):
        return release.modality
    marks = {"oct": "oct", "cfp": "fundus", "fundus": "fundus"}
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", path.stem)
    return next((marks[word.lower()] for word in words if word.lower() in marks), "")

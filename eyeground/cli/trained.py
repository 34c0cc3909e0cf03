"""A run's best checkpoint, opened for prediction."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eyeground.cli.config import ConfigError
from eyeground.data.preprocessing import Preprocessing
from eyeground.data.task import Task, read_task
from eyeground.model.adaptation import Adaptation
from eyeground.model.engine import Provable
from eyeground.model.frameworks import build_engine
from eyeground.model.objective import Objective
from eyeground.model.optimization import Device, Framework, Precision
from eyeground.model.spec import ModelSpec
from eyeground.model.torch.engine import TorchEngine
from eyeground.model.untrusted import open_foreign
from eyeground.model.weights import Tensors, WeightsRefused
from eyeground.model.weights_cache import cached
from eyeground.model.zoo import find
from eyeground.train.checkpoint import Checkpoint, CheckpointError, Checkpoints


def describe_model(
    spec: ModelSpec,
    *,
    framework: Framework = "torch",
    task: Task,
    ordered: bool,
    preprocessing: Preprocessing,
    slices: str,
    modality: str,
    frozen_batch_norm: bool,
    precision: Precision,
    batch_size: int,
    weights_report: Mapping[str, Sequence[str]],
    adaptation: Adaptation | None = None,
    base: Mapping[str, Any] | None = None,
    places: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Write down what prediction needs beside the weights.

    Args:
        spec: The network.
        framework: Where it is trained.
        task: What is asked of an image.
        ordered: Whether the classes of a single head are grades.
        preprocessing: How pixels reach the network.
        slices: Which B-scans of a volume are used.
        modality: What kind of images it was trained on, ``""`` = not known.
        frozen_batch_norm: Whether batch norm stays on its stored statistics; a resumed run goes on so.
        precision: What it was trained in; a resumed run goes on so.
        batch_size: Images per batch, in training and in judging.
        weights_report: What became of every key of the weights that training started from.
        adaptation: What learns; None = everything.
        base: What a checkpoint leaves out, where it holds only what learns: ``seed``, and ``sha256`` of the frozen
            tensors.
        places: Where things lie that may be moved: ``base``, by the name that finds those weights again.

    Returns:
        Plain values; ``open_run`` reads them back from the checkpoint.

    Example:
        >>> from eyeground.data.task import classification
        >>> describe_model(ModelSpec("vit_demo_patch8", 2), task=classification(("a", "b")), ordered=False,
        ...     preprocessing=Preprocessing(), slices="center", modality="",
        ...     frozen_batch_norm=False, precision="fp32", batch_size=8, weights_report={})["task"]["name"]
        'multiclass'

    References:
        Our own.
    """
    return {
        "spec": spec.to_json(),
        "engine": framework,
        "task": task.to_json(),
        "ordered": ordered,
        "preprocessing": asdict(preprocessing),
        "slices": slices,
        "modality": modality,
        "frozen_batch_norm": frozen_batch_norm,
        "precision": precision,
        "batch_size": batch_size,
        "weights_report": {status: list(keys) for status, keys in weights_report.items()},
        "adaptation": (adaptation or Adaptation()).to_json(),
        "base": dict(base) if base else None,
        "places": dict(places or {}),
    }


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network with everything needed to use it.

    Args:
        engine: Ready to predict.
        task: What is asked of an image.
        ordered: Whether the classes of a single head are grades.
        preprocessing: How pixels reach the network.
        slices: Which B-scans of a volume are used; their mean is the volume's prediction.
        batch_size: Images per batch it was trained with.
        weights_sha256: Hash of the weights file.
        step: Optimizer steps taken when these weights were saved.
        modality: What kind of images it was trained on, ``""`` = not known.

    References:
        Our own.
    """

    engine: Provable
    task: Task
    ordered: bool
    preprocessing: Preprocessing
    slices: str
    batch_size: int
    weights_sha256: str
    step: int
    modality: str

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names of the one head, in order; none where several heads or a quantity are asked."""
        return self.task.single.classes if self.task.single else ()


def open_run(
    run: Path,
    *,
    framework: Framework | None = None,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: int = 0,
    base: str = "",
) -> Trained:
    """Open the best checkpoint of a run.

    Args:
        run: The run's folder.
        framework: In which framework; None = in the one it was trained in.
        device: Where to compute.
        precision: How to compute; ``auto`` keeps fp32 where it was trained in fp32.
        threads: Processor threads, 0 = torch's choice.
        base: Where the weights are that the run was trained on top of; empty = where they were then.

    Returns:
        The trained network.

    Raises:
        CheckpointError: If the folder holds no sound checkpoint.
        WeightsRefused: If it holds only what was learned, and the weights it belongs to are gone or are others.
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
    if "classes" in model:
        raise CheckpointError(
            f"{run}: made by an earlier Eyeground; fine-tune it once more (weights={run} starts from it)"
        )
    if "task" not in model:
        raise CheckpointError(
            f"{run}: this run was pre-trained and knows no classes; fine-tune it first: "
            f"eyeground finetune CONFIG weights={run}"
        )
    if precision == "auto" and model["precision"] == "fp32":
        precision = "fp32"  # so that an image gets the same scores here as in the run's own table
    task = read_task(model["task"])
    # A checkpoint's weights have torch's names and layouts whatever trained them: any framework can open them.
    framework = framework or model["engine"]
    try:
        if model["base"]:
            engine = _on_its_base(
                run, checkpoint, base=base, device=device, precision=precision, threads=threads, task=task
            )
            if framework != "torch":
                spec, weights = engine.whole()
                engine = _opened(framework, spec, weights, task, device, precision, threads)
        else:
            spec, weights = ModelSpec(**model["spec"]), dict(checkpoint.state["weights"])
            engine = _opened(framework, spec, weights, task, device, precision, threads)
    except WeightsRefused:
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from error
    kept: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in model["preprocessing"].items()
    }
    return Trained(
        engine=engine,
        task=task,
        ordered=model["ordered"],
        preprocessing=Preprocessing(**kept),
        slices=model["slices"],
        batch_size=model["batch_size"],
        weights_sha256=checkpoint.sha256["weights"],
        step=checkpoint.step,
        modality=model["modality"],
    )


def _opened(
    framework: Framework,
    spec: ModelSpec,
    weights: Tensors,
    task: Task,
    device: Device,
    precision: Precision,
    threads: int,
) -> Any:
    """Build a network around whole weights."""
    engine = build_engine(
        framework,
        spec,
        tensors=weights,
        objective=Objective(task),
        device=device,
        precision=precision,
        threads=threads,
    )
    engine.load_state({"weights": weights})
    return engine


def _on_its_base(
    run: Path,
    checkpoint: Checkpoint,
    *,
    base: str,
    device: Device,
    precision: Precision,
    threads: int,
    task: Task,
) -> TorchEngine:
    """Build a network from the weights it was trained on top of, and put what was learned over them."""
    told, place = checkpoint.model["base"], checkpoint.model["places"]["base"]
    where = base or place
    hint = f"{run} holds only what was learned on top of {place}"
    try:
        tensors = named_weights(where)
    except (WeightsRefused, CheckpointError) as error:
        raise WeightsRefused(
            f"{hint}, and that cannot be read: {error}. Put it back, or say where it is now: "
            f"eyeground merge {run} --base FILE --out DIR"
        ) from error
    engine = TorchEngine(
        ModelSpec(**checkpoint.model["spec"]),
        tensors=tensors,
        objective=Objective(task),
        adaptation=Adaptation(**checkpoint.model["adaptation"]),
        seed=told["seed"],
        device=device,
        precision=precision,
        threads=threads,
    )
    if engine.frozen_sha256 != told["sha256"]:
        raise WeightsRefused(
            f"{hint}, but {where} holds other weights now (frozen tensors {engine.frozen_sha256[:12]}, then "
            f"{told['sha256'][:12]}): give those it was trained on: eyeground merge {run} --base FILE --out DIR"
        )
    engine.load_state({"weights": checkpoint.state["weights"]})
    return engine


def weights_of_run(run: Path) -> Tensors:
    """Read a run's best weights as a starting point for another run.

    Args:
        run: The run's folder.

    Returns:
        Arrays by canonical name; of a run that holds only what was learned, together with what it was learned on.

    Raises:
        CheckpointError: If the folder holds no sound checkpoint.
        WeightsRefused: If the weights it belongs to are gone or are others.

    References:
        Our own.
    """
    checkpoint = Checkpoints(run / "checkpoints").best()
    if not checkpoint.model.get("base"):
        return {name: np.asarray(array) for name, array in checkpoint.state["weights"].items()}
    task = read_task(checkpoint.model["task"])
    engine = _on_its_base(run, checkpoint, base="", device="cpu", precision="fp32", threads=0, task=task)
    return engine.whole()[1]


def lasting_name(weights: str) -> str:
    """Name weights so that they are found again from any folder.

    Args:
        weights: ``random``, a release, a file, or a run's folder.

    Returns:
        The same, a path from the root on.

    Example:
        >>> lasting_name("random")
        'random'

    References:
        Our own.
    """
    return weights if weights == "random" or cached(weights) else str(Path(weights).absolute())


def named_weights(weights: str) -> Tensors | None:
    """Read weights by what a configuration calls them: none, a release that was fetched, a file, or a run's best.

    Args:
        weights: ``random``, a release, a file, or a run's folder.

    Returns:
        Arrays by canonical name, or by the file's own; None = random, drawn from a seed.

    Raises:
        WeightsRefused: If the file is missing, damaged or asks for more than tensors, or the release was not fetched.
        CheckpointError: If the run's folder holds no sound checkpoint.

    Example:
        >>> named_weights("random") is None
        True

    References:
        Our own.
    """
    if weights == "random":
        return None
    path = cached(weights) or Path(weights)
    return weights_of_run(path) if path.is_dir() else open_foreign(path).tensors


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

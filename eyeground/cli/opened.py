"""A run or a bundle, opened as a model that answers: one way for all that predict."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from eyeground.cli.config import ConfigError
from eyeground.cli.console import tell
from eyeground.model.engine import Images
from eyeground.model.optimization import Device, Framework, Precision
from eyeground.model.weights import WeightsRefused
from eyeground.serve.bundle import Bundle, is_bundle, open_bundle
from eyeground.serve.choice import Choice, choose, processor
from eyeground.serve.contract import Contract
from eyeground.serve.engine_runtime import EngineRuntime
from eyeground.serve.predictor import Predictor
from eyeground.serve.runtime import Runtime, RuntimePrecision
from eyeground.serve.runtimes.torch import accelerated
from eyeground.serve.titles import titles_of

if TYPE_CHECKING:  # torch, scipy: seconds that a bundle's own runtime has no need of
    from eyeground.cli.trained import Trained
    from eyeground.evaluate.calibrate import Calibration


def open_predictor(
    model: Path,
    *,
    runtime: str = "",
    framework: Framework | None = None,
    device: Device = "auto",
    precision: Precision | RuntimePrecision = "auto",
    threads: int = 0,
    batch_size: int = 32,
    images: int = 0,
    calibrated: bool = False,
) -> Predictor:
    """Open a run's best checkpoint, or a bundle, for prediction.

    Args:
        model: The folder.
        runtime: Which of a bundle's runtimes; empty = the fastest here of those that were proven, and why is told.
        framework: In which framework a run is opened; None = in the one it was trained in.
        device: Where torch computes.
        precision: How to compute; ``auto``: a run as it was trained, a runtime that is named in fp32.
        threads: Processor threads, 0 = the runtime's choice.
        batch_size: Most images in one call.
        images: How many will be asked about; 0 = many.
        calibrated: Use a run's calibration; a bundle's is part of its contract, and always used.

    Returns:
        The model.

    Raises:
        ConfigError: If the words do not go together, the device is not to be had here, or a calibration that is wanted
            is missing or of other weights.
        CheckpointError: If the run holds no sound checkpoint.
        BundleRefused: If the bundle is not as it was packed.
        RuntimeMissing: If the bundle holds no files for the runtime, or it is not installed.

    References:
        Our own.
    """
    if is_bundle(model):
        if framework is not None:
            raise ConfigError(f"--engine {framework}: {model} is a bundle; choose one of its runtimes with --runtime")
        if precision == "fp16":
            raise ConfigError("--precision fp16: bundles compute in fp32, bf16 or int8")
        bundle = open_bundle(model)
        if calibrated and not bundle.contract.calibrations:
            raise ConfigError(
                f"--calibrated: {model} was packed without a calibration; calibrate its run, and pack anew"
            )
        wanted = None if precision == "auto" else precision
        alone = 1 in (batch_size, images)
        chosen = (
            Choice(runtime, wanted or "fp32", "")
            if runtime
            else usual_of(bundle, device=device, alone=alone, wanted=wanted)
        )
        try:
            made = bundle.open_runtime(chosen.runtime, precision=chosen.precision, threads=threads, device=device)
        except WeightsRefused:
            raise
        except ValueError as error:
            raise ConfigError(str(error)) from error
        if chosen.reason:
            tell(f"runtime   {made.description}: {chosen.reason}")
        return Predictor(bundle.contract, made, id=bundle.id, batch_size=batch_size)
    if runtime:
        raise ConfigError(
            f"--runtime {runtime}: {model} is a run; pack it with: eyeground export {model} --to {runtime}"
        )
    if precision == "int8":
        raise ConfigError(
            f"--precision int8: {model} is a run; pack it with: eyeground export {model} --precision int8"
        )
    from eyeground.cli.trained import open_run

    trained = open_run(model, framework=framework, device=device, precision=precision, threads=threads)
    calibrations = calibrations_of(model, trained) if calibrated else {}
    try:
        answering = EngineRuntime(trained.engine, trained.task)
    except ValueError as error:
        raise ConfigError(f"{model}: {error}; open it in torch with --engine torch") from error
    return Predictor(contract_of(trained, calibrations), answering, id=trained.weights_sha256, batch_size=batch_size)


def usual_of(
    bundle: Bundle, *, device: Device = "auto", alone: bool = False, wanted: RuntimePrecision | None = None
) -> Choice:
    """Choose what computes for a bundle where nobody named a runtime.

    Args:
        bundle: The bundle.
        device: Where torch would compute; on an accelerator it does.
        alone: Whether images come one at a time.
        wanted: A precision that was named; None = any that was proven.

    Returns:
        What computes, and why.

    References:
        Our own.
    """
    if accelerated(device):
        return Choice("torch", wanted or "fp32", "the one that computes on an accelerator")
    contract = bundle.contract
    return choose(
        contract.spec,
        bundle.runtimes,
        thresholds=bool(contract.calibrations),
        on=processor(),
        alone=alone,
        wanted=wanted,
    )


class _Packed:
    """A runtime that gives scores, as engines do."""

    def __init__(self, runtime: Runtime, contract: Contract) -> None:
        self._runtime, self._contract = runtime, contract
        self.description, self.spec = runtime.description, contract.spec

    def predict(self, images: Images) -> NDArray[np.float64]:
        """Scores before any calibration, as those of a run are judged."""
        return self._contract.task.scores(self._runtime.outputs(images))


def open_packed(folder: Path, *, device: Device = "auto", precision: Precision = "auto") -> "Trained":
    """Open a bundle in torch to be judged, by its scores before calibration, as a run is.

    Args:
        folder: The bundle.
        device: Where to compute.
        precision: ``auto`` = fp32.

    Returns:
        The network, with all that is needed to use it.

    Raises:
        BundleRefused: If it is not as it was packed.
        ConfigError: If bundles do not compute so.
        RuntimeMissing: If the bundle holds no files for this precision.

    References:
        Our own.
    """
    from eyeground.cli.trained import Trained

    predictor = open_predictor(folder, runtime="torch", device=device, precision=precision)
    contract = predictor.contract
    return Trained(
        engine=_Packed(predictor.runtime, contract),  # type: ignore[arg-type]
        task=contract.task,
        ordered=contract.ordered,
        preprocessing=contract.preprocessing,
        slices=contract.slices,
        batch_size=predictor.batch_size,
        weights_sha256=contract.weights_sha256,
        step=0,
        modality=contract.modality,
    )


def contract_of(
    trained: "Trained",
    calibrations: "Mapping[str, Calibration]",
    *,
    titles: Mapping[str, Mapping[str, str]] | None = None,
    modality: str = "",
) -> Contract:
    """Write down what decides what a run's network says.

    Args:
        trained: The run, opened.
        calibrations: By head.
        titles: A site's own titles.
        modality: What it was trained on, where the run does not know.

    Returns:
        The contract.

    Raises:
        ConfigError: If the run knows another modality.

    References:
        Our own.
    """
    if modality and trained.modality and modality != trained.modality:
        raise ConfigError(f"--modality {modality}: the run was trained on {trained.modality}")
    try:
        return Contract(
            spec=trained.engine.spec,
            task=trained.task,
            ordered=trained.ordered,
            preprocessing=trained.preprocessing,
            slices=trained.slices,
            modality=trained.modality or modality,  # type: ignore[arg-type]
            weights_sha256=trained.weights_sha256,
            titles=titles_of(trained.task, titles),
            calibrations=calibrations,
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error


def calibrations_of(run: Path, trained: "Trained", *, wanted: bool = True) -> "dict[str, Calibration]":
    """Read a run's calibrations, one for each head that can have one.

    Args:
        run: The run's folder.
        trained: The run, opened.
        wanted: Whether a run without any is an error.

    Returns:
        By head.

    Raises:
        ConfigError: If there is none though it is wanted, or one is of other weights.

    References:
        Our own.
    """
    from eyeground.cli.calibrating import RECORD, read_calibration

    heads = [head for head in trained.task.heads if head.kind != "quantity"]
    if not heads and wanted:
        raise ConfigError(f"--calibrated: {run} predicts a quantity, which has no calibration")
    places = {head.name: run if trained.task.single else run / "heads" / head.name for head in heads}
    made = [head for head in heads if (places[head.name] / RECORD).is_file()]
    if made and len(made) < len(heads):
        tell(f"not calibrated, for want of labels: {', '.join(head.name for head in heads if head not in made)}")
    return {
        head.name: read_calibration(places[head.name], weights_sha256=trained.weights_sha256, classes=head.classes)
        for head in made or (heads if wanted else ())
    }

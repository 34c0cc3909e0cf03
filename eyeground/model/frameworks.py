"""One door to all engines: torch in this process, Paddle and MindSpore each in one of its own."""

from eyeground.model.adaptation import Adaptation
from eyeground.model.engine import Provable
from eyeground.model.objective import Objective
from eyeground.model.optimization import Device, Framework, Optimization, Precision
from eyeground.model.processes import ALONE, Processes
from eyeground.model.spec import VIT_SHAPES, ModelSpec
from eyeground.model.weights import Tensors


def build_engine(
    framework: Framework,
    spec: ModelSpec,
    *,
    tensors: Tensors | None = None,
    objective: Objective | None = None,
    optimization: Optimization | None = None,
    adaptation: Adaptation = Adaptation(),
    device: Device = "auto",
    precision: Precision = "auto",
    seed: int = 0,
    frozen_batch_norm: bool = False,
    checkpointing: bool = False,
    threads: int = 0,
    compiled: bool = False,
    processes: Processes = ALONE,
) -> Provable:
    """Build a classifier in a framework; the same arguments start from the same weights in each.

    Args:
        framework: Where.
        spec: What to build.
        tensors: Weights by the file's own names; None = random, drawn from ``seed``.
        objective: What is asked and how the loss answers imbalance; None = one of several classes, plainly.
        optimization: How the weights learn; None = prediction only.
        adaptation: Which of them learn.
        device: The framework's device; ``"auto"`` takes the best.
        precision: ``"auto"`` takes bf16 where the device has it.
        seed: Draws the random weights and the new head.
        frozen_batch_norm: Keep batch norm on its stored statistics.
        checkpointing: Recompute activations in the backward pass, for less memory.
        threads: Processor threads; 0 leaves the framework's choice.
        compiled: Let torch.compile make one program of the network.
        processes: Who trains it together.

    Returns:
        The engine.

    Raises:
        WeightsRefused: If the weights do not fit.
        EngineMissing: If the framework is not installed.
        ValueError: If the network, the device or this way of adapting it is not to be had there.

    Example:
        >>> engine = build_engine("torch", ModelSpec("vit_demo_patch8", classes=3, image_px=32), device="cpu")
        >>> engine.spec.classes
        3

    References:
        Our own.
    """
    if framework == "torch":
        from eyeground.model.torch.engine import TorchEngine

        return TorchEngine(
            spec,
            tensors=tensors,
            objective=objective,
            optimization=optimization,
            adaptation=adaptation,
            device=device,
            precision=precision,
            seed=seed,
            frozen_batch_norm=frozen_batch_norm,
            checkpointing=checkpointing,
            threads=threads,
            compiled=compiled,
            processes=processes,
        )
    asked = {
        "several processes": processes.world > 1,
        "step_in_backward": optimization is not None and optimization.step_in_backward,
        "compiled": compiled,
    }
    if any(asked.values()):
        told = ", ".join(name for name, wanted in asked.items() if wanted)
        raise ValueError(f"engine={framework} does not offer {told}; engine=torch does")
    if spec.vit is None or spec.options:
        raise ValueError(
            f"engine={framework} does not offer {spec.name}{' with model_options' if spec.options else ''}; it offers "
            f"{', '.join(VIT_SHAPES)}. engine=torch has all networks"
        )
    if adaptation.way != "full" or spec.adapter_width:
        raise ValueError(
            f"engine={framework} trains all weights of networks without adapters, not "
            f"{adaptation.way if adaptation.way != 'full' else 'adapters'}; engine=torch offers all ways of adapting"
        )
    if objective and not objective.plain:
        raise ValueError(
            f"engine={framework} offers task=multiclass with the plain loss (imbalance=none, or by sampling); "
            "engine=torch has all tasks"
        )
    from eyeground.model.environment import python_of
    from eyeground.model.remote import RemoteEngine
    from eyeground.model.torch.network import start

    python_of(framework)
    # Torch is the reference: it draws what is random and fits a file's keys, for all frameworks alike.
    network, report = start(spec, tensors=tensors, seed=seed)
    whole = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    return RemoteEngine(
        framework,
        spec,
        tensors=whole,
        optimization=optimization,
        device=device,
        precision=precision,
        checkpointing=checkpointing,
        threads=threads,
        load_report=report,
    )

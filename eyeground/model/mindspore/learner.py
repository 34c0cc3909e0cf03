"""What MindSpore needs around a network: device, precision, AdamW, and its state as arrays by canonical names."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from numpy.typing import NDArray

from eyeground.model.applied_rate import ADAM_EPS, Slot
from eyeground.model.dialects import from_framework, misfits, name_in, to_framework
from eyeground.model.engine import LossNotFinite
from eyeground.model.layer_decay import parameter_rules
from eyeground.model.optimization import Device, Optimization, Precision

# Only "cpu" has been run here.
_DEVICES = {"cpu": "CPU", "gpu": "GPU", "cuda": "GPU", "ascend": "Ascend", "npu": "Ascend"}


class AdamW(nn.Cell):
    """Torch's AdamW, compiled as one graph; it takes its gradients from where ``Gathering`` puts them.

    MindSpore's own ``AdamWeightDecay`` has no bias correction, and its ``Adam`` adds eps before it; with the small
    gradients below a fresh head both give other steps.

    Args:
        parameters: What learns.
        gradients: The sum of each one's gradients.
        scales: Learning-rate factor of each.
        decays: Weight decay of each.
        betas: Its two averages.

    References:
        Loshchilov & Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.
    """

    def __init__(
        self,
        parameters: ms.ParameterTuple,
        gradients: ms.ParameterTuple,
        *,
        scales: Sequence[float],
        decays: Sequence[float],
        betas: tuple[float, float],
    ) -> None:
        super().__init__()
        self.parameters, self.gradients = parameters, gradients
        self.means = parameters.clone("exp_avg", "zeros")
        self.spreads = parameters.clone("exp_avg_sq", "zeros")
        self.scales, self.decays, self.betas = tuple(scales), tuple(decays), betas

    @ms.jit
    def construct(self, lr: Tensor, factor: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """Take one step.

        Args:
            lr: Peak learning rate.
            factor: Multiplies every gradient: clipping, and the mean over micro-batches.
            first: One minus the first beta to the power of the step.
            second: Square root of one minus the second beta to the power of the step.

        Returns:
            Nothing of interest.
        """
        beta1, beta2 = self.betas
        for number, parameter in enumerate(self.parameters):
            gradient = self.gradients[number] * factor
            mean = self.means[number] + (1 - beta1) * (gradient - self.means[number])
            spread = beta2 * self.spreads[number] + (1 - beta2) * gradient * gradient
            rate = lr * self.scales[number]
            step = rate / first * mean / (ops.sqrt(spread) / second + ADAM_EPS)
            ops.assign(self.means[number], mean)
            ops.assign(self.spreads[number], spread)
            ops.assign(parameter, parameter * (1 - rate * self.decays[number]) - step)
        return lr


class Gathering(nn.Cell):
    """Gradients of micro-batches, summed up in place: a graph that is handed a tuple of them compiles anew each time.

    Args:
        loss: A function of a micro-batch that gives its loss.
        parameters: What learns.

    References:
        MindSpore 2.10: tensors inside a tuple count as constants of the graph.
    """

    def __init__(self, loss: Callable[..., Tensor], parameters: ms.ParameterTuple) -> None:
        super().__init__()
        self.gradients = parameters.clone("gradient", "zeros")
        self._loss_and_gradients = ms.value_and_grad(loss, None, parameters)

    @ms.jit
    def construct(self, images: Tensor, targets: Tensor, factors: Tensor | None) -> Tensor:
        """Add one micro-batch.

        Args:
            images: Shape (N, 3, H, W).
            targets: Shape (N, K).
            factors: Of every branch for each image, shape (depth, 2, N); None = all branches stay.

        Returns:
            Its loss.
        """
        loss, gradients = self._loss_and_gradients(images, targets, factors)
        for number, gradient in enumerate(gradients):
            ops.assign_add(self.gradients[number], gradient)
        return loss

    @ms.jit
    def norm(self) -> Tensor:
        """Length of the sum, over all that learns."""
        total = ops.zeros((), ms.float32)
        for gradient in self.gradients:
            total = total + (gradient * gradient).sum()
        return ops.sqrt(total)

    @ms.jit
    def clear(self) -> Tensor:
        """Forget what was gathered."""
        for gradient in self.gradients:
            ops.assign(gradient, ops.zeros_like(gradient))
        return ops.zeros((), ms.float32)


class Learner:
    """A network with its optimizer; the engine says what the loss is.

    Args:
        network: With its weights.
        loss: A function of a micro-batch (images, targets, drop-path factors) that gives its loss.
        optimization: How the weights learn; None = no training.
        precision: ``"auto"`` is fp32 on the processor, bf16 elsewhere.

    Raises:
        ValueError: If the precision is not offered.

    References:
        Our own.
    """

    def __init__(
        self,
        network: nn.Cell,
        loss: Callable[..., Tensor],
        *,
        optimization: Optimization | None = None,
        precision: Precision,
    ) -> None:
        self.network = network
        self.precision = precision
        # By canonical name: MindSpore's own are the same but for LayerNorm's.
        names = from_framework("mindspore", {name: np.empty(0) for name, _ in network.parameters_and_names()})
        self._parameters = dict(zip(names, network.get_parameters(), strict=True))
        self._betas = (optimization or Optimization()).betas
        self._clip_norm = optimization.clip_norm if optimization else 0.0
        self._steps = 0
        self._optimizer: AdamW | None = None
        if optimization is not None:
            rules = parameter_rules(
                {name: tuple(p.shape) for name, p in self._parameters.items()},
                layer_decay=optimization.layer_decay,
                weight_decay=optimization.weight_decay,
            )
            learning = ms.ParameterTuple(list(self._parameters.values()))
            self._gathering = Gathering(loss, learning)
            self._optimizer = AdamW(
                learning,
                self._gathering.gradients,
                scales=[rules[name].lr_scale for name in self._parameters],
                decays=[rules[name].weight_decay for name in self._parameters],
                betas=optimization.betas,
            )

    @property
    def trains(self) -> bool:
        """Whether there is an optimizer."""
        return self._optimizer is not None

    @property
    def description(self) -> str:
        """Device, precision and size in words."""
        count = sum(math.prod(parameter.shape) for parameter in self._parameters.values())
        device = ms.get_current_device().device_target
        return f"mindspore {ms.__version__} on {device}, {self.precision}, {count:,} parameters"

    def gather(self, images: Tensor, targets: Tensor, factors: Tensor | None) -> float:
        """Add a micro-batch's gradients to what will be the step.

        Args:
            images: Shape (N, 3, H, W).
            targets: Shape (N, K).
            factors: Of every branch for each image; None = all branches stay.

        Returns:
            Its loss.

        Raises:
            LossNotFinite: If it is NaN or infinite; the gradients gathered so far are thrown away.
            RuntimeError: If the network was set up for prediction only.
        """
        if self._optimizer is None:
            raise RuntimeError("this engine was built for prediction only; build it with an Optimization to train")
        loss = float(self._gathering(images, targets, factors).asnumpy())
        if not math.isfinite(loss):
            self._gathering.clear()
            raise LossNotFinite(f"the loss became {loss}")
        return loss

    def finish(self, *, batches: int, lr: float) -> None:
        """Check, clip and take the step.

        Args:
            batches: Micro-batches of the step.
            lr: Peak learning rate.

        Raises:
            LossNotFinite: If the gradient is NaN or infinite; what learns stays as it was.
            RuntimeError: If the network was set up for prediction only.
        """
        if self._optimizer is None:
            raise RuntimeError("this engine was built for prediction only; build it with an Optimization to train")
        norm = float(self._gathering.norm().asnumpy()) / batches
        if not math.isfinite(norm):
            self._gathering.clear()
            raise LossNotFinite(f"the gradient became {norm}")
        clip = min(1.0, self._clip_norm / (norm + 1e-6)) if self._clip_norm else 1.0
        self._steps += 1
        numbers = (lr, clip / batches, 1 - self._betas[0] ** self._steps, math.sqrt(1 - self._betas[1] ** self._steps))
        self._optimizer(*(Tensor(number, ms.float32) for number in numbers))
        self._gathering.clear()

    def weights(self) -> dict[str, NDArray[Any]]:
        """Copy the weights out, by canonical name."""
        return {name: parameter.asnumpy().copy() for name, parameter in self._parameters.items()}

    def load_weights(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Put weights in, each of them.

        Args:
            tensors: Arrays by canonical name.

        Raises:
            ValueError: If a name is missing or unknown, or a shape differs.
        """
        own = {name_in("mindspore", name): parameter for name, parameter in self._parameters.items()}
        brought = to_framework("mindspore", tensors)
        if wrong := misfits(brought, {name: parameter.shape for name, parameter in own.items()}):
            raise ValueError(f"these weights are another network's: {'; '.join(wrong[:8])}")
        for name, parameter in own.items():
            _put(parameter, brought[name])

    def optimizer_state(self) -> dict[str, NDArray[Any]]:
        """Copy AdamW's averages out, by canonical name; empty before the first step."""
        if self._optimizer is None or not self._steps:
            return {}
        state: dict[str, NDArray[Any]] = {}
        for name, mean, spread in zip(self._parameters, self._optimizer.means, self._optimizer.spreads, strict=True):
            state[f"{name}/exp_avg"], state[f"{name}/exp_avg_sq"] = mean.asnumpy().copy(), spread.asnumpy().copy()
            state[f"{name}/step"] = np.array(self._steps, np.float32)
        return state

    def load_optimizer_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Put AdamW's averages in.

        Args:
            state: As ``optimizer_state`` gave it.

        Raises:
            ValueError: If it holds a parameter that the network does not train.
        """
        if self._optimizer is None:
            return
        names = {key.rpartition("/")[0] for key in state}
        if unknown := sorted(names - set(self._parameters)):
            raise ValueError(f"the optimizer holds {unknown[0]!r}, which this network does not train")
        self._steps = max((int(array) for key, array in state.items() if key.endswith("/step")), default=0)
        for name, mean, spread in zip(self._parameters, self._optimizer.means, self._optimizer.spreads, strict=True):
            for key, average in (("exp_avg", mean), ("exp_avg_sq", spread)):
                _put(average, state.get(f"{name}/{key}", np.zeros(average.shape, np.float32)))

    def slot(self, name: str) -> Slot:
        """Give a parameter with its averages.

        Args:
            name: Canonical name.

        Returns:
            Copies; zeros before the first step.

        Raises:
            RuntimeError: If the network was set up for prediction only.
        """
        if self._optimizer is None:
            raise RuntimeError("this engine was built for prediction only; build it with an Optimization to train")
        place = list(self._parameters).index(name)
        held = (self._parameters[name], self._optimizer.means[place], self._optimizer.spreads[place])
        value, mean, spread = (array.asnumpy().copy() for array in held)
        return Slot(value, mean, spread, self._steps)


def _put(parameter: Parameter, array: NDArray[Any]) -> None:
    """Change a parameter where it lies: compiled graphs do not see ``set_data``."""
    ops.assign(parameter, Tensor(np.asarray(array, np.float32)))


def choose_device(wanted: Device) -> None:
    """Set where MindSpore computes.

    Args:
        wanted: ``"auto"`` leaves MindSpore's own choice.

    Raises:
        ValueError: If it is not to be had.

    References:
        Our own.
    """
    if wanted == "auto":
        return
    if wanted not in _DEVICES:
        raise ValueError(f"engine=mindspore knows no device {wanted!r}; it takes auto, {', '.join(_DEVICES)}")
    try:
        ms.set_device(_DEVICES[wanted])
    except Exception as error:  # MindSpore raises its own kinds for a device that is not there
        words = " ".join(str(error).split())[:200]
        raise ValueError(f"device {wanted!r} cannot be used here ({words}); try device=auto or device=cpu") from error


def choose_precision(wanted: Precision) -> Precision:
    """Resolve ``auto`` for the device that is set.

    Args:
        wanted: ``auto``, ``fp32`` or ``bf16``.

    Returns:
        ``fp32`` or ``bf16``.

    Raises:
        ValueError: If it is not offered here.

    References:
        Our own.
    """
    if wanted == "fp16":
        raise ValueError("engine=mindspore offers precision fp32 and bf16; choose one, or auto")
    on_processor = ms.get_current_device().device_target == "CPU"
    if wanted == "bf16" and on_processor:
        raise ValueError(
            "engine=mindspore computes in bf16 on accelerators only; on the processor choose fp32, or auto"
        )
    if wanted != "auto":
        return wanted
    return "fp32" if on_processor else "bf16"

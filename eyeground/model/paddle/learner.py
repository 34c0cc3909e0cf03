"""What Paddle needs around a network: device, precision, optimizer, and its state as arrays by canonical names."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import nn

from eyeground.model.applied_rate import ADAM_EPS, Slot
from eyeground.model.dialects import from_framework, misfits, to_framework
from eyeground.model.engine import LossNotFinite
from eyeground.model.layer_decay import parameter_rules
from eyeground.model.optimization import Device, Optimization, Precision

# "ascend" and "npu" are one to Paddle. Only "cpu" has been run here.
_DEVICES = {"cpu": "cpu", "cuda": "gpu", "gpu": "gpu", "xpu": "xpu", "npu": "npu", "ascend": "npu"}


class Learner:
    """A network on the device that is set, with its optimizer; the engine says what the loss is.

    Args:
        network: With its weights.
        optimization: How the weights learn; None = no training.
        precision: ``"auto"`` is fp32 on the processor, bf16 on a GPU that has it.

    Raises:
        ValueError: If the precision is not offered.

    References:
        Paddle 3.3: ``set_lr`` reaches the update, a change of ``_param_groups`` does not.
    """

    def __init__(
        self,
        network: nn.Layer,
        *,
        optimization: Optimization | None = None,
        precision: Precision = "auto",
    ) -> None:
        self.precision = choose_precision(precision)
        self.network = network
        self._parameters = dict(network.named_parameters())
        self._betas = (optimization or Optimization()).betas
        self._clip_norm = optimization.clip_norm if optimization else 0.0
        self._steps = 0
        # What was loaded, until the first step: Paddle makes its own only then.
        self._held: Mapping[str, NDArray[Any]] = {}
        self._optimizer: paddle.optimizer.Optimizer | None = None
        if optimization is not None:
            self._optimizer = self._make_optimizer(optimization)

    def _make_optimizer(self, optimization: Optimization) -> paddle.optimizer.Optimizer:
        """AdamW; a group's ``learning_rate`` is a factor on the one that ``set_lr`` sets."""
        # A matrix has two dimensions in either layout, so that the rules may be asked with Paddle's shapes.
        rules = parameter_rules(
            {name: tuple(p.shape) for name, p in self._parameters.items()},
            layer_decay=optimization.layer_decay,
            weight_decay=optimization.weight_decay,
        )
        groups: dict[Any, list[str]] = {}
        for name, rule in rules.items():
            groups.setdefault(rule, []).append(name)
        return paddle.optimizer.AdamW(
            learning_rate=0.0,
            parameters=[
                {
                    "params": [self._parameters[name] for name in names],
                    "learning_rate": rule.lr_scale,
                    "weight_decay": rule.weight_decay,
                }
                for rule, names in groups.items()
            ],
            beta1=optimization.betas[0],
            beta2=optimization.betas[1],
            epsilon=ADAM_EPS,
        )

    @property
    def trains(self) -> bool:
        """Whether there is an optimizer."""
        return self._optimizer is not None

    @property
    def description(self) -> str:
        """Device, precision and size in words."""
        count = sum(math.prod(parameter.shape) for parameter in self._parameters.values())
        return f"paddle {paddle.__version__} on {paddle.get_device()}, {self.precision}, {count:,} parameters"

    def autocast(self) -> Any:
        """Compute in the chosen precision: a context."""
        return paddle.amp.auto_cast(enable=self.precision != "fp32", level="O1", dtype="bfloat16")

    def begin(self, *, lr: float) -> None:
        """Get ready for one optimizer step.

        Args:
            lr: Peak learning rate of this step; each parameter's scale comes on top.

        Raises:
            RuntimeError: If the network was set up for prediction only.
        """
        if self._optimizer is None:
            raise RuntimeError("this engine was built for prediction only; build it with an Optimization to train")
        self.network.train()
        self._optimizer.set_lr(lr)

    def check_loss(self, value: float) -> float:
        """Refuse a loss that would spoil the weights.

        Args:
            value: The loss.

        Returns:
            The same value.

        Raises:
            LossNotFinite: If it is NaN or infinite; the gradients gathered so far are thrown away.
        """
        if not math.isfinite(value):
            self.network.clear_gradients()
            raise LossNotFinite(f"the loss became {value}")
        return value

    def finish(self) -> None:
        """Check, clip and take the step.

        Raises:
            LossNotFinite: If the gradient is NaN or infinite; what learns stays as it was.
            RuntimeError: If the network was set up for prediction only.
        """
        if self._optimizer is None:
            raise RuntimeError("this engine was built for prediction only; build it with an Optimization to train")
        gradients = [p.grad for p in self._parameters.values() if p.grad is not None]
        squares = paddle.stack([(gradient.astype("float32") ** 2).sum() for gradient in gradients])
        norm = math.sqrt(float(squares.sum()))
        if not math.isfinite(norm):
            self.network.clear_gradients()
            raise LossNotFinite(f"the gradient became {norm}")
        if self._clip_norm and norm > self._clip_norm:
            with paddle.no_grad():
                for gradient in gradients:
                    gradient.scale_(self._clip_norm / (norm + 1e-6))
        self._optimizer.step()
        self._optimizer.clear_grad()
        self._steps += 1
        self._held = {}

    def weights(self) -> dict[str, NDArray[Any]]:
        """Copy the weights out, by canonical name, in torch's layouts."""
        return from_framework("paddle", {name: p.numpy() for name, p in self.network.state_dict().items()})

    def load_weights(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Put weights in, each of them.

        Args:
            tensors: Arrays by canonical name, in torch's layouts.

        Raises:
            ValueError: If a name is missing or unknown, or a shape differs.
        """
        own = self.network.state_dict()
        brought = to_framework("paddle", tensors)
        if wrong := misfits(brought, {name: parameter.shape for name, parameter in own.items()}):
            raise ValueError(f"these weights are another network's: {'; '.join(wrong[:8])}")
        for name, tensor in own.items():
            tensor.set_value(np.asarray(brought[name], np.float32))

    def optimizer_state(self) -> dict[str, NDArray[Any]]:
        """Copy AdamW's averages out, by canonical name, in torch's layouts; empty before the first step."""
        if self._optimizer is None or not self._steps:
            return {}
        state: dict[str, NDArray[Any]] = {}
        for name in self._parameters:
            slot = self.slot(name)
            state[f"{name}/exp_avg"], state[f"{name}/exp_avg_sq"] = slot.exp_avg, slot.exp_avg_sq
            state[f"{name}/step"] = np.array(slot.step, np.float32)
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
        # Paddle multiplies up beta to the power of the step, in float32: so do we, to the same bits.
        powers = {f"beta{number}_pow_acc_0": _power(beta, self._steps) for number, beta in enumerate(self._betas, 1)}
        own: dict[str, Any] = {}
        for name, parameter in self._parameters.items():
            nothing = np.zeros(parameter.shape, np.float32)
            for ours, theirs in (("exp_avg", "moment1_0"), ("exp_avg_sq", "moment2_0")):
                held = state.get(f"{name}/{ours}")
                average = nothing if held is None else to_framework("paddle", {name: held})[name]
                own[f"{parameter.name}_{theirs}"] = paddle.to_tensor(average)
            for theirs, power in powers.items():
                own[f"{parameter.name}_{theirs}"] = paddle.to_tensor(power)
        self._optimizer.set_state_dict(own)
        self._held = dict(state)

    def slot(self, name: str) -> Slot:
        """Give a parameter with its averages.

        Args:
            name: Canonical name.

        Returns:
            Copies in torch's layout; zeros before the first step.

        Raises:
            RuntimeError: If the network was set up for prediction only.
        """
        if self._optimizer is None:
            raise RuntimeError("this engine was built for prediction only; build it with an Optimization to train")
        parameter = self._parameters[name]
        value = from_framework("paddle", {name: parameter.numpy()})[name]
        if not self._steps:
            return Slot(value, np.zeros_like(value), np.zeros_like(value), 0)
        averages = []
        for ours, theirs in (("exp_avg", "moment1"), ("exp_avg_sq", "moment2")):
            kept = self._optimizer._accumulators.get(theirs, {}).get(parameter.name)
            if f"{name}/{ours}" in self._held:
                averages.append(np.asarray(self._held[f"{name}/{ours}"]))
            elif kept is not None:
                averages.append(from_framework("paddle", {name: kept.numpy()})[name])
            else:
                raise RuntimeError(f"Paddle {paddle.__version__} keeps no {theirs} of {name} where 3.3 does")
        return Slot(value, averages[0], averages[1], self._steps)


def choose_device(wanted: Device) -> str:
    """Set where Paddle computes.

    Args:
        wanted: ``"auto"`` takes a GPU where there is one.

    Returns:
        Paddle's own word for it.

    Raises:
        ValueError: If it is not to be had.

    References:
        Our own.
    """
    if wanted == "auto":
        has_gpu = paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0
        wanted = "gpu" if has_gpu else "cpu"
    if wanted not in _DEVICES:
        raise ValueError(f"engine=paddle knows no device {wanted!r}; it takes auto, {', '.join(_DEVICES)}")
    try:
        return str(paddle.set_device(_DEVICES[wanted]))
    except Exception as error:  # Paddle raises its own kinds for a device that is not there
        words = " ".join(str(error).split())[-200:]
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
        raise ValueError("engine=paddle offers precision fp32 and bf16; choose one, or auto")
    on_processor = paddle.get_device() == "cpu"
    if wanted == "bf16" and on_processor:
        # Paddle 3.3.1 takes bf16 there without a word, and computes in fp32.
        raise ValueError("engine=paddle computes in bf16 on accelerators only; on the processor choose fp32, or auto")
    if wanted != "auto":
        return wanted
    return "bf16" if not on_processor and paddle.amp.is_bfloat16_supported() else "fp32"


def _power(beta: float, steps: int) -> NDArray[np.float32]:
    """Beta to the power of the steps and one, rounded after every multiplication, shape (1,)."""
    power = base = np.float32(beta)
    for _ in range(steps):
        power = np.float32(power * base)
    return np.array([power])

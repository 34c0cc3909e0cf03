"""What every torch engine needs around its network: device, precision, optimizer, and its state as arrays."""

import logging
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import nn

from eyeground.model.applied_rate import ADAM_EPS, Slot
from eyeground.model.engine import LossNotFinite
from eyeground.model.layer_decay import parameter_rules
from eyeground.model.optimization import Device, Optimization, Precision
from eyeground.model.torch.adapters import Adapted
from eyeground.model.torch.allocator import keep_freed_memory
from eyeground.model.torch.convnet import freeze_batch_norm

# Fabric announces the precision at every start; ours stands in the engine's description.
logging.getLogger("lightning_fabric").setLevel(logging.WARNING)

_FABRIC_PRECISION = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def choose_precision(wanted: Precision, *, device_type: str) -> Precision:
    """Resolve ``auto`` to what the device computes fastest without a loss scale, if it can.

    Args:
        wanted: What the user asked for; anything but ``auto`` is kept.
        device_type: ``"cpu"`` or ``"cuda"``.

    Returns:
        ``fp32``, ``bf16`` or ``fp16``.

    Example:
        >>> choose_precision("fp32", device_type="cpu")
        'fp32'

    References:
        Our own measurements, benchmarks/ and docs/results.md.
    """
    if wanted != "auto":
        return wanted
    if device_type == "cpu":
        return "bf16" if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else "fp32"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


class Learner:
    """A network on a device with its optimizer; the engines say what the loss is.

    Args:
        network: With its weights; it is moved to the device.
        optimization: How the weights learn; None = no training.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
        precision: ``"auto"`` takes bf16 where the device has it.
        channels_last: Memory layout in which convolutions run up to twice as fast; transformers do not care.
        frozen: Part of the network whose batch norm stays on its stored statistics; None = none of it.
        adapted: The network as one way of adapting it made it ready; None = all of it learns.
        threads: Processor threads; 0 leaves torch's choice.

    Raises:
        ValueError: If the device is not to be had.

    Example:
        >>> Learner(nn.Linear(2, 2), device="cpu", precision="fp32").precision
        'fp32'

    References:
        Lightning Fabric for device and precision.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        optimization: Optimization | None = None,
        device: Device = "auto",
        precision: Precision = "auto",
        channels_last: bool = False,
        frozen: nn.Module | None = None,
        adapted: Adapted | None = None,
        threads: int = 0,
    ) -> None:
        if threads:
            torch.set_num_threads(threads)
        try:
            self.fabric = Fabric(accelerator=device, devices=1, precision="32-true")
        except Exception as error:  # Fabric raises its own kinds for a device that is not there
            raise ValueError(
                f"device {device!r} cannot be used here ({error}); try device=auto or device=cpu"
            ) from error
        self.precision = choose_precision(precision, device_type=self.fabric.device.type)
        if self.precision != "fp32":
            self.fabric = Fabric(accelerator=device, devices=1, precision=_FABRIC_PRECISION[self.precision])  # type: ignore[arg-type]
        if self.precision == "fp32" and self.fabric.device.type == "cuda":
            torch.backends.cudnn.allow_tf32 = False  # on by default: convolutions would round to 10 bits
        if optimization is not None and self.fabric.device.type == "cpu":
            keep_freed_memory()
        self._frozen = frozen
        self._optimization = optimization or Optimization()
        self._layout = torch.channels_last if channels_last else torch.preserve_format
        self.network = network.to(memory_format=self._layout)
        self.adapted = adapted or Adapted(network)
        self._optimizer: torch.optim.Optimizer | None = None
        if optimization is None:
            self.module = self.fabric.setup(self.network)
        else:
            self.module, self._optimizer = self.fabric.setup(self.network, self._make_optimizer(optimization))

    @property
    def description(self) -> str:
        """Device, precision and size in words."""
        count = sum(parameter.numel() for parameter in self.network.parameters())
        return f"torch {torch.__version__} on {self.fabric.device}, {self.precision}, {count:,} parameters"

    def _make_optimizer(self, optimization: Optimization) -> torch.optim.Optimizer:
        """AdamW with one group per learning-rate scale and decay."""
        named = self.adapted.learners
        # Layers are counted among all parameters: a head that learns alone is still the last of many.
        rules = parameter_rules(
            {name: tuple(p.shape) for name, p in self.adapted.parameters.items()},
            layer_decay=optimization.layer_decay,
            weight_decay=optimization.weight_decay,
        )
        groups: dict[Any, list[str]] = {}
        for name in named:
            groups.setdefault(rules[name], []).append(name)
        self._order = [name for names in groups.values() for name in names]
        return torch.optim.AdamW(
            [
                {"params": [named[n] for n in names], "lr_scale": rule.lr_scale, "weight_decay": rule.weight_decay}
                for rule, names in groups.items()
            ],
            lr=0.0,
            betas=optimization.betas,
            eps=ADAM_EPS,
            # Fabric cannot clip a fused optimizer's gradients under fp16's loss scale.
            fused=self.fabric.device.type in ("cpu", "cuda")
            and not (self.precision == "fp16" and optimization.clip_norm > 0),
        )

    def to_device(self, array: NDArray[Any]) -> torch.Tensor:
        """Put a batch where and how the network wants it.

        Args:
            array: Images, shape (N, C, H, W), or targets.

        Returns:
            The same numbers on the device.
        """
        tensor = torch.from_numpy(array).to(self.fabric.device)
        return tensor.to(memory_format=self._layout) if tensor.ndim == 4 else tensor

    def begin(self, *, lr: float, seed: int) -> None:
        """Get ready for one optimizer step.

        Args:
            lr: Peak learning rate of this step; each parameter's scale comes on top.
            seed: Everything random inside the network follows from it, so that no generator needs saving.

        Raises:
            RuntimeError: If the network was set up for prediction only.
        """
        if self._optimizer is None:
            raise RuntimeError("this engine was built for prediction only; build it with an Optimization to train")
        self.module.train()
        self.adapted.rest()
        if self._frozen is not None:
            freeze_batch_norm(self._frozen)
        torch.manual_seed(seed)
        for group in self._optimizer.param_groups:
            group["lr"] = lr * group["lr_scale"]

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
            if self._optimizer is not None:
                self._optimizer.zero_grad()
            raise LossNotFinite(f"the loss became {value}")
        return value

    def finish(self) -> float:
        """Check, clip and take the step.

        Returns:
            Length of the gradient before clipping.

        Raises:
            LossNotFinite: If the gradient is NaN or infinite; what learns stays as it was.
            RuntimeError: If the network was set up for prediction only.
        """
        if self._optimizer is None:
            raise RuntimeError("this engine was built for prediction only; build it with an Optimization to train")
        self.adapted.check_reached()
        norm = self.gradient_norm()
        # fp16's loss scale looks after infinite gradients by itself.
        if not math.isfinite(norm) and self.precision != "fp16":
            self._optimizer.zero_grad()
            raise LossNotFinite(f"the gradient became {norm}")
        if self._optimization.clip_norm:
            self.fabric.clip_gradients(
                self.module, self._optimizer, max_norm=self._optimization.clip_norm, error_if_nonfinite=False
            )
        self._optimizer.step()
        self._optimizer.zero_grad()
        return norm

    def gradient_norm(self, prefix: str = "") -> float:
        """Length of the gradient over all parameters whose names begin so.

        Args:
            prefix: Part of the network, such as ``"backbone."``; empty = all of it.

        Returns:
            The 2-norm without fp16's loss scale; 0 where nothing has a gradient.
        """
        named = self.network.named_parameters()
        gradients = [p.grad for name, p in named if p.grad is not None and name.startswith(prefix)]
        norm = float(torch.nn.utils.get_total_norm(gradients).item()) if gradients else 0.0
        scaler = getattr(self.fabric._precision, "scaler", None)
        return norm / float(scaler.get_scale()) if scaler else norm

    def slot(self, name: str) -> Slot:
        """Give a parameter with what AdamW keeps about it.

        Args:
            name: Its canonical name.

        Returns:
            Copies; zeros before the first step.

        Raises:
            RuntimeError: If the network was set up for prediction only.
        """
        if self._optimizer is None:
            raise RuntimeError("this engine was built for prediction only; build it with an Optimization to train")
        parameter = self.adapted.parameters[name]
        kept = self._optimizer.state.get(parameter, {})
        value = _array(parameter)
        mean, spread = (_array(kept[key]) if key in kept else np.zeros_like(value) for key in ("exp_avg", "exp_avg_sq"))
        return Slot(value, mean, spread, int(kept["step"]) if "step" in kept else 0)

    def whole(self) -> dict[str, NDArray[Any]]:
        """Copy all weights out by timm's names, LoRA's matrices added to those beside them."""
        return {name: _array(tensor) for name, tensor in self.adapted.merged.items()}

    def state(self) -> dict[str, Mapping[str, NDArray[Any]]]:
        """Copy ``weights``, of an adapted network those that may change, and ``optimizer`` out."""
        weights = {name: _array(tensor) for name, tensor in self.adapted.kept.items()}
        if self._optimizer is None:
            return {"weights": weights}
        slots = self._optimizer.state_dict()["state"]
        optimizer = {
            f"{self._order[index]}/{slot}": _array(value)
            for index, kept in slots.items()
            for slot, value in kept.items()
        }
        if scaler := getattr(self.fabric._precision, "scaler", None):
            optimizer |= {
                f"scaler/{name}": np.asarray(value, np.float64) for name, value in scaler.state_dict().items()
            }
        return {"weights": weights, "optimizer": optimizer}

    def load_state(self, state: Mapping[str, Mapping[str, NDArray[Any]]]) -> None:
        """Put ``weights``, and ``optimizer`` where given, back.

        Args:
            state: As ``state`` gave it; without ``optimizer`` only the weights change.

        Raises:
            ValueError: If names or shapes differ from the network's.
        """
        self.adapted.load({name: torch.from_numpy(np.array(array)) for name, array in state["weights"].items()})
        if "optimizer" not in state or self._optimizer is None:
            return
        index = {name: number for number, name in enumerate(self._order)}
        parameters = self.adapted.parameters
        slots: dict[int, dict[str, torch.Tensor]] = {}
        scaler_state: dict[str, float] = {}
        for key, array in state["optimizer"].items():
            name, _, slot = key.rpartition("/")
            if name == "scaler":
                scaler_state[slot] = float(array)
            elif name not in index:
                raise ValueError(f"the optimizer holds {name!r}, which this network does not train")
            else:
                slots.setdefault(index[name], {})[slot] = _laid_out_like(parameters[name], array)
        whole = self._optimizer.state_dict()
        whole["state"] = slots
        self._optimizer.load_state_dict(whole)
        scaler = getattr(self.fabric._precision, "scaler", None)
        if scaler and scaler_state:
            scaler.load_state_dict(
                {n: int(v) if n in ("growth_interval", "_growth_tracker") else v for n, v in scaler_state.items()}
            )


def _laid_out_like(parameter: torch.Tensor, array: NDArray[Any]) -> torch.Tensor:
    """Give an optimizer's average the memory layout of its parameter: fused AdamW pairs them by place in memory."""
    value = torch.from_numpy(np.array(array))
    return torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value


def _array(tensor: torch.Tensor) -> NDArray[Any]:
    """Copy a tensor into plain row-major numpy."""
    return np.array(tensor.detach().cpu().contiguous().numpy())

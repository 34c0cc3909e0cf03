"""What every torch engine needs around its network: device, precision, optimizer, and its state as arrays."""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from eyeground.model.applied_rate import ADAM_EPS, Slot
from eyeground.model.engine import LossNotFinite
from eyeground.model.layer_decay import parameter_rules
from eyeground.model.optimization import Device, Optimization, Precision
from eyeground.model.processes import ALONE, Processes
from eyeground.model.torch.adapters import Adapted
from eyeground.model.torch.allocator import keep_freed_memory
from eyeground.model.torch.attention import write_out_attention
from eyeground.model.torch.convnet import freeze_batch_norm
from eyeground.model.torch.feasible import FABRIC_PRECISION, check_together, choose_precision
from eyeground.model.torch.patch_product import multiply_patches
from eyeground.model.torch.processes import fabric_of
from eyeground.model.torch.sharding import parted_like, put_together
from eyeground.model.torch.stepping import Stepping, length_of


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
        compiled: Let torch.compile make one program of the network: minutes at the start, and numbers that differ in
            their last digits.
        processes: Who trains it together.

    Raises:
        ValueError: If the device is not to be had, fp16's loss scale is to go with ``step_in_backward`` or with parted
            weights, ``step_in_backward`` or gradual thawing with several processes that cannot have it, or there is no
            compiler for ``compiled``.

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
        compiled: bool = False,
        processes: Processes = ALONE,
    ) -> None:
        if threads:
            torch.set_num_threads(threads)
        self.processes = processes
        self.adapted = adapted or Adapted(network)
        thawing = self.adapted.adaptation.way == "gradual"
        self.fabric = fabric_of(processes, device=device, thawing=thawing)
        self.precision = choose_precision(precision, device_type=self.fabric.device.type)
        check_together(processes, optimization, self.precision, thawing=thawing, compiled=compiled)
        if self.precision != "fp32":
            words = FABRIC_PRECISION[self.precision]
            self.fabric = fabric_of(processes, device=device, precision=words, thawing=thawing)
        if self.precision == "fp32" and self.fabric.device.type == "cuda":
            torch.backends.cudnn.allow_tf32 = False  # on by default: convolutions would round to 10 bits
        if optimization is not None and self.fabric.device.type == "cpu" and not processes.sharded:
            keep_freed_memory()  # but weights are parted to save memory
        if optimization is not None and (self.fabric.device.type, self.precision) == ("cpu", "bf16"):
            write_out_attention(network)
            multiply_patches(network)
        self._frozen = frozen
        self._optimization = optimization or Optimization()
        self._layout = torch.channels_last if channels_last else torch.preserve_format
        # What is parted lies in plain order: torch's fully_shard takes no other.
        self.network = network if processes.sharded else network.to(memory_format=self._layout)
        self._optimizer: torch.optim.Optimizer | None = None
        plain: Any = torch.compile(self.network) if compiled else self.network
        self._plain = plain
        with self.adapted.all_learning():  # several processes exchange gradients of what has one at the start
            self.module = self.fabric.setup_module(plain)
        if optimization is not None:
            wrapped: Any = self.fabric.setup_optimizers(self._make_optimizer(optimization))
            self._optimizer = wrapped
        self._stepping: Stepping | None = None
        if self._optimizer is not None and self._optimization.step_in_backward:
            self._stepping = Stepping(self._optimizer)

    @property
    def description(self) -> str:
        """Device, precision and size in words."""
        count = sum(parameter.numel() for parameter in self.network.parameters())
        many = self.processes.world > 1
        among = f", {self.processes.world} processes, weights {'parted' if self.processes.sharded else 'in each'}"
        where = f"torch {torch.__version__} on {self.fabric.device}, {self.precision}, {count:,} parameters"
        return where + (among if many else "")

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

    def begin(self, *, lr: float, seed: int, passes: int = 1) -> None:
        """Get ready for one optimizer step.

        Args:
            lr: Peak learning rate of this step; each parameter's scale comes on top.
            seed: Everything random inside the network follows from it, so that no generator needs saving.
            passes: Backward passes whose gradients are added.

        Raises:
            RuntimeError: If the network was set up for prediction only.
            ValueError: If weights are to step in the backward pass, and there are several.
        """
        if self._optimizer is None:
            raise RuntimeError("this engine was built for prediction only; build it with an Optimization to train")
        if self._stepping and passes > 1:
            raise ValueError(
                f"step_in_backward needs one backward pass a step, not {passes}: set accumulation=1 and a larger "
                "batch_size, or turn it off"
            )
        self.module.train()
        self.adapted.rest()
        if self._frozen is not None:
            freeze_batch_norm(self._frozen)
        torch.manual_seed(self.processes.seed(seed))
        for group in self._optimizer.param_groups:
            group["lr"] = lr * group["lr_scale"]
        # Autocast would keep a copy of every weight until the forward pass is over.
        torch.set_autocast_cache_enabled(self._stepping is None)
        if self._stepping:
            self._stepping.begin(self.adapted.learners)

    def syncing(self, *, last: bool) -> AbstractContextManager[Any]:
        """Give the context of a forward and backward pass, so that processes exchange gradients once a step.

        Args:
            last: Whether no further backward pass belongs to this step.

        Returns:
            The context.
        """
        # Parted weights have no room for whole gradients that wait.
        if last or self.processes.world == 1 or self.processes.sharded:
            return nullcontext()
        context: AbstractContextManager[Any] = self.fabric.no_backward_sync(self.module)
        return context

    def backward(self, loss: torch.Tensor) -> None:
        """Go back from a loss of which this process's rows are a part.

        Args:
            loss: The whole batch's, a scalar, or the part of it that this process's rows make up.
        """
        # Gradients are averaged over processes, but the loss is the sum of their parts.
        self.fabric.backward(loss * self.processes.world)

    def answer(self, images: NDArray[np.float32]) -> torch.Tensor:
        """Ask the network as in evaluation, without the others' knowledge where its weights are not parted.

        Args:
            images: Shape (N, 3, H, W).

        Returns:
            What it gives, float32, on the device.
        """
        self.module.eval()
        with self.fabric.autocast():
            found: torch.Tensor = self._plain(self.to_device(images))
        return found.float()

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
            LossNotFinite: If the gradient is NaN or infinite; what learns stays as it was, or, where weights step in
                the backward pass, has taken a part of the step, all of it finite.
            RuntimeError: If the network was set up for prediction only.
        """
        if self._optimizer is None:
            raise RuntimeError("this engine was built for prediction only; build it with an Optimization to train")
        if self._stepping:
            self._stepping.finish()
        self.adapted.check_reached(self._reached)
        norm = self.gradient_norm()
        # fp16's loss scale looks after infinite gradients by itself.
        if not math.isfinite(norm) and self.precision != "fp16":
            self._optimizer.zero_grad()
            raise LossNotFinite(f"the gradient became {norm}")
        if self._optimization.clip_norm:
            self.fabric.clip_gradients(
                self.module, self._optimizer, max_norm=self._optimization.clip_norm, error_if_nonfinite=False
            )
        if not self._stepping:
            self._optimizer.step()
            self._optimizer.zero_grad()
        return norm

    @property
    def _reached(self) -> set[str]:
        """Canonical names of what this step has a gradient of."""
        if self._stepping:
            return set(self._stepping.norms)
        return {name for name, parameter in self.adapted.parameters.items() if parameter.grad is not None}

    def gradient_norm(self, prefix: str = "") -> float:
        """Length of the gradient over all parameters whose names begin so.

        Args:
            prefix: Part of the network, such as ``"backbone."``; empty = all of it.

        Returns:
            The 2-norm without fp16's loss scale; 0 where nothing has a gradient.
        """
        if self._stepping:
            kept = [norm for name, norm in self._stepping.norms.items() if name.startswith(prefix)]
        else:
            named = self.network.named_parameters()
            kept = [length_of(p.grad) for name, p in named if p.grad is not None and name.startswith(prefix)]
        norm = float(put_together(torch.nn.utils.get_total_norm(kept)).item()) if kept else 0.0
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
        """Copy ``weights``, of an adapted network those that may change, and ``optimizer`` out; in all processes.

        Returns:
            Arrays by part and name; in another process than the first none, so that not each has a copy of everything.
        """
        weights = self._copied(self.adapted.kept)
        if self._optimizer is None:
            return {"weights": weights}
        slots = self._optimizer.state_dict()["state"]
        optimizer = self._copied(
            {f"{self._order[index]}/{slot}": value for index, kept in slots.items() for slot, value in kept.items()}
        )
        if scaler := getattr(self.fabric._precision, "scaler", None):
            optimizer |= {
                f"scaler/{name}": np.asarray(value, np.float64) for name, value in scaler.state_dict().items()
            }
        return {"weights": weights, "optimizer": optimizer}

    def _copied(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, NDArray[Any]]:
        """Copies in the first process; the others help to put parted tensors together, one at a time."""
        found = {}
        for name in sorted(tensors):  # in one order in all: what was read from a file comes in another in each
            whole = put_together(tensors[name])
            if self.processes.rank == 0:
                found[name] = _array(whole)
        return found

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
    return torch.empty_like(parameter).copy_(parted_like(value, parameter)) if value.shape == parameter.shape else value


def _array(tensor: torch.Tensor) -> NDArray[Any]:
    """Copy a tensor into plain row-major numpy."""
    return np.array(put_together(tensor.detach()).cpu().contiguous().numpy())

"""The reference engine: torch, through Lightning Fabric for devices and precision."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from numpy.typing import NDArray

from eyeground.model.engine import Images, LossNotFinite, Targets
from eyeground.model.layer_decay import parameter_rules
from eyeground.model.spec import ModelSpec
from eyeground.model.torch.allocator import keep_freed_memory
from eyeground.model.torch.convnet import freeze_batch_norm
from eyeground.model.torch.network import build, load
from eyeground.model.weights import Tensors

# Fabric announces the precision at every start; ours stands in the engine's description.
logging.getLogger("lightning_fabric").setLevel(logging.WARNING)

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
_FABRIC_PRECISION = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


@dataclass(frozen=True)
class Optimization:
    """How the weights learn.

    Args:
        weight_decay: AdamW's decay for parameters with two dimensions or more.
        layer_decay: Learning-rate factor per layer counted from the head, (0, 1].
        betas: AdamW's two averages.
        clip_norm: Greatest gradient norm; 0 = no clipping.
        label_smoothing: Share of the truth spread over all classes, [0, 1).

    Example:
        >>> Optimization().layer_decay
        0.65

    References:
        Zhou et al., Nature 2023: the defaults.
    """

    weight_decay: float = 0.05
    layer_decay: float = 0.65
    betas: tuple[float, float] = (0.9, 0.999)
    clip_norm: float = 0.0
    label_smoothing: float = 0.0


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


class TorchEngine:
    """A torch network with its optimizer, on one device.

    Args:
        spec: What to build.
        tensors: Weights by the file's own names; None = random, drawn from ``seed``.
        optimization: How the weights learn; None = prediction only.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
        precision: ``"auto"`` takes bf16 where the device has it.
        seed: Draws the random weights and the new head.
        frozen_batch_norm: Keep batch norm on its stored statistics.
        checkpointing: Recompute activations in the backward pass, for less memory.
        threads: Processor threads; 0 leaves torch's choice.

    Raises:
        WeightsRefused: If the weights do not fit.
        ValueError: If the network or device is not to be had.

    Example:
        >>> engine = TorchEngine(ModelSpec("vit_demo_patch8", classes=3, image_px=32), device="cpu", precision="fp32")
        >>> engine.predict(np.zeros((2, 3, 32, 32), np.float32)).shape
        (2, 3)

    References:
        Lightning Fabric for device and precision.
    """

    def __init__(
        self,
        spec: ModelSpec,
        *,
        tensors: Tensors | None = None,
        optimization: Optimization | None = None,
        device: Device = "auto",
        precision: Precision = "auto",
        seed: int = 0,
        frozen_batch_norm: bool = False,
        checkpointing: bool = False,
        threads: int = 0,
    ) -> None:
        if threads:
            torch.set_num_threads(threads)
        try:
            self._fabric = Fabric(accelerator=device, devices=1, precision="32-true")
        except Exception as error:  # Fabric raises its own kinds for a device that is not there
            raise ValueError(
                f"device {device!r} cannot be used here ({error}); try device=auto or device=cpu"
            ) from error
        self.precision = choose_precision(precision, device_type=self._fabric.device.type)
        if self.precision != "fp32":
            self._fabric = Fabric(accelerator=device, devices=1, precision=_FABRIC_PRECISION[self.precision])  # type: ignore[arg-type]
        if optimization is not None and self._fabric.device.type == "cpu":
            keep_freed_memory()
        self._spec = spec
        self._frozen_batch_norm = frozen_batch_norm
        self._optimization = optimization or Optimization()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = build(spec)
        self.load_report = load(network, tensors) if tensors is not None else None
        if checkpointing:
            network.set_grad_checkpointing(True)  # type: ignore[operator]
        # Convolutions run up to twice as fast in this layout; transformers do not care.
        self._layout = torch.preserve_format if spec.vit else torch.channels_last
        network = network.to(memory_format=self._layout)
        self._network = network
        self._optimizer: torch.optim.Optimizer | None = None
        if optimization is None:
            self._module = self._fabric.setup(network)
        else:
            self._module, self._optimizer = self._fabric.setup(network, self._make_optimizer(optimization))

    @property
    def spec(self) -> ModelSpec:
        """What was built."""
        return self._spec

    @property
    def description(self) -> str:
        """Device, precision and size in words."""
        count = sum(parameter.numel() for parameter in self._network.parameters())
        return f"torch {torch.__version__} on {self._fabric.device}, {self.precision}, {count:,} parameters"

    def _make_optimizer(self, optimization: Optimization) -> torch.optim.Optimizer:
        """AdamW with one group per learning-rate scale and decay."""
        named = {name: p for name, p in self._network.named_parameters() if p.requires_grad}
        rules = parameter_rules(
            {name: tuple(p.shape) for name, p in named.items()},
            layer_decay=optimization.layer_decay,
            weight_decay=optimization.weight_decay,
        )
        groups: dict[Any, list[str]] = {}
        for name, rule in rules.items():
            groups.setdefault(rule, []).append(name)
        self._order = [name for names in groups.values() for name in names]
        return torch.optim.AdamW(
            [
                {"params": [named[n] for n in names], "lr_scale": rule.lr_scale, "weight_decay": rule.weight_decay}
                for rule, names in groups.items()
            ],
            lr=0.0,
            betas=optimization.betas,
            # Fabric cannot clip a fused optimizer's gradients under fp16's loss scale.
            fused=self._fabric.device.type in ("cpu", "cuda")
            and not (self.precision == "fp16" and optimization.clip_norm > 0),
        )

    def _to_device(self, images: Images) -> torch.Tensor:
        """Put a batch where and how the network wants it."""
        return torch.from_numpy(images).to(self._fabric.device).to(memory_format=self._layout)

    def train_step(self, batches: Sequence[tuple[Images, Targets]], *, lr: float, seed: int) -> float:
        """Take one optimizer step over one or several micro-batches.

        Args:
            batches: Micro-batches whose gradients are averaged.
            lr: Peak learning rate of this step; each parameter's scale comes on top.
            seed: Everything random inside the network follows from it, so that no generator needs saving.

        Returns:
            Mean loss over the micro-batches.

        Raises:
            LossNotFinite: If the loss or the gradient is NaN or infinite; what learns stays as it was.
            RuntimeError: If the engine was built for prediction only.
        """
        if self._optimizer is None:
            raise RuntimeError("this engine was built for prediction only; build it with an Optimization to train")
        self._module.train()
        if self._frozen_batch_norm:
            freeze_batch_norm(self._network)
        torch.manual_seed(seed)
        for group in self._optimizer.param_groups:
            group["lr"] = lr * group["lr_scale"]
        total = 0.0
        for images, targets in batches:
            logits = self._module(self._to_device(images))
            loss = F.cross_entropy(
                logits.float(),
                torch.from_numpy(targets).to(self._fabric.device),
                label_smoothing=self._optimization.label_smoothing,
            ) / len(batches)
            if not math.isfinite(value := loss.item()):
                self._optimizer.zero_grad()
                raise LossNotFinite(f"the loss became {value}")
            self._fabric.backward(loss)
            total += value
        if self._optimization.clip_norm:
            self._fabric.clip_gradients(
                self._module, self._optimizer, max_norm=self._optimization.clip_norm, error_if_nonfinite=False
            )
        self._check_gradients()
        self._optimizer.step()
        self._optimizer.zero_grad()
        return total

    def _check_gradients(self) -> None:
        """Refuse a step that would make the weights NaN; fp16's loss scale looks after that by itself."""
        if self.precision == "fp16" or self._optimizer is None:
            return
        gradients = [p.grad for p in self._network.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients).item()
        if not math.isfinite(norm):
            self._optimizer.zero_grad()
            raise LossNotFinite(f"the gradient became {norm}")

    @torch.inference_mode()
    def predict(self, images: Images) -> NDArray[np.float32]:
        """Give scores.

        Args:
            images: Shape (N, 3, H, W).

        Returns:
            Probabilities, shape (N, K), rows sum to 1.
        """
        self._module.eval()
        return F.softmax(self._module(self._to_device(images)).float(), dim=1).cpu().numpy()

    @torch.inference_mode()
    def features(self, images: Images) -> NDArray[np.float32]:
        """Give what the head sees.

        Args:
            images: Shape (N, 3, H, W).

        Returns:
            Features, shape (N, D).
        """
        self._module.eval()
        network: Any = self._network
        with self._fabric.autocast():
            tokens = network.forward_features(self._to_device(images))
            pooled: torch.Tensor = network.forward_head(tokens, pre_logits=True)
        return pooled.float().cpu().numpy()

    def state(self) -> dict[str, Mapping[str, NDArray[Any]]]:
        """Copy ``weights`` and ``optimizer`` out."""
        weights = {name: _array(tensor) for name, tensor in self._network.state_dict().items()}
        if self._optimizer is None:
            return {"weights": weights}
        slots = self._optimizer.state_dict()["state"]
        optimizer = {
            f"{self._order[index]}/{slot}": _array(value)
            for index, kept in slots.items()
            for slot, value in kept.items()
        }
        if scaler := getattr(self._fabric._precision, "scaler", None):
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
        weights = {name: torch.from_numpy(np.array(array)) for name, array in state["weights"].items()}
        try:
            self._network.load_state_dict(weights, strict=True)
        except RuntimeError as error:
            raise ValueError(f"these weights are another network's: {error}") from error
        if "optimizer" not in state or self._optimizer is None:
            return
        index = {name: number for number, name in enumerate(self._order)}
        parameters = dict(self._network.named_parameters())
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
        scaler = getattr(self._fabric._precision, "scaler", None)
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

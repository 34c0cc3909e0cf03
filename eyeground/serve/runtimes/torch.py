"""Torch, the reference: the network itself, from the bundle's weights."""

import importlib.util
import platform
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eyeground.model.engine import Images
from eyeground.model.optimization import Device
from eyeground.model.spec import ModelSpec
from eyeground.model.weights import Tensors, read_weights, write_weights
from eyeground.serve.runtime import RuntimePrecision
from eyeground.serve.runtimes._files import files_in

_WEIGHTS = ("weights.safetensors",)
FILES: Mapping[RuntimePrecision, tuple[str, ...]] = {"fp32": _WEIGHTS, "bf16": _WEIGHTS}

# What Linux shows where a driver of NVIDIA's or AMD's is loaded, WSL's too.
_ACCELERATORS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


def missing() -> str:
    """Say what has to be installed.

    Returns:
        What to type; empty when all is there.

    Example:
        >>> missing()
        ''

    References:
        Our own.
    """
    return "" if importlib.util.find_spec("torch") else "pip install eyeground"


def accelerated(device: Device) -> bool:
    """Say whether torch would compute on something else than the processor.

    Args:
        device: What was asked for; ``"auto"`` takes an accelerator where there is one.

    Returns:
        Whether it would. Torch, which takes seconds to import, is asked only where there may be one.

    Example:
        >>> accelerated("cpu"), accelerated("cuda")
        (False, True)

    References:
        Our own.
    """
    if device != "auto":
        return device != "cpu"
    if not any(Path(place).exists() for place in _ACCELERATORS) and platform.system() != "Darwin":
        return False
    import torch

    return torch.accelerator.is_available()


def write(
    spec: ModelSpec,
    tensors: Tensors,
    folder: Path,
    *,
    precision: RuntimePrecision,
    calibration_images: Images | None = None,
) -> None:
    """Write the weights; where they lie already they stay, because a bundle is known by the hash of its weights.

    Args:
        spec: The network.
        tensors: All of its weights, by canonical name.
        folder: Where to write.
        precision: How they will be used; the file is the same.
        calibration_images: Not needed here.

    Raises:
        ValueError: If torch does not compute so.
        OSError: If the disk is full.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write(ModelSpec("vit_demo_patch8", 2, image_px=32), {}, Path(folder), precision="fp32")
        ...     [path.name for path in Path(folder).iterdir()]
        ['weights.safetensors']

    References:
        safetensors format, version 0.3.
    """
    if precision not in FILES:
        raise ValueError(f"torch does not compute in {precision}: choose {' or '.join(FILES)}")
    path = folder / _WEIGHTS[0]
    if not path.exists():
        write_weights(path, tensors, {"architecture": spec.name})


class TorchRuntime:
    """A network in torch.

    Args:
        spec: The network.
        tensors: All of its weights, by canonical name.
        precision: How it computes.
        threads: Processor threads; 0 leaves torch's choice.
        device: Where it computes.

    Raises:
        WeightsRefused: If the weights do not belong to the network.
        ValueError: If the device is not to be had.

    Example:
        >>> from eyeground.model.torch.network import build
        >>> spec = ModelSpec("vit_demo_patch8", classes=2, image_px=32)
        >>> tensors = {name: tensor.numpy() for name, tensor in build(spec).state_dict().items()}
        >>> TorchRuntime(spec, tensors, precision="fp32").outputs(np.zeros((4, 3, 32, 32), np.float32)).shape
        (4, 2)

    References:
        Our own.
    """

    def __init__(
        self,
        spec: ModelSpec,
        tensors: Tensors,
        *,
        precision: RuntimePrecision,
        threads: int = 0,
        device: Device = "cpu",
    ) -> None:
        from eyeground.model.torch.engine import TorchEngine
        from eyeground.model.torch.feasible import choose_precision
        from eyeground.model.torch.packed import PackedNetwork, can_pack

        self._network: TorchEngine | PackedNetwork | None
        if precision == "bf16" and spec.vit and can_pack() and not accelerated(device):
            self._network = PackedNetwork(spec, tensors, threads=threads)
            self._description = self._network.description
            return
        self._network = TorchEngine(
            spec, tensors=tensors, device=device, precision="bf16" if precision == "bf16" else "fp32", threads=threads
        )
        self._description = self._network.description
        on_cpu = " on cpu" in self._description
        if precision == "bf16" and on_cpu and choose_precision("auto", device_type="cpu") != "bf16":
            self._description += "; this processor has no bf16: it is imitated, slower than fp32"

    @property
    def description(self) -> str:
        """Program, version, device and precision in words."""
        return self._description

    def outputs(self, images: Images) -> NDArray[np.float32]:
        """Give what the network's head gives.

        Args:
            images: Normalized, shape (N, 3, H, W), N at least 1.

        Returns:
            Shape (N, outputs).

        Raises:
            RuntimeError: If it was closed.
        """
        if self._network is None:
            raise RuntimeError("this runtime was closed; open it again")
        return self._network.outputs(images)

    def close(self) -> None:
        """Let go of the network."""
        self._network = None


def open_runtime(
    folder: Path, *, spec: ModelSpec, precision: RuntimePrecision, threads: int = 0, device: Device = "cpu"
) -> TorchRuntime:
    """Open the weights of a bundle.

    Args:
        folder: The bundle.
        spec: The network.
        precision: ``"fp32"``, or ``"bf16"``: weights stay fp32, and what is multiplied is rounded.
        threads: Processor threads; 0 leaves torch's choice.
        device: ``"cpu"``, ``"cuda"``, ``"mps"`` or ``"auto"``.

    Returns:
        The runtime.

    Raises:
        RuntimeMissing: If torch does not compute so, or the weights are not there.
        WeightsRefused: If they are damaged, or do not belong to the network.
        ValueError: If the device is not to be had.

    Example:
        >>> open_runtime(Path("nowhere"), spec=ModelSpec("vit_demo_patch8", 2, image_px=32), precision="fp32")
        Traceback (most recent call last):
        eyeground.serve.runtime.RuntimeMissing: nowhere: holds no weights.safetensors, which the runtime torch needs ...

    References:
        Our own.
    """
    (path,) = files_in(folder, FILES, program="torch", precision=precision)
    return TorchRuntime(spec, read_weights(path), precision=precision, threads=threads, device=device)

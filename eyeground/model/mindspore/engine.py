"""The MindSpore engine: the same verbs as torch's, the same weights, the same steps; its step is one compiled graph."""

from collections.abc import Mapping, Sequence
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, amp, nn, ops
from numpy.typing import NDArray

from eyeground.model.applied_rate import Slot
from eyeground.model.drop_path import drop_path_factors
from eyeground.model.engine import Images, Targets
from eyeground.model.mindspore.learner import Learner, choose_device, choose_precision
from eyeground.model.mindspore.vit import DropPath, VisionTransformer
from eyeground.model.optimization import Device, Optimization, Precision
from eyeground.model.spec import ModelSpec

OPENS_WITH = """import mindspore
weights = mindspore.load_checkpoint(FILE)  # names are timm's; LayerNorm has gamma and beta
mindspore.load_param_into_net(network, weights, strict_load=True)
# LayerNorm epsilon=1e-6, GELU approximate=False, Conv2d pad_mode="valid", has_bias=True"""


class MindSporeEngine:
    """A MindSpore network with its optimizer, on one device.

    Args:
        spec: What to build: one of our ViT shapes.
        tensors: All of its weights by canonical name; None = MindSpore's own random ones.
        optimization: How the weights learn; None = prediction only.
        device: ``"auto"``, ``"cpu"``, ``"gpu"`` or ``"ascend"``; only ``"cpu"`` was tried.
        precision: ``"auto"``, ``"fp32"`` or ``"bf16"``.
        checkpointing: Recompute activations in the backward pass, for less memory.

    Raises:
        ValueError: If the network or device is not to be had, or the weights are another network's.

    References:
        Our own; held against the torch engine in tests/model/test_frameworks.py.
    """

    def __init__(
        self,
        spec: ModelSpec,
        *,
        tensors: Mapping[str, NDArray[Any]] | None = None,
        optimization: Optimization | None = None,
        device: Device = "auto",
        precision: Precision = "auto",
        checkpointing: bool = False,
    ) -> None:
        choose_device(device)
        self._spec = spec
        # Never set_train: nothing here depends on it, and every change compiles all graphs anew.
        self._network = VisionTransformer(spec)
        if checkpointing:
            for block in self._network.blocks:
                block.recompute()
        self.precision = choose_precision(precision)
        computing = self._network
        if self.precision == "bf16":
            computing = amp.auto_mixed_precision(self._network, amp_level="auto", dtype=ms.bfloat16)
        # A graph takes numbers from around it, but no attributes of Python's objects.
        spread = optimization.label_smoothing if optimization else 0.0
        share = spread / spec.classes

        def loss_of(images: Tensor, targets: Tensor, factors: Tensor | None) -> Tensor:
            logits = computing(images, factors).astype(ms.float32)
            shares = targets * (1 - spread) + share
            return -(shares * ops.log_softmax(logits, axis=1)).sum(axis=1).mean()

        def logits_of(images: Tensor) -> Tensor:
            return computing(images, None).astype(ms.float32)

        self._logits = ms.jit(logits_of)
        self._learner = Learner(self._network, loss_of, optimization=optimization, precision=self.precision)
        if tensors is not None:
            self._learner.load_weights(tensors)

    @property
    def spec(self) -> ModelSpec:
        """What was built."""
        return self._spec

    @property
    def description(self) -> str:
        """Device, precision and size in words."""
        return self._learner.description

    def train_step(self, batches: Sequence[tuple[Images, Targets]], *, lr: float, seed: int) -> float:
        """Take one optimizer step over one or several micro-batches."""
        total = 0.0
        for number, (images, targets) in enumerate(batches):
            factors = self._draw(len(images), seed=(seed << 8) + number)
            total += self._learner.gather(Tensor(images), Tensor(targets), factors) / len(batches)
        self._learner.finish(batches=len(batches), lr=lr)
        return total

    def _draw(self, images: int, *, seed: int) -> Tensor | None:
        """Draw which branches of which images a micro-batch leaves out."""
        if not self._spec.drop_path:
            return None
        depth, rate = len(self._network.blocks), self._spec.drop_path
        return Tensor(drop_path_factors(depth=depth, rate=rate, images=images, seed=seed))

    def predict(self, images: Images) -> NDArray[np.float32]:
        """Give scores."""
        return ops.softmax(self._logits(Tensor(images)), axis=1).asnumpy()

    def features(self, images: Images) -> NDArray[np.float32]:
        """Give what the head sees."""
        return self._network.features(Tensor(images)).astype(ms.float32).asnumpy()

    def activations(self, images: Images) -> dict[str, NDArray[np.float32]]:
        """Give what every layer makes of some images."""
        found: dict[str, NDArray[np.float32]] = {}
        hooks = [
            cell.register_forward_hook(
                lambda cell, given, made, name=name: found.__setitem__(name, made.astype(ms.float32).asnumpy())
            )
            for name, cell in self._network.cells_and_names()
            if name in ("patch_embed", "norm", "fc_norm", "head") or name.rpartition(".")[0] == "blocks"
        ]
        self._network(Tensor(images))
        for hook in hooks:
            hook.remove()
        return found

    def probe(self, layer: str, inputs: NDArray[np.float32], *, seed: int | None = None) -> NDArray[np.float32]:
        """Run one layer by itself."""
        found: nn.Cell | None = dict(self._network.cells_and_names()).get(layer)
        if found is None:
            raise ValueError(f"this network has no layer {layer!r}")
        given = [Tensor(inputs)]
        if isinstance(found, DropPath) and seed is not None:
            factors = self._draw(len(inputs), seed=seed)
            block, branch = int(layer.split(".")[1]), int(layer[-1]) - 1
            given.append(None if factors is None else factors[block, branch])
        return found(*given).astype(ms.float32).asnumpy()

    def slot(self, name: str) -> Slot:
        """Give a parameter with what AdamW keeps about it."""
        return self._learner.slot(name)

    def state(self) -> dict[str, Mapping[str, NDArray[Any]]]:
        """Copy ``weights`` and ``optimizer`` out, by canonical names."""
        weights = self._learner.weights()
        optimizer = self._learner.optimizer_state()
        return {"weights": weights, "optimizer": optimizer} if self._learner.trains else {"weights": weights}

    def load_state(self, state: Mapping[str, Mapping[str, NDArray[Any]]]) -> None:
        """Put ``weights``, and ``optimizer`` where given, back."""
        self._learner.load_weights(state["weights"])
        if "optimizer" in state:
            self._learner.load_optimizer_state(state["optimizer"])

    def write(self, path: str, *, leave_out: Sequence[str]) -> dict[str, str]:
        """Write the weights as MindSpore's users do.

        Args:
            path: The file to make, ``.ckpt``.
            leave_out: Canonical names of what is not written.

        Returns:
            MindSpore's version, and the lines that open the file without this package.
        """
        kept = [
            {"name": name, "data": parameter}
            for name, parameter in self._network.parameters_and_names()
            if name not in leave_out
        ]
        ms.save_checkpoint(kept, path)
        return {"version": ms.__version__, "opens_with": OPENS_WITH}

    def read(self, path: str, *, may_lack: Sequence[str]) -> None:
        """Load a file as MindSpore's users do.

        Args:
            path: A ``.ckpt`` file.
            may_lack: Canonical names that it need not hold.

        Raises:
            ValueError: If it does not hold exactly this network's weights.
        """
        missing, unexpected = ms.load_param_into_net(self._network, ms.load_checkpoint(path), strict_load=True)
        missing = [name for name in missing if name not in may_lack]
        if missing or unexpected:
            raise ValueError(f"{path}: missing {missing[:5]}, unexpected {unexpected[:5]}")

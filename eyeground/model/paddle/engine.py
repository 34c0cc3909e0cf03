"""The Paddle engine: the same verbs as torch's, the same weights, the same steps."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from numpy.typing import NDArray

from eyeground.model.applied_rate import Slot
from eyeground.model.drop_path import drop_path_factors
from eyeground.model.engine import Images, Targets
from eyeground.model.optimization import Device, Optimization, Precision
from eyeground.model.paddle.learner import Learner, choose_device
from eyeground.model.paddle.vit import DropPath, VisionTransformer
from eyeground.model.spec import ModelSpec

OPENS_WITH = """import paddle
weights = paddle.load(FILE)  # names are timm's; a Linear's matrix is (in, out)
network.set_state_dict(weights)  # LayerNorm epsilon=1e-6, GELU approximate=False"""


class PaddleEngine:
    """A Paddle network with its optimizer, on one device.

    Args:
        spec: What to build: one of our ViT shapes.
        tensors: All of its weights by canonical name; None = Paddle's own random ones.
        optimization: How the weights learn; None = prediction only.
        device: ``"auto"``, ``"cpu"``, ``"gpu"``, ``"xpu"`` (Kunlun) or ``"npu"`` (Ascend); only ``"cpu"`` was tried.
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
        self._network = VisionTransformer(spec)
        self._network.recompute = checkpointing
        self._paths = [m for m in self._network.sublayers() if isinstance(m, DropPath)]
        self._label_smoothing = optimization.label_smoothing if optimization else 0.0
        self._learner = Learner(self._network, optimization=optimization, precision=precision)
        if tensors is not None:
            self._learner.load_weights(tensors)
        self.precision = self._learner.precision

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
        self._learner.begin(lr=lr)
        total = 0.0
        for number, (images, targets) in enumerate(batches):
            self._draw(len(images), seed=(seed << 8) + number)
            with self._learner.autocast():
                logits = self._network(paddle.to_tensor(images))
            loss = self._loss(logits.astype("float32"), paddle.to_tensor(targets)) / len(batches)
            total += self._learner.check_loss(float(loss))
            loss.backward()
        self._learner.finish()
        return total

    def _loss(self, logits: paddle.Tensor, targets: paddle.Tensor) -> paddle.Tensor:
        """Cross-entropy against shares of classes, some of the truth spread over all of them."""
        spread = self._label_smoothing
        targets = targets * (1 - spread) + spread / self._spec.classes
        return -(targets * F.log_softmax(logits, axis=1)).sum(axis=1).mean()

    def _draw(self, images: int, *, seed: int) -> None:
        """Lay out which branches of which images this micro-batch leaves out."""
        if not self._spec.drop_path:
            return
        depth = len(self._paths) // 2
        factors = drop_path_factors(depth=depth, rate=self._spec.drop_path, images=images, seed=seed)
        for path, row in zip(self._paths, factors.reshape(2 * depth, images), strict=True):
            path.factors = paddle.to_tensor(row)

    @paddle.no_grad()
    def predict(self, images: Images) -> NDArray[np.float32]:
        """Give scores."""
        self._network.eval()
        with self._learner.autocast():
            logits = self._network(paddle.to_tensor(images))
        return F.softmax(logits.astype("float32"), axis=1).numpy()

    @paddle.no_grad()
    def features(self, images: Images) -> NDArray[np.float32]:
        """Give what the head sees."""
        self._network.eval()
        with self._learner.autocast():
            return self._network.features(paddle.to_tensor(images)).astype("float32").numpy()

    @paddle.no_grad()
    def activations(self, images: Images) -> dict[str, NDArray[np.float32]]:
        """Give what every layer makes of some images."""
        self._network.eval()
        found: dict[str, NDArray[np.float32]] = {}
        hooks = [
            layer.register_forward_post_hook(
                lambda layer, given, made, name=name: found.__setitem__(name, made.astype("float32").numpy())
            )
            for name, layer in self._network.named_sublayers()
            if name in ("patch_embed", "norm", "fc_norm", "head") or name.rpartition(".")[0] == "blocks"
        ]
        with self._learner.autocast():
            self._network(paddle.to_tensor(images))
        for hook in hooks:
            hook.remove()
        return found

    @paddle.no_grad()
    def probe(self, layer: str, inputs: NDArray[np.float32], *, seed: int | None = None) -> NDArray[np.float32]:
        """Run one layer by itself."""
        found = dict(self._network.named_sublayers()).get(layer)
        if found is None:
            raise ValueError(f"this network has no layer {layer!r}")
        if seed is None:
            self._network.eval()
        else:
            self._network.train()
            self._draw(len(inputs), seed=seed)
        return found(paddle.to_tensor(inputs)).astype("float32").numpy()

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
        """Write the weights as Paddle's users do.

        Args:
            path: The file to make, ``.pdparams``.
            leave_out: Canonical names of what is not written.

        Returns:
            Paddle's version, and the lines that open the file without this package.
        """
        weights = {name: tensor for name, tensor in self._network.state_dict().items() if name not in leave_out}
        paddle.save(weights, path)
        return {"version": paddle.__version__, "opens_with": OPENS_WITH}

    def read(self, path: str, *, may_lack: Sequence[str]) -> None:
        """Load a file as Paddle's users do.

        Args:
            path: A ``.pdparams`` file that was written here; it is a pickle.
            may_lack: Canonical names that it need not hold.

        Raises:
            ValueError: If it does not hold exactly this network's weights.
        """
        missing, unexpected = self._network.set_state_dict(paddle.load(path))
        missing = [name for name in missing if name not in may_lack]
        if missing or unexpected:
            raise ValueError(f"{path}: missing {missing[:5]}, unexpected {unexpected[:5]}")

"""The reference engine: a torch classifier that learns and answers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from eyeground.model.adaptation import Adaptation, LearningReport
from eyeground.model.applied_rate import Slot
from eyeground.model.engine import Images, Targets
from eyeground.model.objective import Objective, unnamed
from eyeground.model.optimization import Device, Optimization, Precision
from eyeground.model.processes import ALONE, Processes
from eyeground.model.spec import ModelSpec
from eyeground.model.torch.adapters import Adapted
from eyeground.model.torch.batch_norm import see_whole_batch
from eyeground.model.torch.learner import Learner
from eyeground.model.torch.loss import loss_of
from eyeground.model.torch.network import classifier_name, layers_of, start
from eyeground.model.weights import Tensors


class TorchEngine:
    """A torch network with its optimizer, on one device.

    Args:
        spec: What to build.
        tensors: Weights by the file's own names; None = random, drawn from ``seed``.
        objective: What is asked and how the loss answers imbalance; None = one of several classes, plainly.
        optimization: How the weights learn; None = prediction only.
        adaptation: Which of them learn.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
        precision: ``"auto"`` takes bf16 where the device has it.
        seed: Draws the random weights and the new head.
        frozen_batch_norm: Keep batch norm on its stored statistics.
        checkpointing: Recompute activations in the backward pass, for less memory.
        threads: Processor threads; 0 leaves torch's choice.
        compiled: Let torch.compile make one program of the network; it needs a C++ compiler, and minutes at the start.
        processes: Who trains it together; each is given its share of every batch.

    Raises:
        WeightsRefused: If the weights do not fit.
        ValueError: If the network, the device or this way of adapting it is not to be had.

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
    ) -> None:
        self._spec = spec = adaptation.spec_of(spec)
        self._objective = objective or unnamed(spec.classes)
        if objective and objective.task.outputs != spec.classes:
            raise ValueError(f"a task of {objective.task.outputs} outputs needs as many of the network: {spec.classes}")
        network, self.load_report = start(spec, tensors=tensors, seed=seed)
        if not frozen_batch_norm:
            network = see_whole_batch(network, processes)
        if checkpointing:
            network.set_grad_checkpointing(True)  # type: ignore[operator]
        self._label_smoothing = optimization.label_smoothing if optimization else 0.0
        self._learner = Learner(
            network,
            optimization=optimization,
            device=device,
            precision=precision,
            channels_last=spec.vit is None,
            frozen=network if frozen_batch_norm else None,
            adapted=Adapted(network, adaptation, classifier=classifier_name(network), seed=seed),
            threads=threads,
            compiled=compiled,
            processes=processes,
        )
        self.precision = self._learner.precision

    @property
    def spec(self) -> ModelSpec:
        """What was built."""
        return self._spec

    @property
    def network(self) -> nn.Module:
        """The torch module itself in evaluation mode, for those who look inside it; asked so, it computes in fp32."""
        return self._learner.network.eval()

    @property
    def description(self) -> str:
        """Device, precision and size in words."""
        return self._learner.description

    @property
    def learning(self) -> LearningReport:
        """What of the network learns now, with counts."""
        return self._learner.adapted.learning

    @property
    def frozen_sha256(self) -> str:
        """Fingerprint of what ``state`` leaves out: names, types, shapes and bytes; empty where it holds all weights.

        It is computed anew each time, some seconds for a large network.
        """
        return self._learner.adapted.frozen_sha256

    def thaw(self, stage: int) -> None:
        """Let more blocks learn; to be called at the start of an epoch, after a resume as well.

        Args:
            stage: How many, counted from the end, at least 0; from the number of blocks on everything learns.

        Raises:
            ValueError: If the way of adapting is another than gradual, or the stage is negative.
        """
        self._learner.adapted.thaw(stage)

    def train_step(self, batches: Sequence[tuple[Images, Targets]], *, lr: float, seed: int) -> float:
        """Take one optimizer step over one or several micro-batches.

        Args:
            batches: Micro-batches whose gradients are averaged; of each, this process's share.
            lr: Peak learning rate of this step; each parameter's scale comes on top.
            seed: Everything random inside the network follows from it, so that no generator needs saving.

        Returns:
            Mean loss over the micro-batches.

        Raises:
            LossNotFinite: If the loss or the gradient is NaN or infinite; what learns stays as it was, unless it was
                asked to step in the backward pass and the loss was finite.
            RuntimeError: If the engine was built for prediction only.
            ValueError: If there are several micro-batches, and weights are to step in the backward pass.
        """
        learner = self._learner
        learner.begin(lr=lr, seed=seed, passes=len(batches))
        total = 0.0
        whole = learner.processes.whole
        for number, (images, targets) in enumerate(batches, 1):
            with learner.syncing(last=number == len(batches)):
                logits = learner.module(learner.to_device(images))
                # Of all processes: what is missing, and what a class weighs, counts by the batch, not by the share.
                loss = loss_of(
                    whole(logits.float()),
                    whole(learner.to_device(targets)),
                    self._objective,
                    label_smoothing=self._label_smoothing,
                ) / len(batches)
                total += learner.check_loss(loss.item())
                learner.backward(loss)
        learner.finish()
        return total

    def predict(self, images: Images) -> NDArray[np.float32]:
        """Give scores.

        Args:
            images: Shape (N, 3, H, W).

        Returns:
            As the task has them, shape (N, S): of classes probabilities that add up to 1.
        """
        return self._objective.task.scores(self.outputs(images)).astype(np.float32)

    @torch.inference_mode()
    def outputs(self, images: Images) -> NDArray[np.float32]:
        """Give what the head gives, before any score is made of it.

        Args:
            images: Shape (N, 3, H, W).

        Returns:
            Logits, or a quantity in standard units, shape (N, outputs).
        """
        found: NDArray[np.float32] = self._learner.answer(images).cpu().numpy()
        return found

    @torch.inference_mode()
    def features(self, images: Images) -> NDArray[np.float32]:
        """Give what the head sees.

        Args:
            images: Shape (N, 3, H, W).

        Returns:
            Features, shape (N, D).
        """
        self._learner.module.eval()
        network: Any = self._learner.network
        with self._learner.fabric.autocast():
            tokens = network.forward_features(self._learner.to_device(images))
            pooled: torch.Tensor = network.forward_head(tokens, pre_logits=True)
        return pooled.float().cpu().numpy()

    @torch.inference_mode()
    def activations(self, images: Images) -> dict[str, NDArray[np.float32]]:
        """Give what every layer makes of some images.

        Args:
            images: Shape (N, 3, H, W).

        Returns:
            Output of the network's own layers, of a row of blocks that of each, by canonical name, in order; the last
            are the logits. Layers without weights are left out.
        """
        found: dict[str, NDArray[np.float32]] = {}

        def keep(name: str, made: object) -> None:
            if isinstance(made, torch.Tensor):
                found[name] = made.float().cpu().numpy()

        hooks = [
            layer.register_forward_hook(lambda layer, given, made, name=name: keep(name, made))
            for name, layer in layers_of(self._learner.network)
        ]
        self._learner.answer(images)
        for hook in hooks:
            hook.remove()
        return found

    def probe(self, layer: str, inputs: NDArray[np.float32], *, seed: int | None = None) -> NDArray[np.float32]:
        """Run one layer by itself.

        Args:
            layer: Its canonical name, such as ``"blocks.0.norm1"``.
            inputs: What it is given.
            seed: As in training, with what is random drawn from it; None = as in prediction.

        Returns:
            What it makes of it.

        Raises:
            ValueError: If there is no such layer.
        """
        try:
            module = self._learner.network.get_submodule(layer)
        except AttributeError as error:
            raise ValueError(f"this network has no layer {layer!r}") from error
        if seed is None:
            module.eval()
        else:
            module.train()
            self._learner.adapted.rest()
            torch.manual_seed(seed)
        with torch.inference_mode():
            return module(self._learner.to_device(inputs)).float().cpu().numpy()  # type: ignore[no-any-return]

    def slot(self, name: str) -> Slot:
        """Give a parameter with what AdamW keeps about it.

        Args:
            name: Canonical name.

        Returns:
            Copies; zeros before the first step.

        Raises:
            RuntimeError: If the engine was built for prediction only.
        """
        return self._learner.slot(name)

    def whole(self) -> tuple[ModelSpec, dict[str, NDArray[Any]]]:
        """Copy all weights out, LoRA's matrices added to those beside them; the engine stays as it is.

        Returns:
            What to build, and its weights by canonical name: any engine that offers the network opens them.
        """
        return self._spec, self._learner.whole()

    def state(self) -> dict[str, Mapping[str, NDArray[Any]]]:
        """Copy ``weights`` and ``optimizer`` out; where the way of adapting writes a delta, only what may change.

        Returns:
            Arrays by part and name; in another process than the first, none.
        """
        return self._learner.state()

    def load_state(self, state: Mapping[str, Mapping[str, NDArray[Any]]]) -> None:
        """Put ``weights``, and ``optimizer`` where given, back.

        Args:
            state: As ``state`` gave it, or with all weights; without ``optimizer`` only the weights change.

        Raises:
            ValueError: If names or shapes differ from the network's.
        """
        self._learner.load_state(state)

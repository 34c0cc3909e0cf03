"""Engines that learn from images without labels: the masked autoencoder and SimCLR."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from eyeground.model.engine import Images, Vitals
from eyeground.model.optimization import Device, Optimization, Precision
from eyeground.model.processes import ALONE, Processes
from eyeground.model.spec import MaeSpec, SimclrSpec
from eyeground.model.torch.batch_norm import see_whole_batch
from eyeground.model.torch.learner import Learner
from eyeground.model.torch.mae import MaskedAutoencoder
from eyeground.model.torch.network import load
from eyeground.model.torch.simclr import ContrastiveNetwork, contrastive_step
from eyeground.model.weights import Tensors


class MaeEngine:
    """A masked autoencoder that learns on one device.

    Args:
        spec: What to build.
        tensors: Weights by the file's own names, with or without a decoder; None = random, drawn from ``seed``.
        optimization: How the weights learn; None = no training.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
        precision: ``"auto"`` takes bf16 where the device has it.
        seed: Draws the random weights.
        checkpointing: Recompute activations in the backward pass, for less memory.
        threads: Processor threads; 0 leaves torch's choice.
        compiled: Let torch.compile make one program of the network; it needs a C++ compiler, and minutes at the start.
        processes: Who trains it together; each is given its share of every batch.

    Raises:
        WeightsRefused: If the weights do not fit.
        ValueError: If the device is not to be had.

    Example:
        >>> engine = MaeEngine(MaeSpec("vit_demo_patch8", image_px=32), device="cpu", precision="fp32")
        >>> engine.features(np.zeros((2, 3, 32, 32), np.float32)).shape
        (2, 96)

    References:
        He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022.
    """

    def __init__(
        self,
        spec: MaeSpec,
        *,
        tensors: Tensors | None = None,
        optimization: Optimization | None = None,
        device: Device = "auto",
        precision: Precision = "auto",
        seed: int = 0,
        checkpointing: bool = False,
        threads: int = 0,
        compiled: bool = False,
        processes: Processes = ALONE,
    ) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._network = MaskedAutoencoder(spec)
        self.spec = spec
        self.load_report = None
        if tensors is not None:
            # The decoder's positions are computed, not learned: those of another size are no loss.
            own = self._network.state_dict()["decoder_pos_embed"].shape
            kept = {
                name: array
                for name, array in tensors.items()
                if not name.endswith("decoder_pos_embed") or array.shape == tuple(own)
            }
            self.load_report = load(self._network, kept, fresh=("decoder_", "mask_token"), head="head")
        self._network.recompute = checkpointing
        self._learner = Learner(
            self._network,
            optimization=optimization,
            device=device,
            precision=precision,
            threads=threads,
            compiled=compiled,
            processes=processes,
        )
        self.precision = self._learner.precision
        self._vitals: Vitals | None = None
        self._pooled: list[torch.Tensor] = []
        # Once for the tokens that the encoder sees; it also runs for features, where nobody asks.
        self._network.norm.register_forward_hook(self._note)

    def _note(self, module: torch.nn.Module, given: Any, tokens: torch.Tensor) -> None:
        """Keep the mean of the visible tokens: what the encoder makes of an image."""
        if self._network.training:
            self._pooled.append(tokens[:, 1:].detach().float().mean(dim=1))

    @property
    def description(self) -> str:
        """Device, precision and size in words."""
        return self._learner.description

    @property
    def vitals(self) -> Vitals:
        """What the last step let see of its health."""
        if self._vitals is None:
            raise RuntimeError("no step has been taken yet")
        return self._vitals

    def train_step(self, batches: Sequence[tuple[Images]], *, lr: float, seed: int) -> float:
        """Take one optimizer step over one or several micro-batches.

        Args:
            batches: Micro-batches whose gradients are averaged; of each, this process's share.
            lr: Learning rate of this step.
            seed: The masks follow from it.

        Returns:
            Mean loss over the micro-batches.

        Raises:
            LossNotFinite: If the loss or the gradient is NaN or infinite; what learns stays as it was, unless it was
                asked to step in the backward pass and the loss was finite.
            ValueError: If there are several micro-batches, and weights are to step in the backward pass.
        """
        learner = self._learner
        total, whole = learner.processes.total, learner.processes.whole
        learner.begin(lr=lr, seed=seed, passes=len(batches))
        masks = torch.Generator(learner.fabric.device).manual_seed(seed)
        self._pooled.clear()
        value = chance = 0.0
        for number, (images,) in enumerate(batches, 1):
            pixels = learner.to_device(images)
            [count] = total(len(images))
            # Drawn for the whole batch, so that an image is masked alike however many processes share it.
            noise = torch.rand((int(count), self.spec.patches), generator=masks, device=pixels.device)
            # Every image hides as many patches: the batch's loss is the mean of the shares', by their images.
            part = len(images) / count / len(batches)
            with learner.syncing(last=number == len(batches)):
                loss, prediction, mask = learner.module(pixels, learner.processes.own(noise))
                value += learner.check_loss(total(loss.item() * part)[0])
                if loss.requires_grad:  # the watch on health names a network cut off from its loss
                    learner.backward(loss * part)
            chance += self._chance(pixels, prediction.shape, mask, part=len(images) / count) / len(batches)
        encoder = learner.gradient_norm("blocks.")
        self._vitals = Vitals(
            loss=value,
            chance_loss=chance,
            gradient_norm=learner.finish(),
            encoder_gradient_norm=encoder,
            view_gradients=(),
            image_spread=image_spread([batch[0] for batch in batches], learner.processes),
            embeddings=torch.cat([whole(pooled) for pooled in self._pooled]).cpu().numpy(),
            partners=None,
        )
        return value

    @torch.no_grad()
    def _chance(self, images: torch.Tensor, shape: torch.Size, mask: torch.Tensor, *, part: float) -> float:
        """Loss of predicting the mean color everywhere; ``part`` is this process's share of the batch."""
        total = self._learner.processes.total
        flat = images.new_zeros(shape)
        if not self.spec.norm_pix:
            color = total(*(images.mean(dim=(0, 2, 3)) * part).tolist())
            flat = flat + images.new_tensor(color).repeat(shape[2] // 3)
        return total(self._network.loss(images, flat, mask).item() * part)[0]

    @torch.inference_mode()
    def features(self, images: Images) -> NDArray[np.float32]:
        """Give the mean of the patch tokens of whole images.

        Args:
            images: Shape (N, 3, H, W).

        Returns:
            Features, shape (N, D).
        """
        self._learner.module.eval()
        with self._learner.fabric.autocast():
            tokens = self._network.encode(self._learner.to_device(images))
        return tokens[:, 1:].float().mean(dim=1).cpu().numpy()

    def reconstruct(self, images: Images, *, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Hide patches and predict them.

        Args:
            images: Shape (N, 3, H, W).
            seed: Draws the masks.

        Returns:
            The prediction, shape (N, L, patch * patch * 3), and the mask, shape (N, L), 1 = removed.
        """
        self._learner.module.eval()
        pixels = self._learner.to_device(images)
        noise = torch.from_numpy(np.random.default_rng(seed).random((len(images), self.spec.patches), np.float32))
        with self._learner.fabric.autocast():
            prediction, mask = self._network.predict(pixels, noise.to(pixels.device))
        return prediction.cpu().numpy(), mask.cpu().numpy()

    def state(self) -> dict[str, Mapping[str, NDArray[Any]]]:
        """Copy ``weights`` and ``optimizer`` out."""
        return self._learner.state()

    def load_state(self, state: Mapping[str, Mapping[str, NDArray[Any]]]) -> None:
        """Put ``weights``, and ``optimizer`` where given, back.

        Args:
            state: As ``state`` gave it; without ``optimizer`` only the weights change.

        Raises:
            ValueError: If names or shapes differ from the network's.
        """
        self._learner.load_state(state)


class SimclrEngine:
    """A contrastive network that learns on one device; several micro-batches are contrasted as one batch.

    Args:
        spec: What to build.
        tensors: Weights of the backbone by the file's own names; None = random, drawn from ``seed``.
        optimization: How the weights learn; None = no training.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
        precision: ``"auto"`` takes bf16 where the device has it.
        seed: Draws the random weights and the projector.
        frozen_batch_norm: Keep the backbone's batch norm on its stored statistics.
        checkpointing: Recompute activations in the backward pass, for less memory.
        threads: Processor threads; 0 leaves torch's choice.
        processes: Who trains it together; each is given its share of every batch.

    Raises:
        WeightsRefused: If the weights do not fit.
        ValueError: If the network or device is not to be had, or weights are to step in the backward pass, which each
            part of a contrasted batch has of its own.

    Example:
        >>> engine = SimclrEngine(SimclrSpec("mobilenetv2_050", image_px=32), device="cpu", precision="fp32")
        >>> engine.features(np.zeros((2, 3, 32, 32), np.float32)).shape
        (2, 1280)

    References:
        Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020.
    """

    def __init__(
        self,
        spec: SimclrSpec,
        *,
        tensors: Tensors | None = None,
        optimization: Optimization | None = None,
        device: Device = "auto",
        precision: Precision = "auto",
        seed: int = 0,
        frozen_batch_norm: bool = False,
        checkpointing: bool = False,
        threads: int = 0,
        processes: Processes = ALONE,
    ) -> None:
        if optimization and optimization.step_in_backward:
            raise ValueError(
                "step_in_backward is not for simclr, where each part of a contrasted batch has a backward pass of its "
                "own: turn it off"
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._network = ContrastiveNetwork(spec)
        self.spec = spec
        self.load_report = load(self._network.backbone, tensors) if tensors is not None else None
        # The projector's batch norm learns its statistics whatever the backbone's does.
        for name in ("projector",) if frozen_batch_norm else ("projector", "backbone"):
            setattr(self._network, name, see_whole_batch(getattr(self._network, name), processes))
        if checkpointing:
            self._network.backbone.set_grad_checkpointing(True)  # type: ignore[operator]
        self._learner = Learner(
            self._network,
            optimization=optimization,
            device=device,
            precision=precision,
            channels_last=spec.encoder.vit is None,
            frozen=self._network.backbone if frozen_batch_norm else None,
            threads=threads,
            processes=processes,
        )
        self.precision = self._learner.precision
        self._vitals: Vitals | None = None

    @property
    def description(self) -> str:
        """Device, precision and size in words."""
        return self._learner.description

    @property
    def vitals(self) -> Vitals:
        """What the last step let see of its health."""
        if self._vitals is None:
            raise RuntimeError("no step has been taken yet")
        return self._vitals

    def train_step(self, batches: Sequence[tuple[Images, Images]], *, lr: float, seed: int) -> float:
        """Take one optimizer step; every image is contrasted with those of all micro-batches.

        Args:
            batches: Micro-batches of first and second views; of each, this process's share.
            lr: Learning rate of this step.
            seed: Everything random inside the network follows from it.

        Returns:
            The loss of the whole batch.

        Raises:
            LossNotFinite: If the loss or the gradient is NaN or infinite; what learns stays as it was.
        """
        learner = self._learner
        learner.begin(lr=lr, seed=seed)
        result = contrastive_step(
            learner.module,
            [(learner.to_device(first), learner.to_device(second)) for first, second in batches],
            temperature=self.spec.temperature,
            seed=learner.processes.seed(seed),
            backward=learner.backward,
            syncing=lambda last: learner.syncing(last=last),
            processes=learner.processes,
        )
        loss = learner.check_loss(result.loss.item())
        encoder = learner.gradient_norm("backbone.")
        self._vitals = Vitals(
            loss=loss,
            chance_loss=float(np.log(2 * len(result.z1) - 1)),
            gradient_norm=learner.finish(),
            encoder_gradient_norm=encoder,
            view_gradients=result.slopes,
            image_spread=image_spread([batch[0] for batch in batches], learner.processes),
            embeddings=result.z1.cpu().numpy(),
            partners=result.z2.cpu().numpy(),
        )
        return loss

    @torch.inference_mode()
    def features(self, images: Images) -> NDArray[np.float32]:
        """Give what a classifier's head would see.

        Args:
            images: Shape (N, 3, H, W).

        Returns:
            Features, shape (N, D).
        """
        self._learner.module.eval()
        with self._learner.fabric.autocast():
            features = self._network.features(self._learner.to_device(images))
        return features.float().cpu().numpy()

    def state(self) -> dict[str, Mapping[str, NDArray[Any]]]:
        """Copy ``weights`` and ``optimizer`` out."""
        return self._learner.state()

    def load_state(self, state: Mapping[str, Mapping[str, NDArray[Any]]]) -> None:
        """Put ``weights``, and ``optimizer`` where given, back.

        Args:
            state: As ``state`` gave it; without ``optimizer`` only the weights change.

        Raises:
            ValueError: If names or shapes differ from the network's.
        """
        self._learner.load_state(state)


def image_spread(batches: Sequence[Images], processes: Processes = ALONE) -> float:
    """Tell how much the images of a step differ from each other.

    Args:
        batches: Arrays of shape (n, 3, H, W); every eighth pixel of a row and of a column is looked at.
        processes: Who has the other shares of the same batches.

    Returns:
        Standard deviation of a pixel over the images, mean over the pixels; 0 when all images are the same.

    Example:
        >>> image_spread([np.ones((4, 3, 16, 16), np.float32)])
        0.0

    References:
        Our own.
    """
    seen = [processes.whole(torch.from_numpy(np.ascontiguousarray(batch[:, :, ::8, ::8]))) for batch in batches]
    return float(torch.cat(seen).numpy().std(axis=0).mean())

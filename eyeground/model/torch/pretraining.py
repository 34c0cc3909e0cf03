"""Engines that learn from images without labels: the masked autoencoder and SimCLR."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from eyeground.model.engine import Images, Vitals
from eyeground.model.optimization import Device, Optimization, Precision
from eyeground.model.spec import MaeSpec, SimclrSpec
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
            self._network, optimization=optimization, device=device, precision=precision, threads=threads
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
            batches: Micro-batches whose gradients are averaged.
            lr: Learning rate of this step.
            seed: The masks follow from it.

        Returns:
            Mean loss over the micro-batches.

        Raises:
            LossNotFinite: If the loss or the gradient is NaN or infinite; what learns stays as it was.
        """
        learner = self._learner
        learner.begin(lr=lr, seed=seed)
        self._pooled.clear()
        total = chance = 0.0
        for (images,) in batches:
            pixels = learner.to_device(images)
            loss, prediction, mask = learner.module(pixels)
            total += learner.check_loss(loss.item()) / len(batches)
            if loss.requires_grad:  # the watch on health names a network cut off from its loss
                learner.fabric.backward(loss / len(batches))
            chance += self._chance(pixels, prediction.shape, mask) / len(batches)
        encoder = learner.gradient_norm("blocks.")
        self._vitals = Vitals(
            loss=total,
            chance_loss=chance,
            gradient_norm=learner.finish(),
            encoder_gradient_norm=encoder,
            view_gradients=(),
            image_spread=image_spread([batch[0] for batch in batches]),
            embeddings=torch.cat(self._pooled).cpu().numpy(),
            partners=None,
        )
        return total

    @torch.no_grad()
    def _chance(self, images: torch.Tensor, shape: torch.Size, mask: torch.Tensor) -> float:
        """Loss of predicting the mean color everywhere."""
        flat = images.new_zeros(shape)
        if not self.spec.norm_pix:
            flat = flat + images.mean(dim=(0, 2, 3)).repeat(shape[2] // 3)
        return float(self._network.loss(images, flat, mask).item())

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

    Raises:
        WeightsRefused: If the weights do not fit.
        ValueError: If the network or device is not to be had.

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
    ) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._network = ContrastiveNetwork(spec)
        self.spec = spec
        self.load_report = load(self._network.backbone, tensors) if tensors is not None else None
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
            batches: Micro-batches of first and second views.
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
            seed=seed,
            backward=learner.fabric.backward,
        )
        loss = learner.check_loss(result.loss.item())
        encoder = learner.gradient_norm("backbone.")
        self._vitals = Vitals(
            loss=loss,
            chance_loss=float(np.log(2 * len(result.z1) - 1)),
            gradient_norm=learner.finish(),
            encoder_gradient_norm=encoder,
            view_gradients=result.slopes,
            image_spread=image_spread([batch[0] for batch in batches]),
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


def image_spread(batches: Sequence[Images]) -> float:
    """Tell how much the images of a step differ from each other.

    Args:
        batches: Arrays of shape (n, 3, H, W); every eighth pixel of a row and of a column is looked at.

    Returns:
        Standard deviation of a pixel over the images, mean over the pixels; 0 when all images are the same.

    Example:
        >>> image_spread([np.ones((4, 3, 16, 16), np.float32)])
        0.0

    References:
        Our own.
    """
    return float(np.concatenate([batch[:, :, ::8, ::8] for batch in batches]).std(axis=0).mean())

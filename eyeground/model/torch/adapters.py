"""A network made ready for one way of adapting it: what learns, what rests, what a checkpoint holds."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from eyeground.model.adaptation import Adaptation, LearningReport, learning_names, learning_report
from eyeground.model.torch.lora import add_lora, merged_weights, plain_name
from eyeground.model.torch.sharding import parted_like, put_together


class Adapted:
    """A network of which a part learns.

    What does not learn has no gradient, and acts in training as in evaluation: no dropout, no dropped path, no moving
    statistics.

    Args:
        network: With its weights; it is changed in place.
        adaptation: The way.
        classifier: Name of the classifier; not needed for the way ``"full"``.
        seed: Draws LoRA's matrices.

    Raises:
        ValueError: If this way is not to be had for this network.

    Example:
        >>> network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3))
        >>> Adapted(network, Adaptation("head"), classifier="1").learning.lines()
        ['classifier: 2 tensors, 9 parameters', 'frozen: 2 tensors, 6 parameters',
         '9 of 15 parameters learn (60 %)']

    References:
        As in ``eyeground.model.adaptation.Adaptation``.
    """

    def __init__(
        self, network: nn.Module, adaptation: Adaptation | None = None, *, classifier: str = "", seed: int = 0
    ) -> None:
        self.network = network
        self.adaptation = adaptation or Adaptation()
        self._classifier = classifier
        # A masked autoencoder's positions are a fixed table: what came frozen stays so.
        fixed = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
        if self.adaptation.way == "lora":
            add_lora(network, self.adaptation, classifier=classifier, seed=seed)
        self._teachable = frozenset(self.parameters) - fixed
        self._thaw(0)

    def _thaw(self, stage: int) -> None:
        """Let the parameters of a stage learn, and no others."""
        learning = self._teachable & learning_names(
            self.parameters.keys(), adaptation=self.adaptation, classifier=self._classifier, stage=stage
        )
        for name, parameter in self.parameters.items():
            parameter.requires_grad_(name in learning)
        self._learning = learning
        self._resting = [] if learning == self._teachable else _resting(self.network)

    def thaw(self, stage: int) -> None:
        """Let more blocks learn.

        Args:
            stage: How many, counted from the end, at least 0; from the number of blocks on everything learns.

        Raises:
            ValueError: If the way is another than gradual, or the stage is negative.
        """
        if self.adaptation.way != "gradual":
            raise ValueError(f"{self.adaptation.way} has no stages: only gradual thaws")
        self._thaw(stage)

    @contextmanager
    def all_learning(self) -> Iterator[None]:
        """Let all that learns now or at a later stage have a gradient inside the block.

        Yields:
            Nothing.
        """
        for parameter in self.learners.values():
            parameter.requires_grad_(True)
        yield
        for name, parameter in self.learners.items():
            parameter.requires_grad_(name in self._learning)

    def rest(self) -> None:
        """Let what does not learn act as in evaluation, in a network in training mode."""
        for module in self._resting:
            module.eval()

    @property
    def learning(self) -> LearningReport:
        """What learns, with counts."""
        shapes = {name: tuple(parameter.shape) for name, parameter in self.parameters.items()}
        return learning_report(shapes, learning=self._learning, adaptation=self.adaptation, classifier=self._classifier)

    @property
    def learners(self) -> dict[str, nn.Parameter]:
        """What the optimizer holds, by canonical name: all that learns now or at a later stage."""
        wanted = self._teachable if self.adaptation.way == "gradual" else self._learning
        return {name: parameter for name, parameter in self.parameters.items() if name in wanted}

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """Every parameter by canonical name."""
        return {plain_name(name): parameter for name, parameter in self.network.named_parameters()}

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """Every parameter and buffer by canonical name, in the network's order."""
        return {plain_name(name): tensor for name, tensor in self.network.state_dict().items()}

    @property
    def frozen(self) -> dict[str, torch.Tensor]:
        """What a checkpoint leaves out, by canonical name: nothing, unless the way is one that writes a delta."""
        if not self.adaptation.delta:
            return {}
        still = {id(module) for resting in self._resting for module in resting.modules()}
        left = self.parameters.keys() - self._learning
        for place, module in self.network.named_modules():
            if id(module) in still:
                prefix = f"{place}." if place else ""
                left |= {plain_name(prefix + name) for name, _ in module.named_buffers(recurse=False)}
        return {name: tensor for name, tensor in self.tensors.items() if name in left}

    @property
    def frozen_sha256(self) -> str:
        """Fingerprint of what a checkpoint leaves out: names, types, shapes and bytes; empty where it holds all."""
        frozen = self.frozen
        if not frozen:
            return ""
        found = sha256()
        for name in sorted(frozen):
            array = put_together(frozen[name].detach()).cpu().contiguous().numpy()
            found.update(f"{name} {array.dtype.str} {list(array.shape)}\n".encode())
            found.update(array.tobytes())
        return found.hexdigest()

    @property
    def kept(self) -> dict[str, torch.Tensor]:
        """What a checkpoint holds, by canonical name."""
        frozen = self.frozen
        return {name: tensor for name, tensor in self.tensors.items() if name not in frozen}

    @property
    def merged(self) -> dict[str, torch.Tensor]:
        """All weights by timm's names, with LoRA's matrices added to the weights beside them."""
        if self.adaptation.way != "lora":
            return self.tensors
        kept = {name: tensor for name, tensor in self.tensors.items() if ".lora_" not in name}
        return kept | dict(merged_weights(self.network))

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Put back what a checkpoint holds.

        Args:
            tensors: By canonical name: as ``kept`` gives them, or all.

        Raises:
            ValueError: If names or shapes differ.
        """
        state = self.network.state_dict()
        names = {plain_name(name): name for name in state}
        part = self.adaptation.delta and not tensors.keys() >= names.keys()
        if part:
            kept = self.kept.keys()
            problems = [*_some("missing", kept - tensors.keys()), *_some("unknown", tensors.keys() - kept)]
            if problems:
                raise ValueError(
                    f"these weights are another network's, or another way's than {self.adaptation.way}: "
                    f"{'; '.join(problems)}"
                )
        named = {names.get(name, name): tensor for name, tensor in tensors.items()}
        try:
            self.network.load_state_dict(
                {name: _placed(tensor, state.get(name)) for name, tensor in named.items()}, strict=not part
            )
        except RuntimeError as error:
            raise ValueError(f"these weights are another network's: {error}") from error

    def check_reached(self, reached: Collection[str]) -> None:
        """Make sure that every matrix of LoRA takes part, after a backward pass.

        Args:
            reached: Canonical names of what has a gradient.

        Raises:
            ValueError: If the network reads a layer's weight past the layer, so that matrices beside it do nothing.
        """
        if self.adaptation.way != "lora":
            return
        idle = [name for name in self.learners if ".lora_" in name and name not in reached]
        if idle:
            raise ValueError(
                f"lora_targets: this network does not call {idle[0].rpartition('.lora_')[0]} as a layer, so that "
                f"matrices beside it do nothing ({len(idle)} such); choose other targets, or use last_n or bitfit"
            )


def _resting(network: nn.Module) -> list[nn.Module]:
    """Modules in which nothing learns, batch norm whose scale does not, and dropout ahead of frozen layers."""
    found = []
    outermost = {id(module) for module in network.children()}
    next_learns = True
    for module in reversed(list(network.modules())):
        inside = [parameter.requires_grad for parameter in module.parameters()]
        own = [parameter.requires_grad for parameter in module.parameters(recurse=False)]
        if isinstance(module, _BatchNorm):
            rests = not (module.affine and module.weight.requires_grad)
        elif inside:
            rests = not any(inside)
        else:
            # Inside a block it does as the block does; between the blocks, as what it feeds.
            rests = id(module) in outermost and not next_learns
        if own:
            next_learns = any(own)
        if rests:
            found.append(module)
    return found


def _placed(tensor: torch.Tensor, like: torch.Tensor | None) -> torch.Tensor:
    """A whole tensor as the network holds its like; what does not fit is left for torch to refuse."""
    return parted_like(tensor, like) if like is not None and like.shape == tensor.shape else tensor


def _some(words: str, names: Iterable[str]) -> list[str]:
    """A problem with the first of its names, or none."""
    found = sorted(names)
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return [f"{len(found)} {words}: {', '.join(found[:5])}{more}"] if found else []

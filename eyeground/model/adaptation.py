"""Ways to adapt a pre-trained network, as data: which parameters learn, and how many they are (pure)."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import prod
from typing import Any, Literal, get_args

from eyeground.model.layer_decay import depth_of, layer_of
from eyeground.model.spec import ModelSpec

Way = Literal["full", "head", "last_n", "gradual", "bitfit", "lora", "adapter"]

# These write all weights to a checkpoint: with time, everything may change.
_WHOLE = ("full", "gradual")
_BY_BLOCKS = ("last_n", "gradual")
_LORA = (".lora_A.weight", ".lora_B.weight")
_ADAPTER = (".adapter_attn.", ".adapter_mlp.")
_BLOCK = re.compile(r"^([a-z]+)\.?(\d+)\.")


@dataclass(frozen=True)
class Adaptation:
    """How a pre-trained network is brought to a new task.

    Args:
        way: ``"full"`` = every weight learns; ``"head"`` = the classifier only (linear probe); ``"last_n"`` = the last
            blocks, the layers after them and the classifier; ``"gradual"`` = like last_n, with one block more at every
            stage; ``"bitfit"`` = all biases; ``"lora"`` = low-rank matrices beside frozen ones; ``"adapter"`` =
            bottlenecks inside the blocks. With the last three the classifier learns too.
        last_blocks: For last_n: how many blocks (or stages) learn, at least 1.
        lora_rank: For lora: rank of the product of the two matrices, at least 1.
        lora_alpha: For lora: over the rank, the factor on the product, above 0.
        lora_dropout: For lora: share of the inputs of the two matrices left out in training, [0, 1).
        lora_targets: For lora: ends of the names of the layers that get matrices.
        adapter_width: For adapter: width of the bottleneck, at least 1.

    Raises:
        ValueError: If a value is out of range; the message lists all of them.

    Example:
        >>> Adaptation("lora").delta, Adaptation().delta
        (True, False)

    References:
        Howard & Ruder, "Universal Language Model Fine-tuning", ACL 2018 (gradual unfreezing); Ben Zaken et al.,
        "BitFit", ACL 2022; Hu et al., "LoRA", ICLR 2022; Houlsby et al., "Parameter-Efficient Transfer Learning for
        NLP", ICML 2019 (adapters).
    """

    way: Way = "full"
    last_blocks: int = 2
    lora_rank: int = 8
    lora_alpha: float = 16.0
    lora_dropout: float = 0.0
    lora_targets: tuple[str, ...] = ("attn.qkv", "attn.proj")
    adapter_width: int = 64

    def __post_init__(self) -> None:
        wrong = []
        if self.way not in get_args(Way):
            wrong.append(f"way is {self.way!r}: it is one of {', '.join(get_args(Way))}")
        counts = {"last_blocks": self.last_blocks, "lora_rank": self.lora_rank, "adapter_width": self.adapter_width}
        wrong += [f"{name} is {count}: it is at least 1" for name, count in counts.items() if count < 1]
        if not self.lora_alpha > 0:
            wrong.append(f"lora_alpha is {self.lora_alpha}: it is above 0, such as 16")
        if not 0 <= self.lora_dropout < 1:
            wrong.append(f"lora_dropout is {self.lora_dropout}: it lies in [0, 1)")
        if isinstance(self.lora_targets, str) or not self.lora_targets or not all(self.lora_targets):
            wrong.append(f"lora_targets is {self.lora_targets!r}: it lists ends of layer names, such as attn.qkv")
        if wrong:
            raise ValueError("adaptation: " + "; ".join(wrong))
        # JSON knows lists only.
        object.__setattr__(self, "lora_targets", tuple(self.lora_targets))

    @property
    def delta(self) -> bool:
        """True where a checkpoint leaves out what is frozen all along."""
        return self.way not in _WHOLE

    def to_json(self) -> dict[str, Any]:
        """Plain values; ``Adaptation(**adaptation.to_json())`` gives it back."""
        return asdict(self)

    def spec_of(self, spec: ModelSpec) -> ModelSpec:
        """Describe the network that is adapted: bottlenecks are part of it.

        Args:
            spec: The network as it comes.

        Returns:
            The same, for ``way="adapter"`` with ``adapter_width``.

        Raises:
            ValueError: If the network cannot hold bottlenecks, or holds others.
        """
        if self.way != "adapter" or spec.adapter_width == self.adapter_width:
            return spec
        if spec.adapter_width:
            raise ValueError(
                f"model {spec.name}: it has adapters of width {spec.adapter_width}, not {self.adapter_width}: "
                f"set adapter_width={spec.adapter_width}"
            )
        return replace(spec, adapter_width=self.adapter_width)


def learning_names(
    names: Collection[str], *, adaptation: Adaptation, classifier: str, stage: int = 0
) -> frozenset[str]:
    """Decide which parameters learn.

    Args:
        names: Every parameter of the network by canonical name, LoRA's matrices included.
        adaptation: The way.
        classifier: Name of the classifier, without ``.weight``.
        stage: For gradual: how many blocks learn, counted from the end, at least 0; from the number of blocks on
            everything does.

    Returns:
        Those that learn.

    Raises:
        ValueError: If the network has no blocks known by their names, fewer than asked for, or no adapters.

    Example:
        >>> names = ["pos_embed", "blocks.0.norm1.bias", "blocks.1.norm1.bias", "norm.bias", "head.bias"]
        >>> sorted(learning_names(names, adaptation=Adaptation("last_n", last_blocks=1), classifier="head"))
        ['blocks.1.norm1.bias', 'head.bias', 'norm.bias']

    References:
        As in ``Adaptation``; blocks are counted as layer decay counts them.
    """
    way = adaptation.way
    if stage < 0:
        raise ValueError(f"stage is {stage}: it is the number of blocks that learn, at least 0")
    if way == "full":
        return frozenset(names)
    if way in _BY_BLOCKS:
        depth = depth_of(list(names))
        if not depth:
            raise ValueError(
                f"{way} counts blocks by their names (blocks.N, layers.N, stages.N, layerN), and this network has none "
                "of these: use full, head, bitfit, or lora with lora_targets of this network"
            )
        if way == "last_n" and adaptation.last_blocks > depth:
            raise ValueError(f"last_blocks is {adaptation.last_blocks}, and this network has {depth}: take fewer")
        blocks = adaptation.last_blocks if way == "last_n" else stage
        if way == "gradual" and stage >= depth:
            return frozenset(names)
        return frozenset(
            name for name in names if _of(name, classifier) or layer_of(name, depth=depth) > depth - blocks
        )
    found = {name for name in names if _of(name, classifier) or _marked(name, way)}
    if way == "adapter" and not any(_marked(name, way) for name in found):
        raise ValueError(
            "this network was built without adapters: give its ModelSpec an adapter_width, or use lora, last_n or head"
        )
    return frozenset(found)


def _marked(name: str, way: Way) -> bool:
    """Whether a parameter learns by its kind, wherever it is."""
    if way == "bitfit":
        return name.endswith("bias")
    if way == "lora":
        return name.endswith(_LORA)
    return way == "adapter" and any(part in name for part in _ADAPTER)


def _of(name: str, layer: str) -> bool:
    """Whether a parameter belongs to a layer."""
    return name.startswith(f"{layer}.")


def lora_layers(shapes: Mapping[str, Sequence[int]], *, targets: Sequence[str], classifier: str) -> tuple[str, ...]:
    """Find the layers that get LoRA's matrices.

    Args:
        shapes: Canonical name -> shape of every parameter.
        targets: Ends of layer names.
        classifier: Name of the classifier: it learns as a whole, and gets none.

    Returns:
        Names without ``.weight``, in the network's order.

    Raises:
        ValueError: If an end is no layer's; the ends that there are are listed.

    Example:
        >>> lora_layers({"blocks.0.attn.qkv.weight": (6, 2), "head.weight": (3, 2)}, targets=["qkv"], classifier="head")
        ('blocks.0.attn.qkv',)

    References:
        Hu et al., ICLR 2022; names are matched as the peft library does.
    """
    layers = [
        name.removesuffix(".weight")
        for name, shape in shapes.items()
        # A convolution per channel is a matrix of one column: there is nothing to make smaller.
        if name.endswith(".weight") and not _of(name, classifier) and len(shape) in (2, 4) and shape[1] > 1
    ]
    lacking = [end for end in targets if not any(_ends_in(layer, end) for layer in layers)]
    if lacking:
        there = sorted({re.sub(r"^.*\.\d+\.", "", layer) for layer in layers})
        raise ValueError(
            f"lora_targets: no layer of this network is called {', '.join(lacking)}; its layers are "
            f"{', '.join(there) or 'unknown'}. Choose among these, or use last_n, bitfit or head"
        )
    return tuple(layer for layer in layers if any(_ends_in(layer, end) for end in targets))


def _ends_in(layer: str, end: str) -> bool:
    """Whether the last words of a layer's name are these."""
    return layer == end or layer.endswith(f".{end}")


def adapted_shapes(
    shapes: Mapping[str, Sequence[int]], *, adaptation: Adaptation, classifier: str
) -> dict[str, tuple[int, ...]]:
    """Tell the parameters of an adapted network without building it.

    Args:
        shapes: Canonical name -> shape of every parameter before; adapters are among them, as its spec says.
        adaptation: The way.
        classifier: Name of the classifier.

    Returns:
        The same, and LoRA's matrices where they are the way.

    Raises:
        ValueError: If an end in ``lora_targets`` is no layer's.

    Example:
        >>> before = {"blocks.0.attn.qkv.weight": (6, 2), "blocks.0.attn.proj.weight": (2, 2)}
        >>> adapted_shapes(before, adaptation=Adaptation("lora", lora_rank=1), classifier="head")[
        ...     "blocks.0.attn.qkv.lora_B.weight"
        ... ]
        (6, 1)

    References:
        Hu et al., ICLR 2022.
    """
    found = {name: tuple(shape) for name, shape in shapes.items()}
    if adaptation.way == "lora":
        rank = adaptation.lora_rank
        for layer in lora_layers(shapes, targets=adaptation.lora_targets, classifier=classifier):
            out, *rest = shapes[f"{layer}.weight"]
            found[f"{layer}.lora_A.weight"] = (rank, *rest)
            found[f"{layer}.lora_B.weight"] = (out, rank, *(1 for _ in rest[1:]))
    return found


@dataclass(frozen=True)
class LearningGroup:
    """Parameters that learn and belong together.

    Args:
        words: What they are.
        tensors: How many tensors.
        parameters: How many numbers.

    Example:
        >>> str(LearningGroup("classifier", 2, 5125))
        'classifier: 2 tensors, 5,125 parameters'

    References:
        Our own.
    """

    words: str
    tensors: int
    parameters: int

    def __str__(self) -> str:
        return (
            f"{self.words}: {self.tensors:,} tensor{'' if self.tensors == 1 else 's'}, {self.parameters:,} parameters"
        )


@dataclass(frozen=True)
class LearningReport:
    """What of a network learns, with counts.

    Args:
        groups: What learns, in the network's order.
        frozen: The rest.

    Example:
        >>> report = LearningReport((LearningGroup("classifier", 2, 10),), LearningGroup("frozen", 8, 990))
        >>> report.parameters, report.share
        (10, 0.01)

    References:
        Our own.
    """

    groups: tuple[LearningGroup, ...]
    frozen: LearningGroup

    @property
    def tensors(self) -> int:
        """How many tensors learn."""
        return sum(group.tensors for group in self.groups)

    @property
    def parameters(self) -> int:
        """How many numbers learn."""
        return sum(group.parameters for group in self.groups)

    @property
    def share(self) -> float:
        """Share of all parameters that learns, [0, 1]."""
        return self.parameters / (self.parameters + self.frozen.parameters)

    def lines(self) -> list[str]:
        """A line for each group, one for what is frozen, one for the sum."""
        total = self.parameters + self.frozen.parameters
        return [
            *(str(group) for group in self.groups),
            str(self.frozen),
            f"{self.parameters:,} of {total:,} parameters learn ({100 * self.share:.3g} %)",
        ]


def learning_report(
    shapes: Mapping[str, Sequence[int]], *, learning: Collection[str], adaptation: Adaptation, classifier: str
) -> LearningReport:
    """Say what learns, in words and counts.

    Args:
        shapes: Canonical name -> shape of every parameter of the adapted network.
        learning: Those that learn.
        adaptation: The way, for its words.
        classifier: Name of the classifier.

    Returns:
        The groups and what is frozen.

    Example:
        >>> shapes = {"blocks.0.norm1.bias": (4,), "blocks.1.norm1.bias": (4,), "head.bias": (3,)}
        >>> learning_report(shapes, learning=list(shapes), adaptation=Adaptation(), classifier="head").lines()
        ['blocks 0-1: 2 tensors, 8 parameters', 'classifier: 1 tensor, 3 parameters',
         'frozen: 0 tensors, 0 parameters', '11 of 11 parameters learn (100 %)']

    References:
        Our own.
    """
    depth = depth_of(list(shapes))
    kinds: dict[tuple[int, str], list[str]] = {}
    for name in shapes:
        if name in learning:
            kinds.setdefault(_kind(name, adaptation=adaptation, classifier=classifier, depth=depth), []).append(name)
    groups = tuple(
        _group(words or _blocks(kinds[order, words]), kinds[order, words], shapes) for order, words in sorted(kinds)
    )
    return LearningReport(groups, _group("frozen", [name for name in shapes if name not in learning], shapes))


def _kind(name: str, *, adaptation: Adaptation, classifier: str, depth: int) -> tuple[int, str]:
    """Place and words of the group a parameter belongs to; blocks get their words from all of them."""
    if _of(name, classifier):
        return 4, "classifier"
    if name.endswith(_LORA):
        return 3, f"LoRA rank {adaptation.lora_rank} on {', '.join(adaptation.lora_targets)}"
    if adaptation.way == "adapter":
        return 3, f"adapters of width {adaptation.adapter_width}"
    if adaptation.way == "bitfit":
        return 3, "biases"
    layer = layer_of(name, depth=depth)
    if not depth:
        return 1, "layers"
    return (
        (0, "layers before the blocks") if layer == 0 else (2, "layers after the blocks") if layer > depth else (1, "")
    )


def _blocks(names: Sequence[str]) -> str:
    """Which blocks these are, as their names count them."""
    found = [_BLOCK.match(name) for name in names]
    words = next(match[1] for match in found if match)
    numbers = [int(match[2]) for match in found if match]
    first, last = min(numbers), max(numbers)
    return f"{words} {first}" if first == last else f"{words} {first}-{last}"


def _group(words: str, names: Sequence[str], shapes: Mapping[str, Sequence[int]]) -> LearningGroup:
    """Count."""
    return LearningGroup(words, len(names), sum(prod(shapes[name]) for name in names))

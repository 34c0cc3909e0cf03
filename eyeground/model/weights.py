"""Weights by canonical (timm) names: safetensors in and out, and a key-by-key report of what was loaded."""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from eyeground.atomic_file import write_whole

Tensors = dict[str, NDArray[Any]]

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "u1", "BOOL": "?"}
_LONGEST_HEADER_BYTES = 100_000_000  # the format's own limit
_PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "encoder.")
# DINOv2's SwiGLU-style names, as RETFound's DINOv2 checkpoints carry them.
_RENAMES = ((".mlp.w12.", ".mlp.fc1."), (".mlp.w3.", ".mlp.fc2."))
# Belong to pre-training, not to the encoder.
_PRETRAINING_ONLY = re.compile(r"^(?:module\.)?(decoder_|mask_token$|dino_head\.|ibot_head\.|projector\.)")
_POSITION = "pos_embed"


class WeightsRefused(ValueError):
    """A weights file that cannot be used, with the reason in words."""


@dataclass(frozen=True)
class LoadReport:
    """What became of every key of the network and of the file.

    Args:
        loaded: Keys copied as they are.
        resized: Position embeddings brought to another grid.
        new: Keys of the network that start fresh, as expected (head, ``fc_norm``).
        left_out: Keys of the file not wanted here, as expected (decoder, another head), with the reason.
        missing: Keys of the network that the file should have had: an error.
        unexpected: Keys of the file that the network does not know: an error.
        mismatched: Keys with another shape on either side, with both shapes: an error.

    Example:
        >>> LoadReport(("a",), (), (), (), (), (), ()).ok
        True

    References:
        Our own.
    """

    loaded: tuple[str, ...]
    resized: tuple[str, ...]
    new: tuple[str, ...]
    left_out: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """True when nothing surprising happened."""
        return not (self.missing or self.unexpected or self.mismatched)

    def lines(self) -> dict[str, list[str]]:
        """Status to keys, empty ones left out, for journals and reports."""
        return {status: list(keys) for status, keys in vars(self).items() if keys}

    def summary(self) -> str:
        """One line of counts."""
        return ", ".join(f"{len(keys)} {status.replace('_', ' ')}" for status, keys in self.lines().items())


def read_weights(path: Path) -> Tensors:
    """Read a safetensors file, checked.

    Args:
        path: The file.

    Returns:
        Arrays by the file's own names; bfloat16 comes as float32.

    Raises:
        WeightsRefused: If the file is missing, is not safetensors, holds an unknown type, or holds NaN or infinity.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_weights(folder / "w.safetensors", {"a": np.ones(2, np.float32)})
        >>> read_weights(folder / "w.safetensors")
        {'a': array([1., 1.], dtype=float32)}

    References:
        safetensors format, version 0.3.
    """
    if not path.is_file():
        raise WeightsRefused(f"{path}: no such weights file; give a file of weights, a run folder, or 'random'")
    if path.suffix != ".safetensors":
        raise WeightsRefused(f"{path}: only .safetensors is read here, because a pickle can run code; convert it first")
    return parse_weights(path.read_bytes(), source=str(path))


def parse_weights(data: bytes, *, source: str) -> Tensors:
    """Read the bytes of a safetensors file, checked.

    Args:
        data: The whole file.
        source: What it is called in messages.

    Returns:
        Arrays by the file's own names; bfloat16 comes as float32.

    Raises:
        WeightsRefused: If it is not safetensors, holds an unknown type, or holds NaN or infinity.

    Example:
        >>> parse_weights(save({"a": np.ones(2, np.float32)}), source="w")
        {'a': array([1., 1.], dtype=float32)}

    References:
        safetensors format, version 0.3.
    """
    try:
        entries = deserialize(data)  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise WeightsRefused(f"{source}: not a whole safetensors file ({error}); fetch or copy it again") from error
    tensors: Tensors = {}
    unknown, broken = [], []
    for name, entry in sorted(entries, key=itemgetter(0)):
        shape, dtype = entry["shape"], entry["dtype"]
        if dtype == "BF16":
            # bfloat16 is the upper half of a float32.
            array = (np.frombuffer(entry["data"], "<u2").astype("<u4") << 16).view("<f4").reshape(shape)
        elif dtype in _DTYPES:
            array = np.frombuffer(entry["data"], _DTYPES[dtype]).reshape(shape)
        else:
            unknown.append(f"{name} ({dtype})")
            continue
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            broken.append(name)
        tensors[name] = array
    if unknown:
        raise WeightsRefused(f"{source}: unknown number types in {', '.join(unknown[:5])}")
    if broken:
        raise WeightsRefused(
            f"{source}: NaN or infinity in {len(broken)} tensors, first {broken[0]}; this file is damaged"
        )
    return tensors


def read_metadata(file: BinaryIO) -> dict[str, str]:
    """Read the words in the header of a safetensors file.

    Args:
        file: The file; where it stands does not matter.

    Returns:
        Name -> word; empty where there are none, or no header.

    Example:
        >>> import io
        >>> read_metadata(io.BytesIO(save({"a": np.ones(2)}, {"licence": "CC0-1.0"})))
        {'licence': 'CC0-1.0'}

    References:
        safetensors format, version 0.3.
    """
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if length > _LONGEST_HEADER_BYTES:
        return {}
    try:
        header = json.loads(file.read(length))
    except (ValueError, RecursionError):
        return {}
    words = header.get("__metadata__") if isinstance(header, dict) else None
    return {name: word for name, word in words.items() if isinstance(word, str)} if isinstance(words, dict) else {}


def write_weights(path: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file so that it is either whole on the disk or not there.

    Args:
        path: The file to write; its folder exists.
        tensors: Arrays by name.
        metadata: Words to store in the header.

    Raises:
        OSError: If the disk is full or the folder cannot be written; an older file of the name stays as it was.

    Example:
        >>> import tempfile
        >>> write_weights(Path(tempfile.mkdtemp()) / "w.safetensors", {"a": np.zeros(3)})

    References:
        safetensors format, version 0.3.
    """
    ordered = {name: np.asarray(tensors[name], order="C") for name in sorted(tensors)}
    write_whole(path, save(ordered, dict(metadata) if metadata else None))


def canonical(tensors: Mapping[str, NDArray[Any]]) -> Tensors:
    """Bring a file's names to timm's.

    Args:
        tensors: Arrays by the file's own names.

    Returns:
        The same arrays without the prefixes that all keys share (``module.``, ``backbone.``, ...); DINOv2's MLP is
        renamed.

    Raises:
        WeightsRefused: If two keys fall on one name.

    Example:
        >>> sorted(canonical({"module.cls_token": np.zeros(1), "module.blocks.0.mlp.w3.bias": np.zeros(1)}))
        ['blocks.0.mlp.fc2.bias', 'cls_token']

    References:
        timm naming; RETFound's loader for the DINOv2 variants.
    """
    # A DINOv2 teacher keeps its heads beside `backbone.`: only the encoder's keys have to agree on a prefix.
    aside = {name: name.removeprefix("module.") for name in tensors if _PRETRAINING_ONLY.match(name)}
    names = {name: name for name in tensors if name not in aside}
    stripped = True
    while stripped:
        stripped = False
        for prefix in _PREFIXES:
            if names and all(name.startswith(prefix) for name in names.values()):
                names = {old: name.removeprefix(prefix) for old, name in names.items()}
                stripped = True
    for before, after in _RENAMES:
        names = {old: name.replace(before, after) for old, name in names.items()}
    renamed: Tensors = {}
    for old, name in (aside | names).items():
        if name in renamed:
            raise WeightsRefused(f"two keys of the file mean {name}")
        renamed[name] = tensors[old]
    return renamed


def fit(
    tensors: Mapping[str, NDArray[Any]],
    shapes: Mapping[str, Collection[int]],
    *,
    head: str,
    fresh: Collection[str] = (),
    prefix_tokens: int = 1,
    buffers: Collection[str] = (),
) -> tuple[Tensors, LoadReport]:
    """Match a file's tensors to a network, key by key.

    Args:
        tensors: Arrays by canonical name.
        shapes: Shape of each parameter and buffer of the network, by name.
        head: Name of the classifier, without ``.weight``: it may start fresh.
        fresh: Beginnings of further names that may start fresh.
        prefix_tokens: Tokens before the patches (CLS, registers), kept as they are when positions are resized.
        buffers: Names in ``shapes`` that a file may lack without loss (counters).

    Returns:
        What to load, and the report. Nothing is raised here: the caller decides, with the whole report at hand.

    Example:
        >>> file = {"head.weight": np.ones((1000, 4)), "head.bias": np.ones(1000), "norm.bias": np.ones(4)}
        >>> _, report = fit(file, {"head.weight": (3, 4), "head.bias": (3,), "norm.bias": (4,)}, head="head")
        >>> report.new, report.loaded, report.ok
        (('head.bias', 'head.weight'), ('norm.bias',), True)

    References:
        What may be missing: RETFound's fine-tuning script (head and fc_norm), nothing else.
    """
    begins_anew = (f"{head}.", "fc_norm.", *fresh)
    of_head = begins_anew[0]
    take: Tensors = {}
    columns: tuple[list[str], ...] = tuple([] for _ in range(7))
    loaded, resized, new, left_out, missing, unexpected, mismatched = columns
    # A file with a head of another size belongs to another task: weight and bias go together.
    other_head = any(
        name.startswith(of_head) and name in shapes and array.shape != tuple(shapes[name])
        for name, array in tensors.items()
    )
    for name, wanted in shapes.items():
        array = tensors.get(name)
        wanted = tuple(wanted)
        if array is not None and wanted == () and array.shape == (1,):
            array = array.reshape(())  # counters, as our checkpoints held them until November 2026
        if array is None:
            if name in buffers:
                continue
            (new if name.startswith(begins_anew) else missing).append(name)
        elif name.startswith(of_head) and other_head:
            new.append(name)
            left_out.append(f"{name} (a head of {array.shape[0]} outputs; this task has {wanted[0]})")
        elif array.shape == wanted:
            take[name] = array
            loaded.append(name)
        elif name == _POSITION and array.ndim == 3 and array.shape[2] == wanted[2]:
            try:
                take[name] = resize_position_embedding(array, tokens=wanted[1], prefix_tokens=prefix_tokens)
                resized.append(f"{name} {array.shape[1]} -> {wanted[1]} tokens")
            except ValueError as error:
                mismatched.append(f"{name} ({error})")
        else:
            mismatched.append(f"{name} (file {array.shape}, network {wanted})")
    for name in tensors:
        if name in shapes:
            continue
        if _PRETRAINING_ONLY.match(name):
            left_out.append(f"{name} (pre-training only)")
        elif name.startswith("norm.") and "fc_norm.weight" in shapes:
            left_out.append(f"{name} (global pooling uses fc_norm)")
        elif name.startswith("fc_norm.") and "norm.weight" in shapes:
            left_out.append(f"{name} (the CLS token uses norm)")
        elif name.startswith(of_head) or re.match(r"^(head|classifier|fc)\.(weight|bias)$", name):
            left_out.append(f"{name} (another head)")
        else:
            unexpected.append(name)
    return take, LoadReport(*(tuple(sorted(column)) for column in columns))


def resize_position_embedding(before: NDArray[Any], *, tokens: int, prefix_tokens: int) -> NDArray[np.float32]:
    """Resize a square grid of position embeddings, leaving the prefix tokens as they are.

    Bicubic (a = -0.75), align_corners False, no antialiasing: what RETFound does. timm's own resampler antialiases,
    and so gives other numbers when the grid shrinks.

    Args:
        before: Shape (1, prefix + L, D), L a square number.
        tokens: Wanted number of tokens, prefix included.
        prefix_tokens: Tokens before the patches.

    Returns:
        Shape (1, tokens, D).

    Raises:
        ValueError: If either grid is not square.

    Example:
        >>> resize_position_embedding(np.ones((1, 5, 8)), tokens=10, prefix_tokens=1).shape
        (1, 10, 8)

    References:
        Keys, "Cubic convolution interpolation", IEEE TASSP 1981; RETFound's pos_embed.py for the choices.
    """
    old, new = (round(max(count - prefix_tokens, 0) ** 0.5) for count in (before.shape[1], tokens))
    if old * old + prefix_tokens != before.shape[1] or new * new + prefix_tokens != tokens or not old or not new:
        raise ValueError(
            f"positions of {before.shape[1]} and {tokens} tokens are not square grids after {prefix_tokens}"
        )
    matrix = _bicubic(old, new)
    grid = before[0, prefix_tokens:].astype(np.float64).reshape(old, old, -1)  # (rows, columns, D)
    grid = np.einsum("ir,jc,rcd->ijd", matrix, matrix, grid, optimize=True)
    prefix = before[:, :prefix_tokens].astype(np.float32)
    return np.concatenate([prefix, grid.reshape(1, new * new, -1).astype(np.float32)], axis=1)


def _bicubic(old: int, new: int) -> NDArray[np.float64]:
    """Interpolation matrix (new, old) of the cubic kernel with a = -0.75 and clamped borders."""
    a = -0.75
    center = (np.arange(new) + 0.5) * old / new - 0.5
    first = np.floor(center).astype(int) - 1
    matrix = np.zeros((new, old))
    for tap in range(4):
        distance = np.abs(center - (first + tap))
        near = (a + 2) * distance**3 - (a + 3) * distance**2 + 1
        far = a * (distance**3 - 5 * distance**2 + 8 * distance - 4)
        np.add.at(matrix, (np.arange(new), np.clip(first + tap, 0, old - 1)), np.where(distance <= 1, near, far))
    return matrix


def has_folded_batch_norm(tensors: Mapping[str, NDArray[Any]]) -> bool:
    """Tell whether batch-norm statistics were folded into the convolutions.

    Training-mode batch norm would undo such weights, so that they are better fine-tuned with batch norm frozen.

    Args:
        tensors: Arrays by canonical name.

    Returns:
        True when every running mean is 0 and every running variance is the same number.

    Example:
        >>> has_folded_batch_norm({"bn1.running_mean": np.zeros(4), "bn1.running_var": np.full(4, 0.999)})
        True

    References:
        Our own; met in weights converted from inference-only files.
    """
    # A projector from pre-training has batch norms of its own, which say nothing about the encoder's.
    encoder = {name: array for name, array in tensors.items() if not _PRETRAINING_ONLY.match(name)}
    means = [array for name, array in encoder.items() if name.endswith("running_mean")]
    variances = [array for name, array in encoder.items() if name.endswith("running_var")]
    if not means or not variances:
        return False
    return not any(mean.any() for mean in means) and all(np.ptp(variance) == 0 for variance in variances)

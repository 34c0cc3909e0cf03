"""Weights from one framework's file to another's, with proof that both are the same network."""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eyeground.model.architecture import of_pretraining, parameter_shapes
from eyeground.model.certificate import Certificate, Side, certificate_of, compare_layers, write_certificate
from eyeground.model.dialects import DIALECTS, misfits, name_in
from eyeground.model.engine import Images
from eyeground.model.environment import EngineMissing
from eyeground.model.examination import examine
from eyeground.model.remote import RemoteEngine
from eyeground.model.showing import Showing, reference, run_file
from eyeground.model.spec import ModelSpec
from eyeground.model.untrusted import Foreign, open_foreign
from eyeground.model.weights import Tensors, WeightsRefused, write_weights
from eyeground.model.weights_cache import file_sha256

Target = Literal["paddle", "mindspore", "onnx", "safetensors"]
_OPENS_WITH = {
    "onnx": """import onnxruntime
session = onnxruntime.InferenceSession(FILE)
(logits,) = session.run(None, {"images": images})  # (N, 3, H, W) float32, normalized""",
    "safetensors": """from safetensors.torch import load_file
network.load_state_dict(load_file(FILE), strict=True)  # names are timm's""",
}
_HEAD = ("head.weight", "head.bias")


class Unproved(RuntimeError):
    """Two files that should hold the same network do not, as far as could be shown."""


@dataclass(frozen=True, eq=False)
class Shown:
    """Images for a proof.

    Args:
        images: Normalized, shape (N, 3, H, W).
        words: What they are.

    Example:
        >>> Shown(np.zeros((1, 3, 8, 8), np.float32), "one black image").words
        'one black image'

    References:
        Our own.
    """

    images: Images
    words: str

    @property
    def sha256(self) -> str:
        """Hash of the numbers."""
        return hashlib.sha256(np.ascontiguousarray(self.images).tobytes()).hexdigest()


@dataclass(frozen=True, eq=False)
class WeightsFile:
    """A weights file and the network that it holds.

    Args:
        path: The file.
        foreign: What was found in it.
        spec: The network; where the file has no head, with one of zeros.
        has_head: Whether it has one.

    Raises:
        WeightsRefused: If it does not hold exactly this network; every key that is missing or mis-shaped counts.

    References:
        Our own.
    """

    path: Path
    foreign: Foreign
    spec: ModelSpec
    has_head: bool = True

    def __post_init__(self) -> None:
        found, wanted = self.foreign.tensors, self._shapes()
        if wrong := misfits({name: found[name] for name in wanted if name in found}, wanted):
            more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
            raise WeightsRefused(
                f"{self.path}: does not hold {self.spec.name} at {self.spec.image_px} px with pool={self.spec.pool}: "
                f"{'; '.join(wrong[:5])}{more}"
            )

    @property
    def tensors(self) -> Tensors:
        """The network's own tensors."""
        return {name: np.asarray(self.foreign.tensors[name], np.float32) for name in self._shapes()}

    @property
    def whole(self) -> Tensors:
        """The same with a head of zeros where there is none."""
        if self.has_head:
            return self.tensors
        shapes = parameter_shapes(self.spec)
        return self.tensors | {name: np.zeros(shapes[name], np.float32) for name in _HEAD}

    @property
    def surplus(self) -> tuple[str, ...]:
        """Tensors that are neither the network's nor a pre-training's: another network would have them."""
        own = self._shapes()
        counters = "num_batches_tracked"
        return tuple(
            name
            for name in self.foreign.tensors
            if name not in own and not of_pretraining(name) and not name.endswith(counters)
        )

    @property
    def content(self) -> bytes:
        """The file's bytes, the very same that its tensors were found in."""
        content = self.path.read_bytes()
        if hashlib.sha256(content).hexdigest() != self.foreign.sha256:
            raise WeightsRefused(f"{self.path}: was changed while it was looked at; try again")
        return content

    @property
    def left_out(self) -> tuple[str, ...]:
        """What else lies in the file."""
        own = self._shapes()
        rest = (f"{name}: no part of the classifier" for name in self.foreign.tensors if name not in own)
        return (*self.foreign.left_out, *rest)

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """What the network consists of."""
        if self.spec.vit and not self.spec.options:
            return parameter_shapes(self.spec, head=self.has_head)
        from eyeground.model.torch.network import build

        state = build(self.spec).state_dict()
        return {name: tuple(t.shape) for name, t in state.items() if not name.endswith("num_batches_tracked")}


@dataclass(frozen=True, eq=False)
class _Written:
    """What became of a file that was just written: who runs it, what it holds, what is wrong with it."""

    engine: Showing
    held: Tensors
    opens_with: str
    faults: tuple[str, ...] = ()


def convert(
    source: WeightsFile,
    *,
    target: Target,
    out: Path,
    shown: Shown,
    metadata: Mapping[str, str],
    threads: int = 0,
    said: Callable[[str], None] = lambda words: None,
) -> Certificate:
    """Write weights in another framework's form, read them back there, and prove that the network is the same.

    Args:
        source: The file that was given.
        target: Whose form.
        out: The file to make; its certificate lies beside it.
        shown: Images that both are asked about.
        metadata: Words to store where the form allows it.
        threads: Processor threads; 0 leaves the frameworks' choice.
        said: Told what is being done.

    Returns:
        The proof.

    Raises:
        Unproved: If the two differ by more than rounding; nothing is left at ``out``.
        EngineMissing: If a framework is not installed.
        FileExistsError: If another conversion is writing the same file.
        OSError: If the disk is full.

    References:
        Our own.
    """
    with _beside(out) as part:
        said(f"writing {out.name}, and reading it back in {target}")
        if target == "safetensors":
            written = _safetensors(part, source, metadata, threads)
        elif target == "onnx":
            written = _onnx(part, source, metadata, threads)
        else:
            written = _framework(part, source, target, threads)
        said(f"comparing {len(shown.images)} images layer by layer")
        certificate = _certificate(source, target, out.name, file_sha256(part), written, shown, threads)
        if certificate.problems:
            raise Unproved(
                f"{source.path.name} -> {out.name} is not proved, and nothing was written: "
                f"{'; '.join(certificate.problems)}"
            )
        # The proof first: a file without one never lies there.
        write_certificate(certificate_of(out), certificate)
        part.replace(out)
    return certificate


def verify(file: WeightsFile, against: WeightsFile, *, shown: Shown, threads: int = 0) -> Certificate:
    """Hold a file against another: key by key, and layer by layer, each in the framework that wrote it.

    Args:
        file: A weights file.
        against: Another one.
        shown: Images that both are asked about.
        threads: Processor threads; 0 leaves the frameworks' choice.

    Returns:
        What was found; its ``problems`` say whether it is a proof.

    Raises:
        WeightsRefused: If they are different networks, or a file cannot be run.
        EngineMissing: If a framework is not installed.

    References:
        Our own.
    """
    other = [
        f"{what} {ours} and {theirs}"
        for what, ours, theirs in (
            ("network", file.spec.name, against.spec.name),
            ("image_px", file.spec.image_px, against.spec.image_px),
            ("pool", file.spec.pool, against.spec.pool),
            ("fc_norm_passes", file.spec.fc_norm_passes, against.spec.fc_norm_passes),
            ("classes", file.spec.classes if file.has_head else 0, against.spec.classes if against.has_head else 0),
            ("model_options", dict(file.spec.options), dict(against.spec.options)),
        )
        if ours != theirs
    ]
    if other:
        raise WeightsRefused(f"{file.path} and {against.path} are different networks: {', '.join(other)}")
    # An engine of another framework has its layers examined when it starts.
    written = _Written(_running(file, threads), file.tensors, "")
    certificate = _certificate(
        against, file.foreign.framework, file.path.name, file.foreign.sha256, written, shown, threads
    )
    more = tuple(f"{name}: in {side.path.name} only" for side in (file, against) for name in side.surplus)
    left_out = (*certificate.left_out, *(words for words in file.left_out if words not in certificate.left_out))
    return replace(certificate, unequal=(*certificate.unequal, *more), left_out=left_out)


def unequal(tensors: Mapping[str, NDArray[Any]], held: Mapping[str, NDArray[Any]]) -> tuple[str, ...]:
    """Name the keys that are not the same to the last bit.

    Args:
        tensors: Arrays by canonical name.
        held: Others.

    Returns:
        Names that only one side has, or whose shapes or numbers differ.

    Example:
        >>> unequal({"a": np.zeros(2, np.float32), "b": np.ones(1)}, {"a": np.zeros(2, np.float32)})
        ('b',)

    References:
        Our own.
    """
    return tuple(
        name
        for name in sorted({*tensors, *held})
        if name not in tensors
        or name not in held
        or tensors[name].shape != held[name].shape
        or np.asarray(tensors[name], np.float32).tobytes() != np.asarray(held[name], np.float32).tobytes()
    )


def _safetensors(part: Path, source: WeightsFile, metadata: Mapping[str, str], threads: int) -> _Written:
    """Write for torch."""
    write_weights(part, source.tensors, metadata)
    back = replace(source, path=part, foreign=open_foreign(part))
    return _Written(reference(back.spec, back.whole, threads=threads), back.tensors, _OPENS_WITH["safetensors"])


def _onnx(part: Path, source: WeightsFile, metadata: Mapping[str, str], threads: int) -> _Written:
    """Write a graph."""
    try:
        from eyeground.model.onnx.export import export_onnx

        part.write_bytes(export_onnx(source.spec, source.whole, dict(metadata), head=source.has_head))
    except ModuleNotFoundError as error:
        raise EngineMissing(f"{error.name} is not installed: pip install 'eyeground[onnx]'") from error
    except RuntimeError as error:
        raise Unproved(str(error)) from error
    back = replace(source, path=part, foreign=open_foreign(part))
    answer = "logits" if source.has_head else "features"
    return _Written(_running(back, threads), back.tensors, _OPENS_WITH["onnx"].replace("logits", answer))


def _running(file: WeightsFile, threads: int) -> Showing:
    """A file in the framework that wrote it."""
    content = file.content if file.foreign.framework == "onnx" else b""
    return run_file(content, file.foreign.framework, file.spec, file.whole, has_head=file.has_head, threads=threads)


def _framework(part: Path, source: WeightsFile, target: Literal["paddle", "mindspore"], threads: int) -> _Written:
    """Let a framework write and read, as its plain users do."""
    lacking = () if source.has_head else _HEAD
    other = {name: array + 1 for name, array in source.whole.items()}
    engine = RemoteEngine(
        target, source.spec, tensors=other, device="cpu", precision="fp32", threads=threads, examined=False
    )
    engine.load_state({"weights": source.whole})
    opens_with = engine.write(part, leave_out=lacking)["opens_with"]
    # Other numbers again: whatever is compared from here on came out of the file.
    engine.load_state({"weights": other})
    engine.read(part, may_lack=lacking)
    held = {name: array for name, array in engine.state()["weights"].items() if name in source.tensors}
    if lacking:
        engine.load_state({"weights": source.whole | held})
    return _Written(engine, held, opens_with, tuple(map(str, examine(engine, source.whole))))


def _certificate(
    source: WeightsFile, target: str, name: str, sha256: str, written: _Written, shown: Shown, threads: int
) -> Certificate:
    """Show the same images to both sides, and write down what is found."""
    running = _running(source, threads)
    found, wanted = written.engine.activations(shown.images), running.activations(shown.images)
    if not source.has_head:
        found, wanted = ({k: v for k, v in side.items() if k != "head"} for side in (found, wanted))
    rows = compare_layers(found, wanted, logits=source.has_head)
    framework: Any = target if target in DIALECTS else "torch"
    transposed = DIALECTS[framework].transposed
    tensors = source.tensors
    return Certificate(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        source=Side(source.path.name, source.foreign.sha256, source.foreign.framework, running.description),
        target=Side(name, sha256, target, written.engine.description),
        architecture=source.spec.to_json(),
        parameters=sum(array.size for array in tensors.values()),
        keys=tuple((k, name_in(framework, k), array.shape, transposed(k, array.ndim)) for k, array in tensors.items()),
        left_out=source.left_out,
        unequal=unequal(tensors, written.held),
        images=shown.words,
        images_sha256=shown.sha256,
        layers=rows,
        faults=written.faults,
        opens_with=written.opens_with,
    )


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """Give a place beside a file to write it first; whatever happens, no half of it stays."""
    lock = out.with_name(f".{out.name}.lock")
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had it may just have taken it away: then this is a lock that nobody else sees.
            taken = not lock.exists() or os.fstat(held.fileno()).st_ino != lock.stat().st_ino
        except OSError:
            taken = True
        if taken:
            raise FileExistsError(f"{out}: another conversion is writing it; wait for it, or choose another")
        part = out.with_name(f".{out.stem}.{os.getpid()}.part{out.suffix}")
        try:
            yield part
        finally:
            part.unlink(missing_ok=True)
            lock.unlink(missing_ok=True)

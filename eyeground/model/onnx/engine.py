"""An ONNX file as an engine that answers, and shows what its layers make; it runs in a process with limits."""

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eyeground.model.engine import Images
from eyeground.model.environment import EngineMissing
from eyeground.model.weights import WeightsRefused
from eyeground.model.wire import WireCut, receive, send

_MEMORY_FACTOR, _MEMORY_BYTES = 6, 6 * 2**30
_SECONDS = 1800


class OnnxEngine:
    """A network from an ONNX file, on the processor. The file may be hostile: it is run with limits on all it can take.

    Args:
        content: The file's bytes.
        layers: Names of the layers that ``activations`` gives, in order.
        answer: Name of what the graph gives to whoever runs it.
        threads: Processor threads; 0 leaves ONNX Runtime's choice.
        seconds: Time it may take. Unit: s.

    Raises:
        EngineMissing: If the extra ``onnx`` is not installed.

    Example:
        >>> from eyeground.model.onnx.export import export_onnx
        >>> from eyeground.model.spec import ModelSpec
        >>> from eyeground.model.torch.network import build
        >>> spec = ModelSpec("vit_demo_patch8", classes=3, image_px=16)
        >>> content = export_onnx(spec, {name: tensor.numpy() for name, tensor in build(spec).state_dict().items()}, {})
        >>> engine = OnnxEngine(content, layers=["blocks.0", "head"], answer="head")
        >>> {name: made.shape for name, made in engine.activations(np.zeros((1, 3, 16, 16), np.float32)).items()}
        {'blocks.0': (1, 5, 96), 'head': (1, 3)}

    References:
        ONNX Runtime.
    """

    def __init__(
        self, content: bytes, *, layers: list[str], answer: str, threads: int = 0, seconds: float = _SECONDS
    ) -> None:
        if missing := [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]:
            raise EngineMissing(f"{missing[0]} is not installed: pip install 'eyeground[onnx]'")
        self._content, self._layers, self._answer = content, layers, answer
        self._threads, self._seconds, self._version = threads, seconds, ""

    @property
    def description(self) -> str:
        """Runtime and device in words."""
        return " ".join(filter(None, ("onnxruntime", self._version, "on cpu, fp32")))

    def activations(self, images: Images) -> dict[str, NDArray[np.float32]]:
        """Give what every layer makes of some images.

        Args:
            images: Shape (N, 3, H, W).

        Returns:
            By name of the layer, in order.

        Raises:
            WeightsRefused: If the graph is another one's, is damaged, or takes more than a network of its size does.
        """
        limits = (_MEMORY_FACTOR * len(self._content) + _MEMORY_BYTES, int(self._seconds))
        environment = {
            "PYTHONPATH": os.pathsep.join(place or str(Path.cwd()) for place in sys.path),
            "LC_ALL": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1" if sys.dont_write_bytecode else "",
        }
        with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as told:
            words = {"layers": self._layers, "answer": self._answer, "threads": self._threads}
            send(asked, words, {"content": np.frombuffer(self._content, np.uint8), "images": images})
            asked.seek(0)
            child = subprocess.Popen(
                [sys.executable, "-m", "eyeground.model.onnx.child", *map(str, limits)],
                stdin=asked, stdout=told, stderr=subprocess.DEVNULL, env=environment, cwd="/", start_new_session=True,
            )  # fmt: skip
            try:
                code = child.wait(self._seconds)
            except subprocess.TimeoutExpired:
                code = -signal.SIGXCPU
            finally:
                if child.poll() is None:
                    child.kill()
                    child.wait()
            told.seek(0)
            try:
                answer, found = receive(told)
            except (WireCut, ValueError) as error:
                how = "took too long" if code == -signal.SIGXCPU else f"ended its process (code {code})"
                raise WeightsRefused(f"the ONNX graph could not be run: it {how}") from error
        if "refused" in answer:
            raise WeightsRefused(f"the ONNX graph could not be run: {answer['refused']}")
        self._version = str(answer["version"])
        return {name: np.asarray(found[name], np.float32) for name in self._layers}

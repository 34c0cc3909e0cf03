"""The limited process that runs an ONNX graph, which anybody may have written."""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from eyeground.model.wire import receive, send
from eyeground.sandbox import confine


def main(memory_bytes: int, cpu_seconds: int) -> None:
    """Read one request on stdin, answer it on stdout.

    Args:
        memory_bytes: Memory it may take. Unit: bytes.
        cpu_seconds: Computing time it may take. Unit: s.

    Example:
        >>> main.__name__
        'main'

    References:
        Our own.
    """
    words, arrays = receive(sys.stdin.buffer)
    confine(memory_bytes, cpu_seconds)
    try:
        found = run(arrays["content"].tobytes(), words["layers"], words["answer"], arrays["images"], words["threads"])
        send(sys.stdout.buffer, {"version": onnxruntime.__version__}, found)
    except MemoryError:
        send(sys.stdout.buffer, {"refused": "needs far more memory than its size explains"})
    except Exception as error:  # noqa: BLE001  a hostile graph may raise anything
        send(sys.stdout.buffer, {"refused": " ".join(str(error).split())[:300]})


def run(
    content: bytes, layers: list[str], answer: str, images: NDArray[np.float32], threads: int
) -> Mapping[str, NDArray[Any]]:
    """Run a graph, and show what its layers make.

    Args:
        content: The file's bytes.
        layers: Names of what is shown, in order.
        answer: Name of what the graph gives to whoever runs it.
        images: Shape (N, 3, H, W).
        threads: Processor threads; 0 leaves ONNX Runtime's choice.

    Returns:
        By name of the layer.

    Raises:
        ValueError: If the graph takes or gives something else, or does not show these layers.

    Example:
        >>> run(b"", [], "head", np.zeros((1, 3, 8, 8), np.float32), 0)
        Traceback (most recent call last):
        ...
        ValueError: this graph takes [] and gives [], not ['images'] and ['head']

    References:
        ONNX Runtime.
    """
    model = onnx.load_model_from_string(content)
    weights = {initializer.name for initializer in model.graph.initializer}
    takes = [each.name for each in model.graph.input if each.name not in weights]
    gives = [each.name for each in model.graph.output]
    # Layers could be a network's, and the answer another's.
    if takes != ["images"] or gives != [answer]:
        raise ValueError(f"this graph takes {takes[:3]} and gives {gives[:3]}, not ['images'] and ['{answer}']")
    made = {name for node in model.graph.node for name in node.output}
    if unknown := [name for name in layers if name not in made]:
        raise ValueError(f"this graph shows no layer {', '.join(unknown[:5])}: it was not written by eyeground")
    for name in layers:
        if name not in gives:
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if threads:
        options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip(layers, session.run(layers, {"images": np.asarray(images, np.float32)}), strict=True))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))

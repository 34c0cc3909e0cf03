"""ONNX Runtime: a graph in one file, in fp32 or 8-bit integers; it runs in a process without files and sockets."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eyeground.atomic_file import write_whole
from eyeground.model.engine import Images
from eyeground.model.spec import ModelSpec
from eyeground.model.weights import Tensors
from eyeground.serve.runtime import RuntimePrecision
from eyeground.serve.runtimes._files import files_in
from eyeground.serve.runtimes._graph import absent, on_processor, plain_graph

if TYPE_CHECKING:  # the graph's own process imports this file too, and has no need of it
    from eyeground.serve.graph_process import GraphProcess

FILES: Mapping[RuntimePrecision, tuple[str, ...]] = {"fp32": ("model.onnx",), "int8": ("model.int8.onnx",)}
_DOMAINS = ("", "ai.onnx")


def missing() -> str:
    """Say what has to be installed.

    Returns:
        What to type; empty when all is there.

    Example:
        >>> missing() in ("", "pip install 'eyeground[onnx]'")
        True

    References:
        Our own.
    """
    return absent("onnx", "onnxruntime", "onnxscript", extra="onnx")


def write(
    spec: ModelSpec,
    tensors: Tensors,
    folder: Path,
    *,
    precision: RuntimePrecision,
    calibration_images: Images | None = None,
) -> None:
    """Write a graph; the same weights and images give the same bytes.

    Args:
        spec: The network.
        tensors: All of its weights, by canonical name.
        folder: Where to write.
        precision: ``"fp32"`` or ``"int8"``.
        calibration_images: For int8: normalized images, shape (N, 3, H, W), on which ranges are measured.

    Raises:
        ValueError: If it is written in no such precision, or int8 has no images.
        WeightsRefused: If the weights do not belong to the network.
        RuntimeError: If torch cannot export the network.
        OSError: If the disk is full.

    Example:
        >>> write(ModelSpec("vit_demo_patch8", 2, image_px=32), {}, Path("nowhere"), precision="bf16")
        Traceback (most recent call last):
        ValueError: onnx is not written in bf16: choose fp32 or int8

    References:
        ONNX opset 18.
    """
    if precision not in FILES:
        raise ValueError(f"onnx is not written in {precision}: choose {' or '.join(FILES)}")
    if precision == "int8" and (calibration_images is None or not len(calibration_images)):
        raise ValueError("int8 needs images to measure the ranges on: give some from training")
    model = plain_graph(spec, tensors)
    if precision == "int8":
        from eyeground.serve.runtimes._quantization import quantized

        content = quantized(model, calibration_images)  # type: ignore[arg-type]  # checked above
    else:
        content = model.SerializeToString()
    write_whole(folder / FILES[precision][0], content)


def open_runtime(
    folder: Path, *, spec: ModelSpec, precision: RuntimePrecision, threads: int = 0, device: str = "cpu"
) -> "GraphProcess":
    """Open the graph of a bundle.

    Args:
        folder: The bundle.
        spec: The network.
        precision: ``"fp32"`` or ``"int8"``.
        threads: Processor threads; 0 leaves ONNX Runtime's choice.
        device: ``"cpu"`` or ``"auto"``: it computes on the processor only.

    Returns:
        The runtime.

    Raises:
        RuntimeMissing: If ONNX Runtime is not installed or does not compute so, or the file is not there.
        WeightsRefused: If the graph is damaged, another network's, or asks for more than this one would.
        EngineLost: If its process ends or hangs.
        ValueError: If the device is not to be had.

    Example:
        >>> open_runtime(Path("nowhere"), spec=ModelSpec("vit_demo_patch8", 2, image_px=32), precision="fp32")
        Traceback (most recent call last):
        eyeground.serve.runtime.RuntimeMissing: nowhere: holds no model.onnx, which the runtime onnx needs in fp32; ...

    References:
        ONNX Runtime.
    """
    files = files_in(folder, FILES, program="onnx", precision=precision, hint=missing())
    on_processor("onnx", device)
    from eyeground.serve.graph_process import GraphProcess

    return GraphProcess(
        "onnx", files, outputs=spec.classes, image_px=spec.image_px, precision=precision, threads=threads
    )


def open_graph(
    contents: Callable[[], Sequence[bytes]],
    *,
    confine: Callable[[], None],
    outputs: int,
    image_px: int,
    precision: str,
    threads: int,
) -> tuple[str, Callable[[Images], NDArray[np.float32]]]:
    """Open a graph that anybody may have written; ``graph_child`` calls it in a process of its own.

    Args:
        contents: Gives the bytes of the file.
        confine: Gives up files, sockets and memory; called after the last import, before the first foreign byte.
        outputs: Numbers that it must give per image.
        image_px: Side of the square it sees. Unit: px.
        precision: How it computes; the graph decides, this is for the description.
        threads: Processor threads; 0 leaves ONNX Runtime's choice.

    Returns:
        A description, and what turns images (N, 3, H, W) to outputs (N, outputs).

    Raises:
        ValueError: If it takes or gives anything else, keeps weights elsewhere, or uses operators that are not ONNX's
            own; all faults at once.

    Example:
        >>> open_graph(lambda: [b""], confine=lambda: None, outputs=2, image_px=8, precision="fp32", threads=1)
        Traceback (most recent call last):
        ValueError: it takes [] and not images, float, (N, 3, 8, 8); it gives [] and not one output, float, (N, 2)

    References:
        ONNX Runtime.
    """
    import onnx
    import onnxruntime

    confine()
    (content,) = contents()
    model = onnx.load_model_from_string(content)
    if faults := _faults(model, outputs=outputs, image_px=image_px):
        raise ValueError("; ".join(faults))
    name = model.graph.output[0].name
    del model  # as large as the file
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    if threads:
        options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def answer(images: Images) -> NDArray[np.float32]:
        return np.asarray(session.run([name], {"images": images})[0])

    return f"onnxruntime {onnxruntime.__version__} on cpu, {precision}", answer


def _faults(model: Any, *, outputs: int, image_px: int) -> list[str]:
    """Everything that a network of ours would not have."""
    graphs = list(_graphs(model.graph))
    weights = {each.name for each in model.graph.initializer}
    takes = [each for each in model.graph.input if each.name not in weights]
    gives = list(model.graph.output)
    faults = []
    square = (0, 3, image_px, image_px)
    if [each.name for each in takes] != ["images"] or not _is(takes[0], square):
        faults.append(f"it takes {_told(takes)} and not images, float, (N, 3, {image_px}, {image_px})")
    if len(gives) != 1 or not _is(gives[0], (0, outputs)):
        faults.append(f"it gives {_told(gives)} and not one output, float, (N, {outputs})")
    foreign = {node.domain for graph in graphs for node in graph.node} - set(_DOMAINS)
    if foreign or model.functions:
        own = ", ".join(sorted(foreign)[:3])[:100] or "functions of its own"
        faults.append(f"it uses operators that are not ONNX's own: {own}")
    if any(tensor.data_location or tensor.external_data for graph in graphs for tensor in _tensors(graph)):
        faults.append("it keeps weights in another file")
    return faults


def _graphs(graph: Any) -> Iterator[Any]:
    """A graph and all that lie inside its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _graphs(inner)


def _tensors(graph: Any) -> Iterator[Any]:
    """All numbers that a graph is written with."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors, attribute.sparse_tensor.values)


def _is(value: Any, shape: tuple[int, ...]) -> bool:
    """Whether an input or output is float and, as far as its graph says, of a shape; 0 = any number."""
    tensor = value.type.tensor_type
    sides = [side.dim_value for side in tensor.shape.dim]
    fits = len(sides) == len(shape) and all(a == b or not a for a, b in zip(sides[1:], shape[1:], strict=True))
    return bool(tensor.elem_type == 1 and fits)


def _told(values: Sequence[Any]) -> str:
    """Inputs or outputs in words."""
    words = [
        f"{each.name[:40]} {tuple(side.dim_value or side.dim_param[:9] for side in each.type.tensor_type.shape.dim)}"
        for each in values[:3]
    ]
    return f"[{', '.join(words)}]"

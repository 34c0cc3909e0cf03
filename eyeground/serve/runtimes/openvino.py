"""OpenVINO: a graph and its weights in two files, in fp32 or bf16; it runs in a process without files and sockets."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eyeground.model.engine import Images
from eyeground.model.spec import ModelSpec
from eyeground.model.weights import Tensors
from eyeground.serve.runtime import RuntimeMissing, RuntimePrecision
from eyeground.serve.runtimes._files import files_in
from eyeground.serve.runtimes._graph import absent, on_processor, plain_graph

if TYPE_CHECKING:  # the graph's own process imports this file too, and has no need of it
    from eyeground.serve.graph_process import GraphProcess

_GRAPH = ("model.xml", "model.bin")
# No int8: nncf, which makes it, brings a training stack along; and ONNX Runtime's int8 graph, which OpenVINO reads too,
# was further off there than in ONNX Runtime, and no faster than bf16.
FILES: Mapping[RuntimePrecision, tuple[str, ...]] = {"fp32": _GRAPH, "bf16": _GRAPH}

# images -> ReLU, for a first time before the limits: OpenVINO loads its reader and its plug-in when they are needed.
_TINY = b"""<net name="tiny" version="11"><layers>
<layer id="0" name="images" type="Parameter" version="opset1"><data shape="?,2" element_type="f32"/>
<output><port id="0" precision="FP32"><dim>-1</dim><dim>2</dim></port></output></layer>
<layer id="1" name="relu" type="ReLU" version="opset1">
<input><port id="0" precision="FP32"><dim>-1</dim><dim>2</dim></port></input>
<output><port id="1" precision="FP32"><dim>-1</dim><dim>2</dim></port></output></layer>
<layer id="2" name="out" type="Result" version="opset1">
<input><port id="0" precision="FP32"><dim>-1</dim><dim>2</dim></port></input></layer>
</layers><edges><edge from-layer="0" from-port="0" to-layer="1" to-port="0"/>
<edge from-layer="1" from-port="1" to-layer="2" to-port="0"/></edges></net>"""


def missing() -> str:
    """Say what has to be installed to open a bundle; writing one needs the extra ``onnx`` too.

    Returns:
        What to type; empty when all is there.

    Example:
        >>> missing() in ("", "pip install 'eyeground[openvino]'")
        True

    References:
        Our own.
    """
    return absent("openvino", extra="openvino")


def write(
    spec: ModelSpec,
    tensors: Tensors,
    folder: Path,
    *,
    precision: RuntimePrecision,
    calibration_images: Images | None = None,
) -> None:
    """Write a graph and its weights, in fp32 for both precisions; where they lie already they stay.

    The same weights give the same bytes.

    Args:
        spec: The network.
        tensors: All of its weights, by canonical name.
        folder: Where to write.
        precision: How they will be used.
        calibration_images: Not needed here.

    Raises:
        ValueError: If it is written in no such precision.
        WeightsRefused: If the weights do not belong to the network.
        RuntimeError: If torch cannot export the network, or OpenVINO cannot read it.
        RuntimeMissing: If OpenVINO, or ONNX, which the graph comes through, is not installed.
        OSError: If the disk is full.

    Example:
        >>> write(ModelSpec("vit_demo_patch8", 2, image_px=32), {}, Path("nowhere"), precision="int8")
        Traceback (most recent call last):
        ValueError: openvino is not written in int8: choose fp32 or bf16

    References:
        OpenVINO IR, version 11.
    """
    if precision not in FILES:
        raise ValueError(f"openvino is not written in {precision}: choose {' or '.join(FILES)}")
    places = [folder / name for name in _GRAPH]
    if all(place.is_file() for place in places):
        return
    if hints := [hint for hint in (missing(), absent("onnx", "onnxscript", extra="onnx")) if hint]:
        raise RuntimeMissing(f"the runtime openvino cannot be written here: {' and '.join(hints)}")
    content = plain_graph(spec, tensors).SerializeToString()
    openvino = _openvino()
    model = openvino.Core().read_model(content, b"")
    for number, node in enumerate(model.get_ordered_ops()):
        # Its own names count on from whatever this process had read before.
        node.set_friendly_name(f"{node.get_type_name()}_{number}")
    openvino.save_model(model, places[0], compress_to_fp16=False)


def open_runtime(
    folder: Path, *, spec: ModelSpec, precision: RuntimePrecision, threads: int = 0, device: str = "cpu"
) -> "GraphProcess":
    """Open the graph of a bundle.

    Args:
        folder: The bundle.
        spec: The network.
        precision: ``"fp32"``, or ``"bf16"`` where the processor has it; elsewhere the description says fp32.
        threads: Processor threads; 0 leaves OpenVINO's choice.
        device: ``"cpu"`` or ``"auto"``: it computes on the processor only.

    Returns:
        The runtime.

    Raises:
        RuntimeMissing: If OpenVINO is not installed or does not compute so, or a file is not there.
        WeightsRefused: If the graph is damaged, another network's, or asks for more than this one would.
        EngineLost: If its process ends or hangs.
        ValueError: If the device is not to be had.

    Example:
        >>> open_runtime(Path("nowhere"), spec=ModelSpec("vit_demo_patch8", 2, image_px=32), precision="fp32")
        Traceback (most recent call last):
        eyeground.serve.runtime.RuntimeMissing: nowhere: holds no model.xml and no model.bin, which ...

    References:
        OpenVINO.
    """
    files = files_in(folder, FILES, program="openvino", precision=precision, hint=missing())
    on_processor("openvino", device)
    from eyeground.serve.graph_process import GraphProcess

    return GraphProcess(
        "openvino", files, outputs=spec.classes, image_px=spec.image_px, precision=precision, threads=threads
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

    While OpenVINO 2026.4 reads a model it lists the folder of its own libraries, even when it needs none. So one file
    number is left for as long as it reads, and taken away before the model is made ready and run.

    Args:
        contents: Gives the bytes of both files.
        confine: Gives up files, sockets and memory; called after the last import, before the first foreign byte.
        outputs: Numbers that it must give per image.
        image_px: Side of the square it sees. Unit: px.
        precision: How it computes.
        threads: Processor threads; 0 leaves OpenVINO's choice.

    Returns:
        A description, and what turns images (N, 3, H, W) to outputs (N, outputs).

    Raises:
        ValueError: If it takes or gives anything else; all faults at once.

    Example:
        >>> open_graph(lambda: [_TINY, b""], confine=lambda: None, outputs=3, image_px=8, precision="fp32", threads=1)
        Traceback (most recent call last):
        ValueError: it takes [[?,2] f32] and not images, float, [?,3,8,8]; it gives [[?,2] f32] and not one output, ...

    References:
        OpenVINO.
    """
    openvino = _openvino()
    core = openvino.Core()
    core.compile_model(core.read_model(_TINY, b""), "CPU")(np.zeros((1, 2), np.float32))
    has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    spare = os.dup(0)
    confine()
    graph, weights = contents()
    os.close(spare)
    model = core.read_model(graph, weights)
    os.dup2(0, spare)
    if faults := _faults(model, outputs=outputs, image_px=image_px):
        raise ValueError("; ".join(faults))
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" and has_bf16 else "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    compiled = core.compile_model(model, "CPU", settings)

    def answer(images: Images) -> NDArray[np.float32]:
        return np.array(compiled({0: images})[0])

    computes = precision if precision != "bf16" or has_bf16 else "fp32, for this processor has no bf16"
    version = openvino.get_version().partition("-")[0]
    return f"openvino {version} on cpu, {computes}", answer


def _openvino() -> Any:
    """Import OpenVINO without its telemetry, which would tell Google Analytics of every start unless opted out of."""
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # how Python spells "not there"
    import openvino

    return openvino


def _faults(model: Any, *, outputs: int, image_px: int) -> list[str]:
    """Everything that a network of ours would not have; operators that are not OpenVINO's own were not read at all."""
    square, row = f"[?,3,{image_px},{image_px}]", f"[?,{outputs}]"
    takes, gives = ([_told(each) for each in side] for side in (model.inputs, model.outputs))
    faults = []
    if takes != [f"{square} f32"] or "images" not in model.inputs[0].get_names():
        faults.append(f"it takes [{', '.join(takes[:3])}] and not images, float, {square}")
    if gives != [f"{row} f32"]:
        faults.append(f"it gives [{', '.join(gives[:3])}] and not one output, float, {row}")
    return faults


def _told(end: Any) -> str:
    """Shape and type of an input or output in words."""
    return f"{end.get_partial_shape().to_string()[:60]} {end.get_element_type().get_type_name()}"

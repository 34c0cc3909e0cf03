"""An ONNX file as an engine that answers, and shows what its layers make."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from eyeground.model.engine import Images


class OnnxEngine:
    """A network from an ONNX file that ``export_onnx`` wrote, on the processor.

    Args:
        content: The file's bytes.
        layers: Names of the layers that ``activations`` gives, in order; the last are the logits.
        threads: Processor threads; 0 leaves ONNX Runtime's choice.

    Raises:
        ValueError: If the graph has no such layers.

    Example:
        >>> from eyeground.model.onnx.export import export_onnx
        >>> from eyeground.model.spec import ModelSpec
        >>> from eyeground.model.torch.network import build
        >>> spec = ModelSpec("vit_demo_patch8", classes=3, image_px=16)
        >>> content = export_onnx(spec, {name: tensor.numpy() for name, tensor in build(spec).state_dict().items()}, {})
        >>> engine = OnnxEngine(content, layers=["blocks.0", "head"])
        >>> {name: made.shape for name, made in engine.activations(np.zeros((1, 3, 16, 16), np.float32)).items()}
        {'blocks.0': (1, 5, 96), 'head': (1, 3)}

    References:
        ONNX Runtime.
    """

    def __init__(self, content: bytes, *, layers: list[str], threads: int = 0) -> None:
        model = onnx.load_model_from_string(content)
        made = {name for node in model.graph.node for name in node.output}
        if unknown := [name for name in layers if name not in made]:
            raise ValueError(f"this ONNX graph shows no layer {', '.join(unknown[:5])}; was it written by eyeground?")
        shown = {value.name for value in model.graph.output}
        for name in layers:
            if name not in shown:
                model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads:
            options.intra_op_num_threads = threads
        self._layers = layers
        self._session: Any = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    @property
    def description(self) -> str:
        """Runtime and device in words."""
        return f"onnxruntime {onnxruntime.__version__} on cpu, fp32"

    def activations(self, images: Images) -> dict[str, NDArray[np.float32]]:
        """Give what every layer makes of some images.

        Args:
            images: Shape (N, 3, H, W).

        Returns:
            By name of the layer, in order; the last are the logits.
        """
        found = self._session.run(self._layers, {"images": np.asarray(images, np.float32)})
        return dict(zip(self._layers, found, strict=True))

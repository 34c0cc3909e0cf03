"""Torch network -> ONNX file whose weights keep their names and layouts."""

import contextlib
import io
import warnings
from typing import Any

import torch
from torch import nn

from eyeground.model.spec import ModelSpec
from eyeground.model.torch.network import layers_of, start
from eyeground.model.weights import Tensors

_OPSET = 18
_PREFIX = "network."


class _Shown(nn.Module):
    """A network that gives what each of its layers makes, beside its answer."""

    def __init__(self, network: nn.Module, layers: dict[str, nn.Module], *, answer: bool) -> None:
        super().__init__()
        self.network = network
        self._answer = answer
        self._layers = tuple(layers.values())

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        made: list[torch.Tensor] = []
        hooks = [layer.register_forward_hook(lambda layer, given, out: made.append(out)) for layer in self._layers]
        answer = self.network(images)
        for hook in hooks:
            hook.remove()
        return (*made, answer) if self._answer else tuple(made)


def export_onnx(spec: ModelSpec, tensors: Tensors, metadata: dict[str, str], *, head: bool = True) -> bytes:
    """Write a network down as an ONNX graph: images (N, 3, H, W) in, logits (N, K) or features (N, D) out, N free.

    Every weight is an initializer of its canonical name. What a layer makes has the layer's name inside the graph, so
    that a proof can ask for it.

    Args:
        spec: The network.
        tensors: All of its weights, by canonical name.
        metadata: Words to store in the file.
        head: Whether it answers with logits; without, with what the head would see, under the name ``features``.

    Returns:
        The file's bytes.

    Raises:
        WeightsRefused: If the weights do not belong to the network.
        RuntimeError: If torch cannot export the network; the message holds its reason.
        ModuleNotFoundError: If the extra ``onnx`` is not installed.

    Example:
        >>> from eyeground.model.torch.network import build
        >>> spec = ModelSpec("vit_demo_patch8", classes=3, image_px=16)
        >>> tensors = {name: tensor.numpy() for name, tensor in build(spec).state_dict().items()}
        >>> len(export_onnx(spec, tensors, {})) > sum(array.nbytes for array in tensors.values())
        True

    References:
        ONNX opset 18; torch's exporter without its optimizer, which folds and renames weights.
    """
    network = start(spec, tensors=tensors, seed=0)[0].eval()
    if not head:
        network.reset_classifier(0)  # type: ignore[operator]
    layers = dict(layers_of(network))
    example = torch.zeros(2, 3, spec.image_px, spec.image_px)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                _Shown(network, layers, answer=not head).eval(),
                (example,),
                dynamo=True,
                optimize=False,
                verbose=False,
                opset_version=_OPSET,
                input_names=["images"],
                output_names=[*layers, *([] if head else ["features"])],
                dynamic_shapes={"images": {0: "N"}},
            )
    except ModuleNotFoundError:
        raise
    except Exception as error:
        words = " ".join(str(error).split())[:300]
        raise RuntimeError(f"torch cannot export {spec.name} with options {dict(spec.options)}: {words}") from error
    if program is None:
        raise RuntimeError(f"torch did not export {spec.name}")
    model: Any = program.model_proto
    _rename(model.graph)
    # The last is the answer; the others stay inside.

    del model.graph.output[:-1]
    for key, value in metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    model.producer_name = "eyeground"

    content: bytes = model.SerializeToString()
    return content


def _rename(graph: Any) -> None:
    """Take the wrapper's name off the weights, and this machine's off the nodes."""
    for initializer in graph.initializer:
        initializer.name = initializer.name.removeprefix(_PREFIX)
    for info in graph.value_info:
        info.name = info.name.removeprefix(_PREFIX)
    for node in graph.node:
        for number, name in enumerate(node.input):
            node.input[number] = name.removeprefix(_PREFIX)
        # Torch notes there which line of which file made it: paths of this machine.
        node.ClearField("metadata_props")
        node.ClearField("doc_string")

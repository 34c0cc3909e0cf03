"""Small contracts, and a runtime that answers by the mean color, for the tests of this room."""

import numpy as np
from numpy.typing import NDArray

from eyeground.data.preprocessing import Preprocessing
from eyeground.data.task import Head, Task, classification
from eyeground.model.spec import ModelSpec
from eyeground.serve.contract import Contract

PX = 32
CLASSES = ("normal", "dr3", "cataract")
SCREENING = Task("heads", (Head("AMD"), Head("DR", "grades", ("0", "1", "2", "3", "4")), Head("ratio", "quantity")))


def contract(task: Task | None = None, *, modality: str = "fundus", slices: str = "center", **more: object) -> Contract:
    """A contract of a small ViT."""
    asked = task or classification(CLASSES)
    return Contract(
        spec=ModelSpec("vit_demo_patch8", asked.outputs, image_px=PX),
        task=asked,
        ordered=False,
        preprocessing=Preprocessing(image_px=PX, store_px=128),
        slices=slices,
        modality=modality,  # type: ignore[arg-type]
        weights_sha256="0" * 64,
        **more,  # type: ignore[arg-type]
    )


class ByColor:
    """Answers each image by itself, by its mean color, and remembers what it was asked."""

    description = "by color"

    def __init__(self, outputs: int = 3) -> None:
        self._outputs = outputs
        self.batches: list[int] = []
        self.closed = False

    def outputs(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mean of a channel per output."""
        self.batches.append(len(images))
        means = images.mean(axis=(2, 3))  # (N, 3)
        return np.concatenate([means] * 3, axis=1)[:, : self._outputs].astype(np.float32)

    def close(self) -> None:
        """Remember it."""
        self.closed = True

"""A loader process that ends is named, in words that say what to do."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from eyeground.cli.exit_codes import EXIT_CODES, kind_of
from eyeground.data.augment import Augmentation
from eyeground.data.loader import LoaderLost, missing_loaders, training_batches
from eyeground.data.preprocessing import Preprocessing
from eyeground.data.sample import Sample

SAMPLES = [Sample(f"{number}.png", Path("d"), 0, str(number)) for number in range(4)]
HERE = os.getpid()


def deadly(sample: Sample) -> NDArray[np.uint8]:
    """What the system does to a loader when memory runs out."""
    if os.getpid() != HERE and sample.file == "2.png":
        os.kill(os.getpid(), signal.SIGKILL)
    return np.zeros((16, 16, 3), np.uint8)


def test_a_killed_loader_is_named() -> None:
    batches = training_batches(
        SAMPLES,
        pixels=deadly,
        preprocessing=Preprocessing(image_px=16),
        augmentation=Augmentation(),
        batch_size=2,
        epochs=1,
        seed=0,
        workers=1,
    )
    with (
        pytest.raises(
            LoaderLost, match=r"a loader process has ended \(DataLoader worker.*: set workers to fewer"
        ) as lost,
        missing_loaders(),
    ):
        list(batches)
    assert EXIT_CODES[kind_of(lost.value) or ""] == 1


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shape") as caught, missing_loaders():
        raise RuntimeError("shape")
    assert type(caught.value) is RuntimeError

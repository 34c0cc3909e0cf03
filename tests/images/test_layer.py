import numpy as np
from numpy.typing import NDArray

from eyeground.images.layer import layering, trace_layer


def slow_best(gray: NDArray[np.float32]) -> float:
    """The brightest path's sum, by trying every step from every place."""
    height, width = gray.shape
    sums = gray[:, 0].astype(float).tolist()
    for column in range(1, width):
        sums = [max(sums[max(0, row - 3) : row + 4]) + float(gray[row, column]) for row in range(height)]
    return max(sums)


def test_the_path_is_the_brightest_there_is() -> None:
    for seed in range(5):
        gray = np.random.default_rng(seed).random((23, 31)).astype(np.float32)
        path = trace_layer(gray)
        assert np.abs(np.diff(path)).max() <= 3
        assert np.isclose(gray[path, np.arange(31)].sum(), slow_best(gray), rtol=1e-5)


def test_a_tilted_layer_is_alike_along_its_path() -> None:
    y, x = np.mgrid[:90, :120]
    rng = np.random.default_rng(0)
    tilted = 200 * np.exp(-(((y - 25 - 0.3 * x) / 5) ** 2)) + 10 * rng.random(y.shape)
    found = layering(tilted.astype(np.float32))
    assert found["along"] > 0.98
    assert found["alike"] > 0.9
    assert layering((200 * rng.random(y.shape)).astype(np.float32))["alike"] < 0.3

"""The whole examination: a method that knows passes, planted ones are caught, and what was asked of whom."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import nn

from eyeground.data.preprocessing import Preprocessing
from eyeground.explain.planted import Maps, edges, middle, shuffled
from eyeground.explain.sanity import Examination, examine_methods
from eyeground.explain.weights_test import STAGES
from eyeground.model.engine import Images

SIDE, COUNT = 56, 24
PREPROCESSING = Preprocessing(image_px=SIDE, mean=(0.5,) * 3, std=(0.5,) * 3)


class Looker(nn.Module):
    """Sums up blue light through learned weights; with random ones it looks elsewhere in each image."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        weights = np.ones((SIDE, SIDE)) if seed is None else ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), 3)
        self.weights = nn.Parameter(torch.from_numpy(weights.astype(np.float32)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return ((images[:, 2] + 0.4) * self.weights).sum(dim=(1, 2))[:, None] / 40


def pictures() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A red field, a bright green spot that is no lesion, and a blue one that is."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    squares = np.zeros((COUNT, SIDE, SIDE, 3), np.uint8)
    squares[..., 0] = (np.hypot(x - 27.5, y - 27.5) < 26) * 120
    squares[..., 2] = (np.hypot(x - 27.5, y - 27.5) < 26) * rng.integers(50, 80, (COUNT, SIDE, SIDE))
    lesions = np.zeros((COUNT, SIDE, SIDE), bool)
    for number in range(COUNT):
        for channel, level in ((1, 255), (2, 220)):
            row, column = rng.integers(14, 42, 2)
            spot = np.hypot(x - column, y - row) < 4
            squares[number, spot, channel] = level
            if channel == 2:
                lesions[number] = spot
    return squares, lesions


def blue(network: Any, images: Images, directions: NDArray[np.float32]) -> NDArray[np.float32]:
    """What each pixel gives the looker, known exactly."""
    weights = network.weights.detach().numpy()
    return ndimage.gaussian_filter(np.maximum((images[:, 2] + 0.4) * weights, 0), (0, 1, 1)).astype(np.float32)


def score(squares: NDArray[np.uint8], number: int) -> NDArray[np.float64]:
    bright = (squares[..., 2].astype(np.float64) - 80).clip(min=0).sum(axis=(1, 2)) / 4000
    return np.asarray(bright / (1 + bright))


def examined(
    planted: dict[str, Maps] | None = None, methods: tuple[str, ...] = (), **more: Any
) -> tuple[Examination, list[str]]:
    squares, lesions = pictures()
    asked: list[str] = []

    def randomized(stage: str) -> nn.Module:
        asked.append(stage)
        return Looker(seed=len(asked)) if stage != "head" else Looker()

    settings: dict[str, Any] = {
        "preprocessing": PREPROCESSING,
        "lesions": lesions,
        "patients": [f"p{number // 2}" for number in range(COUNT)],
        "directions": np.ones((COUNT, 1), np.float32),
        "score": score,
        "resamples": 300,
        "most": 20,
    }
    found = examine_methods(Looker(), randomized, squares, methods=methods, planted=planted, **(settings | more))
    return found, asked


def test_a_method_that_knows_passes_and_every_planted_one_is_caught() -> None:
    found, asked = examined({"blue": blue, "shuffled": shuffled(blue), "edges": edges, "middle": middle})
    assert asked == list(STAGES)
    by_name = {each.method: each for each in found.methods}
    assert {name: (each.hits.passed, each.weights.passed) for name, each in by_name.items()} == {
        "blue": (True, True), "shuffled": (False, False), "edges": (False, False), "middle": (False, False),
    }  # fmt: skip
    assert all(each.planted for each in found.methods)
    assert by_name["blue"].weights.randomized["head"].value > 0.9
    assert by_name["blue"].curves.deletion_gain.low > 0
    assert by_name["blue"].curves.insertion_gain.low > 0
    assert (found.images, found.tested, found.side_px) == (COUNT, 20, SIDE)
    assert by_name["blue"].weights.images == by_name["blue"].curves.images == 20
    assert by_name["blue"].hits.images == COUNT


def test_edges_that_lie_on_lesions_hit_them_and_are_caught_by_the_weights() -> None:
    squares, lesions = pictures()
    rims = [np.clip(ndimage.binary_dilation(each, iterations=2) * 255, 0, 255) for each in lesions]
    assert squares.shape[0] == len(rims)
    calls: list[int] = []

    def rim(network: Any, images: Images, directions: NDArray[np.float32]) -> NDArray[np.float32]:
        calls.append(len(images))
        return ndimage.gaussian_filter((images[:, 2] > 0.5).astype(np.float32), (0, 1, 1))

    found, _ = examined({"rim": rim})
    assert found.methods[0].hits.passed
    assert not found.methods[0].weights.passed
    assert calls == [COUNT, 20, *[20] * len(STAGES)]


def test_methods_of_the_shelf_are_asked_and_those_that_cannot_serve_are_named() -> None:
    reports: list[tuple[int, int]] = []
    found, _ = examined(
        methods=("integrated_gradients", "attention_rollout"), most=20, progress=lambda *both: reports.append(both)
    )
    assert [(each.method, each.planted) for each in found.methods] == [("integrated_gradients", False)]
    assert found.methods[0].passed
    assert list(found.refused) == ["attention_rollout"]
    assert "Looker has none" in found.refused["attention_rollout"]
    assert reports == [(done, 7) for done in range(1, 8)]
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert told["methods"][0]["passed"] is True
    assert told["tolerance"] == pytest.approx(1 / 28)


def test_the_same_seed_gives_the_same_numbers() -> None:
    one, other = (examined({"blue": blue}, most=4)[0].to_json() for _ in range(2))
    assert one == other


def test_images_without_a_lesion_play_no_pointing_game() -> None:
    _, lesions = pictures()
    lesions[::2] = False
    found, _ = examined({"blue": blue}, lesions=lesions, most=4)
    assert found.methods[0].hits.images == COUNT // 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"patients": ["a"]}, {"directions": np.ones((3, 1), np.float32)}, {"lesions": np.zeros((COUNT, 9, 9), bool)},
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="needs lesions, a patient and a direction"):
        examined({"blue": blue}, **wrong)


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(LookupError, match="tea_leaves"):
        examined(methods=("tea_leaves",))


@pytest.mark.parametrize("maps", [edges, middle])
def test_planted_maps_do_not_look_at_the_network(maps: Callable[..., NDArray[np.float32]]) -> None:
    squares, _ = pictures()
    images = squares.transpose(0, 3, 1, 2).astype(np.float32)
    made = maps(None, images, np.ones((COUNT, 1), np.float32))
    assert made.shape == (COUNT, SIDE, SIDE)
    assert made.min() >= 0
    assert made.dtype == np.float32


def test_a_shuffled_map_has_the_same_cells_in_another_order_each_time() -> None:
    cells = np.random.default_rng(0).random((1, 14, 14)).astype(np.float32)
    broken = shuffled(lambda *_: np.kron(cells, np.ones((1, 4, 4), np.float32)))
    first, second = (broken(None, np.zeros((1, 3, SIDE, SIDE), np.float32), np.ones((1, 1))) for _ in range(2))
    assert np.allclose(np.sort(first[0, ::4, ::4].ravel()), np.sort(cells.ravel()))
    assert not np.array_equal(first, second)

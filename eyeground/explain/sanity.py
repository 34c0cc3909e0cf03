"""Whether heat maps of a network are worth anything: the pointing game, the randomized-weights test, and curves."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeground.data.preprocessing import Preprocessing, normalize
from eyeground.explain.anatomy import visible_field
from eyeground.explain.deletion import deletion_insertion, random_order
from eyeground.explain.explaining import heat_maps, methods_for, summaries
from eyeground.explain.mean_curves import MeanCurves, mean_curves
from eyeground.explain.planted import Maps
from eyeground.explain.pointing import TOLERANCE, Hits, hits
from eyeground.explain.weights_test import STAGES, WeightsTest, weights_test
from eyeground.model.engine import Images

# Squares (M, H, W, 3) and the number of the image whose answer is meant, to its scores (M,).
AnswerScore = Callable[[NDArray[np.uint8], int], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Examined:
    """What the tests say of one method.

    Args:
        method: Its name.
        summary: What it does, in a line.
        planted: Whether it is broken on purpose, to see the tests catch it.
        hits: The pointing game.
        weights: The randomized-weights test.
        curves: Deletion and insertion.

    Example:
        >>> from eyeground.evaluate.confidence import Estimate
        >>> from eyeground.explain.deletion import Curves
        >>> good, flat = Estimate(0.5, 0.4, 0.6), Curves(np.array([0.0, 1.0]), np.ones(2), np.ones(2))
        >>> Examined("grad_cam", "", False, Hits(good, good, good, good, good, 40, 40, 0),
        ...          WeightsTest(good, {}, good, 40, 40), MeanCurves(flat, flat, good, good, good, good, 9)).passed
        True

    References:
        Our own.
    """

    method: str
    summary: str
    planted: bool
    hits: Hits
    weights: WeightsTest
    curves: MeanCurves

    @property
    def passed(self) -> bool:
        """Whether it passes the pointing game and the randomized-weights test."""
        return self.hits.passed and self.weights.passed

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "method": self.method,
            "planted": self.planted,
            "passed": self.passed,
            "hits": self.hits.to_json(),
            "weights": self.weights.to_json(),
            "curves": self.curves.to_json(),
        }


@dataclass(frozen=True, eq=False)
class Examination:
    """What the tests say of all methods that can serve a network.

    Args:
        methods: Each of them, and what was planted.
        refused: The others: name to the reason.
        images: How many images there were.
        tested: On how many of them, evenly chosen, weights and curves were tested.
        side_px: Side of the square. Unit: px.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resamples and of random orders.

    Example:
        >>> Examination((), {"occlusion": "too slow"}, 0, 0, 224, 2000, 0).to_json()["refused"]
        {'occlusion': 'too slow'}

    References:
        Our own.
    """

    methods: tuple[Examined, ...]
    refused: Mapping[str, str]
    images: int
    tested: int
    side_px: int
    resamples: int
    seed: int

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "methods": [each.to_json() for each in self.methods],
            "refused": dict(self.refused),
            "images": self.images,
            "tested": self.tested,
            "side_px": self.side_px,
            "tolerance": TOLERANCE,
            "resamples": self.resamples,
            "seed": self.seed,
        }


def examine_methods(
    network: Any,
    randomized: Callable[[str], Any],
    squares: NDArray[np.uint8],
    *,
    preprocessing: Preprocessing,
    lesions: NDArray[np.bool_],
    patients: Sequence[str],
    directions: NDArray[np.float32],
    score: AnswerScore,
    methods: Sequence[str] | None = None,
    planted: Mapping[str, Maps] | None = None,
    most: int = 48,
    resamples: int = 2000,
    seed: int = 0,
    batch_size: int = 8,
    progress: Callable[[int, int], None] | None = None,
) -> Examination:
    """Put every method that can serve a network to the tests.

    Args:
        network: A torch module, such as ``TorchEngine.network``.
        randomized: Gives the network with layers drawn anew, by a stage of ``STAGES``.
        squares: What the network sees, shape (N, H, W, 3), at least one image.
        preprocessing: How squares are normalized.
        lesions: Where disease is in the same squares, shape (N, H, W); an image without any plays no pointing game.
        patients: Patient of each image, N names; the image's own where patients are not known.
        directions: What is explained of each image, shape (N, outputs).
        score: Gives the probability of the answer explained, for variants of an image.
        methods: Names on the shelf; None = all.
        planted: Methods broken on purpose, by name.
        most: On how many images, evenly chosen, weights and curves are tested: each asks six more maps of it.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resamples and of random orders.
        batch_size: Most images at once.
        progress: Called with the number of rounds done and the number in all.

    Returns:
        What the tests say, methods in the order of the shelf.

    Raises:
        ValueError: If the arrays do not fit each other.
        LookupError: If there is no such method.

    Example:
        >>> from eyeground.explain.planted import middle
        >>> from eyeground.model.spec import ModelSpec
        >>> from eyeground.model.torch.network import build
        >>> networks = {"all": build(ModelSpec("vit_demo_patch8", classes=2, image_px=32))}
        >>> rng = np.random.default_rng(0)
        >>> squares, lesions = rng.integers(0, 255, (2, 32, 32, 3)).astype(np.uint8), rng.random((2, 32, 32)) > 0.99
        >>> found = examine_methods(networks["all"], lambda stage: networks["all"], squares,
        ...                         preprocessing=Preprocessing(image_px=32), lesions=lesions, patients=["a", "b"],
        ...                         directions=np.eye(2, dtype=np.float32), score=lambda s, number: np.ones(len(s)),
        ...                         methods=["attention_rollout"], planted={"middle": middle}, resamples=20)
        >>> [(each.method, each.passed) for each in found.methods]
        [('attention_rollout', False), ('middle', False)]

    References:
        As in ``Hits``, ``WeightsTest`` and ``Curves``.
    """
    count = len(squares)
    if squares.shape != (*lesions.shape, 3) or not count == len(patients) == len(directions) or not count:
        raise ValueError(
            f"each image (N, H, W, 3) needs lesions, a patient and a direction: got {squares.shape}, {lesions.shape}, "
            f"{len(patients)} and {len(directions)}"
        )
    told = methods_for(network)
    wanted = list(told) if methods is None else list(methods)
    served: dict[str, Maps] = {
        name: partial(_maps_of, name, batch_size=batch_size) for name in wanted if not told.get(name)
    }
    broken = dict(planted or {})
    ways = served | broken
    rounds = _Rounds(len(ways) * (3 + len(STAGES)), progress)

    images = normalize(list(squares), preprocessing)
    chosen = np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(np.int64))
    few, few_directions = images[chosen], directions[chosen]
    heats = {name: rounds.after(way(network, images, directions)) for name, way in ways.items()}
    mirror = np.ascontiguousarray(few[..., ::-1])
    mirrored = {name: rounds.after(way(network, mirror, few_directions)) for name, way in ways.items()}
    anew: dict[str, dict[str, NDArray[np.float32]]] = {name: {} for name in ways}
    for stage in STAGES:
        forgetful = randomized(stage)
        for name, way in ways.items():
            anew[name][stage] = rounds.after(way(forgetful, few, few_directions))

    visible = np.stack([visible_field(square) for square in squares])
    few_patients = [patients[index] for index in chosen]
    side = squares.shape[1]
    chance = [
        deletion_insertion(partial(_scored, score, index), squares[index], random_order(side, seed=seed + index))
        for index in chosen.tolist()
    ]
    sure = {"resamples": resamples, "seed": seed}
    lines = summaries()
    examined = []
    for name in ways:
        own = [
            deletion_insertion(partial(_scored, score, index), squares[index], heats[name][index], seed=seed + index)
            for index in chosen.tolist()
        ]
        examined.append(
            Examined(
                name,
                lines.get(name, "broken on purpose: the tests must catch it"),
                name in broken,
                hits(heats[name], lesions, visible, patients, **sure),
                weights_test(heats[name][chosen], mirrored[name], anew[name], few_patients, **sure),
                rounds.after(mean_curves(own, chance, few_patients, **sure)),
            )
        )
    refused = {name: told[name] for name in wanted if told.get(name)}
    return Examination(tuple(examined), refused, count, len(chosen), side, resamples, seed)


class _Rounds:
    """Counts rounds done."""

    def __init__(self, total: int, progress: Callable[[int, int], None] | None) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def after(self, made: Any) -> Any:
        """Pass on what a round made."""
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)
        return made


def _maps_of(
    method: str, network: Any, images: Images, directions: NDArray[np.float32], *, batch_size: int
) -> NDArray[np.float32]:
    """Maps of a method of the shelf, as arrays."""
    targets = [""] * len(images)
    made = heat_maps(network, images, directions, method=method, targets=targets, batch_size=batch_size)
    return np.stack([each.values for each in made])


def _scored(score: AnswerScore, index: int, squares: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Score variants of one image."""
    return score(squares, index)

"""Features judged by the labels of nearest neighbors, while pre-training goes on."""

import math

import numpy as np

from eyeground.data.loader import EvaluationImages
from eyeground.evaluate.probe import knn_probe
from eyeground.model.engine import Learning
from eyeground.model.processes import ALONE, Processes
from eyeground.train.loop import Verdict
from eyeground.train.sharing import rows_of_all


def judge_by_neighbors(
    engine: Learning, images: EvaluationImages, classes: int, *, batch_size: int, processes: Processes = ALONE
) -> Verdict:
    """Judge features by the labels of each image's nearest neighbors, of other patients.

    Args:
        engine: Gives features.
        images: Labelled images.
        classes: How many classes there are.
        batch_size: Images per batch, of all processes together.
        processes: Who works; asked in all of them at once.

    Returns:
        Mean recall over the classes that are asked about, and what guessing would give, as scores; nothing where there
        are too few patients or classes. It selects nothing.

    Example:
        >>> from eyeground.data.preprocessing import Preprocessing
        >>> none = EvaluationImages([], pixels=lambda s: np.zeros((8, 8, 3), np.uint8), preprocessing=Preprocessing())
        >>> judge_by_neighbors(None, none, 2, batch_size=4).scores
        {}

    References:
        Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", CVPR 2018.
    """
    samples = images.samples
    if len({sample.patient for sample in samples}) < 4:
        return Verdict(math.nan, {}, math.nan)
    features = rows_of_all(images, engine.features, batch_size=batch_size, processes=processes)
    truth = np.array([sample.label for sample in samples])
    patients = sorted({sample.patient for sample in samples})
    # Every second patient asks, the others answer.
    asks = np.isin([sample.patient for sample in samples], patients[::2])
    present = np.unique(truth[asks])
    if not asks.any() or asks.all() or len(present) < 2:
        return Verdict(math.nan, {}, math.nan)
    scores = knn_probe(features[~asks], truth[~asks], features[asks], classes=classes).scores
    # Votes count by how rare a class is: among mostly healthy eyes every neighbor of a sick one may be healthy.
    share = np.bincount(truth[~asks], minlength=classes) / (~asks).sum()
    said = (scores / np.maximum(share, 1e-9)).argmax(axis=1)
    recall = [float((said[truth[asks] == k] == k).mean()) for k in present]
    return Verdict(math.nan, {"knn_accuracy": float(np.mean(recall)), "knn_chance": 1 / len(present)}, math.nan)

"""Features of many dimensions laid out on a plane, to be looked at."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

_FIRST = 50  # dimensions that PCA leaves for t-SNE, as its author advises
_PERPLEXITY = 30.0


def embedding_map(
    features: NDArray[np.floating[Any]], method: Literal["pca", "tsne"] = "tsne", *, seed: int = 0
) -> NDArray[np.float64]:
    """Lay features out on a plane: by their two widest directions, or so that neighbors stay neighbors.

    In a t-SNE map near points are alike; the sizes of groups and the distances between them mean nothing. UMAP is not
    offered: it needs a package that is not among ours.

    Args:
        features: Shape (N, D), N at least 3.
        method: ``"pca"``, or ``"tsne"``: PCA to 50 dimensions, then t-SNE.
        seed: Equal seeds give equal maps.

    Returns:
        Coordinates, shape (N, 2).

    Raises:
        ValueError: If the shape is another, there are fewer than 3 rows, a value is NaN or infinite, or the method is
            not known.

    Example:
        >>> embedding_map(np.eye(5), "pca").shape
        (5, 2)

    References:
        van der Maaten & Hinton, "Visualizing data using t-SNE", JMLR 2008;9:2579; Wattenberg et al., "How to use t-SNE
        effectively", Distill 2016, for how to read it.
    """
    if features.ndim != 2 or len(features) < 3 or not features.shape[1]:
        raise ValueError(f"features have the shape {features.shape}: (N, D) with at least 3 rows is needed")
    if not np.isfinite(features).all():
        raise ValueError("a feature is NaN or infinite; these weights or images are spoiled")
    if method not in ("pca", "tsne"):
        raise ValueError(f"method is {method!r}: it is 'pca' or 'tsne'")
    from sklearn.decomposition import PCA

    rows = features.astype(np.float64)
    rows -= rows.mean(axis=0)
    if not rows.any():
        return np.zeros((len(rows), 2))  # all images alike: PCA would divide by their spread
    wanted = 2 if method == "pca" else _FIRST
    flat: NDArray[np.float64] = PCA(min(wanted, *rows.shape), random_state=seed).fit_transform(rows)
    if method == "pca":
        return np.pad(flat, ((0, 0), (0, 2 - flat.shape[1])))
    from sklearn.manifold import TSNE

    perplexity = min(_PERPLEXITY, (len(rows) - 1) / 3)
    layout: NDArray[np.float64] = TSNE(
        2, perplexity=perplexity, init="pca" if flat.shape[1] > 1 else "random", random_state=seed, n_jobs=1
    ).fit_transform(flat)
    return layout.astype(np.float64)

"""Maps of features: PCA against the singular values, t-SNE by its neighbors, the picture by its words."""

import numpy as np
import pytest
from numpy.typing import NDArray

from eyeground.evaluate.embedding import embedding_map
from eyeground.evaluate.embedding_plots import embedding_panels


def groups(rows: int = 60, width: int = 70) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Three far groups in many dimensions."""
    rng = np.random.default_rng(0)
    group = np.arange(rows) % 3
    return (rng.normal(size=(rows, width)) + 8 * np.eye(3, width)[group]).astype(np.float32), group


def test_pca_equals_the_singular_value_decomposition() -> None:
    x, _ = groups()
    centered = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    u, s, _ = np.linalg.svd(centered, full_matrices=False)
    found = embedding_map(x, "pca")
    np.testing.assert_allclose(np.abs(found), np.abs(u[:, :2] * s[:2]), rtol=1e-6, atol=1e-6)


def test_tsne_keeps_groups_together_and_is_the_same_every_time() -> None:
    x, group = groups()
    found = embedding_map(x, "tsne", seed=3)
    assert found.shape == (60, 2)
    distance = np.linalg.norm(found[:, None] - found[None], axis=2) + np.diag(np.full(60, np.inf))
    assert (group[distance.argmin(axis=1)] == group).mean() == 1.0
    assert (embedding_map(x, "tsne", seed=3) == found).all()


@pytest.mark.parametrize("method", ["pca", "tsne"])
@pytest.mark.parametrize("shape", [(3, 5), (4, 1), (7, 2)])
def test_small_sets_have_a_map(method: str, shape: tuple[int, int]) -> None:
    x = np.random.default_rng(1).normal(size=shape)
    assert np.isfinite(embedding_map(x, method)).all()  # type: ignore[arg-type]


def test_images_that_are_all_alike_lie_on_one_point() -> None:
    assert (embedding_map(np.ones((9, 4)), "tsne") == 0).all()


@pytest.mark.parametrize(
    ("features", "method", "message"),
    [
        (np.zeros((2, 4)), "pca", "at least 3 rows"),
        (np.zeros(4), "pca", "at least 3 rows"),
        (np.full((4, 4), np.nan), "pca", "NaN"),
        (np.eye(4), "umap", "'pca' or 'tsne'"),
    ],
)
def test_what_cannot_be_laid_out_is_refused(features: NDArray[np.float64], method: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        embedding_map(features, method)  # type: ignore[arg-type]


def test_the_picture_names_what_it_colors() -> None:
    x, group = groups()
    places = embedding_map(x, "pca")
    drawn = embedding_panels(
        places, labels=group, classes=("normal", "glaucoma", "白内障"), eyes=("OD", "") * 30, sources=("odir",) * 60
    )
    for word in ("label", "eye", "source", "normal", "glaucoma", "白内障", "OD", "not known", "odir"):
        assert f">{word}" in drawn
    assert "OS" not in drawn.replace("CLOSEPOLY", "")
    again = embedding_panels(
        places, labels=group, classes=("normal", "glaucoma", "白内障"), eyes=("OD", "") * 30, sources=("odir",) * 60
    )
    assert drawn == again


def test_many_sources_and_unlabelled_rows_are_gathered() -> None:
    x, group = groups()
    group = np.where(np.arange(60) < 10, -1, group)
    drawn = embedding_panels(
        embedding_map(x, "pca"), labels=group, classes=("a", "b", "c"), eyes=("",) * 60,
        sources=[f"site {row % 15:02}" for row in range(60)],
    )  # fmt: skip
    assert "6 others (" in drawn
    assert "site 08" in drawn
    assert "not known" in drawn


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="3 places"):
        embedding_panels(np.zeros((3, 2)), labels=np.zeros(2, np.int64), classes=("a", "b"), eyes=("",), sources=())

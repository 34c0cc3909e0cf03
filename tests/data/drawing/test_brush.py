"""The two brushes."""

import numpy as np
import pytest

from eyeground.data.drawing.brush import smooth_noise, stamp


@pytest.mark.parametrize("cells", [(1, 1), (3, 5), (40, 40), (200, 7)])
def test_smooth_noise_has_the_asked_shape_and_spread(cells):
    fields = [smooth_noise(np.random.default_rng(seed), (60, 90), cells) for seed in range(40)]
    assert fields[0].shape == (60, 90)
    assert fields[0].dtype == np.float32
    assert abs(np.mean(fields)) < 0.3
    assert 0.6 < np.std(fields) < 1.5


def test_smooth_noise_of_fewer_cells_is_smoother():
    rough, smooth = (smooth_noise(np.random.default_rng(1), (80, 80), (cells, cells)) for cells in (40, 4))
    assert np.abs(np.diff(smooth)).mean() < 0.3 * np.abs(np.diff(rough)).mean()


def test_a_stamp_covers_its_ellipse_and_keeps_what_is_stronger():
    layer = np.zeros((60, 60), np.float32)
    layer[30, 30] = 2.0
    stamp(layer, (30.0, 30.0), 20.0, aspect=0.5, angle=np.pi / 2, edge=0.05)
    assert layer[30, 30] == 2.0
    assert layer[45, 30] == 1.0  # the longer axis points down
    assert layer[30, 45] == 0.0
    assert (layer > 0.5).sum() == pytest.approx(np.pi * 20 * 10, rel=0.05)


def test_a_stamp_outside_the_layer_leaves_it_alone():
    layer = np.zeros((20, 20), np.float32)
    stamp(layer, (-50.0, 400.0), 5.0)
    assert not layer.any()
    stamp(layer, (0.0, 0.0), 5.0)  # half outside
    assert layer[0, 0] == 1.0

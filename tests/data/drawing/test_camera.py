"""The virtual cameras."""

import numpy as np
import pytest
from scipy import ndimage

from eyeground.data.drawing.anatomy import draw_anatomy
from eyeground.data.drawing.camera import CAMERAS, aim, photograph


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda camera: camera.name)
def test_every_camera_sees_disc_and_fovea_in_one_round_field(camera):
    for seed in range(12):
        anatomy = draw_anatomy(seed, "OD" if seed % 2 else "OS")
        view = aim(np.random.default_rng(seed), camera, anatomy, 128)
        points = view.to_px(np.array([(0.0, 0.0), anatomy.disc]))
        assert view.inside(points, 2.0).all()
        assert np.allclose(points[0], view.fovea_px)
        _, pieces = ndimage.label(view.field > 0.5)
        assert pieces == 1
        assert 0.3 < view.field.mean() < 0.95


@pytest.mark.parametrize("eye", ["OD", "OS"])
def test_degrees_and_pixels_are_each_others_inverse(eye):
    view = aim(np.random.default_rng(2), CAMERAS[1], draw_anatomy(2, eye), 100)
    x, y = view.degrees()
    px = view.to_px(np.array([[x[30, 70], y[30, 70]]], dtype=np.float64))[0]
    assert px == pytest.approx([70, 30], abs=1e-3)


def test_cameras_differ_in_color_and_the_surround_stays_dark():
    colors = []
    for camera in CAMERAS:
        view = aim(np.random.default_rng(2), camera, draw_anatomy(2, "OD"), 100)
        scene = np.full((3, 100, 100), 0.4, np.float32)
        pixels = photograph(scene, view, camera, np.random.default_rng(2)).astype(float)
        inside = pixels[view.field > 0.99].mean(axis=0)
        colors.append(inside / inside.sum())
        assert pixels[view.field < 0.01].mean() < 12
    distances = [np.abs(a - b).sum() for i, a in enumerate(colors) for b in colors[:i]]
    assert min(distances) > 0.01
    assert max(distances) > 0.08

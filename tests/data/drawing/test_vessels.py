"""The vessel tree."""

import numpy as np
import pytest

from eyeground.data.drawing.anatomy import View, draw_anatomy
from eyeground.data.drawing.signs import Signs
from eyeground.data.drawing.vessels import grow_vessels, rasterize


def view(size: int = 200) -> View:
    middle = size / 2.0
    field = np.ones((size, size), np.float32)
    return View(size, size / 45.0, (middle, middle), (middle, middle), middle, 1, 0.0, field)


@pytest.mark.parametrize("seed", range(6))
def test_no_vessel_enters_the_foveal_avascular_zone(seed):
    tree = grow_vessels(draw_anatomy(seed, "OD"), Signs())
    assert np.hypot(tree.points[:, 0], tree.points[:, 1]).min() >= 1.9
    assert len(tree.points) == len(tree.width) == tree.starts[-1]
    assert len(tree.vein) == len(tree.starts) - 1
    assert (np.diff(tree.starts) > 1).all()


def test_arteries_are_finer_than_veins_and_both_taper_away_from_the_disc():
    anatomy = draw_anatomy(3, "OD")
    tree = grow_vessels(anatomy, Signs())
    widest = [max(tree.width[tree.starts[i]] for i in np.flatnonzero(tree.vein == vein)) for vein in (False, True)]
    assert widest[0] < 0.9 * widest[1]
    trunk = slice(tree.starts[-2], tree.starts[-1])
    assert tree.width[trunk][-1] < 0.6 * tree.width[trunk][0]
    away = np.hypot(*(tree.points[trunk][0] - anatomy.disc))
    assert away < anatomy.disc_radius[1]


def test_signs_change_the_caliber_but_not_the_rest_of_the_tree():
    anatomy = draw_anatomy(3, "OS")
    healthy = grow_vessels(anatomy, Signs())
    thin = grow_vessels(anatomy, Signs(artery_width=0.5, vein_width=(0.5,) * 4))
    assert np.array_equal(healthy.points, thin.points)
    assert np.allclose(thin.width, 0.5 * healthy.width)
    one = grow_vessels(anatomy, Signs(winding=(0.5, 0.0, 0.0, 0.0)))
    moved = len(one.points) != len(healthy.points) or not np.allclose(one.points, healthy.points)
    assert moved
    arteries = rasterize(healthy, view())[0]
    assert np.array_equal(arteries, rasterize(one, view())[0])


def test_thicker_vessels_cover_more():
    anatomy = draw_anatomy(5, "OD")
    cover = [rasterize(grow_vessels(anatomy, Signs(vein_width=(f,) * 4)), view(400))[1].sum() for f in (0.6, 1.0, 1.5)]
    assert cover[0] < cover[1] < cover[2]

"""Paints a fundus phantom: background, disc, vessels, lesions, then the camera."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from eyeground.data.drawing.anatomy import Anatomy, View, draw_anatomy
from eyeground.data.drawing.brush import smooth_noise
from eyeground.data.drawing.camera import CAMERAS, aim, photograph
from eyeground.data.drawing.lesions import draw_lesions
from eyeground.data.drawing.signs import Signs, draw_signs
from eyeground.data.drawing.vessels import grow_vessels, rasterize

Array = NDArray[np.float32]
# Optical density per unit of pigment or blood, for red, green and blue: both take blue and green, blood spares red.
_MELANIN = (0.55, 0.85, 0.8)
_CHOROID = (0.03, 0.26, 0.2)
_VEIN = (0.16, 0.68, 0.4)
_ARTERY = (0.03, 0.46, 0.36)
_BLOOD = (0.30, 1.0, 0.7)
# A cup never quite reaches the disc's margin. Unit: the disc's radius.
_GREATEST_REACH = 0.96


def paint(
    disease: str, *, seed: int, patient_seed: int, eye: Literal["OD", "OS"], size_px: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], tuple[float, float], tuple[float, float], str, float]:
    """Paint one fundus photograph.

    Eye, camera, lesions and noise come from separate random streams, so that the same seed shows the same eye through
    the same camera whatever the disease: nothing but the disease can tell two classes apart.

    Args:
        disease: A name of ``eyeground.data.phantom.FUNDUS_DISEASES``.
        seed: Seed of view, lesions and noise, >= 0.
        patient_seed: Seed of the patient and of the camera at the visit, >= 0.
        eye: ``"OD"`` or ``"OS"``.
        size_px: Width and height. Unit: pixels.

    Returns:
        Pixels (H, W, 3) uint8, lesion mask (H, W), disc (x, y), fovea (x, y), name of the camera, and the vertical
        cup-to-disc ratio as it was painted, (0, 1).

    Example:
        >>> pixels, mask, disc, fovea, camera, ratio = paint("normal", seed=1, patient_seed=1, eye="OD", size_px=64)
        >>> pixels.shape, bool(mask.any()), disc[0] > fovea[0], 0.08 <= ratio <= 0.55
        ((64, 64, 3), False, True, True)

    References:
        Our own.
    """
    anatomy = draw_anatomy(patient_seed, eye)
    camera = CAMERAS[int(np.random.default_rng([patient_seed, 13]).integers(len(CAMERAS)))]
    side = 1 if eye == "OD" else 2
    view = aim(np.random.default_rng([seed, 14, side]), camera, anatomy, size_px)
    disease_rng = np.random.default_rng([seed, 15, side])
    signs, quadrants = draw_signs(disease, disease_rng)
    lesions = draw_lesions(disease, disease_rng, anatomy=anatomy, view=view, signs=signs, quadrants=quadrants)
    scene = _background(anatomy, view)
    scene *= 1.0 + lesions.dome
    disc_mask, cup_disc_ratio = _disc(scene, anatomy, view, signs)
    _lay(scene, lesions.deep, lesions.deep_color)
    arteries, veins = rasterize(grow_vessels(anatomy, signs), view)
    if signs.swelling:  # a swollen margin buries the vessels that cross it
        buried = 1.0 - np.float32(0.55 * signs.swelling) * _ring(anatomy, view)
        arteries, veins = arteries * buried, veins * buried
    for channel in range(3):
        depth = arteries * np.float32(_ARTERY[channel]) + veins * np.float32(_VEIN[channel])
        depth += lesions.blood * np.float32(_BLOOD[channel])
        scene[channel] *= np.exp(-depth)
    _lay(scene, lesions.fluffy, (0.97, 0.88, 0.68))
    _lay(scene, lesions.pigment, (0.10, 0.07, 0.06))
    _lay(scene, lesions.pool * np.float32(0.93), (0.34, 0.06, 0.04))
    pixels = photograph(scene, view, camera, np.random.default_rng([seed, 16, side]), haze=signs.haze)
    mask = lesions.mask
    if disease in ("glaucoma", "disc_swelling"):
        mask = (mask | disc_mask) & (view.field > 0.99)
    disc = view.to_px(np.array([anatomy.disc]))[0]
    return pixels, mask, (float(disc[0]), float(disc[1])), view.fovea_px, camera.name, cup_disc_ratio


def _background(anatomy: Anatomy, view: View) -> Array:
    """Paint pigment, choroid, macula and nerve-fiber sheen, shape (3, H, W)."""
    rng = np.random.default_rng([anatomy.texture_seed, 31])
    size = view.size_px
    shape, cells = (size, size), size / view.px_per_degree  # cells of one degree
    x, y = view.degrees()
    r2 = x * x + y * y
    outside = 1.0 - np.exp(-r2 / np.float32(70.0))  # the macula hides the choroid
    blond = np.float32(max(0.0, 0.85 - anatomy.melanin))
    # Choroidal vessels: the crests of a smooth field are a net of ribbons.
    net = np.abs(
        smooth_noise(rng, shape, (cells * 0.5, cells * 0.3))
        + np.float32(0.25) * smooth_noise(rng, shape, (cells, cells))
    )
    net = np.clip(1.0 - net * np.float32(1.5), 0.0, 1.0) - np.float32(0.4)
    net *= np.clip(0.55 + 0.5 * smooth_noise(rng, shape, (cells * 0.12, cells * 0.12)), 0.0, 1.2)
    clouds = smooth_noise(rng, shape, (cells * 0.1, cells * 0.1))
    grain = smooth_noise(rng, shape, (cells * 2.2, cells * 2.2))
    macula = np.exp(-r2 / np.float32(2.0 * rng.uniform(2.4, 3.6) ** 2))
    pit = np.exp(-r2 / np.float32(2.0 * rng.uniform(0.9, 1.4) ** 2))
    melanin = np.float32(anatomy.melanin) * (1.0 + np.float32(0.15) * clouds) + np.float32(0.035) * grain
    melanin += np.float32(rng.uniform(0.18, 0.34)) * macula + np.float32(rng.uniform(0.16, 0.36)) * pit
    # The posterior pole as a whole is darker than the periphery in many eyes.
    melanin += np.float32(rng.uniform(0.0, 0.3)) * np.exp(-r2 / np.float32(110.0))
    patches = np.float32(0.3) * smooth_noise(rng, shape, (cells * 0.07, cells * 0.07))
    choroid = np.float32(anatomy.redness) + patches + blond * outside * net * np.float32(1.4)
    # Nerve fibers: a pale sheen above and below the disc, finely striped.
    dx, dy = x - np.float32(anatomy.disc[0] - 2.5), np.abs(y - np.float32(anatomy.disc[1])) - np.float32(4.5)
    sheen = np.exp(-(dx * dx) / 40.0 - (dy * dy) / 9.0) * np.float32(0.07 * rng.uniform(0.1, 1.0))
    sheen *= 1.0 + np.float32(0.2) * smooth_noise(rng, shape, (cells * 2.0, cells * 0.6))
    # Reflexes of a young retina: a spark in the pit and a ring around the macula.
    ring_at, ring_width = rng.uniform(2.6, 3.6), 0.45
    distance = np.sqrt(r2)
    ring = np.exp(-(((distance - np.float32(ring_at)) / np.float32(ring_width)) ** 2))
    ring *= np.clip(0.4 + smooth_noise(rng, shape, (cells * 0.3, cells * 0.3)), 0.0, 1.0)
    spark = np.exp(-r2 / np.float32(0.05))
    glint = np.float32(anatomy.reflex) * (np.float32(0.09) * ring + np.float32(0.14) * spark) + sheen
    scene = np.empty((3, size, size), np.float32)
    for channel, base in enumerate((0.92, 0.53, 0.26)):
        depth = melanin * np.float32(_MELANIN[channel]) + choroid * np.float32(_CHOROID[channel])
        if channel == 2:
            depth += np.float32(0.35) * macula  # macular pigment takes blue
        scene[channel] = np.float32(base) * np.exp(-depth) + glint * np.float32((0.8, 1.0, 0.9)[channel])
    return scene


def _disc(scene: Array, anatomy: Anatomy, view: View, signs: Signs) -> tuple[NDArray[np.bool_], float]:
    """Paint the optic disc in place; give the mask of what is diseased (cup and lost rim, or margin), and the ratio."""
    center = view.to_px(np.array([anatomy.disc]))[0]
    reach = 3.0 * anatomy.disc_radius[1] * view.px_per_degree
    top, left = (max(0, int(center[axis] - reach)) for axis in (1, 0))
    window = (slice(top, int(center[1] + reach) + 1), slice(left, int(center[0] + reach) + 1))
    x, y = (grid[window] for grid in view.degrees())
    rng = np.random.default_rng([anatomy.texture_seed, 32])
    shape = x.shape
    swell = np.float32(signs.swelling)
    dx = (x - np.float32(anatomy.disc[0])) / np.float32(anatomy.disc_radius[0])
    dy = (y - np.float32(anatomy.disc[1])) / np.float32(anatomy.disc_radius[1])
    d = np.hypot(dx, dy) * (1.0 + np.float32(0.025) * smooth_noise(rng, shape, (6, 6)))
    d = np.asarray(d, np.float32)
    box = scene[:, window[0], window[1]]

    # The retina thins toward the disc and lets more light back.
    box *= 1.0 + np.float32(0.15) * np.exp(-((d / np.float32(1.9)) ** 2))
    # Pigment is heaped at the margin of many discs.
    heap = np.float32(rng.uniform(0.05, 0.25)) * (1.0 - swell)
    box *= 1.0 - heap * np.exp(-(((d - np.float32(1.08)) / np.float32(0.07)) ** 2))
    crescent = np.clip((np.float32(1.12 + 0.25 * anatomy.crescent) - d) / 0.1, 0, 1) * np.clip(-dx * 1.6 - 0.5, 0, 1)
    _lay(box, crescent * np.float32(min(0.75, anatomy.crescent)), (0.95, 0.80, 0.52))
    # Raised margin: a pale, striped collar that hides where the disc ends.
    stripes = smooth_noise(rng, shape, (30, 30)) * np.float32(0.15)
    collar = np.exp(-((d / np.float32(1.35)) ** 4)) * (1.0 + stripes)
    _lay(box, collar * swell * np.float32(0.5), (0.97, 0.66, 0.46))

    soft = np.float32(0.10) + np.float32(0.75) * swell
    body = np.clip((1.0 - d) / soft + 0.5, 0.0, 1.0)
    body = body * body * (3.0 - 2.0 * body)
    warm = rng.uniform(0.0, 1.0)
    rim = np.array([1.12, 0.75 - 0.12 * warm, 0.42 - 0.08 * warm])
    rim = rim + signs.pallor * (np.array([1.05, 0.88, 0.60]) - rim)
    rim = rim + signs.swelling * (np.array([0.98, 0.56, 0.36]) - rim) * 0.8
    shade = np.exp(-0.35 * anatomy.melanin)  # in a dark fundus the exposure is set for the fundus, not the disc
    rim = rim * shade
    # The nasal rim is thicker and redder, the temporal one paler.
    tint = 1.0 - np.float32(0.05) * np.clip(dx, -1, 1)
    opacity = body * (np.float32(0.92) - np.float32(0.35) * swell)
    for channel in range(3):
        box[channel] += opacity * (np.float32(rim[channel]) * (tint if channel else 1.0) - box[channel])

    ratio = anatomy.cup_ratio if signs.cup_ratio is None else max(signs.cup_ratio, anatomy.cup_ratio * 1.15)
    if signs.swelling:
        ratio = anatomy.cup_ratio * (1.0 - 0.9 * signs.swelling)  # swelling fills the cup
    ratio = min(ratio, 0.93)
    cup = _cup(dx, dy, d, np.float32(ratio), signs.notch, signs.notch_pole)
    # Soft slopes in healthy cups, steep ones in glaucoma.
    slope = np.float32(0.35 if signs.cup_ratio is None or signs.swelling else 0.2)
    pit = np.clip((1.0 - cup) / slope + 0.35, 0.0, 1.0) * body
    strength = np.float32(0.85 * (1.0 - 0.75 * signs.swelling))
    mottle = 1.0 + np.float32(0.03) * smooth_noise(rng, shape, (12, 12))
    for channel, value in enumerate((1.18, 1.03, 0.69)):
        box[channel] += pit * strength * (np.float32(value * shade) * mottle - box[channel])

    mask = np.zeros(view.field.shape, np.bool_)
    if signs.swelling:
        mask[window] = d < 1.0 + 0.5 * signs.swelling
    elif signs.cup_ratio is not None:
        # Cup and the rim it has eaten; the border is where the healthy cup of the same eye would be left behind.
        mask[window] = (cup < 1.05) & (d < 0.98)
    # From pole to pole, as it is measured: a notch takes the cup farther at one of them.
    return mask, (ratio + min(ratio + signs.notch, _GREATEST_REACH)) / 2


def _cup(dx: Array, dy: Array, d: Array, ratio: np.float32, notch: float, pole: int) -> Array:
    """Give the distance from the cup's center over its radius: 1 at the cup's border."""
    reach = ratio + np.float32(notch) * np.clip(dy * np.float32(pole) / np.maximum(d, 1e-3), 0.0, 1.0) ** 4
    reach = np.minimum(reach, np.float32(_GREATEST_REACH))
    # The cup sits a little temporal, and there is no room for that in a large one.
    shift = np.float32(0.10) * (1.0 - ratio)
    return np.asarray(np.hypot((dx + shift) / np.float32(0.94), dy) / reach, np.float32)


def _ring(anatomy: Anatomy, view: View) -> Array:
    """Give a soft ring at the disc's margin, shape (H, W)."""
    x, y = view.degrees()
    d = np.hypot(x - np.float32(anatomy.disc[0]), y - np.float32(anatomy.disc[1])) / np.float32(anatomy.disc_radius[1])
    return np.asarray(np.exp(-(((d - np.float32(1.0)) / np.float32(0.35)) ** 2)), np.float32)


def _lay(scene: Array, opacity: Array, color: tuple[float, float, float]) -> None:
    """Lay an opaque color over a scene (3, H, W), in place."""
    if not opacity.any():
        return
    for channel in range(3):
        scene[channel] += opacity * (np.float32(color[channel]) - scene[channel])

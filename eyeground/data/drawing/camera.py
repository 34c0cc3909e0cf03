"""The virtual cameras: field of view, light, color, sharpness and noise, drawn without a look at the disease."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from eyeground.data.drawing.anatomy import Anatomy, View
from eyeground.data.drawing.brush import smooth_noise, stamp


@dataclass(frozen=True)
class Camera:
    """A make of camera, with what its photographs have in common.

    Args:
        name: Name, as the table gives it.
        sites: Clinics that own one.
        white_balance: Factor on red, green and blue.
        saturation: Color strength; 1 leaves it.
        gamma: Tone curve, output = input ** gamma.
        field_degrees: Least and greatest angle of view.
        radius: Least and greatest radius of the field over the picture's width.
        flat: Chance that the field is cut at top and bottom.
        notch: Chance of the orientation notch.
        rim: Color added at the border of the field.
        blur_degrees: Standard deviation of the blur. Unit: degrees.
        noise: Standard deviation of the noise, over full scale.
        surround: Level of the dark surround, over full scale.
        jpeg_quality: JPEG quality it saves with, 1 to 95.

    Example:
        >>> CAMERAS[0].name
        'Aster 45'

    References:
        Our own; invented makes.
    """

    name: str
    sites: tuple[str, ...]
    white_balance: tuple[float, float, float]
    saturation: float
    gamma: float
    field_degrees: tuple[float, float]
    radius: tuple[float, float]
    flat: float
    notch: float
    rim: tuple[float, float, float]
    blur_degrees: float
    noise: float
    surround: float
    jpeg_quality: int


CAMERAS: tuple[Camera, ...] = (
    Camera("Aster 45", ("north", "south"), (1.0, 0.97, 0.95), 1.0, 0.95, (43, 47), (0.44, 0.49), 0.2, 0.8,
           (0.0, 0.0, 0.0), 0.035, 0.010, 0.0, 92),
    Camera("Brook 50", ("north",), (1.04, 1.0, 0.75), 1.02, 1.0, (48, 52), (0.47, 0.56), 0.9, 0.2,
           (0.02, 0.14, 0.12), 0.06, 0.014, 0.012, 85),
    Camera("Cedar NM", ("south", "east"), (1.0, 0.92, 1.55), 0.88, 0.85, (43, 46), (0.38, 0.44), 0.05, 0.9,
           (0.0, 0.0, 0.0), 0.05, 0.012, 0.004, 88),
    Camera("Delta 40", ("east",), (0.92, 1.08, 0.98), 0.85, 1.1, (39, 43), (0.45, 0.50), 0.5, 0.0,
           (0.10, 0.12, 0.14), 0.08, 0.020, 0.02, 78),
    Camera("Elm Pocket", ("south", "field"), (1.06, 1.06, 1.35), 0.72, 0.78, (38, 45), (0.46, 0.60), 0.8, 0.0,
           (0.02, 0.07, 0.12), 0.07, 0.022, 0.008, 82),
)  # fmt: skip


def aim(rng: np.random.Generator, camera: Camera, anatomy: Anatomy, size_px: int) -> View:
    """Point a camera at an eye: scale, centering, roll and the shape of the field.

    Disc and fovea always lie in the field, as in a photograph a screening program accepts.

    Args:
        rng: Source of the random numbers.
        camera: The camera.
        anatomy: The eye.
        size_px: Width and height of the photograph. Unit: pixels.

    Returns:
        The view.

    Example:
        >>> from eyeground.data.drawing.anatomy import draw_anatomy
        >>> eye = draw_anatomy(1, "OS")
        >>> view = aim(np.random.default_rng(0), CAMERAS[0], eye, 64)
        >>> bool(view.to_px(np.array([eye.disc]))[0, 0] < view.fovea_px[0])
        True

    References:
        Our own.
    """
    middle = (size_px - 1) / 2.0
    radius = size_px * float(rng.uniform(*camera.radius))
    scale = 2.0 * radius / float(rng.uniform(*camera.field_degrees))
    half_width = min(radius, middle) / scale  # degrees; a field wider than the picture is cut at the sides
    center_x = middle + float(rng.normal(0.0, 0.008)) * size_px
    center_y = middle + float(rng.normal(0.0, 0.008)) * size_px
    nasal = 1 if anatomy.eye == "OD" else -1
    roll = float(rng.normal(0.0, 0.05))
    # Where the optical axis meets the retina: between fovea and disc, nearer to the fovea.
    room = max(0.5, half_width - 4.0)
    aim_x = float(np.clip(rng.normal(6.0, 3.2), anatomy.disc[0] - room, room))
    aim_y = float(np.clip(rng.normal(0.0, 1.8), -4.0, 4.0))
    cos, sin = math.cos(roll), math.sin(roll)
    fovea = (
        center_x - nasal * (aim_x * cos - aim_y * sin) * scale,
        center_y - (aim_x * sin + aim_y * cos) * scale,
    )
    line = np.arange(size_px, dtype=np.float32)
    dx, dy = (line - np.float32(center_x))[None, :], (line - np.float32(center_y))[:, None]
    signed = np.float32(radius) - np.hypot(dx, dy)  # pixels to the border, above 0 inside
    notched, notch_angle, notch_form = rng.random() < camera.notch, float(rng.normal(-0.75, 0.04)), rng.random()
    if notched:
        cos_n, sin_n = np.float32(math.cos(notch_angle)), np.float32(math.sin(notch_angle))
        out, along = dx * cos_n + dy * sin_n - np.float32(radius), dy * cos_n - dx * sin_n
        big = np.float32(size_px * 0.018)
        tab = big - np.maximum(np.abs(out), np.abs(along)) if notch_form < 0.5 else big - np.hypot(out, along)
        signed = np.maximum(signed, tab.astype(np.float32))
    cut = rng.random() < camera.flat
    top, bottom = (float(rng.uniform(0.76, 0.95)) * radius for _ in range(2))
    if cut:
        signed = np.minimum(signed, np.minimum(dy + np.float32(top), np.float32(bottom) - dy))
    soft = np.float32(max(1.0, 0.004 * size_px))
    field = np.clip(signed / soft + np.float32(0.5), 0.0, 1.0).astype(np.float32)
    return View(size_px, scale, fovea, (center_x, center_y), radius, nasal, roll, field)


def photograph(
    scene: NDArray[np.float32],
    view: View,
    camera: Camera,
    rng: np.random.Generator,
    *,
    haze: float = 0.0,
) -> NDArray[np.uint8]:
    """Take the photograph: veil, light, lens, sensor.

    Args:
        scene: Color of the retina under even light, shape (3, H, W), about [0, 1].
        view: Where the camera looked.
        camera: The camera.
        rng: Source of the random numbers; the same draws whatever the haze.
        haze: Share of the light that a clouded lens turns into a veil, [0, 1).

    Returns:
        Photograph, shape (H, W, 3), uint8.

    Example:
        >>> view = View(16, 1.0, (8.0, 8.0), (8.0, 8.0), 8.0, 1, 0.0, np.ones((16, 16), np.float32))
        >>> photograph(np.full((3, 16, 16), 0.5, np.float32), view, CAMERAS[0], np.random.default_rng(0)).shape
        (16, 16, 3)

    References:
        Our own.
    """
    size = view.size_px
    line = np.arange(size, dtype=np.float32)
    dx = ((line - np.float32(view.center_px[0])) / np.float32(view.radius_px))[None, :]
    dy = ((line - np.float32(view.center_px[1])) / np.float32(view.radius_px))[:, None]
    rho2 = dx * dx + dy * dy

    # Everyone's media scatter a little; how much is no sign of disease below the cataract's share.
    clear = float(rng.beta(1.2, 9.0)) * 0.35
    # The veil is white light scattered forth and fundus light scattered back.
    own_share, own_level = rng.uniform(0.35, 0.85), rng.uniform(0.85, 1.25)
    white = np.array([0.80, 0.66, 0.44]) * rng.normal(1.0, 0.1, 3)
    veil_tint = own_share * own_level * scene.mean(axis=(1, 2)) + (1.0 - own_share) * white
    cloud = smooth_noise(rng, (size, size), (3, 3))
    veil = np.clip(clear + haze * (1.0 + 0.12 * cloud), 0.0, 0.93).astype(np.float32)
    defocus = float(rng.gamma(1.5, 0.35)) * camera.blur_degrees
    sigma = math.hypot(camera.blur_degrees + defocus, 0.45 * haze * haze) * view.px_per_degree

    # Light: falls off to the border, leans to one side, sometimes a shadow of lid or iris.
    falloff, lean, lean_to = rng.uniform(0.05, 0.45), rng.beta(1.2, 2.5) * 0.55, rng.uniform(0, 2 * math.pi)
    light = (1.0 - np.float32(falloff) * rho2 * (0.5 + 0.5 * rho2)).astype(np.float32)
    light *= 1.0 + np.float32(lean) * (dx * np.float32(math.cos(lean_to)) + dy * np.float32(math.sin(lean_to)))
    shadow, shade_at, shade_depth = rng.random() < 0.15, rng.uniform(0, 2 * math.pi), rng.uniform(0.3, 0.75)
    if shadow:
        side = dx * np.float32(math.cos(shade_at)) + dy * np.float32(math.sin(shade_at))
        light *= 1.0 - np.float32(shade_depth) * np.clip((side - 0.45) / 0.5, 0.0, 1.0)
    light *= 1.0 + np.float32(0.07) * smooth_noise(rng, (size, size), (2, 2))
    light *= np.float32(np.exp(np.clip(rng.normal(-0.12, 0.25), -0.8, 0.25)))
    flare, flare_at = float(rng.beta(1.0, 3.0)), rng.uniform(0, 2 * math.pi)
    rim = np.clip((np.sqrt(rho2) - np.float32(0.86)) / 0.14, 0.0, 1.0) ** 2
    rim *= 0.6 + 0.4 * (dx * np.float32(math.cos(flare_at)) + dy * np.float32(math.sin(flare_at)))

    ghost = np.zeros((size, size), np.float32)
    ghosted, ghost_x, ghost_y = rng.random() < 0.06, rng.normal(0, 0.15), rng.normal(0, 0.15)
    if ghosted:  # reflex of the objective near the axis
        at = (view.center_px[0] + ghost_x * view.radius_px, view.center_px[1] + ghost_y * view.radius_px)
        stamp(ghost, at, 0.03 * view.radius_px, aspect=0.6, angle=1.2, edge=1.2, strength=0.5)

    balance = np.array(camera.white_balance) * np.exp(rng.normal(0.0, 0.04, 3))
    noise = rng.standard_normal((3, size, size), dtype=np.float32)
    grain = np.float32(camera.noise * rng.uniform(0.6, 1.4))
    balanced = np.empty((3, size, size), np.float32)
    for channel in range(3):
        plane = ndimage.gaussian_filter(scene[channel], sigma, mode="nearest", truncate=3.0)
        plane += veil * (np.float32(veil_tint[channel]) - plane)
        plane *= light
        plane += ghost + rim * np.float32(camera.rim[channel] * (0.4 + 1.6 * flare))
        plane *= np.float32(balance[channel])
        balanced[channel] = plane
    gray = balanced.mean(axis=0)
    balanced += (1.0 - np.float32(camera.saturation)) * (gray - balanced)
    # The shoulder of a sensor's tone curve: highlights are pressed together before they clip.
    high = balanced > 0.7
    balanced[high] = 0.7 + 0.3 * np.tanh((balanced[high] - 0.7) / 0.3)
    np.maximum(balanced, 0.0, out=balanced)
    np.power(balanced, np.float32(camera.gamma), out=balanced)
    balanced *= view.field
    balanced += np.float32(camera.surround) * (1.0 - view.field)
    # The surround is quieter than the picture, but not silent where the camera does not blacken it.
    balanced += noise * (grain * (view.field + np.float32(0.4 if camera.surround else 0.0) * (1.0 - view.field)))
    np.clip(balanced * 255.0 + 0.5, 0.0, 255.0, out=balanced)
    return np.ascontiguousarray(balanced.astype(np.uint8).transpose(1, 2, 0))

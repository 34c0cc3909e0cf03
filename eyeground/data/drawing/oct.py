"""Paints an OCT phantom: retinal layers, lesions, speckle and the scanner."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from eyeground.data.drawing.brush import smooth_noise, stamp

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Scanner:
    """A make of OCT scanner, with what its B-scans have in common.

    Args:
        name: Name, as the table gives it.
        sites: Clinics that own one.
        width_mm: Least and greatest length of the scan on the retina. Unit: mm.
        height_um: Least and greatest depth shown. Unit: micrometers.
        looks: Least and greatest number of frames averaged against speckle.
        black: Gray level of the vitreous, over full scale.
        gain: Gray level of the brightest layer, over full scale.
        gamma: Tone curve, output = input ** gamma.
        blur_px: Standard deviation of the blur at 512 px width. Unit: pixels.
        penetration: How much of the choroid's light comes back, (0, 1].
        jpeg_quality: JPEG quality it saves with, 1 to 95.

    Example:
        >>> SCANNERS[0].name
        'Larch SD'

    References:
        Our own; invented makes.
    """

    name: str
    sites: tuple[str, ...]
    width_mm: tuple[float, float]
    height_um: tuple[float, float]
    looks: tuple[float, float]
    black: float
    gain: float
    gamma: float
    blur_px: float
    penetration: float
    jpeg_quality: int


SCANNERS: tuple[Scanner, ...] = (
    Scanner("Larch SD", ("north", "south"), (5.6, 6.4), (1000, 1300), (12, 40), 0.05, 0.95, 1.0, 0.55, 0.55, 90),
    Scanner("Maple SD", ("south", "east"), (5.8, 9.0), (1100, 1600), (2, 6), 0.14, 0.85, 0.8, 0.7, 0.5, 82),
    Scanner("Oak SS", ("north",), (8.5, 12.0), (1300, 1900), (6, 20), 0.03, 0.9, 1.15, 0.8, 0.8, 88),
    Scanner("Pine Compact", ("field", "east"), (5.0, 6.5), (1100, 1500), (1.3, 3), 0.22, 0.82, 0.9, 1.1, 0.45, 78),
)


def scan(
    disease: str, *, seed: int, patient_seed: int, eye: Literal["OD", "OS"], width_px: int, height_px: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], tuple[float, float], str]:
    """Paint one horizontal B-scan through the fovea.

    Retina, scanner, lesion and speckle come from separate random streams, so that the same seed shows the same retina
    through the same scanner whatever the disease.

    Args:
        disease: A name of ``eyeground.data.phantom.OCT_DISEASES``.
        seed: Seed of placement, lesion and noise, >= 0.
        patient_seed: Seed of the patient and of the scanner at the visit, >= 0.
        eye: ``"OD"`` (nose at the right) or ``"OS"``.
        width_px: Width. Unit: pixels.
        height_px: Height. Unit: pixels.

    Returns:
        Pixels (H, W, 3) uint8 with equal channels, lesion mask (H, W), fovea (x, y) at the inner retinal surface
        before any disease, name of the scanner.

    Example:
        >>> pixels, mask, fovea, scanner = scan("drusen", seed=1, patient_seed=1, eye="OD", width_px=96, height_px=64)
        >>> pixels.shape, bool(mask.any())
        ((64, 96, 3), True)

    References:
        Layer thicknesses: Staurenghi et al. (IN-OCT consensus), Ophthalmology 2014;121:1572.
    """
    side = 1 if eye == "OD" else 2
    scanner = SCANNERS[int(np.random.default_rng([patient_seed, 43]).integers(len(SCANNERS)))]
    aim = np.random.default_rng([seed, 44, side])
    # Micrometers per pixel across and down.
    across = 1000.0 * float(aim.uniform(*scanner.width_mm)) / width_px
    down = float(aim.uniform(*scanner.height_um)) / height_px
    fovea_x = width_px * float(np.clip(aim.normal(0.5, 0.05), 0.36, 0.64))
    nasal = across if eye == "OD" else -across
    x_um: NDArray[np.float64] = (np.arange(width_px, dtype=np.float64) - fovea_x) * nasal  # above 0 toward the nose
    depth = height_px * down
    half = width_px * across / 2.0  # micrometers
    tilt = float(aim.normal(0.0, 0.05)) * depth / half
    curve = float(aim.normal(0.055, 0.05)) * depth / half**2
    floor = depth * float(np.clip(aim.normal(0.66, 0.05), 0.57, 0.78))
    ripple = smooth_noise(aim, (1, width_px), (1, 4))[0] * 6.0
    membrane = floor - curve * x_um**2 + tilt * x_um + ripple  # Bruch's membrane, micrometers from the top

    own = np.random.default_rng([patient_seed, 45, side])
    retina = _Retina.draw(own, np.random.default_rng([patient_seed, 46]))
    disease_rng = np.random.default_rng([seed, 47, side])
    lesion = _draw_lesion(disease, disease_rng, x_um)
    edges = _interfaces(retina, lesion, x_um, membrane) / down  # (K, W), pixels from the top
    image = _tissue(edges, retina, down, across, height_px, scanner)
    rows = np.arange(height_px, dtype=np.float32)[:, None]
    # Drusen lie between the lifted pigment epithelium and Bruch's membrane, fluid above it.
    mask = (lesion.bump > 12.0) & (rows > edges[_RPE]) & (rows < edges[_BRUCH])
    mask |= (lesion.fluid > 12.0) & (rows > edges[_FLUID]) & (rows < edges[_RPE])
    if disease == "cystoid_edema":
        mask |= _cysts(image, disease_rng, edges, x_um, down, across)
    if disease == "macular_hole":
        mask |= _hole(image, disease_rng, edges, x_um, down, across, lesion.gap_um)
    _shadows(image, np.random.default_rng([seed, 48, side]), edges, x_um, down, across, retina)
    pixels = _acquire(image, np.random.default_rng([seed, 49, side]), scanner, width_px)
    at = round(fovea_x)
    surface = _interfaces(retina, _draw_lesion("normal", disease_rng, x_um), x_um, membrane)[0, at] / down
    return pixels, mask, (fovea_x, float(np.clip(surface, 0.0, height_px - 1.0))), scanner.name


# Interfaces from the vitreous down, and the brightness of what lies below each.
_FLUID, _RPE, _CONTENT, _BRUCH = 9, 10, 11, 12
_LEVELS = (0.66, 0.50, 0.30, 0.47, 0.20, 0.36, 0.24, 0.78, 0.42, 0.03, 0.92, 0.40, 0.62)


@dataclass(frozen=True)
class _Retina:
    """Thicknesses of one retina, in micrometers, and its choroid."""

    pit: float
    scale: float
    nerve: float
    choroid: float
    hyaloid: float
    texture_seed: int

    @staticmethod
    def draw(own: np.random.Generator, person: np.random.Generator) -> "_Retina":
        """Draw a retina; what both eyes share comes from the person."""
        return _Retina(
            pit=float(person.uniform(480, 760)),
            scale=float(np.clip(person.normal(1.0, 0.07), 0.82, 1.2)),
            nerve=float(person.uniform(0.8, 1.25)),
            choroid=float(np.clip(person.normal(260, 80), 120, 450)) * float(own.normal(1.0, 0.04)),
            hyaloid=float(own.uniform(-250.0, 260.0)),
            texture_seed=int(own.integers(2**31)),
        )


@dataclass(frozen=True, eq=False)
class _Lesion:
    """What a disease adds to the layers, in micrometers, per column."""

    bump: NDArray[np.float64]
    fluid: NDArray[np.float64]
    inner: NDArray[np.float64]
    outer: NDArray[np.float64]
    gap_um: float


def _draw_lesion(disease: str, rng: np.random.Generator, x_um: NDArray[np.float64]) -> _Lesion:
    """Draw the shape of a lesion; zeros for a healthy retina."""
    bump, fluid, inner, outer = np.zeros((4, len(x_um)))
    severity, gap = float(rng.beta(1.6, 1.4)), 0.0
    reach = 0.85 * float(min(-x_um.min(), x_um.max()))
    if disease == "drusen":
        for _ in range(int(rng.integers(2, 6 + round(7 * severity)))):
            center = float(np.clip(rng.normal(0.0, 1000.0), -reach, reach))
            half = rng.uniform(90.0, 180.0 + 170.0 * severity)
            tall = min(rng.uniform(22.0, 45.0 + 75.0 * severity), 0.5 * half)
            bump = np.maximum(bump, tall * np.exp(-((np.abs(x_um - center) / half) ** 2.6)))
    if disease == "fluid_dome":
        center = float(np.clip(rng.normal(0.0, 300.0), -0.5 * reach, 0.5 * reach))
        half = min(rng.uniform(550.0, 1100.0 + 1000.0 * severity), 1.2 * reach)
        part = np.clip(1.0 - ((x_um - center + rng.uniform(-0.2, 0.2) * half * (x_um > center)) / half) ** 2, 0.0, 1.0)
        fluid = rng.uniform(45.0, 100.0 + 240.0 * severity) * part**1.3
    if disease == "cystoid_edema":
        center, half = float(rng.normal(0.0, 200.0)), rng.uniform(700.0, 1300.0)
        hill = np.exp(-((np.abs(x_um - center) / half) ** 2.4))
        inner = hill * (35.0 + 70.0 * severity)
        outer = hill * (70.0 + 170.0 * severity)
        if rng.random() < 0.25:
            fluid = 50.0 * severity * np.clip(1.0 - (x_um / 450.0) ** 2, 0.0, 1.0)
    if disease == "macular_hole":
        gap = float(rng.uniform(90.0, 170.0 + 230.0 * severity))
        edge = np.exp(-((np.maximum(np.abs(x_um) - gap, 0.0) / rng.uniform(350.0, 650.0)) ** 1.6))
        inner = edge * rng.uniform(45.0, 75.0)
        outer = edge * rng.uniform(25.0, 80.0)
        fluid = rng.uniform(10.0, 45.0) * np.clip(1.0 - (x_um / (gap + rng.uniform(150.0, 400.0))) ** 2, 0.0, 1.0)
    return _Lesion(bump, fluid, inner, outer, gap)


def _interfaces(
    retina: _Retina, lesion: _Lesion, x_um: NDArray[np.float64], membrane: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Stack the layers on Bruch's membrane: rows of ``_LEVELS``, micrometers from the top, shape (K, W)."""
    r = np.abs(x_um)
    open_ = 1.0 - np.exp(-((r / retina.pit) ** 2))  # 0 in the pit, 1 outside
    rise = np.exp(-(((r - 1000.0) / 1000.0) ** 2))
    nasal = np.clip(x_um / 3000.0, 0.0, 1.6)
    outer_nuclear = (66.0 + 38.0 * np.exp(-((r / 420.0) ** 2))) * retina.scale + lesion.outer
    # A druse thins what lies over it and lifts the rest.
    outer_nuclear -= np.minimum(0.85 * lesion.bump, 0.7 * outer_nuclear)
    thickness = [
        retina.nerve * (open_ * (9.0 + 38.0 * nasal + 5.0 * rise) + 3.0),  # nerve fibers
        retina.scale * (open_**1.6 * (42.0 + 52.0 * rise) + 2.0),  # ganglion cells and inner plexiform
        retina.scale * (open_ * (28.0 + 10.0 * rise) + 1.0) + lesion.inner,  # inner nuclear
        retina.scale * (open_ * 20.0 + 9.0),  # outer plexiform
        outer_nuclear,
        np.full_like(r, 7.0),  # external limiting membrane
        np.full_like(r, 20.0),  # inner segments
        np.full_like(r, 14.0),  # ellipsoid zone
        24.0 + 14.0 * np.exp(-((r / 350.0) ** 2)),  # outer segments
        lesion.fluid,
        np.full_like(r, 24.0),  # pigment epithelium
        lesion.bump,
        np.full_like(r, 12.0),  # Bruch's membrane and choriocapillaris
    ]
    stacked = np.cumsum(np.array(thickness[::-1]), axis=0)[::-1]
    return np.asarray(membrane - stacked + 12.0, dtype=np.float64)


def _tissue(
    edges: NDArray[np.float64], retina: _Retina, down: float, across: float, height_px: int, scanner: Scanner
) -> Array:
    """Fill the layers with their brightness, vitreous 0, shape (H, W)."""
    rng = np.random.default_rng([retina.texture_seed, 51])
    width = edges.shape[1]
    rows = np.arange(height_px, dtype=np.float32)[:, None]
    image = np.zeros((height_px, width), np.float32)
    before: Array = np.zeros(width, np.float32)
    columns_mm = width * across / 1000.0
    for edge, level in zip(edges.astype(np.float32), _LEVELS, strict=True):
        tone = np.float32(level) * (1.0 + np.float32(0.08) * smooth_noise(rng, (1, width), (1, columns_mm * 3))[0])
        image += np.clip(rows - edge + np.float32(0.5), 0.0, 1.0) * (tone - before)
        before = tone
    # Choroid: lumens grow with depth; behind it the sclera fades.
    below = (rows - edges[-1].astype(np.float32)) * np.float32(down)
    deep = below > 12.0
    lumen = smooth_noise(rng, image.shape, (height_px * down / 70.0, columns_mm * 1000.0 / 260.0))
    share = np.clip(below / np.float32(90.0), 0.0, 1.0)
    choroid = np.float32(0.55) - np.float32(0.27) * share * np.clip(0.5 + np.float32(0.7) * lumen, 0.0, 1.0)
    border = retina.choroid * (1.0 + 0.07 * smooth_noise(rng, (1, width), (1, 4))[0])
    sclera = np.clip((below - border.astype(np.float32)) / 30.0, 0.0, 1.0)
    choroid += sclera * (np.float32(0.42) - choroid)
    choroid *= np.exp(-np.maximum(below, 0.0) / np.float32(700.0 * scanner.penetration))
    image[deep] = choroid[deep]
    fibers = smooth_noise(rng, image.shape, (height_px * down / 12.0, columns_mm * 6))
    image *= 1.0 + np.float32(0.06) * fibers
    if retina.hyaloid > 0.0:  # a vitreous that has come off: a faint line before the retina
        line = edges[0].min() - (25.0 + retina.hyaloid) / down
        line = line + 0.8 * (edges[-1] - edges[-1].max()) + smooth_noise(rng, (1, width), (1, 3))[0] * 4.0
        image += np.float32(0.18) * np.exp(-((rows - line.astype(np.float32)) ** 2) / np.float32(1.2))
    return image


def _cysts(
    image: Array,
    rng: np.random.Generator,
    edges: NDArray[np.float64],
    x_um: NDArray[np.float64],
    down: float,
    across: float,
) -> NDArray[np.bool_]:
    """Paint dark round cysts into the swollen nuclear layers; the answer is their mask."""
    cysts, walls = np.zeros((2, *image.shape), np.float32)
    fovea = float(np.argmin(np.abs(x_um)))
    for layer, count, spread in ((4, int(rng.integers(4, 10)), 550.0), (2, int(rng.integers(4, 12)), 800.0)):
        for index in range(count):
            # The largest cyst of the outer layer sits under the fovea.
            offset = rng.normal(0.0, 60.0) if layer == 4 and index == 0 else rng.normal(0.0, spread)
            column = int(np.clip(fovea + offset / across, 2, image.shape[1] - 3))
            top, bottom = edges[layer, column], edges[layer + 1, column]
            tall = (bottom - top) * float(rng.uniform(0.55, 0.95)) / 2.0
            wide = tall * down / across * float(rng.uniform(0.45, 1.1))
            if layer == 2:
                wide = tall * down / across * float(rng.uniform(0.8, 1.8))
            if tall < 1.5 or wide < 1.0:
                continue
            at = (float(column), float((top + bottom) / 2.0))
            upright = tall >= wide
            long, aspect = (tall, wide / tall) if upright else (wide, tall / wide)
            turn = math.pi / 2.0 if upright else 0.0
            stamp(cysts, at, long, aspect=aspect, angle=turn, edge=0.18)
            stamp(walls, at, long * 1.12 + 0.8, aspect=aspect, angle=turn, edge=0.15)
    image += np.float32(0.10) * (walls - cysts).clip(0.0, 1.0)
    image += cysts * (np.float32(0.03) - image)
    return np.asarray(cysts > 0.5, np.bool_)


def _hole(
    image: Array,
    rng: np.random.Generator,
    edges: NDArray[np.float64],
    x_um: NDArray[np.float64],
    down: float,
    across: float,
    gap_um: float,
) -> NDArray[np.bool_]:
    """Open a full-thickness gap with rounded, cystic edges; the answer is the mask of gap and cysts."""
    rows = np.arange(image.shape[0], dtype=np.float32)[:, None]
    top, bottom = edges[0].astype(np.float32), edges[_RPE].astype(np.float32)
    t = (rows - top) / np.maximum(bottom - top, 1.0)  # 0 at the surface, 1 at the pigment epithelium
    waist = np.clip(1.6 * np.abs(t - np.float32(rng.uniform(0.35, 0.6))), 0.0, 1.0) ** 2
    half = np.float32(gap_um) * (0.72 + np.float32(rng.uniform(0.4, 0.9)) * waist)
    half += np.float32(rng.uniform(90.0, 200.0)) * np.exp(-np.maximum(t, 0.0) / np.float32(0.14))  # rounded shoulders
    soft = np.float32(1.2 * across)
    lean = np.float32(rng.normal(0.0, 25.0))
    gap = np.clip((half - np.abs(x_um.astype(np.float32) - lean)) / soft + 0.5, 0.0, 1.0)
    gap *= np.clip(bottom - rows + 0.5, 0.0, 1.0) * np.clip(rows - top + 3.0, 0.0, 1.0)
    cysts = np.zeros_like(image)
    for side in (-1.0, 1.0):
        for _ in range(int(rng.integers(0, 4))):
            where = side * (gap_um + rng.uniform(70.0, 260.0))
            column = int(np.argmin(np.abs(x_um - where)))
            layer = 2 if rng.random() < 0.6 else 4
            upper, lower = edges[layer, column], edges[layer + 1, column]
            tall = (lower - upper) * float(rng.uniform(0.3, 0.42))
            wide = tall * down / across * float(rng.uniform(0.6, 1.0))
            at = (float(column), float((upper + lower) / 2.0))
            if tall > 1.2:
                upright = tall >= wide
                long, aspect = (tall, wide / tall) if upright else (wide, tall / wide)
                stamp(cysts, at, long, aspect=aspect, angle=math.pi / 2 if upright else 0.0, edge=0.25)
    empty = np.maximum(gap, cysts)
    image += empty * (np.float32(0.02) - image)
    if rng.random() < 0.35:  # an operculum floats before the hole
        column = int(np.argmin(np.abs(x_um - lean)))
        lid = np.zeros_like(image)
        at = (float(column), float(edges[0, column] - rng.uniform(40.0, 110.0) / down))
        stamp(lid, at, max(2.0, 0.8 * gap_um / across), aspect=0.3, edge=0.5, strength=0.5)
        np.maximum(image, lid, out=image)
    return np.asarray(empty > 0.5, np.bool_)


def _shadows(
    image: Array,
    rng: np.random.Generator,
    edges: NDArray[np.float64],
    x_um: NDArray[np.float64],
    down: float,
    across: float,
    retina: _Retina,
) -> None:
    """Lay retinal vessels, which shadow what lies behind them, and uneven light, in place."""
    width = image.shape[1]
    rows = np.arange(image.shape[0], dtype=np.float32)[:, None]
    columns = np.arange(width, dtype=np.float32)
    vessels = np.zeros_like(image)
    count = int(rng.integers(2, 8))
    for place, caliber, dark in rng.uniform(size=(count, 3)):
        column = place * (width - 1)
        if abs(x_um[round(column)]) < 600.0:  # no vessel crosses the foveal avascular zone
            continue
        radius = 22.0 + 38.0 * caliber
        depth = float(edges[0, round(column)]) + (radius * 0.8 + 6.0) / down
        long, flat = max(radius / across, 0.8), max(radius / down, 0.8)
        stamp(
            vessels,
            (float(column), depth),
            max(long, flat),
            aspect=min(long, flat) / max(long, flat),
            angle=0.0 if long >= flat else math.pi / 2.0,
            edge=0.6,
            strength=0.28,
        )
        across_shadow = np.exp(-(((columns - np.float32(column)) / np.float32(long * 1.2 + 0.5)) ** 2))
        below = np.clip((rows - np.float32(depth)) * np.float32(down / 50.0), 0.0, 1.0)
        image *= 1.0 - np.float32(0.12 + 0.32 * dark) * across_shadow * below
    image += vessels
    image *= 1.0 + np.float32(0.10) * smooth_noise(rng, (1, width), (1, 3))[0]


def _acquire(image: Array, rng: np.random.Generator, scanner: Scanner, width_px: int) -> NDArray[np.uint8]:
    """Add speckle, background, blur and tone: gray (H, W, 3)."""
    looks = float(np.exp(rng.uniform(*np.log(scanner.looks))))
    gain = scanner.gain * float(np.exp(np.clip(rng.normal(-0.05, 0.14), -0.4, 0.15)))
    black = scanner.black * float(rng.uniform(0.6, 1.4))
    # Speckle is log-normal to a good approximation once frames are averaged and the logarithm is displayed.
    speckle = rng.standard_normal(image.shape, dtype=np.float32)
    floor = rng.standard_normal(image.shape, dtype=np.float32)
    sigma = scanner.blur_px * width_px / 512.0
    lit = image * np.exp(np.float32(0.62 / math.sqrt(looks)) * speckle)
    lit = ndimage.gaussian_filter(lit, (0.8 * sigma, sigma), mode="nearest", truncate=3.0) * np.float32(gain)
    shown = np.float32(black) + (1.0 - np.float32(black)) * lit
    shown += floor * np.float32(black * 0.55 / math.sqrt(looks) + 0.008)
    shown = np.power(np.clip(shown, 0.0, 1.0), np.float32(scanner.gamma))
    gray = (shown * 255.0 + 0.5).astype(np.uint8)
    return np.repeat(gray[:, :, None], 3, axis=2)

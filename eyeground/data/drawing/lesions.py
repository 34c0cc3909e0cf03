"""The spots of fundus diseases, and the mask of where they are."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from eyeground.data.drawing.anatomy import Anatomy, View
from eyeground.data.drawing.brush import smooth_noise, stamp
from eyeground.data.drawing.signs import Signs

Points = NDArray[np.float64]  # (N, 2), degrees
_QUADRANT_ANGLES = (-2.36, 2.36, -0.78, 0.78)  # superotemporal, inferotemporal, superonasal, inferonasal


@dataclass(frozen=True, eq=False)
class Lesions:
    """Layers of spots, each (H, W) float32, to be laid over or under the vessels.

    Args:
        blood: Thickness of blood in the retina, 1 for a dense blot.
        pool: Blood before the retina, which hides what lies behind it, [0, 1].
        deep: Opacity of exudates or drusen, which lie under the vessels, [0, 1].
        deep_color: Their color, RGB in [0, 1].
        fluffy: Opacity of cotton wool spots, which lie over the vessels, [0, 1].
        pigment: Opacity of bone-spicule pigment, [0, 1].
        dome: Shading of a serous detachment: below 0 darker, above 0 lighter.
        mask: True where disease was drawn.

    Example:
        >>> Lesions.none(4).mask.any()
        np.False_

    References:
        Our own.
    """

    blood: NDArray[np.float32]
    pool: NDArray[np.float32]
    deep: NDArray[np.float32]
    deep_color: tuple[float, float, float]
    fluffy: NDArray[np.float32]
    pigment: NDArray[np.float32]
    dome: NDArray[np.float32]
    mask: NDArray[np.bool_]

    @staticmethod
    def none(size_px: int) -> "Lesions":
        """Make empty layers.

        Args:
            size_px: Width and height.

        Returns:
            Layers without a lesion.
        """
        blood, pool, deep, fluffy, pigment, dome = np.zeros((6, size_px, size_px), np.float32)
        return Lesions(
            blood, pool, deep, (1.0, 0.85, 0.45), fluffy, pigment, dome, np.zeros((size_px, size_px), np.bool_)
        )


def draw_lesions(
    disease: str,
    rng: np.random.Generator,
    *,
    anatomy: Anatomy,
    view: View,
    signs: Signs,
    quadrants: tuple[int, ...],
) -> Lesions:
    """Draw the spots of a disease; diseases without spots of their own give empty layers.

    The mask holds the spots whose opacity is plain enough to be seen (a quarter or more), cut to the field of view.
    Glaucoma's and disc swelling's masks belong to the disc and are made where the disc is painted.

    Args:
        disease: A name of ``eyeground.data.phantom.FUNDUS_DISEASES``.
        rng: Source of the random numbers.
        anatomy: The eye.
        view: Where the camera looks.
        signs: The disease's signs; severity sets number and size of the spots.
        quadrants: Where a vein occlusion bleeds.

    Returns:
        The layers.

    Example:
        >>> from eyeground.data.drawing.anatomy import draw_anatomy
        >>> view = View(64, 1.5, (32.0, 32.0), (32.0, 32.0), 32.0, 1, 0.0, np.ones((64, 64), np.float32))
        >>> layers = draw_lesions("drusen", np.random.default_rng(0), anatomy=draw_anatomy(1, "OD"), view=view,
        ...                       signs=Signs(), quadrants=())
        >>> bool(layers.mask.any())
        True

    References:
        Grades of diabetic retinopathy: Wilkinson et al. (ICDR), Ophthalmology 2003;110:1677.
    """
    layers = Lesions.none(view.size_px)
    painter = _Painter(rng, anatomy, view, layers, signs.severity)
    if disease in ("dr1", "dr2", "dr3", "dr4"):
        _diabetic(painter, disease, layers)
    if disease == "drusen":
        layers = _drusen(painter, layers)
    if disease == "rvo":
        _vein_occlusion(painter, quadrants)
    if disease == "rp":
        _bone_spicules(painter)
    if disease == "csc":
        _serous_detachment(painter)
    if disease == "disc_swelling":
        count = int(rng.integers(2, 5 + round(5 * signs.severity)))
        painter.flames(painter.around(anatomy.disc, count, (1.05, 1.9), anatomy.disc_radius[1]), (0.8, 1.7))
    seen = (
        (layers.blood > 0.25)
        | (layers.pool > 0.25)
        | (layers.deep > 0.25)
        | (layers.fluffy > 0.25)
        | (layers.pigment > 0.25)
        | (np.abs(layers.dome) > 0.03)
    )
    np.copyto(layers.mask, seen & (view.field > 0.99))
    return layers


def _diabetic(painter: "_Painter", grade: str, layers: Lesions) -> None:
    """Lay the spots of an ICDR grade."""
    rng, severity = painter.rng, painter.severity
    if grade == "dr1":
        painter.dots(painter.polar(3 + round(6 * severity), (1.2, 15.0)), (0.15, 0.25), 0.85)
        return
    quarters = {"dr2": 0, "dr3": 1, "dr4": 1}[grade]
    dots = {"dr2": 9, "dr3": 22, "dr4": 12}[grade]
    painter.dots(painter.polar(dots + round(10 * severity), (1.2, 17.0)), (0.15, 0.27), 0.95)
    blots = {"dr2": 3 + round(7 * severity), "dr3": 24 + round(22 * severity), "dr4": 6 + round(10 * severity)}[grade]
    painter.blots(painter.polar(blots, (2.5, 18.0), everywhere=bool(quarters)), (0.25, 0.75))
    if grade == "dr3":
        painter.flames(painter.polar(4 + round(6 * severity), (5.0, 17.0), everywhere=True), (0.6, 1.5))
    exudates = rng.random() < {"dr2": 0.85, "dr3": 0.6, "dr4": 0.4}[grade]
    if exudates:
        for _ in range(int(rng.integers(1, 4))):
            painter.exudates()
    if grade in ("dr3", "dr4"):
        low = 2 if grade == "dr3" else 0
        painter.cotton(painter.polar(int(rng.integers(low, low + 4)), (6.0, 16.0)))
    if grade == "dr4":
        painter.new_vessels(on_disc=bool(rng.random() < 0.6), elsewhere=int(rng.integers(1, 3)))
        if rng.random() < 0.65:
            painter.preretinal()


def _drusen(painter: "_Painter", layers: Lesions) -> Lesions:
    """Scatter yellow deposits over the macula: many small hard ones, or fewer large soft ones."""
    rng, severity = painter.rng, painter.severity
    strength = 0.4 + 0.35 * severity
    soft = rng.random() < 0.6
    for x, y in painter.cluster((0.0, 0.0), 14 + round(30 * severity), 2.6):
        painter.spot(layers.deep, (x, y), rng.uniform(0.14, 0.3), edge=0.6, strength=strength * rng.uniform(0.7, 1.0))
    if soft:
        for x, y in painter.cluster((0.0, 0.0), 8 + round(20 * severity), 2.0):
            painter.spot(layers.deep, (x, y), rng.uniform(0.3, 0.62), edge=0.9, strength=strength)
    return Lesions(
        layers.blood, layers.pool, layers.deep, (0.98, 0.74, 0.36), layers.fluffy, layers.pigment, layers.dome,
        layers.mask,
    )  # fmt: skip


def _vein_occlusion(painter: "_Painter", quadrants: tuple[int, ...]) -> None:
    """Bleed along the nerve fibers of the occluded quadrants."""
    rng, severity, anatomy = painter.rng, painter.severity, painter.anatomy
    central = len(quadrants) == 4
    for quadrant in quadrants:
        down = 1.0 if quadrant % 2 else -1.0
        count = round((14 if central else 26) * (0.6 + 0.8 * severity))
        if quadrant < 2:
            x = rng.uniform(-8.0, anatomy.disc[0] - 2.5, count * 2)
            y = down * np.abs(rng.normal(anatomy.arcade_height * 0.8, 2.6, count * 2))
        else:
            along = rng.uniform(1.2, 9.0, count * 2)
            x = anatomy.disc[0] + along * rng.uniform(0.4, 1.1, count * 2)
            y = anatomy.disc[1] + down * along * rng.uniform(0.5, 1.2, count * 2)
        spots = painter.kept(np.stack([x, y], axis=1), count)
        painter.flames(spots[: count * 2 // 3], (0.6, 1.9))
        painter.blots(spots[count * 2 // 3 :], (0.25, 0.7))
        if rng.random() < 0.4:
            painter.cotton(spots[:1] + 0.6)


def _bone_spicules(painter: "_Painter") -> None:
    """Scatter star-shaped pigment over the mid-periphery."""
    rng, severity, view = painter.rng, painter.severity, painter.view
    spots = painter.polar(50 + round(90 * severity), (9.5 + 3.0 * (1.0 - severity), 24.0), disc_gap=1.9)
    layer = Image.new("L", (view.size_px * 2, view.size_px * 2))
    pen = ImageDraw.Draw(layer)
    for x, y in view.to_px(spots) * 2.0 + 0.5:
        size = rng.uniform(0.3, 0.95) * view.px_per_degree * 2.0
        start = rng.uniform(0.0, 2.0 * math.pi)
        for arm in range(int(rng.integers(3, 6))):
            angle = start + arm * 1.5 + rng.normal(0.0, 0.35)
            long = size * rng.uniform(0.6, 1.3)
            mid = (x + 0.5 * long * math.cos(angle + 0.3), y + 0.5 * long * math.sin(angle + 0.3))
            tip = (x + long * math.cos(angle), y + long * math.sin(angle))
            pen.line([(x, y), mid], fill=255, width=max(2, round(0.28 * size)))
            pen.line([mid, tip], fill=220, width=max(1, round(0.14 * size)))
    drawn = np.asarray(layer.reduce(2), dtype=np.float32) / np.float32(255.0)
    np.copyto(painter.layers.pigment, drawn * np.float32(0.6 + 0.3 * severity))


def _serous_detachment(painter: "_Painter") -> None:
    """Raise a round dome at the macula: a shaded disk with a light halo at its border."""
    rng, severity, view = painter.rng, painter.severity, painter.view
    radius = rng.uniform(3.2, 6.0)
    center = view.to_px(np.clip(rng.normal(0.0, 0.9, (1, 2)), -1.6, 1.6))[0]
    aspect, angle, phase = rng.uniform(0.78, 0.97), rng.uniform(0, math.pi), rng.uniform(0, 6.28)
    px = radius * view.px_per_degree
    dark = rng.random() < 0.6
    body, border, core = np.zeros((3, view.size_px, view.size_px), np.float32)
    at = (float(center[0]), float(center[1]))
    shape = {"aspect": float(aspect), "angle": float(angle)}
    wobble = ((0.05, float(phase)), (0.04, float(2.0 * phase)))
    stamp(body, at, px, edge=0.4, wobble=wobble, **shape)
    stamp(border, at, px * 1.14, edge=0.3, wobble=wobble, **shape)
    stamp(core, at, px * 0.9, edge=0.35, wobble=wobble, **shape)
    strength = np.float32(0.13 + 0.16 * severity)
    tone = body * (-strength if dark else strength * np.float32(0.8))
    halo = np.maximum(border - core, 0.0) * (strength * np.float32(1.1 if dark else 0.9))
    np.copyto(painter.layers.dome, tone * (core if dark else 1.0) + halo)
    for x, y in painter.cluster((0.0, 0.0), int(rng.integers(0, 8)), 1.6):
        painter.spot(painter.layers.deep, (x, y), rng.uniform(0.1, 0.2), edge=0.6, strength=0.45)


class _Painter:
    """Places spots where the camera sees them."""

    def __init__(
        self, rng: np.random.Generator, anatomy: Anatomy, view: View, layers: Lesions, severity: float
    ) -> None:
        self.rng, self.anatomy, self.view, self.layers, self.severity = rng, anatomy, view, layers, severity

    def kept(self, candidates: Points, count: int, disc_gap: float = 1.1) -> Points:
        """Keep the first candidates that lie in the field and off the disc."""
        away = np.hypot(candidates[:, 0] - self.anatomy.disc[0], candidates[:, 1] - self.anatomy.disc[1])
        good = self.view.inside(self.view.to_px(candidates), 0.5 * self.view.px_per_degree)
        return candidates[good & (away > disc_gap * self.anatomy.disc_radius[1])][:count]

    def polar(
        self, count: int, reach: tuple[float, float], *, everywhere: bool = False, disc_gap: float = 1.1
    ) -> Points:
        """Scatter points around the posterior pole; ``everywhere`` deals them to the four quadrants in turn."""
        tries = 14 * max(1, count)
        radius = np.sqrt(self.rng.uniform(reach[0] ** 2, reach[1] ** 2, tries))
        center = np.zeros((tries, 2))
        angle = self.rng.uniform(0.0, 2.0 * math.pi, tries)
        if everywhere:
            angle = np.resize(_QUADRANT_ANGLES, tries) + self.rng.uniform(-0.78, 0.78, tries)
            center[:, 0] = 6.0  # quadrants meet between fovea and disc
        points = center + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return self.kept(points, count, disc_gap)

    def around(self, center: tuple[float, float], count: int, reach: tuple[float, float], unit: float) -> Points:
        """Scatter points on a ring, its radii given in units."""
        radius = self.rng.uniform(*reach, count * 4) * unit
        angle = self.rng.uniform(0.0, 2.0 * math.pi, count * 4)
        points = np.array(center) + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return self.kept(points, count, disc_gap=0.9)

    def cluster(self, center: tuple[float, float], count: int, spread: float) -> Points:
        """Scatter points in a normal cloud."""
        return self.kept(np.array(center) + self.rng.normal(0.0, spread, (count * 3, 2)), count)

    def spot(
        self, layer: NDArray[np.float32], at: tuple[float, float], radius: float, *, edge: float, strength: float
    ) -> None:
        """Press one irregular spot of a radius in degrees, at least three quarters of a pixel."""
        x, y = self.view.to_px(np.array([at]))[0]
        draws = self.rng.uniform(0.0, 1.0, 5)
        wobble = ((0.16 * draws[0], 6.28 * draws[1]), (0.1 * draws[2], 6.28 * draws[3]))
        stamp(
            layer, (float(x), float(y)), max(0.75, radius * self.view.px_per_degree), aspect=0.75 + 0.25 * draws[4],
            angle=6.28 * draws[1], edge=edge, strength=strength, wobble=wobble,
        )  # fmt: skip

    def dots(self, points: Points, radius: tuple[float, float], strength: float) -> None:
        """Lay microaneurysms."""
        for x, y in points:
            size = self.rng.uniform(*radius)
            self.spot(self.layers.blood, (x, y), size, edge=0.7, strength=strength * self.rng.uniform(0.7, 1.15))

    def blots(self, points: Points, radius: tuple[float, float]) -> None:
        """Lay blot hemorrhages."""
        for x, y in points:
            size = self.rng.uniform(*radius) * (1.4 if self.rng.random() < 0.12 else 1.0)
            self.spot(self.layers.blood, (x, y), size, edge=0.45, strength=self.rng.uniform(0.8, 1.35))

    def flames(self, points: Points, length: tuple[float, float]) -> None:
        """Lay flame hemorrhages: streaks along the nerve fibers, which run from the disc and arch over the macula."""
        if not len(points):
            return
        flame = np.zeros_like(self.layers.blood)
        for point in points:
            heading = self._fiber(point)
            long = self.rng.uniform(*length)
            for _ in range(int(self.rng.integers(2, 5))):
                x, y = self.view.to_px((point + self.rng.normal(0.0, 0.22 * long, 2))[None])[0]
                stamp(
                    flame, (float(x), float(y)), max(1.2, long * self.rng.uniform(0.5, 1.0) * self.view.px_per_degree),
                    aspect=float(self.rng.uniform(0.16, 0.34)),
                    angle=self.view.direction(heading + self.rng.normal(0, 0.12)), edge=0.75,
                    strength=float(self.rng.uniform(0.55, 1.1)),
                )  # fmt: skip
        grain = smooth_noise(self.rng, flame.shape, (70, 70))
        flame *= np.clip(1.0 + np.float32(0.25) * grain, 0.3, 1.5)
        np.maximum(self.layers.blood, flame, out=self.layers.blood)

    def exudates(self) -> None:
        """Lay hard exudates: a broken ring of small bright spots around a leak."""
        rng = self.rng
        leak = self.polar(1, (2.0, 8.5))
        if not len(leak):
            return
        ring, start, arc = rng.uniform(0.7, 2.2), rng.uniform(0, 6.28), rng.uniform(2.0, 5.5)
        count = int(rng.integers(8, 20 + round(14 * self.severity)))
        angle = start + rng.uniform(0.0, arc, count)
        radius = ring + rng.normal(0.0, 0.25, count)
        spots = leak[0] + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        for x, y in self.kept(spots, count):
            size = rng.uniform(0.1, 0.34)
            self.spot(self.layers.deep, (x, y), size, edge=0.4, strength=rng.uniform(0.65, 0.95))

    def cotton(self, points: Points) -> None:
        """Lay cotton wool spots."""
        for x, y in self.kept(points, len(points), 1.3):
            for _ in range(3):
                dx, dy = self.rng.normal(0.0, 0.3, 2)
                size = self.rng.uniform(0.45, 0.95)
                self.spot(self.layers.fluffy, (x + dx, y + dy), size, edge=1.1, strength=self.rng.uniform(0.5, 0.78))

    def new_vessels(self, *, on_disc: bool, elsewhere: int) -> None:
        """Weave nets of fine new vessels on the disc or beside an arcade."""
        rng, view = self.rng, self.view
        hearts = [np.array(self.anatomy.disc) + rng.normal(0.0, 0.5, 2)] if on_disc else []
        hearts += list(self.polar(elsewhere, (7.0, 15.0)))
        layer = Image.new("L", (view.size_px * 2, view.size_px * 2))
        pen = ImageDraw.Draw(layer)
        for heart in hearts:
            reach = rng.uniform(2.2, 3.6)
            for _ in range(int(rng.integers(10, 18))):
                turn = rng.uniform(0, 6.28) + np.cumsum(rng.normal(0.0, 0.42, 30)) + rng.normal(0, 0.06) * np.arange(30)
                course = heart + np.stack([np.cos(turn), np.sin(turn)], axis=1).cumsum(axis=0) * (reach / 16.0)
                pen.line(
                    (view.to_px(course) * 2.0 + 0.5).ravel().tolist(),
                    fill=int(rng.integers(130, 235)), width=max(1, round(0.13 * view.px_per_degree * 2.0)),
                )  # fmt: skip
        drawn = np.asarray(layer.reduce(2), dtype=np.float32) / np.float32(255.0)
        np.maximum(self.layers.blood, drawn * np.float32(0.7), out=self.layers.blood)

    def preretinal(self) -> None:
        """Fill a boat-shaped hemorrhage before the retina: blood settles, so its upper border is level."""
        rng, view = self.rng, self.view
        place = self.polar(1, (6.0, 12.0))
        if not len(place):
            return
        x, y = view.to_px(place)[0]
        wide = rng.uniform(1.8, 3.8) * view.px_per_degree
        stamp(self.layers.pool, (float(x), float(y)), float(wide), aspect=float(rng.uniform(0.6, 0.85)), edge=0.08)
        level = int(y - 0.12 * wide)
        self.layers.pool[: max(0, level)] = 0.0

    def _fiber(self, point: NDArray[np.float64]) -> float:
        """Give the direction of the nerve fibers at a point."""
        out = point - np.array(self.anatomy.disc)
        away = float(np.hypot(*out))
        radial = out / max(away, 1e-6)
        round_fovea = np.array([-abs(point[1]), math.copysign(1.0, point[1]) * point[0]])
        round_fovea = round_fovea / max(float(np.hypot(*round_fovea)), 1e-6)
        share = min(1.0, away / 12.0) if out[0] < 0 else 0.0
        mixed = (1.0 - share) * radial + share * round_fovea
        return math.atan2(mixed[1], mixed[0])

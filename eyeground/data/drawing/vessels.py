"""The vessel tree of a fundus phantom."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from eyeground.data.drawing.anatomy import Anatomy, View
from eyeground.data.drawing.signs import Signs

_STEP = 0.35  # degrees between two points of a vessel
_SUPERSAMPLE = 2


@dataclass(frozen=True, eq=False)
class VesselTree:
    """All vessels of an eye, point after point, vessel after vessel.

    Args:
        points: Course, shape (M, 2), retinal coordinates. Unit: degrees.
        width: Caliber at each point, shape (M,). Unit: degrees.
        starts: First point of each of the V vessels, and M at the end, shape (V + 1,).
        vein: Vein, or else artery, shape (V,).

    Example:
        >>> tree = VesselTree(np.zeros((2, 2)), np.array([0.4, 0.3]), np.array([0, 2]), np.array([True]))
        >>> len(tree.vein)
        1

    References:
        Our own.
    """

    points: NDArray[np.float64]
    width: NDArray[np.float64]
    starts: NDArray[np.int64]
    vein: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Course:
    """One unbranched vessel before eye and disease wind it."""

    points: NDArray[np.float64]
    width: NDArray[np.float64]
    vein: bool
    quadrant: int


def grow_vessels(anatomy: Anatomy, signs: Signs) -> VesselTree:
    """Grow the arteries and veins of an eye.

    Four artery-vein pairs leave the disc; the temporal two arch around the macula, and branches of three orders fill
    the space between without entering the foveal avascular zone. The same eye grows the same tree whatever the signs:
    they only change caliber, winding, beading and the place where the trunks leave the disc.

    Args:
        anatomy: The eye.
        signs: What a disease does to its vessels.

    Returns:
        The tree, from thin vessels to thick, so that drawn in this order the trunks lie on top.

    Example:
        >>> from eyeground.data.drawing.anatomy import draw_anatomy
        >>> tree = grow_vessels(draw_anatomy(1, "OD"), Signs())
        >>> bool(tree.width[0] < tree.width[tree.starts[-2]])
        True

    References:
        Our own; branching by Murray's law, Proc Natl Acad Sci 1926;12:207.
    """
    rng = np.random.default_rng([anatomy.vessel_seed, 21])
    courses: list[_Course] = []
    for vein in (True, False):
        for quadrant in range(4):
            trunk = _trunk(rng, anatomy, vein, quadrant)
            courses.append(trunk)
            courses.extend(_branches(rng, trunk, 1))
        courses.extend(_macular(rng, anatomy, vein, side) for side in (0, 1))
    courses.sort(key=lambda course: float(course.width[0]))
    return _wind(rng, courses, signs, anatomy)


def rasterize(tree: VesselTree, view: View) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Draw vessels into two layers.

    Args:
        tree: The vessels, thin ones first.
        view: Where the camera looks.

    Returns:
        Arteries and veins, each (H, W) float32 in [0, 1]: how much of a full vessel the light passes. Vessels finer
        than a pixel are fainter, as they are in a photograph.

    Example:
        >>> view = View(32, 4.0, (16.0, 16.0), (16.0, 16.0), 16.0, 1, 0.0, np.ones((32, 32), np.float32))
        >>> line = np.stack([np.linspace(-3, 3, 9), np.zeros(9)], axis=1)
        >>> tree = VesselTree(line, np.full(9, 0.5), np.array([0, 9]), np.array([True]))
        >>> arteries, veins = rasterize(tree, view)
        >>> float(arteries.max()), bool(veins[16, 16] > 0.8)
        (0.0, True)

    References:
        Our own.
    """
    points = (view.to_px(tree.points) + 0.5) * _SUPERSAMPLE - 0.5
    width = tree.width * view.px_per_degree
    # Pillow's polygons include their outline, which makes them about one (fine) pixel wider.
    half = np.maximum((width * _SUPERSAMPLE - 1.0) / 2.0, 0.0)[:, None]
    normal = _normals(points, tree.starts)
    left, right = (points + normal * half).astype(np.float32), (points - normal * half).astype(np.float32)
    sums = np.add.reduceat(width, tree.starts[:-1]) / np.diff(tree.starts)
    fills = np.minimum(255, 255 * (0.25 + 0.5 * sums)).astype(int).tolist()
    layers = [Image.new("L", (view.size_px * _SUPERSAMPLE,) * 2) for _ in range(2)]
    pens = [ImageDraw.Draw(layer) for layer in layers]
    ends = tree.starts.tolist()
    for first, last, fill, vein in zip(ends[:-1], ends[1:], fills, tree.vein.tolist(), strict=True):
        outline = np.concatenate([left[first:last], right[first:last][::-1]])
        pens[vein].polygon(outline.ravel().tolist(), fill=fill)
    arteries, veins = (np.asarray(layer.reduce(_SUPERSAMPLE), dtype=np.float32) / np.float32(255.0) for layer in layers)
    return arteries, veins


def _trunk(rng: np.random.Generator, anatomy: Anatomy, vein: bool, quadrant: int) -> _Course:
    """Lay one of the eight vessels that leave the disc."""
    x, y = anatomy.disc
    rx, ry = anatomy.disc_radius
    down = 1.0 if quadrant % 2 else -1.0
    high = anatomy.arcade_height + (0.4 if vein else -0.3)
    root = (x + rx * float(rng.uniform(0.0, 0.4)), y + down * ry * float(rng.uniform(0.0, 0.25)))
    jitter = rng.normal(0.0, 1.0, (7, 2))
    if quadrant < 2:
        marks = [
            root,
            (x - 0.1 * rx, y + down * 1.2 * ry),
            (x - 4.4, y * 0.6 + down * (high * 0.78)),
            (4.5, down * high),
            (-3.5, down * high * 0.98),
            (-11.0, down * high * float(rng.uniform(0.75, 1.15))),
            (-20.0, down * high * float(rng.uniform(0.7, 1.5))),
        ]
        spread = np.array([0.0, 0.35, 0.6, 0.7, 0.8, 0.9, 0.9])
    else:
        rng.uniform(size=2)  # as many draws as above, so that every quadrant costs the same
        marks = [
            root,
            (x + 0.45 * rx, y + down * 1.1 * ry),
            (x + 4.2, y + down * 5.6),
            (x + 7.5, y + down * 9.4),
            (x + 11.0, y + down * 13.0),
            (x + 15.0, y + down * 16.0),
            (x + 19.0, y + down * 19.0),
        ]
        spread = np.array([0.0, 0.35, 0.8, 1.0, 1.2, 1.2, 1.2])
    points = _spline(np.array(marks) + jitter * spread[:, None])
    start = float(rng.uniform(0.40, 0.50)) * (1.0 if vein else 0.72) * (1.0 if quadrant < 2 else 0.8)
    return _Course(points, np.linspace(start, start * 0.42, len(points)), vein, quadrant)


def _macular(rng: np.random.Generator, anatomy: Anatomy, vein: bool, side: int) -> _Course:
    """Lay a fine vessel that runs from the disc straight to the macula."""
    x, y = anatomy.disc
    down = 1.0 if side else -1.0
    marks = np.array(
        [
            (x - 0.4, y + down * 0.5),
            (x - 3.2, y + down * 1.2),
            (9.0, down * 2.6),
            (5.2, down * 2.6),
            (2.6, down * 1.2),
        ]
    )
    points = _spline(marks + rng.normal(0.0, 0.35, marks.shape))
    return _Course(points, np.linspace(0.19 if vein else 0.15, 0.07, len(points)), vein, side)


def _branches(rng: np.random.Generator, parent: _Course, order: int) -> list[_Course]:
    """Grow the branches of a vessel, and theirs."""
    count = int(rng.integers(6, 9)) if order == 1 else int(rng.integers(1, 3))
    draws = rng.uniform(size=(count, 6)).tolist()
    found: list[_Course] = []
    for index in range(count):
        low = 0.13 if order == 1 else 0.2
        place, flip, fork, length, curve, caliber = draws[index]
        t = low + (0.95 - low) * (index + 0.1 + 0.8 * place) / count
        at = min(int(t * (len(parent.points) - 1)), len(parent.points) - 2)
        before, after = parent.points[max(0, at - 1)], parent.points[at + 1]
        heading = math.atan2(after[1] - before[1], after[0] - before[0])
        side = (1.0 if index % 2 else -1.0) * (1.0 if flip < 0.85 else -1.0)
        heading += side * (0.45 + 0.6 * fork)
        steps = max(4, int((6.0 + 7.0 * length) * 0.55 ** (order - 1) / _STEP))
        # A branch bends back toward its parent's course, as a tree's do.
        turn = heading + np.cumsum(rng.normal(-side * 0.05 * curve * _STEP, 0.07, steps))
        points = np.empty((steps + 1, 2))
        points[0] = parent.points[at]
        points[1:, 0], points[1:, 1] = np.cos(turn).cumsum(), np.sin(turn).cumsum()
        points[1:] = points[1:] * _STEP + points[0]
        start = float(parent.width[at]) * (0.5 + 0.25 * caliber)
        taper = (max(0.05, start * 0.45) - start) / steps
        branch = _Course(points, start + taper * np.arange(steps + 1), parent.vein, parent.quadrant)
        found.append(branch)
        if order < 3:
            found.extend(_branches(rng, branch, order + 1))
    return found


def _wind(rng: np.random.Generator, courses: list[_Course], signs: Signs, anatomy: Anatomy) -> VesselTree:
    """Wind and bead vessels as eye and disease demand, and end them at the foveal avascular zone."""
    lengths = np.array([len(course.points) for course in courses])
    starts = np.concatenate([[0], np.cumsum(lengths)])
    owner = np.repeat(np.arange(len(courses)), lengths)
    points = np.concatenate([course.points for course in courses])
    width = np.concatenate([course.width for course in courses])
    vein = np.array([course.vein for course in courses])
    quadrant = np.array([course.quadrant for course in courses])
    phase, phase2, bead, pitch = rng.uniform(0.0, 2.0 * math.pi, (4, len(courses)))[:, owner]
    along = (np.arange(len(points)) - starts[owner]) * _STEP

    amplitude = anatomy.tortuosity * np.where(vein, 1.0, 0.8)
    wave = amplitude[owner] * (np.sin(along * 1.15 + phase) + 0.5 * np.sin(along * 2.1 + phase2))
    extra = np.where(vein, np.array(signs.winding)[quadrant], 0.0)
    wave += extra[owner] * np.sin(along * (1.9 + 0.1 * pitch) + phase2)
    caliber = np.where(vein, np.array(signs.vein_width)[quadrant], signs.artery_width)
    beaded = np.where(vein & (np.maximum.reduceat(width, starts[:-1]) > 0.2), signs.beading, 0.0)
    width = width * caliber[owner] * (1.0 + beaded[owner] * np.sin(along * 4.6 + bead) * (along > 3.0))
    points = points + _normals(points, starts) * (wave * np.minimum(1.0, along / 2.5))[:, None]
    if signs.cup_ratio is not None and signs.cup_ratio > anatomy.cup_ratio:
        # A large cup pushes the trunks against the nasal rim.
        away = np.hypot(points[:, 0] - anatomy.disc[0], points[:, 1] - anatomy.disc[1]) / anatomy.disc_radius[1]
        points[:, 0] += 0.45 * anatomy.disc_radius[0] * np.clip(1.0 - away, 0.0, 1.0)

    near = np.hypot(points[:, 0], points[:, 1]) < 1.9
    passed = np.cumsum(near)
    before = np.concatenate([[0], passed])[starts[:-1]]
    keep = passed - before[owner] == 0
    # Some branches would begin inside the zone: they are not drawn.
    left = np.add.reduceat(keep.astype(np.int64), starts[:-1])
    keep &= (left > 1)[owner]
    left = left[left > 1]
    drawn = np.unique(owner[keep])
    return VesselTree(points[keep], width[keep], np.concatenate([[0], np.cumsum(left)]), vein[drawn])


def _normals(points: NDArray[np.float64], starts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Give the unit normal of each point's course."""
    heading = np.empty_like(points)
    heading[1:-1] = points[2:] - points[:-2]
    first, last = starts[:-1], starts[1:] - 1
    heading[first] = points[first + 1] - points[first]
    heading[last] = points[last] - points[last - 1]
    length = np.maximum(np.hypot(heading[:, 0], heading[:, 1]), 1e-9)[:, None]
    return np.stack([-heading[:, 1], heading[:, 0]], axis=1) / length


def _spline(marks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lay a Catmull-Rom curve through marks, with points about one step apart."""
    padded = np.concatenate([2 * marks[:1] - marks[1:2], marks, 2 * marks[-1:] - marks[-2:-1]])
    pieces = []
    for a, b, c, d in zip(padded[:-3], padded[1:-2], padded[2:-1], padded[3:], strict=True):
        steps = max(2, int(np.hypot(*(c - b)) / _STEP))
        t = (np.arange(steps) / steps)[:, None]
        pieces.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - 3 * c + d - a) * t**3))
    return np.concatenate([*pieces, marks[-1:]])

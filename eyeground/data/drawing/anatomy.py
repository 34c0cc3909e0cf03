"""The healthy eye behind a fundus phantom, and where the camera sees it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Anatomy:
    """What one healthy eye is like; lengths in degrees of visual angle, seen from the fovea.

    Retinal coordinates: the fovea is (0, 0), x grows toward the nose, y grows downward in the photograph. One degree
    is about 0.29 mm of retina; a disc is about 5 degrees across.

    Args:
        eye: ``"OD"`` or ``"OS"``.
        disc: Center of the optic disc (x, y). Unit: degrees.
        disc_radius: Half width and half height of the disc. Unit: degrees.
        cup_ratio: Vertical cup-to-disc ratio, [0, 1].
        melanin: Pigment of the fundus, 0 (blond) to 1 (dark).
        redness: Choroidal blood against the average, about -1 to 1.
        vessel_seed: Seed of the vessel tree.
        texture_seed: Seed of pigment and choroidal texture.
        arcade_height: Distance of the temporal arcades from the fovea. Unit: degrees.
        tortuosity: Amplitude of the vessels' winding. Unit: degrees.
        crescent: Strength of the atrophy beside the disc, [0, 1]; 0 in most eyes.
        reflex: Strength of the light reflexes around the fovea, [0, 1].

    Example:
        >>> draw_anatomy(3, "OD").disc[0] > 13
        True

    References:
        Disc to fovea 15.5 +- 1.1 degrees: Rohrschneider, Invest Ophthalmol Vis Sci 2004;45:3257.
        Cup-to-disc ratio of healthy eyes: Jonas et al., Invest Ophthalmol Vis Sci 1988;29:1151.
    """

    eye: Literal["OD", "OS"]
    disc: tuple[float, float]
    disc_radius: tuple[float, float]
    cup_ratio: float
    melanin: float
    redness: float
    vessel_seed: int
    texture_seed: int
    arcade_height: float
    tortuosity: float
    crescent: float
    reflex: float


def draw_anatomy(patient_seed: int, eye: Literal["OD", "OS"]) -> Anatomy:
    """Draw a healthy eye; both eyes of a patient share what eyes share.

    Pigment, disc size, cup and winding belong to the patient (with a small difference between the eyes); the course
    of the vessels belongs to the eye.

    Args:
        patient_seed: Seed of the patient, >= 0.
        eye: ``"OD"`` or ``"OS"``.

    Returns:
        The eye.

    Example:
        >>> draw_anatomy(1, "OD").texture_seed == draw_anatomy(1, "OS").texture_seed
        False
        >>> abs(draw_anatomy(1, "OD").melanin - draw_anatomy(1, "OS").melanin) < 0.1
        True

    References:
        Our own; see ``Anatomy``.
    """
    person = np.random.default_rng([patient_seed, 11])
    own = np.random.default_rng([patient_seed, 12, 1 if eye == "OD" else 2])
    radius = float(np.clip(person.normal(2.8, 0.25), 2.2, 3.5)) * float(own.normal(1.0, 0.02))
    return Anatomy(
        eye=eye,
        disc=(
            float(np.clip(person.normal(15.5, 0.7), 14.0, 17.0) + own.normal(0, 0.2)),
            float(np.clip(person.normal(-1.6, 0.8), -3.5, 0.3) + own.normal(0, 0.2)),
        ),
        disc_radius=(radius * float(person.uniform(0.88, 0.98)), radius),
        cup_ratio=float(np.clip(person.normal(0.34, 0.1) + own.normal(0, 0.03), 0.08, 0.55)),
        melanin=float(np.clip(person.beta(1.5, 1.3) + own.normal(0, 0.02), 0.0, 1.0)),
        redness=float(np.clip(person.normal(0, 0.5) + own.normal(0, 0.05), -1.0, 1.0)),
        arcade_height=float(person.uniform(7.6, 10.2)),
        tortuosity=float(person.gamma(3.0, 0.045)),
        crescent=float(max(0.0, person.normal(-0.2, 0.5))),
        reflex=float(person.beta(1.0, 2.5)),
        vessel_seed=int(own.integers(2**31)),
        texture_seed=int(own.integers(2**31)),
    )


@dataclass(frozen=True, eq=False)
class View:
    """Where the camera looked: the map between degrees on the retina and pixels of the square photograph.

    Args:
        size_px: Width and height of the photograph. Unit: pixels.
        px_per_degree: Scale. Unit: pixels per degree.
        fovea_px: Place of the fovea (x, y). Unit: pixels.
        center_px: Center of the round field (x, y). Unit: pixels.
        radius_px: Radius of the field. Unit: pixels.
        nasal: +1 when the nose is at the right of the photograph (right eye), -1 when at the left.
        roll: Rotation of the head against the camera. Unit: radians.
        field: Shape (H, W), float32, 1 inside the field of view, 0 outside, soft at the border.

    Example:
        >>> view = View(8, 2.0, (4.0, 4.0), (4.0, 4.0), 4.0, -1, 0.0, np.ones((8, 8), np.float32))
        >>> view.to_px(np.array([[1.0, 0.5]])).tolist()
        [[2.0, 5.0]]

    References:
        Our own.
    """

    size_px: int
    px_per_degree: float
    fovea_px: tuple[float, float]
    center_px: tuple[float, float]
    radius_px: float
    nasal: int
    roll: float
    field: NDArray[np.float32]

    def to_px(self, degrees: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn retinal points into pixel points.

        Args:
            degrees: Points from the fovea, shape (N, 2). Unit: degrees.

        Returns:
            Shape (N, 2). Unit: px.
        """
        cos, sin = np.cos(self.roll), np.sin(self.roll)
        x, y = degrees[:, 0], degrees[:, 1]
        right, down = self.nasal * (x * cos - y * sin), x * sin + y * cos
        return np.asarray(np.stack([right, down], axis=1) * self.px_per_degree + self.fovea_px, dtype=np.float64)

    def direction(self, angle: float) -> float:
        """Turn a direction on the retina into one in the photograph.

        Args:
            angle: From x toward y. Unit: radians.

        Returns:
            The same, in the photograph.
        """
        angle += self.roll
        return float(np.arctan2(np.sin(angle), self.nasal * np.cos(angle)))

    def degrees(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Give the retinal x and y of every pixel, each (H, W), in degrees."""
        scale = np.float32(1.0 / self.px_per_degree)
        line = np.arange(self.size_px, dtype=np.float32)
        right = ((line - np.float32(self.fovea_px[0])) * scale * self.nasal)[None, :]
        down = ((line - np.float32(self.fovea_px[1])) * scale)[:, None]
        cos, sin = np.float32(np.cos(self.roll)), np.float32(np.sin(self.roll))
        return right * cos + down * sin, down * cos - right * sin

    def inside(self, px: NDArray[np.float64], margin_px: float) -> NDArray[np.bool_]:
        """Say which points lie in the field.

        Args:
            px: Points, shape (N, 2). Unit: px.
            margin_px: How far inside on all four sides.

        Returns:
            Shape (N,).
        """
        answer = np.ones(len(px), dtype=np.bool_)
        for dx, dy in ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)):
            x = np.round(px[:, 0] + dx * margin_px).astype(int)
            y = np.round(px[:, 1] + dy * margin_px).astype(int)
            within = (x >= 0) & (x < self.size_px) & (y >= 0) & (y < self.size_px)
            answer &= within
            answer[within] &= self.field[y[within], x[within]] > 0.99
        return answer

"""Whether two pictures are the same one, stored twice: laid over each other and compared pixel by pixel."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from eyeground.data.exam.fingerprints import upright_gray

SIDE_PX: Final = 128
_MOST_SHIFT: Final = 0.08  # of the side
_SCALES: Final = (0.88, 0.94, 1.0, 1.06, 1.13)
_TURNS_DEGREES: Final = (-4.0, -2.0, 2.0, 4.0)
_HOPELESS, _GOOD = 0.3, 0.9
_WORTH_TURNING: Final = 0.85
_LEAST_COMMON: Final = 0.3  # of the square
# Vessels and layers (1 to 4 px of 128), and the finest that survives a resize (0.6 to 2 px).
_BANDS: Final = ((1.0, 4.0), (0.6, 2.0))


@dataclass(frozen=True)
class Match:
    """How far two pictures agree when laid over each other as well as possible.

    Args:
        structure: Correlation of vessels and layers, -1 to 1.
        finest: Correlation of the finest detail, -1 to 1.
        shade: Correlation of brightness, -1 to 1.

    Example:
        >>> Match(0.99, 0.95, 1.0).same
        True

    References:
        Our own.
    """

    structure: float
    finest: float
    shade: float

    @property
    def same(self) -> bool:
        """Whether they are one picture.

        Set on copies of 200 real photographs and scans and on their nearest strangers: hazy photographs of one camera
        share the dust on its lens (structure up to 0.93, finest 0.81), but then the light falls otherwise.
        """
        return (self.shade >= 0.99 and self.structure >= 0.72 and self.finest >= 0.42) or (
            self.shade >= 0.95 and self.structure >= 0.85 and self.finest >= 0.83
        )

    @property
    def surely_same(self) -> bool:
        """Whether they are one picture even if one had to be mirrored or turned for it.

        The two eyes of one person mirror each other (structure up to 0.90, finest 0.76), and so do neighbors in a scan.
        """
        return self.shade >= 0.98 and self.structure >= 0.94 and self.finest >= 0.87


Square = tuple[NDArray[np.float32], NDArray[np.bool_]]


def square_of(pixels: NDArray[np.uint8], side_px: int = SIDE_PX) -> Square:
    """Bring a picture to the square that is compared.

    Args:
        pixels: Colors, shape (H, W, 3), uint8.
        side_px: Side of the square. Unit: px.

    Returns:
        Gray and where the picture reaches, both (side_px, side_px).

    Example:
        >>> square_of(np.zeros((40, 60, 3), np.uint8))[0].shape
        (128, 128)

    References:
        Our own.
    """
    gray, inside, _ = upright_gray(pixels, side_px)
    return gray, inside


@dataclass(frozen=True)
class Pose:
    """How the second of two squares lies over the first.

    Args:
        scale: How much it is enlarged.
        degrees: How far it is turned. Unit: degrees.
        score: Correlation of structure in that pose.

    Example:
        >>> Pose(1.0, 0.0, 0.9).scale
        1.0

    References:
        Our own.
    """

    scale: float
    degrees: float
    score: float


def rough_match(first: Square, second: Square) -> tuple[Pose, Match]:
    """Lay two small squares over each other, shifting, scaling and slightly turning the second: a sieve.

    Args:
        first: One picture, already mirrored or turned by right angles to match.
        second: The other, of the same size.

    Returns:
        The best pose of a few, and how far they agree in it.

    Example:
        >>> noise = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.float32)
        >>> everywhere = np.ones((64, 64), bool)
        >>> rough_match((noise, everywhere), (noise, everywhere))[0].scale
        1.0

    References:
        Kuglin & Hines, "The phase correlation image alignment method", 1975, for shifts by way of Fourier transforms.
    """
    over = _Over(first)
    pose = over.best_of([(scale, 0.0) for scale in _SCALES], second)
    if _HOPELESS < pose.score < _GOOD:
        turned = over.best_of([(pose.scale, degrees) for degrees in _TURNS_DEGREES], second)
        pose = turned if turned.score > pose.score else pose
    return pose, over.compare(pose, second)


def match(first: Square, second: Square, near: Pose) -> Match:
    """Compare two squares pixel by pixel, near a pose that is known roughly.

    Args:
        first: One picture, already mirrored or turned by right angles to match.
        second: The other, of the same size.
        near: As ``rough_match`` gave it for smaller squares.

    Returns:
        How far they agree at best.

    Example:
        >>> noise = np.random.default_rng(0).integers(0, 255, (128, 128)).astype(np.float32)
        >>> everywhere = np.ones((128, 128), bool)
        >>> match((noise, everywhere), (noise * 0.8 + 10, everywhere), Pose(1.0, 0.0, 0.9)).same
        True

    References:
        Our own.
    """
    over = _Over(first)
    pose = over.best_of([(near.scale * factor, near.degrees) for factor in (0.97, 0.985, 1.0, 1.015, 1.03)], second)
    if pose.score < _GOOD and near.score > _WORTH_TURNING:  # the small squares hide a turn of a few degrees
        for step in (2.0, 1.0, 0.5):
            around = [(pose.scale, pose.degrees + degrees) for degrees in (-step, 0.0, step)]
            pose = over.best_of(around, second)
    return over.compare(pose, second)


class _Over:
    """One square, ready for others to be laid over it."""

    def __init__(self, first: Square) -> None:
        self.gray, self.inside = first
        self.side = self.gray.shape[0]
        self.most = max(1, round(_MOST_SHIFT * self.side))
        self.structure = _band(self.gray, self.inside, *_BANDS[0])
        self.spectrum = np.conj(np.fft.rfft2(self.structure, (2 * self.side,) * 2))

    def best_of(self, ways: list[tuple[float, float]], second: Square) -> Pose:
        """The pose of some (scale, degrees) in which the other fits best."""
        return max((Pose(*way, self._try(way, second)[0]) for way in ways), key=lambda pose: pose.score)

    def compare(self, pose: Pose, second: Square) -> Match:
        """All three correlations in one pose."""
        score, (down, right), (gray, inside) = self._try((pose.scale, pose.degrees), second)
        moved, reach = _shifted(gray, down, right), _shifted_inside(inside, down, right)
        common = self.inside & reach
        if common.mean() < _LEAST_COMMON:
            return Match(0.0, 0.0, 0.0)
        finest = _correlation(
            _band(self.gray, self.inside, *_BANDS[1]),
            _shifted(_band(gray, inside, *_BANDS[1]), down, right),
            common,
        )
        return Match(score, finest, _correlation(self.gray, moved, common))

    def _try(self, way: tuple[float, float], second: Square) -> tuple[float, tuple[int, int], Square]:
        """Find the best shift at one scale and angle."""
        gray, inside = _resampled(second, *way)
        structure = _band(gray, inside, *_BANDS[0])
        # The peak of the cross-correlation says how far the second must move.
        peaks = np.fft.irfft2(self.spectrum * np.fft.rfft2(structure, (2 * self.side,) * 2))
        window = np.roll(peaks, (self.most, self.most), (0, 1))[: 2 * self.most + 1, : 2 * self.most + 1]
        place = np.unravel_index(int(window.argmax()), window.shape)
        down, right = self.most - int(place[0]), self.most - int(place[1])
        common = self.inside & _shifted_inside(inside, down, right)
        if common.mean() < _LEAST_COMMON:
            return -1.0, (0, 0), (gray, inside)
        return _correlation(self.structure, _shifted(structure, down, right), common), (down, right), (gray, inside)


def _resampled(second: Square, scale: float, degrees: float) -> Square:
    """Scale and turn a square about its middle."""
    if scale == 1.0 and degrees == 0.0:
        return second
    gray, inside = second
    middle = (gray.shape[0] - 1) / 2
    radians = np.deg2rad(degrees)
    matrix = np.array([[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]]) / scale
    offset = middle - matrix @ np.array([middle, middle])
    moved = ndimage.affine_transform(gray, matrix, offset, order=1, mode="nearest")
    reach = ndimage.affine_transform(inside.astype(np.float32), matrix, offset, order=1, mode="constant") > 0.99
    return moved, reach


def _band(gray: NDArray[np.float32], inside: NDArray[np.bool_], fine: float, coarse: float) -> NDArray[np.float32]:
    """Keep structures between two sizes; outliers are cut, so that one bright spot does not decide."""
    weight = inside.astype(np.float32)
    values = gray * weight
    fine_blur, coarse_blur = (
        ndimage.gaussian_filter(values, width, truncate=3)
        / np.maximum(ndimage.gaussian_filter(weight, width, truncate=3), 1e-3)
        for width in (fine, coarse)
    )
    kept = (fine_blur - coarse_blur) * weight
    spread = 1.4826 * float(np.median(np.abs(kept[inside]))) + 1e-3 if inside.any() else 1.0
    evened: NDArray[np.float32] = np.clip(kept / spread, -4, 4).astype(np.float32)
    return evened


def _shifted(values: NDArray[np.float32], down: int, right: int) -> NDArray[np.float32]:
    """Move an array; what comes around is masked by ``_shifted_inside``."""
    return np.roll(values, (down, right), (0, 1))


def _shifted_inside(inside: NDArray[np.bool_], down: int, right: int) -> NDArray[np.bool_]:
    """Move a mask; what would come around is outside."""
    moved = np.roll(inside, (down, right), (0, 1))
    if down:
        moved[:down] &= down < 0
        moved[down if down < 0 else len(moved) :] = False
    if right:
        moved[:, :right] &= right < 0
        moved[:, right if right < 0 else moved.shape[1] :] = False
    return moved


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32], where: NDArray[np.bool_]) -> float:
    """Pearson's correlation over some pixels; 0 where one of them is flat."""
    x, y = a[where].astype(np.float64), b[where].astype(np.float64)
    x -= x.mean()
    y -= y.mean()
    scale = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return float((x * y).sum()) / scale if scale > 1e-6 else 0.0

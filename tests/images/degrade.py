"""Plants faults in sound images, in two strengths, so that the quality gate can be held to them."""

import io
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft, ndimage

from eyeground.images.field import Field, find_field

Fault = Literal["defocus", "dark", "bright", "haze", "cut"]
Strength = Literal["mild", "severe"]
FAULTS: Final[tuple[Fault, ...]] = ("defocus", "dark", "bright", "haze", "cut")
STRENGTHS: Final[tuple[Strength, ...]] = ("mild", "severe")
# What the gate should say, by modality.
REASONS: Final[dict[str, dict[str, str]]] = {
    "fundus": {
        "defocus": "out of focus",
        "dark": "too dark",
        "bright": "too bright",
        "haze": "haze",
        "cut": "field cut off",
    },
    "oct": {
        "defocus": "out of focus",
        "dark": "too dark",
        "bright": "too bright",
        "haze": "weak signal",
        "cut": "field cut off",
    },
}
_BLUR = {"mild": 0.008, "severe": 0.028}  # radius of the disc of confusion over the field's diameter
_DARK = {"mild": 50.0, "severe": 16.0}  # level of the brightest channel that half of the field falls below
_BRIGHT = {"mild": 190.0, "severe": 330.0}  # the same of the green channel, before it is clipped at 255
_VEIL = {"mild": 0.45, "severe": 0.75}  # share of the light that comes from the veil
_REACH = {"mild": 0.45, "severe": 0.05}  # what is left of the radius on the cut side


def degrade(
    pixels: NDArray[np.uint8], fault: Fault, strength: Strength, *, seed: int, modality: str
) -> NDArray[np.uint8]:
    """Plant one fault: light first, then the sensor's noise, then JPEG, as a camera would."""
    rng = np.random.default_rng([seed, FAULTS.index(fault), STRENGTHS.index(strength)])
    plant = _in_photograph if modality == "fundus" else _in_scan
    light = plant(pixels, fault, strength, rng)
    noise = rng.standard_normal(light.shape[:2])[:, :, None] if modality == "oct" else rng.standard_normal(light.shape)
    lit = light > 2 if fault != "cut" else np.zeros(light.shape, np.bool_)  # a cut takes no new picture
    values = np.clip(np.round(light + np.where(lit, 1.2 * noise, 0)), 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "JPEG", quality=int(rng.integers(80, 93)))
    return np.asarray(Image.open(stream).convert("RGB"))


def _in_photograph(
    pixels: NDArray[np.uint8], fault: Fault, strength: Strength, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Fault of a fundus photograph; the rim of the field stays sharp, as it does in a camera."""
    height, width = pixels.shape[:2]
    field = find_field(pixels) or Field(width / 2, height / 2, min(width, height) / 2, 0, 0, width, height)
    values = pixels.astype(np.float64)
    inside = _inside(pixels, field)
    if fault == "defocus":
        return np.where(inside[:, :, None], _defocused(values, inside, 2 * field.radius_px * _BLUR[strength]), values)
    if fault == "dark":
        return values * min(0.8, _DARK[strength] / max(1.0, float(np.median(values[inside].max(axis=1)))))
    if fault == "bright":
        gain = max(1.25, _BRIGHT[strength] / max(1.0, float(np.median(values[inside][:, 1]))))
        return np.where(inside[:, :, None], values * gain, values)
    if fault == "haze":
        tint = np.array([1.0, 0.92, 0.72]) if rng.random() < 0.5 else np.array([0.92, 0.97, 1.0])
        veil = tint * float(np.percentile(values[inside].max(axis=1), 70))
        soft = _defocused(values, inside, 2 * field.radius_px * 0.004)  # scattered light blurs a little, too
        share = _VEIL[strength]
        return np.where(inside[:, :, None], (1 - share) * soft + share * veil, values)
    return _cut(values, field, _REACH[strength], rng)


def _in_scan(
    pixels: NDArray[np.uint8], fault: Fault, strength: Strength, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Fault of a B-scan, which must not have a white border."""
    values = pixels.astype(np.float64)
    height, width = values.shape[:2]
    bright = float(np.percentile(values, 99))
    if fault == "defocus":
        sigma = {"mild": 0.006, "severe": 0.020}[strength] * width
        return ndimage.gaussian_filter(values, (sigma, sigma, 0))
    if fault == "dark":
        return values * min(0.8, {"mild": 75.0, "severe": 18.0}[strength] / max(1.0, bright))
    if fault == "bright":
        # the gain at which a tenth of the scan is at its limit, or half of it
        return values * max(1.3, 255 / max(1.0, float(np.percentile(values, {"mild": 90, "severe": 50}[strength]))))
    if fault == "haze":  # less comes back from the retina, and the gain turned up shows more noise
        share = {"mild": 0.5, "severe": 0.8}[strength]
        speckle = rng.gamma(1.5, 1 / 1.5, (height, width))[:, :, None]
        return (1 - share) * values + share * 0.30 * bright * speckle
    return _slid(values, {"mild": 0.35, "severe": 0.8}[strength], rng)


def _inside(pixels: NDArray[np.uint8], field: Field) -> NDArray[np.bool_]:
    """Where the field is: within its circle, and not black."""
    y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    lit = ndimage.median_filter(pixels[::2, ::2].max(axis=2), 5).repeat(2, axis=0).repeat(2, axis=1)
    lit = lit[: pixels.shape[0], : pixels.shape[1]] > 12
    circle = np.hypot(x + 0.5 - field.center_x_px, y + 0.5 - field.center_y_px) < field.radius_px * 0.985
    box = (x >= field.left) & (x < field.right) & (y >= field.top) & (y < field.bottom)
    inside: NDArray[np.bool_] = circle & box & lit
    return inside


def _defocused(values: NDArray[np.float64], inside: NDArray[np.bool_], radius_px: float) -> NDArray[np.float64]:
    """Blur with a disc of confusion; nothing from outside the field leaks in."""
    reach = int(np.ceil(radius_px)) + 1
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.clip(radius_px + 0.5 - np.hypot(x, y), 0, 1)  # its rim fades over one pixel
    disc /= disc.sum()
    weight = np.maximum(_convolved(inside.astype(np.float64), disc), 1e-3)
    channels = [_convolved(values[:, :, k] * inside, disc) / weight for k in range(3)]
    return np.stack(channels, axis=2)


def _convolved(values: NDArray[np.float64], kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convolution by Fourier transform, zeros outside, same size."""
    pad = kernel.shape[0] // 2
    shape = [fft.next_fast_len(n + 2 * pad, real=True) for n in values.shape]
    product = fft.rfft2(values, shape) * fft.rfft2(kernel, shape)
    full = fft.irfft2(product, shape)
    return full[pad : pad + values.shape[0], pad : pad + values.shape[1]]


def _cut(values: NDArray[np.float64], field: Field, reach: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Take away one side of the field: either the frame ends there, or something black (a lid) lies over it."""
    height, width = values.shape[:2]
    side, lid = int(rng.integers(4)), rng.random() < 0.5
    left, right, top, bottom = 0, width, 0, height
    if side == 0:
        left = round(field.center_x_px - reach * field.radius_px)
    elif side == 1:
        right = round(field.center_x_px + reach * field.radius_px)
    elif side == 2:
        top = round(field.center_y_px - reach * field.radius_px)
    else:
        bottom = round(field.center_y_px + reach * field.radius_px)
    if not lid:
        return values[top:bottom, left:right]
    covered = np.full_like(values, 3.0)
    covered[top:bottom, left:right] = values[top:bottom, left:right]
    return covered


def _slid(values: NDArray[np.float64], share: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Tilt a B-scan so that the retina leaves the frame in a share of the columns, on one side, above or below."""
    height, width = values.shape[:2]
    gray = ndimage.gaussian_filter(values.mean(axis=2), (height / 100, width / 60))
    row = float(np.median(gray.argmax(axis=0)))
    above, mirrored = rng.random() < 0.5, rng.random() < 0.5
    way = row + 0.06 * height if above else height - row + 0.35 * height
    x = np.arange(width)[::-1] if mirrored else np.arange(width)
    slide = np.round(way * np.clip(1 - (x - share * width) / (0.3 * width), 0, 1)).astype(np.int64)
    rows = np.arange(height)[:, None] + (slide if above else -slide)[None, :]  # (H, W): where each pixel comes from
    edge = rng.integers(0, max(2, height // 12), rows.shape)  # what slides in: rows from the border, shuffled
    rows = np.where(rows >= height, height - 1 - edge, np.where(rows < 0, edge, rows))
    return np.take_along_axis(values, rows[:, :, None], axis=0)

"""Draws pictures that are no fundus photograph and no B-scan: eyes from the front, pages, plots, patterns."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage
from sklearn.datasets import load_sample_images

Picture = NDArray[np.uint8]


def draw_anterior(seed: int, *, width_px: int = 480, height_px: int = 360) -> Picture:
    """An eye from the front: skin, lashes, white sclera, an iris with its dark pupil, a highlight."""
    rng = np.random.default_rng([seed, 50])
    scale = 2
    width, height = width_px * scale, height_px * scale
    skin = np.array(rng.choice([[224, 172, 140], [198, 140, 105], [141, 92, 66], [240, 200, 175]]))
    image = Image.new("RGB", (width, height), tuple(int(v) for v in skin))
    pen = ImageDraw.Draw(image)
    x, y = width * rng.uniform(0.42, 0.58), height * rng.uniform(0.42, 0.58)
    half_x, half_y = width * rng.uniform(0.36, 0.5), height * rng.uniform(0.26, 0.44)
    turns = np.linspace(0, 2 * np.pi, 80)
    almond = [(x + half_x * np.cos(t), y + half_y * np.sign(np.sin(t)) * abs(np.sin(t)) ** 1.3) for t in turns]
    lid = Image.new("L", image.size, 0)
    ImageDraw.Draw(lid).polygon(almond, fill=255)
    eye = Image.new("RGB", image.size, tuple(int(v) for v in rng.integers(215, 245, 1).repeat(3) - [0, 6, 10]))
    inside = ImageDraw.Draw(eye)
    for _ in range(25):  # vessels of the conjunctiva
        a = rng.uniform(0, 2 * np.pi)
        near, far = (
            np.array([half_x * r * np.cos(a + e), half_y * r * np.sin(a + e)]) for r, e in ((0.95, 0.0), (0.6, 0.1))
        )
        inside.line([(x + near[0], y + near[1]), (x + far[0], y + far[1])], fill=(200, 120, 110), width=2)
    iris = half_y * rng.uniform(0.7, 0.95)
    color = np.array(rng.choice([[95, 62, 35], [60, 100, 130], [80, 110, 70], [55, 38, 25]]))
    inside.ellipse([x - iris, y - iris, x + iris, y + iris], fill=tuple(int(v) for v in color * 0.55))
    inner = iris * 0.93
    inside.ellipse([x - inner, y - inner, x + inner, y + inner], fill=tuple(int(v) for v in color))
    pupil = iris * rng.uniform(0.28, 0.6)
    for a in rng.uniform(0, 2 * np.pi, 120):
        shade = tuple(int(v) for v in np.clip(color * rng.uniform(0.7, 1.4), 0, 255))
        inside.line(
            [(x + pupil * np.cos(a), y + pupil * np.sin(a)), (x + inner * np.cos(a), y + inner * np.sin(a))],
            fill=shade,
            width=2,
        )
    inside.ellipse([x - pupil, y - pupil, x + pupil, y + pupil], fill=(12, 10, 10))
    spot = iris * 0.13
    at_x, at_y = x + iris * rng.uniform(-0.5, 0.5), y - iris * rng.uniform(0.2, 0.5)
    inside.ellipse([at_x - spot, at_y - spot, at_x + spot, at_y + spot], fill=(252, 252, 252))
    image.paste(eye, mask=lid.filter(ImageFilter.GaussianBlur(3)))
    for t in np.linspace(np.pi * 1.08, np.pi * 1.92, 40):  # lashes of the upper lid
        foot = (x + half_x * np.cos(t), y - half_y * abs(np.sin(t)) ** 1.3)
        pen.line([foot, (foot[0] + 40 * np.cos(t), foot[1] - rng.uniform(30, 60))], fill=(30, 22, 18), width=4)
    small = image.resize((width_px, height_px), Image.Resampling.LANCZOS)
    noise = rng.standard_normal((height_px, width_px, 1)) * 3
    shade = 1 + 0.25 * np.linspace(-1, 1, width_px)[None, :, None] * rng.uniform(-1, 1)
    return np.clip(np.asarray(small) * shade + noise, 0, 255).astype(np.uint8)


def _noise(rng: np.random.Generator) -> Picture:
    return rng.integers(0, 256, (300, 400, 3)).astype(np.uint8)


def _gray_noise(rng: np.random.Generator) -> Picture:
    return np.repeat(rng.integers(0, 256, (300, 400, 1)), 3, axis=2).astype(np.uint8)


def _soft_noise(rng: np.random.Generator) -> Picture:
    rough = ndimage.gaussian_filter(rng.standard_normal((300, 400)), rng.uniform(4, 25))
    rough = (rough - rough.min()) / np.ptp(rough) * 255
    return np.repeat(rough[:, :, None], 3, axis=2).astype(np.uint8)


def _gradient(rng: np.random.Generator) -> Picture:
    turn = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:300, :400]
    ramp = np.cos(turn) * x + np.sin(turn) * y
    ramp = (ramp - ramp.min()) / np.ptp(ramp)
    ends = rng.integers(0, 256, (2, 3)) if rng.random() < 0.5 else rng.integers(0, 256, (2, 1)).repeat(3, axis=1)
    return (ends[0] + ramp[:, :, None] * (ends[1] - ends[0])).astype(np.uint8)


def _page(rng: np.random.Generator) -> Picture:
    dark = rng.random() < 0.3
    image = Image.new("RGB", (500, 600), (15, 15, 15) if dark else (250, 250, 248))
    pen = ImageDraw.Draw(image)
    for row in range(30, 570, 16):
        words = " ".join("".join(chr(97 + int(c)) for c in rng.integers(0, 26, int(n))) for n in rng.integers(2, 9, 11))
        pen.text((35, row), words[: int(rng.integers(20, 75))], fill=(230, 230, 230) if dark else (20, 20, 25))
    return np.asarray(image)


def _plot(rng: np.random.Generator) -> Picture:
    dark = rng.random() < 0.5
    image = Image.new("RGB", (480, 360), (0, 0, 0) if dark else (255, 255, 255))
    pen = ImageDraw.Draw(image)
    ink = (230, 230, 230) if dark else (0, 0, 0)
    pen.rectangle([50, 30, 450, 320], outline=ink)
    for k in range(int(rng.integers(1, 4))):
        height = 180 + np.cumsum(rng.standard_normal(400)) * 3
        color = ink if k == 0 else tuple(int(v) for v in rng.integers(60, 256, 3))
        pen.line([(50 + i, float(h)) for i, h in enumerate(np.clip(height, 35, 315))], fill=color, width=2)
    for tick in range(60, 450, 50):
        pen.text((tick, 325), str(tick), fill=ink)
    return np.asarray(image)


def _board(rng: np.random.Generator) -> Picture:
    size = int(rng.integers(8, 60))
    y, x = np.mgrid[:320, :420]
    return np.repeat((((x // size + y // size) % 2) * 255)[:, :, None], 3, axis=2).astype(np.uint8)


def _stripes(rng: np.random.Generator) -> Picture:
    period = rng.uniform(10, 60)
    along = np.mgrid[:320, :420][int(rng.integers(2))]
    wave = 127 + 120 * np.sin(along / period * 2 * np.pi)
    return np.repeat(wave[:, :, None], 3, axis=2).astype(np.uint8)


def _skin(rng: np.random.Generator) -> Picture:
    """Skin-colored blobs on something plain."""
    image = Image.new("RGB", (420, 320), tuple(int(v) for v in rng.integers(40, 256, 3)))
    pen = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(1, 5))):
        x, y, a, b = rng.uniform(60, 360), rng.uniform(60, 260), rng.uniform(30, 140), rng.uniform(30, 120)
        tone = rng.choice([[224, 172, 140], [198, 140, 105], [141, 92, 66]])
        pen.ellipse([x - a, y - b, x + a, y + b], fill=tuple(int(v) for v in tone))
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 8)))))
    return np.clip(soft + rng.standard_normal(soft.shape) * 4, 0, 255).astype(np.uint8)


def _solid_disc(rng: np.random.Generator) -> Picture:
    y, x = np.mgrid[:300, :360]
    disc = np.hypot(x - 180, y - 150) < rng.uniform(60, 145)
    return np.where(disc[:, :, None], rng.integers(60, 256, 3), 0).astype(np.uint8)


def _flat(rng: np.random.Generator) -> Picture:
    return np.broadcast_to(rng.integers(0, 256, 3), (300, 300, 3)).astype(np.uint8)


def _chest(rng: np.random.Generator) -> Picture:
    """Roughly what a chest X-ray looks like from afar."""
    y, x = np.mgrid[:400, :400] / 200.0 - 1
    light = 0.75 - 0.25 * np.abs(x)
    for side in (-1, 1):
        light -= 0.5 * np.exp(-(((x - 0.42 * side) / 0.26) ** 4) - ((y + 0.05) / 0.55) ** 4)
    light += 0.06 * np.sin(y * rng.uniform(22, 30) + 2 * x**2) + 0.02 * rng.standard_normal(x.shape)
    return np.repeat((np.clip(light, 0, 1) * 255)[:, :, None], 3, axis=2).astype(np.uint8)


def _crop(rng: np.random.Generator, *, gray: bool) -> Picture:
    """A piece of one of scikit-learn's two photographs."""
    whole = load_sample_images().images[int(rng.integers(2))]
    side = int(rng.integers(150, 420))
    top, left = int(rng.integers(0, whole.shape[0] - side)), int(rng.integers(0, whole.shape[1] - side))
    piece = whole[top : top + side, left : left + side]
    return np.repeat(piece.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8) if gray else piece


NEGATIVES: dict[str, Callable[[np.random.Generator], Picture]] = {
    "color noise": _noise,
    "gray noise": _gray_noise,
    "soft noise": _soft_noise,
    "gradient": _gradient,
    "page": _page,
    "plot": _plot,
    "board": _board,
    "stripes": _stripes,
    "skin": _skin,
    "solid disc": _solid_disc,
    "flat": _flat,
    "chest": _chest,
    "photograph": lambda rng: _crop(rng, gray=False),
    "gray photograph": lambda rng: _crop(rng, gray=True),
}


def draw_negative(kind: str, seed: int) -> Picture:
    """One picture of a kind in ``NEGATIVES``."""
    return NEGATIVES[kind](np.random.default_rng([seed, sorted(NEGATIVES).index(kind)]))

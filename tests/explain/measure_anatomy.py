"""How far from the truth disc and fovea are found, on phantoms: python -m tests.explain.measure_anatomy [COUNT].

Printed twice: for the photograph as it is, and as it is cropped and shrunk before a network sees it, which is where
``eyeground.explain.anatomy`` looks. Errors are in disc diameters. A disc or fovea farther off than one is a wrong one.
"""

import math
import sys
from collections.abc import Sequence

import numpy as np

from eyeground.data.phantom import FUNDUS_DISEASES, draw_fundus
from eyeground.data.pixels import PixelStore
from eyeground.evaluate.confidence import Estimate, bootstrap, estimates
from eyeground.images.disc import find_disc
from eyeground.images.field import crop_photograph, find_field
from eyeground.images.fovea import find_fovea

_PX = 512


def main(count: int) -> None:
    """Draw, look, and print a table."""
    store = PixelStore(crop_field=True, store_px=_PX, limit_bytes=0)
    found: dict[str, list[tuple[float, float]]] = {"as it is": [], "cropped and shrunk": []}
    for seed in range(count):
        phantom = draw_fundus(FUNDUS_DISEASES[seed % len(FUNDUS_DISEASES)], seed=seed, size_px=_PX)
        assert phantom.disc is not None
        assert phantom.fovea is not None
        whole, ready = crop_photograph(phantom.image).pixels, store.ready(phantom.image)
        field, scale = find_field(phantom.image.pixels), ready.shape[1] / whole.shape[1]
        half = whole.shape[0] // 2
        left, top = (round(field.center_x_px) - half, round(field.center_y_px) - half) if field else (0, 0)
        for name, pixels, corner, times in (
            ("as it is", phantom.image.pixels, (0, 0), 1.0),
            ("cropped and shrunk", ready, (left, top), scale),
        ):
            truth = [
                ((x - corner[0] + 0.5) * times - 0.5, (y - corner[1] + 0.5) * times - 0.5)
                for x, y in (phantom.disc, phantom.fovea)
            ]
            disc = find_disc(pixels)
            fovea = find_fovea(pixels, disc) if disc else None
            errors = (
                math.nan if place is None or disc is None else math.dist((place.x, place.y), there) / (2 * disc.radius)
                for place, there in zip((disc, fovea), truth, strict=True)
            )
            found[name].append((next(errors), next(errors)))
    print(f"{count} phantoms of {len(FUNDUS_DISEASES)} diseases at {_PX} px; errors in disc diameters")  # noqa: T201
    for name, rows in found.items():
        for what, errors in zip(("disc", "fovea"), np.array(rows).T, strict=True):
            known = errors[np.isfinite(errors)]
            far = int((known > 1).sum())
            rate = _rate(np.isfinite(errors).tolist())
            print(  # noqa: T201
                f"{name:<19} {what:<6} found {rate.value:.3f} [{rate.low:.3f}-{rate.high:.3f}]  median "
                f"{np.median(known):.3f}  95th percentile {np.percentile(known, 95):.3f}  wrong {far}"
            )


def _rate(marks: Sequence[bool]) -> Estimate:
    """A share with its 95% bootstrap interval."""
    values = np.array(marks, np.float64)[:, None]

    def share(weights: np.ndarray) -> np.ndarray:
        return (weights @ values) / weights.sum(axis=1, keepdims=True)

    samples = bootstrap(share, [str(number) for number in range(len(marks))], resamples=2000, seed=0)
    return estimates(share(np.ones((1, len(marks))))[0], samples, [""], len(marks))[0]


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)

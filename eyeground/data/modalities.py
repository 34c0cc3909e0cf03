"""What kind of images a data set holds, told from a few of them."""

from collections import Counter
from collections.abc import Sequence

from eyeground.data.sample import Sample
from eyeground.images.modality import modality_of
from eyeground.images.retinal_image import RetinalImage

_WORDS = {"fundus": "photographs of the fundus", "oct": "OCT scans", "anterior": "anterior segments"}


class Modalities:
    """Looks at some images of a set as they are read.

    Args:
        samples: All samples of the set.
        look_at: About how many to look at, spread over the set.

    Example:
        >>> import numpy as np
        >>> from pathlib import Path
        >>> sample = Sample("a.png", Path("."), None, "p")
        >>> seen = Modalities([sample])
        >>> seen.see(sample, RetinalImage(np.zeros((8, 8, 3), np.uint8), "a.png", modality="oct"))
        >>> seen.most
        'oct'

    References:
        Our own.
    """

    def __init__(self, samples: Sequence[Sample], *, look_at: int = 48) -> None:
        self._chosen = {sample.id: sample for sample in samples[:: max(1, len(samples) // look_at)]}
        self._seen: Counter[str] = Counter()

    def see(self, sample: Sample, image: RetinalImage) -> None:
        """Look at an image, if it is one of those chosen.

        Args:
            sample: Which one.
            image: Its pixels as decoded.
        """
        if sample.id in self._chosen:
            self._seen[image.modality or modality_of(image)] += 1

    def see_packed(self) -> None:
        """Read and look at those chosen that lie in shards, which nobody reads beforehand.

        Raises:
            ImageRefused: If one cannot be decoded.
            ShardBroken: If one lies in a shard that is damaged.
        """
        for sample in self._chosen.values():
            if sample.pack is not None:
                self.see(sample, sample.parcel().decode())

    @property
    def most(self) -> str:
        """``"fundus"``, ``"oct"``, ``"anterior"``, or ``""`` when most are of no known kind."""
        return self._seen.most_common(1)[0][0] if self._seen else ""

    @property
    def note(self) -> str:
        """A sentence when the set is mixed; empty otherwise."""
        kinds = {kind: count for kind, count in self._seen.most_common() if kind}
        total = sum(self._seen.values())
        if len(kinds) < 2 or max(kinds.values()) >= 0.95 * total:
            return ""
        told = ", ".join(f"{count} {_WORDS.get(kind, kind)}" for kind, count in kinds.items())
        return f"of {total} images looked at: {told}; one network learns all of them"


def mismatch(*, images: str, weights: str) -> str:
    """Warn of weights that were made from another kind of image.

    Args:
        images: What the data set holds: ``"fundus"``, ``"oct"`` ..., or ``""`` when not known.
        weights: What the weights were made from, likewise.

    Returns:
        A sentence, or ``""`` when nothing is wrong or nothing is known.

    Example:
        >>> mismatch(images="oct", weights="fundus")
        'these images are OCT scans, but the weights were made from photographs of the fundus: is that meant?'

    References:
        Our own.
    """
    if not images or not weights or images == weights:
        return ""
    return (
        f"these images are {_WORDS.get(images, images)}, but the weights were made from "
        f"{_WORDS.get(weights, weights)}: is that meant?"
    )

"""Rows of shards as samples that are made when they are asked for: a million cost no memory of their own."""

import bisect
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, chain
from typing import overload

import numpy as np
from numpy.typing import NDArray

from eyeground.data.sample import Sample
from eyeground.data.shards.opened import Shards


class _Rows(Sequence[Sample]):
    """Samples that are made when they are asked for."""

    @abstractmethod
    def _at(self, place: int) -> Sample:
        """Make the sample at a place, from 0."""

    @overload
    def __getitem__(self, place: int) -> Sample: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[Sample, ...]: ...

    def __getitem__(self, place: int | slice) -> Sample | tuple[Sample, ...]:
        if isinstance(place, slice):
            return tuple(self._at(each) for each in range(*place.indices(len(self))))
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        return self._at(place % len(self))


class ShardRows(_Rows):
    """Samples of a set of shards.

    Args:
        shards: The set.
        source: Name of the source.
        split: Split that all of them are put in; ``""`` leaves what the table says.
        labels: Whether they keep their labels.
        numbers: Which rows, in their order; None = all.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from eyeground.data.manifest import Source, read_manifest
        >>> from eyeground.data.shards.opened import open_shards
        >>> from eyeground.data.shards.writing import write_shards
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "photos" / "normal").mkdir(parents=True)
        >>> Image.new("RGB", (64, 48)).save(folder / "photos" / "normal" / "1.bmp")
        >>> found = read_manifest([Source(folder / "photos")])
        >>> _ = write_shards(found, folder / "packed", crop_field=True, store_px=32)
        >>> rows = ShardRows(open_shards(folder / "packed"), "eyes", split="train")
        >>> [(sample.id, sample.split) for sample in rows]
        [('eyes:normal/1.bmp.tif', 'train')]

    References:
        Our own.
    """

    def __init__(
        self,
        shards: Shards,
        source: str,
        *,
        split: str = "",
        labels: bool = True,
        numbers: NDArray[np.int64] | None = None,
    ) -> None:
        self.shards, self.source = shards, source
        self._split, self._labels = split, labels
        self.numbers = np.arange(len(shards)) if numbers is None else numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def _at(self, place: int) -> Sample:
        row = int(self.numbers[place])
        return self.shards.sample(row, self.source, split=self._split, labels=self._labels)


class Joined(_Rows):
    """Samples of several sources, one after the other.

    Args:
        parts: The samples of each.

    Example:
        >>> from pathlib import Path
        >>> parts = [[Sample(name, Path("."), None, "p")] for name in "ab"]
        >>> [sample.file for sample in Joined(parts)]
        ['a', 'b']

    References:
        Our own.
    """

    def __init__(self, parts: Sequence[Sequence[Sample]]) -> None:
        self.parts = tuple(parts)
        self._ends = list(accumulate(map(len, parts)))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def _at(self, place: int) -> Sample:
        part = bisect.bisect_right(self._ends, place)
        return self.parts[part][place - (self._ends[part - 1] if part else 0)]


class Hashes(Mapping[str, str]):
    """What images were made from, by the hashes of their files, without an entry for every row.

    Args:
        known: Sample id -> hash, of samples that are no rows.
        rows: Rows of shards.

    Example:
        >>> Hashes({":a": "00"}, ())[":a"]
        '00'

    References:
        Our own.
    """

    def __init__(self, known: Mapping[str, str], rows: Sequence[ShardRows]) -> None:
        self._known, self._rows = known, rows

    def __len__(self) -> int:
        return len(self._known) + sum(map(len, self._rows))

    def __iter__(self) -> Iterator[str]:
        return chain(self._known, (sample.id for each in self._rows for sample in each))

    def __getitem__(self, name: str) -> str:
        if name in self._known:
            return self._known[name]
        source, _, file = name.partition(":")
        for each in self._rows:
            if each.source == source:
                try:
                    return each.shards.origin(file)[2]
                except LookupError:
                    break
        raise KeyError(name)


def per_source(samples: Sequence[Sample]) -> Counter[str]:
    """Count samples by their source.

    Args:
        samples: The samples.

    Returns:
        Name of the source -> how many.

    Example:
        >>> from pathlib import Path
        >>> per_source([Sample("a", Path("."), None, "p", source="eyes")])
        Counter({'eyes': 1})

    References:
        Our own.
    """
    found: Counter[str] = Counter()
    for part in samples.parts if isinstance(samples, Joined) else (samples,):
        found.update({part.source: len(part)} if isinstance(part, ShardRows) else (sample.source for sample in part))
    return found

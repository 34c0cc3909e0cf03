"""The row of one image: decoded, cropped and shrunk, with all that is known of it."""

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from eyeground.data.listing import is_image
from eyeground.data.manifest import Manifest
from eyeground.data.order import seed_from
from eyeground.data.pixels import PixelStore
from eyeground.data.problem import Problem
from eyeground.data.sample import Sample
from eyeground.data.shards.schema import schema_of
from eyeground.data.stored_image import encoded, stored_name
from eyeground.data.verify import digest_of
from eyeground.images.refusal import ImageRefused


class Made(NamedTuple):
    """An image on its way into a shard.

    Args:
        line: What it was made from, in words.
        row: Its row; or why there is none.

    Example:
        >>> Made("[]", Problem("is missing", "a.png")).row.what
        'is missing'

    References:
        Our own.
    """

    line: str
    row: dict[str, Any] | Problem


class Maker:
    """Makes the rows of a data set; safe to use from several threads.

    Args:
        manifest: The data set.
        store: Decodes, crops and shrinks.
        more: File to further cells of its row, by column.

    Example:
        >>> from pathlib import Path
        >>> sample = Sample("nowhere.png", Path("."), None, "p")
        >>> store = PixelStore(crop_field=False, store_px=8, limit_bytes=0)
        >>> maker = Maker(Manifest((sample,), (), False, False, ()), store, {})
        >>> maker.make(sample).row.what[:14]
        'cannot be read'

    References:
        Our own.
    """

    def __init__(self, manifest: Manifest, store: PixelStore, more: Mapping[str, Mapping[str, str]]) -> None:
        # A drawn order that another image more or less does not overturn.
        self.samples = sorted(manifest.samples, key=_turn)
        self.schema = schema_of(manifest, more)
        self._classes, self._store, self._more = manifest.classes, store, more

    def line(self, sample: Sample) -> str:
        """Say in words what a row is made from.

        Args:
            sample: Which.

        Returns:
            Its labels, and size and time of its file, as JSON.
        """
        told = [sample.file, sample.slice, *self._told(sample).values(), *_stamp(sample)]
        return json.dumps(told, separators=(",", ":"))

    def make(self, sample: Sample) -> Made:
        """Make a row.

        Args:
            sample: Which.

        Returns:
            The row, or why there is none.
        """
        line = self.line(sample)
        try:
            parcel = sample.parcel()
            image, pixels = self._store.open(parcel)
        except ImageRefused as error:
            return Made(line, Problem(error.sentence, sample.file, None, sample.source))
        content, name, told = encoded(pixels), stored_name(sample), self._told(sample)
        if not _is_text(name, *told.values()):
            what = "its name, or what is told of it, is not UTF-8, which Parquet needs; rename it"
            return Made(line, Problem(what, sample.file, None, sample.source))
        row = {
            **told,
            "id": name,
            "image": {"bytes": content, "path": name},
            "eye": told["eye"] or image.eye or None,
            "modality": image.modality or None,
            "source_file": sample.file,
            "source_slice": sample.slice,
            "source_sha256": digest_of(sample, parcel),
            "sha256": hashlib.sha256(content).hexdigest(),
            "size_bytes": len(content),
            "width": pixels.shape[1],
            "height": pixels.shape[0],
            "source_width": image.size[1],
            "source_height": image.size[0],
        }
        return Made(line, row)

    def _told(self, sample: Sample) -> dict[str, Any]:
        """What the data set says of a sample; None where it says nothing."""
        return {
            "label": None if sample.label is None else self._classes[sample.label],
            **{name: getattr(sample, name) or None for name in ("patient", "eye", "site", "camera", "split")},
            **self._more.get(sample.file, {}),
        }


def _turn(sample: Sample) -> int:
    """Where a sample stands among all others, by its name alone."""
    return seed_from("shards", os.fsencode(sample.file), sample.slice)


def _stamp(sample: Sample) -> tuple[int, int]:
    """Size and newest time of the file; of what lies in several files, those of all of its folder."""
    path = sample.path
    try:
        if is_image(sample.file) and not path.is_dir():
            found = [path.stat()]
        else:
            found = [each.stat() for each in (path if path.is_dir() else path.parent).iterdir()]
    except (OSError, ValueError):
        return -1, -1  # the reader says what is wrong
    return sum(each.st_size for each in found), max((each.st_mtime_ns for each in found), default=0)


def _is_text(*values: object) -> bool:
    """Tell whether words can be written as UTF-8; names of files need not be."""
    try:
        "".join(value for value in values if isinstance(value, str)).encode()
    except UnicodeEncodeError:
        return False
    return True

"""A prepared folder, opened: its table, its settings, and what its images were made from."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eyeground.data.manifest import Source
from eyeground.data.problem import DataProblems, Problem
from eyeground.data.table import open_table

FORMAT = 2  # 1: PNG, of photographs that were decoded whole
MANIFEST, SETTINGS = "manifest.csv", "prepared.json"
_ROLES = {"file": "file", "label": "label", "group": "patient", "eye": "eye", "site": "site", "camera": "camera",
          "split": "split"}  # fmt: skip


@dataclass(frozen=True)
class Prepared:
    """What ``eyeground data prepare`` left.

    Args:
        folder: The folder.
        crop_field: Whether its photographs are cropped to their field of view.
        store_px: What their short sides were shrunk to at most, 0 = kept. Unit: px.
        slices: Which B-scans of its volumes it holds: ``center``, ``all`` or ``every:N``.
        classes: Class names in the order of the data set it was made from.
        ordered: Whether they are grades.
        columns: Columns of its table.

    Example:
        >>> ready = Prepared(Path("ready"), True, 512, "center", ("a",), False, ("file", "label"))
        >>> ready.mismatch(crop_field=True, store_px=512)
        ''

    References:
        Our own.
    """

    folder: Path
    crop_field: bool
    store_px: int
    slices: str
    classes: tuple[str, ...]
    ordered: bool
    columns: tuple[str, ...]

    @property
    def table(self) -> Path:
        """Its table; file names in it are relative to ``images``."""
        return self.folder / MANIFEST

    @property
    def images(self) -> Path:
        """The folder of its images."""
        return self.folder / "images"

    def source(self, name: str = "") -> Source:
        """Say how to read it.

        Args:
            name: Name of the source; the folder's when empty.

        Returns:
            The source for ``read_manifest``, every column named.
        """
        named: dict[str, Any] = {role: column for role, column in _ROLES.items() if column in self.columns}
        return Source(self.images, name or self.folder.absolute().name, self.table, **named)

    def mismatch(self, *, crop_field: bool, store_px: int) -> str:
        """Compare with what a run asks for.

        Args:
            crop_field: The run's.
            store_px: The run's.

        Returns:
            Why its pixels are not those that the run would see, ``""`` if they are.
        """
        return other_pixels(self.folder, there=(self.crop_field, self.store_px), here=(crop_field, store_px))

    def origins(self) -> dict[str, tuple[str, int | None, str]]:
        """Say what each stored image was made from.

        Returns:
            Stored file -> file and slice in the data set it was made from, and the hash that ``verify`` gave it there.

        Raises:
            DataProblems: If the table cannot be read.
        """
        slices = ["source_slice"] if "source_slice" in self.columns else []
        rows = open_table(self.table).rows(["file", "source_file", "source_sha256", *slices], strip=False)
        return {
            file: (origin, int(more[0]) if more and more[0] else None, digest)
            for _, (file, origin, digest, *more) in rows
        }


def other_pixels(where: Path | str, *, there: tuple[bool, int], here: tuple[bool, int]) -> str:
    """Compare the pixels of a prepared set with those that a run asks for.

    Args:
        where: The set.
        there: Its ``crop_field`` and ``store_px``.
        here: The run's.

    Returns:
        Why they are not the same, ``""`` if they are.

    Example:
        >>> other_pixels("ready", there=(True, 512), here=(True, 512))
        ''

    References:
        Our own.
    """
    keys = ("crop_field", "store_px")
    wrong = [f"{key} is {was} there and {now} in this run" for key, was, now in zip(keys, there, here, strict=True)
             if was != now]  # fmt: skip
    if not wrong:
        return ""
    return (
        f"{where} was prepared for other pixels: {', '.join(wrong)}; set "
        f"crop_field={str(there[0]).lower()} store_px={there[1]}, or prepare it anew"
    )


def open_prepared(path: Path) -> Prepared | None:
    """Open a folder if it is a prepared one.

    Args:
        path: Any folder.

    Returns:
        What it holds; None if it is no prepared folder.

    Raises:
        DataProblems: If its preparation has not come to an end, another version of Eyeground made it, or it is damaged.

    Example:
        >>> open_prepared(Path("no/such/folder")) is None
        True

    References:
        Our own.
    """
    settings = path / SETTINGS
    if not settings.is_file():
        if (path / "journal.jsonl").is_file() and (path / "images").is_dir():
            what = "its preparation has not come to an end; run the same 'eyeground data prepare' again"
            raise DataProblems([Problem(what, str(path))])
        return None
    try:
        told = json.loads(settings.read_text(encoding="utf-8"))
        version = told["format"]
        if version == FORMAT:
            return Prepared(
                path,
                bool(told["crop_field"]),
                int(told["store_px"]),
                str(told["slices"]),
                tuple(map(str, told["classes"])),
                bool(told["ordered"]),
                open_table(path / MANIFEST).columns,
            )
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, DataProblems):
            raise
        raise DataProblems([Problem("is damaged; prepare it anew", str(settings))]) from error
    what = f"is of format {version}, this Eyeground reads {FORMAT}; prepare it anew"
    raise DataProblems([Problem(what, str(settings))])

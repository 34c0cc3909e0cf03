"""A data set opened for an experiment: read, verified, split, its pixels at hand."""

import hashlib
import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from eyeground.cli.config import ConfigError, DataSource
from eyeground.cli.console import counting
from eyeground.data.manifest import Manifest, Source, read_manifest
from eyeground.data.modalities import Modalities
from eyeground.data.pixels import PixelStore
from eyeground.data.prepared import Prepared, open_prepared
from eyeground.data.preprocessing import Preprocessing
from eyeground.data.sample import Sample
from eyeground.data.split import check_split, hold_out_validation, read_split, split_by_patient, write_split
from eyeground.data.task import Head
from eyeground.data.verify import verify
from eyeground.data.volumes import expand, slice_step
from eyeground.images.retinal_image import RetinalImage

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled samples with their splits, verified and readable.

    Args:
        samples: All of them.
        classes: Class names in order.
        ordered: Whether they are grades.
        patients_known: Whether ``patient`` means more than "this image".
        notes: What a reader of the results should know.
        sha256: Hash of each file's bytes, by sample id.
        pixels: Gives a sample's pixels.
        modality: What most images are: ``"fundus"``, ``"oct"``, ``"anterior"`` or ``""``.
        heads: Whose truth the samples' ``values`` hold; none where their labels are classes.

    References:
        Our own.
    """

    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    ordered: bool
    patients_known: bool
    notes: tuple[str, ...]
    sha256: dict[str, str]
    pixels: PixelStore
    modality: str
    heads: tuple[Head, ...] = ()

    def of(self, split: str) -> tuple[Sample, ...]:
        """Give the samples of one split.

        Args:
            split: ``"train"``, ``"val"`` or ``"test"``.

        Returns:
            The samples in order.
        """
        return tuple(sample for sample in self.samples if sample.split == split)

    def write_split(self, path: Path) -> None:
        """Write which sample is in which split, with hashes, so that another run can take the same.

        Args:
            path: CSV file to write.
        """
        write_split(path, self.samples, self.sha256)

    def counts(self) -> dict[str, dict[str, int]]:
        """Images per split and class; with heads, per split and answer of each head, ``"AMD: yes"``."""
        answers = [[f"{h.name}: {name}" for name in h.classes or ("known",)] for h in self.heads]
        answers = answers or [list(self.classes)]
        table = {split: dict.fromkeys(itertools.chain(*answers), 0) for split in SPLITS if self.of(split)}
        for sample in (sample for sample in self.samples if sample.split in table):
            for names, value in zip(answers, sample.truth, strict=True):
                if math.isfinite(value):
                    table[sample.split][names[int(value) if len(names) > 1 else 0]] += 1
        return table

    def sources(self) -> dict[str, dict[str, int]]:
        """Images per source and split; empty for a single source."""
        found: dict[str, Counter[str]] = {}
        for sample in self.samples:
            found.setdefault(sample.source, Counter())[sample.split] += 1
        return {name: dict(splits) for name, splits in found.items()} if len(found) > 1 else {}

    def summary(self) -> list[str]:
        """Lines for the terminal: each split's images, patients and classes, then each source."""
        lines = []
        for split, classes in self.counts().items():
            images = self.of(split)
            patients = f", {len({sample.patient for sample in images})} patients" if self.patients_known else ""
            told = ", ".join(f"{name} {count}" for name, count in classes.items())
            lines.append(f"{split:<5} {len(images)} images{patients}: {told}")
        for name, splits in self.sources().items():
            lines.append(f"from  {name}: " + ", ".join(f"{split} {count}" for split, count in splits.items()))
        return lines + [f"note: {note}" for note in self.notes]


def open_manifest(
    sources: Sequence[DataSource],
    *,
    classes: Sequence[str] | None,
    ordered: bool | None,
    labels_required: bool = True,
    heads: Sequence[Head] = (),
) -> Manifest:
    """Read the tables or folders of all sources; a prepared folder brings its own table.

    Args:
        sources: As configured.
        classes: Class names in order, None = from the labels.
        ordered: Whether they are grades, None = from the labels.
        labels_required: Refuse rows without a label.
        heads: Questions whose truth stands in a column each, instead of classes.

    Returns:
        The joined table.

    Raises:
        DataProblems: If anything is wrong; all of it at once.

    References:
        Our own.
    """
    read, ready = [], prepared_folders(sources)
    for source in sources:
        if source.path in ready:
            read.append(ready[source.path].source(source.name))
        else:
            words = source.model_dump(include=set(DataSource.model_fields))
            read.append(Source(**{**words, "name": source.name or source.path.name}))
    known = list(ready.values())
    if len(sources) == len(known) == 1:  # the order of the classes is kept where only it is meant
        classes, ordered = classes or known[0].classes, known[0].ordered if ordered is None else ordered
    manifest = read_manifest(
        read, classes=None if heads else classes, ordered=ordered, labels_required=labels_required, heads=heads
    )
    origins = {folder.images: folder.origins() for folder in known}
    whole = []
    for sample in manifest.samples:
        origin = origins.get(sample.folder, {}).get(sample.file)
        sliced = origin is not None and origin[1] is not None
        whole.append(replace(sample, whole=origin[0]) if origin is not None and sliced else sample)
    return replace(manifest, samples=tuple(whole))


def prepared_folders(sources: Sequence[DataSource]) -> dict[Path, Prepared]:
    """Find the sources that ``eyeground data prepare`` made.

    Args:
        sources: As configured.

    Returns:
        Each such path with what it holds.

    Raises:
        ConfigError: If a table or a column is named for one; it has its own.
        DataProblems: If one is not finished or damaged.

    References:
        Our own.
    """
    found = {}
    for source in sources:
        ready = open_prepared(source.path)
        if ready is None:
            continue
        own = set(DataSource.model_fields) - {"path", "name"}
        named = [key for key, value in source.model_dump(include=own).items() if value]
        if named:
            raise ConfigError(
                f"{source.path} is a prepared folder with a table of its own; leave out {', '.join(named)}"
            )
        found[source.path] = ready
    return found


def split_samples(samples: Sequence[Sample], *, split: str, split_seed: int, val_fraction: float) -> tuple[Sample, ...]:
    """Put every sample in a split as a configuration asks.

    Args:
        samples: All of them; ``split`` may be filled by the source.
        split: Ratios, a split file, ``source`` or ``auto``.
        split_seed: Draws the split.
        val_fraction: Share of the training patients held out where the source knows no validation.

    Returns:
        The same samples, each with its split.

    Raises:
        DataProblems: If a patient stands in two splits, or a split file does not fit the data.
        ConfigError: If ``split`` is not understood, or the source has no splits.

    References:
        Our own.
    """
    given = {sample.split for sample in samples}
    if split.endswith(".csv"):
        placed = read_split(Path(split), samples)
    elif split == "source" or (split == "auto" and given - {""}):
        if not {"train", "test"} <= given:
            raise ConfigError(
                f"split={split}: the data itself names the splits {sorted(given - {''})}; it needs train and test"
            )
        check_split(samples)
        placed = tuple(samples)
        if "val" not in given:
            placed = hold_out_validation(samples, val_fraction, split_seed)
    else:
        placed = split_by_patient(samples, ratios="60:20:20" if split == "auto" else split, seed=split_seed)
    check_split(placed)
    return tuple(placed)


def open_dataset(
    sources: Sequence[DataSource],
    *,
    preprocessing: Preprocessing,
    classes: Sequence[str] | None,
    ordered: bool | None,
    split: str,
    split_seed: int,
    val_fraction: float,
    slices: str = "center",
    keep_pixels: bool = True,
    heads: Sequence[Head] = (),
) -> Dataset:
    """Read, split and verify a data set; every image is decoded once, and kept for training where there is room.

    Args:
        sources: As configured.
        preprocessing: How pixels are cropped and shrunk on reading.
        classes: Class names in order, None = from the labels.
        ordered: Whether they are grades, None = from the labels.
        split: Ratios, a split file, ``source``, ``auto``, or a split's name to put everything in.
        split_seed: Draws the split.
        val_fraction: Share of the training patients held out where the source knows no validation.
        slices: Which B-scans of a volume are taken: ``center``, ``all`` or ``every:N``.
        keep_pixels: Keep what was decoded, for training or prediction.
        heads: Questions whose truth stands in a column each, instead of classes.

    Returns:
        The data set.

    Raises:
        DataProblems: If anything is wrong; all of it at once.
        ConfigError: If the split does not fit the data.

    References:
        Our own.
    """
    ready = check_prepared(sources, preprocessing)
    manifest = open_manifest(sources, classes=classes, ordered=ordered, heads=heads)
    if split in SPLITS:
        samples = tuple(replace(sample, split=split) for sample in manifest.samples)
    else:
        samples = split_samples(manifest.samples, split=split, split_seed=split_seed, val_fraction=val_fraction)
    images = read_images(samples, ready, preprocessing=preprocessing, slices=slices, keep_pixels=keep_pixels)
    samples = images.samples
    notes = list(manifest.notes)
    present = {name: {s.label for s in samples if s.split == name} for name in {s.split for s in samples}}
    for name in (name for name in ("val", "test") if name in present):
        absent = [manifest.classes[k] for k in range(len(manifest.classes)) if k not in present[name]]
        if absent:
            notes.append(f"{name} has no image of {', '.join(absent)}: metrics that need it are undefined there")
    notes += [images.kinds.note] if images.kinds.note else []
    return Dataset(
        samples,
        manifest.classes,
        manifest.ordered,
        manifest.patients_known,
        tuple(notes),
        images.sha256,
        images.pixels,
        images.kinds.most,
        tuple(heads),
    )


def check_prepared(sources: Sequence[DataSource], preprocessing: Preprocessing) -> tuple[Prepared, ...]:
    """Find the prepared folders among the sources, and refuse those made for another preprocessing.

    Args:
        sources: As configured.
        preprocessing: How pixels will be cropped and shrunk.

    Returns:
        The prepared folders.

    Raises:
        ConfigError: If one was made for another crop or size; all are named.
        DataProblems: If one is not finished or damaged.

    References:
        Our own.
    """
    ready = tuple(prepared_folders(sources).values())
    other = [folder.mismatch(crop_field=preprocessing.crop_field, store_px=preprocessing.store_px) for folder in ready]
    if any(other):
        raise ConfigError("; ".join(filter(None, other)))
    return ready


class Images(NamedTuple):
    """Samples that have really been read.

    Args:
        samples: Volumes expanded to the chosen B-scans.
        pixels: Gives a sample's pixels.
        sha256: Hash by sample id of each file's bytes, or of those of the file it was prepared from.
        kinds: What kind of images they are.

    References:
        Our own.
    """

    samples: tuple[Sample, ...]
    pixels: PixelStore
    sha256: dict[str, str]
    kinds: Modalities


def read_images(
    samples: Sequence[Sample],
    ready: Sequence[Prepared],
    *,
    preprocessing: Preprocessing,
    slices: str,
    keep_pixels: bool = True,
) -> Images:
    """Decode every image once, and keep its pixels where there is room.

    Args:
        samples: With their splits: volumes are expanded after the split.
        ready: The prepared folders among their sources.
        preprocessing: How pixels are cropped and shrunk on reading.
        slices: Which B-scans of a volume are taken: ``center``, ``all`` or ``every:N``.
        keep_pixels: Keep what was decoded, for training or prediction.

    Returns:
        The images.

    Raises:
        DataProblems: If one cannot be read, or the same bytes stand in two splits or under two labels; all at once.

    References:
        Our own.
    """
    if slice_step(slices):
        with counting("reading headers", len(samples)) as done:
            samples = expand(samples, slices=slices, progress=done)
    pixels = PixelStore(
        crop_field=preprocessing.crop_field,
        store_px=preprocessing.store_px,
        prepared=[folder.images for folder in ready],
    )
    kinds = Modalities(samples)

    def keep(sample: Sample, image: RetinalImage) -> None:
        kinds.see(sample, image)
        if keep_pixels:
            pixels.keep(sample, image)

    with counting("reading images", len(samples)) as done:
        sha256 = verify(samples, progress=done, keep=keep)
    # What an image was made from tells whether a model has seen it, prepared or not.
    origins = {folder.images: folder.origins() for folder in ready}
    sha256 |= {s.id: origins[s.folder][s.file][2] for s in samples if s.folder in origins}
    return Images(tuple(samples), pixels, sha256, kinds)


def fingerprint(sha256: dict[str, str]) -> str:
    """Name a data set by its content.

    Args:
        sha256: Hash of each file, by sample id.

    Returns:
        Hex digits that change when any file is added, lost or changed.

    Example:
        >>> fingerprint({"a": "1", "b": "2"}) == fingerprint({"b": "2", "a": "1"})
        True

    References:
        Our own.
    """
    lines = "\n".join(f"{name} {digest}" for name, digest in sorted(sha256.items()))
    return hashlib.sha256(lines.encode()).hexdigest()

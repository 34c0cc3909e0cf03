"""A data set opened for an experiment: read, verified, split, its pixels at hand."""

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
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
from eyeground.data.problem import DataProblems
from eyeground.data.sample import Sample
from eyeground.data.shards.opened import Shards, open_shards
from eyeground.data.split import check_split, hold_out_validation, read_split, split_by_patient, write_split
from eyeground.data.task import Head
from eyeground.data.verify import same_bytes, verify
from eyeground.data.volumes import expand, slice_step
from eyeground.images.read import Parcel
from eyeground.model.processes import started

SPLITS = ("train", "val", "test")
Ready = Prepared | Shards
"""What ``eyeground data prepare`` made: a folder of images, or shards, which may lie elsewhere."""
_Origin = tuple[str, int | None, str]  # file, slice, sha256


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
    ready: Mapping[Path, Ready] | None = None,
) -> Manifest:
    """Read the tables or folders of all sources; a prepared one brings its own table.

    Args:
        sources: As configured.
        classes: Class names in order, None = from the labels.
        ordered: Whether they are grades, None = from the labels.
        labels_required: Refuse rows without a label.
        heads: Questions whose truth stands in a column each, instead of classes.
        ready: Prepared ones among them that are open already; None = they are looked for.

    Returns:
        The joined table.

    Raises:
        DataProblems: If anything is wrong; all of it at once.
        ShardsUnreachable: If shards lie at an address that does not answer.

    References:
        Our own.
    """
    read = []
    ready = prepared_sources(sources) if ready is None else ready
    for source in sources:
        words = {**source.model_dump(include=set(DataSource.model_fields)), "name": source.name or source.path.name}
        read.append(ready[source.path].source(source.name) if source.path in ready else Source(**words))
    known = [ready[source.path] for source in sources if source.path in ready]
    if len(sources) == len(known) == 1:  # the order of the classes is kept where only it is meant
        classes, ordered = classes or known[0].classes, known[0].ordered if ordered is None else ordered
    manifest = read_manifest(
        read, classes=None if heads else classes, ordered=ordered, labels_required=labels_required, heads=heads
    )
    origins = {each.images: each.origins() for each in known if isinstance(each, Prepared)}
    whole = []
    for sample in manifest.samples:
        file, slice, _ = _origin(sample, origins)
        whole.append(sample if slice is None else replace(sample, whole=file))
    return replace(manifest, samples=tuple(whole))


def _origin(sample: Sample, origins: Mapping[Path, dict[str, _Origin]]) -> _Origin:
    """What a prepared image was made from; of another one, itself."""
    there = origins.get(sample.folder, {}) if sample.pack is None else {sample.file: sample.pack.origin(sample.file)}
    return there.get(sample.file, (sample.file, None, ""))


def prepared_sources(sources: Sequence[DataSource]) -> dict[Path, Ready]:
    """Find the sources that ``eyeground data prepare`` made.

    Args:
        sources: As configured.

    Returns:
        Each such path with what it holds.

    Raises:
        ConfigError: If a table or a column is named for one; it has its own.
        DataProblems: If one is not finished or damaged.
        ShardsUnreachable: If shards lie at an address that does not answer.

    References:
        Our own.
    """
    found: dict[Path, Ready] = {}
    for source in sources:
        ready = open_prepared(source.path) or open_shards(source.path)
        if ready is None:
            continue
        own = set(DataSource.model_fields) - {"path", "name"}
        named = [key for key, value in source.model_dump(include=own).items() if value]
        if named:
            raise ConfigError(f"{source.path} is a prepared set with a table of its own; leave out {', '.join(named)}")
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
    manifest = open_manifest(sources, classes=classes, ordered=ordered, heads=heads, ready=ready)
    if split in SPLITS:
        samples = tuple(replace(sample, split=split) for sample in manifest.samples)
    else:
        samples = split_samples(manifest.samples, split=split, split_seed=split_seed, val_fraction=val_fraction)
    images = read_images(samples, ready, preprocessing=preprocessing, slices=slices, keep_pixels=keep_pixels)
    samples = images.samples
    notes = list(manifest.notes)
    present = {name: {s.label for s in samples if s.split == name} for name in {s.split for s in samples}}
    for name in (name for name in ("val", "test") if name in present):
        absent = [word for k, word in enumerate(manifest.classes) if k not in present[name]]
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


def check_prepared(sources: Sequence[DataSource], preprocessing: Preprocessing) -> dict[Path, Ready]:
    """Find the prepared ones among the sources, and refuse those made for another preprocessing.

    Args:
        sources: As configured.
        preprocessing: How pixels will be cropped and shrunk.

    Returns:
        Each such path with what it holds.

    Raises:
        ConfigError: If one was made for another crop or size; all are named.
        DataProblems: If one is not finished or damaged.
        ShardsUnreachable: If shards lie at an address that does not answer.

    References:
        Our own.
    """
    ready = prepared_sources(sources)
    crop_field, store_px = preprocessing.crop_field, preprocessing.store_px
    if any(other := [each.mismatch(crop_field=crop_field, store_px=store_px) for each in ready.values()]):
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
    ready: Mapping[Path, Ready],
    *,
    preprocessing: Preprocessing,
    slices: str,
    keep_pixels: bool = True,
) -> Images:
    """Decode every image once, and keep its pixels where there is room; those in shards are read when they are used.

    Args:
        samples: With their splits: volumes are expanded after the split.
        ready: The prepared ones among their sources.
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
    plain = [sample for sample in samples if sample.pack is None]
    if slice_step(slices):
        with counting("reading headers", len(plain)) as done:
            plain = list(expand(plain, slices=slices, progress=done))
    # Shards hold the slices that were chosen when they were made.
    packed = [sample for sample in samples if sample.pack is not None]
    samples = (*plain, *packed)
    pixels = PixelStore(
        crop_field=preprocessing.crop_field,
        store_px=preprocessing.store_px,
        sharers=beside.neighbors if (beside := started()) else 1,
        prepared=[each.images for each in ready.values()],
    )
    kinds = Modalities(samples)

    def keep(sample: Sample, parcel: Parcel) -> None:
        kinds.see(sample, pixels.keep(sample, parcel) if keep_pixels else pixels.open(parcel)[0])

    sha256: dict[str, str] = {}
    if plain:
        with counting("reading images", len(plain)) as done:
            sha256 = verify(plain, progress=done, keep=keep)
    kinds.see_packed()
    # An image in a shard is compared with its hash whenever it is read.
    sha256 |= {sample.id: sample.pack.sha256(sample.file) for sample in packed if sample.pack is not None}
    if packed and (problems := same_bytes(samples, sha256)):
        raise DataProblems(problems)
    # What an image was made from tells whether a model has seen it, prepared or not.
    origins = {each.images: each.origins() for each in ready.values() if isinstance(each, Prepared)}
    sha256 |= {sample.id: made_from for sample in samples if (made_from := _origin(sample, origins)[2])}
    return Images(samples, pixels, sha256, kinds)

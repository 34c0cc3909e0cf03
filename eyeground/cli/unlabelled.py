"""Images to pre-train on, opened: read, verified, their pixels at hand; labels are kept aside for judging only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from eyeground.cli.config import ConfigError
from eyeground.cli.dataset import Ready, check_prepared, open_manifest, read_images, split_samples
from eyeground.cli.pretrain_config import PretrainConfig, PretrainSource
from eyeground.data.pixels import PixelStore
from eyeground.data.preprocessing import Preprocessing
from eyeground.data.sample import Sample
from eyeground.data.shards.opened import Shards
from eyeground.data.shards.rows import Hashes, Joined, ShardRows, per_source
from eyeground.data.split import check_split, write_split

_LOOKED_AT = 48


@dataclass(frozen=True, eq=False)
class Unlabelled:
    """Images to learn from without labels.

    Args:
        samples: All of them.
        labelled: Those of the source with the most labels: they judge, they never train.
        classes: What the labels of these mean.
        sha256: Hash of each file's bytes, by sample id.
        modality: What most of them are: ``"fundus"``, ``"oct"``, ``"anterior"`` or ``""``.
        pixels: Gives a sample's pixels.
        notes: What a reader should know.

    References:
        Our own.
    """

    samples: Sequence[Sample]
    labelled: Sequence[Sample]
    classes: tuple[str, ...]
    sha256: Mapping[str, str]
    modality: str
    pixels: PixelStore
    notes: tuple[str, ...]

    def write_split(self, path: Path) -> None:
        """Write which images were learned from, with hashes, so that nobody tests on them by accident.

        Args:
            path: CSV file to write.
        """
        write_split(path, self.samples, self.sha256)

    def summary(self) -> list[str]:
        """Lines for the terminal: images per source."""
        counts = per_source(self.samples)
        lines = [f"{count} images from {name or 'the folder'}" for name, count in counts.items()]
        if self.labelled:
            lines.append(f"{len(self.labelled)} of them have labels, for judging only: {', '.join(self.classes)}")
        return [*lines, *(f"note: {note}" for note in self.notes)]


def open_unlabelled(config: PretrainConfig, preprocessing: Preprocessing) -> Unlabelled:
    """Read and verify the images of a pre-training; every image is decoded once, and kept where there is room.

    Whole sets of shards are not read before they are used, and their rows stay columns: a million images cost no more
    than their table.

    Args:
        config: The checked configuration.
        preprocessing: How pixels are cropped and shrunk on reading.

    Returns:
        The images.

    Raises:
        DataProblems: If an image cannot be read, or a table is wrong; all of it at once.
        ShardsUnreachable: If shards lie at an address that does not answer.
        ConfigError: If a prepared set was made for another preprocessing, or no image is left.

    References:
        Our own.
    """
    ready = check_prepared(config.data, preprocessing)
    samples: list[Sample] = []
    rows: list[ShardRows] = []
    labelled: Sequence[Sample] = ()
    classes: tuple[str, ...] = ()
    notes: list[str] = []
    for source in config.data:
        name = source.name or source.path.name
        whole = ready.get(source.path)
        if isinstance(whole, Shards) and not source.training_part_of:
            rows.append(ShardRows(whole, name, split="train", labels=False))
            known: Sequence[Sample] = ShardRows(whole, name, split="train", numbers=whole.labelled())
            words = whole.classes
            if not whole.index.patients_known:
                notes.append(f"{name}: patients are not known, so each image counts as its own patient")
        else:
            found, words, more = _listed(source, config, ready)
            samples += found
            known = tuple(sample for sample in found if sample.label is not None)
            notes += more
        if len(words) > 1 and len(known) > len(labelled):
            labelled, classes = known, words
    if not samples and not any(rows):
        raise ConfigError("no image is left to learn from: look at data and training_part_of")
    check_split(samples)
    # Without labels: the same picture under two labels is no fault here.
    bare = [replace(sample, label=None) for sample in samples]
    # Of rows, a few are looked at for what kind of image they are.
    looked_at = [sample for each in rows for sample in each[:: max(1, len(each) // _LOOKED_AT)]]
    images = read_images([*bare, *looked_at], ready, preprocessing=preprocessing, slices=config.slices)
    notes += [images.kinds.note] if images.kinds.note else []
    listed = images.samples[: len(images.samples) - len(looked_at)]
    hashes = Hashes({sample.id: images.sha256[sample.id] for sample in listed}, rows) if rows else images.sha256
    return Unlabelled(
        Joined([listed, *rows]) if rows else listed,
        labelled,
        classes,
        hashes,
        images.kinds.most,
        images.pixels,
        tuple(notes),
    )


def _listed(
    source: PretrainSource, config: PretrainConfig, ready: Mapping[Path, Ready]
) -> tuple[list[Sample], tuple[str, ...], tuple[str, ...]]:
    """Give the samples of a source that all of its rows or files make, its classes and its notes."""
    manifest = open_manifest((source,), classes=None, ordered=None, labels_required=False, ready=ready)
    found: Sequence[Sample] = manifest.samples
    if source.training_part_of:
        placed = split_samples(found, split=source.training_part_of, split_seed=config.split_seed, val_fraction=0.2)
        found = [sample for sample in placed if sample.split == "train"]
    named = [replace(s, source=s.source or source.name or source.path.name, split="train") for s in found]
    return named, manifest.classes, manifest.notes

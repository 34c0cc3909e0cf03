"""Images to pre-train on, opened: read, verified, their pixels at hand; labels are kept aside for judging only."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from eyeground.cli.config import ConfigError
from eyeground.cli.dataset import check_prepared, open_manifest, read_images, split_samples
from eyeground.cli.pretrain_config import PretrainConfig
from eyeground.data.pixels import PixelStore
from eyeground.data.preprocessing import Preprocessing
from eyeground.data.sample import Sample
from eyeground.data.split import check_split, write_split


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

    samples: tuple[Sample, ...]
    labelled: tuple[Sample, ...]
    classes: tuple[str, ...]
    sha256: dict[str, str]
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
        counts = Counter(sample.source for sample in self.samples)
        lines = [f"{count} images from {name or 'the folder'}" for name, count in counts.items()]
        if self.labelled:
            lines.append(f"{len(self.labelled)} of them have labels, for judging only: {', '.join(self.classes)}")
        return [*lines, *(f"note: {note}" for note in self.notes)]


def open_unlabelled(config: PretrainConfig, preprocessing: Preprocessing) -> Unlabelled:
    """Read and verify the images of a pre-training; every image is decoded once, and kept where there is room.

    Args:
        config: The checked configuration.
        preprocessing: How pixels are cropped and shrunk on reading.

    Returns:
        The images.

    Raises:
        DataProblems: If an image cannot be read, or a table is wrong; all of it at once.
        ConfigError: If a prepared folder was made for another preprocessing, or no image is left.

    References:
        Our own.
    """
    ready = check_prepared(config.data, preprocessing)
    samples: list[Sample] = []
    labelled: tuple[Sample, ...] = ()
    classes: tuple[str, ...] = ()
    notes: list[str] = []
    for source in config.data:
        manifest = open_manifest((source,), classes=None, ordered=None, labels_required=False)
        found: Sequence[Sample] = manifest.samples
        if source.training_part_of:
            found = [
                sample
                for sample in split_samples(
                    found, split=source.training_part_of, split_seed=config.split_seed, val_fraction=0.2
                )
                if sample.split == "train"
            ]
        named = [replace(s, source=s.source or source.name or source.path.name, split="train") for s in found]
        known = tuple(sample for sample in named if sample.label is not None)
        if len(manifest.classes) > 1 and len(known) > len(labelled):
            labelled, classes = known, manifest.classes
        samples += named
        notes += manifest.notes
    if not samples:
        raise ConfigError("no image is left to learn from: look at data and training_part_of")
    check_split(samples)
    # Without labels: the same picture under two labels is no fault here.
    bare = [replace(sample, label=None) for sample in samples]
    images = read_images(bare, ready, preprocessing=preprocessing, slices=config.slices)
    notes += [images.kinds.note] if images.kinds.note else []
    return Unlabelled(images.samples, labelled, classes, images.sha256, images.kinds.most, images.pixels, tuple(notes))

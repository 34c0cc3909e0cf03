"""Frozen features of a data set: computed once, kept, and found again by weights, preprocessing and images."""

import csv
import fcntl
import hashlib
import io
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeground.atomic_file import atomic_file, write_whole
from eyeground.cli.config import ConfigError
from eyeground.cli.console import answer, tell
from eyeground.cli.dataset import SPLITS, Dataset, open_dataset
from eyeground.cli.fan_out import fanned_out
from eyeground.cli.finetune_config import FinetuneConfig
from eyeground.cli.frozen_network import FrozenNetwork, feature_rows, headless_spec, name_weights
from eyeground.cli.recipe import preprocessing_of, starting_weights
from eyeground.data.sample import Sample
from eyeground.data.shards.address import remote_address
from eyeground.data.spread import Spread, here
from eyeground.data.verify import fingerprint
from eyeground.evaluate.predictions import Predictions
from eyeground.model.weights import read_weights, write_weights

_COLUMNS = ("file", "patient", "eye", "source", "label", "split", "sha256")


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """Frozen features of every image of a data set, or of every volume: the mean over its B-scans.

    Args:
        features: What the network's head would see, shape (N, D), float32.
        samples: One for each row, N; of a volume its first B-scan.
        sha256: Hash of each row's file; of several B-scans one hash over all of theirs.
        classes: Class names in order, K.
        ordered: Whether they are grades.
        patients_known: Whether ``patient`` means more than "this image".
        facts: What ``features.json`` holds: weights, network, preprocessing, what became of each key of the weights.
        computed: How many rows went through the network now; 0 = all were kept from before.
        folder: Where the three files lie.

    Example:
        >>> sample = Sample("a.png", Path("d"), 1, "p", split="test")
        >>> table = FeatureTable(np.ones((1, 4), np.float32), (sample,), ("12ab",), ("normal", "amd"), False, True, {},
        ...                      0, Path("cache"))
        >>> table.rows("test").tolist(), table.labels.tolist()
        ([0], [1])

    References:
        Our own.
    """

    features: NDArray[np.float32]
    samples: tuple[Sample, ...]
    sha256: tuple[str, ...]
    classes: tuple[str, ...]
    ordered: bool
    patients_known: bool
    facts: Mapping[str, Any]
    computed: int
    folder: Path

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class of each row, shape (N,); -1 = not labelled."""
        return np.array([-1 if s.label is None else s.label for s in self.samples], np.int64)

    @property
    def patients(self) -> tuple[str, ...]:
        """Patient of each row, N."""
        return tuple(sample.patient for sample in self.samples)

    def rows(self, split: str) -> NDArray[np.int64]:
        """Find the rows of one split.

        Args:
            split: ``"train"``, ``"val"`` or ``"test"``.

        Returns:
            Row numbers in rising order.
        """
        return np.flatnonzero([sample.split == split for sample in self.samples])

    def predictions(self, rows: NDArray[np.int64], scores: NDArray[np.float64]) -> Predictions:
        """Make a prediction table of scores for some rows.

        Args:
            rows: Row numbers, shape (M,).
            scores: Probabilities, shape (M, K).

        Returns:
            The table, with what is known of each image.
        """
        chosen = [self.samples[row] for row in rows.tolist()]
        return Predictions(
            files=tuple(s.file for s in chosen),
            patients=tuple(s.patient for s in chosen),
            eyes=tuple(s.eye for s in chosen),
            sites=tuple(s.site for s in chosen),
            cameras=tuple(s.camera for s in chosen),
            truth=self.labels[rows],
            scores=scores,
            classes=self.classes,
            ordered=self.ordered,
            patients_known=self.patients_known,
            quality=("",) * len(chosen),
        )


def dataset_of(config: FinetuneConfig, *, keep_pixels: bool = True) -> Dataset:
    """Open a configuration's data as fine-tuning does.

    Args:
        config: A checked configuration.
        keep_pixels: Keep what was decoded, for this process to use.

    Returns:
        The data set, split and verified.

    Raises:
        DataProblems: If the data has faults; all are listed.
        ConfigError: If the split does not fit the data, or the network cannot be built.

    References:
        Our own.
    """
    headless_spec(config)  # a patch that does not divide the image is found before any image is read
    return open_dataset(
        config.data,
        preprocessing=preprocessing_of(config),
        classes=config.classes,
        ordered=config.graded,
        split=config.split,
        split_seed=config.split_seed,
        val_fraction=config.val_fraction,
        slices=config.slices,
        keep_pixels=keep_pixels,
    )


def features_of(config: FinetuneConfig, dataset: Dataset | None = None, *, cache: Path) -> FeatureTable:
    """Give the frozen features of a whole data set, train, val and test; those computed before are not computed again.

    Args:
        config: Network, weights, preprocessing, and the data where ``dataset`` is None.
        dataset: The data, opened with this configuration's preprocessing; None = it is opened here.
        cache: Folder of kept features; each network, preprocessing and set of images has a folder of its own in it.

    Returns:
        The features, with labels and splits as the data set says now.

    Raises:
        ConfigError: If the network or device is not to be had, or the data does not fit the configuration.
        DataProblems: If the data has faults; all are listed.
        WeightsRefused: If the weights do not belong to the network, or give NaN.

    References:
        Our own.
    """
    return _features(config, dataset, cache, keyed=True, spread=None)


def write_features(
    config: FinetuneConfig, *, out: Path, as_json: bool, on: str | None = None, workers: int = 0
) -> None:
    """Write the frozen features of a whole data set into one folder, unless they are there already.

    Args:
        config: Network, weights, preprocessing and data.
        out: Folder for ``features.safetensors``, ``features.csv`` and ``features.json``; features that are there from
            other weights, preprocessing or images are replaced.
        as_json: End with one JSON line.
        on: Whose Ray computes; None = this process does.
        workers: Workers there; 0 = as many as there are cores.

    Raises:
        ConfigError: If the network or device is not to be had, or the folder holds something else.
        DataProblems: If the data has faults; all are listed.
        WeightsRefused: If the weights do not belong to the network, or give NaN.
        ClusterUnfit: If the cluster is not there, or cannot do it.
        WorkersLost: If workers die again and again.

    References:
        Our own.
    """
    started = time.monotonic()
    if out.exists() and not (out.is_dir() and (not any(out.iterdir()) or (out / "features.safetensors").exists())):
        raise ConfigError(f"{out}: holds something else than features; choose another --out")
    reads = [source.path for source in config.data if not remote_address(source.path)]
    reads += [Path(config.weights)] if config.weights != "random" else []
    with fanned_out(on, workers=workers, reads=reads, device=config.device, threads=config.threads) as spread:
        table = _features(config, None, out, keyed=False, spread=spread)
    rows, width = table.features.shape
    answer(
        {
            "out": str(out),
            "seconds": round(time.monotonic() - started, 1),
            "rows": rows,
            "width": width,
            "computed": table.computed,
            "weights_sha256": table.facts["weights_sha256"],
        },
        as_json=as_json,
        last_line=f"features: {out / 'features.safetensors'}",
    )


def _features(
    config: FinetuneConfig, dataset: Dataset | None, place: Path, *, keyed: bool, spread: Spread | None
) -> FeatureTable:
    """Find or compute; ``keyed`` = in a folder of its own inside ``place``."""
    # A missing weights file shows before any image is read.
    tensors = starting_weights(config)
    spec = headless_spec(config, tensors).to_json()
    if dataset is None:
        dataset = dataset_of(config, keep_pixels=spread is None)
    volumes: dict[str, list[Sample]] = {}
    for sample in dataset.samples:
        if sample.split in SPLITS:
            volumes.setdefault(sample.volume, []).append(sample)
    if not volumes:
        raise ConfigError("no image is in train, val or test: there is nothing to compute features of")
    sha256 = {name: _hash_of(scans, dataset.sha256) for name, scans in volumes.items()}
    facts: dict[str, Any] = {
        "weights": config.weights if tensors is not None else f"random, seed {config.seed}",
        "weights_sha256": name_weights(tensors, config.seed),
        "spec": {name: value for name, value in spec.items() if name not in ("classes", "drop_path")},
        "preprocessing": asdict(preprocessing_of(config)),
        "precision": config.precision,
    }
    # The path of the weights is told, but what they hold is what counts.
    facts["key"] = _digest(json.dumps({k: v for k, v in facts.items() if k != "weights"}, sort_keys=True))
    folder = place / f"{facts['key'][:16]}-{fingerprint(sha256)[:16]}" if keyed else place
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(place / f"{folder.name}.lock") if keyed else nullcontext():
        kept, before = _read_kept(folder, facts["key"])
        missing = [name for name, digest in sha256.items() if digest not in kept]
        if missing:
            scans = [scan for name in missing for scan in volumes[name]]
            network = FrozenNetwork(
                config, dataset.pixels, facts["weights_sha256"], tensors if spread is None else None
            )
            computed, facts["load_report"], facts["engine"] = feature_rows(network, scans, spread or here)
            kept |= {sha256[name]: row for name, row in zip(missing, computed, strict=True)}
        else:
            facts |= {name: before[name] for name in ("load_report", "engine")}
            tell(f"features: all {len(sha256)} are in {folder}: no image went through the network")
        table = FeatureTable(
            features=np.stack([kept[digest] for digest in sha256.values()]).astype(np.float32),
            samples=tuple(scans[0] for scans in volumes.values()),
            sha256=tuple(sha256.values()),
            classes=dataset.classes,
            ordered=dataset.ordered,
            patients_known=dataset.patients_known,
            facts=facts,
            computed=len(missing),
            folder=folder,
        )
        _write(folder, table, anew=bool(missing) or len(kept) != len(set(table.sha256)))
        return table


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Wait for others that want the same rows: two runs of a comparison, side by side, need not both compute them."""
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _hash_of(scans: Sequence[Sample], sha256: Mapping[str, str]) -> str:
    """Name what a row was made of: the file, or all the B-scans of a volume."""
    parts = [sha256[s.id] if s.slice is None else f"{sha256[s.id]}#{s.slice}" for s in scans]
    return parts[0] if len(parts) == 1 else _digest("\n".join(parts))


def _digest(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def _read_kept(folder: Path, key: str) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
    """Read the rows a folder holds, by hash, and its note; nothing where they are of other weights, or damaged."""
    note, file, listing = folder / "features.json", folder / "features.safetensors", folder / "features.csv"
    if not (note.is_file() and file.is_file() and listing.is_file()):
        return {}, {}
    try:
        facts = json.loads(note.read_text(encoding="utf-8"))
        if facts["key"] != key:
            tell(f"features: those in {folder} are of other weights or another preprocessing: computed anew")
            return {}, {}
        rows = read_weights(file)["features"]
        with listing.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
            hashes = [line["sha256"] for line in csv.DictReader(stream)]
        whole = facts["features_sha256"] == hashlib.sha256(rows.tobytes()).hexdigest()
        if not whole or facts["images_sha256"] != _digest("\n".join(hashes)):
            raise ValueError("the three files do not belong together")
        return dict(zip(hashes, rows, strict=True)), {name: facts[name] for name in ("load_report", "engine")}
    except (ValueError, KeyError, TypeError, OSError) as error:
        tell(f"features: those in {folder} are damaged ({error}): computed anew")
        return {}, {}


def _write(folder: Path, table: FeatureTable, *, anew: bool) -> None:
    """Write the three files; the note comes last and names the other two, so that a torn write is seen."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for sample, digest in zip(table.samples, table.sha256, strict=True):
        label = "" if sample.label is None else table.classes[sample.label]
        patient = sample.patient if table.patients_known else ""
        writer.writerow([sample.file, patient, sample.eye, sample.source, label, sample.split, digest])
    rows = np.ascontiguousarray(table.features)
    listing = folder / "features.csv"
    same = listing.is_file() and listing.read_bytes() == text.getvalue().encode("utf-8", "surrogateescape")
    if same and not anew:
        return
    write_weights(folder / "features.safetensors", {"features": rows})
    with atomic_file(listing) as stream:
        stream.write(text.getvalue())
    facts = {
        **table.facts,
        "rows": len(rows),
        "width": rows.shape[1],
        "classes": list(table.classes),
        "features_sha256": hashlib.sha256(rows.tobytes()).hexdigest(),
        "images_sha256": _digest("\n".join(table.sha256)),
    }
    write_whole(folder / "features.json", (json.dumps(facts, indent=1, ensure_ascii=False) + "\n").encode())

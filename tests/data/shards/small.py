"""Small sets of photographs, and shards of them."""

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from eyeground.data.manifest import Manifest, Source, read_manifest
from eyeground.data.shards.opened import Shards, open_shards
from eyeground.data.shards.writing import write_shards

SHARD_BYTES = 6_000  # some four images


def photographs(folder: Path, count: int) -> Manifest:
    """Write noise with a label, a patient, an eye and a split each."""
    (folder / "images").mkdir(parents=True)
    draws = np.random.default_rng(0)
    lines = ["file,label,patient,eye,split"]
    for number in range(count):
        name = f"{number:03d}.png"
        shape = (20, 24, 3) if number % 5 else (24, 20)
        Image.fromarray(draws.integers(0, 256, shape, np.uint8)).save(folder / "images" / name)
        split = ("train", "val", "test")[number % 3]
        lines.append(f"{name},{'sick' if number % 2 else 'well'},p{number},{'OD' if number % 4 else 'OS'},{split}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return manifest_of(folder)


def manifest_of(folder: Path) -> Manifest:
    """Read the table again."""
    return read_manifest([Source(folder / "images", table=folder / "labels.csv", split="split")])


def pack(manifest: Manifest, out: Path, **changed: object) -> Shards:
    """Make shards and open them."""
    settings = {"crop_field": False, "store_px": 20, "shard_bytes": SHARD_BYTES, "workers": 2, **changed}
    write_shards(manifest, out, **settings)  # type: ignore[arg-type]
    found = open_shards(out)
    assert found is not None
    return found


def shards_in(folder: Path) -> list[Path]:
    """The shards of a set, in their order."""
    return sorted((folder / "shards").iterdir())


def digests(folder: Path) -> dict[str, str]:
    """Hash of every file of a set but the lock."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def flip(path: Path, place: int) -> None:
    """Change one bit."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))

"""A model packed into one folder, with the hash of every file: opened whole and unchanged, or refused."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eyeground.atomic_file import write_whole
from eyeground.model.weights_cache import file_sha256
from eyeground.pick import names, pick
from eyeground.serve.contract import Contract, read_contract
from eyeground.serve.runtime import Runtime, RuntimeMissing, RuntimePrecision

FORMAT = 1
RECORD, SUMS, CARD, WEIGHTS, METRICS, CASES = (
    "bundle.json", "SHA256SUMS", "README.md", "weights.safetensors", "metrics.json", "cases.safetensors",
)  # fmt: skip
_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9_][A-Za-z0-9._-]{0,99})")
_MOST_BYTES = 16 * 2**20  # of a text; a record takes some tens of kilobytes


class BundleRefused(ValueError):
    """A folder that is no bundle, or one that is not as it was packed."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle whose every file was found as it was packed.

    Args:
        folder: Where it lies.
        contract: What decides what it says of an image.
        record: All of ``bundle.json``.
        id: Hash of its list of hashes: names exactly this bundle.
        files: Hash of each file, by name.

    References:
        docs/serve.md for the folder.
    """

    folder: Path
    contract: Contract
    record: Mapping[str, Any]
    id: str
    files: Mapping[str, str]

    @property
    def runtimes(self) -> dict[str, tuple[str, ...]]:
        """Runtimes it holds files for, each with its precisions."""
        return {name: tuple(each) for name, each in self.record["runtimes"].items()}

    def open_runtime(
        self, name: str, *, precision: RuntimePrecision = "fp32", threads: int = 0, device: str = "cpu"
    ) -> Runtime:
        """Start what computes.

        Args:
            name: A runtime of the shelf ``serve/runtimes``.
            precision: How it computes.
            threads: Processor threads; 0 leaves the runtime's choice.
            device: Where torch computes.

        Returns:
            The runtime.

        Raises:
            RuntimeMissing: If the bundle holds no files for it, or it is not installed; the message says what to do.
        """
        held = self.runtimes
        if precision not in held.get(name, ()):
            offers = ", ".join(f"{runtime} ({' '.join(each)})" for runtime, each in held.items())
            raise RuntimeMissing(
                f"{self.folder}: holds no files for {name} in {precision}; it holds {offers}{_remedy(name, precision)}"
            )
        if hint := pick("serve.runtimes", name).missing():
            raise RuntimeMissing(f"runtime {name} is not installed: {hint}")
        made: Runtime = pick("serve.runtimes", name).open_runtime(
            self.folder, spec=self.contract.spec, precision=precision, threads=threads, device=device
        )
        return made


def is_bundle(folder: Path) -> bool:
    """Tell a bundle from a run.

    Args:
        folder: A folder.

    Returns:
        Whether it looks like a bundle; ``open_bundle`` says whether it is one.

    Example:
        >>> is_bundle(Path("nowhere"))
        False

    References:
        Our own.
    """
    return (folder / RECORD).is_file() or (folder / SUMS).is_file()


def open_bundle(folder: Path) -> Bundle:
    """Open a bundle, after every byte of every file was checked.

    Args:
        folder: Its folder. Files that the list of hashes does not name are never opened.

    Returns:
        The bundle.

    Raises:
        BundleRefused: If a file is missing or changed (all are named), or the folder holds something else.

    Example:
        >>> open_bundle(Path("nowhere"))
        Traceback (most recent call last):
        eyeground.serve.bundle.BundleRefused: nowhere: not a bundle (no SHA256SUMS); make one with: eyeground export ...

    References:
        docs/serve.md for the folder.
    """
    text = _text(folder, SUMS)
    files = _listed(folder, text)
    wrong = []
    for name, expected in files.items():
        place = folder / name
        if place.is_symlink() or not place.is_file():
            wrong.append(f"{name} is missing")
        elif file_sha256(place) != expected:
            wrong.append(f"{name} was changed")
    wrong += [f"{name} is not in {SUMS}" for name in (RECORD, WEIGHTS) if name not in files]
    if wrong:
        raise BundleRefused(f"{folder}: not as it was packed: {'; '.join(wrong)}. Get the bundle anew from its maker")
    try:
        record = json.loads(_text(folder, RECORD))
        if record["format"] != FORMAT:
            raise ValueError(f"format {record['format']!r}; this Eyeground reads format {FORMAT}")
        places = record["calibrations"]
        unlisted = [name for name in places.values() if name not in files]
        unlisted += [
            name
            for runtime, each in record["runtimes"].items()
            for precision in each
            for name in files_of(runtime, precision)
            if name not in files
        ]
        if unlisted:
            raise ValueError(f"{', '.join(unlisted)} is named, but not in {SUMS}")
        calibrations = {head: json.loads(_text(folder, name)) for head, name in places.items()}
        contract = read_contract(record["contract"], calibrations)
        if contract.weights_sha256 != files[WEIGHTS]:
            raise ValueError(f"the contract belongs to other weights than {WEIGHTS}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BundleRefused(f"{folder}: {RECORD} cannot be used: {error}; get the bundle anew") from error
    return Bundle(folder, contract, record, _digest(text), files)


def seal(folder: Path) -> str:
    """Write the list of hashes of all files in a folder.

    Args:
        folder: A bundle but for its list; flat, with plain names.

    Returns:
        The bundle's id.

    Raises:
        ValueError: If it holds something that a bundle cannot.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     _ = Path(place, "a.txt").write_text("a")
        ...     _ = seal(Path(place))
        ...     Path(place, "SHA256SUMS").read_text()
        'ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb  a.txt\\n'

    References:
        GNU coreutils' sha256sum, which checks it too.
    """
    found = sorted(path for path in folder.iterdir() if path.name != SUMS)
    lines = [f"{file_sha256(path)}  {path.name}" for path in found if path.is_file()]
    wrong = [path.name for path in found if not path.is_file()]
    wrong += [line[66:] for line in lines if not _LINE.fullmatch(line)]
    if wrong:
        raise ValueError(f"{folder}: a bundle holds plain files with plain names only, not {', '.join(wrong)}")
    text = "".join(line + "\n" for line in lines)
    write_whole(folder / SUMS, text.encode())
    return _digest(text)


def files_of(runtime: str, precision: str) -> tuple[str, ...]:
    """Name the files that a runtime needs.

    Args:
        runtime: A name of the shelf.
        precision: How it computes.

    Returns:
        File names inside a bundle.

    Raises:
        ValueError: If there is no such runtime, or it does not compute so.

    Example:
        >>> files_of("torch", "fp32")
        ('weights.safetensors',)

    References:
        Our own.
    """
    if runtime not in names("serve.runtimes"):
        raise ValueError(f"no runtime is called {runtime!r}: {', '.join(names('serve.runtimes'))}")
    offered: Mapping[str, tuple[str, ...]] = pick("serve.runtimes", runtime).FILES
    if precision not in offered:
        raise ValueError(f"{runtime} does not compute in {precision}: it offers {', '.join(offered)}")
    return offered[precision]


def _remedy(runtime: str, precision: str) -> str:
    """How to get what a bundle does not hold, if anybody could pack it."""
    try:
        files_of(runtime, precision)
    except ValueError as error:
        return f" ({error})"
    words = "" if runtime == "torch" else f" --to {runtime}"
    words += "" if precision == "fp32" else f" --precision {precision}"
    return f". Pack it anew with: eyeground export RUN{words} --out BUNDLE"


def _text(folder: Path, name: str) -> str:
    """Read a text of a bundle."""
    path = folder / name
    if not path.is_file() or path.is_symlink():
        raise BundleRefused(f"{folder}: not a bundle (no {name}); make one with: eyeground export RUN --to bundle")
    if path.stat().st_size > _MOST_BYTES:
        raise BundleRefused(f"{path}: too large to be what it is called")
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise BundleRefused(f"{path}: not a text; get the bundle anew from its maker") from error


def _listed(folder: Path, text: str) -> dict[str, str]:
    """Read the list of hashes, as ``seal`` writes it and in no other way."""
    lines = text.splitlines()
    found = [_LINE.fullmatch(line) for line in lines]
    files = {match[2]: match[1] for match in found if match}
    if not all(found) or "".join(f"{files[name]}  {name}\n" for name in sorted(files)) != text:
        raise BundleRefused(f"{folder / SUMS}: was changed, or is no list of hashes; get the bundle anew")
    return files


def _digest(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()

"""Fetch a release: licence, download or a file by hand, hash, isolated reading, every key, and only then the cache."""

import errno
import math
import shlex
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eyeground.model.hub import FetchFailed, announce, download
from eyeground.model.weights import WeightsRefused
from eyeground.model.weights_cache import WeightsCache, file_sha256
from eyeground.model.zoo import LICENCES, Release, check_release, encoder_shapes


class LicenceNotAccepted(WeightsRefused):
    """Weights whose licence the user has not accepted yet."""


@dataclass(frozen=True)
class Fetched:
    """A release in the cache.

    Args:
        path: Its safetensors file.
        anew: Whether it was fetched now; False = it was there.
        notes: What a person should know.

    Example:
        >>> Fetched(Path("a.safetensors"), anew=False).notes
        ()

    References:
        Our own.
    """

    path: Path
    anew: bool
    notes: tuple[str, ...] = ()


def fetch(
    release: Release,
    cache: WeightsCache,
    *,
    file: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    say: Callable[[str], None] = lambda words: None,
    tries: int = 5,
    pause_s: float = 1.0,
) -> Fetched:
    """Bring a release into the cache, if it is not there.

    Two processes that fetch the same release make one download. Whatever fails, the cache holds no bad file.

    Args:
        release: Which one.
        cache: Where to.
        file: A file fetched by hand, instead of a download. Checked in the same way, and left where it is.
        progress: Called with (bytes received, bytes in all).
        say: Told each step, in words.
        tries: How often in a row to go on after a cut connection.
        pause_s: Wait before going on, doubled each time. Unit: s.

    Returns:
        Where it lies.

    Raises:
        LicenceNotAccepted: If its licence was not accepted; the message is the command that accepts it.
        WeightsRefused: If the file has another hash, is hostile or damaged, or does not hold what the release holds.
        FetchFailed: If the hub gives nothing, the connection stays cut, or the disk is full.
        FileNotFoundError: If there is no file of that name.

    References:
        Our own.
    """
    if not cache.accepted(release):
        raise LicenceNotAccepted(_licence_words(release, file))
    if file is not None and not file.is_file():
        raise FileNotFoundError(f"{file}: no such file; give {release.file} as it was downloaded")
    with cache.locked(release, lambda: say(f"another process fetches {release.name}: waiting for it")):
        try:
            path = cache.path_of(release)
        except WeightsRefused as damage:
            say(str(damage))
            path = None
        if path is not None:
            return Fetched(path, anew=False)
        if file is not None:
            return _by_hand(release, cache, file, say)
        return _from_hub(release, cache, progress, say, tries=tries, pause_s=pause_s)


def _from_hub(
    release: Release,
    cache: WeightsCache,
    progress: Callable[[int, int], None],
    say: Callable[[str], None],
    *,
    tries: int,
    pause_s: float,
) -> Fetched:
    """Download, check, import; then the downloaded file goes."""
    announced = announce(release)
    expected, said_by = _known_hash(release, cache)
    if expected and announced.sha256 != expected:
        raise WeightsRefused(
            f"{announced.url}: another file than the one {said_by}: its SHA-256 is {announced.sha256}, not {expected}. "
            f"Nothing was downloaded. If you trust it nevertheless, download it and give it as a file: weights=PATH"
        )
    folder = cache.partial(release)
    with _room(release, cache, announced.size_bytes + _least_bytes(release)):
        say(f"fetching {announced.url} ({announced.size_bytes / 1e6:,.1f} MB)")
        whole = download(release, announced, folder, progress=progress, tries=tries, pause_s=pause_s)
        facts = {
            "source": announced.url,
            "commit": announced.commit,
            "hash_said_by": "the zoo" if release.sha256 else "the hub",
        }
        say("checking its SHA-256")
        try:
            digest = file_sha256(whole)
            if digest != announced.sha256:
                raise WeightsRefused(
                    f"{whole}: what was received has SHA-256 {digest}, not {announced.sha256}. Type the command again; "
                    f"if it happens again, something on the way changes files"
                )
            done = _import(release, cache, whole, digest, facts, say)
        except WeightsRefused as error:
            shutil.rmtree(folder)
            told = str(error).replace(str(whole), announced.url)
            raise WeightsRefused(f"{told}. What was downloaded is removed") from error
    shutil.rmtree(folder)
    return done


def _by_hand(release: Release, cache: WeightsCache, file: Path, say: Callable[[str], None]) -> Fetched:
    """Check and import a file that somebody downloaded."""
    expected, said_by = _known_hash(release, cache)
    digest = file_sha256(file)
    if expected and digest != expected:
        raise WeightsRefused(
            f"{file}: another file than the one {said_by}: its SHA-256 is {digest}, not {expected}. Download "
            f"{release.file} anew from {release.page}"
        )
    said = "the zoo" if release.sha256 else "the hub" if expected else "nobody"
    facts = {"source": f"by hand: {file.name}", "commit": "", "hash_said_by": said}
    with _room(release, cache, _least_bytes(release)):
        done = _import(release, cache, file, digest, facts, say)
    # What a cut download has left is not needed any more.
    shutil.rmtree(cache.folder / "partial" / release.name, ignore_errors=True)
    if expected:
        return done
    note = (
        f"no hash of {release.file} is known here, so that this is the file its owners published is your word; its "
        f"tensors have the right names and shapes"
    )
    return Fetched(done.path, anew=True, notes=(note,))


def _import(
    release: Release,
    cache: WeightsCache,
    source: Path,
    digest: str,
    facts: dict[str, Any],
    say: Callable[[str], None],
) -> Fetched:
    """Read a file of the right hash in a process of its own, hold it against the network, put it away."""
    from eyeground.model.untrusted import open_foreign

    say(f"reading {source.name} in an isolated process")
    foreign = open_foreign(source)
    if foreign.sha256 != digest:
        raise WeightsRefused(
            f"{source}: it changed while it was read; let nothing write to it and type the command again"
        )
    keys = check_release(release, foreign.tensors)
    words = {
        "release": release.name,
        "licence": release.licence,
        "licence_page": release.licence_page,
        "modality": release.modality,
        "source": facts["source"],
        "source_sha256": digest,
    }
    record = {
        **facts,
        "repo_id": release.repo_id,
        "revision": release.revision,
        "file": release.file,
        "source_sha256": digest,
        "nest": foreign.nest,
        "keys": keys,
        "tensors": len(foreign.tensors),
    }
    return Fetched(cache.keep(release, foreign.tensors, words=words, facts=record), anew=True)


def _known_hash(release: Release, cache: WeightsCache) -> tuple[str, str]:
    """The hash that the published file has, and who says so; empty = nobody yet."""
    if release.sha256:
        return release.sha256, "that the zoo knows"
    record = cache.record(release)
    if record.get("hash_said_by") == "the hub":
        return str(record["source_sha256"]), f"fetched here on {str(record['fetched'])[:10]}"
    return "", ""


def _least_bytes(release: Release) -> int:
    """What the encoder alone takes up in the cache, as float32."""
    return 4 * sum(math.prod(shape) for shape in encoder_shapes(release).values())


@contextmanager
def _room(release: Release, cache: WeightsCache, needed: int) -> Iterator[None]:
    """Do not begin what cannot end; and where the disk fills up on the way, leave nothing half-written."""
    partial = cache.folder / "partial" / release.name
    received = sum(each.stat().st_size for each in partial.rglob("*") if each.is_file())
    full = (
        f"{cache.folder}: {release.name} needs {needed / 1e6:,.1f} MB or more free there, and {{free:,.1f}} are{{so}}. "
        "Free some, or name a folder on a larger disk: export EYEGROUND_CACHE=FOLDER"
    )
    free = shutil.disk_usage(cache.folder).free
    if free + received < needed:
        raise FetchFailed(full.format(free=free / 1e6, so=""))
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        shutil.rmtree(partial, ignore_errors=True)
        free = shutil.disk_usage(cache.folder).free
        told = full.format(free=free / 1e6, so=": the disk is full, and what was half-written is gone")
        raise FetchFailed(told) from error


def _licence_words(release: Release, file: Path | None) -> str:
    """Show a licence, and the command that accepts it."""
    by_hand = f" --file {shlex.quote(str(file))}" if file else ""
    return (
        f"{release.name} is under {release.licence}: {release.licence_page}\n{LICENCES[release.licence].forbids}\n"
        f"If you accept it, type once: "
        f"eyeground weights fetch {release.name} --accept-licence {release.licence}{by_hand}"
    )

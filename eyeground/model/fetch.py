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

from eyeground.model.hub import FetchFailed, announce, download, speaker
from eyeground.model.untrusted import MachineTooSmall, open_foreign
from eyeground.model.weights import WeightsRefused
from eyeground.model.weights_cache import WeightsCache, file_sha256
from eyeground.model.zoo import LICENCES, Release, check_release, encoder_shapes

# Whose word the hash of a file given by hand is, as long as neither zoo, hub nor mirror has said it.
_NOBODY = "nobody"


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
        MachineTooSmall: If this machine could not open it; a download is kept, and the same call goes on with it.
        FetchFailed: If the hub gives nothing, the connection stays cut, or the disk is full; what came is kept.
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
            return Fetched(path, anew=False, notes=_stays(release, cache, file))
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
    said_by, notes = _held_against(release, cache, announced.sha256, speaker(), announced.url)
    folder = cache.partial(release)
    with _room(release, cache, announced.size_bytes + _least_bytes(release)):
        say(f"fetching {announced.url} ({announced.size_bytes / 1e6:,.1f} MB)")
        whole = download(release, announced, folder, progress=progress, tries=tries, pause_s=pause_s)
        facts = {
            "source": announced.url,
            "commit": announced.commit,
            "hash_said_by": said_by,
        }
        say("checking its SHA-256")
        try:
            digest = file_sha256(whole)
            if digest != announced.sha256:
                raise WeightsRefused(
                    f"{whole}: what was received has SHA-256 {digest}, not {announced.sha256}. Type the command again; "
                    f"if it happens again, something on the way changes files"
                )
            path = _import(release, cache, whole, digest, facts, say)
        except MachineTooSmall as error:
            raise MachineTooSmall(
                f"{error}. What was downloaded is whole and is kept in {whole}; the same command goes on with it"
            ) from error
        except WeightsRefused as error:
            shutil.rmtree(folder)
            told = str(error).replace(str(whole), announced.url)
            raise WeightsRefused(f"{told}. What was downloaded is removed") from error
    shutil.rmtree(folder)
    return Fetched(path, anew=True, notes=notes)


def _by_hand(release: Release, cache: WeightsCache, file: Path, say: Callable[[str], None]) -> Fetched:
    """Check and import a file that somebody downloaded."""
    digest = file_sha256(file)
    said_by, notes = _held_against(release, cache, digest, _NOBODY, str(file))
    facts = {"source": f"by hand: {file.name}", "commit": "", "hash_said_by": said_by}
    with _room(release, cache, _least_bytes(release)):
        path = _import(release, cache, file, digest, facts, say)
    # What a cut download has left is not needed any more.
    shutil.rmtree(cache.folder / "partial" / release.name, ignore_errors=True)
    if said_by == _NOBODY:
        note = (
            f"no hash of {release.file} is known here, so that this is the file its owners published is your word; its "
            f"tensors have the right names and shapes"
        )
        notes = (note, *notes)
    return Fetched(path, anew=True, notes=notes)


def _import(
    release: Release,
    cache: WeightsCache,
    source: Path,
    digest: str,
    facts: dict[str, Any],
    say: Callable[[str], None],
) -> Path:
    """Read a file of the right hash in a process of its own, hold it against the network, put it away."""
    say(f"reading {source.name} in an isolated process")
    # On the cache's disk, whose room was looked at; /tmp is often small.
    foreign = open_foreign(source, folder=cache.folder)
    if foreign.sha256 != digest:
        raise WeightsRefused(
            f"{source}: it changed while it was read; let nothing write to it and type the command again"
        )
    if foreign.framework == "torch" and release.nest and foreign.nest != release.nest:
        # Names and shapes would not tell: DINOv2's student has the teacher's.
        raise WeightsRefused(
            f"{source}: what is taken from it lies {f'under {foreign.nest!r}' if foreign.nest else 'at its top'}, and "
            f"{release.name} lies under {release.nest!r}; of the same shape, it may be another network, such as the "
            f"student beside the teacher. To use it as it is, not as {release.name}: weights=PATH"
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
    return cache.keep(release, foreign.tensors, words=words, facts=record)


def _held_against(
    release: Release, cache: WeightsCache, digest: str, said_by: str, what: str
) -> tuple[str, tuple[str, ...]]:
    """Hold a hash against those known: whose word it is then, and what a person should know.

    The zoo's word and the hub's bind. A mirror's does not, or a wrong one would lock the published file out.
    """
    other, way_out = f"{what}: another file than the one", "to use it without the zoo: weights=PATH"
    if release.sha256:
        if digest != release.sha256:
            raise WeightsRefused(
                f"{other} that the zoo knows: its SHA-256 is {digest}, not {release.sha256}. Download {release.file} "
                f"anew from {release.page}, and look for a newer eyeground; {way_out}"
            )
        return "the zoo", ()
    record = cache.record(release)
    before, before_by = str(record.get("source_sha256", "")), str(record.get("hash_said_by", _NOBODY))
    if not before:
        return said_by, ()
    if digest == before:
        return said_by if said_by == "the hub" or before_by == _NOBODY else before_by, ()
    day, forget = str(record["fetched"])[:10], f"remove {cache.record_file(release)} and type the command again"
    if before_by == "the hub":
        raise WeightsRefused(
            f"{other} fetched here on {day}, whose hash the hub said: its SHA-256 is {digest}, not {before}. If its "
            f"owners have published it anew ({release.page}/commits/{release.revision}), {forget}; {way_out}"
        )
    before_by = "which came by hand" if before_by == _NOBODY else f"which {before_by} said"
    note = (
        f"its SHA-256 is {digest}; that of the file fetched here on {day} was {before}, {before_by}. Compare both with "
        f"{release.page}/blob/{release.revision}/{release.file}; to take another file, {forget}"
    )
    return said_by, (note,)


def _stays(release: Release, cache: WeightsCache, file: Path | None) -> tuple[str, ...]:
    """Say so where somebody gives another file than the one that the cache holds."""
    record = cache.record(release)
    if file is None or (digest := file_sha256(file)) == record.get("source_sha256"):
        return ()
    return (
        f"{file} was not taken: {release.name} is in the cache already, from {record.get('source', 'elsewhere')}, and "
        f"this is another file (its SHA-256 is {digest}). To take it, remove {cache.record_file(release)} and type the "
        f"command again",
    )


def _least_bytes(release: Release) -> int:
    """What the encoder alone takes up in the cache, as float32: first unpacked, and when that is gone, for good."""
    return 4 * sum(math.prod(shape) for shape in encoder_shapes(release).values())


@contextmanager
def _room(release: Release, cache: WeightsCache, needed: int) -> Iterator[None]:
    """Do not begin what cannot end; where the disk fills up on the way, what was downloaded stays to go on with."""
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
        free = shutil.disk_usage(cache.folder).free
        kept = f"; what was downloaded is kept in {partial}, and the same command goes on with it"
        told = full.format(free=free / 1e6, so=": the disk is full" + (kept if partial.exists() else ""))
        raise FetchFailed(told) from error


def _licence_words(release: Release, file: Path | None) -> str:
    """Show a licence, and the command that accepts it."""
    by_hand = f" --file {shlex.quote(str(file))}" if file else ""
    return (
        f"{release.name} is under {release.licence}: {release.licence_page}\n{LICENCES[release.licence].forbids}\n"
        f"If you accept it, type once: "
        f"eyeground weights fetch {release.name} --accept-licence {release.licence}{by_hand}"
    )

"""The weights zoo on the command line: what there is, and fetching it under its licence."""

import sys
from functools import partial
from pathlib import Path

from eyeground.cli.console import answer, console, tell
from eyeground.cli.transfer import transferring
from eyeground.model.fetch import fetch
from eyeground.model.weights import WeightsRefused
from eyeground.model.weights_cache import WeightsCache, default_cache
from eyeground.model.zoo import LICENCES, Release, by_name, releases


def list_releases(*, as_json: bool) -> None:
    """Show the zoo, and which of it is in the cache.

    Args:
        as_json: Whether a program reads it.

    Example:
        >>> list_releases(as_json=True)
        {"cache": ..., "releases": [{"name": "RETFound_mae_natureCFP", ...

    References:
        Our own.
    """
    cache = default_cache()
    rows = [
        {
            "name": each.name,
            "title": each.title,
            "model": each.model,
            "pool": each.pool,
            "image_px": each.image_px,
            "modality": each.modality,
            "licence": each.licence,
            "licence_page": each.licence_page,
            "licence_accepted": cache.accepted(each) or None,
            "page": each.page,
            "gated": each.gated,
            "cached": cache.holds(each),
            "citation": each.citation,
        }
        for each in releases()
    ]
    if not as_json:
        # No table of fixed width: a name must be whole, to be copied.
        heads = ("name", "learned from", "licence", "access", "cache", "network")
        cells = [heads] + [
            (
                each.name,
                each.modality or "everyday",
                each.licence,
                "gated" if each.gated else "open",
                "in cache" if cache.holds(each) else "-",
                each.model,
            )
            for each in releases()
        ]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        tell(
            *("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells)
        )
    answer(
        {"cache": str(cache.folder), "releases": rows},
        as_json=as_json,
        last_line=f"cache: {cache.folder}  ·  fetch one: eyeground weights fetch NAME",
    )


def fetch_release(name: str, *, file: Path | None, accept_licence: str | None, as_json: bool) -> None:
    """Fetch a release from the zoo into the cache.

    Args:
        name: Its name.
        file: A file fetched by hand, None = download it.
        accept_licence: Name of the licence that the user accepts, None = accepted before, or asked for in a terminal.
        as_json: Whether a program reads the answer.

    Raises:
        WeightsRefused: If there is no such release, its licence is not accepted, or its file is not what it must be.
        FetchFailed: If nothing could be fetched; the message says what to do.

    References:
        Our own.
    """
    release, cache = by_name(name), default_cache()
    _agree(release, cache, accept_licence, ask=not as_json)
    with transferring() as moved:
        done = fetch(release, cache, file=file, progress=partial(moved, release.file), say=tell)
    record = cache.record(release)
    tell(*(f"note: {note}" for note in done.notes))
    if done.anew:
        tell(f"{record['keys']} tensors of the encoder, each with its shape, as {release.model} has them")
    answer(
        {
            "release": release.name,
            "path": str(done.path),
            "fetched": done.anew,
            "model": release.model,
            "licence": release.licence,
            "sha256": record["sha256"],
            "source_sha256": record["source_sha256"],
            "hash_said_by": record["hash_said_by"],
            "keys": record["keys"],
        },
        as_json=as_json,
        last_line=f"{done.path}  ·  use it: eyeground finetune CONFIG weights={release.name} model={release.model}",
    )


def _agree(release: Release, cache: WeightsCache, accepted: str | None, *, ask: bool) -> None:
    """Show the licence, and remember that it was accepted by name; without that, fetching refuses."""
    asked = accepted is None and not cache.accepted(release)
    if asked and not (ask and sys.stdin.isatty() and console.is_terminal):
        return  # fetching refuses, in these words
    tell(
        f"{release.name}: {release.title}; {release.page}",
        f"licence {release.licence}: {release.licence_page}",
        f"  {LICENCES[release.licence].forbids}",
    )
    if asked:
        console.print("Type the licence's name if you accept it: ", end="", markup=False)
        accepted = sys.stdin.readline().strip()
    if accepted is None:
        return
    if accepted.lower() != release.licence.lower():
        raise WeightsRefused(
            f"{release.name} is under {release.licence}, not {accepted!r}: read {release.licence_page}; if you accept "
            f"it, type: eyeground weights fetch {release.name} --accept-licence {release.licence}"
        )
    if not cache.accepted(release):
        cache.accept(release)

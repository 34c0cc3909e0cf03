"""The Hugging Face hub: what it announces of a release's file, and a download that goes on where it was cut."""

import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from eyeground.model.zoo import Release

HUB = "https://huggingface.co"
# A silent connection is cut after this; the download then goes on by a new one.
_PATIENCE_S = 30.0
_TRY_AGAIN = (408, 429, 500, 502, 503, 504)


class FetchFailed(RuntimeError):
    """Something could not be fetched; the message says what to do."""


@dataclass(frozen=True)
class Announced:
    """What the hub says of a file before it sends it.

    Args:
        url: Where it is.
        sha256: Hash of its content.
        size_bytes: How long it is.
        commit: Commit of the repository that holds it.

    Example:
        >>> Announced("https://huggingface.co/a/b/resolve/main/c", "0" * 64, 10, "1" * 40).size_bytes
        10

    References:
        Our own.
    """

    url: str
    sha256: str
    size_bytes: int
    commit: str


def endpoint() -> str:
    """Tell where the hub is.

    Returns:
        What ``HF_ENDPOINT`` says (a mirror), else the hub itself.

    Example:
        >>> endpoint().startswith("http")
        True

    References:
        Documentation of huggingface_hub, "Environment variables".
    """
    return (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")


def speaker() -> str:
    """Tell whose word a hash is that is announced now.

    Returns:
        ``"the hub"``, or the address of the mirror that stands in for it.

    Example:
        >>> speaker() in ("the hub", endpoint())
        True

    References:
        Our own.
    """
    return "the hub" if endpoint() == HUB else endpoint()


def announce(release: Release) -> Announced:
    """Ask the hub for a release's hash and size.

    Args:
        release: Which one.

    Returns:
        What it says.

    Raises:
        FetchFailed: If the hub cannot be reached, asks for a token or for consent, has no such file, or does not say
            its hash; the message says what to do.

    References:
        The hub's ``resolve`` address; the hash of a large file is its Git LFS object's.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import FileMetadataError, OfflineModeIsEnabled

    _no_telemetry()
    url = hf_hub_url(release.repo_id, release.file, revision=release.revision, endpoint=endpoint())
    try:
        told = get_hf_file_metadata(url, token=_token() or False)
    except (_http_error(), FileMetadataError, OfflineModeIsEnabled, OSError) as error:
        raise FetchFailed(_what_to_do(error, release)) from error
    if told.etag is None or not re.fullmatch("[0-9a-f]{64}", told.etag) or not told.size:
        raise FetchFailed(
            f"{url}: the hub does not say the file's SHA-256 and size, so what it sends could not be checked.\n"
            + _by_hand(release)
        )
    return Announced(url, told.etag, told.size, told.commit_hash or "")


def download(
    release: Release,
    announced: Announced,
    folder: Path,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
    tries: int = 5,
    pause_s: float = 1.0,
) -> Path:
    """Fetch a file, or the rest of it.

    Args:
        release: Whose file.
        announced: What the hub said of it.
        folder: Where it grows; kept when the connection is cut, so that the next call asks for the rest only. All else
            in it is removed.
        progress: Called with (bytes done, bytes in all).
        tries: How often in a row to go on without one more byte.
        pause_s: Wait before going on, doubled each time. Unit: s.

    Returns:
        The whole file, not yet checked against its hash.

    Raises:
        FetchFailed: If the hub refuses, or the connection stays cut.
        OSError: If the disk is full.

    References:
        RFC 9110, section 14 (range requests). huggingface_hub 2.4 deletes what was received when it fails.
    """
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    # A file that was replaced on the hub must not be continued with the rest of the new one.
    partial = folder / announced.sha256 / Path(release.file).name
    for other in folder.iterdir():
        if other != partial.parent:
            shutil.rmtree(other) if other.is_dir() else other.unlink()
    partial.parent.mkdir(exist_ok=True)
    left, wait_s = tries, pause_s
    while (have := partial.stat().st_size if partial.exists() else 0) != announced.size_bytes:
        if have > announced.size_bytes:
            partial.unlink()
            continue
        try:
            _go_on(announced, partial, have, progress)
            why: Exception = ConnectionError("the connection ended early")
        except HfHubHTTPError as error:
            if error.response.status_code not in _TRY_AGAIN:
                raise FetchFailed(_what_to_do(error, release)) from error
            why = error
        except (_http_error(), ConnectionError, OfflineModeIsEnabled) as error:
            why = error
        now = partial.stat().st_size if partial.exists() else 0
        if now == announced.size_bytes:
            break
        if now > announced.size_bytes:
            partial.unlink()
            raise FetchFailed(
                f"{announced.url}: more bytes came than the {announced.size_bytes:,} announced, so all were thrown "
                f"away; something between you and the hub changes files.\n{_by_hand(release)}"
            )
        left, wait_s = (tries, pause_s) if now > have else (left - 1, 2 * wait_s)
        if left <= 0:
            raise FetchFailed(
                f"{announced.url}: the connection was cut after {now:,} of {announced.size_bytes:,} bytes "
                f"({_short(why)}). What was received is kept: type the same command again, and it goes on from there.\n"
                + _by_hand(release)
            ) from why
        time.sleep(wait_s)
    return partial


def _go_on(announced: Announced, partial: Path, have: int, progress: Callable[[int, int], None]) -> None:
    """Ask for what is missing, and append it; a server that sends the whole file again is taken at its word."""
    from huggingface_hub import get_session
    from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]

    # Compressed bytes could neither be counted nor appended.
    headers = {"Accept-Encoding": "identity"}
    if token := _token():
        headers["Authorization"] = f"Bearer {token}"
    if have:
        headers["Range"] = f"bytes={have}-"
    # Where the hub sends us on to its storage, the client leaves the token behind.
    with get_session().stream("GET", announced.url, headers=headers, timeout=_PATIENCE_S) as response:
        hf_raise_for_status(response)
        rest = response.status_code == 206
        if rest and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise ConnectionError("another part than the one asked for")
        done = have if rest else 0
        with partial.open("ab" if rest else "wb") as stream:
            for piece in response.iter_raw():
                stream.write(piece)
                done += len(piece)
                if done > announced.size_bytes:
                    return
                progress(done, announced.size_bytes)


def _no_telemetry() -> None:
    """Ask for the file and for nothing else: huggingface_hub 2.4 would also ask what kind of program this is."""
    from huggingface_hub import constants

    constants.HF_HUB_DISABLE_TELEMETRY = True


def _http_error() -> type[Exception]:
    """The HTTP client's own error: of httpx in huggingface_hub 1, of httpx2 in huggingface_hub 2."""
    from huggingface_hub.errors import HfHubHTTPError

    error: type[Exception] = HfHubHTTPError.__bases__[0]
    return error


def _token() -> str | None:
    """The user's token, from HF_TOKEN or ``hf auth login``."""
    from huggingface_hub import get_token

    return get_token()


def _by_hand(release: Release) -> str:
    """The way that needs no connection from here."""
    return (
        f"Or by hand: download {release.file} from {release.page} with a browser, on any machine; then: "
        f"eyeground weights fetch {release.name} --file PATH"
    )


def _what_to_do(error: Exception, release: Release) -> str:
    """Explain why the hub gave nothing, and what to do about it, step by step."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    place, status = endpoint(), getattr(getattr(error, "response", None), "status_code", None)
    token = [f"Make a token (Read) on {HUB}/settings/tokens.", "Set it: export HF_TOKEN=hf_... , or: hf auth login"]
    if status == 401 and _token():
        why, steps = f"{place} does not know your token (401).", token
    elif status == 401:
        why = f"{place} asks who you are (401): {release.name} goes to accounts that have accepted its terms."
        steps = [f"Sign in on {release.page} and accept the terms.", *token]
    elif status == 403:
        why = f"{place} does not give {release.name} to your account (403)."
        steps = [
            f"Open {release.page}, signed in as the owner of your token, and accept the terms.",
            "Wait, if the owners answer by hand. A fine-grained token must also allow to read gated repositories.",
        ]
    elif status == 404:
        why = f"{release.file} of {release.repo_id} is not on {place} (404): moved, renamed, or missing on a mirror."
        steps = [f"Look at {release.page}, and for a newer eyeground."]
    elif status is not None:
        why, steps = f"{place} answers {status} ({_short(error)}).", ["Try again later."]
    elif isinstance(error, OfflineModeIsEnabled):
        why, steps = "HF_HUB_OFFLINE forbids connections.", ["Unset it."]
    else:
        why = f"{place} cannot be reached ({_short(error)})."
        steps = ["Check the network, and HTTPS_PROXY.", "Or set a mirror of the hub: export HF_ENDPOINT=https://MIRROR"]
    if status != 404:
        steps = [*steps, f"Type again: eyeground weights fetch {release.name}"]
    return "\n".join([why, *(f"  {number}. {step}" for number, step in enumerate(steps, 1)), _by_hand(release)])


def _short(error: Exception) -> str:
    """The first line of an error."""
    return (str(error).strip().splitlines() or [""])[0] or type(error).__name__

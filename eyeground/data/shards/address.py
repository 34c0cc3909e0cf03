"""Addresses that were made paths of, and paths that were made addresses of."""

import re
from pathlib import Path
from typing import Final

# A path takes one of two slashes away: s3://bucket becomes s3:/bucket.
_ADDRESS: Final = re.compile(r"(?P<kind>[a-z][a-z0-9+.-]+):/{1,3}(?P<rest>[^/].*)")


def remote_address(path: Path) -> str:
    """Tell an address from a path.

    Args:
        path: As a configuration gives it; a path has only one slash behind the colon.

    Returns:
        The address with both slashes; ``""`` for a path of this machine.

    Example:
        >>> remote_address(Path("s3://eyes/packed")), remote_address(Path("packed"))
        ('s3://eyes/packed', '')

    References:
        Our own.
    """
    found = _ADDRESS.fullmatch(path.as_posix())
    return f"{found['kind']}://{found['rest']}" if found and found["kind"] != "file" else ""


def local_path(path: Path) -> Path:
    """Take ``file://`` away from a path.

    Args:
        path: As a configuration gives it.

    Returns:
        The path alone.

    Example:
        >>> local_path(Path("file:///data/packed")).as_posix()
        '/data/packed'

    References:
        RFC 8089.
    """
    found = _ADDRESS.fullmatch(path.as_posix())
    return Path("/", found["rest"]) if found and found["kind"] == "file" else path

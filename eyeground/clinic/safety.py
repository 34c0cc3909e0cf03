"""What would be unsafe: secrets that are guessed, folders that others read, addresses that strangers reach."""

import os
import re
import stat
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

LOOPBACK_ADDRESSES: Final = ("127.0.0.1", "::1")
LOOPBACK: Final = (*LOOPBACK_ADDRESSES, "localhost")
NO_PROXY: Final = "none"
_SECRETS: Final = ("secret", "llm_key", "oidc_client_secret", "database_url", "queue_url")
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_READ_BY_ANYBODY: Final = stat.S_IROTH
# What stands in examples, and what is typed where a secret is asked for. Longer words first.
_GUESSED: Final = re.compile(
    "make one with openssl rand hex|replace this|replace me|please change|change this|change me|changeit|changeme|"
    "password|passphrase|passwort|supersecret|topsecret|mysecret|secret|default|example|insecure|eyeground|clinic|"
    "hospital|production|letmein|qwerty|admin|test|demo|dummy|todo|your|here|the|key|my|me|a"
)
_FEWEST_SIGNS: Final = 6
_LEAST_LEFT: Final = 8  # characters


def is_guessed(secret: str) -> bool:
    """Tell a secret that is made of what everybody tries.

    Args:
        secret: What is to be a secret.

    Returns:
        Whether less than half a secret is left once words of examples and runs of digits are taken out of it.

    Example:
        >>> is_guessed("changeme-changeme"), is_guessed("your-secret-key-here-1234"), is_guessed("0" * 32)
        (True, True, True)
        >>> is_guessed("a phrase of your own"), is_guessed("9f86d081884c7d659a2feaa0c55ad015")
        (False, False)

    References:
        Our own.
    """
    plain = re.sub(r"[^0-9a-z]+", " ", secret.casefold())
    left = re.sub("0123456789|123456789|12345678|1234567|123456|12345|1234|123", "", _GUESSED.sub("", plain))
    is_plain = secret.isascii()
    return len(set(secret)) < _FEWEST_SIGNS or (is_plain and len(left.replace(" ", "")) < _LEAST_LEFT)


def open_to_others(
    *, home: Path, blob_url: str, database_url: str, secret: str, config: str, shared: Sequence[Path] = ()
) -> list[str]:
    """Find what other users of this machine may read, or change.

    Args:
        home: The home folder.
        blob_url: Where images lie.
        database_url: Where the database is.
        secret: Name of the secret's file in the home.
        config: File of settings; empty = none.
        shared: Folders that others bring images into. A group may read them; everybody may not.

    Returns:
        What is wrong, and what to do; what is not there yet is not wrong.

    Example:
        >>> from tempfile import mkdtemp
        >>> home = Path(mkdtemp())
        >>> home.chmod(0o755)
        >>> [fault] = open_to_others(home=home, blob_url="", database_url="", secret="secret", config="")
        >>> fault.partition(": ")[2]
        'others on this machine may look into it; chmod 700'

    References:
        Our own.
    """
    images = [Path(blob_url.removeprefix("file:"))] if blob_url.startswith("file:") else []
    found = [
        f"{path}: others on this machine may look into it; chmod {700 if path.is_dir() else 600}"
        for path in (home, home / secret, *images)
        if _mode(path) & _OTHERS
    ]
    found += [
        f"{file}: others on this machine may read it; chmod 600, or 700 for its folder"
        for file in _sqlite(database_url)
        if _mode(file) & _mode(file.parent) & _OTHERS
    ]
    found += [
        f"{folder}: everybody on this machine may look into it; chmod o-rwx (or mount it so): a group may read it"
        for folder in shared
        if _mode(folder) & _mode(folder.parent) & stat.S_IRWXO
    ]
    if config and _mode(Path(config)) & _READ_BY_ANYBODY and (names := _secrets_in(Path(config))):
        found.append(f"{config}: it holds {', '.join(names)}, and everybody on this machine may read it; chmod 640")
    return found


def listening_faults(host: str, *, public_url: str, demo: bool, trusted_proxies: Sequence[str] = ()) -> list[str]:
    """Find what is unsafe about where a web service is to listen.

    Args:
        host: The address to listen on.
        public_url: ``Settings.public_url``.
        demo: Whether a demonstration is in it.
        trusted_proxies: ``Settings.trusted_proxies``.

    Returns:
        What is wrong, and what to do.

    Example:
        >>> listening_faults("127.0.0.1", public_url="", demo=True)
        []
        >>> len(listening_faults("0.0.0.0", public_url="", demo=True))
        2

    References:
        Our own.
    """
    if host in LOOPBACK:
        return []
    found = []
    if not public_url.startswith("https://"):
        found.append(
            f"--host {host}: other machines reach that, and passwords would cross the network in the open; put a proxy "
            "with TLS before it, and set EYEGROUND_CLINIC_PUBLIC_URL to its address, https://... (or use 127.0.0.1)"
        )
    elif not trusted_proxies and not demo:
        found.append(
            f"--host {host}: the proxy before it is on another machine, and unknown: everybody behind it would be one "
            "address, and whoever guesses passwords would shut out all; set EYEGROUND_CLINIC_TRUSTED_PROXIES to its "
            f"address or network (or to '{NO_PROXY}' if browsers come here without one)"
        )
    if demo:
        found.append(f"--host {host}: the demonstration and its accounts are for this machine alone; use 127.0.0.1")
    return found


def _mode(path: Path) -> int:
    """Who may do what with it; nothing where there is none, or where modes mean nothing."""
    try:
        return path.stat().st_mode & 0o777 if os.name == "posix" else 0
    except OSError:
        return 0


def _sqlite(url: str) -> Iterator[Path]:
    """The file of a database, if it is one."""
    if url.startswith("sqlite:///"):
        yield Path(url.removeprefix("sqlite:///").partition("?")[0])


def _secrets_in(config: Path) -> list[str]:
    """Secrets that a file of settings holds."""
    with suppress(OSError, ValueError):
        told = tomllib.loads(config.read_text("utf-8"))
        return [name for name in _SECRETS if "@" in str(told.get(name, "")) or (told.get(name) and "url" not in name)]
    return []

"""The service's secret: made once, in a folder that is its owner's alone."""

import os
import secrets
import tempfile
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

from eyeground.atomic_file import flush_folder
from eyeground.clinic.settings import LEAST_SECRET, PREFIX, SECRET_FILE, Settings, SettingsRefused, plain, read_settings


def close_home(**given: Any) -> None:
    """Take the rights that others have to the home folder away from them; what is set up is its owner's alone.

    Args:
        given: What goes before environment and file, by name.

    Raises:
        OSError: If the folder is somebody else's.

    Example:
        >>> home = Path(tempfile.mkdtemp())
        >>> home.chmod(0o755)
        >>> close_home(home=home)
        >>> oct(home.stat().st_mode)[-3:]
        '700'

    References:
        Our own.
    """
    with suppress(ValueError):  # whatever is wrong is told by ``read_settings``
        home = Settings(**(given | {"secret": secrets.token_hex(LEAST_SECRET)})).home
        if home.is_dir():
            home.chmod(0o700)


def make_secret(**given: Any) -> Path | None:
    """Make the service's secret where there is none, for its owner's eyes only.

    Args:
        given: What goes before environment and file, by name.

    Returns:
        The file that was written; None where there is a secret already.

    Raises:
        SettingsRefused: If there are faults; all are told.
        OSError: If the file cannot be written.

    Example:
        >>> home = Path(tempfile.mkdtemp()) / "clinic"
        >>> make_secret(home=home).name, make_secret(home=home)
        ('secret', None)

    References:
        Our own.
    """
    try:
        read_settings(**given)
        return None
    except SettingsRefused:
        if _told_secret(given):
            raise
        home = read_settings(**(given | {"secret": secrets.token_hex(LEAST_SECRET)})).home
    target = home / SECRET_FILE
    if target.exists():
        raise SettingsRefused(f"{target}: no secret can be read from it; put back the one that was there")
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=home, prefix=f".{SECRET_FILE}.")  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        # A link is made or not: of two who begin at once, both use the same secret.
        with suppress(FileExistsError):
            target.hardlink_to(name)
        flush_folder(home)
    finally:
        Path(name).unlink()
    return target


def _told_secret(given: dict[str, Any]) -> bool:
    """Whether somebody has set a secret, good or not."""
    file, in_file = os.environ.get(f"{PREFIX}CONFIG", ""), ""
    if file:
        with suppress(OSError, ValueError):  # a file that cannot be read is told by ``read_settings``
            in_file = tomllib.loads(Path(file).read_text("utf-8")).get("secret", "")
    return any(map(plain, (given.get("secret"), os.environ.get(f"{PREFIX}SECRET"), in_file)))

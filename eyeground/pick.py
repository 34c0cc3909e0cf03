"""Find a plug-in by its file name: the replacement for registries."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType


def names(shelf: str) -> tuple[str, ...]:
    """List the plug-ins of a shelf.

    Args:
        shelf: Folder of plug-ins as a dotted name below ``eyeground``, such as ``"evaluate.metrics"``.

    Returns:
        File names without ``.py``, sorted; names that begin with an underscore are left out.

    Raises:
        LookupError: If there is no such shelf.

    Example:
        >>> "standard" in names("evaluate.profiles")
        True

    References:
        Our own.
    """
    found = find_spec(f"eyeground.{shelf}")
    if found is None or not found.submodule_search_locations:
        raise LookupError(f"there is no shelf {shelf!r} in eyeground")
    files = (path for folder in found.submodule_search_locations for path in Path(folder).glob("*.py"))
    return tuple(sorted(path.stem for path in files if not path.stem.startswith("_")))


def pick(shelf: str, name: str) -> ModuleType:
    """Import one plug-in.

    Args:
        shelf: Folder of plug-ins as a dotted name below ``eyeground``.
        name: File name without ``.py``.

    Returns:
        The plug-in's module.

    Raises:
        LookupError: If the shelf has no such file; the message lists what it has.

    Example:
        >>> pick("evaluate.profiles", "standard").__name__
        'eyeground.evaluate.profiles.standard'

    References:
        Our own.
    """
    offered = names(shelf)
    if name not in offered:
        raise LookupError(f"{shelf} has no {name!r}; it has: {', '.join(offered)}")
    return import_module(f"eyeground.{shelf}.{name}")

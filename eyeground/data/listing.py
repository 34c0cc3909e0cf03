"""What lies below a data folder, listed once, and never anything outside it."""

import os
import re
from pathlib import Path

# A HEYEX .xml is left out: its slices lie beside it as images, so a table or a folder of slices must name it.
IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".dib", ".dcm", ".dicom", ".vol")
)
_LITTER = frozenset(("thumbs.db", "desktop.ini", "__macosx"))


class Listing:
    """Names of the files below a folder, read folder by folder when first needed.

    A table of 100,000 rows costs one directory listing per folder, not one look at the disk per row.

    Args:
        root: Folder that all names are relative to.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "a1.png").write_bytes(b"x")
        ...     Listing(Path(folder)).find("a1")
        'a1.png'

    References:
        Our own.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._real_root = os.path.realpath(root)
        self._files: dict[str, dict[str, str]] = {}  # folder -> file name -> "" or why it is refused
        self._folders: dict[str, dict[str, str]] = {}  # the same for the folders in it
        self._stems: dict[str, dict[str, list[str]]] = {}
        self._refused: dict[str, str] = {}

    def find(self, name: str) -> str:
        """Find the file, or the folder of slices, that a table means.

        Args:
            name: Path below the root, with or without the image's suffix, with ``/`` or ``\\``.

        Returns:
            The path with forward slashes, with its suffix.

        Raises:
            LookupError: If the name leads out of the root, or no file or several files answer to it. The message says
                which and what to do.
        """
        folder, _, base = _tidy(name).rpartition("/")
        files = self.files(folder)
        place = f"{folder}/" if folder else ""
        if base in files:
            if files[base]:
                raise LookupError(files[base])
            return place + base
        if os.path.splitext(base)[1].lower() not in IMAGE_SUFFIXES:  # noqa: PTH122  a Path for each row costs seconds
            answers = self._by_stem(folder).get(base, [])
            if len(answers) == 1:
                return self.find(place + answers[0])
            if not answers and base in self._folders[folder]:
                if self._folders[folder][base]:
                    raise LookupError(self._folders[folder][base])
                return place + base
            if answers:
                raise LookupError(f"could be {' or '.join(answers)}; write the suffix in the table")
        raise LookupError(f"is missing{self._hint(folder, base)}")

    def files(self, folder: str) -> dict[str, str]:
        """List the files of one folder.

        Args:
            folder: Path below the root with forward slashes, ``""`` for the root.

        Returns:
            File names, each with ``""`` or the reason why it must not be read; hidden files and litter are left out.

        Raises:
            LookupError: If the folder is missing or leads out of the root.
        """
        if folder in self._refused:
            raise LookupError(self._refused[folder])
        if folder not in self._files:
            try:
                self._files[folder], self._folders[folder] = self.scan(folder)
            except LookupError as error:
                self._refused[folder] = str(error)
                raise
        return self._files[folder]

    def scan(self, folder: str) -> tuple[dict[str, str], dict[str, str]]:
        """List the files and the folders of one folder.

        Args:
            folder: Path below the root with forward slashes, ``""`` for the root.

        Returns:
            Names of files and names of folders, sorted, each with ``""`` or the reason why it must not be entered.

        Raises:
            LookupError: If the folder is missing or leads out of the root.
        """
        path = os.path.join(self.root, folder)  # noqa: PTH118  as above
        if not self._inside(path):
            raise LookupError("leads out of the data folder through a symbolic link; copy the files into it")
        files: dict[str, str] = {}
        folders: dict[str, str] = {}
        try:
            with os.scandir(path) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    if entry.name.startswith(".") or entry.name.lower() in _LITTER:
                        continue
                    refusal = ""
                    if entry.is_symlink() and not self._inside(entry.path):
                        refusal = "leads out of the data folder through a symbolic link; copy the file into it"
                    if entry.is_dir():
                        folders[entry.name] = refusal
                    else:
                        files[entry.name] = refusal or ("" if entry.is_file() else "is no plain file, or a broken link")
        except OSError as error:
            raise LookupError(f"its folder cannot be read ({error.strerror})") from error
        return files, folders

    def is_link(self, name: str) -> bool:
        """Tell a symbolic link.

        Args:
            name: Path below the root.

        Returns:
            Whether its last part is a link.
        """
        return os.path.islink(os.path.join(self.root, name))  # noqa: PTH114, PTH118

    def _inside(self, path: str) -> bool:
        """Tell whether a path, links followed, stays below the root."""
        real = os.path.realpath(path)
        return real == self._real_root or real.startswith(self._real_root.rstrip(os.sep) + os.sep)

    def _by_stem(self, folder: str) -> dict[str, list[str]]:
        """Images of a folder by their name without suffix."""
        if folder not in self._stems:
            stems: dict[str, list[str]] = {}
            for name in self.files(folder):
                stem, suffix = os.path.splitext(name)  # noqa: PTH122
                if suffix.lower() in IMAGE_SUFFIXES:
                    stems.setdefault(stem, []).append(name)
            self._stems[folder] = stems
        return self._stems[folder]

    def _hint(self, folder: str, base: str) -> str:
        """Name a file that may be meant: the same in another case, or with another suffix."""
        stem = os.path.splitext(base)[0]  # noqa: PTH122
        others = self._by_stem(folder).get(stem, [])
        if not others and len(self.files(folder)) <= 10_000:
            others = [name for name in self.files(folder) if name.lower() == base.lower()]
        return f"; did you mean {others[0]!r}?" if others else ""


class Named:
    """Names as a table has them, believed: of images that lie in shards, where there is no folder to list.

    Args:
        root: What stands for the folder.

    Example:
        >>> Named(Path("shards")).find("a/1.png.tif")
        'a/1.png.tif'

    References:
        Our own.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, name: str) -> str:
        """Give a name back.

        Args:
            name: As the table has it.

        Returns:
            The same.
        """
        return name


def is_image(name: str) -> bool:
    """Tell by its suffix whether a file is meant to be an image.

    Args:
        name: File name.

    Returns:
        True for the suffixes of JPEG, PNG, TIFF, BMP, DICOM and Heidelberg .vol.

    Example:
        >>> is_image("a.JPG"), is_image("notes.txt")
        (True, False)

    References:
        Our own.
    """
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122


def _tidy(name: str) -> str:
    """Bring a name to forward slashes, or refuse it."""
    plain = name.replace("\\", "/")
    if plain.startswith("/") or re.match(r"[A-Za-z]:", plain):
        raise LookupError("is an absolute path; write it relative to the data folder")
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise LookupError("leads out of the data folder ('..'); write it relative to the data folder")
    if not parts or any(ord(character) < 32 for character in plain):
        raise LookupError("is no file name")
    return "/".join(parts)

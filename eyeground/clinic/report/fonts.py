"""Fonts for PDF reports: found before anything is written, and asked beforehand about every character."""

import re
import sys
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from eyeground.clinic.report.language import SHELF

# By what their files are called; the first that there is.
_CHINESE: Final = (
    "NotoSansCJK*-Regular.*", "NotoSansSC-Regular.*", "SourceHanSans*-Regular.*", "PingFang*.ttc", "msyh.ttc",
    "wqy-*.ttc", "wqy-*.ttf",
)  # fmt: skip
# Asked when a character is in neither of those that are always there: rare names, and scripts of minorities.
_RARE: Final = (
    "HanaMinB*", "simsunb.ttf", "Plangothic*", "NotoS*Tibetan-Regular.*", "himalaya.ttf", "Kailasa.ttc",
    "NotoS*Arabic-Regular.*", "NotoS*Mongolian-Regular.*", "NotoSansYi-Regular.*", "monbaiti.ttf", "msyi.ttf",
    "NotoS*Devanagari-Regular.*", "NotoSansThai-Regular.*", "NotoSansSymbols*-Regular.*",
)  # fmt: skip
_KINDS: Final = (".ttf", ".otf", ".ttc", ".otc")
_EXTRA: Final = ("mplfonts", "fonts", "NotoSansCJKsc-Regular.otf")
_LATIN: Final = ("matplotlib", "mpl-data", "fonts", "ttf", "DejaVuSans.ttf")
_TO_DO: Final = (
    "set EYEGROUND_CLINIC_FONT to a font file with Chinese, or install one: apt install fonts-noto-cjk, or "
    "pip install 'eyeground[fonts]'"
)
# However a line ends, it ends.
_ENDS: Final = re.compile("\r\n?")
_INVISIBLE: Final = "\u00ad\u200b\u200c\u200d\u2060\ufeff"
_MOST_MARKS: Final = 8  # on one letter; Tibetan needs four
_UNBROKEN: Final = 20  # letters without a blank that fit into every column; a wide one counts for two


class FontMissing(RuntimeError):
    """There is no font that a PDF report can be written with; the message says what to do."""


@dataclass(frozen=True)
class Face:
    """A font that a report is written with.

    Args:
        path: Its file.
        family: What it is called.
        letters: Code points it can draw.

    Example:
        >>> Face(Path("a.ttf"), "A", frozenset({65})).family
        'A'

    References:
        Our own.
    """

    path: Path
    family: str
    letters: frozenset[int] = field(repr=False)


def faces(font: Path | None = None) -> tuple[Face, ...]:
    """Find the fonts that a report is written with.

    Args:
        font: ``Settings.font``; None = one of the system's, else that of the extra ``fonts``.

    Returns:
        One with Chinese first, one with Latin, Greek, Cyrillic and Arabic letters next; then whatever the system has
        for rare characters.

    Raises:
        FontMissing: If there is none that has every word of a report.

    Example:
        >>> faces()[1].family
        'DejaVu Sans'

    References:
        OpenType 1.9, "cmap".
    """
    if font is not None and not font.is_file():
        raise FontMissing(f"EYEGROUND_CLINIC_FONT: {font}: there is no such file; {_TO_DO}")
    found = font or next(_system(_CHINESE), None) or _packed(_EXTRA)
    if found is None:
        raise FontMissing(f"no font with Chinese is found; {_TO_DO}")
    chinese, latin = _face(found), _packed(_LATIN)
    needed = {letter for path in SHELF.glob("*.toml") for letter in path.read_text("utf-8") if letter.isprintable()}
    lacking = sorted(letter for letter in needed if ord(letter) not in chinese.letters)
    if lacking:
        raise FontMissing(f"{found} lacks {len(lacking)} characters of every report, {''.join(lacking[:8])}; {_TO_DO}")
    return (chinese, *([] if latin is None else [_face(latin)]), *(_face(path) for path in _rare()))


def drawable(text: str, fonts: Sequence[Face], *, careful: bool = False) -> str:
    """Put what no font can draw into code points, so that nobody sees an empty box, or nothing, in place of a letter.

    A name with a character that no font here has stays readable and can be checked; a report that is not written helps
    nobody. Signs that would turn the order of letters around are shown as what they are.

    Args:
        text: As it was written.
        fonts: As ``faces`` gives them.
        careful: Take the first font alone, and no marks: for the rare text that several fonts can draw only by parts.

    Returns:
        The text; ``〔U+20BB7〕`` in place of a character. Long words may be broken anywhere.

    Example:
        >>> drawable("a\\u0007b", [Face(Path("a.ttf"), "A", frozenset(range(128)))])
        'a〔U+0007〕b'

    References:
        Unicode, general categories; UAX #9 for the order of letters.
    """
    marks, unbroken, told = 0, 0, []
    for letter in _ENDS.sub("\n", text):
        kind = unicodedata.category(letter)
        marks = marks + 1 if kind in ("Mn", "Me") else 0
        drawn = any(ord(letter) in face.letters for face in (fonts[:1] if careful else fonts))
        if letter == "\n" or letter in _INVISIBLE or _selects(letter):
            drawn = True
        elif kind[0] == "C" or marks > (0 if careful else _MOST_MARKS):
            drawn = letter == "\t"
        if drawn and not letter.isspace() and ord(letter) < 0x2E80:
            unbroken += 0 if marks else 2 if letter.isupper() or letter in "mw%@&" else 1
        else:
            unbroken = 0
        if unbroken > _UNBROKEN and not marks:
            told.append("\u200b")
            unbroken = 1
        told.append((" " if letter == "\t" else letter) if drawn else f"〔U+{ord(letter):04X}〕")
    return "".join(told)


def _selects(letter: str) -> bool:
    """Whether it only chooses between shapes of the character before it."""
    return 0xFE00 <= ord(letter) <= 0xFE0F or 0xE0100 <= ord(letter) <= 0xE01EF


def _folders() -> tuple[Path, ...]:
    """Where systems keep their fonts."""
    home = Path.home()
    if sys.platform == "darwin":
        return Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts"
    if sys.platform == "win32":
        return Path("C:/Windows/Fonts"), home / "AppData/Local/Microsoft/Windows/Fonts"
    return Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), home / ".local/share/fonts", home / ".fonts"


def _system(patterns: Sequence[str]) -> Iterator[Path]:
    """The system's font files of such names, the first name first."""
    for pattern in patterns:
        for folder in _folders():
            yield from sorted(path for path in folder.rglob(pattern) if path.suffix.lower() in _KINDS)


@cache
def _rare() -> tuple[Path, ...]:
    """What the system has for rare characters, looked for once."""
    return tuple(dict.fromkeys(_system(_RARE)))


def _packed(place: Sequence[str]) -> Path | None:
    """A font that lies in an installed package, found without running its code; None where it is not installed."""
    spec = find_spec(place[0])
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent.joinpath(*place[1:])
    return path if path.is_file() else None


@cache
def _face(path: Path) -> Face:
    """Read which characters a font has; of a collection the face for simplified Chinese."""
    import typst
    from fontTools.ttLib import TTFont, TTLibError  # type: ignore[import-untyped]

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / path.name).symlink_to(path.absolute())
        known = typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[folder]).fonts()
    if not known:
        raise FontMissing(f"{path} is no font that can be used; {_TO_DO}")
    info = next((each for each in known if each.family.endswith((" SC", " CN"))), known[0])
    try:
        with TTFont(path, fontNumber=info.index, lazy=True) as file:
            return Face(path.absolute(), info.family, frozenset(file.getBestCmap() or ()))
    except (TTLibError, OSError, KeyError, AssertionError) as error:
        raise FontMissing(f"{path} is no font that can be read; {_TO_DO}") from error

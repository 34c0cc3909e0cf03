"""Which eye: OD or OS, from a file name or from a word in a table."""

import re

from eyeground.images.retinal_image import Eye

_WORDS: dict[str, Eye] = {
    "right": "OD", "righteye": "OD", "re": "OD", "r": "OD", "od": "OD", "右": "OD", "右眼": "OD",
    "left": "OS", "lefteye": "OS", "le": "OS", "l": "OS", "os": "OS", "左": "OS", "左眼": "OS",
}  # fmt: skip
# Inside a longer run of letters only whole words count: "iOS" and "imgR" say nothing about an eye.
_CAMEL = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_LONG_WORDS = ("right", "righteye", "left", "lefteye")
_BOTH = ("ou", "both")


def eye_from_name(name: str) -> Eye:
    """Tell the eye from the words of a file name.

    Understood are ``right``/``left`` (also ``RightEye``), ``OD``/``OS`` (digits may touch them: ``OD01``), ``R``/``L``
    standing alone between separators, and 右/左. Folders in the path are not read: a folder may be anything.

    Args:
        name: File name or path, with forward or backward slashes.

    Returns:
        ``"OD"``, ``"OS"``, or ``""`` if the name says nothing, or both.

    Example:
        >>> eye_from_name("scans/10_left.jpeg"), eye_from_name("P7_OD_2.png"), eye_from_name("left_or_right.png")
        ('OS', 'OD', '')

    References:
        ISO 19980 abbreviations: OD (oculus dexter) is the right eye, OS (oculus sinister) the left.
    """
    stem = re.split(r"[\\/]", name)[-1].rsplit(".", 1)[0]
    found: set[Eye] = {_WORDS[character] for character in "右左" if character in stem}
    if "双眼" in stem:
        return ""
    for token in re.findall(r"[A-Za-z0-9]+", stem):
        letters = token.strip("0123456789").lower()
        if letters in _BOTH:
            return ""
        if token.lower() in ("r", "l") or (letters in _WORDS and letters not in ("r", "l", "re", "le")):
            found.add(_WORDS[letters])
            continue
        found.update(_WORDS[part.lower()] for part in _CAMEL.findall(token) if part.lower() in _LONG_WORDS)
    return found.pop() if len(found) == 1 else ""


def eye_from_word(word: str) -> Eye:
    """Tell the eye from a cell of a table.

    Numbers are not understood: 0 and 1 mean left and right in one table and right and left in the next.

    Args:
        word: ``left``, ``right``, ``L``, ``R``, ``LE``, ``RE``, ``OS``, ``OD``, ``left eye``, ``右眼`` and so on, in
            any case; or nothing.

    Returns:
        ``"OD"``, ``"OS"``, or ``""`` for an empty word.

    Raises:
        ValueError: If the word is none of these; write OD or OS instead.

    Example:
        >>> eye_from_word("Right"), eye_from_word("os"), eye_from_word(" ")
        ('OD', 'OS', '')

    References:
        Our own.
    """
    plain = re.sub(r"[\s_\-.]+", "", word).lower()
    if not plain:
        return ""
    if plain not in _WORDS:
        raise ValueError(f"{word!r} names no eye; write OD or OS (or right, left, R, L), or leave it empty")
    return _WORDS[plain]

"""Which eye: OD or OS, from a file name, from a word in a table, or from where the optic disc is."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from eyeground.images.disc import Disc, disc_in
from eyeground.images.flat_field import FlatField, flatten
from eyeground.images.fovea import Fovea, disc_at_right, foveae_in
from eyeground.images.retinal_image import Eye, RetinalImage

DISC_POSITION = "disc position"

_WORDS: dict[str, Eye] = {
    "right": "OD", "righteye": "OD", "re": "OD", "r": "OD", "od": "OD", "右": "OD", "右眼": "OD",
    "left": "OS", "lefteye": "OS", "le": "OS", "l": "OS", "os": "OS", "左": "OS", "左眼": "OS",
}  # fmt: skip
# Inside a longer run of letters only whole words count: "iOS" and "imgR" say nothing about an eye.
_CAMEL = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_LONG_WORDS = ("right", "righteye", "left", "lefteye")
_BOTH = ("ou", "both")
_SURE = 0.75  # an answer less likely than this is none

# Seen from the disc the fovea lies 6.5 degrees below the horizontal, with a spread of 3.7 (602 upright photographs),
# and as far above it in those exported upside down (246). The rest is heads held askew, and spots that are no fovea.
_BELOW, _BELOW_SPREAD, _ASKEW = 6.5, 3.7, 0.03
_LEAST_TRUST = 0.4  # an unlikely fovea still is the darkest place where a fovea would be


@dataclass(frozen=True)
class DiscSide:
    """Which eye the place of the disc speaks for.

    Args:
        eye: ``"OD"``, ``"OS"``, or ``""`` when it cannot be said.
        confidence: How likely ``eye`` is right, [0, 1]; of ``""``, how likely the likelier eye is.
        disc: The disc; None when it is not found.
        fovea: The fovea; None when it is not found.
        upside_down: How likely the photograph stands on its head, [0, 1].
        reason: Why it cannot be said; empty when it can.

    Example:
        >>> DiscSide("OD", 0.97, None, None, 0.01, "").eye
        'OD'

    References:
        Our own.
    """

    eye: Eye
    confidence: float
    disc: Disc | None
    fovea: Fovea | None
    upside_down: float
    reason: str


@dataclass(frozen=True)
class Laterality:
    """Which eye an image shows, and who disagrees.

    Args:
        eye: ``"OD"``, ``"OS"``, or ``""`` when not known, or when those who state it contradict each other.
        conflict: A sentence that names who says what; empty when nobody disagrees.

    Example:
        >>> Laterality("OD", "").conflict
        ''

    References:
        Our own.
    """

    eye: Eye
    conflict: str


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


def eye_from_disc(image: RetinalImage) -> Eye:
    """Tell the eye from the photograph alone: the disc is on the nose's side of the fovea.

    Seen as photographs usually are, a right eye has its disc at the right. A photograph that was mirrored shows the
    other eye, and nothing in it tells so.

    Args:
        image: Any retinal image; only fundus photographs are answered.

    Returns:
        ``"OD"``, ``"OS"``, or ``""`` when it cannot be said; ``side_from_disc`` says why.

    Example:
        >>> import numpy as np
        >>> eye_from_disc(RetinalImage(np.zeros((80, 80, 3), np.uint8), "black.png"))
        ''

    References:
        Our own.
    """
    return side_from_disc(image).eye


def side_from_disc(image: RetinalImage, *, upside_down: float = 0.05) -> DiscSide:
    """Tell the eye from the photograph alone, with how sure that is and what was seen.

    The disc's place in the field decides, together with the fovea, which decides alone when the disc is in the middle.
    The fovea also lies a little lower than the disc. Where it lies higher, the photograph probably stands on its head,
    as some cameras export it: that turns left and right around too, and the answer with it.

    Args:
        image: Any retinal image; only fundus photographs are answered.
        upside_down: What part of such photographs stands on its head, as far as is known beforehand, [0, 1]. Of
            EyePACS photographs it is 0.4.

    Returns:
        The eye and the reasons; places in pixels of the image.

    Raises:
        ValueError: If ``upside_down`` is not in [0, 1].

    Example:
        >>> import numpy as np
        >>> side_from_disc(RetinalImage(np.zeros((80, 80, 3), np.uint8), "black.png")).reason
        'nothing can be seen'

    References:
        Fovea below the disc: Rohrschneider, Invest Ophthalmol Vis Sci 2004;45:3257. The rest our own.
    """
    if not 0 <= upside_down <= 1:
        raise ValueError(f"upside_down is a part of all photographs, from 0 to 1; got {upside_down}")
    if image.modality in ("oct", "anterior"):
        return DiscSide("", 0.5, None, None, math.nan, "no fundus photograph")
    flat = flatten(image.pixels)
    if flat is None:
        return DiscSide("", 0.5, None, None, math.nan, "nothing can be seen")
    disc = disc_in(flat)
    if disc is None:
        return DiscSide("", 0.5, None, None, math.nan, "no disc is found")
    left, right = foveae_in(flat, disc)
    at_right = disc_at_right(flat, disc, left, right)
    fovea = left if at_right > 0.5 else right
    turned = _upside_down(disc, fovea, upside_down)
    od = at_right * (1 - turned) + (1 - at_right) * turned
    od = disc.confidence * od + (1 - disc.confidence) * 0.5
    confidence = max(od, 1 - od)
    eye: Eye = "" if confidence < _SURE else "OD" if od > 0.5 else "OS"
    reason = ""
    if eye == "":
        doubts = {
            "the disc is in the middle and no fovea tells its side": min(at_right, 1 - at_right),
            "the photograph may stand on its head": min(turned, 1 - turned),
            "the disc is not sure": (1 - disc.confidence) / 2,
        }
        reason = max(doubts, key=lambda doubt: doubts[doubt])
    return DiscSide(eye, confidence, _disc_out(flat, disc), _fovea_out(flat, fovea), turned, reason)


def reconcile(claims: Mapping[str, Eye]) -> Laterality:
    """Bring together what a DICOM tag, a table, a file name and the disc say about the eye.

    - Those that state the eye and agree give it.
    - If they contradict each other, the eye is not known. Nothing is settled by majority, nor by the disc.
    - The disc's place (the key ``DISC_POSITION``) gives the eye only when nobody states it. Where it contradicts a
      stated eye, the stated one is kept, since finding discs errs more often than clinics do; but it is reported.

    Args:
        claims: Who says what, such as ``{"DICOM tag": "OD", "table": "", "disc position": "OS"}``; ``""`` is no claim.

    Returns:
        The eye, and a sentence if there is a conflict.

    Raises:
        ValueError: If a claim is none of ``"OD"``, ``"OS"`` and ``""``.

    Example:
        >>> reconcile({"table": "OD", "file name": "OD", "disc position": "OD"})
        Laterality(eye='OD', conflict='')
        >>> reconcile({"DICOM tag": "OD", "file name": "OS", "disc position": "OS"})
        Laterality(eye='', conflict='DICOM tag says OD, file name says OS, disc position says OS')

    References:
        Our own.
    """
    for source, claim in claims.items():
        if claim not in ("OD", "OS", ""):
            raise ValueError(f"{source}: the eye must be 'OD', 'OS' or '', got {claim!r}")
    said = {source: claim for source, claim in claims.items() if claim}
    stated = {claim for source, claim in said.items() if source != DISC_POSITION}
    conflict = ""
    if len(set(said.values())) > 1:
        conflict = ", ".join(f"{source} says {claim}" for source, claim in said.items())
    if len(stated) > 1:
        return Laterality("", conflict)
    eye: Eye = stated.pop() if stated else said.get(DISC_POSITION, "")
    return Laterality(eye, conflict)


def _upside_down(disc: Disc, fovea: Fovea | None, share: float) -> float:
    """How likely a photograph stands on its head, by Bayes' rule from how far the fovea is below the disc."""
    if fovea is None:
        return share
    below = math.degrees(math.atan2(fovea.y - disc.y, abs(fovea.x - disc.x)))
    trust = (1 - _ASKEW) * (_LEAST_TRUST + (1 - _LEAST_TRUST) * fovea.confidence)

    def likely(mean: float) -> float:
        bell = math.exp(-(((below - mean) / _BELOW_SPREAD) ** 2) / 2) / (_BELOW_SPREAD * math.sqrt(2 * math.pi))
        return trust * bell + (1 - trust) / 60  # else anything within 30 degrees

    turned = share * likely(-_BELOW)
    return turned / (turned + (1 - share) * likely(_BELOW))


def _disc_out(flat: FlatField, disc: Disc) -> Disc:
    """Bring a disc to the photograph's pixels."""
    x, y = flat.to_photograph(disc.x, disc.y)
    return Disc(x, y, disc.radius * flat.step, disc.confidence)


def _fovea_out(flat: FlatField, fovea: Fovea | None) -> Fovea | None:
    """Bring a fovea to the photograph's pixels, unless it is unlikely."""
    if fovea is None or fovea.confidence < 0.5:
        return None
    return Fovea(*flat.to_photograph(fovea.x, fovea.y), fovea.confidence)

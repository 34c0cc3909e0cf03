"""The numbers of a color profile without its texts, dates and serial numbers."""

import struct

_KEPT = {b"wtpt": (b"XYZ ",), b"bkpt": (b"XYZ ",), b"rXYZ": (b"XYZ ",), b"gXYZ": (b"XYZ ",), b"bXYZ": (b"XYZ ",),
         b"rTRC": (b"curv", b"para"), b"gTRC": (b"curv", b"para"), b"bTRC": (b"curv", b"para"),
         b"kTRC": (b"curv", b"para"), b"chad": (b"sf32",)}  # fmt: skip
_PARAMETERS = (1, 3, 4, 5, 7)  # of each kind of parametric curve
_D50 = struct.pack(">iii", 0xF6D6, 0x10000, 0xD32D)


def plain_profile(profile: bytes) -> bytes:
    """Write an ICC profile anew with its primaries, white point and tone curves only.

    Args:
        profile: The profile as found.

    Returns:
        The plain profile; empty if it is damaged or works by tables instead of primaries. Decoding does not need it:
        without one a viewer takes the colors for sRGB.

    Example:
        >>> from PIL import ImageCms
        >>> full = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        >>> b"cprt" in full, b"cprt" in plain_profile(full), len(plain_profile(full)) > 300
        (True, False, True)

    References:
        ICC.1:2022.
    """
    if len(profile) < 132 or profile[36:40] != b"acsp" or profile[16:20] not in (b"RGB ", b"GRAY"):
        return b""
    (count,) = struct.unpack_from(">I", profile, 128)
    tags = []
    for number in range(min(count, 100)):
        if 144 + 12 * number > len(profile):
            return b""
        name, at, size = struct.unpack_from(">4sII", profile, 132 + 12 * number)
        body = _numbers(profile[at : at + size]) if size <= 2**17 else b""
        if name in _KEPT and body[:4] in _KEPT[name]:
            tags.append((name, body))
    needed = {b"kTRC"} if profile[16:20] == b"GRAY" else {b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC"}
    if not needed <= {name for name, _ in tags}:
        return b""
    place = 132 + 12 * len(tags)
    table, bodies = b"", b""
    for name, body in tags:
        table += struct.pack(">4sII", name, place + len(bodies), len(body))
        bodies += body + b"\0" * (-len(body) % 4)
    version = bytes((min(profile[8], 4), profile[9] & 0xF0, 0, 0))
    spaces = profile[16:20] + (b"Lab " if profile[20:24] == b"Lab " else b"XYZ ")
    head = struct.pack(">I4x4s4s", place + len(bodies), version, b"mntr") + spaces + b"\0" * 12 + b"acsp"
    head += b"\0" * 28 + _D50 + b"\0" * 48
    return head + struct.pack(">I", len(tags)) + table + bodies


def _numbers(tag: bytes) -> bytes:
    """Copy exactly the numbers of a tag: what stands behind them is dropped."""
    kind = tag[:4]
    size = 0
    if kind == b"XYZ ":
        size = 20
    elif kind == b"sf32":
        size = 44
    elif kind == b"curv" and len(tag) >= 12:
        size = 12 + 2 * int.from_bytes(tag[8:12], "big")
    elif kind == b"para" and len(tag) >= 12 and int.from_bytes(tag[8:10], "big") < len(_PARAMETERS):
        size = 12 + 4 * _PARAMETERS[int.from_bytes(tag[8:10], "big")]
    return kind + b"\0" * 4 + tag[8:size] if 0 < size <= len(tag) else b""

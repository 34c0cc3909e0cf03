"""PyTorch from 1.6 on: a zip archive of one pickle and a file per storage."""

import codecs
import io
import zipfile
from itertools import pairwise
from typing import Any, BinaryIO

from eyeground.model.formats._nest import find_tensors, take_tensor
from eyeground.model.formats._stand_ins import Region
from eyeground.model.formats._stored import Contents, raw_type
from eyeground.model.formats._unpickler import torch_region, unpickle
from eyeground.model.weights import WeightsRefused

# Names without the UTF-8 mark are decoded so; the codec is a module, and no module can be opened once confined.
codecs.lookup("cp437")

_LOCAL = b"PK\x03\x04"
_LOCAL_BYTES = 30


def claims(head: bytes) -> bool:
    """Tell whether a file is a zip archive.

    Args:
        head: Its first bytes.

    Returns:
        True for any zip archive.

    Example:
        >>> claims(b"PK\\x03\\x04...")
        True

    References:
        APPNOTE.TXT, PKWARE.
    """
    return head.startswith(_LOCAL)


def read(file: BinaryIO, *, name: str) -> Contents:
    """Find the tensors; their numbers are read only when they are asked for.

    Args:
        file: The file.
        name: Its name, which says nothing here.

    Returns:
        The tensors, and what else is in the file.

    Raises:
        WeightsRefused: If it is not what ``torch.save`` writes, or asks for more than tensors.

    Example:
        >>> read(io.BytesIO(b"PK\\x03\\x04"), name="a.pth")
        Traceback (most recent call last):
        eyeground.model.weights.WeightsRefused: is no whole zip archive (File is not a zip file): fetch or copy it again

    References:
        torch/serialization.py and caffe2/serialize/inline_container.cc, PyTorch 2.12.
    """
    entries = _entries(file)
    if any(entry == "constants.pkl" or entry.startswith("code/") for entry in entries):
        raise WeightsRefused("is a TorchScript archive, which holds code: save the model's state_dict() instead")
    strange = [ascii(entry)[1:61] for entry in entries if not (entry in _KNOWN or entry.startswith(("data/", ".")))]
    if strange or "data.pkl" not in entries:
        raise WeightsRefused(
            f"is a zip archive that torch.save does not write: it holds {', '.join(strange[:5]) or 'no data.pkl'}"
        )
    if "byteorder" in entries and _bytes(file, *entries["byteorder"]) != b"little":
        raise WeightsRefused("was written on a big-endian machine, which is not read here: save it again on another")

    def region(pid: tuple[Any, ...]) -> Region:
        key, found = torch_region(pid)
        start, size = entries.get(f"data/{key}", (-1, -1))
        if found.count * raw_type(found.kind).itemsize > size:
            raise WeightsRefused(f"says that storage {key[:40]} has {found.count:,} numbers, which it has not")
        found.start = start
        return found

    top = unpickle(io.BytesIO(_bytes(file, *entries["data.pkl"])), region)
    nest, tensors, left_out = find_tensors(top, take_tensor(file))
    return Contents("torch", nest, tensors, left_out)


_KNOWN = {"data.pkl", "byteorder", "version"}


def _entries(file: BinaryIO) -> dict[str, tuple[int, int]]:
    """Where each entry's bytes lie: name without the archive's folder -> start and size."""
    size = file.seek(0, io.SEEK_END)
    try:
        infos = zipfile.ZipFile(file).infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise WeightsRefused(f"is no whole zip archive ({error}): fetch or copy it again") from None
    found: dict[str, tuple[int, int]] = {}
    folder = infos[0].filename.partition("/")[0] if infos else ""
    places = []
    for info in infos:
        shown = ascii(info.filename)[1:61]
        head, _, name = info.filename.partition("/")
        if head != folder or not name or ".." in info.filename.split("/") or "\\" in info.filename:
            raise WeightsRefused(f"is a zip archive with the entry {shown}, outside the folder {ascii(folder)[1:61]}")
        if name in found:
            raise WeightsRefused(f"is a zip archive with two entries {shown}")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size or info.flag_bits & 1:
            raise WeightsRefused(f"is a zip archive whose entry {shown} is packed; torch never packs")
        file.seek(info.header_offset)
        local = file.read(_LOCAL_BYTES)
        start = info.header_offset + len(local) + sum(int.from_bytes(local[at : at + 2], "little") for at in (26, 28))
        if not local.startswith(_LOCAL) or len(local) < _LOCAL_BYTES or start + info.file_size > size:
            raise WeightsRefused(f"ends before its entry {shown} does: fetch or copy it again")
        found[name] = start, info.file_size
        places.append((info.header_offset, start + info.file_size))
    places.sort()
    if any(end > begin for (_, end), (begin, _) in pairwise(places)):
        raise WeightsRefused("is a zip archive whose entries lie inside each other")
    return found


def _bytes(file: BinaryIO, start: int, size: int) -> bytes:
    """An entry."""
    file.seek(start)
    return file.read(size)

"""Heidelberg Eye Explorer's XML export: one file of words, and the B-scans in image files beside it."""

import codecs
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

from eyeground.images.contents import Contents
from eyeground.images.refusal import ImageRefused
from eyeground.images.retinal_image import Eye, Line, RetinalImage

_DEEPEST: Final = 64  # real exports reach 10
_MOST_ELEMENTS: Final = 2_000_000  # a volume of 1,000 B-scans with 17 layers each has 100,000
_LONGEST_WORD: Final = 4096  # longer text is segmentation, which is not read here
_LARGEST_SIDE_PX: Final = 65_535
# The encodings an export may declare, each looked up now: in the child no file can be opened later.
_ENCODINGS: Final = ("utf-8", "ascii", "iso8859-1", *(f"cp{number}" for number in range(1250, 1259)),
                     "gb2312", "gbk", "gb18030", "big5", "shift_jis", "euc_jp", "euc_kr")  # fmt: skip
_CODECS: Final = {codecs.lookup(name).name for name in _ENCODINGS}
_WIDE: Final = (
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"<\0", "utf-16-le"), (b"\0<", "utf-16-be"),
)  # fmt: skip
for _, _name in _WIDE:
    codecs.lookup(_name)
_CUT_SHORT: Final = {
    expat.errors.codes[word] for word in (expat.errors.XML_ERROR_NO_ELEMENTS, expat.errors.XML_ERROR_UNCLOSED_TOKEN,
                                          expat.errors.XML_ERROR_PARTIAL_CHAR)
}  # fmt: skip
_DECLARED: Final = re.compile(rb"""^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._\-]{1,40})["']""")
_PERSONAL: Final = frozenset({
    "PatientUID", "PatientID", "LastName", "FirstNames", "Birthdate", "Sex", "Address", "Phone", "Email", "Title",
    "StudyDate", "Operator", "ReferringPhysician", "ExamDate", "AcquisitionTime", "Comment", "Diagnosis", "Memo",
    "Institution", "InstitutionName", "Ancestry", "AccessionNumber",
})  # fmt: skip


@dataclass
class _Element:
    """A tag with its text and what lies in it."""

    tag: str
    text: str = ""
    inside: "list[_Element]" = field(default_factory=list)

    def all(self, tag: str) -> "Iterator[_Element]":
        """Every element of this name, at any depth, in the order of the file."""
        for each in self.inside:
            if each.tag == tag:
                yield each
            yield from each.all(tag)

    def find(self, path: str) -> "_Element | None":
        """The first element at a path of tags below this one."""
        here: _Element | None = self
        for tag in path.split("/"):
            here = next((each for each in here.inside if each.tag == tag), None) if here else None
        return here

    def word(self, path: str) -> str:
        """The text at a path, ``""`` if there is none."""
        found = self.find(path)
        return found.text.strip() if found else ""

    def number(self, path: str) -> float:
        """The number at a path, NaN if there is none."""
        try:
            return float(self.word(path))
        except ValueError:
            return math.nan


def claims(data: bytes) -> bool:
    """Say whether the bytes begin an XML file whose root is ``HEDX``.

    Args:
        data: The file, or its first 4096 bytes.

    Returns:
        True for a Heidelberg export in any encoding, with or without a byte order mark.

    Example:
        >>> claims(b"<HEDX>"), claims('<?xml version="1.0"?><HEDX>'.encode("utf-16")), claims(b"<svg/>")
        (True, True, False)

    References:
        Our own.
    """
    plain = data[:4096].removeprefix(codecs.BOM_UTF8).replace(b"\0", b"").lstrip(b"\xff\xfe \t\r\n")
    for opening, closing in ((b"<?", b"?>"), (b"<!--", b"-->"), (b"<!--", b"-->")):  # a declaration, two comments
        if plain.startswith(opening):
            plain = plain.partition(closing)[2].lstrip()
    plain = b"<" + plain.removeprefix(b"<!DOCTYPE").lstrip(b"< \t\r\n")
    return plain.startswith(b"<HEDX") and plain[5:6] in (b">", b" ", b"/", b"\t", b"\r", b"\n", b"[")


def contents(data: bytes, *, source: str) -> Contents:
    """List the B-scans of an export, in the order of the file.

    The localizer is no slice. The export names whole Windows paths; only the last part of each is kept, and it must be
    a plain file name. The eye is given only if the series and all its B-scans agree on it.

    Args:
        data: The whole XML file.
        source: Where it came from, for messages.

    Returns:
        What the export holds; ``files`` names each slice's image, which lies beside the XML file.

    Raises:
        ImageRefused: If the XML is damaged, declares a document type or entities, holds no B-scan, more than one series
            with B-scans, or a name that is no plain file name.

    Example:
        >>> image = "<Image><ImageType><Type>OCT</Type></ImageType><OphthalmicAcquisitionContext><Width>50</Width>"
        >>> image += "<Height>40</Height></OphthalmicAcquisitionContext><ImageData>"
        >>> image += "<ExamURL>file://x\\\\B1.tif</ExamURL></ImageData></Image>"
        >>> xml = f"<HEDX><BODY><Patient><Study><Series>{image}</Series></Study></Patient></BODY></HEDX>"
        >>> contents(xml.encode(), source="a.xml").files
        ('B1.tif',)

    References:
        eyepy, ``he/xml_reader.py``, and its test export.
    """
    root = _parse(data, source)
    series = [(each, [image for image in each.all("Image") if _is_b_scan(image)]) for each in root.all("Series")]
    series = [(each, images) for each, images in series if images]
    if not series:
        raise ImageRefused("broken", source, "the export names no OCT B-scan; export a volume")
    if len(series) > 1:
        raise ImageRefused("format_not_allowed", source, f"holds {len(series)} OCT series; export one at a time")
    words, images = series[0]
    files = tuple(_file_name(image.word("ImageData/ExamURL"), source) for image in images)
    if len(set(files)) < len(files):
        raise ImageRefused("broken", source, "names one image file twice; export it again")
    width, height = (_side(images[0], name, source) for name in ("Width", "Height"))
    maker = (words.word("GeneralEquipment/Manufacturer"), words.word("GeneralEquipment/ManufacturerModelName"))
    return Contents(
        format="HEYEX XML",
        slices=len(files),
        width=width,
        height=height,
        modality="oct",
        eye=_eye([words, *images]),
        mm_per_px=_mm_per_px(images),
        lines_mm=_lines(images),
        device=" ".join(word[:64] for word in maker if word.isprintable() and word),
        personal=tuple(sorted(_personal(root))),
        files=files,
    )


def frame(data: bytes, *, source: str, number: int, max_pixels: int) -> RetinalImage:
    """Refuse: the slices lie in files of their own, which ``contents`` names.

    Args:
        data: The whole XML file.
        source: Where it came from, for messages.
        number: Which B-scan, from 0; not used.
        max_pixels: Largest width times height let in; not used.

    Returns:
        Nothing.

    Raises:
        ImageRefused: Always.

    Example:
        >>> frame(b"<HEDX/>", source="a.xml", number=0, max_pixels=1)
        Traceback (most recent call last):
        eyeground.images.refusal.ImageRefused: a.xml: its slices lie in files of their own; give the folder that ...

    References:
        Our own.
    """
    raise ImageRefused(
        "format_not_allowed", source, "its slices lie in files of their own; give the folder that holds them all"
    )


class _Refused(Exception):
    """Raised inside the parser, with the sentence."""


def _parse(data: bytes, source: str) -> _Element:
    """Read the XML into a tree, with limits; no document type, no entities, nothing from outside."""
    root = _Element("")
    open_elements = [root]
    count = 0

    def start(tag: str, _: dict[str, str]) -> None:
        nonlocal count
        count += 1
        if count > _MOST_ELEMENTS or len(open_elements) > _DEEPEST:
            raise _Refused("the XML is too deep or too large; export it again")
        element = _Element(tag)
        open_elements[-1].inside.append(element)
        open_elements.append(element)

    def end(_: str) -> None:
        open_elements.pop()

    def words(text: str) -> None:
        element = open_elements[-1]
        if len(element.text) < _LONGEST_WORD:
            element.text += text

    def declared(*_: object) -> int:
        raise _Refused("declares a document type or entities, which no export does; export it again")

    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, words
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = parser.ExternalEntityRefHandler = declared
    try:
        parser.Parse(_as_utf_8(data), True)
    except _Refused as error:
        raise ImageRefused("broken", source, str(error)) from None
    except expat.ExpatError as error:
        if error.code in _CUT_SHORT:
            raise ImageRefused("truncated", source, "the XML ends too early; copy or export it again") from None
        words_of_parser = expat.ErrorString(error.code)
        sentence = f"the XML is damaged ({words_of_parser}, line {error.lineno}); export it again"
        raise ImageRefused("broken", source, sentence) from None
    except UnicodeError:
        raise ImageRefused("broken", source, "the XML's text is damaged or of an unknown encoding") from None
    return root


def _as_utf_8(data: bytes) -> bytes:
    """Re-encode the text; the parser is told so and overrides what the file declares."""
    for mark, encoding in _WIDE:
        if data.startswith(mark):
            text = data.removeprefix(mark) if mark[:1] not in (b"<", b"\0") else data
            return text.decode(encoding).encode()
    found = _DECLARED.match(data[:300])
    if found is None:
        return data
    name = codecs.lookup(found[1].decode()).name if found[1].decode().lower() in _known_words() else ""
    if name not in _CODECS:
        raise UnicodeError
    return data.decode(name).encode()


def _known_words() -> frozenset[str]:
    """Spellings of the allowed encodings; others are not looked up, which would open files."""
    windows = {f"windows-{number}" for number in range(1250, 1259)} | {f"cp{number}" for number in range(1250, 1259)}
    others = {"utf-8", "utf8", "ascii", "us-ascii", "iso-8859-1", "latin1", "latin-1", "gb2312", "gbk", "gb18030",
              "big5", "shift_jis", "shift-jis", "euc-jp", "euc-kr"}  # fmt: skip
    return frozenset(windows | others)


def _is_b_scan(image: _Element) -> bool:
    """Whether an image is a B-scan, not a localizer."""
    return image.word("ImageType/Type").upper() == "OCT"


def _file_name(path: str, source: str) -> str:
    """The last part of a Windows path or file URL, if it is a plain file name."""
    name = re.split(r"[\\/]", path)[-1]
    if not name or name in (".", "..") or ".." in name or ":" in name or not name.isprintable() or len(name) > 255:
        raise ImageRefused("broken", source, "names an image that is no plain file name; export it again")
    return name


def _side(image: _Element, name: str, source: str) -> int:
    """Width or height of a B-scan."""
    size = image.number(f"OphthalmicAcquisitionContext/{name}")
    if not 1 <= size <= _LARGEST_SIDE_PX or size != int(size):
        raise ImageRefused("broken", source, f"the {name.lower()} of a B-scan makes no sense; export it again")
    return int(size)


def _eye(elements: list[_Element]) -> Eye:
    """The eye, if all that name one agree."""
    words: dict[str, Eye] = {"R": "OD", "L": "OS", "OD": "OD", "OS": "OS"}
    named = {each.word("Laterality").upper() for each in elements} - {""}
    return words.get(named.pop(), "") if len(named) == 1 else ""


def _mm_per_px(images: list[_Element]) -> tuple[float, float] | None:
    """The size of a pixel (vertical, horizontal), if it is the same in all B-scans."""
    scales = {tuple(image.number(f"OphthalmicAcquisitionContext/Scale{axis}") for axis in "YX") for image in images}
    if len(scales) != 1:
        return None
    vertical, horizontal = scales.pop()
    return (vertical, horizontal) if 0 < vertical < 100 and 0 < horizontal < 100 else None


def _lines(images: list[_Element]) -> tuple[Line, ...]:
    """Where each B-scan lies; empty unless all are known and none is a circle."""
    lines: list[Line] = []
    for image in images:
        place = image.find("OphthalmicAcquisitionContext")
        if place is None:
            return ()
        start_x, start_y, end_x, end_y = (
            place.number(f"{end}/Coord/{axis}") for end in ("Start", "End") for axis in ("X", "Y")
        )
        if not all(abs(value) < 1000 for value in (start_x, start_y, end_x, end_y)):  # false for NaN, too
            return ()
        lines.append(((start_x, start_y), (end_x, end_y)))
    return tuple(lines)


def _personal(element: _Element) -> set[str]:
    """Names of filled-in elements that hold personal data."""
    found = {each.tag for each in element.inside if each.tag in _PERSONAL and _is_filled(each)}
    return found.union(*(_personal(each) for each in element.inside)) if element.inside else found


def _is_filled(element: _Element) -> bool:
    """Whether there is any text in it."""
    return bool(element.text.strip()) or any(_is_filled(each) for each in element.inside)

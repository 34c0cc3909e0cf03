"""DICOM headers by the basic confidentiality profile of PS3.15, and a little stricter."""

import io
import re
import threading
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

import pydicom
from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as profile  # type: ignore[import-untyped]
from pydicom import Dataset, config
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.utils import get_expected_length
from pydicom.tag import BaseTag
from pydicom.uid import UID

from eyeground.data.privacy.pseudonym import Pseudonyms
from eyeground.data.privacy.strip import Stripped, strip_jpeg
from eyeground.images.refusal import ImageRefused

_STANDARD = "1.2.840.10008."
_IMPLEMENTATION = UID("2.25.268911246853072350129823137436104215061")
# Text that says something of the device, and nothing of a person.
_TECHNICAL = frozenset(("Manufacturer", "ManufacturerModelName", "SoftwareVersions"))
# Codes of public schemes look like this; anything else may be a word that somebody made up.
_SCHEMES = {
    "DCM": r"\d{5,6}|[A-Z]{2,4}", "SCT": r"\d{6,18}", "SRT": r"[A-Z][A-Z0-9]?-[0-9A-F]{3,5}",
    "SNM3": r"[A-Z][A-Z0-9]?-[0-9A-F]{3,5}", "LN": r"\d{1,5}-\d", "UCUM": r"[A-Za-z0-9%/{}.\[\]'^*\-]{1,10}",
    "I10": r"[A-Z]\d\d(\.\d{1,4})?", "ICD10": r"[A-Z]\d\d(\.\d{1,4})?",
}  # fmt: skip
_NUMBERS = frozenset(("US", "SS", "UL", "SL", "FL", "FD", "SV", "UV", "AT"))
_DUMMIES = {"DA": "19000101", "TM": "000000", "DT": "19000101000000", "AS": "000Y", "IS": "0", "DS": "0", "CS": "NONE",
            "UR": "", "AE": "NONE"}  # fmt: skip
_JPEG_SYNTAXES = re.compile(r"1\.2\.840\.10008\.1\.2\.4\.(5[0-9]|6[0-6]|70|8[01])$")
_JPEG_2000 = re.compile(r"1\.2\.840\.10008\.1\.2\.4\.(9[0-3]|20[1-3])$")
_VIDEO = re.compile(r"1\.2\.840\.10008\.1\.2\.4\.10[0-9]")
_TERM = re.compile(r"[A-Z0-9 _]{0,16}\Z")
_DEEPEST = 16
_ONE_AT_A_TIME = threading.Lock()  # warnings are silenced for the whole process
_PIXELS = frozenset((0x7FE00008, 0x7FE00009, 0x7FE00010))


def clean_dicom(data: bytes, pseudonyms: Pseudonyms, *, source: str) -> Stripped:
    """Take everything that tells who somebody is out of a DICOM file; the picture stays as it is.

    Every attribute of the profile's table gets its action, at any depth. Where the table leaves a choice, the attribute
    stays with a dummy, so that the object stays valid. Stricter than the table: private attributes, overlays, curves,
    names, dates, times and free text anywhere are removed even if the table does not list them, and so are codes of
    private schemes. UIDs that the standard itself does not define become keyed ones, the same for the same. Laterality
    and what describes the device stay.

    Args:
        data: The file, which the door has found readable.
        pseudonyms: Stand for patient and UIDs.
        source: Name for messages.

    Returns:
        The new file, and the names of the attributes that were removed or replaced.

    Raises:
        ImageRefused: If it is no image, a video, or damaged.

    Example:
        >>> from pydicom.examples import ct
        >>> old = io.BytesIO()
        >>> ct.save_as(old)
        >>> new = pydicom.dcmread(io.BytesIO(clean_dicom(old.getvalue(), Pseudonyms(b"k" * 32), source="a").data))
        >>> new.PatientName == ct.PatientName, new.PatientIdentityRemoved, new.StudyDate
        (False, 'YES', '')

    References:
        DICOM PS3.15 2026c, table E.1-1, as dicom-anonymizer (Kitware, BSD) lists it.
    """
    config.settings.reading_validation_mode = config.IGNORE  # its complaints would print values of the header
    config.settings.writing_validation_mode = config.IGNORE
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _cleaned(data, pseudonyms, source)
        except ImageRefused:
            raise
        except Exception as error:  # pydicom raises almost any class on hostile headers; its words may hold values
            what = "its header cannot be read through; export it again"
            raise ImageRefused("broken", source, what) from error


def says_burned_in(data: bytes) -> bool:
    """Tell whether a DICOM file itself says that text is burned into its pixels.

    Args:
        data: The file, which the door has found readable.

    Returns:
        True if BurnedInAnnotation is YES.

    Example:
        >>> from pydicom.examples import ct
        >>> out = io.BytesIO()
        >>> ct.save_as(out)
        >>> says_burned_in(out.getvalue())
        False

    References:
        DICOM PS3.3 C.7.6.1.1.
    """
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            read = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True, specific_tags=["BurnedInAnnotation"])
            return str(read.get("BurnedInAnnotation", "")).strip().upper() == "YES"
        except Exception:  # noqa: BLE001  cleaning it will say what is wrong
            return True


def patient_of(data: bytes) -> str:
    """Read the patient's id of a cleaned DICOM file.

    Args:
        data: A file that ``clean_dicom`` gave.

    Returns:
        The pseudonym, ``""`` if the file never had an id.

    Example:
        >>> from pydicom.examples import ct
        >>> old = io.BytesIO()
        >>> ct.save_as(old)
        >>> patient_of(clean_dicom(old.getvalue(), Pseudonyms(b"k" * 32), source="a").data)[:1]
        'p'

    References:
        Our own.
    """
    read = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True, specific_tags=["PatientID"])
    return str(read.get("PatientID", ""))


def _cleaned(data: bytes, pseudonyms: Pseudonyms, source: str) -> Stripped:
    """Read, clean, write."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    if "PixelData" not in dataset:
        raise ImageRefused("not_an_image", source, "holds no picture; only DICOM images are exported")
    if _VIDEO.match(syntax):
        raise ImageRefused("format_not_allowed", source, "is a video; export single frames")
    patient = str(dataset.get("PatientID", "")).strip()
    cleaner = _Cleaner(pseudonyms)
    cleaner.clean(dataset, 0)
    _clean_pixels(dataset, syntax, source, cleaner.changed)
    dataset.PatientID = dataset.PatientName = pseudonyms.of(patient) if patient else ""
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = "Eyeground: PS3.15 2026c basic profile"
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "113100", "DCM"
    code.CodeMeaning = "Basic Application Confidentiality Profile"
    dataset.DeidentificationMethodCodeSequence = [code]
    dataset.LongitudinalTemporalInformationModified = "REMOVED"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = _IMPLEMENTATION
    meta.ImplementationVersionName = "EYEGROUND"
    dataset.file_meta, dataset.preamble = meta, b"\0" * 128
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return Stripped(out.getvalue(), tuple(cleaner.changed))


class _Cleaner:
    """One walk through a header."""

    def __init__(self, pseudonyms: Pseudonyms) -> None:
        self._pseudonyms = pseudonyms
        self.changed: dict[str, None] = {}

    def clean(self, dataset: Dataset, depth: int) -> None:
        """Clean a data set and everything nested in it."""
        for tag in list(dataset.keys()):
            if BaseTag(tag) in _PIXELS:
                continue
            try:
                element = dataset[tag]  # the value is read only here
            except Exception:  # noqa: BLE001  a value that cannot be read is no loss
                del dataset[tag]
                self._note(BaseTag(tag))
                continue
            before = None if element.VR == "SQ" else str(element.value)
            kept = self._kept(element, depth)
            if not kept:
                del dataset[tag]
            if not kept or (before is not None and str(element.value) != before):
                self._note(element.tag)

    def _kept(self, element: DataElement, depth: int) -> bool:
        """Clean one element; False if it must go."""
        tag = element.tag
        group = tag.group & 0xFF00
        if tag.is_private or group in (0x5000, 0x6000) or not dictionary_has_tag(tag) or depth > _DEEPEST:
            return False
        # What the file calls it is not believed: a name may be hidden in an element that says it is a number.
        if not _same_kind(element.VR, dictionary_VR(tag)):
            return False
        action = _actions().get(int(tag))
        if action is None:
            return self._kept_by_kind(element, depth)
        if action == "X":
            return False
        if element.VR == "UI" and action in "UD":
            self._replace_uids(element)
        elif action == "U" and element.VR == "SQ":
            return self._kept_by_kind(element, depth)
        elif element.VR == "SQ":
            if len(element.value):
                self._note(tag)
            element.value = []
        elif not element.is_empty:
            element.value = _dummy(element.VR) if action == "D" else None
        return True

    def _kept_by_kind(self, element: DataElement, depth: int) -> bool:
        """Judge an element that the profile does not name by its kind."""
        kind = element.VR
        if kind == "SQ":
            items = [item for item in element.value if _public_code(item)]
            if len(items) < len(element.value):
                self._note(element.tag)
                element.value = items
            for item in items:
                code = {name: str(item.get(name, "")).strip() for name in ("CodeValue", "CodingSchemeDesignator")}
                version = str(item.get("CodingSchemeVersion", "")).strip()
                self.clean(item, depth + 1)
                if code["CodeValue"]:
                    item.CodeValue, item.CodingSchemeDesignator = code.values()
                    item.CodeMeaning = item.CodeValue  # the meaning is free text; the code says it
                    if re.fullmatch(r"[0-9._]{1,16}", version):
                        item.CodingSchemeVersion = version
            return True
        if kind == "UI":
            self._replace_uids(element)
            return True
        if kind in ("LO", "SH", "UC"):
            return element.keyword in _TECHNICAL
        if kind == "CS":
            return all(_TERM.match(str(value)) for value in _values(element))
        if kind in ("IS", "DS"):
            return all(re.fullmatch(r"[0-9+\-.eE ]*", str(value)) for value in _values(element))
        if kind in _NUMBERS:
            return all(isinstance(value, int | float) for value in _values(element))
        # Of bytes only lookup tables are picture; names, dates, times, texts and addresses all go.
        return kind in ("OB", "OW") and element.tag.group == 0x0028

    def _replace_uids(self, element: DataElement) -> None:
        """Put keyed UIDs for those that the standard does not define."""
        new = [uid if uid.startswith(_STANDARD) and re.fullmatch(r"[0-9.]{1,64}", uid) else self._pseudonyms.uid(uid)
               for uid in map(str, _values(element))]  # fmt: skip
        element.value = new[0] if len(new) == 1 else new

    def _note(self, tag: BaseTag) -> None:
        """Remember the name of what changed; private ones by number, since their names are anybody's."""
        word = pydicom.datadict.keyword_for_tag(tag)
        self.changed[word or f"{'private ' if tag.is_private else ''}({tag.group:04X},{tag.element:04X})"] = None


@cache
def _actions() -> dict[int, str]:
    """The table: tag -> X (remove), Z (empty), D (dummy) or U (keyed UID). Groups that repeat are removed anyway."""
    kinds = (
        ("X", profile.X_TAGS), ("Z", [*profile.Z_TAGS, *profile.X_Z_TAGS]), ("U", profile.U_TAGS),
        ("U", profile.X_Z_U_STAR_TAGS), ("D", profile.D_TAGS), ("D", profile.Z_D_TAGS), ("D", profile.X_D_TAGS),
        ("D", profile.X_Z_D_TAGS),
    )  # fmt: skip
    return {(tag[0] << 16) + tag[1]: action for action, tags in kinds for tag in tags if len(tag) == 2}


def _values(element: DataElement) -> Iterator[Any]:
    """The values of an element, none if it is empty."""
    if element.is_empty:
        return iter(())
    return iter(element.value if element.VM > 1 else [element.value])


def _dummy(kind: str) -> Any:
    """A value that says nothing, of the right kind."""
    if kind in _NUMBERS:
        return 0
    if kind.startswith("O") or kind == "UN":
        return b""
    return _DUMMIES.get(kind, "ANONYMIZED")


def _same_kind(said: str, known: str) -> bool:
    """Tell whether an element has the kind that the standard gives it."""
    return said in known.split(" or ") or (said, known) == ("OB", "OW") or (said == "OW" and "OB" in known)


def _public_code(item: Dataset) -> bool:
    """Tell codes of public schemes, and items that are no codes, from codes that a hospital made up."""
    if not {"CodeValue", "LongCodeValue", "URNCodeValue"} & set(item.dir()):
        return True
    scheme = str(item.get("CodingSchemeDesignator", "")).strip()
    return scheme in _SCHEMES and bool(re.fullmatch(_SCHEMES[scheme], str(item.get("CodeValue", "")).strip()))


def _clean_pixels(dataset: Dataset, syntax: UID, source: str, changed: dict[str, None]) -> None:
    """Take what is no picture out of the pixel data: comments in compressed frames, bits and bytes nobody shows."""
    for name in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        if name in dataset:
            del dataset[name]
    if not syntax.is_encapsulated:
        _clean_native(dataset, changed)
        return
    frames = []
    for frame in generate_frames(dataset.PixelData, number_of_frames=int(dataset.get("NumberOfFrames") or 1)):
        if _JPEG_SYNTAXES.match(syntax):
            stripped = strip_jpeg(frame, source=source)
            changed.update(dict.fromkeys(f"PixelData: {name}" for name in stripped.removed
                                         if name != "1 bytes after the picture"))  # fmt: skip
            frame = stripped.data
        elif _JPEG_2000.match(syntax):
            plain = _without_comments(frame)
            if len(plain) < len(frame):
                changed["PixelData: comment"] = None
            frame = plain
        frames.append(frame)
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].is_undefined_length = True


def _clean_native(dataset: Dataset, changed: dict[str, None]) -> None:
    """Cut uncompressed pixels to their length, and clear bits that do not belong to them (old overlays lie there)."""
    expected = get_expected_length(dataset)
    little = dataset.file_meta.TransferSyntaxUID.is_little_endian
    whole = expected + expected % 2
    # Of words with the large end first, the byte that fills up stands before the last pixel.
    pixels = bytearray(dataset.PixelData[: expected if little else whole])
    if len(dataset.PixelData) > whole:
        changed["PixelData: bytes behind the pixels"] = None
    stored, allocated = int(dataset.BitsStored), int(dataset.BitsAllocated)
    if allocated == 16 and stored < 16 and not int(dataset.get("PixelRepresentation", 0)):
        import numpy as np

        low = int(dataset.get("HighBit", stored - 1)) + 1 - stored
        words = np.frombuffer(pixels, "<u2" if little else ">u2")
        mask = ((1 << stored) - 1) << max(low, 0)
        if (words & ~np.uint16(mask)).any():
            changed["PixelData: bits beside the pixels"] = None
            pixels = bytearray((words & np.uint16(mask)).tobytes())
    dataset.PixelData = bytes(pixels) + b"\0" * (whole - len(pixels) if len(pixels) == expected else 0)


def _without_comments(stream: bytes) -> bytes:
    """Take the comments out of a JPEG 2000 codestream's main header, and what follows the end."""
    out, at = stream[:2], 2
    while at + 4 <= len(stream) and stream[at] == 0xFF and stream[at + 1] not in (0x90, 0x93, 0xD9):
        size = 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
        if stream[at + 1] != 0x64:
            out += stream[at : at + size]
        at += size
    end = stream.rfind(b"\xff\xd9")
    return out + stream[at : end + 2 if end > at else len(stream)]

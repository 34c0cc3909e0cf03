"""Images with a patient's name in every place that a file has for words."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin
from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, OphthalmicPhotography8BitImageStorage

WORD = "Kanari"  # followed by a number for each place
DATE, UID_ROOT = "19560312", "1.3.6.1.4.1.19560312."


class Words:
    """Hands out canaries and remembers them."""

    def __init__(self) -> None:
        self.given: list[str] = []

    def __call__(self) -> str:
        self.given.append(f"{WORD}{len(self.given):03d}")
        return self.given[-1]

    def bytes(self) -> bytes:
        return self().encode()


def photograph(size: int = 96) -> Image.Image:
    """A disc on black, with texture."""
    y, x = np.mgrid[:size, :size]
    disc = (x - size / 2) ** 2 + (y - size / 2) ** 2 < (0.45 * size) ** 2
    color = np.array([180, 90, 40]) + 10 * np.sin(x / 5)[..., None]
    return Image.fromarray((disc[..., None] * color).astype(np.uint8))


def jpeg(word: Words) -> bytes:
    """EXIF with all its directories, XMP, IPTC, color profile, comments, thumbnail, bytes between and behind."""
    exif = Image.Exif()
    exif[0x010E], exif[0x013B], exif[0x8298] = word(), word(), word()
    exif[0x0112] = 6
    exif.get_ifd(0x8769).update({0x9286: word.bytes(), 0x927C: word.bytes(), 0xA430: word(), 0x9003: "1956:03:12"})
    exif.get_ifd(0x8825).update({0x001D: "1956:03:12", 0x001C: word.bytes()})
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    out = io.BytesIO()
    photograph().save(out, "JPEG", exif=exif, icc_profile=profile + word.bytes(), comment=word.bytes(),
                      xmp=b"<x:xmpmeta><dc:creator>" + word.bytes() + b"</dc:creator></x:xmpmeta>")  # fmt: skip
    data = out.getvalue()
    app = [(0xED, b"Photoshop 3.0\x008BIM\x04\x04" + word.bytes()), (0xE0, b"JFXX\0\x10" + word.bytes()),
           (0xE5, word.bytes()), (0xEE, b"Adobe\0d\0\0\0\0\1" + word.bytes()), (0xFE, word.bytes())]  # fmt: skip
    more = b"".join(struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body for marker, body in app)
    return data[:2] + more + word.bytes() + data[2:] + word.bytes()


def png(word: Words) -> bytes:
    """Texts of three kinds, EXIF, color profile, time, a private part, bytes behind the pixels and the end."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Patient", word())
    info.add_text(word(), "name")
    info.add_text("Packed", word() * 50, zip=True)
    info.add_itxt("XML:com.adobe.xmp", f"<tiff:Orientation>1</tiff:Orientation>{word()}")
    info.add(b"prVt", word.bytes())
    exif = Image.Exif()
    exif[0x010E] = word()
    out = io.BytesIO()
    photograph().save(out, "PNG", pnginfo=info, exif=exif, icc_profile=word.bytes() * 20)
    data = out.getvalue()
    at = data.index(b"IEND") - 4
    rest = word.bytes()
    chunk = struct.pack(">I", len(rest)) + b"IDAT" + rest + struct.pack(">I", zlib.crc32(b"IDAT" + rest))
    return data[:at] + chunk + data[at:] + word.bytes()


def tiff(word: Words, compression: str | None = None) -> bytes:
    """Texts in known and private tags, EXIF, bytes between and behind."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for tag in (269, 270, 271, 272, 285, 305, 306, 315, 316, 33432, 65001):
        tags.tagtype[tag] = 2
        tags[tag] = word()
    for tag in (700, 33723, 34377, 65002):
        tags.tagtype[tag] = 7
        tags[tag] = word.bytes()
    deep = Image.fromarray((np.asarray(photograph())[:, :, 0].astype(np.uint16)) * 14)
    out = io.BytesIO()
    (deep if compression != "jpeg" else photograph()).save(out, "TIFF", tiffinfo=tags, compression=compression)
    return out.getvalue() + word.bytes()


def bmp(word: Words) -> bytes:
    """Bytes behind the pixels."""
    out = io.BytesIO()
    photograph().save(out, "BMP")
    return out.getvalue() + word.bytes()


def dicom(word: Words, *, compressed: bool = False, burned_in: str = "NO") -> bytes:
    """Names, texts, dates and UIDs at every depth, private and unknown attributes, overlays, hidden bits and bytes."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = OphthalmicPhotography8BitImageStorage
    meta.MediaStorageSOPInstanceUID = UID_ROOT + "1"
    meta.TransferSyntaxUID = JPEGBaseline8Bit if compressed else ExplicitVRLittleEndian
    meta.SourceApplicationEntityTitle = word()
    meta.PrivateInformationCreatorUID, meta.PrivateInformation = UID_ROOT + "9", word.bytes() + b" "
    ds = FileDataset("", {}, file_meta=meta, preamble=word.bytes().ljust(128, b"\0"))
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = (UID_ROOT + n for n in "234")
    ds.SpecificCharacterSet = "ISO_IR 192"
    for name in (
        "PatientName",
        "OtherPatientNames",
        "ReferringPhysicianName",
        "OperatorsName",
        "NameOfPhysiciansReadingStudy",
    ):
        setattr(ds, name, f"{word()}^Jane")
    ds.PatientID = f"{WORD}PID"
    for name in (
        "AccessionNumber", "InstitutionName", "InstitutionalDepartmentName", "StationName", "StudyID",
        "StudyDescription", "SeriesDescription", "ProtocolName", "DeviceSerialNumber", "RequestedProcedureDescription",
        "EthnicGroup", "Occupation", "MedicalRecordLocator", "PatientTelephoneNumbers", "RequestingService",
        "ContainerIdentifier", "DerivationDescription", "PatientAddress", "IssuerOfPatientID",
        "PatientInstitutionResidence",
    ):  # fmt: skip
        setattr(ds, name, word())
    for name in ("PatientComments", "ImageComments", "AdditionalPatientHistory", "InstitutionAddress", "StudyComments",
                 "TextValue", "RetrieveURL", "PixelDataProviderURL", "LongCodeValue"):  # fmt: skip
        setattr(ds, name, word())
    ds.PatientBirthDate = ds.StudyDate = ds.ContentDate = ds.SeriesDate = DATE
    ds.AcquisitionDateTime, ds.StudyTime, ds.PatientAge, ds.PatientSex = DATE + "091500", "091500", "069Y", "F"
    ds.StationAETitle, ds.RetrieveAETitle = word()[:16], word()[:16]
    ds.add_new(0x00091001, "UN", word.bytes())
    ds.add_new(0x00090010, "LO", word())
    ds.add_new(0x00091002, "SQ", [_item(word)])
    ds.add_new(0x00080901, "UN", word.bytes() + b" ")  # an even group that no dictionary knows
    ds.add_new(0x60000010, "US", 96)
    ds.add_new(0x60003000, "OB", word.bytes() + b" ")
    ds.add_new(0x60004000, "LT", word())
    ds.add_new(0x50003000, "OW", word.bytes() + b" ")
    ds.add_new(0xFFFCFFFC, "OB", word.bytes() + b" ")
    ds.add_new(0x00200060, "LO", word())  # Laterality with another kind than it has
    nested = _item(word)
    nested.ReferencedSOPSequence = [_item(word)]
    nested.ReferencedSOPSequence[0].RequestAttributesSequence = [_item(word)]
    ds.ReferencedSeriesSequence = Sequence([nested])
    ds.AnatomicRegionSequence = [_code("81745001", "SCT", word()), _code(word()[:16], "99HOSPITAL", word())]
    ds.AnatomicRegionSequence[0].add_new(0x00111001, "LO", word())
    ds.AcquisitionContextSequence = [_item(word)]
    ds.ImageLaterality, ds.Manufacturer, ds.ManufacturerModelName = "R", "Maker", "Camera 2"
    ds.Modality, ds.ImageType = "OP", ["ORIGINAL", "PRIMARY", "", "COLOR"]
    ds.BurnedInAnnotation = burned_in
    ds.SamplesPerPixel, ds.PlanarConfiguration, ds.PixelRepresentation = 3, 0, 0
    ds.PhotometricInterpretation = "YBR_FULL_422" if compressed else "RGB"
    ds.Rows = ds.Columns = 96
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.NumberOfFrames = 7, 1
    if compressed:
        out = io.BytesIO()
        photograph().save(out, "JPEG", comment=word.bytes())
        ds.PixelData = encapsulate([out.getvalue() + word.bytes()])
        ds["PixelData"].is_undefined_length = True
    else:
        ds.PixelData = np.asarray(photograph()).tobytes() + word.bytes() + b" "
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def _item(word: Words) -> Dataset:
    """An item with a name, texts, a date, a UID and a private attribute."""
    item = Dataset()
    item.PersonName, item.PatientName = word() + "^A", word() + "^B"
    item.ImageComments, item.InstitutionName, item.StudyDate = word(), word(), DATE
    item.ReferencedSOPInstanceUID = UID_ROOT + "7"
    item.add_new(0x00210010, "LO", word())
    item.add_new(0x00211001, "UT", word())
    return item


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    """A coded term."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def traces(content: bytes) -> list[str]:
    """What of a canary is in some bytes, in the encodings that files use."""
    found: list[str] = []
    lower = content.lower()
    for name in (WORD.lower(), DATE, "1956:03:12", UID_ROOT):
        encodings = ("utf-8", "utf-16-le", "utf-16-be")
        found += [f"{name} in {encoding}" for encoding in encodings if name.lower().encode(encoding) in lower]
    return found


def write_all(folder: Path) -> tuple[Words, list[str]]:
    """Write one file of each kind below folders and names that are canaries themselves; give words and paths."""
    word = Words()
    makers: dict[str, Callable[[], bytes]] = {
        "jpg": lambda: jpeg(word), "png": lambda: png(word), "tif": lambda: tiff(word), "bmp": lambda: bmp(word),
        "tiff": lambda: tiff(word, "jpeg"), "dcm": lambda: dicom(word), "dicom": lambda: dicom(word, compressed=True),
    }  # fmt: skip
    files = []
    for number, (ending, make) in enumerate(makers.items()):
        place = folder / word()
        place.mkdir(parents=True)
        path = place / f"{word()}_{'OD' if number % 2 else 'left'}.{ending}"
        path.write_bytes(make())
        files.append(str(path.relative_to(folder)))
    return word, files

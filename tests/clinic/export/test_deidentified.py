"""Canaries through the de-identified forms: nothing of a patient is in any byte that leaves."""

import io
import json
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw, PngImagePlugin
from pydicom import dcmread
from sqlalchemy import select

from eyeground.clinic.db.tables import AuditRecord
from eyeground.clinic.export import _cleaning
from eyeground.clinic.exports import ExportRefused, export
from eyeground.clinic.records import EyeReview
from eyeground.clinic.service import Service

from ..canary import WORDS, Canary
from ..opened import encoded
from ..pictures import dicom, photograph
from .visits import picture, send, service_in, sign, tree

COUNT = int(os.environ.get("EYEGROUND_CANARIES", "40"))  # docs/results.md: 1,000
_TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"iCCP")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    opened = service_in(tmp_path / "clinic")
    yield opened
    opened.close()


def named_png(canary: Canary, eye: str) -> bytes:
    """A photograph with the patient in texts, packed texts, EXIF, and behind its end."""
    told = PngImagePlugin.PngInfo()
    told.add_text("Patient", canary.name, zip=True)
    told.add_itxt("Comment", f"{canary.name} {canary.person['phone']}", zip=True)
    told.add_text("File", canary.file)
    exif = Image.Exif()
    exif[0x010E] = f"{canary.name} {canary.person['patient_id']}"
    out = io.BytesIO()
    Image.open(io.BytesIO(picture(canary.number % 4, eye))).save(out, "PNG", pnginfo=told, exif=exif)
    return out.getvalue() + canary.name.encode()


def named_jpeg(canary: Canary, eye: str) -> bytes:
    """The same as JPEG, with a comment and EXIF."""
    exif = Image.Exif()
    exif[0x013B] = canary.name
    out = io.BytesIO()
    Image.open(io.BytesIO(picture(canary.number % 4, eye))).save(
        out, "JPEG", comment=canary.name.encode(), exif=exif, quality=90
    )
    return out.getvalue() + canary.file.encode()


def named_dicom(canary: Canary, eye: str) -> bytes:
    """The same as DICOM, with header, private tags and nested names."""
    pixels = photograph(seed=canary.number % 4, eye=eye, size_px=96)  # type: ignore[arg-type]
    header = dcmread(io.BytesIO(dicom(pixels, laterality="R" if eye == "OD" else "L")))
    header.SpecificCharacterSet = "ISO_IR 192"
    header.PatientName, header.PatientID = canary.name, canary.person["patient_id"]
    header.PatientTelephoneNumbers, header.ImageComments = canary.person["phone"], f"{canary.name} {canary.file}"
    header.StudyDescription, header.InstitutionName = canary.name, canary.name
    header.private_block(0x0099, canary.file, create=True).add_new(1, "LO", canary.name)
    out = io.BytesIO()
    header.save_as(out)
    return out.getvalue()


def canary_case(service: Service, canary: Canary) -> str:
    """A signed visit with the patient everywhere."""
    kind = (named_png, named_jpeg, named_dicom)[canary.number % 3]
    photos = [
        {"name": f"{canary.file}_{eye}.png", "eye": eye, "data": encoded(kind(canary, eye))} for eye in ("OD", "OS")
    ]
    case_id = send(
        service, f"m{canary.number}", photos=photos, patient=canary.person,
        vision_data={"right_eye": "0.8", "left_eye": "CF/30cm", "intraocular_pressure": {"right": 17}},
    )  # fmt: skip
    words = f"{canary.name}, {canary.person['phone']}"

    def change(opinion: Any) -> Any:
        eyes = {key: EyeReview(findings={"DR": 1}, reason=f"{words} said so") for key in opinion.eyes}
        told = {"eyes": eyes, "conclusion": words, "recommendation": words, "narrative": words}
        return opinion.model_copy(update=told)

    sign(service, case_id, change)
    return case_id


def traces(folder: Path) -> list[str]:
    """Every place in a folder where a canary stands: names, bytes, and what is packed in them."""
    found = []
    for name, content in tree(folder).items():
        every = [("name", name.encode()), ("bytes", content), *unpacked(content)]
        for where, data in every:
            for encoding in ("utf-8", "latin-1", "utf-16-le", "gb18030"):
                text = data.decode(encoding, "ignore")
                found += [f"{name} {where}: {hit}" for hit in set(WORDS.findall(text))]
    return found


def unpacked(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Texts and EXIF of a PNG, inflated; anything else in an image file that is a zlib stream."""
    for kind in _TEXT_CHUNKS:
        for hit in re.finditer(kind, content):
            yield kind.decode(), content[hit.start() : hit.start() + 4096]
    for hit in re.finditer(rb"\x78[\x01\x5e\x9c\xda]", content):
        try:
            yield "packed", zlib.decompressobj().decompress(content[hit.start() :], 2**20)
        except zlib.error:
            continue


@pytest.mark.parametrize("kind", ["labels", "deidentified"])
def test_nothing_of_a_canary_is_in_any_byte(service: Service, tmp_path: Path, kind: Any) -> None:
    for number in range(COUNT):
        canary_case(service, Canary(number))
    made = export(service, kind, tmp_path / "set", actor="tests")
    assert (made.cases, made.held) == (COUNT, ())
    assert traces(tmp_path / "set") == []
    images = list(made.folder.glob("images/*"))
    assert {path.suffix for path in images} == {".png", ".jpg", ".dcm"}
    assert len(images) == 2 * COUNT


def test_the_search_finds_a_canary_that_slips_through(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        canary_case(service, Canary(number))

    def careless(case: Any, into: Path, means: Any) -> list[Any]:
        (into / "images").mkdir(exist_ok=True)
        copies = []
        for photo in case.photos:
            file = f"images/{case.answered.case_id}-{photo.place}.bin"
            (into / file).write_bytes(means.store.get(photo.sha256))
            copies.append(_cleaning.Copy(photo, file))
        return copies

    monkeypatch.setattr("eyeground.clinic.export.deidentified.clean_copies", careless)
    export(service, "deidentified", tmp_path / "set", actor="tests")
    found = traces(tmp_path / "set")
    assert any("zTXt" in hit or "packed" in hit for hit in found)
    assert any(hit.endswith("PIDCNRY") for hit in found)


def test_a_case_says_what_is_known_and_not_of_whom(service: Service, tmp_path: Path) -> None:
    person = {"patient_id": "P7", "name": "王小明", "age": 95, "gender": "female", "phone": "13800000000"}
    case_id = send(
        service, "v", photos=[{"name": "王_OD.png", "eye": "OD", "data": encoded(picture(1, "OD"))}], patient=person,
        screening_time="2026-03-04",
    )  # fmt: skip
    sign(service, case_id)
    made = export(service, "deidentified", tmp_path / "set", actor="tests")
    [path] = made.folder.glob("cases/*.json")
    told = json.loads(path.read_text("utf-8"))
    assert (told["year"], told["age_years"], told["age_is_at_least"], told["sex"]) == ("2026", 90, True, "female")
    assert set(told["doctor"]) == {"fundus/OD"}
    assert "2026-03" not in path.read_text("utf-8")
    assert case_id not in path.read_text("utf-8")
    [image] = told["images"]
    assert (made.folder / image["file"]).is_file()


def burned(eye: str) -> bytes:
    """A photograph with a name in its dark margin."""
    image = Image.new("RGB", (400, 400))
    image.paste(Image.open(io.BytesIO(picture(1, eye, size_px=256))), (72, 120))
    ImageDraw.Draw(image).text((30, 40), "SMITH JOHN 1956-03-04", fill="white", font_size=20)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def test_text_in_the_pixels_holds_an_image_until_a_person_confirms_it(service: Service, tmp_path: Path) -> None:
    photos = [
        {"name": "a_OD.png", "eye": "OD", "data": encoded(burned("OD"))},
        {"name": "a_OS.png", "eye": "OS", "data": encoded(picture(1, "OS"))},
    ]
    sign(service, send(service, "burned", photos=photos))
    made = export(service, "deidentified", tmp_path / "one", actor="tests")
    [held] = made.held
    assert (held.waits, held.file.endswith("_OD.png"), made.whole) == (True, True, False)
    assert held.text
    assert len(list(made.folder.glob("images/*"))) == 1
    with pytest.raises(ExportRefused, match="not a pattern"):
        export(service, "deidentified", tmp_path / "two", confirmed=["*"], actor="tests")
    # A name that no copy has may be anything, a patient's too: the trail says what was let through.
    asked = [held.file, "Zhang San.png"]
    again = export(service, "deidentified", tmp_path / "three", confirmed=asked, actor="tests")
    with service.database.read() as session:
        lines = session.scalars(select(AuditRecord.detail).filter_by(event="exported").order_by(AuditRecord.seq))
        assert [json.loads(each)["confirmed"] for each in lines] == [[], [held.file]]
    assert (again.held, again.whole) == ((), True)
    assert len(list(again.folder.glob("images/*"))) == 2
    assert "confirmed by a person" in (again.folder / "changes.csv").read_text("utf-8")


def test_a_header_that_says_that_text_is_burned_in_holds_an_image(service: Service, tmp_path: Path) -> None:
    header = dcmread(io.BytesIO(dicom(photograph(seed=1, size_px=96), laterality="R")))
    header.BurnedInAnnotation = "YES"
    out = io.BytesIO()
    header.save_as(out)
    photos = [{"name": "a.dcm", "eye": "OD", "data": encoded(out.getvalue())}]
    case_id = send(service, "tag", photos=photos)
    sign(service, case_id)
    with pytest.raises(ExportRefused, match="header says that text is burned in"):
        export(service, "labels", tmp_path / "set", actor="tests")

"""Copies that tell nothing: canaries in every place, the same pixels, text held until a person confirms it."""

import csv
import hashlib
import io
import os
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image, ImageDraw
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, OphthalmicTomographyImageStorage, RLELossless

from eyeground.data.privacy.burned_in import Region
from eyeground.data.privacy.carry_over import carried_from_names, read_carried, write_carried
from eyeground.data.privacy.deidentify import Outcome, deidentify, pseudonym_path
from eyeground.data.privacy.dicom_profile import clean_dicom
from eyeground.data.privacy.pseudonym import KeyRefused, Pseudonyms, make_key, read_key
from eyeground.data.privacy.strip import strip_jpeg, strip_png
from eyeground.data.privacy.strip_tiff import strip_tiff
from eyeground.data.problem import DataProblems
from eyeground.images.decode import decode
from eyeground.images.read import read
from eyeground.images.refusal import ImageRefused
from tests.data import canaries

KEY = Pseudonyms(b"a secret of at least thirty-two bytes")


def _all_bytes(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, its path before its content."""
    return {
        str(path.relative_to(folder)): str(path.relative_to(folder)).encode() + b"\n" + path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _kept(done: dict[str, Outcome], status: str) -> list[str]:
    return sorted(file for file, each in done.items() if each.status == status)


def _titled(path: Path, words: str = "SMITH 1956-03-12") -> None:
    """Write a photograph with text in its black."""
    picture = Image.new("RGB", (300, 200))
    picture.paste(canaries.photograph(160), (130, 20))
    ImageDraw.Draw(picture).text((5, 5), words, fill="white")
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def test_no_canary_gets_through_and_no_pixel_changes(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    words, files = canaries.write_all(source)
    assert len(words.given) > 200
    assert all(canaries.traces(content) for content in _all_bytes(source).values()), "a canary was never planted"
    before = {path: hashlib.sha256(path.read_bytes()).digest() for path in source.rglob("*") if path.is_file()}
    done = deidentify(source, out, KEY)
    assert _kept(done, "written") == sorted(files)
    for name, content in _all_bytes(out).items():
        assert canaries.traces(content) == [], name
    for file, outcome in done.items():
        assert np.array_equal(read(source / file).pixels, read(out / "images" / outcome.file).pixels)
    assert {path: hashlib.sha256(path.read_bytes()).digest() for path in before} == before


def test_the_search_for_canaries_finds_a_copy_that_was_not_cleaned(tmp_path: Path) -> None:
    words = canaries.Words()
    makers = (canaries.jpeg, canaries.png, canaries.tiff, canaries.bmp, canaries.dicom)
    assert all(canaries.traces(make(words)) for make in makers)
    # A single forgotten field is enough.
    cleaned = pydicom.dcmread(io.BytesIO(clean_dicom(canaries.dicom(words), KEY, source="a").data))
    cleaned.PatientComments = words()
    out = io.BytesIO()
    cleaned.save_as(out)
    assert canaries.traces(out.getvalue())


def test_the_log_names_fields_and_never_what_they_held(tmp_path: Path) -> None:
    canaries.write_all(tmp_path / "in")
    deidentify(tmp_path / "in", tmp_path / "out", KEY)
    with (tmp_path / "out" / "changes.csv").open(encoding="utf-8", newline="") as file:
        rows = {Path(row["file"]).suffix: row["changed"] for row in csv.DictReader(file)}
    assert {"EXIF", "XMP", "IPTC", "comment (2)"} <= set(rows[".jpg"].split("; "))
    assert {"PatientName", "PatientBirthDate", "private (0009,1001)", "OverlayData"} <= set(rows[".dcm"].split("; "))
    assert "PixelData: comment" in rows[".dicom"]
    assert "ImageDescription" in rows[".tif"]


def test_the_same_name_gets_the_same_pseudonym_under_the_same_key_only() -> None:
    here = pseudonym_path("SMITH/7_left.JPG", KEY)
    assert here == pseudonym_path("SMITH/7_left.JPG", KEY)
    assert here.split("/")[0] == pseudonym_path("SMITH/8_right.png", KEY).split("/")[0] == KEY.of("SMITH")
    assert here.endswith("_OS.jpg")
    assert here != pseudonym_path("SMITH/7_left.JPG", Pseudonyms(b"x" * 32))
    kept = pseudonym_path("train/glaucoma/SMITH.7.1956", KEY, ["glaucoma"])
    assert kept.startswith("train/glaucoma/i")
    assert "." not in kept


def test_dicom_keeps_what_describes_the_picture_and_says_what_was_done() -> None:
    words = canaries.Words()
    old = canaries.dicom(words)
    new = pydicom.dcmread(io.BytesIO(clean_dicom(old, KEY, source="a").data))
    assert (new.ImageLaterality, new.Manufacturer, new.ManufacturerModelName, new.Modality) == (
        "R", "Maker", "Camera 2", "OP",
    )  # fmt: skip
    assert (new.PatientIdentityRemoved, new.BurnedInAnnotation, new.Rows) == ("YES", "NO", 96)
    assert new.DeidentificationMethodCodeSequence[0].CodeValue == "113100"
    assert new.PatientID == KEY.of("KanariPID") == new.PatientName
    assert (new.StudyDate, new.PatientBirthDate, new.AccessionNumber) == ("", "", "")
    assert new.SOPInstanceUID == new.file_meta.MediaStorageSOPInstanceUID == KEY.uid(canaries.UID_ROOT + "1")
    assert new.StudyInstanceUID == KEY.uid(canaries.UID_ROOT + "2")
    assert new.preamble == b"\0" * 128
    assert [str(item.CodeValue) for item in new.AnatomicRegionSequence] == ["81745001"]
    assert new.SOPClassUID == pydicom.dcmread(io.BytesIO(old)).SOPClassUID


def test_two_files_of_one_study_stay_together() -> None:
    words = canaries.Words()
    first, second = (
        pydicom.dcmread(io.BytesIO(clean_dicom(canaries.dicom(words), KEY, source="a").data)) for _ in range(2)
    )
    assert first.StudyInstanceUID == second.StudyInstanceUID
    assert first.PatientID == second.PatientID


def _compressed(syntax: str) -> bytes:
    """A DICOM image in another compression, with a canary inside the compressed picture where it has room for one."""
    words = canaries.Words()
    ds = pydicom.dcmread(io.BytesIO(canaries.dicom(words)))
    ds.PixelData = np.asarray(canaries.photograph()).tobytes()
    if syntax == JPEG2000Lossless:
        frame = io.BytesIO()
        canaries.photograph().save(frame, "JPEG2000", no_jp2=True, irreversible=False, comment=words())
        ds.file_meta.TransferSyntaxUID = syntax
        ds.PixelData = encapsulate([frame.getvalue() + words.bytes() + b" "])
        ds["PixelData"].is_undefined_length = True
    else:
        ds.compress(syntax)
    out = io.BytesIO()
    ds.save_as(out)
    return out.getvalue()


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_other_compressions_come_through(syntax: str) -> None:
    old = _compressed(syntax)
    new = clean_dicom(old, KEY, source="a")
    assert np.array_equal(decode(new.data, source="b").pixels, decode(old, source="a").pixels)
    assert canaries.traces(new.data) == []


def test_bits_beside_the_pixels_are_cleared() -> None:
    from tests.data.canaries import dicom

    ds = pydicom.dcmread(io.BytesIO(dicom(canaries.Words())))
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    del ds.PlanarConfiguration
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    plain = np.arange(96 * 96, dtype="<u2") % 4096
    ds.PixelData = (plain | 0xA000).tobytes()
    out = io.BytesIO()
    ds.save_as(out)
    cleaned = clean_dicom(out.getvalue(), KEY, source="a")
    assert pydicom.dcmread(io.BytesIO(cleaned.data)).PixelData == plain.tobytes()
    assert "PixelData: bits beside the pixels" in cleaned.removed


def test_text_holds_a_file_until_a_person_confirms_it(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    _titled(source / "a" / "titled.png")
    canaries.photograph().save(source / "plain.png")
    (source / "told.dcm").write_bytes(canaries.dicom(canaries.Words(), burned_in="YES"))
    done = deidentify(source, out, KEY)
    assert _kept(done, "held") == ["a/titled.png", "told.dcm"]
    assert done["a/titled.png"].text
    assert done["told.dcm"].why == "its header says that text is burned in"
    assert len(list((out / "images").rglob("*.*"))) == 1
    done = deidentify(source, out, KEY, confirmed=["a/*"])
    assert _kept(done, "held") == ["told.dcm"]
    assert done["a/titled.png"].why.startswith("confirmed by a person")
    done = deidentify(source, out, KEY, confirmed=[done["told.dcm"].file])
    assert _kept(done, "held") == []  # what was confirmed once stays so
    _titled(source / "a" / "titled.png", "DOE JANE 1961-01-01")
    assert _kept(deidentify(source, out, KEY), "held") == ["a/titled.png"]  # another picture, another question
    assert len(list((out / "images").rglob("*.*"))) == 2


def test_every_slice_of_a_volume_is_searched(tmp_path: Path) -> None:
    pages = [Image.new("L", (200, 120)) for _ in range(4)]
    ImageDraw.Draw(pages[3]).text((10, 10), "SMITH 1956", fill=255)
    (tmp_path / "in").mkdir()
    pages[0].save(tmp_path / "in" / "v.tif", save_all=True, append_images=pages[1:])
    outcome = deidentify(tmp_path / "in", tmp_path / "out", KEY)["v.tif"]
    assert outcome.status == "held"
    assert all(place.startswith("slice 3: ") for place in outcome.text)


def test_every_frame_of_a_tomography_is_compared_and_searched(tmp_path: Path) -> None:
    ds = pydicom.dcmread(io.BytesIO(canaries.dicom(canaries.Words())))
    frames = np.random.default_rng(0).integers(0, 90, (5, 128, 200), np.uint8)
    titled = Image.fromarray(np.where(np.arange(128)[:, None] < 40, 0, frames[3]).astype(np.uint8))
    ImageDraw.Draw(titled).text((10, 12), "SMITH 1956", fill=255)
    frames[3] = np.asarray(titled)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = OphthalmicTomographyImageStorage
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.NumberOfFrames = 1, "MONOCHROME2", 5
    del ds.PlanarConfiguration
    ds.Rows, ds.Columns, ds.Modality, ds.PixelData = 128, 200, "OPT", frames.tobytes()
    (tmp_path / "in").mkdir()
    ds.save_as(tmp_path / "in" / "v.dcm")
    outcome = deidentify(tmp_path / "in", tmp_path / "out", KEY)["v.dcm"]
    assert (outcome.status, {place[:8] for place in outcome.text}) == ("held", {"slice 3:"}), outcome.why
    outcome = deidentify(tmp_path / "in", tmp_path / "out", KEY, confirmed=["v.dcm"])["v.dcm"]
    copy = pydicom.dcmread(tmp_path / "out" / "images" / outcome.file)
    assert np.array_equal(copy.pixel_array, frames)


def test_what_cannot_be_cleaned_is_refused_and_the_others_are_copied(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    canaries.photograph().save(source / "good.png")
    (source / "SMITH.xml").write_text("<?xml version='1.0'?><HEDX>SMITH</HEDX>")
    (source / "SMITH.vol").write_bytes(b"HSF-OCT-103SMITH")
    (source / "letter.txt").write_text("Dear Dr. SMITH")
    (source / "cut.jpg").write_bytes(canaries.jpeg(canaries.Words())[:900])
    (source / "empty.png").write_bytes(b"")
    (source / "report.dcm").write_bytes(_without_pixels())
    (source / "liar.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"SMITH" * 9)
    done = deidentify(source, tmp_path / "out", KEY)
    assert _kept(done, "written") == ["good.png"]
    assert len(_kept(done, "refused")) == 7
    assert all(each.why for each in done.values() if each.status == "refused")
    for name, content in _all_bytes(tmp_path / "out").items():
        assert b"smith" not in content.lower(), name


def _without_pixels() -> bytes:
    """A DICOM file that is no image."""
    ds = pydicom.dcmread(io.BytesIO(canaries.dicom(canaries.Words())))
    del ds.PixelData
    out = io.BytesIO()
    ds.save_as(out)
    return out.getvalue()


def test_an_interrupted_pass_goes_on_and_another_key_is_refused(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for number in range(12):
        canaries.photograph(64 + number).save(source / f"{number}.png")

    def stop(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    deidentify(source, tmp_path / "whole", KEY)
    with pytest.raises(KeyboardInterrupt):
        deidentify(source, out, KEY, workers=1, progress=stop)
    done_before = {path.name: path.stat().st_mtime_ns for path in (out / "images").iterdir() if path.suffix == ".png"}
    deidentify(source, out, KEY)
    assert _all_bytes(out) == _all_bytes(tmp_path / "whole")
    kept = [name for name, time in done_before.items() if (out / "images" / name).stat().st_mtime_ns == time]
    assert len(kept) >= 4
    with pytest.raises(ValueError, match="other settings") as refusal:
        deidentify(source, out, Pseudonyms(b"x" * 32))
    assert KEY.mark("the key itself") not in str(refusal.value)


def test_a_copy_whose_original_is_gone_is_deleted(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in ("stays.png", "withdrawn.png"):
        canaries.photograph().save(source / name)
    done = deidentify(source, out, KEY)
    (source / "withdrawn.png").unlink()
    deidentify(source, out, KEY)
    assert not (out / "images" / done["withdrawn.png"].file).exists()
    assert (out / "images" / done["stays.png"].file).is_file()


def test_folders_inside_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    canaries.photograph().save(tmp_path / "in" / "a.png")
    for out in (tmp_path / "in" / "out", tmp_path, tmp_path / "in"):
        with pytest.raises(ValueError, match="lies in the other"):
            deidentify(tmp_path / "in", out, KEY)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="not made by this command"):
        deidentify(tmp_path / "in", tmp_path / "full", KEY)


def test_links_out_of_the_folder_are_refused_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "other").mkdir()
    for place in ("in/a.png", "other/b.png"):
        canaries.photograph().save(tmp_path / place)
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "other" / "b.png")
    (tmp_path / "in" / "folder").symlink_to(tmp_path / "other")
    done = deidentify(tmp_path / "in", tmp_path / "out", KEY)
    assert (_kept(done, "written"), _kept(done, "refused")) == (["a.png"], ["folder", "link.png"])


@pytest.mark.skipif(os.name == "nt", reason="permissions of a POSIX system")
def test_a_key_that_others_can_read_or_that_is_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    make_key(path)
    first = read_key(path).of("SMITH")
    with pytest.raises(KeyRefused, match="exists"):
        make_key(path)
    assert read_key(path).of("SMITH") == first
    path.chmod(0o640)
    with pytest.raises(KeyRefused, match="read by others"):
        read_key(path)
    (tmp_path / "short").write_text("secret")
    (tmp_path / "short").chmod(0o600)
    with pytest.raises(KeyRefused, match="32 are needed"):
        read_key(tmp_path / "short")
    path.chmod(0o600)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(KeyRefused):
        read_key(tmp_path / "link")
    with pytest.raises(KeyRefused, match="--new-key"):
        read_key(tmp_path / "absent")


def test_a_table_goes_along_under_pseudonyms(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("smith_OD.png", "doe.png"):
        canaries.photograph().save(tmp_path / "in" / name)
    table = tmp_path / "t.csv"
    table.write_text(
        "file,grade,patient,site,age,remark\nsmith_OD,0,SMITH,St. Mary,71,called\ndoe.png,2,DOE,St. Mary,55,\n"
    )
    carried = read_carried(tmp_path / "in", table, columns={"label": "grade"}, keep=["age"])
    copies = {"smith_OD.png": "i1_OD.png", "doe.png": "i2.png"}
    assert write_carried(tmp_path / "labels.csv", carried, copies, KEY, {}) == 2
    with (tmp_path / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [list(row) for row in rows] == [["file", "label", "patient", "eye", "site", "age"]] * 2
    assert [(row["file"], row["label"], row["eye"], row["age"]) for row in rows] == [
        ("i1_OD.png", "0", "OD", "71"), ("i2.png", "2", "", "55"),
    ]  # fmt: skip
    assert rows[0]["patient"] == KEY.of("SMITH")
    assert rows[0]["site"] == rows[1]["site"] != "St. Mary"
    with pytest.raises(DataProblems, match="no column 'height'"):
        read_carried(tmp_path / "in", table, columns={"label": "grade"}, keep=["height"])


def test_remarks_are_no_labels(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    rows = ["file,label"]
    for number in range(60):
        (tmp_path / "in" / f"{number}.png").write_bytes(b"x")
        rows.append(f"{number}.png,Mr. Smith came on day {number}")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    with pytest.raises(DataProblems, match="remarks") as refusal:
        read_carried(tmp_path / "in", tmp_path / "t.csv", columns={})
    assert "Smith" not in str(refusal.value)
    assert len(read_carried(tmp_path / "in", tmp_path / "t.csv", columns={}, keep=["label"]).entries) == 60


def test_patients_come_from_file_names_by_a_pattern() -> None:
    carried = carried_from_names(["a/7_left.png", "b/7_right.png", "odd.png"], r"^(\d+)_")
    assert [(entry.patient, entry.eye) for entry in carried.entries] == [("7", "OS"), ("7", "OD"), ("", "")]
    for pattern in ("(", r"\d+", r"(\d)(\d)"):
        with pytest.raises(ValueError, match=r"regular expression|one bracket"):
            carried_from_names(["a"], pattern)


@pytest.mark.parametrize("make", [canaries.jpeg, canaries.png, canaries.tiff])
def test_files_cut_or_changed_anywhere_are_refused_or_come_through_clean(make: object) -> None:
    strip = {"jpeg": strip_jpeg, "png": strip_png, "tiff": strip_tiff}[make.__name__]  # type: ignore[attr-defined]
    data = make(canaries.Words())  # type: ignore[operator]
    rng = np.random.default_rng(0)
    said = []
    for _ in range(300):
        bad = bytearray(data[: rng.integers(8, len(data))] if rng.random() < 0.5 else data)
        for place in rng.integers(8, len(bad), 3):
            bad[place] = rng.integers(0, 256)
        try:
            strip(bytes(bad), source="a")
        except ImageRefused as error:
            said.append(str(error))
    assert len(said) > 50
    assert canaries.WORD not in " ".join(said)


def test_a_hostile_dicom_header_is_refused_without_its_words() -> None:
    data = bytearray(canaries.dicom(canaries.Words()))
    rng = np.random.default_rng(0)
    left: list[bytes] = []
    for _ in range(60):
        bad = bytearray(data)
        for place in rng.integers(132, 4000, 5):
            bad[place] = rng.integers(0, 256)
        try:
            left.append(clean_dicom(bytes(bad), KEY, source="a").data)
        except ImageRefused as error:
            left.append(str(error).encode())
    assert [trace for each in left for trace in canaries.traces(each) if canaries.WORD.lower() in trace] == []


def test_regions_read_like_words() -> None:
    assert str(Region(1, 2, 30, 4)) == "30x4 at 1,2"

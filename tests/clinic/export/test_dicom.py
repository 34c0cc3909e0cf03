"""DICOM objects read back with pydicom and highdicom: what they say, and that nothing required is missing."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from highdicom.sr import ComprehensiveSR, srread
from pydicom import Dataset, dcmread
from pydicom.uid import UID

from eyeground.clinic.blobs.store import BlobMissing
from eyeground.clinic.export._datasets import ENCAPSULATED_PDF, person_name
from eyeground.clinic.export._means import Means
from eyeground.clinic.export.dicom import Writer
from eyeground.clinic.exported import Exported, LeftOut
from eyeground.clinic.exports import pseudonyms_of
from eyeground.clinic.records import EyeReview
from eyeground.clinic.service import Service

from ..pictures import dicom, photograph
from .visits import (
    amend,
    both_eyes,
    drafted,
    encoded,
    exported,
    send,
    service_in,
    sign,
    signed,
    tree,
    two_models,
)  # fmt: skip

PDF = b"%PDF-1.7\nthe report of a case\n%%EOF"
# Attributes of type 1 and 2 in DICOM PS3.3: A.45.1 (Encapsulated PDF) and A.35.3 (Comprehensive SR), their modules'.
PATIENT = {"PatientName", "PatientID", "PatientBirthDate", "PatientSex"}
STUDY = {"StudyInstanceUID", "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"}
COMMON = {"SOPClassUID", "SOPInstanceUID", "Modality", "SeriesInstanceUID", "SeriesNumber", "Manufacturer",
          "InstanceNumber", "ContentDate", "ContentTime"}  # fmt: skip
OF_PDF = {"ConversionType", "AcquisitionDateTime", "BurnedInAnnotation", "DocumentTitle", "ConceptNameCodeSequence",
          "MIMETypeOfEncapsulatedDocument", "EncapsulatedDocument"}  # fmt: skip
OF_SR = {"CompletionFlag", "VerificationFlag", "VerifyingObserverSequence", "PerformedProcedureCodeSequence",
         "ReferencedPerformedProcedureStepSequence", "ValueType", "ContinuityOfContent", "ContentSequence",
         "ContentTemplateSequence", "ConceptNameCodeSequence"}  # fmt: skip
MAY_BE_EMPTY = {"PatientBirthDate", "PatientSex", "ReferringPhysicianName", "StudyID", "AccessionNumber", "PatientID",
                "PatientName", "AcquisitionDateTime", "PerformedProcedureCodeSequence",
                "ReferencedPerformedProcedureStepSequence"}  # fmt: skip


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One for all."""
    opened = service_in(tmp_path_factory.mktemp("clinic"))
    yield opened
    opened.close()


def means_of(service: Service, out: Path, **more: Any) -> Means:
    """What an export works with, with a page that needs no typesetting."""
    return Means(
        service.store, out, "Asia/Shanghai", lambda site: pseudonyms_of("a phrase of the tests own", site),
        lambda case, language: PDF, **more,
    )  # fmt: skip


def files_of(service: Service, case: Exported, into: Path, **more: Any) -> dict[str, Dataset]:
    """What was written of a case, read from the disk."""
    Writer(into, means_of(service, into, **more)).add(case)
    return {path.name: dcmread(path) for path in (into / case.answered.case_id).iterdir()}


def items(node: Any) -> Iterator[Any]:
    """Every item of a content tree."""
    for item in node.get("ContentSequence", ()):
        yield item
        yield from items(item)


def meaning(item: Any) -> tuple[str, str]:
    """Scheme and code of an item's name."""
    name = item.ConceptNameCodeSequence[0]
    return name.CodingSchemeDesignator, code_of(name)


def code_of(code: Any) -> str:
    """A code; one of more than 16 characters stands elsewhere."""
    return str(code.get("CodeValue") or code.LongCodeValue)


def eye_of(item: Any) -> str:
    """Which eye an item is about, by its modifiers."""
    for each in items(item):
        if meaning(each) == ("SCT", "272741003"):
            return {"24028007": "OD", "7771000": "OS"}[code_of(each.ConceptCodeSequence[0])]
    return ""


def test_the_printed_report_comes_out_as_it_went_in(service: Service, tmp_path: Path) -> None:
    case = exported(service, signed(service, "pdf", patient={"name": "张三", "gender": "male", "age": 56}))
    made = files_of(service, case, tmp_path, languages=("zh", "en"))
    assert set(made) == {"report_zh.dcm", "report_en.dcm", "findings.dcm"}
    pdf = made["report_zh.dcm"]
    assert pdf.SOPClassUID == ENCAPSULATED_PDF == pdf.file_meta.MediaStorageSOPClassUID
    assert pdf.EncapsulatedDocument[: pdf.EncapsulatedDocumentLength] == PDF
    assert len(pdf.EncapsulatedDocument) % 2 == 0
    assert (pdf.SpecificCharacterSet, pdf.PatientName.ideographic, pdf.PatientName.alphabetic) == (
        "ISO_IR 192", "张三^", "",
    )  # fmt: skip
    assert (pdf.PatientID, pdf.PatientSex, pdf.PatientAge) == ("P-pdf", "M", "056Y")
    assert made["report_en.dcm"].SOPInstanceUID != pdf.SOPInstanceUID
    assert made["report_en.dcm"].SeriesInstanceUID == pdf.SeriesInstanceUID


def test_nothing_required_is_missing(service: Service, tmp_path: Path) -> None:
    made = files_of(service, exported(service, signed(service, "required")), tmp_path)
    for name, more in (("report_zh.dcm", OF_PDF), ("findings.dcm", OF_SR)):
        required = PATIENT | STUDY | COMMON | more
        assert required - {element.keyword for element in made[name]} == set()
        assert {each for each in required - MAY_BE_EMPTY if made[name][each].is_empty} == set()
        uids = [element.value for element in made[name].iterall() if element.VR == "UI"]
        assert all(UID(uid).is_valid for uid in uids)


def test_the_structured_report_says_what_the_doctor_signed(service: Service, tmp_path: Path) -> None:
    case_id = send(
        service, "sr", photos=both_eyes(5),
        vision_data={"right_eye": "0.8", "left_eye": "手动/20cm", "intraocular_pressure": {"right": 17.5}},
    )  # fmt: skip
    eyes = {"fundus/OD": EyeReview(findings={"DR": 3, "AMD": 0}, reason="hemorrhages in four quadrants"),
            "fundus/OS": EyeReview(ungradable=True, reason="haze")}  # fmt: skip
    told = {"eyes": eyes, "conclusion": "右眼重度非增殖期", "recommendation": "三个月内转诊"}
    sign(service, case_id, lambda opinion: opinion.model_copy(update=told))
    files_of(service, exported(service, case_id), tmp_path)
    report = srread(tmp_path / case_id / "findings.dcm")
    assert isinstance(report, ComprehensiveSR)
    assert (report.CompletionFlag, report.VerificationFlag) == ("COMPLETE", "VERIFIED")
    [observer] = report.VerifyingObserverSequence
    assert observer.VerifyingObserverName.ideographic == "李医生^"
    [findings] = [each for each in report.ContentSequence if meaning(each) == ("DCM", "121070")]
    coded = {
        (meaning(each)[1], eye_of(each)): code_of(each.ConceptCodeSequence[0])
        for each in findings.ContentSequence
        if each.ValueType == "CODE"
    }
    assert coded["4855003", "OD"] == "LA18646-2"
    assert coded["267718000", "OD"] == "272519000"
    assert coded["fundus.findings", "OS"] == "why.cannot_grade"
    numbers = {
        (meaning(each)[1], eye_of(each)): float(each.MeasuredValueSequence[0].NumericValue)
        for each in findings.ContentSequence
        if each.ValueType == "NUM"
    }
    assert numbers == {("41633001", "OD"): 17.5, ("logmar", "OD"): pytest.approx(0.1)}
    words = {meaning(each): each.TextValue for each in items(report) if each.ValueType == "TEXT"}
    assert words["DCM", "121077"] == "右眼重度非增殖期"
    assert words["DCM", "121075"] == "三个月内转诊"
    assert report.ContentSequence[0].ConceptCodeSequence[0].CodeValue == "zh"


def test_the_models_are_observers_of_their_own(service: Service, tmp_path: Path) -> None:
    case = exported(service, signed(service, "observers"))
    report = files_of(service, case, tmp_path)["findings.dcm"]
    [ai] = [each for each in report.ContentSequence if meaning(each) == ("99EYEGROUND", "ai")]
    device = {meaning(each)[1]: each for each in ai.ContentSequence if each.RelationshipType == "HAS OBS CONTEXT"}
    assert device["121005"].ConceptCodeSequence[0].CodeValue == "121007"
    assert device["121013"].TextValue == "Constant 1.0"
    scores = [each for each in items(ai) if meaning(each) == ("99EYEGROUND", "score")]
    assert len(scores) == sum(map(len, case.answered.said.values()))


def test_of_several_models_each_is_an_observer_of_its_own(service: Service, tmp_path: Path) -> None:
    report = files_of(service, two_models(service, "observers-two"), tmp_path)["findings.dcm"]
    told = {}
    for ai in (each for each in report.ContentSequence if meaning(each) == ("99EYEGROUND", "ai")):
        device = {meaning(each)[1]: each for each in ai.ContentSequence if each.RelationshipType == "HAS OBS CONTEXT"}
        about = [meaning(each)[1] for each in ai.ContentSequence if each.ValueType == "CODE" and eye_of(each)]
        told[device["121013"].TextValue, device["121015"].TextValue] = set(about)
    assert told["Grades 1.0", "grades-1"] == {"4855003"}
    assert len(told["Rest 2.0", "rest-2"]) == 6
    assert len(told) == 2


def test_the_gate_s_verdict_is_no_finding_of_the_doctor(service: Service, tmp_path: Path) -> None:
    report = files_of(service, exported(service, signed(service, "gate-sr")), tmp_path)["findings.dcm"]
    where = [
        meaning(node)[1]
        for node in report.ContentSequence
        for each in node.get("ContentSequence", ())
        if meaning(each) == ("DCM", "111101")
    ]
    assert where == ["ai", "ai"]


@pytest.mark.parametrize("by_ai", [True, False])
def test_a_drafted_text_says_so_beside_it(service: Service, tmp_path: Path, by_ai: bool) -> None:
    report = files_of(service, drafted(by_ai=by_ai), tmp_path)["findings.dcm"]
    for node in report.ContentSequence:
        said = [code_of(each.ConceptCodeSequence[0]) for each in items(node) if meaning(each)[1] == "origin"]
        mine = meaning(node)[1] in ("narrative", "texts", "121076", "121074")
        assert said == (["drafted_by_ai"] if by_ai and mine else [])
        assert not any("请由医生审核" in each.get("TextValue", "") for each in items(node))


def test_images_that_came_as_dicom_are_evidence(service: Service, tmp_path: Path) -> None:
    header = dcmread(BytesIO(dicom(photograph(seed=2, size_px=96), laterality="L")))
    header.StudyInstanceUID, header.SeriesInstanceUID = "1.2.840.99.7", "1.2.840.99.8"
    out = BytesIO()
    header.save_as(out)
    case_id = signed(service, "evidence", photos=[{"name": "x.dcm", "eye": "OS", "data": encoded(out.getvalue())}])
    report = files_of(service, exported(service, case_id), tmp_path)["findings.dcm"]
    assert report.StudyInstanceUID == "1.2.840.99.7"
    [image] = [each for each in items(report) if each.ValueType == "IMAGE"]
    assert image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == header.SOPInstanceUID
    evidence = [
        instance.ReferencedSOPInstanceUID
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    ]
    assert header.SOPInstanceUID in evidence


def test_the_same_case_gives_the_same_bytes_and_another_revision_other_uids(service: Service, tmp_path: Path) -> None:
    case_id = signed(service, "again")
    files_of(service, exported(service, case_id), tmp_path / "a")
    before = files_of(service, exported(service, case_id), tmp_path / "b")
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    amend(service, case_id, lambda opinion: opinion.model_copy(update={"conclusion": "anew"}))
    after = files_of(service, exported(service, case_id), tmp_path / "c")
    assert after["findings.dcm"].SOPInstanceUID != before["findings.dcm"].SOPInstanceUID
    assert after["findings.dcm"].StudyInstanceUID == before["findings.dcm"].StudyInstanceUID


def test_a_case_that_nobody_signed_or_whose_image_is_gone_is_no_report(tmp_path: Path) -> None:
    service = service_in(tmp_path / "clinic", release="unsigned")
    case = exported(service, send(service, "early", photos=both_eyes(4)))
    with pytest.raises(LeftOut, match="unsigned"):
        Writer(tmp_path, means_of(service, tmp_path)).add(case)
    service.close()
    service = service_in(tmp_path / "other")
    case = exported(service, signed(service, "gone"))
    service.store.remove(case.photos[0].sha256)
    with pytest.raises(BlobMissing):
        Writer(tmp_path, means_of(service, tmp_path)).add(case)
    assert not (tmp_path / case.answered.case_id).exists()
    service.close()


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("张三", "=张三^"), ("Zhang San", "Zhang San^"), ("a^b=c\\d", "a b c d^"), ("", ""), ("x\x00\ny", "xy^"),
        ("字" * 80, f"={'字' * 63}^"),
    ],
)  # fmt: skip
def test_names_are_written_as_dicom_wants_them(text: str, written: str) -> None:
    assert person_name(text) == written

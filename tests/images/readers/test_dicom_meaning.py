import numpy as np
import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.sr._cid_dict import cid_concepts
from pydicom.sr._concepts_dict import concepts
from pydicom.sr._snomed_dict import mapping

from eyeground.images.readers import _dicom_meaning, dicom

from . import drawn
from .reading import GRAY, LAYERS, decode


def test_a_volumes_header_in_words() -> None:
    held = dicom.contents(drawn.write_opt(LAYERS, lines=True), source="a.dcm")
    assert (held.modality, held.eye, held.mm_per_px, held.device) == ("oct", "OS", (0.004, 0.012), "Drawn Brush 1")
    # The row runs from -3 mm over 49 pixels of 0.012 mm; the patient's z, upward, becomes y, downward.
    wanted = [((-3.0, -1.0 + 0.1 * each), (-3.0 + 49 * 0.012, -1.0 + 0.1 * each)) for each in range(3)]
    np.testing.assert_allclose(held.lines_mm, wanted)
    image = decode(drawn.write_opt(LAYERS, lines=True), 2)
    np.testing.assert_allclose(image.line_mm, wanted[2])
    assert (image.modality, image.eye, image.mm_per_px) == ("oct", "OS", (0.004, 0.012))
    assert dicom.contents(drawn.write_opt(LAYERS), source="a.dcm").lines_mm == ()


@pytest.mark.parametrize("orientation", [[1, 0, 0, 1, 0, 0], [2, 0, 0, 0, 1, 0], [0] * 6, [0, 1, 0, 1, 0, 0]])
def test_no_lines_from_an_orientation_that_cannot_be(orientation: list[float]) -> None:
    header = Dataset()
    header.PixelSpacing, header.ImagePositionPatient = [0.1, 0.1], [0, 0, 0]
    header.ImageOrientationPatient = orientation
    assert _dicom_meaning.lines_mm(header, 1, 10) == ()


@pytest.mark.parametrize(
    ("elements", "eye"),
    [
        ({"ImageLaterality": "R"}, "OD"), ({"Laterality": "L"}, "OS"), ({"ImageLaterality": "B"}, ""), ({}, ""),
        ({"ImageLaterality": "R", "Laterality": "L"}, ""), ({"ImageLaterality": "R", "Laterality": "R"}, "OD"),
        ({"ImageLaterality": "R", "Laterality": "B"}, ""), ({"ImageLaterality": "U", "Laterality": "R"}, "OD"),
        ({"ImageLaterality": "X"}, ""),
    ],
)  # fmt: skip
def test_the_eye(elements: dict[str, str], eye: str) -> None:
    assert dicom.contents(drawn.write_op(GRAY, **elements), source="a.dcm").eye == eye


def test_the_eye_from_the_regions_modifier() -> None:
    region = drawn.code("81745001")
    region[0].AnatomicRegionModifierSequence = drawn.code("24028007")
    data = drawn.write_op(GRAY, AnatomicRegionSequence=region)
    assert decode(data).eye == "OD"
    assert decode(drawn.write_op(GRAY, AnatomicRegionSequence=region, ImageLaterality="L")).eye == ""


def test_frames_of_both_eyes() -> None:
    groups = []
    for word in "RL":
        group = Dataset()
        group.FrameAnatomySequence = drawn.sequence(FrameLaterality=word)
        groups.append(group)
    data = drawn.write_opt(LAYERS[:2], PerFrameFunctionalGroupsSequence=DicomSequence(groups),
                           SharedFunctionalGroupsSequence=None)  # fmt: skip
    assert dicom.contents(data, source="a.dcm").eye == ""
    assert [decode(data, number).eye for number in range(2)] == ["OD", "OS"]


@pytest.mark.parametrize(
    ("elements", "modality"),
    [
        ({}, ""), ({"AnatomicRegionSequence": "5665001"}, "fundus"), ({"AnatomicRegionSequence": "T-AA610"}, "fundus"),
        ({"AnatomicRegionSequence": "28726007"}, "anterior"), ({"AnatomicRegionSequence": "80243003"}, "anterior"),
        ({"AnatomicRegionSequence": "81745001"}, ""), ({"AcquisitionDeviceTypeCodeSequence": "409898007"}, "fundus"),
        ({"AcquisitionDeviceTypeCodeSequence": "397247004"}, "anterior"),
        # A slit lamp with a lens before it photographs the retina: the region is said first.
        ({"AnatomicRegionSequence": "5665001", "AcquisitionDeviceTypeCodeSequence": "397247004"}, "fundus"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.5.5"}, "fundus"),
        ({"SOPClassUID": drawn.TOMOGRAPHY}, "oct"),
        ({"SOPClassUID": drawn.TOMOGRAPHY, "AnatomicRegionSequence": "28726007"}, "anterior"),
        ({"SOPClassUID": drawn.CAPTURE, "Modality": "OPT"}, ""),
    ],
)  # fmt: skip
def test_the_modality(elements: dict[str, str], modality: str) -> None:
    given = {key: drawn.code(word) if key.endswith("Sequence") else word for key, word in elements.items()}
    assert dicom.contents(drawn.write_op(GRAY, **given), source="a.dcm").modality == modality


def test_the_codes_are_those_of_the_standard() -> None:
    def codes(group: int) -> set[str]:
        found = {code for word in cid_concepts[group]["SCT"] for code in concepts["SCT"][word]}
        return found | {mapping["SCT"][code] for code in found}

    parts = (_dicom_meaning._FRONT, _dicom_meaning._BACK)
    assert parts[0] | parts[1] | {"81745001", "T-AA000", "40638003", "T-AA180", "53549008", "T-45400"} == codes(4209)
    assert not parts[0] & parts[1]
    devices = _dicom_meaning._FRONT_DEVICES | _dicom_meaning._FUNDUS_DEVICES
    # An endoscope and an operating microscope look at either part; the confocal ophthalmoscope is of group 4210.
    assert devices - {"392004000", "A-00E8B"} == codes(4202) - {"409902001", "R-1021F", "102321001", "A-2B210"}


def test_the_chips_spacing_is_no_scale() -> None:
    assert dicom.contents(drawn.write_op(GRAY, ImagerPixelSpacing=[0.01, 0.01]), source="a.dcm").mm_per_px is None
    assert dicom.contents(drawn.write_op(GRAY, PixelSpacing=[0.01, 0.02]), source="a.dcm").mm_per_px == (0.01, 0.02)
    assert dicom.contents(drawn.write_op(GRAY, PixelSpacing=[0, 0.02]), source="a.dcm").mm_per_px is None


def test_personal_fields_are_named_and_never_shown() -> None:
    inner = Dataset()
    inner.PatientMotherBirthName, inner.PersonName = "Roe^Ann", "Poe^Eve"
    block = Dataset()
    block.add_new(0x00990010, "LO", "VENDOR")
    block.add_new(0x00991001, "LO", "Zoe^Kim")
    data = drawn.write_op(
        GRAY, InstitutionName="St. Elsewhere", StudyDate="20200202", OperatorsName="Loe^Max", BurnedInAnnotation="YES",
        ContentSequence=DicomSequence([inner, block]), OtherPatientIDs="",
    )  # fmt: skip
    held = dicom.contents(data, source="a.dcm")
    assert {"PatientName", "PatientID", "PatientBirthDate", "InstitutionName", "StudyDate", "OperatorsName",
            "PatientMotherBirthName", "PersonName", "words burned into the pixels",
            "private tags (2)"} <= set(held.personal)  # fmt: skip
    assert not {"OtherPatientIDs", "Rows", "StudyInstanceUID"} & set(held.personal)
    shown = str(held)
    for word in ("Doe", "Roe", "Poe", "Zoe", "Loe", "Elsewhere", "1950", "2020"):
        assert word not in shown
    clean = drawn.write_op(GRAY, PatientName="", PatientID="", PatientBirthDate="")
    assert dicom.contents(clean, source="a.dcm").personal == ()


def test_a_field_that_cannot_be_read_is_personal_still() -> None:
    birth = b"\x10\x00\x30\x00DA\x08\x0019500101"
    data = drawn.write_op(GRAY).replace(birth, b"\x10\x00\x30\x00FL\x07\x00Doe^J\xff\xfe")
    assert birth not in data
    assert "PatientBirthDate" in dicom.contents(data, source="a.dcm").personal

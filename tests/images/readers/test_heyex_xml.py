import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eyeground.images.readers import heidelberg_vol, heyex_xml
from eyeground.images.refusal import ImageRefused


def b_scan(name: str, eye: str = "R", kind: str = "OCT", y: float = 2.0, extra: str = "") -> str:
    """One image of an export, as a Windows path."""
    return f"""<Image><Laterality>{eye}</Laterality><ImageType><Type>{kind}</Type></ImageType>
        <OphthalmicAcquisitionContext><Width>50</Width><Height>40</Height><ScaleX>0.012</ScaleX><ScaleY>0.004</ScaleY>
        <Start><Coord><X>1.5</X><Y>{y}</Y></Coord></Start><End><Coord><X>7.5</X><Y>{y}</Y></Coord></End>
        </OphthalmicAcquisitionContext><ImageData><ExamURL>{name}</ExamURL></ImageData>{extra}</Image>"""


def export(*images: str, eye: str = "R", series: int = 1, head: str = "") -> str:
    """A whole export with one localizer."""
    localizer = b_scan("file:///x\\NIR.tif", eye, "LOCALIZER")
    maker = "<Manufacturer>Heidelberg Engineering</Manufacturer>"
    maker += "<ManufacturerModelName>Spectralis</ManufacturerModelName>"
    one = f"""<Series><Laterality>{eye}</Laterality><GeneralEquipment>{maker}</GeneralEquipment>
        {localizer}{"".join(images)}</Series>"""
    return f"""{head}<HEDX><BODY><Patient><LastName>Doe</LastName><PatientID>X1</PatientID><Sex/>
        <Study><Operator>Roe</Operator>{one * series}</Study></Patient></BODY></HEDX>"""


GOOD = export(b_scan("file:///\\\\server\\share\\B1.tif"), b_scan("C:\\scans\\B2.tif", y=3.0))


def contents(text: str | bytes) -> heyex_xml.Contents:
    return heyex_xml.contents(text if isinstance(text, bytes) else text.encode(), source="a.xml")


def outcome(act: Callable[[], object]) -> str:
    """The reason of a refusal, or that there was none; any other exception fails the test."""
    try:
        act()
    except ImageRefused as error:
        return error.reason
    return "read"


def test_an_export_in_words() -> None:
    held = contents(GOOD)
    assert held.files == ("B1.tif", "B2.tif")
    assert (held.format, held.slices, held.width, held.height) == ("HEYEX XML", 2, 50, 40)
    assert (held.modality, held.eye, held.mm_per_px) == ("oct", "OD", (0.004, 0.012))
    assert held.lines_mm == (((1.5, 2.0), (7.5, 2.0)), ((1.5, 3.0), (7.5, 3.0)))
    assert held.device == "Heidelberg Engineering Spectralis"
    assert held.personal == ("LastName", "Operator", "PatientID")
    assert "Doe" not in str(held)


@pytest.mark.parametrize(
    ("encoding", "declared"),
    [("utf-8", ""), ("utf-8-sig", ""), ("utf-16", ""), ("utf-16-le", ""), ("utf-16-be", ""), ("utf-16", "UTF-16"),
     ("utf-8", "UTF-8"), ("latin-1", "ISO-8859-1"), ("cp1252", "windows-1252"), ("gb18030", "GB18030"),
     ("gbk", "gb2312")],
)  # fmt: skip
def test_encodings(encoding: str, declared: str) -> None:
    name = "张" if encoding.startswith("gb") else "Mü"
    head = f'<?xml version="1.0" encoding="{declared}"?>\n<!-- made by hand -->' if declared else ""
    data = export(b_scan(f"{name}.tif"), head=head).encode(encoding)
    assert heyex_xml.claims(data)
    assert heyex_xml.claims(data[:300])
    assert contents(data).files == (f"{name}.tif",)


@pytest.mark.parametrize("declared", ["utf-7", "rot13", "zip", "unicode_escape", "UTF-32", "x" * 30])
def test_encodings_that_no_export_has(declared: str) -> None:
    head = f'<?xml version="1.0" encoding="{declared}"?>'
    assert outcome(lambda: contents(export(b_scan("B1.tif"), head=head))) == "broken"


@pytest.mark.parametrize(("eyes", "eye"), [("RR", "OD"), ("LL", "OS"), ("RL", ""), ("RB", ""), ("BB", ""), ("R", "OD")])
def test_the_eye_if_all_agree(eyes: str, eye: str) -> None:
    images = [b_scan(f"B{number}.tif", word) for number, word in enumerate(eyes)]
    assert contents(export(*images, eye=eyes[0])).eye == eye


@pytest.mark.parametrize(
    "name",
    ["", "..", "C:\\a\\", "a..b", "file:B1.tif", "B1\n.tif", "a" * 300, "../", "B1.tif:stream", "\\\\..", "a&#9;b.tif"],
)
def test_names_that_are_no_plain_file_names(name: str) -> None:
    assert outcome(lambda: contents(export(b_scan(name)))) == "broken"


@pytest.mark.parametrize("name", ["C:\\..\\..\\B1.tif", "../../B1.tif", "file:///etc/B1.tif", "/B1.tif"])
def test_only_the_last_part_of_a_path_is_kept(name: str) -> None:
    assert contents(export(b_scan(name))).files == ("B1.tif",)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (export(), "broken"), (export(b_scan("B1.tif"), b_scan("x\\B1.tif")), "broken"),
        (export(b_scan("B1.tif"), series=2), "format_not_allowed"), ("<HEDX>", "truncated"), ("<HEDX/>", "broken"),
        (GOOD.replace("<Width>50", "<Width>-5"), "broken"), (GOOD.replace("<Width>50", "<Width>1e9"), "broken"),
        (GOOD.replace("<Width>50", "<Width>nan"), "broken"), (GOOD.replace("<Height>40", "<Height>x"), "broken"),
        (GOOD.replace("</BODY>", "</BODI>"), "broken"), (GOOD + "<more/>", "broken"), (GOOD[:-400], "truncated"),
        ("<HEDX>" + "<a>" * 100_000, "broken"), ("<HEDX>\0</HEDX>", "broken"), ("<HEDX>&lol;</HEDX>", "broken"),
        (GOOD.replace("<BODY>", '<BODY a="&x;">'), "broken"),
    ],
)  # fmt: skip
def test_damaged_exports(text: str, reason: str) -> None:
    assert outcome(lambda: contents(text)) == reason


def test_document_types_are_refused_before_anything_expands() -> None:
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    bomb = f'<?xml version="1.0"?><!DOCTYPE HEDX [<!ENTITY l0 "lol">{laughs}]><HEDX>&l11;</HEDX>'
    outside = '<!DOCTYPE HEDX SYSTEM "file:///etc/passwd"><HEDX/>'
    for text in (bomb, outside):
        assert heyex_xml.claims(text.encode())
        with pytest.raises(ImageRefused, match="declares a document type") as caught:
            contents(text)
        assert caught.value.reason == "broken"


def test_a_series_without_scales_or_places() -> None:
    held = contents(
        GOOD.replace("<ScaleX>0.012</ScaleX>", "").replace("<Start>", "<Begin>").replace("</Start>", "</Begin>")
    )
    assert held.mm_per_px is None
    assert held.lines_mm == ()
    assert contents(export(b_scan("B1.tif", y=float("nan")))).lines_mm == ()


def test_its_slices_are_elsewhere() -> None:
    act = lambda: heyex_xml.frame(GOOD.encode(), source="a.xml", number=0, max_pixels=1)  # noqa: E731
    assert outcome(act) == "format_not_allowed"


def test_long_segmentations_are_passed_over() -> None:
    extra = "<Segmentation><Array>" + "3e+038 " * 100_000 + "</Array></Segmentation>"
    assert contents(export(b_scan("B1.tif", extra=extra))).files == ("B1.tif",)


def test_only_its_own_is_claimed() -> None:
    for other in (b"", b"<", b"<svg/>", b"<HEDXX>", b"HEDX", b"<?xml", b"<!--" * 1000, b"<?x?>" * 1000, b"\xff\xfe"):
        assert not heyex_xml.claims(other)


def test_flipped_bytes_give_a_list_or_a_refusal() -> None:
    rng = np.random.default_rng(2)
    whole = GOOD.encode()
    outcomes = set()
    for _ in range(300):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(damaged), rng.integers(1, 6)):
            damaged[place] = rng.integers(0, 256)
        heyex_xml.claims(bytes(damaged))
        outcomes.add(outcome(lambda data=bytes(damaged): contents(data)))
    assert {"read", "broken"} <= outcomes


WITHOUT_FILES = """
import os, resource, sys
from eyeground.images.readers import heyex_xml
from eyeground.images.refusal import ImageRefused
text = sys.stdin.buffer.read().decode()
words = sorted(heyex_xml._known_words())
files = [b"\\xef\\xbb\\xbf" + text.encode(), text.encode("utf-16-le"), text.encode("utf-16-be")]
files += [f'<?xml version="1.0" encoding="{word}"?>{text}'.encode("ascii") for word in words]
lowest = os.dup(0)
os.close(lowest)
resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, lowest))
for data in files:
    assert heyex_xml.contents(data, source="a.xml").slices == 2, data[:60]
try:
    heyex_xml.contents(b"<HEDX>", source="a.xml")
except ImageRefused:
    print(len(words))
"""


def test_nothing_is_opened_after_start_up() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_FILES], input=GOOD.encode(), capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert int(done.stdout) > 20


def test_the_real_export_is_the_twin_of_the_raw_one(realdata: Path) -> None:
    folder = realdata / "oct-heyex-vol"
    beside = folder / "heyex_xml" / "test_volume"
    data = (beside / "test_dummy.xml").read_bytes()
    held = contents(data)
    assert heyex_xml.claims(data)
    assert held.files == tuple(f"B{number}.tif" for number in range(1, 11))
    raw = (folder / "heyex_vol" / "test_volume.vol").read_bytes()
    twin = heidelberg_vol.contents(raw, source="a.vol")
    assert (held.slices, held.width, held.height, held.eye) == (twin.slices, twin.width, twin.height, twin.eye)
    np.testing.assert_allclose(held.lines_mm, twin.lines_mm)
    np.testing.assert_allclose(held.mm_per_px, twin.mm_per_px)
    for number, name in enumerate(held.files):
        with Image.open(beside / name) as slice_:
            pixels = heidelberg_vol.frame(raw, source="a.vol", number=number, max_pixels=10**6).pixels
            np.testing.assert_array_equal(pixels[..., 0], np.asarray(slice_))
    assert {"LastName", "FirstNames", "Birthdate", "PatientID", "StudyDate", "Operator"} <= set(held.personal)
    assert "ReferringPhysician" not in held.personal  # it is there and empty
    assert "John" not in str(held)

"""Reports of real cases: what was signed and nothing else, whichever version, whoever asks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pypdfium2
import pytest

from eyeground.clinic.cases import NoSuchCase
from eyeground.clinic.db.opinions import Draft
from eyeground.clinic.records import Opinion
from eyeground.clinic.report.fonts import FontMissing
from eyeground.clinic.reports import NotSigned, preview_html, signed_facts, signed_html, signed_pdf

from .constant_grader import ConstantGrader
from .opened import agreed_opinion, encoded, photo, work_off
from .pictures import encoded as png
from .pictures import photograph
from .report.papers import bare, chinese_font, text_of
from .web.office import Office, open_office


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """An office with a name, a zone and a font."""
    found = open_office(
        tmp_path / "clinic", site_title="县人民医院", contact="0970-1", timezone="Asia/Shanghai", font=chinese_font()
    )
    yield found
    found.service.close()


def amended(office: Office, view: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The next version of a signed case, signed and released."""
    body = {"version": view["version"], "reason": "typed wrongly"}
    assert office.post(f"cases/{view['id']}/amend", "doctor", json=body).status_code == 200
    again = office.case(view["id"])
    opinion = agreed_opinion(again, conclusion="The second thought", **more)
    told = office.post(
        f"cases/{view['id']}/sign", "doctor", json={"version": again["version"], "opinion": opinion.model_dump()}
    )
    assert told.status_code == 200, told.text
    work_off(office.service, [])
    return office.case(view["id"])


def test_a_signed_report_says_what_was_signed(office: Office) -> None:
    view = office.signed("m1")
    facts = signed_facts(office.service, view["id"], language="zh")
    assert (facts.status, facts.revision, facts.conclusion) == ("signed", 1, "As the models say")
    assert (facts.site, facts.contact) == ("县人民医院", "0970-1")
    assert facts.signed_at.endswith("+08:00")
    assert facts.number == f"{view['id'][:8].upper()}-1"
    made = signed_pdf(office.service, view["id"], language="zh")
    assert made == signed_pdf(office.service, view["id"], language="zh")
    assert facts.sha256[:32] in text_of(made)
    assert facts.sha256 in signed_html(office.service, view["id"], language="zh")
    # The bytes that tests send are no photographs: each costs itself only.
    assert bare(text_of(made)).count("图像无法显示") == 2


@pytest.mark.parametrize("language", ["zh", "en"])
def test_photographs_are_shown_that_can_be(office: Office, language: str) -> None:
    photos = [
        {"name": "a_OD.png", "eye": "OD", "data": encoded(png(photograph()))},
        {"name": "b_OD.png", "eye": "OD", "data": encoded(b"no image at all")},
        {"name": "c_OS.png", "eye": "OS", "data": encoded(photo("x"))},
    ]
    view = office.in_review("m1", photos=photos)
    body = {"version": view["version"], "opinion": agreed_opinion(view).model_dump()}
    assert office.post(f"cases/{view['id']}/sign", "doctor", json=body).status_code == 200
    facts = signed_facts(office.service, view["id"], language=language)
    assert [each.key for each in facts.photos] == ["fundus/OD", "fundus/OS"]
    assert facts.photos[0].sha256 == view["images"][0]["sha256"]
    assert facts.left_out == 1
    html = signed_html(office.service, view["id"], language=language)
    assert html.count("data:image/jpeg;base64,") == 1
    pages = pypdfium2.PdfDocument(signed_pdf(office.service, view["id"], language=language))
    assert sum(1 for page in pages for each in page.get_objects() if each.type == 3) == 1


def test_a_version_before_stays_as_it_was(office: Office) -> None:
    view = office.signed("m1")
    first = signed_pdf(office.service, view["id"], language="en")
    second = amended(office, view)
    assert second["revision"] == 2
    assert signed_pdf(office.service, view["id"], language="en", revision=1) == first
    facts = signed_facts(office.service, view["id"], language="en")
    assert (facts.revision, facts.conclusion, facts.because) == (2, "The second thought", "typed wrongly")
    assert "typed wrongly" in text_of(signed_pdf(office.service, view["id"], language="en"))
    with pytest.raises(NotSigned, match="no such version"):
        signed_facts(office.service, view["id"], language="en", revision=3)


def test_urgency_is_that_of_the_version(office: Office) -> None:
    view = office.in_review("m1")
    keys = list(agreed_opinion(view).eyes)
    for grade in (4, 0):
        rest = dict.fromkeys(("AMD", "CSC", "RP", "ON", "GLA", "RVO"), 0)
        eyes = {key: {"findings": {**rest, "DR": grade}, "reason": "seen so"} for key in keys}
        opinion = Opinion(eyes=eyes, conclusion=f"grade {grade}", recommendation="come")  # type: ignore[arg-type]
        body = {"version": office.case(view["id"])["version"], "opinion": opinion.model_dump()}
        assert office.post(f"cases/{view['id']}/sign", "doctor", json=body).status_code == 200
        work_off(office.service, [])
        if grade:
            version = office.case(view["id"])["version"]
            told = {"version": version, "reason": "wrong"}
            assert office.post(f"cases/{view['id']}/amend", "doctor", json=told).status_code == 200
    first, second = (signed_facts(office.service, view["id"], language="en", revision=revision) for revision in (1, 2))
    assert "1 month" in first.urgency
    assert first.urgency != second.urgency


def test_what_nobody_signed_is_no_report(office: Office) -> None:
    view = office.in_review("m1")
    for give in (signed_facts, signed_html, signed_pdf):
        for unsigned in (False, True):
            with pytest.raises(NotSigned):
                give(office.service, view["id"], language="zh", unsigned=unsigned)
    html = preview_html(office.service, view["id"], language="zh")
    assert "草稿：未签署" in html
    assert "以下为 AI 输出" in html


def test_a_preview_is_what_would_be_signed_and_says_that_it_is_not(office: Office) -> None:
    view = office.in_review("m1")
    opinion = agreed_opinion(view, conclusion="Preliminary words", narrative="Told in sentences")
    body = {"version": view["version"], "opinion": opinion.model_dump()}
    assert office.ask("PUT", f"/api/v1/cases/{view['id']}/opinion", "doctor", json=body).status_code == 200
    html = preview_html(office.service, view["id"], language="en")
    assert "Preliminary words" in html
    assert "Told in sentences" in html
    assert "As judged by the doctor." in html
    assert html.count("Draft: not signed") == 3
    with pytest.raises(NotSigned):
        signed_html(office.service, view["id"], language="en")


def test_while_a_report_is_amended_the_signed_one_stands(office: Office) -> None:
    view = office.signed("m1")
    body = {"version": view["version"], "reason": "typed wrongly"}
    assert office.post(f"cases/{view['id']}/amend", "doctor", json=body).status_code == 200
    assert signed_facts(office.service, view["id"], language="en").revision == 1
    assert "Draft: not signed" in preview_html(office.service, view["id"], language="en")


def test_another_sites_case_is_not_there(office: Office) -> None:
    view = office.signed("m1")
    for give in (signed_facts, signed_html, signed_pdf, preview_html):
        with pytest.raises(NoSuchCase):
            give(office.service, view["id"], language="zh", site="elsewhere")


def test_what_a_model_drafted_is_marked(office: Office) -> None:
    view = office.in_review("m1")
    with office.service.database.write() as work:
        work.session.add(
            Draft(
                case_id=view["id"], revision=1, language="zh", by="llm", model="m",
                facts_sha256="00",
                texts={"narrative": "右眼眼底图像质量：良好。"}, asked_by="doctor", made_at="2026-11-28T02:00:00Z",
            )
        )  # fmt: skip
    opinion = agreed_opinion(view, narrative="医生改过的话：右眼，眼底图像质量良好")
    body = {"version": view["version"], "opinion": opinion.model_dump()}
    assert office.post(f"cases/{view['id']}/sign", "doctor", json=body).status_code == 200
    work_off(office.service, [])
    made = signed_pdf(office.service, view["id"], language="zh")
    assert "由 AI 起草" in text_of(made)
    assert b"AIGC" in made
    sent = office.get("screenings/m1", "site_here").json()
    assert "以上文字由 AI 起草" in sent["answer"]["report"]["zh"]


def test_without_a_font_there_is_no_pdf_but_html(office: Office, tmp_path: Path) -> None:
    view = office.signed("m1")
    (tmp_path / "bare.ttf").write_bytes(b"")
    service = office.service
    bare_service = type(service)(
        **{**vars(service), "settings": service.settings.model_copy(update={"font": tmp_path / "bare.ttf"})}
    )
    with pytest.raises(FontMissing, match="install"):
        signed_pdf(bare_service, view["id"], language="zh")
    assert "As the models say" in signed_html(bare_service, view["id"], language="zh")


def test_what_went_out_unsigned_says_so(tmp_path: Path) -> None:
    office = open_office(tmp_path / "clinic", release="unsigned", font=chinese_font())
    try:
        case_id = office.send("m1")
        work_off(office.service, [ConstantGrader()])
        work_off(office.service, [])
        with pytest.raises(NotSigned):
            signed_pdf(office.service, case_id, language="zh")
        facts = signed_facts(office.service, case_id, language="zh", unsigned=True)
        assert (facts.status, facts.doctor, facts.revision) == ("unsigned", "", 0)
        made = signed_pdf(office.service, case_id, language="zh", unsigned=True)
        assert made == signed_pdf(office.service, case_id, language="zh", unsigned=True)
        assert text_of(made).count("未经医生签署") >= 2
        assert "未经医生签署" in preview_html(office.service, case_id, language="zh")
    finally:
        office.service.close()


@pytest.mark.parametrize(("language", "none", "waits"), [
    ("en", "no image was sent", "the doctor gave no verdict on this"), ("zh", "未发送图像", "医生未对此项作出判断"),
])  # fmt: skip
def test_an_eye_that_nobody_has_judged_yet_is_not_one_without_an_image(
    office: Office, language: str, none: str, waits: str
) -> None:
    view = office.in_review("m1")
    eyes = {"fundus/OD": {"findings": {"DR": 1}, "reason": "x"}}
    body = {"version": view["version"], "opinion": {"eyes": eyes, "conclusion": "half done"}}
    assert office.ask("PUT", f"/api/v1/cases/{view['id']}/opinion", "doctor", json=body).status_code == 200
    html = preview_html(office.service, view["id"], language=language)
    left = html.partition("<h2>")[2].partition("OS")[2]  # of the findings, as the table has nothing but the grade
    assert waits in left
    assert html.count(none) == 2  # the fronts of both eyes

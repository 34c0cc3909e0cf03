"""The report on paper: every glyph drawn, nothing clipped, hostile words inert, the same bytes twice."""

import hashlib
import re
import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pypdfium2
import pytest
from PIL import Image

from eyeground.clinic.answered import Answered
from eyeground.clinic.records import Order
from eyeground.clinic.report import pdf as writer
from eyeground.clinic.report.facts import facts_of
from eyeground.clinic.report.fonts import Face, faces
from eyeground.clinic.report.language import languages, words_of
from eyeground.clinic.report.pdf import PdfFailed, write_pdf

from .names import FOREIGN, MINORITIES, RARE, SIGNS, names_and_words
from .papers import (
    CASES,
    DRAFTED,
    FOUR,
    HEAD,
    LONG,
    SIGNED_AT,
    bare,
    chinese_font,
    named,
    paper,
    paper_of,
    photographs,
    pictures_of,
    text_of,
    undrawn,
)  # fmt: skip
from .test_text import SIGNED, UNSIGNED

A_SHEET = 400
PAYLOADS = [
    payload
    for hostile in (
        '#read("/etc/passwd")', "$x^2$", "*bold*", "_em_", "#let x = 1", "[content]", "= Heading", "- item", "+ item",
        "`raw`", "```typ #read(\"a\") ```", "\\", "\\u{1F600}", "@label", "<label>", "// comment", "/* comment",
        "#import \"@preview/x:1.0.0\"", "#include \"facts.json\"", "#sys.inputs", "#image(\"/etc/hostname\")",
        "#eval(\"1+1\")", "#panic()", "#set page(width: 1pt)", "#show: none",
    )
    for payload in (hostile, f"王{hostile}\n{hostile}")
]  # fmt: skip


def _jpeg(value: int) -> bytes:
    """A photograph of one gray."""
    file = BytesIO()
    Image.new("RGB", (300, 300), (value, value, value)).save(file, "JPEG")
    return file.getvalue()


def test_two_thousand_names_and_words_are_drawn_to_the_last_glyph() -> None:
    every = names_and_words()
    assert len(every) > 2000
    letters = 0
    for place in range(0, len(every), A_SHEET):
        told = every[place : place + A_SHEET]
        # As a doctor's words, one after the other.
        opinion = SIGNED.opinion
        assert opinion is not None
        facts = facts_of(replace(SIGNED, opinion=opinion.model_copy(update={"narrative": "、".join(told)})), "zh")
        made = paper_of(facts)
        assert not list(undrawn(made))
        found, letters = bare(text_of(made)), letters + sum(map(len, told))
        # Right to left is copied in the order of the eye; that it is drawn was seen above.
        missing = [word for word in told if not re.search("[\u0600-\u06ff]", word) and bare(word) not in found]
        # What stands at the foot of a page comes between two of its lines.
        assert len(missing) <= len(pypdfium2.PdfDocument(made)), missing
        assert "〔U+" not in found.replace("〔U+XXXX〕", "")
    assert letters > 10_000


@pytest.mark.parametrize("name", [*RARE, *MINORITIES, *FOREIGN, *SIGNS])
def test_a_name_stands_in_the_head_as_it_is(name: str) -> None:
    made = paper(named(name), "zh")
    assert not list(undrawn(made))
    if not re.search("[\u0600-\u06ff]", name):
        assert f"{bare(name)}男" in bare(text_of(made)) or bare(name) in bare(text_of(made))


def test_a_script_that_no_font_has_is_told_by_code_points() -> None:
    found = bare(text_of(paper(named("\U00012000\U00012001 扎西"), "zh")))
    assert "〔U+12000〕〔U+12001〕扎西" in found
    assert bare(words_of("zh").say("header.undrawn")) in found
    assert "U+" not in text_of(paper(named("扎西"), "zh"))


def test_a_font_that_lies_gives_no_empty_glyph() -> None:
    chinese, *others = faces(chinese_font())
    lying = Face(chinese.path, chinese.family, chinese.letters | {0x12000})
    facts = facts_of(named("\U00012000扎西"), "zh")
    with pytest.raises(PdfFailed, match="a character could not be drawn") as refused:
        write_pdf(facts, photos={}, fonts=(lying, *others), made_at=SIGNED_AT)
    assert "扎西" not in str(refused.value)


def test_a_mark_that_no_font_can_put_on_its_letter_is_told_by_its_code_point() -> None:
    found = bare(text_of(paper(named("王\u0301小明"), "zh")))
    assert "王〔U+0301〕小明" in found or "王\u0301小明" in found


@pytest.mark.parametrize("payload", PAYLOADS)
def test_hostile_words_are_words(payload: str) -> None:
    opinion = SIGNED.opinion
    assert opinion is not None
    answered = named(payload, doctor_name=payload, opinion=opinion.model_copy(update={"conclusion": payload}))
    made = paper(answered, "en", replace(HEAD, site=payload.partition("\n")[0], because=payload))
    assert bare(text_of(made)).count(bare(payload)) >= 3
    assert "root:" not in text_of(made)


@pytest.mark.parametrize("language", languages())
@pytest.mark.parametrize("name", CASES)
def test_everything_that_is_known_stands_in_it(name: str, language: str) -> None:
    answered, head = CASES[name]
    facts = facts_of(answered, language, letterhead=head)
    found = bare(text_of(paper_of(facts, photos=photographs())))
    told = [facts.title, facts.number, facts.site, facts.contact, facts.urgency, facts.by, *facts.limits[1:]]
    told += [each.acuity for each in facts.eyes] + [each.pressure for each in facts.eyes]
    told += [line.text for line in (*facts.exam, *facts.said, *facts.areas)]
    told += [line.text for place in facts.findings for line in place.structures]
    told += [facts.sha256[:32], facts.doctor, facts.signed_at, facts.because]
    assert not [each for each in told if bare(each) not in found]


@pytest.mark.parametrize("language", languages())
def test_an_ordinary_report_has_one_page_and_a_long_one_two(language: str) -> None:
    words = words_of(language)
    for answered in (SIGNED, UNSIGNED, DRAFTED):
        assert len(pypdfium2.PdfDocument(paper(answered, language, photos=photographs()))) == 1
    made = paper(LONG, language, FOUR, photos=photographs())
    assert len(pypdfium2.PdfDocument(made)) == 2
    second = pypdfium2.PdfDocument(made)[1].get_textpage().get_text_bounded()
    for told in ("王小明", "P1", "C1-2", words.say("header.page", page=2, pages=2), words.say("mark")):
        assert bare(told) in bare(second)


@pytest.mark.parametrize("language", languages())
@pytest.mark.parametrize("name", ["W" * 80, "m" * 200, "王" * 120, "x" * 4000, "i " * 400, "𠮷" * 60, "Ё" * 90])
def test_nothing_runs_over_the_edge(name: str, language: str) -> None:
    opinion = SIGNED.opinion
    assert opinion is not None
    told = {"conclusion": name, "recommendation": name, "narrative": name}
    answered = named(name[:200], opinion=opinion.model_copy(update=told), doctor_name=name[:60], models=(name[:90],))
    made = paper(answered, language, replace(HEAD, site=name[:80], contact=name[:200], because=name[:500]))
    for page in pypdfium2.PdfDocument(made):
        text = page.get_textpage()
        for place in range(text.count_chars()):
            left, bottom, right, top = text.get_charbox(place)
            assert 30 < left <= right < page.get_width() - 30, text.get_text_range(place, 1)
            assert 15 < bottom <= top < page.get_height() - 15
    # Nothing lies upon something else: the foot of a page is clear of what stands above it.
    assert bare(text_of(made)).count(bare(name[:40])) >= 4


def test_the_mark_of_ai_is_seen_and_is_in_the_metadata() -> None:
    by_model, by_hand = paper(DRAFTED, "zh"), paper(SIGNED, "zh")
    for made in (by_model, by_hand):
        assert text_of(made).count("AI 辅助，非诊断") >= 3
        assert "AI 辅助，非诊断".encode() in made  # XMP is not compressed
        told = pypdfium2.PdfDocument(made).get_metadata_dict()
        assert "AI 辅助，非诊断" in told["Keywords"]
        assert told["Title"] == "眼科筛查报告 C1-2"
    assert "由 AI 起草" in text_of(by_model)
    assert "由 AI 起草" not in text_of(by_hand)
    assert b"AIGC" in by_model
    assert b"AIGC" not in by_hand


def test_nobody_finds_the_patient_in_the_metadata() -> None:
    made = paper(named("CANARYNAME"), "en")
    metadata = re.search(rb"<x:xmpmeta.*</x:xmpmeta>", made, re.DOTALL)
    assert metadata is not None
    told = str(pypdfium2.PdfDocument(made).get_metadata_dict()) + metadata[0].decode()
    assert "pdfaid:part>2" in told
    for secret in ("CANARYNAME", "P1", "V-17", "李医生"):
        assert secret not in told


def test_what_no_doctor_signed_says_so_across_every_page() -> None:
    for answered, status in ((UNSIGNED, "unsigned"), (replace(LONG, signed_at=""), "draft")):
        made = pypdfium2.PdfDocument(paper(answered, "zh", FOUR))
        for page in made:
            assert bare(words_of("zh").say(f"header.{status}")) in bare(page.get_textpage().get_text_bounded())


def test_photographs_stand_where_the_eyes_are() -> None:
    black, white = (_jpeg(value) for value in (0, 200))
    page = pictures_of(paper(SIGNED, "zh", photos={"right": black, "left": white}))[0]
    right, left = page[:, : page.shape[1] // 2], page[:, page.shape[1] // 2 :]
    # 38 mm are 108 px: nothing else on the page is so black, or of this gray.
    assert (right < 16).sum() > 100 * 100 > 4 * (left < 16).sum()
    assert (abs(left - 200.0) < 3).sum() > 100 * 100 > 4 * (abs(right - 200.0) < 3).sum()


def test_the_same_bytes_twice_and_in_another_process(tmp_path: Path) -> None:
    made = paper(DRAFTED, "zh", photos={})
    assert paper(DRAFTED, "zh", photos={}) == made
    (tmp_path / "again.py").write_text(
        "import sys, hashlib, importlib\n"
        "from eyeground.clinic.records import Order\n"
        "from eyeground.clinic.answered import Answered\n"
        "from eyeground.clinic.report.facts import facts_of\n"
        "from eyeground.clinic.report.fonts import faces\n"
        "from eyeground.clinic.report.pdf import write_pdf\n"
        "from pathlib import Path\n"
        "facts = facts_of(Answered('0a', Order(door='check', id='王'), 0), 'zh')\n"
        "made = write_pdf(facts, photos={}, fonts=faces(Path(sys.argv[1])), made_at=sys.argv[2])\n"
        "print(hashlib.sha256(made).hexdigest())\n"
    )
    command = [sys.executable, str(tmp_path / "again.py"), str(chinese_font()), SIGNED_AT]
    told = {subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)}
    here = paper_of(facts_of(Answered("0a", Order(door="check", id="王"), 0), "zh"))
    assert told == {hashlib.sha256(here).hexdigest() + "\n"}


def test_a_template_that_is_broken_says_nothing_of_the_patient(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "broken.typ").write_text('#panic(json("facts.json").facts.exam.first().text)')
    monkeypatch.setattr(writer, "_TEMPLATE", tmp_path / "broken.typ")
    with pytest.raises(PdfFailed) as refused:
        paper(named("CANARYNAME"), "zh")
    assert "CANARYNAME" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_template_reads_no_file_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    for path in (tmp_path / "secret.txt", Path("../secret.txt")):
        (tmp_path / "reads.typ").write_text(f'#set document(title: "a")\n#read("{path}")')
        monkeypatch.setattr(writer, "_TEMPLATE", tmp_path / "reads.typ")
        with pytest.raises(PdfFailed):
            paper(SIGNED, "zh")

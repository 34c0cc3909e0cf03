"""Fonts: which are found, which are refused, and what becomes of what none of them has."""

from pathlib import Path

import pytest

from eyeground.clinic.report import fonts
from eyeground.clinic.report.fonts import Face, FontMissing, drawable, faces

from .papers import chinese_font

LATIN = fonts._packed(fonts._LATIN)
FONTS = faces(chinese_font())


def test_the_extras_font_is_found_without_the_systems(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fonts, "_folders", lambda: (tmp_path,))
    assert [face.family for face in faces()][:2] == ["Noto Sans CJK SC", "DejaVu Sans"]


def test_the_systems_font_goes_before_the_extras(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "NotoSansCJK-Regular.otf").symlink_to(chinese_font())
    (tmp_path / "deep" / "wqy-zenhei.ttc").write_bytes(b"not asked")
    monkeypatch.setattr(fonts, "_folders", lambda: (tmp_path,))
    assert faces()[0].path == tmp_path / "deep" / "NotoSansCJK-Regular.otf"


def test_no_font_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fonts, "_folders", lambda: (tmp_path,))
    monkeypatch.setattr(fonts, "find_spec", lambda name: None)
    with pytest.raises(
        FontMissing, match=r"no font with Chinese is found; set EYEGROUND_CLINIC_FONT .*'eyeground\[fonts\]"
    ):
        faces()


def test_a_font_without_chinese_is_refused() -> None:
    with pytest.raises(FontMissing, match=r"DejaVuSans\.ttf lacks \d+ characters of every report, .*; set "):
        faces(LATIN)


@pytest.mark.parametrize("content", [b"", b"no font", b"\0\1\0\0" + b"\xff" * 64, b"OTTO"])
def test_what_is_no_font_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.ttf").write_bytes(content)
    with pytest.raises(FontMissing, match=r"a\.ttf is no font"):
        faces(tmp_path / "a.ttf")
    with pytest.raises(FontMissing, match="no such file"):
        faces(tmp_path / "b.ttf")


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("王小明", "王小明"),
        ("Łukasz Ёлкин", "Łukasz Ёлкин"),
        ("两行\n二", "两行\n二"),
        ("a\tb", "a b"),
        ("\ue000王", "〔U+E000〕王"),
        ("a\u202egnp.exe", "a〔U+202E〕gnp.exe"),
        ("\x00\x1b[2J", "〔U+0000〕〔U+001B〕[2J"),
        ("\ud800", "〔U+D800〕"),
        ("\ufffd", "\ufffd"),
        ("葛\U000e0100飾", "葛\U000e0100飾"),
        ("\U0001fae8", "〔U+1FAE8〕"),
        ("a" + "\u0301" * 10, "a" + "\u0301" * 8 + "〔U+0301〕" * 2),
        ("x" * 45, "\u200b".join(["x" * 20, "x" * 20, "x" * 5])),
        ("W" * 12, "WWWWWWWWWW\u200bWW"),
        ("non-proliferative chorioretinopathy", "non-proliferative chorioretinopathy"),
    ],
)
def test_what_cannot_be_drawn_is_named(text: str, drawn: str) -> None:
    assert drawable(text, FONTS[:2]) == drawn


def test_carefully_only_the_first_font_counts() -> None:
    assert drawable("Łe\u0301王", FONTS, careful=True) == "〔U+0141〕e〔U+0301〕王"


def test_every_character_is_one_that_is_drawn_or_a_code_point() -> None:
    some = Face(Path("a.ttf"), "A", frozenset(map(ord, "ab〔U+0123456789ABCDEF〕")))
    for code in (*range(0x3000), *range(0xD7F0, 0xE010), *range(0xFFF0, 0x10010), 0x10FFFF):
        told = drawable(chr(code), [some])
        kept = told in (chr(code), "\n" if code == 0xD else " ")
        assert kept or told == f"〔U+{code:04X}〕"
        assert code in some.letters or code < 32 or not kept or chr(code) in fonts._INVISIBLE


def test_a_line_ends_however_it_was_typed() -> None:
    some = Face(Path("a.ttf"), "A", frozenset(map(ord, "ab")))
    assert drawable("a\r\nb\rb\na", [some]) == "a\nb\nb\na"

"""The report on paper: A4, typeset by Typst from ``report.typ``; the same facts give the same bytes."""

import json
import re
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from eyeground.clinic.report.facts import Facts
from eyeground.clinic.report.fonts import Face, drawable
from eyeground.clinic.report.language import words_of

_TEMPLATE: Final = Path(__file__).with_name("report.typ")
_REGIONS: Final = {"zh": "cn", "en": "us"}
# Archives can keep it for decades, screen readers can read it, and a glyph that is missing is an error.
_STANDARDS: Final[tuple[Literal["a-2a"], Literal["ua-1"]]] = ("a-2a", "ua-1")
_PAGES: Final = re.compile(rb"<xmpTPg:NPages>(\d+)<")
_AT_ONCE: Final = threading.BoundedSemaphore(2)


class PdfFailed(RuntimeError):
    """A PDF that could not be typeset. The message holds no word of the report."""


def write_pdf(facts: Facts, *, photos: Mapping[str, bytes], fonts: Sequence[Face], made_at: str) -> bytes:
    """Typeset a report.

    Args:
        facts: What it says.
        photos: Its images by hash, as JPEG; a missing one is told in its place.
        fonts: As ``fonts.faces`` gives them.
        made_at: Time that stands in the file, UTC, ISO: that of the signature, so that the bytes are the same whenever
            it is made.

    Returns:
        PDF/A-2a and PDF/UA-1, with the mark of AI in the metadata and no word of the patient there.

    Raises:
        PdfFailed: If it cannot be typeset.

    Example:
        >>> from eyeground.clinic.answered import Answered
        >>> from eyeground.clinic.records import Order
        >>> from eyeground.clinic.report.facts import facts_of
        >>> from eyeground.clinic.report.fonts import faces
        >>> facts = facts_of(Answered("0a", Order(door="check", id="17"), 0), "en")
        >>> write_pdf(facts, photos={}, fonts=faces(), made_at="2026-11-28T02:00:00Z")[:5]
        b'%PDF-'

    References:
        ISO 19005-2 (PDF/A-2); ISO 14289-1 (PDF/UA-1); GB 45438-2025 for the mark of AI.
    """
    fault = ""
    with tempfile.TemporaryDirectory() as folder, _AT_ONCE:
        for careful in (False, True):

            def draw(text: str, careful: bool = careful) -> str:
                return drawable(text, fonts, careful=careful)

            data = _data(facts, photos, fonts, draw)
            try:
                roomy = _typeset(data, fonts, made_at, Path(folder))
                # One page where it can be; smaller letters are no gain where there are two pages all the same.
                tight = _typeset(data | {"tight": True}, fonts, made_at, Path(folder)) if _pages(roomy) > 1 else roomy
                return tight if _pages(tight) < _pages(roomy) else roomy
            except PdfFailed as error:
                fault = str(error)
    raise PdfFailed(f"the report could not be typeset: {fault}; report.html says the same")


def _typeset(data: Mapping[str, Any], fonts: Sequence[Face], made_at: str, folder: Path) -> bytes:
    """Let Typst make the PDF from template and data, both in memory; it sees no other file than the fonts."""
    import typst

    places = [folder / "fonts", folder / "empty"]
    for place in places:
        place.mkdir(exist_ok=True)
    for number, face in enumerate(fonts):
        link = places[0] / f"{number}{face.path.suffix}"
        if not link.is_symlink():
            link.symlink_to(face.path)
    files: Any = {"main.typ": _TEMPLATE.read_bytes(), "facts.json": json.dumps(data, ensure_ascii=False).encode()}
    try:
        return typst.compile(
            files, root=places[1], package_path=places[1], package_cache_path=places[1],
            font_paths=typst.Fonts(False, False, [places[0]]), ignore_system_fonts=True, pdf_standards=[*_STANDARDS],
            timestamp=int(datetime.fromisoformat(made_at).timestamp()),
        )  # fmt: skip
    except typst.TypstError as error:
        # What Typst says may repeat a word of the report.
        lacks = "could not be displayed" in str(error)
        raise PdfFailed("a character could not be drawn" if lacks else "Typst refused it") from None


def _pages(pdf: bytes) -> int:
    """How many pages a PDF has, as its metadata says."""
    found = _PAGES.search(pdf)
    return int(found[1]) if found else 0


def _data(
    facts: Facts, photos: Mapping[str, bytes], fonts: Sequence[Face], draw: Callable[[str], str]
) -> dict[str, Any]:
    """What the template reads; no word of it ever becomes markup."""
    words = words_of(facts.language)
    told = _each(asdict(facts), draw)
    shown = json.dumps(told, ensure_ascii=False)
    for photo in told["photos"]:
        # As numbers, for Typst takes no binary file from memory, and no patient's image is to lie on a disk.
        photo["jpeg"] = list(photos.get(photo["sha256"], b""))
    return {
        "tight": False,
        "facts": told,
        "sha256": facts.sha256,
        "fonts": [face.family for face in fonts],
        "language": facts.language,
        "region": _REGIONS.get(facts.language, ""),
        "say": {table: dict(words.known(table)) for table in ("sections", "header", "signature")},
        "words": {key: words.say(key) for key in ("colon", "list", "stop", "open", "close")},
        "parts": dict(words.known("parts")),
        "acuity": words.say("measured.acuity"),
        "pressure": words.say("measured.pressure"),
        "quality_none": words.say("quality.none"),
        "urgency": words.say("recommendation.urgency"),
        "models": words.say("assistance.models"),
        "areas": words.say("assistance.areas"),
        "no_models": words.say("assistance.none"),
        "left_out": words.say("header.left_out", count=facts.left_out) if facts.left_out else "",
        "undrawn": words.say("header.undrawn") if "〔U+" in shown else "",
        "aigc": _aigc(facts),
    }


def _each(told: Any, draw: Callable[[str], str]) -> Any:
    """Every text that will be drawn, made drawable."""
    if isinstance(told, str):
        return draw(told)
    if isinstance(told, Mapping):
        return {key: value if key in ("key", "sha256", "status") else _each(value, draw) for key, value in told.items()}
    return [_each(each, draw) for each in told] if isinstance(told, list | tuple) else told


def _aigc(facts: Facts) -> str:
    """The mark of text that a model wrote, for programs; empty where none did."""
    if not facts.drafted_by_ai:
        return ""
    return json.dumps({"Label": "1", "ContentProducer": "eyeground", "ProduceID": facts.number})

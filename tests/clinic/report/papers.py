"""Reports that tests look at: specimens of what happens, phantoms for photographs, and a PDF read back."""

import re
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pypdfium2
from numpy.typing import NDArray
from PIL import Image

from eyeground.clinic.answered import Answered
from eyeground.clinic.records import Order, Person
from eyeground.clinic.report.fact import Letterhead
from eyeground.clinic.report.facts import Facts, facts_of
from eyeground.clinic.report.fonts import faces
from eyeground.clinic.report.pdf import write_pdf
from eyeground.data.phantom import draw_fundus

from .test_text import ORDER, SIGNED, UNSIGNED

SIGNED_AT = "2026-11-28T02:00:00Z"
HEAD = Letterhead(
    site="县人民医院 眼科", contact="0970-0000000", zone="Asia/Shanghai",
    photos=(("fundus/OD", "right"), ("fundus/OS", "left")),
)  # fmt: skip
NARRATIVE = "右眼视盘边界清，黄斑区可见散在微血管瘤及硬性渗出。左眼屈光间质混浊，眼底不能窥入。"
assert SIGNED.opinion is not None
DRAFTED = replace(SIGNED, opinion=SIGNED.opinion.model_copy(update={"narrative": NARRATIVE}), drafted_by_ai=True)
LONG = replace(
    SIGNED,
    opinion=SIGNED.opinion.model_copy(
        update={
            "narrative": NARRATIVE * 20,
            "conclusion": NARRATIVE * 8 + "\n第二段。",
            "recommendation": NARRATIVE * 3,
        }
    ),
)
FOUR = replace(HEAD, photos=(*HEAD.photos, ("anterior/OD", "front"), ("anterior/OS", "gone")), left_out=2)
CASES: dict[str, tuple[Answered, Letterhead]] = {
    "amended": (DRAFTED, replace(HEAD, because="补充左眼裂隙灯检查结果")),
    "unsigned": (UNSIGNED, HEAD),
    "long": (LONG, FOUR),
}


def chinese_font() -> Path:
    """The font of the extra ``fonts``, the same on every machine."""
    spec = find_spec("mplfonts")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "fonts" / "NotoSansCJKsc-Regular.otf"


def photographs() -> dict[str, bytes]:
    """Phantoms; the fourth photograph is gone."""
    made = {}
    for seed, name in enumerate(("right", "left", "front")):
        file = BytesIO()
        Image.fromarray(draw_fundus("normal", seed=seed, size_px=400).image.pixels).save(file, "JPEG")
        made[name] = file.getvalue()
    return made


def paper(
    answered: Answered, language: str, head: Letterhead = HEAD, *, photos: dict[str, bytes] | None = None
) -> bytes:
    """A case's report as PDF."""
    return paper_of(facts_of(answered, language, letterhead=head), photos=photos)


def paper_of(facts: Facts, *, photos: dict[str, bytes] | None = None) -> bytes:
    """Facts as PDF."""
    return write_pdf(facts, photos=photos or {}, fonts=faces(chinese_font()), made_at=SIGNED_AT)


def named(name: str, **more: Any) -> Answered:
    """A signed case of somebody of that name."""
    order = ORDER.model_copy(update={"person": Person(patient_id="P1", name=name, age=63, sex="male")})
    return replace(SIGNED, order=Order.model_validate(order), **more)


def text_of(pdf: bytes) -> str:
    """What a reader can copy out of it, page by page."""
    pages = pypdfium2.PdfDocument(pdf)
    return "\n".join(page.get_textpage().get_text_bounded() for page in pages).replace("\r\n", "\n")


def bare(text: str) -> str:
    """Text without what line breaks put in or take out."""
    return re.sub("[\\s\u200b\ufffe]", "", text)


def pictures_of(pdf: bytes, *, scale: float = 1.0) -> list[NDArray[np.uint8]]:
    """Its pages in gray."""
    return [np.asarray(page.render(scale=scale).to_pil().convert("L")) for page in pypdfium2.PdfDocument(pdf)]


def undrawn(pdf: bytes, *, scale: float = 2.0) -> Iterator[str]:
    """Characters in whose box there is no ink."""
    for page in pypdfium2.PdfDocument(pdf):
        ink, text = np.asarray(page.render(scale=scale).to_pil().convert("L")) < 200, page.get_textpage()
        for place in range(text.count_chars()):
            letter = text.get_text_range(place, 1)
            if not letter.strip() or letter in "\u200b\u200c\u200d\ufffe":
                continue
            left, bottom, right, top = text.get_charbox(place)
            high = page.get_height()
            box = ink[
                max(0, int((high - top) * scale) - 1) : int((high - bottom) * scale) + 2,
                max(0, int(left * scale) - 1) : int(right * scale) + 2,
            ]
            if not box.any():
                yield letter

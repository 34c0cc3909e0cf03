"""The page of the tests of heat maps: complete, self-contained, safe against hostile names, silent about nothing."""

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from eyeground.evaluate.confidence import Estimate
from eyeground.explain.deletion import Curves
from eyeground.explain.mean_curves import MeanCurves
from eyeground.explain.pointing import Hits
from eyeground.explain.sanity import Examination, Examined
from eyeground.explain.sanity_narrative import limits, sentences
from eyeground.explain.sanity_page import SanityFacts, render_sanity
from eyeground.explain.weights_test import STAGES, WeightsTest

HOSTILE = "<script>alert(1)</script>\"'><img src=http://evil/x>\u202egpj.\x00$a_b$"
SECTIONS = ["says", "verdict", "hits", "weights", "curves", "limits"]
FACTS = SanityFacts("2026-12-01T09:30+08:00", "eyeground explain", "1a2b" * 16, "CPU", "phantoms")


class Page(HTMLParser):
    """Collects what a browser would see, and checks that tags close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "wbr", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data


def near(value: float) -> Estimate:
    return Estimate(value, value - 0.05, value + 0.05)


def method(
    name: str, *, hit: float = 0.61, above: float = 0.4, weights: float = 0.52, planted: bool = False
) -> Examined:
    steps = np.linspace(0, 1, 5)
    curves = MeanCurves(
        Curves(steps, 1 - steps, steps), Curves(steps, 1 - steps**2, steps**2),
        near(0.41), near(0.72), near(0.11), near(0.22), 48,
    )  # fmt: skip
    hits = Hits(near(hit), near(0.13), near(0.27), near(above), near(above), 180, 90, 3)
    stages = {stage: near(0.6 - 0.6 * share) for stage, share in STAGES.items()}
    return Examined(
        name, "what it shows", planted, hits, WeightsTest(near(0.83), stages, near(weights), 48, 47), curves
    )


FOUND = Examination(
    (method("grad_cam"), method("occlusion", weights=0.0), method("shuffled", above=0.0, weights=0.0, planted=True)),
    {"attention_rollout": "mobilenetv2_100 has none"},
    200, 48, 224, 2000, 7,
)  # fmt: skip


def page_of(found: Examination, facts: SanityFacts = FACTS, title: str = "run 7") -> tuple[str, Page]:
    text = render_sanity(title=title, found=found, facts=facts)
    page = Page(text)
    assert page.open == []
    told = re.sub(r"\s+", " ", page.text)
    for sentence in (*sentences(found), *limits(found)):
        assert sentence in told
    return text, page


def test_every_section_is_there_and_nothing_is_fetched() -> None:
    text, page = page_of(FOUND)
    assert [attributes["id"] for _, attributes in page.tags if attributes.get("id")] == SECTIONS
    assert not any(tag in {"script", "link", "iframe", "object", "form"} for tag, _ in page.tags)
    sources = [attributes.get("src") or attributes.get("href") or "" for _, attributes in page.tags]
    assert all(source.startswith(("data:image/", "#")) for source in sources if source)
    assert "url(" not in text
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) == 3
    for picture in pictures:
        assert picture["alt"]
        ET.fromstring(base64.b64decode(str(picture["src"]).partition(",")[2]))  # noqa: S314 - our own
    for fact in ("eyeground explain", "1a2b1a2b1a2b1a2b", "2,000 resamples, seed 7", "8.0 px", "phantoms"):
        assert fact in page.text, fact


def test_the_numbers_and_verdicts_are_those_of_the_tests() -> None:
    _, page = page_of(FOUND)
    for number in ("0.610", "0.130", "0.270", "0.830", "0.410", "0.110", "47 of 48", "180"):
        assert number in page.text, number
    assert page.text.count("✓ passes") == 3
    assert page.text.count("✗ fails") == 3
    assert "planted fault" in page.text
    assert "mobilenetv2_100 has none" in page.text


def test_sentences_say_who_passes_and_who_is_caught() -> None:
    says = sentences(FOUND)
    assert says[0] == ("Of 2 methods, 1 passes both tests: 'grad_cam'; 'occlusion' fails the randomized-weights test.")
    assert says[1] == (
        "The peaks of 'grad_cam' hit the lesion most often, in 61% (95% interval 56 to 66%) of 180 images, where "
        "chance hits 13% (95% interval 8 to 18%), and the same peaks laid on other patients' lesions 27% (95% interval "
        "22 to 32%)."
    )
    assert says[2] == "'shuffled', broken on purpose, fails."
    escaped = replace(FOUND, methods=(method("grad_cam"), method("shuffled", planted=True)))
    assert "these tests cannot be trusted here" in sentences(escaped)[-1]
    told = limits(FOUND)
    assert "Weights and curves were tested on 48 images of 200, evenly chosen." in told
    assert "Of 20 images no lesion has a place, so they play no pointing game." in told


def test_hostile_names_are_names() -> None:
    hostile = replace(FOUND, methods=(method(HOSTILE),), refused={HOSTILE: HOSTILE})
    text, page = page_of(
        replace(hostile, methods=(method("a"),)), replace(FACTS, command=HOSTILE, data=HOSTILE), HOSTILE
    )
    assert "<script" not in text
    text = render_sanity(title=HOSTILE, found=hostile, facts=FACTS)
    assert "<script" not in text
    assert not any("evil" in (attributes.get("src") or "") for _, attributes in Page(text).tags)
    assert page.open == []


@pytest.mark.parametrize("refused", [{}, {"occlusion": "too slow"}])
def test_nothing_to_show_is_said(refused: dict[str, str]) -> None:
    _, page = page_of(replace(FOUND, methods=(), refused=refused), SanityFacts("2026-12-01"))
    assert page.text.count("No method was tested.") == 3
    assert ("No method was asked for." in page.text) == (not refused)
    nothing = Estimate(float("nan"), reason="no image has a lesion to hit")
    empty = method("grad_cam")
    empty = replace(empty, hits=replace(empty.hits, rate=nothing, above_chance=nothing, above_mismatched=nothing))
    _, page = page_of(replace(FOUND, methods=(empty,)))
    assert "Nothing can be said about hits: no image has a lesion to hit." in page.text

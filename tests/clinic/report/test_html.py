"""The report as HTML: one file, no script, hostile words inert, drafts marked."""

import base64
import hashlib
import re
from dataclasses import replace

import pytest

from eyeground.clinic.report.facts import facts_of
from eyeground.clinic.report.html import content_policy, write_html
from eyeground.clinic.report.language import languages, words_of

from .papers import CASES, DRAFTED, FOUR, HEAD, named, photographs
from .test_text import SIGNED

HOSTILE = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</style><script>", '"><svg onload=alert(1)>',
    "{{ 7*7 }}", "javascript:alert(1)", "</title><iframe>", "<!--", "&lt;b&gt;", "' onclick='x",
)  # fmt: skip


@pytest.mark.parametrize("language", languages())
@pytest.mark.parametrize("name", CASES)
def test_everything_that_is_known_stands_in_it(name: str, language: str) -> None:
    answered, head = CASES[name]
    facts = facts_of(answered, language, letterhead=head)
    html = write_html(facts, photos=photographs())
    for told in (facts.title, facts.number, facts.site, facts.contact, facts.sha256, facts.conclusion, facts.urgency):
        assert told in html
    for line in (*facts.exam, *facts.said, *facts.areas):
        assert line.text in html
    assert html.count(facts.mark) >= 3
    assert html.count("data:image/jpeg;base64,") == len(photographs().keys() & {each.sha256 for each in facts.photos})
    assert (words_of(language).say("header.no_image") in html) == any(each.sha256 == "gone" for each in facts.photos)


@pytest.mark.parametrize("payload", HOSTILE)
def test_hostile_words_are_words(payload: str) -> None:
    opinion = SIGNED.opinion
    assert opinion is not None
    told = {"conclusion": payload, "recommendation": payload, "narrative": payload}
    answered = named(payload, opinion=opinion.model_copy(update=told), doctor_name=payload)
    html = write_html(facts_of(answered, "en", letterhead=replace(HEAD, site=payload, because=payload)), photos={})
    bare = re.sub("<style>.*?</style>", "", html, flags=re.DOTALL)
    tags = set(re.findall(r"<([a-z!/]+[a-z0-9]*)", bare))
    assert not tags & {"script", "img", "svg", "iframe", "!--"}
    assert not re.search(r"<[^>]*\son\w+=", bare)
    assert "49" not in re.findall(r"<dd[^>]*>([^<]*)</dd>", html)


def test_the_policy_fits_the_one_style() -> None:
    html = write_html(facts_of(SIGNED, "zh"), photos={})
    style = re.findall("<style>(.*?)</style>", html, re.DOTALL)
    assert len(style) == 1
    digest = base64.b64encode(hashlib.sha256(style[0].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in content_policy()
    assert " style=" not in html
    assert "unsafe" not in content_policy()


def test_what_is_not_signed_says_so_on_every_page() -> None:
    for answered, status in ((replace(SIGNED, signed_at=""), "draft"), (CASES["unsigned"][0], "unsigned")):
        for language in languages():
            html = write_html(facts_of(answered, language), photos={})
            assert html.count(words_of(language).say(f"header.{status}")) >= 3
            assert 'class="watermark"' in html
    assert 'class="watermark"' not in write_html(facts_of(SIGNED, "zh"), photos={})


def test_the_mark_of_ai_is_there_for_programs() -> None:
    assert '<meta name="AIGC"' in write_html(facts_of(DRAFTED, "zh", letterhead=FOUR), photos={})
    assert '<meta name="AIGC"' not in write_html(facts_of(SIGNED, "zh"), photos={})

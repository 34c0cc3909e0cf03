"""The page on which a person asks the model: complete in both languages, and tried in a real browser."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from eyeground.images.quality import Reason as QualityReason
from eyeground.images.retinal_image import Modality
from eyeground.serve import pages
from eyeground.serve.facts import model_facts
from eyeground.serve.pages import FILES, form_page, page_file
from eyeground.serve.refused import reasons
from eyeground.serve.replies import words

from ..browser import Browser, browser_needed
from .stand_in import contract_of, dark, photograph, predictor_of, serving

CHINESE = re.compile(r"[\u4e00-\u9fff]")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as (found, _):
        yield found


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("images")
    contents = {
        "P7_left": photograph("drusen", seed=3, size_px=512),
        "dark": dark(),
        "broken": photograph()[:900],
        "too_large": bytes(3 * 2**20),
        "P7_OD": photograph(seed=5, kind="TIFF"),
    }
    found = {}
    for name, content in contents.items():
        found[name] = folder / f"{name}.png"
        found[name].write_bytes(content)
    return found


def keys_asked(text: str, call: str) -> set[str]:
    """What a template or script asks of the page's words."""
    return set(re.findall(rf'{call}"(\w+)"', text))


def test_every_word_is_there_in_both_languages() -> None:
    for group, entries in words().items():
        for key, pair in entries.items():
            assert set(pair) == {"en", "zh"}, f"{group}.{key}"
            assert all(text.strip() for text in pair.values()), f"{group}.{key}"
            assert CHINESE.search(pair["zh"]), f"{group}.{key} is not translated"
            assert not CHINESE.search(pair["en"]), f"{group}.{key}"


def test_every_refusal_reason_and_modality_has_words() -> None:
    assert set(words()["refusals"]) == set(reasons())
    assert set(words()["quality"]) == {"good", "fair", "cannot grade", *get_args(QualityReason)}
    assert set(words()["modalities"]) - {"unknown"} == set(get_args(Modality)) - {""}


def test_the_page_asks_for_words_that_are_there_and_no_word_is_left_over() -> None:
    template = (Path(pages.__file__).parent / "page" / "form.jinja.html").read_text("utf-8")
    script = page_file("form.js").decode()
    asked = keys_asked(template, r"say\(") | set(re.findall(r"words\.page\.(\w+)", script))
    asked |= keys_asked(script, r'word\("page", ')
    # Chosen while it runs: between two, by the key of a row, or by a threshold's rule.
    asked |= {"certain", "uncertain", "positive", "negative", "quality", "eye", "file", "sensitivity", "specificity"}
    assert asked == set(words()["page"])


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_stands_in_the_page_is_said_in_both_languages_and_escaped(language: str) -> None:
    contract = contract_of()
    predictor = predictor_of(contract)
    predictor.id = '<script>alert("id")</script>'
    facts = model_facts(predictor, precision="fp32", heat_maps=True, max_bytes=2**25)
    html = form_page(facts, language)
    assert html.count('data-in="en"') == html.count('data-in="zh"') > 10
    assert f'<html lang="{language}"' in html
    assert "32 MB" in html
    assert "<script>" not in html
    assert not re.search(r"\son\w+=|\sstyle=|<style|https?:", html), "nothing inline, and nothing from elsewhere"
    assert "http" not in page_file("form.js").decode()
    assert "url(" not in page_file("form.css").decode()


def test_files_of_the_page_are_closed() -> None:
    assert set(FILES) == {"form.css", "form.js", "icon.svg"}


@browser_needed
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_loads_fits_and_breaks_no_rule(browser: Browser, url: str, language: str, width: int) -> None:
    browser.open(f"{url}/?lang={language}", width=width)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert bool(CHINESE.search(browser.text().replace("中文", ""))) == (language == "zh")
    assert browser.evaluate("document.getElementById('file').labels[0].innerText") in ("Choose a file", "选择文件")
    browser.picture(f"empty_{language}_{width}")
    assert browser.complaints() == []


@browser_needed
@pytest.mark.parametrize("width", [360, 1280])
def test_an_image_is_answered_with_bars_set_threshold_and_heat_map(
    browser: Browser, url: str, files: dict[str, Path], width: int
) -> None:
    browser.open(f"{url}/?lang=en", width=width)
    browser.evaluate("document.getElementById('heat').click()")
    browser.choose(files["P7_left"], "answered")
    browser.until("document.querySelector('.map img').naturalWidth > 0 && !document.getElementById('shown').hidden")
    text = browser.text()
    for word in ("good", "OS, left eye", "No disease found", "Cataract", "threshold 0.250", "90% of images", "macula",
                 "where the model looked, not a lesion boundary", "AI decision support, not a diagnosis"):  # fmt: skip
        assert word in text
    numbers = [
        float(each)
        for each in browser.evaluate("[...document.querySelectorAll('.bars td:last-child')].map(e => e.innerText)")
    ]
    widths = browser.evaluate(
        "[...document.querySelectorAll('.track')].map(e => e.firstChild.getBoundingClientRect().width / e.clientWidth)"
    )
    assert sum(numbers) == pytest.approx(1, abs=0.002)
    assert widths == pytest.approx(numbers, abs=0.02)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    browser.picture(f"answered_en_{width}")
    browser.evaluate("document.querySelector('[data-speak=zh]').click()")
    chinese = browser.text()
    browser.picture(f"answered_zh_{width}")
    for word in ("良好", "OS 左眼", "未见异常", "阈值", "并非病灶边界", "黄斑", "AI 辅助，非诊断"):
        assert word in chinese
    for word in ("good", "left eye", "No disease", "Heat map", "threshold", "looked"):
        assert word not in chinese
    assert browser.complaints() == []


@browser_needed
@pytest.mark.parametrize("width", [360, 1280])
def test_what_cannot_be_graded_says_why_and_is_never_normal(
    browser: Browser, url: str, files: dict[str, Path], width: int
) -> None:
    browser.open(f"{url}/?lang=en", width=width)
    browser.choose(files["dark"], "cannot-grade")
    assert "Cannot grade\ntoo dark\nThis is not a normal result" in re.sub(r"\n+", "\n", browser.text())
    assert browser.evaluate("document.querySelectorAll('.bars').length") == 0
    assert "No disease found" not in browser.text()
    browser.picture(f"cannot_grade_en_{width}")
    assert browser.complaints() == []


@browser_needed
@pytest.mark.parametrize("width", [360, 1280])
def test_a_refusal_is_told_in_both_languages_and_can_be_tried_again(
    browser: Browser, url: str, files: dict[str, Path], width: int
) -> None:
    browser.open(f"{url}/?lang=en", width=width)
    browser.choose(files["broken"], "error")
    assert words()["refusals"]["truncated"]["en"] in browser.text()
    browser.picture(f"error_en_{width}")
    browser.evaluate("document.querySelector('[data-speak=zh]').click()")
    assert words()["refusals"]["truncated"]["zh"] in browser.text()
    browser.evaluate("document.querySelector('.alert button').click()")
    browser.until("document.getElementById('answer').dataset.state === 'error'")
    browser.choose(files["too_large"], "error")
    browser.until(f"document.body.innerText.includes('{words()['refusals']['too_large']['zh']}')")
    assert browser.complaints() == []


@browser_needed
def test_a_format_without_preview_is_answered_all_the_same(browser: Browser, url: str, files: dict[str, Path]) -> None:
    browser.open(f"{url}/?lang=en")
    browser.choose(files["P7_OD"], "answered")
    browser.until("!document.getElementById('no-preview').hidden")
    assert "No preview" in browser.text()
    assert "OD, right eye" in browser.text()
    browser.picture("no_preview_en_1280")


@browser_needed
def test_a_service_that_is_gone_is_told(browser: Browser, files: dict[str, Path]) -> None:
    with serving() as (found, _):
        browser.open(f"{found}/?lang=en")
    browser.choose(files["dark"], "error")
    assert words()["page"]["unreachable"]["en"] in browser.text()


@browser_needed
def test_a_keyboard_reaches_everything_and_focus_is_seen(browser: Browser, url: str) -> None:
    browser.open(f"{url}/?lang=en")
    reached = []
    for _ in range(5):
        for kind in ("keyDown", "keyUp"):
            browser.do("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        reached.append(
            browser.evaluate(
                "(e => [e.id || e.dataset.speak || e.pathname,"
                " getComputedStyle(e.closest('.button') ?? e).outlineStyle])(document.activeElement)"
            )
        )
    assert reached == [[each, "solid"] for each in ("zh", "en", "file", "heat", "/docs")]


@browser_needed
def test_the_openapi_page_works_without_a_network_beyond_its_server(browser: Browser, url: str) -> None:
    browser.open(f"{url}/docs")
    browser.until("document.querySelectorAll('.opblock').length === 5")
    addresses = [
        each["params"]["request"]["url"] for each in browser.events if each["method"] == "Network.requestWillBeSent"
    ]
    assert addresses
    assert [each for each in addresses if not each.startswith((url, "data:"))] == []
    assert browser.complaints() == []


@browser_needed
def test_the_policy_stops_what_it_is_for(browser: Browser, url: str) -> None:
    # The planted fault: what would let a stranger's script run is seen to be refused, and the tests above to see it.
    browser.open(f"{url}/?lang=en")
    browser.evaluate(
        "const planted = document.createElement('script'); planted.textContent = 'window.planted = 1';"
        "document.body.append(planted); document.body.setAttribute('onclick', 'window.planted = 2');"
        "document.body.click()"
    )
    assert browser.evaluate("typeof window.planted") == "undefined"
    assert any("Content Security Policy" in each for each in browser.complaints())

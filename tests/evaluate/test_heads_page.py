"""The overview of several heads: complete, self-contained, safe against hostile names, and silent about nothing."""

import re

import numpy as np

from eyeground.evaluate.heads import HeadsSummary, summarize_heads
from eyeground.evaluate.heads_page import LabelCount, render_heads, sentences
from eyeground.evaluate.report import ReportFacts

from .several import grades, quantity, yes_no
from .test_heads import mixed
from .test_report import FACTS, HOSTILE, JOURNAL, Page, pictures


def page_of(found: HeadsSummary, facts: ReportFacts = FACTS, **more: object) -> tuple[str, Page, str]:
    text = render_heads(title="screening", summary=found, facts=facts, **{"links": {}, **more})  # type: ignore[arg-type]
    page = Page(text)
    assert page.open == []
    return text, page, re.sub(r"\s+", " ", page.text)


def test_every_section_is_there_and_nothing_is_fetched() -> None:
    found = summarize_heads(*mixed(), resamples=40)
    links = {"AMD": "heads/AMD/report.html", "IOP": "heads/a b/report.html"}
    labels = {"train": {"AMD": LabelCount(1203, 77, 391), "IOP": LabelCount(1000, 280)}, "test": {}}
    text, page, told = page_of(found, links=links, labels=labels, learning=JOURNAL)
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert ids == ["says", "heads", "labels", "learning", "weights", "recipe"]
    assert not any(tag in {"script", "link", "iframe", "object", "form"} for tag, _ in page.tags)
    assert "url(" not in text
    led = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert [href for href in led if not str(href).startswith("#")] == [
        "heads/AMD/report.html",
        "heads/a%20b/report.html",
    ]
    drawn = pictures(page)
    assert len(drawn) == 3  # forest, labels, learning
    words = " ".join("".join(tree.itertext()) for tree in drawn.values())
    for fact in ("epoch 2 chosen", "mean over heads", "AUROC", "AMD", "not known", "train"):
        assert fact in words
    for fact in ("Mean AUROC", "Mean kappa", "1,203", "391", "280", "two files were empty", "epochs: 3", "head.bias",
                 "eyeground finetune a.yaml", "Yes or no", "Grades", "Classes", "Quantities", "MAE", "QW kappa",
                 "The same patients are drawn for all heads"):  # fmt: skip
        assert fact in told, fact


def test_yes_no_heads_alone_are_also_shown_as_one_answer() -> None:
    found = summarize_heads({name: yes_no(120, seed, 0.2) for seed, name in enumerate("abc")}, {}, resamples=40)
    _, page, told = page_of(found)
    assert "together" in [attributes.get("id") for _, attributes in page.tags]
    for words in (
        "Exact match",
        "Hamming loss",
        "Micro F1",
        "Label ranking AP",
        f"{found.complete} images whose labels",
    ):
        assert words in told
    matrix = next(tree for name, tree in pictures(page).items() if name.startswith("Matrix"))
    numbers = re.findall(r"\d+", " ".join(matrix.itertext()))
    assert set(map(str, found.together.ravel().tolist())) <= set(numbers)
    assert all(f"{line.positives} of {line.n}" in told for line in found.heads)


def test_an_undefined_head_is_said_aloud_everywhere() -> None:
    answered = {"AMD": yes_no(80, 1), "RVO": yes_no(80, 2, truth=np.zeros(80, np.int64)),
                "CSC": yes_no(80, 3, truth=np.full(80, -1))}  # fmt: skip
    found = summarize_heads(answered, {"IOP": quantity(80)}, resamples=40)
    _, page, told = page_of(found, ReportFacts("run", "2026-12-01"))
    assert "nan" not in re.findall(r"\w+", told.lower())
    for words in (
        "heads 'RVO' and 'CSC' have none",
        "'RVO': no image is 'yes'",
        "'CSC': no image has a known label",
        "no labels",
        "absent",
        "'RVO' and 'CSC' cannot be judged in full",
        "No training belongs",
        "No pre-trained weights",
        "No configuration",
        "No finding about the data",
    ):
        assert words in told, words
    forest = next(tree for name, tree in pictures(page).items() if name.startswith("Forest"))
    drawn = "".join(forest.itertext())
    assert "mean over heads present" in drawn
    assert "no image is 'yes'" in drawn


def test_hostile_names_are_inert_everywhere() -> None:
    answered = {HOSTILE: yes_no(60, 1), "{{ 7 * 7 }}{% raw %}": yes_no(60, 2)}
    found = summarize_heads(answered, {}, resamples=20)
    facts = ReportFacts(
        HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, {HOSTILE: {HOSTILE: 1}}, {HOSTILE: {HOSTILE: 1}}, {HOSTILE: 1},
        (HOSTILE,), {HOSTILE: [HOSTILE]}, HOSTILE, 1, 1.0, HOSTILE, HOSTILE,
    )  # fmt: skip
    links = {HOSTILE: "javascript:alert(1)", "{{ 7 * 7 }}{% raw %}": f"heads/{HOSTILE}/report.html"}
    text, page, told = page_of(found, facts, links=links, labels={HOSTILE: {HOSTILE: LabelCount(3, 4, 5)}})
    assert "<script" not in text
    led = [str(attributes.get("href")) for tag, attributes in page.tags if tag == "a"]
    assert all(href.startswith(("#", "heads/", "javascript%3A")) for href in led)
    assert not any("evil" in (attributes.get("src") or "") for _, attributes in page.tags)
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "\u202e" not in page.text.rsplit("Recipe", 1)[0]
    assert "{{ 7 * 7 }}" in told
    for tree in pictures(page).values():
        assert not [node for node in tree.iter() if node.tag.endswith("script")]


def test_quantities_alone_one_head_and_many_heads_have_pages() -> None:
    _, page, told = page_of(summarize_heads({}, {"IOP": quantity(40), "CDR": quantity(40, 1)}, resamples=20))
    assert "all of them quantities" in told
    assert "R² of CDR" in told
    assert not [name for name in pictures(page) if name.startswith("Forest")]
    _, _, told = page_of(summarize_heads({"DR": grades(60)}, {}, resamples=20))
    assert "1 head of the model was judged" in told
    many = {f"finding {n}": yes_no(60, n) for n in range(20)}
    _, page, told = page_of(summarize_heads(many, {}, resamples=10))
    assert len(pictures(page)) == 3
    assert "Darker: a larger share" in told


def test_the_sentences_say_what_the_numbers_say() -> None:
    answered = {"good": yes_no(200, 1, skill=3.0), "poor": yes_no(200, 2, 0.4, skill=0.3)}
    rare = np.where(np.arange(200) < 8, 1, 0)  # answered best of all, but on too few to quote
    sure = np.where(rare == 1, 0.9, 0.1)
    answered["rare"] = yes_no(200, 3, truth=rare, scores=np.stack([1 - sure, sure], axis=1))
    found = summarize_heads(answered, {"IOP": quantity(200)}, resamples=50)
    whole, extremes, limits = sentences(found)
    assert whole.startswith(
        "On 200 images of 100 patients, 4 heads of the model were judged: the mean AUROC over the 3"
    )
    assert "answers 'good' best" in extremes
    assert "'poor' worst" in extremes
    assert re.search(r"reads 'IOP' off by \d\.\d\d mmHg", extremes)
    assert "fewer than 20 images show one of the answers to 'rare'" in limits
    missing = next(line for line in found.heads if line.name == "poor").unlabelled / 2
    assert f"most of all those of 'poor' ({missing:.0f}% of images)" in limits
    assert "not tested against each other" in limits


def test_the_same_page_twice_is_the_same_text() -> None:
    found = summarize_heads(*mixed(60), resamples=20)
    assert page_of(found)[0] == page_of(found)[0]

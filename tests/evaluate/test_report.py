"""The report: complete, self-contained, safe against hostile names, and silent about nothing."""

import base64
import re
import subprocess
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from numpy.typing import NDArray

from eyeground.evaluate.mistakes import most_confident, thumbnail
from eyeground.evaluate.narrative import sentences
from eyeground.evaluate.predictions import Predictions
from eyeground.evaluate.report import ReportFacts, render
from eyeground.evaluate.scorecard import scorecard

from .drawn import table

SECTIONS = (
    "says",
    "data",
    "classes",
    "confusion",
    "calibration",
    "subgroups",
    "mistakes",
    "learning",
    "weights",
    "recipe",
)
HOSTILE = "<script>alert(1)</script>\"'><img src=http://evil/x>\u202egpj.\x00$a_b$"
FACTS = ReportFacts(
    run="run",
    date="2026-12-01T09:30+08:00",
    command="eyeground finetune a.yaml",
    weights_sha="1a2b" * 16,
    data_fingerprint="9f8e" * 16,
    counts={"train": {"normal": 7, "cataract": 8}, "test": {"normal": 5}},
    sources={"odir": {"train": 15, "test": 5}},
    patients={"train": 11, "test": 4},
    notes=("two files were empty",),
    weights_report={"loaded": ["conv.weight"], "new": ["head.weight", "head.bias"], "missing": []},
    config_yaml="epochs: 3\n",
    best_epoch=2,
    seconds=100.0,
    device="CPU",
    precision="fp32",
)
JOURNAL = [
    {"event": "step", "step": 1, "epoch": 0.1, "loss": 1.0, "lr": 0.1},
    *(
        {
            "event": "epoch", "epoch": epoch, "step": epoch,
            "train_loss": 1 / epoch, "val_loss": None if epoch == 1 else 0.9,
            "scores": {"auroc_macro": None, "f1_macro": epoch / 4, "kappa": 0.1}, "selection": 0.1, "best": epoch == 2,
        }
        for epoch in (1, 2, 3)
    ),
]  # fmt: skip


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


def pixels(row: int) -> NDArray[np.uint8]:
    if row % 3 == 0:
        raise OSError("the file is gone")
    return np.full((90, 120, 3), row % 255, np.uint8)


def page_of(made: Predictions, facts: ReportFacts = FACTS, **more: object) -> tuple[str, Page]:
    text = render(title="odir3", predictions=made, scorecard=scorecard(made, resamples=40), facts=facts, **more)  # type: ignore[arg-type]
    page = Page(text)
    assert page.open == []
    return text, page


def pictures(page: Page) -> dict[str, ET.Element]:
    found = {}
    for tag, attributes in page.tags:
        source = attributes.get("src") or ""
        if tag == "img" and source.startswith("data:image/svg+xml;base64,"):
            assert attributes["alt"]
            found[str(attributes["alt"])] = ET.fromstring(base64.b64decode(source.partition(",")[2]))  # noqa: S314 - our own
    return found


@pytest.mark.parametrize("count", [2, 3, 7])
def test_every_section_is_there_and_nothing_is_fetched(count: int) -> None:
    text, page = page_of(table(80, count), learning=JOURNAL, pixels=pixels)
    ids = [attributes.get("id") for _, attributes in page.tags if attributes.get("id")]
    assert ids == list(SECTIONS)
    assert not any(tag in {"script", "link", "iframe", "object", "form"} for tag, _ in page.tags)
    sources = [attributes.get("src") or attributes.get("href") or "" for _, attributes in page.tags]
    assert all(source.startswith(("data:image/", "#")) for source in sources if source)
    assert "url(" not in text
    assert "@import" not in text
    drawn = pictures(page)
    assert len(drawn) == 6  # ROC, PR, confusion, reliability, forest, learning
    words = " ".join("".join(tree.itertext()) for tree in drawn.values())
    assert "epoch 2 chosen" in words
    for fact in (
        "1a2b1a2b1a2b1a2b",
        "two files were empty",
        "epochs: 3",
        "head.bias",
        "eyeground finetune a.yaml",
        "1.7 min",
    ):
        assert fact in page.text


def test_hostile_names_are_inert_everywhere() -> None:
    made = table(
        60,
        3,
        classes=("normal", HOSTILE, "{{ 7 * 7 }}{% raw %}"),
        files=tuple(f"{HOSTILE}/{row}.png" for row in range(60)),
        sites=(HOSTILE,) * 30 + ("B",) * 30,
    )
    facts = ReportFacts(
        HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, {HOSTILE: {HOSTILE: 1}}, {HOSTILE: {HOSTILE: 1}}, {HOSTILE: 1},
        (HOSTILE,), {HOSTILE: [HOSTILE]}, HOSTILE, 1, 1.0, HOSTILE, HOSTILE,
    )  # fmt: skip
    journal = [{**JOURNAL[1], "scores": {HOSTILE: 0.5}}]
    text, page = page_of(made, facts, learning=journal, pixels=pixels)
    assert "<script" not in text
    assert not any("evil" in (attributes.get("src") or "") for _, attributes in page.tags)
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "\u202e" not in page.text.split("Recipe")[0]
    assert "{{ 7 * 7 }}" in page.text
    drawn = pictures(page)  # every picture is well-formed XML
    for tree in drawn.values():
        assert not [node for node in tree.iter() if node.tag.endswith("script")]
    assert any("$a_b$" in "".join(tree.itertext()) for tree in drawn.values())  # a name, not a formula


def test_an_absent_class_is_said_aloud() -> None:
    truth = table(90, 4).truth.copy()
    truth[truth == 3] = 0
    made = table(90, 4, truth=truth)
    _, page = page_of(made)
    assert "class 'drusen' is absent" in page.text
    assert "nan" not in page.text.lower().split()
    assert "the others:" in page.text
    roc = next(tree for name, tree in pictures(page).items() if name.startswith("ROC"))
    assert re.search(r"class 'drusen' is\s+absent", " ".join(roc.itertext()))
    first, _, last = sentences(made, scorecard(made, resamples=40))
    assert "no macro AUROC over all 4, because class 'drusen' is absent" in first
    assert "class 'drusen' never occurs" in last


def test_one_patient_one_class_no_mistake_and_no_training_all_have_words() -> None:
    _, page = page_of(table(30, 3, patients=("p",) * 30))
    assert "No intervals: all images are of one patient." in page.text
    assert "all images are of one patient, so there is no interval at all" in page.text

    scores = np.tile([0.9, 0.1], (12, 1))
    made = table(12, 2, truth=np.zeros(12, np.int64), scores=scores, eyes=("",) * 12)
    _, page = page_of(made, ReportFacts("run", "2026-12-01"))
    for words in (
        "Only one class occurs, 'normal'",
        "No image was given a wrong class.",
        "No training belongs to this report",
        "No pre-trained weights were loaded",
        "No configuration was recorded.",
        "Nothing to compare",
        "No finding about the data was recorded",
    ):
        assert words in page.text


def test_patients_that_are_not_known_are_not_counted() -> None:
    made = table(40, 2)
    made = table(40, 2, patients_known=False, patients=made.files)
    _, page = page_of(made, ReportFacts("run", "2026-12-01"))
    assert "Patients are not known: every image counts as its own patient." in page.text
    assert "bootstrap over images (patients are not known)" in page.text


def test_the_same_report_twice_is_the_same_text() -> None:
    made = table(40, 3)
    card = scorecard(made, resamples=30)
    one, two = (render(title="a", predictions=made, scorecard=card, facts=FACTS, learning=JOURNAL) for _ in range(2))
    assert one == two


def test_mistakes_are_the_surest_and_lost_pictures_say_so() -> None:
    made = table(80, 3)
    found = most_confident(made, 200)
    said, sure = made.scores.argmax(axis=1), made.scores.max(axis=1)
    assert sorted(wrong.row for wrong in found) == np.flatnonzero(said != made.truth).tolist()
    assert [wrong.score for wrong in found] == sorted(sure[said != made.truth].tolist(), reverse=True)
    _, page = page_of(made, pixels=pixels)
    jpegs = [attributes for tag, attributes in page.tags if (attributes.get("src") or "").startswith("data:image/jpeg")]
    shown = most_confident(made)
    assert len(jpegs) == sum(wrong.row % 3 != 0 for wrong in shown)
    assert page.text.count("cannot be shown: the file is gone") == len(shown) - len(jpegs)


@pytest.mark.parametrize("shape", [(1, 1, 3), (2000, 1500, 3), (3, 4000, 3)])
def test_thumbnails_of_any_shape(shape: tuple[int, int, int]) -> None:
    packed = thumbnail(np.full(shape, 200, np.uint8))
    assert packed[:2] == b"\xff\xd8"
    assert len(packed) < 60_000
    with pytest.raises(ValueError, match="uint8"):
        thumbnail(np.zeros((4, 4, 3)))  # type: ignore[arg-type]


def test_numbers_need_neither_matplotlib_nor_sklearn() -> None:
    code = (
        "import sys; import eyeground.evaluate.report, eyeground.evaluate.scorecard, eyeground.evaluate.mistakes;"
        "from eyeground.evaluate.profiles import retfound2025, retfound2023, standard;"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'matplotlib', 'sklearn', 'torch', 'scipy'}))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_intervals_stand_beside_every_headline_value() -> None:
    _, page = page_of(table(80, 3))
    box = page.text.split("What this says")[0]
    assert len(re.findall(r"\d\.\d{3}\s*\[?\d\.\d{3}–\d\.\d{3}", box)) >= 12

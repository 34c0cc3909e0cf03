"""Labels: what doctors signed, cell by cell; versions; and that it is read by whoever trains."""

import csv
import json
import shutil
from collections.abc import Iterator
from io import BytesIO, StringIO
from pathlib import Path

import pytest
from PIL import Image

from eyeground.clinic.exports import Summary, export, pseudonyms_of
from eyeground.clinic.records import EyeReview, Opinion
from eyeground.clinic.service import Service
from eyeground.data.labels import read_labels
from eyeground.data.listing import Listing
from eyeground.data.task import Head

from ..constant_grader import said_of
from ..opened import SECRET, encoded
from .visits import HERE, LI, amend, both_eyes, picture, send, service_in, sign, signed, tree


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    opened = service_in(tmp_path / "clinic")
    yield opened
    opened.close()


def labels(service: Service, out: Path) -> Summary:
    """Export all labels."""
    return export(service, "labels", out, actor="tests")


def rows_of(folder: Path, table: str = "labels.csv") -> list[dict[str, str]]:
    """A table's rows."""
    return list(csv.DictReader(StringIO((folder / table).read_text("utf-8"))))


def manifest_of(folder: Path) -> dict[str, object]:
    """What a version says of itself."""
    told: dict[str, object] = json.loads((folder / "manifest.json").read_text("utf-8"))
    return told


def with_eyes(**eyes: EyeReview) -> object:
    """Sign these eyes instead."""

    def change(opinion: Opinion) -> Opinion:
        return opinion.model_copy(update={"eyes": {f"fundus/{eye}": each for eye, each in eyes.items()}})

    return change


def test_a_cell_is_what_the_doctor_signed_and_empty_where_nobody_assessed(service: Service, tmp_path: Path) -> None:
    case_id = send(service, "one", photos=both_eyes(1))
    doubt = EyeReview(ungradable=True, reason="Frau Schmidt blinked")
    eyes = {"OD": EyeReview(findings={"DR": 2, "AMD": 0}, reason="as Mr Smith said"), "OS": doubt}
    sign(service, case_id, with_eyes(**eyes))  # type: ignore[arg-type]
    made = labels(service, tmp_path / "set")
    by_eye = {row["eye"]: row for row in rows_of(made.folder)}
    right, left = by_eye["OD"], by_eye["OS"]
    assert {name: right[name] for name in ("DR", "AMD", "CSC", "GLA", "ungradable")} == {
        "DR": "2", "AMD": "0", "CSC": "", "GLA": "", "ungradable": "0",
    }  # fmt: skip
    assert {left[name] for name in ("DR", "AMD", "CSC", "RP", "ON", "GLA", "RVO")} == {""}
    assert left["ungradable"] == "1"
    assert right["patient"] == left["patient"] == pseudonyms_of(SECRET, HERE).of("P-one")
    assert "split" not in right
    assert made.cases == 1
    assert made.whole
    assert b"Smith" not in b"".join(tree(made.folder).values())
    assert b"Schmidt" not in b"".join(tree(made.folder).values())


def test_pixels_are_the_originals(service: Service, tmp_path: Path) -> None:
    signed(service, "pixels", seed=3)
    made = labels(service, tmp_path / "set")
    for row in rows_of(made.folder):
        copy = Image.open(made.folder / "images" / row["file"])
        assert copy.tobytes() == Image.open(BytesIO(picture(3, row["eye"]))).tobytes()


def test_the_disagreements_are_listed(service: Service, tmp_path: Path) -> None:
    case_id = send(service, "differs", photos=both_eyes(1))
    ai = said_of(picture(1, "OD"))
    doctor = (ai["DR"].value + 1) % 5
    eyes = {"OD": EyeReview(findings={"DR": doctor, "AMD": ai["AMD"].value}, reason="x"),
            "OS": EyeReview(ungradable=True, reason="haze")}  # fmt: skip
    sign(service, case_id, with_eyes(**eyes))  # type: ignore[arg-type]
    found = rows_of(labels(service, tmp_path / "set").folder, "disagreements.csv")
    told = {(row["eye"], row["finding"]): (row["ai"], row["doctor"], row["reason_given"]) for row in found}
    assert told == {("OD", "DR"): (str(ai["DR"].value), str(doctor), "yes"), ("OS", "ungradable"): ("0", "1", "yes")}


def test_an_image_that_cannot_be_graded_does_not_get_what_was_seen_in_another(service: Service, tmp_path: Path) -> None:
    black = BytesIO()
    Image.new("RGB", (96, 96)).save(black, "PNG")
    photos = [*both_eyes(1), {"name": "b_OD.png", "eye": "OD", "data": encoded(black.getvalue())}]
    case_id = send(service, "black", photos=photos)
    with service.database.write() as work:
        work.session.connection().exec_driver_sql("update images set quality='cannot grade: too dark' where place=2")
        work.session.connection().exec_driver_sql("update images set quality='good' where place<2")
    sign(
        service,
        case_id,
        with_eyes(OD=EyeReview(findings={"DR": 3}, reason="x"), OS=EyeReview(findings={"DR": 0}, reason="x")),
    )  # type: ignore[arg-type]
    rows = rows_of(labels(service, tmp_path / "set").folder)
    assert sorted((row["eye"], row["DR"], row["quality"][:6]) for row in rows) == [
        ("OD", "", "cannot"), ("OD", "3", "good"), ("OS", "0", "good"),
    ]  # fmt: skip


def test_the_same_cases_are_the_same_bytes_and_more_cases_a_new_version(service: Service, tmp_path: Path) -> None:
    first_id = signed(service, "a", seed=1)
    signed(service, "b", seed=2)
    first, elsewhere = labels(service, tmp_path / "set"), labels(service, tmp_path / "elsewhere")
    assert first.folder.name == elsewhere.folder.name
    assert tree(first.folder) == tree(elsewhere.folder)
    before = tree(tmp_path / "set")
    again = labels(service, tmp_path / "set")
    assert (again.unchanged, again.folder, tree(tmp_path / "set")) == (True, first.folder, before)
    third = send(service, "c", photos=both_eyes(3))
    sign(service, third)
    amend(
        service,
        first_id,
        with_eyes(OD=EyeReview(findings={"DR": 4}, reason="x"), OS=EyeReview(findings={"DR": 1}, reason="x")),  # type: ignore[arg-type]
    )
    second = labels(service, tmp_path / "set")
    told = manifest_of(second.folder)
    assert (told["number"], told["before"]) == (2, first.folder.name)
    changes = told["changes"]
    assert isinstance(changes, dict)
    assert {what: len(files) for what, files in changes.items()} == {"added": 2, "changed": 2, "removed": 0}
    assert {name: content for name, content in tree(tmp_path / "set").items() if name in before} == before
    names = pseudonyms_of(SECRET, HERE)
    assert {"case": names.of(first_id, kind="v"), "revision": 2} in told["made_from"]  # type: ignore[operator]
    assert told["models"] == [{"id": "constant-0000", "title": "Constant 1.0", "cases": 3}]


def test_what_reads_sets_for_training_reads_this_one(service: Service, tmp_path: Path) -> None:
    for number in range(3):
        signed(service, f"train-{number}", seed=number + 1)
    made = labels(service, tmp_path / "set")
    heads = [Head("AMD"), Head("GLA"), Head("DR", "grades", ("0", "1", "2", "3", "4"))]
    found = read_labels(
        Listing(made.folder / "images"), made.folder / "labels.csv", columns={"group": "patient"},
        labels_required=True, heads=heads,
    )  # fmt: skip
    assert found.problems == ()
    assert len(found.entries) == 6
    assert len({entry.patient for entry in found.entries}) == 3
    rows = {row["file"]: row for row in rows_of(made.folder)}
    for entry in found.entries:
        assert entry.values == tuple(float(rows[entry.file][head.name]) for head in heads)
        assert entry.eye == rows[entry.file]["eye"]


def test_a_case_without_its_image_costs_only_itself(service: Service, tmp_path: Path) -> None:
    good, lost = signed(service, "good", seed=1), signed(service, "lost", seed=2)
    waiting = send(service, "waiting", photos=both_eyes(3))
    with service.database.read() as session:
        sha256 = session.connection().exec_driver_sql("select sha256 from images where case_id=?", (lost,)).scalar()
    service.store.remove(str(sha256))
    made = labels(service, tmp_path / "set")
    assert (made.cases, made.whole) == (1, False)
    assert {(each.case_id, each.fault) for each in made.left} == {(lost, True), (waiting, False)}
    names = pseudonyms_of(SECRET, HERE)
    assert manifest_of(made.folder)["made_from"] == [{"case": names.of(good, kind="v"), "revision": 1}]
    assert len(list((made.folder / "images").iterdir())) == 2


def test_an_image_that_cannot_be_read_is_named_and_the_others_go(service: Service, tmp_path: Path) -> None:
    broken = {"name": "x_OD.png", "eye": "OD", "data": encoded(picture(1, "OD")[:900])}
    case_id = send(service, "broken", photos=[broken, both_eyes(1)[1]])
    sign(service, case_id)
    made = labels(service, tmp_path / "set")
    [held] = made.held
    assert (held.case_id, held.waits) == (case_id, False)
    assert [row["eye"] for row in rows_of(made.folder)] == ["OS"]
    assert not made.whole


def test_an_anterior_photograph_has_a_table_of_its_own(service: Service, tmp_path: Path) -> None:
    front = {"name": "front.png", "eye": "OD", "part": "anterior", "data": encoded(picture(8, "OD"))}
    case_id = send(service, "front", photos=[*both_eyes(1), front])
    sign(
        service,
        case_id,
        lambda opinion: opinion.model_copy(
            update={"eyes": {**opinion.eyes, "anterior/OD": EyeReview(findings={"cataract": 1}, reason="x")}}
        ),
    )
    made = labels(service, tmp_path / "set")
    [row] = rows_of(made.folder, "labels_anterior.csv")
    assert (row["cataract"], row["keratitis"]) == ("1", "")
    assert "cataract" not in rows_of(made.folder)[0]
    assert LI.title.encode() not in b"".join(tree(made.folder).values())
    shutil.rmtree(made.folder)

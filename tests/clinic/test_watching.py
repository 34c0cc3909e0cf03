"""The watched folder: only what lies still is taken, each visit once, and nothing from elsewhere."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from eyeground.clinic.exchange import screening
from eyeground.clinic.records import Order
from eyeground.clinic.refusal import Problem, Refused
from eyeground.clinic.watching import Found, Watched

JPEG = b"\xff\xd8\xff image "


@dataclass
class Clock:
    """A clock that goes on when told."""

    moment: float = 100.0
    watched: Watched = field(init=False)

    def __call__(self) -> float:
        return self.moment

    def after(self, seconds: float) -> list[str]:
        """Wait, then look."""
        self.moment += seconds
        return [visit.name for visit in self.watched.ready()]

    def found(self) -> dict[str, Found]:
        """Look until everything has lain still."""
        self.watched.ready()
        self.moment += 10
        return {visit.name: visit for visit in self.watched.ready()}


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """A watched folder with its clock."""
    clock = Clock()
    clock.watched = Watched(tmp_path / "in", quiet_s=2.0, max_image_bytes=1000, now=clock)
    return clock


@pytest.fixture
def place(clock: Clock) -> Path:
    """The watched folder."""
    return clock.watched.folder


def write(file: Path, data: bytes | dict[str, Any]) -> None:
    """Put a file there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(json.dumps(data).encode() if isinstance(data, dict) else data)


def order_of(clock: Clock, name: str) -> Order:
    """What a visit asks for."""
    return screening.read(clock.watched.message(clock.found()[name]))


def refusal_of(clock: Clock, name: str) -> list[tuple[str, str]]:
    """Why a visit is not taken."""
    with pytest.raises(Refused) as caught:
        clock.watched.message(clock.found()[name])
    return [(problem.code, problem.where) for problem in caught.value.problems]


def test_only_what_lies_still_is_ready(clock: Clock, place: Path) -> None:
    write(place / "P1" / "OD.jpg", JPEG)
    assert clock.after(0) == []
    assert clock.after(1.9) == []
    write(place / "P1" / "OD.jpg", JPEG + b"more")
    assert clock.after(0.2) == []
    write(place / "P1" / "OS.jpg", JPEG)
    assert clock.after(1.9) == []
    assert clock.after(1.9) == []
    assert clock.after(0.2) == ["P1"]
    assert clock.after(0) == ["P1"]
    (place / "P1" / "OS.jpg").unlink()
    assert clock.after(5) == []


def test_an_empty_folder_waits_for_its_files(clock: Clock, place: Path) -> None:
    (place / "P1" / "inner").mkdir(parents=True)
    assert [clock.after(9), clock.after(9)] == [[], []]


def test_a_folder_is_a_visit(clock: Clock, place: Path) -> None:
    write(place / "P1" / "OD.jpg", JPEG + b"r")
    write(place / "P1" / "sub" / "left.png", JPEG + b"l")
    write(place / "P1" / "IM1", bytes(128) + b"DICM")
    write(place / "P1" / "Thumbs.db", b"x" * 5000)
    write(place / "P1" / "film.mp4", b"x" * 5000)
    write(place / "P1" / "README", b"x")
    write(place / "P1" / ".hidden.jpg", JPEG)
    order = order_of(clock, "P1")
    assert order.person.patient_id == "P1"
    assert [(each.name, each.eye, each.data) for each in order.pictures] == [
        ("IM1", "", bytes(128) + b"DICM"), ("OD.jpg", "OD", JPEG + b"r"), ("sub/left.png", "OS", JPEG + b"l")
    ]  # fmt: skip


def test_a_loose_file_is_a_visit_of_nobody_known(clock: Clock, place: Path) -> None:
    write(place / "x_OS.dcm", bytes(128) + b"DICM")
    write(place / "y.jpg", JPEG)
    found = clock.found()
    orders = [screening.read(clock.watched.message(visit)) for visit in found.values()]
    assert [order.pictures[0].eye for order in orders] == ["OS", ""]
    assert orders[0].person.patient_id != orders[1].person.patient_id


def test_a_request_names_patient_and_files(clock: Clock, place: Path) -> None:
    write(place / "v" / "1.jpg", JPEG + b"1")
    write(place / "v" / "2.jpg", JPEG + b"2")
    write(place / "v" / "3.jpg", JPEG + b"3")
    write(
        place / "v" / "request.json",
        {
            "message_id": "m9",
            "Patient": {
                "patient_id": "7",
                "name": "王小明",
                "photos": {"left_eye": "1.jpg", "right_anterior": [{"path": "2.jpg", "name": "front.jpg"}]},
            },
            "vision_data": {"left_eye": 0.8},
        },
    )
    order = order_of(clock, "v")
    assert (order.id, order.person.patient_id, order.person.name, order.os.acuity) == ("m9", "7", "王小明", "0.8")
    assert [(each.name, each.part, each.eye, each.data) for each in order.pictures] == [
        ("1.jpg", "fundus", "OS", JPEG + b"1"), ("front.jpg", "anterior", "OD", JPEG + b"2")
    ]  # fmt: skip


@pytest.mark.parametrize("photos", [None, [], {}])
def test_a_request_without_photos_means_all(clock: Clock, place: Path, photos: object) -> None:
    write(place / "v" / "a_OD.jpg", JPEG)
    write(place / "v" / "b_OS.jpg", JPEG)
    write(place / "v" / "request.json", {"patient": {"photos": photos, "age": 5}})
    order = order_of(clock, "v")
    assert [each.name for each in order.pictures] == ["a_OD.jpg", "b_OS.jpg"]
    assert (order.person.patient_id, order.person.age) == ("v", 5)


@pytest.mark.parametrize(
    ("photo", "code"),
    [
        ("../other/OD.jpg", "bad_path"), ("{root}/other/OD.jpg", "bad_path"), ("link.jpg", "bad_path"),
        ("up/OD.jpg", "bad_path"), ("http://a/1.jpg", "url_refused"), ("nowhere.jpg", "image_missing"),
        ("sub", "image_unreadable"), ("empty.jpg", "image_empty"), ("large.jpg", "image_too_large"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["text", "object", "by eye"])
def test_a_request_takes_files_of_its_own_folder_only(
    clock: Clock, place: Path, photo: str, code: str, form: str
) -> None:
    write(place / "other" / "OD.jpg", JPEG + b"canary")
    write(place / "v" / "empty.jpg", b"")
    write(place / "v" / "large.jpg", bytes(1001))
    write(place / "v" / "sub" / "a.jpg", JPEG)
    (place / "v" / "link.jpg").symlink_to("../other/OD.jpg")
    (place / "v" / "up").symlink_to("../other")
    photo = photo.format(root=place)
    photos: Any = {"text": [photo], "object": [{"path": photo}], "by eye": {"left_eye": photo}}[form]
    write(place / "v" / "request.json", {"Patient": {"patient_id": "7", "photos": photos}})
    where = {"text": "photos.0", "object": "photos.0", "by eye": "photos.left_eye"}[form]
    assert refusal_of(clock, "v") == [(code, where)]


def test_links_lead_nowhere(clock: Clock, place: Path, tmp_path: Path) -> None:
    write(tmp_path / "secret" / "canary.jpg", JPEG)
    write(place / "v" / "OD.jpg", JPEG)
    (place / "v" / "OS.jpg").symlink_to(tmp_path / "secret" / "canary.jpg")
    (place / "folder").symlink_to(tmp_path / "secret")
    (place / "file.jpg").symlink_to(tmp_path / "secret" / "canary.jpg")
    assert refusal_of(clock, "v") == [("bad_path", "photos")]
    assert refusal_of(clock, "folder") == [("bad_path", "photos")]
    assert refusal_of(clock, "file.jpg") == [("bad_path", "photos")]
    found = clock.found()
    assert found["folder"].files == ("folder",)  # what lies behind a link is not even listed
    for name in ("folder", "file.jpg"):
        clock.watched.refused(found[name], [Problem(code="bad_path")])
    assert (place / "refused" / "folder" / "folder").is_symlink()
    assert [each.name for each in (tmp_path / "secret").iterdir()] == ["canary.jpg"]


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (b"{", "not_json"),
        (b"[]", "not_an_object"),
        (b"{}", "missing"),
        (b'{"Patient": 3}', "wrong_type"),
        (b"{" * 2**21, "too_large"),
    ],
)
def test_a_bad_request_is_refused(clock: Clock, place: Path, request_: bytes, code: str) -> None:
    write(place / "v" / "OD.jpg", JPEG)
    write(place / "v" / "request.json", request_)
    assert refusal_of(clock, "v")[0][0].replace("image_too_large", "too_large") == code


def test_what_else_is_wrong_is_said_by_the_contract(clock: Clock, place: Path) -> None:
    write(place / "v" / "OD.jpg", JPEG)
    write(place / "v" / "request.json", {"Patient": {"patient_id": ["x"], "age": "old", "photos": ["OD.jpg", 3]}})
    with pytest.raises(Refused) as caught:
        order_of(clock, "v")
    assert {problem.where for problem in caught.value.problems} == {
        "Patient.patient_id", "Patient.age", "Patient.photos.1"
    }  # fmt: skip


def test_a_folder_without_images_is_refused(clock: Clock, place: Path) -> None:
    write(place / "v" / "notes.txt", b"x")
    assert refusal_of(clock, "v") == [("no_image", "photos")]


def test_done_is_put_aside_with_its_case(clock: Clock, place: Path) -> None:
    write(place / "P1" / "OD.jpg", JPEG)
    write(place / "x.jpg", JPEG)
    for visit in clock.found().values():
        clock.watched.done(visit, "0a1b")
    assert clock.found() == {}
    for name, file in (("P1", "OD.jpg"), ("x.jpg", "x.jpg")):
        assert (place / "done" / name / file).read_bytes() == JPEG
        assert json.loads((place / "done" / name / "case.json").read_text()) == {"case_id": "0a1b"}


def test_refused_is_put_aside_with_its_reasons(clock: Clock, place: Path) -> None:
    write(place / "王小明" / "OD.jpg", JPEG)
    clock.watched.refused(clock.found()["王小明"], [Problem(code="missing", where="Patient"), Problem(code="no_image")])
    assert clock.found() == {}
    text = (place / "refused" / "王小明" / "problems.json").read_text("utf-8")
    problems = json.loads(text)["problems"]
    assert [(each["code"], each["where"]) for each in problems] == [("missing", "Patient"), ("no_image", "")]
    assert all(each["en"] and each["zh"] for each in problems)
    assert "王小明" not in text


def test_a_name_that_was_there_before_is_kept_beside_it(clock: Clock, place: Path) -> None:
    for content in (b"1", b"2", b"3"):
        write(place / "P1" / "OD.jpg", JPEG + content)
        clock.watched.done(clock.found()["P1"], "0a")
    kept = {each.name: (each / "OD.jpg").read_bytes() for each in (place / "done").iterdir()}
    assert kept == {"P1": JPEG + b"1", "P1-2": JPEG + b"2", "P1-3": JPEG + b"3"}


@pytest.mark.parametrize("put", ["done", "refused"])
@pytest.mark.parametrize("loose", [False, True])
@pytest.mark.parametrize("fatal", ["rename", "write_whole"])
def test_killed_on_the_way_it_is_the_same_message_again(
    clock: Clock, place: Path, put: str, loose: bool, fatal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "x_OD.jpg" if loose else "P1"
    write(place / name if loose else place / name / "OD.jpg", JPEG)
    visit = clock.found()[name]
    before = clock.watched.message(visit)
    finish: Callable[[Watched, Found], None] = (
        (lambda watched, each: watched.done(each, "0a"))
        if put == "done"
        else (lambda watched, each: watched.refused(each, [Problem(code="no_image")]))
    )

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        target = "pathlib.Path.rename" if fatal == "rename" else "eyeground.clinic.watching.write_whole"
        patch.setattr(target, killed)
        with pytest.raises(KeyboardInterrupt):
            finish(clock.watched, visit)
    clock.watched = Watched(place, quiet_s=2.0, max_image_bytes=1000, now=clock)  # a new process
    again = clock.found()[name]
    assert clock.watched.message(again) == before
    finish(clock.watched, again)
    assert clock.found() == {}
    assert sum(each.is_file() and each.read_bytes() == JPEG for each in (place / put).rglob("*")) == 1


def test_a_visit_that_vanishes_is_refused_as_missing(clock: Clock, place: Path) -> None:
    write(place / "P1" / "OD.jpg", JPEG)
    visit = clock.found()["P1"]
    shutil.rmtree(place / "P1")
    with pytest.raises(Refused) as caught:
        clock.watched.message(visit)
    assert caught.value.code == "image_missing"
    with pytest.raises(FileNotFoundError):
        clock.watched.done(visit, "0a")
    assert clock.found() == {}


def test_far_too_much_is_refused_before_it_is_read(clock: Clock) -> None:
    with pytest.raises(Refused, match="larger than this service takes"):
        clock.watched.message(Found("v", ("v/a.jpg",), 2**30))
    with pytest.raises(Refused, match="more images than a visit"):
        clock.watched.message(Found("v", ("v/a.jpg",) * 2001, 9))

"""M2 at the door: whatever is sent as an image becomes a case with a verdict, and the service goes on."""

import base64
import json
import random
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from eyeground.clinic.bundle_grader import BundleGrader
from eyeground.clinic.db.tables import Case
from eyeground.clinic.intake import Arrived
from eyeground.clinic.service import Service
from eyeground.clinic.views import case_view
from eyeground.serve.predictor import Predictor
from tests.faults import scoreboard
from tests.images.hostile import KINDS, cuts

from .opened import open_service_in, work_off
from .pictures import UNGRADABLE, contract_of, encoded, photograph

_LONGEST_S = 10.0


class Healthy:
    """A network that calls everybody healthy."""

    description = "the same"

    def outputs(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.full((len(images), contract_of().task.outputs), -9, np.float32)

    def close(self) -> None: ...


def grader() -> BundleGrader:
    """The real gate before such a network."""
    return BundleGrader(Predictor(contract_of(), Healthy(), id="healthy"), look=None, title="healthy 1")


def admit(service: Service, number: int, data: bytes) -> str:
    """A request whose right eye is these bytes, and whose left eye is a photograph."""
    photos = [
        {"name": f"{number}_OD.png", "eye": "OD", "data": base64.b64encode(data).decode()},
        {"name": f"{number}_OS.png", "eye": "OS", "data": base64.b64encode(GOOD).decode()},
    ]
    told = {"message_id": f"bad-{number}", "Patient": {"patient_id": "P", "photos": photos}}
    [outcome] = service.intake.admit([Arrived("screening", json.dumps(told).encode(), "default")])
    return f"refused: {outcome.refused.code}" if outcome.refused else outcome.case_id


GOOD = encoded(photograph())


def judged(service: Service, sent: dict[str, bytes]) -> dict[str, dict[str, object]]:
    """Send each, let a worker look, and tell what a doctor sees of it."""
    model, found = grader(), {}
    for number, (name, data) in enumerate(sent.items()):
        case_id = admit(service, number, data)
        if case_id.startswith("refused: "):
            found[name] = {"refused": case_id.removeprefix("refused: ")}
            continue
        began = time.monotonic()
        assert work_off(service, [model]) == 1
        took = time.monotonic() - began
        with service.database.read() as session:
            view = case_view(session, case_id)
            assert session.get_one(Case, case_id).state == "in_review"
        found[name] = {
            "seconds": took,
            "quality": view["images"][0]["quality"],
            "right": view["answered"]["values"].get("fundus/OD"),
            "left": view["answered"]["values"].get("fundus/OS"),
            "urgency": view["urgency"],
            "unavailable": view["unavailable"].get("fundus/OD"),
        }
    return found


def held_against(found: dict[str, dict[str, object]]) -> dict[str, object]:
    """Counts of what must not be."""
    refused = {name: each["refused"] for name, each in found.items() if "refused" in each}
    looked = {name: each for name, each in found.items() if "refused" not in each}
    bad = {name: each for name, each in looked.items() if str(each["quality"]).startswith("cannot grade")}
    return {
        "kinds": len(found),
        "refused_at_the_door": refused,
        "cannot_grade": len(bad),
        "graded": sorted(set(looked) - set(bad)),
        "without_verdict": [name for name, each in looked.items() if not each["quality"]],
        "called_normal": [name for name, each in bad.items() if each["right"] or "return" in str(each["urgency"])],
        "fellow_eye_lost": [name for name, each in looked.items() if not each["left"]],
        "longest_s": round(max(float(str(each["seconds"])) for each in looked.values()), 2),
    }


def test_m2_every_kind_of_bad_image_gets_a_verdict(tmp_path: Path) -> None:
    service = open_service_in(tmp_path)
    sent = {name: make() for name, make in KINDS.items()}
    figures = held_against(judged(service, sent))
    service.close()
    # How much a child may hold is the images' room's matter, and tested there.
    scoreboard.write("m2", **figures)
    assert len(sent) >= 40
    assert figures["without_verdict"] == figures["called_normal"] == figures["fellow_eye_lost"] == []
    assert float(str(figures["longest_s"])) < _LONGEST_S
    assert int(str(figures["cannot_grade"])) >= 40


def test_m2_a_photograph_cut_anywhere(tmp_path: Path) -> None:
    service = open_service_in(tmp_path)
    every = dict(cuts())
    chosen = random.Random(1).sample(sorted(every), 20)
    figures = held_against(judged(service, {name: every[name] for name in chosen}))
    service.close()
    assert figures["called_normal"] == figures["without_verdict"] == figures["fellow_eye_lost"] == []


@pytest.mark.parametrize("kind", sorted(UNGRADABLE))
def test_c2_what_nobody_can_grade_goes_to_a_person(tmp_path: Path, kind: str) -> None:
    service = open_service_in(tmp_path)
    data = UNGRADABLE[kind](photograph(seed=3), np.random.default_rng(3))
    [each] = judged(service, {kind: data}).values()
    service.close()
    assert str(each["quality"]).startswith("cannot grade: ")
    assert (each["right"], each["unavailable"]) == (None, "cannot_grade")
    assert each["urgency"] == "retake_or_refer"

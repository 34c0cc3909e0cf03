"""C3: whatever is done to cases in whatever order, nothing leaves unsigned that must not, and no patient sees it."""

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import get_args

import pytest
from sqlalchemy import select

from eyeground.clinic import states
from eyeground.clinic.accounts import ROLES
from eyeground.clinic.cases import NoSuchCase, Stale
from eyeground.clinic.db.tables import Case, Outgoing, Review
from eyeground.clinic.intake import Arrived
from eyeground.clinic.records import EyeReview, Opinion
from eyeground.clinic.reviews import Doctor, OpinionRefused
from eyeground.clinic.service import Service
from eyeground.clinic.states import STATES, STEPS, Forbidden, Release, Role, State, Step, after
from eyeground.clinic.views import for_patient
from tests.faults import scoreboard

from .constant_grader import ConstantGrader
from .opened import open_service_in, patient_message, work_off

ALL_ROLES: tuple[Role, ...] = ("service", *ROLES)
After = Callable[..., State]


def outcomes(take: After, *, release: Release, sequences: int, seed: int) -> dict[str, int]:
    """Random steps by random people; how often something was released that nobody had signed."""
    draws = random.Random(seed)
    found = {"sequences": sequences, "steps": 0, "taken": 0, "released": 0, "unsigned": 0, "signed_by_others": 0}
    for _ in range(sequences):
        state: State = "received"
        signed = False
        for _ in range(draws.randint(5, 30)):
            # Half of the time a step that follows, or few sequences would get far.
            follows = draws.random() < 0.5
            step: Step = draws.choice(list(states._AFTER[state]) if follows else STEPS)
            role = draws.choice(states._WHO[step] if follows and draws.random() < 0.8 else ALL_ROLES)
            found["steps"] += 1
            try:
                state = take(state, step, role=role, release=release)
            except Forbidden:
                continue
            found["taken"] += 1
            if step == "sign":
                signed = True
                found["signed_by_others"] += role != "doctor"
            elif step in ("reread", "amend"):
                signed = False
            elif state == "released":
                found["released"] += 1
                found["unsigned"] += not signed
    return found


def test_c3_nothing_is_released_unsigned() -> None:
    found = outcomes(after, release="signed", sequences=100_000, seed=1)
    scoreboard.write("c3_steps", **found)
    assert (found["unsigned"], found["signed_by_others"]) == (0, 0)
    assert found["released"] > 10_000


def test_c3_where_it_is_set_so_results_go_out_unsigned() -> None:
    found = outcomes(after, release="unsigned", sequences=2_000, seed=2)
    assert found["unsigned"] > 0
    assert found["signed_by_others"] == 0


def test_c3_a_machine_that_asks_nobody_is_caught() -> None:
    def careless(state: State, step: Step, *, role: Role, release: Release) -> State:
        return after(
            state, step, role="doctor" if step in ("sign", "amend", "reread") else "service", release="unsigned"
        )

    found = outcomes(careless, release="signed", sequences=2_000, seed=3)
    assert found["unsigned"] > 0
    assert found["signed_by_others"] > 0


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("step", STEPS)
def test_a_step_leads_where_the_picture_says(state: State, step: Step) -> None:
    # Written by hand from clinic.md's flow, not read from the code.
    picture = {
        ("received", "gate"): "gated", ("gated", "infer"): "inferred", ("inferred", "present"): "in_review",
        ("inferred", "release_unsigned"): "released", ("in_review", "sign"): "signed",
        ("in_review", "reread"): "received", ("signed", "release"): "released", ("released", "amend"): "amended",
        ("amended", "sign"): "signed",
    }  # fmt: skip
    able = {"sign": "doctor", "amend": "doctor", "reread": "doctor"}.get(step, "service")
    wanted = picture.get((state, step))
    if wanted is None:
        with pytest.raises(Forbidden):
            after(state, step, role=able, release="unsigned")  # type: ignore[arg-type]
    else:
        assert after(state, step, role=able, release="unsigned") == wanted  # type: ignore[arg-type]
    assert set(get_args(State)) == {"received", "gated", "inferred", "in_review", "signed", "released", "amended"}


def lives(service: Service, *, sequences: int, seed: int) -> dict[str, int]:
    """Random acts on real cases; after each, what went out and what a patient may see is held against the reviews."""
    draws = random.Random(seed)
    grader = ConstantGrader()
    found = dict.fromkeys(("acts", "done", "out", "out_unsigned", "shown", "shown_unsigned", "changed"), 0)
    kept: dict[tuple[str, int], bytes] = {}
    for number in range(sequences):
        body = patient_message(f"c3-{seed}-{number}")
        [outcome] = service.intake.admit([Arrived("screening", body, "default")])
        for _ in range(draws.randint(4, 14)):
            _act(service, outcome.case_id, grader, draws, found)
            _check(service, outcome.case_id, kept, found)
    return found


def _act(service: Service, case_id: str, grader: ConstantGrader, draws: random.Random, found: dict[str, int]) -> None:
    """One act by somebody, allowed or not."""
    with service.database.read() as session:
        version = session.get_one(Case, case_id).version - (draws.random() < 0.1)
    who = Doctor("li", "Dr Li", draws.choice(["doctor", "doctor", "doctor", "operator", "site", "admin"]))
    eyes = {
        key: EyeReview(findings={"DR": draws.randint(0, 4)}, reason="as seen") for key in ("fundus/OD", "fundus/OS")
    }
    opinion = Opinion(eyes=eyes, conclusion="c")
    reviews = service.reviews
    acts: list[Callable[[], object]] = [
        *[lambda: work_off(service, [grader])] * 3,
        lambda: reviews.save(case_id, opinion, version=version, doctor=who),
        *[lambda: reviews.sign(case_id, opinion, version=version, doctor=who)] * 2,
        lambda: reviews.sign(case_id, None, version=version, doctor=who),
        lambda: reviews.amend(case_id, reason="r", version=version, doctor=who),
        lambda: reviews.reread(case_id, version=version, doctor=who),
        lambda: reviews.decide_eyes(case_id, {0: "OD"}, version=version, doctor=who),
    ]
    found["acts"] += 1
    with suppress(Forbidden, Stale, OpinionRefused, NoSuchCase):
        draws.choice(acts)()
        found["done"] += 1


def _check(service: Service, case_id: str, kept: dict[tuple[str, int], bytes], found: dict[str, int]) -> None:
    """What is out now, and whether a doctor stands behind it; what was out before is what it was."""
    with service.database.read() as session:
        signed = {
            review.revision: review.signature
            for review in session.scalars(select(Review).filter_by(case_id=case_id))
            if review.signed_at
        }
        answers = list(session.scalars(select(Outgoing).filter_by(case_id=case_id)))
        shown = for_patient(session, case_id)
    for answer in answers:
        key = (case_id, answer.revision)
        found["out"] += key not in kept
        found["out_unsigned"] += key not in kept and answer.revision not in signed
        found["changed"] += kept.setdefault(key, answer.body) != answer.body
    if shown is not None:
        found["shown"] += 1
        found["shown_unsigned"] += shown not in [each.body for each in answers if each.revision in signed]


@pytest.mark.parametrize("release", ["signed", "unsigned"])
@pytest.mark.parametrize("sequences", [60, pytest.param(2_000, marks=pytest.mark.slow)])
def test_c3_through_the_whole_service(tmp_path: Path, release: Release, sequences: int) -> None:
    service = open_service_in(tmp_path, release=release)
    found = lives(service, sequences=sequences, seed=4)
    service.close()
    scoreboard.write(f"c3_{release}_{sequences}", sequences=sequences, **found)
    assert found["out"] > sequences / 6
    assert found["shown"] > 0
    assert (found["shown_unsigned"], found["changed"]) == (0, 0)
    assert (found["out_unsigned"] == 0) == (release == "signed")

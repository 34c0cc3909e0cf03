"""Visits that somebody has signed, with photographs that can be opened, and how tests make them."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from eyeground.clinic.answered import Answered
from eyeground.clinic.exported import Exported, gather
from eyeground.clinic.findings import FINDINGS
from eyeground.clinic.grader import Grader
from eyeground.clinic.intake import Arrived
from eyeground.clinic.records import Opinion, Order
from eyeground.clinic.report.language import words_of
from eyeground.clinic.reviews import Doctor
from eyeground.clinic.service import Service
from eyeground.clinic.views import case_view

from ..constant_grader import ConstantGrader
from ..opened import account_of, agreed_opinion, encoded, open_service_in, work_off
from ..pictures import encoded as png
from ..pictures import photograph

LI = Doctor("li", "李医生")
HERE = "here"
Change = Callable[[Opinion], Opinion]


def service_in(folder: Path, **settings: Any) -> Service:
    """A service with a doctor."""
    service = open_service_in(folder, site=HERE, **settings)
    account_of(service, LI.account, "doctor", title=LI.title)
    return service


@cache
def picture(seed: int, eye: str, *, kind: str = "PNG", size_px: int = 96) -> bytes:
    """A photograph of a phantom's eye."""
    return png(photograph(seed=seed, eye=eye, size_px=size_px), kind)  # type: ignore[arg-type]


def both_eyes(seed: int, *, name: str = "a") -> list[dict[str, Any]]:
    """Photographs of both eyes, as a message has them."""
    return [
        {"name": f"{name}_{eye}.png", "eye": eye, "data": encoded(picture(seed, eye))} for eye in ("OD", "OS")
    ]  # fmt: skip


def send(
    service: Service,
    message_id: str,
    *,
    photos: Sequence[Mapping[str, Any]],
    graders: Sequence[Grader] | None = None,
    **told: Any,
) -> str:
    """Take a patient message in and let the models look; the case."""
    patient = {"patient_id": f"P-{message_id}", **told.pop("patient", {}), "photos": list(photos)}
    body = json.dumps({"message_id": message_id, "Patient": patient, **told}, ensure_ascii=False).encode()
    [outcome] = service.intake.admit([Arrived("screening", body, service.settings.site)])
    assert outcome.refused is None, outcome.refused and outcome.refused.to_json()
    work_off(service, [ConstantGrader()] if graders is None else graders)
    return outcome.case_id


def view_of(service: Service, case_id: str) -> dict[str, Any]:
    """A case as a doctor sees it."""
    with service.database.read() as session:
        return case_view(session, case_id)


def sign(service: Service, case_id: str, change: Change = lambda opinion: opinion) -> None:
    """Sign what the models say, changed."""
    view = view_of(service, case_id)
    service.reviews.sign(case_id, change(agreed_opinion(view)), version=view["version"], doctor=LI)
    work_off(service, [])


def amend(service: Service, case_id: str, change: Change) -> None:
    """Open it again and sign the next revision."""
    service.reviews.amend(case_id, reason="looked again", version=view_of(service, case_id)["version"], doctor=LI)
    sign(service, case_id, change)


def signed(service: Service, message_id: str, *, seed: int = 1, **told: Any) -> str:
    """A signed visit; the case."""
    case_id = send(service, message_id, **{"photos": both_eyes(seed), **told})
    sign(service, case_id)
    return case_id


def exported(service: Service, case_id: str) -> Exported:
    """A case as it leaves."""
    with service.database.read() as session:
        settings = service.settings.model_copy(update={"site_title": "County Hospital 县医院"})
        return gather(session, case_id, settings=settings)


def two_models(service: Service, message_id: str) -> Exported:
    """A signed visit that two models have looked at: one for the grades, one for all else."""
    rest = tuple(name for name in FINDINGS["fundus"] if name != "DR")
    graders = [
        ConstantGrader(id="grades-1", title="Grades 1.0", offers=("DR",)),
        ConstantGrader(id="rest-2", title="Rest 2.0", offers=rest),
    ]
    case_id = send(service, message_id, photos=both_eyes(6), graders=graders)
    sign(service, case_id)
    return exported(service, case_id)


def drafted(*, by_ai: bool) -> Exported:
    """A signed case with every text that may begin as a draft."""
    opinion = Opinion(
        conclusion="结论", recommendation="三个月内转诊", narrative="右眼底可见出血。",
        texts={"fundusReport": f"黄斑未见异常\n{words_of('zh').say('draft.note_by_ai')}"},
    )  # fmt: skip
    answered = Answered(
        "0a" * 16, Order(door="screening", id="9"), 1, opinion=opinion, doctor_name="李",
        signed_at="2026-01-02T03:04:05Z", drafted_by_ai=by_ai,
    )  # fmt: skip
    return Exported(answered, "here", "Here", doctor="li", received_at="2026-01-01T00:00:00Z")


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

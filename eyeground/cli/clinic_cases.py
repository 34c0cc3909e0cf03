"""Cases as a terminal shows them: the work list, and one with all that is known of it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from rich.table import Table
from rich.text import Text
from sqlalchemy import select
from sqlalchemy.orm import Session

from eyeground.cli.config import ConfigError
from eyeground.cli.console import console, harmless, tell
from eyeground.clinic.cases import NoSuchCase
from eyeground.clinic.db.tables import Case
from eyeground.clinic.findings import UNAVAILABLE
from eyeground.clinic.service import Service
from eyeground.clinic.states import OPEN, STATES
from eyeground.clinic.views import case_view
from eyeground.clinic.work_list import work_list

_PREFIX = re.compile(r"[0-9a-f]{1,32}")
# Right eye first, as it is read.
_ROWS: Final = ("fundus/OD", "fundus/OS", "anterior/OD", "anterior/OS")
_EYES: Final = {"OD": "OD (right)", "OS": "OS (left)", "?": "eye not decided"}
_SHORT: Final = 8


def case_of(session: Session, prefix: str) -> str:
    """Find a case by the beginning of its id.

    Args:
        session: An open transaction.
        prefix: As many characters as tell it from the others.

    Returns:
        Its whole id.

    Raises:
        NoSuchCase: If none begins so.
        ConfigError: If several do.

    References:
        Our own; git.
    """
    if not _PREFIX.fullmatch(prefix):
        raise NoSuchCase(f"{prefix}: a case's id has hex digits only; 'eyeground clinic review' lists them")
    found = session.scalars(select(Case.id).where(Case.id.startswith(prefix)).limit(2)).all()
    if not found:
        raise NoSuchCase(f"no case's id begins with {prefix}; 'eyeground clinic review' lists them")
    if len(found) > 1:
        raise ConfigError(f"several cases' ids begin with {prefix}: write more of it")
    return found[0]


def look_at(service: Service, prefix: str) -> dict[str, Any]:
    """Read all of a case.

    Args:
        service: The service.
        prefix: The beginning of its id.

    Returns:
        As ``eyeground.clinic.views.case_view``.

    Raises:
        NoSuchCase: If there is none.
        ConfigError: If several are meant.
        DatabaseLost: If the database does not answer.

    References:
        Our own.
    """
    with service.database.read() as session:
        return case_view(session, case_of(session, prefix))


def list_cases(service: Service, *, states: Sequence[str], most: int) -> list[dict[str, Any]]:
    """List cases, the most urgent first, and show them.

    Args:
        service: The service.
        states: Only those; none = those that wait for a doctor.
        most: How many at most.

    Returns:
        Plain values of each.

    Raises:
        ConfigError: If there is no such state.
        DatabaseLost: If the database does not answer.

    References:
        Our own.
    """
    if unknown := [word for word in states if word not in STATES]:
        raise ConfigError(f"--state {unknown[0]}: it is one of {', '.join(STATES)}")
    with service.database.read() as session:
        lines = work_list(session, states=tuple(states) or OPEN, most=most)
    shown = Table(box=None, pad_edge=False)
    heads = ("case", "urgency", *(("state",) if states else ()), "since (UTC)", "patient", "right eye", "left eye")
    for head in heads:
        shown.add_column(head, overflow="fold", no_wrap=head in ("case", "urgency", "state", "since (UTC)"))
    for line in lines:
        person = " ".join(filter(None, (line.patient_id, line.name)))
        cells = (
            line.id[:_SHORT], ("HELD " if line.held else "") + line.urgency, *((line.state,) if states else ()),
            line.received_at[5:16].replace("T", " "), person + ("" if line.age is None else f", {line.age}"),
            _glance(line.eyes, line.unavailable, "OD"), _glance(line.eyes, line.unavailable, "OS"),
        )  # fmt: skip
        shown.add_row(*(Text(harmless(cell)) for cell in cells))
    if lines:
        console.print(shown)
    return [asdict(line) for line in lines]


def show_case(view: Mapping[str, Any]) -> None:
    """Show all of a case.

    Args:
        view: As ``look_at`` gave it.

    References:
        Our own.
    """
    person = view["order"]["person"]
    age = "" if person["age"] is None else f"{person['age']} years"
    tell(
        f"case      {view['id']}  version {view['version']}, revision {view['revision']}",
        f"request   {view['request_id']} from {view['site']} through {view['queue']}, {_at(view['received_at'])}",
        f"state     {view['state'].replace('_', ' ')}{', is being worked on' if view['working'] else ''}",
        "patient   "
        + ", ".join(filter(None, (person["patient_id"], person["name"], age, person["sex"], person["phone"]))),
        f"urgency   {view['urgency'] or 'not known yet'}{view['rules'] and ' by ' + view['rules']}",
    )
    for name, eye in (("od", "OD"), ("os", "OS")):
        exam = view["order"][name]
        acuity = exam["acuity"] and f"visual acuity {exam['acuity']} ({exam['notation']})"
        pressure = "" if exam["pressure_mmhg"] is None else f"IOP {exam['pressure_mmhg']:g} mmHg"
        tell(f"{_EYES[eye]:<11}{', '.join(filter(None, (acuity, pressure))) or 'nothing measured'}")
    for image in view["images"]:
        eye = image["eye"] or "?"
        words = f"{image['part']} {_EYES.get(eye, eye)}: {image['quality'] or 'not seen yet'}"
        if image["conflict"]:
            words += f"; HELD: {image['conflict']}; decide with --eye {image['place']}=OD or OS"
        tell(f"image {image['place']:<4}{words}")
    tell(*_answers(view))
    for review in view["reviews"]:
        tell(*_review(review))
    for each in view["answers"]:
        where = each["queue"] or "kept to be fetched"
        tell(f"answer    revision {each['revision']} to {where}: {_at(each['sent_at']) or 'not sent yet'}")
    for each in view["history"]:
        tell(f"history   {_at(each['at'])} {each['actor']}: {each['event']}")


def _at(moment: str) -> str:
    """A time as people read it, with its zone; empty where there is none."""
    return f"{moment[:19].replace('T', ' ')} UTC" if moment else ""


def _answers(view: Mapping[str, Any]) -> Iterator[str]:
    """What the models say of each eye, and what has no answer."""
    values, said = view["answered"]["values"], view["answered"]["said"]
    missing = view["unavailable"]
    keys = [key for key in _ROWS if key in values or (missing.get(key, "no_image") != "no_image")]
    yield f"models    {', '.join(view['answered']['models']) or 'none has looked'}; AI 辅助，非诊断"
    for key in keys:
        words = []
        for name, value in values.get(key, {}).items():
            score = said.get(key, {}).get(name, {}).get("score")
            words.append(f"{name} {value}" + ("" if score is None else f" ({score:.2f})"))
        whole = UNAVAILABLE[missing[key]]["en"] if key in missing else ""
        open_ones = [f"{each.partition('.')[2]}: {UNAVAILABLE[why]['en']}" for each, why in missing.items()
                     if each.startswith(f"{key}.")]  # fmt: skip
        areas = view["answered"]["areas"].get(key, ())
        looked = f"where the model looked: {', '.join(areas)}" if areas else ""
        yield f"  {key:<12}{'; '.join(filter(None, (whole, ', '.join(words), *open_ones, looked)))}"


def _review(review: Mapping[str, Any]) -> Iterator[str]:
    """What a doctor wrote."""
    signed = f"signed {_at(review['signed_at'])}" if review["signed_at"] else "draft"
    yield f"opinion   revision {review['revision']}, {signed}, {review['doctor_name'] or review['doctor']}"
    if review["reason"]:
        yield f"  amended because: {review['reason']}"
    for key, eye in review["opinion"].get("eyes", {}).items():
        words = "cannot be graded" if eye["ungradable"] else ", ".join(f"{k} {v}" for k, v in eye["findings"].items())
        yield f"  {key:<12}{words}{eye['reason'] and ' (' + eye['reason'] + ')'}"
    for name in ("conclusion", "recommendation"):
        if review["opinion"].get(name):
            yield f"  {name}: {review['opinion'][name]}"


def _glance(eyes: Mapping[str, Mapping[str, int]], missing: Mapping[str, str], eye: str) -> str:
    """An eye in a few words: what was found, else what was looked for in vain, else why nothing is said."""
    words = []
    for part in ("fundus", "anterior"):
        key = f"{part}/{eye}"
        if key in missing:
            words += [] if missing[key] == "no_image" else [missing[key].replace("_", " ")]
        elif key in eyes:
            found = [f"{name} {value}" if name == "DR" else name for name, value in eyes[key].items() if value]
            words.append(", ".join(found) or "none found")
    return "; ".join(words) or "no image"

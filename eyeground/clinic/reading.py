"""What a worker does for a case: look at each image, ask the models, and put the eyes before a doctor."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import delete

from eyeground.clinic.answering import answer_of, hand_out
from eyeground.clinic.blobs.store import BlobMissing, Store
from eyeground.clinic.cases import SERVICE, advance, find, findings_of, images_of, order_of, set_urgency
from eyeground.clinic.clock import now
from eyeground.clinic.db.database import Database, Work
from eyeground.clinic.db.opinions import HeatMap
from eyeground.clinic.db.tables import Case, Finding, Image
from eyeground.clinic.devices import header_eye
from eyeground.clinic.eyes import seen_of, side
from eyeground.clinic.findings import Merged, merge
from eyeground.clinic.grader import Grader, Reading
from eyeground.clinic.laterality import eye_of
from eyeground.clinic.moments import reached
from eyeground.clinic.records import Part
from eyeground.clinic.states import Step
from eyeground.clinic.urgency import Rules, urgency
from eyeground.images.laterality import eye_from_name, reconcile

UNREADABLE = "cannot grade: the image is no longer kept"
SAME_PICTURE = "the same picture was sent for both eyes"
UNSEEN = "cannot grade: no model looks at it"
# Stands for a model where none looks at an image: of it only the header is read.
NOBODY = ""
_UNREAD: tuple[Step, ...] = ("gate", "infer", "present")


@dataclass(frozen=True)
class Read:
    """What was found of a case, before it is written.

    Args:
        readings: By hash of the image and id of the model, what is new.
        models: Title of each model, by id.

    Example:
        >>> Read({}, {}).readings
        {}

    References:
        Our own.
    """

    readings: Mapping[tuple[str, str], Reading]
    models: Mapping[str, str]


class Reader:
    """Looks at cases.

    Args:
        database: Where cases live.
        store: Where images lie.
        graders: The models that are installed.
        rules: What makes a case urgent.

    References:
        docs/clinic.md.
    """

    def __init__(self, database: Database, store: Store, *, graders: Sequence[Grader], rules: Rules) -> None:
        self._database, self._store, self._graders, self._rules = database, store, tuple(graders), rules
        self._offers: dict[Part, set[str]] = {}
        for grader in self._graders:
            self._offers.setdefault(grader.part, set()).update(grader.offers)

    def look(self, case_id: str, *, going_on: Callable[[], bool] = lambda: True) -> Read:
        """Ask every model about every image of its part that it has not answered yet; nothing is written.

        Args:
            case_id: The case.
            going_on: Is asked before each image; when it says no, what is left is not asked.

        Returns:
            What is new.

        Raises:
            NoSuchCase: If there is none.
            InterruptedError: If ``going_on`` said no.
            StoreLost: If the store does not answer.
            DatabaseLost: If the database does not answer.
            Exception: If a model fails.
        """
        with self._database.read() as session:
            images = images_of(session, case_id)
            done = {(finding.image_sha256, finding.model_id) for finding in findings_of(session, case_id)}
        readings: dict[tuple[str, str], Reading] = {}
        for image in images:
            asked = [each for each in self._graders if each.part == image.part and (image.sha256, each.id) not in done]
            asked = [each for each in asked if (image.sha256, each.id) not in readings]
            nobody = image.part not in self._offers and (image.sha256, NOBODY) not in readings
            if not asked and not nobody:
                continue
            if not going_on():
                raise InterruptedError("asked to stop")
            try:
                data = self._store.get(image.sha256)
            except BlobMissing:
                readings |= {(image.sha256, each.id): Reading(UNREADABLE) for each in asked}
                continue
            if nobody:
                eye, device = header_eye(data)
                readings[image.sha256, NOBODY] = Reading(UNSEEN, eye, device=device)
            readings |= {(image.sha256, each.id): each.read(data, name=image.name) for each in asked}
        reached("inferred")
        return Read(readings, {each.id: each.title for each in self._graders})

    def write(self, work: Work, case_id: str, read: Read) -> None:
        """Write what was found, and bring the case before a doctor (or hand it out, where that is how it is set).

        Args:
            work: An open write transaction.
            case_id: The case.
            read: What ``look`` gave.

        Raises:
            NoSuchCase: If there is none.
            Forbidden: If the case has gone on without us.
        """
        case = find(work.session, case_id, lock=True)
        moment = now()
        # What a model said that is no longer installed does not stand beside what the others say.
        gone = [each for each in findings_of(work.session, case_id) if each.model_id not in read.models]
        for each in gone:
            work.session.delete(each)
            self._drop_map(work, each)
        work.session.add_all(
            Finding(
                case_id=case_id, image_sha256=sha256, model_id=model, quality=reading.quality,
                said={name: said.model_dump() for name, said in reading.said.items()}, areas=list(reading.areas),
                model=read.models[model], found_at=moment,
            )
            for (sha256, model), reading in read.readings.items()
            if model != NOBODY
        )  # fmt: skip
        work.session.add_all(
            HeatMap(case_id=case_id, image_sha256=sha256, model_id=model, target=reading.heat_of, png=reading.heat)
            for (sha256, model), reading in read.readings.items()
            if reading.heat
        )
        images = images_of(work.session, case_id)
        self._place(case, images, read.readings)
        work.session.flush()
        advance(work, case, "gate", actor=SERVICE, role="service")
        self._conclude(work, case, images)
        advance(work, case, "infer", actor=SERVICE, role="service", models=sorted(read.models), dropped=len(gone))
        if case.release == "unsigned" and not case.held:
            advance(work, case, "release_unsigned", actor=SERVICE, role="service", release="unsigned")
            hand_out(work, case, answer_of(work.session, case, revision=0))
        else:
            advance(work, case, "present", actor=SERVICE, role="service")

    def give_up(self, work: Work, case_id: str) -> None:
        """Bring a case that cannot be read before a doctor, saying so; it is never handed out by itself.

        Args:
            work: An open write transaction.
            case_id: The case.

        Raises:
            NoSuchCase: If there is none.
            Forbidden: If the case has gone on without us.
        """
        case = find(work.session, case_id, lock=True)
        images = images_of(work.session, case_id)
        self._place(case, images, {})
        merged = merge(seen_of(images, findings_of(work.session, case_id)), offers=self._offers)
        # What was held back, and what no image was sent of, stays so; all else has failed.
        failed = {f"{image.part}/{image.eye}": "failed" for image in images if image.eye and not case.held}
        case.unavailable = {key: word for key, word in merged.unavailable.items() if "." not in key} | failed
        self._rank(case, Merged(unavailable=case.unavailable))
        for step in _UNREAD:
            advance(work, case, step, actor=SERVICE, role="service", failed=True)

    def _drop_map(self, work: Work, finding: Finding) -> None:
        """Take out the heat map that belongs to a finding."""
        work.session.execute(
            delete(HeatMap).filter_by(
                case_id=finding.case_id, image_sha256=finding.image_sha256, model_id=finding.model_id
            )
        )  # fmt: skip

    def _place(self, case: Case, images: Sequence[Image], readings: Mapping[tuple[str, str], Reading]) -> None:
        """Say of each image what it is worth and which eye it shows, and whether a doctor has to decide that."""
        for image in images:
            mine = [reading for (sha256, _), reading in readings.items() if sha256 == image.sha256]
            if mine:
                image.quality = next((each.quality for each in mine if not _bad(each.quality)), mine[0].quality)
                image.device = next((each.device for each in mine if each.device), image.device)
            # What was placed before stays, unless somebody has looked at it anew.
            if image.decided_by or not (mine or not (image.eye or image.conflict)):
                continue
            told = next((each for each in mine if each.eye or each.conflict), Reading(""))
            # The same bytes may come under two names, and are read once: each image's own name speaks, too.
            named = reconcile({"image": told.eye, "file name": eye_from_name(image.name)})
            image.eye, image.conflict = eye_of(
                side(image.claimed_eye),
                named.eye,
                told.conflict or named.conflict,
            )
        for image in images:
            others = [each for each in images if (each.part, each.sha256) == (image.part, image.sha256)]
            if len({each.eye for each in others if each.eye}) > 1 and not image.decided_by:
                image.conflict = SAME_PICTURE
        for image in images:
            image.eye = "" if image.conflict else image.eye
        case.held = [f"{image.part}/{image.place}" for image in images if image.conflict]

    def _conclude(self, work: Work, case: Case, images: Sequence[Image]) -> None:
        """Make each eye's answer of its images, and the case's urgency of both."""
        merged = merge(seen_of(images, findings_of(work.session, case.id)), offers=self._offers)
        case.unavailable = dict(merged.unavailable)
        if case.door == "report":  # nothing to look at: it asks for a text
            case.unavailable = {}
        self._rank(case, merged)

    def _rank(self, case: Case, merged: Merged) -> None:
        """Say how urgent a case is."""
        order = order_of(case)
        found = urgency(merged, od=order.od, os=order.os, rules=self._rules)
        set_urgency(case, found)


def _bad(quality: str) -> bool:
    """Whether nothing can be said of it."""
    return quality.startswith("cannot grade")

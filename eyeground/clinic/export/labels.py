"""Labels: what doctors signed as a versioned set to fine-tune on, with images that tell nothing of the patients."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from eyeground.clinic.export._cleaning import clean_copies
from eyeground.clinic.export._means import Means
from eyeground.clinic.export._tables import UNGRADABLE, csv_of, json_of, label_columns, label_row, patient_of
from eyeground.clinic.exported import Exported, LeftOut
from eyeground.clinic.findings import FINDINGS
from eyeground.clinic.records import Part
from eyeground.data.privacy.deidentify import IMAGES
from eyeground.data.privacy.pseudonym import Pseudonyms
from eyeground.images.quality import cannot_grade

MANIFEST: Final = "manifest.json"
_FORMAT: Final = 1
_TABLES: Final[Mapping[Part, str]] = {"fundus": "labels.csv", "anterior": "labels_anterior.csv"}
_DIFFERING: Final = ("patient", "part", "eye", "finding", "ai", "ai_score", "doctor", "reason_given")
_README: Final = """# Labels that doctors signed

Made by `eyeground clinic export --labels`. `labels.csv` has a row for each fundus photograph in `images/`,
`labels_anterior.csv` likewise of the anterior segment: `eye`, `patient` (the same person has the same word, from the
same service and site only), `quality` as the gate says it, `ungradable` as the doctor says it, and a column a finding.
An empty cell is what nobody has assessed; it is never zero. Grades of DR are ICDR's, 0 to 4. There is no split: make
one by patient. `disagreements.csv` lists where doctor and AI differ. `manifest.json` says from which signed opinions
this was made, which models had answered, and what has changed since the version before.

    eyeground finetune configs/finetune/screening7.yaml \\
        'data={{path: {name}/images, table: {name}/labels.csv, group: patient}}'

The doctors had seen what the models say, unless they read without it: these labels are not independent of the AI.

No name, number, date or header of a patient is in here; pixels are exactly the original's. Text in them was looked for,
but only on an even ground (the surround of a photograph, the margin of a scan): text over vessels or running upwards
is not found. Treat the images as health data all the same.
"""


class Writer:
    """Writes one version of the set.

    Args:
        into: The folder.
        means: What an export works with.

    Example:
        >>> Writer.VERSIONED
        True

    References:
        Gebru et al., "Datasheets for Datasets", CACM 2021, for what a set says of itself.
    """

    VERSIONED: Final = True

    def __init__(self, into: Path, means: Means) -> None:
        self._into, self._means = into, means
        self._rows: dict[Part, list[dict[str, str]]] = {"fundus": [], "anterior": []}
        self._differing: list[dict[str, str]] = []
        self._opinions: list[dict[str, Any]] = []
        self._models: Counter[tuple[str, str]] = Counter()
        self._rules: Counter[str] = Counter()

    def add(self, case: Exported) -> int:
        """Add a case.

        Args:
            case: The case.

        Returns:
            How many images it brought.

        Raises:
            BlobMissing: If an image is gone.
            LeftOut: If nobody signed it, it has no images, or none of them may leave.
            StoreLost: If the store does not answer.
        """
        if not case.answered.signed:
            raise LeftOut("it was released unsigned: only what a doctor signed is a label")
        if not case.photos:
            raise LeftOut("it has no images")
        names = self._means.pseudonyms(case.site)
        copies = clean_copies(case, self._into, self._means)
        if not copies:
            raise LeftOut("none of its images may leave as it is")
        for copy in copies:
            self._rows[copy.photo.part].append(label_row(case, copy.photo, copy.file, names))
        self._differing += _differences(case, names)
        self._opinions.append({"case": names.of(case.answered.case_id, kind="v"), "revision": case.answered.revision})
        self._models.update(case.models.items())
        self._rules[case.answered.rules] += 1
        return len(copies)

    def close(self) -> str:
        """Write the tables, and what the set says of itself.

        Returns:
            Name of this version, which follows from its content; empty where it holds nothing.
        """
        if not self._opinions:
            return ""
        columns = {part: label_columns(part) for part in _TABLES}
        rows = {part: sorted(rows, key=lambda row: row["file"]) for part, rows in self._rows.items()}
        for part, table in _TABLES.items():
            if rows[part] or part == "fundus":
                (self._into / table).write_bytes(csv_of(columns[part], rows[part]))
        differing = sorted(self._differing, key=lambda row: tuple(row.values()))
        (self._into / "disagreements.csv").write_bytes(csv_of(_DIFFERING, differing))
        digests = {str(path.relative_to(self._into)): _digest(path) for path in _files(self._into)}
        version = hashlib.sha256(json_of(digests)).hexdigest()
        name = f"labels-{version[:12]}"
        every = {row["file"]: row for part in rows for row in rows[part]}
        files = {
            file: hashlib.sha256(json_of([digests[f"{IMAGES}/{file}"], row])).hexdigest() for file, row in every.items()
        }
        number, before, then = _latest(self._means.out, name)
        manifest = {
            "format": _FORMAT,
            "version": version,
            "number": number + 1,
            "before": before,
            "changes": _changes(then, files),
            "made_from": sorted(self._opinions, key=lambda opinion: opinion["case"]),
            "counts": _counts(rows, differing),
            "models": [{"id": id, "title": title, "cases": n} for (id, title), n in sorted(self._models.items())],
            "settings": {
                "findings": {part: dict(findings) for part, findings in FINDINGS.items()},
                "rules": dict(self._rules),
                "pixels": "the originals', unchanged",
                "confirmed": len(self._means.confirmed),
            },
            "files": files,
        }
        (self._into / MANIFEST).write_bytes(json_of(manifest))
        (self._into / "README.md").write_text(_README.format(name=name), "utf-8")
        return name


def _differences(case: Exported, names: Pseudonyms) -> Iterator[dict[str, str]]:
    """Where doctor and models differ, eye by eye."""
    answered, opinion = case.answered, case.answered.opinion
    if opinion is None:
        return
    for key, review in opinion.eyes.items():
        part, _, eye = key.partition("/")
        said = answered.said.get(key, {})
        line = {"patient": patient_of(case, names), "part": part, "eye": eye,
                "reason_given": "yes" if review.reason.strip() else "no"}  # fmt: skip
        ai_cannot = not said and cannot_grade(answered.quality.get(key, "good"))
        if review.ungradable and said:
            yield line | {"finding": UNGRADABLE, "ai": "0", "ai_score": "", "doctor": "1"}
        elif not review.ungradable and ai_cannot:
            yield line | {"finding": UNGRADABLE, "ai": "1", "ai_score": "", "doctor": "0"}
        for name, value in review.findings.items():
            if name in said and said[name].value != value and not review.ungradable:
                score = said[name].score
                yield line | {"finding": name, "ai": str(said[name].value), "doctor": str(value),
                              "ai_score": "" if score is None else f"{score:.6f}"}  # fmt: skip


def _counts(rows: Mapping[Part, list[dict[str, str]]], differing: list[dict[str, str]]) -> dict[str, Any]:
    """How many images and patients, and how often each label."""
    every = [row for part in rows for row in rows[part]]
    labels = {
        part: {name: dict(Counter(row[name] or "not assessed" for row in rows[part])) for name in FINDINGS[part]}
        for part in rows
        if rows[part]
    }
    return {
        "images": len(every), "patients": len({row["patient"] for row in every}), "labels": labels,
        "ungradable": sum(row[UNGRADABLE] == "1" for row in every), "disagreements": len(differing),
    }  # fmt: skip


def _changes(then: Mapping[str, str], now: Mapping[str, str]) -> dict[str, list[str]]:
    """What is different from the version before."""
    return {
        "added": sorted(now.keys() - then.keys()),
        "changed": sorted(file for file in now.keys() & then.keys() if now[file] != then[file]),
        "removed": sorted(then.keys() - now.keys()),
    }


def _latest(out: Path, name: str) -> tuple[int, str, Mapping[str, str]]:
    """The last version of before: its number, name and files."""
    found: list[tuple[int, str, Mapping[str, str]]] = [(0, "", {})]
    for path in out.glob(f"labels-*/{MANIFEST}"):
        told = json.loads(path.read_text("utf-8"))
        if path.parent.name != name:
            found.append((told["number"], path.parent.name, told["files"]))
    return max(found, key=lambda each: each[:2])


def _files(folder: Path) -> Iterator[Path]:
    """What the version follows from."""
    yield from sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


def _digest(path: Path) -> str:
    """Hash of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

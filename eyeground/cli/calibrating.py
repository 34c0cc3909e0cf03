"""A trained run's own predictions -> its temperature, thresholds and sets, as files of the run."""

import csv
import hashlib
import json
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eyeground.atomic_file import write_whole
from eyeground.cli.config import ConfigError
from eyeground.cli.console import answer, interval_words, table, tell
from eyeground.evaluate.calibrate import Calibration, called_positive, fit_calibration, measure_calibration
from eyeground.evaluate.calibration_narrative import limits, promise, sentences
from eyeground.evaluate.calibration_page import CalibrationFacts, render_calibration
from eyeground.evaluate.calibration_record import from_record, to_record
from eyeground.evaluate.predictions import Predictions, read_predictions
from eyeground.evaluate.thresholds import Positive, Rule, positives

RECORD, PAGE = "calibration.json", "calibration.html"
_TABLES = {"validation": "predictions_val.csv", "test": "predictions.csv"}


@dataclass(frozen=True, eq=False)
class _Read:
    """What a run, or one of its heads, keeps of its predictions."""

    name: str
    folder: Path
    tables: Mapping[str, Predictions]
    sha256: Mapping[str, str]
    weights_sha256: str
    called: tuple[Positive, ...]


def calibrate_run(
    run: Path,
    *,
    coverage: float = 0.9,
    sensitivity: Sequence[float] = (),
    specificity: Sequence[float] = (),
    of: Sequence[str] = (),
    per_class: bool = False,
    resamples: int = 2000,
    as_json: bool = False,
) -> None:
    """Learn a temperature, thresholds and sets from a run's validation images, and measure them on its test images.

    Nothing is trained or predicted: the run's tables are read. ``calibration.json`` and ``calibration.html`` go into
    the run, or into each head's folder of a run with several heads.

    Args:
        run: The run's folder.
        coverage: How often sets are to hold the truth. Unit: fraction, (0, 1).
        sensitivity: Thresholds are chosen for these on validation; without these and specificities, for 0.9.
        specificity: As ``sensitivity``.
        of: What is called positive: classes, or ``>=`` and a grade; with several heads, each after ``HEAD:``. Empty =
            every class, and every grade with all above it.
        per_class: Whether each class is to be covered as often as wanted.
        resamples: Bootstrap resamples of the intervals.
        as_json: End with one JSON line.

    Raises:
        ConfigError: If the run keeps no such tables, they cannot be used, or something asked for is not there; all
            problems together.

    Example:
        >>> import tempfile
        >>> calibrate_run(Path(tempfile.mkdtemp()) / "none")
        Traceback (most recent call last):
        eyeground.cli.config.ConfigError: ...none: there is no such folder; ...

    References:
        docs/run.md for the files.
    """
    started = time.monotonic()
    rules: list[tuple[Rule, float]] = [
        *(("sensitivity", target) for target in dict.fromkeys(sensitivity)),
        *(("specificity", target) for target in dict.fromkeys(specificity)),
    ]
    problems = [] if 0 < coverage < 1 else [f"--coverage {coverage:g}: it is above 0 and below 1"]
    problems += [f"--{rule} {target:g}: it is above 0 and at most 1" for rule, target in rules if not 0 < target <= 1]
    rules = rules or [("sensitivity", 0.9)]
    parts, notes = _read_all(run, of, problems)
    told: dict[str, Any] = {}
    for part in parts:
        try:
            told[part.name] = _calibrate(
                run, part, coverage=coverage, rules=rules, per_class=per_class, resamples=resamples
            )
        except ValueError as error:
            raise ConfigError(f"{part.folder}: {error}") from error
    tell(*notes)
    place = parts[0].folder if len(parts) == 1 else run / "heads"
    answer(
        {
            "run": str(run),
            "seconds": round(time.monotonic() - started, 1),
            "calibrations": [
                {"head": part.name, "file": str(part.folder / RECORD), **_summary(told[part.name])} for part in parts
            ],
            "notes": notes,
        },
        as_json=as_json,
        last_line=f"calibration: {place / PAGE if len(parts) == 1 else place}",
    )


def read_calibration(folder: Path, *, weights_sha256: str, classes: Sequence[str]) -> Calibration:
    """Read what ``calibrate_run`` wrote, and make sure that it belongs to these weights.

    Args:
        folder: The run's folder, or that of a head.
        weights_sha256: Hash of the weights that scores will come from, hexadecimal.
        classes: Names of the classes, K.

    Returns:
        The calibration.

    Raises:
        ConfigError: If there is none, it cannot be read, or it belongs to other weights or classes.

    Example:
        >>> import tempfile
        >>> read_calibration(Path(tempfile.mkdtemp()), weights_sha256="", classes=["a", "b"])
        Traceback (most recent call last):
        eyeground.cli.config.ConfigError: ...: there is no calibration.json; make it with: eyeground calibrate ...

    References:
        docs/run.md for the file.
    """
    path = folder / RECORD
    again = f"eyeground calibrate {shlex.quote(str(folder))}"
    if not path.is_file():
        raise ConfigError(f"{folder}: there is no {RECORD}; make it with: {again}")
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        made, belongs = from_record(told), str(told["weights_sha256"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path}: not a calibration ({error!r}); make it anew with: {again}") from error
    if belongs != weights_sha256 or made.classes != tuple(classes):
        raise ConfigError(
            f"{path}: it belongs to other weights ({belongs[:16]}, not {weights_sha256[:16]}), whose scores mean "
            f"something else; make it anew with: {again}"
        )
    return made


def _read_all(run: Path, of: Sequence[str], problems: list[str]) -> tuple[list[_Read], list[str]]:
    """Read the tables of a run or of its heads; every problem is told together."""
    if not run.is_dir():
        raise ConfigError(
            "\n".join([*problems, f"{run}: there is no such folder; give the folder that 'eyeground finetune' made"])
        )
    heads = sorted(path for path in (run / "heads").glob("*") if path.is_dir())
    folders = {path.name: path for path in heads} or {"": run}
    if not heads and (run / "health.json").is_file():
        problems.append(
            f"{run}: this run was pre-trained and knows no classes; fine-tune it first: "
            f"eyeground finetune CONFIG weights={run}"
        )
        raise ConfigError("\n".join(problems))
    words: dict[str, list[str]] = {name: [] for name in folders}
    for word in of:
        name, _, rest = word.partition(":") if heads else ("", "", word)
        if name in words and rest:
            words[name].append(rest)
        else:
            problems.append(f"--of {word}: with several heads it is HEAD:CLASS; the heads are {', '.join(words)}")
    read, notes = [], []
    for name, folder in folders.items():
        if _is_quantity(folder / _TABLES["test"]):
            notes.append(f"{name or run.name}: a quantity has no classes to calibrate; left out")
            problems += [f"--of {name}:{word}: a quantity has no classes" for word in words[name]]
            continue
        if heads and (bare := [split for split, file in _TABLES.items() if _is_bare(folder / file)]):
            notes.append(f"{name}: {' and '.join(bare)} has no label of it; left out")
            problems += [f"--of {name}:{word}: {' and '.join(bare)} has no label of it" for word in words[name]]
            continue
        try:
            read.append(_read(run, name, folder, words[name] if of else None))
        except ConfigError as error:
            problems += str(error).splitlines()
    if not read and not problems:
        problems.append(f"{run}: there is nothing to calibrate; {'; '.join(notes)}")
    if problems:
        raise ConfigError("\n".join(problems))
    return read, notes


def _is_quantity(path: Path) -> bool:
    """Whether a table of predictions holds values, not scores of classes."""
    if not path.is_file():
        return False
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
        return not any(name.startswith("score_") for name in next(csv.reader(stream), []))


def _is_bare(path: Path) -> bool:
    """Whether a table is there and knows no truth."""
    if not path.is_file():
        return False
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
        return not any(row.get("truth") for row in csv.DictReader(stream))


def _read(run: Path, name: str, folder: Path, words: Sequence[str] | None) -> _Read:
    """Read one pair of tables with what the run says of them."""
    missing = [file for file in (*_TABLES.values(), "metrics.json") if not (folder / file).is_file()]
    if missing:
        raise ConfigError(
            f"{folder}: there is no {', no '.join(missing)}; a run has them when its training has ended: "
            f"eyeground finetune --resume {shlex.quote(str(run))}"
        )
    try:
        facts = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        whole = run / "metrics.json"
        told = facts if "weights_sha256" in facts else json.loads(whole.read_text(encoding="utf-8"))
        ordered, weights = bool(facts.get("ordered", False)), str(told["weights_sha256"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{folder / 'metrics.json'}: it does not name the weights of the run ({error!r})") from error
    problems, tables, sha256 = [], {}, {}
    for split, file in _TABLES.items():
        try:
            sha256[file] = hashlib.sha256((folder / file).read_bytes()).hexdigest()
            tables[split] = read_predictions(folder / file, ordered=ordered)
        except ValueError as error:
            problems += str(error).splitlines()
    for split, found in tables.items():
        if not found.labelled.any():
            problems.append(f"{folder / _TABLES[split]}: no image has a known truth")
    if len(tables) == 2 and tables["validation"].classes != tables["test"].classes:
        problems.append(f"{folder}: {' and '.join(_TABLES.values())} have different classes: they are not of one run")
    called: tuple[Positive, ...] = ()
    if "validation" in tables:
        classes = tables["validation"].classes
        try:
            called = (
                positives(classes, ordered=ordered)
                if words is None
                else called_positive(words, classes, ordered=ordered)
            )
        except ValueError as error:
            problems += [f"--of: {f'head {name}: ' if name else ''}{line}" for line in str(error).splitlines()]
    if problems:
        raise ConfigError("\n".join(problems))
    return _Read(name, folder, tables, sha256, weights, called)


def _calibrate(
    run: Path,
    part: _Read,
    *,
    coverage: float,
    rules: Sequence[tuple[Rule, float]],
    per_class: bool,
    resamples: int,
) -> dict[str, Any]:
    """Learn, measure and write."""
    validation, test = part.tables["validation"], part.tables["test"]
    made = fit_calibration(
        validation, coverage=coverage, rules=rules, called=part.called, per_class=per_class, resamples=resamples
    )
    scores = measure_calibration(made, validation=validation, test=test, resamples=resamples)
    told = {
        "weights_sha256": part.weights_sha256,
        "files": dict(part.sha256),
        **to_record(made, scores),
        "promise": promise(made),
        "says": sentences(made, scores),
        "limits": limits(made, scores),
    }
    title = f"{run.name}, {part.name}" if part.name else run.name
    facts = CalibrationFacts(
        date=datetime.now(UTC).isoformat(timespec="minutes"),
        command=shlex.join(["eyeground", *sys.argv[1:]]),
        weights_sha=part.weights_sha256,
        files=part.sha256,
    )
    write_whole(part.folder / RECORD, (json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())
    # The pictures come last: a fault in one of them must not cost the numbers.
    page = render_calibration(title=title, calibration=made, scores=scores, test=test, facts=facts)
    write_whole(part.folder / PAGE, page.encode())
    _show(title, told)
    return told


def _show(title: str, told: Mapping[str, Any]) -> None:
    """The numbers for a terminal."""
    tell(f"{title}: temperature {interval_words(told['temperature'])}")
    if told["thresholds"]:
        table(
            "thresholds chosen on validation, measured on test",
            ["positive", "chosen for", "threshold", "sensitivity", "specificity"],
            [
                [
                    line["class"],
                    f"{line['rule']} {line['target']:g}",
                    *map(interval_words, (line["threshold"], line["test"]["sensitivity"], line["test"]["specificity"])),
                ]
                for line in told["thresholds"]
            ],
        )
    tell(*told["says"])


def _summary(told: Mapping[str, Any]) -> dict[str, Any]:
    """What a program reads first."""
    sets = told["sets"]["test"]
    return {
        "temperature": told["temperature"],
        "test": told["scores"]["test"],
        "thresholds": told["thresholds"],
        "sets": {name: sets[name] for name in ("coverage", "alone", "accuracy_alone", "empty", "size")},
        "says": list(told["says"]),
    }

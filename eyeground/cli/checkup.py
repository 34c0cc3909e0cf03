"""A data set examined by the doctor: what is found, for a terminal, a program and a page."""

import base64
import io
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from PIL import Image
from rich.table import Table
from rich.text import Text

from eyeground.atomic_file import write_whole
from eyeground.cli.config import ConfigError, DataSource
from eyeground.cli.config_file import load_config
from eyeground.cli.console import answer, console, counting, tell
from eyeground.cli.dataset import split_samples
from eyeground.cli.fan_out import fanned_out
from eyeground.data.doctor import Checkup, check
from eyeground.data.exam.finding import Finding, counted
from eyeground.data.exam.remedy import cure, write_remedy
from eyeground.data.manifest import Source
from eyeground.data.problem import DataProblems, Problem
from eyeground.data.sample import Sample
from eyeground.data.shards.address import remote_address
from eyeground.data.shards.opened import open_shards
from eyeground.images.refusal import ImageRefused

_FILES_SHOWN: Final = 4  # of a finding, in the terminal
_SENTENCES_SHOWN: Final = 4
_PICTURES_EACH: Final = 8  # of a finding, on the page
_PICTURES: Final = 400  # on the page; more would make it too heavy to open
_FINDINGS_SHOWN: Final = 60  # of a kind with pictures, on the page; the others are listed
_PICTURE_PX: Final = 160
_TEMPLATE: Final = "checkup.jinja.html"


@dataclass(frozen=True)
class Shown:
    """One finding on the page.

    Args:
        finding: What was found.
        pictures: Of its first images: name, picture (a data address, or ``""``), and why it cannot be shown.

    Example:
        >>> Shown(Finding("empty", "fault", "", ""), ()).pictures
        ()

    References:
        Our own.
    """

    finding: Finding
    pictures: tuple[tuple[str, str, str], ...]


def examine_data(
    data: Sequence[Path],
    columns: DataSource,
    *,
    split: Path | None,
    html: Path | None,
    fix: Path | None,
    keep: bool,
    as_json: bool,
    on: str | None = None,
    workers: int = 0,
) -> bool:
    """Examine a data set and tell what was found.

    Args:
        data: Its folders, or a configuration of finetune.
        columns: Table and columns, of a single folder.
        split: A split file; None = what the data says.
        html: Page to write; None = no page.
        fix: Cleaned table to write; None = no table.
        keep: Whether to keep what was measured for later runs.
        as_json: End with one JSON line.
        on: Whose Ray looks at the images; None = this process does.
        workers: Workers there; 0 = as many as there are cores.

    Returns:
        Whether anything but notes was found.

    Raises:
        ConfigError: If the words do not fit together.
        DataProblems: If there is nothing to examine.
        ClusterUnfit: If the cluster is not there, or cannot read the images.
        WorkersLost: If workers die again and again; what was measured is kept.

    Example:
        >>> nowhere = Path("nowhere")
        >>> examine_data([nowhere], DataSource(path=nowhere), split=None, html=None, fix=None, keep=False, as_json=True)
        Traceback (most recent call last):
        eyeground.cli.config.ConfigError: nowhere: there is no such folder; give a folder of images or a config ...

    References:
        Our own.
    """
    for name, path in (("--html", html), ("--fix", fix)):
        if path is not None and (not path.parent.is_dir() or path.is_dir()):
            raise ConfigError(f"{name} {path}: no file can be written there; name a file in a folder that exists")
    sources, classes, how = _sources(data, columns, split)
    if fix is not None and any(source.pack is not None for source in sources):
        raise ConfigError(f"--fix {fix}: shards have a table of their own; clean the images that they were made from")
    folders = [source.path for source in sources if source.pack is None]
    with fanned_out(on, workers=workers, reads=folders) as spread:
        checkup = check(sources, classes=classes, split=how, keep=keep, spread=spread, watch=counting)
    _tell(checkup)
    written: list[Path] = []
    if html is not None:
        write_whole(html, page(checkup, title=", ".join(map(str, data))).encode("utf-8", "replace"))
        written.append(html)
    if fix is not None:
        names = list(dict.fromkeys(sample.source for sample in checkup.case.samples))
        remedy = cure(checkup.case)
        written += write_remedy(fix, remedy, names)
        tell(f"kept {counted(len(remedy.samples), 'image')}, left out {len(remedy.left_out):,}")
    answer(_answer(checkup, written), as_json=as_json, last_line=_last_line(checkup, written))
    return checkup.sick


def _sources(
    data: Sequence[Path], columns: DataSource, split: Path | None
) -> tuple[list[Source], tuple[str, ...] | None, Path | Callable[[Sequence[Sample]], Sequence[Sample]] | None]:
    """Settle what is examined and how it is split."""
    if len(data) == 1 and data[0].suffix.lower() in (".yaml", ".yml") and not data[0].is_dir():
        config = load_config(data[0])
        given = list(config.data)

        def placed(samples: Sequence[Sample]) -> Sequence[Sample]:
            try:
                return split_samples(
                    samples, split=config.split, split_seed=config.split_seed, val_fraction=config.val_fraction
                )
            except (ConfigError, DataProblems, ValueError):
                return samples  # leaks and all: the checks name them

        how = split or (Path(config.split) if config.split.endswith(".csv") else placed)
        return _opened(given), config.classes, how
    if len(data) > 1:
        if columns.table is not None:
            raise ConfigError("a --table belongs to one folder: for several write a config with a list under data:")
        return _opened([columns.model_copy(update={"path": path}) for path in data]), None, split
    if not data[0].is_dir() and not remote_address(data[0]):
        raise ConfigError(
            f"{data[0]}: there is no such folder; give a folder of images or a config of finetune (.yaml)"
        )
    return _opened([columns]), None, split


def _opened(given: Sequence[DataSource]) -> list[Source]:
    """Bring configured sources to those that are read, named as a split file names them; shards are proved first."""
    found, problems = [], list[Problem]()
    for each in given:
        name = each.name or each.path.resolve().name
        shards = open_shards(each.path)
        if shards is None:
            found.append(Source(**{**each.model_dump(), "name": name}))
            continue
        with counting("reading shards", shards.shards) as done:
            problems += shards.check(done)
        found.append(shards.source(name))
    if problems:
        raise DataProblems(problems)
    return found


def _by_kind(findings: Sequence[Finding]) -> dict[tuple[str, str], list[Finding]]:
    """Findings of one severity and kind together, in order."""
    groups: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    for finding in findings:
        groups[finding.severity, finding.kind].append(finding)
    return dict(groups)


def _tell(checkup: Checkup) -> None:
    """Show the findings in the terminal."""
    groups = _by_kind(checkup.findings)
    title = f"{len(checkup.case.samples):,} images, {counted(len(checkup.case.classes), 'class')}"
    shown = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column, right in (("", False), ("kind", False), ("findings", True), ("files", True)):
        shown.add_column(column, justify="right" if right else "left")
    colors = {"fault": "bold red", "odd": "yellow", "note": "dim"}
    for (severity, kind), found in groups.items():
        files = {file for each in found for file in each.files}
        shown.add_row(Text(severity, style=colors[severity]), kind, f"{len(found):,}", f"{len(files):,}")
    console.print(shown)
    for (severity, kind), found in groups.items():
        lines = []
        for each in found[:_SENTENCES_SHOWN]:
            lines.append(f"  {each.sentence}")
            lines += [f"      {file}" for file in each.files[:_FILES_SHOWN]]
            if len(each.files) > _FILES_SHOWN:
                lines.append(f"      ... and {len(each.files) - _FILES_SHOWN:,} more files")
        if len(found) > _SENTENCES_SHOWN:
            more = len(found) - _SENTENCES_SHOWN
            lines.append(f"  ... and {counted(more, 'finding')} more of this kind; --json and --html name all of them")
        advice = next((each.advice for each in found if each.advice), "")
        tell("", f"{severity}: {kind}", *lines, *([f"  -> {advice}"] if advice else []))


def _answer(checkup: Checkup, written: Sequence[Path]) -> dict[str, Any]:
    """The findings for a program, every file named."""
    return {
        "images": len(checkup.case.samples),
        "classes": list(checkup.case.classes),
        "sick": checkup.sick,
        "findings": [
            {
                "kind": each.kind,
                "severity": each.severity,
                "sentence": each.sentence,
                "advice": each.advice,
                "files": [_text(file) for file in each.files],
                "figures": dict(each.figures),
            }
            for each in checkup.findings
        ],
        "written": [str(path) for path in written],
    }


def _text(path: str) -> str:
    """A path as text; bytes that are not UTF-8 are written with escapes."""
    return path.encode("utf-8", "backslashreplace").decode()


def _last_line(checkup: Checkup, written: Sequence[Path]) -> str:
    """How it ended, in a line."""
    counts = [sum(each.severity == severity for each in checkup.findings) for severity in ("fault", "odd", "note")]
    told = f"{counted(counts[0], 'fault')}, {counts[1]:,} odd, {counted(counts[2], 'note')}"
    where = f"; written: {', '.join(map(str, written))}" if written else ""
    return told + where


def page(checkup: Checkup, *, title: str) -> str:
    """Write the findings as a page with pictures.

    Every name from outside is escaped and stripped of invisible characters.

    Args:
        checkup: What was found.
        title: What was examined.

    Returns:
        HTML text, self-contained: no script, nothing fetched.

    Example:
        >>> from eyeground.data.exam.case import Case
        >>> "<script" in page(Checkup(Case((), (), ("<b>",), True), ()), title="a")
        False

    References:
        Our own.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from eyeground.evaluate.wording import shown

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(shown=shown)
    album = _Album(checkup)
    groups = [
        {
            "severity": severity,
            "kind": kind,
            "files": len({file for each in found for file in each.files}),
            "count": len(found),
            "advice": next((each.advice for each in found if each.advice), ""),
            "shown": [album.shown(each) for each in found[:_FINDINGS_SHOWN]],
            "others": found[_FINDINGS_SHOWN:],
        }
        for (severity, kind), found in _by_kind(checkup.findings).items()
    ]
    case = checkup.case
    counts = []
    for number, name in enumerate(case.classes):
        mine = [sample for sample in case.samples if sample.label == number]
        by_split = [sum(sample.split == split for sample in mine) for split in case.splits]
        patients = len({sample.patient for sample in mine}) if case.patients_known else None
        counts.append((name, len(mine), patients, by_split))
    return environment.get_template(_TEMPLATE).render(
        title=title,
        date=datetime.now().astimezone().isoformat(timespec="minutes"),
        images=len(case.samples),
        groups=groups,
        totals={name: sum(each.severity == name for each in checkup.findings) for name in ("fault", "odd", "note")},
        counts=counts,
        splits=case.splits,
        patients_known=case.patients_known,
        pictures_each=_PICTURES_EACH,
        album_full=album.full,
        shared=album.shared,
        pictures_most=_PICTURES,
    )


class _Album:
    """Pictures of images, each made once, up to a limit."""

    def __init__(self, checkup: Checkup) -> None:
        self._samples = {checkup.case.file(number): sample for number, sample in enumerate(checkup.case.samples)}
        self._made: dict[str, tuple[str, str]] = {}
        self.full = False
        folders = {str(sample.folder) for sample in checkup.case.samples}
        self.shared = folders.pop() if len(folders) == 1 else ""

    def shown(self, finding: Finding) -> Shown:
        """Bring a finding to the page with its first pictures."""
        taken = [file for file in finding.files if file in self._samples][:_PICTURES_EACH]
        pictures = []
        for file in taken:
            if file not in self._made and len(self._made) >= _PICTURES:
                self.full = True
                break
            if file not in self._made:
                self._made[file] = self._picture(self._samples[file])
            pictures.append((self._short(file), *self._made[file]))
        return Shown(finding, tuple(pictures))

    def _short(self, file: str) -> str:
        """A path without what all of them share."""
        return file[len(self.shared) :].lstrip(os.sep) if self.shared else file

    @staticmethod
    def _picture(sample: Sample) -> tuple[str, str]:
        """A small picture as a data address, or why there is none."""
        try:
            pixels = sample.parcel().decode().pixels
        except ImageRefused as error:
            return "", error.sentence
        picture = Image.fromarray(pixels)
        picture.thumbnail((_PICTURE_PX, _PICTURE_PX), reducing_gap=2.0)
        out = io.BytesIO()
        picture.save(out, "JPEG", quality=80)
        return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode(), ""

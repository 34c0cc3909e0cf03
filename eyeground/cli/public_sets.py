"""The public data sets: listed, brought into a folder, checked; or the exact steps to get one by hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from eyeground.cli.config import ConfigError
from eyeground.cli.console import answer, table, tell
from eyeground.cli.transfer import transferring
from eyeground.data.delivery import RECORD, Arrived, arrived, deliver
from eyeground.data.problem import DataProblems
from eyeground.data.public import PublicDataset
from eyeground.data.public_folder import LayoutReport, check_layout, find_copy, open_source
from eyeground.data.table import nearest
from eyeground.pick import names, pick


def public_set(name: str) -> PublicDataset:
    """Take a public set from the shelf.

    Args:
        name: Its name there.

    Returns:
        Its description.

    Raises:
        ConfigError: If the shelf has none of that name; the near ones are named.

    Example:
        >>> public_set("octid").modality
        'oct'

    References:
        Our own.
    """
    offered = names("data.datasets")
    if name not in offered:
        raise ConfigError(
            f"there is no public set {name!r}{nearest(name, offered)} 'eyeground data fetch' lists them: "
            + ", ".join(offered)
        )
    dataset: PublicDataset = pick("data.datasets", name).DATASET
    return dataset


def list_sets(*, as_json: bool) -> None:
    """List the public sets.

    Args:
        as_json: End with one JSON line.

    Example:
        >>> list_sets(as_json=False)
        15 public sets; 'eyeground data fetch NAME --to FOLDER' brings one, or says how to get it

    References:
        Our own.
    """
    sets = [public_set(name) for name in names("data.datasets")]
    rows = [
        [each.name, each.modality, len(each.classes), each.images or "?", each.licence, _way(each)] for each in sets
    ]
    table("public sets", ["name", "modality", "classes", "images", "licence", "how"], rows)
    answer(
        {"sets": [_description(each) for each in sets]},
        as_json=as_json,
        last_line=f"{len(sets)} public sets; 'eyeground data fetch NAME --to FOLDER' brings one, or says how to get it",
    )


def fetch_set(name: str, folder: Path | None, *, as_json: bool) -> None:
    """Bring a public set into a folder where its site allows it, and check it; else say the exact steps.

    Args:
        name: Its name on the shelf.
        folder: Where to put it, or where it lies already; None = only describe it.
        as_json: End with one JSON line.

    Raises:
        ConfigError: If there is no such set, or the folder is a file.
        DownloadFailed: If a file cannot be brought here.
        DataProblems: If an archive is hostile or damaged, or what is in the folder is not the set; all of it at once.
        OSError: If the disk is full.

    Example:
        >>> fetch_set("octid", None, as_json=False)
        not fetched: give --to FOLDER, or follow the steps above

    References:
        Our own.
    """
    dataset = public_set(name)
    _describe(dataset)
    if folder is not None and folder.exists() and not folder.is_dir():
        raise ConfigError(f"--to {folder}: is a file; name a folder")
    own = folder is not None and not (folder / RECORD).exists() and _has_data(dataset, folder)
    files: tuple[Arrived, ...] = ()
    fetched = False
    if folder is not None and dataset.downloads and not own:
        here = {each.url for each in arrived(folder)}
        with transferring() as moved:
            files = deliver(dataset, folder, progress=moved)
        fetched = any(each.url not in here for each in files)
        for each in files:
            what = "as published" if each.known else f"noted in {folder / RECORD}, because nobody publishes it"
            tell(f"{each.file}: sha256 {each.sha256[:16]}..., {what}")
    elif folder is None or not own:
        _steps(dataset, folder)
        last = f"check it with 'eyeground data fetch {name} --to {folder}'" if folder else "give --to FOLDER, or follow"
        answer(
            _description(dataset) | {"fetched": False, "checked": False, "folder": str(folder) if folder else None},
            as_json=as_json,
            last_line=f"not fetched: {last}" + ("" if folder else " the steps above"),
        )
        return
    report = check_layout(dataset, folder)
    _report(dataset, report)
    if report.problems:
        raise DataProblems(report.problems)
    keys = _keys(dataset, folder)
    answer(
        _description(dataset)
        | {
            "fetched": fetched,
            "checked": True,
            "folder": str(folder),
            "root": str(report.root),
            "layout": report.layout,
            "found": report.images,
            "complete": report.complete,
            "counts": report.counts,
            "notes": list(report.notes),
            "files": [{"file": each.file, "sha256": each.sha256, "known": each.known} for each in files],
            "config": keys,
        },
        as_json=as_json,
        last_line=f"{name}: {report.images} images in {report.root}",
    )


def _has_data(dataset: PublicDataset, folder: Path) -> bool:
    """Tell whether a folder is to be checked instead of filled."""
    if not folder.is_dir():
        return False
    if not dataset.downloads:
        return any(not each.name.startswith(".") for each in folder.iterdir())
    return find_copy(dataset, folder) is not None


def _keys(dataset: PublicDataset, folder: Path) -> dict[str, Any] | None:
    """Show the keys that open a copy in a configuration."""
    try:
        source = open_source(dataset, folder)
    except OSError as error:
        tell(f"note: its tables could not be joined there ({error}); allow writing, or copy it to where you may write")
        return None
    for each in source.data:
        if "table" in each:
            tell(f"its labels, patients and splits are in {each['table']}")
    keys = source.keys()
    tell("keys for a config:", *(f"  {line}" for line in _yaml(keys).splitlines()))
    return keys


def _way(dataset: PublicDataset) -> str:
    """How a set is to be had."""
    return "download" if dataset.downloads else "steps"


def _description(dataset: PublicDataset) -> dict[str, Any]:
    """A set as plain values."""
    return {
        "name": dataset.name,
        "title": dataset.title,
        "page": dataset.page,
        "licence": dataset.licence,
        "citation": dataset.citation,
        "modality": dataset.modality,
        "images": dataset.images,
        "ordered": dataset.ordered,
        "patients_known": dataset.patients_known,
        "downloadable": bool(dataset.downloads),
        "classes": [
            {"label": each.label, "en": each.en, "zh": each.zh, "images": each.images} for each in dataset.classes
        ],
        "layouts": [{"name": each.name, "tree": each.tree.splitlines()} for each in dataset.layouts],
        "steps": [step.format(folder="FOLDER") for step in dataset.steps],
    }


def _describe(dataset: PublicDataset) -> None:
    """Show what a set is."""
    rows = [[each.label, each.en, each.zh, "?" if each.images is None else each.images] for each in dataset.classes]
    table(dataset.title, ["class", "name", "名称", "images"], rows)
    tell(
        f"page:     {dataset.page}",
        f"licence:  {dataset.licence} (as last seen; read it on the page before use)",
        f"cite:     {dataset.citation}",
    )


def _steps(dataset: PublicDataset, folder: Path | None) -> None:
    """Show what to do by hand."""
    place = str(folder) if folder else "FOLDER"
    if dataset.downloads:
        tell(f"'eyeground data fetch {dataset.name} --to {place}' downloads it. By hand:")
    else:
        tell("its site gives it only to people, so this is yours to do:")
    steps = [*dataset.steps, f"then run: eyeground data fetch {dataset.name} --to {place}"]
    tell(*(f"  {number}. {step.format(folder=place)}" for number, step in enumerate(steps, start=1)))
    tell("laid out as:")
    for layout in dataset.layouts:
        tell(f"  {layout.name}", *(f"    {line}" for line in layout.tree.splitlines()))


def _report(dataset: PublicDataset, report: LayoutReport) -> None:
    """Show what a folder holds of a set."""
    if report.root is not None:
        tell(f"found in {report.root}, laid out as: {report.layout}")
    if report.counts:
        rows: list[Sequence[object]] = [
            [split or "all", *(counts[each.label] for each in dataset.classes), sum(counts.values())]
            for split, counts in report.counts.items()
        ]
        if len(dataset.classes) <= 8:
            table(f"{report.images} images", ["split", *(each.label for each in dataset.classes), "all"], rows)
        else:
            table(f"{report.images} images", ["split", "all"], [[row[0], row[-1]] for row in rows])
    tell(*(f"note: {note}" for note in report.notes))


def _yaml(keys: dict[str, Any]) -> str:
    """Keys as they stand in a configuration."""
    return str(yaml.safe_dump(keys, allow_unicode=True, sort_keys=False, width=1000, default_flow_style=None))

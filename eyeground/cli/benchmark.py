"""A public set as a benchmark: the user's copy of it, and the recipe that published rows were trained with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from eyeground.cli.config import FREE_KEYS, ConfigError
from eyeground.cli.config_file import check_config, load_config
from eyeground.cli.finetune_config import FinetuneConfig
from eyeground.data.manifest import Source, read_manifest, survey
from eyeground.data.problem import DataProblems, Problem
from eyeground.data.public import PublicDataset, plain
from eyeground.data.public_folder import RATIOS, check_layout, open_source
from eyeground.data.table import open_table
from eyeground.evaluate.wording import counted

RECIPE = Path(__file__).with_name("reproduce.yaml")
# What a set's own description says, and where a run lies: nobody's to choose here.
OWN_KEYS = ("data", "classes", "ordered", "split", "split_seed", "out")
# Keys that may differ from the recipe's without making a result another one.
_HARMLESS = FREE_KEYS | {*OWN_KEYS, "engine", "seed", "precision"}
_FIRST = ("weights", "model", "image_px", "epochs")


@dataclass(frozen=True)
class Copy:
    """A user's copy of a public set.

    Args:
        folder: Where it was looked for.
        root: Where its layout begins; None = it cannot be used.
        layout: How it is laid out, in words.
        images: How many images it has, or its cleaned table names.
        keys: Keys of a configuration that open it.
        differences: What keeps it from being the published one.
        notes: What a user should know.
        problems: Why it cannot be used.

    Example:
        >>> Copy(Path("octid"), None, problems=("is not there",)).keys
        {}

    References:
        Our own.
    """

    folder: Path
    root: Path | None
    layout: str = ""
    images: int = 0
    keys: Mapping[str, Any] = field(default_factory=dict)
    differences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def recipe_with(words: Sequence[str] = ()) -> FinetuneConfig:
    """Take the published recipe, with some keys changed; its data is still to be filled in.

    Args:
        words: ``key=value`` words.

    Returns:
        The checked configuration.

    Raises:
        ConfigError: If a key is unknown, out of range, or one that the set itself decides; all of them at once.

    Example:
        >>> recipe_with(["epochs=2"]).epochs, recipe_with().lr
        (2, 0.0005)

    References:
        BUAAzxy/2025BUAA_AIFramework_homework, run.sh.
    """
    own = [key for key in (word.partition("=")[0].strip() for word in words) if key.split(".")[0] in OWN_KEYS]
    if own:
        raise ConfigError(
            f"{', '.join(own)}: reproduce takes this from the set itself; --data says where the sets are, --out where "
            "the runs go. For a free choice there is 'eyeground finetune'"
        )
    return load_config(RECIPE, [*words, "data=."])


def with_data(config: FinetuneConfig, keys: Mapping[str, Any], *, where: str) -> FinetuneConfig:
    """Fill a set's keys into a recipe.

    Args:
        config: The recipe.
        keys: As ``Copy.keys`` has them.
        where: What to name in messages.

    Returns:
        The checked configuration.

    Raises:
        ConfigError: If they do not go together.

    Example:
        >>> with_data(recipe_with(), {"data": "photos", "split": "55:15:30"}, where="retina").split
        '55:15:30'

    References:
        Our own.
    """
    return check_config({**config.model_dump(mode="json"), **keys}, where=where)


def differences(settings: Mapping[str, Any], recipe: FinetuneConfig) -> list[str]:
    """Say which settings differ from the published recipe in a way that makes another result.

    Args:
        settings: Keys and plain values of a run; keys that are not there count as the recipe's.
        recipe: The recipe.

    Returns:
        A few words for each, what matters most first.

    Example:
        >>> differences({"epochs": 2, "image_px": 96, "workers": 0, "precision": "fp32"}, recipe_with())
        ['image_px 96, not 224', 'epochs 2, not 50']
        >>> differences({"batch_size": 4, "accumulation": 4}, recipe_with())
        []

    References:
        Our own.
    """
    wanted = recipe.model_dump(mode="json")
    keys = [*_FIRST, *(key for key in wanted if key not in _FIRST)]
    other = [key for key in keys if key not in _HARMLESS and settings.get(key, wanted[key]) != wanted[key]]
    steps = [{**wanted, **settings}, wanted]
    if len({each["batch_size"] * each["accumulation"] for each in steps}) == 1:
        # Nothing in a ViT looks across a batch: as many images a step are the same step.
        other = [key for key in other if key not in ("batch_size", "accumulation")]
    return [f"{key} {_word(settings[key])}, not {_word(wanted[key])}" for key in other]


def find_copy(dataset: PublicDataset, data: Path, labels: Path) -> Copy:
    """Find a user's copy of a set, and check it; no image is opened.

    A table ``<set>.csv`` beside the set's folder, such as ``eyeground doctor --fix`` writes, takes the place of the
    copy's own labels and splits; where it does otherwise than they do, or names no split, the differences say so.

    Args:
        dataset: The set.
        data: Folder that holds the sets, each under its name on the shelf or the one it is published under.
        labels: Where to write the labels of a set whose own tables cannot be read as they are.

    Returns:
        The copy, with the reasons if it cannot be used.

    Raises:
        DataProblems: If the cleaned table cannot be used.
        OSError: If the labels cannot be written.

    Example:
        >>> from eyeground.pick import pick
        >>> find_copy(pick("data.datasets", "octid").DATASET, Path("no/such/folder"), Path("labels.csv")).problems
        ("no/such/folder/octid: there is no such folder (nor OCTID); 'eyeground data fetch octid' says how to get it",)

    References:
        Our own.
    """
    names = list(dict.fromkeys((dataset.name, *_usual_names(dataset))))
    folder = _folder(data, names)
    if folder is None:
        nor = f" (nor {', '.join(names[1:])})" if names[1:] else ""
        told = f"there is no such folder{nor}; 'eyeground data fetch {dataset.name}' says how to get it"
        return Copy(data / dataset.name, None, problems=(f"{data / dataset.name}: {told}",))
    report = check_layout(dataset, folder)
    if report.problems or report.root is None:
        return Copy(folder, None, report.layout, problems=tuple(map(str, report.problems)))
    labels.parent.mkdir(parents=True, exist_ok=True)
    source = open_source(dataset, folder, table=labels)
    if not source.classes:
        told = "its labels are in nothing that is read here; it serves 'eyeground pretrain'"
        return Copy(folder, None, report.layout, problems=(f"{folder}: {told}",))
    copy = Copy(folder, report.root, report.layout, report.images, source.keys(), notes=report.notes)
    cleaned = data / f"{dataset.name}.csv"
    if cleaned.is_file():
        copy = _with_table(copy, cleaned)
    split, other = copy.keys["split"], list(copy.differences)
    if split != "source":
        other.append(f"split {split} drawn here, not the published one")
    if dataset.images is not None and copy.images != dataset.images:
        other.append(f"{copy.images:,} images, not {dataset.images:,}")
    elif report.complete is False and split == "source":
        other.append("its splits are not the published ones")
    return replace(copy, differences=tuple(other))


def _with_table(copy: Copy, table: Path) -> Copy:
    """The copy with a table in place of its own labels and splits, and what the table does otherwise."""
    columns = open_table(table).columns
    [own] = copy.keys["data"]
    if missing := [column for column in ("file", "label") if column not in columns]:
        fix = f"eyeground doctor {own['path']} --fix {table}"
        raise DataProblems(
            [Problem(f"has no column {' and no column '.join(missing)}; write it with: {fix}", str(table))]
        )
    known = {"file": "file", "label": "label", "group": "patient", "split": "split"}
    named = {key: column for key, column in known.items() if column in columns}
    source = {"path": own["path"], "name": own["name"], "table": str(table), **named}
    classes = copy.keys["classes"]
    rows = {each.file: each for each in read_manifest([_source(source)], classes=classes).samples}
    # The copy's own faults, such as one image in two splits, are what the table is there for.
    theirs = {each.file: each for each in survey([_source(own)], classes=classes)[0].samples}
    both = [(rows[file], theirs[file]) for file in rows.keys() & theirs.keys()]
    splits = "split" in named
    has_splits = copy.keys["split"] == "source"
    found = {
        "under another label": sum(row.label != each.label for row, each in both),
        "in another split": sum(row.split != each.split for row, each in both) if splits and has_splits else 0,
        "left out": len(theirs.keys() - rows.keys()),
        "added": len(rows.keys() - theirs.keys()),
    }
    words = [f"{counted(count, 'image')} {what}" for what, count in found.items() if count]
    words += ["splits of its own"] if splits and not has_splits else []
    return replace(
        copy,
        images=len(rows),
        keys={**copy.keys, "data": [source], "split": "source" if splits else RATIOS},
        differences=(f"{table.name}: {', '.join(words)}",) if words else (),
        notes=(
            *copy.notes,
            f"labels and splits are those of {table}"
            if splits
            else f"labels are those of {table}; it has no column split, so one is drawn",
        ),
    )


def _source(keys: Mapping[str, str]) -> Source:
    """A source as a configuration names it, to be read."""
    words: dict[str, Any] = {key: Path(word) if key in ("path", "table") else word for key, word in keys.items()}
    return Source(**words)


def _usual_names(dataset: PublicDataset) -> list[str]:
    """Names of the folder that a published archive unpacks to."""
    heads = [layout.tree.partition("/")[0] for layout in dataset.layouts]
    return [head for head in heads if head.isidentifier()]


def _folder(data: Path, names: Sequence[str]) -> Path | None:
    """The folder of one of these names, spelled just so or with other capitals."""
    inside = sorted(each for each in data.iterdir() if each.is_dir()) if data.is_dir() else []
    spelled = {plain(name) for name in names}
    exact = [each for each in inside if each.name in names]
    return next(iter([*exact, *(each for each in inside if plain(each.name) in spelled)]), None)


def _word(value: Any) -> str:
    """A value as one writes it in a configuration."""
    if isinstance(value, list):
        return f"[{', '.join(map(_word, value))}]"
    return "none" if value is None or value == "" else f"{value:g}" if isinstance(value, float) else str(value)

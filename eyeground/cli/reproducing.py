"""Published benchmarks run again: a run per set, each done once, and a table beside the published rows."""

import json
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from eyeground.atomic_file import write_whole
from eyeground.cli.benchmark import RECIPE, Copy, find_copy, recipe_with, with_data
from eyeground.cli.config import ConfigError
from eyeground.cli.console import answer, table, tell
from eyeground.cli.exit_codes import BAD_INPUT, EXIT_CODES, FAILED, kind_of
from eyeground.cli.experiment import carry_out
from eyeground.cli.finetune_config import FinetuneConfig
from eyeground.cli.public_sets import public_set
from eyeground.cli.rerun import (
    changed,
    is_done,
    read_record,
    rerun_of,
    settings_of,
    state_of,
    weights_sha256,
    write_record,
)
from eyeground.cli.run_folder import only_one, stop_on_signal
from eyeground.data.problem import DataProblems
from eyeground.evaluate.reproduction import METRICS, Reproduction, limits, sentences
from eyeground.evaluate.reproduction_page import render_reproduction
from eyeground.evaluate.reproduction_table import as_csv, markdown, text
from eyeground.evaluate.wording import shown, titled
from eyeground.model.optimization import Framework
from eyeground.pick import names
from eyeground.train.loop import Interrupted

# What the Paddle study ran, in its order.
STUDY = ("octid", "retina", "aptos2019", "jsiec")
_TABLES = ("table.json", "table.csv", "table.md", "table.html")
_MOST_WORDS = 600  # of a reason in the table; the terminal shows all of it


@dataclass(frozen=True)
class Task:
    """One set to run.

    Args:
        name: Its name on the shelf.
        run: Folder of its run.
        copy: The user's copy.
        config: With which settings; None = it cannot be run.

    Example:
        >>> Task("octid", Path("runs/reproduce/torch/octid"), Copy(Path("octid"), None), None).config is None
        True

    References:
        Our own.
    """

    name: str
    run: Path
    copy: Copy
    config: FinetuneConfig | None


def reproduce_sets(
    wanted: Sequence[str],
    *,
    data: Path,
    out: Path,
    engine: Framework,
    weights: str | None,
    seed: int,
    overrides: Sequence[str],
    as_json: bool,
) -> int:
    """Run the published recipe on public sets, as far as that was not done, and lay the results beside published ones.

    A set that cannot be run, or fails, does not stop the others.

    Args:
        wanted: Names on the shelf; none = the four of the Paddle study.
        data: Folder that holds the sets.
        out: Folder of the runs and the table.
        engine: Framework to train in.
        weights: What to start from; None = what the recipe says.
        seed: Draws everything random.
        overrides: ``key=value`` words that change the recipe, and come after all of these.
        as_json: End with one JSON line.

    Returns:
        The exit code: 0 if every set is done, else that of what went wrong.

    Raises:
        ConfigError: If a name, a folder or a key is wrong, or a run was begun with other settings; nothing is run then.
        Interrupted: If a person stopped it; the same command goes on.

    References:
        docs/run.md for the exit codes.
    """
    started = time.monotonic()
    chosen = _known(list(dict.fromkeys(wanted)) or list(STUDY))
    words = [f"engine={engine}", f"seed={seed}"]
    words += [f"weights={json.dumps(weights, ensure_ascii=False)}"] if weights else []
    settings = recipe_with([*words, *overrides])
    if not data.is_dir():
        raise ConfigError(f"--data {data}: there is no such folder; name the one that holds the sets")
    if _is_foreign(out):
        raise ConfigError(f"--out {out}: holds something else than a reproduction; choose another")
    shelf = out / settings.engine
    shelf.mkdir(parents=True, exist_ok=True)
    with only_one(shelf), stop_on_signal() as stop_wanted:
        tasks = [_task(name, data, shelf, settings) for name in chosen]
        sha256 = weights_sha256(settings.weights)
        _refuse_changes(tasks, sha256)
        work = _Work(out, chosen, settings.engine, sha256, stop_wanted)
        work.write()
        codes = work.carry_out(tasks)
        found = work.write()
    _show(found)
    answer(
        {
            "out": str(out),
            "engine": settings.engine,
            "seconds": round(time.monotonic() - started, 1),
            "sets": {task.name: {"state": state_of(task.run), "run": str(task.run)} for task in tasks},
            "says": sentences(found),
            "rows": found.rows(),
        },
        as_json=as_json,
        last_line=f"table: {out / 'table.html'}",
    )
    return FAILED if FAILED in codes else max(codes, default=0)


def _is_foreign(out: Path) -> bool:
    """Whether a folder holds something else; one that was left before its first table is still ours."""
    if not out.is_dir():
        return out.exists()
    own = {*get_args(Framework), *_TABLES}
    others = any(each.name not in own and not each.name.startswith(".") for each in out.iterdir())
    return others and not (out / "table.json").is_file()


def _known(chosen: Sequence[str]) -> list[str]:
    """The sets' names, all of which are on the shelf."""
    unknown = []
    for name in chosen:
        try:
            public_set(name)
        except ConfigError as error:
            unknown.append(str(error))
    if unknown:
        raise ConfigError("\n".join(unknown))
    return list(chosen)


def _task(name: str, data: Path, shelf: Path, settings: FinetuneConfig) -> Task:
    """Look at a set's copy, and say what will be run on it."""
    run = shelf / name
    try:
        copy = find_copy(public_set(name), data, run / "labels.csv")
        config = None if copy.problems else with_data(settings, {**copy.keys, "out": str(run)}, where=name)
    except (DataProblems, ConfigError, OSError) as error:
        problems = map(str, error.problems) if isinstance(error, DataProblems) else [str(error)]
        copy, config = Copy(data / name, None, problems=tuple(problems)), None
    what = f"{copy.root}: {copy.layout}, {copy.images:,} images" if config else "cannot be used"
    tell(f"{name:<10} {what}", *(f"           {line}" for line in (*copy.problems, *copy.notes)))
    return Task(name, run, copy, config)


def _begun(task: Task, sha256: str) -> dict[str, Any]:
    """What a set's run is begun with."""
    if task.config is None:
        return {}
    return {
        "set": task.name,
        "settings": settings_of(task.config),
        "weights_sha256": sha256,
        "layout": task.copy.layout,
        "images": task.copy.images,
        "differences": list(task.copy.differences),
        "failed": "",
    }


def _refuse_changes(tasks: Sequence[Task], sha256: str) -> None:
    """Refuse to go on with runs that were begun otherwise, all of them in one message."""
    told = [(task, changed(task.run, _begun(task, sha256))) for task in tasks]
    if any(other for _, other in told):
        lines = [f"  {task.run}: {'; '.join(other)}" for task, other in told if other]
        raise ConfigError(
            "\n".join(["there are runs that were begun with other settings:", *lines])
            + "\nchoose another --out, put the settings back, or remove those folders to have them run anew"
        )


class _Work:
    """The runs of one call, and the table of all calls."""

    def __init__(
        self, out: Path, chosen: Sequence[str], engine: Framework, sha256: str, stop_wanted: Callable[[], bool]
    ) -> None:
        self._out, self._chosen, self._engine, self._sha256 = out, chosen, engine, sha256
        self._stop_wanted = stop_wanted
        self._recipe = recipe_with()
        self._again = shlex.join(["eyeground", *sys.argv[1:]])

    def carry_out(self, tasks: Sequence[Task]) -> list[int]:
        """Run what is not done; the exit codes of what went wrong."""
        waiting = [task for task in tasks if not is_done(task.run)]
        tell(f"{len(tasks)} sets, {len(tasks) - len(waiting)} of them done before")
        codes, seconds, images = [], 0.0, 0
        for number, task in enumerate(waiting, 1):
            if self._stop_wanted():
                raise Interrupted(f"stopped before {task.name}; what is done is kept. Go on with: {self._again}")
            begun = time.monotonic()
            code = self._run(task)
            self.write()
            if code:
                codes.append(code)
            else:
                seconds, images = seconds + time.monotonic() - begun, images + task.copy.images
            rest = sum(other.copy.images for other in waiting[number:] if other.config)
            left = f"; about {seconds / images * rest / 60:.0f} min left" if images and rest else ""
            state = state_of(task.run).partition(":")[0]
            tell(f"[{number}/{len(waiting)}] {task.name}: {state}{left}")
        return codes

    def _run(self, task: Task) -> int:
        """Run one set, or go on with it; the exit code that a failure stands for."""
        if task.config is None:
            # What was begun stays as it is recorded; only the reason why it does not go on is new.
            words = shown("; ".join(task.copy.problems), _MOST_WORDS)
            write_record(task.run, {"set": task.name, **read_record(task.run), "failed": f"skipped: {words}"})
            return BAD_INPUT
        record = _begun(task, self._sha256)
        if (task.run / "config.yaml").is_file():
            # It goes on from its checkpoint: what it began from may be gone by now.
            record["weights_sha256"] = read_record(task.run)["weights_sha256"]
        write_record(task.run, record)
        try:
            carry_out(
                task.config,
                name=task.name,
                resume=task.run,
                stop=lambda: nullcontext(self._stop_wanted),
                again=self._again,
            )
        except Interrupted:
            self.write()
            raise
        except Exception as error:
            kind = kind_of(error)
            if kind is None:
                raise
            tell(f"{task.name} failed: {error}", *_advice(error, task))
            write_record(task.run, {**record, "failed": f"failed: {shown(' '.join(str(error).split()), _MOST_WORDS)}"})
            return EXIT_CODES[kind]
        return 0

    def write(self) -> Reproduction:
        """Write the table in all its forms from what the runs' folders say."""
        engines = [each for each in get_args(Framework) if each == self._engine or any((self._out / each).glob("*/"))]
        run = {path.name for each in engines for path in (self._out / each).glob("*/")}
        order = [*STUDY, *(name for name in names("data.datasets") if name not in STUDY)]
        sets = {name: public_set(name).title for name in order if name in {*self._chosen, *run}}
        reruns = [rerun_of(self._out, name, engine, self._recipe) for name in sets for engine in engines]
        found = Reproduction(sets, tuple(engines), tuple(reruns))
        plain = {"engines": engines, "sets": sets, "says": sentences(found), "limits": limits(), "rows": found.rows()}
        page = render_reproduction(
            found,
            date=datetime.now(UTC).isoformat(timespec="minutes"),
            command=self._again,
            recipe=RECIPE.read_text("utf-8"),
        )
        whole = json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        for name, content in zip(_TABLES, (whole, as_csv(found), markdown(found), page), strict=True):
            write_whole(self._out / name, content.encode("utf-8", "replace"))
        return found


def _advice(error: Exception, task: Task) -> list[str]:
    """What to do about images that no run may have twice."""
    if not (isinstance(error, DataProblems) and "the very same image" in str(error)):
        return []
    words = ["eyeground", "doctor", str(task.copy.root)]
    for source in task.copy.keys["data"]:
        # Without its name a column of splits is not looked for, and the new table would have none.
        named = {"table": "--table", "split": "--split-column"}
        words += [word for key, flag in named.items() if key in source for word in (flag, source[key])]
    words += ["--fix", str(task.copy.folder.parent / f"{task.name}.csv")]
    return [f"a table without them, which reproduce takes once it is there: {shlex.join(words)}"]


def _show(found: Reproduction) -> None:
    """Show the table on the terminal, set by set."""
    for name, title in found.sets.items():
        columns = found.columns(name)
        states = (
            []
            if all(column.scores for column in columns)
            else [["", *("" if column.scores else shown(column.state, 40) for column in columns)]]
        )
        images = ["" if column.test_images is None else str(column.test_images) for column in columns]
        rows = [[titled(metric), *(text(column.scores.get(metric)) for column in columns)] for metric in METRICS]
        table(shown(title), ["", *found.titles], [*states, ["test images", *images], *rows])
        tell(*(f"{column.title}: {column.remark}" for column in columns if column.remark))
    tell(*sentences(found))

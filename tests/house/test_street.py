"""The law of the street where import-linter does not look: what pick() loads, and what a start of the CLI loads."""

import ast
import builtins
import json
import os
import shutil
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from .checkout import PACKAGE, ROOT, modules, public_functions, shelf

# From left to right; the first three lie below all.
STREET = (
    "pick",
    "atomic_file",
    "sandbox",
    "images",
    "data",
    "model",
    "train",
    "evaluate",
    "explain",
    "serve",
    "clinic",
    "cli",
    "__main__",
)
HEAVY = {
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "scipy",
    "sklearn",
    "matplotlib",
    "PIL",
    "pydantic",
    "yaml",
    "pyarrow",
    "sqlalchemy",
    "alembic",
    "fastapi",
}
METRICS, PROFILES, COMMANDS = shelf("evaluate.metrics"), shelf("evaluate.profiles"), shelf("cli.commands")


def _room(module: str) -> int:
    """Where on the street a module lies."""
    return STREET.index(module.split(".")[1])


def _imports(tree: ast.AST) -> set[str]:
    """Modules of the package that a tree imports, anywhere in it."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{name.name}" for name in node.names} | {node.module}
    return {name for name in found if name.startswith("eyeground.") and name in modules()}


def _shelves(tree: ast.AST) -> set[str]:
    """Shelves that a tree asks pick() or names() for."""
    return {
        f"eyeground.{node.args[0].value}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("pick", "names")
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }


def test_the_shelves_are_found() -> None:
    assert len(METRICS) > 10
    assert len(PROFILES) > 2
    assert len(COMMANDS) > 5


def test_every_module_imports_and_picks_only_to_its_left() -> None:
    wrong = []
    for module, tree in modules().items():
        if "." not in module:
            continue
        wanted = _imports(tree) | _shelves(tree)
        wrong += [f"{module} -> {other}" for other in sorted(wanted) if _room(other) > _room(module)]
    assert wrong == []


def test_pick_is_always_asked_for_a_shelf_by_its_name() -> None:
    # A computed name would hide an import from every check.
    asked = [
        f"{module}:{node.lineno}"
        for module, tree in modules().items()
        if module != "eyeground.pick"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "pick"
        and "from eyeground.pick import" in ast.unparse(tree)
        and not (node.args and isinstance(node.args[0], ast.Constant))
    ]
    assert asked == [], f"{asked}: name the shelf in the call"


def _in_order(needs: dict[str, set[str]]) -> list[str]:
    """Modules after all that they need; a circle raises CycleError, which names it."""
    return list(TopologicalSorter(needs).static_order())


def test_there_is_no_circle_through_a_shelf() -> None:
    # Who picks from a shelf may import every file of it; none of these may lead back.
    needs = {}
    for module, tree in modules().items():
        places = tuple(f"{place}." for place in _shelves(tree))
        picked = {name for name in modules() if places and name.startswith(places)}
        needs[module] = (_imports(tree) | picked) - {module}
    assert set(_in_order(needs)) >= set(modules())
    planted = needs | {"eyeground.pick": needs["eyeground.pick"] | {"eyeground.cli.main"}}
    with pytest.raises(CycleError):
        _in_order(planted)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_metric_offers_value_and_reason(name: str) -> None:
    offered = public_functions(METRICS[name])
    assert {"value", "reason"} <= set(offered)
    assert [each.arg for each in offered["value"].args.args] == ["truth", "scores", "weights"]
    assert [each.arg for each in offered["reason"].args.args] == ["truth", "scores", "classes"]


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_a_profile_offers_values_and_their_columns(name: str) -> None:
    offered = public_functions(PROFILES[name])
    assert [each.arg for each in offered["values"].args.args] == ["truth", "scores"]
    assigned = {
        ast.unparse(target) for node in PROFILES[name].body if isinstance(node, ast.Assign) for target in node.targets
    }
    assert "COLUMNS" in assigned


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_command_is_light_helpful_and_answers_programs(name: str) -> None:
    tree = COMMANDS[name]
    command = public_functions(tree)["command"]
    assert ast.get_docstring(command)
    light = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            light |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            light.add(node.module)
    # The last holds nothing but the words that options take.
    weightless = {"pathlib", "typing", "typer", "eyeground.model.optimization"}
    assert light <= weightless, "import the rest inside the command: --help must answer at once"
    told = {each.arg: ast.unparse(each.annotation) for each in command.args.args if each.annotation}
    assert "'--json'" in told["as_json"]
    assert [name for name, annotation in told.items() if "help=" not in annotation] == []


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import json, sys\n"
        "sys.argv = ['eyeground', '--help']\n"
        "from eyeground.cli.main import main\n"
        "try:\n    main()\n"
        "except SystemExit as stop:\n    assert not stop.code\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))\n"
    )
    answer = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    *shown, last = answer.stdout.splitlines()
    assert any("finetune" in line for line in shown)
    loaded = set(json.loads(last))
    assert "typer" in loaded
    assert loaded & HEAVY == set()


def test_every_exit_code_belongs_to_an_error_that_exists() -> None:
    tree = modules()["eyeground.cli.exit_codes"]
    codes = next(
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and ast.unparse(node.targets[0]) == "EXIT_CODES"
        and isinstance(node.value, ast.Dict)
    )
    names = {key.value for key in codes.keys if isinstance(key, ast.Constant)}
    ours = {node.name for each in modules().values() for node in ast.walk(each) if isinstance(node, ast.ClassDef)}
    standard = {name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert len(names) == len(codes.keys)
    assert names - ours - standard == {"OutOfMemoryError"}  # torch's own


def _lint(folder: Path, *, plant: str = "") -> subprocess.CompletedProcess[str]:
    """Run import-linter on a copy of the package, with one more import if asked."""
    shutil.copytree(PACKAGE, folder / "eyeground", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    if plant:
        with (folder / "eyeground" / "train" / "schedule.py").open("a", encoding="utf-8") as file:
            file.write(f"\n{plant}\n")
    script = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", script, "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_import_linter_lets_the_package_pass(tmp_path: Path) -> None:
    pytest.importorskip("importlinter", reason="needs import-linter: make setup")
    answer = _lint(tmp_path)
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize(
    ("plant", "contract"),
    [
        ("import eyeground.evaluate.scorecard", "the one-way street"),
        ("import torch", "tensor frameworks stay behind the cut"),
        ("import eyeground.train.finetune", "no circles inside a room"),
    ],
)
def test_import_linter_stops_an_import_against_the_law(tmp_path: Path, plant: str, contract: str) -> None:
    pytest.importorskip("importlinter", reason="needs import-linter: make setup")
    answer = _lint(tmp_path, plant=plant)
    assert answer.returncode == 1, answer.stdout + answer.stderr
    assert f"{contract} BROKEN" in answer.stdout
    assert ".schedule -> " in answer.stdout

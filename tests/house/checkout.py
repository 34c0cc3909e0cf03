"""The files of the project as git sees them, and its modules as syntax trees: nothing is imported to judge it."""

import ast
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "eyeground"


def tracked() -> list[Path]:
    """Files of the checkout that are committed or would be: what git ignores is left out."""
    try:
        answer = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"needs a git checkout to tell the project's files from others ({error})")
    files = (ROOT / name for name in dict.fromkeys(answer.stdout.decode().split("\0")) if name)
    return [path for path in files if path.is_file()]


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the package, by dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text("utf-8"))
    return found


def shelf(name: str) -> dict[str, ast.Module]:
    """The plug-ins of a shelf, by file name."""
    start = f"eyeground.{name}."
    return {module.removeprefix(start): tree for module, tree in modules().items() if module.startswith(start)}


def public_functions(tree: ast.Module) -> dict[str, ast.FunctionDef]:
    """Functions at the top of a module that do not begin with an underscore."""
    return {
        node.name: node for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }

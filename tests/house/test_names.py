"""No file where things go to get fat, nothing of this machine, nothing that runs foreign code."""

import re
from pathlib import Path

import pytest

from .checkout import PACKAGE, ROOT, modules, tracked

FORBIDDEN = {"util", "utils", "misc", "common", "helper", "helpers", "core", "base", "manager"}
MOST_LINES = 400
MOST_BYTES = 500_000
# Opens foreign pickles, in a process of its own; the only file that may.
UNTRUSTED = PACKAGE / "model" / "formats" / "_unpickler.py"
# Written in pieces, so that this file does not find itself.
REGISTRIES = re.compile("|".join(["py" + r"pi\.", "files.python" + "hosted", "simple" + "/?['\"]?$", "conda" + r"\.an",
                                  "npm" + r"js\.", "index" + "-url", "tsinghua" + r"\.edu"]), re.MULTILINE)  # fmt: skip
THIS_MACHINE = re.compile("|".join(rf"(?<![\w.}}])/{place}/" for place in ("wo" + "rk", "ho" + "me", "ro" + "ot")))
RUNS_CODE = re.compile(
    "|".join(["weights_only *= *" + "False", r"^\s*(?:import|from) +(?:cloud)?" + r"pickle\b", r"torch\." + r"load\("]),
    re.MULTILINE,
)
SWALLOWS = re.compile(
    r"except *(?:\(?(?:Base)?Exception\)?(?: +as +\w+)?)?:\s*\n?\s*" + r"(?:pass|\.\.\.)\s*$", re.MULTILINE
)


@pytest.fixture(scope="module")
def texts() -> dict[Path, str]:
    """Every text of the project."""
    found = {}
    for path in tracked():
        content = path.read_bytes()
        if b"\0" not in content:
            found[path] = content.decode("utf-8", errors="replace")
    return found


def _places(texts: dict[Path, str], pattern: re.Pattern[str]) -> list[str]:
    """Where a pattern is found, as file:line."""
    return [
        f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, found.start()) + 1}"
        for path, text in texts.items()
        for found in pattern.finditer(text)
    ]


def test_no_file_or_folder_has_a_name_that_means_nothing() -> None:
    python = [path.relative_to(ROOT) for path in tracked() if path.suffix == ".py"]
    assert len(python) > 100
    assert [str(path) for path in python if {Path(part).stem.lower() for part in path.parts} & FORBIDDEN] == []


def test_init_files_hold_a_docstring_only() -> None:
    inits = list(PACKAGE.rglob("__init__.py"))
    assert len(inits) > 8
    wrong = []
    for path in inits:
        name = ".".join(path.parent.relative_to(ROOT).parts)
        body = modules()[name].body
        if len(body) != 1 or not path.read_text("utf-8").startswith('"""'):
            wrong.append(name)
    assert wrong == []


def test_no_file_of_the_package_is_too_long() -> None:
    lines = {str(path.relative_to(ROOT)): path.read_text("utf-8").count("\n") for path in PACKAGE.rglob("*.py")}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_no_file_is_too_large() -> None:
    sizes = {str(path.relative_to(ROOT)): path.stat().st_size for path in tracked()}
    assert {name: size for name, size in sizes.items() if size > MOST_BYTES} == {}


def test_no_file_names_a_package_registry(texts: dict[Path, str]) -> None:
    assert _places(texts, REGISTRIES) == []


def test_no_file_names_a_folder_of_one_machine(texts: dict[Path, str]) -> None:
    assert _places(texts, THIS_MACHINE) == []


def test_nothing_unpickles_foreign_files(texts: dict[Path, str]) -> None:
    code = {path: text for path, text in texts.items() if path.suffix == ".py" and path != UNTRUSTED}
    assert _places(code, RUNS_CODE) == []


def test_no_error_is_swallowed_whole(texts: dict[Path, str]) -> None:
    assert _places({path: text for path, text in texts.items() if path.suffix == ".py"}, SWALLOWS) == []


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (REGISTRIES, "https://" + "py" + "pi.org/simple"),
        (REGISTRIES, "--extra-index" + "-url https://x"),
        (THIS_MACHINE, "open('/" + "wo" + "rk/data')"),
        (THIS_MACHINE, "see /" + "ho" + "me/a/b"),
        (RUNS_CODE, "torch.load" + "(path)"),
        (RUNS_CODE, "    import " + "pickle"),
        (RUNS_CODE, "f(weights_only=" + "False)"),
        (SWALLOWS, "except:\n    " + "pass\n"),
        (SWALLOWS, "except Exception:\n    " + "pass\n"),
    ],
)
def test_the_patterns_find_what_they_are_for(pattern: re.Pattern[str], text: str) -> None:
    assert pattern.search(text)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (THIS_MACHINE, "net" + "wo" + "rk/data or ../shared/wo" + "rk/x"),
        (RUNS_CODE, "because a pickle can run code"),
        (SWALLOWS, "except KeyError:\n    pass\n"),
    ],
)
def test_the_patterns_leave_the_rest_alone(pattern: re.Pattern[str], text: str) -> None:
    assert not pattern.search(text)

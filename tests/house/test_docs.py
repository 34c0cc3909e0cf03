"""Documents that are there, lead somewhere, and say of the commands what the commands say."""

import importlib.util
import re

import pytest
import yaml

from eyeground.cli.compare_config import CompareConfig
from eyeground.cli.finetune_config import FinetuneConfig
from eyeground.cli.pretrain_config import PretrainConfig

from .checkout import PACKAGE, ROOT, modules, shelf, tracked

KINDS = {"finetune": FinetuneConfig, "pretrain": PretrainConfig, "compare": CompareConfig}

DOCS = ROOT / "docs"
PAGES = [path for path in tracked() if path.suffix == ".md" and (path.parent == ROOT or DOCS in path.parents)]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)|<(?:img|source)[^>]*\bsrc(?:set)?=\"([^\"]+)\"")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
COMMANDS = sorted(shelf("cli.commands"))
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


def _written() -> dict[str, str]:
    """What the generator writes now; docs is no package that pytest could import by name."""
    spec = importlib.util.spec_from_file_location("docs_commands", DOCS / "commands.py")
    assert spec is not None
    assert spec.loader is not None
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    pages: dict[str, str] = generator.pages()
    return pages


def _anchors(text: str) -> set[str]:
    """Names that headings can be linked by."""
    heads = re.findall(r"^#+ +(.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_a_page_that_says_what_its_help_says(name: str) -> None:
    page = DOCS / "commands" / f"{name}.md"
    assert page.is_file(), f"run 'make docs' and commit {page.relative_to(ROOT)}"
    assert page.read_text("utf-8") == _written()[name], "the help has changed: run 'make docs'"
    assert f"(commands/{name}.md)" in (DOCS / "cli.md").read_text("utf-8")


def test_no_page_is_left_of_a_command_that_is_gone() -> None:
    assert sorted(path.stem for path in (DOCS / "commands").glob("*.md")) == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_page_names_every_option(name: str) -> None:
    page = (DOCS / "commands" / f"{name}.md").read_text("utf-8")
    assert "`--json`" in page
    assert "\x1b" not in page


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_a_page_that_names_its_files(room: str) -> None:
    page = (DOCS / f"{room}.md").read_text("utf-8")
    start = f"eyeground.{room}."
    rest = {name.removeprefix(start) for name in modules() if name.startswith(start)}
    # A folder inside a room, such as a shelf, is named as a whole.
    wanted = {f"`{name.partition('.')[0]}/" if "." in name else f"`{name}.py`" for name in rest}
    wanted -= {f"`{name}.py`" for name in rest if any(other.startswith(f"{name}.") for other in rest)}
    assert {name for name in wanted if name not in page} == set()


def test_the_street_names_every_room() -> None:
    page = (DOCS / "street.md").read_text("utf-8")
    assert [room for room in ROOMS if f"({room}.md)" not in page] == []


@pytest.mark.parametrize("page", [str(path.relative_to(ROOT)) for path in PAGES])
def test_every_link_leads_somewhere(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    broken = []
    for found in LINK.finditer(FENCE.sub("", text)):
        link = found[1] or found[2]
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (ROOT / page).parent / name if name else ROOT / page
        if not target.exists() or (anchor and anchor not in _anchors(target.read_text("utf-8"))):
            broken.append(link)
    assert broken == []


def test_every_config_key_is_written_down_where_the_keys_are() -> None:
    # The page sends readers to the code's own list, so that there is one list only.
    page = (DOCS / "cli.md").read_text("utf-8")
    assert [kind.__name__ for kind in KINDS.values() if f"`{kind.__name__}`" not in page] == []


@pytest.mark.parametrize("path", sorted(str(p.relative_to(ROOT)) for p in (ROOT / "configs").rglob("*.yaml")))
def test_a_config_says_what_it_is_for_and_how_to_run_it(path: str) -> None:
    text = (ROOT / path).read_text("utf-8")
    head = "\n".join(line for line in text.splitlines()[:12] if line.startswith("#"))
    assert path in head, "the head comment gives the command that runs this file"
    assert set(yaml.safe_load(text)) <= set(KINDS[path.split("/")[1]].model_fields)


def test_the_links_are_really_read() -> None:
    found = [one or two for one, two in LINK.findall('[a](b.md#c) ![d](e.png "f") <img src="g.svg" width="3">')]
    assert found == ["b.md#c", "e.png", "g.svg"]
    assert _anchors("# A run's folder\n```\n# no\n```\n## `--json` lines") == {"a-runs-folder", "--json-lines"}

"""Every word that the case page shows of the audit trail is there in both languages."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

from eyeground.clinic import web
from eyeground.clinic.states import STEPS

ROOM = Path(web.__file__).parents[1]
WORDS = tomllib.loads((ROOM / "web" / "templates" / "case.toml").read_text("utf-8"))["events"]
# Where the word itself is handed on: the steps of ``states``, and what ``Sightings.note`` is called with.
HANDED_ON = {"cases.py", "web/sightings.py"}


def notes(path: Path) -> Iterator[ast.Call]:
    """Lines that are written about a case: of ``note(actor, event, case, ...)``."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "note":
            about = node.args[2] if len(node.args) > 2 else ast.Constant(None)
            if not (isinstance(about, ast.Constant) and about.value is None):
                yield node


def test_whatever_is_written_about_a_case_has_words() -> None:
    written, elsewhere = set(STEPS), set()
    for path in ROOM.rglob("*.py"):
        for call in notes(path):
            event = call.args[1]
            if isinstance(event, ast.Constant) and isinstance(event.value, str):
                written.add(event.value)
            else:
                elsewhere.add(path.relative_to(ROOM).as_posix())
    assert {"saved", "link_opened", "report_seen", "drafted", "put_aside"} < written, "the search finds nothing"
    assert elsewhere == HANDED_ON
    assert written - set(WORDS) == set(), "a raw name would stand in the history"
    assert set(WORDS) - written == set(), "words of nothing"
    for event, words in WORDS.items():
        assert set(words) == {"en", "zh"}, event
        assert words["en"].isascii()
        assert any("\u4e00" <= letter <= "\u9fff" for letter in words["zh"]), event

"""A report as a file: what is refused before anything is opened, and what is written."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from eyeground.cli.clinic_report import check_report, write_report
from eyeground.cli.config import ConfigError
from eyeground.clinic.reports import NotSigned

from ..clinic.report.papers import chinese_font, text_of
from ..clinic.web.office import Office, open_office


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """An office with a font."""
    found = open_office(tmp_path / "clinic", font=chinese_font())
    yield found
    found.service.close()


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "there.pdf").write_bytes(b"old")
    with pytest.raises(ConfigError) as refused:
        check_report(tmp_path / "gone" / "a.docx", language="fr", force=False)
    assert [line.partition(":")[0].split()[0] for line in str(refused.value).splitlines()] == [
        "--out",
        "--out",
        "--lang",
    ]
    with pytest.raises(ConfigError, match="already there"):
        check_report(tmp_path / "there.pdf", language="zh", force=False)
    check_report(tmp_path / "there.pdf", language="zh", force=True)


def test_each_kind_says_the_same_and_is_its_owners(office: Office, tmp_path: Path) -> None:
    view = office.signed("m1")
    for kind in ("pdf", "html", "txt"):
        out = tmp_path / f"report.{kind}"
        out.write_bytes(b"old")
        facts = write_report(office.service, view["id"][:8], out, language="zh")
        told = text_of(out.read_bytes()) if kind == "pdf" else out.read_text("utf-8")
        assert facts.number in told
        assert "As the models say" in told
        assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.glob("*report*")) == ["report.html", "report.pdf", "report.txt"]


def test_what_nobody_signed_is_not_written(office: Office, tmp_path: Path) -> None:
    view = office.in_review("m1")
    with pytest.raises(NotSigned):
        write_report(office.service, view["id"], tmp_path / "report.pdf", language="zh")
    assert list(tmp_path.glob("*report*")) == []

"""Files from a server that cuts, lies and changes its mind, and archives that would do harm."""

import errno
import hashlib
import io
import json
import os
import random
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from eyeground.data import download as loading
from eyeground.data.delivery import RECORD, FolderInUse, _alone, arrived, deliver
from eyeground.data.download import DownloadFailed, DownloadWrong, download, sha256_of
from eyeground.data.problem import DataProblems
from eyeground.data.public import ClassFolders, Download, PublicClass, PublicDataset
from eyeground.data.unpack import unpack
from tests.data.file_server import Shop, serving

CONTENT = random.Random(7).randbytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy stands between a test and its own server."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def _load(shop: Shop, folder: Path, sha256: str | None = SHA256, **words: Any) -> Path:
    return download(shop.url("a.zip"), folder, name="a.zip", sha256=sha256, tries=3, pause_s=0.001, **words)


def test_a_file_comes_whole_and_leaves_nothing_else(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    with serving(a_zip=CONTENT) as shop:
        file = _load(shop, tmp_path, progress=lambda done, total: seen.append((done, total)))
        assert file.read_bytes() == CONTENT
        assert shop.asked == ["all"]
        assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
        assert seen[-1] == (len(CONTENT), len(CONTENT))
        assert _load(shop, tmp_path) == file  # here already: nothing is asked for
        assert shop.asked == ["all"]


def test_a_cut_download_asks_only_for_the_missing_bytes(tmp_path: Path) -> None:
    with serving(a_zip=CONTENT) as shop:
        shop.cuts = [1_200_000, 700_000]
        assert _load(shop, tmp_path).read_bytes() == CONTENT
        assert shop.asked == ["all", "bytes=1200000-", "bytes=1900000-"]
        assert shop.sent == [1_200_000, 700_000, 1_100_000]


def test_a_later_call_goes_on_where_the_first_gave_up(tmp_path: Path) -> None:
    with serving(a_zip=CONTENT) as shop:
        shop.cuts = [1_000_000, 0, 0, 0]
        with pytest.raises(DownloadFailed, match=r"1000000 bytes are here; run the same command again"):
            _load(shop, tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip.part", "a.zip.part.json"]
        shop.cuts, shop.asked = [], []
        assert _load(shop, tmp_path).read_bytes() == CONTENT
        assert shop.asked == ["bytes=1000000-"]


def test_a_server_without_ranges_begins_anew(tmp_path: Path) -> None:
    with serving(a_zip=CONTENT) as shop:
        shop.ranges, shop.cuts = False, [1_000_000]
        assert _load(shop, tmp_path).read_bytes() == CONTENT
        assert shop.sent == [1_000_000, len(CONTENT)]


@pytest.mark.parametrize("etag", ['"two"', 'W/"two"', ""])
def test_halves_of_two_files_are_never_joined(tmp_path: Path, etag: str) -> None:
    other = CONTENT[::-1][:-1]
    with serving(a_zip=CONTENT) as shop:
        shop.etag = etag.replace("two", "one")
        shop.cuts = [1_000_000, 0, 0, 0]
        with pytest.raises(DownloadFailed):
            _load(shop, tmp_path, sha256=None)
        shop.files["a.zip"], shop.cuts, shop.etag = other, [], etag
        assert _load(shop, tmp_path, sha256=None).read_bytes() == other


def test_a_file_that_was_loaded_whole_but_not_named_is_not_loaded_again(tmp_path: Path) -> None:
    with serving(a_zip=CONTENT) as shop:
        shop.cuts = [1_000_000, 0, 0, 0]
        with pytest.raises(DownloadFailed):
            _load(shop, tmp_path)
        (tmp_path / "a.zip.part").write_bytes(CONTENT)
        shop.cuts, shop.sent = [], []
        assert _load(shop, tmp_path).read_bytes() == CONTENT
        assert shop.sent == []
        assert shop.asked[-1] == f"bytes={len(CONTENT)}-"


def test_a_wrong_file_is_not_kept(tmp_path: Path) -> None:
    with serving(a_zip=CONTENT) as shop, pytest.raises(DownloadWrong, match=r"not the file expected.*SHA256 hash"):
        _load(shop, tmp_path, sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("status", "words"), [(404, "404: the file has moved"), (403, "403: .* login"), (401, "asks for a login")]
)
def test_a_refusal_is_told_at_once(tmp_path: Path, status: int, words: str) -> None:
    with serving(a_zip=CONTENT) as shop:
        shop.statuses = [status] * 9
        with pytest.raises(DownloadFailed, match=words):
            _load(shop, tmp_path)
        assert len(shop.asked) == 1


def test_a_busy_server_is_asked_again(tmp_path: Path) -> None:
    with serving(a_zip=CONTENT) as shop:
        shop.statuses = [503, 429]
        assert _load(shop, tmp_path).read_bytes() == CONTENT
        shop.statuses = [500] * 3
        with pytest.raises(DownloadFailed, match="cannot be reached"):
            download(shop.url("a.zip"), tmp_path, name="b.zip", sha256=None, tries=3, pause_s=0.001)


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with serving() as shop:
        pass
    with pytest.raises(DownloadFailed, match=r"cannot be reached .*HTTPS_PROXY. 0 bytes"):
        _load(shop, tmp_path)


def test_nothing_is_loaded_over_a_line_that_others_can_change(tmp_path: Path) -> None:
    for url in ("http://example.org/a.zip", "file:///etc/passwd", "ftp://127.0.0.1/a"):
        with pytest.raises(DownloadFailed, match="only https is loaded from"):
            download(url, tmp_path, name="a.zip", sha256=None)
    with serving(a_zip=CONTENT) as shop:
        shop.redirect = "http://example.org/a.zip"
        with pytest.raises(DownloadFailed, match="only https is loaded from"):
            _load(shop, tmp_path)
        shop.redirect = ""


class _Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_a_disk_without_room_is_told_before_a_byte_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading.shutil, "disk_usage", lambda path: _Usage(10, 0, 2_999_999))
    with serving(a_zip=CONTENT) as shop, pytest.raises(OSError, match="3,000,000 bytes are still to come") as error:
        _load(shop, tmp_path)
    assert error.value.errno == errno.ENOSPC
    assert not (tmp_path / "a.zip.part").exists()


def test_a_disk_that_fills_up_keeps_what_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: object, response: Any, file: Any, done: int, total: int) -> int:
        file.write(response.read(1000))
        raise OSError(errno.ENOSPC, "No space left on device")

    with serving(a_zip=CONTENT) as shop:
        with monkeypatch.context() as patch:
            patch.setattr(loading.ResumingDownload, "_copy", full)
            with pytest.raises(OSError, match="No space left on device; 1000 bytes are here already"):
                _load(shop, tmp_path)
        assert _load(shop, tmp_path).read_bytes() == CONTENT
        assert shop.asked == ["all", "bytes=1000-"]


def _zip(**files: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, data in files.items():
            file.writestr(name.replace("__", "/"), data)
    return content.getvalue()


def _tar(*members: tarfile.TarInfo | tuple[str, bytes], mode: str = "w:gz") -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as file:  # type: ignore[call-overload]
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                file.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                file.addfile(info, io.BytesIO(member[1]))
    return content.getvalue()


def _link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_of_any_kind_is_unpacked(tmp_path: Path, mode: str) -> None:
    (tmp_path / "a.tar").write_bytes(_tar(("d/1.png", b"one"), ("d/._1.png", b"mac"), ("2.png", b"two"), mode=mode))
    done = unpack(tmp_path / "a.tar", tmp_path / "a")
    assert (done.files, done.size_bytes) == (2, 6)
    assert {path.relative_to(tmp_path / "a").as_posix() for path in (tmp_path / "a").rglob("*.png")} == {
        "d/1.png",
        "2.png",
    }
    assert (tmp_path / "a" / "2.png").read_bytes() == b"two"
    assert not os.access(tmp_path / "a" / "2.png", os.X_OK)


def _symlink_in_zip() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(info, "/etc/passwd")
        file.writestr("1.png", b"x")
    return content.getvalue()


def _lying_zip() -> bytes:
    """A zip whose header says that a large file is small."""
    content = bytearray(_zip(a=b"\0" * 100_000))
    for place in (content.index(b"PK\x03\x04") + 22, content.index(b"PK\x01\x02") + 24):
        content[place : place + 4] = (10).to_bytes(4, "little")
    return bytes(content)


HOSTILE = {
    "slip": (_zip(**{"..__out.png": b"x", "ok.png": b"x"}), "leads out of the folder"),
    "absolute": (_tar(("/out/1.png", b"x"), mode="w"), "is an absolute path"),
    "backslash": (_zip(**{"..\\..\\out.png": b"x"}), "leads out of the folder"),
    "drive": (_zip(**{"C:\\out.png": b"x"}), "is an absolute path"),
    "symlink": (_tar(_link("a", "/etc"), ("a/passwd", b"x")), "a: is a link"),
    "hardlink": (_tar(("a", b"x"), _link("b", "../a", tarfile.LNKTYPE)), "b: is a link"),
    "zip symlink": (_symlink_in_zip(), "link: is a link"),
    "device": (_tar(_link("null", "", tarfile.CHRTYPE)), "is no plain file"),
    "pipe": (_tar(_link("pipe", "", tarfile.FIFOTYPE)), "is no plain file"),
    "twice": (_tar(("a.png", b"x"), ("a.png", b"y")), "stands in it twice"),
    "file and folder": (_tar(("a", b"x"), ("a/b.png", b"y")), "stands in it twice, or is a file and a folder"),
    "bomb": (_zip(a=b"\0" * 20_000, b=b"\0" * 20_000), "would unpack to more than 30,000 bytes"),
    "lying bomb": (_lying_zip(), "unpacks to more than|damaged archive"),
    "control": (_zip(**{"a\x1b[31m.png": b"x"}), "is no usable file name"),
    "page": (b"<html>please log in</html>", "is neither zip nor tar; what the server sent may be a page"),
    "cut zip": (_zip(a=b"x" * 500)[:300], "is neither zip nor tar"),
    "cut tar": (_tar(("a", os.urandom(5000)))[:3000], "is a damaged archive"),
    "cut at a border": (_tar(("a", b"x" * 512), ("b", b"y" * 512), mode="w")[:2048], "is a damaged archive"),
    "no files": (_tar(("._a", b"x")), "is an archive without files"),
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_a_hostile_or_damaged_archive_leaves_nothing(tmp_path: Path, name: str) -> None:
    content, words = HOSTILE[name]
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "a.zip").write_bytes(content)
    with pytest.raises(DataProblems, match=words):
        unpack(inner / "a.zip", inner / "a", most_bytes=30_000)
    assert [path.name for path in inner.iterdir()] == ["a.zip"]
    assert [path.name for path in tmp_path.iterdir()] == ["inner"]


def test_all_that_is_wrong_with_an_archive_comes_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(_tar(("../x", b"x"), _link("a", "b"), ("ok", b"x"), ("/y", b"y"), mode="w"))
    with pytest.raises(DataProblems) as error:
        unpack(tmp_path / "a.tar", tmp_path / "a")
    assert [problem.file for problem in error.value.problems] == ["a.tar: ../x", "a.tar: a", "a.tar: /y"]


def test_a_damaged_photograph_in_a_zip_is_found_by_its_checksum(tmp_path: Path) -> None:
    content = bytearray(_zip(a=b"x" * 5000))
    content[2000] ^= 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataProblems, match="damaged archive"):
        unpack(tmp_path / "a.zip", tmp_path / "a")


def _set(shop: Shop, *files: str, sha256: str | None = None, archive: bool = True) -> PublicDataset:
    return PublicDataset(
        name="made_up",
        title="Made up",
        page="https://example.org",
        licence="CC0",
        citation="-",
        modality="fundus",
        classes=(PublicClass("normal", "Normal", "正常"),),
        images=None,
        patients_known=False,
        layouts=(ClassFolders("a folder per class", "<class>/*.png", "{n}.png"),),
        downloads=tuple(Download(shop.url(file), file, sha256, archive) for file in files),
    )


def _bring(shop: Shop, folder: Path, *files: str, **words: Any) -> tuple[str, ...]:
    return tuple(each.place for each in deliver(_set(shop, *files, **words), folder, tries=2, pause_s=0.001))


def test_a_set_is_brought_once_and_its_hash_noted(tmp_path: Path) -> None:
    with serving(a_zip=_zip(normal__1=b"x"), b_zip=_zip(normal__2=b"y")) as shop:
        assert _bring(shop, tmp_path, "a.zip", "b.zip") == ("a", "b")
        assert sorted(path.name for path in tmp_path.iterdir()) == [RECORD, "a", "b"]
        (first, second) = arrived(tmp_path)
        assert first.sha256 == hashlib.sha256(shop.files["a.zip"]).hexdigest()
        assert not first.known
        assert _bring(shop, tmp_path, "a.zip", "b.zip") == ("a", "b")
        assert len(shop.asked) == 2
        # Deleted by hand: only that one comes again, and only as it was.
        (tmp_path / "b" / "normal" / "2").unlink()
        (tmp_path / "b" / "normal").rmdir()
        (tmp_path / "b").rmdir()
        assert _bring(shop, tmp_path, "a.zip", "b.zip") == ("a", "b")
        assert len(shop.asked) == 3
        assert (tmp_path / "b" / "normal" / "2").read_bytes() == b"y"
        assert {each.sha256 for each in arrived(tmp_path)} == {first.sha256, second.sha256}


def test_another_file_under_the_same_address_is_refused_later(tmp_path: Path) -> None:
    with serving(a_zip=_zip(normal__1=b"x")) as shop:
        _bring(shop, tmp_path, "a.zip")
        (tmp_path / "a").rename(tmp_path / "gone")
        shop.files["a.zip"] = _zip(normal__1=b"evil")
        with pytest.raises(DownloadWrong, match=r"noted in .*eyeground-source.json when the file first came"):
            _bring(shop, tmp_path, "a.zip")
        assert not (tmp_path / "a").exists()


def test_a_known_hash_is_held_to(tmp_path: Path) -> None:
    content = _zip(normal__1=b"x")
    with serving(a_zip=content) as shop:
        with pytest.raises(DownloadWrong, match="not the file expected"):
            _bring(shop, tmp_path, "a.zip", sha256="1" * 64)
        _bring(shop, tmp_path, "a.zip", sha256=hashlib.sha256(content).hexdigest())
        assert arrived(tmp_path)[0].known


def test_a_folder_of_ones_own_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine").write_text("mine")
    with serving(a_zip=_zip(normal__1=b"x")) as shop:
        (place,) = _bring(shop, tmp_path, "a.zip")
        assert place.endswith("-a")
        assert (tmp_path / "a" / "mine").read_text() == "mine"
        assert _bring(shop, tmp_path, "a.zip") == (place,)


def test_a_file_that_is_no_archive_is_put_as_it_is(tmp_path: Path) -> None:
    with serving(a_zip=b"file,label\n") as shop:
        assert _bring(shop, tmp_path, "a.zip", archive=False) == ("a.zip",)
    assert (tmp_path / "a.zip").read_bytes() == b"file,label\n"
    assert sha256_of(tmp_path / "a.zip") == arrived(tmp_path)[0].sha256


def test_a_hostile_archive_is_not_taken_for_one_that_arrived(tmp_path: Path) -> None:
    with serving(a_tar=_tar(_link("a", "/etc"))) as shop:
        for _ in range(2):
            with pytest.raises(DataProblems, match="is a link"):
                _bring(shop, tmp_path, "a.tar")
        assert arrived(tmp_path) == ()
        assert not (tmp_path / "a").exists()


def test_after_a_page_that_asks_for_a_login_the_right_file_is_taken(tmp_path: Path) -> None:
    right = _zip(normal__1=b"x")
    with serving(a_zip=right, b_zip=b"<html>please log in</html>") as shop:
        with pytest.raises(DataProblems, match="neither zip nor tar"):
            _bring(shop, tmp_path, "a.zip", "b.zip")
        # Nothing is left of the page; what came before it stays.
        assert [each["file"] for each in json.loads((tmp_path / RECORD).read_text())["files"]] == ["a.zip"]
        assert list(tmp_path.rglob("b.zip*")) == []
        shop.files["b.zip"] = _zip(normal__2=b"y")
        assert _bring(shop, tmp_path, "a.zip", "b.zip") == ("a", "b")
        assert (tmp_path / "b" / "normal" / "2").read_bytes() == b"y"
        assert arrived(tmp_path)[1].sha256 == hashlib.sha256(shop.files["b.zip"]).hexdigest()


def test_a_folder_in_which_nothing_arrived_has_no_record(tmp_path: Path) -> None:
    with serving(a_zip=b"<html>please log in</html>") as shop:
        with pytest.raises(DataProblems, match="neither zip nor tar"):
            _bring(shop, tmp_path, "a.zip")
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_published_archive_that_is_refused_stays_to_be_unpacked_by_hand(tmp_path: Path) -> None:
    content = _tar(_link("a", "/etc"))
    with serving(a_tar=content) as shop:
        for _ in range(2):
            with pytest.raises(DataProblems, match="is a link"):
                _bring(shop, tmp_path, "a.tar", sha256=hashlib.sha256(content).hexdigest())
        assert len(shop.asked) == 1


def test_two_processes_do_not_fill_one_folder(tmp_path: Path) -> None:
    with serving(a_zip=_zip(normal__1=b"x")) as shop, _alone(tmp_path), pytest.raises(FolderInUse, match="wait for it"):
        _bring(shop, tmp_path, "a.zip")

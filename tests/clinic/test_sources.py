"""M4 and M5: nothing outside the image folder is ever read, and nothing is fetched from an address."""

import base64
import errno
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from eyeground.clinic.exchange import check, screening
from eyeground.clinic.records import Picture
from eyeground.clinic.refusal import Refused
from eyeground.clinic.sources import fault_of, fetch

CANARY = b"canary: nobody reads this"
IMAGE = b"\xff\xd8\xff image"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An image folder with a canary beside it, and every kind of trap in it."""
    root = tmp_path / "images"
    (root / "a" / "deep").mkdir(parents=True)
    (root / "a" / "1.jpg").write_bytes(IMAGE)
    (root / "眼 底：1.jpg").write_bytes(IMAGE)
    (root / "empty.jpg").write_bytes(b"")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "canary.jpg").write_bytes(CANARY)
    (tmp_path / "images-of-others").mkdir()
    (tmp_path / "images-of-others" / "canary.jpg").write_bytes(CANARY)
    (root / "link.jpg").symlink_to("../secret/canary.jpg")
    (root / "absolute.jpg").symlink_to(tmp_path / "secret" / "canary.jpg")
    (root / "folder").symlink_to("../secret")
    (root / "a" / "up").symlink_to("..")
    (root / "inside.jpg").symlink_to("a/1.jpg")
    (root / "loop").symlink_to("loop")
    (root / "dangling").symlink_to("nowhere")
    (root / "fd").symlink_to("/proc/self/fd")
    os.mkfifo(root / "pipe.jpg")
    return root


def code_of(path: str, root: Path | None, *, max_bytes: int = 1000) -> str:
    """The code that a path is refused with; empty where it is read."""
    try:
        return (
            "" if fetch(Picture(part="fundus", path=path), root=root, max_bytes=max_bytes) == IMAGE else "canary read"
        )
    except Refused as refused:
        if len(refused.problems) == 1 and "canary" not in str(refused):
            return refused.code
        return f"told too much: {refused}"


PATHS = {
    "../secret/canary.jpg": "bad_path", "../../secret/canary.jpg": "bad_path", "a/../../secret/canary.jpg": "bad_path",
    "a/deep/../../../secret/canary.jpg": "bad_path", "./../secret/canary.jpg": "bad_path", "..": "bad_path",
    "../": "bad_path", "a/..": "bad_path", "a/../a/1.jpg": "bad_path", ".": "bad_path", "./": "bad_path",
    "a/.": "bad_path",
    "a/": "bad_path", "/": "bad_path", " ../secret/canary.jpg": "image_missing",
    ".. /secret/canary.jpg": "image_missing",
    "../ secret/canary.jpg": "bad_path", "..../secret/canary.jpg": "image_missing", "...": "image_missing",
    "..;/secret/canary.jpg": "image_missing", "....//secret/canary.jpg": "image_missing",
    "..\\secret\\canary.jpg": "bad_path", "a\\..\\..\\secret\\canary.jpg": "bad_path",
    "\\secret\\canary.jpg": "bad_path",
    "..%2fsecret%2fcanary.jpg": "image_missing", "%2e%2e/secret/canary.jpg": "image_missing",
    "%2e%2e%2fsecret%2fcanary.jpg": "image_missing", "..%252fsecret%252fcanary.jpg": "image_missing",
    "%c0%ae%c0%ae/secret/canary.jpg": "image_missing", "..%c0%afsecret/canary.jpg": "image_missing",
    "..%5csecret%5ccanary.jpg": "image_missing", "．．/secret/canary.jpg": "image_missing",
    "..／secret／canary.jpg": "image_missing", "..∕secret∕canary.jpg": "image_missing",
    "․․/secret/canary.jpg": "image_missing",
    "a/1.jpg\0": "bad_path", "a/1.jpg\0.png": "bad_path", "../secret/canary.jpg\0.jpg": "bad_path", "\0": "bad_path",
    "a/1.jpg\n": "bad_path", "a\r/1.jpg": "bad_path", "\x7f": "bad_path", "a/\ud800.jpg": "bad_path",
    "a/\u202egpj.1": "bad_path", "/etc/passwd": "bad_path", "/proc/self/environ": "bad_path", "/dev/zero": "bad_path",
    "//etc/passwd": "url_refused", "~/canary.jpg": "image_missing", "~root/canary.jpg": "image_missing",
    "$HOME/canary.jpg": "image_missing", "${IFS}": "image_missing", "`id`": "image_missing", "a/*.jpg": "image_missing",
    "C:/secret/canary.jpg": "bad_path", "c:\\secret\\canary.jpg": "bad_path", "C:canary.jpg": "bad_path",
    "\\\\host\\share\\canary.jpg": "url_refused", "\\\\?\\C:\\canary.jpg": "url_refused",
    "\\\\.\\PhysicalDrive0": "url_refused",
    "link.jpg": "bad_path", "absolute.jpg": "bad_path", "folder/canary.jpg": "bad_path", "a/up/a/1.jpg": "bad_path",
    "inside.jpg": "bad_path", "loop": "bad_path", "loop/a": "bad_path", "dangling": "bad_path", "fd/0": "bad_path",
    "a/up/../../secret/canary.jpg": "bad_path", "pipe.jpg": "image_unreadable", "a": "image_unreadable",
    "a/1.jpg/": "bad_path", "a/1.jpg/x": "image_missing", "nowhere.jpg": "image_missing", "A/1.JPG": "image_missing",
    "a/1.jpg ": "image_missing", "a/1.jpg.": "image_missing", "a/1.jpg::$DATA": "image_missing",
    "empty.jpg": "image_empty",
    "x" * 300: "bad_path", "a/" * 600 + "1.jpg": "bad_path", "CON": "image_missing",
}  # fmt: skip


@pytest.mark.parametrize("path", PATHS, ids=ascii)
def test_a_path_that_leads_elsewhere_is_refused(root: Path, path: str) -> None:
    assert code_of(path, root) == PATHS[path]


def test_there_are_enough_paths() -> None:
    assert len(PATHS) >= 50


@pytest.mark.parametrize(
    "path", ["a/1.jpg", "./a/1.jpg", "a//1.jpg", "a/./1.jpg", "眼 底：1.jpg", "{root}/a/1.jpg", "{root}//a/1.jpg"]
)
def test_a_path_below_the_root_is_read(root: Path, path: str) -> None:
    assert code_of(path.format(root=root), root) == ""


@pytest.mark.parametrize(
    "path",
    [
        "{root}/../secret/canary.jpg",
        "{root}-of-others/canary.jpg",
        "{root}",
        "{root}/",
        "{root}/link.jpg",
        "{parent}/secret/canary.jpg",
    ],
)
def test_an_absolute_path_elsewhere_is_refused(root: Path, path: str) -> None:
    assert code_of(path.format(root=root, parent=root.parent), root) == "bad_path"


def test_the_canary_would_be_read_by_a_plain_reader(root: Path) -> None:
    # Negative control: these payloads do lead out.
    plain = set()
    for path in PATHS:
        with suppress(OSError, ValueError):
            if (root / path).is_file() and (root / path).read_bytes() == CANARY:
                plain.add(path)
    assert {"../secret/canary.jpg", "link.jpg", "absolute.jpg", "folder/canary.jpg"} <= plain
    assert all(code_of(path, root) for path in plain)


def test_a_folder_swapped_for_a_link_meanwhile_leads_nowhere(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "b").mkdir()
    (root / "b" / "canary.jpg").write_bytes(IMAGE)
    real = os.open
    swapped: list[object] = []

    def swapping(name: object, *rest: int, **more: int) -> int:
        if name == "b" and not swapped:
            swapped.append(name)
            (root / "b").rename(root / "c")
            (root / "b").symlink_to("../secret")
        return real(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("eyeground.clinic.sources.os.open", swapping)
    assert code_of("b/canary.jpg", root) == "bad_path"
    assert swapped


def test_the_root_may_be_a_link_and_relative(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root.parent / "mount").symlink_to("images")
    assert code_of("a/1.jpg", root.parent / "mount") == ""
    monkeypatch.chdir(root.parent)
    assert code_of("a/1.jpg", Path("images")) == ""
    assert code_of(f"{root}/a/1.jpg", Path("images")) == ""


def test_a_root_that_is_gone_is_no_missing_image(tmp_path: Path) -> None:
    # The share is not mounted: the operator is to look, not the sender.
    assert code_of("a.jpg", tmp_path / "nowhere") == "image_unreadable"


def test_without_a_root_no_path_is_taken(root: Path) -> None:
    assert code_of("a/1.jpg", None) == "no_image_root"
    assert code_of("../a/1.jpg", None) == "bad_path"


@pytest.mark.parametrize(("size", "code"), [(len(IMAGE), ""), (len(IMAGE) - 1, "image_too_large")])
def test_the_size_that_is_let_in(root: Path, size: int, code: str) -> None:
    assert code_of("a/1.jpg", root, max_bytes=size) == code
    picture = Picture(part="fundus", data=IMAGE)
    if code:
        with pytest.raises(Refused, match="larger than this service takes"):
            fetch(picture, root=None, max_bytes=size)
    else:
        assert fetch(picture, root=None, max_bytes=size) == IMAGE


def test_a_file_that_grows_while_it_is_read_is_bounded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fstat

    def growing(handle: int) -> os.stat_result:
        found = real(handle)
        with (root / "a" / "1.jpg").open("ab") as file:
            file.write(bytes(5000))
        return found

    monkeypatch.setattr("eyeground.clinic.sources.os.fstat", growing)
    assert code_of("a/1.jpg", root) == "image_too_large"


def test_a_socket_is_no_image(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("s")
        assert code_of("s", root) == "image_unreadable"


def test_a_file_that_may_not_be_read_says_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def forbidding(name: object, *rest: int, **more: int) -> int:
        if name == "1.jpg":  # a mode of 000 would not stop root
            raise PermissionError(errno.EACCES, "no")
        return real(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("eyeground.clinic.sources.os.open", forbidding)
    assert code_of("a/1.jpg", root) == "image_unreadable"


def test_no_descriptor_is_left_open(root: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for path in [*PATHS, "a/1.jpg"]:
        code_of(path, root)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_where_it_stands_is_told(root: Path) -> None:
    with pytest.raises(Refused) as caught:
        fetch(Picture(part="fundus", path="b"), root=root, max_bytes=9, where="Patient.photos.0")
    assert caught.value.problems[0].where == "Patient.photos.0"


HOSTS = ("127.0.0.1:{port}", "localhost:{port}", "[::1]:{port}", "0:{port}", "2130706433:{port}", "0x7f.1:{port}",
         "169.254.169.254", "metadata.google.internal", "user:pass@127.0.0.1:{port}",
         "127.0.0.1:{port}#@example.org")  # fmt: skip
SCHEMES = ("http", "https", "HTTP", "hTTpS", "ftp", "file", "gopher", "dict", "jar:http", "s3", "ws", "ldap", "tftp")
BLANKS = (" ", "\t", "\n", "\r\n", "\0", "\x01", "\u00a0", "\u3000", "\u200b", "\ufeff")
URLS = (
    *(f"http://{host}/a.jpg" for host in HOSTS),
    *(f"{scheme}://{{host}}/a.jpg" for scheme in SCHEMES),
    *(f"{blank}http://{{host}}/a.jpg" for blank in BLANKS),
    "//{host}/a.jpg", "///{host}/a.jpg", "////etc/passwd", "/\\{host}/a.jpg", "http:/{host}/a.jpg", "http:{host}/a.jpg",
    "http:\\\\{host}\\a.jpg", "http:/\\{host}/a.jpg", "ht\ntp://{host}/a.jpg", "http\t://{host}/a.jpg",
    "http%3a//{host}/a.jpg", "http%3A%2F%2F{host}%2Fa.jpg", "http%253a%252f%252f{host}/a.jpg", "%68ttp://{host}/a.jpg",
    "ｈｔｔｐ：／／{host}/a.jpg", "http：//{host}/a.jpg", "／／{host}/a.jpg", "http://{host}/../a.jpg", "http://a@b@{host}/a.jpg",
    "file:a/1.jpg", "file:/etc/passwd", "file:///etc/passwd", "file://localhost/etc/passwd", "FILE:///etc/passwd",
    "data:image/jpeg;base64,/9j/4AAQ", "data:,x", "DATA:text/plain,x", "javascript:alert(1)", "blob:http://{host}/1",
    "about:blank", "mailto:a@b.org", "urn:isbn:1", "php://filter/resource=a", "expect://id", "phar://a.jpg", "zip:a#b",
    "view-source:http://{host}/", "feed:http://{host}", "{host}/a.jpg", "user@{host}:a.jpg", "git+ssh://{host}/a",
    "xx:y:z",
)  # fmt: skip


@pytest.fixture(scope="module")
def listener() -> Iterator[tuple[int, list[object]]]:
    """A server that notes who calls."""
    calls: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        stop = threading.Event()

        def serve() -> None:
            while not stop.is_set():
                try:
                    connection, address = server.accept()
                except TimeoutError:
                    continue
                calls.append(address)
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1], calls
        stop.set()
        thread.join()


def test_there_are_enough_addresses() -> None:
    assert len(set(URLS)) >= 60


@pytest.mark.parametrize("form", URLS, ids=ascii)
def test_an_address_is_refused_and_nobody_is_called(root: Path, listener: tuple[int, list[object]], form: str) -> None:
    port, calls = listener
    url = form.format(port=port, host=f"127.0.0.1:{port}")
    assert code_of(url, root) == "url_refused"
    for body, read in (
        ({"id": 1, "odFundusImg": url}, check.read),
        ({"message_id": "m", "Patient": {"patient_id": "1", "photos": [url]}}, screening.read),
        ({"message_id": "m", "Patient": {"patient_id": "1", "photos": [{"url": url}]}}, screening.read),
    ):
        with pytest.raises(Refused) as caught:
            read(json.dumps(body).encode())
        assert "url_refused" in {problem.code for problem in caught.value.problems}
        assert str(port) not in str(caught.value)
    assert calls == []


def test_the_listener_would_hear_a_call(listener: tuple[int, list[object]]) -> None:
    # Negative control, last: it notes a call for good.
    port, calls = listener
    socket.create_connection(("127.0.0.1", port)).close()
    for _ in range(200):
        if calls:
            break
        threading.Event().wait(0.02)
    assert len(calls) == 1


@pytest.mark.parametrize(
    "path", ["2026/11/28/1.jpg", "检查：1.jpg", "a%20b.jpg", "100%.jpg", "a b (1).jpg", "a/b:c.jpg"]
)
def test_a_plain_name_is_a_plain_name(path: str) -> None:
    assert fault_of(path) == ""


def test_bytes_that_came_along_need_no_root() -> None:
    message = {
        "message_id": "m",
        "Patient": {"patient_id": "1", "photos": [{"data": base64.b64encode(IMAGE).decode()}]},
    }
    [picture] = screening.read(json.dumps(message).encode()).pictures
    assert fetch(picture, root=None, max_bytes=100) == IMAGE

"""Whatever a file holds, there is a verdict in time, and the process that asked lives on in little memory."""

import io
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from eyeground.images.decode import contents, decode
from eyeground.images.read import fetch, look, read
from eyeground.images.refusal import REASONS, ImageRefused

from . import hostile

GIB = 2**30
DOOR = decode.__globals__  # pytest's doctests may load the module twice: these are the names that decode itself reads
SOUND = {
    "jpeg with 100 comments", "jpeg with a zip behind", "jpeg in html", "jpeg cmyk", "jpeg exif nonsense",
    "jpeg exif turned", "png 16 bit", "png see-through", "tiff of 3000 pages", "tiff loop", "bmp upside down",
}  # fmt: skip
EITHER = {"jpeg arithmetic", "jpeg body flipped", "jpeg of many scans"}  # noise is an image too; machines differ


@dataclass(frozen=True)
class Outcome:
    """What became of one file."""

    verdict: str
    seconds: float
    peak_bytes: int


def through_the_door(data: bytes) -> Outcome:
    """Decode as the package does."""
    began = time.monotonic()
    try:
        verdict = "image" if decode(data, source="x").pixels.ndim == 3 else ""
    except ImageRefused as refused:
        verdict = refused.reason
    seconds = time.monotonic() - began
    return Outcome(verdict, seconds, max((_peak(child) for child in _idle()), default=0))


def without_a_door(data: bytes) -> Outcome:
    """Decode as a careless program would: Pillow, no caps, no limits but 4 GiB, so that this machine lives."""
    code = (
        "import io,sys,json;from PIL import Image;Image.MAX_IMAGE_PIXELS=None\n"
        "try:\n Image.open(io.BytesIO(sys.stdin.buffer.read())).load(); verdict='image'\n"
        "except Exception as e: verdict='refused'\n"
        "peak=[line for line in open('/proc/self/status') if line.startswith('VmPeak')][0]\n"
        "print(json.dumps([verdict, int(peak.split()[1])*1024]))"
    )
    began = time.monotonic()
    limits = (4 * GIB, 4 * GIB)
    done = subprocess.run(
        [sys.executable, "-c", code], input=data, capture_output=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limits),
    )  # fmt: skip
    verdict, peak = json.loads(done.stdout) if done.returncode == 0 else ["", 4 * GIB]
    return Outcome(verdict, time.monotonic() - began, peak)


def complaints(outcome: Outcome) -> list[str]:
    """The rule that every decoder is held to."""
    wrong = []
    if outcome.verdict not in ("image", "refused", *REASONS):
        wrong.append("no verdict")
    if outcome.seconds > 10:
        wrong.append(f"{outcome.seconds:.1f} s")
    if outcome.peak_bytes > GIB:
        wrong.append(f"{outcome.peak_bytes / GIB:.1f} GiB")
    return wrong


def _idle() -> list[int]:
    return [child._process.pid for kind in (DOOR["_PHOTOS"], DOOR["_SCANS"]) for child in kind._idle]


def _peak(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmPeak"))
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize("name", hostile.KINDS)
def test_a_verdict_in_time_and_in_little_memory(name: str) -> None:
    outcome = through_the_door(hostile.KINDS[name]())
    assert complaints(outcome) == []
    if name not in EITHER:
        assert (outcome.verdict == "image") == (name in SOUND), outcome.verdict


def test_a_jpeg_cut_anywhere() -> None:
    outcomes = {name: through_the_door(data) for name, data in hostile.cuts()}
    assert len(outcomes) == 100
    assert {name: complaints(outcome) for name, outcome in outcomes.items() if complaints(outcome)} == {}
    assert {outcome.verdict for outcome in outcomes.values()} <= {"truncated", "not_an_image"}


def test_the_same_rule_catches_a_careless_decoder() -> None:
    assert complaints(without_a_door(hostile.KINDS["png bomb"]()))
    assert not complaints(without_a_door(hostile.jpeg()))


def test_every_refusal_speaks() -> None:
    for name in ("gif", "text", "png cut", "empty", "png bomb in the header"):
        with pytest.raises(ImageRefused) as caught:
            decode(hostile.KINDS[name](), source="a/b.png")
        assert str(caught.value).startswith("a/b.png: ")
        assert len(caught.value.sentence) > 15


def test_a_slow_file_is_given_up_and_the_next_one_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DOOR, "SECONDS", 0.1)
    with pytest.raises(ImageRefused) as caught:
        decode(hostile.many_scans(), source="x")
    assert caught.value.reason == "too_slow"
    monkeypatch.undo()
    assert decode(hostile.jpeg(), source="x").pixels.shape == (96, 128, 3)


def test_a_child_that_the_system_ended_costs_no_image() -> None:
    decode(hostile.jpeg(), source="x")
    for pid in _idle():
        os.kill(pid, 9)
    time.sleep(0.1)
    assert decode(hostile.jpeg(), source="x").pixels.shape == (96, 128, 3)


def test_the_child_can_open_nothing(tmp_path: Path) -> None:
    code = (
        "from eyeground.images import child; import socket, json\n"
        "child.confine(child.MEMORY_BYTES)\n"
        "def tried(action):\n"
        "    try: action()\n"
        "    except OSError as error: return error.errno\n"
        "    return 0\n"
        f"print(json.dumps([tried(lambda: open({str(tmp_path / 'x')!r}, 'w')), tried(lambda: open('/etc/passwd')),"
        " tried(socket.socket), tried(lambda: __import__('os').pipe())]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert json.loads(done.stdout) == [24, 24, 24, 24]  # EMFILE: no number left


def test_a_forked_process_has_children_of_its_own() -> None:
    decode(hostile.jpeg(), source="x")
    before = _idle()
    pid = os.fork()
    if not pid:  # the loader's workers are made so
        try:
            fine = decode(hostile.jpeg(), source="x").pixels.shape == (96, 128, 3) and not set(_idle()) & set(before)
            for kind in (DOOR["_PHOTOS"], DOOR["_SCANS"]):
                kind.close()
        except BaseException:  # noqa: BLE001  must not go on as a second pytest
            fine = False
        os._exit(0 if fine else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert decode(hostile.jpeg(), source="x").pixels.shape == (96, 128, 3)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.mkdir(), "unreadable"),
        (lambda path: os.mkfifo(path), "unreadable"),
        (lambda path: path.symlink_to("/dev/zero"), "unreadable"),
        (lambda path: path.symlink_to(path), "unreadable"),
        (lambda path: None, "unreadable"),
        (lambda path: path.touch(), "empty"),
    ],
)
def test_what_is_no_plain_file(tmp_path: Path, make: Callable[[Path], None], reason: str) -> None:
    path = tmp_path / "a.png"
    make(path)
    for action in (read, look, fetch):
        with pytest.raises(ImageRefused) as caught:
            action(path)
        assert caught.value.reason == reason


def test_a_folder_of_slices_is_a_volume(tmp_path: Path) -> None:
    for number in range(12):
        Image.new("L", (80, 70), number * 20).save(tmp_path / f"scan_{number}.png")
    found = look(tmp_path)
    assert (found.slices, found.width, found.height, found.format) == (12, 80, 70, "folder of slices")
    levels = [read(tmp_path, slice=number).pixels[0, 0, 0] for number in range(12)]
    assert levels == [number * 20 for number in range(12)]  # 10 comes after 9, not after 1
    center = read(tmp_path)
    assert (center.slice, center.slices) == (6, 12)
    with pytest.raises(ImageRefused) as caught:
        read(tmp_path, slice=12)
    assert caught.value.reason == "no_such_slice"


def test_pages_of_one_size_are_a_volume_and_thumbnails_are_not() -> None:
    pages = [Image.new("L", (30, 20), level) for level in (10, 20, 30)]
    volume = hostile.saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert [decode(volume, source="x", slice=number).pixels[0, 0, 0] for number in range(3)] == [10, 20, 30]
    assert decode(volume, source="x").slice == 1
    small = hostile.saved(pages[0], "TIFF", save_all=True, append_images=[Image.new("L", (3, 2))])
    assert (decode(small, source="x").slices, decode(small, source="x").pixels.shape) == (1, (20, 30, 3))


def test_a_header_is_read_without_decoding() -> None:
    # 400 megapixels of color: decoding them would take seconds and more than the memory allowed.
    data = hostile.raw_png(20_000, 20_000, body=hostile.zeros(1000))
    assert contents(data, source="x").width == 20_000


def test_personal_fields_are_named_and_never_told() -> None:
    exif = Image.Exif()
    exif[0x013B], exif[0x010E] = "Jane Roe", "born 1950"
    out = io.BytesIO()
    Image.fromarray(hostile.PHOTO).save(out, "JPEG", exif=exif, comment=b"Jane Roe")
    personal = contents(out.getvalue(), source="x").personal
    assert personal == ("EXIF ImageDescription", "EXIF Artist", "comment block")

"""A folder of anything is answered by run and bundle alike: a line per image, killed and taken up, both eyes joined."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from eyeground.cli.opened import usual_of
from eyeground.data.phantom import draw_fundus, draw_oct
from eyeground.evaluate.temperature import tempered
from eyeground.serve.bundle import open_bundle
from tests.flow.tables import Answer, Table, read_table, write_table

Call = Callable[..., Answer]
COMMAND = [sys.executable, "-c", "from eyeground.cli.main import main; main()"]
DISEASES = ("normal", "dr3", "cataract")
KINDS = {  # what a file is -> what its line must say
    "good": ("good", "fair"),
    "tiff": ("good", "fair"),
    "slice": ("good", "fair"),
    "cut": ("cannot grade: truncated", "cannot grade: not_an_image", "cannot grade: damaged"),
    "empty": ("cannot grade: empty", "cannot grade: not_an_image"),
    "text": ("cannot grade: not_an_image",),
    "dark": ("cannot grade: ",),
    "blurred": ("cannot grade: ",),
    "oct": ("cannot grade: wrong modality",),
}


def refused(answer: Answer, *words: str, code: int = 2) -> None:
    assert answer.code == code, answer.err
    assert "Traceback" not in answer.err
    for word in words:
        assert word in answer.err


def jpeg(pixels: np.ndarray, kind: str = "JPEG") -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind, **({"quality": 92} if kind == "JPEG" else {}))
    return content.getvalue()


def photograph(number: int) -> np.ndarray:
    eye = "OD" if number % 2 == 0 else "OS"
    return draw_fundus(DISEASES[number % 3], seed=500 + number, eye=eye, size_px=160).image.pixels


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty-two files of every kind, and a table and a note that nobody asks for."""
    folder = tmp_path_factory.mktemp("mixed")
    (folder / "deep" / "slices").mkdir(parents=True)
    for number in range(20):
        (folder / f"good_{number:02d}_{'OD' if number % 2 == 0 else 'OS'}.jpg").write_bytes(jpeg(photograph(number)))
    whole = jpeg(photograph(1))
    for number in range(14):
        (folder / "deep" / f"cut_{number:02d}.jpg").write_bytes(whole[: 1 + (len(whole) - 40) * number // 14])
    for number in range(3):
        (folder / f"empty_{number}.png").write_bytes(b"")
        (folder / f"text_{number}.png").write_text("no image " * (1 + 400 * number), "utf-8")
        (folder / "deep" / "slices" / f"slice_{number}.png").write_bytes(jpeg(photograph(30 + number), "PNG"))
    dark = photograph(2) // 40
    for number in range(4):
        (folder / f"dark_{number}.png").write_bytes(jpeg(dark, "PNG"))
        blurred = Image.fromarray(photograph(3 + number)).filter(ImageFilter.GaussianBlur(12))
        (folder / f"blurred_{number}.png").write_bytes(jpeg(np.asarray(blurred), "PNG"))
    for number in range(10):
        scan = draw_oct(("normal", "drusen")[number % 2], seed=number, width_px=256, height_px=200).image.pixels
        (folder / f"oct_{number}.png").write_bytes(jpeg(scan, "PNG"))
    (folder / "deep" / "tiff_0.tiff").write_bytes(jpeg(photograph(4), "TIFF"))
    (folder / "labels.csv").write_text("file,label\n", "utf-8")
    (folder / "notes.txt").write_text("nothing", "utf-8")
    return folder


def kind_of(row: dict[str, str]) -> str:
    return Path(row["file"]).name.partition("_")[0]


def test_every_file_has_one_line_and_nothing_is_guessed(
    bundle: Path, mixed: Path, tmp_path: Path, eyeground: Call
) -> None:
    out = tmp_path / "p.csv"
    answer = eyeground("predict", bundle, mixed, "--out", out, "--threads", 1, "--json")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    rows = read_table(out)
    files = [row["file"] for row in rows]
    images = [path for path in mixed.rglob("*") if path.suffix in (".jpg", ".png", ".tiff")]
    assert sorted(files) == sorted(map(str, images))
    assert len(files) == len(set(files)) == told["images"] == 62
    for row in rows:
        expected = KINDS[kind_of(row)]
        assert row["quality"].startswith(expected), (row["file"], row["quality"])
        graded = not row["quality"].startswith("cannot grade")
        assert {bool(cell) for name, cell in row.items() if name.startswith(("prediction", "score"))} == {graded}
        if graded:
            assert sum(float(row[f"score_{name}"]) for name in DISEASES) == pytest.approx(1)
            assert row["prediction"] == max(DISEASES, key=lambda name: float(row[f"score_{name}"]))
        if kind_of(row) == "good":
            assert row["eye"] == Path(row["file"]).stem[-2:]
    unread = [f"{row['file']}: {row['quality']}" for row in rows if not row["prediction"]]
    assert told["not_graded"] == unread
    assert told["graded"] == 62 - len(unread) == 24
    assert sum(told["predictions"].values()) == 24
    assert all(line in answer.err for line in unread), "they are listed at the end"
    assert list(tmp_path.iterdir()) == [out]


def test_killed_twice_and_taken_up_it_holds_the_same_bytes(
    bundle: Path, mixed: Path, tmp_path: Path, eyeground: Call
) -> None:
    """The same bytes, too, in other processes under other hash seeds."""
    words = ["predict", str(bundle), str(mixed), "--batch-size", "4", "--threads", "1"]
    straight, broken = tmp_path / "straight.csv", tmp_path / "broken.csv"
    assert eyeground(*words, "--out", straight).code == 0
    journal = tmp_path / "broken.csv.unfinished"
    for seed, goal in enumerate((8, 28)):
        assert killed_at(goal, [*words, "--out", str(broken)], journal, seed=seed)
        assert not broken.exists()
    before = noted(journal)
    answer = eyeground(*words, "--out", broken, "--json")
    assert answer.code == 0, answer.err
    assert 28 <= json.loads(answer.out)["resumed"] <= before < 62
    assert broken.read_bytes() == straight.read_bytes()
    assert not journal.exists()


def killed_at(goal: int, words: list[str], journal: Path, *, seed: int) -> bool:
    """Start a call and kill it when its journal has so many answers; gives whether it was killed before its end."""
    process = subprocess.Popen(
        [*COMMAND, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONHASHSEED": str(seed + 1)},
    )
    while process.poll() is None and noted(journal) < goal:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    _, told = process.communicate(timeout=600)
    assert process.returncode in (0, -signal.SIGKILL), told.decode()
    return process.returncode != 0


def noted(journal: Path) -> int:
    """Answers in a journal: a line each but the first and empty ones."""
    try:
        return sum(1 for line in journal.read_bytes().split(b"\n") if line) - 1
    except FileNotFoundError:
        return 0


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_five_hundred_files_and_five_kills(
    bundle: Path, mixed: Path, tmp_path: Path, request: pytest.FixtureRequest, eyeground: Call
) -> None:
    """Real photographs and scans where they are, else phantoms."""
    folder = tmp_path / "many"
    folder.mkdir()
    try:
        real = request.getfixturevalue("realdata")
    except pytest.skip.Exception:
        sources = sorted(path for path in mixed.rglob("*") if path.suffix in (".jpg", ".png"))
    else:
        sources = sorted(path for path in real.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".tif"))
    sources = sources[:: max(1, len(sources) // 400)]
    for number in range(500):
        source = sources[number % len(sources)]
        content = source.read_bytes()
        if number % 10 == 7:
            content = content[: len(content) * (number % 97) // 97]
        (folder / f"{number:03d}{source.suffix.lower()}").write_bytes(content)
    words = ["predict", str(bundle), str(folder), "--batch-size", "16", "--threads", "1"]
    straight, broken = tmp_path / "straight.csv", tmp_path / "broken.csv"
    assert eyeground(*words, "--out", straight).code == 0
    for seed, goal in enumerate((48, 144, 240, 336, 432)):
        assert killed_at(goal, [*words, "--out", str(broken)], tmp_path / "broken.csv.unfinished", seed=seed)
    answer = eyeground(*words, "--out", broken, "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["resumed"] >= 432
    assert broken.read_bytes() == straight.read_bytes()
    files = [row["file"] for row in read_table(broken)]
    assert files == sorted(map(str, folder.iterdir()))


def test_run_and_bundle_say_the_same_and_the_bundle_is_calibrated(
    bundle: Path, calibrated: Path, mixed: Path, tmp_path: Path, eyeground: Call
) -> None:
    images = sorted(mixed.glob("good_*"))[:8]
    tables: dict[str, Table] = {}
    calls = {
        "run": (calibrated, "--calibrated"),
        "plain": (calibrated,),
        "bundle": (bundle, "--runtime", "torch"),
        "said": (bundle, "--calibrated", "--precision", "fp32", "--runtime", "torch"),
        "onnx": (bundle, "--runtime", "onnx"),
        "usual": (bundle,),
    }
    for name, (model, *words) in calls.items():
        answer = eyeground("predict", model, *images, *words, "--out", tmp_path / name, "--threads", 1)
        assert answer.code == 0, answer.err
        tables[name] = read_table(tmp_path / name)
    assert (tmp_path / "bundle").read_bytes() == (tmp_path / "said").read_bytes()
    for name, atol in (("run", 1e-6), ("onnx", 1e-4), ("usual", 1e-4)):
        for one, other in zip(tables["bundle"], tables[name], strict=True):
            assert list(one) == list(other)
            for column, cell in one.items():
                if column.startswith("score"):
                    assert float(cell) == pytest.approx(float(other[column]), abs=atol)
                elif name == "run":
                    assert cell == other[column]
    assert "certain" not in tables["plain"][0]
    for before, after in zip(tables["plain"], tables["bundle"], strict=True):
        known, mine = (np.array([[float(row[f"score_{name}"]) for name in DISEASES]]) for row in (before, after))
        np.testing.assert_allclose(mine, tempered(known, 0.25), atol=1e-6)
        assert np.abs(mine - known).max() > 1e-3


def test_a_file_is_answered_once_however_it_is_spelled(
    bundle: Path, mixed: Path, tmp_path: Path, eyeground: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = sorted(mixed.glob("good_*"))[0]
    monkeypatch.chdir(mixed)
    (tmp_path / "link.jpg").symlink_to(first)
    again = [first.name, first, f"deep/../{first.name}", first, tmp_path / "link.jpg"]
    assert eyeground("predict", bundle, *again, "--out", tmp_path / "p.csv", "--threads", 1).code == 0
    assert [row["file"] for row in read_table(tmp_path / "p.csv")] == [first.name, str(tmp_path / "link.jpg")]


def test_a_folder_of_slices_is_one_volume(
    bundle: Path, calibrated: Path, mixed: Path, tmp_path: Path, eyeground: Call
) -> None:
    slices = mixed / "deep" / "slices"
    words = ("--volumes", "--slices", "all", "--threads", 1, "--out", tmp_path / "p.csv")
    answer = eyeground("predict", bundle, slices, mixed / "deep" / ".." / "deep" / "slices", *words)
    assert answer.code == 0, answer.err
    [volume] = read_table(tmp_path / "p.csv")
    assert volume["file"] == str(slices)
    # The mean over its slices is tempered, not the mean of what was tempered.
    assert eyeground("predict", calibrated, slices, "--threads", 1, "--out", tmp_path / "s.csv").code == 0
    alone = np.array([[float(row[f"score_{name}"]) for name in DISEASES] for row in read_table(tmp_path / "s.csv")])
    assert len(alone) == 3
    said = [float(volume[f"score_{name}"]) for name in DISEASES]
    np.testing.assert_allclose(said, tempered(alone.mean(axis=0)[None], 0.25)[0], atol=1e-6)
    refused(eyeground("predict", bundle, tmp_path / "gone", *words), "no such file or folder", "gone")
    refused(eyeground("predict", bundle, slices, "--slices", "some", "--out", tmp_path / "q.csv"), "--slices", "some")


def interrupted(bundle: Path, images: list[Path], out: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    """Begin a table and stop after the first batch of two."""
    from eyeground.cli.main import main
    from eyeground.serve import batch

    ask = batch._ask
    seen: list[int] = []

    def once(*given: object) -> object:
        if seen:
            raise KeyboardInterrupt
        seen.append(1)
        return ask(*given)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(batch, "_ask", once)
        command = [
            "eyeground",
            "predict",
            str(bundle),
            *map(str, images),
            "--out",
            str(out),
            "--batch-size",
            "2",
            *words,
        ]
        patch.setattr(sys, "argv", command)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            main()
    assert not out.exists()
    assert noted(out.with_name(out.name + ".unfinished")) == 2


def test_a_table_is_finished_by_the_model_that_began_it(
    bundle: Path, calibrated: Path, mixed: Path, tmp_path: Path, eyeground: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, out = sorted(mixed.glob("good_*"))[:6], tmp_path / "p.csv"
    interrupted(bundle, images, out, monkeypatch)
    common = ("--out", out, "--batch-size", 2)
    refused(eyeground("predict", calibrated, *images, *common), "begun with another model", "choose another --out")
    refused(eyeground("predict", bundle, *images, *common, "--slices", "all"), "begun with another slices")
    other = "onnx" if usual_of(open_bundle(bundle)).runtime == "torch" else "torch"
    refused(eyeground("predict", bundle, *images, *common, "--runtime", other), "begun with another runtime")
    answer = eyeground("predict", bundle, *images, *common, "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["resumed"] == 2
    assert "resumed: 2 of 6" in answer.err


def test_files_that_vanish_or_change_are_asked_again(
    bundle: Path, mixed: Path, tmp_path: Path, eyeground: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = tmp_path / "images", tmp_path / "p.csv"
    folder.mkdir()
    for path in sorted(mixed.glob("good_*"))[:4]:
        shutil.copy(path, folder)
    images = sorted(folder.iterdir())
    interrupted(bundle, images, out, monkeypatch)
    images[1].write_bytes(b"another")
    from eyeground.serve import batch

    gate = batch.gate_file

    def vanishing(path: Path, *given: object, **more: object) -> object:
        if path == images[3]:
            path.unlink()
        return gate(path, *given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(batch, "gate_file", vanishing)
    answer = eyeground("predict", bundle, folder, "--out", out, "--batch-size", 2, "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["resumed"] == 0
    rows = read_table(out)
    assert [bool(row["prediction"]) for row in rows] == [True, False, True, False]
    assert rows[3]["quality"] == "cannot grade: unreadable"


def test_both_eyes_of_a_patient_are_joined(bundle: Path, mixed: Path, tmp_path: Path, eyeground: Call) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for number, name in enumerate(("anna_OD", "anna_OS", "ben_OD", "ben_OS")):
        shutil.copy(sorted(mixed.glob("good_*"))[number], folder / f"{name}.jpg")
    (folder / "ben_OS.jpg").write_bytes(b"broken")
    words = ("--patients", "names", "--threads", 1, "--json")
    answer = eyeground("predict", bundle, folder, "--out", tmp_path / "p.csv", *words)
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["patients"] == str(tmp_path / "p_patients.csv")
    anna, ben = read_table(tmp_path / "p_patients.csv")
    assert (anna["patient"], anna["complete"], ben["patient"], ben["complete"]) == ("anna", "yes", "ben", "no")
    assert ben["OS_quality"].startswith("cannot grade")
    rows = {Path(row["file"]).stem: row for row in read_table(tmp_path / "p.csv")}
    assert ben["OS_files"].endswith("ben_OS.jpg")
    assert anna["OS_prediction"] == rows["anna_OS"]["prediction"]
    assert ben["OS_prediction"] == ""
    table = write_table(
        tmp_path / "who.csv", [{"file": f"{name}.jpg", "patient": name[0]} for name in (*rows, "somebody")]
    )
    answer = eyeground("predict", bundle, folder, "--out", tmp_path / "q.csv", "--patients", table, "--threads", 1)
    assert answer.code == 0, answer.err
    assert [row["patient"] for row in read_table(tmp_path / "q_patients.csv")] == ["a", "b"]


def test_a_table_of_patients_is_understood_whole_and_never_written_over(
    bundle: Path, mixed: Path, tmp_path: Path, eyeground: Call
) -> None:
    images = sorted(mixed.glob("good_*"))[:2]
    for name in ("who.csv", "p_patients.csv"):
        table = write_table(tmp_path / name, [{"file": path.name, "patient": "x"} for path in images])
        before = table.read_bytes()
        out = tmp_path / ("who.csv" if name == "who.csv" else "p.csv")
        answer = eyeground("predict", bundle, *images, "--out", out, "--patients", table)
        refused(answer, name, "would be lost")
        assert table.read_bytes() == before
    copy = tmp_path / images[0].name
    shutil.copy(images[0], copy)
    answer = eyeground("predict", bundle, *images, copy, "--out", tmp_path / "q.csv", "--patients", table)
    refused(answer, "may be any of", str(copy))
    refused(eyeground("predict", bundle, *images, "--out", tmp_path / "q.csv", "--patients", tmp_path / "none"), "none")
    image = copy.read_bytes()
    refused(eyeground("predict", bundle, copy, "--out", copy), "would be lost")
    assert copy.read_bytes() == image


def test_words_that_do_not_go_together_are_refused(
    bundle: Path, calibrated: Path, mixed: Path, tmp_path: Path, eyeground: Call
) -> None:
    image, out = sorted(mixed.glob("good_*"))[0], tmp_path / "p.csv"

    def asked(model: Path, *words: str) -> Answer:
        return eyeground("predict", model, image, "--out", out, *words)

    refused(asked(bundle, "--engine", "torch"), "is a bundle", "--runtime")
    refused(asked(calibrated, "--runtime", "onnx"), "is a run", "eyeground export")
    refused(asked(calibrated, "--precision", "int8"), "is a run", "--precision int8")
    refused(asked(bundle, "--precision", "fp16"), "fp32, bf16 or int8")
    refused(asked(bundle, "--precision", "bf16"), "it holds torch (fp32), onnx (fp32)", "export RUN --precision bf16")
    refused(asked(bundle, "--runtime", "openvino"), "export RUN --to openvino")
    refused(asked(bundle, "--runtime", "tensorrt"), "no runtime is called 'tensorrt': onnx, openvino, torch")
    refused(asked(bundle, "--precision", "int8"), "torch does not compute in int8")
    refused(eyeground("predict", bundle, tmp_path / "gone", "--out", out), "no such file or folder")
    refused(eyeground("predict", bundle, image, "--out", bundle / "p.csv"), "keeps its own files")
    refused(eyeground("predict", bundle, image, "--out", tmp_path / "no" / "p.csv"), "does not exist")
    assert list(tmp_path.iterdir()) == []


def test_a_device_that_is_not_there_is_a_sentence(bundle: Path, mixed: Path, tmp_path: Path, eyeground: Call) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("needs a machine without cuda")
    image = sorted(mixed.glob("good_*"))[0]
    refused(eyeground("predict", bundle, image, "--device", "cuda", "--out", tmp_path / "p.csv"), "device 'cuda'")
    refused(eyeground("explain", bundle, image, "--device", "cuda", "--out", tmp_path / "e"), "device 'cuda'")
    refused(eyeground("serve", bundle, "--device", "cuda", "--port", 0), "device 'cuda'")
    words = ("--device", "cuda", "--method", "none", "--port", 0)
    refused(eyeground("serve", bundle, *words), "device 'cuda'")

"""Every format that clinics hold, through fine-tuning and prediction."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from eyeground.data.phantom import draw_fundus, draw_oct
from tests.flow.conftest import TINY
from tests.flow.tables import Answer, read_table
from tests.images.readers.drawn import write_op, write_opt
from tests.images.readers.test_heidelberg_vol import write_vol
from tests.images.readers.test_heyex_xml import b_scan, export

Call = Callable[..., Answer]
JPEG_BASELINE, RLE, JPEG2000_LOSSLESS = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.90"


def photograph(path: Path, pixels: NDArray[np.uint8], number: int) -> Path:
    """Write a photograph, each in another format."""
    kind = number % 6
    if kind == 0:
        path = path.with_suffix(".dcm")
        path.write_bytes(write_op(pixels, syntax=JPEG_BASELINE, ImageLaterality="R"))
    elif kind == 1:
        path = path.with_suffix(".dcm")
        path.write_bytes(write_op((pixels[..., 1].astype(np.uint16) << 4), bits_stored=12, ImageLaterality="R"))
    else:
        path = path.with_suffix((".jpg", ".png", ".tif", ".bmp")[kind - 2])
        Image.fromarray(pixels).save(path)
    return path


def volume(path: Path, scans: NDArray[np.uint8], number: int) -> Path:
    """Write a volume (N, H, W), each in another format."""
    kind = number % 6
    if kind in (0, 1):
        path = path.with_suffix(".dcm")
        path.write_bytes(write_opt(scans, syntax=(RLE, JPEG2000_LOSSLESS)[kind], lines=True))
    elif kind == 2:
        path = path.with_suffix(".vol")
        path.write_bytes(write_vol((scans.astype(np.float32) / 255) ** 4))
    elif kind == 5:
        path = path.with_suffix(".tif")
        pages = [Image.fromarray(scan) for scan in scans]
        pages[0].save(path, save_all=True, append_images=pages[1:])
    else:
        path.mkdir()
        pages = [Image.fromarray(scan) for scan in scans]
        for index, page in enumerate(pages):
            page.save(path / f"B{index}.tif")
        if kind == 4:
            text = export(*(b_scan(f"C:\\scans\\B{index}.tif", y=float(index)) for index in range(len(pages))))
            (path / "scan.xml").write_text(text)
    return path


def trained_on(rows: list[tuple[Path, str]], folder: Path, eyeground: Call, **keys: str) -> dict[str, object]:
    """Fine-tune on a table that names these files, and give the JSON line."""
    lines = [f"{path.relative_to(folder)},{label},p{index}" for index, (path, label) in enumerate(rows)]
    (folder / "labels.csv").write_text("file,label,patient\n" + "\n".join(lines) + "\n")
    (folder / "config.yaml").write_text(
        f"data: [{{path: {folder}, table: {folder / 'labels.csv'}, name: mixed}}]\n"
        + "".join(word.replace("=", ": ", 1) + "\n" for word in (*TINY, *(f"{k}={v}" for k, v in keys.items())))
    )
    answer = eyeground("finetune", folder / "config.yaml", f"out={folder / 'run'}", "epochs=1", "--json")
    assert answer.code == 0, answer.err
    told: dict[str, object] = json.loads(answer.out)
    return told


def test_photographs_of_every_format(tmp_path: Path, eyeground: Call) -> None:
    rows = []
    for number in range(36):
        disease = ("normal", "dr4")[number % 2]
        pixels = draw_fundus(disease, seed=number, eye="OD", size_px=96).image.pixels
        rows.append((photograph(tmp_path / f"{number}_OD", pixels, number // 2), disease))
    assert {path.suffix for path, _ in rows} == {".dcm", ".jpg", ".png", ".tif", ".bmp"}
    trained_on(rows, tmp_path, eyeground)
    files = [path for path, _ in rows[:12]]
    answer = eyeground("predict", tmp_path / "run", *files, "--out", tmp_path / "answers.csv", "--json")
    assert answer.code == 0, answer.err
    table = read_table(tmp_path / "answers.csv")
    assert [Path(row["file"]) for row in table] == files
    assert all(row["eye"] == "OD" for row in table)
    assert all(row["prediction"] in ("normal", "dr4") for row in table)
    # What was predicted in the run's own table is predicted again for the same file.
    own = {row["file"]: float(row["score_dr4"]) for row in read_table(tmp_path / "run" / "predictions.csv")}
    again = {Path(row["file"]).name: float(row["score_dr4"]) for row in table}
    shared = own.keys() & again.keys()
    assert shared
    assert all(own[name] == pytest.approx(again[name], abs=1e-5) for name in shared)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[Path, str]]]:
    """Thirty volumes of six B-scans in six formats."""
    folder = tmp_path_factory.mktemp("volumes")
    rows = []
    for number in range(30):
        disease = ("normal", "fluid_dome")[number % 2]
        scans = np.stack(
            [
                draw_oct(disease, seed=100 * number + k, width_px=128, height_px=96).image.pixels[..., 0]
                for k in range(6)
            ]
        )
        rows.append((volume(folder / f"v{number}", scans, number // 2), disease))
    return folder, rows


def test_volumes_of_every_format_are_pooled(
    volumes: tuple[Path, list[tuple[Path, str]]], tmp_path: Path, eyeground: Call
) -> None:
    shutil.copytree(volumes[0], tmp_path / "v")
    rows = [(tmp_path / "v" / path.name, label) for path, label in volumes[1]]
    trained_on(rows, tmp_path / "v", eyeground, slices="every:2")
    run = tmp_path / "v" / "run"
    split = read_table(run / "split.csv")
    assert len(split) == 90  # three of six B-scans each
    assert len({row["sha256"] for row in split}) == 90
    for row in split:
        assert {other["split"] for other in split if other["file"] == row["file"]} == {row["split"]}
    predictions = read_table(run / "predictions.csv")
    assert len(predictions) == len({row["file"] for row in split if row["split"] == "test"})  # one row a volume
    files = [path for path, _ in rows]
    answer = eyeground("predict", run, *files, "--volumes", "--out", tmp_path / "answers.csv", "--json")
    assert answer.code == 0, answer.err
    table = {Path(row["file"]).name: row for row in read_table(tmp_path / "answers.csv")}
    assert len(table) == 30
    for row in predictions:
        assert float(table[row["file"]]["score_fluid_dome"]) == pytest.approx(float(row["score_fluid_dome"]), abs=1e-5)
    # Prepared once, the same volumes give the same pixels, and so the same pooled answers.
    settings = ("--slices", "every:2", "--store-px", "48")
    ready = eyeground("data", "prepare", tmp_path / "v", "--table", tmp_path / "v" / "labels.csv", *settings, "--out",
                      tmp_path / "ready")  # fmt: skip
    assert ready.code == 0, ready.err
    judged = eyeground("evaluate", run, tmp_path / "ready", "--allow-seen", "--name", "ready")
    assert judged.code == 0, judged.err
    again = read_table(run / "evaluations" / "ready" / "predictions.csv")
    assert len(again) == 30
    means = {row["file"].partition(".s0")[0].split("/B")[0]: row["score_fluid_dome"] for row in again}
    for name, row in table.items():
        assert float(means[name]) == pytest.approx(float(row["score_fluid_dome"]), abs=1e-5), name
    # Pooled means the mean of what each B-scan gets alone.
    alone = eyeground("predict", run, files[0], "--slices", "center", "--out", tmp_path / "center.csv")
    assert alone.code == 0
    assert read_table(tmp_path / "center.csv")[0]["score_fluid_dome"] != table[files[0].name]["score_fluid_dome"]


def test_a_wrong_choice_of_slices_is_told(trained: Path, tmp_path: Path, eyeground: Call) -> None:
    answer = eyeground("predict", trained, tmp_path, "--slices", "some")
    assert answer.code == 2
    assert "write center, all, or every:N" in answer.err


def test_contradictory_eyes_are_told_and_left_open(trained: Path, tmp_path: Path, eyeground: Call) -> None:
    path = tmp_path / "7_OS.dcm"
    path.write_bytes(write_op(draw_fundus("normal", seed=1, eye="OD", size_px=96).image.pixels, ImageLaterality="R"))
    answer = eyeground("predict", trained, path, "--out", tmp_path / "answers.csv", "--json")
    assert answer.code == 0, answer.err
    assert read_table(tmp_path / "answers.csv")[0]["eye"] == ""
    told = json.loads(answer.out)
    assert "OD" in told["notes"][0]
    assert "OS" in told["notes"][0]


def test_real_heidelberg_files_are_predicted(trained: Path, realdata: Path, tmp_path: Path, eyeground: Call) -> None:
    raw = realdata / "oct-heyex-vol" / "heyex_vol" / "test_volume.vol"
    xml = realdata / "oct-heyex-vol" / "heyex_xml" / "test_volume" / "test_dummy.xml"
    answer = eyeground("predict", trained, raw, xml, "--slices", "all", "--out", tmp_path / "answers.csv", "--json")
    assert answer.code == 0, answer.err
    rows = read_table(tmp_path / "answers.csv")
    assert len(rows) == 2

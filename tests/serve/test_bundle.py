"""A bundle is opened as it was packed, or not at all."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from eyeground.serve.bundle import RECORD, SUMS, WEIGHTS, BundleRefused, files_of, is_bundle, open_bundle, seal
from eyeground.serve.runtime import RuntimeMissing

from .contracts import CLASSES, PX
from .packed import pack


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that nobody changes."""
    folder = tmp_path_factory.mktemp("bundles") / "small"
    pack(folder)
    return folder


@pytest.fixture
def mine(packed: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return shutil.copytree(packed, tmp_path / "mine")


def test_it_is_opened_and_answers(packed: Path) -> None:
    found = open_bundle(packed)
    assert found.contract.classes == CLASSES
    assert found.contract.title("normal", "zh") == "未见异常"
    assert found.runtimes == {"torch": ("fp32",)}
    runtime = found.open_runtime("torch")
    assert runtime.outputs(np.zeros((2, 3, PX, PX), np.float32)).shape == (2, 3)
    runtime.close()


def test_its_list_is_the_one_that_sha256sum_checks(packed: Path) -> None:
    done = subprocess.run(["sha256sum", "-c", SUMS], cwd=packed, capture_output=True, text=True, check=True)
    assert done.stdout.count(": OK") == 3


def test_the_same_files_have_the_same_id(packed: Path, mine: Path) -> None:
    assert open_bundle(mine).id == open_bundle(packed).id
    (mine / "README.md").write_text("# other\n")
    assert seal(mine) != open_bundle(packed).id


@pytest.mark.parametrize("name", [RECORD, WEIGHTS, "README.md", SUMS])
def test_one_changed_byte_anywhere_is_refused(mine: Path, name: str) -> None:
    path = mine / name
    content = path.read_bytes()
    places = range(len(content)) if len(content) < 300 else np.random.default_rng(0).integers(len(content), size=60)
    for place in map(int, places):
        spoiled = bytearray(content)
        spoiled[place] ^= 1 << (place % 8)
        path.write_bytes(spoiled)
        with pytest.raises(BundleRefused):
            open_bundle(mine)
    path.write_bytes(content)
    assert open_bundle(mine).contract.classes == CLASSES


def test_all_that_is_wrong_is_named_at_once(mine: Path) -> None:
    (mine / "README.md").unlink()
    (mine / WEIGHTS).write_bytes(b"x")
    with pytest.raises(BundleRefused, match=r"README\.md is missing; weights\.safetensors was changed"):
        open_bundle(mine)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + "\n",
        lambda text: text.rstrip("\n"),
        lambda text: "".join(reversed(text.splitlines(keepends=True))),
        lambda text: text + text,
        lambda text: text.replace("  README", "  ../README"),
        lambda text: text.replace("  README", " *README"),
        lambda text: "".join(line for line in text.splitlines(keepends=True) if RECORD not in line),
        lambda text: "".join(line for line in text.splitlines(keepends=True) if WEIGHTS not in line),
        lambda text: "",
    ],
)
def test_the_list_itself_has_one_form_only(mine: Path, change: Callable[[str], str]) -> None:
    text = (mine / SUMS).read_text()
    (mine / SUMS).write_text(change(text))
    with pytest.raises(BundleRefused):
        open_bundle(mine)


def test_files_that_are_not_listed_are_never_opened(mine: Path) -> None:
    (mine / "model.onnx").write_bytes(b"anything")
    with pytest.raises(RuntimeMissing, match="no files for onnx"):
        open_bundle(mine).open_runtime("onnx")


def test_a_link_is_no_file_of_a_bundle(mine: Path, packed: Path) -> None:
    (mine / WEIGHTS).unlink()
    (mine / WEIGHTS).symlink_to(packed / WEIGHTS)
    with pytest.raises(BundleRefused, match=f"{WEIGHTS} is missing"):
        open_bundle(mine)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"format": 99}, "format 99"),
        ({"runtimes": {"onnx": {"fp32": {}}}}, r"model\.onnx is named"),
        ({"runtimes": {"tensorrt": {"fp32": {}}}}, "tensorrt"),
        ({"runtimes": {"torch": {"int4": {}}}}, "int4"),
        ({"calibrations": {"label": "../c.json"}}, "is named, but not"),
        ({"contract": {}}, "not a contract"),
    ],
)
def test_a_record_without_sense_is_refused(tmp_path: Path, changes: dict[str, object], word: str) -> None:
    pack(tmp_path / "odd", **changes)
    with pytest.raises(BundleRefused, match=word):
        open_bundle(tmp_path / "odd")


def test_weights_of_another_contract_are_refused(tmp_path: Path) -> None:
    pack(tmp_path / "one", seed=1)
    other = tmp_path / "two"
    pack(other, seed=2)
    shutil.copy(tmp_path / "one" / RECORD, other / RECORD)
    seal(other)
    with pytest.raises(BundleRefused, match="other weights"):
        open_bundle(other)


def test_a_bundle_is_told_from_a_run(packed: Path, tmp_path: Path) -> None:
    assert is_bundle(packed)
    assert not is_bundle(tmp_path)


def test_a_folder_with_more_than_plain_files_is_not_sealed(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "strange name").write_text("")
    with pytest.raises(ValueError, match="inner, strange name"):
        seal(tmp_path)


def test_what_a_runtime_needs_is_known() -> None:
    assert files_of("torch", "fp32") == (WEIGHTS,)
    with pytest.raises(ValueError, match="no runtime"):
        files_of("tensorrt", "fp32")

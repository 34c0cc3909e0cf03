"""The command ``data fetch``: lists, steps, downloads, goes on after a kill, checks what is there."""

import io
import json
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from eyeground.cli import public_sets
from eyeground.cli.finetune_config import FinetuneConfig
from eyeground.data.delivery import RECORD
from eyeground.data.public import Download, PublicDataset
from eyeground.pick import names, pick
from tests.data.file_server import Shop, serving
from tests.data.laid_out import lay_out
from tests.flow.tables import Answer

Call = Callable[..., Answer]
JSIEC: PublicDataset = pick("data.datasets", "jsiec").DATASET


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy stands between a test and its own server."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def packed(tmp_path: Path) -> tuple[PublicDataset, bytes]:
    """A small JSIEC, described and zipped."""
    copy = lay_out(JSIEC, JSIEC.layouts[1], tmp_path / "packed" / "1000images")
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for path in sorted((tmp_path / "packed").rglob("*.JPG")):
            file.write(path, path.relative_to(tmp_path / "packed"))
    return copy.dataset, content.getvalue()


def _offer(monkeypatch: pytest.MonkeyPatch, dataset: PublicDataset, shop: Shop) -> None:
    """Put the set's download on the test's server."""
    offered = replace(dataset, downloads=(Download(shop.url("1000images.zip"), "1000images.zip"),))
    monkeypatch.setattr(public_sets, "public_set", lambda name: offered)


def test_the_list_says_of_every_set_what_it_is_and_how_it_is_had(eyeground: Call) -> None:
    answer = eyeground("data", "fetch", "--json")
    assert answer.code == 0
    sets = {each["name"]: each for each in json.loads(answer.out)["sets"]}
    assert tuple(sorted(sets)) == names("data.datasets")
    assert sets["aptos2019"]["classes"][4] == {
        "label": "4", "en": "Proliferative diabetic retinopathy", "zh": "增殖期糖尿病视网膜病变", "images": 295,
    }  # fmt: skip
    assert {name for name, each in sets.items() if each["downloadable"]} == {
        "jsiec", "glaucoma_fundus", "octdl", "oct2017", "papila",
    }  # fmt: skip
    shown = eyeground("data", "fetch")
    assert all(name in shown.err for name in sets)
    assert "15 public sets" in shown.out


def test_a_set_that_its_site_does_not_give_to_programs_is_told_in_steps(eyeground: Call, tmp_path: Path) -> None:
    folder = tmp_path / "octid"
    answer = eyeground("data", "fetch", "octid", "--to", folder, "--json")
    assert answer.code == 0
    told = json.loads(answer.out)
    assert (told["fetched"], told["checked"], told["folder"]) == (False, False, str(folder))
    assert told["classes"][4]["zh"] == "黄斑裂孔"
    assert f"then run: eyeground data fetch octid --to {folder}" in answer.err
    assert f"unpack it so that {folder} holds train, val and test" in answer.err
    assert "https://borealisdata.ca/dataverse/OCTID" in answer.err
    assert not folder.exists()


def test_a_copy_that_is_there_is_checked_and_opens(eyeground: Call, tmp_path: Path) -> None:
    octid: PublicDataset = pick("data.datasets", "octid").DATASET
    lay_out(octid, octid.layouts[0], tmp_path / "OCTID")
    answer = eyeground("data", "fetch", "octid", "--to", tmp_path, "--json")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    assert (told["fetched"], told["checked"], told["complete"]) == (False, True, False)
    assert told["counts"]["test"] == {"Normal": 2, "AMD": 2, "CSR": 2, "DR": 2, "MH": 2}
    assert told["notes"][0].startswith("a part of the set, 30 of 572 images: train Normal 3 of 115")
    config = FinetuneConfig(**told["config"])
    assert (config.split, config.classes) == ("source", ("Normal", "AMD", "CSR", "DR", "MH"))
    assert config.data[0].path == tmp_path / "OCTID"


def test_what_is_wrong_with_a_copy_comes_at_once(eyeground: Call, tmp_path: Path) -> None:
    for name in ("Normal", "AMD", "Glaucoma", "Cats"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(b"x")
    answer = eyeground("data", "fetch", "octid", "--to", tmp_path, "--json")
    assert answer.code == 2
    assert "2 problems in the data" in answer.err
    assert json.loads(answer.out)["kind"] == "DataProblems"
    assert "Traceback" not in answer.err
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("x")
    answer = eyeground("data", "fetch", "octid", "--to", tmp_path / "other")
    assert answer.code == 2
    assert "holds nothing that looks like OCTID; lay it out as" in answer.err


def test_words_that_cannot_be_meant(eyeground: Call, tmp_path: Path) -> None:
    answer = eyeground("data", "fetch", "octit")
    assert answer.code == 2
    assert "did you mean 'octid'?" in answer.err
    assert "aptos2019, duke_oct" in answer.err
    answer = eyeground("data", "fetch", "--to", tmp_path)
    assert answer.code == 2
    assert "needs the NAME of a set" in answer.err
    (tmp_path / "file").write_text("x")
    answer = eyeground("data", "fetch", "octid", "--to", tmp_path / "file")
    assert answer.code == 2
    assert "is a file; name a folder" in answer.err


def test_a_set_is_downloaded_unpacked_checked_and_its_hash_noted(
    eyeground: Call, tmp_path: Path, packed: tuple[PublicDataset, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, content = packed
    folder = tmp_path / "jsiec"
    with serving(**{"1000images_zip": content}) as shop:
        _offer(monkeypatch, dataset, shop)
        shop.cuts = [len(content) // 3]
        answer = eyeground("data", "fetch", "jsiec", "--to", folder, "--json")
        assert answer.code == 0, answer.err
        assert shop.asked == ["all", f"bytes={len(content) // 3}-"]
        told = json.loads(answer.out)
        assert (told["fetched"], told["complete"], told["found"], told["notes"]) == (True, True, 156, [])
        assert told["files"][0]["known"] is False
        assert told["root"] == str(folder / "1000images" / "1000images")
        assert f"noted in {folder / RECORD}" in answer.err
        assert "loading 1000images.zip" in answer.err
        assert sorted(path.name for path in folder.iterdir()) == [RECORD, "1000images"]
        record = json.loads((folder / RECORD).read_text())
        assert (record["dataset"], record["files"][0]["sha256"]) == ("jsiec", told["files"][0]["sha256"])
        again = json.loads(eyeground("data", "fetch", "jsiec", "--to", folder, "--json").out)
        assert (again["fetched"], again["checked"], len(shop.asked)) == (False, True, 2)


def test_a_server_that_refuses_is_an_answer_with_an_exit_code(
    eyeground: Call, tmp_path: Path, packed: tuple[PublicDataset, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as shop:
        _offer(monkeypatch, packed[0], shop)
        answer = eyeground("data", "fetch", "jsiec", "--to", tmp_path / "jsiec", "--json")
    assert answer.code == 1
    assert "404: the file has moved" in answer.err
    assert json.loads(answer.out)["kind"] == "DownloadFailed"


def test_killed_in_the_middle_it_goes_on_and_never_looks_whole(
    eyeground: Call, tmp_path: Path, packed: tuple[PublicDataset, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, content = packed
    folder = tmp_path / "jsiec"
    script = (
        "import sys\n"
        "from dataclasses import replace\n"
        "from eyeground.cli import public_sets\n"
        "from eyeground.data.public import Download\n"
        "made = public_sets.public_set('jsiec')\n"
        "made = replace(made, downloads=(Download(sys.argv.pop(), '1000images.zip'),))\n"
        "public_sets.public_set = lambda name: made\n"
        "from eyeground.cli.main import main\n"
        "main()\n"
    )
    with serving(**{"1000images_zip": content}) as shop:
        shop.slow_s = 0.02  # at 4 KiB a time: about 200 KB/s
        command = [
            sys.executable,
            "-c",
            script,
            "data",
            "fetch",
            "jsiec",
            "--to",
            str(folder),
            shop.url("1000images.zip"),
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        part = folder / ".eyeground-download" / "1000images.zip.part"
        limit = time.monotonic() + 60
        while time.monotonic() < limit and not (part.exists() and part.stat().st_size > 20_000):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        here = part.stat().st_size
        assert 20_000 < here < len(content)
        assert [path.name for path in folder.iterdir() if not path.name.startswith(".")] == []
        shop.slow_s, shop.asked = 0, []
        _offer(monkeypatch, dataset, shop)
        told = json.loads(eyeground("data", "fetch", "jsiec", "--to", folder, "--json").out)
        assert (told["fetched"], told["complete"]) == (True, True)
        assert shop.asked == [f"bytes={here}-"]


def test_killed_while_unpacking_it_is_unpacked_anew(
    eyeground: Call, tmp_path: Path, packed: tuple[PublicDataset, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, content = packed
    folder = tmp_path / "jsiec"

    def dies(archive: Path, into: Path, **words: object) -> None:
        half = into.with_name(f".{into.name}.unpacking")
        (half / "1000images" / "0.0.Normal").mkdir(parents=True)
        (half / "1000images" / "0.0.Normal" / "left over.JPG").write_bytes(b"x")
        raise KeyboardInterrupt

    with serving(**{"1000images_zip": content}) as shop:
        _offer(monkeypatch, dataset, shop)
        with monkeypatch.context() as patch:
            patch.setattr("eyeground.data.delivery.unpack", dies)
            with pytest.raises(KeyboardInterrupt):
                public_sets.fetch_set("jsiec", folder, as_json=True)
        assert [path.name for path in folder.iterdir() if not path.name.startswith(".")] == []
        answer = eyeground("data", "fetch", "jsiec", "--to", folder, "--json")
        told = json.loads(answer.out)
        assert (told["fetched"], told["complete"], told["found"]) == (True, True, 156)
        assert len(shop.asked) == 1  # the archive was here
        assert list(folder.rglob("left over.JPG")) == []


def test_a_copy_of_ones_own_of_a_set_to_download_is_checked_not_downloaded(
    eyeground: Call, tmp_path: Path, packed: tuple[PublicDataset, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as shop:
        _offer(monkeypatch, packed[0], shop)
        answer = eyeground("data", "fetch", "jsiec", "--to", tmp_path / "packed", "--json")
        assert (answer.code, shop.asked) == (0, [])
    assert json.loads(answer.out)["checked"]


def test_a_folder_that_may_not_be_written_is_still_checked(
    eyeground: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aptos: PublicDataset = pick("data.datasets", "aptos2019").DATASET
    lay_out(aptos, aptos.layouts[1], tmp_path)

    def refuses(*words: object, **keys: object) -> None:
        raise PermissionError(13, "Permission denied", "labels.csv")

    monkeypatch.setattr("eyeground.data.public_folder.write_rows", refuses)
    answer = eyeground("data", "fetch", "aptos2019", "--to", tmp_path, "--json")
    told = json.loads(answer.out)
    assert (answer.code, told["checked"], told["found"], told["config"]) == (0, True, 20, None)
    assert "its tables could not be joined there" in answer.err

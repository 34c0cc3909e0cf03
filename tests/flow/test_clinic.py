"""``eyeground clinic`` as an operator types it: set up, submit, review, sign, amend, look after the records."""

import asyncio
import io
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from PIL import Image
from sqlalchemy import text

from eyeground.clinic.accounts import holder
from eyeground.clinic.contracts import contract_for
from eyeground.clinic.db.database import open_engine
from eyeground.clinic.intake import Arrived
from eyeground.clinic.outbox import Outbox
from eyeground.clinic.passwords import check_password
from eyeground.clinic.service import Service, open_service
from eyeground.clinic.settings import read_settings
from eyeground.clinic.watching import Watched
from eyeground.data.phantom import draw_fundus, write_set
from tests.clinic.constant_grader import ConstantGrader
from tests.clinic.opened import work_off
from tests.flow.conftest import TINY, succeeded
from tests.flow.tables import Answer

Call = Callable[..., Answer]
COMMAND = [sys.executable, "-c", "from eyeground.cli.main import main; main()", "clinic"]
PATIENT = '{"patient_id": "P7", "name": "Anna Canary", "age": 61, "vision_data": {"right_eye": "0.8"}}'


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own for each test; nothing of this machine's settings."""
    for name in [name for name in os.environ if name.startswith("EYEGROUND_CLINIC_")]:
        monkeypatch.delenv(name)
    # --config sets it for the process: it is put back here.
    monkeypatch.setenv("EYEGROUND_CLINIC_CONFIG", "")
    monkeypatch.setenv("EYEGROUND_CLINIC_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """A patient's two eyes."""
    paths = []
    for eye in ("OD", "OS"):
        paths.append(tmp_path / f"P7_{eye}.png")
        Image.fromarray(draw_fundus("dr2", seed=7, eye=eye, size_px=160).image.pixels).save(paths[-1])  # type: ignore[arg-type]
    return paths


@pytest.fixture
def ready(eyeground: Call, home: Path) -> Path:
    """A service that is set up, with a doctor."""
    answered(eyeground, "clinic", "init")
    answered(eyeground, "clinic", "user", "add", "li", "--role", "doctor", "--title", "Dr Li")
    return home


@pytest.fixture(scope="module")
def graders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that answers AMD and DR, learned in a moment and worth as much."""
    folder = tmp_path_factory.mktemp("graders")
    diseases = ("normal", "dr1", "dr2", "dr3", "dr4", "drusen")
    write_set(folder / "set", modality="fundus", diseases=diseases, patients=40, seed=3, size_px=64)
    config = folder / "tiny.yaml"
    config.write_text(
        f"data: [{{path: {folder}/set/images, table: {folder}/set/labels.csv, group: patient, name: phantoms}}]\n"
        "task: heads\nheads: [{name: AMD}, {name: DR, kind: grades}]\n"
        + "".join(word.replace("=", ": ", 1) + "\n" for word in TINY),
        encoding="utf-8",
    )
    succeeded("finetune", config, f"out={folder}/screening", "epochs=1", "warmup_epochs=0")
    (folder / "packed").mkdir()
    succeeded("export", folder / "screening", "--out", folder / "packed" / "screening", "--threads", 1)
    return folder / "packed" / "screening"


def answered(eyeground: Call, *words: object) -> dict[str, Any]:
    """Call a command that succeeds; its JSON line, which is all that stdout holds."""
    answer = eyeground(*words, "--json")
    assert answer.code == 0, answer.err
    [line] = answer.out.splitlines()
    told: dict[str, Any] = json.loads(line)
    return told


def refused(answer: Answer, *words: str, code: int = 2) -> None:
    assert answer.code == code, answer.err
    assert "Traceback" not in answer.err
    for word in words:
        assert word in answer.err


def worked(*graders: ConstantGrader) -> None:
    """What workers do meanwhile: take in, look, release, send."""
    service = open_service(read_settings())
    try:
        asyncio.run(_once(service))
        work_off(service, graders or [ConstantGrader()])
        asyncio.run(_once(service))
    finally:
        service.close()


async def _once(service: Service) -> None:
    """Empty the queue into the inbox, and the outbox into the queue."""

    transport = service.connect()
    await transport.open(("screening",), ("screening_result",))
    while arrived := await transport.receive(most=8, wait_s=0.1):
        service.intake.admit([Arrived(each.queue, each.message.body, "default") for each in arrived])
        for each in arrived:
            await each.acknowledge()
    await Outbox(service.database, site=service.settings.site, lease_s=30.0).send(transport)
    await transport.close()


def received() -> list[dict[str, Any]]:
    """What has arrived in the result queue, and stays there."""
    service = open_service(read_settings())

    async def look() -> list[bytes]:
        transport = service.connect()
        await transport.open(("screening_result",), ())
        found = await transport.receive(most=100, wait_s=0.2)
        for each in found:
            await each.give_back()
        await transport.close()
        return [each.message.body for each in found]

    try:
        return [json.loads(body) for body in asyncio.run(look())]
    finally:
        service.close()


def waiting(eyeground: Call) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = answered(eyeground, "clinic", "review")["cases"]
    return cases


def test_init_makes_what_is_missing_and_nothing_twice(eyeground: Call, home: Path) -> None:
    first = answered(eyeground, "clinic", "init")
    assert (first["changes"][0], sorted(first["passwords"])) == ("0001", ["admin"])
    assert first["tokens"] == {}, "a person has a password, a program a token"
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "secret").stat().st_mode) == 0o600
    secret = (home / "secret").read_text()
    again = answered(eyeground, "clinic", "init")
    assert (again["changes"], again["passwords"], again["secret"]) == ([], {}, None)
    assert (home / "secret").read_text() == secret
    assert answered(eyeground, "clinic", "verify-audit")["lines"] == 2  # the account, its password


def test_a_password_is_shown_only_where_somebody_asks_for_it(eyeground: Call, home: Path) -> None:
    """Under systemd the output goes into a journal that others can read."""
    quiet = eyeground("clinic", "init")
    assert (quiet.code, "shown this once" in quiet.err + quiet.out) == (0, False)
    assert "none yet" in quiet.err
    asked = eyeground("clinic", "init", "--admin")
    assert "admin: the password is shown this once" in asked.err
    after = eyeground("clinic", "init", "--admin")
    assert (after.code, "shown this once" in after.err) == (0, False)
    assert "none yet" not in after.err


def test_a_backup_is_restored_where_a_unit_has_set_up(
    eyeground: Call, ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered(eyeground, "clinic", "backup", tmp_path / "b.tar")
    monkeypatch.setenv("EYEGROUND_CLINIC_SECRET", (ready / "secret").read_text().strip())
    monkeypatch.setenv("EYEGROUND_CLINIC_HOME", str(tmp_path / "new"))
    assert eyeground("clinic", "init").code == 0
    answered(eyeground, "clinic", "restore", tmp_path / "b.tar")
    refused(eyeground("clinic", "user", "add", "li", "--role", "doctor"), "there is an account of that name")


def test_people_have_passwords_and_programs_tokens(
    eyeground: Call, ready: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def typed(text: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))

    made = answered(eyeground, "clinic", "user", "add", "chen", "--role", "operator")
    assert (len(made["password"]), made["token"]) == (19, None)
    program = answered(eyeground, "clinic", "user", "add", "machine", "--role", "site", "--site", "here")
    assert (program["password"], len(program["token"])) == (None, 43)
    typed("seven geese walk home\n")
    chosen = answered(eyeground, "clinic", "user", "add", "wang", "--role", "doctor", "--password-stdin")
    assert (chosen["password"], chosen["token"]) == (None, None)
    typed("wang1\n")
    bad = eyeground("clinic", "user", "password", "wang", "--password-stdin")
    refused(bad, "fewer than 12 characters", "account's name")
    typed("")
    refused(eyeground("clinic", "user", "password", "wang", "--password-stdin"), "nothing came")
    another = answered(eyeground, "clinic", "user", "password", "chen")["password"]
    assert another != made["password"]
    token = answered(eyeground, "clinic", "user", "token", "machine")["token"]
    subject = "https://id.example 4711"
    single = answered(eyeground, "clinic", "user", "add", "zhao", "--role", "doctor", "--subject", subject)
    assert (single["password"], single["token"]) == (None, None)
    refused(eyeground("clinic", "user", "subject", "chen", "--subject", subject), "another account has that subject")
    answered(eyeground, "clinic", "user", "revoke", "wang")
    listed = {each["account"]: each for each in answered(eyeground, "clinic", "user", "list")["accounts"]}
    assert sorted(listed) == ["admin", "chen", "li", "machine", "wang", "zhao"]
    assert {name for name, each in listed.items() if each["has_password"]} == {"admin", "chen", "li", "wang"}
    assert listed["zhao"]["subject"] == subject
    assert listed["wang"]["revoked_at"]
    service = open_service(read_settings())
    try:
        for name, password, good in (("chen", another, True), ("chen", made["password"], False)):
            assert (check_password(service.database, name, password) is not None) is good
        with service.database.read() as session:
            assert holder(session, program["token"]) is None
            assert holder(session, token).name == "machine"  # type: ignore[union-attr]
    finally:
        service.close()


def test_a_secret_that_was_lost_is_not_replaced(eyeground: Call, home: Path) -> None:
    answered(eyeground, "clinic", "init")
    secret = (home / "secret").read_text()
    (home / "secret").unlink()
    refused(eyeground("clinic", "init"), "another secret, which is gone")
    assert not (home / "secret").exists()
    refused(eyeground("clinic", "review"), "run: eyeground clinic init")
    (home / "secret").write_text(secret)
    refused(eyeground("clinic", "verify-audit"), "others on this machine", "chmod 600")
    (home / "secret").chmod(0o600)
    answered(eyeground, "clinic", "verify-audit")


def test_from_images_to_a_signed_result_by_command(
    eyeground: Call, ready: Path, images: list[Path], capfd: pytest.CaptureFixture[str]
) -> None:
    sent = answered(eyeground, "clinic", "submit", *images, "--id", "visit-1", "--patient", PATIENT)
    assert sent == {"id": "visit-1"}
    answered(eyeground, "clinic", "submit", *images, "--id", "visit-1", "--patient", PATIENT)  # sent twice, taken once
    worked()
    [line] = waiting(eyeground)
    assert (line["request_id"], line["state"]) == ("visit-1", "in_review")
    case = line["id"]
    shown = eyeground("clinic", "review", case[:6])
    assert shown.code == 0
    for word in ("Anna Canary", "OD (right)", "OS (left)", "AI 辅助，非诊断", "visual acuity 0.8", "DR"):
        assert word in shown.err
    assert shown.err.index("fundus/OD") < shown.err.index("fundus/OS")

    drafted = answered(eyeground, "clinic", "review", case[:6], "--accept", "--as", "li")
    assert set(drafted["reviews"][0]["opinion"]["eyes"]) == {"fundus/OD", "fundus/OS"}
    refused(eyeground("clinic", "sign", case, "--as", "li", "--yes"), "conclusion: is empty")
    words = ("--conclusion", "Retinopathy", "--recommendation", "Refer")
    answered(eyeground, "clinic", "review", case, *words, "--as", "li")
    version = waiting(eyeground)[0]["version"]
    refused(eyeground("clinic", "sign", case, "--as", "li", "--yes", "--version", version - 1), "changed meanwhile")
    refused(eyeground("clinic", "sign", case, "--as", "li"), "say --yes")
    preview = eyeground("clinic", "sign", case, "--as", "li", "--yes", "--version", version)
    assert preview.code == 0
    assert "Retinopathy" in preview.err
    assert "报告" in preview.err
    assert received() == []
    worked()
    [result] = received()
    assert (result["message_id"], result["status"]) == ("visit-1", "signed")
    assert result["doctor_review"]["final_conclusion"] == "Retinopathy"
    assert result["doctor_review"]["doctor_name"] == "Dr Li"
    # What was shown is what went out, but for the second in which it was signed.
    for name, value in result.items():
        if name not in ("doctor_review", "report"):
            assert f"{name}: {json.dumps(value, ensure_ascii=False)}" in preview.err

    amended = answered(eyeground, "clinic", "amend", case[:8], "--as", "li", "--reason", "the other eye")
    answered(eyeground, "clinic", "review", case, "--conclusion", "None after all", "--as", "li")
    assert amended["case"] == case
    assert answered(eyeground, "clinic", "sign", case, "--as", "li", "--yes")["version"] > amended["version"]
    worked()
    assert [each["status"] for each in received()] == ["signed", "amended"]
    events = [each["event"] for each in answered(eyeground, "clinic", "review", case)["history"]]
    assert [each for each in events if each in ("sign", "amend", "sent")] == ["sign", "sent", "amend", "sign", "sent"]
    assert answered(eyeground, "clinic", "verify-audit")["whole"] is True
    assert capfd.readouterr() == ("", "")


def test_a_doctor_s_word_against_the_models_needs_a_reason(eyeground: Call, ready: Path, images: list[Path]) -> None:
    answered(eyeground, "clinic", "submit", *images)
    worked()
    [line] = waiting(eyeground)
    case, value = line["id"], line["eyes"]["fundus/OD"]["DR"]
    other = 0 if value else 1
    words = ("clinic", "review", case, "--accept", "--set", f"fundus/OD.DR={other}", "--as", "li", "--conclusion", "So")
    answered(eyeground, *words)
    refused(eyeground("clinic", "sign", case, "--as", "li", "--yes"), "fundus/OD: differs from the model in DR")
    answered(eyeground, *words, "--ungradable", "fundus/OS", "--reason", "I see it so")
    told = answered(eyeground, "clinic", "review", case)["reviews"][0]["opinion"]["eyes"]
    assert told["fundus/OS"] == {"findings": {}, "ungradable": True, "reason": "I see it so"}
    assert told["fundus/OD"]["findings"]["DR"] == other
    answered(eyeground, "clinic", "sign", case, "--as", "li", "--yes")


def test_only_a_doctor_writes_and_only_as_somebody(eyeground: Call, ready: Path, images: list[Path]) -> None:
    answered(eyeground, "clinic", "user", "add", "chen", "--role", "operator")
    answered(eyeground, "clinic", "submit", *images)
    worked()
    case = waiting(eyeground)[0]["id"]
    refused(eyeground("clinic", "review", case, "--accept"), "--as which doctor")
    refused(eyeground("clinic", "review", case, "--accept", "--as", "chen"), "a matter of doctor")
    refused(eyeground("clinic", "review", case, "--accept", "--as", "nobody"), "no such account")
    answered(eyeground, "clinic", "review", case, "--accept", "--conclusion", "So", "--as", "li")
    refused(eyeground("clinic", "sign", case, "--as", "chen", "--yes"), "a matter of doctor")
    answered(eyeground, "clinic", "user", "revoke", "li")
    refused(eyeground("clinic", "sign", case, "--as", "li", "--yes"), "no such account")
    assert waiting(eyeground)[0]["state"] == "in_review"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["submit"], ["give images to send"]),
        (["submit", "none.png", "also-none.png"], ["none.png", "also-none.png"]),
        (["submit", "--message", "none.json", "--id", "a"], ["--message is the whole message", "none.json"]),
        (["submit", "IMAGE", "--patient", "Anna"], ["--patient: is no JSON object"]),
        (["submit", "IMAGE", "--patient", '{"age": 900}'], ["age"]),
        (["submit", "IMAGE", "--id", "no id!"], ["message_id", "no usable id"]),
        (["review", "zz"], ["hex digits"]),
        (["review", "0a"], ["no case's id begins with 0a"]),
        (["review", "--state", "lost"], ["--state lost"]),
        (["sign", "0a", "--as", "li"], ["no case's id begins with 0a"]),
        (["amend", "0a", "--as", "li", "--reason", "x"], ["no case's id begins with 0a"]),
        (["amend", "0a", "--as", "li", "--reason", "\udcff"], ["--reason: holds control characters"]),
        (["replay"], ["say which"]),
        (["replay", "7"], ["no such dead letter"]),
        (["user", "add", "x"], ["say --role"]),
        (["user", "add", "Li!", "--role", "doctor"], ["lower-case"]),
        (["user", "add", "li", "--role", "doctor"], ["there is an account of that name"]),
        (["user", "add"], ["add needs a name", "say --role"]),
        (["user", "revoke", "li", "--title", "Dr", "--subject", "x"], ["--site are for add", "--subject is"]),
        (["user", "list", "li", "--password-stdin"], ["list takes no name", "--password-stdin is for"]),
        (["user", "password", "nobody"], ["no such account"]),
        (["user", "add", "x", "--role", "doctor", "--subject", "4711"], ["the provider's issuer, a space"]),
        (["web", "--host", "0.0.0.0"], ["PUBLIC_URL", "TLS"]),  # noqa: S104 - refused
        (["up", "--host", "0.0.0.0"], ["PUBLIC_URL", "TLS"]),  # noqa: S104 - refused
        (["up", "--demo", "--host", "0.0.0.0"], ["this machine alone"]),  # noqa: S104 - refused
        (["restore", "none.tar"], ["none.tar"]),
        (["backup", "HOME"], ["already there"]),
    ],
)
def test_bad_words_are_told_without_a_traceback(
    words: list[str], told: list[str], eyeground: Call, ready: Path, images: list[Path]
) -> None:
    places = {"IMAGE": str(images[0]), "HOME": str(ready)}
    answer = eyeground("clinic", *(places.get(word, word) for word in words), "--json")
    refused(answer, *told)
    assert json.loads(answer.out)["error"]


def test_bad_settings_are_all_told_and_their_values_never(eyeground: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EYEGROUND_CLINIC_SECRET", "hunter2")
    monkeypatch.setenv("EYEGROUND_CLINIC_LEASE_S", "-4")
    monkeypatch.setenv("EYEGROUND_CLINIC_COLOR", "blue")
    for verb in ("init", "worker", "web", "up", "review", "verify-audit"):
        answer = eyeground("clinic", verb)
        refused(answer, "EYEGROUND_CLINIC_SECRET", "EYEGROUND_CLINIC_LEASE_S", "EYEGROUND_CLINIC_COLOR")
        assert "hunter2" not in answer.err + answer.out


def test_a_file_of_settings_goes_by_config(eyeground: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EYEGROUND_CLINIC_HOME")
    file = tmp_path / "clinic.toml"
    file.write_text(f'home = "{tmp_path}/elsewhere"\nsite = "north"\n')
    assert answered(eyeground, "clinic", "init", "--config", file)["home"] == f"{tmp_path}/elsewhere"
    assert waiting(eyeground) == []
    refused(eyeground("clinic", "review", "--config", tmp_path / "none.toml"), "CONFIG: no such file")


def test_a_service_that_nobody_set_up_says_so(eyeground: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EYEGROUND_CLINIC_SECRET", "a phrase of this test")
    for verb in ("review", "worker", "web", "verify-audit", "dead-letters"):
        refused(eyeground("clinic", verb), "run: eyeground clinic init")


def test_a_database_that_is_gone_is_one_sentence(eyeground: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EYEGROUND_CLINIC_DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:1/none")
    refused(eyeground("clinic", "init"), "cannot be reached", code=1)


def test_dead_letters_are_listed_without_what_was_sent_and_replayed(
    eyeground: Call, ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EYEGROUND_CLINIC_IMAGE_ROOT", str(tmp_path / "root"))
    (tmp_path / "root").mkdir()
    message = tmp_path / "message.json"
    message.write_text('{"message_id": "late", "Patient": {"patient_id": "Canary-9", "photos": ["eye_OD.png"]}}')
    assert answered(eyeground, "clinic", "submit", "--message", message)["id"] == "late"
    worked()
    told = eyeground("clinic", "dead-letters", "--json")
    [letter] = json.loads(told.out)["letters"]
    assert letter["code"] == "image_missing"
    assert "Canary" not in told.out + told.err
    # What an earlier sending came to says nothing of this one.
    again = eyeground("clinic", "submit", "--message", message, "--wait", "--timeout", 1)
    refused(again, f"is dead letter {letter['id']}", code=1)
    worked()
    assert answered(eyeground, "clinic", "replay", letter["id"])["replayed"] == 0
    Image.new("RGB", (90, 90)).save(tmp_path / "root" / "eye_OD.png")
    assert answered(eyeground, "clinic", "replay", "--all")["letters"][0]["outcome"] == "admitted"
    assert answered(eyeground, "clinic", "dead-letters")["letters"] == []
    assert len(answered(eyeground, "clinic", "dead-letters", "--all")["letters"]) == 1
    worked()
    assert [line["request_id"] for line in waiting(eyeground)] == ["late"]


def test_a_broken_trail_ends_with_code_1_and_the_line(eyeground: Call, ready: Path) -> None:
    engine = open_engine(f"sqlite:///{ready}/clinic.db")
    with engine.execution_options(eyeground_writes=True).begin() as connection:
        connection.execute(text("drop trigger audit_no_update"))
        connection.execute(text("update audit set actor = 'somebody' where seq = 2"))
    engine.dispose()
    refused(eyeground("clinic", "verify-audit"), "broken at line 2", code=1)


def test_what_was_signed_and_changed_ends_with_code_1_and_the_case(
    eyeground: Call, ready: Path, images: list[Path]
) -> None:
    answered(eyeground, "clinic", "submit", *images)
    worked()
    case = waiting(eyeground)[0]["id"]
    answered(eyeground, "clinic", "review", case, "--accept", "--conclusion", "So", "--as", "li")
    signed = answered(eyeground, "clinic", "sign", case, "--as", "li", "--yes")
    assert signed["revision"] == 1
    assert answered(eyeground, "clinic", "verify-audit")["whole"] is True
    engine = open_engine(f"sqlite:///{ready}/clinic.db")
    with engine.execution_options(eyeground_writes=True).begin() as connection:
        connection.execute(text("update images set eye = 'OS'"))
        connection.execute(text("drop trigger audit_no_update"))
        connection.execute(text("update audit set actor = 'somebody' where seq = 2"))
    engine.dispose()
    refused(eyeground("clinic", "verify-audit"), "broken at line 2", case, "not what was signed", code=1)


def test_rubbish_is_dismissed_by_command(eyeground: Call, ready: Path) -> None:
    service = open_service(read_settings())
    service.intake.admit([Arrived("check", b"no json", "default"), Arrived("check", b"[]", "default")])
    service.close()
    refused(eyeground("clinic", "dead-letters", "--dismiss", 1, "--as", "li"), "operator or admin")
    told = answered(eyeground, "clinic", "dead-letters", "--dismiss", 1)
    assert [(each["id"], each["outcome"]) for each in told["letters"]] == [(1, "dismissed")]
    answer = eyeground("clinic", "dead-letters", "--dismiss", 1, "--dismiss", 2, "--json")
    refused(answer, "no such dead letter")
    assert json.loads(answer.out)["error"].startswith("1: there is no such dead letter")
    assert answered(eyeground, "clinic", "dead-letters")["letters"] == []
    refused(eyeground("clinic", "dead-letters", "--dismiss", 1, "--all"), "say one of them")


def test_a_backup_moves_to_another_home(
    eyeground: Call, ready: Path, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered(eyeground, "clinic", "submit", *images, "--id", "visit-1")
    worked()
    told = answered(eyeground, "clinic", "backup", tmp_path / "b.tar")
    assert (told["rows"]["cases"], told["images"], told["missing"]) == (1, 2, [])
    secret = (ready / "secret").read_text().strip()
    monkeypatch.setenv("EYEGROUND_CLINIC_HOME", str(tmp_path / "new"))
    monkeypatch.setenv("EYEGROUND_CLINIC_SECRET", secret[::-1])
    refused(eyeground("clinic", "restore", tmp_path / "b.tar"), "another secret")
    monkeypatch.setenv("EYEGROUND_CLINIC_SECRET", secret)
    answered(eyeground, "clinic", "restore", tmp_path / "b.tar")
    assert [line["request_id"] for line in waiting(eyeground)] == ["visit-1"]
    refused(eyeground("clinic", "restore", tmp_path / "b.tar"), "not empty")
    assert answered(eyeground, "clinic", "purge")["cases"] == 0
    assert answered(eyeground, "clinic", "purge", "--really")["done"] is True


class Running:
    """A command in a process of its own."""

    def __init__(self, *words: object) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def line(self) -> dict[str, Any]:
        """The one JSON line that it begins with."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate(timeout=60)[1]
        told: dict[str, Any] = json.loads(line)
        return told

    def stopped(self, kind: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Exit code and words after a stop."""
        self.process.send_signal(kind)
        _, words = self.process.communicate(timeout=60)
        return self.process.returncode, words


@pytest.fixture
def running() -> Iterator[Callable[..., Running]]:
    """Start commands; none is left."""
    several: list[Running] = []

    def start(*words: object) -> Running:
        several.append(Running(*words))
        return several[-1]

    yield start
    for each in several:
        if each.process.poll() is None:
            each.process.kill()
        each.process.communicate()


def test_a_worker_grades_with_a_real_bundle_and_sends(
    eyeground: Call, ready: Path, images: list[Path], graders: Path, running: Callable[..., Running],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("EYEGROUND_CLINIC_BUNDLE", str(graders))
    worker = running("worker")
    told = answered(eyeground, "clinic", "submit", *images, "--wait")
    assert told["state"] == "in_review"
    view = answered(eyeground, "clinic", "review", told["case"])
    assert view["answered"]["models"][0].startswith("screening (")
    for eye in ("fundus/OD", "fundus/OS"):
        assert set(view["answered"]["values"].get(eye, {"AMD": 0, "DR": 0})) == {"AMD", "DR"}
        assert view["unavailable"].get(f"{eye}.GLA", view["unavailable"].get(eye)) in ("not_installed", "cannot_grade")
    answered(eyeground, "clinic", "review", told["case"], "--accept", "--conclusion", "So", "--as", "li")
    signed = answered(eyeground, "clinic", "sign", told["case"], "--as", "li", "--yes", "--wait")
    assert signed["answer"]["status"] == "signed"
    assert received()[0] == signed["answer"]
    code, words = worker.stopped()
    assert code == 0
    lines = [json.loads(line) for line in words.splitlines()]
    assert lines[-1]["event"] == "worker_stopped"
    assert "Canary" not in words


def test_a_bundle_that_is_none_is_named_before_anything_is_taken(
    eyeground: Call, ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EYEGROUND_CLINIC_BUNDLE", f"{tmp_path}/none:{tmp_path}/also-none")
    refused(eyeground("clinic", "worker"), f"{tmp_path}/none: not a bundle", f"{tmp_path}/also-none: not a bundle")


def test_up_runs_everything_and_ends_together(
    eyeground: Call, images: list[Path], home: Path, running: Callable[..., Running]
) -> None:
    from tests.clinic.servers import free_port

    port = free_port()
    up = running("up", "--port", port, "--workers", 2, "--json")
    told = up.line()
    assert (told["url"], sorted(told["passwords"])) == (f"http://127.0.0.1:{port}", ["admin"])
    assert httpx.get(f"{told['url']}/healthz").status_code == 200
    # The workers, with no model: every finding is left to the doctor.
    case = answered(eyeground, "clinic", "submit", *images, "--wait")["case"]
    view = answered(eyeground, "clinic", "review", case)
    assert view["unavailable"]["fundus/OD"] == "not_installed"
    children = _children(up.process.pid)
    assert len(children) == 3
    os.kill(children[1], signal.SIGKILL)
    ends = time.monotonic() + 60
    while children[1] in (now := _children(up.process.pid)) or len(now) < 3:
        assert time.monotonic() < ends, "it was not started again"
        time.sleep(0.1)
    answered(eyeground, "clinic", "submit", images[0], "--wait")
    code, words = up.stopped(signal.SIGINT)
    assert code == 0, words
    assert "ended with -9; it is started again" in words
    assert all(not Path(f"/proc/{child}").exists() for child in now)
    assert stat.S_IMODE((home / "clinic.log").stat().st_mode) == 0o600
    assert "worker_stopped" in (home / "clinic.log").read_text()


def test_up_says_at_once_what_cannot_work(home: Path, running: Callable[..., Running]) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        up = running("up", "--port", taken.getsockname()[1])
        _, words = up.process.communicate(timeout=60)
    assert up.process.returncode == 2
    assert "web cannot run as it is told" in words
    assert "choose another" in words


def test_children_do_not_outlive_a_parent_that_was_killed(ready: Path, running: Callable[..., Running]) -> None:
    from tests.clinic.servers import free_port

    up = running("up", "--port", free_port(), "--json")
    up.line()
    children = _children(up.process.pid)
    assert len(children) == 2
    up.process.kill()
    ends = time.monotonic() + 60
    while any(_lives(child) for child in children):
        assert time.monotonic() < ends, "a child goes on without its parent"
        time.sleep(0.1)


def _children(pid: int) -> list[int]:
    """Processes that a process has started, the first first."""
    told = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sorted(int(each) for each in told)


def _lives(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


_SLOW = """
import sys, time
from eyeground.cli import clinic_working
from eyeground.clinic.service import open_service
from eyeground.clinic.settings import read_settings
from eyeground.clinic.watching import Watched
from tests.clinic.constant_grader import ConstantGrader
seconds, longest = map(float, sys.argv[1:])
if longest:
    clinic_working._LONGEST_END_S = longest
class Slow(ConstantGrader):
    def read(self, data, *, name):
        print("begun", flush=True)
        time.sleep(seconds)
        return super().read(data, name=name)
sys.exit(clinic_working.work_with(open_service(read_settings()), [Slow()]))
"""


def slow_worker(seconds: float, longest: float = 0.0) -> "subprocess.Popen[str]":
    """A worker whose model takes long."""
    return subprocess.Popen(
        [sys.executable, "-c", _SLOW, str(seconds), str(longest)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "EYEGROUND_CLINIC_LEASE_S": "1"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "longest", "code"),
    [
        pytest.param(1.0, 0.0, 0, id="finishes what it has begun"),
        pytest.param(600.0, 2.0, 1, id="hangs, cut short"),
        pytest.param(600.0, 0.0, 0, id="hangs", marks=pytest.mark.slow),
    ],
)
def test_a_stop_is_over_within_30_s_and_nothing_is_lost(
    seconds: float, longest: float, code: int, eyeground: Call, ready: Path, images: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """R12: SIGTERM while a model is at work."""
    answered(eyeground, "clinic", "submit", images[0], "--id", "one")
    answered(eyeground, "clinic", "submit", images[1], "--id", "two")
    worker = slow_worker(seconds, longest)
    assert worker.stdout is not None
    assert worker.stdout.readline() == "begun\n"
    began = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=60) == code
    assert time.monotonic() - began < 30
    worker.stdout.close()
    monkeypatch.setenv("EYEGROUND_CLINIC_LEASE_S", "1")
    # Another worker does what is left, once the lease of the dead one has run out.
    other = slow_worker(0.0)
    ends = time.monotonic() + 60
    while len(lines := waiting(eyeground)) < 2:
        assert time.monotonic() < ends, "a case was lost"
        time.sleep(0.2)
    other.terminate()
    other.communicate(timeout=60)
    assert sorted(line["request_id"] for line in lines) == ["one", "two"]
    for line in lines:
        assert len(answered(eyeground, "clinic", "review", line["id"])["findings"]) == 1


def test_what_is_not_installed_is_named(eyeground: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.startswith("eyeground.cli.clinic_")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    refused(eyeground("clinic", "review"), "sqlalchemy is not installed: pip install 'eyeground[clinic]'")


def test_the_demonstration_s_patients_and_model_are_what_the_service_asks_for() -> None:
    from eyeground.cli import clinic_demo
    from eyeground.cli.config_file import load_config
    from eyeground.clinic.findings import FINDINGS
    from eyeground.clinic.uploads import HEAD_BYTES, is_image

    contract = contract_for("screening")
    for number, (right, left, _) in enumerate(clinic_demo.VISITS):
        order = contract.read(clinic_demo.phantom_visit(number))
        assert [picture.eye for picture in order.pictures] == ["OD", "OS"]
        assert all(is_image("", picture.data[:HEAD_BYTES]) for picture in order.pictures)
        assert order.id == f"phantom-{number + 1}"
        assert "no person" in order.person.name
        assert {right, left} <= {*clinic_demo.DISEASES, "dark"}
    config = load_config(Path(clinic_demo.__file__).with_name("clinic_demo.yaml"), ["data=photos"])
    assert [head["name"] if isinstance(head, dict) else head.name for head in config.heads] == list(FINDINGS["fundus"])


def test_a_training_that_was_cut_begins_anew_and_one_that_is_done_is_kept(
    tmp_path: Path, graders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eyeground.cli import clinic_demo

    calls: list[str] = []

    def drawn(folder: Path, **_: object) -> None:
        assert not folder.exists(), "what was cut is thrown away first"
        folder.mkdir()
        calls.append("drawn")

    def trained(config: Any, **_: object) -> Any:
        calls.append("trained")
        if len(calls) == 2:
            raise KeyboardInterrupt
        return SimpleNamespace(folder=config.out)

    def packed(_: Path, *, out: Path, **more: object) -> None:
        calls.append("packed")
        shutil.copytree(graders, out)

    monkeypatch.setattr(clinic_demo, "write_set", drawn)
    monkeypatch.setattr(clinic_demo, "carry_out", trained)
    monkeypatch.setattr(clinic_demo, "export_run", packed)
    with pytest.raises(KeyboardInterrupt):
        clinic_demo.demo_bundle(tmp_path / "demo")
    bundle = clinic_demo.demo_bundle(tmp_path / "demo")
    assert calls == ["drawn", "trained", "drawn", "trained", "packed"]
    assert clinic_demo.demo_bundle(tmp_path / "demo") == bundle
    assert len(calls) == 5
    assert [path.name for path in (tmp_path / "demo").iterdir()] == [bundle.name]


def test_what_is_put_into_the_watched_folder_becomes_a_case(
    eyeground: Call, ready: Path, images: list[Path], tmp_path: Path
) -> None:
    from eyeground.cli.clinic_watch import take_in

    folder = tmp_path / "watch"
    watched = Watched(folder, quiet_s=0)
    service = open_service(read_settings())
    for name in ("P7", "killed"):
        (folder / name).mkdir()
        for image in images:
            shutil.copy(image, folder / name)
    (folder / "empty").mkdir()
    (folder / "empty" / "notes.txt").write_text("no image")
    assert take_in(service, watched) == 0  # it has to lie still first
    # Taken in by somebody who was killed before it was put aside.
    killed = next(visit for visit in watched.ready() if visit.name == "killed")
    arrived = Arrived("watch", watched.message(killed), "default", door="screening")
    assert service.intake.admit([arrived])[0].kind == "admitted"
    assert take_in(service, watched) == 3
    service.close()
    assert sorted(path.name for path in (folder / "done").iterdir()) == ["P7", "killed"]
    [problem] = json.loads((folder / "refused" / "empty" / "problems.json").read_text())["problems"]
    assert problem["code"] == "no_image"
    worked()
    cases = waiting(eyeground)
    assert sorted(case["patient_id"] for case in cases) == ["P7", "killed"]
    assert take_in(service, watched) == 0


def test_of_several_workers_one_watches_the_folder(tmp_path: Path) -> None:
    from eyeground.cli.clinic_watch import _mine

    with _mine(tmp_path) as first, _mine(tmp_path) as second:
        assert (first, second) == (True, False)
    with _mine(tmp_path) as again:
        assert again
    assert Watched(tmp_path, quiet_s=0).ready() == []  # the lock itself is no visit


def test_a_worker_watches_by_itself(
    eyeground: Call, ready: Path, images: list[Path], tmp_path: Path, running: Callable[..., Running],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("EYEGROUND_CLINIC_WATCH", str(tmp_path / "watch"))
    running("worker", "--processes", 2)
    (tmp_path / "watch").mkdir(exist_ok=True)
    shutil.copy(images[0], tmp_path / "watch")
    ends = time.monotonic() + 60
    while not waiting(eyeground):
        assert time.monotonic() < ends, "nobody watches"
        time.sleep(0.2)
    assert (tmp_path / "watch" / "done" / images[0].name / images[0].name).is_file()

"""The fastest of what a bundle holds answers; nothing unproven, nothing not installed, nothing without a reason."""

from pathlib import Path
from typing import Any

import pytest

from eyeground.model.spec import ModelSpec
from eyeground.pick import names, pick
from eyeground.serve import choice
from eyeground.serve.choice import MEASURED, REFERENCE, choose, processor, ranked

VIT, CONVNET = ModelSpec("vit_tiny_patch16", classes=3, image_px=96), ModelSpec("mobilenetv2_100", classes=3)
ALL = {"torch": ("fp32", "bf16"), "onnx": ("fp32", "int8"), "openvino": ("fp32", "bf16")}


@pytest.fixture(autouse=True)
def all_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in names("serve.runtimes"):
        monkeypatch.setattr(pick("serve.runtimes", name), "missing", lambda: "")


def test_the_table_holds_runtimes_that_there_are() -> None:
    assert set(MEASURED) == {(on, kind) for on in ("amx", "bf16", "plain") for kind in ("transformer", "convnet")}
    for (on, _), table in MEASURED.items():
        assert REFERENCE not in table
        for name, precision in table:
            assert precision in pick("serve.runtimes", name).FILES
            assert (on, precision) != ("plain", "bf16")


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("on", ["amx", "bf16", "plain"])
@pytest.mark.parametrize("spec", [VIT, CONVNET])
def test_the_fastest_that_is_held_is_chosen(spec: ModelSpec, on: Any, alone: bool) -> None:
    faster = ranked(spec, on=on, alone=alone)
    assert list(faster.values()) == sorted(faster.values(), reverse=True)
    assert all(gain > 1 for gain in faster.values())
    best = [*faster, REFERENCE]
    # Each in its turn, where those before it are not held.
    for number, way in enumerate(best):
        held = {name: tuple(each for each in ALL[name] if (name, each) not in best[:number]) for name in ALL}
        found = choose(spec, held, thresholds=False, on=on, alone=alone)
        assert (found.runtime, found.precision) == way
        assert ("times torch's pace" in found.reason) is (way != REFERENCE)
    nothing = choose(spec, {"torch": ("fp32",)}, thresholds=False, on=on, alone=alone)
    assert (nothing.runtime, nothing.precision) == REFERENCE
    assert nothing.reason == "the bundle holds no other that is installed"


def test_what_is_faster_for_one_image_need_not_be_for_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "MEASURED", {("plain", "transformer"): {("onnx", "fp32"): (1.4, 0.8)}})
    one, several = (choose(VIT, ALL, thresholds=False, on="plain", alone=alone) for alone in (True, False))
    assert (one.runtime, several.runtime) == ("onnx", "torch")
    assert "1.4 times torch's pace in fp32, as measured with transformers, one image at a time" in one.reason
    assert several.reason.startswith("nothing else that it holds was measured to be faster with transformers, several")


@pytest.mark.parametrize("on", ["amx", "bf16", "plain"])
@pytest.mark.parametrize("spec", [VIT, CONVNET])
def test_where_thresholds_speak_only_fp32_does_unless_it_is_asked(spec: ModelSpec, on: Any) -> None:
    for alone in (True, False):
        assert choose(spec, ALL, thresholds=True, on=on, alone=alone).precision == "fp32"
        for wanted in ("int8", "bf16"):
            assert choose(spec, ALL, thresholds=True, on=on, alone=alone, wanted=wanted).precision == wanted


def test_what_was_asked_for_and_is_not_held_stays_what_it_was() -> None:
    found = choose(CONVNET, {"torch": ("fp32",)}, thresholds=False, on="plain", alone=True, wanted="int8")
    assert (found.runtime, found.precision) == ("torch", "int8")  # which the bundle refuses, and says what to do


def test_what_is_not_installed_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnx", "openvino"):
        monkeypatch.setattr(pick("serve.runtimes", name), "missing", lambda: "pip install it")
    for on in ("amx", "bf16", "plain"):
        for spec in (VIT, CONVNET):
            assert choose(spec, ALL, thresholds=False, on=on, alone=True).runtime == "torch"  # type: ignore[arg-type]


def test_a_processor_is_known_by_its_flags(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    monkeypatch.setattr(choice, "_CPU", file)
    monkeypatch.setattr(choice.platform, "machine", lambda: "x86_64")
    for flags, kind in (
        ("fpu avx2 avx512f avx512_bf16", "bf16"),
        ("amx_tile amx_bf16 avx512_bf16", "amx"),
        ("amx_tile", "plain"),
        ("fpu avx2 fma", "plain"),
        ("avx512_bf16_not", "plain"),
    ):
        file.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t:\n")
        assert processor.__wrapped__() == kind
    file.unlink()
    assert processor.__wrapped__() == "plain"


def test_this_processor_is_what_torch_says() -> None:
    torch = pytest.importorskip("torch")
    assert (processor() == "amx") is torch.cpu._is_amx_tile_supported()
    assert (processor() == "plain") is (
        not (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    )

"""A trained run -> a bundle: everything that predicts with it in one folder, each runtime held against torch first."""

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from eyeground.atomic_file import write_whole
from eyeground.cli.calibrating import RECORD as CALIBRATION
from eyeground.cli.config import ConfigError
from eyeground.cli.console import answer, table, tell
from eyeground.cli.opened import calibrations_of, contract_of
from eyeground.cli.provenance import data_record, start_of
from eyeground.cli.proving import Gate
from eyeground.cli.similar import training_cases
from eyeground.cli.trained import open_run
from eyeground.explain.cases import write_cases
from eyeground.model.conversion import Shown, Unproved, WeightsFile, convert
from eyeground.model.environment import EngineMissing, python_of
from eyeground.model.spec import ModelSpec
from eyeground.model.torch.engine import TorchEngine
from eyeground.model.untrusted import open_foreign
from eyeground.model.weights import Tensors, WeightsRefused, write_weights
from eyeground.pick import pick
from eyeground.serve.bundle import CARD, CASES, FORMAT, METRICS, RECORD, WEIGHTS, files_of, is_bundle, open_bundle, seal
from eyeground.serve.card import render_card
from eyeground.serve.choice import choose, processor, ranked
from eyeground.serve.contract import Contract
from eyeground.serve.runtime import RuntimeMissing, RuntimePrecision
from eyeground.serve.titles import read_titles

TARGETS = ("bundle", "onnx", "openvino", "paddle", "mindspore")
_CONVERTED = {"paddle": "model.pdparams", "mindspore": "model.ckpt"}


def export_run(
    run: Path,
    *,
    targets: Sequence[str],
    out: Path,
    precision: RuntimePrecision,
    tolerance: float,
    images: int,
    titles: Path | None,
    modality: str,
    cases: bool,
    uncalibrated: bool,
    threads: int,
    as_json: bool,
) -> None:
    """Pack a run's best model, and let each runtime through only if it says what torch says.

    Args:
        run: The run's folder.
        targets: What to hold besides torch's weights, of ``TARGETS``; none = what is fastest here for this network.
        out: Folder to make.
        precision: Offered besides fp32: ``bf16`` or ``int8`` have to pass on validation; ``fp32`` = nothing more.
        tolerance: Greatest loss of AUROC on validation that a reduced precision may have, at the lower end of its
            interval.
        images: Images that each runtime is compared on in fp32.
        titles: A site's own titles.
        modality: What it was trained on, where the run does not know.
        cases: Keep features and labels of the training images, for "looks like these"; no file names, no pictures.
        uncalibrated: Leave the run's calibration out.
        threads: Processor threads, 0 = the runtimes' choice.
        as_json: End with one JSON line.

    Raises:
        ConfigError: If the words do not go together, the folder is taken, or a reduced precision has no validation
            images to pass on.
        RuntimeMissing: If a runtime is not installed.
        CheckpointError: If the run holds no sound checkpoint.
        Unproved: If a runtime says something else than torch; nothing is left.

    References:
        docs/serve.md for the folder.
    """
    started = time.monotonic()
    own, wrong = _titles(titles)
    wrong += [f"--to {word}: it is one of {', '.join(TARGETS)}" for word in targets if word not in TARGETS]
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        wrong.append(f"{out}: already there; choose another --out")
    if not tolerance > 0:
        wrong.append(f"--tolerance {tolerance:g}: it is above 0, such as 0.01")
    if is_bundle(run):
        wrong.append(f"{run} is a bundle already; export takes the run it was made of")
    if wrong:
        raise ConfigError("\n".join(wrong))
    targets, named = list(dict.fromkeys(targets)), bool(targets)
    wanted = _wanted(targets, precision) if named else []  # what is not installed is told before the work
    trained = open_run(run, framework="torch", device="cpu", precision="fp32", threads=threads)
    if not isinstance(trained.engine, TorchEngine):
        raise ConfigError(f"{run}: cannot be opened in torch")
    spec, tensors = trained.engine.whole()
    if not named:
        targets = _usual(spec, precision)
        wanted = _wanted(targets, precision)
    calibrations = {} if uncalibrated else calibrations_of(run, trained, wanted=False)
    gate = Gate(run, trained, images=images, tolerance=tolerance)
    gate.check(wanted)
    start = start_of(run)
    place = out.resolve()
    part = place.with_name(f".{place.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # what a killed export left
    part.mkdir(parents=True)
    try:
        write_weights(part / WEIGHTS, tensors, {"architecture": spec.name, "licence": start["licence"]})
        foreign = open_foreign(part / WEIGHTS)
        contract = contract_of(trained, calibrations, titles=own, modality=modality or gate.modality)
        contract = _with_weights(contract, spec=spec, sha256=foreign.sha256)
        held: dict[str, dict[str, Any]] = {}
        for name, each in wanted:
            tell(f"packing  {name} in {each}")
            try:
                proof = _pack(part, name, each, tensors, gate, contract, threads)
            except (RuntimeError, WeightsRefused, Unproved) as error:
                if named or name == "torch" or each != "fp32":
                    raise
                tell(f"left out {name} in {each}, which nobody asked for: {' '.join(str(error).split())[:300]}")
                for file in files_of(name, each):
                    (part / file).unlink(missing_ok=True)
                continue
            held.setdefault(name, {})[each] = proof
        for target in (target for target in targets if target in _CONVERTED):
            _convert(part, target, WeightsFile(part / WEIGHTS, foreign, spec), gate.shown, threads)
        if cases:
            write_cases(part / CASES, training_cases(run, trained, files=False, dataset=gate.data))
        record = {
            "format": FORMAT,
            "name": run.name,
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "eyeground": version("eyeground"),
            "contract": contract.to_json(),
            "calibrations": _copy_calibrations(run, part, contract),
            "runtimes": held,
            "weights_for": [target for target in targets if target in _CONVERTED],
            "start": start,
            "data": data_record(run),
            **_copy_metrics(run, part),
        }
        metrics = json.loads((part / METRICS).read_text("utf-8")) if (part / METRICS).is_file() else {}
        write_whole(part / RECORD, (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode())
        write_whole(part / CARD, render_card(contract, record, metrics).encode())
        seal(part)
        bundle = open_bundle(part)  # what cannot be opened again is not handed out
        if place.is_dir():
            place.rmdir()
        part.rename(place)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    _report(held)
    usual = {}
    for alone in (True, False):
        chosen = choose(spec, bundle.runtimes, thresholds=bool(contract.calibrations), on=processor(), alone=alone)
        tell(f"unless another is named, {chosen.runtime} computes here in {chosen.precision}: {chosen.reason}")
        usual["one" if alone else "several"] = asdict(chosen)
    answer(
        {
            "out": str(out),
            "id": bundle.id,
            "seconds": round(time.monotonic() - started, 1),
            "runtimes": held,
            "usual": usual,
            "weights_for": record["weights_for"],
            "licence": start["licence"],
            "files": dict(bundle.files),
        },
        as_json=as_json,
        last_line=f"bundle: {out}",
    )


def _titles(path: Path | None) -> tuple[dict[str, dict[str, str]] | None, list[str]]:
    """A site's own titles, and what is wrong with them."""
    try:
        return (read_titles(path) if path else None), []
    except ValueError as error:
        return None, [f"--titles {error}"]


def _pack(
    part: Path, name: str, precision: RuntimePrecision, tensors: Tensors, gate: Gate, contract: Contract, threads: int
) -> dict[str, Any]:
    """Write what a runtime opens, and hold it against torch."""
    made, spec = pick("serve.runtimes", name), contract.spec
    made.write(spec, tensors, part, precision=precision, calibration_images=gate.calibration(precision))
    runtime = made.open_runtime(part, spec=spec, precision=precision, threads=threads, device="cpu")
    try:
        return gate.prove(name, precision, runtime, contract)
    finally:
        runtime.close()


def _usual(spec: ModelSpec, precision: RuntimePrecision) -> list[str]:
    """What is packed where nobody said: the fastest in fp32 that is installed, and what offers a reduced precision."""
    gains: dict[str, float] = {}
    for alone in (True, False):
        for (name, each), gain in ranked(spec, on=processor(), alone=alone).items():
            if each == "fp32" and name != "torch":
                gains[name] = max(gain, gains.get(name, 0))
    # Whatever graph it is, it is written through ONNX.
    there = [name for name in gains if not any(pick("serve.runtimes", each).missing() for each in (name, "onnx"))]
    found = sorted(there, key=lambda name: -gains[name])[:1]
    if precision not in pick("serve.runtimes", "torch").FILES:
        found += [name for name in ("onnx", "openvino") if precision in pick("serve.runtimes", name).FILES]
    return list(dict.fromkeys(found)) or ["bundle"]


def _wanted(targets: Sequence[str], precision: RuntimePrecision) -> list[tuple[str, RuntimePrecision]]:
    """List what is to be packed; everything that is not installed is named together."""
    runtimes = ["torch", *(name for name in targets if name in ("onnx", "openvino"))]
    absent = [hint for name in runtimes if (hint := pick("serve.runtimes", name).missing())]
    for target in (target for target in targets if target in _CONVERTED):
        try:
            python_of(target)  # type: ignore[arg-type]
        except EngineMissing as error:
            absent.append(str(error))
    if absent:
        raise RuntimeMissing(f"not installed: {'; '.join(absent)}")
    reduced = [(name, precision) for name in runtimes if precision in pick("serve.runtimes", name).FILES]
    if not reduced:
        raise ConfigError(f"--precision {precision}: none of {', '.join(runtimes)} offers it; add --to onnx")
    plain: list[tuple[str, RuntimePrecision]] = [(name, "fp32") for name in runtimes]
    return plain if precision == "fp32" else plain + reduced


def _with_weights(contract: Contract, *, spec: ModelSpec, sha256: str) -> Contract:
    """The contract of the weights as they are packed: of a run with LoRA, merged."""
    return replace(contract, spec=spec, weights_sha256=sha256)


def _convert(part: Path, target: Any, weights: WeightsFile, shown: Shown, threads: int) -> None:
    """Write the weights for another framework, with the certificate of its conversion beside them."""
    try:
        convert(
            weights,
            target=target,
            out=part / _CONVERTED[target],
            shown=shown,
            metadata={},
            threads=threads,
            said=lambda words: tell(f"         {words}"),
        )
    except WeightsRefused:
        raise
    except ValueError as error:
        raise ConfigError(f"--to {target}: {error}") from error


def _copy_calibrations(run: Path, part: Path, contract: Contract) -> dict[str, str]:
    """Take over the calibrations that the contract was made with, a file each."""
    names = {}
    for number, head in enumerate(contract.calibrations):
        place = run if contract.task.single else run / "heads" / head
        names[head] = CALIBRATION if contract.task.single else f"calibration-{number}.json"
        write_whole(part / names[head], (place / CALIBRATION).read_bytes())
    return names


def _copy_metrics(run: Path, part: Path) -> dict[str, str]:
    """Take over what the run was measured to do on test."""
    if not (run / METRICS).is_file():
        return {"data_fingerprint": ""}
    content = (run / METRICS).read_bytes()
    write_whole(part / METRICS, content)
    return {"data_fingerprint": str(json.loads(content).get("data_fingerprint", ""))}


def _report(held: Mapping[str, Mapping[str, Any]]) -> None:
    """Show what each runtime was found to say."""
    rows = [(name, precision, proof["says"]) for name, each in held.items() for precision, proof in each.items()]
    table("parity with torch in fp32", ["runtime", "precision", ""], rows)

"""Images explained: pictures, numbers, and the training cases they look like, in one folder."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from eyeground.atomic_file import write_whole
from eyeground.cli.answers import find_images
from eyeground.cli.config import ConfigError
from eyeground.cli.console import answer, counting, table, tell
from eyeground.cli.opened import contract_of
from eyeground.cli.similar import training_cases
from eyeground.cli.trained import open_run
from eyeground.data.problem import DataProblems
from eyeground.explain.cases import Cases, read_cases
from eyeground.explain.evidence import CAPTION
from eyeground.explain.explaining import methods_for, summaries
from eyeground.model.optimization import Device
from eyeground.model.torch.engine import TorchEngine
from eyeground.model.weights import read_weights
from eyeground.serve.bundle import CASES, WEIGHTS, is_bundle, open_bundle
from eyeground.serve.contract import Contract
from eyeground.serve.engine_runtime import EngineRuntime
from eyeground.serve.gate import Gated, gate_file
from eyeground.serve.looking import Looker
from eyeground.serve.predictor import Predictor


class Explainable(NamedTuple):
    """A model opened so that it can be asked why.

    Args:
        contract: What decides what it says.
        engine: Torch's engine, in fp32.
        id: Name of exactly this model.
        cases: Training cases, where they are known.

    References:
        Our own.
    """

    contract: Contract
    engine: TorchEngine
    id: str
    cases: Cases | None


def open_explainable(model: Path, *, device: Device = "auto", threads: int = 0, similar: bool = True) -> Explainable:
    """Open a run or a bundle in torch, whatever it was trained in.

    Args:
        model: The folder.
        device: Where to compute.
        threads: Processor threads, 0 = torch's choice.
        similar: Whether training cases are wanted; of a run they are computed once, where its images are to be had.

    Returns:
        The model.

    Raises:
        CheckpointError: If a run holds no sound checkpoint.
        BundleRefused: If a bundle is not as it was packed.
        ConfigError: If it cannot be opened here.

    References:
        Our own.
    """
    if is_bundle(model):
        bundle = open_bundle(model)
        engine = TorchEngine(
            bundle.contract.spec,
            tensors=read_weights(model / WEIGHTS),
            device=device,
            precision="fp32",
            threads=threads,
        )
        cases = read_cases(model / CASES) if similar and CASES in bundle.files else None
        return Explainable(bundle.contract, engine, bundle.id, cases)
    trained = open_run(model, framework="torch", device=device, precision="fp32", threads=threads)
    if not isinstance(trained.engine, TorchEngine):
        raise ConfigError(f"{model}: cannot be opened in torch")
    cases = None
    if similar:
        try:
            cases = training_cases(model, trained, files=True)
        except (ConfigError, DataProblems, OSError) as error:
            tell(f"no similar cases: {' '.join(str(error).split())[:200]}")
    return Explainable(contract_of(trained, {}), trained.engine, trained.weights_sha256, cases)


def explain_images(
    model: Path,
    paths: Sequence[Path],
    *,
    out: Path,
    methods: Sequence[str],
    head: str,
    said: str,
    similar: int,
    language: str,
    device: Device,
    threads: int,
    as_json: bool,
) -> None:
    """Write a picture for each image and method, and one ``explain.json``.

    Args:
        model: A run's folder, or a bundle.
        paths: Images and folders.
        out: Folder to write into.
        methods: Names of the shelf ``explain/methods``, or ``all``; none = the first that serves the network.
        head: Whose answer, of several heads; empty = the first that finds something.
        said: Which answer; empty = the one that was given.
        similar: How many similar training cases.
        language: ``en`` or ``zh``.
        device: Where to compute.
        threads: Processor threads, 0 = torch's choice.
        as_json: End with one JSON line.

    Raises:
        ConfigError: If there are no images, or a method cannot serve this network; the message says which can.
        CheckpointError: If a run holds no sound checkpoint.
        BundleRefused: If a bundle is not as it was packed.

    References:
        docs/how-to/explain.md.
    """
    if language not in CAPTION:
        raise ConfigError(f"--lang {language}: it is {' or '.join(CAPTION)}")
    files = find_images(paths)
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out}: a file is there; name a folder")
    opened = open_explainable(model, device=device, threads=threads, similar=bool(similar))
    lookers = _lookers(opened, methods)
    predictor = Predictor(opened.contract, EngineRuntime(opened.engine, opened.contract.task), id=opened.id)
    names = _names(files)
    out.mkdir(parents=True, exist_ok=True)
    told: list[dict[str, Any]] = []
    try:
        with counting("explaining", len(files)) as done:
            for number, path in enumerate(files):
                gated = gate_file(path, opened.contract)
                told.append(
                    _explained(
                        predictor, lookers, gated, out=out, stem=names[path], head=head, said=said, similar=similar,
                        language="zh" if language == "zh" else "en",
                    )
                )  # fmt: skip
                done(number + 1, len(files))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    record = {
        "model": opened.id,
        "weights_sha256": opened.contract.weights_sha256,
        "methods": {looker.method: summaries()[looker.method] for looker in lookers},
        "caption": dict(CAPTION),
        "images": told,
    }
    write_whole(out / "explain.json", (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode())
    _show(told)
    unread = [f"{each['file']}: {each['quality']}" for each in told if not each["graded"]]
    if unread:
        tell(f"{len(unread)} of {len(files)} could not be graded:", *(f"  {line}" for line in unread))
    answer(
        {"out": str(out), "images": len(files), "explained": len(files) - len(unread), "not_graded": unread,
         "methods": [looker.method for looker in lookers]},
        as_json=as_json,
        last_line=f"pictures: {out} ({CAPTION['zh' if language == 'zh' else 'en']})",
    )  # fmt: skip


def _lookers(opened: Explainable, methods: Sequence[str]) -> list[Looker]:
    """Choose the methods; those that cannot serve are told together."""
    offered = methods_for(opened.engine.network)
    if "all" in methods:
        methods = [name for name, why in offered.items() if not why]
    wrong = [offered.get(name) or f"no method is called {name!r}: {', '.join(offered)}"
             for name in methods if offered.get(name, "?")]  # fmt: skip
    if wrong:
        raise ConfigError("\n".join(wrong))
    return [Looker(opened.contract, opened.engine, method=name, cases=opened.cases) for name in methods or ("",)]


def _explained(
    predictor: Predictor,
    lookers: Sequence[Looker],
    gated: Gated,
    *,
    out: Path,
    stem: str,
    head: str,
    said: str,
    similar: int,
    language: Literal["en", "zh"],
) -> dict[str, Any]:
    """Answer one image, and explain it with each method."""
    [found] = predictor.answer([gated])
    told = found.to_json(predictor.contract)
    told["explanations"] = []
    if not gated.graded:
        return told
    for looker in lookers:
        why = looker.explain(gated, found, head=head, said=said, count=similar)
        picture = f"{stem}.{looker.method}.png"
        write_whole(out / picture, looker.picture(gated, why, language=language))
        told["explanations"].append({"picture": picture, **why.to_json()})
    return told


def _names(files: Sequence[Path]) -> dict[Path, str]:
    """A name for each file's pictures: its own, with its folders before it where two have the same."""
    found: dict[Path, str] = {}
    for path in files:
        parts, depth = path.resolve().parts, 1
        alike = [other.resolve().parts for other in files if other != path and other.stem == path.stem]
        while any(other[-depth:] == parts[-depth:] for other in alike) and depth < len(parts):
            depth += 1
        same = any((*other[-depth:-1], Path(other[-1]).stem) == (*parts[-depth:-1], path.stem) for other in alike)
        found[path] = "_".join([*parts[-depth:-1], path.name if same else path.stem])
    return found


def _show(told: Sequence[dict[str, Any]]) -> None:
    """Show what was found, a line per image and method."""
    rows = []
    for each in told[:20]:
        for why in each["explanations"]:
            cases = ", ".join(f"{case['label']} {case['similarity']:.2f}" for case in why["similar_cases"][:3])
            where = ", ".join(why["abnormal_areas"]) or why["no_regions"]
            rows.append([Path(each["file"]).name, why["target"], why["method"], where, cases])
    if rows:
        table("where the model looked", ["file", "answer", "method", "areas", "looks like"], rows)

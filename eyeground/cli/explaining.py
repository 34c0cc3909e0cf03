"""Images explained: pictures, numbers, and the training cases they look like, in one folder."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from eyeground.atomic_file import write_whole
from eyeground.cli.answers import find_images
from eyeground.cli.config import ConfigError
from eyeground.cli.console import answer, counting, table, tell
from eyeground.cli.opened import contract_of
from eyeground.cli.similar import training_cases
from eyeground.cli.trained import Trained, open_run
from eyeground.data.problem import DataProblems
from eyeground.explain.cases import Cases, read_cases
from eyeground.explain.evidence import CAPTION
from eyeground.explain.explaining import methods_for, summaries
from eyeground.model.optimization import Device
from eyeground.model.torch.engine import TorchEngine
from eyeground.model.weights import WeightsRefused, read_weights
from eyeground.serve.bundle import CASES, WEIGHTS, Bundle, BundleRefused, is_bundle, open_bundle
from eyeground.serve.contract import Contract
from eyeground.serve.engine_runtime import EngineRuntime
from eyeground.serve.gate import Gated, gate_file
from eyeground.serve.looking import Looker, asked_head
from eyeground.serve.predictor import Predictor


class Explainable(NamedTuple):
    """A model opened so that it can be asked why.

    Args:
        contract: What decides what it says.
        engine: Torch's engine, in fp32.
        id: Name of exactly this model.
        cases: Finds its training cases; None where they are not known. Of a run they are computed once, where its
            images are to be had.

    References:
        Our own.
    """

    contract: Contract
    engine: TorchEngine
    id: str
    cases: Callable[[], Cases | None]


def open_explainable(model: Path, *, device: Device = "auto", threads: int = 0) -> Explainable:
    """Open a run or a bundle in torch, whatever it was trained in.

    Args:
        model: The folder.
        device: Where to compute.
        threads: Processor threads, 0 = torch's choice.

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
        try:
            engine = TorchEngine(
                bundle.contract.spec,
                tensors=read_weights(model / WEIGHTS),
                device=device,
                precision="fp32",
                threads=threads,
            )
        except WeightsRefused:
            raise
        except ValueError as error:
            raise ConfigError(str(error)) from error
        return Explainable(bundle.contract, engine, bundle.id, lambda: _cases_of_bundle(bundle))
    trained = open_run(model, framework="torch", device=device, precision="fp32", threads=threads)
    if not isinstance(trained.engine, TorchEngine):
        raise ConfigError(f"{model}: cannot be opened in torch")
    return Explainable(
        contract_of(trained, {}), trained.engine, trained.weights_sha256, lambda: _cases_of_run(model, trained)
    )


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
        ConfigError: If there are no images, there is no such head or answer, or a method cannot serve this network; the
            message says which can. All of it at once.
        CheckpointError: If a run holds no sound checkpoint.
        BundleRefused: If a bundle is not as it was packed.

    References:
        docs/how-to/explain.md.
    """
    opened = open_explainable(model, device=device, threads=threads)
    files, wrong = _found(paths)
    if language not in CAPTION:
        wrong.append(f"--lang {language}: it is {' or '.join(CAPTION)}")
    if out.exists() and not out.is_dir():
        wrong.append(f"--out {out}: a file is there; name a folder")
    chosen, unable = _chosen(opened, methods)
    wrong += unable
    try:
        asked_head(opened.contract.task, head=head, said=said)
    except ValueError as error:
        wrong.append(str(error))
    if wrong:
        raise ConfigError("\n".join(wrong))
    cases = opened.cases() if similar else None
    lookers = [Looker(opened.contract, opened.engine, method=name, cases=cases) for name in chosen]
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
    finally:  # whatever stops it, the pictures that are there have their numbers
        record = {
            "model": opened.id,
            "weights_sha256": opened.contract.weights_sha256,
            "methods": {looker.method: summaries()[looker.method] for looker in lookers},
            "caption": dict(CAPTION),
            "images": told,
        }
        text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        write_whole(out / "explain.json", text.encode("utf-8", "replace"))
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


def _cases_of_bundle(bundle: Bundle) -> Cases | None:
    """What a bundle keeps of its training images."""
    if CASES not in bundle.files:
        return None
    try:
        return read_cases(bundle.folder / CASES)
    except ValueError as error:
        raise BundleRefused(f"{error}; get the bundle anew from its maker") from error


def _cases_of_run(run: Path, trained: Trained) -> Cases | None:
    """A run's training images, or a word on why they are not to be had."""
    try:
        return training_cases(run, trained, files=True)
    except (ConfigError, DataProblems, OSError) as error:
        tell(f"no similar cases: {' '.join(str(error).split())[:200]}")
        return None


def _found(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Images, and what is wrong with the paths."""
    try:
        return find_images(paths), []
    except ConfigError as error:
        return [], [str(error)]


def _chosen(opened: Explainable, methods: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names of methods, each once, and why those that cannot serve cannot."""
    offered = methods_for(opened.engine.network)
    able = [name for name, why in offered.items() if not why]
    named = list(dict.fromkeys(word for name in methods for word in (able if name == "all" else (name,))))
    wrong = [
        offered.get(name) or f"no method is called {name!r}: {', '.join(offered)}"
        for name in named
        if offered.get(name, "?")
    ]
    return named or [""], wrong


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
    gated = found.gated
    if not gated.graded:
        return told
    for looker in lookers:
        why = looker.explain(gated, found, head=head, said=said, count=similar)
        picture = f"{stem}.{looker.method}.png"
        write_whole(out / picture, looker.picture(gated, why, language=language))
        told["explanations"].append({"picture": picture, **why.to_json()})
    return told


def _names(files: Sequence[Path]) -> dict[Path, str]:
    """A name for each file's pictures: its own, with ending and folders added while another has the same."""
    places = {path: path.resolve().parts[1:-1] for path in files}
    beside = Counter((places[path], path.stem) for path in files)
    own = {path: path.name if beside[places[path], path.stem] > 1 else path.stem for path in files}
    found = dict(own)
    for depth in range(1, max(map(len, places.values())) + 1):
        counts = Counter(found.values())
        alike = [path for path in files if counts[found[path]] > 1]
        found |= {path: "_".join([*places[path][-depth:], own[path]]) for path in alike}
    taken: set[str] = set()
    for path, name in found.items():  # a/b_c.png and a_b/c.png
        while name in taken:
            name += "_"
        taken.add(name)
        found[path] = name
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

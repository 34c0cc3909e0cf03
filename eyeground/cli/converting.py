"""Weights converted between frameworks, and held against each other: what the commands put together."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from eyeground.cli.answers import find_images
from eyeground.cli.config import ConfigError
from eyeground.cli.console import answer, counting, table, tell
from eyeground.cli.foreign import licence_of
from eyeground.data.phantom import draw_fundus
from eyeground.data.pixels import PixelStore
from eyeground.data.preprocessing import Preprocessing, normalize, square
from eyeground.images.read import read
from eyeground.images.refusal import ImageRefused
from eyeground.model.architecture import recognize
from eyeground.model.certificate import Certificate, certificate_of, read_bound
from eyeground.model.conversion import Shown, Target, WeightsFile, convert, verify
from eyeground.model.spec import ModelSpec
from eyeground.model.untrusted import open_foreign
from eyeground.model.weights import WeightsRefused
from eyeground.model.weights_cache import cached
from eyeground.train.checkpoint import CheckpointError, Checkpoints

SUFFIXES: dict[Target, str] = {
    "paddle": ".pdparams",
    "mindspore": ".ckpt",
    "onnx": ".onnx",
    "safetensors": ".safetensors",
}
_IMAGES = 16
_MOST_LAYERS = 40


def convert_weights(
    source: str,
    *,
    target: Target,
    out: Path,
    images: Path | None,
    fc_norm_passes: int,
    threads: int,
    force: bool,
    as_json: bool,
) -> None:
    """Convert weights, prove it, and say what was found.

    Args:
        source: A weights file of any framework, a run's folder, or a release that was fetched.
        target: Whose form to write.
        out: The file to make.
        images: Images that both are shown; None = phantoms.
        fc_norm_passes: 2 for checkpoints fine-tuned by RETFound's 2025 code; a run's folder knows by itself.
        threads: Processor threads; 0 leaves the frameworks' choice.
        force: Replace a file that is there.
        as_json: End with one JSON line.

    Raises:
        ConfigError: If the file cannot be made there, or the framework is not installed.
        WeightsRefused: If the source is damaged, hostile, or none of our networks.
        Unproved: If it was not the same network afterwards; no file is left.

    References:
        Our own.
    """
    if out.suffix != SUFFIXES[target]:
        raise ConfigError(f"--out {out}: {target} files end in {SUFFIXES[target]}; name it so")
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.parent}")
    if out.exists() and not force:
        raise ConfigError(f"--out {out}: already there; choose another name, or say --force to replace it")
    file, preprocessing = _open(source, fc_norm_passes)
    if target in ("paddle", "mindspore") and file.spec.adapter_width:
        raise ConfigError(
            f"{source} has adapters inside its blocks, which are not offered for {target}; onnx and safetensors are"
        )
    if target in ("paddle", "mindspore") and (file.spec.vit is None or file.spec.options):
        raise ConfigError(
            f"{file.spec.name}{' with model_options' if file.spec.options else ''} can be converted to onnx and "
            f"safetensors; {target} is offered for our ViTs without options"
        )
    tell(f"source   {file.path}", f"network  {_words(file)}")
    shown = _shown(images, preprocessing)
    try:
        certificate = convert(
            file,
            target=target,
            out=out,
            shown=shown,
            metadata=_metadata(file, source),
            threads=threads,
            said=lambda words: tell(f"         {words}"),
        )
    except ValueError as error:
        raise error if isinstance(error, WeightsRefused) else ConfigError(str(error)) from error
    _report(certificate)
    payload = {"out": str(out), "certificate": str(certificate_of(out)), **certificate.to_json()}
    answer(payload, as_json=as_json, last_line=f"certificate: {certificate_of(out)}")


def verify_weights(
    file: str, against: str, *, images: Path | None, fc_norm_passes: int, threads: int, as_json: bool
) -> int:
    """Hold two weights files against each other, and say where they differ.

    Args:
        file: A weights file of any framework, a run's folder, or a release that was fetched.
        against: Another one.
        images: Images that both are shown; None = phantoms.
        fc_norm_passes: 2 for checkpoints fine-tuned by RETFound's 2025 code; a run's folder knows by itself.
        threads: Processor threads; 0 leaves the frameworks' choice.
        as_json: End with one JSON line.

    Returns:
        The exit code: 0 if they are the same, 1 if they differ.

    Raises:
        ConfigError: If a framework is not installed.
        WeightsRefused: If one is damaged, hostile, or another network than the other.

    References:
        Our own.
    """
    second, preprocessing = _open(against, fc_norm_passes)
    first, _ = _open(file, fc_norm_passes, like=second)
    tell(f"file     {first.path}", f"against  {second.path}", f"network  {_words(second)}")
    try:
        certificate = verify(first, second, shown=_shown(images, preprocessing), threads=threads)
    except ValueError as error:
        raise error if isinstance(error, WeightsRefused) else ConfigError(str(error)) from error
    _report(certificate)
    bound = read_bound(first.path)
    payload = {"file": file, "against": against, "certificate_bound": bound is not None, **certificate.to_json()}
    beside = "its certificate is bound to it" if bound else "it has no certificate of its own beside it"
    last_line = f"the same network; {beside}"
    if certificate.problems:
        last_line = f"NOT the same: {'; '.join(certificate.problems)}"
    answer(payload, as_json=as_json, last_line=last_line)
    return 1 if certificate.problems else 0


def _open(source: str, fc_norm_passes: int, like: WeightsFile | None = None) -> tuple[WeightsFile, Preprocessing]:
    """Find out what network a source holds, and how images reach it."""
    path = cached(source) or Path(source)
    try:
        return _open_run(path) if path.is_dir() else _open_file(path, fc_norm_passes, like)
    except WeightsRefused:
        raise
    except ValueError as error:
        raise ConfigError(f"{source}: {error}") from error


def _open_file(path: Path, fc_norm_passes: int, like: WeightsFile | None) -> tuple[WeightsFile, Preprocessing]:
    """A file tells its network by its shapes, or is held to that of another."""
    foreign = open_foreign(path)
    if like is not None:
        # With a head where it has one: what only one of the two has is no part of a proof.
        has_head = like.has_head or "head.weight" in foreign.tensors
        spec = like.spec if like.has_head else replace(like.spec, classes=len(foreign.tensors.get("head.weight", "1")))
        return WeightsFile(path, foreign, spec, has_head), Preprocessing(image_px=like.spec.image_px)
    found = recognize({name: array.shape for name, array in foreign.tensors.items()})
    if not found.model or found.image_px is None:
        raise WeightsRefused(
            f"{path}: none of our networks: {found.reason}. Give the folder of a run for other networks of timm's"
        )
    pool = found.pool or ("avg" if "fc_norm.weight" in foreign.tensors else "cls")
    spec = ModelSpec(
        found.model,
        classes=found.classes or 1,
        image_px=found.image_px,
        pool=pool,
        fc_norm_passes=2 if fc_norm_passes == 2 else 1,
    )
    file = WeightsFile(path, foreign, spec, has_head=found.classes is not None)
    return file, Preprocessing(image_px=spec.image_px)


def _open_run(run: Path) -> tuple[WeightsFile, Preprocessing]:
    """A run's best checkpoint knows its network."""
    if not (run / "checkpoints").is_dir():
        raise CheckpointError(f"{run}: not a run (no checkpoints folder); give a run's folder or a weights file")
    checkpoint = Checkpoints(run / "checkpoints").best()
    path = checkpoint.folder / "weights.safetensors"
    if "task" not in checkpoint.model:
        return _open_file(path, 1, None)
    if checkpoint.model["base"]:
        raise ConfigError(
            f"{run} holds only what was learned on top of {checkpoint.model['places']['base']}: make it whole first "
            f"with eyeground merge {run} --out DIR"
        )
    kept: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in checkpoint.model["preprocessing"].items()
    }
    return WeightsFile(path, open_foreign(path), ModelSpec(**checkpoint.model["spec"])), Preprocessing(**kept)


def _shown(folder: Path | None, preprocessing: Preprocessing) -> Shown:
    """Bring images to what the network sees: a folder's first, or phantoms."""
    if folder is None:
        phantoms = [draw_fundus("normal" if n % 2 else "dr2", seed=n, size_px=256) for n in range(_IMAGES)]
        squares = [square(phantom.image.pixels, preprocessing) for phantom in phantoms]
        return Shown(normalize(squares, preprocessing), f"{_IMAGES} phantom photographs, seeds 0 to {_IMAGES - 1}")
    files = find_images([folder])
    store = PixelStore(crop_field=preprocessing.crop_field, store_px=preprocessing.store_px)
    squares, unread = [], []
    with counting("reading", min(len(files), _IMAGES)) as done:
        for path in files:
            if len(squares) == _IMAGES:
                break
            try:
                squares.append(square(store.ready(read(path)), preprocessing))
            except ImageRefused as error:
                unread.append(f"{path}: {error.sentence}")
            done(len(squares), min(len(files), _IMAGES))
    if not squares:
        raise ConfigError("no image could be read: " + "; ".join(unread))
    return Shown(normalize(squares, preprocessing), f"{len(squares)} images of {folder.name}")


def _words(file: WeightsFile) -> str:
    """A network in one line."""
    spec = file.spec
    head = f"{spec.classes} classes, pool={spec.pool}" if file.has_head else "encoder without a head"
    count = sum(array.size for array in file.tensors.values())
    return f"{spec.name} at {spec.image_px} px, {head}, {count:,} parameters"


def _metadata(file: WeightsFile, source: str) -> dict[str, str]:
    """What a file should say of itself; of a run also what its outputs mean."""
    licence = licence_of(file.path, file.foreign)
    words = {"architecture": file.spec.name, "image_px": str(file.spec.image_px), "source_sha256": file.foreign.sha256}
    words |= {"licence": licence} if licence else {}
    found = Checkpoints(Path(source) / "checkpoints").newest(parts=()) if Path(source).is_dir() else None
    return words | ({"task": json.dumps(found.model["task"])} if found and "task" in found.model else {})


def _report(certificate: Certificate) -> None:
    """Show the layers, the worst marked."""
    rows: Sequence[Sequence[object]] = [
        (row.layer, f"{row.max_error:.2e}", f"{row.max_value:.3g}", "" if row.ok else "differs")
        for row in certificate.layers
    ]
    if len(rows) > _MOST_LAYERS:
        rows = [*rows[: _MOST_LAYERS - 5], ("...", "", "", ""), *rows[-4:]]
    table("layer by layer", ["layer", "greatest difference", "greatest value", ""], rows)
    transposed = sum(key[3] for key in certificate.keys)
    renamed = sum(key[0] != key[1] for key in certificate.keys)
    unequal, left = len(certificate.unequal), len(certificate.left_out)
    tell(
        f"{len(certificate.keys)} keys, {renamed} renamed, {transposed} transposed, {unequal} unequal, {left} left out",
        f"reference {certificate.source.engine}",
        f"target    {certificate.target.engine}",
        f"shown     {certificate.images}",
    )

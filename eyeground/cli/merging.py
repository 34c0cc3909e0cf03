"""A run that holds only what was learned -> a run that holds the whole network."""

import json
import shutil
from pathlib import Path

import numpy as np

from eyeground.atomic_file import write_whole
from eyeground.cli.config import ConfigError
from eyeground.cli.console import answer, tell
from eyeground.cli.trained import Trained, open_run
from eyeground.model.adaptation import Adaptation
from eyeground.model.torch.engine import TorchEngine
from eyeground.train.checkpoint import CheckpointError, Checkpoints

# Scores of two networks that are the same but for the order of sums differ by less.
_BOUND = 1e-5
_IMAGES = 8


def merge_run(run: Path, *, out: Path, base: str = "", as_json: bool = False) -> None:
    """Put what a run learned into the weights it was learned on, and write the whole as a run.

    LoRA's matrices go into the layers they belong to, so that any framework can open the result; adapters stay, as part
    of the network.

    Args:
        run: The run's folder.
        out: Folder to make.
        base: Where the weights are that it was trained on; empty = where they were then.
        as_json: End with one JSON line.

    Raises:
        ConfigError: If the run is whole already, or the folder holds something.
        CheckpointError: If the run holds no sound checkpoint, or the merged network says something else.
        WeightsRefused: If the weights it belongs to are gone or are others.

    References:
        Hu et al., "LoRA: Low-rank adaptation of large language models", ICLR 2022.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out}: already there; choose another --out")
    if not (run / "checkpoints").is_dir():
        raise CheckpointError(
            f"{run}: not a run (no checkpoints folder); give the folder that 'eyeground finetune' made"
        )
    checkpoint = Checkpoints(run / "checkpoints").best()
    if not checkpoint.model.get("base"):
        raise ConfigError(f"{run} is whole already: there is nothing to merge; use it as it is")
    trained = open_run(run, device="cpu", precision="fp32", base=base)
    if not isinstance(trained.engine, TorchEngine):
        raise ConfigError(f"{run}: only torch's runs hold what was learned alone")
    spec, weights = trained.engine.whole()
    part = out.absolute().with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # what a killed merge left
    place = Checkpoints(part / "checkpoints").save(
        step=checkpoint.step,
        state={"weights": weights},
        progress={**checkpoint.progress, "finished": True},
        model={
            **checkpoint.model,
            "spec": spec.to_json(),
            "adaptation": Adaptation().to_json(),
            "base": None,
            "places": {},
            "merged_from": {
                "run": run.name,
                "weights_sha256": trained.weights_sha256,
                "base_sha256": checkpoint.model["base"]["sha256"],
            },
        },
        best_step=checkpoint.step,
    )
    merged = open_run(part, device="cpu", precision="fp32")
    error = _difference(trained, merged)
    if not error <= _BOUND:
        shutil.rmtree(part)
        raise CheckpointError(f"the merged network's scores differ by {error:.1e} from the run's (bound {_BOUND:.0e})")
    _take_over(run, part, merged.weights_sha256)
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.is_dir():
        out.rmdir()
    part.rename(out)  # whole, with the list of images it has seen, or not there
    before, after = (_size_mib(folder) for folder in (checkpoint.folder, out / "checkpoints" / place.name))
    tell(
        f"learned  {before:.1f} MiB, on {checkpoint.model['places']['base']}",
        f"merged   {after:.1f} MiB; scores of {_IMAGES} images differ by {error:.1e} at most",
    )
    answer(
        {
            "out": str(out),
            "step": checkpoint.step,
            "scores_max_error": error,
            "delta_mib": round(before, 3),
            "merged_mib": round(after, 3),
            "weights_sha256": merged.weights_sha256,
        },
        as_json=as_json,
        last_line=f"merged run: {out}",
    )


def _difference(one: Trained, two: Trained) -> float:
    """Greatest difference of scores on a few images of noise; that of a quantity in its standard deviations."""
    px = one.engine.spec.image_px
    images = np.random.default_rng(0).standard_normal((_IMAGES, 3, px, px)).astype(np.float32)
    apart = np.abs(one.engine.predict(images).astype(np.float64) - two.engine.predict(images))
    scale = np.concatenate([np.full(head.columns, head.spread) for head in one.task.heads])
    return float((apart / scale).max())


def _take_over(run: Path, out: Path, weights_sha256: str) -> None:
    """Give a merged run what is known of the run: its images, predictions and metrics, for its scores are the same."""
    # Under another name: what is merged is no training that could go on.
    kept = {"config.yaml": "merged_from.yaml", "split.csv": "split.csv"}
    tables = ("predictions.csv", "predictions_val.csv", "metrics_test.csv", "metrics.json")
    for folder in (run, *sorted((run / "heads").glob("*"))):
        place = out / folder.relative_to(run)
        place.mkdir(parents=True, exist_ok=True)
        for name in (*kept, *tables):
            if not (folder / name).is_file():
                continue
            content = (folder / name).read_bytes()
            if name == "metrics.json":
                told = {**json.loads(content), "weights_sha256": weights_sha256}
                content = (json.dumps(told, indent=1, ensure_ascii=False) + "\n").encode()
            write_whole(place / kept.get(name, name), content)


def _size_mib(folder: Path) -> float:
    """Size of a checkpoint's weights. Unit: MiB."""
    return (folder / "weights.safetensors").stat().st_size / 2**20

"""Small trainings that one process and several must carry out alike; run as a script, those of one of several."""

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import nn

from eyeground.data.augment import draws, mix
from eyeground.data.loader import EvaluationImages
from eyeground.data.preprocessing import Preprocessing
from eyeground.data.sample import Sample
from eyeground.data.task import Head, Task, classification
from eyeground.model.adaptation import Adaptation
from eyeground.model.objective import Objective
from eyeground.model.optimization import Optimization
from eyeground.model.processes import Processes, started
from eyeground.model.spec import MaeSpec, ModelSpec, SimclrSpec
from eyeground.model.torch.batch_norm import see_whole_batch
from eyeground.model.torch.engine import TorchEngine
from eyeground.model.torch.learner import Learner
from eyeground.model.torch.pretraining import MaeEngine, SimclrEngine, image_spread
from eyeground.model.torch.processes import Together
from eyeground.train.finetune import predict_all
from eyeground.train.sharing import rows_of_all

Arrays = dict[str, np.ndarray]
# Shifts that batch norm or softmax takes out again: their gradient is 0, and AdamW makes steps of what rounding leaves.
IDLE = ("backbone.fc_norm.bias", "projector.1.running_mean", ".qkv.bias")
STEPS = 4
PX = 16
HEADS = Task(
    "heads",
    (
        Head("AMD"),
        Head("DR", "grades", ("0", "1", "2")),
        Head("CDR", "quantity", low=0, high=1, center=0.4, spread=0.1),
        Head("kind", "classes", ("a", "b", "c")),
    ),
)
WEIGHTED = Objective(HEADS, class_weights=((0.5, 3.0), (), (), (0.2, 1.0, 2.0)))
THREE = classification(("a", "b", "c"))


def images(count: int, seed: int, px: int = PX) -> np.ndarray:
    """Blurred noise, which a network can tell apart."""
    rng = np.random.default_rng(seed)
    coarse = rng.standard_normal((count, 3, 4, 4))
    fine = coarse.repeat(px // 4, axis=2).repeat(px // 4, axis=3) + 0.3 * rng.standard_normal((count, 3, px, px))
    return fine.astype(np.float32)


def truth(task: Task, count: int, seed: int) -> np.ndarray:
    """Truth with holes where there are several heads."""
    rng = np.random.default_rng(1000 + seed)
    columns = [
        rng.integers(0, len(head.classes), count) if head.classes else rng.uniform(0, 1, count) for head in task.heads
    ]
    found = np.stack(columns, axis=1).astype(float)
    if len(task.heads) > 1:
        found[rng.random(found.shape) < 0.4] = np.nan
    return found


def _share(arrays: Sequence[np.ndarray], processes: Processes) -> tuple[np.ndarray, ...]:
    """What a process is given of a batch."""
    return tuple(array[processes.share(len(array))] for array in arrays)


def classifier(
    processes: Processes,
    *,
    counts: Sequence[int],
    name: str = "vit_demo_patch8",
    px: int = PX,
    objective: Objective | None = None,
    adaptation: Adaptation = Adaptation(),
    mixed: bool = False,
    **settings: Any,
) -> Arrays:
    """Fine-tune on ``counts`` images a micro-batch."""
    task = objective.task if objective else THREE
    engine = TorchEngine(
        ModelSpec(name, classes=task.outputs, image_px=px),
        objective=objective or Objective(task),
        optimization=Optimization(**settings),
        adaptation=adaptation,
        device="cpu",
        precision="fp32",
        processes=processes,
    )
    losses = []
    for step in range(STEPS):
        if adaptation.way == "gradual":
            engine.thaw(step)
        batches = []
        for number, count in enumerate(counts):
            seed = 10 * step + number
            seen, wanted = _share((images(count, seed, px), truth(task, count, seed)), processes)
            with draws(seed, "mix"):
                alphas = {"mixup_alpha": 0.8, "cutmix_alpha": 1.0} if mixed else {"mixup_alpha": 0, "cutmix_alpha": 0}
                batches.append(mix(seen, task.targets(wanted), **alphas))
        losses.append(engine.train_step(batches, lr=1e-3, seed=step))
    found = {
        "loss": np.array(losses),
        "answers": engine.predict(images(5, 99, px)),
        "features": engine.features(images(5, 99, px)),
    }
    return found | _flat(engine)


def taken_up(processes: Processes) -> Arrays:
    """Go on from a checkpoint whose arrays every process reads in an order of its own, as from a file's hash table."""

    def build() -> TorchEngine:
        return TorchEngine(
            ModelSpec("vit_demo_patch8", classes=3, image_px=PX),
            optimization=Optimization(),
            device="cpu",
            precision="fp32",
            processes=processes,
        )

    batch = _share((images(8, 0), THREE.targets(truth(THREE, 8, 0))), processes)
    engine = build()
    engine.train_step([batch], lr=1e-3, seed=0)  # type: ignore[list-item]
    saved = processes.every(engine.state())[0]
    order = np.random.default_rng(processes.rank).permutation(sorted(saved["optimizer"]))
    engine = build()
    engine.load_state({"weights": saved["weights"], "optimizer": {name: saved["optimizer"][name] for name in order}})
    found = _flat(engine)
    return {"loss": np.array([engine.train_step([batch], lr=1e-3, seed=1)])} | found  # type: ignore[list-item]


def pretrained(
    processes: Processes,
    spec: MaeSpec | SimclrSpec,
    *,
    counts: Sequence[int],
    clip_norm: float = 0.0,
    lr: float = 1e-3,
    **settings: Any,
) -> Arrays:
    """Pre-train on ``counts`` images a micro-batch."""
    common: dict[str, Any] = {"device": "cpu", "precision": "fp32", "processes": processes, **settings}
    common["optimization"] = Optimization(layer_decay=1.0, betas=(0.9, 0.95), clip_norm=clip_norm)
    masked, px = isinstance(spec, MaeSpec), spec.image_px
    engine: Any = MaeEngine(spec, **common) if isinstance(spec, MaeSpec) else SimclrEngine(spec, **common)
    found: dict[str, list[Any]] = {"loss": []}
    for step in range(STEPS):
        batches = []
        for number, count in enumerate(counts):
            views = [images(count, 10 * step + number, px)]
            if not masked:
                views.append(views[0] + 0.1 * images(count, 500 + 10 * step + number, px))
            batches.append(_share(views, processes))
        found["loss"].append(engine.train_step(batches, lr=lr, seed=step))
        for field in dataclasses.fields(engine.vitals):
            value = getattr(engine.vitals, field.name)
            found.setdefault(f"vitals/{field.name}", []).append(np.zeros(0) if value is None else np.asarray(value))
    told = {name: np.stack(values) for name, values in found.items()}
    return told | {"features": engine.features(images(5, 99, px))} | _flat(engine)


def norms(processes: Processes) -> Arrays:
    """Batch norms, plain and with timm's activation inside, alone and in float64: outputs, slopes, statistics."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.BatchNorm2d(3), BatchNormAct2d(3, act_layer=nn.SiLU), nn.Flatten(), nn.BatchNorm1d(48, momentum=None)
    ).double()  # fmt: skip
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    network = see_whole_batch(network, processes)
    slope = torch.randn(7, 48, dtype=torch.float64)
    found: dict[str, list[np.ndarray]] = {}
    for _ in range(2):
        x = processes.own(torch.randn(7, 3, 4, 4, dtype=torch.float64)).requires_grad_()
        made = network(x)
        gradients = torch.autograd.grad((made * processes.own(slope)).sum(), [x, *network.parameters()])
        found.setdefault("made", []).append(processes.whole(made.detach()).numpy())
        found.setdefault("slope", []).append(processes.whole(gradients[0]).numpy())
        for (name, _), gradient in zip(network.named_parameters(), gradients[1:], strict=True):
            told = np.array(processes.total(*gradient.tolist()))  # what a process's rows ask of a weight adds up
            found.setdefault(f"gradient/{name}", []).append(told)
        for name, buffer in network.named_buffers():
            found.setdefault(f"buffer/{name}", []).append(buffer.clone().numpy())
    network.eval()
    found["answers"] = [network(torch.ones(2, 3, 4, 4, dtype=torch.float64)).detach().numpy()]
    return {name: np.stack(values) for name, values in found.items()}


def validated(processes: Processes) -> Arrays:
    """A set that neither batches nor processes divide, with a last batch of one image; and what no two share."""
    samples = [Sample(f"{number}.png", Path(), number % 3, str(number)) for number in range(7)]
    pixels = images(7, 3, 32)
    shown = EvaluationImages(
        samples,
        pixels=lambda s: (pixels[int(s.file[0])].transpose(1, 2, 0) * 40 + 128).clip(0, 255).astype(np.uint8),
        preprocessing=Preprocessing(image_px=PX),
    )
    spec = ModelSpec("vit_demo_patch8", classes=3, image_px=PX)
    engine = TorchEngine(spec, device="cpu", precision="fp32", processes=processes)
    scores, known, loss = predict_all(engine, shown, task=THREE, batch_size=3, processes=processes)
    # An untrained head answers nearly alike whatever it is shown; features do not.
    features = rows_of_all(shown, engine.features, batch_size=3, processes=processes)
    seeds = np.array(processes.every(processes.seed(5)), float)
    # A step's mean is over all of its images, whoever has them.
    spread = np.array(image_spread([pixels[processes.share(7)]], processes))
    return {
        "scores": scores,
        "features": features,
        "truth": known,
        "loss": np.array(loss),
        "spread": spread,
        "seeds": seeds,
    }


def _flat(engine: Any) -> Arrays:
    """Weights and averages by part and name."""
    return {f"{part}/{name}": array for part, held in engine.state().items() for name, array in held.items()}


_DECODER = {"decoder_width": 32, "decoder_depth": 1, "decoder_heads": 2}
_MAE = MaeSpec("vit_demo_patch8", image_px=PX, **_DECODER)
_CONTRAST = SimclrSpec("vit_demo_patch8", image_px=PX, projector=(32, 16), temperature=0.2)
_NORMED = dataclasses.replace(_CONTRAST, name="test_resnet", image_px=64)
CASES: dict[str, Callable[[Processes], Arrays]] = {
    "classes": lambda p: classifier(p, counts=(8, 8)),
    "unequal": lambda p: classifier(p, counts=(7,)),
    "heads": lambda p: classifier(p, counts=(8, 6), objective=WEIGHTED, clip_norm=0.1),
    "mixed": lambda p: classifier(p, counts=(8, 8), mixed=True, label_smoothing=0.1),
    "lora": lambda p: classifier(p, counts=(8,), adaptation=Adaptation("lora"), layer_decay=1.0),
    "gradual": lambda p: classifier(p, counts=(8, 8), adaptation=Adaptation("gradual")),
    "convnet": lambda p: classifier(p, counts=(7, 8), name="test_resnet", px=64),
    "mae": lambda p: pretrained(p, _MAE, counts=(8, 7), clip_norm=0.5),
    "mae_norm_pix": lambda p: pretrained(p, dataclasses.replace(_MAE, norm_pix=True), counts=(6,), checkpointing=True),
    "simclr": lambda p: pretrained(p, _CONTRAST, counts=(7,)),
    "simclr_chunks": lambda p: pretrained(p, _CONTRAST, counts=(8, 6)),
    "simclr_convnet": lambda p: pretrained(p, _NORMED, counts=(8,), lr=1e-4),
    "taken_up": taken_up,
    "norms": norms,
    "validated": validated,
}
# What torch's fully_shard is asked to do as well.
PARTED = ("classes", "validated", "heads", "lora", "convnet", "mae", "mae_norm_pix", "simclr_chunks")


def _plant(fault: str) -> None:
    """Make every process learn from its own rows alone, as the plain average of gradients suggests."""
    if fault == "own rows":
        Together.whole = Together.own = lambda self, rows: rows  # type: ignore[method-assign,assignment,misc]
        Learner.backward = lambda self, loss: self.fabric.backward(loss)  # type: ignore[method-assign,misc,assignment]


def main(folder: Path, plan: Sequence[tuple[str, str, str]]) -> None:
    """Carry out (case, strategy, fault) one after the other; the first process writes what came out."""
    torch.set_num_threads(1)
    how = started()
    assert how is not None
    sound = Together.whole, Together.own, Learner.backward
    for case, strategy, fault in plan:
        Together.whole, Together.own, Learner.backward = sound  # type: ignore[method-assign]
        _plant(fault)
        processes = Together(how, device="cpu", strategy=strategy)  # type: ignore[arg-type]
        found = CASES[case](processes)
        if processes.rank == 0:
            np.savez(folder / "-".join(filter(None, (case, strategy, fault))), **found)  # type: ignore[arg-type]
    processes.part()


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(os.environ["PLAN"]))

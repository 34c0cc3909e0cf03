"""A linear probe of 100 epochs on frozen features: ours from features that are kept, against a loop that sends every
image through the frozen network in every epoch, as RETFound's linear probe does.

The reference is timm's ViT-B/16, frozen, with a new head; JPEGs by torchvision's ImageFolder, random crops and flips,
AdamW, validation after each epoch. One epoch is measured and extrapolated to 100. Ours is the command as people call
it, start of the program, intervals and drawings included: once with nothing kept, and again with the features there;
and the 100 epochs of a linear head on features, as ``eyeground compare`` fits it. Same images, same split sizes.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import timm
import torch
from PIL import Image
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms

from benchmarks.claim import Claim
from eyeground.cli.features import dataset_of, features_of
from eyeground.cli.finetune_config import FinetuneConfig
from eyeground.cli.linear import fit_linear
from eyeground.cli.objective import objective_of, task_of
from eyeground.cli.selection import selection_score
from eyeground.data.phantom import draw_fundus

EPOCHS, IMAGES, MODEL, IMAGE_PX, BATCH = 100, 240, "vit_base_patch16", 224, 16
CLASSES = ("normal", "dr3", "cataract")
CODE = "from eyeground.cli.main import main; main()"


def draw(folder: Path, count: int, *, size_px: int = 256) -> None:
    """Write phantoms, a folder for each class."""
    for number in range(count):
        name = CLASSES[number % len(CLASSES)]
        (folder / name).mkdir(parents=True, exist_ok=True)
        pixels = draw_fundus(name, seed=number, size_px=size_px).image.pixels
        Image.fromarray(pixels).save(folder / name / f"{number:05d}.jpg", quality=92)


def frozen_loop(folder: Path, *, model: str = MODEL, image_px: int = IMAGE_PX, least_epochs: int = 1) -> float:
    """Time of one epoch of the loop that encodes everything anew: train on 60%, validate on 20%. Unit: s."""
    normal = transforms.Normalize(timm.data.IMAGENET_DEFAULT_MEAN, timm.data.IMAGENET_DEFAULT_STD)
    cropped = transforms.Compose(
        [transforms.RandomResizedCrop(image_px), transforms.RandomHorizontalFlip(), transforms.ToTensor(), normal]
    )
    plain = transforms.Compose(
        [transforms.Resize(image_px), transforms.CenterCrop(image_px), transforms.ToTensor(), normal]
    )
    count = len(datasets.ImageFolder(folder))
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0)).tolist()
    train_rows, val_rows = order[: int(0.6 * count)], order[int(0.6 * count) : int(0.8 * count)]
    train = DataLoader(Subset(datasets.ImageFolder(folder, cropped), train_rows), batch_size=BATCH, shuffle=True)
    val = DataLoader(Subset(datasets.ImageFolder(folder, plain), val_rows), batch_size=BATCH)
    network = timm.create_model(f"{model}_224", num_classes=0, img_size=image_px).eval().requires_grad_(False)
    head = torch.nn.Linear(network.num_features, len(CLASSES))
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3)
    with torch.no_grad():
        network(next(iter(val))[0][:2])  # what is loaded at first use
    began = time.perf_counter()
    for _ in range(least_epochs):
        for pictures, labels in train:
            with torch.no_grad():
                features = network(pictures)
            loss = torch.nn.functional.cross_entropy(head(features), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            sum(int((head(network(pictures)).argmax(1) == labels).sum()) for pictures, labels in val)
    return (time.perf_counter() - began) / least_epochs


def configured(folder: Path, *, model: str = MODEL, image_px: int = IMAGE_PX) -> FinetuneConfig:
    """The same in our words."""
    return FinetuneConfig(
        data=str(folder), model=model, image_px=image_px, split="60:20:20", epochs=EPOCHS, warmup_epochs=10,
        batch_size=BATCH, device="cpu", precision="fp32", lr=1e-3,
    )  # fmt: skip


def probed(folder: Path, data: Path, out: str, *, model: str = MODEL, image_px: int = IMAGE_PX) -> float:
    """All labels, one draw: logistic regression and nearest neighbors, intervals, pictures. Unit: s."""
    file = folder / "probe.yaml"
    file.write_text(
        f"data: {data}\nmodel: {model}\nimage_px: {image_px}\nsplit: 60:20:20\nbatch_size: {BATCH}\n"
        "device: cpu\nprecision: fp32\n",
        encoding="utf-8",
    )
    words = [str(file), "--fractions", "1", "--seeds", "0", "--out", out, "--cache", "kept"]
    began = time.perf_counter()
    made = subprocess.run([sys.executable, "-c", CODE, "probe", *words], cwd=folder, capture_output=True, text=True)
    if made.returncode:
        raise RuntimeError(f"eyeground probe: {made.stderr[-2000:]}")
    return time.perf_counter() - began


def head_alone(data: Path, cache: Path, *, model: str = MODEL, image_px: int = IMAGE_PX) -> float:
    """100 epochs of a linear head on the features that are kept. Unit: s."""
    config = configured(data, model=model, image_px=image_px)
    dataset = dataset_of(config)
    known, task = features_of(config, dataset, cache=cache), task_of(config, dataset)
    if known.computed:
        raise AssertionError(
            f"{known.computed} images went through the network again: the features were kept elsewhere"
        )
    objective, score = objective_of(config, dataset, task), selection_score(config.select_by, task)
    began = time.perf_counter()
    fit_linear(config, known, known.rows("train"), objective=objective, score=score)
    return time.perf_counter() - began


def run(images: int = IMAGES, *, model: str = MODEL, image_px: int = IMAGE_PX, rounds: int = 3) -> list[Claim]:
    """Measure ours cold and warm, and an epoch of the loop."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        data = folder / "data"
        draw(data, images)
        epoch = frozen_loop(data, model=model, image_px=image_px)
        cold = probed(folder, data, "cold", model=model, image_px=image_px)
        warm = [probed(folder, data, f"warm{each}", model=model, image_px=image_px) for each in range(rounds)]
        head = [head_alone(data, folder / "kept", model=model, image_px=image_px) for _ in range(rounds)]
    loop = EPOCHS * epoch
    against = f"frozen {model} that encodes every image in every epoch"
    told = f"{EPOCHS} epochs extrapolated from 1, measured: {epoch:.1f} s"
    what = f"linear probe, {images} images of {image_px} px"
    return [
        Claim(f"{what}, features kept", statistics.median(warm), loop, against, "s",
              f"the whole command, start and pictures included; {told}", goal=50),
        Claim(f"{what}, nothing kept", cold, loop, against, "s", f"every image is encoded once; {told}"),
        Claim(f"{EPOCHS} epochs of a linear head on kept features, {images} images", statistics.median(head), loop,
              against, "s", f"the same optimizer and pace; {told}"),
    ]  # fmt: skip

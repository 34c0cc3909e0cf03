"""`eyeground predict` of one photograph with a small bundle, from the start of the process to its table.

python -m benchmarks first_answer

A MobileNetV2 at 224 px with random weights, and what its time is made of; against the same network in a script of
torch, timm and Pillow as anybody would write it, and against the bundle's torch.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from benchmarks.claim import Claim, NotHere, paired, turns
from eyeground.data.phantom import draw_fundus
from eyeground.data.preprocessing import Preprocessing
from eyeground.data.task import classification
from eyeground.model.spec import ModelSpec
from eyeground.model.torch.network import build
from eyeground.model.weights_cache import file_sha256
from eyeground.pick import pick
from eyeground.serve.bundle import FORMAT, RECORD, WEIGHTS, seal
from eyeground.serve.contract import Contract

SPEC = ModelSpec("mobilenetv2_100", classes=5, image_px=224)
GRADES = ("none", "mild", "moderate", "severe", "proliferative")
PREDICT = "import sys; from eyeground.cli.main import main; main()"
# As anybody would write it: without a gate for quality, hashes, a table.
SCRIPT = """
import sys, timm, torch
from PIL import Image
from safetensors.torch import load_file
from torchvision import transforms
network = timm.create_model(sys.argv[1], pretrained=False, num_classes=int(sys.argv[2])).eval()
network.load_state_dict(load_file(sys.argv[3]))
mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
see = transforms.Compose([transforms.Resize((224, 224)), transforms.ToTensor(), transforms.Normalize(mean, std)])
with torch.inference_mode():
    print(network(see(Image.open(sys.argv[4]).convert("RGB"))[None]).softmax(1).tolist())
"""
# The same steps as the command's, with a look at the clock between them.
PARTS = """
import json, sys, time
from pathlib import Path
clock = [time.perf_counter()]
def tick():
    clock.append(time.perf_counter())
import eyeground.cli.answers
tick()
from eyeground.serve.bundle import open_bundle
bundle = open_bundle(Path(sys.argv[1]))
tick()
runtime = bundle.open_runtime(sys.argv[3], precision=sys.argv[4])
tick()
from eyeground.serve.gate import gate_file
gated = gate_file(Path(sys.argv[2]), bundle.contract, slices=None)
tick()
from eyeground.serve.predictor import Predictor
Predictor(bundle.contract, runtime, id=bundle.id).answer([gated])
tick()
print(json.dumps([after - before for before, after in zip(clock, clock[1:])]))
runtime.close()
"""
NAMES = ("imports", "reading and hashing the bundle", "opening the network", "reading the photograph", "answering")
LIBRARIES = ("numpy", "scipy.ndimage", "PIL.Image", "rich.console", "typer", "torch", "timm", "lightning_fabric")


def pack(folder: Path, runtimes: Sequence[str], spec: ModelSpec = SPEC) -> None:
    """Make a bundle of random weights."""
    folder.mkdir()
    tensors = {name: tensor.numpy() for name, tensor in build(spec).state_dict().items()}
    for name in runtimes:
        pick("serve.runtimes", name).write(spec, tensors, folder, precision="fp32")
    weights = file_sha256(folder / WEIGHTS)
    seen = Preprocessing(image_px=spec.image_px)
    contract = Contract(spec, classification(GRADES), True, seen, "center", "fundus", weights)
    record = {
        "format": FORMAT,
        "name": "small",
        "contract": contract.to_json(),
        "calibrations": {},
        "runtimes": {name: {"fp32": {"says": "not compared"}} for name in runtimes},
    }
    (folder / RECORD).write_text(json.dumps(record), "utf-8")
    seal(folder)


def parts(bundle: Path, image: Path, runtime: str, *, rounds: int = 5) -> dict[str, float]:
    """Median seconds of each step of the command."""
    words = [sys.executable, "-c", PARTS, str(bundle), str(image), runtime, "fp32"]
    found = [
        json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout) for _ in range(rounds)
    ]
    return dict(zip(NAMES, map(statistics.median, zip(*found, strict=True)), strict=True))


def libraries(words: Sequence[str]) -> dict[str, float]:
    """Seconds that a command spends on importing each of the larger libraries, with all that they import."""
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", PREDICT, *words], capture_output=True, text=True, check=True
    ).stderr
    rows = [line.removeprefix("import time:").split("|") for line in told.splitlines() if line.count("|") == 2]
    return {name.strip(): int(total) / 1e6 for _, total, name in rows if name.strip() in LIBRARIES}


def run() -> list[Claim]:
    """Measure the command with the runtime it chooses, with torch, and the script."""
    if hint := pick("serve.runtimes", "onnx").missing():
        raise NotHere(f"the runtime onnx is not installed: {hint}")
    with tempfile.TemporaryDirectory() as place:
        bundle, image, out = Path(place, "bundle"), Path(place, "eye.jpg"), Path(place, "answers.csv")
        pack(bundle, ("torch", "onnx"))
        Image.fromarray(draw_fundus("dr2", seed=1, size_px=1024).image.pixels).save(image, quality=92)
        words = ["predict", str(bundle), str(image), "--out", str(out)]

        def call(code: str, *words: str) -> None:
            subprocess.run([sys.executable, "-c", code, *words], capture_output=True, check=True)
            out.unlink(missing_ok=True)

        took = turns(
            {
                "ours": lambda: call(PREDICT, *words),
                "torch": lambda: call(PREDICT, *words, "--runtime", "torch"),
                "script": lambda: call(SCRIPT, SPEC.name, str(SPEC.classes), str(bundle / WEIGHTS), str(image)),
                "nothing": lambda: call("pass"),
            },
            rounds=5,
            least_s=0,
        )
        claims = []
        for name, against in (("ours", "script"), ("torch", "script"), ("ours", "torch")):
            runtime = "onnx" if name == "ours" else "torch"
            made = ", ".join(f"{part} {seconds:.2f}" for part, seconds in parts(bundle, image, runtime).items())
            loaded = libraries([*words, "--runtime", runtime])
            out.unlink(missing_ok=True)
            note = f"s: python {statistics.median(took['nothing']):.2f}, {made}; of the imports " + ", ".join(
                f"{library} {seconds:.2f}" for library, seconds in loaded.items()
            )
            reference = "a script of torch and timm" if against == "script" else "the same with --runtime torch"
            what = f"`eyeground predict` of one photograph, {runtime}"
            claims.append(
                paired(what, took[name], took[against], reference, "s", note=note if against == "script" else "")
            )
        return claims

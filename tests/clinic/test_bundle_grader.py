"""A bundle as a grader: what its heads say under the contracts' names, checked against a mapping by hand."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from eyeground.clinic.bundle_grader import BundleGrader, covered
from eyeground.clinic.findings import FINDINGS
from eyeground.clinic.grader import Grader
from eyeground.clinic.records import Part, Said
from eyeground.data.task import Head, Task, classification
from eyeground.evaluate.calibrate import Calibration
from eyeground.evaluate.confidence import Estimate
from eyeground.evaluate.conformal import ConformalSets
from eyeground.evaluate.thresholds import Positive, Threshold
from eyeground.explain.anatomy import Anatomy
from eyeground.explain.frame import Frame
from eyeground.explain.heat_map import HeatMap
from eyeground.model.torch.engine import TorchEngine
from eyeground.model.torch.network import build
from eyeground.model.weights import write_weights
from eyeground.pick import pick
from eyeground.serve.contract import Contract
from eyeground.serve.engine_runtime import EngineRuntime
from eyeground.serve.gate import Gated, gate_bytes
from eyeground.serve.looking import Explanation, Looker
from eyeground.serve.predictor import Answer, Predictor

from .pictures import SCREENING7, contract_of, dicom, encoded, photograph

GRADES = ("0", "1", "2", "3", "4")
PHANTOMS = classification(("normal", "dr1", "dr2", "dr3", "dr4", "glaucoma", "drusen", "cataract"))


class Says:
    """Gives the same outputs for every image."""

    description = "the same"

    def __init__(self, *outputs: float) -> None:
        self._outputs = outputs
        self.closed = False

    def outputs(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.array([self._outputs] * len(images), np.float32)

    def close(self) -> None:
        self.closed = True


def grader_of(task: Task, *outputs: float, **more: object) -> BundleGrader:
    return BundleGrader(Predictor(contract_of(task, **more), Says(*outputs), id="x"), look=None, title="x v1")  # type: ignore[arg-type]


def one(task: Task, *outputs: float, **more: object) -> dict[str, Said]:
    return dict(grader_of(task, *outputs, **more).read(encoded(photograph()), name="a_OD.png").said)


def told(said: Said) -> tuple[int, float | None]:
    return said.value, said.score


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Predictor]:
    """Small networks with random weights, as a bundle opens them."""
    made = {}
    for name, task in {"screening": SCREENING7, "phantoms": PHANTOMS}.items():
        folder: Path = tmp_path_factory.mktemp(name)
        torch.manual_seed(3)
        contract = contract_of(task)
        weights = {key: tensor.numpy() * 4 for key, tensor in build(contract.spec).state_dict().items()}
        write_weights(folder / "weights.safetensors", weights)
        runtime = pick("serve.runtimes", "torch").open_runtime(
            folder, spec=contract.spec, precision="fp32", threads=1, device="cpu"
        )
        made[name] = Predictor(contract, runtime, id=name)
    return made


def photographs() -> Iterator[bytes]:
    for seed, disease in enumerate(("normal", "dr2", "dr4", "glaucoma", "rvo", "csc", "drusen", "rp")):
        yield encoded(photograph(disease, seed=seed))


def test_a_network_of_seven_heads_says_what_its_outputs_say(engines: dict[str, Predictor]) -> None:
    predictor = engines["screening"]
    grader: Grader = BundleGrader(predictor, look=None, title="seven v1")
    assert (grader.id, grader.title, grader.part, grader.offers) == (
        "screening", "seven v1", "fundus", ("AMD", "CSC", "RP", "ON", "GLA", "RVO", "DR")
    )  # fmt: skip
    for data in photographs():
        reading = grader.read(data, name="P1_OD.png")
        (answer,) = predictor.answer([gate_bytes(data, predictor.contract, name="P1_OD.png")])
        scores = answer.scores.tolist()
        for number, name in enumerate(("AMD", "CSC", "RP", "ON", "GLA", "RVO")):
            assert told(reading.said[name]) == (int(scores[number] > 0.5), pytest.approx(scores[number]))
        grade = int(np.argmax(scores[6:]))
        assert told(reading.said["DR"]) == (grade, pytest.approx(scores[6 + grade]))
        assert (reading.eye, reading.conflict, reading.areas) == ("OD", "", ())


def test_a_network_of_classes_says_what_its_outputs_say(engines: dict[str, Predictor]) -> None:
    predictor = engines["phantoms"]
    grader = BundleGrader(predictor, look=None, title="phantoms v1")
    assert grader.offers == ("AMD", "GLA", "DR")
    given = set()
    for data in photographs():
        said = grader.read(data, name="a.png").said
        (answer,) = predictor.answer([gate_bytes(data, predictor.contract, name="a.png")])
        p = dict(zip(PHANTOMS.heads[0].classes, answer.scores.tolist(), strict=True))
        best = max(p, key=p.__getitem__)
        given.add(best)
        grade = int(best[2]) if best.startswith("dr") and best != "drusen" else 0
        none = p["normal"] + p["glaucoma"] + p["drusen"] + p["cataract"]
        by_hand = {"AMD": (int(best == "drusen"), p["drusen"]), "GLA": (int(best == "glaucoma"), p["glaucoma"]),
                   "DR": (grade, p[f"dr{grade}"] if grade else none)}  # fmt: skip
        assert {name: told(each) for name, each in said.items()} == {
            name: (value, pytest.approx(score)) for name, (value, score) in by_hand.items()
        }
    assert len(given) > 1


@pytest.mark.parametrize(
    ("head", "part", "expected"),
    [
        (Head("AMD"), "fundus", {"AMD": (0, 1)}),
        (Head("drusen"), "fundus", {"AMD": (0, 1)}),
        (Head("Glaucoma", "grades", ("0", "1", "2")), "fundus", {"GLA": (0, 1, 1)}),
        (Head("GLA", "classes", ("no", "yes")), "fundus", {"GLA": (0, 1)}),
        (Head("DR", "grades", GRADES), "fundus", {"DR": (0, 1, 2, 3, 4)}),
        (Head("ICDR", "classes", GRADES), "fundus", {"DR": (0, 1, 2, 3, 4)}),
        (Head("DR", "grades", ("0", "1", "2")), "fundus", {}),
        (Head("DR"), "fundus", {}),
        (Head("DR", "quantity"), "fundus", {}),
        (Head("label", "grades", GRADES), "fundus", {}),
        (Head("label", "classes", ("anodr", "bmilddr", "cmoderatedr", "dseveredr", "eproliferativedr")), "fundus",
         {"DR": (0, 1, 2, 3, 4)}),
        (Head("label", "classes", ("dr4", "dr1", "dr2", "normal", "dr3")), "fundus", {"DR": (4, 1, 2, 0, 3)}),
        (Head("label", "classes", ("normal", "dr1", "dr2", "dr3")), "fundus", {}),
        (Head("label", "classes", ("anormal", "bsuspectglaucoma", "cglaucoma")), "fundus", {"GLA": (0, 1, 1)}),
        (Head("label", "classes", ("1_normal", "2_cataract", "2_glaucoma", "3_retina_disease")), "fundus",
         {"GLA": (0, 0, 1, 0)}),
        (Head("label", "classes", ("N", "D", "G", "C", "A", "CSC", "RP", "RVO")), "fundus",
         {"AMD": (0, 0, 0, 0, 1, 0, 0, 0), "CSC": (0, 0, 0, 0, 0, 1, 0, 0), "RP": (0, 0, 0, 0, 0, 0, 1, 0),
          "GLA": (0, 0, 1, 0, 0, 0, 0, 0), "RVO": (0, 0, 0, 0, 0, 0, 0, 1)}),
        (Head("label", "classes", ("a", "b", "g")), "fundus", {}),
        (Head("label", "classes", ("青光眼", "正常")), "fundus", {"GLA": (1, 0)}),
        (Head("cataract"), "fundus", {}),
        (Head("cataract"), "anterior", {"cataract": (0, 1)}),
        (Head("AMD"), "anterior", {}),
        (Head("Exfoliation syndrome"), "anterior", {"exfoliationSyndrome": (0, 1)}),
    ],
)  # fmt: skip
def test_what_a_head_answers(head: Head, part: Part, expected: dict[str, tuple[int, ...]]) -> None:
    assert {each.name: each.values for each in covered(head, part)} == expected
    assert [each.name for each in covered(head, part)] == [name for name in FINDINGS[part] if name in expected]


def test_numbers_are_grades_of_retinopathy_where_the_titles_say_so() -> None:
    words = ("No diabetic retinopathy", "Mild retinopathy", "Moderate retinopathy", "Severe retinopathy", "Retinopathy")
    titles = {str(grade): {"en": word, "zh": "词"} for grade, word in enumerate(words)}
    head = Head("label", "grades", GRADES)
    assert [each.name for each in covered(head, "fundus", titles=titles)] == ["DR"]
    assert covered(head, "fundus", titles=titles | {"2": {"en": "Moderate cataract", "zh": "词"}}) == ()


@pytest.mark.parametrize(("logit", "value"), [(-2.0, 0), (-0.5, 1), (2.0, 1)])
def test_a_calibrated_threshold_goes_before_the_likelier_answer(logit: float, value: int) -> None:
    made = Calibration(
        ("no", "yes"), False, Estimate(1.0),
        (
            Threshold(Positive("yes", (1,)), "specificity", 0.9, Estimate(float("nan"), reason="too few")),
            Threshold(Positive("yes", (1,)), "sensitivity", 0.9, Estimate(0.25)),
        ),
        ConformalSets(0.9, False, (Estimate(0.8),) * 2),
    )  # fmt: skip
    task = Task("heads", (Head("GLA"), Head("AMD")))
    said = one(task, logit, logit, calibrations={"GLA": made})
    score = 1 / (1 + np.exp(-logit))
    assert told(said["GLA"]) == (value, pytest.approx(score))
    assert told(said["AMD"]) == (int(logit > 0), pytest.approx(score))


@pytest.mark.parametrize(
    ("task", "more", "says"),
    [
        (classification(("normal", "drusen")), {"modality": "oct"}, "reads OCT scans"),
        (classification(("normal", "drusen")), {"modality": ""}, "name the part"),
        (classification(("normal", "cataract")), {}, "no head answers a finding of the fundus contract"),
        (Task("heads", (Head("AMD"), Head("drusen"))), {}, "several heads answer AMD"),
    ],
)
def test_a_bundle_that_is_of_no_use_says_why(task: Task, more: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        grader_of(task, **more)


def test_the_part_may_be_named_but_not_contradicted() -> None:
    task = Task("heads", (Head("cataract"),))
    made = Predictor(contract_of(task, modality=""), Says(1.0), id="x")
    assert BundleGrader(made, look=None, title="x", part="anterior").part == "anterior"
    front = Predictor(contract_of(task, modality="anterior"), Says(1.0), id="x")
    assert BundleGrader(front, look=None, title="x").offers == ("cataract",)
    with pytest.raises(ValueError, match="trained on anterior photographs"):
        BundleGrader(front, look=None, title="x", part="fundus")


def test_what_cannot_be_graded_is_not_answered_but_tells_its_eye() -> None:
    grader = grader_of(SCREENING7, *(3.0,) * SCREENING7.outputs)
    dark = grader.read(encoded(np.zeros((200, 200, 3), np.uint8)), name="left.png")
    assert (dark.quality, dark.eye, dark.said, dark.areas) == ("cannot grade: too dark", "OS", {}, ())
    broken = grader.read(b"nothing", name="右眼.png")
    assert (broken.quality, broken.eye, broken.said) == ("cannot grade: not_an_image", "OD", {})
    torn = grader.read(dicom(photograph(), laterality="R"), name="left.png")
    assert (torn.eye, torn.conflict) == ("", "file header says OD, file name says OS")
    silent = grader_of(SCREENING7, *(float("nan"),) * SCREENING7.outputs)
    assert silent.read(encoded(photograph()), name="a.png").quality == "cannot grade: the network gave no number"


def explanation(contract: Contract, head: int, said: int, areas: tuple[str, ...] = ()) -> Explanation:
    """What a looker says that finds all in one place."""
    values = np.zeros((32, 32), np.float32)
    values[8, 24] = 1024.0
    frame = Frame(64, 64, contract.preprocessing)
    heat, anatomy = HeatMap(values, "m", "t"), Anatomy(None, None, "none")
    return Explanation(heat, contract.task.heads[head], said, anatomy, (), "", areas, frame, 1, ())


def test_areas_are_those_that_reports_can_name() -> None:
    asked = []
    contract: Contract = contract_of()

    def look(gated: Gated, answer: Answer) -> Explanation:
        asked.append(answer.gated is gated)
        return explanation(contract, 6, 3, ("macula", "somewhere"))

    runtime = Says(*(3.0,) * SCREENING7.outputs)
    grader = BundleGrader(Predictor(contract, runtime, id="x"), look=look, title="x")
    reading = grader.read(encoded(photograph()), name="a.png")
    assert (reading.areas, reading.heat_of) == (("macula",), "DR")
    assert grader.read(b"nothing", name="a.png").areas == ()
    assert asked == [True]
    grader.close()
    assert runtime.closed


@pytest.mark.parametrize(
    ("task", "head", "said", "about"),
    [
        (SCREENING7, 0, 1, "AMD"), (SCREENING7, 0, 0, "AMD"), (SCREENING7, 6, 0, "DR"), (SCREENING7, 5, 1, "RVO"),
        (PHANTOMS, 0, 0, "AMD"), (PHANTOMS, 0, 2, "DR"), (PHANTOMS, 0, 5, "GLA"), (PHANTOMS, 0, 6, "AMD"),
        (PHANTOMS, 0, 7, "AMD"),
    ],
)  # fmt: skip
def test_a_map_is_about_the_finding_that_its_answer_means(task: Task, head: int, said: int, about: str) -> None:
    contract = contract_of(task)
    predictor = Predictor(contract, Says(*(0.5,) * task.outputs), id="x")
    grader = BundleGrader(predictor, look=lambda *_: explanation(contract, head, said), title="x")
    assert grader.read(encoded(photograph()), name="a.png").heat_of == about


def test_a_map_covers_the_whole_image_and_what_cannot_be_graded_has_none() -> None:
    contract = contract_of()
    predictor = Predictor(contract, Says(*(0.5,) * SCREENING7.outputs), id="x")
    grader = BundleGrader(predictor, look=lambda *_: explanation(contract, 0, 1), title="x")
    wide = np.zeros((192, 600, 3), np.uint8)
    wide[:, 300:492] = photograph()
    heat = np.asarray(Image.open(BytesIO(grader.read(encoded(wide), name="a.png").heat)))
    assert heat.shape == (164, 512)
    assert not heat[:, :250].any()
    assert heat[:, 256:420].any()
    assert grader.read(encoded(np.zeros_like(wide)), name="a.png").heat == b""
    assert grader.read(b"nothing", name="a.png").heat == b""


def test_the_network_s_own_maps_are_kept() -> None:
    contract = contract_of()
    engine = TorchEngine(contract.spec, device="cpu", precision="fp32", seed=3)
    predictor = Predictor(contract, EngineRuntime(engine, contract.task), id="seven")
    grader = BundleGrader(predictor, look=Looker(contract, engine).explain, title="seven v1")
    reading = grader.read(encoded(photograph("dr4", seed=2)), name="a.png")
    heat = np.asarray(Image.open(BytesIO(reading.heat)))
    assert heat.shape == (192, 192)
    assert 0 < np.count_nonzero(heat) < heat.size / 2
    assert reading.heat_of in grader.offers


def test_the_camera_is_told_of_every_image_that_names_it() -> None:
    grader = grader_of(SCREENING7, *(0.5,) * SCREENING7.outputs)
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Topcon\0", " TRC-NW400 "
    out = BytesIO()
    Image.fromarray(photograph()).save(out, "JPEG", quality=95, exif=exif)
    assert grader.read(out.getvalue(), name="a.jpg").device == "Topcon TRC-NW400"
    dark = BytesIO()
    Image.fromarray(np.zeros((192, 192, 3), np.uint8)).save(dark, "JPEG", exif=exif)
    told = grader.read(dark.getvalue(), name="a.jpg")
    assert (told.quality.startswith("cannot grade"), told.device) == (True, "Topcon TRC-NW400")
    assert grader.read(encoded(photograph()), name="a.png").device == ""
    assert grader.read(b"nothing", name="a.png").device == ""

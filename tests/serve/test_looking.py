"""Where a model looked: which answer is explained, what is named, and when nothing is."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from eyeground.data.phantom import draw_fundus, draw_oct
from eyeground.data.task import Head, Task
from eyeground.explain import evidence as evidence_file
from eyeground.explain.cases import Cases
from eyeground.model.torch.engine import TorchEngine
from eyeground.model.torch.network import build
from eyeground.serve.contract import Contract
from eyeground.serve.engine_runtime import EngineRuntime
from eyeground.serve.gate import Gated, gate_bytes
from eyeground.serve.looking import PREFERRED, Looker, asked_head
from eyeground.serve.predictor import Answer, Predictor

from .contracts import SCREENING, contract


def engine_of(made: Contract) -> TorchEngine:
    tensors = {name: tensor.numpy() for name, tensor in build(made.spec).state_dict().items()}
    return TorchEngine(made.spec, tensors=tensors, device="cpu", precision="fp32", threads=1)


def gated_of(pixels: np.ndarray, made: Contract, name: str = "P7_OD.png") -> Gated:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return gate_bytes(content.getvalue(), made, name=name)


def answered(made: Contract, engine: TorchEngine, gated: Gated) -> Answer:
    return Predictor(made, EngineRuntime(engine, made.task), id="00").answer([gated])[0]


@pytest.fixture(scope="module")
def plain() -> tuple[Contract, TorchEngine]:
    """Three classes, seen at a size at which disc and fovea are found."""
    made = contract()
    made = replace(made, preprocessing=replace(made.preprocessing, store_px=384))
    return made, engine_of(made)


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    return draw_fundus("dr3", seed=1, eye="OD", size_px=384).image.pixels


def test_regions_are_named_where_something_is_wrong_and_they_are_seen(
    plain: tuple[Contract, TorchEngine], photograph: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Weights that learned nothing look everywhere alike; so little is evidence here that some region has it.
    monkeypatch.setattr(evidence_file, "LEAST_DENSITY", 0.5)
    made, engine = plain
    gated = gated_of(photograph, made)
    looker, answer = Looker(made, engine, method="occlusion"), answered(made, engine, gated)
    ill, well = (replace(answer, columns=answer.columns | {"prediction": said}) for said in ("dr3", "normal"))
    found = looker.explain(gated, ill, said="dr3")
    assert found.reason == ""
    assert looker.explain(gated, well, said="dr3").areas == (), "what was not answered is no finding"
    assert 1 <= len(found.areas) <= 3
    assert set(found.areas) <= {region.name for region in found.evidence}
    assert sum(region.share for region in found.evidence) <= 1 + 1e-6
    told = found.to_json()
    assert told["target"] == "label: dr3"
    assert len(told["abnormal_areas_titles"]["zh"]) == len(found.areas)
    healthy = looker.explain(gated, ill, said="normal")
    assert (healthy.areas, healthy.reason) == ((), "")
    assert healthy.evidence, "where it looked is known; it is nothing abnormal"


def test_an_eye_on_the_wrong_side_has_no_regions(plain: tuple[Contract, TorchEngine], photograph: np.ndarray) -> None:
    made, engine = plain
    gated = gated_of(np.ascontiguousarray(photograph[:, ::-1]), made)
    assert gated.eye == "OD", "its name says so"
    found = Looker(made, engine, method="grad_cam").explain(gated, answered(made, engine, gated), said="dr3")
    assert "the disc is on the side of the other eye" in found.reason
    assert (found.areas, found.evidence) == ((), ())


def test_a_scan_has_no_regions_and_its_picture() -> None:
    made = contract(modality="oct")
    engine = engine_of(made)
    gated = gated_of(draw_oct("drusen", seed=1, width_px=256, height_px=200).image.pixels, made)
    looker, answer = Looker(made, engine), answered(made, engine, gated)
    found = looker.explain(gated, answer, said="dr3")
    assert found.reason == "no fundus photograph: there is no disc and no fovea to find"
    assert (found.areas, found.evidence) == ((), ())
    picture = Image.open(io.BytesIO(looker.picture(gated, found, language="zh")))
    assert picture.width > 800


def test_what_was_not_graded_is_not_explained(plain: tuple[Contract, TorchEngine]) -> None:
    made, engine = plain
    gated = gated_of(np.zeros((128, 128, 3), np.uint8), made)
    assert not gated.graded
    looker, answer = Looker(made, engine), answered(made, engine, gated)
    assert looker(gated, answer) is None
    with pytest.raises(ValueError, match="was not graded"):
        looker.explain(gated, answer)
    with pytest.raises(ValueError, match="was not graded"):
        looker.picture(gated, None)  # type: ignore[arg-type]


def test_a_method_that_cannot_serve_is_refused(plain: tuple[Contract, TorchEngine]) -> None:
    with pytest.raises(ValueError, match="no method is called 'lime'"):
        Looker(*plain, method="lime")
    assert Looker(*plain).method == PREFERRED[0]


def test_cases_are_found_by_what_the_head_sees(plain: tuple[Contract, TorchEngine], photograph: np.ndarray) -> None:
    made, engine = plain
    gated = gated_of(photograph, made)
    answer = answered(made, engine, gated)
    from eyeground.data.preprocessing import normalize

    own = engine.features(normalize(list(gated.squares), made.preprocessing))
    cases = Cases(np.concatenate([-own, own]), ("normal", "dr3"), (), "00")
    found = Looker(made, engine, cases=cases).explain(gated, answer, count=1)
    assert [(case.label, round(case.similarity, 5), case.file) for case in found.similar] == [("dr3", 1.0, "")]
    other = Cases(np.ones((2, 3), np.float32), ("a", "b"), (), "00")
    with pytest.raises(ValueError, match="shape"):
        Looker(made, engine, cases=other).explain(gated, answer)


def test_the_head_that_finds_something_is_explained() -> None:
    made = contract(SCREENING)
    engine = engine_of(made)
    gated = gated_of(draw_fundus("dr3", seed=3, eye="OD", size_px=128).image.pixels, made)
    looker = Looker(made, engine, method="grad_cam")
    answer = answered(made, engine, gated)
    for amd, dr, expected in (("no", "0", ("AMD", 0)), ("no", "3", ("DR", 3)), ("yes", "3", ("AMD", 1))):
        said = Answer(gated, answer.scores, answer.columns | {"prediction_AMD": amd, "prediction_DR": dr})
        found = looker.explain(gated, said)
        assert (found.head.name, found.said) == expected
        found = looker.explain(gated, said, head="DR")
        assert (found.head.name, found.said) == ("DR", int(dr))
        found = looker.explain(gated, said, said="4")
        assert (found.head.name, found.said) == ("DR", 4)


def test_an_answer_names_its_head_or_is_refused() -> None:
    two = Task("heads", (Head("AMD"), Head("RVO"), Head("DR", "grades", ("0", "1"))))
    assert asked_head(two) is None
    found = asked_head(two, head="RVO", said="yes")
    assert found is not None
    assert found.name == "RVO"
    with pytest.raises(ValueError, match="AMD, RVO can all answer 'yes': choose a head"):
        asked_head(two, said="yes")
    with pytest.raises(ValueError, match=r"no head 'GLA': AMD, RVO, DR"):
        asked_head(two, head="GLA", said="yes")
    with pytest.raises(ValueError, match=r"no answer '7' \(AMD: no, yes; RVO: no, yes; DR: 0, 1\)"):
        asked_head(two, said="7")
    with pytest.raises(ValueError, match=r"no answer '1' \(ratio: a number\)"):
        asked_head(SCREENING, head="ratio", said="1")

"""What several processes, parted weights and other engines cannot have is refused in words."""

import pytest

from eyeground.model.frameworks import build_engine
from eyeground.model.optimization import Optimization
from eyeground.model.processes import ALONE, Alone
from eyeground.model.spec import ModelSpec
from eyeground.model.torch.feasible import check_together

STEPPING = Optimization(step_in_backward=True)


class Two(Alone):
    """One of two."""

    world = 2


class Parted(Two):
    """One of two that part the weights."""

    sharded = True


def test_all_that_cannot_be_is_said_at_once() -> None:
    with pytest.raises(ValueError, match="step_in_backward") as caught:
        check_together(Parted(), STEPPING, "fp16", thawing=True, compiled=False)
    for words in (
        "does not go with fp16",
        "is for one process",
        "strategy=fsdp does not go with fp16",
        "adapt=gradual",
    ):
        assert words in str(caught.value)


def test_what_can_be_is_let_pass() -> None:
    check_together(ALONE, STEPPING, "bf16", thawing=True, compiled=False)
    check_together(Two(), Optimization(), "fp16", thawing=True, compiled=False)
    check_together(Parted(), Optimization(), "bf16", thawing=False, compiled=False)
    check_together(Two(), None, "fp32", thawing=False, compiled=False)


@pytest.mark.parametrize("framework", ["paddle", "mindspore"])
def test_other_engines_say_in_one_sentence_what_they_do_not_offer(framework: str) -> None:
    spec = ModelSpec("vit_demo_patch8", classes=3, image_px=16)
    with pytest.raises(
        ValueError, match=f"engine={framework} does not offer several processes, step_in_backward, comp"
    ):
        build_engine(framework, spec, optimization=STEPPING, compiled=True, processes=Two())  # type: ignore[arg-type]

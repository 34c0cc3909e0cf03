"""Names and shapes without a network equal those of the network, and tell which one it is."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eyeground.model.architecture import Recognized, parameter_shapes, recognize
from eyeground.model.spec import VIT_SHAPES, MaeSpec, ModelSpec
from eyeground.model.torch.mae import MaskedAutoencoder
from eyeground.model.torch.vit import build_vit

Shapes = dict[str, tuple[int, ...]]


def of_network(spec: ModelSpec) -> Shapes:
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in build_vit(spec).state_dict().items()}


def small(**changed: object) -> Shapes:
    """A demo ViT with some tensors of another shape; None = without it."""
    shapes: dict[str, object] = parameter_shapes(ModelSpec("vit_demo_patch8", classes=3, image_px=32)) | changed  # type: ignore[assignment]
    return {name: shape for name, shape in shapes.items() if shape is not None}  # type: ignore[misc]


@pytest.mark.parametrize("pool", ["avg", "cls"])
@pytest.mark.parametrize("name", VIT_SHAPES)
def test_names_shapes_and_order_are_the_network_s(name: str, pool: str) -> None:
    spec = ModelSpec(name, classes=7, image_px=3 * VIT_SHAPES[name].patch_px, pool=pool)  # type: ignore[arg-type]
    assert list(parameter_shapes(spec).items()) == list(of_network(spec).items())
    assert recognize(parameter_shapes(spec)).spec() == spec


@pytest.mark.parametrize("value", [1e-5, None])
def test_layer_scale_by_an_option(value: float | None) -> None:
    spec = ModelSpec(
        "vit_small_patch14_dinov2", classes=2, image_px=28, options={"init_values": value, "drop_rate": 0.1}
    )
    assert parameter_shapes(spec) == of_network(spec)


def test_what_is_not_known_is_an_error() -> None:
    with pytest.raises(ValueError, match="not one of our ViT shapes"):
        parameter_shapes(ModelSpec("mobilenetv2_100", classes=2))
    with pytest.raises(ValueError, match="what reg_tokens does to shapes is not known"):
        parameter_shapes(ModelSpec("vit_demo_patch8", classes=2, image_px=32, options={"reg_tokens": 4}))


def test_retfound_has_the_published_numbers() -> None:
    shapes = parameter_shapes(ModelSpec("vit_large_patch16", classes=5))
    assert len(shapes) == 296
    assert sum(torch.Size(shape).numel() for shape in shapes.values()) == 303_306_757


def test_a_masked_autoencoder_with_and_without_its_decoder() -> None:
    with torch.device("meta"):
        state = MaskedAutoencoder(MaeSpec("vit_mini_patch16", image_px=64)).state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    whole = recognize(shapes)
    assert (whole.kind, whole.model, whole.image_px, whole.pool, whole.classes) == (
        "masked autoencoder", "vit_mini_patch16", 64, None, None
    )  # fmt: skip
    encoder = recognize({name: shape for name, shape in shapes.items() if not name.startswith(("decoder", "mask"))})
    assert (encoder.kind, encoder.model, encoder.decoder) == ("ViT encoder", "vit_mini_patch16", False)
    assert encoder.spec(classes=4) == ModelSpec("vit_mini_patch16", classes=4, image_px=64, pool="avg")
    with pytest.raises(ValueError, match="has no head"):
        encoder.spec()


def test_an_encoder_of_ours_that_ends_in_fc_norm() -> None:
    found = recognize(parameter_shapes(ModelSpec("vit_demo_patch8", classes=3, image_px=32), head=False))
    assert (found.kind, found.model, found.pool) == ("ViT encoder", "vit_demo_patch8", None)


def test_a_dinov2_teacher_with_heads_and_mask_token_beside_it() -> None:
    spec = ModelSpec("vit_base_patch14_dinov2", classes=2, image_px=518, pool="cls")
    beside = {"mask_token": (1, 768), "dino_head.mlp.0.weight": (9, 9), "ibot_head.last_layer.weight_v": (9, 9)}
    found = recognize(parameter_shapes(spec, head=False) | beside)
    assert (found.kind, found.model, found.image_px, found.layer_scale) == (
        "ViT encoder", "vit_base_patch14_dinov2", 518, True
    )  # fmt: skip
    assert found.spec(classes=2) == spec


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        ({}, "it lacks cls_token, pos_embed, patch_embed.proj.weight, blocks.0"),
        (small(cls_token=None), "it lacks cls_token"),
        (small(pos_embed=(1, 13, 96)), "its 13 positions are no square grid and a class token"),
        (small(pos_embed=(1, 16, 96)), "its 16 positions are no square grid"),
        (small(pos_embed=(17, 96)), "do not fit"),
        (small(**{"patch_embed.proj.weight": (96, 1, 8, 8)}), "patches have the shape (1, 8, 8)"),
        (small(**{"patch_embed.proj.weight": (96, 3, 8, 4)}), "patches have the shape (3, 8, 4)"),
        (small(**{"patch_embed.proj.weight": (96, 3, 16, 16)}), "none of our ViTs has patches of 16 px, width 96"),
        (small(**{"patch_embed.proj.weight": (96, 0, 8, 8)}), "do not fit"),
        (small(**{"blocks.9.norm1.weight": (96,)}), "depth 10, without layer scale"),
        (small(**{"blocks.0.ls1.gamma": (96,)}), "depth 4, with layer scale"),
        (small(**{"blocks.0.mlp.fc1.weight": (768, 96)}), "gated MLP (SwiGLU)"),
        (
            small(**{"blocks.0.attn.qkv.weight": (96, 288)}),
            "like vit_demo_patch8, but blocks.0.attn.qkv.weight is (96, 288), not (288, 96)",
        ),
        (small(**{"blocks.1.attn.qkv.bias": None}), "like vit_demo_patch8, but it lacks blocks.1.attn.qkv.bias"),
        (small(reg_token=(1, 4, 96)), "like vit_demo_patch8, but it has reg_token besides"),
        (small(**{"head.weight": (3,)}), "head.weight is (3,), not (1, 96)"),
        (small(**{"head.weight": (0, 96), "head.bias": (0,)}), "head.weight is (0, 96)"),
        (small(**{f"extra.{n}": (1,) for n in range(9)}), "extra.4 and 4 more besides"),
    ],
)
def test_what_is_none_of_ours_comes_with_a_reason(shapes: Shapes, reason: str) -> None:
    found = recognize(shapes)
    assert (found.kind, found.model) == ("not a ViT known here", "")
    assert reason in found.reason
    with pytest.raises(ValueError, match="not a ViT known here"):
        found.spec(classes=2)


NAMES = [
    "cls_token",
    "pos_embed",
    "patch_embed.proj.weight",
    "blocks.0.mlp.fc1.weight",
    "head.weight",
    "fc_norm.weight",
]
SIDES = st.lists(st.integers(0, 2**62), max_size=5)


@given(st.dictionaries(st.sampled_from(NAMES) | st.text(), SIDES))
def test_any_shapes_give_an_answer(shapes: dict[str, list[int]]) -> None:
    assert isinstance(recognize(shapes), Recognized)


@given(st.sampled_from(sorted(small())), SIDES)
def test_any_one_wrong_shape_is_noticed(name: str, shape: list[int]) -> None:
    found = recognize(small(**{name: tuple(shape)}))
    right = small()[name]
    same = tuple(shape) == right or (name == "pos_embed" and found.image_px)
    assert bool(found.model) == bool(same)

"""A vision transformer of two blocks in plain numpy, float64, one token at a time where that is clearer."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from timm.models.vision_transformer import VisionTransformer
from torch import nn

Array = NDArray[np.float64]
HEADS, PATCH_PX, SIDE_PX = 2, 8, 16


def small_vit(pool: str, *, seed: int = 0, registers: int = 0) -> VisionTransformer:
    """Two blocks over 2 x 2 patches, with weights large enough to attend unevenly."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vit = VisionTransformer(
            img_size=SIDE_PX, patch_size=PATCH_PX, embed_dim=8, depth=2, num_heads=HEADS, num_classes=3,
            global_pool=pool, fc_norm=False, reg_tokens=registers,
        )  # fmt: skip
        for parameter in vit.parameters():
            nn.init.normal_(parameter, std=0.9)
    return vit


def image(seed: int = 0, count: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, 3, SIDE_PX, SIDE_PX)).astype(np.float32)


class SlowVit:
    """The same network, written down again: it gives its attention, and lets one entry of it or of a token be moved."""

    def __init__(self, vit: VisionTransformer) -> None:
        self.weights: Mapping[str, Array] = {k: v.double().numpy() for k, v in vit.state_dict().items()}
        self.pool = vit.global_pool
        self.before = vit.num_prefix_tokens
        self.attention: list[Array] = []
        self.entered: list[Array] = []

    def __call__(self, pixels: NDArray[np.float32], moved: tuple[str, int, Any, float] | None = None) -> Array:
        """Logits (3,) of one image (3, H, W); ``moved`` is (what, block, index, by how much)."""
        w = self.weights
        self.attention, self.entered = [], []
        patches = []
        for top in range(0, SIDE_PX, PATCH_PX):
            for left in range(0, SIDE_PX, PATCH_PX):
                patch = pixels[:, top : top + PATCH_PX, left : left + PATCH_PX].astype(np.float64)
                patches.append((w["patch_embed.proj.weight"] * patch).sum(axis=(1, 2, 3)) + w["patch_embed.proj.bias"])
        before = [w["cls_token"][0], *([w["reg_token"][0]] if "reg_token" in w else [])]
        tokens = np.concatenate([*before, np.stack(patches)]) + w["pos_embed"][0]
        for block in range(2):
            tokens = tokens.copy()
            if moved and moved[:2] == ("token", block):
                tokens[moved[2]] += moved[3]
            self.entered.append(tokens)
            tokens = tokens + self._attend(tokens, block, moved)
            hidden = self._linear(self._norm(tokens, f"blocks.{block}.norm2"), f"blocks.{block}.mlp.fc1")
            hidden = hidden * 0.5 * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
            tokens = tokens + self._linear(hidden, f"blocks.{block}.mlp.fc2")
        tokens = self._norm(tokens, "norm")
        pooled = tokens[0] if self.pool == "token" else tokens[self.before :].mean(axis=0)
        return self._linear(pooled, "head")

    def _attend(self, tokens: Array, block: int, moved: tuple[str, int, Any, float] | None) -> Array:
        made = self._linear(self._norm(tokens, f"blocks.{block}.norm1"), f"blocks.{block}.attn.qkv")
        count, width = tokens.shape
        size = width // HEADS
        query, key, value = (made[:, part * width : (part + 1) * width] for part in range(3))
        maps = np.zeros((HEADS, count, count))
        for head in range(HEADS):
            span = slice(head * size, (head + 1) * size)
            for row in range(count):
                raised = np.exp([query[row, span] @ key[column, span] / math.sqrt(size) for column in range(count)])
                maps[head, row] = raised / raised.sum()
        if moved and moved[:2] == ("attention", block):
            maps[moved[2]] += moved[3]
        self.attention.append(maps)
        mixed = [maps[head] @ value[:, head * size : (head + 1) * size] for head in range(HEADS)]
        return self._linear(np.concatenate(mixed, axis=1), f"blocks.{block}.attn.proj")

    def _linear(self, given: Array, name: str) -> Array:
        return given @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _norm(self, given: Array, name: str) -> Array:
        mean, spread = given.mean(axis=-1, keepdims=True), given.var(axis=-1, keepdims=True)
        return (given - mean) / np.sqrt(spread + 1e-6) * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def slope(self, pixels: NDArray[np.float32], wanted: Array, what: str, block: int, shape: tuple[int, ...]) -> Array:
        """How the explained number changes with each entry: central differences."""
        found = np.zeros(shape)
        for index in np.ndindex(*shape):
            ends = [wanted @ self(pixels, (what, block, index, step)) for step in (1e-5, -1e-5)]
            found[index] = (ends[0] - ends[1]) / 2e-5
        return found

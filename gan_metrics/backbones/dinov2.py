"""DINOv2 for images of 224 × 224 pixels, as in its authors' code, built from timm's modules.

The published files contain 37 × 37 position embeddings, one for each patch of a 518 × 518 image.
DINOv2's code resamples them to the patches of the actual image in every pass; here this is done
once, when a file is loaded. timm resamples by another convention: see :func:`resample_table`.
"""

from __future__ import annotations

import re
from typing import Any

import timm
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

__all__ = ["adapt", "build", "resample_table"]

SIDE = 224
"""Height and width of the images, in pixels: 16 × 16 patches of 14 × 14."""

_GRID = SIDE // 14
"""Patches per side of the image."""

_PUBLISHED_GRID = 518 // 14
"""Patches per side of the images in training of the published files."""

_OFFSET = 0.1
"""Added by DINOv2's code to the number of patches per side before it computes the scale."""

_RENAMED = ((r"(blocks\.\d+\.mlp\.)w12\.", r"\1fc1."), (r"(blocks\.\d+\.mlp\.)w3\.", r"\1fc2."))
"""Published keys of the gated layers (only in ViT-g) and timm's."""


def build(model: str) -> nn.Module:
    """Return the network, newly initialized; its input is ``N × 3 × 224 × 224``, normalized.

    The layer scales start at 1, like torch hub's: with timm's 1e-5, random weights would give all
    images almost the same features.

    Args:
        model: ``vit_*_patch14_dinov2`` in timm.
    """
    options: dict[str, Any] = {"img_size": SIDE, "num_classes": 0, "init_values": 1.0}
    network: nn.Module = timm.create_model(model, pretrained=False, **options)
    return network


def adapt(
    state: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], model: str = ""
) -> dict[str, torch.Tensor]:
    """Convert the keys of the published file, or timm's, to those of :func:`build`.

    The mask token, used only in training, is dropped. A table of 37 × 37 position embeddings is
    resampled, one of 16 × 16 is unchanged, and any other is left for the caller to refuse.

    Args:
        state: State dict of the file.
        expected: State dict of the network.
        model: Not used.
    """
    del model
    found = {_renamed(key): value for key, value in state.items() if key != "mask_token"}
    table, width = found.get("pos_embed"), expected["pos_embed"].shape[-1]
    if table is not None and table.shape == (1, 1 + _PUBLISHED_GRID**2, width):
        found["pos_embed"] = resample_table(table)
    return found


def resample_table(table: torch.Tensor) -> torch.Tensor:
    """Resample position embeddings for 37 × 37 patches to 16 × 16 like DINOv2's code.

    Bicubic (Keys' kernel, a = −0.75), without antialiasing, in float32. Patch i of an axis is read
    at position (i + ½) / s − ½ of the table, with s = (16 + 0.1) / 37: DINOv2's code adds 0.1 so
    that rounding never loses a patch, and passes s to ``interpolate``, which computes its positions
    from it. So the last patch is read a fifth of a position before the one of 16 / 37. The
    embedding of the class token is unchanged.

    Source: ``interpolate_pos_encoding`` in https://github.com/facebookresearch/dinov2, with the
    ``interpolate_offset`` 0.1 and no ``interpolate_antialias`` of the models without registers.

    Args:
        table: ``1 × 1370 × D``; the class token's first, then the patches row by row.

    Returns:
        ``float32``, ``1 × 257 × D``, in the same order.
    """
    token, patches = table[:, :1].float(), table[:, 1:].float()
    maps = patches.reshape(1, _PUBLISHED_GRID, _PUBLISHED_GRID, -1).permute(0, 3, 1, 2)
    scale = (_GRID + _OFFSET) / _PUBLISHED_GRID
    maps = F.interpolate(maps, scale_factor=(scale, scale), mode="bicubic")
    return torch.cat((token, maps.flatten(2).transpose(1, 2)), dim=1)


def _renamed(key: str) -> str:
    for published, ours in _RENAMED:
        key = re.sub(f"^{published}", ours, key)
    return key

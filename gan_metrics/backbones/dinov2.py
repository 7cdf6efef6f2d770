"""DINOv2 as its authors' own code runs it on images of 224 × 224 pixels, in timm's modules.

The published files hold one position embedding for each patch of a 518 × 518 image, 37 × 37 of
them. DINOv2's code resamples them to the patches of the image at hand in every pass; here that is
done once, when a file is loaded. timm resamples by another convention: see :func:`resample_table`.
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
"""Patches along a side of the image."""

_PUBLISHED_GRID = 518 // 14
"""Patches along a side of the images that the published files were trained for."""

_OFFSET = 0.1
"""What DINOv2's code adds to the patches along a side before it divides by those of the table."""

_RENAMED = ((r"(blocks\.\d+\.mlp\.)w12\.", r"\1fc1."), (r"(blocks\.\d+\.mlp\.)w3\.", r"\1fc2."))
"""From the published keys of the gated layers (ViT-g alone has them) to timm's."""


def build(model: str) -> nn.Module:
    """The network, freshly initialised; its input is ``N × 3 × 224 × 224``, normalised.

    The layer scales begin at 1, as torch hub's do: at timm's 1e-5, random weights would tell no
    two images apart.

    Args:
        model: ``vit_*_patch14_dinov2`` in timm.
    """
    options: dict[str, Any] = {"img_size": SIDE, "num_classes": 0, "init_values": 1.0}
    network: nn.Module = timm.create_model(model, pretrained=False, **options)
    return network


def adapt(
    state: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], model: str = ""
) -> dict[str, torch.Tensor]:
    """From the published file's keys, or timm's, to those of :func:`build`.

    The mask token, which only training uses, is left out. A table of 37 × 37 position embeddings
    is resampled; one of 16 × 16 stays as it is; any other is left for the caller to refuse.

    Args:
        state: What the file holds.
        expected: What the network holds.
        model: Not used.
    """
    del model
    found = {_renamed(key): value for key, value in state.items() if key != "mask_token"}
    table, width = found.get("pos_embed"), expected["pos_embed"].shape[-1]
    if table is not None and table.shape == (1, 1 + _PUBLISHED_GRID**2, width):
        found["pos_embed"] = resample_table(table)
    return found


def resample_table(table: torch.Tensor) -> torch.Tensor:
    """Position embeddings for 37 × 37 patches, resampled to 16 × 16 as DINOv2's code does it.

    Bicubic (Keys' kernel, a = −0.75), without antialiasing, in float32. Patch i of an axis is read
    at place (i + ½) / s − ½ of the table, where s = (16 + 0.1) / 37: DINOv2's code adds 0.1 so that
    rounding never loses a patch, and hands s to ``interpolate``, which takes its places from it.
    The last patch is so read a fifth of a place before where 16 / 37 would put it. The embedding
    of the class token stays as it is.

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

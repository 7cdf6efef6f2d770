"""Fold BatchNorm into the preceding convolution: the same function with fewer memory passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx, nn

from gan_metrics.backbones.recipe import INPUT

__all__ = ["fold_batchnorm", "touches"]

_Conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_BatchNorm = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class _Tracer(fx.Tracer):
    """Traces into every module except convolutions, normalizations and those without children."""

    def is_leaf_module(self, module: nn.Module, _name: str) -> bool:
        return isinstance(module, _Conv + _BatchNorm) or not any(module.children())


def touches(path: str, conv: str, norm: str) -> bool:
    """Whether a cut is between a convolution and its normalization, or inside the pair.

    Such a cut is the output of a module that contains the convolution but not the normalization, or
    the input of a module that contains the normalization but not the convolution.
    """
    module = path.removesuffix(INPUT)
    if module.startswith(f"{norm}."):
        return True
    inner, outer = (norm, conv) if path.endswith(INPUT) else (conv, norm)
    return _holds(module, inner) and not _holds(module, outer)


def _holds(module: str, part: str) -> bool:
    return module in ("", part) or part.startswith(f"{module}.")


def fold_batchnorm(module: nn.Module, keep: Sequence[str] = ()) -> set[tuple[str, str]]:
    """Fold, in place, each BatchNorm that is the only consumer of a convolution's output.

    In eval mode BatchNorm multiplies each channel by γ/√(σ²+ε) and adds β − μγ/√(σ²+ε). Both are
    multiplied into the convolution's weight and bias in float64. The normalization's module then
    returns its input (after its activation, for timm's ``BatchNormAct2d``).

    Args:
        module: A module in eval mode.
        keep: Cuts whose outputs must not change.

    Returns:
        Pairs of the names of a convolution, whose output is now the normalized one, and of its
        normalization, which passes it on. Empty if the forward pass of the module cannot be traced;
        the module is then unchanged.
    """
    try:
        graph = _Tracer().trace(module)
    except Exception:  # such as data-dependent control flow: fold nothing
        return set()
    modules = dict(module.named_modules())
    calls = [str(node.target) for node in graph.nodes if node.op == "call_module"]
    folded = set()
    for node in graph.nodes:
        if node.op != "call_module" or not isinstance(modules[str(node.target)], _BatchNorm):
            continue
        source = node.args[0] if node.args else None
        if not isinstance(source, fx.Node) or source.op != "call_module":
            continue
        conv, norm = modules[str(source.target)], modules[str(node.target)]
        once = all(calls.count(str(n.target)) == 1 for n in (node, source))
        alone = once and len(source.users) == 1 and norm.running_var is not None
        pair = (str(source.target), str(node.target))
        plain = _is_plain(conv, _CONVOLUTIONS) and _is_plain(norm, _NORMS)
        if plain and alone and not any(touches(path, *pair) for path in keep):
            _fold(conv, norm)
            _replace(module, pair[1], norm)
            folded.add(pair)
    return folded


_CONVOLUTIONS = {kind.forward for kind in _Conv}
_NORMS = {kind.forward for kind in _BatchNorm}
_OF_TIMM = {"Conv2dSame", "BatchNormAct2d"}
"""Subclasses that use their weights like torch's classes, with padding or activation added."""


def _is_plain(module: Any, forwards: set[Any]) -> bool:
    """Whether a module computes what torch's class computes from its visible weights."""
    kind = type(module)
    known = getattr(kind, "forward", None) in forwards or (
        kind.__name__ in _OF_TIMM and kind.__module__.startswith("timm.")
    )
    return (
        known
        and not module._forward_hooks
        and not module._forward_pre_hooks
        and not hasattr(module, "parametrizations")
        and ("weight" in module._parameters)
    )


@torch.no_grad()
def _fold(conv: Any, norm: Any) -> None:
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale *= norm.weight.double()
    shift = -norm.running_mean.double() * scale
    if norm.bias is not None:
        shift += norm.bias.double()
    if conv.bias is not None:
        shift += conv.bias.double() * scale
    shape = (-1,) + (1,) * (conv.weight.ndim - 1)
    dtype = conv.weight.dtype
    conv.weight = nn.Parameter((conv.weight.double() * scale.view(shape)).to(dtype))
    conv.bias = nn.Parameter(shift.to(dtype))


def _replace(root: nn.Module, name: str, norm: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    activation = getattr(norm, "act", None)
    setattr(root.get_submodule(parent), child, activation or nn.Identity())

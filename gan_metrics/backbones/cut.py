"""Cut any module at named layers: one pass, stopped after the last of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from gan_metrics.errors import UsageError, unknown_name

__all__ = ["pool_output", "run_until"]


class _AllSeenError(Exception):
    """Leaves the forward pass once every layer that is wanted has been seen."""


def run_until(
    module: nn.Module, inputs: torch.Tensor, layers: Sequence[str]
) -> dict[str, torch.Tensor]:
    """The outputs of some layers, from one forward pass that goes no further than it must.

    Args:
        module: Any module.
        inputs: Its input.
        layers: Dotted names of submodules. Of one that runs several times, the first run counts.

    Returns:
        Name to output, in the order asked for.

    Raises:
        UsageError: For a name that is no submodule or did not run, or an output that is no tensor.
    """
    modules = dict(module.named_modules())
    seen: dict[str, torch.Tensor] = {}
    handles = []

    def hook_for(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if not isinstance(output, torch.Tensor):
                raise UsageError(
                    f"layer {name!r} gives {type(output).__name__}, not a tensor; cut elsewhere"
                )
            if name in seen:
                return
            last = len(seen) + 1 == len(set(layers))
            # What runs after this layer may overwrite its output in place.
            seen[name] = output if last else output.clone()
            if last:
                raise _AllSeenError

        return hook

    try:
        for name in dict.fromkeys(layers):
            if name not in modules or not name:
                raise unknown_name("layer", name, filter(None, modules))
            handles.append(modules[name].register_forward_hook(hook_for(name)))
        module(inputs)
    except _AllSeenError:
        pass
    finally:
        for handle in handles:
            handle.remove()
    if missing := [name for name in layers if name not in seen]:
        raise UsageError(f"the forward pass does not go through {', '.join(missing)}")
    return {name: seen[name] for name in layers}


def pool_output(output: torch.Tensor, pool: str) -> torch.Tensor:
    """Turn a layer's output into vectors.

    Args:
        output: ``N × C × H × W`` (a map), ``N × T × C`` (tokens) or ``N × C`` (vectors).
        pool: ``"avg"`` or ``"max"`` over places or tokens; ``"cls"``: the first token;
            ``"flatten"``; ``"none"``: as it is.

    Returns:
        ``N × D``, or the output's own shape for ``"none"``.

    Raises:
        UsageError: When the output has no places or tokens to pool over.
    """
    if pool == "none":
        return output
    if pool == "flatten":
        return output.flatten(1)
    if pool == "cls" and output.ndim == 3:
        return output[:, 0]
    if pool in ("avg", "max") and output.ndim in (3, 4):
        axes = (1,) if output.ndim == 3 else (2, 3)
        return output.mean(axes) if pool == "avg" else output.amax(axes)
    shape = "×".join(["N", *map(str, output.shape[1:])])
    raise UsageError(
        f"pool {pool!r} does not apply to a layer of shape {shape}; try none or flatten"
    )

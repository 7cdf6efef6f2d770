"""Cut any module at named layers: one forward pass, stopped after the last of them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from gan_metrics.backbones.recipe import INPUT, Layer
from gan_metrics.errors import UsageError, unknown_name

__all__ = ["CutPoint", "cut_points", "pool_output", "run_until"]


class _AllSeenError(Exception):
    """Raised to stop the forward pass after the last requested layer."""


def run_until(
    module: nn.Module, inputs: torch.Tensor, layers: Sequence[str]
) -> dict[str, torch.Tensor]:
    """Return the outputs of some layers from one forward pass, stopped as early as possible.

    Args:
        module: Any module.
        inputs: Its input.
        layers: Dotted names of submodules; with ``:in`` at the end, the input of the submodule;
            ``""``: the module's own output. If a module runs several times, the first run counts.

    Returns:
        Outputs by name, in the requested order.

    Raises:
        UsageError: If a name is not a submodule or did not run, or an output is not a tensor or
            has another first axis than the input.
    """
    modules = dict(module.named_modules())
    seen: dict[str, torch.Tensor] = {}
    handles = []

    def keep(name: str, value: object) -> None:
        if not isinstance(value, torch.Tensor):
            where = f"layer {name!r}" if name else "the network"
            raise UsageError(
                f"{where} returns {type(value).__name__}, not a tensor; choose another layer"
            )
        if value.is_complex():
            raise UsageError(f"layer {name!r} returns complex numbers; features must be real")
        if value.ndim < 2 or value.shape[0] != inputs.shape[0]:
            raise UsageError(
                f"layer {name!r} returns {tuple(value.shape)} for {inputs.shape[0]} images, so its "
                "first axis does not count images; choose another layer"
            )
        if name in seen:
            return
        last = len(seen) + 1 == len(set(layers))
        # Modules after this layer may overwrite its output in place.
        seen[name] = value if last else value.clone()
        if last:
            raise _AllSeenError

    try:
        for name in dict.fromkeys(layers):
            path = name.removesuffix(INPUT)
            if path not in modules:
                raise unknown_name("layer", name, filter(None, modules))
            handles.append(_register(modules[path], name, keep))
        with _plain_transformers():
            module(inputs)
    except _AllSeenError:
        pass
    finally:
        for handle in handles:
            handle.remove()
    if missing := [name for name in layers if name not in seen]:
        raise UsageError(f"the forward pass does not run {', '.join(missing)}")
    return {name: seen[name] for name in layers}


def _register(module: nn.Module, name: str, keep: Callable[[str, Any], None]) -> RemovableHandle:
    if name.endswith(INPUT):
        return module.register_forward_pre_hook(
            lambda _, inputs: keep(name, inputs[0] if inputs else None)
        )
    return module.register_forward_hook(lambda _module, _inputs, output: keep(name, output))


@contextlib.contextmanager
def _plain_transformers() -> Iterator[None]:
    """Turn off torch's fused encoder layers, which never call the modules inside them."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@dataclass(frozen=True)
class CutPoint:
    """A module that runs in a forward pass.

    Attributes:
        path: Its dotted name; empty for the network itself.
        kind: Its class.
        shape: Shape of its output for one image, without the batch; empty if not a tensor.
        input_shape: Shape of its input, likewise.
        parameters: Number of parameters of all modules run so far, including itself.
    """

    path: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    input_shape: tuple[int, ...] = ()

    @property
    def layout(self) -> str:
        """``"NHWC"`` for a map whose last axis differs from two equal ones, else ``"NCHW"``."""
        square = len(self.shape) == 3 and self.shape[0] == self.shape[1] != self.shape[2]
        return "NHWC" if square else "NCHW"

    @property
    def pool(self) -> str:
        """Default pooling of the output.

        Maps are averaged over positions. If the number of tokens is a square number plus one, the
        first is assumed to be the class token; other tokens are averaged.
        """
        if len(self.shape) == 3:
            return "avg"
        if len(self.shape) == 2:
            tokens = self.shape[0]
            grid = math.isqrt(tokens - 1) ** 2 == tokens - 1 and tokens > 2
            return "cls" if grid else "avg"
        return "none"


def cut_points(module: nn.Module, size: int, device: str = "meta") -> list[CutPoint]:
    """Return every module of a forward pass, in the order in which they finish.

    Args:
        module: A network in eval mode.
        size: Height and width of its input, in pixels.
        device: Device of the network; on ``"meta"`` only shapes are computed.
    """
    points: dict[str, CutPoint] = {}
    names = {m: name for name, m in module.named_modules()}
    counted: set[int] = set()
    total = 0

    def count(owner: nn.Module) -> None:
        nonlocal total
        for parameter in owner.parameters(recurse=False):
            if id(parameter) not in counted:
                counted.add(id(parameter))
                total += parameter.numel()

    def shape(value: object) -> tuple[int, ...]:
        return tuple(value.shape[1:]) if isinstance(value, torch.Tensor) else ()

    def hook(owner: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        for part in owner.modules():
            count(part)
        taken = inputs[0] if inputs else None
        point = CutPoint(names[owner], type(owner).__name__, shape(output), total, shape(taken))
        points.setdefault(point.path, point)  # the first run counts

    handles = [m.register_forward_hook(hook) for m in names]
    try:
        with torch.inference_mode(), _plain_transformers():
            module(torch.empty(1, 3, size, size, device=device))
    finally:
        for handle in handles:
            handle.remove()
    return list(points.values())


def pool_output(output: torch.Tensor, cut: Layer) -> torch.Tensor:
    """Turn a layer's output into vectors.

    Args:
        output: ``N × C × H × W`` (a map), ``N × T × C`` (tokens) or ``N × C`` (vectors).
        cut: ``pool``: ``"avg"`` or ``"max"`` over positions or tokens; ``"cls"``: the first token;
            ``"flatten"``; ``"none"``: unchanged. ``layout``: ``"NHWC"`` for a map with its channels
            last. ``channels``: of a map, only this many first channels, put last; 0: all.

    Returns:
        ``N × D``, or the output's own shape for ``"none"``.

    Raises:
        UsageError: If the output has no positions or tokens to pool over.
    """
    pool, layout = cut.pool, cut.layout
    if cut.channels:
        first = output[:, : cut.channels] if layout == "NCHW" else output[..., : cut.channels]
        output, layout = (first.permute(0, 2, 3, 1) if layout == "NCHW" else first), "NHWC"
    if pool == "none":
        return output
    if pool == "flatten":
        return output.flatten(1)
    if pool == "cls" and output.ndim == 3:
        return output[:, 0]
    if pool in ("avg", "max") and output.ndim in (3, 4):
        axes = (1,) if output.ndim == 3 else (1, 2) if layout == "NHWC" else (2, 3)
        return output.mean(axes) if pool == "avg" else output.amax(axes)
    shape = "×".join(["N", *map(str, output.shape[1:])])
    raise UsageError(
        f"pool {pool!r} does not apply to a layer of shape {shape}; try none or flatten"
    )

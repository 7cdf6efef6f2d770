"""Build a network from a recipe and load its weights."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from gan_metrics.backbones.cut import CutPoint, cut_points, run_until
from gan_metrics.backbones.recipe import INPUT, FeatureSpace, Recipe
from gan_metrics.errors import UsageError, WeightsError, unknown_name
from gan_metrics.utils.imports import import_object
from gan_metrics.utils.stdout import prints_to_stderr
from gan_metrics.utils.tf32 import float32_default

__all__ = ["build_network", "find_cut", "list_cuts", "read_state_dict", "skeleton"]

_T = TypeVar("_T")


def build_network(choice: FeatureSpace) -> nn.Module:
    """Return the network of a feature space with its weights, on the CPU, in eval mode.

    Raises:
        WeightsError: If the weights do not match the network.
    """
    recipe = choice.recipe
    with _defaults_of(recipe):
        if choice.weights is None:
            module = _build(recipe)
        elif isinstance(choice.weights, Path):
            module = _loaded(recipe, choice.weights)
        else:
            module = _build(recipe, choice.seed)
    return module.eval()


def _defaults_of(recipe: Recipe) -> AbstractContextManager[None]:
    """Return a context in which built-in networks are float32; custom ones use torch's default."""
    return float32_default(recipe.weights is not None)


def skeleton(recipe: Recipe) -> nn.Module:
    """Return the network on the meta device, in eval mode: modules and shapes without values."""
    with _defaults_of(recipe):
        try:
            with torch.device("meta"):
                return _build(recipe).eval().to("meta")
        except (NotImplementedError, RuntimeError):  # its constructor computes with values
            return _build(recipe).eval().to("meta")


def list_cuts(recipe: Recipe) -> list[CutPoint]:
    """Return every module of a forward pass, in order; see :func:`~cut.cut_points`.

    Raises:
        UsageError: If the network cannot process images of the size in its recipe.
    """
    try:
        with _defaults_of(recipe):
            return cut_points(skeleton(recipe), recipe.input_size)
    except UsageError:
        raise
    except (Exception, SystemExit):  # the forward pass depends on values
        points: list[CutPoint] = _guarded(
            recipe, lambda: cut_points(_build(recipe).eval(), recipe.input_size, "cpu")
        )
        return points


def find_cut(recipe: Recipe, path: str) -> tuple[str, str]:
    """Return the default pooling and the layout of a cut, from the shape of its output.

    Args:
        recipe: The backbone.
        path: Path of a module; with ``:in`` at the end, its input; ``""``: the output.

    Raises:
        UsageError: If the module does not exist, is not executed, does not return a tensor, or the
            network cannot process images of the size in its recipe.
    """
    module = skeleton(recipe)
    modules = dict(module.named_modules())
    if path.removesuffix(INPUT) not in modules:
        known = {*recipe.layers, *recipe.aliases, *filter(None, modules)}
        raise unknown_name(f"layer of {recipe.name}", path, known)
    size = recipe.input_size

    def run(network: nn.Module, device: str) -> torch.Tensor:
        with (
            torch.inference_mode(),
            prints_to_stderr(),
            _defaults_of(recipe),
        ):  # two images, to identify the batch axis
            return run_until(network, torch.zeros(2, 3, size, size, device=device), [path])[path]

    try:
        output = run(module, "meta")
    except UsageError:
        raise
    except (Exception, SystemExit):  # the forward pass depends on values
        output = _guarded(recipe, lambda: run(_build(recipe).eval(), "cpu"))
    point = CutPoint(path, "", tuple(output.shape[1:]), 0)
    return point.pool, point.layout


def _guarded(recipe: Recipe, run: Callable[[], _T]) -> _T:
    try:
        return run()
    except UsageError:
        raise
    except (Exception, SystemExit) as error:  # custom networks may raise anything
        size = recipe.input_size
        raise UsageError(
            f"{recipe.name} fails on a blank image of {size}×{size} ({type(error).__name__}: "
            f"{error}); a custom network defines its input by its attribute 'preprocess'"
        ) from error


def _build(recipe: Recipe, seed: int = 0) -> nn.Module:
    """Return the network, initialized from a seed; the caller's random state is unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # not the GPUs' generators
        build: Any = recipe.build
        module: nn.Module = (
            import_object(build)(recipe.model) if isinstance(build, str) else build()
        )
        return module


def _loaded(recipe: Recipe, path: Path) -> nn.Module:
    found = read_state_dict(path)
    try:
        with torch.device("meta"):  # do not initialize weights that are replaced
            module = _build(recipe)
    except (NotImplementedError, RuntimeError):
        module = _build(recipe)
    _load(recipe, path, module, found)
    if any(tensor.is_meta for tensor in _tensors(module)):  # computed buffers, not in the file
        module = _build(recipe)
        _load(recipe, path, module, found)
    return module


def _load(recipe: Recipe, path: Path, module: nn.Module, found: dict[str, torch.Tensor]) -> None:
    expected = module.state_dict()
    adapted = found
    if recipe.adapt:
        with torch.random.fork_rng(devices=[]):
            adapted = import_object(recipe.adapt)(found, expected, recipe.model)
    state = OrderedDict(
        (key, value.to(expected[key].dtype) if key in expected else value)
        for key, value in adapted.items()
    )
    counters = {key for key in expected if key.endswith("num_batches_tracked")}
    state |= {key: torch.tensor(0) for key in counters - set(state)}
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in expected
        if key in state and state[key].shape != expected[key].shape
    ]
    loadable = (
        state if not shapes else OrderedDict((k, v) for k, v in state.items() if k not in expected)
    )  # only to report the others
    # Layout versions, by which some modules recognize and convert older files.
    versions = getattr(found, "_metadata", None) or getattr(expected, "_metadata", None)
    loadable._metadata = versions  # type: ignore[attr-defined]
    result = module.load_state_dict(loadable, strict=False, assign=True)
    missing = sorted(set(result.missing_keys) - set(state))
    if missing or result.unexpected_keys or shapes:
        raise WeightsError(
            f"{path} does not match {recipe.name}: "
            f"{_some('missing', missing)}; {_some('unexpected', sorted(result.unexpected_keys))}; "
            f"{_some('of another shape', shapes)}"
        )


def _tensors(module: nn.Module) -> Iterator[torch.Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Read weights without executing code from the file.

    Raises:
        WeightsError: If the file is not a state dict, or contains pickled objects.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(os.fspath(path))
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise WeightsError(
            f"{path} is not a plain state dict: it is damaged, or contains pickled objects, which "
            "are never loaded. Save it again with torch.save(model.state_dict(), path)"
        ) from None
    except Exception as error:
        reason = (str(error) or "?").splitlines()[0]
        raise WeightsError(
            f"{path} is not a weights file: expected a state dict from torch.save or safetensors "
            f"({type(error).__name__}: {reason})"
        ) from None
    for wrapper in ("state_dict", "model", "encoder"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not all(
        isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in state.items()
    ):
        raise WeightsError(f"{path} contains {type(state).__name__}, not a state dict of tensors")
    for key, value in state.items():
        if value.is_meta or value.layout != torch.strided or value.is_complex():
            raise WeightsError(
                f"{path}: {key} is {value.dtype}, {value.layout}, on {value.device}; expected a "
                "plain tensor of real numbers"
            )
    if state and all(key.startswith("module.") for key in state):  # saved from DataParallel
        return {key.removeprefix("module."): value for key, value in state.items()}
    return state


def _some(kind: str, items: Sequence[str]) -> str:
    if not items:
        return f"none {kind}"
    more = f" and {len(items) - 3} more" if len(items) > 3 else ""
    return f"{len(items)} {kind} ({', '.join(items[:3])}{more})"

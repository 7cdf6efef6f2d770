"""A network on a device, cut at a layer: the callable that computes features."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from gan_metrics.backbones.bn_folding import fold_batchnorm, touches
from gan_metrics.backbones.build import build_network
from gan_metrics.backbones.cut import pool_output, run_until
from gan_metrics.backbones.engines import ENGINES
from gan_metrics.backbones.int8 import quantize_linear
from gan_metrics.backbones.layers import cut_of
from gan_metrics.errors import InputError, UsageError, failed_device
from gan_metrics.images import preprocess
from gan_metrics.utils.stdout import prints_to_stderr
from gan_metrics.utils.tf32 import float32_default, tf32

if TYPE_CHECKING:
    from gan_metrics.backbones.recipe import FeatureSpace, Layer
    from gan_metrics.protocols.spec import FeatureSpec, Preprocess

__all__ = ["Backbone", "pick_device"]

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}

_PIXELS_AT_ONCE = 1 << 24
"""Source pixels of one size that are preprocessed at a time; limits the memory."""

_Compiled = Callable[[torch.Tensor], dict[str, torch.Tensor]]
"""A function from inputs to the outputs of layers, by name."""


class Backbone:
    """A network that maps ``uint8`` images to ``float32`` features.

    It has three methods: calling it returns the features at its own layer; :meth:`outputs` reads
    several layers in one pass; :meth:`differentiable` accepts float images and keeps gradients.

    Args:
        choice: The feature space; see :func:`~gan_metrics.backbones.registry.choose_backbone`.
        device: ``"auto"`` (the first GPU, else the CPU), ``"cpu"``, ``"cuda[:i]"``, ``"mps"``.
        engine: A key of :data:`~gan_metrics.backbones.engines.ENGINES`.

    Attributes:
        choice: The feature space.
        device: Device of the network.
        module: The network in eval mode, with BatchNorm folded into convolutions if the precision
            allows it.

    Raises:
        UsageError: If the device, the precision or the engine is unavailable.
        WeightsError: If the weights do not match the network.
    """

    def __init__(
        self, choice: FeatureSpace, device: str | torch.device = "auto", engine: str = "local"
    ) -> None:
        self.choice = choice
        self.device = pick_device(device)
        _check_precision(str(choice.spec.precision), self.device)
        known = ENGINES.find(engine)
        if check := known.load("check"):
            check(choice, self.device)
        self._compile = known.load("compile")
        # channels_last is faster, except on GPUs without tensor cores. A custom network may depend
        # on the plain layout, for example by view().
        self._own = choice.recipe.weights is None
        self._channels_last = not self._own and (
            self.device.type != "cuda" or choice.spec.precision != "fp32"
        )
        self._folded: set[tuple[str, str]] = set()
        self._compiled: dict[tuple[Any, ...], _Compiled] = {}
        self._cuts = {choice.layer.path}
        self.module = self._built()

    @property
    def spec(self) -> FeatureSpec:
        """The feature space of the features."""
        return self.choice.spec

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features of images of equal size.

        Args:
            images: ``uint8``, ``N × 3 × H × W``, RGB, 0–255, on any device.

        Returns:
            ``float32``, ``N × D``, on the network's device.

        Raises:
            InputError: If the dtype or the shape is wrong.
        """
        return self.embed([images])

    def embed(self, groups: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the features of images of several sizes (one tensor each) in one forward pass."""
        return self.read(groups, [self.choice])[0]

    @torch.inference_mode()
    def read(
        self, groups: Sequence[torch.Tensor], spaces: Sequence[FeatureSpace]
    ) -> list[torch.Tensor]:
        """Return features in several spaces of this network from one forward pass.

        Args:
            groups: As for :meth:`embed`.
            spaces: Feature spaces with layers of this network.

        Returns:
            ``float32`` features in each space.
        """
        inputs = [self._prepare(group) for group in groups]
        if len({tuple(part.shape[1:]) for part in inputs}) > 1:
            raise UsageError(
                f"{self.spec.backbone} does not resize images, but they have several sizes; its "
                "preprocess must resize or crop them to one size"
            )
        cuts = [replace(space.layer, pool=str(space.spec.pool)) for space in spaces]
        return self._pooled(torch.cat(inputs), cuts)

    @torch.inference_mode()
    def outputs(self, images: torch.Tensor, layers: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return several layers from one forward pass, each with its default pooling.

        Args:
            images: As for a call.
            layers: Short names, aliases, or dotted names of modules.

        Returns:
            ``float32`` features by the given names.

        Raises:
            UsageError: For a layer that the backbone does not have.
        """
        cuts = [self._cut(given) for given in layers]
        return dict(zip(layers, self._pooled(self._prepare(images), cuts), strict=True))

    def differentiable(self, images: torch.Tensor) -> torch.Tensor:
        """Return features with gradients back to the pixels, for losses and attribution.

        The backward pass runs later and uses the caller's TF32 settings.

        Args:
            images: Floating point, ``N × 3 × H × W``, RGB, 0–255.

        Returns:
            ``float32``, ``N × D``.

        Raises:
            InputError: If the dtype or the shape is wrong.
        """
        if not images.is_floating_point():
            raise InputError(f"gradients need floating-point images in 0–255, not {images.dtype}")
        with self._arithmetic("fp32"):
            inputs = preprocess.apply(images.to(self.device), self._preprocess)
        return self._pooled(inputs, [replace(self.choice.layer, pool=str(self.spec.pool))])[0]

    @property
    def _preprocess(self) -> Preprocess:
        return cast("Preprocess", self.spec.preprocess)

    def _prepare(self, images: torch.Tensor) -> torch.Tensor:
        if images.dtype != torch.uint8:
            raise InputError(
                f"images must be uint8 in 0–255, not {images.dtype}; convert them, or use "
                "backbone.differentiable for floating point"
            )
        if images.ndim != 4:
            return preprocess.apply(images, self._preprocess)  # raises the error
        images = images.to(self.device)
        rows = max(1, _PIXELS_AT_ONCE // max(images.shape[2] * images.shape[3], 1))
        with torch.no_grad(), self._arithmetic("fp32"):
            return torch.cat(
                [preprocess.apply(part, self._preprocess) for part in torch.split(images, rows)]
            )

    def _cut(self, name: str) -> Layer:
        """Return a cut by its name; the backbone's own layer has the chosen pooling."""
        name, cut = cut_of(self.choice.recipe, name)
        own = name == self.spec.layer
        return replace(cut, pool=str(self.spec.pool)) if own else cut

    def _pooled(self, inputs: torch.Tensor, cuts: Sequence[Layer]) -> list[torch.Tensor]:
        """Return the cuts' outputs as vectors; rebuild the network if a cut was folded away."""
        paths = [cut.path for cut in cuts]
        if self.spec.precision == "int8":
            for path in {*paths} - self._cuts:  # raises if int8 does not apply
                quantize_linear(build_network(self.choice), self.choice.recipe.input_size, path)
                self._cuts.add(path)
        if any(touches(path, *pair) for path in paths for pair in self._folded):
            self._cuts.update(paths)
            self.module = self._built()
            self._compiled.clear()
        raw = self._raw(inputs, paths)
        return [pool_output(raw[cut.path].float(), cut) for cut in cuts]

    def _raw(self, inputs: torch.Tensor, paths: Sequence[str]) -> dict[str, torch.Tensor]:
        if self._compile is not None and torch.is_inference_mode_enabled():
            return self._compiled_for(paths, inputs)(inputs)
        layout = torch.channels_last if self._channels_last else torch.contiguous_format
        inputs = inputs.contiguous(memory_format=layout)
        # Dynamic quantization scales its whole input, so images run one by one.
        parts = torch.split(inputs, 1) if self.spec.precision == "int8" else [inputs]
        try:
            with self._surroundings():
                found = [run_until(self.module, part, list(paths)) for part in parts]
            if len(found) == 1:
                return found[0]
            return {path: torch.cat([part[path] for part in found]) for path in found[0]}
        except (Exception, SystemExit) as error:
            height, width = inputs.shape[2:]
            as_meant = not self._own and height == width == self.choice.recipe.input_size
            memory = isinstance(error, torch.OutOfMemoryError | MemoryError) or (
                "alloc" in str(error)
            )
            if as_meant or memory or failed_device(error) or isinstance(error, UsageError):
                raise
            raise UsageError(
                f"{self.spec.backbone} fails on images of {height}×{width} "
                f"({type(error).__name__}: {error})"
            ) from error

    def _compiled_for(self, paths: Sequence[str], inputs: torch.Tensor) -> _Compiled:
        key = (*paths, *inputs.shape[1:])
        if key not in self._compiled:
            assert self._compile is not None  # noqa: S101
            self._compiled[key] = self._compile(self.module, paths, inputs.shape[1:])
        return self._compiled[key]

    @contextlib.contextmanager
    def _surroundings(self) -> Iterator[None]:
        """Set the requested arithmetic; prints of custom networks go to stderr."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._arithmetic(str(self.spec.precision)))
            if self._own:
                stack.enter_context(prints_to_stderr())
            yield

    @contextlib.contextmanager
    def _arithmetic(self, precision: str) -> Iterator[None]:
        """Set the arithmetic of a precision in this block, whatever the process has set."""
        short = _AUTOCAST.get(precision)
        casting = torch.autocast(
            self.device.type, short or torch.bfloat16, enabled=short is not None
        )
        with casting, tf32(precision == "tf32"), float32_default(not self._own):
            yield

    def _built(self) -> nn.Module:
        """Return the network, as fast as its precision allows, with its cuts unchanged."""
        with float32_default(not self._own):
            return self._prepared(build_network(self.choice))

    def _prepared(self, module: nn.Module) -> nn.Module:
        if self.spec.precision not in _AUTOCAST and not self._own:
            # A folded bias contains mean/deviation, which can be too large for 8 bits.
            self._folded = fold_batchnorm(module, keep=sorted(self._cuts))
        module.requires_grad_(False)
        if self._channels_last:
            module = module.to(memory_format=torch.channels_last)
        if self.spec.precision == "int8":
            module = quantize_linear(module, self.choice.recipe.input_size, self.choice.layer.path)
        return module.to(self.device)


def pick_device(name: str | torch.device) -> torch.device:
    """Return a device by its name.

    Raises:
        UsageError: If the device does not exist on this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise UsageError(f"--device {name}: this machine has {count} CUDA devices; try auto")
        index = torch.cuda.current_device() if device.index is None else device.index
        return torch.device("cuda", index)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError("--device mps: this machine has no such device; try auto")
    if device.type not in ("cpu", "mps"):
        raise UsageError(f"unknown device {name!r}; expected auto, cpu, cuda, cuda:1, mps")
    return torch.device(device.type)  # not cpu:0, the same device


def _check_precision(precision: str, device: torch.device) -> None:
    has_tf32 = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    if precision == "tf32" and not has_tf32:
        raise UsageError(
            f"--precision tf32 needs a CUDA device of capability 8.0 or more, not {device}"
        )
    if precision == "int8" and device.type != "cpu":
        raise UsageError(f"--precision int8 runs on a CPU, not on {device}; use bf16 instead")
    if precision == "fp16" and device.type == "cpu":
        raise UsageError("--precision fp16 needs a GPU; use bf16 on a CPU")

"""Run a network with OpenVINO on a CPU: the same float32 arithmetic, with fused operations."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import nn

from gan_metrics.backbones.cut import run_until
from gan_metrics.backbones.recipe import FeatureSpace
from gan_metrics.errors import UsageError
from gan_metrics.utils.optional import require

__all__ = ["CompiledCut", "check", "import_openvino"]

_TELEMETRY = "openvino_telemetry"


def import_openvino() -> ModuleType:
    """Import OpenVINO as if its telemetry package were not installed.

    Its telemetry reports every import and conversion to an analytics service, from processes
    forked next to running threads. If OpenVINO was imported before, nothing changes.

    Raises:
        UsageError: If it is not installed.
    """
    if "openvino" in sys.modules:
        return require("openvino", "openvino")
    before = sys.modules.pop(_TELEMETRY, None)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        return require("openvino", "openvino")
    finally:
        del sys.modules[_TELEMETRY]
        if before is not None:
            sys.modules[_TELEMETRY] = before


def check(choice: FeatureSpace, device: torch.device) -> None:
    """Check that OpenVINO can run a network.

    Raises:
        UsageError: If it cannot, or is not installed.
    """
    if device.type != "cpu" or choice.spec.precision != "fp32":
        raise UsageError(
            f"--engine openvino runs on a CPU in fp32, not on {device} in {choice.spec.precision}"
        )
    if choice.recipe.weights is None:
        raise UsageError("--engine openvino supports built-in backbones, not custom ones")
    import_openvino()


@functools.cache
def _core() -> Any:
    """Return the OpenVINO core of this process, which is never deleted.

    Its plug-in installs a signal stack for the thread. If two cores existed, the one deleted last
    would restore the first one's stack, whose memory is freed: the next signal would crash.
    """
    return import_openvino().Core()


class CompiledCut:
    """Some layers of a network, compiled for inputs of one height and width and any batch size.

    Compiling takes some seconds, which pays off after a few hundred images.

    Args:
        module: A float32 network on the CPU, in eval mode.
        layers: Dotted names, as for :func:`~gan_metrics.backbones.cut.run_until`.
        shape: Shape of its input for one image, such as ``(3, 299, 299)``.

    Raises:
        UsageError: If OpenVINO is not installed, or does not support this network.
    """

    def __init__(self, module: nn.Module, layers: Sequence[str], shape: Sequence[int]) -> None:
        openvino: Any = import_openvino()
        self._layers = tuple(layers)
        example = torch.zeros(2, *shape)
        try:
            with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # tracing follows one code path only
                model = openvino.convert_model(_Cut(module, layers), example_input=example)
            model.reshape([-1, *shape])
            self._run: Any = _core().compile_model(
                model, "CPU",
                {
                    "INFERENCE_PRECISION_HINT": "f32",  # not bfloat16 on CPUs that have it
                    "PERFORMANCE_HINT": "LATENCY",
                    "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                },
            )  # fmt: skip
        except UsageError:
            raise
        except Exception as error:
            first = str(error).strip().partition("\n")[0]
            raise UsageError(
                f"--engine openvino does not support this network ({type(error).__name__}: "
                f"{first}); omit it"
            ) from error

    def __call__(self, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the layers' outputs.

        Args:
            inputs: ``float32``, ``N × C × H × W``.
        """
        found = self._run([inputs.contiguous().numpy()])
        return {layer: torch.from_numpy(found[i]) for i, layer in enumerate(self._layers)}


class _Cut(nn.Module):
    def __init__(self, module: nn.Module, layers: Sequence[str]) -> None:
        super().__init__()
        self._module, self._layers = module, list(layers)

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = run_until(self._module, inputs, self._layers)
        return tuple(found[layer] for layer in self._layers)

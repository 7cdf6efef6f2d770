"""A network as OpenVINO runs it on a CPU: the same float32 arithmetic, fused for the processor."""

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
    """OpenVINO, imported as if its telemetry were not installed.

    That would tell an analytics service of every import and conversion, unasked, from processes
    forked beside running threads. Who has imported OpenVINO before has made that choice.

    Raises:
        UsageError: When it is not installed.
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
        UsageError: When it cannot, or is not installed.
    """
    if device.type != "cpu" or choice.spec.precision != "fp32":
        raise UsageError(
            f"--engine openvino runs on a CPU in fp32, not on {device} in {choice.spec.precision}"
        )
    if choice.recipe.weights is None:
        raise UsageError("--engine openvino takes the built-in backbones, not one of your own")
    import_openvino()


@functools.cache
def _core() -> Any:
    """The one of this process, which stays.

    Its plug-in puts a stack for signals of its own into the thread. Of two cores the one that goes
    last would put back the first one's, whose memory is gone: the next signal ends the process.
    """
    return import_openvino().Core()


class CompiledCut:
    """Some layers of a network, compiled for inputs of one height and width; any batch size.

    Compiling takes some seconds, which a few hundred images pay back.

    Args:
        module: A network on the CPU, in eval mode, of float32.
        layers: Dotted names, as for :func:`~gan_metrics.backbones.cut.run_until`.
        shape: Of its input for one image, such as ``(3, 299, 299)``.

    Raises:
        UsageError: When OpenVINO is not installed, or cannot take this network.
    """

    def __init__(self, module: nn.Module, layers: Sequence[str], shape: Sequence[int]) -> None:
        openvino: Any = import_openvino()
        self._layers = tuple(layers)
        example = torch.zeros(2, *shape)
        try:
            with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that tracing sees one path through the code
                model = openvino.convert_model(_Cut(module, layers), example_input=example)
            model.reshape([-1, *shape])
            self._run: Any = _core().compile_model(
                model, "CPU",
                {
                    "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 where the processor has it
                    "PERFORMANCE_HINT": "LATENCY",
                    "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                },
            )  # fmt: skip
        except UsageError:
            raise
        except Exception as error:
            first = str(error).strip().partition("\n")[0]
            raise UsageError(
                f"--engine openvino cannot take this network ({type(error).__name__}: {first}); "
                "leave it out"
            ) from error

    def __call__(self, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        """The layers' outputs.

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

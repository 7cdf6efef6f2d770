"""Dynamic 8-bit quantization of linear layers, for CPUs."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn

from gan_metrics.backbones.cut import run_until
from gan_metrics.errors import UsageError

__all__ = ["quantize_linear"]


def quantize_linear(module: nn.Module, size: int, cut: str) -> nn.Module:
    """Return the module with its linear layers in dynamic int8 (per tensor, symmetric weights).

    Args:
        module: A network in eval mode, on the CPU.
        size: Height and width of its input, in pixels.
        cut: Path of the last layer that is needed.

    Raises:
        UsageError: If there is no linear layer before the cut, or torch does not support this
            arithmetic on this machine.
    """
    ran: set[str] = set()
    linear = {name: m for name, m in module.named_modules() if type(m) is nn.Linear}
    handles = [
        m.register_forward_hook(lambda *_, name=name: ran.add(name)) for name, m in linear.items()
    ]
    try:
        with torch.inference_mode():
            run_until(module, torch.zeros(1, 3, size, size), [cut])
    finally:
        for handle in handles:
            handle.remove()
    if not ran:
        raise UsageError(
            "--precision int8 speeds up linear layers, but this layer comes before all of them; "
            "transformers have them, most convolutional networks do not"
        )
    engines = torch.backends.quantized.supported_engines
    if not {"x86", "fbgemm", "onednn", "qnnpack"} & set(engines):
        raise UsageError("--precision int8: this build of torch has no 8-bit arithmetic")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch recommends another package
            quantization: Any = torch.ao.quantization
            quantized: nn.Module = quantization.quantize_dynamic(
                module, {nn.Linear}, dtype=torch.qint8
            )
    except AttributeError:
        raise UsageError(
            f"--precision int8: torch {torch.__version__} no longer has dynamic quantization"
        ) from None
    return quantized

"""Load and call a generator: a callable, a function by name, TorchScript or ONNX."""

from __future__ import annotations

import contextlib
import inspect
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from gan_metrics.errors import GanMetricsError, InputError, NotFoundError, UsageError
from gan_metrics.images.in_memory import PixelConverter, check_value_range
from gan_metrics.images.sources.samples import SampleReader
from gan_metrics.utils.imports import import_object
from gan_metrics.utils.optional import require
from gan_metrics.utils.stdout import prints_to_stderr

__all__ = ["Generator", "GeneratorLike", "load_generator"]

_SIZES = ("z_size", "z_dim", "latent_dim", "latent_size", "nz")
_CLASSES = ("num_classes", "n_classes", "c_dim")
_TORCHSCRIPT = (".pt", ".pth", ".ts", ".jit", ".torchscript")
_ONNX = ".onnx"


GeneratorLike: TypeAlias = "Generator | Callable[..., Any] | str | os.PathLike[str]"
"""Types that :func:`load_generator` accepts."""


class Generator:
    """A generator, and how to call it.

    Args:
        function: Called with latents ``z`` (N × z_size, standard normal, in ``float32`` or the
            dtype of its parameters), and class labels (``int64``, N) if there are classes; or with
            ``n=`` and ``seed=`` if it has parameters of these names. Returns N images.
        name: Description for messages.
        z_size: Length of a latent, or its shape; default: its attribute ``z_size`` (or ``z_dim``,
            ``latent_dim``, ``latent_size``, ``nz``).
        num_classes: Number of classes of its labels; default: its attribute ``num_classes`` (or
            ``n_classes``, ``c_dim``); 0: no labels.
        value_range: Values of black and white in floating-point images; default: its attribute
            ``value_range``.
        device: Device of the latents; ``None``: that of its parameters.

    Attributes:
        name: Description for messages.
        z_shape: Shape of a latent; empty if it is called with ``n`` and ``seed``.
        num_classes: Number of classes; 0: no labels.
        class_names: Names of the classes, from its attribute ``class_names``, else their numbers.

    Raises:
        UsageError: If it is not callable, or a value is neither given nor an attribute.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        name: str = "",
        *,
        z_size: int | Sequence[int] | None = None,
        num_classes: int | None = None,
        value_range: Sequence[float] | None = None,
        device: torch.device | None = None,
    ) -> None:
        if not callable(function):
            raise UsageError(f"a generator must be callable, but {function!r} is not")
        self.function = function
        self.name = name or f"generator {getattr(function, '__name__', type(function).__name__)}"
        self.takes_number = _takes_number(function)
        self.num_classes = int(_first(function, _CLASSES, num_classes) or 0)
        given = getattr(function, "class_names", None)
        self.class_names = [str(i) for i in range(self.num_classes)] if given is None else (
            [str(label) for label in given]
        )  # fmt: skip
        if len(self.class_names) != self.num_classes:
            raise UsageError(
                f"{self.name}: it has {self.num_classes} classes but names of "
                f"{len(self.class_names)}"
            )
        bad = [name for name in self.class_names if "/" in name or not name.strip()]
        if bad or len({*self.class_names}) < self.num_classes:
            raise UsageError(
                f"{self.name}: class names must be different, not empty and without '/', because "
                f"they are used as folders in the images' names: {self.class_names}"
            )
        if self.takes_number and self.num_classes:
            raise UsageError(
                f"{self.name}: a generator with parameters n and seed cannot receive class labels"
            )
        stated = getattr(function, "value_range", None)
        self.value_range = check_value_range(stated if value_range is None else value_range)
        self.z_shape = () if self.takes_number else self._z_shape(z_size)
        self.device = device or _device_of(function)
        self.dtype = _dtype_of(function)
        converter = PixelConverter(self.value_range, whose=f"images of {self.name}")
        self._reader = SampleReader(converter)

    @property
    def warnings(self) -> Sequence[tuple[str, str]]:
        """Warnings about values that were clipped so far, or are all in half of the range."""
        return self._reader.converter.warnings

    def latents(
        self, seed: int, indices: Sequence[int], stream: int = 0
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the latents and labels of some images, each from its own random generator.

        Image ``i`` always has the same latent, whatever the number of images, their order, the
        batch and the device.

        Args:
            seed: Seed of all latents.
            indices: Numbers of the images.
            stream: Another number gives other latents.

        Returns:
            N × z_size, and ``int64``, N, on the generator's device and in its precision.
        """
        latents = np.empty((len(indices), *self.z_shape), np.float32)
        labels = np.zeros(len(indices), np.int64)
        for row, index in enumerate(indices):
            rng = np.random.default_rng([seed, index, stream] if stream else [seed, index])
            latents[row] = rng.standard_normal(self.z_shape, np.float32)
            if self.num_classes:
                labels[row] = rng.integers(self.num_classes)
        z, y = torch.from_numpy(latents), torch.from_numpy(labels)
        return z.to(self.device, self.dtype), y.to(self.device)

    def draw(self, seed: int, indices: Sequence[int]) -> npt.NDArray[np.uint8]:
        """Draw images and return them on the host.

        Args:
            seed: Seed of the latents, and of the generator's own random numbers.
            indices: Numbers of the images.

        Returns:
            ``uint8``, N × H × W × 3, or N × H × W × 1.

        Raises:
            InputError: If the generator fails, or does not return N images.
        """
        images = self.images(seed, indices)
        return np.ascontiguousarray(images.permute(0, 2, 3, 1).cpu().numpy())

    def images(
        self, seed: int, indices: Sequence[int], z: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Draw images and return them on the generator's device.

        Args:
            seed: Seed of the latents, and of the generator's own random numbers.
            indices: Numbers of the images.
            z: Their latents; ``None``: those of :meth:`latents`.

        Returns:
            ``uint8``, N × 3 × H × W, or N × 1 × H × W.

        Raises:
            InputError: If the generator fails, or does not return N images.
        """
        if self.takes_number:
            own = int(np.random.SeedSequence([seed, *indices[:1]]).generate_state(1)[0])
            found = self.call(self.function, own, n=len(indices), seed=own)
        else:
            own_z, labels = self.latents(seed, indices)
            z = own_z if z is None else z.to(own_z)
            found = self.call(
                self.function, seed + indices[0], z, *([labels] * bool(self.num_classes))
            )
        return self.pixels(self.tensor(found, len(indices)))

    def call(self, function: Callable[..., Any], chance: int, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Call the generator without gradients, in eval mode; restore modes and random states.

        Args:
            function: The generator, or a part of it.
            chance: Seed of its own random numbers.
            args: Positional arguments of the call.
            kwargs: Keyword arguments of the call.

        Raises:
            InputError: If it fails.
        """
        gpus = [self.device] if self.device.type == "cuda" else []
        try:
            with (
                _in_eval_mode(self.function),
                torch.random.fork_rng(devices=gpus),
                torch.no_grad(),
                prints_to_stderr(),
            ):
                torch.default_generator.manual_seed(chance)  # not the GPUs' generators
                if gpus:
                    with torch.cuda.device(self.device):
                        torch.cuda.manual_seed(chance)
                return function(*args, **kwargs)
        except GanMetricsError:
            raise
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except (Exception, SystemExit, GeneratorExit) as error:  # user code may raise anything
            shape = f" with latents of shape {tuple(args[0].shape)}" if args else ""
            lines = [line for line in str(error).splitlines() if line.strip()] or [""]
            raise InputError(
                f"{self.name} fails{shape}: {type(error).__name__}: {lines[-1].strip()}"
            ) from error

    def tensor(self, found: object, n: int) -> torch.Tensor:
        """Return the generator's output as N × C × H × W, with unchanged values.

        Raises:
            InputError: If it has another form, or is not ``n`` images.
        """
        if isinstance(found, np.ndarray | torch.Tensor) and found.ndim == 3 and len(found) == n > 1:
            found = found[:, None]  # gray
        images = torch.as_tensor(self._reader.batch(found))
        if len(images) != n:
            raise InputError(
                f"{self.name} returned {len(images)} images (of shape {tuple(images.shape)}) for "
                f"{n} latents; expected {n} × 3 × height × width"
            )
        return images

    def pixels(self, images: torch.Tensor) -> torch.Tensor:
        """Convert its images to ``uint8``, and count clipped values.

        Raises:
            InputError: If the values cannot be images; see
                :class:`~gan_metrics.images.in_memory.PixelConverter`.
        """
        pixels: torch.Tensor = self._reader.converter.convert(images)
        return pixels

    def _z_shape(self, given: int | Sequence[int] | None) -> tuple[int, ...]:
        found = _first(self.function, _SIZES, given)
        if found is None:
            raise UsageError(
                f"{self.name} does not define the length of its latents; give --z-size N "
                f"(z_size=N), or set its attribute {_SIZES[0]}; a function that draws its own "
                "latents has parameters n and seed"
            )
        try:
            shape = tuple(int(n) for n in (found if isinstance(found, Sequence) else [found]))
        except (TypeError, ValueError):
            shape = ()
        if not shape or min(shape) < 1:
            raise UsageError(f"{self.name}: z_size={found!r}; expected whole numbers above 0")
        return shape


def load_generator(
    given: GeneratorLike, *, device: str = "auto", num_classes: int | None = None, **arguments: Any
) -> Generator:
    """Return a generator for a user's input.

    Args:
        given: A callable; ``"package.module:function"``, importable from the installation or the
            current folder, which is a generator, or makes one if it has no parameters; a
            TorchScript file (``.pt``); an ONNX file. Their code is executed.
        device: Device of a loaded generator; an object stays on its device.
        num_classes: See :class:`Generator`.
        arguments: Further arguments of :class:`Generator`.

    Raises:
        UsageError: If it cannot be loaded, or a value is neither given nor an attribute.
        InputError: If a file is missing or broken.
    """
    if isinstance(given, Generator):
        return given
    arguments = {**arguments, "num_classes": num_classes}
    if not isinstance(given, str | os.PathLike):
        return Generator(given, **arguments)
    text = os.fspath(given)
    where = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    where = where if device == "auto" else torch.device(device)
    name = f"generator {text}"
    suffix = Path(text).suffix.lower()
    if suffix == _ONNX:
        return Generator(_Onnx(Path(text)), name, **arguments, device=torch.device("cpu"))
    if suffix in _TORCHSCRIPT:
        return Generator(_torchscript(Path(text), where), name, **arguments, device=where)
    if ":" not in text:
        raise UsageError(
            f"--generator {text}: expected package.module:function, or a file of TorchScript "
            f"({_TORCHSCRIPT[0]}) or ONNX ({_ONNX})"
        )
    found = _imported(text)
    if isinstance(found, nn.Module):
        return Generator(found.to(where), name, **arguments, device=where)
    return Generator(found, name, **arguments, device=where)


def _imported(text: str) -> Any:  # noqa: ANN401
    try:
        found = import_object(text, current_folder=True)
        made = inspect.isclass(found) or _first(found, _SIZES, None) is None
        made &= callable(found) and not isinstance(found, nn.Module)
        if made and _takes_nothing(found):
            with torch.random.fork_rng(devices=[]), prints_to_stderr():
                torch.default_generator.manual_seed(0)
                found = found()
    except (Exception, SystemExit) as error:  # user code may raise anything
        raise UsageError(
            f"--generator {text}: {type(error).__name__}: {error}. Expected "
            "package.module:function, importable from here: a generator or, without parameters and "
            "attribute z_size, a function that makes one"
        ) from error
    if not callable(found):
        raise UsageError(
            f"--generator {text} is of type {type(found).__name__}, which is not callable"
        )
    return found


def _torchscript(path: Path, device: torch.device) -> nn.Module:
    if not path.exists():
        raise NotFoundError(f"{path} does not exist")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchScript is deprecated
            module: nn.Module = torch.jit.load(str(path), map_location=device)  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, OSError) as error:
        first = str(error).strip().partition("\n")[0]
        raise InputError(
            f"{path} is not a TorchScript module ({first}); save one with "
            "torch.jit.trace(generator, z).save(path), or give the code that makes it as "
            "package.module:function"
        ) from None
    return module


class _Onnx:
    """An ONNX file as a callable of latents and, if it has a second input, labels."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise NotFoundError(f"{path} does not exist")
        runtime = require("onnxruntime", "onnx")
        try:
            self._session = runtime.InferenceSession(
                str(path), providers=runtime.get_available_providers()
            )
        except Exception as error:  # onnxruntime has exceptions of its own
            raise InputError(f"{path} is not a usable ONNX model ({error})") from None
        self._inputs = self._session.get_inputs()
        shape = self._inputs[0].shape[1:]
        if shape and all(isinstance(n, int) for n in shape):
            self.z_size = tuple(shape)

    def __call__(self, z: torch.Tensor, labels: torch.Tensor | None = None) -> npt.NDArray[Any]:
        given = [z.cpu().numpy()] + ([] if labels is None else [labels.cpu().numpy()])
        if len(given) != len(self._inputs):
            names = ", ".join(one.name for one in self._inputs)
            raise UsageError(
                f"the ONNX model has {len(self._inputs)} inputs ({names}); expected latents, and "
                "class labels if --num-classes is given"
            )
        feed = {one.name: array for one, array in zip(self._inputs, given, strict=True)}
        return np.asarray(self._session.run(None, feed)[0])


def _first(owner: object, names: Sequence[str], given: object) -> Any:  # noqa: ANN401
    """Return a given value, else the first existing attribute of a list."""
    if given is not None:
        return given
    for name in names:
        value = getattr(owner, name, None)
        if isinstance(value, Integral | Sequence) and not isinstance(value, bool | str):
            return value
    return None


def _parameters(function: object) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(cast("Callable[..., Any]", function)).parameters.values())
    except (TypeError, ValueError):
        return []


def _takes_number(function: object) -> bool:
    return {"n", "seed"} <= {parameter.name for parameter in _parameters(function)}


def _takes_nothing(function: object) -> bool:
    plain = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    given = [p for p in _parameters(function) if p.kind not in plain]
    return not _takes_number(function) and all(p.default is not p.empty for p in given)


def _device_of(function: object) -> torch.device:
    parameters = function.parameters() if isinstance(function, nn.Module) else iter(())
    first = next(parameters, None)
    return torch.device("cpu") if first is None else first.device


def _dtype_of(function: object) -> torch.dtype:
    """Return the dtype of its floating-point parameters; ``float32`` without parameters."""
    parameters = function.parameters() if isinstance(function, nn.Module) else iter(())
    return next((p.dtype for p in parameters if p.is_floating_point()), torch.float32)


@contextlib.contextmanager
def _in_eval_mode(function: object) -> Iterator[None]:
    """Put all modules into eval mode in this block, and restore their modes afterwards."""
    parts = list(function.modules()) if isinstance(function, nn.Module) else []
    training = [part for part in parts if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True

"""What makes images in memory: a callable, a function by its name, TorchScript or ONNX."""

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
"""What :func:`load_generator` takes."""


class Generator:
    """A generator and how it is called.

    Args:
        function: Called with latents ``z`` (N × z_size, standard normal, in ``float32`` or the
            dtype of its parameters), and class labels (``int64``, N) if there are classes; or with
            ``n=`` and ``seed=`` if it has parameters of these names. Gives N images.
        name: What it is, for a person.
        z_size: Length of a latent, or its shape; by default its attribute ``z_size`` (or
            ``z_dim``, ``latent_dim``, ``latent_size``, ``nz``).
        num_classes: How many classes it is told apart by; by default its attribute
            ``num_classes`` (or ``n_classes``, ``c_dim``); 0: none.
        value_range: What stands for black and white in floating-point images; by default its
            attribute ``value_range``.
        device: Where latents are put; ``None``: where its parameters are.

    Attributes:
        name: The same.
        z_shape: Of one latent; empty where it takes ``n`` and ``seed``.
        num_classes: The same.
        class_names: Of the classes, by its attribute ``class_names``, else their numbers.

    Raises:
        UsageError: When it is not callable, or what it does not say of itself is not given.
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
            raise UsageError(f"a generator must be callable, and {function!r} is not")
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
                f"{self.name}: it has {self.num_classes} classes and names of "
                f"{len(self.class_names)}"
            )
        bad = [name for name in self.class_names if "/" in name or not name.strip()]
        if bad or len({*self.class_names}) < self.num_classes:
            raise UsageError(
                f"{self.name}: names of classes must be different, not empty and without '/', "
                f"since they stand before the images' numbers as folders do: {self.class_names}"
            )
        if self.takes_number and self.num_classes:
            raise UsageError(f"{self.name}: what is called with n and seed is not told classes")
        stated = getattr(function, "value_range", None)
        self.value_range = check_value_range(stated if value_range is None else value_range)
        self.z_shape = () if self.takes_number else self._z_shape(z_size)
        self.device = device or _device_of(function)
        self.dtype = _dtype_of(function)
        converter = PixelConverter(self.value_range, whose=f"images of {self.name}")
        self._reader = SampleReader(converter)

    @property
    def warnings(self) -> Sequence[tuple[str, str]]:
        """Of values that were clipped so far, or are all in half of the range."""
        return self._reader.converter.warnings

    def latents(
        self, seed: int, indices: Sequence[int], stream: int = 0
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The latents and labels of some images, each by a generator of its own.

        Image ``i`` is made of the same latent whatever the number of images, their order, the
        batch and the device are.

        Args:
            seed: Of all of them.
            indices: Which.
            stream: Other latents for another number.

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
        """Images from their latents, on the host.

        Args:
            seed: Of the latents, and of what the generator draws itself.
            indices: Which images.

        Returns:
            ``uint8``, N × H × W × 3, or N × H × W × 1.

        Raises:
            InputError: When the generator fails, or gives something else than so many images.
        """
        images = self.images(seed, indices)
        return np.ascontiguousarray(images.permute(0, 2, 3, 1).cpu().numpy())

    def images(
        self, seed: int, indices: Sequence[int], z: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Images from their latents, where the generator is.

        Args:
            seed: Of the latents, and of what the generator draws itself.
            indices: Which images.
            z: Their latents; ``None``: those of :meth:`latents`.

        Returns:
            ``uint8``, N × 3 × H × W, or N × 1 × H × W.

        Raises:
            InputError: When the generator fails, or gives something else than so many images.
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
        """Call it, without gradients, in eval mode, and leave modes and random states as they were.

        Args:
            function: The generator, or a part of it.
            chance: Seed of what it draws itself.
            args: What it is called with.
            kwargs: The same.

        Raises:
            InputError: When it fails.
        """
        gpus = [self.device] if self.device.type == "cuda" else []
        try:
            with (
                _in_eval_mode(self.function),
                torch.random.fork_rng(devices=gpus),
                torch.no_grad(),
                prints_to_stderr(),
            ):
                torch.default_generator.manual_seed(chance)  # and not those of other GPUs
                if gpus:
                    with torch.cuda.device(self.device):
                        torch.cuda.manual_seed(chance)
                return function(*args, **kwargs)
        except GanMetricsError:
            raise
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except (Exception, SystemExit, GeneratorExit) as error:  # the user's code may raise any
            shape = f" with latents of shape {tuple(args[0].shape)}" if args else ""
            lines = [line for line in str(error).splitlines() if line.strip()] or [""]
            raise InputError(
                f"{self.name} fails{shape}: {type(error).__name__}: {lines[-1].strip()}"
            ) from error

    def tensor(self, found: object, n: int) -> torch.Tensor:
        """What it gave as N × C × H × W, its values as they are.

        Raises:
            InputError: When it is of another form, or not of ``n`` images.
        """
        if isinstance(found, np.ndarray | torch.Tensor) and found.ndim == 3 and len(found) == n > 1:
            found = found[:, None]  # grey
        images = torch.as_tensor(self._reader.batch(found))
        if len(images) != n:
            raise InputError(
                f"{self.name} gives {len(images)} images (of the shape {tuple(images.shape)}) for "
                f"{n} latents; expected {n} × 3 × height × width"
            )
        return images

    def pixels(self, images: torch.Tensor) -> torch.Tensor:
        """Its images as ``uint8``; counts what had to be clipped.

        Raises:
            InputError: When their values cannot be images; see
                :class:`~gan_metrics.images.in_memory.PixelConverter`.
        """
        pixels: torch.Tensor = self._reader.converter.convert(images)
        return pixels

    def _z_shape(self, given: int | Sequence[int] | None) -> tuple[int, ...]:
        found = _first(self.function, _SIZES, given)
        if found is None:
            raise UsageError(
                f"{self.name} does not say how long its latents are; give --z-size N "
                f"(z_size=N), or set its attribute {_SIZES[0]}; a function of your own that draws "
                "them itself takes n and seed"
            )
        try:
            shape = tuple(int(n) for n in (found if isinstance(found, Sequence) else [found]))
        except (TypeError, ValueError):
            shape = ()
        if not shape or min(shape) < 1:
            raise UsageError(f"{self.name}: z_size={found!r}; expected whole numbers above 0")
        return shape


def load_generator(
    given: GeneratorLike, *, device: str = "auto", num_classes: int | None = None, **said: Any
) -> Generator:
    """A generator from what was given.

    Args:
        given: A callable; ``"package.module:function"``, importable from here or from the current
            folder, which is a generator itself, or makes one where it takes no arguments; a
            TorchScript file (``.pt``); an ONNX file. Code of any of them is run.
        device: Where one that is loaded is put; an object is left where it is.
        num_classes: See :class:`Generator`.
        said: What else it does not say of itself; see :class:`Generator`.

    Raises:
        UsageError: When it cannot be loaded, or does not say enough of itself.
        InputError: When a file is missing or broken.
    """
    if isinstance(given, Generator):
        return given
    said = {**said, "num_classes": num_classes}
    if not isinstance(given, str | os.PathLike):
        return Generator(given, **said)
    text = os.fspath(given)
    where = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    where = where if device == "auto" else torch.device(device)
    name = f"generator {text}"
    suffix = Path(text).suffix.lower()
    if suffix == _ONNX:
        return Generator(_Onnx(Path(text)), name, **said, device=torch.device("cpu"))
    if suffix in _TORCHSCRIPT:
        return Generator(_torchscript(Path(text), where), name, **said, device=where)
    if ":" not in text:
        raise UsageError(
            f"--generator {text}: expected package.module:function, or a file of TorchScript "
            f"({_TORCHSCRIPT[0]}) or ONNX ({_ONNX})"
        )
    found = _imported(text)
    if isinstance(found, nn.Module):
        return Generator(found.to(where), name, **said, device=where)
    return Generator(found, name, **said, device=where)


def _imported(text: str) -> Any:  # noqa: ANN401
    try:
        found = import_object(text, current_folder=True)
        made = inspect.isclass(found) or _first(found, _SIZES, None) is None
        made &= callable(found) and not isinstance(found, nn.Module)
        if made and _takes_nothing(found):
            with torch.random.fork_rng(devices=[]), prints_to_stderr():
                torch.default_generator.manual_seed(0)
                found = found()
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise UsageError(
            f"--generator {text}: {type(error).__name__}: {error}. Expected "
            "package.module:function, importable from here, that is a generator or, where it needs "
            "no argument and has no attribute z_size, makes one"
        ) from error
    if not callable(found):
        raise UsageError(f"--generator {text} gives {type(found).__name__}, which is not callable")
    return found


def _torchscript(path: Path, device: torch.device) -> nn.Module:
    if not path.exists():
        raise NotFoundError(f"{path} does not exist")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that TorchScript is deprecated
            module: nn.Module = torch.jit.load(str(path), map_location=device)  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, OSError) as error:
        first = str(error).strip().partition("\n")[0]
        raise InputError(
            f"{path} holds no TorchScript module ({first}); save one by "
            "torch.jit.trace(generator, z).save(path), or name the code that makes it as "
            "package.module:function"
        ) from None
    return module


class _Onnx:
    """An ONNX file as a callable of latents and, where it has a second input, labels."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise NotFoundError(f"{path} does not exist")
        runtime = require("onnxruntime", "onnx")
        try:
            self._session = runtime.InferenceSession(
                str(path), providers=runtime.get_available_providers()
            )
        except Exception as error:  # of onnxruntime's own kinds
            raise InputError(f"{path} is no ONNX model that can be run ({error})") from None
        self._inputs = self._session.get_inputs()
        shape = self._inputs[0].shape[1:]
        if shape and all(isinstance(n, int) for n in shape):
            self.z_size = tuple(shape)

    def __call__(self, z: torch.Tensor, labels: torch.Tensor | None = None) -> npt.NDArray[Any]:
        given = [z.cpu().numpy()] + ([] if labels is None else [labels.cpu().numpy()])
        if len(given) != len(self._inputs):
            names = ", ".join(one.name for one in self._inputs)
            raise UsageError(
                f"the ONNX model takes {len(self._inputs)} inputs ({names}): the latents, and the "
                "labels of classes where --num-classes says that there are some"
            )
        feed = {one.name: array for one, array in zip(self._inputs, given, strict=True)}
        return np.asarray(self._session.run(None, feed)[0])


def _first(owner: object, names: Sequence[str], given: object) -> Any:  # noqa: ANN401
    """What was given, else the first of some attributes that there is."""
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
    """That of its floating-point parameters; ``float32`` where it has none."""
    parameters = function.parameters() if isinstance(function, nn.Module) else iter(())
    return next((p.dtype for p in parameters if p.is_floating_point()), torch.float32)


@contextlib.contextmanager
def _in_eval_mode(function: object) -> Iterator[None]:
    """A module, and each part of it, in eval mode, and then as it was."""
    parts = list(function.modules()) if isinstance(function, nn.Module) else []
    training = [part for part in parts if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True

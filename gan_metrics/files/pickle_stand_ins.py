"""Stand-ins for NumPy's and torch's functions, used while a pickle of arrays is read.

None of the real functions is called with data from a file. Their arguments are stored in a
:class:`PickledArray`; type, shape and length are compared before an array is made of the bytes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

__all__ = ["PickledArray", "RefusedError", "Storage", "shown", "stand_in", "storage"]

_NUMBERS = re.compile(r"f[248]|[iu][1248]")
"""Supported number types, as NumPy spells them in a pickle."""

_STORAGES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
}
"""torch's storage classes and the NumPy type of their values."""


class RefusedError(Exception):
    """A pickle contains something that is not supported."""


def shown(value: Any) -> str:
    """Format a value for a message; only the class of values that can be nested deeply."""
    return repr(value)[:60] if isinstance(value, str | int) else f"a {type(value).__name__}"


class _StandIn:
    """Replacement of a name in a pickle; it can be called, and has no attributes."""

    __slots__ = ("_make", "name")

    def __init__(self, name: str, make: Callable[..., Any] | None = None) -> None:
        self.name, self._make = name, make

    def __call__(self, *arguments: Any) -> Any:
        if self._make is None:
            raise RefusedError(f"is a pickle that calls {self.name}")
        return self._make(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise RefusedError(f"is a pickle that changes {self.name}")


class _DType:
    """A NumPy dtype in a pickle."""

    __slots__ = ("_code", "_order")

    def __init__(self, code: Any, *flags: Any) -> None:
        del flags  # whether to align and to copy
        if not isinstance(code, str) or not _NUMBERS.fullmatch(code):
            raise RefusedError(f"holds an array of type {shown(code)}, not of plain numbers")
        self._code, self._order = code, "="

    def __setstate__(self, state: Any) -> None:
        """Read NumPy's state: a version, the byte order, and five empty fields."""
        if not isinstance(state, tuple) or len(state) < 5 or state[1] not in ("<", ">", "=", "|"):
            raise ValueError("the state of a dtype is not NumPy's")
        if any(part is not None for part in state[2:5]):
            raise RefusedError("holds an array of records, not of plain numbers")
        self._order = state[1]

    def numpy(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = np.dtype(self._code)
        return dtype if self._order == "|" else dtype.newbyteorder(self._order)  # type: ignore[arg-type]


class PickledArray:
    """An array described by a pickle, not built yet."""

    __slots__ = ("_axes", "_data", "_dtype", "_order", "_shape")

    def __init__(
        self,
        dtype: Any = None,
        shape: Any = (),
        data: Any = b"",
        order: Any = "C",
        axes: Any = None,
    ) -> None:
        self._dtype, self._shape, self._data = dtype, shape, data
        self._order, self._axes = order, axes if order == "K" else None

    def __setstate__(self, state: Any) -> None:
        """Read NumPy's state: version 1, shape, dtype, whether in Fortran order, the bytes."""
        if not isinstance(state, tuple) or len(state) != 5 or state[0] != 1:
            raise ValueError("the state of an array is not NumPy's")
        _, self._shape, self._dtype, fortran, self._data = state
        self._order = "F" if fortran is True else "C"
        if isinstance(self._data, list):
            raise RefusedError("holds an array of objects, not of plain numbers")

    def header(self) -> tuple[np.dtype[Any], tuple[int, ...]]:
        """Return type and shape.

        Raises:
            ValueError: If they are missing.
        """
        if not isinstance(self._dtype, _DType):
            raise ValueError("an array has no type")
        return self._dtype.numpy(), _sizes(self._shape)

    def array(self) -> np.ndarray:
        """Return the numbers in the byte order of this machine.

        Raises:
            ValueError: If type, shape and length do not match.
        """
        data = self._data.encode("latin-1") if isinstance(self._data, str) else self._data
        dtype, shape = self.header()
        if not isinstance(data, bytes | bytearray):
            raise ValueError("an array has no bytes")
        if math.prod(shape) * dtype.itemsize != len(data):
            raise ValueError(f"an array of shape {shape} and {dtype} has {len(data)} bytes")
        flat: Any = np.frombuffer(data, dtype).astype(dtype.newbyteorder("="))
        if self._axes is None:
            return np.asarray(flat.reshape(shape, order="F" if self._order == "F" else "C"))
        axes = _sizes(self._axes)
        if sorted(axes) != list(range(len(shape))):
            raise ValueError(f"an array has the order of axes {axes}")
        return np.asarray(flat.reshape(shape).transpose(axes))


class Storage:
    """Values in a torch file, of which tensors are views."""

    __slots__ = ("dtype", "read")

    def __init__(self, dtype: _DType, read: Callable[[], bytes]) -> None:
        self.dtype, self.read = dtype, read

    def __setstate__(self, state: Any) -> None:
        raise RefusedError("is a pickle that changes a storage")


class _Tensor(PickledArray):
    """A view of a storage."""

    __slots__ = ("_offset", "_storage", "_strides")

    def __init__(self, storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> None:
        del rest  # requires_grad, and hooks
        if not isinstance(storage, Storage):
            raise ValueError("a tensor has no storage")
        super().__init__(storage.dtype, shape)
        self._storage, self._offset, self._strides = storage, offset, strides

    def __setstate__(self, state: Any) -> None:
        raise RefusedError("is a pickle that changes a tensor")

    def array(self) -> np.ndarray:
        dtype, shape = self.header()
        data, strides = self._storage.read(), _sizes(self._strides)
        (offset,) = _sizes((self._offset,))
        if len(strides) != len(shape) or len(data) % dtype.itemsize:
            raise ValueError(f"a tensor has the shape {shape} and the strides {strides}")
        flat = np.frombuffer(data, dtype)
        last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        size = math.prod(shape)
        if size > len(flat) or (size and last >= len(flat)):
            raise ValueError(f"a tensor of shape {shape} leaves its storage of {len(flat)} values")
        steps = tuple(step * dtype.itemsize for step in strides)
        start = flat[offset:] if size else flat[:0]
        return np.array(np.lib.stride_tricks.as_strided(start, shape, steps))


class _Items(dict[Any, Any]):
    """Replacement of ``OrderedDict``, filled later; its attributes are dropped."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        del state


def _empty_array(kind: Any, *arguments: Any) -> PickledArray:
    """Replacement of NumPy's ``_reconstruct``: an array whose state follows."""
    del arguments
    if kind is not _NDARRAY:
        raise RefusedError(f"holds an array of the class {shown(kind)}")
    return PickledArray()


def _frombuffer(data: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> PickledArray:
    """Replacement of NumPy's ``_frombuffer``, which protocol 5 uses for arrays."""
    return PickledArray(dtype, shape, data, order, axes)


def _scalar(dtype: Any, data: Any) -> int | float:
    """Replacement of NumPy's ``scalar``."""
    number: int | float = PickledArray(dtype, (), data).array().item()
    return number


def _encode(text: Any, encoding: Any) -> bytes:
    """Replacement of ``_codecs.encode``, which protocol 2 uses for bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise RefusedError(f"is a pickle that encodes text with {shown(encoding)}")
    return text.encode("latin-1")


def _sizes(numbers: Any) -> tuple[int, ...]:
    """Return a tuple of numbers ≥ 0, such as a shape.

    Raises:
        ValueError: If it is something else.
    """
    if not isinstance(numbers, tuple | list) or len(numbers) > 32:
        raise ValueError(f"{shown(numbers)} is not a shape")
    if not all(type(n) is int and 0 <= n < 1 << 62 for n in numbers):
        raise ValueError(f"the shape contains {', '.join(map(shown, numbers))}")
    return tuple(numbers)


_NDARRAY = _StandIn("numpy.ndarray")
_NUMPY: Mapping[str, Callable[..., Any]] = {
    "multiarray._reconstruct": _empty_array,
    "multiarray.scalar": _scalar,
    "numeric._frombuffer": _frombuffer,
}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "numpy.dtype": _DType,
    "_codecs.encode": _encode,
    "__builtin__.bytes": lambda: b"",  # how protocol 2 describes empty bytes
    "collections.OrderedDict": _Items,
    "torch._utils._rebuild_tensor_v2": _Tensor,
    **{f"numpy.core.{name}": make for name, make in _NUMPY.items()},
    **{f"numpy._core.{name}": make for name, make in _NUMPY.items()},
}
_STORAGE_TYPES = {_StandIn(f"torch.{name}"): code for name, code in _STORAGES.items()}
_STAND_INS = {
    "numpy.ndarray": _NDARRAY,
    **{name: _StandIn(name, make) for name, make in _FUNCTIONS.items()},
    **{one.name: one for one in _STORAGE_TYPES},
}
"""Replacements of the names in a pickle of arrays."""


def stand_in(module: Any, name: Any) -> _StandIn:
    """Return the replacement of a name.

    Raises:
        RefusedError: If the name is not allowed.
    """
    if not isinstance(module, str) or not isinstance(name, str):
        raise ValueError("a name in the pickle is not text")
    if (found := _STAND_INS.get(f"{module}.{name}")) is None:
        raise RefusedError(f"is a pickle that names {module}.{name}")
    return found


def storage(kind: Any, read: Callable[[], bytes]) -> Storage:
    """Return a storage of a torch file.

    Args:
        kind: The replacement of its class.
        read: Function that returns its bytes.

    Raises:
        ValueError: If the class is not a storage.
    """
    if not isinstance(kind, _StandIn) or kind not in _STORAGE_TYPES:
        raise ValueError("a reference in the pickle is not to a storage")
    return Storage(_DType(_STORAGE_TYPES[kind]), read)

"""Arrays as pickles describe them: what stands in for NumPy's and torch's own functions.

None of these is called with what a file says. The arguments are kept, and type, shape and length
are held against each other before an array is made of the bytes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "BUILDABLE",
    "KNOWN",
    "MAKERS",
    "Name",
    "PickledArray",
    "RefusedError",
    "shown",
    "stored",
]

_NUMBERS = re.compile(r"f[248]|[iu][1248]")
"""The types of numbers that are read, as NumPy spells them in a pickle."""

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
"""Torch's storages and the NumPy type of their values."""


class RefusedError(Exception):
    """What a pickle does that is not followed."""


def shown(value: Any) -> str:
    """A value for a message; of what may hold itself many times over, no more than its class."""
    if isinstance(value, Name):
        return f"{value.module}.{value.name}"
    return repr(value)[:60] if isinstance(value, str | int) else f"a {type(value).__name__}"


class Name(NamedTuple):
    """A name that a pickle refers to; it stands for itself and is never looked up."""

    module: str
    name: str


@dataclass
class _Type:
    """What a pickle says of a NumPy dtype."""

    code: str
    order: Any = "="

    @classmethod
    def of(cls, code: Any, *flags: Any) -> _Type:
        del flags  # whether to align and to copy
        if not isinstance(code, str) or not _NUMBERS.fullmatch(code):
            raise RefusedError(f"holds an array of type {shown(code)}, not of plain numbers")
        return cls(code)

    def build(self, state: Any) -> None:
        """Take in NumPy's state: a version, the order of bytes, and five fields that are empty."""
        if not isinstance(state, tuple) or len(state) < 5 or state[1] not in ("<", ">", "=", "|"):
            raise ValueError("the state of a dtype is not NumPy's")
        if any(part is not None for part in state[2:5]):
            raise RefusedError("holds an array of records, not of plain numbers")
        self.order = state[1]

    def numpy(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = np.dtype(self.code)
        return dtype if self.order == "|" else dtype.newbyteorder(self.order)


@dataclass
class PickledArray:
    """An array that a pickle describes, not made yet."""

    type: Any = None
    shape: Any = ()
    data: Any = b""
    order: str = "C"
    axes: Any = None

    def build(self, state: Any) -> None:
        """Take in NumPy's state: version 1, shape, dtype, whether in Fortran order, the bytes."""
        if not isinstance(state, tuple) or len(state) != 5 or state[0] != 1:
            raise ValueError("the state of an array is not NumPy's")
        _, self.shape, self.type, fortran, self.data = state
        self.order = "F" if fortran is True else "C"
        if isinstance(self.data, list):
            raise RefusedError("holds an array of objects, not of plain numbers")

    def array(self) -> np.ndarray:
        """The numbers, in this machine's order of bytes.

        Raises:
            ValueError: When type, shape and length do not belong together.
        """
        data = self.data.encode("latin-1") if isinstance(self.data, str) else self.data
        if not isinstance(self.type, _Type) or not isinstance(data, bytes | bytearray):
            raise ValueError("an array has no type or no bytes")
        shape, dtype = _sizes(self.shape), self.type.numpy()
        if math.prod(shape) * dtype.itemsize != len(data):
            raise ValueError(f"an array of shape {shape} and {dtype} has {len(data)} bytes")
        flat: Any = np.frombuffer(data, dtype).astype(dtype.newbyteorder("="))
        if self.axes is None:
            flat = flat.reshape(shape, order="F" if self.order == "F" else "C")
            return np.asarray(flat)
        axes = _sizes(self.axes)
        if sorted(axes) != list(range(len(shape))):
            raise ValueError(f"an array has the order of axes {axes}")
        return np.asarray(flat.reshape(shape).transpose(axes))


@dataclass
class _Tensor(PickledArray):
    """The same, as torch describes it: a view of a storage."""

    offset: Any = 0
    strides: Any = ()

    def array(self) -> np.ndarray:
        data, dtype = self.data(), self.type.numpy()
        shape, strides = _sizes(self.shape), _sizes(self.strides)
        (offset,) = _sizes((self.offset,))
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


def _empty_array(kind: Any, *arguments: Any) -> PickledArray:
    """For NumPy's ``_reconstruct``: an array whose state is still to come."""
    del arguments
    if kind != _NDARRAY:
        raise RefusedError(f"holds an array of the class {shown(kind)}")
    return PickledArray()


def _array_of_buffer(
    data: Any, type_: Any, shape: Any, order: Any, axes: Any = None
) -> PickledArray:
    """For NumPy's ``_frombuffer``, by which protocol 5 describes an array."""
    return PickledArray(type_, shape, data, str(order), axes if order == "K" else None)


def _no_bytes() -> bytes:
    """For ``bytes``, which protocol 2 calls where there are none."""
    return b""


def _no_items() -> dict[Any, Any]:
    """For ``OrderedDict``, into which items come later."""
    return {}


def _scalar(type_: Any, data: Any) -> int | float:
    """For NumPy's ``scalar``."""
    number: int | float = PickledArray(type_, (), data).array().item()
    return number


def _encoded(text: Any, encoding: Any) -> bytes:
    """For ``_codecs.encode``, by which protocol 2 describes bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise RefusedError(f"is a pickle that encodes a text by {shown(encoding)}")
    return text.encode("latin-1")


def stored(type_: Name, read: Callable[[], bytes]) -> PickledArray:
    """A storage of a torch file.

    Args:
        type_: Its class.
        read: Gives its bytes.
    """
    return _Tensor(_Type.of(_STORAGES[type_.name]), data=read)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> PickledArray:
    """For torch's ``_rebuild_tensor_v2``."""
    del rest  # whether it takes gradients, and hooks
    if not isinstance(storage, _Tensor):
        raise ValueError("a tensor has no storage")
    return _Tensor(storage.type, shape, storage.data, offset=offset, strides=strides)


_NDARRAY = Name("numpy", "ndarray")

MAKERS: Mapping[Name, Callable[..., Any]] = {
    Name("numpy", "dtype"): _Type.of,
    Name("_codecs", "encode"): _encoded,
    Name("__builtin__", "bytes"): _no_bytes,
    Name("collections", "OrderedDict"): _no_items,
    Name("torch._utils", "_rebuild_tensor_v2"): _tensor,
    **{
        Name(f"numpy.{core}.{module}", name): make
        for core in ("core", "_core")
        for module, name, make in (
            ("multiarray", "_reconstruct", _empty_array),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _array_of_buffer),
        )
    },
}
"""What stands in for each function that a pickle of arrays calls."""

KNOWN = frozenset((_NDARRAY, *MAKERS, *(Name("torch", name) for name in _STORAGES)))
"""Every name that a pickle may refer to."""

BUILDABLE = (_Type, PickledArray)
"""The classes whose objects take in a state."""


def _sizes(numbers: Any) -> tuple[int, ...]:
    """A tuple of numbers ≥ 0, such as a shape.

    Raises:
        ValueError: When it is none.
    """
    if not isinstance(numbers, tuple | list) or len(numbers) > 32:
        raise ValueError(f"{shown(numbers)} is no shape")
    if not all(type(n) is int and 0 <= n < 1 << 62 for n in numbers):
        raise ValueError(f"the shape has a part that is {', '.join(map(shown, numbers))}")
    return tuple(numbers)

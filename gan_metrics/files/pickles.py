"""Numbers out of pickles, without running them.

A pickle is a program. Here its instructions are read one by one and only those that build plain
data are followed: numbers, texts, bytes, lists, tuples and dicts. The few functions by which NumPy
and torch describe an array are not called either: what is handed to them is kept as a
:class:`PickledArray`, whose type, shape and length are held against each other before an array is
made of it. Everything else (any other name of a module, any other instruction) is an error.

``pickle.Unpickler`` with a ``find_class`` of its own would run no code either, but it makes room
for whatever length a file claims before it reads on: eight bytes can ask for a gigabyte. And one
stand-in that takes any state would be enough to let a file set attributes.

The format is that of https://docs.python.org/3/library/pickletools.html, protocols 2 to 5; that of
torch files is a zip with such a pickle, ``data.pkl``, and the bytes of each storage beside it.
"""

from __future__ import annotations

import os
import pickletools
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gan_metrics.errors import InputError
from gan_metrics.files.npz import StoredArray, reading
from gan_metrics.files.pickled_arrays import (
    BUILDABLE,
    KNOWN,
    MAKERS,
    Name,
    PickledArray,
    RefusedError,
    shown,
    stored,
)

__all__ = ["PickledArray", "read_pickle", "read_torch", "tensor_of"]

_LARGEST = 4 << 30
"""Bytes of a pickle that are read at all."""

_REMEDY = (
    "Save mu and sigma as plain arrays instead: np.savez('statistics.npz', mu=mu, sigma=sigma)"
)


def read_pickle(path: Path) -> Any:
    """What a pickle holds, of plain data; see the module's docstring.

    Args:
        path: The file.

    Returns:
        Numbers, texts, bytes, lists, tuples, dicts, and a :class:`PickledArray` for each array.

    Raises:
        InputError: When the file is missing, broken, too large, or does anything else.
    """
    with reading(path, _REMEDY):
        if (size := os.path.getsize(path)) > _LARGEST:
            raise InputError(f"{path} has {size:,} bytes, too many for a pickle. {_REMEDY}")
        return _follow(path, path.read_bytes(), None)


def read_torch(path: Path) -> Any:
    """What a file that ``torch.save`` wrote holds; as :func:`read_pickle`, and without torch.

    Tensors become a :class:`PickledArray` too; their values are read when its array is made.

    Raises:
        InputError: As for :func:`read_pickle`, and for the format of torch before 1.6.
    """
    with reading(path, _REMEDY):
        with open(path, "rb") as file:
            if not file.read(2) == b"PK":
                raise InputError(
                    f"{path} is no zip, as torch.save has made them since 1.6; load it with the "
                    f"torch that wrote it. {_REMEDY}"
                )
        with zipfile.ZipFile(path) as archive:
            root, program = _program(path, archive)

        def storage(key: str) -> bytes:
            with zipfile.ZipFile(path) as archive:
                return _bytes(archive, f"{root}data/{key}")

        return _follow(path, program, storage)


def tensor_of(path: Path, archive: zipfile.ZipFile) -> StoredArray | None:
    """Type and shape of the tensor that is all that a torch file holds; ``None``: it holds other.

    Args:
        path: The file, for messages.
        archive: The same file, open.

    Raises:
        InputError: As for :func:`read_torch`.
    """
    with reading(path, _REMEDY):
        held = _follow(path, _program(path, archive)[1], lambda key: b"")
        if not isinstance(held, PickledArray):
            return None
        return StoredArray(path, "", held.type.numpy(), tuple(held.shape))


def _program(path: Path, archive: zipfile.ZipFile) -> tuple[str, bytes]:
    names = archive.namelist()
    programs = [n for n in names if n.count("/") == 1 and n.endswith("/data.pkl")]
    if len(programs) != 1:
        raise InputError(f"{path} is a zip without data.pkl: torch.save did not write it")
    root = programs[0].removesuffix("data.pkl")
    if root + "byteorder" in names and _bytes(archive, root + "byteorder") != b"little":
        raise InputError(f"{path} was written on a big-endian machine. {_REMEDY}")
    return root, _bytes(archive, root + "data.pkl")


def _bytes(archive: zipfile.ZipFile, name: str) -> bytes:
    """A member as torch writes them, which takes no more memory than the file has bytes."""
    member = archive.getinfo(name)
    if member.compress_type != zipfile.ZIP_STORED or member.file_size > _LARGEST:
        raise ValueError(f"{name} is compressed or too large; torch.save writes it as it is")
    return archive.read(member)


def _follow(path: Path, program: bytes, storage: Callable[[str], bytes] | None) -> Any:
    try:
        return _Machine(storage).run(program)
    except RefusedError as error:
        raise InputError(
            f"{path} {error}. Pickles are never run: only plain numbers, texts, lists, dicts and "
            f"arrays of numbers are taken from them. {_REMEDY}"
        ) from None


_MARK = object()
"""On the stack, where the items of a list, tuple or dict begin."""

_PUSHED = frozenset(
    (
        *("INT", "LONG", "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING"),
        *("SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    )
)
"""Instructions that bring a value of their own."""

_CONSTANTS: Mapping[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: Mapping[str, type] = {"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Machine:
    """The stack and the memo that a pickle's instructions work on."""

    def __init__(self, storage: Callable[[str], bytes] | None) -> None:
        self._storage = storage
        self._stack: list[Any] = []
        self._memo: dict[Any, Any] = {}

    def run(self, program: bytes) -> Any:
        for opcode, argument, _ in pickletools.genops(program):
            name = opcode.name
            if name in _PUSHED:
                self._stack.append(argument)
            elif name in _CONSTANTS:
                self._stack.append(_CONSTANTS[name])
            elif name in _EMPTY:
                self._stack.append(_EMPTY[name]())
            elif name in _TUPLES:
                items = [self._pop() for _ in range(_TUPLES[name])]
                self._stack.append(tuple(reversed(items)))
            elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
                self._memo[argument] = self._top()
            elif name in ("BINGET", "LONG_BINGET", "GET"):
                self._stack.append(self._memo[argument])
            elif (act := _ACTIONS.get(name)) is not None:
                act(self, argument)
            else:
                raise RefusedError(f"is a pickle with the instruction {name}")
        return self._pop()

    def _pop(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise ValueError("the pickle takes more than it put down")
        return self._stack.pop()

    def _top(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise ValueError("the pickle looks where nothing is")
        return self._stack[-1]

    def _items(self) -> list[Any]:
        """What lies above the last mark, taken away with it."""
        start = len(self._stack) - 1
        while self._stack[start] is not _MARK:
            start -= 1
            if start < 0:
                raise ValueError("the pickle has no mark")
        items = self._stack[start + 1 :]
        del self._stack[start:]
        return items

    def _drop(self, _: Any) -> None:
        self._stack.pop()

    def _drop_items(self, _: Any) -> None:
        self._items()

    def _memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._top()

    def _append(self, items: list[Any]) -> None:
        target = self._top()
        if type(target) is not list:
            raise ValueError("the pickle appends to what is no list")
        target.extend(items)

    def _set(self, items: list[Any]) -> None:
        target = self._top()
        if type(target) is not dict:
            raise ValueError("the pickle sets items of what is no dict")
        target.update(_pairs(items))

    def _set_one(self, _: Any) -> None:
        value, key = self._pop(), self._pop()
        self._set([key, value])

    def _name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("a name in the pickle is no text")
        found = Name(module, name)
        if found not in KNOWN:
            raise RefusedError(f"is a pickle that names {shown(found)}")
        self._stack.append(found)

    def _stack_name(self, _: Any) -> None:
        name, module = self._pop(), self._pop()
        self._name(module, name)

    def _reduce(self, _: Any) -> None:
        arguments, function = self._pop(), self._pop()
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise RefusedError("is a pickle that calls what is no function")
        if (make := MAKERS.get(function)) is None:
            raise RefusedError(f"is a pickle that calls {shown(function)}")
        self._stack.append(make(*arguments))

    def _build(self, _: Any) -> None:
        state, target = self._pop(), self._top()
        if type(target) is dict:  # the notes on an OrderedDict, as in torch's state dicts
            return
        if type(target) not in BUILDABLE:
            raise RefusedError("is a pickle that sets the state of an object")
        target.build(state)

    def _persistent(self, _: Any) -> None:
        reference = self._pop()
        if self._storage is None:
            raise RefusedError("is a pickle that refers to what is not in it")
        kind, type_, key, _, _ = reference
        if kind != "storage" or not isinstance(key, str) or not isinstance(type_, Name):
            raise ValueError("a reference of the pickle is to no storage")
        read, place = self._storage, key
        self._stack.append(stored(type_, lambda: read(place)))


def _nothing(machine: _Machine, argument: Any) -> None:
    """For instructions that only matter to who reads a stream."""


_ACTIONS: Mapping[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _nothing,
    "FRAME": _nothing,
    "STOP": _nothing,
    "MARK": lambda m, _: m._stack.append(_MARK),
    "POP": _Machine._drop,
    "POP_MARK": _Machine._drop_items,
    "MEMOIZE": _Machine._memoize,
    "TUPLE": lambda m, _: m._stack.append(tuple(m._items())),
    "LIST": lambda m, _: m._stack.append(m._items()),
    "DICT": lambda m, _: m._stack.append(_pairs(m._items())),
    "APPEND": lambda m, _: m._append([m._pop()]),
    "APPENDS": lambda m, _: m._append(m._items()),
    "SETITEM": _Machine._set_one,
    "SETITEMS": lambda m, _: m._set(m._items()),
    "GLOBAL": lambda m, both: m._name(*both.split(" ", 1)),
    "STACK_GLOBAL": _Machine._stack_name,
    "REDUCE": _Machine._reduce,
    "BUILD": _Machine._build,
    "BINPERSID": _Machine._persistent,
}


def _pairs(items: list[Any]) -> dict[Any, Any]:
    keys, values = items[::2], items[1::2]
    if len(keys) != len(values) or not all(isinstance(k, str | int | bytes) for k in keys):
        raise ValueError("the keys of a dict are no texts or numbers")
    return dict(zip(keys, values, strict=True))

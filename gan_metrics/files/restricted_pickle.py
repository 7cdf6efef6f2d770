"""Read arrays and plain data from pickles and torch files without executing them.

First :mod:`pickletools` checks the instructions: only those that build plain data are allowed, each
length must fit into the file, and keys of a dict must be numbers, texts or bytes. Then an unpickler
follows them, with a stand-in for each function by which NumPy and torch describe an array; every
other name is refused. A stand-in stores its arguments in a :class:`PickledArray`; type, shape and
length are compared before an array is made.

The format is described in https://docs.python.org/3/library/pickletools.html, protocols 2 to 5. A
torch file is a zip with such a pickle, ``data.pkl``, and the bytes of each storage.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import pickletools
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gan_metrics.errors import InputError
from gan_metrics.files.npz import StoredArray, reading
from gan_metrics.files.pickle_stand_ins import (
    PickledArray,
    RefusedError,
    Storage,
    stand_in,
    storage,
)

__all__ = ["PickledArray", "one_tensor", "open_torch", "read_pickle"]

_LARGEST = 4 << 30
"""Most bytes of a pickle that is read."""

_MOST_INSTRUCTIONS = 1_000_000

_REMEDY = (
    "Save mu and sigma as plain arrays instead: np.savez('statistics.npz', mu=mu, sigma=sigma)"
)


def read_pickle(path: Path) -> Any:
    """Read the plain data in a pickle; see the module's docstring.

    Args:
        path: The file.

    Returns:
        Numbers, texts, bytes, lists, tuples, dicts, and a :class:`PickledArray` for each array.

    Raises:
        InputError: If the file is missing, broken, too large, or contains anything else.
    """
    with reading(path, _REMEDY), open(path, "rb") as file:
        if (size := os.fstat(file.fileno()).st_size) > _LARGEST:
            raise InputError(f"{path} has {size:,} bytes, too many for a pickle. {_REMEDY}")
        return _load(path, file.read(), None)


@contextlib.contextmanager
def open_torch(path: Path) -> Iterator[Any]:
    """Yield the content of a file written by ``torch.save``, like :func:`read_pickle`.

    Does not need torch. Tensors also become a :class:`PickledArray`; make its array within this
    block, which reads the file and turns all errors into an ``InputError``.

    Raises:
        InputError: As for :func:`read_pickle`, and for the format of torch before 1.6.
    """
    with reading(path, _REMEDY), open(path, "rb") as file:
        if file.read(2) != b"PK":
            raise InputError(
                f"{path} is not a zip, the format of torch.save since 1.6; load it with the torch "
                f"version that wrote it. {_REMEDY}"
            )
        with zipfile.ZipFile(file) as archive:
            yield _load_torch(path, archive)


def one_tensor(path: Path, archive: zipfile.ZipFile) -> StoredArray | None:
    """Return type and shape of the tensor in a torch file with exactly one tensor.

    Args:
        path: The file, for messages.
        archive: The same file, open.

    Returns:
        The tensor, not loaded; ``None`` if the file contains anything else.

    Raises:
        InputError: As for :func:`open_torch`.
    """
    with reading(path, _REMEDY):
        held = _load_torch(path, archive)
        return StoredArray(path, "", *held.header()) if isinstance(held, PickledArray) else None


def _load_torch(path: Path, archive: zipfile.ZipFile) -> Any:
    names = archive.namelist()
    programs = [n for n in names if n.count("/") == 1 and n.endswith("/data.pkl")]
    if len(programs) != 1:
        raise InputError(f"{path} is a zip without data.pkl, so torch.save did not write it")
    root = programs[0].removesuffix("data.pkl")

    def member(name: str) -> bytes:
        """Return the bytes of a member, which must be stored without compression."""
        info = archive.getinfo(root + name)
        if info.compress_type != zipfile.ZIP_STORED or info.file_size > _LARGEST:
            raise ValueError(f"{name} is compressed or too large; torch.save stores it unchanged")
        return archive.read(info)

    if root + "byteorder" in names and member("byteorder") != b"little":
        raise InputError(f"{path} was written on a big-endian machine. {_REMEDY}")
    return _load(path, member("data.pkl"), lambda key: member(f"data/{key}"))


def _load(path: Path, program: bytes, storage: Callable[[str], bytes] | None) -> Any:
    try:
        _check(program)
        return _Unpickler(program, storage).load()
    except RefusedError as error:
        raise InputError(
            f"{path} {error}. Pickles are never executed: only numbers, texts, lists, dicts and "
            f"arrays of numbers are read from them. {_REMEDY}"
        ) from None


# Allowed instructions.

_SCALARS = frozenset(
    (
        *("INT", "LONG", "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING"),
        *("SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
        *("NONE", "NEWTRUE", "NEWFALSE"),
    )
)
"""Instructions that push a number, a text or bytes."""

_PUTS = frozenset(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"))
_GETS = frozenset(("GET", "BINGET", "LONG_BINGET"))
_ALLOWED = frozenset(
    (
        *(*_SCALARS, *_PUTS, *_GETS, "PROTO", "FRAME", "MARK", "POP", "POP_MARK", "STOP"),
        *("EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "TUPLE", "EMPTY_LIST", "LIST", "APPEND"),
        *("APPENDS", "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS"),
        *("GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "BINPERSID"),
    )
)
_Value = str | bool | None
_MARK = None
"""Marker on the stack before the items of a list, tuple or dict."""


def _check(program: bytes) -> None:
    """Refuse a pickle with other instructions, too large lengths, or keys that are slow to hash.

    A tuple that contains one tuple twice, and so on, is small but takes forever to hash, so a key
    must be a number, a text or bytes. The check therefore simulates the stack: texts, which may be
    names, ``True`` for numbers and bytes, and ``False`` for any other value.

    Raises:
        RefusedError: For an instruction or a name that is not allowed.
        ValueError: For a broken pickle.
    """
    stack: list[_Value] = []
    memo: dict[int, _Value] = {}
    for count, (opcode, argument, _) in enumerate(pickletools.genops(program)):
        name = opcode.name
        if name not in _ALLOWED:
            raise RefusedError(f"is a pickle with the instruction {name}")
        if count >= _MOST_INSTRUCTIONS:
            raise RefusedError(f"is a pickle with more than {_MOST_INSTRUCTIONS:,} instructions")
        if name in _PUTS:
            at = len(memo) if argument is None else argument
            if at > count or not stack or stack[-1] is _MARK:
                raise ValueError(f"the pickle has no stored value number {at}")
            memo[at] = stack[-1]
            continue
        taken, above = _taken(opcode, stack)
        keys = taken[1:2] if name == "SETITEM" else above[::2]
        if name in ("SETITEM", "SETITEMS", "DICT") and any(key is False for key in keys):
            raise ValueError("the keys of a dict are not texts or numbers")
        if name in ("GLOBAL", "STACK_GLOBAL"):
            stand_in(*(str(argument).split(" ", 1) if name == "GLOBAL" else taken))
        if name == "MARK":
            stack.append(_MARK)
        elif opcode.stack_after:
            value = argument if isinstance(argument, str) else True
            known = name in _GETS and argument in memo
            stack.append(memo[int(str(argument))] if known else name in _SCALARS and value)


def _taken(
    opcode: pickletools.OpcodeInfo, stack: list[_Value]
) -> tuple[list[_Value], list[_Value]]:
    """Pop the arguments of an instruction from the stack, down to the last mark if it uses one."""
    before, above = opcode.stack_before, []
    if opcode.name == "POP" and stack[-1:] == [_MARK]:
        return [stack.pop()], []
    if pickletools.markobject in before:
        at = len(stack) - 1
        while at >= 0 and stack[at] is not _MARK:
            at -= 1
        if at < 0:
            raise ValueError("the pickle has no mark")
        above = stack[at + 1 :]
        del stack[at:]
        before = before[: before.index(pickletools.markobject)]
    start = len(stack) - len(before)
    if start < 0 or _MARK in stack[start:]:
        raise ValueError("the pickle pops from an empty stack")
    taken = stack[start:]
    del stack[start:]
    return taken, above


class _Unpickler(pickle.Unpickler):
    """Unpickles a program that :func:`_check` has accepted.

    Args:
        program: The pickle.
        storage: Function that reads the bytes of a storage by its key; ``None`` without storages.
    """

    def __init__(self, program: bytes, storage: Callable[[str], bytes] | None) -> None:
        super().__init__(io.BytesIO(program), encoding="latin-1")
        self._storage_of = storage

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in of a name."""
        return stand_in(module, name)

    def persistent_load(self, reference: Any) -> Storage:
        """Return a storage of a torch file."""
        if self._storage_of is None:
            raise RefusedError("is a pickle that refers to external data")
        kind, type_, key, _, _ = reference
        if kind != "storage" or not isinstance(key, str):
            raise ValueError("a reference in the pickle is not to a storage")
        read = self._storage_of
        return storage(type_, lambda: read(key))

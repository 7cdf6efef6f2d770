"""Arrays and plain data from pickles and torch files, without running what stands in them.

Before anything is unpickled, :mod:`pickletools` reads the instructions: all must be of a short list
of those that build plain data, every length must fit into the file, and only numbers, texts and
bytes may be keys of a dict. Then an unpickler follows them that has a stand-in for each function by
which NumPy and torch describe an array, and refuses every other name. A stand-in keeps what it is
given as a :class:`PickledArray`; type, shape and length are compared before an array is made.

The format is that of https://docs.python.org/3/library/pickletools.html, protocols 2 to 5; a torch
file is a zip with such a pickle, ``data.pkl``, and the bytes of each storage beside it.
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
"""Bytes of a pickle that are read at all."""

_MOST_INSTRUCTIONS = 1_000_000

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
        InputError: When the file is missing, broken, too large, or holds anything else.
    """
    with reading(path, _REMEDY), open(path, "rb") as file:
        if (size := os.fstat(file.fileno()).st_size) > _LARGEST:
            raise InputError(f"{path} has {size:,} bytes, too many for a pickle. {_REMEDY}")
        return _load(path, file.read(), None)


@contextlib.contextmanager
def open_torch(path: Path) -> Iterator[Any]:
    """What a file that ``torch.save`` wrote holds; as :func:`read_pickle`, and without torch.

    Tensors become a :class:`PickledArray` too, whose values are read from the file when its array
    is made: within this context, which turns all errors into an ``InputError``.

    Raises:
        InputError: As for :func:`read_pickle`, and for the format of torch before 1.6.
    """
    with reading(path, _REMEDY), open(path, "rb") as file:
        if file.read(2) != b"PK":
            raise InputError(
                f"{path} is no zip, as torch.save has made them since 1.6; load it with the "
                f"torch that wrote it. {_REMEDY}"
            )
        with zipfile.ZipFile(file) as archive:
            yield _load_torch(path, archive)


def one_tensor(path: Path, archive: zipfile.ZipFile) -> StoredArray | None:
    """Type and shape of the tensor of a torch file that holds one tensor and nothing else.

    Args:
        path: The file, for messages.
        archive: The same file, open.

    Returns:
        ``None`` where it holds anything else.

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
        raise InputError(f"{path} is a zip without data.pkl: torch.save did not write it")
    root = programs[0].removesuffix("data.pkl")

    def member(name: str) -> bytes:
        """A member as torch writes them, which takes no more memory than the file has bytes."""
        info = archive.getinfo(root + name)
        if info.compress_type != zipfile.ZIP_STORED or info.file_size > _LARGEST:
            raise ValueError(f"{name} is compressed or too large; torch.save writes it as it is")
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
            f"{path} {error}. Pickles are never run: only plain numbers, texts, lists, dicts and "
            f"arrays of numbers are taken from them. {_REMEDY}"
        ) from None


# The instructions.

_SCALARS = frozenset(
    (
        *("INT", "LONG", "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING"),
        *("SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
        *("NONE", "NEWTRUE", "NEWFALSE"),
    )
)
"""Instructions that bring a number, a text or bytes."""

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
"""On the stack, where the items of a list, tuple or dict begin."""


def _check(program: bytes) -> None:
    """Refuse a pickle with other instructions, lengths beyond its end, or keys that take long.

    A tuple that holds one tuple twice, and so on, takes no room and forever to hash: a key must be
    a number, a text or bytes. So the stack is followed: with the texts, which may be names,
    ``True`` for numbers and bytes, and ``False`` for any other value.

    Raises:
        RefusedError: For an instruction or a name that is not allowed.
        ValueError: For a pickle that is broken.
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
                raise ValueError(f"the pickle remembers nothing as number {at}")
            memo[at] = stack[-1]
            continue
        taken, above = _taken(opcode, stack)
        keys = taken[1:2] if name == "SETITEM" else above[::2]
        if name in ("SETITEM", "SETITEMS", "DICT") and any(key is False for key in keys):
            raise ValueError("the keys of a dict are no texts or numbers")
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
    """Take from the stack what an instruction takes: below the last mark, and above it."""
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
        raise ValueError("the pickle takes more than it put down")
    taken = stack[start:]
    del stack[start:]
    return taken, above


class _Unpickler(pickle.Unpickler):
    """Follows a pickle that :func:`_check` has let pass.

    Args:
        program: The pickle.
        storage: Reads the bytes of a storage by its key; ``None``: there are none.
    """

    def __init__(self, program: bytes, storage: Callable[[str], bytes] | None) -> None:
        super().__init__(io.BytesIO(program), encoding="latin-1")
        self._storage_of = storage

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name."""
        return stand_in(module, name)

    def persistent_load(self, reference: Any) -> Storage:
        """A storage of a torch file."""
        if self._storage_of is None:
            raise RefusedError("is a pickle that refers to what is not in it")
        kind, type_, key, _, _ = reference
        if kind != "storage" or not isinstance(key, str):
            raise ValueError("a reference of the pickle is to no storage")
        read = self._storage_of
        return storage(type_, lambda: read(key))

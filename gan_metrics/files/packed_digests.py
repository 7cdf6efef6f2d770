"""SHA-256 digests of many images, packed in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

__all__ = ["UNREADABLE", "PackedDigests"]

_LENGTH = 32

UNREADABLE = bytes(_LENGTH)
"""Placeholder digest of an image that could not be read."""


class PackedDigests(Sequence[bytes]):
    """A sequence of digests of 32 bytes each, without further memory.

    Args:
        digests: The first digests.
        room: Number of digests for which memory is allocated now.
    """

    def __init__(self, digests: Iterable[bytes] = (), *, room: int = 0) -> None:
        self._bytes = bytearray(b"\xff") * (
            _LENGTH * room
        )  # written, so that the memory is really allocated
        self._n = 0
        for digest in digests:
            self.append(digest)

    def append(self, digest: bytes) -> None:
        """Append a digest.

        Raises:
            ValueError: If it is not 32 bytes long.
        """
        if len(digest) != _LENGTH:
            raise ValueError(f"a digest of {len(digest)} bytes; expected {_LENGTH}")
        start = _LENGTH * self._n
        self._bytes[start : start + _LENGTH] = digest
        self._n += 1

    def __len__(self) -> int:
        return self._n

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> PackedDigests: ...
    def __getitem__(self, index: int | slice) -> bytes | PackedDigests:
        if isinstance(index, slice):
            return PackedDigests(self[i] for i in range(*index.indices(len(self))))
        start = _LENGTH * range(len(self))[index]
        return bytes(self._bytes[start : start + _LENGTH])

    def __iter__(self) -> Iterator[bytes]:
        return (self[i] for i in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

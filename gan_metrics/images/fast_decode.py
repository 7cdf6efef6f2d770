"""Find the pixels in a plain PNG or JPEG file, to pass them directly to Pillow's decoder.

Parsing a small image file with Pillow takes longer than decoding its pixels. A file is plain if
none of the cases of :mod:`gan_metrics.images.decode` applies:

==== ===========================================================================================
PNG  8 bits per channel, gray or RGB, not interlaced, only chunks of :data:`_CHUNKS`
JPEG baseline or progressive, 8 bits, gray or three channels; no EXIF block, no color profile
==== ===========================================================================================
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, NamedTuple

from gan_metrics.images.metadata import ImageMetadata

__all__ = ["Plain", "read_plain"]

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_CHUNKS = frozenset((b"cHRM", b"gAMA", b"pHYs", b"sRGB", b"tIME"))
_PNG_MODES = {0: "L", 2: "RGB"}
_JPEG_MODES = {1: "L", 3: "RGB"}
_HEADER, _CHUNK, _SEGMENT = map(struct.Struct, (">I4sIIBBBBB", ">I4s", ">BBH"))
_TABLES = frozenset((0xC4, 0xDB, 0xDD, 0xFE))
"""Segments of Huffman codes, quantization and restarts; and comments."""


class Plain(NamedTuple):
    """A plain file.

    Attributes:
        metadata: Metadata of the image.
        data: The part of the file for the decoder.
        decoder: Pillow's name of the decoder.
        arguments: Arguments that Pillow passes to the decoder.
    """

    metadata: ImageMetadata
    data: bytes
    decoder: str
    arguments: tuple[Any, ...]


def read_plain(data: bytes) -> Plain | None:
    """Parse a file.

    Args:
        data: All bytes of the file.

    Returns:
        The plain file; ``None`` if it is not plain or not complete.
    """
    try:
        if data.startswith(_PNG):
            return _png(data)
        return _jpeg(data) if data.startswith(_JPEG) else None
    except (struct.error, IndexError):
        return None


def _png(data: bytes) -> Plain | None:
    length, kind, width, height, depth, colour, *method = _HEADER.unpack_from(data, 8)
    if (length, kind, depth, method) != (13, b"IHDR", 8, [0, 0, 0]):
        return None
    if colour not in _PNG_MODES or not width or not height or not _is_intact(data, 12, 17):
        return None
    place, parts = 33, []
    while True:
        length, kind = _CHUNK.unpack_from(data, place)
        place += 12 + length
        if kind == b"IDAT":
            parts.append(data[place - 4 - length : place - 4])
        elif kind == b"IEND":
            break
        elif parts or kind not in _CHUNKS:
            return None
        if place > len(data) or not _is_intact(data, place - 8 - length, length + 4):
            return None
    metadata = ImageMetadata(width, height, "PNG", _PNG_MODES[colour])
    pixels = parts[0] if len(parts) == 1 else b"".join(parts)
    return Plain(metadata, pixels, "zip", (metadata.mode, 0))


def _is_intact(data: bytes, start: int, length: int) -> bool:
    """Whether the checksum of a chunk is right."""
    end = start + length
    return zlib.crc32(memoryview(data)[start:end]) == int.from_bytes(data[end : end + 4], "big")


def _jpeg(data: bytes) -> Plain | None:
    place, metadata = 2, None
    while True:
        mark, kind, length = _SEGMENT.unpack_from(data, place)
        start, place = place + 4, place + 2 + length
        if mark != 0xFF or length < 2:
            return None
        if kind in (0xC0, 0xC2):  # the frame, baseline or progressive
            depth, height, width, channels = struct.unpack_from(">BHHB", data, start)
            mode = _JPEG_MODES.get(channels)
            if metadata is not None or depth != 8 or not height or not width or mode is None:
                return None
            metadata = ImageMetadata(width, height, "JPEG", mode)
        elif kind == 0xDA:  # the first scan
            return None if metadata is None else Plain(metadata, data, "jpeg", (metadata.mode, ""))
        elif kind == 0xE0:  # JFIF, but not its extension with a thumbnail
            if not data.startswith(b"JFIF\0", start):
                return None
        elif kind == 0xEE:  # Adobe: the color space of three channels
            if not data.startswith(b"Adobe", start):
                return None
        elif kind not in _TABLES:
            return None

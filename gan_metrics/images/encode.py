"""Encode arrays as PNG and JPEG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TypeGuard

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont, ImageOps

from gan_metrics.files.download import atomic_path
from gan_metrics.utils.text import as_text

__all__ = [
    "Cell",
    "enlarge",
    "file_of",
    "is_pillow",
    "overlay",
    "rgba_file",
    "save_png",
    "save_sheet",
    "thumbnail",
]


def save_png(path: Path, pixels: npt.NDArray[np.uint8]) -> None:
    """Write an image as PNG.

    Args:
        path: The file to write.
        pixels: ``uint8``, ``H × W`` or ``H × W × 3``.

    Raises:
        ResourceError: If it cannot be written.
    """
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, "PNG")


def enlarge(pixels: npt.NDArray[np.uint8], factor: int) -> npt.NDArray[np.uint8]:
    """Enlarge an image of ``H × W`` to ``factor·H × factor·W`` with Pillow's bicubic filter."""
    height, width = pixels.shape
    size = (width * factor, height * factor)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def overlay(
    pixels: npt.NDArray[np.uint8], places: npt.NDArray[np.float64]
) -> npt.NDArray[np.uint8]:
    """Draw a map over a gray image: red where it is positive, blue where it is negative.

    Args:
        pixels: ``uint8``, ``H × W × 3``.
        places: The map, shape ``(h, w)``, from −1 to 1; scaled to the size of the image.
    """
    height, width = pixels.shape[:2]
    stretched = Image.fromarray(places.astype(np.float32)).resize(
        (width, height), Image.Resampling.BILINEAR
    )
    strength = np.asarray(stretched, np.float64)[..., None]
    grey = np.repeat(pixels.mean(axis=2, keepdims=True), 3, axis=2)
    tint = np.where(strength > 0, np.array(_RED), np.array(_BLUE))
    share = 0.8 * np.abs(strength).clip(0, 1)
    mixed: npt.NDArray[np.uint8] = (grey * (1 - share) + tint * share).round().astype(np.uint8)
    return mixed


_RED, _BLUE = (178.0, 24.0, 43.0), (33.0, 102.0, 172.0)
"""Colors that people with any kind of color vision can distinguish."""


def thumbnail(pixels: npt.NDArray[np.uint8], size: int, quality: int = 80) -> bytes:
    """Return a small JPEG of an image.

    Args:
        pixels: ``uint8``, ``3 × H × W``, RGB.
        size: Longest side in pixels.
        quality: Quality of the JPEG, 1–95.
    """
    image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


Cell = tuple[npt.NDArray[np.uint8], str]
"""An image, ``uint8``, ``H × W`` or ``H × W × 3``, and the text below it."""


def save_sheet(
    path: Path, rows: Sequence[tuple[str, Sequence[Cell]]], *, cell: int | None = None, gap: int = 4
) -> None:
    """Write a picture with labeled rows of images.

    Args:
        path: The file to write.
        rows: Pairs of a label and cells.
        cell: Height and width in pixels to which images are scaled; ``None``: all images have one
            size, which is kept.
        gap: Pixels between images.

    Raises:
        ResourceError: If it cannot be written.
    """
    font, small = ImageFont.load_default(size=15), ImageFont.load_default(size=11)
    height, width = (cell, cell) if cell else rows[0][1][0][0].shape[:2]
    line = 16 if any(caption for _, cells in rows for _, caption in cells) else 0
    labels = [_shortened(label, font, 260) for label, _ in rows]
    margin = 12 + max(int(font.getlength(label)) for label in labels) + 12
    most = max(len(cells) for _, cells in rows)
    canvas = Image.new(
        "RGB",
        (margin + most * (width + gap), gap + len(rows) * (height + line + gap)),
        color="white",
    )
    draw = ImageDraw.Draw(canvas)
    for row, (_, cells) in enumerate(rows):
        top = gap + row * (height + line + gap)
        draw.text((12, top + height / 2), labels[row], fill="black", font=font, anchor="lm")
        for column, (pixels, caption) in enumerate(cells):
            left = margin + column * (width + gap)
            image = Image.fromarray(pixels)
            if cell:
                image = ImageOps.contain(image, (cell, cell))
            canvas.paste(image, (left, top))
            caption = _shortened(caption, small, width)
            draw.text((left, top + height + 2), caption, fill="black", font=small)
    save_png(path, np.asarray(canvas))


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Return the part of a text that fits, with an ellipsis if it was cut."""
    text = as_text(text)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def is_pillow(given: object) -> TypeGuard[Image.Image]:
    """Whether an object is a Pillow image."""
    return isinstance(given, Image.Image)


def rgba_file(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Return an image with an alpha channel as a PNG.

    Args:
        pixels: ``uint8``, ``H × W × 4``, C-contiguous.
    """
    file = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(file, "PNG", compress_level=1)
    return file.getvalue()


def file_of(image: object) -> bytes | None:
    """Return a Pillow image as a file, without loss and with its mode.

    Args:
        image: Any object; the result is ``None`` if it is not a Pillow image.
    """
    if not isinstance(image, Image.Image):
        return None
    file = io.BytesIO()
    try:
        image.save(file, "PNG", compress_level=1)
    except (OSError, ValueError):  # PNG does not support this mode
        image.save(file, "TIFF")
    return file.getvalue()

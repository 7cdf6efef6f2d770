"""Select the names of images in a folder, an archive or a bucket."""

from __future__ import annotations

import os
import posixpath
from collections import Counter

from gan_metrics.errors import InputError
from gan_metrics.images.decode import EXTENSIONS

__all__ = ["Listing", "is_image_name", "numbered"]

_LITTER = "__MACOSX"
"""A folder that macOS adds to archives."""


def is_image_name(name: str) -> bool:
    """Whether a name has the extension of an image, in upper or lower case."""
    return os.path.splitext(name)[1].lower() in EXTENSIONS


def numbered(n: int, stride: int = 1) -> list[str]:
    """Return names for images without names: ``"000000"``, ``"000001"``, …, in byte order.

    Args:
        n: Number of names.
        stride: Difference between consecutive numbers.
    """
    digits = max(6, len(str(n - 1)))
    return [f"{i:0{digits}d}" for i in range(0, n, stride)]


class Listing:
    """Separates names of images from other names, which are counted.

    Args:
        where: Description of the listed place.

    Attributes:
        others: Number of other files by kind.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self.others: Counter[str] = Counter()

    def takes(self, name: str) -> bool:
        """Whether a name, with ``/``, is that of an image; other names are counted."""
        parts = [part for part in name.split("/") if part not in (".", "..")]
        if any(part.startswith(".") for part in parts):
            self.others["hidden"] += 1
        elif _LITTER in parts[:-1]:
            self.others[_LITTER] += 1
        elif is_image_name(name):
            return True
        else:
            extension = posixpath.splitext(parts[-1] if parts else "")[1].lower()
            self.others[extension or "no extension"] += 1
        return False

    @property
    def seen(self) -> str:
        """Description of the files that are not images."""
        return ", ".join(f"{n} {kind}" for kind, n in self.others.most_common(8))

    @property
    def warnings(self) -> list[tuple[str, str]]:
        """A warning if some files are not images."""
        if not self.others:
            return []
        return [("other-files", f"{self._where}: files that are not images: {self.seen}")]

    def nothing_found(self, also: str = "") -> InputError:
        """Return the error for a place without images.

        Args:
            also: Further description of what was found.
        """
        if not self.others and not also:
            return InputError(f"{self._where} is empty; expected images")
        seen = [f"it contains {self.seen}"] if self.others else []
        seen += [also] if also else []
        return InputError(
            f"{self._where} contains no images: {'; '.join(seen)}. "
            f"Images have the extensions {' '.join(sorted(EXTENSIONS))}"
        )

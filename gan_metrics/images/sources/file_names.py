"""Which names in a folder, an archive or a bucket are those of images."""

from __future__ import annotations

import os
import posixpath
from collections import Counter

from gan_metrics.errors import InputError
from gan_metrics.images.decode import EXTENSIONS

__all__ = ["Listing", "is_image_name", "numbered"]

_LITTER = "__MACOSX"
"""A folder that one system's archiver puts beside the images."""


def is_image_name(name: str) -> bool:
    """Whether a name ends like that of an image, whatever the case."""
    return os.path.splitext(name)[1].lower() in EXTENSIONS


def numbered(n: int, stride: int = 1) -> list[str]:
    """Names of images that have none: ``"000000"``, ``"000001"``, …, in the order of their bytes.

    Args:
        n: How many numbers there are.
        stride: From one name to the next.
    """
    digits = max(6, len(str(n - 1)))
    return [f"{i:0{digits}d}" for i in range(0, n, stride)]


class Listing:
    """Sorts names into images and others, which are counted.

    Args:
        where: What is listed, for a person.

    Attributes:
        others: Kind of what is not taken, to how many there were.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self.others: Counter[str] = Counter()

    def takes(self, name: str) -> bool:
        """Whether a name, with ``/``, is that of an image; counts it if not."""
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
        """What is not taken, in words."""
        return ", ".join(f"{n} {kind}" for kind, n in self.others.most_common(8))

    @property
    def warnings(self) -> list[tuple[str, str]]:
        """A pair of a code and a message, if there is something that is not taken."""
        if not self.others:
            return []
        return [("other-files", f"{self._where}: not taken for images: {self.seen}")]

    def nothing_found(self, also: str = "") -> InputError:
        """The error where there is no image.

        Args:
            also: What else was seen there.
        """
        if not self.others and not also:
            return InputError(f"{self._where} is empty; expected images")
        seen = [f"it holds {self.seen}"] if self.others else []
        seen += [also] if also else []
        return InputError(
            f"{self._where} holds no images: {'; '.join(seen)}. "
            f"Taken for images are {' '.join(sorted(EXTENSIONS))}"
        )

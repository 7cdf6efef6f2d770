"""What every source of images is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

__all__ = ["ImageSource"]


class ImageSource(Protocol):
    """A set of encoded images in a stable order.

    Attributes:
        description: What it is, for a person.
        names: The name of each image, unique within the source.
        warnings: Pairs of a code and a message about what was and was not taken.

    A source whose :meth:`read` runs a generator of the user has an attribute ``draws``, ``True``.
    """

    @property
    def description(self) -> str: ...  # noqa: D102

    @property
    def names(self) -> Sequence[str]: ...  # noqa: D102

    @property
    def warnings(self) -> Sequence[tuple[str, str]]: ...  # noqa: D102

    def read(self, index: int) -> bytes:
        """The encoded bytes of one image.

        Raises:
            ImageError: When they cannot be read.
            ResourceError: When this is no fault of the image.
        """
        ...

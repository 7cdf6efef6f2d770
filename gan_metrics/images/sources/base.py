"""The interface of image sources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

__all__ = ["ImageSource"]


class ImageSource(Protocol):
    """A set of encoded images in a stable order.

    Attributes:
        description: Description of the source.
        names: The name of each image, unique within the source.
        warnings: Pairs of a code and a message, for example about files that were not used.

    A source whose :meth:`read` runs a user's generator has an attribute ``draws``, ``True``.
    """

    @property
    def description(self) -> str: ...  # noqa: D102

    @property
    def names(self) -> Sequence[str]: ...  # noqa: D102

    @property
    def warnings(self) -> Sequence[tuple[str, str]]: ...  # noqa: D102

    def read(self, index: int) -> bytes:
        """Return the encoded bytes of one image.

        Raises:
            ImageError: If they cannot be read.
            ResourceError: If the failure is not caused by the image.
        """
        ...

"""Where bytes lie: a file of this machine, or one that fsspec reaches."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar, cast

from gan_metrics import settings
from gan_metrics.errors import (
    GanMetricsError,
    InputError,
    NotFoundError,
    ResourceError,
    UsageError,
    unreadable,
)
from gan_metrics.files import download
from gan_metrics.files.temporary import Temporary, check_files_left
from gan_metrics.utils.optional import require

__all__ = ["Location", "is_remote"]

_T = TypeVar("_T")

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)

_SCHEMES = frozenset(
    ("abfs", "abfss", "az", "gcs", "gs", "hf", "http", "https", "memory", "oss", "r2", "s3")
)
"""Those of stores. Others run programs or read other files of this machine."""


def is_remote(path: object) -> bool:
    """Whether a path is the URL of a place that fsspec reaches.

    Raises:
        UsageError: When it is a URL of another kind.
    """
    if not isinstance(path, str):
        return False
    found = _SCHEME.search(path)
    if found is None or (found.start() and "::" not in path[: found.start()]):
        return False
    if found.start() or found[1].lower() not in _SCHEMES or "::" in path:
        raise UsageError(
            f"{path}: images are read from {', '.join(sorted(_SCHEMES))} and from files; "
            "not from other URLs, nor from chains of them"
        )
    return True


@dataclass(frozen=True)
class Location:
    """A file or folder, here or remote.

    Attributes:
        url: A path, or a URL.
    """

    url: str

    @property
    def remote(self) -> bool:
        """Whether it is not on this machine."""
        return is_remote(self.url)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return os.path.basename(self.url.rstrip("/").partition("?")[0])

    def is_folder(self) -> bool:
        """Whether it is a folder."""
        if not self.remote:
            return os.path.isdir(self.url)
        if self.url.lower().startswith("http"):  # a page is no folder, but that of one may be
            return self.url.endswith("/")
        system, path = self._system()
        return bool(_reached(self.url, lambda: system.isdir(path)))

    def exists(self) -> bool:
        """Whether something is there; of a web page only reading it can tell."""
        if not self.remote:
            return os.path.lexists(self.url)
        system, path = self._system()
        if self.url.lower().startswith("http"):  # fsspec takes a server's fault for absence
            return True
        return bool(_reached(self.url, lambda: system.exists(path)))

    def files(self) -> list[str]:
        """Of a remote folder, the names of all files below it, in no order.

        Raises:
            InputError: When it cannot be listed.
            ResourceError: When the network gives out.
        """
        system, path = self._system()
        found = _reached(self.url, lambda: system.find(path))
        root = system._strip_protocol(path).rstrip("/") + "/"
        names = (system._strip_protocol(one).partition("?")[0] for one in found)
        return [name.removeprefix(root) for name in names if name.startswith(root)]

    def matches(self) -> list[str]:
        """The URLs that a remote pattern with ``*`` names, sorted by their bytes.

        Raises:
            InputError, ResourceError: As for :meth:`files`.
        """
        system, path = self._system()
        found = _reached(self.url, lambda: system.glob(path))
        return sorted((str(system.unstrip_protocol(one)) for one in found), key=str.encode)

    def below(self, name: str) -> Location:
        """A file in this folder."""
        return Location(self.url.rstrip("/") + "/" + name)

    def size(self) -> int:
        """The length in bytes."""
        if not self.remote:
            return os.path.getsize(self.url)
        system, path = self._system()
        size = _reached(self.url, lambda: system.size(path))
        if size is None:
            raise InputError(f"{self.url}: its server does not say how long it is; download it")
        return int(size)

    def open(self) -> BinaryIO:
        """The bytes, as a file that can be sought in.

        Raises:
            InputError: When it is not there, or must not be read.
            ResourceError: When the network gives out.
        """
        if not self.remote:
            try:
                return open(self.url, "rb")
            except OSError as error:
                check_files_left(error)
                raise unreadable(self.url, error) from None
        system, path = self._system()
        found: Any = _RemoteFile(self.url, _reached(self.url, lambda: system.open(path, "rb")))
        return cast("BinaryIO", found)

    def read(self, start: int | None = None, size: int | None = None) -> bytes:
        """Some bytes, or all of them; fewer where it ends before.

        Raises:
            InputError, ResourceError: As for :meth:`open`.
        """
        if not self.remote:
            try:
                with open(self.url, "rb") as file:
                    file.seek(start or 0)
                    return file.read(-1 if size is None else size)
            except OSError as error:
                check_files_left(error)
                raise unreadable(self.url, error) from None
        system, path = self._system()
        end = None if size is None else (start or 0) + size
        if start is None and end is None:
            return bytes(_reached(self.url, lambda: system.cat_file(path)))
        data = bytes(_reached(self.url, lambda: system.cat_file(path, start=start, end=end)))
        if size is not None and len(data) > size:
            raise InputError(f"{self.url}: its server gives no parts of a file; download it")
        return data

    def has_parts(self) -> bool:
        """Whether parts of it can be read, and not only all of it."""
        try:
            return not self.remote or len(self.read(0, 1)) <= 1
        except InputError:
            return False

    def fetch(self) -> Temporary:
        """A copy of a remote file, under the same name.

        Raises:
            InputError, ResourceError: As for :meth:`open`.
        """
        system, path = self._system()
        copy = Temporary(self.name)
        _reached(self.url, lambda: system.get_file(path, os.fspath(copy.path)))
        return copy

    @contextlib.contextmanager
    def speaks_for(self, copy: Temporary) -> Iterator[None]:
        """Errors about a copy name the place that it is of."""
        try:
            yield
        except GanMetricsError as error:
            raise type(error)(self.as_of(copy, str(error))) from None

    def as_of(self, copy: Temporary, text: str) -> str:
        """A text about a copy, as one about the place that it is of."""
        return text.replace(os.fspath(copy.path), self.url)

    def _system(self) -> tuple[Any, str]:
        if settings.offline() and not self.url.startswith("memory:"):
            raise InputError(
                f"{self.url} is remote, and GAN_METRICS_OFFLINE forbids connections; unset it, or "
                "copy the images here"
            )
        fsspec = require("fsspec", "remote")
        web = self.url.lower().startswith("http")  # where proxies are not asked unless told to
        options = {"client_kwargs": {"trust_env": True}} if web else {}
        try:
            system, path = fsspec.core.url_to_fs(self.url, **options)
        except ImportError as error:
            raise UsageError(
                f"{self.url}: {error}; pip install 'gan-metrics[remote]' brings what most need"
            ) from None
        except ValueError as error:
            raise UsageError(f"{self.url}: {error}") from None
        return system, str(path)


class _RemoteFile:
    """A file of fsspec; what the web answers to a read is told, and asked again, as elsewhere here.

    Args:
        url: Where it is.
        file: The file.
    """

    def __init__(self, url: str, file: BinaryIO) -> None:
        self._url, self._file = url, file

    def read(self, size: int = -1) -> bytes:
        """So many bytes from here on, or all that follow."""
        try:
            return bytes(self._file.read(size))
        except Exception as error:
            if not type(error).__module__.startswith("aiohttp"):
                raise  # of what is in the file, not of the way to it
            return bytes(_reached(self._url, lambda: self._file.read(size)))

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)

    def __enter__(self) -> _RemoteFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _reached(url: str, ask: Callable[[], _T]) -> _T:
    """What a store answers; one that is busy or breaks off is asked again, as it says itself.

    What is not there is told from a network that gives out: only the first is a fault of the
    input, and neither is a broken image that can be left out.
    """
    try:
        return download.with_retries(ask, _passes)
    except (InputError, ResourceError):
        raise
    except FileNotFoundError:
        raise NotFoundError(f"{url} does not exist") from None
    except PermissionError as error:
        raise InputError(f"{url} must not be read: {error}") from None
    except Exception as error:  # each store has its own
        first = str(error).strip().partition("\n")[0]
        raise ResourceError(
            f"{url} cannot be reached: {type(error).__name__}: {first}; run again, nothing is lost"
        ) from None


def _passes(error: Exception) -> bool:
    """Whether a fault of the web may be gone the next time; other stores try again themselves."""
    if not type(error).__module__.startswith("aiohttp"):
        return isinstance(error, ConnectionError | TimeoutError)
    status = getattr(error, "status", None)
    if "Bad status line" in str(error):  # what was left on the line by the answer before this one
        return True
    return status in download.RETRIED if isinstance(status, int) and status >= 400 else True

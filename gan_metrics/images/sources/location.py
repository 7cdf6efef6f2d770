"""Locations of files and folders: local paths, and URLs that fsspec can open."""

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
"""Supported URL schemes. Others execute programs or read local files."""


def is_remote(path: object) -> bool:
    """Whether a path is a supported URL.

    Raises:
        UsageError: If it is another kind of URL.
    """
    if not isinstance(path, str):
        return False
    found = _SCHEME.search(path)
    if found is None or (found.start() and "::" not in path[: found.start()]):
        return False
    if found.start() or found[1].lower() not in _SCHEMES or "::" in path:
        raise UsageError(
            f"{path}: supported are local files and the URL schemes {', '.join(sorted(_SCHEMES))}; "
            "other URLs and chains of URLs are not read"
        )
    return True


@dataclass(frozen=True)
class Location:
    """A local or remote file or folder.

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
        if self.url.lower().startswith("http"):  # web servers list folders as pages
            return self.url.endswith("/")
        system, path = self._system()
        return bool(_reached(self.url, lambda: system.isdir(path)))

    def exists(self) -> bool:
        """Whether it exists; for a web page only reading it can tell."""
        if not self.remote:
            return os.path.lexists(self.url)
        system, path = self._system()
        if self.url.lower().startswith("http"):  # fsspec reports server errors as missing files
            return True
        return bool(_reached(self.url, lambda: system.exists(path)))

    def files(self) -> list[str]:
        """Return the names of all files in a remote folder, unsorted.

        Raises:
            InputError: If it cannot be listed.
            ResourceError: If the network fails.
        """
        system, path = self._system()
        found = _reached(self.url, lambda: system.find(path))
        root = system._strip_protocol(path).rstrip("/") + "/"
        names = (system._strip_protocol(one).partition("?")[0] for one in found)
        return [name.removeprefix(root) for name in names if name.startswith(root)]

    def matches(self) -> list[str]:
        """Return the URLs that match a remote pattern with ``*``, sorted by their bytes.

        Raises:
            InputError, ResourceError: As for :meth:`files`.
        """
        system, path = self._system()
        found = _reached(self.url, lambda: system.glob(path))
        return sorted((str(system.unstrip_protocol(one)) for one in found), key=str.encode)

    def child(self, name: str) -> Location:
        """Return a file in this folder."""
        return Location(self.url.rstrip("/") + "/" + name)

    def size(self) -> int:
        """Return the length in bytes."""
        if not self.remote:
            return os.path.getsize(self.url)
        system, path = self._system()
        size = _reached(self.url, lambda: system.size(path))
        if size is None:
            raise InputError(f"{self.url}: its server does not state its length; download it")
        return int(size)

    def open(self) -> BinaryIO:
        """Open it as a seekable file.

        Raises:
            InputError: If it does not exist, or access is denied.
            ResourceError: If the network fails.
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
        """Return some of its bytes, or all; fewer at its end.

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
            raise InputError(f"{self.url}: its server does not send parts of files; download it")
        return data

    def has_parts(self) -> bool:
        """Whether parts of it can be read."""
        try:
            return not self.remote or len(self.read(0, 1)) <= 1
        except InputError:
            return False

    def fetch(self) -> Temporary:
        """Download a remote file to a temporary copy of the same name.

        Raises:
            InputError, ResourceError: As for :meth:`open`.
        """
        system, path = self._system()
        copy = Temporary(self.name)
        _reached(self.url, lambda: system.get_file(path, os.fspath(copy.path)))
        return copy

    @contextlib.contextmanager
    def named_in_errors(self, copy: Temporary) -> Iterator[None]:
        """Replace the path of a copy by this location in errors of this block."""
        try:
            yield
        except GanMetricsError as error:
            raise type(error)(self.replace_path(copy, str(error))) from None

    def replace_path(self, copy: Temporary, text: str) -> str:
        """Return a text with the path of a copy replaced by this location."""
        return text.replace(os.fspath(copy.path), self.url)

    def _system(self) -> tuple[Any, str]:
        if settings.offline() and not self.url.startswith("memory:"):
            raise InputError(
                f"{self.url} is remote, but GAN_METRICS_OFFLINE forbids connections; unset it, or "
                "copy the images to this machine"
            )
        fsspec = require("fsspec", "remote")
        web = self.url.lower().startswith("http")  # proxies must be enabled explicitly
        options = {"client_kwargs": {"trust_env": True}} if web else {}
        try:
            system, path = fsspec.core.url_to_fs(self.url, **options)
        except ImportError as error:
            raise UsageError(
                f"{self.url}: {error}; pip install 'gan-metrics[remote]' installs most libraries"
            ) from None
        except ValueError as error:
            raise UsageError(f"{self.url}: {error}") from None
        return system, str(path)


class _RemoteFile:
    """A file of fsspec whose failing reads are retried and reported like other web requests.

    Args:
        url: Its URL.
        file: The file.
    """

    def __init__(self, url: str, file: BinaryIO) -> None:
        self._url, self._file = url, file

    def read(self, size: int = -1) -> bytes:
        """Return this many bytes from the current position, or all that follow."""
        try:
            return bytes(self._file.read(size))
        except Exception as error:
            if not type(error).__module__.startswith("aiohttp"):
                raise  # an error in the file, not of the network
            return bytes(_reached(self._url, lambda: self._file.read(size)))

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)

    def __enter__(self) -> _RemoteFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _reached(url: str, ask: Callable[[], _T]) -> _T:
    """Call a function that contacts a store, and retry if the store is busy or disconnects.

    Missing files are distinguished from network failures: only the former are errors of the input,
    and neither is a broken image that can be skipped.
    """
    try:
        return download.with_retries(ask, _passes)
    except (InputError, ResourceError):
        raise
    except FileNotFoundError:
        raise NotFoundError(f"{url} does not exist") from None
    except PermissionError as error:
        raise InputError(f"{url} is not accessible: {error}") from None
    except Exception as error:  # each store has its own exceptions
        first = str(error).strip().partition("\n")[0]
        raise ResourceError(
            f"cannot reach {url}: {type(error).__name__}: {first}; run again, finished chunks are "
            "in the cache"
        ) from None


def _passes(error: Exception) -> bool:
    """Whether a web error may pass on retry; other stores retry themselves."""
    if not type(error).__module__.startswith("aiohttp"):
        return isinstance(error, ConnectionError | TimeoutError)
    status = getattr(error, "status", None)
    if "Bad status line" in str(error):  # rest of the previous answer
        return True
    return status in download.RETRIED if isinstance(status, int) and status >= 400 else True

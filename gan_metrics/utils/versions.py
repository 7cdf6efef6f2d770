"""Versions of the installed packages that affect numbers."""

from __future__ import annotations

import functools
import importlib.metadata
import platform

__all__ = ["installed_versions", "versions"]

_PACKAGES = ("gan-metrics", "numpy", "scipy", "pillow", "torch", "torchvision", "timm")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that affect numbers, without imports."""
    return dict(_versions())


@functools.cache
def _versions() -> tuple[tuple[str, str], ...]:
    found = [(package, _version_of(package) or "not installed") for package in _PACKAGES]
    return (("python", platform.python_version()), *found)


def installed_versions(*packages: str) -> list[str]:
    """Return ``package=version`` for each installed package, without importing it."""
    found = [(package, _version_of(package)) for package in packages]
    return [f"{package}={version}" for package, version in found if version is not None]


def _version_of(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None

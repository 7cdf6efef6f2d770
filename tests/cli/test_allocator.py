from __future__ import annotations

import ctypes
import platform

import pytest

from gan_metrics.cli import allocator


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_glibc_takes_it() -> None:
    assert allocator.keep_freed_memory() is True


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(_: object) -> object:
        return object()

    monkeypatch.setattr(ctypes, "CDLL", nothing)
    assert allocator.keep_freed_memory() is False
    monkeypatch.setattr("sys.platform", "darwin")
    assert allocator.keep_freed_memory() is False

"""Objects that are named ``package.module:name``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from gan_metrics.utils.imports import import_object


def test_a_name_and_a_name_of_a_name() -> None:
    assert import_object("os.path:join") is os.path.join
    assert import_object("pathlib:Path.joinpath") is Path.joinpath


@pytest.mark.parametrize("text", ["no.such.module:x", "os:no_such_name", "os:path.no_such"])
def test_what_cannot_be_imported(text: str) -> None:
    with pytest.raises((ImportError, AttributeError)):
        import_object(text)


def test_the_current_folder_only_where_it_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here_of_test_imports.py").write_text("value = 7\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one not in ("", str(tmp_path))])
    before = list(sys.path)
    with pytest.raises(ModuleNotFoundError):
        import_object("only_here_of_test_imports:value")
    assert sys.path == before
    assert import_object("only_here_of_test_imports:value", current_folder=True) == 7
    assert sys.path == [*before, str(tmp_path)]

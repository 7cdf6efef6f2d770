from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import gan_metrics as gm


def test_every_public_name_can_be_had() -> None:
    for name in gm.__all__:
        assert getattr(gm, name) is not None
    assert set(gm.__all__) <= set(dir(gm))


def test_a_name_that_is_not_there_says_so() -> None:
    with pytest.raises(AttributeError, match="no attribute 'fad'"):
        _ = gm.fad


def test_the_stub_shows_every_public_name_and_option() -> None:
    """``python .ci/stubs.py`` writes the file anew."""
    path = Path(__file__).parents[1] / ".ci" / "stubs.py"
    spec = importlib.util.spec_from_file_location("stubs", path)
    assert spec is not None
    assert spec.loader is not None
    stubs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stubs)
    assert stubs.TARGET.read_text() == stubs.stubs()
    for name in gm.__all__:
        assert name in stubs.stubs(), name


def test_exit_codes_are_those_of_the_contract() -> None:
    codes = {
        "GanMetricsError": 1, "UsageError": 2, "InputError": 3, "ImageError": 3,
        "WeightsError": 4, "MismatchError": 4, "ComputationError": 5, "ResourceError": 6,
    }  # fmt: skip
    for name, code in codes.items():
        assert getattr(gm, name).exit_code == code


def test_the_version_is_that_of_the_distribution() -> None:
    out = subprocess.run(
        [sys.executable, "-m", "gan_metrics", "--version"], capture_output=True, text=True
    )
    assert out.stdout.split() == ["gan-metrics", gm.__version__]


def test_an_unknown_option_of_the_library_names_the_nearest() -> None:
    with pytest.raises(gm.UsageError, match="max_images"):
        gm.fid("a", "b", max_image=3)

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import gan_metrics
import gan_metrics as gm


def test_every_public_name_can_be_had() -> None:
    for name in gm.__all__:
        assert getattr(gm, name) is not None
    assert set(gm.__all__) <= set(dir(gm))


def test_a_name_that_is_not_there_says_so() -> None:
    with pytest.raises(AttributeError, match="no attribute 'fad'"):
        _ = gm.fad


def test_the_type_checker_sees_what_the_lazy_import_gives() -> None:
    source = Path(gan_metrics.__file__).read_text()
    block = source.partition("if TYPE_CHECKING:")[2].partition("__version__")[0]
    for name in gm.__all__:
        assert name in block, name


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

"""The check for whole numbers, and where it is used."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gan_metrics as gm
from gan_metrics.errors import UsageError
from gan_metrics.features.chunks import ExtractionOptions
from gan_metrics.utils.validation import whole_number


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_integers_of_any_type_become_python_s(value: Any) -> None:
    found = whole_number("k", value, least=3, most=3)
    assert found == 3
    assert type(found) is int


@pytest.mark.parametrize("value", [True, np.True_, 3.0, np.float64(3), "3", None, [3]])
def test_what_is_no_whole_number(value: Any) -> None:
    with pytest.raises(UsageError) as caught:
        whole_number("k", value, least=0)
    assert str(caught.value) == f"k must be a whole number ≥ 0, not {value!r}"


def test_bounds() -> None:
    with pytest.raises(UsageError, match="k must be a whole number ≥ 3, not 2"):
        whole_number("k", 2, least=3)
    with pytest.raises(UsageError, match="k must be a whole number ≤ 5, not 6"):
        whole_number("k", 6, least=3, most=5)


def test_options_take_integers_of_numpy_and_no_bool() -> None:
    how = ExtractionOptions(batch_size=np.int64(4), workers=np.uint8(0), max_images=None)  # type: ignore[arg-type]
    assert (how.batch_size, how.workers, how.max_images) == (4, 0, None)
    assert type(how.batch_size) is int
    for name, value in (("batch_size", True), ("workers", False), ("max_images", 0)):
        with pytest.raises(UsageError, match=f"{name} must be a whole number"):
            ExtractionOptions(**{name: value})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="top must be a whole number ≥ 0, not True"):
        gm.evaluate("a", "b", top=True)
    with pytest.raises(UsageError, match="n must be a whole number ≥ 1, not 0"):
        gm.Generated(lambda z: z, 0, z_size=2)

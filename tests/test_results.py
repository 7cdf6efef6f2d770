from __future__ import annotations

import json
import math

import pytest

from gan_metrics.results import MetricResult, versions
from gan_metrics.specs import FeatureSpec

RESULT = MetricResult(
    metric="fd",
    value=12.3456789,
    standard_error=0.05,
    n_real=10,
    n_fake=None,
    protocol="imagenet",
    feature_spec=FeatureSpec("efficientnet-lite0", "global_pool"),
    skipped_files=[("a.png", "broken")],
    terms={"mean": 2.0, "covariance": 10.3456789},
    warnings=[("few-images", "10 images")],
    versions=versions(),
)


def test_the_json_of_the_contract() -> None:
    document = json.loads(RESULT.dumps())
    assert set(document) >= {
        "metric", "value", "standard_error", "ci95", "n_real", "n_fake", "skipped",
        "skipped_files", "protocol", "feature_spec", "seed", "warnings", "versions",
    }  # fmt: skip
    assert document["value"] == RESULT.value == float(RESULT)
    assert document["ci95"] == pytest.approx([12.3456789 - 0.098, 12.3456789 + 0.098], abs=1e-4)
    assert document["n_fake"] is None
    assert document["skipped"] == 1
    assert document["warnings"] == [{"code": "few-images", "message": "10 images"}]
    assert document["feature_spec"]["fingerprint"] == RESULT.feature_spec.fingerprint()


def test_the_text_says_what_the_interval_is_for() -> None:
    text = str(RESULT)
    assert text.startswith("FD 12.3457 ± 0.0500\n")
    assert "for the expected value" in text
    assert "an unknown number of fake" in text
    assert RESULT.feature_spec.fingerprint() in text


def test_without_an_error_bar_there_is_no_interval() -> None:
    bare = MetricResult("fid", 1.5, None, 3, 4, None, FeatureSpec(), declared=["layer"])
    assert bare.ci95 is None
    assert json.loads(bare.dumps())["ci95"] is None
    assert "±" not in str(bare)
    assert "declared" in str(bare)


def test_the_interval_does_not_go_below_zero() -> None:
    assert MetricResult("fd", 0.1, 1.0, 3, 4, None, FeatureSpec()).ci95 == (
        0.0,
        pytest.approx(2.06, abs=0.01),
    )


@pytest.mark.parametrize("error", [1e-9, 0.3, 40.0, 1e6])
@pytest.mark.parametrize("value", [0.0, 3.2e-5, 7.25, 123456.0])
def test_the_text_keeps_the_digits_that_the_error_gives_a_meaning_to(
    value: float, error: float
) -> None:
    result = MetricResult("fd", value, error, 3, 4, None, FeatureSpec())
    shown = float(str(result).split()[1])
    assert abs(shown - value) <= max(error / 50, abs(value) * 1e-5, 1e-12)


def test_nan_is_never_written() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        MetricResult("fd", math.nan, None, 3, 4, None, FeatureSpec()).dumps()

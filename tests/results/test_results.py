from __future__ import annotations

import json
import math

import pytest

from gan_metrics.protocols.spec import FeatureSpec
from gan_metrics.results.result import EvaluationResult, MetricResult
from gan_metrics.utils.text import printable
from gan_metrics.utils.versions import versions

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
    error_bar="closed form; for the expected value at these n",
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


def test_the_interval_stays_within_the_bounds() -> None:
    share = MetricResult("recall", 0.99, 0.1, 3, 4, None, FeatureSpec(), bounds=(0.0, 1.0))
    assert share.ci95 == (pytest.approx(0.794, abs=1e-3), 1.0)
    unbiased = MetricResult("kid", -0.01, 0.1, 3, 4, None, FeatureSpec(), bounds=(None, None))
    assert unbiased.ci95 == (pytest.approx(-0.206, abs=1e-3), pytest.approx(0.186, abs=1e-3))


def test_details_are_shown_if_they_are_short() -> None:
    details = {"shares": [0.5, 0.25], "long": list(range(99)), "q": 1.5}
    result = MetricResult("fd", 1.0, None, 3, 4, None, FeatureSpec(), details=details)
    text = str(result)
    assert "shares          0.5, 0.25" in text
    assert "q               1.5" in text
    assert "long" not in text
    assert json.loads(result.dumps())["details"]["long"][98] == 98


def test_an_evaluation_is_a_mapping_with_reasons_for_what_is_missing() -> None:
    other = MetricResult("is", 2.0, None, None, 4, None, FeatureSpec("x", "logits"), sides=1,
                         warnings=[("few-images", "10 images"), ("other", "y")])  # fmt: skip
    found = EvaluationResult({"fid": RESULT, "is": other}, {"kid": "no images"})
    assert dict(found) == {"fid": RESULT, "is": other}
    assert found["fd"] is found["fid"] is RESULT
    assert repr(found).startswith("<EvaluationResult <fd 12.3457 ± 0.0500>")
    assert len(found) == 2
    with pytest.raises(KeyError, match="no images"):
        found["kid"]
    with pytest.raises(KeyError):
        found["nonsense"]
    assert found.warnings == [("few-images", "10 images"), ("other", "y")]
    document = json.loads(found.dumps())
    assert [r["metric"] for r in document["results"]] == ["fd", "is"]
    assert document["not_computed"] == [{"metric": "kid", "reason": "no images"}]
    lines = str(found).splitlines()
    assert lines[1].split() == ["fd", "12.3457", "±", "0.0500", "12.2477", "…", "12.4437"]
    assert lines[2].split() == ["is", "2.00000"]
    assert "kid: not computed: no images" in lines
    assert "  images          10 real, an unknown number of fake" in lines
    assert "  images          4 fake" in lines


def test_names_for_a_terminal() -> None:
    """One line each, whatever a file is called; letters of any script stay."""
    assert printable("a\nb\x1b[31m\tc") == "a\\nb\\x1b[31m\\tc"
    assert printable("猫 🐈.png") == "猫 🐈.png"
    assert printable("bad\udcff") == "bad\\udcff"

from __future__ import annotations

import dataclasses
import json

import pytest

from gan_metrics.protocols.spec import Decoding, FeatureSpec, Preprocess

PREPROCESS = Preprocess("exact", 299, "torch-bilinear", None, 255.0, (0.5,) * 3, (0.5,) * 3)
SPEC = FeatureSpec("inception", "pool3", "avg", "ab" * 32, PREPROCESS, "fp32", ())
RECORDED = "b112a0363e161fb91dd5c4f710b3eda1"
"""The fingerprint of layer pool3 of inception, before plug-ins were a field."""


def test_json_round_trip_keeps_spec_and_fingerprint() -> None:
    text = json.dumps(SPEC.to_json())
    again = FeatureSpec.from_json(json.loads(text))
    assert again == SPEC
    assert again.fingerprint() == SPEC.fingerprint()


def test_every_field_enters_the_fingerprint() -> None:
    others = {
        "backbone": "other",
        "layer": "192",
        "pool": "max",
        "weights_sha256": "cd" * 32,
        "preprocess": dataclasses.replace(PREPROCESS, size=298),
        "precision": "bf16",
        "departures": (("alpha", "white"),),
    }
    named = {f.name for f in dataclasses.fields(FeatureSpec)}
    assert set(others) == named - {"plugins"}  # which has a test of its own
    changed = [dataclasses.replace(SPEC, **{name: value}) for name, value in others.items()]
    assert len({spec.fingerprint() for spec in [SPEC, *changed]}) == 8
    for name, spec in zip(others, changed, strict=True):
        assert SPEC.differences(spec) == (name,)


def test_every_preprocess_field_enters_the_fingerprint() -> None:
    others = {
        "resize": "shorter",
        "size": 1,
        "interpolation": "x",
        "crop": 3,
        "divisor": 1.0,
        "mean": (0.0,) * 3,
        "std": (1.0,) * 3,
        "clip": True,
    }
    assert set(others) == {f.name for f in dataclasses.fields(Preprocess)}
    prints = {
        dataclasses.replace(
            SPEC, preprocess=dataclasses.replace(PREPROCESS, **{name: value})
        ).fingerprint()
        for name, value in others.items()
    }
    assert len(prints | {SPEC.fingerprint()}) == len(others) + 1


def test_unstated_fields_match_anything() -> None:
    assert SPEC.differences(FeatureSpec()) == ()
    assert FeatureSpec(layer="192").differences(SPEC) == ("layer",)
    assert FeatureSpec(layer="192").filled_from(SPEC).layer == "192"
    assert FeatureSpec().filled_from(SPEC) == SPEC
    assert FeatureSpec(layer="192").unstated() == (
        "backbone", "pool", "weights_sha256", "preprocess", "precision", "departures",
    )  # fmt: skip


def test_the_fingerprint_of_a_spec_does_not_change_between_versions() -> None:
    assert SPEC.fingerprint() == "1859152f54b96395fe97fde3397f0d60"


@pytest.mark.parametrize(
    "change",
    [{"backbone": 3}, {"preprocess": {"size": 1}}, {"departures": [1]}, {"fingerprint": "0" * 32}],
)
def test_a_broken_header_is_refused(change: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        FeatureSpec.from_json({**SPEC.to_json(), **change})


def test_departures_are_what_differs_from_the_protocol() -> None:
    default = Decoding()
    assert default.departures(default) == ()
    assert Decoding(alpha="white", exif="apply").departures(default) == (
        ("alpha", "white"),
        ("exif", "apply"),
    )


def test_plug_ins_are_part_of_a_space_that_has_some() -> None:
    spec = FeatureSpec(backbone="inception", layer="pool3")
    assert spec.fingerprint() == RECORDED
    assert "plugins" not in spec.to_json()
    one, two = spec.with_plugins([("b", "1"), ("a", "2")]), spec.with_plugins([("b", "2")])
    assert one.plugins == (("a", "2"), ("b", "1"))
    assert len({spec.fingerprint(), one.fingerprint(), two.fingerprint()}) == 3
    assert FeatureSpec.from_json(json.loads(json.dumps(one.to_json()))) == one
    assert spec.with_plugins([]) == spec
    # Another version of a plug-in is another space; a plug-in that only one of both has is not.
    assert one.differences(two) == ("plugins",)
    assert one.differences(spec) == ()
    assert one.differences(spec.with_plugins([("c", "1")])) == ()
    assert spec.filled_from(one) == one
    assert "plugins" not in (*spec.unstated(), *one.stated())
    assert one.stated() == ("backbone", "layer")

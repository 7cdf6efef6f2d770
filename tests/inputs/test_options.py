from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

import gan_metrics as gm
from gan_metrics.errors import UsageError
from gan_metrics.inputs.options import Options, takes_options

TAKING = ("attribute", "compare", "compute_stats", "evaluate", "report", "extract_features",
          "feature_map", "fid", "reproduce", "search")  # fmt: skip


@takes_options
def chosen(first: str, *, seed: int = 7, options: Options) -> tuple[str, int, Options]:
    """A function with an option of its own beside the shared ones."""
    return first, seed, options


def test_a_function_takes_the_options_as_keywords() -> None:
    first, seed, options = chosen("a", batch_size=4, seed=3)
    assert (first, seed) == ("a", 3)
    assert options == Options(batch_size=4)


def test_keywords_replace_the_fields_of_ready_options() -> None:
    _, _, options = chosen("a", options=Options(batch_size=4, layer="fc"), batch_size=8)
    assert options == Options(batch_size=8, layer="fc")


def test_the_signature_shows_every_option_once() -> None:
    shown = inspect.signature(chosen).parameters
    assert list(shown)[:2] == ["first", "seed"]
    assert set(shown) == {"first", *(field.name for field in fields(Options))}
    assert shown["seed"].default == 7
    assert shown["on_error"].default == "raise"


@pytest.mark.parametrize("name", TAKING)
def test_public_functions_show_their_options(name: str) -> None:
    shown = inspect.signature(getattr(gm, name)).parameters
    assert "options" not in shown
    assert {field.name for field in fields(Options)} <= set(shown)
    assert all(one.kind is not inspect.Parameter.VAR_KEYWORD for one in shown.values())


def test_an_unknown_option_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean batch_size"):
        chosen("a", batchsize=3)


@pytest.mark.parametrize("name", ["seed", "batch_size", "workers", "max_images"])
def test_numpy_integers_are_whole_numbers(name: str) -> None:
    taken = getattr(Options(**{name: np.int64(3)}), name)
    assert taken == 3
    assert type(taken) is int


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"seed": True}, "seed"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 1.0}, "batch_size"),
        ({"workers": -1}, "workers"),
        ({"max_images": 0}, "max_images"),
        ({"on_error": "ignore"}, "raise or skip"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"engine": "spark"}, "unknown engine"),
        ({"protocol": "tf3"}, "unknown protocol"),
        ({"weights": 3}, "expected a file"),
        ({"weights": {"incepton": "x"}}, "inception"),
        ({"comm": "world"}, "comm"),
        ({"cache": "ftp://host"}, "expected a folder or redis"),
    ],
)
def test_what_is_wrong_whatever_the_images_are(given: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Options(**given)


def test_what_a_protocol_or_a_header_decides_is_none_until_given() -> None:
    decided = ("backbone", "layer", "pool", "protocol", "precision", "seed", "alpha", "exif")
    assert [getattr(Options(), name) for name in decided] == [None] * len(decided)
    assert Options().seed_or_default == 0
    assert Options(seed=5).seed_or_default == 5

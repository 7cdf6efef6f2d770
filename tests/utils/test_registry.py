from __future__ import annotations

import pytest

from gan_metrics.errors import UsageError
from gan_metrics.utils.imports import import_object
from gan_metrics.utils.registry import Origin, Registry

HERE = Origin("somewhere", "3")


@pytest.fixture
def numbers() -> Registry[int]:
    return Registry("number", {"one": 1, "digits": "string:digits"})


def test_entries_are_found_in_order_and_imported_at_their_first_use(
    numbers: Registry[object],
) -> None:
    assert list(numbers) == ["one", "digits"]
    assert numbers["one"] == 1
    assert numbers["digits"] == "0123456789"
    assert "two" not in numbers
    assert "" not in numbers
    assert None not in numbers
    assert numbers.get("two") is None
    assert import_object("string:digits") == "0123456789"
    with pytest.raises(KeyError):
        numbers["two"]


def test_a_misspelt_name_gets_a_suggestion(numbers: Registry[int]) -> None:
    with pytest.raises(UsageError, match=r"unknown number 'on'. Did you mean one\?"):
        numbers.find("on")
    with pytest.raises(UsageError, match="Did you mean uno"):
        numbers.find("umo", ["uno"])
    assert numbers.find("one") == 1


def test_a_name_is_taken_once(numbers: Registry[object]) -> None:
    entry = object()
    numbers.add("two", entry, HERE)
    numbers.add("two", entry, HERE)  # the same once more
    assert numbers.origin("two") == HERE
    assert numbers.origin("one") is None
    assert numbers.built_in() == {"one": 1, "digits": "0123456789"}
    assert numbers.registered() == ["one", "digits", "two"]
    with pytest.raises(UsageError, match="registered by somewhere 3"):
        numbers.add("two", object(), HERE)
    with pytest.raises(UsageError, match="'one' is built in"):
        numbers.add("one", object(), HERE)
    with pytest.raises(UsageError, match="'uno' is built in"):
        numbers.add("uno", object(), HERE, reserved=["uno"])
    for wrong in ("", " ", 3):
        with pytest.raises(UsageError, match="must be text"):
            numbers.add(wrong, object(), HERE)  # type: ignore[arg-type]
    numbers.remove("two")
    assert list(numbers) == ["one", "digits"]


def test_the_view_only_reads(numbers: Registry[int]) -> None:
    view = numbers.view
    assert view["one"] == 1
    assert list(view) == list(numbers)
    assert view.get("two", 2) == 2
    assert not hasattr(view, "add")
    with pytest.raises(TypeError):
        view["two"] = 2  # type: ignore[index]

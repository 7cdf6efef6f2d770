"""Texts for a terminal."""

from __future__ import annotations

from gan_metrics.utils.text import printable


def test_control_characters_and_bytes_that_are_no_text_are_escaped() -> None:
    name = b"a\x1b[31m\xff\n\tb".decode("utf-8", "surrogateescape")
    assert printable(name) == "a\\x1b[31m\\udcff\\n\\tb"
    assert printable(name, keep="\n\t") == "a\\x1b[31m\\udcff\n\tb"
    assert printable("größer ≥ 'x' \\ \u2028") == "größer ≥ 'x' \\ \\u2028"

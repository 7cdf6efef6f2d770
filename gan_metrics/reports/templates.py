"""Render HTML pages from templates; all values are escaped."""

from __future__ import annotations

import functools
from typing import Any

import jinja2

__all__ = ["render"]


def render(template: str, **values: Any) -> str:
    """Return a page.

    Args:
        template: A file in ``gan_metrics/reports/templates``.
        values: Values of its variables.
    """
    return _environment().get_template(template).render(**values)


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("gan_metrics.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

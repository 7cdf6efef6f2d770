"""Pages from templates; everything that is put into them is escaped."""

from __future__ import annotations

import functools
from typing import Any

import jinja2

__all__ = ["render"]


def render(template: str, **values: Any) -> str:
    """A page.

    Args:
        template: A file of ``gan_metrics/reports/templates``.
        values: What stands in it.
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

"""What the docstrings say in reStructuredText, said in Markdown for the site."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|meth|mod|data|attr|exc|obj):`(~?)([\w.]+)`")
_SESSION = re.compile(
    r"(?:^>>> .*\n?)(?:^(?!\s*$).*\n?)*(?:\n(?:^>>> .*\n?)(?:^(?!\s*$).*\n?)*)*", re.M
)


class Docstrings(griffe.Extension):
    """Roles become links where their target is documented; sessions become blocks of code."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of one module, class or function."""
        if obj.docstring is None:
            return
        value = _ROLE.sub(lambda match: _link(match, obj), obj.docstring.value)
        value = re.sub(r"::\n(?=\n {4})", ":\n", value)
        obj.docstring.value = _SESSION.sub(lambda match: _fence(match[0]), value)


def _link(match: re.Match[str], obj: griffe.Object) -> str:
    short, target = match.groups()
    shown = target.rpartition(".")[2] if short else target
    home = obj.module.path
    whole = target if target.startswith("gan_metrics") else f"{home}.{target}"
    return f'<autoref optional identifier="{whole}"><code>{shown}</code></autoref>'


def _fence(session: str) -> str:
    return f"```pycon\n{session.rstrip()}\n```\n"

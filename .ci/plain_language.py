"""Find phrases that are hard to read, in the documentation and in the strings of the package.

``make lint`` runs it. Each rule is a regular expression and the advice that is printed with a
match. A justified use is listed in ``ALLOWED`` with its reason.

    python .ci/plain_language.py [FILE ...]      default: all text of the project
"""

from __future__ import annotations

import io
import json
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

RULES = {
    r"(?<!there )(is|are|was|were) no (?!longer\b|more\b|less\b|such\b|op\b)\w+": (
        "'is not a …' or 'has no …'"
    ),
    r"(has|have|had) (not|none)\b(?! (been|yet|to|always|only|changed))": (
        "'does not have' or 'has no'"
    ),
    r"(is|are|was|were|be|being|been) told|tells? (apart|of)|told (apart|of|by)": (
        "'reports', 'distinguishes'"
    ),
    r"(speak|ask|know|hear|knew|heard)s? of|knows nothing": "name what the code does",
    r"(can|could)(not)? be had|to be had|is (wanted|had|meant)": (
        "'available', 'required', 'intended'"
    ),
    r"(which|that) there (is|are)|what there is|those that there are": "leave it out",
    r"beside": "'next to', 'in addition to', 'compared with'",
    r"so many|as many of|the like(s)? of|of the like": "give the number or the name",
    r"(lie|lies|lay|stand|stands|stood) (in|on|at|for|apart|there|behind)": "'is in', 'means'",
    r"(goes?|went) (by|for)|comes? (of|about)|came about": "'uses', 'counts as', 'results from'",
    r"the same of|what (it )?is of|those of it|of its own accord": "name it",
    r"the same\.$": "describe the argument",
    r"in silence|without a word|a word (of|about)|at (its|their) start": "'silently', 'initially'",
    r"other than in|another one|one another's|all the same": "name it, or 'nevertheless'",
    r"(house|rooms?|floors?|doors?|lodgers?|guests?) (of|rules?)": "'package', 'module', 'level'",
    r"heed|hearken|whence|there(of|in|by)|wherein|hither|unto|lest|asunder|mend(s|ed)?|wont": (
        "plain word"
    ),
    r"whoever|whosoever|whomever|whatever has": "name the reader or the thing",
    r"(alone|by itself) (is|are|has)|(is|are) (meant|wanted|given) alone": "'only'",
    r"is not to be|are not to be|is to be (?!\w+ed\b)": "'must not', 'is'",
}

BRITISH = [
    "analysed",
    "analysing",
    "catalogue",
    "centre",
    "colour",
    "favour",
    "grey",
    "initialis",
    "judgement",
    "labelled",
    "memoris",
    "minimis",
    "neighbour",
    "normalis",
    "optimis",
    "organis",
    "quantis",
    "recognis",
    "serialis",
    "standardis",
    "summaris",
    "synchronis",
    "artefact",
    "behaviour",
]

ALLOWED = {
    ("gan_metrics/backbones/torchvision.py", "catalogue"): "a key of torchvision's metadata",
    ("gan_metrics/images/decode.py", "colour-space"): "code of a warning, kept for its users",
    ("gan_metrics/images/metadata.py", "colour-space"): "code of a warning, kept for its users",
    ("docs/warnings.md", "colour-space"): "code of a warning, kept for its users",
    ("docs/decoding.md", "colour-space"): "code of a warning, kept for its users",
    ("notebooks/01_quickstart.ipynb", "here, that there are few"): "the content of a warning",
    ("notebooks/05_bias_and_error_bars.ipynb", "is the same."): "equal values are the subject",
}
"""Files and fragments of lines that are exempt, with the reason."""

TEXTS = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/**/*.md", "notebooks/*.ipynb")
CODE = ("gan_metrics/**/*.py", "gan_metrics/**/*.html.j2", ".ci/*.py")
MEASURED = "-table.md"


def python_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of comments and strings, with their numbers."""
    strings = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", -1)}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in strings:
            for offset, line in enumerate(token.string.splitlines()):
                yield token.start[0] + offset, line


def notebook_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of all cells, with the number of the cell."""
    for number, cell in enumerate(json.loads(text)["cells"]):
        for line in "".join(cell["source"]).splitlines():
            yield number, line


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines that a person reads."""
    text = path.read_text("utf-8")
    if path.suffix == ".py":
        yield from python_lines(text)
    elif path.suffix == ".ipynb":
        yield from notebook_lines(text)
    else:
        yield from enumerate(text.splitlines(), 1)


def phrases(paths: list[Path]) -> Iterator[str]:
    """Yield one line for each match that is not allowed."""
    rules = {
        re.compile(rf"\b(?:{rule})(?!\w)", re.IGNORECASE): rule_advice
        for rule, rule_advice in RULES.items()
    }
    rules[re.compile(rf"\b(?:{'|'.join(BRITISH)})\w*", re.IGNORECASE)] = "American spelling"
    for path in paths:
        name = path.relative_to(ROOT).as_posix()
        allowed = [fragment for file, fragment in ALLOWED if file in (name, "*")]
        for number, line in lines(path):
            for rule, advice in rules.items():
                match = rule.search(line)
                if match and not any(fragment in line for fragment in allowed):
                    yield f"{name}:{number}: {match[0]!r}: {advice}\n    {line.strip()[:120]}"


def main(arguments: list[str]) -> int:
    """Print the matches; 1 if there are any."""
    paths = [Path(argument).resolve() for argument in arguments] or sorted(
        path
        for pattern in (*TEXTS, *CODE)
        for path in ROOT.glob(pattern)
        if not path.name.endswith(MEASURED) and path != Path(__file__).resolve()
    )
    found = list(phrases(paths))
    print("\n".join(found) or f"plain language: {len(paths)} files")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

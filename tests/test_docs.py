"""The pages say what is so: their commands, snippets, links and names."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from commands import call
from data import crops, write_folder
from typer.main import get_command

import gan_metrics as gm
from gan_metrics.cli import console
from gan_metrics.cli.app import app
from gan_metrics.images import metadata
from gan_metrics.inputs.options import Options
from gan_metrics.metrics.registry import expand
from gan_metrics.protocols.table import PROTOCOLS, protocol_for
from gan_metrics.stats.references import REFERENCES
from gan_metrics.training.accumulators import Accumulator

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.rglob("*.md")), ROOT / "README.md", ROOT / "reference_stats" / "README.md"]
GUIDES = [
    DOCS / "index.md",
    *(DOCS / "how-to" / f"{name}.md" for name in ("training-loop", "custom-metric", "migrate")),
    *(DOCS / "how-to" / f"{name}.md" for name in ("custom-backbone", "reproduce")),
]
PROGRAM = get_command(app)


def blocks(text: str, *languages: str) -> Iterator[tuple[str, str]]:
    """Fenced blocks and their languages, those in lists as well."""
    fenced = r"^( *)```(\w*)[^\n]*\n(.*?)^\1```"
    for indent, language, body in re.findall(fenced, text, re.MULTILINE | re.DOTALL):
        if not languages or language in languages:
            yield language, re.sub(rf"^{indent}", "", body, flags=re.MULTILINE)


def commands(text: str) -> list[list[str]]:
    """The arguments of each command of gan-metrics in the blocks of a page."""
    found = []
    for _, body in blocks(text, "sh", ""):
        for line in body.replace("\\\n", " ").splitlines():
            if not re.search(r"gan[-_]metrics ", line):
                continue
            words = shlex.split(line, comments=True)
            if "gan-metrics" in words:
                found.append(words[words.index("gan-metrics") + 1 :])
            elif "gan_metrics" in words and words[words.index("gan_metrics") - 1] == "-m":
                found.append(words[words.index("gan_metrics") + 1 :])
    return found


def spans(text: str) -> list[str]:
    """What stands in backquotes in the text of a page, its blocks left out."""
    prose = re.sub(r"^( *)```.*?^\1```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]


def check(words: list[str]) -> None:
    """Let the program read a command line to its end, and not run it.

    Raises:
        Exception: When there is no such verb, option or number of arguments.
    """
    command, path = PROGRAM, ["gan-metrics"]
    words = list(words)
    while hasattr(command, "commands"):
        path.append(words.pop(0))
        if path[-1] not in command.commands:
            raise ValueError(f"no such verb: {' '.join(path)}")
        command = command.commands[path[-1]]
    command.make_context(" ".join(path), words)


def options_of(command: Any) -> set[str]:
    return {
        name
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("-")
    } | {"--help", "-h"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_can_be_given(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "STATE", dict(console.STATE))
    for words in commands(page.read_text()):
        if words[0] in ("--install-completion", "--show-completion"):
            assert words[0] in options_of(PROGRAM)
            continue
        try:
            check(words)
        except Exception as error:
            raise AssertionError(f"gan-metrics {shlex.join(words)}: {error}") from error


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_verbs_and_options_in_the_text_exist(page: Path) -> None:
    everywhere = {name for verb in PROGRAM.commands.values() for name in options_of(verb)}
    for span in spans(page.read_text()):
        words = span.split()
        if words[0] != "gan-metrics" or len(words) < 2 or words[1] in ("…", "VERB"):
            continue
        if words[1].startswith("-"):
            assert words[1] in options_of(PROGRAM), span
            continue
        command = PROGRAM.commands.get(words[1])
        assert command is not None, span
        for below in words[2].split("|") if hasattr(command, "commands") and words[2:] else ():
            assert below in command.commands, span
        known = options_of(command) if not hasattr(command, "commands") else everywhere
        for option in re.findall(r"(?<=\s)--?[a-z][\w-]*", span):
            assert option in known or hasattr(command, "commands"), (span, option)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_names_in_commands_exist(page: Path) -> None:
    text = page.read_text()
    if page.name == "plugin.md":  # what its plug-in registers, tests/test_plugins.py uses
        text = text.replace("energy", "kid").replace("tiny-edges", "NAME")
    lines = [*commands(text), *(span.split()[1:] for span in spans(text) if "gan-metrics " in span)]
    for words in lines:
        given = {
            a: b.strip("'\"") for a, b in pairwise(words) if a.startswith("--") and "…" not in b
        }
        for name in given.get("--protocol", "").split(",") if "--protocol" in given else ():
            assert name == "NAME" or protocol_for(name), words
        if "--metrics" in given:
            assert expand(given["--metrics"]), words
        backbone = given.get("--backbone", "NAME")
        assert ":" in backbone or backbone == "NAME" or backbone in gm.BACKBONES, words
        for reference in (word[4:] for word in words if word.startswith("ref:")):
            assert reference == "NAME" or reference in REFERENCES, words


def test_what_replaces_another_tools_command_can_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "STATE", dict(console.STATE))
    accepted = {
        *Options.__annotations__,
        *inspect.signature(Accumulator.__init__).parameters,
        *inspect.signature(gm.evaluate).parameters,
    }
    shell = calls = 0
    for span in spans((DOCS / "how-to" / "migrate.md").read_text()):
        if re.match(r"gan-metrics [a-z]+ ", span) and "…" not in span:
            check(shlex.split(span)[1:])
            shell += 1
        elif re.match(r"(gm|training)\.[\w.]+\(", span) and "…" not in span:
            call_ = ast.parse(span, mode="eval").body
            assert isinstance(call_, ast.Call)
            names = {"gm": gm, "training": gm.training}
            function = eval(ast.unparse(call_.func), names)
            known = {*inspect.signature(function).parameters, *accepted}
            assert {keyword.arg for keyword in call_.keywords} <= known, span
            calls += 1
    assert shell > 15
    assert calls > 8


def test_the_check_of_commands_refuses() -> None:
    for words in (["fidd", "a", "b"], ["layers"], ["fid", "a", "b", "--bakbone", "x"]):
        with pytest.raises(Exception, match=r"(?i)no such|missing"):
            check(words)


def test_examples_of_the_help_can_be_given_and_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "STATE", dict(console.STATE))
    page = site().command_line()
    lines = [line for _, body in blocks(page, "text") for line in body.splitlines()]
    assert max(map(len, lines)) == 80
    examples = [i for i, line in enumerate(lines) if re.match(r" +gan-metrics [a-z]+ \S*", line)]
    shown = [lines[i] for i in examples if lines[i].startswith("   gan-metrics ")]
    assert len(shown) > 40
    assert len(examples) - len(shown) == 1  # "gan-metrics demo shows …"
    for i in examples:
        assert not lines[i + 1].strip() or lines[i] not in shown, lines[i : i + 2]
    for line in shown:
        check(shlex.split(line.strip().partition("   (")[0])[1:])


@pytest.mark.usefixtures("coarse_lite0")
@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_the_snippets_of_the_guides_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for seed, name in enumerate(("real", "gaussian-mixture", "pca-gaussian")):
        write_folder(tmp_path / "demo" / name, crops(48, seed, 32, 32))
    names: dict[str, Any] = {}
    for language, body in blocks(page.read_text(), "sh", "python"):
        if language == "python":
            named = re.match(r"# (\w+\.py)\n", body)
            if named:
                (tmp_path / named[1]).write_text(body)
            else:
                exec(body, names)
            continue
        for words in commands(f"```sh\n{body}```"):
            if any(word.startswith("demo/") or word == "mynet:build" for word in words):
                done = call(*words)
                assert done.code == 0, (words, done.err)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_is_python(page: Path) -> None:
    for _, body in blocks(page.read_text(), "python"):
        compile(body, str(page), "exec")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        made = page.is_relative_to(DOCS) and target.endswith("cli.md")
        assert made or target.startswith("http") or (page.parent / target).exists(), target


def site() -> ModuleType:
    """The hooks of the site, which are no module of a package."""
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / ".ci" / "site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_links_between_files_of_the_repository_are_links_of_the_site() -> None:
    relinked = site().relinked
    assert relinked("[a](../SECURITY.md)", "sources.md") == "[a](security.md)"
    assert relinked("[a](../../CONTRIBUTING.md#b)", "how-to/x.md") == "[a](../contributing.md#b)"
    assert relinked("[a](docs/scaling.md)", "changelog.md") == "[a](scaling.md)"
    assert relinked("[a](metrics.md#b) [c](#d)", "index.md") == "[a](metrics.md#b) [c](#d)"
    assert relinked("[a](https://x.org/y.md)", "index.md") == "[a](https://x.org/y.md)"


def test_public_names_are_in_the_reference() -> None:
    told = set()
    for page in (DOCS / "reference").glob("*.md"):
        told |= set(re.findall(r"^::: ([\w.]+)", page.read_text(), re.MULTILINE))
    pages = {"gan_metrics.metrics", "gan_metrics.errors"} & told
    errors = {name for name in gm.__all__ if name.endswith("Error")}
    for name in set(gm.__all__) - errors - {"metrics", "training", "METRICS"}:
        assert f"gan_metrics.{name}" in told, name
    assert pages == {"gan_metrics.metrics", "gan_metrics.errors"}
    assert "gan_metrics.metrics.registry.METRICS" in told
    for name in gm.training.__all__:
        assert f"gan_metrics.training.{name}" in told, name


def warning_codes() -> set[str]:
    """First parts of pairs in the code that look like codes of warnings; and those of decoding."""
    found = {metadata._CODES.get(flag, flag) for flag in metadata._MESSAGES}
    for module in Path(gm.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Tuple) and len(node.elts) == 2:
                first = getattr(node.elts[0], "value", None)
                if isinstance(first, str) and re.fullmatch(r"[a-z]{2,}(-[a-z]+)+", first):
                    found.add(first)
    return found - set(PROTOCOLS) - {"torch-fidelity"}


def test_every_warning_is_told_of() -> None:
    text = (DOCS / "warnings.md").read_text()
    told = {
        code
        for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
        for code in re.findall(r"`([^`]+)`", row)
    }
    codes = warning_codes()
    assert len(codes) > 40
    assert told - codes <= {"duplicates", "copies", "declared", "unshuffled"}
    assert codes <= told


def test_the_citation_is_of_this_version() -> None:
    document = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert document["cff-version"] == "1.2.0"
    assert document["type"] == "software"
    assert document["version"] == gm.__version__
    assert document["license"] == "Apache-2.0"
    assert document["authors"]
    for field in ("title", "message", "abstract", "keywords"):
        assert document[field]


def test_ci_builds_the_site() -> None:
    assert "make docs" in (ROOT / ".ci" / "run").read_text()
    makefile = (ROOT / "Makefile").read_text()
    assert "\ndocs:" in makefile
    assert "mkdocs build --strict\n" in makefile  # --quiet would hide what --strict counts

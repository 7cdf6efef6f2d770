"""Errors to exit codes, results to stdout, everything else to stderr."""

from __future__ import annotations

import contextlib
import errno
import functools
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import typer

from gan_metrics.errors import GanMetricsError, ResourceError, failed_device
from gan_metrics.utils.text import printable

if TYPE_CHECKING:
    from pathlib import Path

    from gan_metrics.distributed import Comm
    from gan_metrics.utils.registry import Registry

__all__ = [
    "STATE",
    "check_outputs",
    "emit",
    "guarded",
    "helpers_end",
    "leave",
    "note",
    "plugin_of",
    "print_json",
    "progress",
    "ranks",
    "show_warnings",
    "table",
]

STATE = {"quiet": False, "debug": False, "leads": True}
"""What ``--quiet`` and ``--debug`` set, for the whole command, and whether this rank prints."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE)


def guarded(verb: Callable[..., None]) -> Callable[..., None]:
    """Turn what a verb raises into one clear message and its exit code."""

    @functools.wraps(verb)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        try:
            verb(*args, **kwargs)
        except GanMetricsError as error:
            leave(str(error), error.exit_code, told=_is_told(error))
        except KeyboardInterrupt:
            leave("interrupted", 130)
        except MemoryError:
            leave("out of memory; try a smaller --batch-size, or --max-images", 6)
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader has left; nothing can be said to it
                sys.stdout = open(os.devnull, "w")  # noqa: SIM115
                raise typer.Exit(ResourceError.exit_code) from None
            code = ResourceError.exit_code if error.errno in _NO_ROOM else 1
            leave(f"{error}", code)
        except Exception as error:
            if type(error).__module__.partition(".")[0] in ("typer", "click"):
                raise
            kind = type(error).__name__
            if "DefaultCPUAllocator" in str(error):
                leave("out of memory; try a smaller --batch-size, or --max-images", 6)
            if kind == "OutOfMemoryError":
                leave("the device is out of memory; try a smaller --batch-size", 6)
            if lost := failed_device(error):
                leave(str(lost), lost.exit_code, told=_is_told(error))
            fault = f"this is a fault of gan-metrics ({kind}: {error}); --debug shows where"
            leave(fault, 1, told=_is_told(error))

    # A line of the docstring is none of the help: only blank and indented lines are kept apart.
    wrapper.__doc__ = re.sub(r"(?<!\n)\n(?![\n ])", " ", inspect.cleandoc(verb.__doc__ or ""))
    return wrapper


def leave(message: str, code: int, *, told: bool = False) -> NoReturn:
    """Say a last word on stderr and end with an exit code.

    Args:
        message: The word.
        code: The code.
        told: Whether the leading rank says it too: the others then do not.
    """
    if STATE["debug"]:
        traceback.print_exc()
    if STATE["leads"] or not told:
        print(printable(f"gan-metrics: {message}", keep="\n\t"), file=sys.stderr)  # noqa: T201
    raise typer.Exit(code)


def _is_told(error: Exception) -> bool:
    """Whether all ranks know of an error."""
    from gan_metrics.distributed import is_shared

    return is_shared(error)


@contextlib.contextmanager
def ranks() -> Iterator[Comm]:
    """The processes that share the work of a verb, if ``torchrun`` started several.

    All of them end in the same way; those that only help end at :func:`helpers_end`.
    """
    from gan_metrics.distributed import joined

    with joined() as comm:
        STATE["leads"] = comm.is_main
        with comm.fail_together():
            leaving = None
            try:
                yield comm
            except _HelpedEnough:
                pass
            except typer.Exit as error:  # the verb has said its last word
                leaving = error
        if leaving is not None:
            raise leaving


def helpers_end() -> None:
    """The place from which on only the leading rank prints and writes."""
    if not STATE["leads"]:
        raise _HelpedEnough


class _HelpedEnough(Exception):  # noqa: N818
    """Nothing is left to do for this rank."""


def check_outputs(*paths: Path | None) -> None:
    """Refuse files that cannot be written before any work is done for them.

    Raises:
        UsageError: When a path is a folder or names nothing.
    """
    from gan_metrics.files.download import check_target

    for path in paths:
        if path is not None:
            check_target(path)


def note(message: str) -> None:
    """Say something on stderr, unless ``--quiet``."""
    if STATE["leads"] and not STATE["quiet"]:
        print(printable(message, keep="\n\t"), file=sys.stderr)  # noqa: T201


def show_warnings(warnings: Sequence[tuple[str, str]]) -> None:
    """Warnings on stderr, with their codes."""
    for code, message in warnings:
        note(f"warning[{code}]: {message}")


def print_json(document: Mapping[str, Any]) -> None:
    """One JSON document on stdout."""
    from gan_metrics.utils.text import dumps

    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    print(dumps(document, indent=2, ascii_only=not utf8))  # noqa: T201


def plugin_of(registry: Registry[Any], name: str) -> dict[str, Any]:
    """The plug-in that an entry is from, for JSON; nothing for the package's own entries."""
    origin = registry.origin(name)
    return {} if origin is None else {"plugin": origin.to_json()}


class _Result(Protocol):
    """What a verb has found."""

    @property
    def warnings(self) -> Sequence[tuple[str, str]]: ...
    def to_json(self) -> dict[str, Any]: ...
    def to_text(self) -> str: ...
    def dumps(self, indent: int | None = None) -> str: ...
    def methods(self) -> str: ...
    def bibtex(self) -> str: ...


def emit(
    result: _Result,
    to: Mapping[str, Any],
    *,
    text: str | None = None,
    json: bool = False,
    written: str | None = None,
) -> None:
    """A result to stdout and to the files that were asked for; its warnings to stderr.

    Args:
        result: The result.
        to: What ``takes_output`` gave.
        text: What is printed; ``None``: the result's own text.
        json: Print JSON in any case.
        written: What is written to the file; ``None``: its JSON.
    """
    helpers_end()
    from gan_metrics.files.download import atomic_path

    output: Path | None = to["output"]
    append: Path | None = to["append"]
    # First to the screen: a number that took hours is not lost with a disk that is full.
    show_warnings(result.warnings)
    if to["json"] or json:
        said = {"text": result.methods(), "bibtex": result.bibtex()} if to["methods"] else None
        print_json({**result.to_json(), **({"methods": said} if said else {})})
    else:
        print((result.to_text() if text is None else text).rstrip("\n"))  # noqa: T201
        if to["methods"]:
            print(f"\n{result.methods()}\n\n{result.bibtex()}")  # noqa: T201
    if output is not None:
        document = result.dumps(indent=2) if written is None else written
        with atomic_path(output) as temporary:
            temporary.write_text(document.rstrip("\n") + "\n", encoding="utf-8")
    if append is not None:
        try:
            append.parent.mkdir(parents=True, exist_ok=True)
            with open(append, "a", encoding="utf-8") as log:
                log.write(result.dumps() + "\n")
        except OSError as error:
            raise ResourceError(f"{append} cannot be written: {error.strerror}") from error


@contextlib.contextmanager
def progress() -> Iterator[Callable[[str, int, int], None] | None]:
    """A progress bar with rate and time left on stderr; nothing where that is no terminal."""
    if STATE["quiet"] or not STATE["leads"] or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeLeft(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def report(description: str, done: int, total: int) -> None:
            if description not in tasks:
                tasks[description] = bars.add_task(description, total=total or None, rate="")
            task = bars.tasks[bars.task_ids.index(tasks[description])]
            rate = f"{task.speed:.1f}/s" if task.speed else ""
            bars.update(tasks[description], completed=done, rate=rate)

        yield report


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout; plain columns where that is no terminal."""
    from gan_metrics.utils.tables import text_table

    rows = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        drawn = Table(title=title, title_justify="left")
        for i, column in enumerate(columns):
            drawn.add_column(column, overflow="fold", justify="left" if i == 0 else "default")
        for row in rows:
            drawn.add_row(*(Text(cell) for cell in row))
        Console().print(drawn)
        return
    print(text_table(columns, rows))  # noqa: T201

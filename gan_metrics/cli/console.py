"""Exit codes for errors, results on stdout, everything else on stderr."""

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
"""``--quiet`` and ``--debug`` of this command, and whether this rank prints."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE)


def guarded(verb: Callable[..., None]) -> Callable[..., None]:
    """Turn an exception of a command into one clear message and its exit code."""

    @functools.wraps(verb)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        try:
            verb(*args, **kwargs)
        except GanMetricsError as error:
            leave(str(error), error.exit_code, on_all_ranks=_is_on_all_ranks(error))
        except KeyboardInterrupt:
            leave("interrupted", 130)
        except MemoryError:
            leave("out of memory; try a smaller --batch-size, or --max-images", 6)
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader closed the pipe
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
                leave(str(lost), lost.exit_code, on_all_ranks=_is_on_all_ranks(error))
            fault = f"internal error in gan-metrics ({kind}: {error}); --debug shows the traceback"
            leave(fault, 1, on_all_ranks=_is_on_all_ranks(error))

    # Typer ends a line of the help at each line break; join lines unless indented or blank.
    wrapper.__doc__ = re.sub(r"(?<!\n)\n(?![\n ])", " ", inspect.cleandoc(verb.__doc__ or ""))
    return wrapper


def leave(message: str, code: int, *, on_all_ranks: bool = False) -> NoReturn:
    """Print a message on stderr and end with an exit code.

    Args:
        message: The message.
        code: The exit code.
        on_all_ranks: Whether the main rank prints the same message; other ranks then print nothing.
    """
    if STATE["debug"]:
        traceback.print_exc()
    if STATE["leads"] or not on_all_ranks:
        print(printable(f"gan-metrics: {message}", keep="\n\t"), file=sys.stderr)  # noqa: T201
    raise typer.Exit(code)


def _is_on_all_ranks(error: Exception) -> bool:
    """Whether all ranks received an error."""
    from gan_metrics.distributed import is_shared

    return is_shared(error)


@contextlib.contextmanager
def ranks() -> Iterator[Comm]:
    """Yield the processes that share the work of a command, if ``torchrun`` started several.

    All ranks end in the same way; ranks other than the main one end at :func:`helpers_end`.
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
            except typer.Exit as error:  # the command has printed its message
                leaving = error
        if leaving is not None:
            raise leaving


def helpers_end() -> None:
    """End all ranks but the main one, which prints and writes."""
    if not STATE["leads"]:
        raise _HelpedEnough


class _HelpedEnough(Exception):  # noqa: N818
    """Raised to end a rank whose work is done."""


def check_outputs(*paths: Path | None) -> None:
    """Refuse files that cannot be written, before any work starts.

    Raises:
        UsageError: If a path is a folder or its folder cannot be made.
    """
    from gan_metrics.files.download import check_target

    for path in paths:
        if path is not None:
            check_target(path)


def note(message: str) -> None:
    """Print a message on stderr, unless ``--quiet``."""
    if STATE["leads"] and not STATE["quiet"]:
        print(printable(message, keep="\n\t"), file=sys.stderr)  # noqa: T201


def show_warnings(warnings: Sequence[tuple[str, str]]) -> None:
    """Print warnings on stderr with their codes."""
    for code, message in warnings:
        note(f"warning[{code}]: {message}")


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document on stdout."""
    from gan_metrics.utils.text import dumps

    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    print(dumps(document, indent=2, ascii_only=not utf8))  # noqa: T201


def plugin_of(registry: Registry[Any], name: str) -> dict[str, Any]:
    """Return the plug-in that registered an entry, for JSON; empty for built-in entries."""
    origin = registry.origin(name)
    return {} if origin is None else {"plugin": origin.to_json()}


class _Result(Protocol):
    """The result of a command."""

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
    """Print a result on stdout, write it to the requested files, and its warnings to stderr.

    Args:
        result: The result.
        to: The options from ``takes_output``.
        text: The text to print; ``None``: the result's own text.
        json: Whether to print JSON even without ``--json``.
        written: The text to write to the file; ``None``: the JSON document.
    """
    helpers_end()
    from gan_metrics.files.download import atomic_path

    output: Path | None = to["output"]
    append: Path | None = to["append"]
    # Print first: a full disk must not lose a number that took hours.
    show_warnings(result.warnings)
    if to["json"] or json:
        methods = {"text": result.methods(), "bibtex": result.bibtex()} if to["methods"] else None
        print_json({**result.to_json(), **({"methods": methods} if methods else {})})
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
            raise ResourceError(f"cannot write {append}: {error.strerror}") from error


@contextlib.contextmanager
def progress() -> Iterator[Callable[[str, int, int], None] | None]:
    """Yield a callback that draws progress on stderr; ``None`` if stderr is not a terminal."""
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
    """Print a table on stdout; plain columns if stdout is not a terminal."""
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

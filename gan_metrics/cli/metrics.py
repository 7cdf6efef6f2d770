"""Commands that compute one metric or one family of metrics, generated from the entries."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

import typer

from gan_metrics.cli import console
from gan_metrics.cli.allocator import keep_freed_memory
from gan_metrics.cli.arguments import (
    ErrorBars,
    Fake,
    FakeImages,
    HeldOut,
    Real,
    RealImages,
    metric_option,
)
from gan_metrics.cli.main_options import Debug, Quiet, app
from gan_metrics.cli.options import takes_features, takes_output
from gan_metrics.metrics.entry import Command, Metric, Option
from gan_metrics.metrics.registry import COMMANDS, FAMILIES, METRICS
from gan_metrics.utils.imports import import_object

__all__ = ["make_command"]

_NoImages = Annotated[str | None, typer.Argument(metavar="", hidden=True)]
"""Used instead of FAKE for metrics of a generator."""


def make_command(command: Command) -> Callable[..., None]:
    """Return the function of a command, with a parameter for each argument and option.

    Args:
        command: The metric or family, its help text and its options.
    """
    entries = [METRICS[name] for name in FAMILIES.get(command.metric, (command.metric,))]

    def run(
        options: dict[str, Any],
        to: dict[str, Any],
        real: str | None = None,
        fake: Any = None,
        held_out: str | None = None,
        error_bars: bool = True,
        quiet: bool = False,
        debug: bool = False,
        **given: Any,
    ) -> None:
        from gan_metrics.errors import UsageError

        no_generator = entries[0].needs == "generator" and (fake is None or isinstance(fake, str))
        if no_generator or (held_out is None and any(entry.needs_held_out for entry in entries)):
            raise UsageError(command.missing)
        named = {
            option.name: given[option.name]
            for option in command.options
            if given[option.name] or option.always
        }
        arguments = {entry.name: named for entry in entries} if command.options else {}
        _score(command.metric, real, fake, options, to, error_bars, arguments, held_out)

    parameters = list(_parameters(command, entries))
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__doc__ = command.help
    return run


def _parameters(command: Command, entries: list[Metric]) -> Iterator[inspect.Parameter]:
    """Yield the parameters of a command's function, in the order of its help."""
    first = entries[0]
    of_statistics = all(entry.accepts_statistics == "both" for entry in entries)
    if any(entry.n_sets == 2 for entry in entries):
        yield _parameter("real", Real if of_statistics else RealImages)
    if first.needs == "generator":
        yield _parameter("fake", _NoImages, None)
    else:
        yield _parameter("fake", Fake if of_statistics else FakeImages)
    yield _parameter("options", dict[str, Any])
    yield _parameter("to", dict[str, Any])
    for option in command.options:
        yield _parameter(option.name, _option(option), option.default)
    if any(entry.needs_held_out for entry in entries):
        yield _parameter("held_out", HeldOut, None)
    yield _parameter("error_bars", ErrorBars, True)
    yield _parameter("quiet", Quiet, False)
    yield _parameter("debug", Debug, False)


def _parameter(
    name: str, hint: object, default: object = inspect.Parameter.empty
) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=hint)


def _option(option: Option) -> Any:
    """Return an option of a metric in Typer's form."""
    limits = {"min": option.min, "max": option.max, "metavar": option.metavar}
    given = {name: value for name, value in limits.items() if value is not None}
    hidden = {} if option.show_default else {"show_default": False}
    hint = option.kind if option.default is not None else option.kind | None
    return Annotated[hint, metric_option(option.help, **given, **hidden)]


def _score(
    names: str,
    real: str | None,
    fake: Any,
    options: Mapping[str, Any],
    to: Mapping[str, Any],
    error_bars: bool,
    arguments: Mapping[str, Mapping[str, Any]],
    held_out: Any = None,
) -> None:
    """Compute metrics and print them: a single one by itself, several as a list.

    A metric that cannot be computed is an error.
    """
    from gan_metrics.evaluation.run import score

    console.check_outputs(to["output"], to["append"])
    keep_freed_memory()
    with console.progress() as report:
        found = score(
            names,
            real,
            fake,
            **({} if held_out is None else {"held_out": held_out}),
            error_bars=error_bars,
            arguments=arguments,
            progress=report,
            **options,
        )
    console.emit(found[names] if len(found) == 1 else found, to)


for _name, _place in COMMANDS.items():
    _run = make_command(import_object(_place))
    app.command(_name)(console.guarded(takes_features(takes_output(_run))))

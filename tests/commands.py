"""Run commands of the program in this process, which spares the imports."""

from __future__ import annotations

from dataclasses import dataclass

from typer.testing import CliRunner

from gan_metrics.cli import console
from gan_metrics.cli.app import app


@dataclass(frozen=True)
class Outcome:
    """Exit code, standard output and standard error of a command."""

    code: int
    out: str
    err: str


def call(*args: object) -> Outcome:
    """Run a command."""
    console.STATE.update(quiet=False, debug=False)
    result = CliRunner().invoke(app, [str(a) for a in args])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return Outcome(result.exit_code, result.stdout, result.stderr)


def refused(code: int, *args: object, says: tuple[str, ...]) -> Outcome:
    """A command must fail: this exit code, nothing on stdout, one message with these texts."""
    outcome = call(*args)
    assert outcome.code == code, outcome.err
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    assert outcome.err.count("gan-metrics: ") == 1
    for part in says:
        assert part in outcome.err, f"{part!r} not in {outcome.err!r}"
    return outcome

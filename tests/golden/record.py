"""Makes the golden records: what the public interface gives now, for the comparison later on.

    python tests/golden/record.py            all records
    python tests/golden/record.py --only fid some of them, by the beginning of their names
    python tests/golden/record.py --files    the files of earlier versions: only where a format that
                                             is new has none; old ones must go on being read

Only names of the public interface are used, so that the script runs with any version.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import golden_inputs as inputs  # noqa: E402
from golden_calls import CALLS, Call  # noqa: E402
from golden_commands import COMMANDS, HELP, Command  # noqa: E402
from golden_runs import describe, inside, normal, normal_text, run_command, words  # noqa: E402

RECORDS = HERE / "records"


def run_recorded(command: Command, root: Path) -> dict[str, Any]:
    """The document of a command that runs in a folder of inputs."""
    with inside(root):
        code, out, err = run_command(command.split(), apart=command.apart)
        found: dict[str, Any] = {"command": f"gan-metrics {command.args}", "exit_code": code}
        found |= _stdout(out, root, keys_alone=command.keys_alone)
        found["stderr"] = [line.rstrip() for line in normal_text(err, root).splitlines()]
        if code == 2 and "Usage:" in err:  # Typer's own frames
            found["stderr"] = words(normal_text(err, root))
        for name in command.writes:
            found.setdefault("files", {})[name] = describe(root / name, root)
    return found


def _stdout(out: str, root: Path, *, keys_alone: bool) -> dict[str, Any]:
    try:
        document = json.loads(out)
    except ValueError:
        lines = normal_text(out, root).splitlines()
        return {"stdout": [line.rstrip() for line in lines]}
    if keys_alone:
        return {"fields": {key: list(value) for key, value in document.items()}}
    return {"document": normal(document, root)}


def run_help(path: str, root: Path) -> dict[str, Any]:
    """The document of a command's help."""
    with inside(root):
        code, out, err = run_command([*path.split(), "--help"])
    return {
        "command": f"gan-metrics {path} --help",
        "exit_code": code,
        "help": words(out),
        "stderr": err,
    }


def run_call(call: Call, root: Path) -> dict[str, Any]:
    """The document of a call that is made in a folder of inputs."""
    with inside(root):
        return {"returns": normal(call.function(), root)}


def records() -> Iterator[tuple[str, Any]]:
    """Name of each record and what makes it."""
    for name, command in COMMANDS.items():
        yield f"command-{name}", command
    for path in HELP:
        yield f"help{'-' if path else ''}{path.replace(' ', '-')}", path
    for name, one in CALLS.items():
        yield f"call-{name}", one


def run(made: Any, root: Path) -> dict[str, Any]:
    """The document of whatever :func:`records` gives."""
    if isinstance(made, Command):
        return run_recorded(made, root)
    return run_help(made, root) if isinstance(made, str) else run_call(made, root)


def write(name: str, document: Any) -> None:
    """Write a record."""
    RECORDS.mkdir(exist_ok=True)
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    text = re.sub(r"\[[-\d.e+,\s]+\]", lambda numbers: " ".join(numbers[0].split()), text)
    (RECORDS / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Make what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="beginning of the records' names")
    parser.add_argument("--files", action="store_true", help="make the files of this version")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve() / "inputs"
        if args.files:
            import golden_files

            golden_files.make(root)
            return
        ready = root.with_name("ready")
        ready.mkdir()
        inputs.build(ready)
        failed = []
        for name, made in records():
            if not name.startswith(args.only):
                continue
            shutil.copytree(ready, root)
            if getattr(made, "inception", False):
                weights = ready.with_name("inception.safetensors")
                if not weights.exists():
                    inputs.write_inception(weights)
                (root / "inception.safetensors").symlink_to(weights)
            print(name, round(time.process_time(), 1), flush=True)
            try:
                write(name, run(made, root))
            except Exception:
                traceback.print_exc()
                failed.append(name)
            shutil.rmtree(root)
        if failed:
            raise SystemExit(f"not made: {', '.join(failed)}")


if __name__ == "__main__":
    main()

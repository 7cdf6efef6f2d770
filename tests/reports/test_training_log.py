"""Logs of trainings are read as they were written; what is none is refused with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import gan_metrics as gm
from gan_metrics import InputError
from gan_metrics.reports.training_log import Scored, read_history


def result(value: float, metric: str = "fd", error: float | None = 0.5) -> gm.MetricResult:
    return gm.MetricResult(metric, value, error, 20, 20, None, gm.FeatureSpec())


def written(path: Path, lines: list[Any]) -> Path:
    path.write_text(
        "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    )
    return path


def test_what_an_evaluator_writes(tmp_path: Path) -> None:
    found = gm.EvaluationResult({"fid": result(9.0), "kid": result(0.1, "kd", None)})
    later = gm.EvaluationResult({"fid": result(7.0)})
    log = written(
        tmp_path / "log.jsonl",
        [{"step": 200, **later.to_json()}, "", {"step": 100, **found.to_json()}],
    )
    read = read_history(log)
    assert read.steps
    assert read.curves == {
        "fd": [Scored(100, 9.0, 0.5), Scored(200, 7.0, 0.5)],
        "kd": [Scored(100, 0.1, None)],
    }


def test_what_append_writes(tmp_path: Path) -> None:
    log = written(tmp_path / "log.jsonl", [result(9.0).to_json(), result(7.0).to_json()])
    read = read_history(log)
    assert not read.steps
    assert read.curves == {"fd": [Scored(1, 9.0, 0.5), Scored(2, 7.0, 0.5)]}


def test_lines_with_and_without_a_step_are_no_one_curve(tmp_path: Path) -> None:
    lines = [{"step": 2, **result(9.0).to_json()}, result(7.0).to_json()]
    with pytest.raises(InputError, match="1 of 2 lines state their step"):
        read_history(written(tmp_path / "log.jsonl", lines))


def test_values_of_several_protocols_and_networks_are_several_curves(tmp_path: Path) -> None:
    def line(step: int, value: float, protocol: str, layer: str, fingerprint: str) -> str:
        spec = {"backbone": "b", "layer": layer, "fingerprint": fingerprint * 32}
        document = {"metric": "fid", "value": value, "protocol": protocol, "feature_spec": spec}
        return json.dumps({"step": step, **document})

    log = tmp_path / "log.jsonl"
    own, other = [line(s, s / 8, "p", "l", "a") for s in (1, 2)], line(1, 9, "q", "l", "b")
    log.write_text("\n".join([own[0], other, own[1]]))
    found = read_history(log).curves
    assert list(found) == ["fid (p)", "fid (q)"]
    assert [one.value for one in found["fid (p)"]] == [0.125, 0.25]
    assert [one.value for one in found["fid (q)"]] == [9]
    log.write_text("\n".join([*own, other, line(1, 7, "p", "m", "c")]))
    assert list(read_history(log).curves) == ["fid (p, b l)", "fid (q, b l)", "fid (p, b m)"]
    log.write_text("\n".join([*own, line(1, 7, "p", "l", "c")]))
    assert list(read_history(log).curves) == ["fid (p, b l, aaaaaaaa)", "fid (p, b l, cccccccc)"]
    log.write_text("\n".join(own))
    assert list(read_history(log).curves) == ["fid"]


def test_a_step_taken_again_counts_once(tmp_path: Path) -> None:
    lines = [{"step": 5, **result(value).to_json()} for value in (9.0, 8.0)]
    assert read_history(written(tmp_path / "log", lines)).curves["fd"] == [Scored(5, 8.0, 0.5)]


@pytest.mark.parametrize(
    "line",
    ["{", "[]", "7", '{"step": 1}', '{"metric": "fd", "value": null}',
     '{"metric": "fd", "value": 1e999}', '{"step": "one", "metric": "fd", "value": 1}',
     '{"results": [7]}'],
)  # fmt: skip
def test_refused(tmp_path: Path, line: str) -> None:
    log = written(tmp_path / "log.jsonl", [result(9.0).to_json(), line])
    with pytest.raises(InputError, match=r"log\.jsonl, line 2: expected a result"):
        read_history(log)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .* as a log"):
        read_history(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="contains no results"):
        read_history(written(tmp_path / "empty.jsonl", []))

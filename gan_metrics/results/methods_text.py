"""The methods paragraph for a paper, and the citations of what was computed."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from gan_metrics.backbones.registry import cited_by
from gan_metrics.metrics.registry import entry_of
from gan_metrics.protocols.spec import Decoding, FeatureSpec
from gan_metrics.protocols.table import PROTOCOLS
from gan_metrics.results.citations import bibtex

__all__ = ["bibtex_of", "methods_of"]


class ResultLike(Protocol):
    """The part of :class:`~gan_metrics.results.result.MetricResult` that the text needs."""

    @property
    def metric(self) -> str: ...
    @property
    def n_real(self) -> int | None: ...
    @property
    def n_fake(self) -> int | None: ...
    @property
    def n_held_out(self) -> int | None: ...
    @property
    def sides(self) -> int: ...
    @property
    def protocol(self) -> str | None: ...
    @property
    def feature_spec(self) -> FeatureSpec: ...
    @property
    def arguments(self) -> Mapping[str, Any]: ...
    @property
    def drawn(self) -> Mapping[str, int]: ...
    @property
    def fixed(self) -> Mapping[str, str]: ...
    @property
    def details(self) -> Mapping[str, Any]: ...
    @property
    def seed(self) -> int: ...
    @property
    def declared(self) -> Sequence[str]: ...
    @property
    def skipped_files(self) -> Sequence[Any]: ...
    @property
    def standard_error(self) -> float | None: ...
    @property
    def error_bar(self) -> str: ...
    @property
    def versions(self) -> Mapping[str, str]: ...
    def value_text(self) -> str: ...


def methods_of(results: Sequence[ResultLike]) -> str:
    """Return one paragraph that describes what was computed and how.

    Args:
        results: Results of one run.

    Returns:
        Sentences on the values, their error bars, the features, the preprocessing, assumed facts,
        and the versions. Every number in it comes from the results.
    """
    if not results:
        return ""
    sentences = [_values(results)]
    sentences += _sets(results)
    for spec, protocol, members in _spaces(results):
        sentences += _space(spec, protocol, [_short(m, results) for m in members], len(results) > 1)
    sentences += _settings(results)
    sentences += _error_bars(results)
    sentences += _reservations(results)
    sentences.append(_software(results[0].versions))
    return " ".join(sentences)


def bibtex_of(results: Sequence[ResultLike]) -> str:
    """Return BibTeX entries of the metrics, the networks, the protocols' tools, and gan-metrics."""
    keys: list[str] = []
    for result in results:
        entry = entry_of(result.metric)
        keys += () if entry is None else entry.cite
        keys += cited_by(result.feature_spec.backbone)
        rules = PROTOCOLS.get(result.protocol) if result.protocol else None
        keys += () if rules is None else rules.cite
    entries = bibtex(keys)
    version = _own_version(results[0].versions if results else {})
    own = (
        "@misc{ganmetrics,\n  author = {{The gan-metrics authors}},\n"
        "  title = {{gan-metrics}: how good generated images are, with error bars},\n"
        f"  note = {{Version {version}}}\n}}"
    )
    return f"{entries}\n\n{own}" if entries else own


def _values(results: Sequence[ResultLike]) -> str:
    first = results[0]
    counts = {
        (r.sides, r.n_real if r.sides == 2 else None, r.n_fake, r.n_held_out) for r in results
    }
    if len(counts) == 1:
        listed = "; ".join(f"{_name(r, results)} {r.value_text()}" for r in results)
        return (
            f"Between {_images(first)}: {listed}."
            if first.sides == 2
            else (f"Of {_images(first)}: {listed}.")
        )
    return " ".join(f"{_name(r, results)}: {r.value_text()} ({_images(r)})." for r in results)


def _images(result: ResultLike) -> str:
    fake = f"{_number(result.n_fake)} generated images"
    if "paths" in result.details:
        return f"{_number(result.n_fake)} paths"
    if result.sides == 1:
        return fake
    held = f", with {result.n_held_out:,} held out" if result.n_held_out is not None else ""
    return f"{_number(result.n_real)} real and {fake}{held}"


def _number(n: int | None) -> str:
    return "an unstated number of" if n is None else f"{n:,}"


def _name(result: ResultLike, among: Sequence[ResultLike]) -> str:
    """Return a metric's full name, with its protocol if several protocols computed it."""
    entry = entry_of(result.metric)
    long_name = result.metric if entry is None else entry.long_name_of(result.metric)
    return long_name + _by(result, among)


def _short(result: ResultLike, among: Sequence[ResultLike]) -> str:
    entry = entry_of(result.metric)
    label = result.metric if entry is None else entry.label_of(result.metric)
    return label + _by(result, among)


def _by(result: ResultLike, among: Sequence[ResultLike]) -> str:
    several = {r.protocol for r in among if r.metric == result.metric}
    return f" by {result.protocol}" if len(several) > 1 else ""


def _sets(results: Sequence[ResultLike]) -> list[str]:
    """Return sentences about drawn images and stored moments."""
    found = []
    drawn = next((r.drawn["max_images"] for r in results if r.drawn), None)
    if drawn is not None:
        found.append(f"From larger sets, {drawn:,} images were drawn at random.")
    for side, where in dict.fromkeys(pair for r in results for pair in r.fixed.items()):
        fixed = [_short(r, results) for r in results if r.fixed.get(side) == where]
        whose = f"For {', '.join(fixed)}, the" if len(fixed) < len(results) else "The"
        name = {"real": "real", "fake": "generated"}[side]
        found.append(f"{whose} {name} images are given as stored moments ({where}), held fixed.")
    return found


def _spaces(
    results: Sequence[ResultLike],
) -> list[tuple[FeatureSpec, str | None, list[ResultLike]]]:
    found: dict[tuple[str, str | None], tuple[FeatureSpec, str | None, list[ResultLike]]] = {}
    for result in results:
        key = (result.feature_spec.fingerprint(), result.protocol)
        found.setdefault(key, (result.feature_spec, result.protocol, []))[2].append(result)
    return list(found.values())


def _space(
    spec: FeatureSpec, protocol: str | None, metrics: Sequence[str], several: bool
) -> list[str]:
    whose = f"Features for {', '.join(metrics)}" if several else "Features"
    weights = "weights not stated"
    if spec.weights_sha256:
        known = spec.weights_sha256
        weights = known if known.startswith("random") else f"weights with SHA-256 {known[:16]}…"
    pool = f", pooled by {spec.pool}," if spec.pool not in (None, "none") else ""
    if str(spec.backbone).startswith("lpips-"):
        return [
            f"Distances for {', '.join(metrics)} are those of LPIPS {spec.layer} with the network "
            f"{str(spec.backbone).removeprefix('lpips-')} ({weights}).",
            f"They have the fingerprint {spec.fingerprint()}.",
        ]
    sentences = [
        f"{whose} are the outputs of layer {spec.layer or '(not stated)'}{pool} of the network "
        f"{spec.backbone or '(not stated)'} ({weights}), computed in "
        f"{spec.precision or 'a precision that is not stated'}."
    ]
    pixels = spec.preprocess
    if pixels is not None:
        rules = PROTOCOLS.get(protocol) if protocol else None
        decoding = Decoding() if rules is None else rules.decoding
        ways = {"alpha": decoding.alpha, "exif": decoding.exif, **dict(spec.departures or ())}
        alpha = "dropped" if ways["alpha"] == "drop" else f"composited over {ways['alpha']}"
        turned = "ignored" if ways["exif"] == "ignore" else "applied"
        by = f" by protocol {protocol}" if protocol else ""
        sentences.append(
            f"Images were decoded to 8-bit RGB (alpha {alpha}, EXIF orientation {turned}) and "
            f"prepared{by}: {pixels}."
        )
    elif protocol:
        sentences.append(f"Images were prepared by protocol {protocol}.")
    sentences.append(f"The feature space has the fingerprint {spec.fingerprint()}.")
    return sentences


def _settings(results: Sequence[ResultLike]) -> list[str]:
    """Return a sentence with the arguments of each metric and the seed."""
    found = []
    for result in results:
        given = dict(result.arguments)
        entry = entry_of(result.metric)
        for name in () if entry is None else entry.settings:
            if name in result.details:
                given[name] = result.details[name]
        given.setdefault("seed", result.seed)
        if entry is not None and entry.states_divisor:
            divisor = given.pop("divisor", "n-1").replace("n-1", "n − 1")
            given["covariances divided by"] = divisor
        shown = ", ".join(
            f"{key.replace('_', ' ')}{' ' if key.endswith('by') else ' = '}{_plain(value)}"
            for key, value in given.items()
            if key != "seed" or value != result.seed
        )
        if shown:
            found.append(f"{_short(result, results)}: {shown}")
    found.append(f"seed {results[0].seed}")
    return [f"Settings: {'; '.join(found)}."]


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _error_bars(results: Sequence[ResultLike]) -> list[str]:
    barred = [result for result in results if result.standard_error is not None]
    if not barred:
        return []
    ways: dict[str, list[str]] = {}
    for result in barred:
        ways.setdefault(result.error_bar, []).append(_short(result, results))
    how = "; ".join(
        f"{', '.join(names)}: {way}" if len(ways) > 1 else way for way, names in ways.items() if way
    )
    made = f" ({how})" if how else ""
    held = ", moments held fixed" if any(result.fixed for result in barred) else ""
    return [
        f"± is one standard error for redrawing the images at these sample sizes{held}, not for "
        f"trainings{made}."
    ]


def _reservations(results: Sequence[ResultLike]) -> list[str]:
    found = []
    declared = sorted({name for result in results for name in result.declared})
    if declared:
        found.append(f"Not stated by a file and assumed: {', '.join(declared)}.")
    skipped = max(len(result.skipped_files) for result in results)
    if skipped:
        files = "1 file" if skipped == 1 else f"{skipped} files"
        found.append(f"Left out because they cannot be decoded: {files}.")
    return found


def _software(versions: Mapping[str, str]) -> str:
    used = [
        f"{label} {versions[name]}"
        for name, label in (("torch", "PyTorch"), ("pillow", "Pillow"), ("numpy", "NumPy"))
        if name in versions
    ]
    return f"Computed with gan-metrics {_own_version(versions)} ({', '.join(used)})."


def _own_version(versions: Mapping[str, str]) -> str:
    return versions.get("gan-metrics") or importlib.metadata.version("gan-metrics")

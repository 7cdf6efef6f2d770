"""The calls of the Python interface that are recorded. Each gives what goes into its record."""

from __future__ import annotations

import dataclasses
import json
import lzma
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import golden_inputs as inputs
import numpy as np
from golden_commands import EARLY as EARLY_NETWORK
from golden_commands import EMBEDDED
from golden_compare import Network

import gan_metrics as gm

__all__ = ["CALLS", "Call"]

LITE0 = {"backbone": "efficientnet-lite0", "device": "cpu", "cache": False}
EARLY = {**LITE0, "layer": "blocks.1"}
LOOP = {"backbone": "efficientnet-lite0", "layer": "blocks.1", "device": "cpu"}
"""For training objects, which have no cache."""


@dataclass(frozen=True)
class Call:
    """A function without arguments; see :class:`golden_commands.Command` for the rest."""

    function: Callable[[], Any]
    network: Network | None = None
    slow: bool = False
    inception: bool = False
    keys_alone: bool = False


CALLS: dict[str, Call] = {}
"""Name of the record to the call."""


def call(name: str, **how: Any) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    def keep(function: Callable[[], Any]) -> Callable[[], Any]:
        CALLS[name] = Call(function, **how)
        return function

    return keep


def _sets() -> tuple[Any, Any, Any]:
    return tuple(inputs.features(name) for name in ("real", "fake", "held-out"))


def _images(name: str) -> Any:
    import torch

    return torch.from_numpy(inputs.images(name)).permute(0, 3, 1, 2).contiguous()


def _fields(held: Any) -> dict[str, Any]:
    return dict(held._asdict() if isinstance(held, tuple) else dataclasses.asdict(held))


def _error(function: Callable[[], Any]) -> list[str]:
    """The class of an error, what it is a subclass of, and its message."""
    try:
        function()
    except gm.GanMetricsError as error:
        return [type(error).__name__, str(error)]
    return ["no error", ""]


# Pure functions of arrays.


@call("metric-functions-of-two-sets")
def _() -> Any:
    x, y, _ = _sets()
    m = gm.metrics
    names = (
        *("clipped_coverage", "clipped_density", "coverage", "density", "p_precision", "p_recall"),
        *("precision", "recall", "prdc", "authentic", "authpct", "nearest_real", "nearest_reals"),
        *("rarity", "realism", "mifid", "mind", "swd", "fd_infinity", "frechet_distance"),
        *("frechet_influence", "frechet_standard_error", "kernel_distance", "kid", "cmmd"),
    )
    return {name: getattr(m, name)(x, y) for name in names}


@call("metric-functions-with-arguments")
def _() -> Any:
    x, y, _ = _sets()
    m = gm.metrics
    return {
        "kid": [
            m.kid(x, y, subsets=3, subset_size=8, draws=d, draw_first=first, seed=4)
            for d in ("numpy", "numpy-legacy", "torch")
            for first in ("real", "fake")
        ],
        "precision": [
            m.precision(x, y, k=2, arithmetic=a) for a in ("exact", "float16", "float16-squared")
        ],
        "strict": [m.recall(x, y, k=2, strict=s) for s in (False, True)],
        "prdc": m.prdc(x, y, k=3),
        "p_precision": m.p_precision(x, y, k=3, a=1.1),
        "kernel_distance": m.kernel_distance(x, y, degree=2, gamma=0.01, coef0=0.5),
        "cmmd": m.cmmd(x, y, sigma=20.0, scale=10.0),
        "fd_infinity": m.fd_infinity(x, y, sizes=5, seed=2),
        "swd": m.swd(x, y, directions=50, seed=1),
        "mind": m.mind(x, y, directions=50, seed=1),
        "mifid": m.mifid(x, y, tau=0.5),
    }


@call("metric-functions-of-one-set")
def _() -> Any:
    _, y, _ = _sets()
    m, logits = gm.metrics, y / 4
    return {
        "bandwidth": m.bandwidth(y, seed=1),
        "fkea": m.fkea(y, features=64, seed=1),
        "rke": [m.rke(y), m.rke(y, sigma=10.0)],
        "vendi": [m.vendi(y, q=q) for q in (0.5, 1.0, 2.0)],
        "inception_score": m.inception_score(logits, splits=2),
        "dealt": [
            m.inception_score(logits, splits=3, deal=deal, draws=draws, seed=2)
            for deal in ("even", "chunk")
            for draws in ("numpy", "numpy-legacy", "torch")
        ],
        "unshuffled": m.inception_score(logits, split_size=5, shuffle=False),
    }


@call("metric-functions-of-three-sets")
def _() -> Any:
    x, y, z = (inputs.features(name) for name in ("train", "drawn", "test"))
    return {"ct": gm.metrics.ct(x, y, z, cells=2), "fld": gm.metrics.fld(x, y, z)}


@call("frechet-terms")
def _() -> Any:
    x, y, _ = _sets()
    m = gm.metrics
    terms = m.frechet_terms(x, y, error_bar=True)
    shares, directions = m.frechet_directions(x, y, k=3)
    return {
        "terms": _fields(terms),
        "divisor n": m.frechet_terms(x, y, divisor="n").covariance_term,
        "shares": shares,
        "directions": np.abs(directions),  # up to their signs
        "sensitivity": m.frechet_sensitivity(y, x, rows=[0, 3]),
    }


@call("pointwise")
def _() -> Any:
    x, y, _ = _sets()
    return _fields(gm.metrics.pointwise(x, y, k=2))


@call("metric-functions-of-tensors")
def _() -> Any:
    import torch

    x, y, _ = (torch.from_numpy(one).double().requires_grad_() for one in _sets())
    value = gm.metrics.frechet_distance(x, y)
    value.backward()
    plain = [one.detach() for one in (x, y)]
    found = {
        n: getattr(gm.metrics, n)(*plain) for n in ("kid", "prdc", "authpct", "kernel_distance")
    }
    return {"value": value.item(), "gradient": y.grad.numpy()[:2], **found}


@call("moments")
def _() -> Any:
    x, y, _ = _sets()
    stats = gm.compute_stats(inputs.saved("real"))
    one = gm.Moments(24, x.mean(0, dtype=np.float64), np.cov(x.astype(np.float64), rowvar=False))
    return {
        "mean": stats.moments.mean,
        "cov": stats.moments.cov,
        "n": stats.moments.n,
        "distance": gm.metrics.frechet_distance(one, stats.moments),
        "to features": gm.metrics.frechet_distance(one, y),
    }


# The composition, on features.


@call("fid")
def _() -> Any:
    result = gm.fid(inputs.saved("real"), inputs.saved("fake"), directions=2)
    return {"float": float(result), "repr": repr(result), "document": result.to_json()}


@call("fid-text")
def _() -> Any:
    result = gm.fid("real.npz", "fake.npz")
    return [str(result).splitlines(), result.methods(), result.bibtex().splitlines()]


@call("evaluate-every-metric")
def _() -> Any:
    """Each metric by itself: its result, or why there is none."""
    found = {}
    for name in gm.METRICS:
        if name in ("ct", "fld"):
            result = gm.evaluate("train.npz", "drawn.npz", metrics=name, held_out="test.npz")
        elif name in ("is", "vendi"):
            result = gm.evaluate(None, "logits.npz", metrics=name)
        else:
            result = gm.evaluate("real.npz", "fake.npz", metrics=name)
        found[name] = result.to_json()
    return found


@call("evaluate-mapping")
def _() -> Any:
    found = gm.evaluate(
        "real.npz", "fake.npz", metrics=["fd", "kid", "prdc"], arguments={"prdc": {"k": 4}}, seed=7
    )
    return {
        "keys": list(found),
        "values": [float(one) for one in found.values()],
        "errors": [one.standard_error for one in found.values()],
        "not_computed": found.not_computed,
        "warnings": found.warnings,
        "text": found.to_text().splitlines(),
        "methods": found.methods(),
    }


@call("evaluate-protocols-by-metric")
def _() -> Any:
    """Each metric of each protocol, in the space that the protocol has it in."""
    found: dict[str, Any] = {}
    for protocol, row in gm.PROTOCOLS.items():
        for metric, entry in row.metrics.items():
            if metric == "ppl":
                continue
            spec = dataclasses.replace(
                entry.template,
                backbone=entry.template.backbone or "efficientnet-lite0",
                weights_sha256=inputs.INCEPTION_SHA256,
                precision="fp32",
                departures=(),
            )
            sets = [inputs.saved(name, spec, protocol) for name in ("real", "fake")]
            result = gm.evaluate(*sets, metrics=metric, protocol=protocol, error_bars=False)
            document = result.to_json()
            for one in document["results"]:
                del one["warnings"], one["error_bar"]
            found[f"{protocol} {metric}"] = document
    return found


@call("evaluate-per-image")
def _() -> Any:
    images = gm.evaluate("real.npz", "fake.npz", metrics="fid", per_image=True).per_image
    path = images.save("images.csv")
    return {
        "rows": list(images.rows())[:3],
        "worst": images.worst(2),
        "best": images.best(1),
        "near copies": images.near_copies(),
        "uncovered": images.uncovered()[:2],
        "text": images.to_text(2).splitlines(),
        "head": path.read_text(encoding="utf-8").splitlines()[0],
    }


@call("evaluate-per-class")
def _() -> Any:
    labels = {n: "ab"[i % 2] for i, n in enumerate(inputs.names("held-out"))}
    found = gm.evaluate("real.npz", "fake.npz", metrics=["fid", "kid"], labels=labels)
    return {"document": found.per_class.to_json(), "text": found.per_class.to_text().splitlines()}


@call("compare")
def _() -> Any:
    found = gm.compare(
        "real.npz", {"a": ["fake.npz", "fake-b.npz"], "b": "held-out.npz"}, metrics=["kid", "fid"]
    )
    return {
        "document": found.to_json(),
        "text": found.to_text().splitlines(),
        "latex": found.to_latex().splitlines(),
        "csv": found.to_csv().splitlines(),
        "metrics": found.metrics,
    }


@call("compute-and-load-statistics")
def _() -> Any:
    made = gm.compute_stats("real.npz")
    path = made.save("again")
    read = gm.load_stats(path)
    return {
        "path": str(path),
        "header": read.header(),
        "identity": read.identity,
        "same": bool((read.moments.cov == made.moments.cov).all()),
        "resolution": read.resolution,
    }


@call("merge-statistics")
def _() -> Any:
    parts = [gm.compute_stats(inputs.saved(name)) for name in ("real", "fake")]
    whole = gm.merge_stats(parts)
    return {
        "header": whole.header(),
        "mean": whole.moments.mean,
        "variances": whole.moments.cov.diagonal(),
    }


@call("search")
def _() -> Any:
    found = gm.search("fake.npz", "real.npz", top_k=2, flag_below=0.02)
    return {"document": found.to_json(), "flagged": found.flagged(), "of": found.of(1)}


@call("feature-map")
def _() -> Any:
    found = gm.feature_map("real.npz", "fake.npz", perplexity=5.0)
    return {"names": found.names, "warnings": found.warnings}


@call("reproduce")
def _() -> Any:
    record = json.loads(Path("files/result.json").read_text(encoding="utf-8"))
    found = gm.reproduce(record, "real.npz", "fake.npz")
    return {"document": found.to_json(), "text": str(found).splitlines(), "agrees": found.agrees}


@call("report-and-save", slow=True)
def _() -> Any:
    found = gm.report("real.npz", ["fake.npz", "fake-b.npz"], labels="labels.csv", map_method=None)
    path = gm.save_report(found, "report.html")
    return {
        "missing": found.missing,
        "warnings": found.warnings,
        "spectrum": found.real_spectrum,
        "generators": [g.missing for g in found.generators],
        "html": path.read_text(encoding="utf-8")[:15],
    }


@call("features-files")
def _() -> Any:
    found = {}
    for suffix in ("npy", "npz", "safetensors", "parquet"):
        path = gm.save_features(inputs.saved("fake"), Path(f"saved.{suffix}"))
        read = gm.load_features(path)
        found[suffix] = {
            "path": str(path),
            "same": bool((read.array == inputs.features("fake")).all()),
            "names": list(read.names)[:2],
            "spec": read.spec.to_json(),
            "protocol": read.protocol,
        }
    return found


@call("errors")
def _() -> Any:
    return [
        _error(lambda: gm.fid("nowhere", "fake")),
        _error(lambda: gm.fid("real.npz", "fake.npz", bakcbone="inception")),
        _error(lambda: gm.fid("real.npz", "lite0.npz")),
        _error(lambda: gm.fid("real.npz", "one.npy")),
        _error(lambda: gm.fid(3, "fake")),
        _error(lambda: gm.fid("real.npz", "fake.npz", seed=-1)),
        _error(lambda: gm.evaluate("real.npz", "fake.npz", metrics=[])),
        _error(lambda: gm.evaluate("real.npz", "fake.npz", arguments={"kid": {"k": 3}})),
        _error(lambda: gm.merge_stats([])),
        _error(lambda: gm.merge_stats(["real-stats.npz", "real-stats.npz"])),
        _error(lambda: gm.load_stats("real.npz")),
        _error(lambda: gm.load_features("real-stats.npz")),
        _error(lambda: gm.load_backbone("inception", weights="weights.pth")),
        _error(lambda: gm.training.FID("real-stats.npz", backbone="vgg16")),
        _error(lambda: gm.metrics.frechet_distance(np.ones((1, 4)), np.ones((5, 4)))),
    ]


@call("error-classes")
def _() -> Any:
    names = [name for name in gm.__all__ if name.endswith("Error")]
    return {name: getattr(gm, name).exit_code for name in names}


@call("public-names")
def _() -> Any:
    return {
        "gan_metrics": sorted(gm.__all__),
        "metrics": sorted(gm.metrics.__all__),
        "training": sorted(gm.training.__all__),
    }


# Files of an earlier version.


@call("old-statistics")
def _() -> Any:
    found = {}
    for name in ("statistics.npz", "torch-fidelity.pt", "edm2.pkl", "adm.npz"):
        path = Path("files", name)
        if not path.exists():  # large, and kept compressed
            path.write_bytes(lzma.decompress(path.with_name(f"{name}.xz").read_bytes()))
        read = gm.load_stats(path)
        found[name] = {
            "header": read.header(),
            "declared": read.declared,
            "mean": read.moments.mean[:12],
            "means": float(read.moments.mean.sum()),
            "variances": read.moments.cov.diagonal()[:12],
            "norm": float(np.linalg.norm(read.moments.cov)),
        }
    return found


@call("old-features")
def _() -> Any:
    found = {}
    for name in ("features.npy", "features.npz", "features.parquet", "features.safetensors"):
        read = gm.load_features(Path("files", name))
        found[name] = {
            "names": list(read.names),
            "array": read.array[:, :6],
            "sum": float(read.array.sum(dtype=np.float64)),
            "spec": read.spec.to_json(),
            "protocol": read.protocol,
            "digest": read.digest,
        }
    return found


@call("old-state")
def _() -> Any:
    """What an accumulator kept is taken up: no network runs."""
    import torch

    state = torch.load("files/state_dict.pt", weights_only=True)
    document = gm.training.FID(**LOOP).load_state_dict(state).compute().to_json()
    return {"state": {k: list(v) for k, v in state.items()}, "document": document}


@call("old-pins")
def _() -> Any:
    """A hash that was pinned by an earlier version is held to."""
    from golden_runs import run_command

    pins = Path("home", "pins.json")
    pins.parent.mkdir()
    pinned = Path("files", "home", "pins.json").read_text(encoding="utf-8")
    found = []
    for text in (pinned, pinned.replace("579344248a93", "579344240000")):
        pins.write_text(text, encoding="utf-8")
        code, out, err = run_command(["weights", "verify", "efficientnet-lite0"])
        found.append([code, out.splitlines(), err.splitlines()])
    return found


# Identities.


@call("fingerprints-of-backbones")
def _() -> Any:
    """Of every layer that has a name, for a weights file whose hash is known; nothing is built."""
    from golden_runs import run_command

    listed = json.loads(run_command(["backbones", "--json"])[1])
    found = {}
    for backbone, row in listed.items():
        for layer in row["layers"]:
            found[f"{backbone} {layer}"] = _fingerprint("fid", backbone=backbone, layer=layer)
        if row["default_layer"]:
            found[backbone] = _fingerprint("fid", backbone=backbone)
    return found


@call("fingerprints-of-protocols")
def _() -> Any:
    """Of every metric of every protocol, and of what the backbone's own pixels leave to it."""
    found = {}
    for protocol, row in gm.PROTOCOLS.items():
        for metric, entry in row.metrics.items():
            if metric == "ppl":
                continue
            backbone = entry.template.backbone or "resnet50"
            how = {"backbone": backbone, "protocol": protocol}
            found[f"{protocol} {metric}"] = _fingerprint(metric, **how)
    return found


@call("fingerprints-of-options")
def _() -> Any:
    found = {}
    for option, values in {
        "pool": ("avg", "max", "flatten"),
        "precision": ("fp32", "tf32", "bf16", "fp16", "int8"),
    }.items():
        for value in values:
            how = {option: value, "backbone": "vgg19", "layer": "features.3"}
            found[f"{option} {value}"] = _fingerprint("fid", **how)
    lite0 = gm.training.FID(backbone="efficientnet-lite0").state_dict()
    return {**found, "published weights": list(lite0["fake"])}


def _fingerprint(metric: str, **how: Any) -> str:
    made = gm.training.Metrics([metric], weights="weights.pth", device="cpu", **how)
    (found,) = made.state_dict()["fake"]
    return str(found)


# Networks.


@call("features-of-images", network=EARLY_NETWORK)
def _() -> Any:
    found = gm.extract_features("real", **EARLY)
    return {
        "names": list(found.names),
        "array": found.array,
        "spec": found.spec.to_json(),
        "protocol": found.protocol,
        "digest": found.digest,
    }


@call("features-of-unusual-images", network=Network(10.0, 32))
def _() -> Any:
    """Alpha, 16 bits, a palette, an orientation, gray: what decoding makes of them."""
    found = {}
    for how in ({}, {"alpha": "white", "exif": "apply"}):
        name = " ".join(how.values()) or "as they are"
        features = gm.extract_features(
            "files/images", on_error="skip", **{**EARLY, "layer": "conv_stem"}, **how
        )
        found[name] = {
            "names": list(features.names),
            "array": features.array[:, :8],
            "skipped": features.skipped,
            "warnings": features.warnings,
            "fingerprint": features.spec.fingerprint(),
        }
    return found


@call("layers-of-lite0", network=Network(11.0, 1280))
def _() -> Any:
    found = {}
    for layer in ("conv_head_act", "logits"):
        backbone = gm.load_backbone("efficientnet-lite0", layer=layer, device="cpu")
        found[layer] = backbone(_images("fake")[:1]).numpy()[:, :16]
    return found


@call("own-network", network=Network(1.0, 6))
def _() -> Any:
    import golden_toys

    result = gm.fid("real", "fake", backbone=golden_toys.Colors(), device="cpu", error_bars=False)
    document = result.to_json()
    del document["feature_spec"]["weights_sha256"], document["feature_spec"]["fingerprint"]
    del document["feature_spec"]["backbone"]
    return document


@call("generated", network=EARLY_NETWORK, slow=True)
def _() -> Any:
    import golden_toys

    images = gm.Generated(golden_toys.squares, n=4, seed=3)
    return gm.fid("real", images, error_bars=False, **EARLY).to_json()


@call("objects-as-sets", network=EARLY_NETWORK, slow=True)
def _() -> Any:
    x, y = _images("real"), inputs.images("fake")
    document = gm.fid(x, y, error_bars=False, **EARLY).to_json()
    return {name: document[name] for name in ("metric", "value", "terms", "n_real", "warnings")}


@call("inspect-images")
def _() -> Any:
    found = gm.inspect_images("files/images")
    return {"document": found.to_json(), "text": found.to_text().splitlines()}


@call("attribute", network=EMBEDDED, slow=True)
def _() -> Any:
    found = gm.attribute("real", "fake", top=2, **LITE0)
    return {"layer": found.layer, "names": [one.name for one in found], "n": len(found)}


# The training loop.


@call("training-fid", network=EARLY_NETWORK)
def _() -> Any:
    metric = gm.training.FID(error_bars=False, **LOOP)
    metric.update(_images("real"), real=True).update(_images("fake")[:2]).update(
        _images("fake")[2:]
    )
    document = metric.compute().to_json()
    del document["digests"]  # of features, whose last bits differ
    other = gm.training.FID(error_bars=False, **LOOP).load_state_dict(metric.state_dict())
    shapes = {
        side: {f: list(array.shape) for f, array in state.items()}
        for side, state in metric.state_dict().items()
    }
    again = float(other.compute())
    kept = float(metric.reset(keep_real=True).update(_images("fake")).compute())
    return {"document": document, "state": shapes, "again": again, "kept": kept}


@call("training-of-a-state")
def _() -> Any:
    """Every accumulator, its features given as a state, so that no network runs."""
    import torch

    found = {}
    for name, how in {
        "FID": {},
        "KID": {"arguments": {"kid": {"subsets": 5, "subset_size": 10}}, "seed": 2},
        "PrecisionRecall": {},
        "Metrics": {"metrics": ["fid", "vendi", "rke", "fd_infinity"]},
    }.items():
        made = getattr(gm.training, name)(weights="weights.pth", device="cpu", **how)
        (space,) = made.state_dict()["fake"]
        state = {
            side: {space: torch.from_numpy(inputs.features(side))} for side in ("real", "fake")
        }
        found[name] = made.load_state_dict(state).compute().to_json()
        merged = made.merge(made).compute()
        found[f"{name} twice"] = (
            {k: float(v) for k, v in merged.items()} if hasattr(merged, "items") else float(merged)
        )
    made = gm.training.InceptionScore(weights="weights.pth", device="cpu")
    (space,) = made.state_dict()["fake"]
    logits = torch.from_numpy(inputs.features("fake") / 4)
    state = {"real": {space: torch.empty(0)}, "fake": {space: logits}}
    return {**found, "InceptionScore": made.load_state_dict(state).compute().to_json()}


@call("training-with-statistics", network=EARLY_NETWORK, slow=True)
def _() -> Any:
    stats = gm.compute_stats("real", **EARLY)
    metric = gm.training.FID(stats, value_range=(-1, 1), device="cpu", error_bars=False)
    document = metric.update(_images("fake").float() / 127.5 - 1).compute().to_json()
    del document["digests"]
    return document


@call("training-evaluator", network=EARLY_NETWORK)
def _() -> Any:
    import golden_toys

    evaluator = gm.training.Evaluator(
        "real", ["fid"], n_fake=4, every=2, batch_size=2, log="log.jsonl", error_bars=False, **LOOP
    )
    results = [evaluator(golden_toys.squares, step) for step in (0, 1, 2)]
    lines = [json.loads(line) for line in Path("log.jsonl").read_text().splitlines()]
    for line in lines:
        del line["results"][0]["digests"]
    return {
        "none": [one is None for one in results],
        "log": lines,
        "best": evaluator.best,
        "state": evaluator.state_dict(),
    }


@call("training-loss", network=EARLY_NETWORK, slow=True)
def _() -> Any:
    stats = gm.compute_stats("real", **EARLY)
    loss = gm.training.FrechetLoss(stats, queue=4, device="cpu")
    values = []
    for part in (slice(0, 3), slice(3, 5)):
        images = (_images("fake")[part].float() / 127.5 - 1).requires_grad_()
        value = loss(images)
        value.backward()
        values.append(value.item())
    return {"values": values, "held": loss.held}

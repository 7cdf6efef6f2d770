"""The commands that are recorded. Paths are those of :mod:`golden_inputs`."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from golden_compare import Network

__all__ = ["COMMANDS", "HELP", "Command"]


@dataclass(frozen=True)
class Command:
    """A command line.

    Attributes:
        args: What follows ``gan-metrics``.
        writes: Files that it writes, which are recorded too.
        network: A network runs: what bounds the differences that float32 leaves open.
        apart: It runs in a process of its own, since ``--quiet`` stays set.
        slow: It takes more than two seconds of a processor.
        inception: It needs the seeded weights of the Inception.
        keys_alone: Values are facts of the machine; only the fields are recorded.
    """

    args: str
    writes: tuple[str, ...] = ()
    network: Network | None = None
    apart: bool = False
    slow: bool = False
    inception: bool = False
    keys_alone: bool = False

    def split(self) -> list[str]:
        return shlex.split(self.args)


_LITE0 = "--backbone efficientnet-lite0 --device cpu"
_EARLY = f"{_LITE0} --layer blocks.1"
_FEW = "--no-error-bars --no-cache"
_SEEDED = "--weights inception.safetensors --device cpu"

EMBEDDED, EARLY = Network(6.0, 1280), Network(20.0, 24)
"""The embedded classifier at its end and at its second block, by their features of the inputs."""

SEEDED = Network(2.0, 2048)
"""The Inception with the seeded weights, at any layer."""

COMMANDS = {
    # One command for each family of metrics, on saved features.
    "fid": Command("fid real.npz fake.npz"),
    "fid-json": Command("fid real.npz fake.npz --json"),
    "fid-directions": Command("fid real.npz fake.npz --directions 3 --json"),
    "fid-methods": Command("fid real.npz fake.npz --methods", slow=True),
    "fid-methods-json": Command("fid real.npz fake.npz --methods --json", slow=True),
    "fid-output": Command(
        "fid real.npz fake.npz -o result.json --append log.jsonl --no-error-bars",
        writes=("result.json", "log.jsonl"),
    ),
    "fid-two-statistics": Command("fid real-stats.npz fake-stats.npz --json", slow=True),
    "fid-statistics-and-features": Command("fid real-stats.npz fake.npz --json"),
    "fid-plain-arrays": Command("fid plain-real.npy plain-fake.npy --json"),
    "fid-of-lite0-features": Command("fid lite0.npz lite0.npz", slow=True),
    "fid-protocol-stylegan3": Command(
        "fid plain-real.npy plain-fake.npy --protocol stylegan3 --json"
    ),
    "kid": Command("kid real.npz fake.npz", slow=True),
    "kid-json": Command("kid real.npz fake.npz --subsets 5 --subset-size 10 --seed 3 --json"),
    "is": Command("is logits.npz", slow=True),
    "is-json": Command("is logits.npz --splits 2 --json"),
    "prdc": Command("prdc real.npz fake.npz"),
    "prdc-json": Command("prdc real.npz fake.npz --k 4 --json"),
    "vendi": Command("vendi fake.npz --q 0.5", slow=True),
    "vendi-json": Command("vendi fake.npz --json"),
    "memorization": Command("memorization train.npz drawn.npz --held-out test.npz", slow=True),
    "memorization-json": Command(
        "memorization train.npz drawn.npz --held-out test.npz --json", slow=True
    ),
    # Many metrics and generators.
    "evaluate-all": Command("evaluate real.npz fake.npz", slow=True),
    "evaluate-all-json": Command("evaluate real.npz fake.npz --held-out held-out.npz --json"),
    "evaluate-set": Command(
        "evaluate real.npz fake.npz --metrics prdc,clipped,fkea --set precision.k=5 "
        "--set fkea.features=64 --no-error-bars --json"
    ),
    "evaluate-protocols": Command(
        f"evaluate real fake --metrics fid --protocol tf1,clean-fid --layer 64 {_SEEDED} {_FEW}",
        network=SEEDED,
        inception=True,
        slow=True,
    ),
    # The pixels of every protocol: each resize shows in the first block.
    "evaluate-protocols-json": Command(
        "evaluate larger held-out --max-images 2 --metrics fid --protocol pytorch-fid,"
        "torch-fidelity,stylegan3,edm,guided-diffusion,clean-fid,clean-fid-legacy-tensorflow,"
        f"clean-fid-legacy-pytorch,torchmetrics,piq --layer 64 {_SEEDED} {_FEW} --json",
        network=SEEDED,
        inception=True,
    ),
    "evaluate-per-image": Command(
        "evaluate real.npz fake.npz --metrics fid,authpct --top 2 --per-image images.csv",
        writes=("images.csv",),
        slow=True,
    ),
    "evaluate-per-image-json": Command(
        "evaluate real.npz fake.npz --metrics fid --top 2 --per-image images.parquet --json",
        writes=("images.parquet",),
    ),
    "evaluate-per-class": Command(
        "evaluate real.npz fake.npz --metrics fid,prdc --per-class", slow=True
    ),
    "evaluate-labels-json": Command(
        "evaluate fake.npz fake.npz --metrics kid --labels labels.csv --json"
    ),
    "evaluate-methods": Command(
        "evaluate real.npz fake.npz --metrics fid,kid,prdc --methods", slow=True
    ),
    "compare": Command("compare real.npz fake.npz fake-b.npz held-out.npz --metrics fid,kid"),
    "compare-json": Command(
        "compare real.npz a=fake.npz,fake-b.npz b=held-out.npz --json --metrics fid,prdc"
    ),
    "compare-markdown": Command(
        "compare real.npz fake.npz fake-b.npz --format markdown -o table.tex",
        writes=("table.tex",),
        slow=True,
    ),
    "compare-csv": Command(
        "compare real.npz fake.npz fake-b.npz --format csv -o t.md", writes=("t.md",), slow=True
    ),
    "reproduce": Command("reproduce files/result.json real.npz fake.npz"),
    "reproduce-json": Command("reproduce files/log.jsonl real.npz fake.npz --json"),
    "reproduce-other-images": Command("reproduce files/result.json real.npz fake-b.npz", slow=True),
    # Statistics and features.
    "stats-of-features": Command("stats real.npz -o made --json", writes=("made.npz",)),
    "stats-edm2": Command("stats wide.npz -o made.pkl", writes=("made.pkl",)),
    "stats-of-images": Command(
        f"stats real -o images {_EARLY} --no-cache --json",
        writes=("images.npz",),
        network=EARLY,
        slow=True,
    ),
    "stats-torch-fidelity": Command(
        f"stats real -o tf.pt --layer 64 {_SEEDED} --no-cache --json",
        writes=("tf.pt",),
        network=SEEDED,
        inception=True,
    ),
    "merge": Command("merge real-stats.npz fake-stats.npz -o all.npz", writes=("all.npz",)),
    "merge-json": Command("merge real-stats.npz fake-stats.npz -o all.npz --json", slow=True),
    "features-npz": Command(
        f"features real -o out.npz {_EARLY} --no-cache --json", writes=("out.npz",), network=EARLY
    ),
    "features-npy": Command("features real.npz -o out.npy", writes=("out.npy", "out.npy.json")),
    "features-safetensors": Command(
        "features real.npz -o out.safetensors", writes=("out.safetensors",)
    ),
    "features-parquet": Command("features real.npz -o out.parquet", writes=("out.parquet",)),
    "features-maps": Command(
        f"features larger -o maps.npy {_EARLY} --pool none --no-cache",
        writes=("maps.npy",),
        network=EARLY,
        slow=True,
    ),
    "features-random-weights": Command(
        "features larger -o out.npz --backbone torchvision:squeezenet1_1 --weights random --seed 5 "
        "--device cpu --no-cache --json",
        network=Network(1.0, 512),
        slow=True,
    ),
    "search": Command("search fake.npz real.npz --top-k 2 --flag-below 0.02"),
    "search-json": Command("search fake.npz fake.npz --top-k 2 --distance euclidean --json"),
    # Images through the embedded classifier.
    "fid-images": Command(f"fid real fake {_LITE0} {_FEW}", network=EMBEDDED, slow=True),
    "fid-images-json": Command(
        f"fid real fake {_LITE0} {_FEW} --json", network=EMBEDDED, slow=True
    ),
    "fid-archives-json": Command(
        f"fid real.zip batch.npz {_EARLY} --batch-size 4 {_FEW} --json", network=EARLY, slow=True
    ),
    "fid-images-drawn": Command(
        f"fid real fake {_EARLY} {_FEW} --max-images 4 --seed 2 --alpha white --json",
        network=EARLY,
        slow=True,
    ),
    "fid-skip": Command(
        f"fid files/images fake {_EARLY} {_FEW} --on-error skip --exif apply --json", network=EARLY
    ),
    "fid-generator": Command(
        f"fid real --generator golden_toys:squares --n-fake 4 {_EARLY} {_FEW} --json", network=EARLY
    ),
    "fid-own-network": Command(
        f"fid real fake --backbone golden_toys:colors --device cpu {_FEW} --json",
        network=Network(1.0, 6),
        slow=True,
    ),
    "fid-reference": Command(
        f"fid ref:digits held-out {_LITE0} {_FEW} --json", network=EMBEDDED, slow=True
    ),
    "inspect": Command("inspect files/images"),
    "inspect-json": Command("inspect real.zip -o sheet.png --json", writes=("sheet.png",)),
    # What there is.
    "version": Command("--version"),
    "metrics": Command("metrics", slow=True),
    "metrics-json": Command("metrics --json"),
    "backbones": Command("backbones"),
    "backbones-json": Command("backbones --json"),
    "backbones-pattern": Command("backbones 'torchvision:squeezenet*'", slow=True),
    "protocols": Command("protocols"),
    "protocols-json": Command("protocols --json"),
    "protocols-adm": Command("protocols adm"),
    "references": Command("references", slow=True),
    "references-json": Command("references cifar10-train"),
    "layers": Command("layers efficientnet-lite0 --named", slow=True),
    "layers-json": Command("layers inception --named --json"),
    "weights-list": Command("weights list", slow=True),
    "weights-list-json": Command("weights list --json", slow=True),
    "weights-verify": Command("weights verify efficientnet-lite0"),
    "cache-info": Command("cache info --cache files/cache --json"),
    "cache-clear": Command("cache clear --cache files/cache"),
    "doctor-json": Command("doctor --json", keys_alone=True),
    # Figures.
    "plot-history": Command(
        "plot history files/training.jsonl -o curve.png", writes=("curve.png",)
    ),
    "plot-terms": Command(
        "plot terms real.npz fake.npz -o terms.png", writes=("terms.png",), slow=True
    ),
    "plot-prdc": Command("plot prdc real.npz fake.npz -o prdc.svg", slow=True),
    "plot-comparison": Command("plot comparison real.npz fake.npz fake-b.npz -o c.pdf", slow=True),
    "plot-attribution": Command(
        f"plot attribution real fake -o where.png --top 1 {_LITE0} --no-cache",
        writes=("where.png",),
        slow=True,
        network=EMBEDDED,
    ),
    "map": Command(
        "map real.npz fake.npz -o map.png --perplexity 5", writes=("map.png",), slow=True
    ),
    "map-umap": Command("map real.npz -o map.html --method umap --neighbors 5", slow=True),
    "report": Command(
        "report real.npz fake.npz fake-b.npz -o r.html", writes=("r.html",), slow=True
    ),
    "report-images": Command(
        f"report real fake -o r.html {_LITE0} --map none --shown 2",
        writes=("r.html",),
        slow=True,
        network=EMBEDDED,
    ),
    # Networks that are built.
    "evaluate-inception-json": Command(
        f"evaluate real fake {_SEEDED} --metrics fid,kid,is,sfid,precision --no-cache --json",
        slow=True,
        inception=True,
        network=SEEDED,
    ),
    "evaluate-adm-json": Command(
        f"evaluate real fake {_SEEDED} --protocol adm --no-cache --json",
        slow=True,
        inception=True,
        network=SEEDED,
    ),
    "stats-adm": Command(
        f"stats real -o adm.npz --format adm {_SEEDED} --no-cache",
        writes=("adm.npz",),
        slow=True,
        inception=True,
        network=SEEDED,
    ),
    "lpips-json": Command(
        "lpips fake --net squeeze --weights random --pairs 4 --device cpu --json",
        slow=True,
        network=EMBEDDED,
    ),
    "ppl-json": Command(
        "ppl --generator golden_toys:painter --n-fake 4 --weights random --device cpu --json",
        slow=True,
        network=EMBEDDED,
    ),
    # Errors: what was wrong with the command (2).
    "error-no-command": Command(""),
    "error-unknown-command": Command("fidd real fake"),
    "error-unknown-option": Command("fid real.npz fake.npz --bakcbone inception"),
    "error-unknown-backbone": Command("fid real fake --backbone resnet5O"),
    "error-unknown-metric": Command("evaluate real.npz fake.npz --metrics fld,kidd"),
    "error-unknown-protocol": Command("fid real fake --protocol pytorchfid"),
    "error-unknown-layer": Command("fid real fake --backbone efficientnet-lite0 --layer polo3"),
    "error-unknown-argument": Command("evaluate real.npz fake.npz --set kid.subset=5"),
    "error-bad-argument": Command("evaluate real.npz fake.npz --metrics prdc --set prdc.k=0"),
    "error-device": Command("fid real fake --device gpu"),
    "error-precision": Command("fid real fake --backbone efficientnet-lite0 --precision fp8"),
    "error-two-caches": Command("fid real fake --cache x --no-cache"),
    "error-no-held-out": Command("memorization real.npz fake.npz"),
    "error-generator-options": Command("fid real fake --n-fake 5"),
    "error-output": Command("compare real.npz fake.npz -o table.xls"),
    "error-several-protocols": Command(
        "evaluate plain-real.npy plain-fake.npy --metrics fid --protocol tf1,stylegan3"
    ),
    "error-few-fakes": Command("memorization real.npz fake.npz --held-out held-out.npz"),
    "error-demo": Command("demo -o real"),
    "error-nothing-to-draw": Command("plot comparison real.npz fake.npz -o c.png"),
    "error-reference": Command("fid ref:cifar11 fake"),
    # Inputs (3).
    "error-missing": Command("fid nowhere fake"),
    "error-empty": Command(f"fid empty fake {_LITE0}"),
    "error-broken-image": Command(f"fid files/images fake {_EARLY}", slow=True),
    "error-no-record": Command("reproduce labels.csv real.npz fake.npz"),
    "error-not-features": Command("fid weights.pth fake.npz"),
    # Weights, and spaces that differ (4).
    "error-no-weights": Command("fid real fake"),
    "error-weights-path": Command("fid real fake --weights nowhere.pth"),
    "error-weights-file": Command("weights add weights.pth"),
    "error-other-space": Command("fid real.npz lite0.npz"),
    "error-stated-space": Command("fid real.npz fake --layer 64 --weights weights.pth"),
    "error-reference-weights": Command("fid ref:cifar10-train fake.npz"),
    # Impossible on these data (5).
    "error-one-image": Command("fid real.npz one.npy"),
    "error-nothing-computed": Command("evaluate one.npy one.npy --metrics fid,kid"),
    # In a process of its own.
    "quiet": Command("fid plain-real.npy plain-fake.npy --quiet", apart=True),
}
"""Name of the record to the command."""

HELP_FAST = ("", "fid", "evaluate", "compare", "stats", "features", "report", "reproduce")
"""Those whose pages are compared in every run; together they have every group of options."""

HELP = (
    *("", "fid", "kid", "is", "prdc", "vendi", "memorization", "ppl", "lpips", "evaluate"),
    *("compare", "reproduce", "metrics", "report", "backbones", "protocols", "references"),
    *("layers", "stats", "merge", "inspect", "features", "search", "map", "demo", "doctor"),
    *("weights", "weights list", "weights pull", "weights add", "weights verify"),
    *("cache", "cache info", "cache clear", "plot", "plot comparison", "plot terms"),
    *("plot spectrum", "plot growth", "plot prdc", "plot classes", "plot history"),
    "plot attribution",
)
"""Commands whose help is recorded."""

"""Protocols: everything that a published number depends on, as rows of data.

A protocol has no code of its own. For each metric of its tool, its row has a template of the
:class:`~gan_metrics.protocols.spec.FeatureSpec` (the backbone in use fills the open fields) and the
metric's arguments; it also has the tool's decoding.

``docs/protocols.md`` describes how each row was verified against its tool.
"""

from __future__ import annotations

import copyreg
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from gan_metrics.errors import MismatchError, UsageError
from gan_metrics.protocols.spec import Decoding, FeatureSpec, Preprocess
from gan_metrics.utils.registry import Origin, Registry

__all__ = [
    "CLIP",
    "DINOV2",
    "PROTOCOLS",
    "PYTORCH_FID_PREPROCESS",
    "REGISTRY",
    "MetricRow",
    "Protocol",
    "add_protocol",
    "protocol_for",
    "split_names",
]

CLIP = "clip:ViT-L-14-336/openai"
"""The backbone of CMMD."""

DINOV2 = "dinov2-vitl14"
"""The backbone of FD-DINOv2."""


def _frozen(items: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(items)


# Protocols are pickled to other processes.
copyreg.pickle(MappingProxyType, lambda frozen: (_frozen, (dict(frozen),)))


@dataclass(frozen=True)
class MetricRow:
    """How a protocol computes one metric.

    Attributes:
        template: The feature space; fields that are ``None`` are the backbone's own.
        arguments: Keyword arguments of the metric's function.
        departure: Details of the tool that are not reproduced; empty if none are known.
    """

    template: FeatureSpec
    arguments: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    departure: str = ""


@dataclass(frozen=True)
class Protocol:
    """One row of the table.

    Attributes:
        name: The name for ``--protocol``.
        summary: One line for the listing.
        source: Where the tool's behavior is documented.
        metrics: :class:`MetricRow` by metric name; the first one is the protocol's main metric.
        decoding: The tool's handling of alpha and orientation.
        floats: Conversion of floating-point images to bytes, from 0 … 1 or −1 … 1 to 0 … 255:
            ``"round"`` to the nearest, or ``"floor"``.
        files: Files of a folder that the tool reads; those of gan-metrics are in
            ``docs/decoding.md``.
        aliases: Other names of the protocol.
        cite: What to cite: keys of ``results/citations.bib``, or BibTeX entries.
    """

    name: str
    summary: str
    source: str
    metrics: Mapping[str, MetricRow]
    decoding: Decoding = field(default_factory=Decoding)
    floats: str = "round"
    files: str = ""
    aliases: tuple[str, ...] = ()
    cite: tuple[str, ...] = ()

    def template(self, metric: str | None = None, backbone: str | None = None) -> FeatureSpec:
        """Return the feature space of a metric in a backbone.

        Args:
            metric: Name of the metric; the main feature space is used for ``None`` and for a
                metric that the protocol does not define.
            backbone: Name of the backbone; ``None``: the protocol's.

        Raises:
            MismatchError: If the protocol is not defined for the backbone.
        """
        rows = [self.metrics[metric]] if metric is not None and metric in self.metrics else []
        for row in [*rows, *self.metrics.values()]:
            if backbone is None or row.template.backbone in (None, backbone):
                return row.template
        names = dict.fromkeys(str(row.template.backbone) for row in self.metrics.values())
        allowed = [name for name in names if not name.startswith("lpips-")]
        raise MismatchError(
            f"protocol {self.name!r} is defined for {' and '.join(allowed)}, not for {backbone!r}; "
            "omit --protocol, or choose imagenet"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the whole row as plain JSON values."""
        return {
            "name": self.name,
            "summary": self.summary,
            "source": self.source,
            "aliases": list(self.aliases),
            "decoding": {"alpha": self.decoding.alpha, "exif": self.decoding.exif},
            "floats": self.floats,
            "files": self.files,
            "metrics": {
                name: {
                    "feature_spec": row.template.to_json(),
                    "arguments": dict(row.arguments),
                    "departure": row.departure,
                }
                for name, row in self.metrics.items()
            },
        }

    def to_text(self) -> str:
        """Return the whole row as text."""
        decoding = self.decoding
        return "\n".join(
            [
                f"{self.name}: {self.summary}",
                f"  source       {self.source}",
                *([f"  also called  {', '.join(self.aliases)}"] if self.aliases else []),
                f"  decoding     alpha: {decoding.alpha}, orientation: {decoding.exif}, "
                f"floats to bytes: {self.floats}",
                *([f"  files        {self.files}"] if self.files else []),
                *(line for name, row in self.metrics.items() for line in _shown(name, row)),
            ]
        )


def _shown(name: str, row: MetricRow) -> list[str]:
    """Describe a metric of a protocol as lines of text."""
    template = row.template
    where = [str(template.backbone or "the backbone in use"), template.layer, template.pool]
    lines = [f"  {name:<12} {' '.join(part for part in where if part)}"]
    pixels = template.preprocess
    lines.append(f"{'':15}{'the preprocessing of its weights' if pixels is None else pixels}")
    if row.arguments:
        given = ", ".join(f"{key}={value}" for key, value in row.arguments.items())
        lines.append(f"{'':15}{given}")
    if row.departure:
        lines.append(f"{'':15}not reproduced: {row.departure}")
    return lines


def _pixels(
    size: int,
    interpolation: str,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    *,
    divisor: float = 1.0,
    clip: bool = False,
) -> Preprocess:
    return Preprocess("exact", size, interpolation, None, divisor, mean, std, clip)


_HALF, _CENTRE = (0.5,) * 3, (128.0,) * 3
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_MEAN_OF_BYTES, _STD_OF_BYTES = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)

PYTORCH_FID_PREPROCESS = _pixels(299, "torch-bilinear", _HALF, _HALF, divisor=255.0)
"""To 299×299 without antialiasing, then 2x − 1; the input of the 2015 Inception."""

LPIPS_PREPROCESS = Preprocess(
    "none", 0, "none", None, 127.5, (0.97, 0.912, 0.812), (0.458, 0.448, 0.450)
)
"""x/127.5 − 1, then the normalization of LPIPS' networks; sizes are unchanged."""


def _inception(pixels: Preprocess, layer: str = "pool3", pool: str | None = None) -> FeatureSpec:
    return FeatureSpec(backbone="inception", layer=layer, pool=pool, preprocess=pixels)


_TF1 = _pixels(299, "tf1-bilinear", _CENTRE, _CENTRE)
_NVIDIA = replace(_TF1, interpolation="tf1-bilinear-grid")
_CLEAN = _pixels(299, "pil-bicubic", _CENTRE, _CENTRE, clip=True)
_CLEAN_PYTORCH = _pixels(299, "torch-bilinear", (127.5,) * 3, (127.5,) * 3, clip=True)
_TORCHMETRICS = _pixels(299, "torch-bilinear-antialias", _CENTRE, _CENTRE)
_VGG_TF1 = _pixels(224, "tf1-bilinear", _MEAN_OF_BYTES, _STD_OF_BYTES)
_VGG_NVIDIA = replace(_VGG_TF1, interpolation="tf1-bilinear-grid")
_DINO_TORCH = _pixels(224, "torch-bicubic-antialias", _MEAN_OF_BYTES, _STD_OF_BYTES)
_DINO_PILLOW = _pixels(224, "pil-bicubic-uint8", _IMAGENET_MEAN, _IMAGENET_STD, divisor=255.0)
_CMMD = replace(
    _pixels(336, "pil-bicubic-uint8", _CLIP_MEAN, _CLIP_STD, divisor=255.0), resize="square"
)

_VGG16 = FeatureSpec(backbone="vgg16", layer="fc7_relu", preprocess=_VGG_TF1)
_DINO = FeatureSpec(backbone=DINOV2, layer="cls", preprocess=_DINO_PILLOW)

_LPIPS = FeatureSpec(backbone="lpips-vgg", layer="v0.1", preprocess=LPIPS_PREPROCESS)
_SHORT_PATHS = {"space": "z", "sampling": "end", "interpolation": "lerp", "resize": 64}
_LEGACY_KID = {"draws": "numpy-legacy", "draw_first": "fake"}
_TEN_THOUSAND = {"k": 5, "strict": True, "most": 10_000}
_OWN_VGG = "the tool's VGG16 has the original weights, not torchvision's (use --weights FILE)"
_UNSEEDED = "the tool's draws are not seeded; gan-metrics uses seed 0"


def _rows(rows: Mapping[str, MetricRow]) -> Mapping[str, MetricRow]:
    return MappingProxyType(
        {
            name: replace(row, arguments=MappingProxyType(dict(row.arguments)))
            for name, row in rows.items()
        }
    )


def _clean_fid(mode: str, summary: str, pixels: Preprocess) -> Protocol:
    return Protocol(
        name=mode,
        summary=summary,
        source="https://github.com/GaParmar/clean-fid",
        cite=("parmar2022aliased",),
        metrics=_rows(
            {
                "fid": MetricRow(_inception(pixels)),
                "kid": MetricRow(_inception(pixels), _LEGACY_KID, _UNSEEDED),
            }
        ),
        files="recursive; bmp jpg jpeg pgm png ppm tif tiff webp npy, and JPEG JPG PNG",
    )


_ALL = (
    Protocol(
        name="pytorch-fid",
        summary="bilinear to 299×299 without antialiasing, 2x−1, the 2015 Inception",
        source="https://github.com/mseitzer/pytorch-fid",
        cite=("seitzer2020pytorchfid",),
        metrics=_rows({"fid": MetricRow(_inception(PYTORCH_FID_PREPROCESS))}),
        files="one folder; bmp jpg jpeg pgm png ppm tif tiff webp, in lower case",
    ),
    Protocol(
        name="tf1",
        summary="TensorFlow 1's bilinear to 299×299 (no half-pixel offset), (x−128)/128",
        source="https://github.com/toshas/torch-fidelity, https://github.com/bioinf-jku/TTUR",
        cite=("obukhov2020torchfidelity",),
        metrics=_rows(
            {
                "fid": MetricRow(_inception(_TF1)),
                "kid": MetricRow(_inception(_TF1), {**_LEGACY_KID, "seed": 2020}),
                "is": MetricRow(
                    _inception(_TF1, "logits_unbiased"), {"draws": "numpy-legacy", "seed": 2020}
                ),
                "precision": MetricRow(_VGG16, {"k": 3}),
                "recall": MetricRow(_VGG16, {"k": 3}),
                "ppl": MetricRow(_LPIPS, {**_SHORT_PATHS, "draws": "numpy-legacy", "seed": 2020}),
            }
        ),
        files="one folder; png jpg jpeg (TTUR: jpg png, without the last partial batch)",
        aliases=("torch-fidelity", "ttur"),
    ),
    Protocol(
        name="stylegan3",
        summary="as tf1, by grid_sample in float32; covariances divided by N",
        source="https://github.com/NVlabs/stylegan3",
        cite=("karras2021alias",),
        metrics=_rows(
            {
                "fid": MetricRow(_inception(_NVIDIA), {"divisor": "n"}),
                "kid": MetricRow(_inception(_NVIDIA), _LEGACY_KID, _UNSEEDED),
                "is": MetricRow(_inception(_NVIDIA, "logits_unbiased"), {"shuffle": False}),
                **{
                    name: MetricRow(
                        replace(_VGG16, preprocess=_VGG_NVIDIA),
                        {"k": 3, "arithmetic": "float16", "most_real": 200_000},
                        _OWN_VGG,
                    )
                    for name in ("precision", "recall")
                },
                "ppl": MetricRow(
                    _LPIPS,
                    {
                        "space": "w",
                        "sampling": "full",
                        "interpolation": "slerp_unit",
                        "resize": 256,
                        "enlarge": False,
                    },
                    f"{_OWN_VGG}; {_UNSEEDED}",
                ),
            }
        ),
        files="a folder or zip, recursive",
    ),
    Protocol(
        name="edm2",
        summary="preprocessing as stylegan3; FD-DINOv2 with torch's antialiased bicubic to 224×224",
        source="https://github.com/NVlabs/edm2",
        cite=("karras2024analyzing",),
        metrics=_rows(
            {
                "fid": MetricRow(_inception(_NVIDIA)),
                "fd_dinov2": MetricRow(replace(_DINO, preprocess=_DINO_TORCH)),
            }
        ),
        files="a folder or zip, recursive",
        aliases=("edm",),
    ),
    Protocol(
        name="adm",
        summary="preprocessing as tf1; precision and recall in float16; IS over unshuffled 5000s",
        source="https://github.com/openai/guided-diffusion/tree/main/evaluations",
        cite=("dhariwal2021diffusion",),
        metrics=_rows(
            {
                "fid": MetricRow(_inception(_TF1)),
                "sfid": MetricRow(_inception(_TF1, "spatial", "flatten")),
                "is": MetricRow(
                    _inception(_TF1, "logits_unbiased"), {"shuffle": False, "split_size": 5000}
                ),
                **{
                    name: MetricRow(
                        _inception(_TF1),
                        {"k": 3, "arithmetic": "float16-squared", "most_real": 10_000},
                    )
                    for name in ("precision", "recall")
                },
            }
        ),
        files="an .npz with arr_0",
        aliases=("guided-diffusion",),
    ),
    _clean_fid("clean-fid", "Pillow's bicubic in float to 299×299, clipped, (x−128)/128", _CLEAN),
    _clean_fid("clean-fid-legacy-tensorflow", "the resize of stylegan3's network", _NVIDIA),
    _clean_fid("clean-fid-legacy-pytorch", "as pytorch-fid, but resized in 0–255", _CLEAN_PYTORCH),
    Protocol(
        name="torchmetrics",
        summary="torch's antialiased bilinear to 299×299 (since 1.8), (x−128)/128",
        source="https://github.com/Lightning-AI/torchmetrics",
        cite=("detlefsen2022torchmetrics",),
        metrics=_rows(
            {
                "fid": MetricRow(_inception(_TORCHMETRICS)),
                "kid": MetricRow(_inception(_TORCHMETRICS), {"draws": "torch"}, _UNSEEDED),
                "is": MetricRow(
                    _inception(_TORCHMETRICS, "logits_unbiased"),
                    {"draws": "torch", "deal": "chunk", "ddof": 1},
                    _UNSEEDED,
                ),
                "ppl": MetricRow(
                    _LPIPS, {**_SHORT_PATHS, "upper": "lower", "draws": "torch"}, _UNSEEDED
                ),
            }
        ),
        floats="floor",
        files="none: it accepts tensors",
    ),
    Protocol(
        name="piq",
        summary="preprocessing as pytorch-fid; KID of all images at once, precision and recall k=5",
        source="https://github.com/photosynthesis-team/piq",
        cite=("kastryulin2022piq",),
        metrics=_rows(
            {
                "fid": MetricRow(_inception(PYTORCH_FID_PREPROCESS)),
                "kid": MetricRow(
                    _inception(PYTORCH_FID_PREPROCESS), {"subsets": 1, "subset_size": None}
                ),
                "precision": MetricRow(_inception(PYTORCH_FID_PREPROCESS), {"k": 5}),
                "recall": MetricRow(
                    _inception(PYTORCH_FID_PREPROCESS),
                    {"k": 5},
                    "the tool's recall counts images near the edge of a ball as inside",
                ),
            }
        ),
        files="none: it accepts tensors",
    ),
    Protocol(
        name="dgm-eval",
        summary="Pillow's bicubic to 224×224, DINOv2 ViT-L/14; neighbors among 10,000 images, k=5",
        source="https://github.com/layer6ai-labs/dgm-eval",
        cite=("stein2023exposing",),
        metrics=_rows(
            {
                "fid": MetricRow(_DINO),
                "fd_dinov2": MetricRow(_DINO),
                "fd_infinity": MetricRow(_DINO, departure=_UNSEEDED),
                "kid": MetricRow(_DINO, {"draws": "numpy-legacy"}, _UNSEEDED),
                **{
                    name: MetricRow(_DINO, _TEN_THOUSAND, _UNSEEDED)
                    for name in ("precision", "recall")
                },
                **{
                    name: MetricRow(_DINO, {"k": 5, "most": 10_000}, _UNSEEDED)
                    for name in ("density", "coverage")
                },
            }
        ),
        files="one folder, or one of class folders named by numbers; at most 50,000 images, drawn",
    ),
    Protocol(
        name="cmmd",
        summary="center square, Pillow's bicubic to 336×336, CLIP ViT-L/14@336",
        source="https://github.com/google-research/google-research/tree/master/cmmd",
        cite=("jayasumana2024rethinking",),
        metrics=_rows(
            {
                "cmmd": MetricRow(
                    FeatureSpec(backbone=CLIP, layer="embedding", preprocess=_CMMD),
                    {"sigma": 10.0, "scale": 1000.0},
                )
            }
        ),
        files="one folder; png jpg jpeg, without the last partial batch",
    ),
    Protocol(
        name="imagenet",
        summary="the preprocessing of the backbone's weights (resize, center crop)",
        source="https://github.com/huggingface/pytorch-image-models",
        metrics=_rows({"fid": MetricRow(FeatureSpec())}),
    ),
)

REGISTRY: Registry[Protocol] = Registry("protocol", {row.name: row for row in _ALL})
"""The protocols, in the order of the listing."""

PROTOCOLS: Mapping[str, Protocol] = REGISTRY.view
"""Protocols by name."""


def add_protocol(row: Protocol, origin: Origin) -> None:
    """Add the protocol of a plug-in.

    Raises:
        UsageError: If its name or an alias is in use, or not in lower case.
    """
    taken = [*REGISTRY.registered(), *_aliases(REGISTRY.registered())]
    for name in (row.name, *row.aliases):
        if name != name.lower() or "," in name:
            raise UsageError(f"a protocol's name is lower case, without commas, not {name!r}")
    if clash := sorted(set(taken) & set(row.aliases)):
        raise UsageError(f"the protocol {clash[0]!r} is registered already")
    REGISTRY.add(row.name, row, origin, _aliases(REGISTRY.registered()))


def _aliases(names: Iterable[str]) -> dict[str, str]:
    """Return the names of protocols by alias."""
    return {alias: name for name in names for alias in REGISTRY[name].aliases}


def protocol_for(name: str | None, backbone: str | None = None) -> Protocol:
    """Return the protocol of a name, or the default protocol of a backbone.

    Args:
        name: A key of :data:`PROTOCOLS`, or an alias; ``None``: ``"pytorch-fid"`` for the 2015
            Inception, ``"imagenet"`` for every other backbone.
        backbone: Name of the backbone; ``None``: the 2015 Inception.

    Raises:
        UsageError: If there is no such protocol, or several are named.
    """
    if name is None:
        name = "pytorch-fid" if backbone in (None, "inception") else "imagenet"
    if not isinstance(name, str):
        raise UsageError(f"a protocol is a name, such as 'tf1', not {name!r}")
    if "," in name:
        raise UsageError(f"--protocol {name}: only evaluate accepts several protocols")
    name = name.lower()
    name = _aliases(REGISTRY.registered()).get(name, name)
    if name not in REGISTRY:  # loads plug-ins and their aliases
        name = _aliases(REGISTRY).get(name, name)
    return REGISTRY.find(name, _aliases(REGISTRY.registered()))


def split_names(names: str | Iterable[str]) -> list[str]:
    """Return the names of one or several protocols, in order, each once.

    Args:
        names: A comma-separated text, or several names.

    Raises:
        UsageError: If there is no such protocol, or no name.
    """
    if not isinstance(names, Iterable):
        raise UsageError(f"a protocol is a name, such as 'tf1', not {names!r}")
    given = names.split(",") if isinstance(names, str) else list(names)
    stripped = [name.strip() if isinstance(name, str) else name for name in given]
    found = list(dict.fromkeys(protocol_for(name).name for name in stripped if name != ""))
    if not found:
        raise UsageError(f"no protocol is named; known are {', '.join(PROTOCOLS)}")
    return found

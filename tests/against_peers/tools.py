"""The field's tools, each by its own entry points, behind one small interface.

A :class:`Tool` scores two folders of images on the CPU, with no network. What it loads, resizes and
computes is its own; only its weights are ours, put where it looks for the published ones::

    install_weights(Path(os.environ["TORCH_HOME"]), inception_file)
    for tool in TOOLS:
        print(tool, tool.version, tool.fid(real, fake, layer="192"))

Nothing is printed, and every call draws from generators seeded with 0 that are put back afterwards
(torch-fidelity has a default seed of its own, 2020). The packages are imported when they are used.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import io
import random
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import nn
from torch.nn import functional

INCEPTION = "pt_inception-2015-12-05-6726825d.pth"
"""The name under which pytorch-fid, piq and clean-fid keep the network's weights."""

INCEPTION_TOO = "weights-inception-2015-12-05-6726825d.pth"
"""The name under which torch-fidelity and torchmetrics keep the same weights."""

VGG16 = "vgg16-397923af.pth"
"""The name of torchvision's VGG16, which torch-fidelity's precision and recall run on."""

_SCRIPTED = "inception-2015-12-05.pt"
_WIDTHS = ("64", "192", "768", "2048")
_USUAL = ("bmp", "jpg", "jpeg", "png", "ppm", "tif", "tiff", "webp")


def install_weights(torch_home: Path, inception_file: Path) -> None:
    """Put a weights file of the 2015 Inception where every tool looks for it.

    Args:
        torch_home: What ``TORCH_HOME`` names.
        inception_file: A state dict with the keys of pytorch-fid's file; it is copied.
    """
    checkpoints = torch_home / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    (checkpoints / _SCRIPTED).unlink(missing_ok=True)  # made from the weights that were here
    for name in (INCEPTION, INCEPTION_TOO):
        shutil.copy(inception_file, checkpoints / name)


def random_vgg16_weights(path: Path, *, classifier: bool = True) -> Path:
    """Write seeded random weights of torchvision's VGG16, 528 MB, as a state dict.

    NumPy draws them, so that they are the same on every processor: uniform, with the variances of
    torchvision's initialization.

    Args:
        path: The file.
        classifier: Without it, the fully connected layers are zeros, and the file has 59 MB.
    """
    rng = np.random.default_rng(0)
    with torch.device("meta"):
        state = torchvision.models.vgg16(weights=None, init_weights=False).state_dict()
    for name, shaped in state.items():
        shape = tuple(shaped.shape)
        if name.endswith("bias") or (name.startswith("classifier") and not classifier):
            state[name] = torch.zeros(1).expand(shape)  # one number in the file
            continue
        products = shaped[0].numel() if name.startswith("features") else 2e4
        uniform = 2 * rng.random(shape, np.float32) - 1
        state[name] = torch.from_numpy(uniform * np.float32((6 / products) ** 0.5))
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)
    return path


@contextmanager
def quietly() -> Iterator[None]:
    """Keep back what is printed and warned of; lend generators seeded with 0."""
    with ExitStack() as stack:
        for redirect in (redirect_stdout, redirect_stderr):
            stack.enter_context(redirect(io.StringIO()))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(torch.random.fork_rng(devices=[]))
        stack.callback(np.random.set_state, np.random.get_state())  # noqa: NPY002
        stack.callback(random.setstate, random.getstate())
        _seed()
        yield


def _seed() -> None:
    torch.default_generator.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    random.seed(0)


def _weights(name: str) -> Path:
    """A file in torch hub's folder of checkpoints.

    Raises:
        FileNotFoundError: When it is not there; the tool itself would now try to download it.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not path.is_file():
        remedy = "random_vgg16_weights" if name == VGG16 else "install_weights"
        raise FileNotFoundError(f"{path} is not there; {remedy}() puts it there")
    return path


def _rgb(file: Path) -> np.ndarray:
    """``H × W × 3``, ``uint8``, grey images too, for the tools that read no files."""
    with Image.open(file) as image:
        return np.array(image.convert("RGB"))


class Tool:
    """One way to run one package. Folders are flat and hold images only.

    Args:
        batch_size: Images per forward pass; above 1 only for a folder of images of one size.

    Attributes:
        name: The protocol of ours that should give the same numbers.
        package: What ``pip install`` calls it.
        module: What ``import`` calls it.
        layers: The layers of the Inception, by their width, that it can be asked for.
        extensions: Those of the files that it finds in a folder by itself, in lower case.
    """

    name: str
    package: ClassVar[str]
    module: ClassVar[str]
    layers: ClassVar[tuple[str, ...]] = _WIDTHS
    extensions: ClassVar[tuple[str, ...]] = _USUAL

    def __init__(self, batch_size: int = 1) -> None:
        self.batch_size = batch_size

    def __str__(self) -> str:
        return self.package if self.name == self.package else f"{self.package}:{self.name}"

    @property
    def installed(self) -> bool:
        """Whether the package is there."""
        return importlib.util.find_spec(self.module) is not None

    @property
    def version(self) -> str:
        """The version of the package."""
        return importlib.metadata.version(self.package)

    def features(self, folder: Path, layer: str = "2048") -> np.ndarray:
        """The features that it scores: ``float32``, ``n × D``, in the order of the file names."""
        self._check_layer(layer)
        found = np.asarray(self._run(self._features, folder, int(layer)), dtype=np.float32)
        if found.shape != (len(self._files(folder)), int(layer)):
            raise ValueError(f"{self} gave features of shape {found.shape} for {folder}")
        return found

    def fid(self, real: Path, fake: Path, layer: str = "2048") -> float:
        """The Fréchet distance that it reports."""
        self._check_layer(layer)
        return float(self._run(self._fid, real, fake, int(layer)))

    def kid(self, real: Path, fake: Path, subset_size: int) -> float | None:
        """The mean over its default number of subsets, unscaled, at 2048; or it has none."""
        found = self._run(self._kid, real, fake, subset_size)
        return None if found is None else float(found)

    def inception_score(self, fake: Path) -> tuple[float, float] | None:
        """Mean and standard deviation over its default splits; or it has none."""
        found = self._run(self._inception_score, fake)
        return None if found is None else (float(found[0]), float(found[1]))

    def precision_recall(self, real: Path, fake: Path) -> tuple[float, float] | None:
        """Precision and recall with its default network and k; or it has none."""
        found = self._run(self._precision_recall, real, fake)
        return None if found is None else (float(found[0]), float(found[1]))

    def _without(self, *arguments: Path | int) -> None:
        """A metric that the package lacks, or not for a folder of images."""

    _features: Any = _without
    _fid: Any = _without
    _kid: Any = _without
    _inception_score: Any = _without
    _precision_recall: Any = _without

    def _run(self, call: Callable[..., Any], *arguments: Path | int) -> Any:
        for folder in arguments:
            if isinstance(folder, Path):
                self._files(folder)
        with quietly(), torch.no_grad():
            return call(*arguments)

    def _check_layer(self, layer: str) -> None:
        if layer not in self.layers:
            raise ValueError(f"{self} has no layer {layer!r}, only {', '.join(self.layers)}")

    def _files(self, folder: Path) -> list[Path]:
        """The files, sorted; refuses one that the tool would leave out of its own accord."""
        files = sorted(folder.iterdir())
        unseen = [f.name for f in files if f.suffix.lstrip(".") not in self.extensions]
        if unseen or not files:
            raise ValueError(f"{self} finds {'not ' + unseen[0] if unseen else 'nothing'} "
                             f"in {folder}; it looks for {', '.join(self.extensions)}")  # fmt: skip
        return files

    def _batches(self, folder: Path) -> Iterator[torch.Tensor]:
        """``uint8``, ``N × 3 × H × W``, for tools that are fed with tensors."""
        files = self._files(folder)
        for start in range(0, len(files), self.batch_size):
            images = [_rgb(file) for file in files[start : start + self.batch_size]]
            yield torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()


class PytorchFid(Tool):
    """pytorch-fid: the FID only."""

    name = package = "pytorch-fid"
    module = "pytorch_fid"

    def _features(self, folder: Path, layer: int) -> Any:
        from pytorch_fid import fid_score, inception

        _weights(INCEPTION)
        model = inception.InceptionV3([inception.InceptionV3.BLOCK_INDEX_BY_DIM[layer]])
        files = [str(f) for f in self._files(folder)]
        return fid_score.get_activations(files, model, self.batch_size, layer, "cpu", 0)

    def _fid(self, real: Path, fake: Path, layer: int) -> Any:
        from pytorch_fid import fid_score

        _weights(INCEPTION)
        paths = [str(real), str(fake)]
        return fid_score.calculate_fid_given_paths(paths, self.batch_size, "cpu", layer, 0)


class TorchFidelity(Tool):
    """torch-fidelity: its first input is the generated side. Precision and recall on VGG16."""

    name = "tf1"
    package = "torch-fidelity"
    module = "torch_fidelity"
    extensions = ("png", "jpg", "jpeg")

    def _features(self, folder: Path, layer: int) -> Any:
        from torch_fidelity import utils

        options = {**self._options(), "input1": str(folder)}
        network = utils.create_feature_extractor("inception-v3-compat", [str(layer)], **options)
        return utils.extract_featuresdict_from_input_id(1, network, **options)[str(layer)]

    def _fid(self, real: Path, fake: Path, layer: int) -> Any:
        found = self._metrics(real, fake, fid=True, feature_layer_fid=str(layer))
        return found["frechet_inception_distance"]

    def _kid(self, real: Path, fake: Path, subset_size: int) -> Any:
        found = self._metrics(real, fake, kid=True, kid_subset_size=subset_size)
        return found["kernel_inception_distance_mean"]

    def _inception_score(self, fake: Path) -> Any:
        found = self._metrics(None, fake, isc=True)
        return found["inception_score_mean"], found["inception_score_std"]

    def _precision_recall(self, real: Path, fake: Path) -> Any:
        found = self._metrics(real, fake, weights=VGG16, prc=True)
        return found["precision"], found["recall"]

    def _metrics(
        self, real: Path | None, fake: Path, weights: str = INCEPTION_TOO, **what: bool | int | str
    ) -> dict[str, float]:
        import torch_fidelity

        sides = {"input1": str(fake), "input2": None if real is None else str(real)}
        found: dict[str, float] = torch_fidelity.calculate_metrics(
            **self._options(weights), **sides, **what
        )
        return found

    def _options(self, weights: str = INCEPTION_TOO) -> dict[str, Any]:
        return {
            "batch_size": self.batch_size,
            "cuda": False,
            "cache": False,
            "save_cpu_ram": True,  # no worker processes
            "verbose": False,
            "feature_extractor_weights_path": str(_weights(weights)),
        }


class CleanFid(Tool):
    """clean-fid, in one of its modes. The two on TorchScript run a stand-in of that network.

    Args:
        mode: ``"clean"``, ``"legacy_tensorflow"`` or ``"legacy_pytorch"``.
        batch_size: As for every tool; only ``"legacy_tensorflow"`` minds images of mixed sizes.
    """

    package = "clean-fid"
    module = "cleanfid"
    layers = ("2048",)

    def __init__(self, mode: str = "clean", batch_size: int = 1) -> None:
        super().__init__(batch_size)
        self.mode = mode
        self.name = "clean-fid" if mode == "clean" else f"clean-fid-{mode.replace('_', '-')}"

    def _features(self, folder: Path, layer: int) -> Any:
        from cleanfid import features, fid

        del layer
        options = self._options()
        with self._network_from_our_folder():
            parallel = options.pop("use_dataparallel")
            model = features.build_feature_extractor(self.mode, options["device"], parallel)
        return fid.get_folder_features(str(folder), model, **options)

    def _fid(self, real: Path, fake: Path, layer: int) -> Any:
        from cleanfid import fid

        del layer
        with self._network_from_our_folder():
            return fid.compute_fid(str(fake), str(real), **self._options())

    def _kid(self, real: Path, fake: Path, subset_size: int) -> Any:
        from cleanfid import fid

        distance = fid.kernel_distance

        def in_subsets(x: np.ndarray, y: np.ndarray) -> float:
            """Its entry point has no door for the size; its function has."""
            value: float = distance(x, y, max_subset_size=subset_size)
            return value

        with self._network_from_our_folder(), mock.patch.object(fid, "kernel_distance", in_subsets):
            # As where it knows which is which (statistics, generators): the reference comes first.
            return fid.compute_kid(str(real), str(fake), **self._options())

    def _options(self) -> dict[str, Any]:
        return {
            "mode": self.mode,
            "num_workers": 0,
            "batch_size": self.batch_size,
            "device": torch.device("cpu"),
            "use_dataparallel": False,
            "verbose": False,
        }

    @contextmanager
    def _network_from_our_folder(self) -> Iterator[None]:
        """Instead of from the machine's temporary folder, or else the network."""
        from cleanfid import features

        original: Callable[..., nn.Module] = features.InceptionV3W

        def ours(path: str, download: bool, resize_inside: bool) -> nn.Module:
            del path, download
            folder = _scripted_inception().parent
            return original(str(folder), download=False, resize_inside=resize_inside)

        _weights(INCEPTION)
        with mock.patch.object(features, "InceptionV3W", ours):
            yield


class Torchmetrics(Tool):
    """torchmetrics, fed as its documentation has it: ``uint8`` batches, default dtype."""

    name = package = module = "torchmetrics"

    def _features(self, folder: Path, layer: int) -> Any:
        network = self._frechet(layer).inception
        return torch.cat([network(batch) for batch in self._batches(folder)])

    def _fid(self, real: Path, fake: Path, layer: int) -> Any:
        return self._fed(self._frechet(layer), real, fake).compute()

    def _kid(self, real: Path, fake: Path, subset_size: int) -> Any:
        from torchmetrics.image.kid import KernelInceptionDistance

        _weights(INCEPTION_TOO)
        metric = self._fed(KernelInceptionDistance(subset_size=subset_size), real, fake)
        _seed()  # building the network drew from the generator
        return metric.compute()[0]

    def _inception_score(self, fake: Path) -> Any:
        from torchmetrics.image.inception import InceptionScore

        _weights(INCEPTION_TOO)
        metric = InceptionScore()
        for batch in self._batches(fake):
            metric.update(batch)
        _seed()
        return metric.compute()

    def _frechet(self, layer: int) -> Any:
        from torchmetrics.image.fid import FrechetInceptionDistance

        weights = str(_weights(INCEPTION_TOO))
        return FrechetInceptionDistance(layer, feature_extractor_weights_path=weights)

    def _fed(self, metric: Any, real: Path, fake: Path) -> Any:
        for folder, is_real in ((real, True), (fake, False)):
            for batch in self._batches(folder):
                metric.update(batch, real=is_real)
        return metric


class Piq(Tool):
    """piq, whose FID takes its square root by Newton and Schulz: minutes at 2048 on the CPU.

    Its own features below 2048 are whole maps; here they are averaged over the map, as elsewhere.
    """

    name = package = module = "piq"

    def _features(self, folder: Path, layer: int) -> Any:
        import piq
        from piq.feature_extractors import InceptionV3

        _weights(INCEPTION)
        network = _Averaged(InceptionV3([InceptionV3.BLOCK_INDEX_BY_DIM[layer]]))
        loader = ({"images": batch / 255} for batch in self._batches(folder))
        return piq.FID().compute_feats(loader, network, device="cpu")

    def _fid(self, real: Path, fake: Path, layer: int) -> Any:
        import piq

        return piq.FID()(self._features(real, layer), self._features(fake, layer))

    def _kid(self, real: Path, fake: Path, subset_size: int) -> Any:
        import piq

        sides = [self._features(folder, 2048) for folder in (real, fake)]
        _seed()
        return piq.KID(average=True, subset_size=subset_size)(*sides)

    def _precision_recall(self, real: Path, fake: Path) -> Any:
        import piq

        return piq.PR()(self._features(real, 2048), self._features(fake, 2048))


class _Averaged(nn.Module):
    """A network that gives a list of maps, the maps averaged to ``N × D × 1 × 1``."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [functional.adaptive_avg_pool2d(map_, 1) for map_ in self.network(x)]


class _Scripted(nn.Module):
    """The interface of the published TorchScript network: ``layers``, and the whole with a resize.

    Args:
        layers: From ``N × 3 × 299 × 299`` in −1 … 1 to ``N × 2048``.
    """

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        """TensorFlow 1's bilinear resize of pixels 0–255, as a shifted sampling grid."""
        assert return_features, "the stand-in has features only"
        count, _, height, width = x.shape
        theta = torch.eye(2, 3, device=x.device)
        theta[0, 2] = 1.0 / width - 1.0 / 299
        theta[1, 2] = 1.0 / height - 1.0 / 299
        theta = theta.unsqueeze(0).expand(count, 2, 3)
        grid = functional.affine_grid(theta, [count, 3, 299, 299], align_corners=False)
        pixels = functional.grid_sample(
            x, grid, mode="bilinear", padding_mode="border", align_corners=False
        )
        features: torch.Tensor = self.layers((pixels - 128) / 128)
        return features


def _scripted_inception() -> Path:
    """The stand-in of the TorchScript network, made once from the installed weights."""
    from pytorch_fid.inception import InceptionV3

    path = _weights(INCEPTION).with_name(_SCRIPTED)
    if not path.is_file():
        blocks = InceptionV3([3], resize_input=False, normalize_input=False).blocks
        layers = nn.Sequential(*blocks, nn.Flatten()).eval()
        with torch.no_grad():
            traced = torch.jit.trace(layers, torch.zeros(2, 3, 299, 299), check_trace=False)
        torch.jit.script(_Scripted(traced).eval()).save(str(path))
    return path


TOOLS: tuple[Tool, ...] = (
    PytorchFid(),
    TorchFidelity(),
    CleanFid("clean"),
    CleanFid("legacy_tensorflow"),
    CleanFid("legacy_pytorch"),
    Torchmetrics(),
    Piq(),
)
"""Every tool, one image at a time, since folders of mixed sizes are the rule in the tests."""

"""Every metric takes what people hold in their hands: arrays and tensors of any kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gan_metrics import metrics
from gan_metrics.errors import ComputationError, GanMetricsError, InputError

TWO: dict[str, Callable[[Any, Any], Any]] = {
    "frechet_distance": metrics.frechet_distance,
    "frechet_terms": lambda x, y: metrics.frechet_terms(x, y).distance,
    "frechet_standard_error": metrics.frechet_standard_error,
    "frechet_influence": metrics.frechet_influence,
    "frechet_sensitivity": metrics.frechet_sensitivity,
    "frechet_directions": lambda x, y: metrics.frechet_directions(x, y, k=2)[0],
    "fd_infinity": lambda x, y: metrics.fd_infinity(x, y, sizes=3),
    "kid": lambda x, y: metrics.kid(x, y, subsets=3, subset_size=10),
    "kernel_distance": metrics.kernel_distance,
    "cmmd": metrics.cmmd,
    "mind": lambda x, y: metrics.mind(x, y, directions=5),
    "swd": lambda x, y: metrics.swd(x, y, directions=5),
    "prdc": lambda x, y: list(metrics.prdc(x, y).values()),
    "precision": metrics.precision,
    "recall": metrics.recall,
    "density": metrics.density,
    "coverage": metrics.coverage,
    "clipped_density": metrics.clipped_density,
    "clipped_coverage": metrics.clipped_coverage,
    "p_precision": metrics.p_precision,
    "p_recall": metrics.p_recall,
    "realism": lambda x, y: np.minimum(metrics.realism(x, y), 9.0),
    "rarity": lambda x, y: np.nan_to_num(metrics.rarity(x, y)),
    "nearest_real": lambda x, y: metrics.nearest_real(x, y)[1],
    "nearest_reals": lambda x, y: metrics.nearest_reals(x, y, k=3)[1],
    "authentic": metrics.authentic,
    "authpct": metrics.authpct,
    "pointwise": lambda x, y: metrics.pointwise(x, y).reach,
    "mifid": metrics.mifid,
    "ct": lambda x, y: metrics.ct(x, y, X[::-1] + 0.5, cells=1),
    "fld": lambda x, y: metrics.fld(x, y, X[::-1] + 0.5),
}
ONE: dict[str, Callable[[Any], Any]] = {
    "inception_score": lambda y: metrics.inception_score(y, splits=3),
    "vendi": metrics.vendi,
    "rke": lambda y: metrics.rke(y, sigma=2.0),
    "fkea": lambda y: metrics.fkea(y, sigma=2.0, features=20),
    "bandwidth": metrics.bandwidth,
}
CALLS: dict[str, Callable[[Any, Any], Any]] = {
    **TWO,
    **{name: lambda x, y, f=f: f(y) for name, f in ONE.items()},
}
X = np.random.default_rng(0).integers(-3, 9, (40, 5)).astype(np.float64)
Y = np.random.default_rng(1).integers(-4, 8, (30, 5)).astype(np.float64)


def number(found: Any) -> np.ndarray:
    return np.asarray(found.detach() if hasattr(found, "detach") else found, np.float64)


def test_every_function_is_here() -> None:
    others = {"Estimate", "FrechetTerms", "Moments", "Pointwise"}
    assert set(CALLS) == set(metrics.__all__) - others


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    "kind", ["float32", "float16", "int64", "int8", "list", "fortran", "strided", "memmap"]
)
def test_arrays_of_every_kind(name: str, kind: str, tmp_path: Path) -> None:
    def made(a: np.ndarray, part: str) -> Any:
        if kind == "list":
            return a.tolist()
        if kind == "fortran":
            return np.asfortranarray(a)
        if kind == "strided":
            return np.repeat(a, 2, axis=1)[:, ::2]
        if kind == "memmap":
            np.save(tmp_path / part, a)
            return np.load(tmp_path / f"{part}.npy", mmap_mode="r")
        return a.astype(kind)

    expected = number(CALLS[name](X, Y))
    found = number(CALLS[name](made(X, "x"), made(Y, "y")))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "int32", "grad"])
def test_tensors_of_every_kind(name: str, dtype: str) -> None:
    def made(a: np.ndarray) -> torch.Tensor:
        tensor = torch.from_numpy(a)
        if dtype == "grad":
            return tensor.requires_grad_()
        return tensor.to(getattr(torch, dtype))

    expected = number(CALLS[name](X, Y))
    np.testing.assert_allclose(
        number(CALLS[name](made(X), made(Y))), expected, rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("name", TWO)
def test_an_array_and_a_tensor(name: str) -> None:
    expected = number(TWO[name](X, Y))
    for pair in ((torch.from_numpy(X), Y), (X, torch.from_numpy(Y))):
        np.testing.assert_allclose(number(TWO[name](*pair)), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("lib", [np.asarray, torch.as_tensor])
def test_what_cannot_be_taken(name: str, lib: Callable[[Any], Any]) -> None:
    nan = Y.copy()
    nan[7, 2] = np.nan
    for bad, error in (
        (Y[0], InputError),
        (Y[None], InputError),
        (Y[:0], GanMetricsError),
        (Y[:, :0], InputError),
        (nan, ComputationError),
        (np.where(Y > 6, np.inf, Y), ComputationError),
        (Y + 1j, InputError),
    ):
        with pytest.raises(error):
            CALLS[name](lib(X), lib(bad))
    if name in TWO:
        with pytest.raises(InputError, match=r"5 (dimensions )?and"):
            TWO[name](lib(X), lib(Y[:, :4]))


@pytest.mark.parametrize("name", CALLS)
def test_objects_and_texts_are_refused(name: str) -> None:
    for bad in (Y.astype(object), Y.astype(str)):
        with pytest.raises(InputError, match="real numbers"):
            CALLS[name](X, bad)


@pytest.mark.parametrize("name", CALLS)
def test_masks_ragged_rows_and_sparse_tensors_are_refused(name: str) -> None:
    ragged = [[1.0, 2.0], [3.0]]
    for bad in (np.ma.masked_array(Y, Y > 2), ragged, torch.from_numpy(Y).to_sparse()):
        with pytest.raises(InputError):
            CALLS[name](X, bad)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.filterwarnings("error")
def test_values_whose_squares_are_no_numbers_are_refused(name: str) -> None:
    for factor in (1e120, -1e120):
        with pytest.raises(ComputationError, match="divide both sets by a constant"):
            CALLS[name](np.abs(X) * factor, np.abs(Y) * factor)

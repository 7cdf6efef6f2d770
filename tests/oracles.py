"""Naive definitions, written for being read; slow and obvious."""

from __future__ import annotations

import numpy as np
import scipy.linalg


def frechet_sqrtm(x: np.ndarray, y: np.ndarray) -> float:
    """The definition, by SciPy's matrix square root."""
    cov_x, cov_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(cov_x @ cov_y)
    shift = x.mean(0) - y.mean(0)
    return float(shift @ shift + np.trace(cov_x + cov_y - 2 * np.real(root)))


def frechet_nuclear(x: np.ndarray, y: np.ndarray) -> float:
    """Exact for any n: the nuclear norm of the product of the two centred feature matrices."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    centred_x = (x - x.mean(0)) / np.sqrt(len(x) - 1)
    centred_y = (y - y.mean(0)) / np.sqrt(len(y) - 1)
    shift = x.mean(0) - y.mean(0)
    traces = (centred_x**2).sum() + (centred_y**2).sum()
    nuclear = np.linalg.svd(centred_x @ centred_y.T, compute_uv=False).sum()
    return float(shift @ shift + traces - 2 * nuclear)


def bilinear(image: np.ndarray, size: int) -> np.ndarray:
    """Bilinear with half-pixel centres and no antialiasing, pixel by pixel; ``H × W``."""
    height, width = image.shape
    out = np.empty((size, size))
    for i in range(size):
        for j in range(size):
            y = max((i + 0.5) * height / size - 0.5, 0.0)
            x = max((j + 0.5) * width / size - 0.5, 0.0)
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
            dy, dx = y - y0, x - x0
            out[i, j] = (
                image[y0, x0] * (1 - dy) * (1 - dx)
                + image[y0, x1] * (1 - dy) * dx
                + image[y1, x0] * dy * (1 - dx)
                + image[y1, x1] * dy * dx
            )
    return out


def mmd_polynomial(
    x: np.ndarray, y: np.ndarray, degree: int = 3, gamma: float | None = None, coef0: float = 1.0
) -> float:
    """The unbiased MMD² of a polynomial kernel, from whole kernel matrices."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    n, m, gamma = len(x), len(y), 1.0 / x.shape[1] if gamma is None else gamma
    xx, yy, xy = ((a @ b.T * gamma + coef0) ** degree for a, b in ((x, x), (y, y), (x, y)))
    return float(
        (xx.sum() - np.trace(xx)) / (n * (n - 1))
        + (yy.sum() - np.trace(yy)) / (m * (m - 1))
        - 2 * xy.mean()
    )


def kid_subsets(
    x: np.ndarray, y: np.ndarray, rng: np.random.RandomState, subsets: int, size: int
) -> np.ndarray:
    """The MMD² of each random subset, drawn from x and then from y."""
    values = []
    for _ in range(subsets):
        one = x[rng.choice(len(x), size, replace=False)]
        other = y[rng.choice(len(y), size, replace=False)]
        values.append(mmd_polynomial(one, other))
    return np.array(values)


def cmmd_direct(x: np.ndarray, y: np.ndarray, sigma: float = 10.0, scale: float = 1000.0) -> float:
    """The biased MMD² of a Gaussian kernel on rows of length one, from pairwise differences."""
    x, y = (a / np.sqrt((np.asarray(a, np.float64) ** 2).sum(1, keepdims=True)) for a in (x, y))

    def mean(a: np.ndarray, b: np.ndarray) -> float:
        squares = ((a[:, None] - b[None]) ** 2).sum(-1)
        return float(np.exp(-squares / (2 * sigma**2)).mean())

    return scale * (mean(x, x) + mean(y, y) - 2 * mean(x, y))


def mmd_split(k: np.ndarray) -> float:
    """The variance of k(x, x') less row and column effects, averaged over all quadruples."""
    n, total = len(k), []
    for i in range(n):
        for j in range(n):
            for p in range(n):
                for q in range(n):
                    if len({i, j, p, q}) == 4:
                        total.append((k[i, j] + k[p, q] - k[i, p] - k[j, q]) ** 2 / 4)
    return float(np.mean(total))


def unit_directions(directions: int, dim: int, seed: int) -> np.ndarray:
    """Seeded random unit vectors as rows."""
    draws = np.random.default_rng(seed).normal(size=(directions, dim))
    return draws / np.linalg.norm(draws, axis=1, keepdims=True)


def wasserstein_on_a_line(
    x: np.ndarray, y: np.ndarray, p: np.ndarray | None = None, q: np.ndarray | None = None
) -> float:
    """Squared 2-Wasserstein distance of weighted points: mass is moved from left to right."""
    p = np.full(len(x), 1 / len(x)) if p is None else p
    q = np.full(len(y), 1 / len(y)) if q is None else q
    by_x, by_y = np.argsort(x), np.argsort(y)
    x, p, y, q = x[by_x], p[by_x].copy(), y[by_y], q[by_y].copy()
    total, i, j = 0.0, 0, 0
    while i < len(x) and j < len(y):
        mass = min(p[i], q[j])
        total += mass * (x[i] - y[j]) ** 2
        p[i] -= mass
        q[j] -= mass
        if p[i] <= q[j]:
            i += 1
        else:
            j += 1
    return float(total)


def sliced_wasserstein(x: np.ndarray, y: np.ndarray, units: np.ndarray) -> float:
    """Mean over directions of the squared 2-Wasserstein distance between the projections."""
    return float(np.mean([wasserstein_on_a_line(x @ unit, y @ unit) for unit in units]))


def inception_score_naive(logits: np.ndarray, splits: int) -> list[float]:
    """The Inception Score of each split, in the order given, by the definition."""
    scores = []
    for i in range(splits):
        part = logits[i * len(logits) // splits : (i + 1) * len(logits) // splits]
        p = scipy.special.softmax(np.asarray(part, np.float64), axis=1)
        kl = scipy.special.rel_entr(p, p.mean(0)).sum(1)
        scores.append(float(np.exp(kl.mean())))
    return scores


def renyi_score(kernel: np.ndarray, q: float) -> float:
    """The exponential of the Rényi entropy of order q of the eigenvalues of K/m, all of them."""
    values = np.linalg.eigvalsh(np.asarray(kernel, np.float64) / len(kernel))
    values = values[values > 1e-13]
    if np.isinf(q):
        return float(1 / values.max())
    if q == 1:
        return float(np.exp(-(values * np.log(values)).sum()))
    return float((values**q).sum() ** (1 / (1 - q)))


def cosine_kernel(x: np.ndarray) -> np.ndarray:
    """The cosine between each two rows."""
    x = np.asarray(x, np.float64)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    return unit @ unit.T


def gaussian_kernel(x: np.ndarray, sigma: float) -> np.ndarray:
    """exp(−|x − y|²/(2σ²)) of each two rows, from their differences."""
    x = np.asarray(x, np.float64)
    squares = ((x[:, None] - x[None]) ** 2).sum(-1)
    return np.exp(-squares / (2 * sigma**2))


def squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """By differences in float64; a row at a time."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return np.stack([np.einsum("nd,nd->n", y - row, y - row) for row in x])


def nearest_others_naive(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Squared distances to the k nearest others and who they are; equal ones as they stand."""
    d = squared_distances(x, x)
    np.fill_diagonal(d, np.inf)
    order = np.argsort(d, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(d, order, axis=1), order


def manifold_naive(x: np.ndarray, y: np.ndarray, k: int, a: float = 1.2) -> dict[str, float]:
    """All metrics of the nearest-neighbour family, by their definitions, with one k."""
    import math
    from fractions import Fraction

    n, m = len(x), len(y)
    squared, others = nearest_others_naive(x, k)
    real = np.sqrt(squared[:, -1])
    fake = np.sqrt(nearest_others_naive(y, k)[0][:, -1])
    d = np.sqrt(squared_distances(x, y))
    clipped = np.minimum(real, np.median(real))
    own = np.zeros(n)
    for i in range(n):
        for j in range(k):
            own[others[i, j]] += math.sqrt(squared[i, j]) <= clipped[i]
    ideal = np.minimum(own / k, 1).mean()
    filled = np.minimum((d < real[:, None]).sum(1), k).sum()

    def expected(j: int) -> Fraction:
        """With B(p, q) = 1 / (p C(p + q − 1, p)) for whole numbers."""
        if j < k:
            return Fraction(0)
        total = Fraction(0)
        for i in range(j + 1):
            beta = Fraction(k * math.comb(n - 1, k), (k + i) * math.comb(n + j - 1, k + i))
            total += min(i, k) * math.comb(j, i) * beta
        return total / k

    return {
        "precision": (d <= real[:, None]).any(0).mean(),
        "recall": (d <= fake).any(1).mean(),
        "density": (d < real[:, None]).sum() / (k * m),
        "coverage": (d < real[:, None]).any(1).mean(),
        "clipped_density": min(
            np.minimum((d <= clipped[:, None]).sum(0) / k, 1).mean() / ideal, 1.0
        ),
        "clipped_coverage": sum(expected(j) < Fraction(int(filled), k * n) for j in range(m + 1))
        / (m + 1),
        "p_precision": np.mean(1 - np.minimum(d / (a * real.mean()), 1).prod(0)),
        "p_recall": np.mean(1 - np.minimum(d / (a * fake.mean()), 1).prod(1)),
    }


def fd_infinity_naive(x: np.ndarray, y: np.ndarray, seed: int, sizes: int = 15) -> float:
    """The intercept of the Fréchet distances of seeded subsets of y, regressed on 1/size."""
    rng = np.random.default_rng(seed)
    counts = np.linspace(min(5000, max(len(y) // 10, 2)), len(y), sizes).astype(int)
    subsets = [np.sort(rng.choice(len(y), n, replace=False)) for n in counts]
    return float(np.polyfit(1 / counts, [frechet_nuclear(x, y[s]) for s in subsets], 1)[1])


def kid_of_draws(x: np.ndarray, y: np.ndarray, draws: list[tuple]) -> np.ndarray:
    """The MMD² of each subset that is given, as the rows of x and those of y."""
    return np.array([mmd_polynomial(x[i], y[j]) for i, j in draws])


def short_squares(x: np.ndarray) -> np.ndarray:
    """|x|² of rows in float16: squares rounded one by one, their sum in float32, rounded."""
    squares = (x * x).astype(np.float16)
    return squares.astype(np.float32).sum(1).astype(np.float16)


def short_squared_distances(real: np.ndarray, fake: np.ndarray, block: int = 10_000) -> np.ndarray:
    """As ADM's evaluator has them: every step is an array of float16, or a block of float32."""
    out = np.empty((len(real), len(fake)), np.float32)
    for i in range(0, len(real), block):
        for j in range(0, len(fake), block):
            u, v = real[i : i + block], fake[j : j + block]
            with np.errstate(over="ignore", invalid="ignore"):
                a, b = u.astype(np.float16), v.astype(np.float16)
                inner = (a.astype(np.float32) @ b.astype(np.float32).T).astype(np.float16)
                d = short_squares(a)[:, None] - np.float16(2) * inner
                d = np.maximum(d + short_squares(b)[None, :], np.float16(0))
            if not np.isfinite(d).all():
                one, other = (u * u).sum(1)[:, None], (v * v).sum(1)[None, :]
                d = np.maximum(one - np.float32(2) * (u @ v.T) + other, np.float32(0))
            out[i : i + block, j : j + block] = d
    return out


def short_distances(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """As StyleGAN3 has them: one product of extended rows, rounded, and its root in float16."""
    u, v = points.astype(np.float16), centres.astype(np.float16)
    ones = [np.ones((len(z), 1), np.float16) for z in (u, v)]
    left = np.hstack([np.float16(-2) * u, short_squares(u)[:, None], ones[0]])
    right = np.hstack([v, ones[1], short_squares(v)[:, None]])
    product = (left.astype(np.float32) @ right.astype(np.float32).T).astype(np.float16)
    return np.sqrt(np.maximum(product, np.float16(0)))


def short_precision_recall(
    real: np.ndarray, fake: np.ndarray, k: int, arithmetic: str, block: int = 10_000
) -> tuple[float, float]:
    """Whole matrices; an image's own distance counts among those that give its radius."""
    squared = arithmetic == "float16-squared"

    def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return short_squared_distances(a, b, block) if squared else short_distances(a, b)

    radius_of_real = np.sort(distances(real, real), axis=1)[:, k]
    radius_of_fake = np.sort(distances(fake, fake), axis=1)[:, k]
    fakes_to_reals = distances(real, fake).T if squared else distances(fake, real)
    reals_to_fakes = distances(real, fake)
    precision = (fakes_to_reals <= radius_of_real).any(1).mean()
    return float(precision), float((reals_to_fakes <= radius_of_fake).any(1).mean())


def inception_score_of_parts(logits: np.ndarray, parts: list[np.ndarray]) -> list[float]:
    """The Inception Score of each part that is given."""
    scores = []
    for part in parts:
        p = scipy.special.softmax(np.asarray(logits[part], np.float64), axis=1)
        scores.append(float(np.exp(scipy.special.rel_entr(p, p.mean(0)).sum(1).mean())))
    return scores


def frechet_over_n(x: np.ndarray, y: np.ndarray) -> float:
    """The Fréchet distance with covariances that are divided by n, for more images than D."""
    cov_x, cov_y = np.cov(x, rowvar=False, ddof=0), np.cov(y, rowvar=False, ddof=0)
    root = scipy.linalg.sqrtm(cov_x @ cov_y)
    shift = x.mean(0) - y.mean(0)
    return float(shift @ shift + np.trace(cov_x + cov_y - 2 * np.real(root)))


def pointwise_naive(x: np.ndarray, y: np.ndarray, k: int = 3) -> dict[str, np.ndarray]:
    """Kynkäänniemi et al. 2019 (realism), Han et al. 2023 (rarity), Alaa et al. 2022."""
    own = np.sqrt(squared_distances(x, x))
    np.fill_diagonal(own, np.inf)
    ranked = np.sort(own, axis=1)
    radius = ranked[:, k - 1]
    between = np.sqrt(squared_distances(x, y))
    small = radius <= np.median(radius)
    with np.errstate(divide="ignore"):
        realism = (radius[small, None] / between[small]).max(axis=0)
    rarity = np.where(between < radius[:, None], radius[:, None], np.inf).min(axis=0)
    nearest = between.argmin(axis=0)
    own_closeness = []
    for i in range(len(x)):
        j = own[i].argmin()
        rest = np.delete(own[j], i)
        own_closeness.append(own[i, j] / rest.min())
    return {
        "realism": realism,
        "rarity": np.where(np.isinf(rarity), np.nan, rarity),
        "nearest": nearest,
        "distance": between.min(axis=0),
        "authentic": between.min(axis=0) > ranked[nearest, 0],
        "closeness": between.min(axis=0) / ranked[nearest, 0],
        "own_closeness": np.array(own_closeness),
        "reach": between.min(axis=1) / ranked[:, 4],
        "nearest_fake": between.argmin(axis=1),
    }


def mifid_naive(x: np.ndarray, y: np.ndarray, tau: float = 0.1) -> float:
    """FID over the mean of the least 1 − |cos|, which is 1 unless below tau."""
    a, b = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y))
    away = float((1 - np.abs(b @ a.T)).min(axis=1).mean())
    return frechet_sqrtm(x, y) / ((away if away < tau else 1.0) + 1e-14)


def ct_naive(
    train: np.ndarray, fake: np.ndarray, test: np.ndarray, cells: int = 3, components: int = 64
) -> float:
    """Meehan et al. 2020, with SciPy's Mann-Whitney U."""
    from scipy.spatial.distance import cdist
    from scipy.stats import mannwhitneyu
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    if train.shape[1] > components:
        pca = PCA(components, svd_solver="full").fit(train)
        train, fake, test = (pca.transform(z) for z in (train, fake, test))
    means = KMeans(cells, n_init=10, random_state=0).fit(train)
    of = [means.predict(z) for z in (train, fake, test)]
    scores, weights = [], []
    for cell in range(cells):
        t, q, p = (z[c == cell] for z, c in zip((train, fake, test), of, strict=True))
        if len(q) / len(fake) <= 20 / len(fake):
            continue
        u = mannwhitneyu(cdist(q, t).min(1), cdist(p, t).min(1), alternative="less").statistic
        n, m = len(p), len(q)
        scores.append((u - (n * m / 2 - 0.5)) / np.sqrt(n * m * (n + m + 1) / 12))
        weights.append(len(p) / len(test))
    return float(np.average(scores, weights=weights))


def fld_naive(
    train: np.ndarray, fake: np.ndarray, test: np.ndarray, order: np.ndarray, epochs: int = 50
) -> float:
    """Jiralerspong et al. 2023 by autograd in float64; ``order`` shuffles the training images."""
    import torch

    train, fake, test = (torch.as_tensor(z, dtype=torch.float64) for z in (train, fake, test))
    mean, deviation = test.mean(0), test.std(0)
    train, fake, test = ((z - mean) / deviation for z in (train, fake, test))
    dim = train.shape[1]

    def squared(a, b):
        return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist") ** 2

    def logs(d, s):
        return -0.5 * d / s.exp() - dim / 2 * (s + np.log(2 * np.pi))

    def nll(centres, fitted_on) -> float:
        d = squared(fitted_on, centres)
        far = 0.9**2 * ((fitted_on - fitted_on.mean(0)) ** 2).sum(1, keepdim=True)
        s = ((d.min(0).values + 1e-3) / dim).log().requires_grad_()
        broad = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        adam = torch.optim.Adam([s, broad], lr=0.5)
        for _ in range(epochs):
            adam.zero_grad()
            every = torch.cat([logs(d, s) - np.log(len(centres)), logs(far, broad)], 1)
            (-torch.logsumexp(every, 1).mean() / dim).backward()
            adam.step()
            with torch.no_grad():
                s.clamp_(-40, 20)
        with torch.no_grad():
            scored = torch.logsumexp(logs(squared(test, centres), s) - np.log(len(centres)), 1)
        return float(-scored.mean() / dim)

    shuffled = train[order]
    half = min(len(fake), len(train) // 2)
    return 100 * (nll(fake, train) - nll(shuffled[:half], shuffled[half:]))

# SPDX-License-Identifier: MIT
"""Writes metric.txt: distances between two sets by SciPy, scikit-learn and NumPy.

Each line: metric dim n m value, for x of shape dim x n and y of shape dim x m (m = n for wasserstein2) with entries
  x_dj = p(d + dim j), y_dj = p(d + dim (n + j)) / 2 + 1, p(k) = ((2654435 k^2 + 40503 k) mod 65521) / 4096 - 8,
which tests/unit/metric recompute; for frechet_flat both with the last entry of each column set to that before it, so that
covariances are singular. mmd has the bandwidths 1, 4 and 10. Needs numpy, scipy and scikit-learn.
"""
import pathlib

import numpy as np
from scipy.linalg import sqrtm
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist, pdist
from scipy.stats import energy_distance
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import NearestNeighbors


def points(dim, first, n):
    k = np.arange(dim * first, dim * (first + n), dtype=np.int64)
    return (((2654435 * k**2 + 40503 * k) % 65521) / 4096 - 8).reshape(n, dim)


def frechet(x, y):
    difference, c, d = x.mean(0) - y.mean(0), np.atleast_2d(np.cov(x.T)), np.atleast_2d(np.cov(y.T))
    return float(difference @ difference + np.trace(c + d - 2 * np.real(sqrtm(c @ d))))


def mmd(x, y, bandwidths=(1, 4, 10)):
    mean = lambda a, b: np.mean([rbf_kernel(a, b, gamma=1 / (2 * s**2)).mean() for s in bandwidths])
    return float(np.sqrt(mean(x, x) + mean(y, y) - 2 * mean(x, y)))


lines = []
for dim, n in ((1, 1), (1, 50), (2, 10), (2, 128), (3, 100), (10, 70)):
    x, y = points(dim, 0, n), points(dim, n, n) / 2 + 1
    c = cdist(x, y, "sqeuclidean")
    lines.append(f"wasserstein2 {dim} {n} {n} {float(np.sqrt(c[linear_sum_assignment(c)].mean()))!r}\n")
for dim, n, m in ((1, 1, 1), (1, 50, 30), (2, 10, 20), (2, 128, 64), (10, 70, 1)):
    x, y = points(dim, 0, n), points(dim, n, m) / 2 + 1
    value = float(2 * cdist(x, y).mean() - cdist(x, x).mean() - cdist(y, y).mean())
    if dim == 1:
        assert abs(value - energy_distance(x[:, 0], y[:, 0]) ** 2) < 1e-12
    lines.append(f"energy {dim} {n} {m} {value!r}\n")
for n, m in ((1, 1), (50, 50), (50, 30), (7, 64), (1, 9)):  # in one dimension: every sorted sample, repeated to n m
    x, y = points(1, 0, n)[:, 0], points(1, n, m)[:, 0] / 2 + 1
    value = float(np.sqrt(np.mean((np.repeat(np.sort(x), m) - np.repeat(np.sort(y), n)) ** 2)))
    lines.append(f"sliced {1} {n} {m} {value!r}\n")
for dim, n, m in ((1, 1, 1), (1, 50, 30), (2, 10, 20), (2, 128, 64), (10, 70, 1)):
    x, y = points(dim, 0, n), points(dim, n, m) / 2 + 1
    lines.append(f"mmd {dim} {n} {m} {mmd(x, y)!r}\n")
for dim, n in ((1, 2), (2, 10), (3, 100), (10, 71)):
    lines.append(f"median_distance {dim} {n} 0 {float(np.median(pdist(points(dim, 0, n))))!r}\n")
for dim, n, m in ((1, 50, 30), (2, 10, 20), (3, 100, 200), (10, 70, 40)):
    lines.append(f"frechet {dim} {n} {m} {frechet(points(dim, 0, n), points(dim, n, m) / 2 + 1)!r}\n")
for dim, n, m in ((2, 10, 20), (4, 100, 50), (10, 70, 40)):
    x, y = points(dim, 0, n), points(dim, n, m) / 2 + 1
    x[:, -1], y[:, -1] = x[:, -2], y[:, -2]
    # sqrtm is only good to 1e-8 here, so the redundant coordinate becomes a factor sqrt(2) on the one that it repeats.
    value = frechet(x[:, :-1] * ([1] * (dim - 2) + [2**0.5]), y[:, :-1] * ([1] * (dim - 2) + [2**0.5]))
    assert abs(value - frechet(x, y)) < 1e-6 * value
    lines.append(f"frechet_flat {dim} {n} {m} {value!r}\n")
for dim, n, m in ((1, 20, 2), (2, 30, 128), (10, 40, 70)):
    distance, _ = NearestNeighbors(n_neighbors=2).fit(points(dim, n, m) / 2 + 1).kneighbors(points(dim, 0, n))
    ratio = distance[:, 0] / distance[:, 1]
    lines.append(f"nearest {dim} {n} {m} {float(distance[:, 0].mean())!r}\n")
    lines.append(f"second_nearest {dim} {n} {m} {float(distance[:, 1].mean())!r}\n")
    lines.append(f"median_nearest {dim} {n} {m} {float(np.median(distance[:, 0]))!r}\n")
    lines.append(f"memorized {dim} {n} {m} {float((ratio < 0.5).mean())!r}\n")
(pathlib.Path(__file__).parent / "metric.txt").write_text("".join(lines))

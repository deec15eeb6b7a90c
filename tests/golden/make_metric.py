# SPDX-License-Identifier: MIT
"""Writes metric.txt: 2-Wasserstein and energy distances by SciPy and NumPy.

Each line: metric dim n m value, for x of shape dim x n and y of shape dim x m (m = n for wasserstein2) with entries
  x_dj = p(d + dim j), y_dj = p(d + dim (n + j)) / 2 + 1, p(k) = ((2654435 k^2 + 40503 k) mod 65521) / 4096 - 8,
which tests/unit/metric recompute. Needs numpy and scipy.
"""
import pathlib

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.stats import energy_distance


def points(dim, first, n):
    k = np.arange(dim * first, dim * (first + n), dtype=np.int64)
    return (((2654435 * k**2 + 40503 * k) % 65521) / 4096 - 8).reshape(n, dim)


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
(pathlib.Path(__file__).parent / "metric.txt").write_text("".join(lines))
